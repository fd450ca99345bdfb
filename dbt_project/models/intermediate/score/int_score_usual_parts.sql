-- What each part of the score is for the average customer who has not bought in a category yet, at the newest date.
select
    raw_scores.source_name,
    raw_scores.category_number,
    max(weights.trust) as trust,
    {%- for group in score_feature_groups() %}
        round(sum(raw_scores.weight * raw_scores.{{ group }}) / sum(raw_scores.weight), 6) as {{ group }}
        {%- if not loop.last %},{% endif %}
    {%- endfor %}
from {{ ref('int_score_raw_scores') }} as raw_scores
inner join {{ ref('int_score_weights') }} as weights
    on
        raw_scores.source_name = weights.source_name
        and raw_scores.step = weights.step
where
    raw_scores.step = 0
    and weights.is_learned
group by
    raw_scores.source_name,
    raw_scores.category_number
