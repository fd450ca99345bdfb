"""A source of tables in a PostgreSQL or MySQL/MariaDB database.

All tables of a load are read from one snapshot, over one connection: whole, or from a cursor column's last value on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ingestion.database.reading import Reading
from ingestion.database.snapshot import Snapshot
from ingestion.database.tables import DatabaseTable, KeySweep
from ingestion.pipeline import Pipeline, declared
from ingestion.raw_tables import DELIVERY, LedgerRow, RawTable
from ingestion.source import TableReport
from warehouse.locks import Say


@dataclass(frozen=True)
class Database:
    """A source of tables in a database (see `source.Source`).

    Attributes:
        name: the source's name; the database's address is in dlt's secrets, as sources.<name>.credentials.
        tables: its tables; for a key sweep, <table>_keys is added to those that are given.
    """

    name: str
    tables: tuple[DatabaseTable, ...]

    def __post_init__(self) -> None:
        sweeps = [table.key_sweep() for table in self.tables if isinstance(table.deleted_by, KeySweep)]
        object.__setattr__(self, "tables", (*self.tables, *sweeps))

    def load(self, pipeline: Pipeline, tables: Sequence[RawTable], say: Say) -> dict[str, TableReport]:
        """Pull tables, whole or from their cursor's last value on, all from one snapshot of the database.

        Args:
            pipeline: the way into the raw tables.
            tables: those of the source's tables to load.
            say: called with one line of progress at a time.

        Returns:
            For each table what was loaded, by name.

        Raises:
            LoadError: the database cannot be read, or its columns are not those declared; the raw tables stay as they
                were.
        """
        chosen = [table for table in self.tables if table in tables]
        with Snapshot(self.name) as snapshot:
            say(f"{self.name}: reading {', '.join(table.name for table in chosen)} from {snapshot.address}")
            readings = [Reading(table, snapshot, pipeline, say) for table in chosen]

            def deliveries() -> list[LedgerRow]:
                # All rows are here: the database need not keep the snapshot while they are loaded.
                snapshot.close()
                return [reading.ledger_row() for reading in readings]

            others = [
                declared(table.name, {**table.columns, DELIVERY: "text"})
                for table in self.tables
                if table not in chosen
            ]
            pipeline.run([*(reading.resource() for reading in readings), *others], deliveries)
        return {reading.table.name: reading.report() for reading in readings}
