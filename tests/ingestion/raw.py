"""What the raw tables hold, in a form that tests can compare."""

from typing import Any

from ingestion.load import load
from ingestion.source import LoadReport
from tests import here

DATASET = "raw_complete_journey"

# Differ from load to load, whatever was loaded.
OF_THE_LOAD = {"_dlt_load_id", "delivered_at"}


def load_shop() -> LoadReport:
    """Load The Complete Journey in this process, without a word."""
    return load("complete_journey", here.paths(), say=lambda _line: None)


def query(sql: str) -> list[tuple[Any, ...]]:
    """Ask the warehouse."""
    with here.connect() as connection:
        return connection.sql(sql).fetchall()


def contents(*, without_load: bool = False) -> dict[str, list[str]]:
    """Every row of every raw table, sorted; as text, so that NaN equals NaN.

    Args:
        without_load: leave out the columns that name the load, to compare different loads of the same files.
    """
    tables = {}
    with here.connect() as connection:
        names = connection.sql(
            f"select table_name from information_schema.tables where table_schema = '{DATASET}'"
        ).fetchall()
        for (name,) in names:
            if without_load and name.startswith("_dlt"):
                continue
            rows = connection.sql(f"from {DATASET}.{name}")
            kept = [column for column in rows.columns if not (without_load and column in OF_THE_LOAD)]
            quoted = ", ".join(f'"{column}"' for column in kept)
            tables[name] = sorted(
                repr(row) for row in connection.sql(f"select {quoted} from {DATASET}.{name}").fetchall()
            )
    return tables


def ledger() -> list[tuple[Any, ...]]:
    """The ledger's entries in the order of their loads: table, file, rows."""
    return query(
        f"select table_name, delivery, row_count from {DATASET}.deliveries order by _dlt_load_id, table_name, delivery"
    )


def unnamed_loads() -> list[tuple[Any, ...]]:
    """Loads that some raw row carries, but that dlt never closed."""
    return query(
        " union ".join(
            f"select '{table}', _dlt_load_id from {DATASET}.{table} "
            f"where _dlt_load_id not in (select load_id from {DATASET}._dlt_loads where status = 0)"
            for table in ("customers", "products", "purchases", "deliveries")
        )
    )
