{{ config(materialized='regression', meta={'rounds': score_calibration_rounds()}) }}
-- The adoption rates with only their level learned: what the features have to beat.
{{ newton_round(ref('int_score_learning'), 'level', 'distance_to_level') }}
