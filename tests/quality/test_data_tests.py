"""A dbt data test says in a sentence what it checks."""

from typing import Any

import pytest

from quality.data_tests import describe


def node(kind: str, description: str = "", where: str | None = None, **arguments: Any) -> dict[str, Any]:
    return {
        "description": description,
        "config": {"where": where},
        "test_metadata": {"name": kind, "kwargs": {"column_name": "amount", "model": "...", **arguments}},
    }


@pytest.mark.parametrize(
    ("test", "sentence"),
    [
        (node("not_null"), "amount is never missing."),
        (node("not_null", where="step > 0"), "amount is never missing. Only rows where step > 0 are checked."),
        (node("accepted_values", values=["new", "old", 3]), "amount is one of new, old and 3."),
        (node("relationships", to="ref('dim_dates')", field="date_day"), "Every amount is in dim_dates."),
        (node("accepted_range", min_value=0), "amount is at least 0."),
        (node("accepted_range", max_value=1, min_value=0), "amount is at least 0 and at most 1."),
        (node("accepted_range", min_value=0, max_value=9, inclusive=False), "amount is above 0 and below 9."),
        (node("unique_combination_of_columns", combination_of_columns=["a"]), "No two rows have the same a."),
        (
            node("same_sum", to="source('shop', 'purchases')", field="sales"),
            "amount and sales of shop.purchases have the same sum.",
        ),
        (node("not_null", description="Every line\n has one."), "Every line has one."),
    ],
)
def test_a_sentence_follows_from_the_arguments_unless_the_yml_has_one(test: dict[str, Any], sentence: str) -> None:
    assert describe(test) == sentence


def test_a_kind_that_says_nothing_by_its_arguments_needs_a_description() -> None:
    assert describe(node("expression_is_true", expression="amount > 0")) is None
