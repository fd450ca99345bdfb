"""Reading one table by dlt's `sql_table`: its columns, its rows as Arrow tables, its cursor."""

import datetime as dt
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from dlt.extract import DltResource
from dlt.sources.sql_database import TableLoader, sql_table

from ingestion.database.column_types import expression, is_readable, natural_type
from ingestion.database.snapshot import Snapshot
from ingestion.database.tables import CLOCKS, DatabaseTable, KeySweep
from ingestion.pipeline import Pipeline, hints, rebuild
from ingestion.pulls import Pull
from ingestion.raw_tables import DELIVERIES, DELIVERY, RESERVED_PREFIXES, LedgerRow, LoadError, stored_name
from ingestion.source import TableReport
from ingestion.types import TYPES
from warehouse.locks import Say
from warehouse.sql import quote_name

# Rows that are in memory at once.
CHUNK_ROWS = 20_000
SECONDS_BETWEEN_LINES = 10


class Reading:
    """One table of a pull: how it is read, and what was seen on the way.

    Args:
        table: the table.
        snapshot: the open connection.
        pipeline: the way into the raw tables.
        say: called with one line of progress at a time.
    """

    def __init__(self, table: DatabaseTable, snapshot: Snapshot, pipeline: Pipeline, say: Say) -> None:
        self.table = table
        self.snapshot = snapshot
        self.say = say
        self.place = ".".join(part for part in table.place if part)
        # Each pull of a part is a delivery of its own; of whole tables the newest counts.
        part = f" at {snapshot.now:%Y-%m-%d %H:%M:%S.%f}" if table.cursor else ""
        self.pull = Pull(table, self.place + part, f"{snapshot.address}/{self.place}")
        self.cursor_from: Any = None
        self.cursor_to: Any = None
        self.new_columns: dict[str, str] = {}
        self.warnings: list[str] = []
        self.starts_over = self._starts_over(pipeline)
        # Column to number and example of the values that were loaded as null.
        self.nulls: dict[str, tuple[int, Any]] = {}
        self.rows_ahead = 0
        found = snapshot.columns(*table.place)
        if not snapshot.is_of(*table.place):
            self.warnings.append("not stored by InnoDB: rows that changed while tables were read may not fit together")
        # The type that each column is read as, by its name in the database.
        self.kinds = self._kinds(found, pipeline)
        self._read_all_for_new_columns(pipeline)
        self.expressions = [expression(name, found[name], snapshot.backend, kind) for name, kind in self.kinds.items()]

    def resource(self) -> DltResource:
        """Make the dlt resource."""
        schema, name = self.table.place
        metadata = sa.MetaData(schema=schema)
        # Without types: SQLAlchemy is to pass values on as they are.
        sa.Table(name, metadata, *(sa.Column(column) for column in self.kinds))
        resource = sql_table(
            credentials=self.snapshot.engine,
            table=name,
            schema=schema,
            metadata=metadata,
            backend="pyarrow",
            chunk_size=CHUNK_ROWS,
            reflection_level="minimal",
            incremental=self._incremental(),
            table_loader_class=_Loader,
            backend_kwargs={"reading": self},
        ).with_name(self.table.name)
        resource.apply_hints(columns=hints({**self.kinds, DELIVERY: "text"}))
        return self.pull.resource(resource)

    def ledger_row(self) -> LedgerRow:
        """What the ledger says of the rows that were read."""
        return replace(self.pull.ledger_row(), cursor_from=_text(self.cursor_from), cursor_to=_text(self.cursor_to))

    def report(self) -> TableReport:
        """What people are told of the rows that were read."""
        for column, (count, example) in self.nulls.items():
            self.warnings.append(
                f"{column}: {count:,} values that are no {self.kinds[column]} were loaded as null, such as {example}"
            )
        if self.rows_ahead:
            self.warnings.append(
                f"{self.table.cursor}: {self.rows_ahead:,} values are more than a day ahead of the database's clock; "
                "these rows are read again each time"
            )
        return TableReport(
            self.table.name,
            deliveries_found=1,
            deliveries_loaded=1,
            rows_loaded=self.pull.row_count,
            new_columns=self.new_columns,
            warnings=self.warnings,
        )

    def rows(self, query: sa.Select[Any]) -> Iterator[pa.Table]:
        """Read the rows of a query; the cursor's newest value is noted.

        Args:
            query: selects from the table.

        Raises:
            LoadError: the connection broke, a value does not fit its column's type, or the key is not unique.
        """
        self._check_key(query)
        selected = query.with_only_columns(*self.expressions, maintain_column_froms=True)
        self._note_columns()
        yield pa.table([self._array(name, ()) for name in self.kinds], list(self.kinds))
        said = time.monotonic()
        with self.snapshot.explained(self.place):
            result = self.snapshot.connection.execute(
                selected, execution_options={"stream_results": True, "max_row_buffer": CHUNK_ROWS}
            )
            for rows in result.partitions(CHUNK_ROWS):
                columns = zip(*rows, strict=True)
                chunk = pa.table(
                    [self._array(name, values) for name, values in zip(self.kinds, columns, strict=True)],
                    list(self.kinds),
                )
                self._note_cursor(chunk)
                yield chunk
                if time.monotonic() - said > SECONDS_BETWEEN_LINES:
                    said = time.monotonic()
                    self.say(f"{self.table.name}: {self.pull.row_count:,} rows read")
            self.snapshot.check_that_it_was_seen(*self.table.place)

    def _kinds(self, found: Mapping[str, sa.types.TypeEngine[Any]], pipeline: Pipeline) -> dict[str, str]:
        """Decide as which type each column is read: as declared, as loaded before, or as one that holds all values."""
        table = self.table
        undeclared = [name for name in found if name not in table.columns]
        if missing := [name for name in table.columns if name not in found]:
            others = f" It has these that are not declared: {', '.join(undeclared)}." if undeclared else ""
            raise LoadError(
                f"{self.place} has no column {', '.join(missing)} (dropped or renamed).{others} Change the declaration "
                "in the source's module, or have the column brought back; nothing was loaded."
            )
        before = {column: kind for (name, column), kind in pipeline.columns().items() if name == table.name}
        kinds: dict[str, str] = {}
        stored: dict[str, str] = {}
        for name in [*table.columns, *(undeclared if table.load_undeclared else ())]:
            column = stored_name(name)
            if column.startswith(RESERVED_PREFIXES) or column in stored:
                raise LoadError(
                    f"{self.place}: column {name} would be stored as {column}, like "
                    f"{stored.get(column, 'a column of the loader')}. Set load_undeclared=False and declare the "
                    "columns to load; nothing was loaded."
                )
            stored[column] = name
            kinds[name] = self._kind(name, found[name], before.get(column))
            if column not in before:
                if name not in table.columns:
                    self.new_columns[column] = kinds[name]
            elif before[column] != kinds[name]:
                raise LoadError(
                    f"{pipeline.dataset}.{table.name}: column {column} is {before[column]}, declared {kinds[name]}. "
                    f"Declare it {before[column]} again, or: {rebuild(pipeline.paths)} Nothing was loaded."
                )
        return kinds

    def _kind(self, name: str, column: sa.types.TypeEngine[Any], before: str | None) -> str:
        """Decide as which type one column is read.

        Args:
            name: its name in the database.
            column: its type in the database.
            before: the type that it was loaded as earlier, if it was.
        """
        natural = natural_type(column, self.snapshot.backend)
        declared = self.table.columns.get(name)
        kind = TYPES[declared].name if declared else before or natural
        there = _type_text(column, self.snapshot.engine.dialect)
        if not is_readable(column, self.snapshot.backend, kind):
            way_out = f"declared {kind}. Declare it {natural}"
            if not declared:
                way_out = f"but was loaded as {kind} before. Set load_undeclared=False to leave it out"
            raise LoadError(
                f"{self.place}: column {name} is {there}, {way_out}, or have its type corrected; nothing was loaded."
            )
        if isinstance(column, sa.Numeric) and not _holds(kind, natural):
            self.warnings.append(f"{name} is {there}, declared {kind}: a value that does not fit stops the load")
        return kind

    def _starts_over(self, pipeline: Pipeline) -> bool:
        """Say whether all rows are read, whatever dlt remembers of the cursor: rows from before it are not here."""
        if self.table.name not in {known_table for known_table, _ in pipeline.known}:
            return True
        missing = self._missing_rows(pipeline) if isinstance(self.table.deleted_by, KeySweep) else 0
        if missing:
            self.warnings.append(
                f"{missing:,} rows of the last key sweep were never read, for they were committed later than the lag: "
                "all rows are read again; state a longer lag"
            )
        return missing > 0

    def _read_all_for_new_columns(self, pipeline: Pipeline) -> None:
        """Have all rows read again when there are columns that those read earlier do not have."""
        if self.table.cursor is None or self.starts_over:
            return
        before = {column for table, column in pipeline.columns() if table == self.table.name}
        if new := [name for name in self.kinds if stored_name(name) not in before]:
            self.starts_over = True
            self.warnings.append(f"all rows are read again: those read earlier do not have {', '.join(new)}")

    def _missing_rows(self, pipeline: Pipeline) -> int:
        """Count the keys of the newest sweep that the raw table has no row of."""
        sweep = self.table.key_sweep().name
        if sweep not in {known_table for known_table, _ in pipeline.known}:
            return 0
        same = " and ".join(f"loaded.{key} = swept.{key}" for key in map(quote_name, map(stored_name, self.table.keys)))
        (count,) = pipeline.connection.execute(
            f"""
            select count(*)
            from {pipeline.dataset}.{sweep} as swept
            where swept._dlt_load_id = (
                select max(_dlt_load_id) from {pipeline.dataset}.{DELIVERIES} where table_name = '{sweep}'
            ) and not exists (select 1 from {pipeline.dataset}.{self.table.name} as loaded where {same})
            """
        ).fetchall()[0]
        return int(count)

    def _incremental(self) -> Any:
        table = self.table
        if table.cursor is None:
            return None
        lag: float = table.lag if isinstance(table.lag, int) else 0
        if isinstance(table.lag, dt.timedelta):
            # dlt counts a date's lag in days.
            days = table.columns[table.cursor] == "date"
            lag = math.ceil(table.lag / dt.timedelta(days=1)) if days else table.lag.total_seconds()
        return dlt.sources.incremental(table.cursor, lag=lag, on_cursor_value_missing="include")

    def _check_key(self, query: sa.Select[Any]) -> None:
        """Stop when two rows have the same key: they would be versions of each other, and only one would count."""
        keys = self.table.keys
        if not keys or self.snapshot.is_unique(*self.table.place, keys):
            return
        columns: list[sa.ColumnElement[Any]] = [sa.column(key) for key in keys]
        count: sa.ColumnElement[int] = sa.func.count()
        twice = query.with_only_columns(*columns, count, maintain_column_froms=True).group_by(*columns)
        with self.snapshot.explained(self.place):
            found = self.snapshot.connection.execute(twice.having(count > 1).limit(1)).first()
        if found:
            values = ", ".join(f"{key} {value}" for key, value in zip(keys, found, strict=False))
            raise LoadError(
                f"{self.place}: {found[-1]:,} rows have the key {values}. Declare a key that each row has for itself, "
                "or have the rows corrected; nothing was loaded."
            )

    def _note_cursor(self, chunk: pa.Table) -> None:
        """Note the newest value that is not of the future: a single wrong date would hide all changes before it."""
        if self.table.cursor is None:
            return
        values = chunk[self.table.cursor]
        clock = CLOCKS.get(self.kinds[self.table.cursor])
        if clock:
            bound, far = (pa.scalar(clock(self.snapshot.now + dt.timedelta(days=days)), values.type) for days in (0, 1))
            self.rows_ahead += pc.sum(pc.greater(values, far)).as_py() or 0
            values = values.filter(pc.less_equal(values, bound))
        newest = pc.max(values).as_py()
        if newest is not None and (self.cursor_to is None or newest > self.cursor_to):
            self.cursor_to = newest

    def _note_columns(self) -> None:
        """Compare with the columns of the last pull, which dlt keeps, and keep those of this one."""
        state = dlt.current.resource_state(self.table.name)
        if gone := [name for name in state.get("columns", []) if name not in self.kinds]:
            self.warnings.append(f"no longer in the database, null from now on: {', '.join(gone)}")
        state["columns"] = list(self.kinds)

    def _array(self, name: str, values: Sequence[Any]) -> pa.Array:
        """Turn a column's values into its type; numbers and dates that are none become null, and are reported."""
        kind = self.kinds[name]
        try:
            return _convert(values, kind)
        except CANNOT_CONVERT:
            if none := [value for value in values if _is_none(value, kind)]:
                count, example = self.nulls.get(name, (0, none[0]))
                self.nulls[name] = (count + len(none), example)
                values = [None if _is_none(value, kind) else value for value in values]
        try:
            return _convert(values, kind)
        except CANNOT_CONVERT:
            unfit = next(value for value in values if not _fits(value, kind))
            raise LoadError(
                f"{self.place}: {str(unfit)[:60]!r} in column {name} does not fit {kind}. Declare a type that holds it "
                "(text holds everything), or have it corrected; nothing was loaded."
            ) from None


