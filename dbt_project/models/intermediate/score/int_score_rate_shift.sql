{{ config(materialized='regression', meta={'rounds': score_calibration_rounds()}) }}
-- What is added to the log odds so that the likelihoods add up to the expected number of adoptions.
{{ level_shift('adoption rate') }}
