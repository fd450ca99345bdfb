"""The way into a source's raw tables, and what holds for every load through it.

Runs twice with the same result, and after a kill at any moment: rows of a load that never finished are removed before
anything else, and a delivery counts as loaded only when dlt has closed its load. Afterwards the ledger of deliveries is
compared with the rows that are there.
"""

import contextlib
import datetime as dt
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import dlt
import duckdb
import pyarrow as pa
from dlt.common.schema.typing import TSchemaContractDict
from dlt.destinations import duckdb as duckdb_destination
from dlt.extract import DltResource
from dlt.pipeline.exceptions import PipelineStepFailed

from ingestion import types
from ingestion.raw_tables import (
    DELIVERIES,
    DELIVERY,
    DELIVERY_COLUMNS,
    QUARANTINE,
    QUARANTINE_COLUMNS,
    LedgerRow,
    LoadError,
    RawTable,
    stored_name,
)
from ingestion.raw_tables import newest_deliveries as newest
from warehouse.connections import PUBLISHED_DELIVERIES
from warehouse.connections import tables as tables_of
from warehouse.paths import Paths
from warehouse.safe_files import is_disk_full
from warehouse.settings import quiet_dlt
from warehouse.sql import quote_name

# New columns are loaded too; a changed type stops the load.
SCHEMA_CONTRACT: TSchemaContractDict = {"tables": "evolve", "columns": "evolve", "data_type": "freeze"}

# What the columns of the loader were called before version 0.5.0.
EARLIER_NAMES = {"_landed_file": DELIVERY, "landed_file": "delivery", "sha256": "digest"}


