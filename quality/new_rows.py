"""Newly delivered rows: how many readers do not have yet, and how many of them were rejected, by kind."""

from dataclasses import dataclass

import duckdb

# The check of newly delivered rows, and the kind of rejected rows that fail it (seed rejection_reasons).
MEASURES = {
    "rows_are_complete": "incomplete",
    "rows_are_not_repeated": "repeated",
    "rows_are_valid": "invalid",
}


@dataclass(frozen=True)
class NewRows:
    """The rows of one raw table that readers do not have yet.

    Attributes:
        rows_read: how many there are.
        rows_failed: for each of `MEASURES`, how many of them fail it.
    """

    rows_read: int
    rows_failed: dict[str, int]

    def attained(self, measure: str) -> float:
        """The share of rows that pass, in per cent; 100 when there are none.

        Args:
            measure: one of `MEASURES`.
        """
        return 100 * (1 - self.rows_failed[measure] / self.rows_read) if self.rows_read else 100.0


def read(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], NewRows]:
    """Read what the model int_new_deliveries counted.

    Args:
        connection: the open warehouse.

    Returns:
        (source, table) to its new rows.
    """
    kinds = ", ".join(f"{kind}_rows" for kind in MEASURES.values())
    rows = connection.execute(
        f"select source_name, table_name, rows_read, {kinds} from intermediate.int_new_deliveries"
    ).fetchall()
    return {
        (source, table): NewRows(read_, dict(zip(MEASURES, failed, strict=True)))
        for source, table, read_, *failed in rows
    }
