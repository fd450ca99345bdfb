"""Runs at a terminal: `python -m orchestration nightly` is what `make run` calls."""

import argparse
import contextlib
import datetime as dt
import logging
import os
import sys
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from orchestration import backups
from orchestration.instance import StorageError, home, open_instance, run_job
from orchestration.schedules import TimezoneError, read_hours
from orchestration.services import run_services
from quality.objectives import ObjectivesError
from warehouse.damage import is_suspected
from warehouse.dbt_project import DbtProjectError, parse, prepare, read_manifest
from warehouse.locks import alive
from warehouse.settings import Settings, dagster_postgres_url
from warehouse.terminal import Terminal, error


def run_nightly(
    settings: Settings,
    console: Terminal,
    *,
    verbose: bool = False,
    full_refresh: bool = False,
    from_raw: Mapping[str, object] | None = None,
) -> int:
    """Run the nightly job in this process and print its summary.

    Only one run is under way at a time, also of those that the UI started: a second waits for the first.

    Args:
        settings: where data lives, and the manifest that was made ahead, if any.
        console: where progress and summary go; everything else goes to a file in the data folder's logs/.
        verbose: print a line for each model too.
        full_refresh: build and test every model, also those that are up to date.
        from_raw: what is to be loaded again (`recovery.FromRaw`); None: nothing.

    Returns:
        The exit code: 0 when published, 1 when not.
    """
    console.print("  reading the definitions")
    from orchestration.progress import shown
    from orchestration.summary import print_summary

    paths = settings.paths
    paths.logs.mkdir(parents=True, exist_ok=True)
    log_file = paths.logs / f"nightly-{dt.datetime.now():%Y-%m-%d-%H%M%S}.log"
    started = time.monotonic()
    with (
        log_file.open("w", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
        _quiet_libraries(),
        open_instance(paths) as instance,
    ):
        from orchestration.definitions import defs

        job = defs().resolve_job_def("nightly")
        config: dict[str, Any] = {"loggers": {"progress": {}}}
        ops: dict[str, Any] = {}
        if full_refresh:
            ops["build_models"] = {"config": {"full_refresh": True}}
        if from_raw:
            ops["published__deliveries"] = {"config": dict(from_raw)}
        if ops:
            config["ops"] = ops
        for attempt in range(2):
            run_id = str(uuid.uuid4())
            with alive(paths, run_id), shown(console, read_manifest(prepare(settings)), verbose=verbose):
                result = run_job(instance, job, config, run_id=run_id)
            if result.success or attempt or not is_suspected(paths):
                break
            # The night is not over: the next run mends what this one came across.
            console.print("  ! warning: the warehouse is damaged, says a step that failed; running again, to mend it")
        told = _tell(settings, instance)
    print_summary(result, paths, time.monotonic() - started, console, log_file)
    if told:
        console.hanging("Alerts        ", told)
    return 0 if result.success else 1


REBUILD = """\
Build and test everything again, judge and publish it, as a run of its own: it waits for another run, and another waits
for it. Readers keep what they have until it has succeeded; nothing is removed.

  rebuild                  all models and tests, from the raw tables as they are
  rebuild --since DATE     the deliveries of that day and later are loaded again first, as newer versions of themselves
  rebuild --from-landing   the warehouse is set aside, and everything that is landed is loaded into a new one"""


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date. Write it as 2026-10-31.") from None


def run_rebuild(settings: Settings, chosen: argparse.Namespace) -> int:
    """Build everything again from raw, or from what is landed.

    Args:
        settings: where data lives.
        chosen: the options of the command.

    Returns:
        The exit code: 0 when published, or when it was only asked; 1 when not; 2 when the options do not fit together.
    """
    from orchestration.recovery import plan

    if chosen.without_missing and not chosen.from_landing:
        print("error: --without-missing goes with --from-landing only: add that, or leave it out", file=sys.stderr)
        return 2
    if chosen.dry_run:
        for line in plan(settings, from_landing=chosen.from_landing, day=chosen.since):
            print(line)
        return 0
    from_raw = {
        "from_landing": chosen.from_landing,
        "without_missing": chosen.without_missing,
        "since": str(chosen.since or ""),
    }
    return run_nightly(settings, Terminal(sys.stdout), verbose=chosen.verbose, full_refresh=True, from_raw=from_raw)


def _tell(settings: Settings, instance: dg.DagsterInstance) -> str:
    """Send the alerts, which Dagster's daemon does where it runs; the outcome in words."""
    if settings.alerts is None:
        return ""
    from orchestration.alerts import AlertsError, tell
    from orchestration.watch import look

    try:
        return "; ".join(tell(settings, look(settings, instance).findings))
    except AlertsError as reason:
        return str(reason)


def run_backups(settings: Settings, chosen: argparse.Namespace) -> int:
    """Make, list or restore a backup.

    Args:
        settings: where data lives, and the backups.
        chosen: the command and its options.

    Returns:
        The exit code: 1 when a backup that is listed is not whole.
    """
    target = settings.backups or settings.paths.root / "backups"
    if chosen.command == "restore":
        folder = chosen.folder or next(iter(backups.found(target)[::-1]), None)
        if folder is None:
            raise backups.BackupError(f"there is no backup in {target}")
        restored = backups.restore(settings.paths, folder)
        print(f"restored {restored.folder}: {restored.tables:,} tables, {restored.rows:,} rows. Next: make run")
        return 0
    if not chosen.list:
        made = backups.make(settings.paths, target)
        print(f"{made.folder}: {made.tables:,} tables, {made.rows:,} rows, {made.size / 1e6:,.0f} MB, verified")
        for removed in backups.prune(target, chosen.days, chosen.weeks, chosen.months):
            print(f"removed {removed}")
        return 0
    broken = 0
    for folder in backups.found(target):
        try:
            listed = backups.verify(folder)
            print(f"{folder}: {listed.tables:,} tables, {listed.rows:,} rows, {listed.size / 1e6:,.0f} MB, verified")
        except backups.BackupError as reason:
            broken += 1
            error(reason)
    return 1 if broken else 0


def show_status(settings: Settings, *, as_json: bool) -> int:
    """Print how things stand.

    Args:
        settings: where data lives.
        as_json: for programs.

    Returns:
        The exit code: 0 when all is well, 1 with warnings, 2 with errors, 3 when it cannot be told.
    """
    from orchestration.status import EXIT_CODES, UNKNOWN, print_status
    from orchestration.watch import look

    try:
        with open_instance(settings.paths) as instance:
            state = look(settings, instance)
    except (StorageError, SQLAlchemyError, OSError) as reason:
        error(f"cannot tell how things stand: {str(reason).splitlines()[0]}")
        return UNKNOWN
    if as_json:
        print(state.as_json())
    else:
        print_status(state, Terminal(sys.stdout))
    return EXIT_CODES[state.level]


@contextlib.contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Send what libraries warn of to the log file: a user at the terminal can do nothing about them."""
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
    nightly = commands.add_parser("nightly", help="land, load, model, check and publish everything, in one process")
    nightly.add_argument("-v", "--verbose", action="store_true", help="print a line for each model too")
    nightly.add_argument(
        "--full-refresh", action="store_true", help="build and test every model, also those that are up to date"
    )
    rebuild = commands.add_parser(
        "rebuild",
        help="build and test everything again from the raw tables, or load it again too",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=REBUILD,
    )
    rebuild.add_argument("-v", "--verbose", action="store_true", help="print a line for each model too")
    again = rebuild.add_mutually_exclusive_group()
    again.add_argument(
        "--from-landing", action="store_true", help="set the warehouse aside, and load all landed files into a new one"
    )
    again.add_argument("--since", type=_day, metavar="DATE", help="load the deliveries of this day and later again")
    rebuild.add_argument(
        "--without-missing",
        action="store_true",
        help="with --from-landing: also when published deliveries are not landed any more; they are gone then",
    )
    rebuild.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    commands.add_parser("home", help="print the folder for DAGSTER_HOME, prepared for `dg dev` and `dg launch`")
    ui = commands.add_parser("ui", help="Dagster's UI and the nightly schedule, in the foreground")
    ui.add_argument("--port", type=int, default=3000, help="of the UI, on this machine only (default: 3000)")
    ui.add_argument("--viewers-port", type=int, help="of a second UI, in which nothing can be started or changed")
    status = commands.add_parser(
        "status", help="is it fresh, is it right, what ran, what waits; exit code 0: well, 1: warnings, 2: errors"
    )
    status.add_argument("--json", action="store_true", help="all of it, for programs")
    backup = commands.add_parser("backup", help="copy warehouse, published folder and run history, and verify the copy")
    backup.add_argument("--list", action="store_true", help="name the backups, and verify each")
    backup.add_argument(
        "--days", type=int, default=backups.DAYS, help="days that keep their newest backup (default: 7)"
    )
    backup.add_argument("--weeks", type=int, default=backups.WEEKS, help="weeks that keep theirs (default: 4)")
    backup.add_argument("--months", type=int, default=backups.MONTHS, help="months that keep theirs (default: 6)")
    restore = commands.add_parser("restore", help="put a backup in the place of what is there")
    restore.add_argument("folder", type=Path, nargs="?", help="the backup (default: the newest)")
    commands.add_parser("schedule", help="say when the nightly job runs by itself")
    manifest = commands.add_parser("manifest", help="have dbt parse the project in advance, for NEXT_AISLE_MANIFEST")
    manifest.add_argument("folder", type=Path, help="where to write manifest.json")
    chosen = parser.parse_args(arguments)
    settings = Settings()
    # The terminal itself: while the run goes on, stdout is the log file.
    try:
        if chosen.command == "home":
            # Makes the tables of a new database: services that start together would get in each other's way.
            with open_instance(settings.paths):
                print(home(settings.paths))
            return 0
        if chosen.command == "manifest":
            parse(settings, chosen.folder.resolve())
            print(chosen.folder.resolve() / "manifest.json")
            return 0
        if chosen.command == "schedule":
            print(
                f"While the UI is open, the nightly job runs at {read_hours(settings).in_words()}, "
                "unless you turn it off under Automation."
            )
            return 0
        if chosen.command == "status":
            return show_status(settings, as_json=chosen.json)
        if chosen.command in ("backup", "restore"):
            return run_backups(settings, chosen)
        if chosen.command == "ui":
            run_services(settings, chosen.port, error, chosen.viewers_port)
            return 0
        if chosen.command == "rebuild":
            return run_rebuild(settings, chosen)
        return run_nightly(settings, Terminal(sys.stdout), verbose=chosen.verbose, full_refresh=chosen.full_refresh)
    except (DbtProjectError, ObjectivesError, TimezoneError, backups.BackupError, StorageError, OSError) as reason:
        error(reason)
    except Exception as reason:
        # By its name: the package is there in production only.
        if type(reason).__name__ == "DagsterPostgresException":
            error(_lost(str(reason).splitlines()[0]))
            return 1
        if not isinstance(reason, SQLAlchemyError):
            raise
        first_line = str(reason).splitlines()[0]
        if dagster_postgres_url():
            error(_lost(first_line))
            return 1
        # SQLite's words: "disk I/O error" or "database or disk is full".
        question = ". Is the disk full?" if "disk" in first_line else ""
        error(f"cannot write the history of runs in {settings.paths.dagster}: {first_line}{question}")
    return 1


def _lost(first_line: str) -> str:
    return (
        f"PostgreSQL, where Dagster keeps its runs, went away: {first_line}. Nothing half done was published. Start it "
        "again, then run again: the run goes on from what is done."
    )


if __name__ == "__main__":
    # What this makes, and what it starts, is for its user alone; NEXT_AISLE_READERS opens the published folder.
    os.umask(0o077)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped. Run it again to go on: nothing half done was published.")
