"""Publication: the marts are copied to a file of their own, which then takes the old one's place in one step."""

import contextlib
import datetime as dt
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from delivery.contract import files
from delivery.personal import Table as PersonalTable
from delivery.personal import files_of, name_files, new_files
from delivery.personal import write as write_encrypted
from quality import up_to_date
from quality.audit import is_audited, keeping_marks
from warehouse.connections import PUBLISHED_DELIVERIES, connect, count, database_config, tables
from warehouse.digests import digest
from warehouse.paths import Paths
from warehouse.safe_files import is_disk_full, replacing
from warehouse.sql import quote_name, quote_table, quote_text

# What was published is not changed.
READERS_FILE = 0o444

# What readers have, among the notes of what is up to date.
PUBLISHED = "published"

# How the objectives that were measured stand now, where it is not how they stood in the published copy.
_CHANGED_STANDINGS = """
select count(*)
from quality.slo_status as now
left join published.quality.slo_status as before using (objective)
where
    now.status <> 'not measured'
    and now.status is distinct from coalesce(nullif(before.status, 'not measured'), before.last_status)
"""


@dataclass(frozen=True)
class Publication:
    """What was published.

    Attributes:
        path: the published file.
        row_counts: `schema.table` to rows.
        columns: `schema.table` to the names of its columns.
    """

    path: Path
    row_counts: dict[str, int]
    columns: dict[str, list[str]]


class Description(NamedTuple):
    """What dbt's metadata says of a table.

    Attributes:
        text: what one row is.
        columns: the name of a column to what it holds.
    """

    text: str
    columns: dict[str, str]


@dataclass(frozen=True)
class Encrypted:
    """Personal columns that leave the published file.

    Attributes:
        tables: those that have some.
        key: 32 bytes.
    """

    tables: Sequence[PersonalTable]
    key: bytes = field(repr=False)


class PublicationError(Exception):
    """The copy could not be made or is not whole; the copy published before stays."""


def describe(models: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], Description]:
    """Take the descriptions of tables and columns from dbt's metadata.

    Args:
        models: nodes of dbt's manifest.

    Returns:
        (schema, table) to its description.
    """
    return {
        (node["schema"], node["alias"]): Description(
            node["description"].strip(),
            {name: column["description"].strip() for name, column in node["columns"].items()},
        )
        for node in models
    }


def publication_id(file: Path) -> str:
    """Name a publication: when it was published, UTC, and eight letters that tell it from every other.

    A copy that keeps the time of the file (`cp -p`, `rsync -t`) is the same publication.

    Args:
        file: the published file.
    """
    stat = file.stat()
    published = dt.datetime.fromtimestamp(stat.st_mtime, dt.UTC)
    return f"{published:%Y%m%dT%H%M%SZ}-{digest(stat.st_size, stat.st_mtime_ns)[:8]}"


