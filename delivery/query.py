"""SQL to the published copy, from a terminal."""

import sys

import duckdb

from warehouse.paths import Paths


def ask(paths: Paths, sql: str | None) -> int:
    """Answer SQL from the published copy.

    Args:
        paths: where data lives.
        sql: one statement; None reads them from standard input, one a line, until it ends.

    Returns:
        The exit code: 1 when nothing is published yet or the one statement fails.
    """
    if not paths.published.exists():
        print(f"error: nothing is published yet at {paths.published}: make run", file=sys.stderr)
        return 1
    with duckdb.connect(str(paths.published), read_only=True) as connection:
        if sql is None and sys.stdin.isatty():
            print("One SQL statement a line; an empty line ends. Tables:")
            print(connection.sql("select table_schema, table_name from information_schema.tables order by all"))
        failed = False
        for statement in [sql] if sql else iter(_next_line, ""):
            try:
                answer = connection.sql(statement)
                print("" if answer is None else answer)
            except duckdb.Error as error:
                print(f"error: {error}", file=sys.stderr)
                failed = True
    return int(failed and not sys.stdin.isatty())


def _next_line() -> str:
    if sys.stdin.isatty():
        print("sql> ", end="", flush=True)
    return sys.stdin.readline().strip()
