"""Runs at a terminal: `python -m orchestration nightly` is what `make run` calls."""

import argparse
import contextlib
import datetime as dt
import logging
import sys
import time
import warnings
from collections.abc import Iterator

import dagster as dg
import duckdb
from filelock import FileLock, Timeout
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from delivery.dbt_metadata import DbtProjectError
from delivery.objectives import ObjectivesError
from ingestion import warehouse
from orchestration.instance import FROM_TERMINAL, close_dead_runs, holders_of, home, open_instance


def run_nightly(console: Console) -> int:
    """Run the nightly job in this process and print its summary.

    Two at once do not meet: the second waits for the first. Whatever a killed run left behind is closed first.

    Args:
        console: where progress and summary go; everything else goes to a file in the data folder's logs/.

    Returns:
        The exit code: 0 when published, 1 when not.
    """
    console.print("▶ reading the definitions")
    from orchestration.assets.raw import WAREHOUSE_POOL
    from orchestration.summary import print_summary

    places = warehouse.paths()
    places.logs.mkdir(parents=True, exist_ok=True)
    log_file = places.logs / f"nightly-{dt.datetime.now():%Y-%m-%d-%H%M%S}.log"
    with _only_terminal_run(console), log_file.open("w", encoding="utf-8") as log:
        started = time.monotonic()
        with (
            contextlib.redirect_stdout(log),
            contextlib.redirect_stderr(log),
            _quiet_libraries(),
            open_instance() as instance,
        ):
            closed = close_dead_runs(instance)
            if closed:
                console.print(f"closed {closed} run(s) whose process was killed")
            for run_id in holders_of(instance, WAREHOUSE_POOL):
                console.print(
                    f"waiting: run {run_id[:8]} holds the warehouse. "
                    "If its process is dead, end it in the UI (make ui, Runs)."
                )
            from orchestration.definitions import defs

            job = defs().resolve_job_def("nightly")
            result = job.execute_in_process(
                instance=instance,
                run_config={"loggers": {"progress": {}}},
                tags=FROM_TERMINAL,
                raise_on_error=False,
            )
    print_summary(result, time.monotonic() - started, console)
    return 0 if result.success else 1


def ask(sql: str | None) -> int:
    """Answer SQL from the published copy.

    Args:
        sql: one statement; None reads them from standard input, one a line, until it ends.

    Returns:
        The exit code: 1 when nothing is published yet or the one statement fails.
    """
    published = warehouse.paths().published
    if not published.exists():
        print(f"error: nothing is published yet at {published}: make run", file=sys.stderr)
        return 1
    with duckdb.connect(str(published), read_only=True) as connection:
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


@contextlib.contextmanager
def _only_terminal_run(console: Console) -> Iterator[None]:
    lock = FileLock(warehouse.paths().root / "nightly.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        console.print("another nightly run is under way; waiting for it to end")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Send what libraries warn of to the log file: nobody at the terminal can act on it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        logging.captureWarnings(True)
        yield
        logging.captureWarnings(False)


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m orchestration", description="Run Next Aisle at a terminal.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("nightly", help="land, load, model, check and publish everything, in one process")
    commands.add_parser("home", help="print the folder for DAGSTER_HOME, made ready for `dg dev` and `dg launch`")
    query = commands.add_parser("query", help="ask the published copy in SQL: one statement, or one after the other")
    query.add_argument("sql", nargs="?", help="a statement; without one, statements are read from the terminal")
    chosen = parser.parse_args(arguments)
    if chosen.command == "home":
        print(home())
        return 0
    if chosen.command == "query":
        return ask(chosen.sql)
    # The terminal itself: while the run goes on, stdout is the log file.
    try:
        return run_nightly(Console(file=sys.stdout, highlight=False))
    except (DbtProjectError, ObjectivesError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
    except SQLAlchemyError as error:
        reason = str(error).splitlines()[0]
        print(f"error: cannot write the runs' history in {home()}: {reason}. Is the disk full?", file=sys.stderr)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped; run again to go on, nothing half done is left")
