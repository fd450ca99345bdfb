"""How the columns of PostgreSQL and MySQL are read: which type they become, and by which expression of the server.

The server itself turns what Python or Arrow cannot hold (infinite dates, years before Christ, intervals, arrays) into
what they can, so that no value is changed on the way.
"""

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.types import TypeEngine

POSTGRESQL = "postgresql"

# What DuckDB's infinite dates and timestamps are in memory.
INFINITE_DATE, INFINITE_TIMESTAMP = 2**31 - 1, 2**63 - 1

# As what else a type can be read, without a loss that is not stated in docs/sources.md.
ALSO: Mapping[str, frozenset[str]] = {
    "bigint": frozenset({"decimal", "text"}),
    "decimal": frozenset({"bigint", "double", "text"}),
    "double": frozenset({"text"}),
    "timestamp": frozenset({"text"}),
    "timestamp with time zone": frozenset({"text"}),
    "date": frozenset({"text"}),
    "time": frozenset({"text"}),
    "bool": frozenset({"text"}),
    "json": frozenset({"text"}),
    "text": frozenset(),
    "binary": frozenset(),
}


def natural_type(column: TypeEngine[object], backend: str) -> str:
    """Say as which type a column is loaded when none is declared: one that holds all its values.

    Args:
        column: the column's type in the database.
        backend: postgresql or mysql.
    """
    if isinstance(column, postgresql.DOMAIN):
        return natural_type(column.data_type, backend)
    match column:
        case postgresql.MONEY():
            return "decimal(21,4)"
        case mysql.BIGINT(unsigned=True):
            return "decimal(20,0)"
        case mysql.BIT():
            return "decimal(20,0)" if column.length == 64 else "bigint"
        case sa.Integer() | mysql.YEAR():
            return "bigint"
        case sa.Float():
            return "double"
        case sa.Numeric(precision=int(digits), scale=int(scale)) if digits <= 38 and 0 <= scale <= digits:
            return f"decimal({digits},{scale})"
        case sa.Boolean():
            return "bool"
        case mysql.TIMESTAMP():
            return "timestamp with time zone"
        case sa.DateTime():
            return "timestamp with time zone" if column.timezone else "timestamp"
        case sa.Date():
            return "date"
        case sa.Time() if backend == POSTGRESQL and not column.timezone:
            return "time"
        case sa.JSON() | sa.ARRAY():
            return "json"
        case sa.LargeBinary() | mysql.BINARY() | mysql.VARBINARY():
            return "binary"
        case sa.types.NullType() if backend != POSTGRESQL:
            # Unknown to SQLAlchemy, such as a geometry: its bytes.
            return "binary"
    # Numbers without a precision or too long for a decimal too, and what has no type of its own.
    return "text"


def is_readable(column: TypeEngine[object], backend: str, kind: str) -> bool:
    """Say whether a column can be read as a type. Whether each of its values fits is seen when it is read.

    Args:
        column: the column's type in the database.
        backend: postgresql or mysql.
        kind: the declared type.
    """
    natural = natural_type(column, backend)
    if kind == "bool" and isinstance(column, mysql.TINYINT | mysql.BIT):
        return True
    if natural == "text" and isinstance(column, sa.Numeric):
        return kind == "text" or _family(kind) in ("decimal", "double")
    if isinstance(column, sa.types.NullType):
        return kind in (natural, "text")
    return _family(kind) == _family(natural) or _family(kind) in ALSO[_family(natural)]


def expression(name: str, column: TypeEngine[object], backend: str, kind: str) -> sa.ColumnElement[object]:
    """Make the expression that the server computes for a column.

    Args:
        name: the column's name.
        column: its type in the database.
        backend: postgresql or mysql.
        kind: the type that it is read as.
    """
    # Without a type: SQLAlchemy is not to convert what the driver returns.
    value: sa.ColumnElement[object] = sa.column(name)
    if isinstance(column, postgresql.DOMAIN):
        column = column.data_type
    if backend == POSTGRESQL:
        return _of_postgresql(value, column, kind).label(name)
    return _of_mysql(value, column, kind).label(name)


def _of_postgresql(value: sa.ColumnElement[object], column: TypeEngine[object], kind: str) -> sa.ColumnElement[object]:
    match kind:
        case "text" if not isinstance(column, sa.String):
            return _untyped(sa.cast(value, sa.Text))
        case "json" if isinstance(column, sa.ARRAY):
            return _untyped(sa.cast(sa.func.to_jsonb(value), sa.Text))
        case "json":
            return _untyped(sa.cast(value, sa.Text))
        case "date":
            days = value - sa.literal_column("date '1970-01-01'")
            return _finite(value, days, "'epoch'", INFINITE_DATE)
        case "timestamp" | "timestamp with time zone":
            return _finite(value, _microseconds(value), "'epoch'", INFINITE_TIMESTAMP)
        case "time":
            # 24:00 is a time of PostgreSQL and DuckDB, and none of Python.
            return _microseconds(value)
        case "double" if isinstance(column, sa.Numeric):
            return _untyped(sa.cast(value, sa.Double))
    if isinstance(column, postgresql.MONEY):
        return _untyped(sa.cast(value, sa.Numeric))
    return value


def _of_mysql(value: sa.ColumnElement[object], column: TypeEngine[object], kind: str) -> sa.ColumnElement[object]:
    if kind == "text" and not isinstance(column, sa.String):
        return _untyped(sa.cast(value, sa.CHAR))
    if kind == "double":
        # A float by itself is sent with six digits only.
        return value.op("+")(sa.literal_column("0e0"))
    if isinstance(column, mysql.BIT):
        return value.op("+")(sa.literal_column("0"))
    return value


def _microseconds(value: sa.ColumnElement[object]) -> sa.ColumnElement[object]:
    """Of a time since midnight, of a timestamp since 1970; exact, for PostgreSQL computes it as a numeric."""
    return _untyped(sa.cast(sa.extract("epoch", value) * sa.literal_column("1000000"), sa.BigInteger))


def _finite(
    value: sa.ColumnElement[object], number: sa.ColumnElement[object], middle: str, infinite: int
) -> sa.ColumnElement[object]:
    return sa.case(
        (sa.func.isfinite(value), number),
        (value > sa.literal_column(middle), sa.literal_column(str(infinite))),
        (value < sa.literal_column(middle), sa.literal_column(str(-infinite))),
    )


def _untyped(value: sa.ColumnElement[object]) -> sa.ColumnElement[object]:
    """An expression whose values SQLAlchemy leaves as the driver returned them."""
    return sa.type_coerce(value, sa.types.NullType())


def _family(kind: str) -> str:
    """A type without its precision: decimal for decimal(12,2)."""
    return kind.partition("(")[0]