class Pipeline:
    """The way into the raw tables of one source.

    Args:
        source: the source's name; its tables are in the data set `raw_<source>`.
        tables: all its tables.
        connection: the open warehouse.
        paths: where data lives.

    Attributes:
        known: (table, delivery) to the digest of its newest version that was loaded.
    """

    def __init__(
        self, source: str, tables: Sequence[RawTable], connection: duckdb.DuckDBPyConnection, paths: Paths
    ) -> None:
        self.source = source
        self.dataset = f"raw_{source}"
        # What is set aside is loaded, proven and dropped as the rows of a table are.
        self.tables = [*tables, RawTable(QUARANTINE, QUARANTINE_COLUMNS)]
        self.connection = connection
        self.paths = paths
        self._rename_columns()
        self._settle()
        self.known = self._known()

    def columns(self) -> dict[tuple[str, str], str]:
        """List the columns of the raw tables: (table, column) to dlt data type."""
        rows = self.connection.execute(
            "select table_name, column_name, data_type from information_schema.columns "
            f"where table_schema = '{self.dataset}'"
        ).fetchall()
        return {(table, column): types.of_duckdb(kind) for table, column, kind in rows}

    def run(
        self, resources: Sequence[DltResource], deliveries: Sequence[LedgerRow] | Callable[[], Sequence[LedgerRow]]
    ) -> None:
        """Load resources and, in the same dlt load, their ledger rows: all of it or nothing.

        Args:
            resources: one for each of the source's tables, each to be appended; those without rows declare their table.
            deliveries: what the resources' rows were delivered in; or a function that says so when all rows were read,
                for only then it is known how many came.

        Raises:
            LoadError: the load failed; the raw tables stay as they were.
        """
        self._clock_goes_on()
        pipeline = dlt_pipeline(self.source, self.connection, self.paths)
        try:
            pipeline.run(self._dlt_source([*resources, _ledger(deliveries)]))
        except (PipelineStepFailed, duckdb.Error, OSError) as error:
            # dlt's copy of the rows is of no use now, and on a full disk its space is needed.
            shutil.rmtree(self.paths.dlt / self.source, ignore_errors=True)
            # On a full disk this may fail as well; then the next load does it.
            with contextlib.suppress(duckdb.Error):
                self._settle()
            raise explained(error, self.paths) from error
        self.connection.execute("checkpoint")

    def declare(self) -> None:
        """Make the raw tables that are not there yet, empty: the models of a source that was never loaded read them."""
        existing = tables_of(self.connection, self.dataset)
        sets_aside = any(table.has_quarantine for table in self.tables)
        tables = [table for table in self.tables if table.name != QUARANTINE or sets_aside]
        if not {DELIVERIES, *(table.name for table in tables)} <= existing:
            self.run([declared(table.name, {**table.columns, DELIVERY: "text"}) for table in tables], [])

    def prove_arrival(self) -> None:
        """Compare the ledger with the rows that are there: what was delivered must have arrived.

        Only each delivery's newest version is judged: a file replaced while it is loaded is put right by its next
        delivery.

        Raises:
            LoadError: rows are missing; the message names the delivery.
        """
        for table in self.tables:
            if table.name not in tables_of(self.connection, self.dataset):
                continue
            lost = self.connection.execute(
                f"""
                select newest.delivery, newest.kept_rows, coalesce(arrived.row_count, 0)
                from {newest(self.source)} as newest
                left join (
                    select {DELIVERY} as delivery, _dlt_load_id, count(*) as row_count
                    from {self.dataset}.{table.name}
                    group by all
                ) as arrived using (delivery, _dlt_load_id)
                where newest.table_name = '{table.name}' and newest.kept_rows <> coalesce(arrived.row_count, 0)
                order by 1
                """
            ).fetchall()
            if lost:
                delivery, kept, arrived = lost[0]
                raise LoadError(
                    f"{self.dataset}.{table.name} lost rows: {delivery} was loaded with {kept:,} rows, but "
                    f"{arrived:,} are in the warehouse ({len(lost)} such deliveries). {rebuild(self.paths)}"
                )

    def _known(self) -> dict[tuple[str, str], str]:
        if DELIVERIES not in tables_of(self.connection, self.dataset):
            return {}
        rows = self.connection.execute(
            f"select table_name, delivery, digest from {newest(self.source)} as newest"
        ).fetchall()
        return {(table, delivery): digest for table, delivery, digest in rows}

    def _settle(self) -> None:
        """Bring the raw tables to where the last finished load left them: remove rows of a load that never finished."""
        existing = tables_of(self.connection, self.dataset)
        if not {DELIVERIES, "_dlt_loads"} <= existing:
            return
        for table in existing & {DELIVERIES, *(table.name for table in self.tables)}:
            self.connection.execute(
                f"delete from {self.dataset}.{table} "
                f"where _dlt_load_id not in (select load_id from {self.dataset}._dlt_loads where status = 0)"
            )

    def drop_superseded(self, before: dt.datetime) -> int:
        """Remove row versions that no longer count and were delivered long ago; the ledger says how many.

        Without a key these are the rows of older versions of a delivery. With a key: rows whose key came again in a
        later load, and rows without a key of older versions of a delivery. What counts never changes: a version that
        readers do not have yet, because it may not be published, replaces nothing.

        Args:
            before: versions delivered before this time (UTC, without a zone) are removed.

        Returns:
            The number of rows removed.
        """
        dropped = 0
        for table in self.tables:
            if table.name not in tables_of(self.connection, self.dataset):
                continue
            self.connection.execute("begin")
            self.connection.execute(
                f"""
                create or replace temp table settled as
                select ledger.delivery, ledger._dlt_load_id from {self.dataset}.{DELIVERIES} as ledger
                where ledger.table_name = '{table.name}' and {self._readers_have()}
                """
            )
            self.connection.execute(
                f"""
                create or replace temp table superseded as
                select loaded.rowid as row, loaded.{DELIVERY} as delivery, loaded._dlt_load_id
                from {self.dataset}.{table.name} as loaded
                join {self.dataset}.{DELIVERIES} as ledger
                    on ledger.table_name = '{table.name}' and ledger.delivery = loaded.{DELIVERY}
                    and ledger._dlt_load_id = loaded._dlt_load_id
                where ledger.delivered_at < ? and {self._superseded(table)}
                """,
                [before],
            )
            self.connection.execute(
                f"""
                update {self.dataset}.{DELIVERIES} as ledger set dropped_rows = ledger.dropped_rows + gone.row_count
                from (select delivery, _dlt_load_id, count(*) as row_count from superseded group by all) as gone
                where ledger.table_name = '{table.name}' and ledger.delivery = gone.delivery
                    and ledger._dlt_load_id = gone._dlt_load_id
                """
            )
            self.connection.execute(
                f"delete from {self.dataset}.{table.name} where rowid in (select row from superseded)"
            )
            dropped += self.connection.execute("select count(*) from superseded").fetchall()[0][0]
            self.connection.execute("drop table superseded; drop table settled")
            self.connection.execute("commit")
        if dropped:
            self.connection.execute("checkpoint")
        return dropped

    def _readers_have(self) -> str:
        """SQL for whether readers have a delivery `ledger`; where nothing is published, all that is loaded counts."""
        schema, _, name = PUBLISHED_DELIVERIES.partition(".")
        if name not in tables_of(self.connection, schema):
            return "true"
        return (
            f"exists (select 1 from {PUBLISHED_DELIVERIES} as published where published.source_name = '{self.source}' "
            "and published.table_name = ledger.table_name and published.delivery = ledger.delivery "
            "and published.delivered_at = ledger.delivered_at)"
        )

    def _superseded(self, table: RawTable) -> str:
        """SQL for whether a row `loaded` no longer counts."""
        older = (
            "loaded._dlt_load_id < (select max(_dlt_load_id) from settled as later "
            f"where later.delivery = loaded.{DELIVERY})"
        )
        if not table.keys:
            return older
        keys = [quote_name(stored_name(key)) for key in table.keys]
        same = " and ".join(f"newer.{key} = loaded.{key}" for key in keys)
        newer = (
            f"exists (select 1 from {self.dataset}.{table.name} as newer join settled "
            f"on settled.delivery = newer.{DELIVERY} and settled._dlt_load_id = newer._dlt_load_id "
            f"where {same} and newer._dlt_load_id > loaded._dlt_load_id)"
        )
        return f"({newer} or (({' or '.join(f'loaded.{key} is null' for key in keys)}) and {older}))"

    def _rename_columns(self) -> None:
        """Give the loader's columns in a warehouse of an earlier version their present names."""
        found = {
            (table, column)
            for table, column in self.connection.execute(
                f"select table_name, column_name from information_schema.columns where table_schema = '{self.dataset}'"
            ).fetchall()
            if column in ("_landed_file", *(EARLIER_NAMES if table == DELIVERIES else ()))
        }
        if not found:
            return
        self.connection.execute("begin")
        for table, column in sorted(found):
            self.connection.execute(
                f"alter table {self.dataset}.{table} rename column {column} to {EARLIER_NAMES[column]}"
            )
        for column in ("origin", "cursor_from", "cursor_to"):
            self.connection.execute(f"alter table {self.dataset}.{DELIVERIES} add column {column} varchar")
        self.connection.execute(f"alter table {self.dataset}.{DELIVERIES} add column delivery_date date")
        self.connection.execute(f"alter table {self.dataset}.{DELIVERIES} add column dropped_rows bigint default 0")
        self.connection.execute(
            f"update {self.dataset}.{DELIVERIES} set delivery_date = try_cast(parse_filename(delivery, true) as date)"
        )
        # dlt reads the columns from the tables when it has no record of them.
        self.connection.execute(f"delete from {self.dataset}._dlt_version")
        self.connection.execute("commit")

    def _clock_goes_on(self) -> None:
        """Stop when the clock is before the last load: deliveries are ordered by their time."""
        if "_dlt_loads" not in tables_of(self.connection, self.dataset):
            return
        query = f"select max(cast(load_id as double)) from {self.dataset}._dlt_loads"
        last = self.connection.execute(query).fetchall()[0][0]
        if last is not None and last > time.time():
            raise LoadError(
                f"this machine's clock says {dt.datetime.now():%Y-%m-%d %H:%M}, but {self.source} was last loaded at "
                f"{dt.datetime.fromtimestamp(last):%Y-%m-%d %H:%M}. Nothing was loaded. Correct the clock; or, where "
                "it was wrong then and is right now, load all landed files into a new warehouse: "
                "uv run python -m orchestration rebuild --from-landing"
            )

    def _dlt_source(self, resources: Sequence[DltResource]) -> Any:
        @dlt.source(name=self.source, schema_contract=SCHEMA_CONTRACT)
        def source() -> Sequence[DltResource]:
            return resources

        return source()