def publish(
    paths: Paths,
    tables: Sequence[tuple[str, str]],
    contract: Mapping[str, str],
    descriptions: Mapping[tuple[str, str], Description],
    readers: str | None = None,
    encrypted: Encrypted | None = None,
) -> Publication:
    """Copy tables of the warehouse to the published file, and put the contract in the same folder.

    The copy is made under another name, compared row count by row count, written through to the disk and then renamed
    over the old one. A reader that has the old one open keeps reading it; the next to open it sees the new one. Its
    checksum is next to it, as `sha256sum` writes it.

    Args:
        paths: where data lives.
        tables: (schema, table) of each.
        contract: file name to text, as `delivery.contract` gives them, and `delivery.catalogue.metrics`.
        descriptions: of the tables and their columns; they become comments in the copy.
        readers: the group that may read the folder; None: as the user's umask has it.
        encrypted: the personal columns, and the key with which they are written to files of their own; None: they stay
            in the published file.

    Raises:
        PublicationError: the warehouse was not judged good enough, a row count differs, the copy cannot be written, or
            personal columns that are encrypted for readers now would no longer be.
        WarehouseBusyError: another process keeps the warehouse open.
    """
    if not is_audited(paths):
        raise PublicationError(
            "the warehouse was changed since all its checks passed, or they never did. Run the nightly job: it builds, "
            "checks and publishes everything."
        )
    folder = paths.published.parent
    if not encrypted:
        refuse_for_all_readers(paths)
    before = _personal_files(paths.published) if encrypted else []
    personal = new_files(paths.published, encrypted.tables) if encrypted else {}
    # Waits for a process that still has the warehouse open; the copy itself attaches it below.
    connect(paths, read_only=True).close()
    try:
        others = [paths.published_checksum, *(folder / name for name in contract)]
        # The encrypted files first: nothing names them before the published file has its place.
        with replacing(*personal.values(), paths.published, *others) as unfinished:
            copy, checksum, *contract_files = unfinished[len(personal) :]
            for file, text in zip(contract_files, contract.values(), strict=True):
                file.write_text(text, encoding="utf-8")
            written = dict(zip(personal, unfinished, strict=False))
            row_counts, columns = _copy(paths.warehouse, copy, tables, descriptions, encrypted, personal, written)
            sums = {paths.published: copy} | {personal[table]: file for table, file in written.items()}
            checksum.write_text(
                "".join(f"{_sha256(file)}  {target.name}\n" for target, file in sums.items()), encoding="utf-8"
            )
            for file in unfinished:
                file.chmod(READERS_FILE)
            # A reader that opened the old copy for writing left changes that must not meet the new one.
            paths.published.with_name(paths.published.name + ".wal").unlink(missing_ok=True)
    except (duckdb.Error, OSError) as error:
        way_out = f"The disk is full: free some space below {paths.root} and run again. " if is_disk_full(error) else ""
        raise PublicationError(
            f"could not write {paths.published}: {error}. {way_out}{_what_readers_have(paths)}"
        ) from error
    if readers:
        open_to(readers, paths)
    for path in files(folder):
        # Of a schema that is no longer published.
        if path.name not in contract:
            path.unlink()
    # A reader that has the copy before open may still open the files that belong to it.
    needed = {*personal.values(), *before}
    for pattern in (f"{paths.published.stem}.*.parquet", f".{paths.published.stem}.*.parquet.*.part"):
        for path in folder.glob(pattern):
            if path not in needed:
                path.unlink()
    return Publication(paths.published, row_counts, columns)


def refuse_for_all_readers(paths: Paths) -> None:
    """Refuse to publish without a key where the personal columns of the published copy are encrypted.

    Args:
        paths: where data lives.

    Raises:
        PublicationError: they are.
    """
    if _personal_files(paths.published):
        raise PublicationError(
            "the personal columns of the published copy are encrypted, and NEXT_AISLE_PERSONAL_KEY is not set: this "
            "run would publish them for all readers. Nothing is published. Set the key; or, to publish them for all "
            f"readers from now on, remove {paths.published} and run again"
        )


def open_to(group: str, paths: Paths) -> None:
    """Let a group read the published folder, and nothing else of the data folder.

    Args:
        group: the group's name; the user must be one of its members.
        paths: where data lives.

    Raises:
        PublicationError: there is no such group, or it may not be given to the files.
    """
    folder = paths.published.parent
    try:
        for file in (paths.root, folder, *folder.iterdir()):
            shutil.chown(file, group=group)
            # The data folder is passed through, not listed.
            file.chmod(0o710 if file == paths.root else 0o750 if file == folder else 0o440)
    except (LookupError, OSError) as error:
        raise PublicationError(
            f"NEXT_AISLE_READERS is {group}, and the published folder cannot be opened to it: {error}"
        ) from error


def damage(paths: Paths) -> str | None:
    """Say what is wrong with the published file: cut, changed or exchanged since it was published.

    Args:
        paths: where data lives.

    Returns:
        What is wrong, in words. None where it is whole, where nothing was published, and for a copy of a version that
        wrote no checksum.
    """
    if not paths.published.exists() or not paths.published_checksum.exists():
        return None
    try:
        # The published file is the first; the others have its personal columns.
        for line in paths.published_checksum.read_text(encoding="utf-8").splitlines() or [""]:
            expected, _, name = line.partition("  ")
            file = paths.published.with_name(name or paths.published.name)
            if _sha256(file) != expected:
                return f"the published copy {file} is damaged: it is not what was published, says its checksum"
    except (OSError, UnicodeDecodeError) as error:
        return f"the published copy {paths.published} cannot be read: {error}"
    return None


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _personal_files(published: Path) -> list[Path]:
    """The encrypted files that belong to the published file; none where it cannot be read."""
    if published.exists():
        with contextlib.suppress(duckdb.Error), duckdb.connect() as connection:
            connection.execute(f"attach {quote_text(str(published))} as published (read_only)")
            return files_of(connection, published, "published")
    return []


