"""A warehouse file that is damaged: recognised, confirmed, and set aside so that the next run builds another.

DuckDB has a checksum in each block of its file and in each entry of its write-ahead log, and compares it when it reads
them. So damage is noticed at the latest when the damaged rows are needed, and never becomes a wrong number. A log that
was cut is no damage to DuckDB: the commits that it lost are as if the process had been killed before them.
"""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import duckdb

from warehouse.connections import WarehouseBusyError, connect
from warehouse.paths import Paths
from warehouse.safe_files import write_text
from warehouse.sql import quote_table

# DuckDB's words for damage. It has others for a full disk, too little memory, and a file of a newer version.
LOG = "Corrupt WAL file"
BLOCK = "Corrupt database file"
# These name the file.
FILE = ("is not a valid DuckDB database file", "Could not read enough bytes from file")

# In the names of files that were set aside.
ASIDE = "damaged"


@dataclass(frozen=True)
class Damage:
    """What is wrong with the warehouse.

    Attributes:
        reason: in words, with DuckDB's own.
        of_log: whether only the write-ahead log is damaged: the file itself is as it was at its last checkpoint.
    """

    reason: str
    of_log: bool


def sounds_damaged(text: str) -> bool:
    """Tell whether an error may be that of a damaged warehouse; a damaged published copy can sound the same.

    Args:
        text: the error's message.
    """
    names_it = "warehouse.duckdb" in text
    return LOG in text or BLOCK in text or (names_it and any(words in text for words in FILE))


def examine(paths: Paths, *, whole: bool) -> Damage | None:
    """Say what is wrong with the warehouse.

    Args:
        paths: where it is.
        whole: read all rows of all tables; otherwise the warehouse is only opened, which takes milliseconds.

    Returns:
        The damage; None where there is none, no warehouse yet, or another process has it open.
    """
    if not paths.warehouse.exists():
        return None
    try:
        with connect(paths, read_only=True, wait_seconds=0) as connection:
            if whole:
                for schema, table in connection.execute(
                    "select schema_name, table_name from duckdb_tables() where not internal order by all"
                ).fetchall():
                    connection.execute(f"select bit_xor(hash(t)) from {quote_table(schema, table)} as t").fetchall()
    except WarehouseBusyError:
        return None
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        if not sounds_damaged(reason):
            raise
        return Damage(f"{paths.warehouse} is damaged: {reason}", of_log=LOG in reason)
    return None


def suspect(paths: Paths, reason: str) -> None:
    """Note that a step failed because of a damaged warehouse: the next run reads all of it before it begins.

    Args:
        paths: where the warehouse is.
        reason: what the step said.
    """
    write_text(paths.suspected, reason)


def is_suspected(paths: Paths) -> bool:
    """Tell whether a step failed because of a damaged warehouse, and none was set aside since.

    Args:
        paths: where the warehouse is.
    """
    return paths.suspected.exists()


def acquit(paths: Paths) -> None:
    """Note that all of the warehouse was read, and is not damaged.

    Args:
        paths: where the warehouse is.
    """
    paths.suspected.unlink(missing_ok=True)


def set_aside(paths: Paths, word: str = ASIDE, *, only_log: bool = False) -> Path:
    """Give the warehouse, or its write-ahead log alone, another name; nothing is removed.

    Args:
        paths: where the warehouse is.
        word: what the name says of it.
        only_log: leave the file itself where it is.

    Returns:
        The new name.
    """
    log = paths.warehouse.with_name(f"{paths.warehouse.name}.wal")
    aside = paths.warehouse.with_name(f"warehouse.{word}-{dt.datetime.now(dt.UTC):%Y-%m-%dT%H%M%S}.duckdb")
    if not only_log:
        # The mark that allows publication is of the file that goes.
        paths.audited.unlink(missing_ok=True)
        paths.warehouse.replace(aside)
    aside_log = aside.with_name(f"{aside.name}.wal")
    if log.exists():
        log.replace(aside_log)
    acquit(paths)
    return aside_log if only_log else aside


def aside_files(paths: Paths) -> list[Path]:
    """Name the warehouses and logs that were set aside.

    Args:
        paths: where the warehouse is.
    """
    return sorted(paths.root.glob("warehouse.*-????-??-??T*.duckdb*"))
