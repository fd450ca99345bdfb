"""The doors at a terminal: `python -m delivery query`, `contract` and `publish-postgres`."""

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import yaml

from delivery import catalogue, postgres
from delivery.breaking import Breakage, DetectorMissingError, breakages, is_bumped
from delivery.catalogue import CatalogueError
from delivery.contract import FOLDER, ContractError, files, read_metadata, render
from delivery.policy import PolicyError
from delivery.postgres import PostgresError
from delivery.query import FORMATS, QueryError, ask, open_shell
from quality import objectives
from quality.objectives import ObjectivesError
from warehouse.connections import WarehouseBusyError
from warehouse.dbt_project import DbtProjectError, prepare, read_manifest
from warehouse.safe_files import replacing
from warehouse.settings import Settings
from warehouse.terminal import error, printable


def contract(*, check: bool = False, since: str | None = None) -> int:
    """Bring the committed contract up to date, unless that would break its readers without a new version.

    Args:
        check: write nothing; fail when the committed files are not what the metadata says.
        since: a git revision; its contract, too, must not be broken without a new version.

    Returns:
        The exit code: 1 when nothing was written because readers would break, or when the check fails.
    """
    folder = FOLDER
    proposed = render(read_metadata(read_manifest(prepare(Settings())), objectives.read()))
    accepted = {path.name: path.read_text(encoding="utf-8") for path in files(folder)}
    changed = sorted(name for name in proposed.keys() | accepted.keys() if proposed.get(name) != accepted.get(name))
    try:
        refused = _refusal(accepted, proposed, "as committed") if changed else None
        if since and not refused:
            refused = _refusal(_at_revision(since), proposed, f"of {since}")
    except DetectorMissingError:
        # A stale file needs no judge.
        if not (check and changed):
            raise
        refused = None
    if refused:
        print(refused, file=sys.stderr)
        return 1
    if not changed:
        print(f"the contract in {folder} is what the metadata says")
        return 0
    if check:
        print(
            f"error: {', '.join(changed)} in {folder} is not what dbt's metadata, product.yml and objectives.yml say. "
            "Run: make contract",
            file=sys.stderr,
        )
        return 1
    with replacing(*(folder / name for name in proposed)) as unfinished:
        for file, text in zip(unfinished, proposed.values(), strict=True):
            file.write_text(text, encoding="utf-8")
    for name in accepted.keys() - proposed.keys():
        (folder / name).unlink()
    print(f"wrote {', '.join(changed)} in {folder}")
    return 0


def publish_postgres(settings: Settings) -> int:
    """Write the published tables to the PostgreSQL database of the settings.

    Args:
        settings: where data lives, the database, and its password.

    Returns:
        The exit code: 1 when nothing was written because something is wrong.
    """
    started = time.monotonic()
    try:
        written = postgres.write_as_set(settings, say=lambda text: print(printable(text), flush=True))
    except (PostgresError, PolicyError, DbtProjectError, OSError) as reason:
        error(reason)
        return 1
    if written.is_new:
        rows = sum(written.row_counts.values())
        seconds = time.monotonic() - started
        print(
            f"publication {written.publication_id}: {len(written.row_counts)} tables, {rows:,} rows, in {seconds:.1f} s"
        )
    else:
        print(f"nothing new: the database has publication {written.publication_id}")
    if written.still_read:
        print(f"warning: {postgres.warning(written)}", file=sys.stderr)
    return 0


def write_catalogue(settings: Settings) -> int:
    """Write the catalogue beside the published file.

    Args:
        settings: where data lives.

    Returns:
        The exit code: 1 when it could not be written.
    """
    try:
        page = catalogue.write(settings)
    except (CatalogueError, OSError) as reason:
        error(reason)
        return 1
    print(f"the catalogue, one page that needs no network: {page.as_uri()}")
    return 0


def _refusal(accepted: Mapping[str, str], proposed: Mapping[str, str], which: str) -> str | None:
    """Say what breaks; None when nothing does, or when the version allows it."""
    broken = breakages(accepted, proposed)
    if not broken:
        return None
    old, new = _version(accepted), _version(proposed)
    if is_bumped(old, new):
        print(_listed(broken, f"version {new} breaks what readers have of {old}; tell them:"))
        return None
    higher = "major" if int(old.split(".")[0]) else "minor"
    return _listed(
        broken,
        f"error: this breaks readers of the contract {which}, and the version is {new} (it was {old}). Nothing was "
        f"written. Take the change back, or agree on it with those named here and raise the {higher} version in "
        "dbt_project/dbt_project.yml:",
    )


