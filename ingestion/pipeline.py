"""The way into a source's raw tables, and what holds for every load through it.

Runs twice with the same result, and after a kill at any moment: rows of a load that never finished are removed before
anything else, and a delivery counts as loaded only when dlt has closed its load. Afterwards the ledger of deliveries is
compared with the rows that are there.
"""

import contextlib
import datetime as dt
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dlt
import duckdb
import pyarrow as pa
from dlt.common.schema.typing import TSchemaContractDict
from dlt.destinations import duckdb as duckdb_destination
from dlt.extract import DltResource
from dlt.pipeline.exceptions import PipelineStepFailed

from ingestion import types
from ingestion.raw_tables import DELIVERIES, DELIVERY_COLUMNS, LANDED_FILE, LedgerRow, LoadError, RawTable
from ingestion.raw_tables import newest_deliveries as newest
from warehouse.connections import tables as tables_of
from warehouse.paths import Paths
from warehouse.safe_files import is_disk_full
from warehouse.settings import quiet_dlt

# New columns are loaded too; a changed type stops the load.
SCHEMA_CONTRACT: TSchemaContractDict = {"tables": "evolve", "columns": "evolve", "data_type": "freeze"}

# Before the name of a keyed table: its rows as they were, for as long as a load is under way.
BEFORE = "_before_"


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
        self.tables = tables
        self.connection = connection
        self.paths = paths
        self._settle()
        self.known = self._known()

    def columns(self) -> dict[tuple[str, str], str]:
        """List the columns of the raw tables: (table, column) to dlt data type."""
        rows = self.connection.execute(
            "select table_name, column_name, data_type from information_schema.columns "
            f"where table_schema = '{self.dataset}'"
        ).fetchall()
        return {(table, column): types.of_duckdb(kind) for table, column, kind in rows}

    def run(self, resources: Sequence[DltResource], deliveries: Sequence[LedgerRow]) -> None:
        """Load resources and, in the same dlt load, their ledger rows.

        Args:
            resources: one for each of the source's tables; those without rows declare their table.
            deliveries: what the resources' rows were delivered in.

        Raises:
            LoadError: the load failed; the raw tables stay as they were.
        """
        self._clock_goes_on()
        existing = tables_of(self.connection, self.dataset)
        loaded = {delivery.table_name for delivery in deliveries}
        for table in self.tables:
            if table.key and table.name in loaded & existing:
                # A merge removes the replaced rows before dlt closes the load: kept until then, for _settle.
                self.connection.execute(
                    f"create or replace table {self.dataset}.{BEFORE}{table.name} as from {self.dataset}.{table.name}"
                )
        try:
            self._dlt_pipeline().run(self._dlt_source([*resources, _ledger(deliveries)]))
        except (PipelineStepFailed, duckdb.Error, OSError) as error:
            # dlt's copy of the rows is of no use now, and on a full disk its space is needed.
            shutil.rmtree(self.paths.dlt / self.source, ignore_errors=True)
            # On a full disk this may fail as well; then the next load does it.
            with contextlib.suppress(duckdb.Error):
                self._settle()
            raise explained(error, self.paths) from error
        self._settle()
        self.connection.execute("checkpoint")

    def prove_arrival(self) -> None:
        """Compare the ledger with the rows that are there: what was delivered must have arrived.

        Only each delivery's newest version is judged: a file replaced while it is loaded is put right by its next
        delivery. Tables with a key keep no row for each delivered one, and are left out.

        Raises:
            LoadError: rows are missing; the message names the delivery.
        """
        for table in self.tables:
            if table.key is not None or table.name not in tables_of(self.connection, self.dataset):
                continue
            lost = self.connection.execute(
                f"""
                select newest.landed_file, newest.row_count, coalesce(arrived.row_count, 0)
                from {newest(self.source)} as newest
                left join (
                    select {LANDED_FILE} as landed_file, _dlt_load_id, count(*) as row_count
                    from {self.dataset}.{table.name}
                    group by all
                ) as arrived using (landed_file, _dlt_load_id)
                where newest.table_name = '{table.name}' and newest.row_count <> coalesce(arrived.row_count, 0)
                order by 1
                """
            ).fetchall()
            if lost:
                landed_file, delivered, arrived = lost[0]
                raise LoadError(
                    f"{self.dataset}.{table.name} lost rows: {landed_file} was delivered with {delivered:,} rows, "
                    f"but {arrived:,} are in the warehouse ({len(lost)} such files). Remove {self.paths.warehouse} and "
                    "run again: it is rebuilt from the files that are still in the landing folder."
                )

    def _known(self) -> dict[tuple[str, str], str]:
        if DELIVERIES not in tables_of(self.connection, self.dataset):
            return {}
        rows = self.connection.execute(
            f"select table_name, landed_file, sha256 from {newest(self.source)} as newest"
        ).fetchall()
        return {(table, landed_file): sha256 for table, landed_file, sha256 in rows}

    def _settle(self) -> None:
        """Bring the raw tables to where the last finished load left them."""
        connection, dataset = self.connection, self.dataset
        existing = tables_of(connection, dataset)
        if not {DELIVERIES, "_dlt_loads"} <= existing:
            return
        unfinished = f"_dlt_load_id not in (select load_id from {dataset}._dlt_loads where status = 0)"
        for table in existing & {DELIVERIES, *(table.name for table in self.tables)}:
            before = f"{BEFORE}{table}"
            connection.execute("begin")
            if before in existing:
                if connection.execute(f"select 1 from {dataset}.{table} where {unfinished} limit 1").fetchone():
                    connection.execute(f"delete from {dataset}.{table}")
                    connection.execute(f"insert into {dataset}.{table} by name from {dataset}.{before}")
                connection.execute(f"drop table {dataset}.{before}")
            connection.execute(f"delete from {dataset}.{table} where {unfinished}")
            connection.execute("commit")
        for keyed in self.tables:
            if keyed.key and keyed.name in existing:
                # No key replaces a row without one; it goes when its file has come again.
                connection.execute(
                    f"delete from {dataset}.{keyed.name} where {keyed.key} is null and _dlt_load_id < "
                    f"(select max(_dlt_load_id) from {dataset}.{DELIVERIES} where table_name = '{keyed.name}')"
                )

    def _clock_goes_on(self) -> None:
        """Stop when the clock is before the last load: deliveries are ordered by their time."""
        if "_dlt_loads" not in tables_of(self.connection, self.dataset):
            return
        query = f"select max(cast(load_id as double)) from {self.dataset}._dlt_loads"
        last = self.connection.execute(query).fetchall()[0][0]
        if last is not None and last > time.time():
            raise LoadError(
                f"this machine's clock says {dt.datetime.now():%Y-%m-%d %H:%M}, but {self.source} was last loaded at "
                f"{dt.datetime.fromtimestamp(last):%Y-%m-%d %H:%M}. Correct the clock; nothing was loaded."
            )

    def _dlt_source(self, resources: Sequence[DltResource]) -> Any:
        @dlt.source(name=self.source, schema_contract=SCHEMA_CONTRACT)
        def source() -> Sequence[DltResource]:
            return resources

        return source()

    def _dlt_pipeline(self) -> dlt.Pipeline:
        return dlt_pipeline(self.source, self.connection, self.paths)


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
        columns: column name to dlt data type.

    Returns:
        dlt's column hints by name.
    """
    declared: dict[str, Any] = {
        name: {"name": name, "data_type": kind, "nullable": True} for name, kind in columns.items()
    }
    for hint in declared.values():
        if hint["data_type"] == "timestamp":
            # By the shop's clock, without a time zone. dlt would take it as UTC.
            hint["timezone"] = False
    return declared


def no_rows(columns: Mapping[str, str]) -> pa.Table:
    """Declare a table that gets no rows. dlt's own mark for it would add a `_dlt_id` that Arrow rows do not have.

    Args:
        columns: column name to dlt data type.
    """
    return _arrow_schema(columns).empty_table()


def explained(error: BaseException, paths: Paths) -> LoadError:
    """Say in one line why a load failed, and the way out.

    Args:
        error: what was raised.
        paths: where data lives.
    """
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    # DuckDB adds the statement below its first line.
    reason = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
    if is_disk_full(cause):
        return LoadError(f"the disk is full: {reason}. Free some space below {paths.root} and run again.")
    return LoadError(
        f"{reason}. Nothing was loaded; run again. If that does not help, remove {paths.warehouse}: "
        "it is rebuilt from the files that are still in the landing folder."
    )


def _ledger(deliveries: Sequence[LedgerRow]) -> DltResource:
    """The ledger decides what is new, which version counts, and how many rows must have arrived."""

    def rows() -> Iterator[Any]:
        if not deliveries:
            yield no_rows(DELIVERY_COLUMNS)
            return
        now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
        yield pa.Table.from_pylist(
            [{**vars(delivery), "delivered_at": now} for delivery in deliveries],
            schema=_arrow_schema(DELIVERY_COLUMNS),
        )

    return dlt.resource(
        rows, name=DELIVERIES, columns=hints(DELIVERY_COLUMNS), write_disposition="append", file_format="parquet"
    )


def _arrow_schema(columns: Mapping[str, str]) -> pa.Schema:
    return pa.schema([(name, types.TYPES[kind].arrow) for name, kind in columns.items()])
