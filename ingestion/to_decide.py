"""A mark in the module of a source that `ingestion new` wrote: here a person has to say what is meant."""

from typing import Any

from ingestion.raw_tables import LoadError


def to_decide(question: str) -> Any:
    """Stop until a person has put an answer in the place of this call.

    Args:
        question: what is to be decided.

    Raises:
        LoadError: always.
    """
    raise LoadError(
        f"a mark is left in the source's module: {question}. Put your answer in the place of to_decide(...)."
    )
