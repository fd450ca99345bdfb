{#- Weighted logistic regressions, one for each step of each shop, as a chain of CTEs; the last is called <name>.

    rows: a CTE with source_name, step, y (0 or 1), weight, base (log odds that the regression starts from) and a
        column for each of `columns`.
    Result: source_name, step, w0 (the intercept), w1, w2, ... in the order of `columns`.

    Newton's method, from the intercept that brings the base to the level of y (from a base far below it, a first step
    would end where the likelihood is flat, and find no way back): each round solves H d = g, where g is the gradient of
    the log likelihood and H its negative Hessian, by Gauss-Jordan elimination; H is positive definite, so that no
    pivoting is needed. A Gaussian prior holds each weight near zero where the data says little: then the base stands.
    Its precision is for columns of variance one, and the columns' own variance times it, so that the unit of a column
    does not matter. Five rounds settle eight digits. -#}
{% macro logistic_regression(name, rows, columns, precision=5, intercept_precision=0.5, rounds=6) -%}
{%- set n = columns | length + 1 -%}
{%- set x = ['1'] + columns -%}
{{ name }}_0 as (

    select
        source_name,
        step,
        ln((sum(weight * y) + 0.5) / (sum(weight * (1 - y)) + 0.5))
        - ln(sum(weight * {{ likelihood('base') }}) / sum(weight * (1 - {{ likelihood('base') }}))) as w0
        {%- for i in range(1, n) %},
        cast(0 as double) as w{{ i }}
        {%- endfor %}
    from {{ rows }}
    group by
        source_name,
        step

),

{{ name }}_precision as (

    select
        source_name,
        step,
        cast({{ intercept_precision }} as double) as p0
        {%- for column in columns %},
        {{ precision }} * greatest(0.001, var_pop({{ column }})) as p{{ loop.index }}
        {%- endfor %}
    from {{ rows }}
    group by
        source_name,
        step

),
{%- for round in range(1, rounds + 1) %}
{%- set before = name ~ '_' ~ (round - 1) %}

{{ name }}_{{ round }}_residuals as (

    select
        x.*,
        {{ likelihood('x.base + w.w0' ~ weighted_sum(columns, 'x.', 'w.w')) }} as q
    from {{ rows }} as x
    inner join {{ before }} as w
        on
            x.source_name = w.source_name
            and x.step = w.step

),

{{ name }}_{{ round }}_sums as (

    select
        source_name,
        step
        {%- for i in range(n) %},
        sum(weight * (y - q) * {{ x[i] }}) as g{{ i }}
        {%- for j in range(i, n) %},
        sum(weight * q * (1 - q) * {{ x[i] }} * {{ x[j] }}) as h{{ i }}_{{ j }}
        {%- endfor %}
        {%- endfor %}
    from {{ name }}_{{ round }}_residuals
    group by
        source_name,
        step

),

{{ name }}_{{ round }}_solve_0 as (

    select
        s.source_name,
        s.step
        {%- for i in range(n) %}
,
        w.w{{ i }},
        s.g{{ i }} - p.p{{ i }} * w.w{{ i }} as g{{ i }}
        {%- for j in range(n) %},
        s.h{{ [i, j] | min }}_{{ [i, j] | max }}{% if i == j %} + p.p{{ i }}{% endif %} as h{{ i }}_{{ j }}
        {%- endfor %}
        {%- endfor %}
    from {{ name }}_{{ round }}_sums as s
    inner join {{ before }} as w
        on
            s.source_name = w.source_name
            and s.step = w.step
    inner join {{ name }}_precision as p
        on
            s.source_name = p.source_name
            and s.step = p.step

),
{%- for k in range(n) %}

{{ name }}_{{ round }}_solve_{{ k + 1 }} as (

    select
        source_name,
        step
        {%- for i in range(n) %},
        w{{ i }},
        {% if i == k %}g{{ k }} / h{{ k }}_{{ k }}{% else %}g{{ i }} - h{{ i }}_{{ k }} * g{{ k }} / h{{ k }}_{{ k }}{% endif %} as g{{ i }}
        {%- for j in range(k + 1, n) %},
        {% if i == k %}h{{ k }}_{{ j }} / h{{ k }}_{{ k }}{% else %}h{{ i }}_{{ j }} - h{{ i }}_{{ k }} * h{{ k }}_{{ j }} / h{{ k }}_{{ k }}{% endif %} as h{{ i }}_{{ j }}
        {%- endfor %}
        {%- endfor %}
    from {{ name }}_{{ round }}_solve_{{ k }}

),
{%- endfor %}

{{ name }}_{{ round }} as (

    select
        source_name,
        step
        {%- for i in range(n) %},
        w{{ i }} + g{{ i }} as w{{ i }}
        {%- endfor %}
    from {{ name }}_{{ round }}_solve_{{ n }}

),
{%- endfor %}

{{ name }} as (

    select * from {{ name }}_{{ rounds }}

)
{%- endmacro %}

{#- " + x1 * w1 + x2 * w2 ...": the columns times the weights, which are numbered from one. -#}
{% macro weighted_sum(columns, column_prefix, weight_prefix) -%}
  {%- for column in columns %} + {{ column_prefix }}{{ column }} * {{ weight_prefix }}{{ loop.index }}{% endfor -%}
{%- endmacro %}