def _what_readers_have(paths: Paths) -> str:
    if not paths.published.exists():
        return "Nothing was published before."
    found = damage(paths)
    return f"And {found}." if found else "The copy published before stays as it was."


def is_current(paths: Paths, models: Sequence[Mapping[str, Any]], promises: Any) -> bool:
    """Tell whether readers have all this already: the same tables, contract and descriptions, and the same standings.

    The record of runs alone is no reason to publish: a run that finds nothing new is in the next copy.

    Args:
        paths: where data lives.
        models: nodes of dbt's manifest, those that are published.
        promises: what else readers are told: the contract, the descriptions, the objectives.
    """
    if not paths.published.exists() or not paths.published_checksum.exists() or damage(paths):
        return False
    with connect(paths, read_only=True) as connection:
        what = _what_is_published(connection, paths, models, promises)
        if what is None or up_to_date.noted(connection).get(PUBLISHED) != what:
            return False
        try:
            connection.execute(f"attach {quote_text(str(paths.published))} as published (read_only)")
            return bool(connection.execute(_CHANGED_STANDINGS).fetchall()[0][0] == 0)
        except duckdb.Error:
            # Of another version of the project.
            return False


def note_current(paths: Paths, models: Sequence[Mapping[str, Any]], promises: Any, run_id: str) -> None:
    """Note what readers have now: the tables and, for the case that the copy is damaged one day, the deliveries.

    Args:
        paths: where data lives.
        models: nodes of dbt's manifest, those that are published.
        promises: what else readers are told: the contract, the descriptions, the objectives.
        run_id: the run that published them.
    """
    with keeping_marks(paths), connect(paths) as connection:
        what = _what_is_published(connection, paths, models, promises)
        if what is not None:
            up_to_date.note(connection, {PUBLISHED: what}, run_id, is_judged=True)
        _note_deliveries(connection, paths)


def _what_is_published(
    connection: duckdb.DuckDBPyConnection, paths: Paths, models: Sequence[Mapping[str, Any]], promises: Any
) -> str | None:
    """A digest of the runs that built the tables and of the file as it is; None where one was built by no known run."""
    runs = up_to_date.built_by(connection)
    built = [runs.get(node["unique_id"]) for node in models]
    if None in built:
        return None
    file = paths.published.stat()
    return digest(built, promises, file.st_size, file.st_mtime_ns)


def note_published_deliveries(paths: Paths) -> int:
    """Note in the warehouse which deliveries readers have: those behind the published copy, none without a copy.

    Those that waited when it was published, because their shop was held, are not among them. Of a damaged copy, the
    warehouse still has the note that was made when it was published.

    Args:
        paths: where data lives.

    Returns:
        How many deliveries these are.
    """
    with connect(paths) as connection:
        if damage(paths) is None or not tables(connection, "raw_published"):
            _note_deliveries(connection, paths)
        return count(connection, PUBLISHED_DELIVERIES)


def published_deliveries(paths: Paths) -> list[tuple[str, str, str]]:
    """Name the deliveries behind the published copy, as the copy itself has them.

    Args:
        paths: where data lives.

    Returns:
        (source, table, delivery) of each, in their order; none where nothing was published.

    Raises:
        PublicationError: the copy is damaged.
    """
    if found := damage(paths):
        raise PublicationError(found)
    with duckdb.connect() as connection:
        _note_deliveries(connection, paths)
        return connection.execute(
            f"select distinct source_name, table_name, delivery from {PUBLISHED_DELIVERIES} order by all"
        ).fetchall()


