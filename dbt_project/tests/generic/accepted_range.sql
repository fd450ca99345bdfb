{#- Rows whose value lies outside the range. Nulls pass: not_null is its own test. -#}
{% test accepted_range(model, column_name, min_value=none, max_value=none, inclusive=true) %}
select {{ column_name }}
from {{ model }}
where
  false
  {%- if min_value is not none %}
  or {{ column_name }} <{{ '' if inclusive else '=' }} {{ min_value }}
  {%- endif %}
  {%- if max_value is not none %}
  or {{ column_name }} >{{ '' if inclusive else '=' }} {{ max_value }}
  {%- endif %}
{% endtest %}
