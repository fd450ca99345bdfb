{#- One round of a weighted logistic regression by Newton's method, for each as-of date of each shop. A model with
    materialized='regression' is this round, run several times; it reads the previous round from its own
    table, `this`.

    rows: the relation to learn from, with source_name, step, adopted (0 or 1), weight, base (log odds that the
        regression starts from) and the columns that are weighed.
    intercept: name for the weight of the constant.
    start: where the intercept starts, a column of `starts` or a number; the other weights start at 0.
    columns: from the name of each other weight to the column of `rows` that it belongs to.
    starts: the relation with the shops and dates, int_score_start if there is none; it has the variance of each column, as
        variance_<weight>, but of those with a precision of their own.
    precisions: from the name of a weight to the precision of its own prior, in the column's unit.
    Result: source_name, step, round_number, and the weights by their names.

    Each round solves H d = g, where g is the gradient of the log posterior and H its negative Hessian, and moves the
    weights by d, or by a part of d: from far away, a whole step may end where the likelihood is flat, and the next one
    anywhere. So no step changes the log odds by more than regression_longest_step, as a root mean square over the rows,
    weighted by their curvature, which is sqrt(g d / sum of curvatures).

    A Gaussian prior shrinks each weight toward zero where there is little data. Its precision is for columns of variance
    one, and is multiplied by the column's own variance, so that the unit of a column does not matter. -#}
{% macro newton_round(rows, intercept, start, columns={}, precisions={}, starts=none) -%}
{%- set weights = [intercept] + columns.keys() | list -%}
{%- set starts = starts or ref('int_score_start') -%}
{%- set factors = {intercept: ''} -%}
{%- for weight, column in columns.items() -%}
  {%- do factors.update({weight: ' * ' ~ column}) -%}
{%- endfor -%}
with

learning as (

    select * from {{ rows }}

),

previous as (

    {{ last_round(this, weights) }}

    union all

    select
        source_name,
        step,
        0 as round_number,
        {{ start }} as {{ intercept }}
        {%- for weight in columns %},
        0 as {{ weight }}
        {%- endfor %}
    from {{ starts }}
    where not exists (select 1 from {{ this }} as rounds)

),

predicted as (

    select
        learning.*,
        {{ likelihood('learning.base + ' ~ weighted_sum('previous', intercept, 'learning', columns)) }} as prediction
    from learning
    inner join previous
        on
            learning.source_name = previous.source_name
            and learning.step = previous.step

),

differences as (

    select
        *,
        weight * (adopted - prediction) as residual,
        weight * prediction * (1 - prediction) as curvature
    from predicted

),

sums as (

    select
        source_name,
        step
        {%- for weight in weights %},
        sum(residual{{ factors[weight] }}) as g_{{ weight }}
        {%- endfor %}
        {%- for weight in weights %}
        {%- for other in weights[loop.index0:] %},
        sum(curvature{{ factors[weight] }}{{ factors[other] }}) as h_{{ weight }}_{{ other }}
        {%- endfor %}
        {%- endfor %}
    from differences
    group by
        source_name,
        step

),

priors as (

    select
        source_name,
        step,
        cast({{ precisions.get(intercept, score_intercept_precision()) }} as double) as precision_{{ intercept }}
        {%- for weight in columns %},
        {% if weight in precisions -%}
        cast({{ precisions[weight] }} as double)
        {%- else -%}
        {{ score_weight_precision() }} * greatest({{ score_minimum_variance() }}, variance_{{ weight }})
        {%- endif %} as precision_{{ weight }}
        {%- endfor %}
    from {{ starts }}

),

-- One line for each weight: its line of H, and at the end its entry of g.
equations as (

    select
        previous.*,
        sums.h_{{ intercept }}_{{ intercept }},
        {%- for weight in weights %}
        sums.g_{{ weight }},
        priors.precision_{{ weight }},
        {%- endfor %}
        {%- set lines = [] %}
        {%- for weight in weights %}
          {%- set line = [] %}
          {%- set before_it = weights[:loop.index0] %}
          {%- for other in weights %}
            {%- if other in before_it %}
              {%- do line.append('h_' ~ other ~ '_' ~ weight) %}
            {%- elif other == weight %}
              {%- do line.append('h_' ~ weight ~ '_' ~ weight ~ ' + precision_' ~ weight) %}
            {%- else %}
              {%- do line.append('h_' ~ weight ~ '_' ~ other) %}
            {%- endif %}
          {%- endfor %}
          {%- do line.append('g_' ~ weight ~ ' - precision_' ~ weight ~ ' * ' ~ weight) %}
          {%- do lines.append('\n            ' ~ dbt.array_construct(line) | trim) %}
        {%- endfor %}
        {{ dbt.array_construct(lines) | trim }} as equations
    from sums
    inner join previous
        on
            sums.source_name = previous.source_name
            and sums.step = previous.step
    inner join priors
        on
            sums.source_name = priors.source_name
            and sums.step = priors.step

),

solved as (

    select
        *,
        {{ solution('equations', weights | length) }} as moves
    from equations

),

lengths as (

    select
        *,
        sqrt(greatest(
            0,
            0
            {%- for weight in weights %}
            + (g_{{ weight }} - precision_{{ weight }} * {{ weight }}) * {{ list_item('moves', loop.index) }}
            {%- endfor %}
        ) / greatest(h_{{ intercept }}_{{ intercept }}, 1e-12)) as length
    from solved

)

select
    source_name,
    step,
    round_number + 1 as round_number
    {%- for weight in weights %},
    {{ weight }} + {{ list_item('moves', loop.index) }}
    * least(1, {{ regression_longest_step() }} / greatest(length, 1e-12)) as {{ weight }}
    {%- endfor %}
from lengths
{%- endmacro %}

{#- One round of the regression that finds what is added to the log odds of a method (a value of int_score_level_rows.method),
    so that its likelihoods add up to the expected number of adoptions. -#}
{% macro level_shift(method) -%}
{%- set rows %}(select * from {{ ref('int_score_level_rows') }} where method = '{{ method }}') as level_rows{% endset -%}
{%- set starts %}(
    select distinct
        source_name,
        step,
        start
    from {{ ref('int_score_level_rows') }}
    where method = '{{ method }}'
) as starts{% endset -%}
{{ newton_round(rows, 'shift', 'start', precisions={'shift': 0.001}, starts=starts) }}
{%- endmacro %}

{#- Where a regression starts: how far the log odds of its rows are from the level at which they were adopted. From a base far
    away, it would take many rounds to get there. Adding half a pair keeps the logarithm finite where all or none were adopted.
    With it come the variances of the columns, by the names of their weights. -#}
{% macro distance_to_level(rows, columns={}) -%}
    select
        source_name,
        step,
        {%- for weight, column in columns.items() %}
        var_pop({{ column }}) as variance_{{ weight }},
        {%- endfor %}
        ln((sum(weight * adopted) + 0.5) / (sum(weight * (1 - adopted)) + 0.5))
        - ln(sum(weight * {{ likelihood('base') }}) / sum(weight * (1 - {{ likelihood('base') }}))) as distance_to_level
    from {{ rows }}
    group by
        source_name,
        step
{%- endmacro %}

{#- The weights of a regression's last round. Every column is qualified, because a round reads its own table, whose columns
    are not known to tools that analyse the SQL. -#}
{% macro last_round(regression, weights) -%}
    select
        rounds.source_name,
        rounds.step,
        rounds.round_number
        {%- for weight in weights %},
        rounds.{{ weight }}
        {%- endfor %}
    from {{ regression }} as rounds
    where rounds.round_number = (select max(newest.round_number) from {{ regression }} as newest)
{%- endmacro %}

{#- The intercept and the columns times their weights. -#}
{% macro weighted_sum(weights_alias, intercept, columns_alias, columns) -%}
  {{ weights_alias }}.{{ intercept }}
  {%- for weight, column in columns.items() %} + {{ weights_alias }}.{{ weight }} * {{ columns_alias }}.{{ column }}{% endfor -%}
{%- endmacro %}

{#- Some of the columns times their weights, without the intercept; names that are no columns count nothing. -#}
{% macro weighted_group(names, weights_alias, columns, prefix='') -%}
  0.0
  {%- for name in names if name in columns %} + {{ weights_alias }}.{{ name }} * {{ prefix }}{{ columns[name] }}{% endfor -%}
{%- endmacro %}

{#- The features as newton_round wants them: each weight has the name of its feature. -#}
{% macro score_feature_columns() -%}
  {%- set columns = {} -%}
  {%- for feature in score_features() -%}
    {%- do columns.update({feature: feature}) -%}
  {%- endfor -%}
  {{ return(columns) }}
{%- endmacro %}

{#- Solves n linear equations, a list of lists: each the coefficients and, at the end, the constant. Gauss-Jordan
    elimination: for k = 1 to n, equation k is divided by its own coefficient k, and multiples of it are then subtracted
    from the others. The matrix must be positive definite, as a Hessian with a prior is: then no pivoting is needed. -#}
{% macro solution(equations, n) -%}
  {{ return(adapter.dispatch('solution', 'next_aisle')(equations, n)) }}
{%- endmacro %}

{#- list_reduce passes the position in a list as k; the list itself only has to have the right type, its items are not used. -#}
{% macro duckdb__solution(equations, n) -%}
list_transform(
                list_reduce(
                    list_transform(range({{ n }}), unused -> {{ equations }}),
                    (lines, unused, k) -> list_transform(
                        lines,
                        (line, i) -> case
                            when i = k then list_transform(line, value -> value / line[k])
                            else list_transform(line, (value, j) -> value - line[k] * lines[k][j] / lines[k][k])
                        end
                    ),
                    {{ equations }}
                ),
                line -> line[{{ n + 1 }}]
            )
{%- endmacro %}

{#- Positions in lambdas and brackets count from 0. -#}
{% macro spark__solution(equations, n) -%}
transform(
                aggregate(
                    sequence(0, {{ n - 1 }}),
                    {{ equations }},
                    (lines, k) -> transform(
                        lines,
                        (line, i) -> case
                            when i = k then transform(line, value -> value / line[k])
                            else transform(line, (value, j) -> value - line[k] * lines[k][j] / lines[k][k])
                        end
                    )
                ),
                line -> line[{{ n }}]
            )
{%- endmacro %}

{#- One item of a list; the first is number 1. -#}
{% macro list_item(list, number) -%}
  {{ return(adapter.dispatch('list_item', 'next_aisle')(list, number)) }}
{%- endmacro %}

{% macro default__list_item(list, number) -%}
  {{ list }}[{{ number }}]
{%- endmacro %}

{% macro spark__list_item(list, number) -%}
  element_at({{ list }}, {{ number }})
{%- endmacro %}
