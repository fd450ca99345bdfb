"""From a text file to a Parquet file of the declared types, a batch at a time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from ingestion.files.formats import JsonLines
from ingestion.files.rows import MORE, ROW, FileRows
from ingestion.files.text import UNDECODABLE
from ingestion.files.values import converted, present
from ingestion.raw_tables import stored_name
from warehouse.sql import quote_name, quote_text

# Of a row with a wrong value: which column, and its text.
WRONG_COLUMN = "wrong column"
WRONG_VALUE = "wrong value"


@dataclass(frozen=True)
class WrongValue:
    """A value that is not of its column's type.

    Attributes:
        row: the row's number in the batches.
        column: the column, as stored.
        text: the value.
    """

    row: int
    column: str
    text: str


@dataclass(frozen=True)
class Converted:
    """A text file as Parquet.

    Attributes:
        path: the Parquet file: the good rows in the order of the file, the columns by their stored names.
        row_count: good rows.
        columns: column to declared type, new ones as text.
        bad_count: records that are no rows, and rows with a wrong value.
        may_be_set_aside: whether they are few enough.
        wrong: rows with a wrong value: all of them where they may be set aside, else the first.
    """

    path: Path
    row_count: int
    columns: Mapping[str, str]
    bad_count: int
    may_be_set_aside: bool
    wrong: Sequence[WrongValue]


def convert(
    rows: FileRows, declared: Mapping[str, str], target: Path, allows: Callable[[int, int], bool] | None
) -> Converted:
    """Write a text file as Parquet, its values converted to the declared types.

    Args:
        rows: the file.
        declared: column, as stored, to declared type.
        target: the Parquet file to write; others next to it begin with its name.
        allows: whether a number of bad rows, of a number of rows in all, may be left out; None: the first bad record is
            an error.

    Returns:
        The Parquet file, and what is not in it.

    Raises:
        LoadError: the file cannot be read; the message names the line.
    """
    columns = {stored_name(name): declared.get(stored_name(name), "text") for name in rows.names}
    skip_bad = allows is not None
    with duckdb.connect(config={"temp_directory": str(target.with_suffix(".tmp"))}) as connection:
        batches = _Batches(rows, skip_bad)
        connection.register("batches", batches.reader())
        try:
            connection.execute(f"copy ({_select(rows, columns, skip_bad)}) to {quote_text(str(target))} {PARQUET}")
        except duckdb.Error as error:
            raise batches.error or error from None
        read, wrong_count = connection.execute(
            f"select count(*), count({quote_name(WRONG_COLUMN)}) from read_parquet({quote_text(str(target))})"
        ).fetchall()[0]
        bad_count = wrong_count + rows.skipped
        may_be_set_aside = allows is not None and allows(bad_count, read + rows.skipped)
        wrong = connection.execute(
            f"select {quote_name(ROW)}, {quote_name(WRONG_COLUMN)}, {quote_name(WRONG_VALUE)} "
            f"from read_parquet({quote_text(str(target))}) where {quote_name(WRONG_COLUMN)} is not null "
            f"order by 1 {'' if may_be_set_aside else 'limit 1'}"
        ).fetchall()
        more = _more_fields(connection, target) if isinstance(rows.values, JsonLines) else []
        if more or (wrong and may_be_set_aside):
            target = _without(connection, target, columns, more)
            columns |= dict.fromkeys(more, "text")
    wrong_values = [WrongValue(*row) for row in wrong]
    return Converted(target, read - wrong_count, columns, bad_count, may_be_set_aside, wrong_values)


PARQUET = "(format parquet, compression lz4_raw)"


def _select(rows: FileRows, columns: Mapping[str, str], skip_bad: bool) -> str:
    """Three steps: null or a text, then the value, then what is wrong."""
    fields = {f"f{position}": kind for position, kind in enumerate(columns.values())}
    others = [quote_name(ROW)] + ([MORE_COLUMN] if isinstance(rows.values, JsonLines) else [])
    texts = [f"{present(field, rows.values)} as {field}" for field in fields]
    values = [f"{converted(field, kind, rows.values)} as v{field}" for field, kind in fields.items() if kind != "text"]
    wrong = {field: f"{field} is not null and v{field} is null" for field, kind in fields.items() if kind != "text"}
    if skip_bad:
        wrong |= {field: f"contains({field}, {quote_text(UNDECODABLE)})" for field in fields if field not in wrong}
    names = dict(zip(fields, columns, strict=True))
    which = " ".join(f"when {test} then {quote_text(names[field])}" for field, test in wrong.items())
    what = " ".join(f"when {test} then {field}" for field, test in wrong.items())
    results = [
        f"{field if kind == 'text' else 'v' + field} as {quote_name(names[field])}" for field, kind in fields.items()
    ]
    return (
        f"with texts as (select {', '.join([*texts, *others])} from batches), "
        f"converted as (select {', '.join(['*', *values])} from texts) "
        f"select {', '.join([*results, *others])}, "
        f"{f'case {which} end' if wrong else 'cast(null as varchar)'} as {quote_name(WRONG_COLUMN)}, "
        f"{f'case {what} end' if wrong else 'cast(null as varchar)'} as {quote_name(WRONG_VALUE)} from converted"
    )


MORE_COLUMN = quote_name(MORE)


def _more_fields(connection: duckdb.DuckDBPyConnection, path: Path) -> list[str]:
    rows = connection.execute(
        f"select distinct unnest(map_keys({MORE_COLUMN})) as name from read_parquet({quote_text(str(path))}) order by 1"
    ).fetchall()
    return [name for (name,) in rows]


def _without(
    connection: duckdb.DuckDBPyConnection, path: Path, columns: Mapping[str, str], more: Sequence[str]
) -> Path:
    """Write the file once more, without its wrong rows and with a column for each field that is not declared."""
    target = path.with_suffix(".good.parquet")
    kept = [quote_name(name) for name in columns]
    added = [f"{MORE_COLUMN}[{quote_text(name)}] as {quote_name(name)}" for name in more]
    connection.execute(
        f"copy (select {', '.join([*kept, *added])} from read_parquet({quote_text(str(path))}) "
        f"where {quote_name(WRONG_COLUMN)} is null) to {quote_text(str(target))} {PARQUET}"
    )
    path.unlink()
    return target


class _Batches:
    """The batches of a file for DuckDB, which reads them from another thread; keeps the error that ended them."""

    def __init__(self, rows: FileRows, skip_bad: bool) -> None:
        self.rows = rows
        self.skip_bad = skip_bad
        self.error: BaseException | None = None

    def reader(self) -> pa.RecordBatchReader:
        """The batches as a stream of Arrow."""
        fields = [pa.field(f"f{position}", pa.string()) for position in range(len(self.rows.names))]
        others = [pa.field(ROW, pa.int64())]
        if isinstance(self.rows.values, JsonLines):
            others.append(pa.field(MORE, pa.map_(pa.string(), pa.string())))
        return pa.RecordBatchReader.from_batches(pa.schema([*fields, *others]), self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self.rows.batches(self.skip_bad)
        except BaseException as error:
            self.error = error
            raise
