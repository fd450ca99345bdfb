{{ config(materialized='regression', meta={'rounds': score_calibration_rounds()}) }}
-- The line of log odds may bend: what stands out most comes true a little less often than it promises.
{{ newton_round(ref('int_score_raw_scores'), 'shift', 0, score_calibration_columns()) }}
