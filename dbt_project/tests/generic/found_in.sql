{#- Rows whose values in the columns are in no row of the other table together. -#}
{% test found_in(model, to, columns) %}
  select model.*
  from {{ model }} as model
  left join {{ to }} as other_table
      on
          {% for column in columns %}
          model.{{ column }} = other_table.{{ column }}
          {{- ' and' if not loop.last }}
          {%- endfor %}
  where other_table.{{ columns | first }} is null
{% endtest %}