class _Loader(TableLoader):
    """Reads over the snapshot's connection, where dlt's own loader opens one for each table."""

    def load_rows(self, backend_kwargs: dict[str, Any] | None = None) -> Iterator[pa.Table]:
        """Read the rows from the cursor's last value on, and move it to the newest that was read."""
        assert backend_kwargs is not None
        reading: Reading = backend_kwargs["reading"]
        if self.incremental:
            # The server leaves out the rows before the last value. dlt is not to filter them once more: it would drop
            # those of the last value itself that it has seen, and one of them may have changed within the same tick.
            self.incremental.advance(None)
            self.last_value = None if reading.starts_over else _plain(self.last_value)
            reading.cursor_from = self.last_value
        yield from reading.rows(self._make_query())
        if self.incremental and reading.cursor_to is not None:
            self.incremental.advance(reading.cursor_to)


CANNOT_CONVERT = (pa.ArrowException, ArithmeticError, TypeError, ValueError)


def _convert(values: Sequence[Any], kind: str) -> pa.Array:
    if kind == "bool" and any(type(value) is int for value in values):
        # MySQL has no other: whatever is not 0 is true.
        return pa.array(values, pa.int64()).cast(pa.bool_())
    return pa.array(values, TYPES[kind].arrow)


def _fits(value: Any, kind: str) -> bool:
    try:
        _convert([value], kind)
    except CANNOT_CONVERT:
        return False
    return True


def _is_none(value: Any, kind: str) -> bool:
    """A number that is none (NaN, Infinity), or a date of zeros, which PyMySQL returns as text."""
    if isinstance(value, Decimal):
        return not value.is_finite()
    return isinstance(value, str) and kind in CLOCKS


def _holds(kind: str, natural: str) -> bool:
    """Say whether a declared decimal holds every value of the database's."""
    if not (kind.startswith("decimal") and natural.startswith("decimal")):
        return True
    declared, there = TYPES[kind].arrow, TYPES[natural].arrow
    return bool(declared.scale >= there.scale and declared.precision - declared.scale >= there.precision - there.scale)


def _plain(value: Any) -> Any:
    """A cursor's value as the drivers know it; dlt remembers times as a class of its own."""
    if isinstance(value, dt.datetime):
        return dt.datetime.fromisoformat(value.isoformat())
    return dt.date.fromisoformat(value.isoformat()) if isinstance(value, dt.date) else value


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _type_text(column: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> str:
    try:
        return column.compile(dialect).lower()
    except sa.exc.CompileError:
        return "of a type that is not known here"
