"""Conditions that people write: what is understood, and what is refused before it reaches the database."""

from typing import Any

import pytest
from sqlglot import exp

from delivery import conditions
from delivery.errors import DoorError, InvalidQuestionError, UnknownNameError

COLUMNS = {"amount": "decimal(18,2)", "name": "string", "bought_on": "date", "at": "timestamp", "is_new": "boolean"}


def parsed(text: str) -> str:
    return conditions.parse(text, COLUMNS, lambda name: exp.column(name, quoted=True)).sql(dialect="duckdb")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("amount >= 100", '"amount" >= 100'),
        ("100 < amount", '100 < "amount"'),
        ("amount = -1.5", '"amount" = -1.5'),
        ("AMOUNT <> 1", '"amount" <> 1'),
        ("name = 'it''s'", "\"name\" = 'it''s'"),
        ("name in ('a', 'b')", "\"name\" IN ('a', 'b')"),
        ("name not in ('a')", "NOT (\"name\" IN ('a'))"),
        ("name like 'a%'", "\"name\" LIKE 'a%'"),
        ("name is not null", 'NOT ("name" IS NULL)'),
        ("is_new and not is_new", '("is_new") AND (NOT ("is_new"))'),
        ("is_new = true or amount > 1", '("is_new" = TRUE) OR ("amount" > 1)'),
        ("bought_on between '2026-01-01' and '2026-01-31'", None),
        ("bought_on >= date '2026-01-01'", "\"bought_on\" >= CAST('2026-01-01' AS DATE)"),
        ("{{ Dimension('amount') }} > 1", '"amount" > 1'),
    ],
)
def test_what_is_understood(text: str, expected: str | None) -> None:
    if expected is None:
        assert "BETWEEN CAST('2026-01-01' AS DATE)" in parsed(text)
    else:
        assert parsed(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "1 = 1", "true", "amount", "amount > name", "amount > 'x'", "name > 1", "name = null", "is_new = 1"),
        *("bought_on = 'yesterday'", "bought_on = 2026", "amount = 1; select 1", "amount in (select 1)"),
        *("length(name) > 1", "cast(name as int) > 1", "name || 'x' = 'y'", "amount + 1 > 2", "exists (select 1)"),
        *("case when is_new then 1 end = 1", "name = (select 'a')", "t.amount > 1", "name similar to 'a'"),
        *("amount > 1 -- x\n; drop table y", "name = '{{ 1 }}'", "{% if x %}", "amount between 1 and name"),
        *("name in (name)", "name in ()", "amount > 1 union select 1", "read_csv('/etc/passwd')", "*", "'"),
        *("(" * 900, "x" * 3_000),
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(DoorError) as raised:
        parsed(text)
    assert raised.value.status in (404, 422)


def test_a_misspelt_column_is_named() -> None:
    with pytest.raises(UnknownNameError, match=r"amuont to compare; did you mean amount\?"):
        parsed("amuont > 1")
    with pytest.raises(InvalidQuestionError, match="compare amount with a number"):
        parsed("amount > 'many'")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("name = 'a''b' and amount > 10.5", "name = ? and amount > ?"), ("bought_on in ('x')", "bought_on in (?)")],
)
def test_the_audit_log_has_no_values(text: str, expected: Any) -> None:
    assert conditions.names(text) == expected
