"""Loads the corrected rows of a quarantine: `python -m ingestion replay SOURCE --table T --file corrected.csv`."""

import argparse
import dataclasses
import datetime as dt
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from ingestion import source as sources
from ingestion.day_rules import check_content
from ingestion.file_checks import REPLAYED, CheckedDelivery, Delivery, LandedTable, check, sha256
from ingestion.files.text import SEND_AGAIN
from ingestion.landed_files import LandedFiles, ledger_rows, scratch
from ingestion.landed_resources import resources
from ingestion.pipeline import Pipeline, explained
from ingestion.raw_tables import DELIVERIES, QUARANTINE, LoadError, newest_deliveries
from warehouse.connections import WarehouseBusyError, connect
from warehouse.connections import tables as tables_of
from warehouse.locks import Say, only_writer
from warehouse.paths import Paths
from warehouse.settings import Settings
from warehouse.sql import quote_text
from warehouse.terminal import Terminal, error, printable


def replay(
    name: str, table_name: str, file: Path, paths: Paths, delivery: str | None = None, say: Say = print
) -> tuple[str, int]:
    """Load corrected rows of a delivery as a delivery of their own, `replayed/<delivery>/<file>`.

    The same file again loads nothing; a file of the same name with other content replaces it. When the delivery itself
    comes again, what was replayed of it no longer counts: the delivery has its rows itself.

        python -m ingestion replay my_shop --table orders --file corrected.csv --delivery 2026-11-18.csv

    Args:
        name: the source.
        table_name: the table.
        file: the corrected rows, written as the table's files are, with the header that they have.
        paths: where data lives.
        delivery: the delivery that the rows were quarantined of; None: the only one of the table with rows that were
            not replayed.
        say: called with one line of progress at a time.

    Returns:
        The delivery that was corrected, and how many rows were loaded: 0 when they were before.

    Raises:
        LoadError: nothing of the delivery is in quarantine, there are more rows than that, or one of them is still bad.
        WarehouseBusyError: another process keeps the warehouse open.
    """
    source = sources.find(name)
    table = next((t for t in source.tables if t.name == table_name and isinstance(t, LandedTable)), None)
    if not isinstance(source, LandedFiles) or table is None:
        raise LoadError(f"source {name} has no table {table_name} that is loaded from files; nothing was loaded.")
    if not file.is_file():
        raise LoadError(f"{file} does not exist; nothing was loaded.")
    digest = sha256(file)
    try:
        with only_writer(paths, say), connect(paths) as connection, scratch(paths.converted / name) as folder:
            pipeline = Pipeline(name, source.tables, connection, paths)
            quarantined = in_quarantine(connection, name, table_name)
            for earlier in quarantined:
                known = pipeline.known.get((table_name, earlier.replay_of(file)))
                if known == digest and delivery in (None, earlier.delivery):
                    return earlier.delivery, 0
            chosen = _choose(quarantined, table, delivery, file)
            corrected = Delivery(table, file, chosen.replay_of(file), digest, chosen.day)
            checked = _check(corrected, folder)
            check_content([checked], [corrected], pipeline.known)
            # A newer version of a replayed file replaces the older one.
            left = chosen.rows + chosen.replayed.get(corrected.name, 0)
            if checked.row_count > left:
                raise LoadError(
                    f"{file} has {checked.row_count:,} rows, but {left:,} of {chosen.delivery} are in quarantine and "
                    "not replayed. Leave the other rows out, or land the whole corrected file under its own name; "
                    "nothing was loaded."
                )
            pipeline.run(resources(source.tables, [checked]), ledger_rows(checked, str(file.parent), pipeline.known))
            pipeline.prove_arrival()
            return chosen.delivery, checked.row_count
    except (duckdb.Error, OSError) as failure:
        raise explained(failure, paths) from failure


def _check(corrected: Delivery, folder: Path) -> CheckedDelivery:
    """Check corrected rows; none of them may be bad."""
    strict = dataclasses.replace(corrected, table=dataclasses.replace(corrected.table, quarantine=None))
    try:
        checked = check(strict, folder)
    except LoadError as error:
        raise LoadError(str(error).replace(SEND_AGAIN, "Correct it; nothing was loaded.")) from None
    if not checked.row_count:
        raise LoadError(f"{corrected.path} has no rows; nothing was loaded.")
    return dataclasses.replace(checked, delivery=corrected)


