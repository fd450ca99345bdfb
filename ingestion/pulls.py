"""What sources that pull have in common: each pull of a table is one delivery, counted while its rows pass."""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from dlt.extract import DltResource

from ingestion.raw_tables import DELIVERY, LedgerRow, RawTable


class Pull:
    """One pull of one table: marks its rows, counts them and notes the range that they cover.

    Args:
        table: the raw table.
        delivery: the delivery's name. A table that is pulled whole has the same name each time, so that its newest pull
            counts; one that is pulled in pieces a name for each piece.
        origin: where the rows come from, such as a server and its table; never with a password.
        cursor: the column whose range is noted; None: none.
        cursor_from: where the range begins, where that is known before the first row: rows newer than this.

    Attributes:
        row_count: rows that have passed so far.
    """

    def __init__(
        self, table: RawTable, delivery: str, origin: str, cursor: str | None = None, cursor_from: object = None
    ) -> None:
        self.table = table
        self.delivery = delivery
        self.origin = origin
        self.cursor = cursor
        self.cursor_from = cursor_from
        self.row_count = 0
        self._newest: Any = None

    def resource(self, resource: DltResource) -> DltResource:
        """Have a dlt resource's rows marked, counted and appended to the table.

        Args:
            resource: yields Arrow tables, record batches, dicts or lists of dicts. Its steps so far, an incremental
                cursor too, come before this one.

        Returns:
            The same resource.
        """
        resource.add_map(self._mark)
        resource.apply_hints(table_name=self.table.name, write_disposition="append")
        return resource

    def ledger_row(self) -> LedgerRow:
        """The ledger row of the rows that have passed."""
        return LedgerRow(
            self.table.name,
            self.delivery,
            self.row_count,
            self.origin,
            cursor_from=_text(self.cursor_from),
            cursor_to=_text(self._newest),
        )

    def _mark(self, item: Any) -> Any:
        if isinstance(item, pa.Table | pa.RecordBatch):
            self.row_count += item.num_rows
            if self.cursor and item.num_rows:
                self._note([pc.max(item[self.cursor]).as_py()])
            return item.append_column(DELIVERY, pa.array([self.delivery] * item.num_rows, pa.string()))
        rows = item if isinstance(item, list) else [item]
        self.row_count += len(rows)
        if self.cursor:
            self._note(row.get(self.cursor) for row in rows)
        marked = [{**row, DELIVERY: self.delivery} for row in rows]
        return marked if isinstance(item, list) else marked[0]

    def _note(self, values: Iterable[Any]) -> None:
        known = [value for value in (self._newest, *values) if value is not None]
        self._newest = max(known, default=None)


def _text(value: object) -> str | None:
    return None if value is None else value.isoformat() if hasattr(value, "isoformat") else str(value)
