"""Conditions that people write, such as `total_spending >= 100 and rfm_segment in ('loyal', 'new')`.

They are parsed, and only a small part of SQL is understood: a column compared with fixed values, `and`, `or`, `not`. So
a condition can name nothing but the columns that it is given, call no function, and compare no column with a value of
another kind: no error of the database can then repeat a value that the role may not see.
"""

import datetime as dt
import re
from collections.abc import Callable, Mapping

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from delivery.errors import InvalidQuestionError, UnknownNameError

LONGEST = 2_000
_TEMPLATE = re.compile(
    r"\{\{\s*(Dimension|TimeDimension|Entity)\(\s*'([a-z0-9_]+)'\s*(?:,\s*'([a-z]+)'\s*)?\)\s*\}\}", re.IGNORECASE
)
_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE)

# What a column is called in the SQL that the condition becomes.
Rendered = Callable[[str], exp.Expr]


def parse(text: str, columns: Mapping[str, str], rendered: Rendered) -> exp.Expr:
    """Understand a condition.

    Args:
        text: the condition; `{{ Dimension('name') }}` of MetricFlow is understood as `name`.
        columns: those that it may name, with their data types.
        rendered: gives the SQL of a column.

    Returns:
        An expression for DuckDB.

    Raises:
        UnknownNameError: it names a column that is not there.
        InvalidQuestionError: it is no condition, says more than is allowed, or compares a column with a value of
            another kind.
    """
    if len(text) > LONGEST:
        raise InvalidQuestionError(f"a condition may have {LONGEST:,} letters")
    plain = _TEMPLATE.sub(lambda found: found[2] + (f"__{found[3].lower()}" if found[3] else ""), text)
    if any(mark in plain for mark in ("{{", "{%", "{#")):
        raise InvalidQuestionError("a condition may not contain {{, {% or {#")
    try:
        parsed = sqlglot.parse(plain, dialect="duckdb")
    except (SqlglotError, RecursionError) as error:
        raise InvalidQuestionError(
            "a condition could not be read. Write it like: total_spending >= 100 and rfm_segment = 'loyal'"
        ) from error
    if len(parsed) != 1 or parsed[0] is None:
        raise InvalidQuestionError("write one condition, without semicolons")
    try:
        return _condition(parsed[0], columns, rendered)
    except RecursionError as error:
        raise InvalidQuestionError("the condition has too many parts") from error


def names(text: str) -> str:
    """Give a condition without its values, for the audit log.

    Args:
        text: the condition.
    """
    return re.sub(r"'(?:[^']|'')*'|\b\d[\d.]*\b", "?", text)[:200]


def _condition(node: exp.Expr, columns: Mapping[str, str], rendered: Rendered) -> exp.Expr:
    if isinstance(node, exp.Paren):
        return exp.paren(_condition(node.this, columns, rendered))
    if isinstance(node, exp.Not):
        return exp.Not(this=exp.paren(_condition(node.this, columns, rendered)))
    if isinstance(node, exp.And | exp.Or):
        parts = [exp.paren(_condition(part, columns, rendered)) for part in (node.left, node.right)]
        return type(node)(this=parts[0], expression=parts[1])
    if isinstance(node, exp.Column):
        name, kind = _column(node, columns)
        if kind != "boolean":
            raise InvalidQuestionError(f"{name} is no yes-or-no column: compare it with a value")
        return rendered(name)
    if isinstance(node, _COMPARISONS):
        left, right = node.this, node.expression
        if isinstance(left, exp.Column):
            name, kind = _column(left, columns)
            return type(node)(this=rendered(name), expression=_value(right, name, kind))
        if isinstance(right, exp.Column):
            name, kind = _column(right, columns)
            return type(node)(this=_value(left, name, kind), expression=rendered(name))
    if isinstance(node, exp.In) and isinstance(node.this, exp.Column) and not node.args.get("query"):
        name, kind = _column(node.this, columns)
        if node.expressions and not node.args.get("unnest") and not node.args.get("field"):
            return rendered(name).isin(*(_value(value, name, kind) for value in node.expressions))
    if isinstance(node, exp.Between) and isinstance(node.this, exp.Column):
        name, kind = _column(node.this, columns)
        low, high = (_value(node.args[end], name, kind) for end in ("low", "high"))
        return exp.Between(this=rendered(name), low=low, high=high)
    if isinstance(node, exp.Is) and isinstance(node.this, exp.Column):
        name, kind = _column(node.this, columns)
        if isinstance(node.expression, exp.Null) or (kind == "boolean" and isinstance(node.expression, exp.Boolean)):
            return exp.Is(this=rendered(name), expression=node.expression.copy())
    if isinstance(node, exp.Like | exp.ILike) and isinstance(node.this, exp.Column):
        name, kind = _column(node.this, columns)
        if kind == "text":
            return type(node)(this=rendered(name), expression=_value(node.expression, name, kind))
    raise InvalidQuestionError(
        "a condition may compare columns with fixed values (=, <>, <, <=, >, >=, in, between, like, is null) and join "
        "such comparisons with and, or, not"
    )


def _column(node: exp.Column, columns: Mapping[str, str]) -> tuple[str, str]:
    if not isinstance(node.this, exp.Identifier) or node.args.get("table"):
        raise InvalidQuestionError("name a column alone, without its table")
    name = node.name if node.this.quoted else node.name.lower()
    if name not in columns:
        raise UnknownNameError(f"there is no column or dimension {name[:80]} to compare", wanted=name, names=columns)
    return name, kind_of(columns[name])


def kind_of(data_type: str) -> str:
    """Say which values a column takes: text, number, date, boolean or other.

    Args:
        data_type: of dbt or DuckDB.
    """
    first = re.split(r"[(\s]", data_type.lower())[0]
    if first in ("varchar", "string", "text"):
        return "text"
    if first in ("boolean", "bool"):
        return "boolean"
    if first.startswith(("date", "timestamp")):
        return "date"
    numbers = ("int", "integer", "bigint", "hugeint", "smallint", "tinyint", "decimal", "numeric", "double", "float")
    return "number" if first in numbers else "other"


def _value(node: exp.Expr, name: str, kind: str) -> exp.Expr:
    negative = isinstance(node, exp.Neg)
    literal = node.this if negative else node
    if kind == "boolean" and isinstance(literal, exp.Boolean) and not negative:
        return literal.copy()
    if isinstance(literal, exp.Literal):
        if kind == "number" and not literal.is_string:
            return exp.Neg(this=literal.copy()) if negative else literal.copy()
        if kind == "text" and literal.is_string and not negative:
            return literal.copy()
        if kind == "date" and literal.is_string and not negative and _is_date(literal.name):
            return exp.cast(literal.copy(), "timestamp" if len(literal.name) > 10 else "date")
    # DATE '2026-01-31'.
    if (
        kind == "date"
        and isinstance(node, exp.Cast)
        and isinstance(node.this, exp.Literal)
        and _is_date(node.this.name)
    ):
        return exp.cast(node.this.copy(), "timestamp" if len(node.this.name) > 10 else "date")
    wanted = {
        "number": "a number",
        "text": "a text in single quotes",
        "date": "a day such as '2026-01-31'",
        "boolean": "true or false",
    }
    raise InvalidQuestionError(f"compare {name} with {wanted.get(kind, 'nothing: it cannot be compared')}")


def _is_date(text: str) -> bool:
    try:
        dt.datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
