"""A source of landed files, in `landing/<source>`: whole tables as CSV, purchases as one Parquet file per day."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from ingestion.file_checks import CheckedDelivery, LandedTable, check, find_deliveries
from ingestion.landed_resources import resources
from ingestion.pipeline import Pipeline
from ingestion.raw_tables import LANDED_FILE, LedgerRow, LoadError, RawTable, newest_deliveries, stored_name
from ingestion.source import TableReport
from ingestion.types import TYPES
from warehouse.locks import Say
from warehouse.paths import Paths
from warehouse.sql import quote_list, quote_name


@dataclass(frozen=True)
class LandedFiles:
    """A source of landed files (see `source.Source`).

    Attributes:
        name: the source's name.
        tables: its tables, each with the files that feed it.
    """

    name: str
    tables: tuple[LandedTable, ...]

    def load(self, pipeline: Pipeline, tables: Sequence[RawTable], say: Say) -> dict[str, TableReport]:
        """Load the files that are new or changed since they were last loaded.

        All are checked before any is loaded; one bad file keeps the good ones out too.

        Args:
            pipeline: the way into the raw tables.
            tables: those of the source's tables to load.
            say: called with one line of progress at a time.

        Returns:
            For each table what was loaded, by name.

        Raises:
            LoadError: a file is missing or cannot be loaded; the raw tables stay as they were.
        """
        chosen = [table for table in self.tables if table in tables]
        deliveries = find_deliveries(pipeline.paths.landing / self.name, chosen)
        reports = {table.name: TableReport(table.name, sum(d.table == table for d in deliveries)) for table in chosen}
        new = [d for d in deliveries if pipeline.known.get((d.table.name, d.landed_file)) != d.sha256]
        if not new:
            return reports
        say(f"{self.name}: checking {len(new):,} new of {len(deliveries):,} landed files")
        checked = [check(delivery) for delivery in new]
        for table_name, columns in _agree_on_new_columns(pipeline, checked).items():
            reports[table_name].new_columns |= columns
        say(f"{self.name}: loading {sum(file.row_count for file in checked):,} rows")
        pipeline.run(
            resources(self.tables, checked),
            [
                LedgerRow(file.delivery.table.name, file.delivery.landed_file, file.delivery.sha256, file.row_count)
                for file in checked
            ],
        )
        for file in checked:
            _note(reports[file.delivery.table.name], file, pipeline.known)
        return reports


@dataclass(frozen=True)
class Comparison:
    """How what was sent compares with the raw table.

    Attributes:
        compared: columns or files that were compared.
        differing: how many of them differ.
        description: what was found, in words.
    """

    compared: int
    differing: int
    description: str


def compare_columns(connection: duckdb.DuckDBPyConnection, source: str, table: RawTable) -> Comparison:
    """Compare a raw table's columns and types with those that its source declares; new ones are named.

    Args:
        connection: the open warehouse.
        source: the source's name.
        table: the table.
    """
    kinds = dict(
        connection.execute(
            "select column_name, data_type from information_schema.columns "
            f"where table_schema = 'raw_{source}' and table_name = '{table.name}'"
        ).fetchall()
    )
    declared = {stored_name(name): TYPES[kind].duckdb for name, kind in table.columns.items()}
    wrong = [
        f"{name} is {kinds.get(name, 'missing')}, declared {kind}"
        for name, kind in declared.items()
        if kinds.get(name) != kind
    ]
    new = sorted(name for name in kinds if name not in declared and not name.startswith("_"))
    text = "; ".join(wrong) or f"All {len(declared)} declared columns are present."
    return Comparison(len(declared), len(wrong), text + (f" New columns: {', '.join(new)}." if new else ""))


def compare_files(connection: duckdb.DuckDBPyConnection, source: str, table: LandedTable, paths: Paths) -> Comparison:
    """Read the day files that are still landed once more, and compare them with their newest version in the raw table.

    Rows and the sums of all amounts must agree, to the cent.

    Args:
        connection: the open warehouse.
        source: the source's name.
        table: the table, one of day files.
        paths: where data lives.
    """
    folder = paths.landing / source
    newest = newest_deliveries(source)
    loaded = set(
        connection.execute(
            f"select landed_file, sha256 from {newest} as newest where table_name = '{table.name}'"
        ).fetchall()
    )
    try:
        landed = find_deliveries(folder, [table])
    except LoadError:
        # Removed since they were loaded: there is nothing left to compare.
        landed = []
    # What came or changed since the load is the next run's delivery.
    files = [str(delivery.path) for delivery in landed if (delivery.landed_file, delivery.sha256) in loaded]
    amounts = [name for name, kind in table.columns.items() if kind == "double"]
    differing: list[tuple[str, int, int]] = []
    if files:
        differing = connection.execute(
            f"""
            with landed as (
                select substr(filename, {len(str(folder)) + 2}) as landed_file, count(*) as row_count,
                    {_cents(amounts)} as cents
                from read_parquet(
                    {quote_list(files)}, filename = true, union_by_name = true, hive_partitioning = false
                )
                group by all
            ),
            arrived as (
                select newest.landed_file, count(*) as row_count,
                    {_cents([stored_name(name) for name in amounts])} as cents
                from {newest} as newest
                join raw_{source}.{table.name} as loaded
                    on loaded.{LANDED_FILE} = newest.landed_file and loaded._dlt_load_id = newest._dlt_load_id
                where newest.table_name = '{table.name}'
                group by all
            )
            select landed_file, landed.row_count, coalesce(arrived.row_count, 0)
            from landed left join arrived using (landed_file)
            where landed.row_count is distinct from arrived.row_count or landed.cents is distinct from arrived.cents
            order by 1
            """
        ).fetchall()
    text = f"{len(files) - len(differing):,} of {len(files):,} landed files have as many rows in raw, with the "
    text += f"same sums of {', '.join(amounts)}."
    if differing:
        text += " These do not: " + ", ".join(
            f"{name} ({landed_rows} rows landed, {raw_rows} in raw)" for name, landed_rows, raw_rows in differing[:3]
        )
        text += ". Have the day sent again, or remove the warehouse to rebuild it from the landed files."
    return Comparison(len(files), len(differing), text)


def _cents(columns: Sequence[str]) -> str:
    """Sums as a list of whole cents: fractions added in another order differ. What is no number counts as nothing."""
    sums = [
        f"sum(case when abs({name}) < 1e12 then cast(round({name} * 100) as hugeint) else 0 end)"
        for name in (quote_name(column) for column in columns)
    ]
    return f"[{', '.join(sums)}]"


def _note(report: TableReport, file: CheckedDelivery, known: Mapping[tuple[str, str], str]) -> None:
    report.files_loaded += 1
    report.rows_loaded += file.row_count
    if (report.name, file.delivery.landed_file) in known:
        report.files_replaced.append(file.delivery.landed_file)


def _agree_on_new_columns(pipeline: Pipeline, checked: Sequence[CheckedDelivery]) -> dict[str, dict[str, str]]:
    """Stop when a column outside the contract changes its type between files or since an earlier load.

    Returns:
        Table -> name in the warehouse -> dlt data type, of the columns that the warehouse does not have yet.
    """
    earlier = pipeline.columns()
    seen: dict[tuple[str, str], tuple[str, str, str]] = {}
    for file in checked:
        for landed_name, kind in file.new_columns.items():
            column = (file.delivery.table.name, stored_name(landed_name))
            first, spelled, where = seen.setdefault(column, (kind, landed_name, file.delivery.landed_file))
            before, then = (earlier[column], "an earlier load") if column in earlier else (first, where)
            if before != kind:
                raise LoadError(
                    f"{file.delivery.path}: column {landed_name} has type {kind}, but in {then} it was {before}. "
                    "Have the file sent again with the same type; nothing was loaded."
                )
            if spelled != landed_name:
                raise LoadError(
                    f"{file.delivery.path}: column {landed_name} is spelled {spelled} in {where}. "
                    "Have the file sent again with the same spelling; nothing was loaded."
                )
    added: dict[str, dict[str, str]] = {}
    for (table, stored), (kind, _, _) in seen.items():
        if (table, stored) not in earlier:
            added.setdefault(table, {})[stored] = kind
    return added
