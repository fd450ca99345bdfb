"""The doors at a terminal: query, contract, catalogue, publish-postgres, matrix, token, serve, mcp and pages."""

import argparse
import datetime as dt
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from delivery import catalogue, matrix, postgres
from delivery.breaking import Breakage, DetectorMissingError, breakages, is_bumped
from delivery.catalogue import CatalogueError
from delivery.contract import FOLDER, ContractError, files, read_metadata, render
from delivery.policy import Policy, PolicyError, UnknownRoleError, described, problems
from delivery.policy import read as read_policy
from delivery.postgres import PostgresError
from delivery.query import FORMATS, QueryError, ask, open_shell
from delivery.tokens import LONGEST_DAYS, Token, TokenError, Tokens
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
    """Write the catalogue next to the published file.

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
        help="write the catalogue next to the published file",
        description="Have dbt write its documentation of all tables and columns as one page, next to the published "
        "file. It reads the private warehouse, so not while a run is under way.",
    )
    seen = commands.add_parser(
        "matrix",
        help="write the page that says what each role sees of each column",
        description="Write docs/doors-matrix.md of this checkout: what each role of delivery/policy.yml sees of each "
        "published column.",
    )
    seen.add_argument("--check", action="store_true", help="write nothing; fail when the page is out of date")
    _add_token(commands)
    _add_serve(commands)
    chosen = parser.parse_args(arguments)
    if chosen.command == "query":
        return _query(chosen)
    if chosen.command == "catalogue":
        return write_catalogue(Settings())
    if chosen.command == "publish-postgres":
        return publish_postgres(Settings())
    if chosen.command in _DOORS:
        return _door(chosen)
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


def _add_token(commands: Any) -> None:
    token = commands.add_parser(
        "token",
        help="make, list and revoke tokens for the doors",
        description="Tokens say who may ask at the service, and as which role of delivery/policy.yml. They are stored "
        "hashed; a revoked one is refused from the next request on.",
        epilog="examples:\n"
        "  %(prog)s create --role marketing --name 'Anna, spring campaign' --days 30\n"
        "  %(prog)s list\n"
        "  %(prog)s revoke 1a2b3c4d",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = token.add_subparsers(dest="what", required=True)
    create = what.add_parser("create", help="make a token; it is shown once")
    create.add_argument("--role", required=True, help="what it may see: a role of the policy")
    create.add_argument("--name", required=True, help="who or what it is for")
    create.add_argument("--days", type=int, default=90, help=f"how long it is valid, 1 to {LONGEST_DAYS} (default: 90)")
    what.add_parser("list", help="list the tokens, without their secrets")
    revoke = what.add_parser("revoke", help="refuse a token from now on")
    revoke.add_argument("id", help="as `list` shows it")


def _add_serve(commands: Any) -> None:
    serve = commands.add_parser(
        "serve",
        help="answer over HTTP: REST, agents and pages",
        description="Answer over HTTP: REST under /v1, agents (MCP) at /mcp, pages for people at /. It follows each "
        "new publication by itself. Listens on this machine alone unless --host says otherwise; put nginx with TLS in "
        "front of it then. Needs next-aisle[serve].",
    )
    serve.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)")
    serve.add_argument("--port", type=int, default=8080, help="the port (default: 8080)")
    serve.add_argument(
        "--name", action="append", default=[], metavar="HOST", help="a name by which it is asked, such as of the nginx"
    )
    serve.add_argument("--rate", type=float, default=50, help="requests per second of one token (default: 50)")
    serve.add_argument("--burst", type=float, default=200, help="requests of one token at once (default: 200)")
    agents = commands.add_parser(
        "mcp",
        help="answer an agent by standard input (MCP)",
        description="Answer an agent by standard input and output, as the Model Context Protocol has it: name this "
        "command in the agent's configuration. Over HTTP the same tools are at /mcp of `serve`. Needs "
        "next-aisle[serve].",
        epilog="The role is that of the token in NEXT_AISLE_TOKEN, or the one named with --role: a person who may read "
        "the data folder may take any.",
    )
    agents.add_argument("--role", help="what the agent may see: a role of the policy")
    pages = commands.add_parser(
        "pages",
        help="write the pages to a folder",
        description="Write the pages of `serve` to a folder, as one role sees them. They open from disk, without a "
        "service and without a network. Needs next-aisle[serve].",
    )
    pages.add_argument("--static", required=True, type=Path, metavar="DIR", help="the folder; made if it is not there")
    pages.add_argument("--role", default="viewer", help="as whom: a role of the policy (default: viewer)")


def _door(chosen: argparse.Namespace) -> int:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("delivery").setLevel(logging.INFO)
    settings = Settings()
    try:
        policy = read_policy(settings.policy)
        if chosen.command == "token":
            return _token(chosen, Tokens(settings.paths.tokens), policy)
        for line in problems(policy, described(read_manifest(prepare(settings)))):
            logging.getLogger("delivery").warning("%s", line)
        made = {"serve": _serve, "mcp": _agents, "pages": _pages, "matrix": _matrix}
        return made[chosen.command](chosen, settings, policy)
    except ModuleNotFoundError as reason:
        error(f"{reason.name} is not installed: install next-aisle[serve]")
    except (DbtProjectError, PolicyError, UnknownRoleError, TokenError, OSError) as reason:
        error(reason)
    return 1


def _token(chosen: argparse.Namespace, tokens: Tokens, policy: Policy) -> int:
    if chosen.what == "create":
        policy.role(chosen.role)
        token, secret = tokens.create(chosen.name, chosen.role, chosen.days)
        print(f"{token.id}, role {token.role}, until {token.expires:%Y-%m-%d}. It is shown this once:", file=sys.stderr)
        print(secret)
    elif chosen.what == "revoke":
        token = tokens.revoke(chosen.id)
        print(f"revoked {token.id} ({printable(token.name)})")
    else:
        now = dt.datetime.now(dt.UTC)
        _list(tokens.all(), now)
    return 0


def _list(tokens: list[Token], now: dt.datetime) -> None:
    if not tokens:
        print("there is no token yet: python -m delivery token create --role viewer --name NAME")
        return
    rows = [("id", "state", "role", "until", "name")]
    rows += [(each.id, each.state(now), each.role, f"{each.expires:%Y-%m-%d}", printable(each.name)) for each in tokens]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]))


def _serve(chosen: argparse.Namespace, settings: Settings, policy: Policy) -> int:
    # Its packages are an extra.
    from delivery.service import Options, ServiceError, run

    try:
        run(
            settings,
            policy,
            Options(
                host=chosen.host,
                port=chosen.port,
                hosts=tuple(chosen.name),
                per_second=chosen.rate,
                burst=chosen.burst,
            ),
        )
    except ServiceError as reason:
        error(reason)
        return 1
    return 0


def _agents(chosen: argparse.Namespace, settings: Settings, policy: Policy) -> int:
    # Its packages are an extra.
    from delivery.access import Audit
    from delivery.agents import make_server
    from delivery.doors import Caller, Doors

    given = settings.token.get_secret_value() if settings.token else None
    token = Tokens(settings.paths.tokens).check(given) if given else None
    if given and token is None:
        raise TokenError("the token in NEXT_AISLE_TOKEN is not valid: it is unknown, expired or revoked")
    if token is None and chosen.role is None:
        raise TokenError("set NEXT_AISLE_TOKEN, or name a role: python -m delivery mcp --role viewer")
    role = token.role if token else chosen.role
    caller = Caller(
        role, token.id if token else None, token.name if token else "standard input", policy.role(role).purposes[0]
    )
    # What is printed would break the protocol.
    doors = Doors(settings, policy, say=logging.getLogger("delivery").info)
    make_server(doors, Audit(settings.paths.audit_log), caller).run("stdio")
    return 0


def _pages(chosen: argparse.Namespace, settings: Settings, policy: Policy) -> int:
    # Its packages are an extra.
    from delivery.doors import Caller, Doors
    from delivery.errors import DoorError
    from delivery.pages import Pages, file_name, write

    caller = Caller(chosen.role, None, "terminal", policy.role(chosen.role).purposes[0])
    pages = Pages(Doors(settings, policy), file_name, is_static=True)
    try:
        count = write(pages, caller, chosen.static, lambda line: print(line, file=sys.stderr))
    except DoorError as reason:
        error(reason)
        return 1
    print(f"wrote {count:,} pages: {(chosen.static / 'index.html').resolve().as_uri()}")
    return 0


def _matrix(chosen: argparse.Namespace, settings: Settings, policy: Policy) -> int:
    tables = described(read_manifest(prepare(settings)))
    if matrix.write(policy, tables, check=chosen.check):
        print(f"{matrix.PAGE} is what the policy says")
    elif chosen.check:
        error(f"{matrix.PAGE} is not what the policy and the columns' tags say. Run: make matrix")
        return 1
    else:
        print(f"wrote {matrix.PAGE}")
    return 0


_DOORS = ("token", "serve", "mcp", "pages", "matrix")


if __name__ == "__main__":
    sys.exit(main())
