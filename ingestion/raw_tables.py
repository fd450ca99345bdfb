"""What every raw table has, whichever way its rows came in: a declaration, a ledger of deliveries, names as stored."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from dlt.common.normalizers.naming.snake_case import NamingConvention

# The column that names the delivery a row came in: a file, or a pull. With `_dlt_load_id` it names the version of it.
DELIVERY = "_delivery"

# The ledger: one row for each delivery that was ever loaded, in each of its versions.
DELIVERIES = "deliveries"
DELIVERY_COLUMNS: Mapping[str, str] = {
    "table_name": "text",
    "delivery": "text",
    "origin": "text",
    "digest": "text",
    "cursor_from": "text",
    "cursor_to": "text",
    "delivery_date": "date",
    "row_count": "bigint",
    "dropped_rows": "bigint",
    "delivered_at": "timestamp",
}

# Rows of files that are set aside: with `_delivery`, the file, and its place in it.
QUARANTINE = "quarantine"
QUARANTINE_COLUMNS: Mapping[str, str] = {"table_name": "text", "line": "bigint", "reason": "text", "raw_text": "text"}

# Names that the loader gives to columns of its own.
RESERVED_PREFIXES = ("_dlt_", "_delivery")


class LoadError(Exception):
    """Nothing can be loaded; the message names the file or row, what is wrong and the way out."""


class UnreachableError(LoadError):
    """A server did not answer, or broke off: another attempt, some time later, may help."""


@dataclass(frozen=True)
class RawTable:
    """What one raw table holds.

    Attributes:
        name: the raw table, and the dlt resource.
        columns: column name to type (types.TYPES), as the source is known to send them.
        key: the column (or columns) that name one thing of the shop: the newest row of each key counts, in whichever
            delivery it came. None: all rows of the newest version of each delivery count.
    """

    name: str
    columns: Mapping[str, str]
    key: str | tuple[str, ...] | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns of the key; none without one."""
        return (self.key,) if isinstance(self.key, str) else self.key or ()

    @property
    def has_quarantine(self) -> bool:
        """Whether bad rows of it are set aside; only files know how."""
        return False


@dataclass(frozen=True)
class LedgerRow:
    """One delivery, as the ledger names it.

    Attributes:
        table_name: the raw table that it feeds.
        delivery: what was delivered; the same name again is a newer version of it.
        row_count: rows in it.
        origin: where it came from: a folder, or a server and its table; never with a password.
        digest: hex digest of its content: what is sent again unchanged is no new delivery. None for a pull.
        cursor_from: of a pull, where the range that it covers begins; None: from the start, or no pull.
        cursor_to: where that range ends.
        delivery_date: the day that a day file is for; None for other deliveries.
    """

    table_name: str
    delivery: str
    row_count: int
    origin: str
    digest: str | None = None
    cursor_from: str | None = None
    cursor_to: str | None = None
    delivery_date: dt.date | None = None


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
        A query in parentheses: table_name, delivery, _dlt_load_id, digest, kept_rows of each newest version.
    """
    return f"""(
        select table_name, delivery, _dlt_load_id, digest, row_count - dropped_rows as kept_rows
        from raw_{source}.{DELIVERIES}
        qualify row_number() over (partition by table_name, delivery order by _dlt_load_id desc) = 1
    )"""
