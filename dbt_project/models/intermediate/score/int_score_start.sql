{{ distance_to_level(ref('int_score_learning'), score_feature_columns()) }}
