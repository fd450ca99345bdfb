"""A source of landed files, in `landing/<source>`: whole tables and days, in any of the formats of `files.formats`."""

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from ingestion import day_rules
from ingestion import source as sources
from ingestion.file_checks import (
    REPLAYED,
    CheckedDelivery,
    Delivery,
    LandedTable,
    check,
    find_deliveries,
    open_parquet,
    sha256,
)
from ingestion.files.formats import Parquet
from ingestion.landed_resources import resources
from ingestion.locations import fetched, fetched_folder
from ingestion.pipeline import Pipeline, rebuild
from ingestion.raw_tables import DELIVERY, QUARANTINE, LedgerRow, LoadError, RawTable, newest_deliveries, stored_name
from ingestion.remote_files import check_location
from ingestion.source import TableReport
from ingestion.types import TYPES
from warehouse.locks import Say
from warehouse.paths import Paths
from warehouse.sql import quote_text


@dataclass(frozen=True)
class LandedFiles:
    """A source of landed files (see `source.Source`).

    Attributes:
        name: the source's name.
        tables: its tables, each with the files that feed it.
        location: where its files are, when that is not the landing folder: the URL of a folder in object storage or on
            a server (s3://bucket/folder, gs://, az://, sftp://server/folder), or the path of a folder elsewhere.
    """

    name: str
    tables: tuple[LandedTable, ...]
    location: str | None = None

    def __post_init__(self) -> None:
        if self.location is not None:
            check_location(self.location)

    @property
    def origin(self) -> str:
        """Where its files are, in words for the ledger."""
        return self.location.rstrip("/") if self.location else f"landing/{self.name}"

    def folder(self, paths: Paths) -> Path:
        """The folder here that has its files; of another location, those that the last load fetched.

        Args:
            paths: where data lives.
        """
        return fetched_folder(paths, self.name) if self.location else paths.landing / self.name

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
        if self.location is None:
            deliveries = find_deliveries(self.folder(pipeline.paths), chosen, self.tables)
            return self._load_new(pipeline, chosen, deliveries, say)
        with fetched(self.name, self.origin, chosen, self.tables, pipeline.known, pipeline.paths, say) as files:
            reports = self._load_new(pipeline, chosen, files.deliveries, say)
        for table, warning in files.warnings.items():
            reports[table].warnings.append(warning)
        return reports

    def _load_new(
        self, pipeline: Pipeline, chosen: Sequence[LandedTable], deliveries: Sequence[Delivery], say: Say
    ) -> dict[str, TableReport]:
        reports = {table.name: TableReport(table.name, sum(d.table == table for d in deliveries)) for table in chosen}
        new = [d for d in deliveries if pipeline.known.get((d.table.name, d.name)) != d.digest]
        with scratch(pipeline.paths.converted / self.name) as folder:
            if new:
                say(f"{self.name}: checking {len(new):,} new of {len(deliveries):,} landed files")
                checked = [check(delivery, folder) for delivery in new]
                day_rules.check_content(checked, deliveries, pipeline.known)
                self._load(pipeline, checked, reports, say)
        return reports

    def _load(
        self, pipeline: Pipeline, checked: Sequence[CheckedDelivery], reports: dict[str, TableReport], say: Say
    ) -> None:
        days = [_Days(pipeline, table, checked) for table in self.tables if table.name in reports]
        for table_name, columns in _agree_on_new_columns(pipeline, checked).items():
            reports[table_name].new_columns |= columns
        say(f"{self.name}: loading {sum(file.row_count for file in checked):,} rows")
        pipeline.run(
            resources(self.tables, checked),
            [row for file in checked for row in ledger_rows(file, self.origin, pipeline.known)],
        )
        for file in checked:
            _note(reports[file.delivery.table.name], file, pipeline.known)
        for of_table in days:
            reports[of_table.table.name].warnings += of_table.warnings()


