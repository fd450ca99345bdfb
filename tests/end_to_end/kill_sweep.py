"""The nightly job, killed at random moments and run once more, while a reader asks the published copy all the time.

    uv run python -m tests.end_to_end.kill_sweep --kills 500 --folder /var/tmp/sweep

Each time, the shop corrects one of its days; the run is killed with SIGKILL, at a random moment of each phase in turn,
and run once more. Then the published rows are compared with those of a shop that was never killed. The report says in
which phase each kill hit, and what came out of it. Ctrl+C ends the sweep early, with the report so far.
"""

import argparse
import collections
import contextlib
import datetime as dt
import functools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from tests.conftest import Project, make_project, published_rows
from tests.fixtures import tiny_shop
from warehouse.locks import Say
from warehouse.paths import Paths

NIGHTLY = [sys.executable, "-m", "orchestration", "nightly", "--verbose"]

# What the run printed last, of what is done, tells its phase.
LOADING, MODELLING = "loading", "modelling"
# Dagster's own checks: of loaded rows, of rows before the verdict, of tables compared with those of other nights.
BETWEEN = "other checks"
PHASES = {
    "✔ publishing": "end",
    "✔ comparing": "publish",
    "✔ quality tables": BETWEEN,
    "✔ judging": "record",
    "✔ measuring": "judge",
    "✔ modelling": BETWEEN,
    "score:": MODELLING,
    "✔ looking up which shops are held": MODELLING,
    "✔ checking": BETWEEN,
    "✔ loading": BETWEEN,
    "✔ looking up what is published": LOADING,
    "✔ landing": "start",
    "reading the definitions": "start",
}

# Where kills are aimed at, in turn, and how long after the phase began (seconds, at most); the phase that follows may
# be hit as well. The verdict with the file of the run is "judge", the tables of all runs are "record".
SECONDS = {
    "extract": 0.3,
    "normalise": 0.2,
    "load": 0.5,
    "dbt models": 20.0,
    "dbt tests": 1.0,
    "judge": 1.0,
    "record": 8.0,
    "publish": 2.0,
}
AIMS = list(SECONDS)


@dataclass
class Sweep:
    """What came out.

    Attributes:
        kills: phase to how many kills hit it.
        ended_before: runs that ended before their kill.
        lost: nights after which published rows were missing.
        doubled: nights after which there were more published rows than there should be.
        different: nights after which the published rows were others.
        failed: nights on which the second run failed.
        reads: how often the reader asked.
        torn: what the reader saw that was not a whole version.
    """

    kills: dict[str, int] = field(default_factory=collections.Counter)
    ended_before: int = 0
    lost: int = 0
    doubled: int = 0
    different: int = 0
    failed: int = 0
    reads: int = 0
    torn: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing went wrong."""
        return not (self.lost or self.doubled or self.different or self.failed or self.torn)


class Reader(threading.Thread):
    """Opens the published copy again and again, and checks that each version is whole and one.

    Args:
        data: the data folder.
        sweep: takes what it sees.
    """

    def __init__(self, data: Path, sweep: Sweep) -> None:
        super().__init__(daemon=True)
        self.file = Paths(data).published
        self.sweep = sweep
        self.over = threading.Event()

    def run(self) -> None:
        """Ask until it is over."""
        while not self.over.wait(0.2):
            try:
                # A connection of its own: DuckDB shares one between those that open the same path in a process.
                with duckdb.connect() as connection:
                    copy = f"/proc/self/fd/{os.open(self.file, os.O_RDONLY)}"
                    try:
                        connection.execute(f"attach '{copy}' as copy (read_only)")
                        self._check(connection)
                    finally:
                        os.close(int(copy.rpartition("/")[2]))
            except (duckdb.Error, OSError) as error:
                self.sweep.torn.append(str(error).splitlines()[0])
            self.sweep.reads += 1

    def _check(self, connection: duckdb.DuckDBPyConnection) -> None:
        purchases, kept = connection.execute(
            """
            select
                (select count(*) from copy.core.fct_purchases),
                (select sum(kept_rows) from copy.quality.row_reconciliation where table_name = 'purchases')
            """
        ).fetchall()[0]
        if purchases != kept:
            self.sweep.torn.append(f"{purchases} purchases, and {kept} according to the same copy")
        for schema, table in connection.execute(
            "select schema_name, table_name from duckdb_tables() where database_name = 'copy'"
        ).fetchall():
            connection.execute(f"select count(*), bit_xor(hash(t)) from copy.{schema}.{table} as t").fetchall()


def correct(landing: Path, number: int) -> None:
    """Have the shop send the day before yesterday again, with other lines than ever before."""
    day = tiny_shop.TODAY - dt.timedelta(days=2)
    lines = [tiny_shop.line(day, 200 + n, 1, 10, 1, 1.0 + n + number / 100) for n in range(1 + number % 3)]
    tiny_shop.write_day(landing, day, lines)


def first_night(folder: Path) -> Project:
    """Give the tiny shop its first night.

    Args:
        folder: an empty folder.
    """
    shop = make_project(folder / "data", folder)
    tiny_shop.land(shop.landing)
    first = shop.nightly()
    if first.returncode:
        raise RuntimeError(f"the first night failed:\n{first.stdout}{first.stderr}")
    return shop


def sweep(shop: Project, undisturbed_data: Path, kills: int, seed: int, say: Say = print) -> Sweep:
    """Kill, run once more and compare, again and again.

    Args:
        shop: the tiny shop after a night.
        undisturbed_data: for its data folder as it would be without kills.
        kills: how many.
        seed: of the random moments.
        say: takes a line for each kill.
    """
    chance = random.Random(seed)
    undisturbed = Project(undisturbed_data, shop.code)
    shutil.copytree(shop.data, undisturbed.data, symlinks=True)
    result = Sweep()
    reader = Reader(shop.data, result)
    reader.start()
    with contextlib.suppress(KeyboardInterrupt):
        for number in range(1, kills + 1):
            _kill_and_compare(shop, undisturbed, number, chance, result, say)
    reader.over.set()
    reader.join()
    return result


def _kill_and_compare(
    shop: Project, undisturbed: Project, number: int, chance: random.Random, result: Sweep, say: Say
) -> None:
    correct(shop.landing, number)
    hit = _kill(shop, AIMS[number % len(AIMS)], chance)
    correct(undisturbed.landing, number)
    with subprocess.Popen(
        NIGHTLY, cwd=undisturbed.code, env=undisturbed.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as right:
        succeeded = shop.nightly().returncode == 0
    if right.returncode:
        raise RuntimeError(f"night {number} failed in {undisturbed.data}, where nothing was killed")
    outcome = _compare(published_rows(shop.data), published_rows(undisturbed.data))
    if hit is None:
        result.ended_before += 1
    else:
        result.kills[hit] += 1
    if outcome:
        setattr(result, outcome, getattr(result, outcome) + 1)
    if not succeeded:
        result.failed += 1
    where = f"killed in {hit}" if hit else "had ended before it was killed"
    say(f"{number}: {where}; {outcome or 'as it should be'}{'' if succeeded else '; the second run failed'}")


def _kill(shop: Project, aim: str, chance: random.Random) -> str | None:
    """Kill a run some time after it began a phase; gives the phase that it was in, None when it had ended."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "output"
        with output.open("w") as written:
            process = subprocess.Popen(
                NIGHTLY, cwd=shop.code, env=shop.env, stdout=written, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            log = Paths(shop.data).dbt_target / "dbt.log"
            logged = log.stat().st_size if log.exists() else 0
            # A short phase may be over before it is seen.
            aims = AIMS[AIMS.index(aim) :]
            while process.poll() is None and phase(shop.data, output.read_text(), logged) not in aims:
                time.sleep(0.01)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0, SECONDS[aim]))
            ended = process.poll() is not None
            hit = phase(shop.data, output.read_text(), logged)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return None if ended else hit