def _listed(broken: list[Breakage], heading: str) -> str:
    return "\n".join([heading, *(str(breakage) for breakage in broken)])


def _version(contracts: Mapping[str, str]) -> str:
    return str(yaml.safe_load(next(iter(contracts.values())))["version"])


def _at_revision(revision: str) -> dict[str, str]:
    """Read the contract of a git revision; empty where it had none."""
    listed = _git("ls-tree", "--name-only", revision, "./").splitlines()
    return {Path(path).name: _git("show", f"{revision}:./{Path(path).name}") for path in listed}


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ContractError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m delivery", description="Read what is published, and its contract.")
    commands = parser.add_subparsers(dest="command", required=True)
    query = commands.add_parser(
        "query",
        help="ask the published copy in SQL",
        description="Ask the published copy in SQL. Nothing can be changed by it.",
        epilog="examples:\n"
        "  %(prog)s                                  DuckDB's shell: history, several lines, .tables, .mode csv\n"
        '  %(prog)s "from core.dim_customers limit 5"\n'
        '  %(prog)s --format csv "from core.dim_customers" > customers.csv\n'
        "  %(prog)s < report.sql                     statements, separated by semicolons\n"
        '  %(prog)s --warehouse "from failed_rows.<name of the test>"',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    query.add_argument(
        "sql", nargs="?", help="statements; without them, those of standard input or a shell to type them"
    )
    query.add_argument(
        "--format", choices=["table", *FORMATS], default="table", help="of the rows (default: a table to read)"
    )
    query.add_argument(
        "--warehouse", action="store_true", help="ask the private warehouse: also raw, staging and failed rows"
    )
    made = commands.add_parser(
        "contract",
        help="write the data contract from dbt's metadata",
        description="Write the data contract from dbt's metadata, unless that would break its readers without a new "
        "version. Needs the packages of the group `contract`: make contract",
    )
    made.add_argument("--check", action="store_true", help="write nothing; fail when the committed files are stale")
    made.add_argument("--since", metavar="REVISION", help="also hold the contract of this git revision")
    commands.add_parser(
        "publish-postgres",
        help="write the published tables to PostgreSQL, for BI tools",
        description="Write the published tables to the PostgreSQL database that NEXT_AISLE_POSTGRES_URL names, such as "
        "postgresql://user@host:5432/database, with keys, comments and what each role of the policy may see. Readers "
        "see the publication before until all is there. The password is NEXT_AISLE_POSTGRES_PASSWORD, or where "
        "PostgreSQL's own tools look for it (PGPASSWORD, ~/.pgpass).",
    )
    commands.add_parser(
        "catalogue",
        help="write the catalogue beside the published file",
        description="Have dbt write its documentation of all tables and columns as one page, beside the published "
        "file. It reads the private warehouse, so not while a run is under way.",
    )
    chosen = parser.parse_args(arguments)
    if chosen.command == "query":
        return _query(chosen)
    if chosen.command == "catalogue":
        return write_catalogue(Settings())
    if chosen.command == "publish-postgres":
        return publish_postgres(Settings())
    try:
        return contract(check=chosen.check, since=chosen.since)
    except (ContractError, DbtProjectError, DetectorMissingError, ObjectivesError, OSError) as reason:
        error(reason)
        return 1
    except yaml.YAMLError as reason:
        error(f"a file of {FOLDER} is no YAML: {' '.join(str(reason).split())}")
        return 1


def _query(chosen: argparse.Namespace) -> int:
    # Of `... | head`, without a traceback.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    paths = Settings().paths
    try:
        if chosen.sql is None and sys.stdin.isatty():
            open_shell(paths, warehouse=chosen.warehouse)
        ask(paths, chosen.sql or sys.stdin.read(), style=chosen.format, warehouse=chosen.warehouse)
    except (QueryError, WarehouseBusyError) as reason:
        error(reason)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
