{{ config(materialized='regression', meta={'rounds': score_feature_rounds()}) }}
{{ newton_round(ref('int_score_learning'), 'intercept', 'distance_to_level', score_feature_columns()) }}