def phase(data: Path, printed: str, logged: int) -> str:
    """Tell which phase a run is in.

    Args:
        data: the data folder.
        printed: what the run printed so far.
        logged: how large dbt's log was when it was started.
    """
    found = {printed.rfind(words): phase for words, phase in PHASES.items() if words in printed}
    last = found[max(found)] if found else "start"
    if last == LOADING:
        return _phase_of_dlt(Paths(data).dlt)
    return _phase_of_dbt(Paths(data).dbt_target / "dbt.log", logged) if last == MODELLING else last


def _phase_of_dlt(folder: Path) -> str:
    """By where dlt has its packages: it moves them on from step to step."""
    if any(folder.glob("*/load/normalized/*")):
        return "load"
    return "normalise" if any(folder.glob("*/load/new/*")) or any(folder.glob("*/normalize/extracted/*")) else "extract"


def _phase_of_dbt(log: Path, logged: int) -> str:
    """By what dbt's log says that it began last."""
    if not log.exists():
        return "dbt start"
    with log.open("rb") as content:
        content.seek(max(logged, log.stat().st_size - 50_000))
        begun = re.findall(rb'"description": "(test|sql|seed) ', content.read())
    return "dbt start" if not begun else "dbt tests" if begun[-1] == b"test" else "dbt models"


def report(result: Sweep) -> str:
    """Write what came out for a person.

    Args:
        result: of the sweep.
    """
    lines = ["| killed in | kills |", "|---|---:|"]
    others = sorted(result.kills.keys() - SECONDS.keys())
    lines += [f"| {name} | {result.kills.get(name, 0):,} |" for name in (*AIMS, *others)]
    lines += [
        "",
        f"{sum(result.kills.values()):,} kills ({result.ended_before:,} runs had ended before): {result.lost} lost, "
        f"{result.doubled} doubled, {result.different} different, {result.failed} second runs failed.",
        f"{result.reads:,} reads, {len(result.torn)} torn.",
    ]
    return "\n".join(lines)


def _compare(seen: dict[str, list[Any]], right: dict[str, list[Any]]) -> str | None:
    """Say what is wrong: rows `lost`, `doubled` or `different`; None: nothing."""
    if seen == right:
        return None
    counts = [(len(seen.get(table, [])), len(rows)) for table, rows in right.items()]
    if any(has < should for has, should in counts):
        return "lost"
    return "doubled" if any(has > should for has, should in counts) else "different"


def main() -> int:
    """Parse the command line.

    Returns:
        The exit code: 1 when anything went wrong.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.end_to_end.kill_sweep", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="how many (default: 20; each takes about three runs)")
    parser.add_argument("--seed", type=int, default=1, help="of the random moments (default: 1)")
    parser.add_argument("--folder", type=Path, help="an empty folder (default: a temporary one)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        say = functools.partial(print, flush=True)
        result = sweep(first_night(folder), folder / "undisturbed", chosen.kills, chosen.seed, say)
    print(json.dumps(asdict(result), indent=2))
    print(report(result))
    return 0 if result.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
