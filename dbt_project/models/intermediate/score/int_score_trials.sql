{{ config(materialized='view') }}
-- For each date the newest window that had ended, with the weights learned before that window.
select
    source_name,
    step - 1 as step,
    adopted,
    weight,
    distance,
    base as rate_log_odds,
    base + centre + {{ score_usual_trust() }} * distance as base
from {{ ref('int_score_raw_scores') }}
where
    step > 0
    and adopted is not null