def _note_deliveries(connection: duckdb.DuckDBPyConnection, paths: Paths) -> None:
    deliveries = "select null::varchar, null::varchar, null::varchar, null::timestamp where false"
    if paths.published.exists() and not damage(paths):
        connection.execute(f"attach {quote_text(str(paths.published))} as published (read_only)")
        columns = connection.execute(
            "select column_name from duckdb_columns() where database_name = 'published' and table_name = 'load_metrics'"
        ).fetchall()
        if columns:
            # What a copy of a version before 0.5.0 calls it.
            delivery = "delivery" if ("delivery",) in columns else "landed_file"
            deliveries = f"select source_name, table_name, {delivery}, delivered_at from published.quality.load_metrics"
            if ("is_held",) in columns:
                deliveries += " where not is_held"
    connection.execute("create schema if not exists raw_published")
    connection.execute(
        f"create or replace table {PUBLISHED_DELIVERIES} as "
        f"from ({deliveries}) as deliveries(source_name, table_name, delivery, delivered_at)"
    )


def _copy(
    source: Path,
    target: Path,
    tables: Sequence[tuple[str, str]],
    descriptions: Mapping[tuple[str, str], Description],
    encrypted: Encrypted | None,
    personal: Mapping[tuple[str, str], Path],
    written: Mapping[tuple[str, str], Path],
) -> tuple[dict[str, int], dict[str, list[str]]]:
    """Copy and describe the tables; gives the rows and the columns of each."""
    row_counts: dict[str, int] = {}
    columns: dict[str, list[str]] = {}
    with duckdb.connect(str(target), config=database_config()) as connection:
        connection.execute(f"attach {quote_text(str(source))} as warehouse (read_only)")
        emptied = {(table.schema, table.name): table for table in encrypted.tables} if encrypted else {}
        for schema, table in tables:
            name = quote_table(schema, table)
            described = descriptions.get((schema, table))
            selected = "*"
            if encrypted and (of := emptied.get((schema, table))):
                write_encrypted(connection, "warehouse", of, written[schema, table], encrypted.key)
                selected = _without(connection, name, of.columns)
                described = described and _encrypted(described, of.columns, personal[schema, table].name)
            connection.execute(f"create schema if not exists {quote_name(schema)}")
            connection.execute(f"create table {name} as select {selected} from warehouse.{name}")
            in_warehouse, in_copy = connection.execute(
                f"select (select count(*) from warehouse.{name}), (select count(*) from {name})"
            ).fetchall()[0]
            if in_warehouse != in_copy:
                raise PublicationError(
                    f"{schema}.{table}: {in_warehouse:,} rows in the warehouse, {in_copy:,} in the copy"
                )
            row_counts[f"{schema}.{table}"] = in_copy
            columns[f"{schema}.{table}"] = connection.table(name).columns
            if described:
                _comment(connection, name, columns[f"{schema}.{table}"], described)
        if personal:
            name_files(connection, personal.values())
        connection.execute("detach warehouse")
        connection.execute("checkpoint")
    return row_counts, columns


def _without(connection: duckdb.DuckDBPyConnection, table: str, columns: Sequence[str]) -> str:
    """What to select of a table of the warehouse so that some columns are empty."""
    types = dict(connection.execute(f"select column_name, column_type from (describe warehouse.{table})").fetchall())
    nulls = ", ".join(f"null::{types[column]} as {quote_name(column)}" for column in columns)
    return f"* replace ({nulls})"


def _encrypted(description: Description, columns: Sequence[str], file: str) -> Description:
    """A table's description that says where its personal columns are."""
    texts = {name: f"{text} Empty here: it is in {file}, encrypted." for name, text in description.columns.items()}
    return Description(description.text, description.columns | {name: texts[name] for name in columns if name in texts})


def _comment(
    connection: duckdb.DuckDBPyConnection, table: str, columns: Sequence[str], description: Description
) -> None:
    """Put the description into the copy, where DuckDB's shell, notebooks and BI tools find it."""
    connection.execute(f"comment on table {table} is {quote_text(description.text)}")
    for column in columns:
        if text := description.columns.get(column):
            connection.execute(f"comment on column {table}.{quote_name(column)} is {quote_text(text)}")