def main(arguments: list[str]) -> int:
    """Replay a file and print what happened.

    Returns:
        The exit code: 0 when loaded, or loaded before; 1 when it cannot be.
    """
    parser = argparse.ArgumentParser(
        prog="python -m ingestion replay",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Load corrected rows of a file whose bad rows were set aside.",
        epilog="""\
1. See what is in quarantine (table raw_SOURCE.quarantine in the warehouse):
     select table_name, _delivery, line, reason, raw_text from raw_SOURCE.quarantine
2. Copy the raw_text of the rows into a file, below the header of the table's files, and correct them there.
   Leave the good rows out: they are loaded. A part of the rows may be replayed, too.
3. Replay the file, then run the nightly job:
     python -m ingestion replay my_shop --table orders --file corrected.csv --delivery 2026-11-18.csv

Replaying the same file twice loads it once; a file of the same name with other content replaces the rows replayed
before. If the shop sends the file itself again, its rows count and the replayed ones do not.""",
    )
    parser.add_argument("source", choices=sources.names(), help="the source")
    parser.add_argument("--table", required=True, metavar="NAME", help="the table that the rows belong to")
    parser.add_argument("--file", required=True, type=Path, help="the corrected rows, written as the table's files are")
    parser.add_argument(
        "--delivery",
        metavar="NAME",
        help="the file that they come from, as in column _delivery, where several have bad rows",
    )
    chosen = parser.parse_args(arguments)
    try:
        delivery, rows = replay(
            chosen.source,
            chosen.table,
            chosen.file,
            Settings().paths,
            chosen.delivery,
            lambda line: print(printable(line), file=sys.stderr),
        )
    except (LoadError, WarehouseBusyError) as reason:
        error(reason)
        return 1
    done = (
        f"{rows:,} corrected rows of {delivery} loaded" if rows else f"nothing new: {chosen.file} was replayed before"
    )
    Terminal(sys.stdout).print(f"{chosen.table}: {done}", soft_wrap=True)
    return 0


@dataclass(frozen=True)
class Quarantined:
    """What is in quarantine of one delivery.

    Attributes:
        delivery: the delivery.
        day: the day that it is for.
        rows: its rows in quarantine that were not replayed yet.
        replayed: delivery of corrected rows to their number.
    """

    delivery: str
    day: dt.date | None
    rows: int
    replayed: Mapping[str, int]

    def replay_of(self, file: Path) -> str:
        """Name the delivery that a file of corrected rows is.

        Args:
            file: the corrected rows.
        """
        return f"{REPLAYED}{self.delivery}/{file.name}"


def in_quarantine(connection: duckdb.DuckDBPyConnection, source: str, table_name: str) -> list[Quarantined]:
    """List the deliveries of a table that have rows in quarantine, in their newest version.

    Args:
        connection: the open warehouse.
        source: the source's name.
        table_name: the table.
    """
    if DELIVERIES not in tables_of(connection, f"raw_{source}"):
        return []
    ledger = connection.execute(
        f"""
        select newest.table_name, newest.delivery, newest.kept_rows, ledger.delivery_date
        from {newest_deliveries(source)} as newest
        join raw_{source}.{DELIVERIES} as ledger using (table_name, delivery, _dlt_load_id)
        where newest.table_name in ({quote_text(QUARANTINE)}, {quote_text(table_name)})
        order by newest.delivery
        """
    ).fetchall()
    of_table = {name: rows for table, name, rows, _ in ledger if table == table_name}
    found = []
    for table, name, rows, day in ledger:
        # A delivery in quarantine belongs to the table that it feeds: no two tables load one file.
        if table == QUARANTINE and rows and name in of_table:
            replayed = {file: n for file, n in of_table.items() if n and file.startswith(f"{REPLAYED}{name}/")}
            found.append(Quarantined(name, day, rows - sum(replayed.values()), replayed))
    return found


def _choose(quarantined: list[Quarantined], table: LandedTable, delivery: str | None, file: Path) -> Quarantined:
    """Find the delivery that is corrected: the one that is named, or the only one that can be."""
    if not quarantined and table.quarantine is None:
        raise LoadError(
            f"table {table.name} declares no quarantine: one bad row stops its load, and no row of it is set aside. "
            "Land the corrected file under its own name; nothing was loaded."
        )
    to_replay = [q for q in quarantined if q.rows or q.replay_of(file) in q.replayed]
    chosen = [q for q in quarantined if q.delivery == delivery] if delivery else to_replay
    if len(chosen) == 1:
        return chosen[0]
    if not to_replay:
        state = "every row in quarantine was replayed" if quarantined else f"no row of {table.name} is in quarantine"
        raise LoadError(f"{state}; nothing was loaded.")
    names = ", ".join(q.delivery for q in to_replay)
    problem = f"no row of {delivery} is in quarantine" if delivery else "rows of several files are in quarantine"
    raise LoadError(f"{problem}. Say which it is with --delivery: {names}; nothing was loaded.")
