{#- The log-likelihood ratio G2 of a table of counts (Dunning 1993, "Accurate Methods for the Statistics of Surprise and
    Coincidence"): twice the sum of observed * ln(observed / expected). A cell without observations adds 0.

    expected_counts: from the column of each observed count to that of the expected one. -#}
{% macro log_likelihood_ratio(expected_counts) -%}
2 * greatest(
            0,
            {%- for observed, expected in expected_counts.items() %}
            {{ '+ ' if not loop.first }}case when {{ observed }} > 0 then {{ observed }} * ln({{ observed }} / ({{ expected }})) else 0 end
            {%- endfor %}
        )
{%- endmacro %}