def ledger_rows(file: CheckedDelivery, origin: str, known: Mapping[tuple[str, str], str]) -> list[LedgerRow]:
    """Make the ledger rows of a file: of its rows, of those set aside, and of what it replaces.

    A file that comes again replaces what was replayed of its quarantined rows too: it has them itself.

    Args:
        file: the file.
        origin: the folder that it came from.
        known: (table, delivery) to the digest of its newest version that was loaded.
    """
    delivery = file.delivery
    rows = [
        LedgerRow(
            delivery.table.name, delivery.name, file.row_count, origin, delivery.digest, delivery_date=delivery.day
        )
    ]
    if file.bad_rows or (QUARANTINE, delivery.name) in known:
        rows.append(LedgerRow(QUARANTINE, delivery.name, len(file.bad_rows), origin, delivery_date=delivery.day))
    replayed = [
        name for table, name in known if table == delivery.table.name and name.startswith(f"{REPLAYED}{delivery.name}/")
    ]
    return rows + [LedgerRow(delivery.table.name, name, 0, origin, delivery_date=delivery.day) for name in replayed]


class _Days:
    """What is to be said of the days of one table's new files (see `day_rules`).

    Args:
        pipeline: the way into the raw tables, before the load.
        table: the table.
        checked: the files to load, of all tables.

    Raises:
        LoadError: a file's rows are of another day.
    """

    def __init__(self, pipeline: Pipeline, table: LandedTable, checked: Sequence[CheckedDelivery]) -> None:
        self.pipeline = pipeline
        self.table = table
        self.files = [file for file in checked if file.delivery.table == table]
        self.of_other_days = {file.delivery.name: count for file in self.files if (count := day_rules.check_days(file))}
        again = [file for file in self.files if (table.name, file.delivery.name) in pipeline.known]
        names = [file.delivery.name for file in again]
        self.replaced = day_rules.Replaced(pipeline.connection, pipeline.source, table, names)
        self.emptied = [
            file.delivery.name for file in again if table.key is None and not file.row_count and self._had_rows(file)
        ]

    def warnings(self) -> list[str]:
        """Say what deserves a look, after the load."""
        said = []
        if self.emptied:
            said.append(f"delivered again without any row: {_some(self.emptied)}")
        if self.of_other_days:
            files = [f"{name} ({count:,})" for name, count in self.of_other_days.items()]
            said.append(f"some rows are of other days than their file: {_some(files)}")
        vanished = self.replaced.vanished()
        if vanished:
            said.append(f"days that had rows have none after files came again: {_some([str(day) for day in vanished])}")
        twice = day_rules.lines_in_two_files(
            self.pipeline.connection, self.pipeline.source, self.table, [file.delivery.name for file in self.files]
        )
        if twice:
            files = [f"{count:,} of {new} in {other}" for new, other, count in twice]
            said.append(f"lines stand in two files: {_some(files)}")
        return said

    def _had_rows(self, file: CheckedDelivery) -> bool:
        query = (
            f"select 1 from {newest_deliveries(self.pipeline.source)} as newest "
            f"where table_name = {quote_text(self.table.name)} and delivery = {quote_text(file.delivery.name)} "
            "and kept_rows > 0"
        )
        return self.pipeline.connection.execute(query).fetchone() is not None


def _some(texts: Sequence[str]) -> str:
    return ", ".join(texts[:3]) + (f" and {len(texts) - 3:,} more" if len(texts) > 3 else "")


