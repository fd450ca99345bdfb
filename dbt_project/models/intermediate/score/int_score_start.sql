-- From a base far below the level, a first step of Newton's method would end where the likelihood is flat, and find no
-- way back. The half of a pair keeps the logarithm finite where all or none were adopted.
select
    source_name,
    step,
    ln((sum(weight * adopted) + 0.5) / (sum(weight * (1 - adopted)) + 0.5))
    - ln(sum(weight * {{ likelihood('base') }}) / sum(weight * (1 - {{ likelihood('base') }}))) as distance_to_level
from {{ ref('int_score_learning') }}
group by
    source_name,
    step