def dlt_pipeline(source: str, connection: duckdb.DuckDBPyConnection, paths: Paths) -> dlt.Pipeline:
    """Make the dlt pipeline that loads one source into the data set `raw_<source>`.

    Args:
        source: the source's name.
        connection: the open warehouse. dlt would open and close the file for each table, with a checkpoint each.
        paths: where data lives.
    """
    quiet_dlt()
    settings = {
        # Columnar loads carry the load's number too, so that rows of an unfinished load can be found.
        "normalize.parquet_normalizer.add_dlt_load_id": True,
        "normalize.model_normalizer.add_dlt_load_id": True,
        # Both hold customers' data and are of no use after the load.
        "load.delete_completed_jobs": True,
        "load.truncate_staging_dataset": True,
        # One resource after the other, in the order given.
        "extract.next_item_mode": "fifo",
        # DuckDB spreads one statement over all cores; several at once only cost memory.
        "load.workers": 1,
        # On a local disk, what failed once fails again.
        "load.raise_on_max_retries": 1,
    }
    for key, value in settings.items():
        dlt.config[key] = value
    # dlt's folder is scratch: a killed load leaves half a state there, and a load in it that would be repeated. What
    # dlt has to know is in the warehouse, the rows are in what was delivered.
    shutil.rmtree(paths.dlt / source, ignore_errors=True)
    return dlt.pipeline(
        pipeline_name=source,
        destination=duckdb_destination(connection),
        dataset_name=f"raw_{source}",
        pipelines_dir=str(paths.dlt),
    )


