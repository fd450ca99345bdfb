{{ config(materialized='regression', meta={'rounds': score_calibration_rounds()}) }}
-- Calibration may bend the line of log odds: the highest raw scores are a little too high.
{{ newton_round(ref('int_score_raw_scores'), 'shift', 0, score_calibration_columns()) }}
