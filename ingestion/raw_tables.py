"""What every raw table has, whichever way its rows came in: a declaration, a ledger of deliveries, names as stored."""

from collections.abc import Mapping
from dataclasses import dataclass

from dlt.common.normalizers.naming.snake_case import NamingConvention

# The file a row came in; with `_dlt_load_id` it names the delivery.
LANDED_FILE = "_landed_file"

# The ledger: one row for each delivery that was ever loaded, in each of its versions.
DELIVERIES = "deliveries"
DELIVERY_COLUMNS: Mapping[str, str] = {
    "table_name": "text",
    "landed_file": "text",
    "sha256": "text",
    "row_count": "bigint",
    "delivered_at": "timestamp",
}

# Names that the loader gives to columns of its own.
RESERVED_PREFIXES = ("_dlt_", "_landed_")


class LoadError(Exception):
    """Nothing can be loaded; the message names the file or row, what is wrong and the way out."""


@dataclass(frozen=True)
class RawTable:
    """What one raw table holds.

    Attributes:
        name: the raw table, and the dlt resource.
        columns: column name to dlt data type, as the source is known to send them.
        key: the column whose newest row replaces the older ones; None keeps every row of every delivery.
    """

    name: str
    columns: Mapping[str, str]
    key: str | None = None


@dataclass(frozen=True)
class LedgerRow:
    """One delivery, as the ledger names it.

    Attributes:
        table_name: the raw table that it feeds.
        landed_file: what was delivered; the same name again is a newer version of it.
        sha256: hex digest of its content: what is sent again unchanged is no new delivery.
        row_count: rows in it.
    """

    table_name: str
    landed_file: str
    sha256: str
    row_count: int


def stored_name(column: str) -> str:
    """Say what a column of a source is called in the warehouse.

    Args:
        column: its name in the source.

    Returns:
        The name as dlt stores it: `Loyalty Card` becomes `loyalty_card`.
    """
    return NamingConvention().normalize_path(column)


def newest_deliveries(source: str) -> str:
    """SQL for the one rule of which version of a delivery counts: that of its newest load.

    The same rule for models is int_deliveries in the dbt project.

    Args:
        source: the source's name.

    Returns:
        A query in parentheses: table_name, landed_file, _dlt_load_id, sha256, row_count of each newest version.
    """
    return f"""(
        select table_name, landed_file, _dlt_load_id, sha256, row_count
        from raw_{source}.{DELIVERIES}
        qualify row_number() over (partition by table_name, landed_file order by _dlt_load_id desc) = 1
    )"""
