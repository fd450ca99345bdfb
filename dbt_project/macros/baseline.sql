{#- CTEs that say what to expect of a value, from earlier ones: reads the CTE `earlier_values`, which has a row for each
    earlier value that a key is compared with, and makes `baseline`, which has for each key how many there are, their median
    and their median absolute deviation. A single outlier hardly moves either. -#}
{% macro baseline_of_earlier_values(keys, value) -%}
medians as (

    select
        {% for key in keys %}{{ key }},
        {% endfor -%}
        count(*) as earlier_count,
        median({{ value }}) as expected_value
    from earlier_values
    group by
        {{ keys | join(',\n        ') }}

),

baseline as (

    select
        {% for key in keys %}earlier_values.{{ key }},
        {% endfor -%}
        min(medians.earlier_count) as earlier_count,
        min(medians.expected_value) as expected_value,
        median(abs(earlier_values.{{ value }} - medians.expected_value)) as median_absolute_deviation
    from earlier_values
    inner join medians
        on
            {% for key in keys %}earlier_values.{{ key }} = medians.{{ key }}{% if not loop.last %}
            and {% endif %}{% endfor %}
    group by
        earlier_values.{{ keys | join(',\n        earlier_values.') }}

)
{%- endmacro %}
