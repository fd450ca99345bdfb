"""What each dbt data test checks, as a sentence: shown in Dagster and quoted by the data contract."""

import re
from collections.abc import Mapping
from typing import Any

# Generic tests whose sentence follows from their arguments. Every other test has a `description` in its yml.
SENTENCES = {
    "not_null": "{column_name} is never missing.",
    "unique": "{column_name} is unique.",
    "accepted_values": "{column_name} is one of {values}.",
    "relationships": "Every {column_name} is in {to}.",
    "accepted_range": "{column_name} is {range}.",
    "unique_combination_of_columns": "No two rows have the same {combination_of_columns}.",
    "same_total": "{column_name} and {field} of {to} have the same total in each shop.",
    "same_sum": "{column_name} and {field} of {to} have the same sum.",
    "adds_up_to_one": "{column_name} adds up to 1 in each shop.",
}

Node = Mapping[str, Any]


def describe(test: Node) -> str | None:
    """Say what a data test checks.

    Args:
        test: the test's node in dbt's manifest.

    Returns:
        The description in the test's yml, or else a sentence made from its arguments; None when it has neither.
    """
    if test.get("description"):
        return " ".join(str(test["description"]).split())
    metadata = test.get("test_metadata") or {}
    sentence = SENTENCES.get(metadata.get("name", ""))
    if sentence is None:
        return None
    arguments = metadata["kwargs"]
    words = {name: _in_words(value) for name, value in arguments.items()}
    description = sentence.format(**words, range=_range(arguments))
    rows = test["config"].get("where")
    return f"{description} Only rows where {rows} are checked." if rows else description


def _in_words(value: Any) -> str:
    """Write an argument as in a sentence: a list as `a, b and c`, a reference as the table's name."""
    if isinstance(value, list):
        *most, last = map(str, value)
        return f"{', '.join(most)} and {last}" if most else last
    named = re.fullmatch(r"(ref|source)\((.*)\)", str(value))
    return ".".join(re.findall(r"['\"](.+?)['\"]", named[2])) if named else str(value)


def _range(arguments: Mapping[str, Any]) -> str:
    at_least, at_most = ("at least", "at most") if arguments.get("inclusive", True) else ("above", "below")
    limits = [(at_least, arguments.get("min_value")), (at_most, arguments.get("max_value"))]
    return " and ".join(f"{words} {limit}" for words, limit in limits if limit is not None)