def hints(columns: Mapping[str, str]) -> dict[str, Any]:
    """Declare columns to dlt, so that empty tables and columns exist and types are fixed.

    Args:
        columns: column name to type.

    Returns:
        dlt's column hints by name.
    """
    return {name: {"name": name, **types.TYPES[kind].hint, "nullable": True} for name, kind in columns.items()}


def no_rows(columns: Mapping[str, str]) -> pa.Table:
    """Declare a table that gets no rows. dlt's own mark for it would add a `_dlt_id` that Arrow rows do not have.

    Args:
        columns: column name to dlt data type.
    """
    return _arrow_schema(columns).empty_table()


def declared(table: str, columns: Mapping[str, str], resource: str | None = None) -> DltResource:
    """Make the resource of a raw table that is there, and gets no rows.

    Args:
        table: the raw table.
        columns: column name to type.
        resource: the resource's name, where the table has another one with its rows.
    """
    return dlt.resource(
        [no_rows(columns)],
        name=resource or table,
        table_name=table,
        columns=hints(columns),
        write_disposition="append",
        file_format="parquet",
    )


def rebuild(paths: Paths) -> str:
    """Say how a damaged warehouse is made again.

    Args:
        paths: where data lives.
    """
    return (
        f"Restore a backup (uv run python -m orchestration restore), or have {paths.warehouse} set aside and loaded "
        "again from what can still be delivered, landed files and what databases and APIs still have "
        "(uv run python -m orchestration rebuild --from-landing)."
    )


def explained(error: BaseException, paths: Paths) -> LoadError:
    """Say in one line why a load failed, and the way out.

    Args:
        error: what was raised.
        paths: where data lives.
    """
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, LoadError):
        return cause
    # DuckDB adds the statement below its first line.
    reason = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
    if is_disk_full(cause):
        return LoadError(f"the disk is full: {reason}. Free some space below {paths.root} and run again.")
    return LoadError(f"{reason}. Nothing was loaded; run again. If that does not help: {rebuild(paths)}")


def _ledger(deliveries: Sequence[LedgerRow] | Callable[[], Sequence[LedgerRow]]) -> DltResource:
    """The ledger decides what is new, which version counts, and how many rows must have arrived."""

    def rows() -> Iterator[Any]:
        # The last of the resources: the rows of all others were read.
        delivered = deliveries() if callable(deliveries) else deliveries
        if not delivered:
            yield no_rows(DELIVERY_COLUMNS)
            return
        now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
        yield pa.Table.from_pylist(
            [{**vars(delivery), "dropped_rows": 0, "delivered_at": now} for delivery in delivered],
            schema=_arrow_schema(DELIVERY_COLUMNS),
        )

    return dlt.resource(
        rows, name=DELIVERIES, columns=hints(DELIVERY_COLUMNS), write_disposition="append", file_format="parquet"
    )


def _arrow_schema(columns: Mapping[str, str]) -> pa.Schema:
    return pa.schema([(name, types.TYPES[kind].arrow) for name, kind in columns.items()])
