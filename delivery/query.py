"""SQL to the published copy or to the warehouse, from a terminal: DuckDB's own shell, or statements and their rows."""

import os
import shutil
import sys
import tempfile
import unicodedata
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import duckdb

from delivery.publication import damage
from warehouse.connections import connect
from warehouse.paths import Paths
from warehouse.sql import quote_text

# Someone who asks does not want to wait as long as a run does.
WAIT_FOR_FILE_SECONDS = 15

# How `--format` is written by DuckDB.
FORMATS = {"csv": "format csv, header", "json": "format json, array true"}

# Rows that a terminal gets to see of a table.
ROWS_ON_A_TERMINAL = 100

# Without a limit, DuckDB would cut a table at the width that it guesses for the terminal.
NO_LIMIT = 2**31 - 1

# No statement of a reader may fetch an extension from the network.
NO_DOWNLOADS = "set autoinstall_known_extensions = false"


class QueryError(Exception):
    """There is nothing to ask yet, the shell is missing, or a statement fails; the message says which."""


def ask(paths: Paths, sql: str, *, style: str = "table", warehouse: bool = False) -> None:
    """Print the rows of each statement.

    What is not printed on a terminal is whole: all columns and all rows. On a terminal, characters that would move the
    cursor or change its settings are printed as escapes.

    Args:
        paths: where data lives.
        sql: statements, separated by semicolons.
        style: `table`, or a key of FORMATS.
        warehouse: ask the private warehouse in place of the published copy.

    Raises:
        QueryError: there is nothing to ask yet, or a statement fails. The rows of those before it are printed.
        WarehouseBusyError: another process keeps the warehouse open.
    """
    file = _file(paths, warehouse)
    try:
        _ask(paths, file, sql, style, warehouse)
    except duckdb.Error as error:
        if not warehouse and (found := damage(paths)):
            raise QueryError(f"{found}. The next run publishes it again: make run") from error
        raise QueryError(str(error)) from error


def _ask(paths: Paths, file: Path, sql: str, style: str, warehouse: bool) -> None:
    with (
        connect(paths, read_only=True, wait_seconds=WAIT_FOR_FILE_SECONDS, say=_say)
        if warehouse
        else duckdb.connect(str(file), read_only=True)
    ) as connection:
        connection.execute(NO_DOWNLOADS)
        for statement in connection.extract_statements(sql):
            answer = connection.sql(statement)
            if answer is not None:
                _print(connection, answer, style)


def open_shell(paths: Paths, *, warehouse: bool = False) -> None:
    """Become DuckDB's shell; does not return.

    Args:
        paths: where data lives.
        warehouse: open the private warehouse in place of the published copy.

    Raises:
        QueryError: there is nothing to ask yet, or the shell is not installed.
        WarehouseBusyError: another process keeps the warehouse open.
    """
    file = _file(paths, warehouse)
    package = find_spec("duckdb_cli")
    if package is None or not package.submodule_search_locations:
        raise QueryError("DuckDB's shell is not installed: install next-aisle[shell], or give a statement: query SQL")
    if warehouse:
        connect(paths, read_only=True, wait_seconds=WAIT_FOR_FILE_SECONDS, say=_say).close()
        _say(f"{file}, read-only. A run waits as long as you have it open: up to two minutes, then it stops.")
    else:
        _say(f"{file}, read-only. In Python: duckdb.connect({str(file)!r}, read_only=True)")
    _say("A statement ends with ; and may have several lines. .tables lists the tables, .mode csv changes the output,")
    _say(".help lists the rest, Ctrl+D ends.")
    shell = str(Path(package.submodule_search_locations[0]) / "duckdb")
    # In place of this process, so that Ctrl+C reaches the shell alone: it stops a statement there.
    os.execv(shell, [shell, "-readonly", "-cmd", NO_DOWNLOADS, str(file)])


def _file(paths: Paths, warehouse: bool) -> Path:
    file = paths.warehouse if warehouse else paths.published
    if not file.exists():
        raise QueryError(f"nothing is {'loaded' if warehouse else 'published'} yet at {file}: make run")
    return file


def _print(connection: duckdb.DuckDBPyConnection, answer: duckdb.DuckDBPyRelation, style: str) -> None:
    terminal = sys.stdout.isatty()
    if style != "table":
        with tempfile.TemporaryDirectory() as folder:
            rows = Path(folder) / "rows"
            # DuckDB finds the relation by the name of the variable.
            connection.execute(f"copy (from answer) to {quote_text(str(rows))} ({FORMATS[style]})")
            with rows.open(encoding="utf-8", newline="") as lines:
                if terminal:
                    sys.stdout.writelines(_printable(line) for line in lines)
                else:
                    shutil.copyfileobj(lines, sys.stdout)
        return
    table = StringIO()
    with redirect_stdout(table):
        if terminal:
            answer.show(max_width=shutil.get_terminal_size().columns, max_rows=ROWS_ON_A_TERMINAL)
        else:
            answer.show(max_width=NO_LIMIT, max_rows=NO_LIMIT, max_col_width=NO_LIMIT)
    print(_printable(table.getvalue()), end="")
    if "shown)" in table.getvalue().rpartition("┘")[2]:
        _say("Not everything fits here. Name the columns, or write all of it to a file: --format csv > rows.csv")


def _printable(text: str) -> str:
    """Write what a terminal would obey, or what would turn the direction of the text, as escapes."""
    return "".join(
        letter if letter == "\n" or unicodedata.category(letter)[0] != "C" else ascii(letter)[1:-1] for letter in text
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
