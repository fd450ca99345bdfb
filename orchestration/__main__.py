"""Runs at a terminal: `python -m orchestration nightly` is what `make run` calls."""

import argparse
import contextlib
import datetime as dt
import logging
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from orchestration.instance import FROM_TERMINAL, close_dead_runs, holders_of, home, open_instance
from orchestration.keys import WAREHOUSE_POOL
from quality.objectives import ObjectivesError
from warehouse.dbt_project import DbtProjectError, parse
from warehouse.locks import only_nightly_run
from warehouse.paths import Paths
from warehouse.settings import Settings


def run_nightly(paths: Paths, console: Console) -> int:
    """Run the nightly job in this process and print its summary.

    Two at once do not meet: the second waits for the first. Whatever a killed run left behind is closed first.

    Args:
        paths: where data lives.
        console: where progress and summary go; everything else goes to a file in the data folder's logs/.

    Returns:
        The exit code: 0 when published, 1 when not.
    """
    console.print("▶ reading the definitions")
    from orchestration.summary import print_summary

    paths.logs.mkdir(parents=True, exist_ok=True)
    log_file = paths.logs / f"nightly-{dt.datetime.now():%Y-%m-%d-%H%M%S}.log"
    with only_nightly_run(paths, console.print), log_file.open("w", encoding="utf-8") as log:
        started = time.monotonic()
        with (
            contextlib.redirect_stdout(log),
            contextlib.redirect_stderr(log),
            _quiet_libraries(),
            open_instance(paths) as instance,
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
    print_summary(result, paths, time.monotonic() - started, console)
    return 0 if result.success else 1


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
    manifest = commands.add_parser("manifest", help="have dbt parse the project ahead, for NEXT_AISLE_MANIFEST")
    manifest.add_argument("folder", type=Path, help="where to write manifest.json")
    chosen = parser.parse_args(arguments)
    settings = Settings()
    if chosen.command == "home":
        print(home(settings.paths))
        return 0
    # The terminal itself: while the run goes on, stdout is the log file.
    try:
        if chosen.command == "manifest":
            parse(settings, chosen.folder.resolve())
            print(chosen.folder.resolve() / "manifest.json")
            return 0
        return run_nightly(settings.paths, Console(file=sys.stdout, highlight=False))
    except (DbtProjectError, ObjectivesError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
    except SQLAlchemyError as error:
        reason = str(error).splitlines()[0]
        print(
            f"error: cannot write the runs' history in {settings.paths.dagster}: {reason}. Is the disk full?",
            file=sys.stderr,
        )
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped; run again to go on, nothing half done is left")
