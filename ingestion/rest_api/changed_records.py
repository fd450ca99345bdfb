"""Which records of a pull are news: what was sent before in the same words is not appended again."""

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.types import TYPES
from warehouse.connections import columns as columns_of
from warehouse.sql import quote_name


class ChangedRecords:
    """Compares the records of a pull with their newest version, in the raw table or earlier in the pull.

    A record is all rows with one record number: an order with its lines. It is news when any of its declared columns
    differs, in any of its rows. Nothing of it is held in Python: DuckDB keeps what it must, on disk when there is much.

    Args:
        connection: the open warehouse.
        dataset: the data set of the raw table.
        table: the raw table; it need not exist yet.
        columns: its declared columns, with their types.
        key: the columns that name a record.
        number: the column with the record's number within its pull.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        dataset: str,
        table: str,
        columns: Mapping[str, str],
        key: Sequence[str],
        number: str,
    ) -> None:
        self._connection = connection
        self._number = number
        self._pulled = quote_name(f"pulled_{table}")
        self._keys = ", ".join(map(quote_name, key))
        self._values = ", ".join(f"{quote_name(name)} := {quote_name(name)}" for name in columns)
        # Arrow's text may be JSON in the table.
        self._sent = ", ".join(
            f"cast({quote_name(name)} as {TYPES[kind].duckdb}) as {quote_name(name)}" for name, kind in columns.items()
        )
        stored = columns_of(connection).get((dataset, table), {})
        # A column that is declared since the last load is not there yet.
        self._stored = ", ".join(
            quote_name(name) if name in stored else f"cast(null as {TYPES[kind].duckdb}) as {quote_name(name)}"
            for name, kind in columns.items()
        )
        self._table = f"{quote_name(dataset)}.{quote_name(table)}" if number in stored else None
        types = ", ".join(f"{quote_name(name)} {TYPES[columns[name]].duckdb}" for name in key)
        connection.execute(f"create or replace temp table {self._pulled} ({types}, record bigint, digest varchar)")

    def of(self, rows: pa.Table) -> pa.Table:
        """Take from the rows of one page those of records that are news.

        Args:
            rows: the columns of the table and the record's number, all rows of a record.
        """
        connection, keys, number = self._connection, self._keys, self._number
        connection.register("page_rows", rows)
        page = self._digests(f"select {self._sent}, {number} as record from page_rows")
        connection.execute(f"create or replace temp table page_digests as {page}")
        news = connection.execute(
            f"""
            with pulled as (
                select {keys}, arg_max(digest, record) as digest
                from {self._pulled} semi join page_digests using ({keys})
                group by {keys}
            ),
            stored as ({self._newest_stored()}),
            page as (
                select *, lag(digest) over (partition by {keys} order by record) as digest_before from page_digests
            )
            select page.record
            from page
            left join pulled using ({keys})
            left join stored using ({keys})
            where page.digest is distinct from coalesce(page.digest_before, pulled.digest, stored.digest)
            """
        ).fetchall()
        connection.execute(f"insert into {self._pulled} by name from page_digests")
        connection.unregister("page_rows")
        return rows.filter(pc.is_in(rows[number], value_set=pa.array([record for (record,) in news], pa.int64())))

    def repeated(self) -> int:
        """Count the records that came more than once in this pull."""
        keys = self._keys
        sql = f"select count(*) from (select {keys} from {self._pulled} group by {keys} having count(*) > 1)"
        return int(self._connection.execute(sql).fetchall()[0][0])

    def _newest_stored(self) -> str:
        if self._table is None:
            return f"select {self._keys}, digest from page_digests where false"
        newest = f"""
            select {self._stored}, 0 as record
            from {self._table} semi join page_digests using ({self._keys})
            qualify rank() over (
                partition by {self._keys} order by _dlt_load_id desc, {self._number} desc nulls last
            ) = 1
        """
        return f"select * exclude (record) from ({self._digests(newest)})"

    def _digests(self, rows: str) -> str:
        """SQL for one digest per record, whatever the order of its rows."""
        return f"""
            select {self._keys}, record, md5(string_agg(row_digest, '' order by row_digest)) as digest
            from (
                select {self._keys}, record, md5(cast(to_json(struct_pack({self._values})) as varchar)) as row_digest
                from ({rows}) as sent
            )
            group by {self._keys}, record
        """
