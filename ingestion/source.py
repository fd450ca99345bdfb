"""What a source is: a name, tables, and a way to load what is new.

`landed_files.LandedFiles` is a source of files that a shop drops into a folder. Another way in is another class with
the same members; what must hold for all of them (docs/decisions.md, "Loading") is kept by `pipeline.Pipeline`.
"""

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ingestion import sources
from ingestion.pipeline import Pipeline
from ingestion.raw_tables import LoadError, RawTable
from warehouse.locks import Say


@dataclass
class TableReport:
    """What one load did to one raw table.

    Attributes:
        name: the raw table.
        deliveries_found: what there was to load: the landed files of the table, or a pull.
        deliveries_loaded: those of them that were new or had changed.
        deliveries_replaced: those of the loaded ones whose earlier version was loaded before.
        rows_loaded: rows in the loaded files, without those set aside.
        rows_quarantined: rows of the loaded files that were set aside.
        rows_total: rows in the raw table afterwards.
        bytes_loaded: bytes of the landed files that were loaded; None where none were, and of other sources.
        new_columns: columns that came for the first time, with their type.
        fields_not_taken: fields that an API sent and that the table has no column for.
        warnings: what was loaded and deserves a look, a sentence each.
    """

    name: str
    deliveries_found: int
    deliveries_loaded: int = 0
    deliveries_replaced: list[str] = field(default_factory=list)
    rows_loaded: int = 0
    rows_quarantined: int = 0
    rows_total: int = 0
    bytes_loaded: int | None = None
    new_columns: dict[str, str] = field(default_factory=dict)
    fields_not_taken: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Say it in one line."""
        line = f"{self.name}: {self.rows_loaded:,} rows from {self.deliveries_loaded:,} of "
        line += f"{self.deliveries_found:,} deliveries"
        line += f"; {self.rows_total:,} rows in all"
        if self.rows_quarantined:
            line += f"; {self.rows_quarantined:,} in quarantine"
        if self.deliveries_replaced:
            shown = ", ".join(self.deliveries_replaced[:3]) + (", ..." if len(self.deliveries_replaced) > 3 else "")
            line += f"; delivered again with changes: {shown}"
        if self.new_columns:
            line += "; new columns: " + ", ".join(f"{name} ({kind})" for name, kind in self.new_columns.items())
        if self.fields_not_taken:
            line += f"; fields not taken: {', '.join(self.fields_not_taken)}"
        return line


@dataclass(frozen=True)
class LoadReport:
    """What one load did.

    Attributes:
        source: the source's name.
        tables: one report per table, by name.
        deliveries: deliveries ever loaded, each version of them.
        seconds: wall time.
    """

    source: str
    tables: Mapping[str, TableReport]
    deliveries: int
    seconds: float


class Source(Protocol):
    """Where a shop's rows come from.

    Attributes:
        name: the source's name everywhere (docs/decisions.md, D5).
        tables: its raw tables.
    """

    @property
    def name(self) -> str:
        """The source's name."""

    @property
    def tables(self) -> Sequence[RawTable]:
        """Its raw tables."""

    def load(self, pipeline: Pipeline, tables: Sequence[RawTable], say: Say) -> dict[str, TableReport]:
        """Load what is new, and a ledger row for each delivery.

        Args:
            pipeline: the way into the raw tables; it knows which deliveries they have.
            tables: those of the source's tables to load.
            say: called with one line of progress at a time.

        Returns:
            For each table what was loaded, by name.

        Raises:
            LoadError: what was sent cannot be loaded; the raw tables stay as they were.
        """


def names() -> list[str]:
    """List the sources that there are: one for each module below `ingestion/sources`."""
    return sorted(module.name for module in pkgutil.iter_modules(sources.__path__))


def find(name: str) -> Source:
    """Find a source by its name.

    Args:
        name: module name below `ingestion/sources`.

    Raises:
        LoadError: there is no such source.
    """
    if name not in names():
        raise LoadError(f"there is no source {name!r}: ingestion/sources/{name}.py does not exist")
    source: Source = importlib.import_module(f"ingestion.sources.{name}").SOURCE
    if source.name != name:
        raise LoadError(f"the source in ingestion/sources/{name}.py is named {source.name!r}: give both the same name")
    return source