@contextlib.contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Give a folder for converted files; what a killed load left in it is removed first.

    Args:
        folder: the folder; it is removed in the end.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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

    Rows and the sums of all amounts must agree, to the cent. Text files are read again only of the newest load, for
    converting all of them each night would take as long as loading them.

    Args:
        connection: the open warehouse.
        source: the source's name.
        table: the table, one of day files.
        paths: where data lives.
    """
    landed_files = sources.find(source)
    assert isinstance(landed_files, LandedFiles), "only landed files have day files"
    folder = landed_files.folder(paths)
    loaded = connection.execute(
        f"""
        select newest.delivery, newest.digest, newest._dlt_load_id, count(loaded.{DELIVERY}),
            {_cents([f"loaded.{name}" for name in _amounts(table)])}
        from {newest_deliveries(source)} as newest
        left join raw_{source}.{table.name} as loaded
            on loaded.{DELIVERY} = newest.delivery and loaded._dlt_load_id = newest._dlt_load_id
        where newest.table_name = '{table.name}'
        group by all
        order by newest.delivery
        """
    ).fetchall()
    last_load = max((load_id for _, _, load_id, _, _ in loaded), default=None)
    is_parquet = isinstance(table.format, Parquet)
    compared, differing = 0, []
    with scratch(paths.converted / f"{source}_compared") as converted:
        for name, digest, load_id, *in_raw in loaded:
            # What came, changed or went since the load is not compared: it is the next run's delivery, or none.
            path = folder / name
            if not path.is_file() or sha256(path) != digest or not (is_parquet or load_id == last_load):
                continue
            delivery = Delivery(table, path, name, digest)
            file = (open_parquet if is_parquet else check)(delivery, converted)
            landed = connection.execute(
                f"""
                select count(*), {_cents([file.values[name] for name in _amounts(table)])}
                from read_parquet({quote_text(str(file.path))}, hive_partitioning = false) as landed
                """
            ).fetchall()[0]
            compared += 1
            if list(landed) != in_raw:
                differing.append(f"{name} ({landed[0]} rows landed, {in_raw[0]} in raw)")
    text = f"{compared - len(differing):,} of {compared:,} landed files have as many rows in raw, with the "
    text += f"same sums of {', '.join(_amounts(table))}."
    if differing:
        text += f" These do not: {', '.join(differing[:3])}. Have the day sent again. {rebuild(paths)}"
    return Comparison(compared, len(differing), text)


def _amounts(table: LandedTable) -> list[str]:
    return [name for name, kind in table.columns.items() if kind == "double" or kind.startswith("decimal")]


def _cents(columns: Sequence[str]) -> str:
    """Sums as a list of whole cents: fractions added in another order differ. What is no number counts as nothing."""
    sums = [
        f"coalesce(sum(case when abs({column}) < 1e12 then cast(round({column} * 100) as hugeint) else 0 end), 0)"
        for column in columns
    ]
    return f"[{', '.join(sums)}]"


def _note(report: TableReport, file: CheckedDelivery, known: Mapping[tuple[str, str], str]) -> None:
    report.deliveries_loaded += 1
    report.rows_loaded += file.row_count
    report.bytes_loaded = (report.bytes_loaded or 0) + file.delivery.path.stat().st_size
    report.rows_quarantined += len(file.bad_rows)
    if file.bad_rows:
        report.warnings.append(
            f"{file.delivery.name}: {len(file.bad_rows):,} of {file.row_count + len(file.bad_rows):,} rows are in "
            f"quarantine, the first is line {file.bad_rows[0].line}: {file.bad_rows[0].reason}"
        )
    if (report.name, file.delivery.name) in known:
        report.deliveries_replaced.append(file.delivery.name)


def _agree_on_new_columns(pipeline: Pipeline, checked: Sequence[CheckedDelivery]) -> dict[str, dict[str, str]]:
    """Stop when a column outside the contract changes its type between files or since an earlier load.

    Returns:
        Table -> name in the warehouse -> dlt data type, of the columns that the warehouse does not have yet.
    """
    earlier = pipeline.columns()
    seen: dict[tuple[str, str], tuple[str, str]] = {}
    for file in checked:
        for name, kind in file.new_columns.items():
            column = (file.delivery.table.name, name)
            first, where = seen.setdefault(column, (kind, file.delivery.name))
            before, then = (earlier[column], "an earlier load") if column in earlier else (first, where)
            if before != kind:
                raise LoadError(
                    f"{file.delivery.path}: column {name} has type {kind}, but in {then} it was {before}. "
                    "Have the file sent again with the same type; nothing was loaded."
                )
    added: dict[str, dict[str, str]] = {}
    for (table, name), (kind, _) in seen.items():
        if (table, name) not in earlier:
            added.setdefault(table, {})[name] = kind
    return added
