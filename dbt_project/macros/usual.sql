{#- CTEs from the CTE `before`, which has a row for each earlier value that a key is compared with: `usual` says of each key
    how many there are, their median, and the median of how far they lie from it. Medians, for a single odd value changes
    neither what is usual nor how much is usual to differ from it. -#}
{% macro usual_of_before(keys, value) -%}
medians as (

    select
        {% for key in keys %}{{ key }},
        {% endfor -%}
        count(*) as earlier_count,
        median({{ value }}) as usual_value
    from before
    group by
        {{ keys | join(',\n        ') }}

),

usual as (

    select
        {% for key in keys %}before.{{ key }},
        {% endfor -%}
        min(medians.earlier_count) as earlier_count,
        min(medians.usual_value) as usual_value,
        median(abs(before.{{ value }} - medians.usual_value)) as usual_difference
    from before
    inner join medians
        on
            {% for key in keys %}before.{{ key }} = medians.{{ key }}{% if not loop.last %}
            and {% endif %}{% endfor %}
    group by
        before.{{ keys | join(',\n        before.') }}

)
{%- endmacro %}
