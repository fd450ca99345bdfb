"""How tables of a database are declared."""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ingestion.raw_tables import LoadError, RawTable
from ingestion.types import TYPES

# Types of cursors that follow the clock, and the server's clock as a value of theirs.
CLOCKS: Mapping[str, Callable[[dt.datetime], dt.date]] = {
    "timestamp with time zone": lambda now: now,
    "timestamp": lambda now: now.replace(tzinfo=None),
    "date": lambda now: now.date(),
}


@dataclass(frozen=True)
class SoftDelete:
    """The shop marks a deleted row in a column: it is no longer null, or true.

    The mark must move the cursor too, or it is not seen.

    Attributes:
        column: the column, one of those declared.
    """

    column: str


@dataclass(frozen=True)
class KeySweep:
    """Each pull reads all keys too, into `<table>_keys`: a row whose key is not among the newest was deleted."""


@dataclass(frozen=True)
class DatabaseTable(RawTable):
    """A table of a database, and how it is read.

    Attributes:
        table: its name in the database, such as public.orders; None: that of the raw table.
        cursor: a column that grows with each change of a row: only rows from its last value on are read. None: the
            table is read whole each time, and its newest pull counts.
        lag: how long before the last value reading begins, for rows that are committed late: a timedelta, or a number
            when the cursor is a number. Rows that are read again are newer versions of the same key.
        deleted_by: how deleted rows of a table with a cursor are known; None: they are not.
        load_undeclared: columns that are not declared are loaded too, and reported; False: they are not read.
    """

    table: str | None = None
    cursor: str | None = None
    lag: dt.timedelta | int | None = None
    deleted_by: SoftDelete | KeySweep | None = None
    load_undeclared: bool = True

    def __post_init__(self) -> None:
        for column, kind in self.columns.items():
            try:
                TYPES[kind]
            except KeyError as error:
                raise self._wrong(f"column {column}: {error.args[0]}") from None
        keys = (self.key,) if isinstance(self.key, str) else self.key or ()
        named = {*keys, self.cursor, getattr(self.deleted_by, "column", None)} - {None}
        if undeclared := sorted(map(str, named - set(self.columns))):
            raise self._wrong(f"{', '.join(undeclared)} must be one of the columns")
        if self.cursor is None:
            if self.lag is not None or self.deleted_by is not None:
                raise self._wrong(
                    "lag and deleted_by need a cursor: of a table that is read whole the newest pull counts"
                )
            return
        if not keys:
            raise self._wrong("a cursor needs a key: what is read again is a newer version of the same key")
        kind = self.columns[self.cursor]
        if kind != "bigint" and kind not in CLOCKS:
            raise self._wrong(f"the cursor {self.cursor} must be a timestamp, a date or a bigint, not {kind}")
        if not isinstance(self.lag, int if kind == "bigint" else dt.timedelta):
            what = "a number" if kind == "bigint" else "a timedelta"
            raise self._wrong(f"state the lag, {what}: how long after {self.cursor} was set a row may be committed")

    @property
    def keys(self) -> tuple[str, ...]:
        """The key whose newest row counts; none where the newest pull counts as a whole."""
        return super().keys if self.cursor else ()

    @property
    def place(self) -> tuple[str | None, str]:
        """Schema and name in the database."""
        schema, _, name = (self.table or self.name).rpartition(".")
        return schema or None, name

    def key_sweep(self) -> "DatabaseTable":
        """The side table that has all keys."""
        columns = {column: self.columns[column] for column in self.keys}
        return DatabaseTable(f"{self.name}_keys", columns, table=self.table or self.name, load_undeclared=False)

    def _wrong(self, what: str) -> LoadError:
        return LoadError(f"the declaration of the table {self.name} is wrong: {what}.")
