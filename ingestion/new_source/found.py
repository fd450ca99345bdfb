"""What is found of a shop: tables and columns, whichever way they come in."""

import functools
import re
from dataclasses import dataclass, field

import duckdb

from ingestion.raw_tables import stored_name
from warehouse.sql import quote_name


@dataclass
class Column:
    """A column, as it was found.

    Attributes:
        name: its name in the shop.
        type: its declared type (types.TYPES).
        is_unique: whether each row has a value, and no two rows the same.
        is_empty: whether no row has a value.
        example: one of its values, as text.
        known_as: the name by which it is matched; empty: its stored name.
    """

    name: str
    type: str
    is_unique: bool = False
    is_empty: bool = False
    example: str = ""
    known_as: str = ""

    @property
    def stored(self) -> str:
        """Its name in the warehouse."""
        return stored_name(self.name)

    @property
    def sql(self) -> str:
        """That name as a model writes it: in quotes where SQL has a meaning for the word."""
        return quote_name(self.stored) if self.stored in _reserved() else self.stored

    @property
    def is_moment(self) -> bool:
        """Whether it is a date or a time of a day."""
        return self.type.startswith(("date", "timestamp"))

    @property
    def says_deleted(self) -> bool:
        """Whether a record with a value in it was cancelled or deleted, by its name. Empty text is a value, too."""
        is_named = re.fullmatch("(cancell?ed|deleted)_at", self.stored)
        return bool(is_named) and (self.is_moment or self.is_empty)

    @property
    def is_number(self) -> bool:
        """Whether it is a number."""
        return self.type.startswith(("bigint", "double", "decimal"))


@dataclass
class Found:
    """A table, as it was found.

    Attributes:
        name: the name that its files or its table suggest.
        declaration: how the source's module declares where it comes from: argument to Python.
        columns: its columns.
        rows: SQL for its rows, with the stored names and the declared types.
        row_count: rows that were looked at.
        evidence: what was found and why, a sentence each.
        decide: what is a mark in the declaration, a question each.
        is_pulled: whether its rows are versions of records, from a database or an API.
        is_api: whether it is pulled from an API, of which only changed records become rows.
        key: of a table that is pulled, the columns of its key, as stored.
    """

    name: str
    declaration: dict[str, str]
    columns: list[Column]
    rows: str
    row_count: int = 0
    evidence: list[str] = field(default_factory=list)
    decide: list[str] = field(default_factory=list)
    is_pulled: bool = False
    is_api: bool = False
    key: list[str] = field(default_factory=list)

    def column(self, stored: str) -> Column:
        """Find a column by its name in the warehouse."""
        return next(column for column in self.columns if column.stored == stored)

    def count(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Count the rows, find which columns are unique, and take an example of each."""
        names = [quote_name(column.stored) for column in self.columns]
        counts = ", ".join(f"count({n}), count(distinct {n}), left(cast(min({n}) as varchar), 30)" for n in names)
        self.row_count, *found = connection.execute(f"select count(*), {counts} from {self.rows}").fetchall()[0]
        for column, filled, distinct, example in zip(self.columns, found[::3], found[1::3], found[2::3], strict=True):
            column.is_empty = not filled
            column.is_unique = filled == distinct == self.row_count > 0
            column.example = " ".join(str(example or "empty").split())


@functools.cache
def _reserved() -> set[str]:
    query = "select keyword_name from duckdb_keywords() where keyword_category = 'reserved'"
    return {word for (word,) in duckdb.sql(query).fetchall()}
