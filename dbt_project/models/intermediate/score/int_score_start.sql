-- From a base far below the level, the first step of Newton's method could end where the likelihood is flat, from where
-- it does not converge. Adding half a pair keeps the logarithm finite where all or none were adopted.
select
    source_name,
    step,
    ln((sum(weight * adopted) + 0.5) / (sum(weight * (1 - adopted)) + 0.5))
    - ln(sum(weight * {{ likelihood('base') }}) / sum(weight * (1 - {{ likelihood('base') }}))) as distance_to_level
from {{ ref('int_score_learning') }}
group by
    source_name,
    step
