"""MetricFlow's SQL, written so that DuckDB answers it fast and with little memory. The answer is the same.

MetricFlow reads a table once in a CTE and uses it for several metrics. DuckDB keeps such a CTE as a whole: for a few
columns of a million and a half of lines that fills the memory of a question. Reading the table again takes less.

For a metric that rolls over time, such as the spending of the last 28 days, MetricFlow joins each day of the calendar
with all lines of its window by comparing dates, and DuckDB goes through the lines day by day, which takes half a
minute. Here the lines are summed up to what the question needs first, the windows are found among the days alone, and
the lines are joined by their day.
"""

from sqlglot import exp, parse_one

# What gives the same of lines that were summed up by everything else before.
_UNCHANGED = (exp.Min, exp.Max, exp.FirstValue, exp.LastValue)
_COMPARISONS = (exp.LT, exp.LTE, exp.GT, exp.GTE)
_DAY = "day_of_lines"


def quickened(sql: str) -> str:
    """Write a question of MetricFlow as DuckDB answers it faster.

    Args:
        sql: as MetricFlow's renderer for DuckDB writes it.

    Returns:
        SQL with the same answer.
    """
    tree = parse_one(sql, dialect="duckdb")
    assert isinstance(tree, exp.Select)
    for cte in tree.ctes:
        cte.set("materialized", False)
    joins = [join for join in tree.find_all(exp.Join) if _compared_day(join)]
    for join in joins:
        _name_lines(tree, join)
        _join_by_day(join)
    for name in {join.this.name for join in joins}:
        cte = next(each for each in tree.ctes if each.alias == name)
        # By default it is kept where it was summed up, and is short then.
        cte.set("materialized", None)
        _sum_first(tree, cte.this)
    return tree.sql(dialect="duckdb")


def _compared_day(join: exp.Join) -> exp.Column | None:
    """The column of the joined lines, where they are joined by nothing but comparisons with it."""
    condition = join.args.get("on")
    if condition is None or join.side or not isinstance(join.this, exp.Table | exp.Subquery):
        return None
    condition = condition.unnest()
    parts = [part.unnest() for part in condition.flatten()] if isinstance(condition, exp.And) else [condition]
    columns: list[exp.Column] = [
        column for column in condition.find_all(exp.Column) if column.table == join.this.alias_or_name
    ]
    if all(isinstance(part, _COMPARISONS) for part in parts) and len({column.name for column in columns}) == 1:
        return columns[0]
    return None


def _name_lines(tree: exp.Select, join: exp.Join) -> None:
    """Make the lines of a join a query with a name, if they are none yet: they are read twice."""
    name, lines = join.this.alias_or_name, join.this
    if isinstance(lines, exp.Subquery):
        tree.with_(name, lines.this, copy=False)
    elif lines.db:
        columns = join.parent_select.find_all(exp.Column) if join.parent_select else ()
        used = {column.name: column for column in columns if column.table == name}
        tree.with_(name, exp.select(*(column.copy() for column in used.values())).from_(lines), copy=False)
    else:
        return
    join.set("this", exp.to_table(name))


def _join_by_day(join: exp.Join) -> None:
    """Join the days first, by what the lines were joined by, and then the lines of each day."""
    column = _compared_day(join)
    select = join.parent_select
    assert column is not None and select is not None
    lines = join.this.alias_or_name
    days = f"{lines}_days"
    day = exp.column(_DAY, days)
    windows = join.args["on"].transform(
        lambda node: day.copy() if isinstance(node, exp.Column) and node.table == lines else node
    )
    of_days = exp.select(exp.alias_(exp.column(column.name), _DAY)).distinct().from_(join.this.name)
    joins = select.args["joins"]
    position = joins.index(join)
    join.set("on", exp.EQ(this=column.copy(), expression=day.copy()))
    by_day = exp.Join(this=of_days.subquery(days), on=windows, kind="INNER")
    select.set("joins", [*joins[:position], by_day, *joins[position:]])


def _sum_first(tree: exp.Select, lines: exp.Select) -> None:
    """Sum the lines up by all that is not summed later, where nothing else is done with them that would notice."""
    if any(lines.args.get(part) for part in ("group", "distinct", "joins", "limit")):
        return
    if lines.find(exp.AggFunc, exp.Window):
        return
    inside = {id(node) for node in lines.walk()}
    outside = [node for node in tree.walk() if id(node) not in inside]
    names = [projection.output_name for projection in lines.expressions]
    uses = {
        name: [node.parent for node in outside if isinstance(node, exp.Column) and node.name == name] for name in names
    }
    summed = {name for name in names if _is_only(uses[name], name, exp.Sum)}
    for node in outside:
        if isinstance(node, exp.Sum):
            if not isinstance(node.this, exp.Column) or node.this.name in set(names) - summed:
                return
        elif isinstance(node, exp.AggFunc) and not (
            isinstance(node, _UNCHANGED) or isinstance(node.this, exp.Distinct)
        ):
            return
    selected: list[exp.Expr] = []
    keys: list[exp.Expr] = []
    for name, projection in zip(names, lines.expressions, strict=True):
        value = projection.unalias()
        if name in summed:
            value = exp.Sum(this=value)
        else:
            # A literal in GROUP BY would be a position.
            keys += [] if isinstance(value, exp.Literal) else [value.copy()]
            if _is_only(uses[name], name, exp.Distinct):
                # Numbers are counted twice as fast as texts.
                value = exp.Case().when(value.copy().is_(exp.null()).not_(), _number(value))
        selected.append(exp.alias_(value, name))
    lines.set("expressions", selected)
    lines.group_by(*keys, copy=False)


def _is_only(uses: list[exp.Expr | None], name: str, kind: type[exp.Expr]) -> bool:
    """Whether a column is used in one way only, at most handed on by its name before."""
    used = [use for use in uses if not (isinstance(use, exp.Alias) and use.alias == name)]
    return bool(used) and all(isinstance(use, kind) for use in used)


def _number(value: exp.Expr) -> exp.Expr:
    """The same number for the same value."""
    return exp.Window(this=exp.DenseRank(), order=exp.Order(expressions=[exp.Ordered(this=value.copy())]))
