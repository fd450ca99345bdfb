"""Newly delivered rows: how many readers do not have yet, and how many of them were rejected, by kind."""

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from quality.objectives import Objectives
from quality.results import Check
from quality.verdict import judge
from quality.words import per_cent

# The check of newly delivered rows, and the kind of rejected rows that fail it (seed rejection_reasons).
MEASURES = {
    "rows_are_complete": "incomplete",
    "rows_are_not_repeated": "repeated",
    "rows_are_valid": "invalid",
}


# The model that counts them, as dbt names it.
MODEL = "model.next_aisle.int_new_deliveries"


@dataclass(frozen=True)
class NewRows:
    """The rows of one raw table that readers do not have yet.

    Attributes:
        rows_read: how many there are.
        rows_failed: for each of `MEASURES`, how many of them fail it.
        rows_usual: for each of `MEASURES`, how many more would, if they were not usual in the shop.
    """

    rows_read: int
    rows_failed: dict[str, int]
    rows_usual: dict[str, int]

    def attained(self, measure: str) -> float:
        """The share of rows that pass, in per cent; 100 when there are none.

        Args:
            measure: one of `MEASURES`.
        """
        return 100 * (1 - self.rows_failed[measure] / self.rows_read) if self.rows_read else 100.0

    def describe(self, measure: str) -> str:
        """Say how many rows fail, and the share that passes.

        Args:
            measure: one of `MEASURES`.
        """
        failed, share = self.rows_failed[measure], per_cent(self.attained(measure))
        return f"{failed:,} of {self.rows_read:,} newly delivered rows fail: {share} pass"


NONE = NewRows(0, dict.fromkeys(MEASURES, 0), dict.fromkeys(MEASURES, 0))


def read(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], NewRows]:
    """Read what the model int_new_deliveries counted.

    Args:
        connection: the open warehouse.

    Returns:
        (source, table) to its new rows.
    """
    kinds = ", ".join(f"{prefix}{kind}_rows" for prefix in ("", "usual_") for kind in MEASURES.values())
    rows = connection.execute(
        f"select source_name, table_name, rows_read, {kinds} from intermediate.int_new_deliveries"
    ).fetchall()
    return {
        (source, table): NewRows(
            read_,
            dict(zip(MEASURES, counted[: len(MEASURES)], strict=True)),
            dict(zip(MEASURES, counted[len(MEASURES) :], strict=True)),
        )
        for source, table, read_, *counted in rows
    }


def breaches(counted: Mapping[tuple[str, str], NewRows], objectives: Objectives) -> dict[str, str]:
    """Judge each shop by its own new rows.

    Args:
        counted: (source, table) to its new rows.
        objectives: what is promised.

    Returns:
        Source to what its rows break; only those that break an objective that blocks.
    """
    broken = {}
    for source in dict.fromkeys(source for source, _ in counted):
        checks = [
            Check(
                name=measure,
                table=f"raw_{source}.{table}",
                at=0,
                status="warn" if failed else "pass",
                rows_read=rows.rows_read,
                rows_failed=failed,
                description=rows.describe(measure),
                measures=(measure,),
            )
            for (name, table), rows in counted.items()
            if name == source
            for measure, failed in rows.rows_failed.items()
        ]
        stops = [standing for standing in judge(checks, objectives) if standing.stops]
        if stops:
            broken[source] = "; ".join(f"{standing.objective.name}: {standing.description}" for standing in stops)
    return broken
