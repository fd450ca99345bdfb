"""How fast the main job is, and how much memory it takes: loading, building and the whole nightly run.

`python -m benchmarks.main_job` measures on the sample shop in a folder of its own, never in the user's data. Each
part is compared with its floor, the least work that gives the same tables: plain DuckDB in one process. Rounds are
interleaved, so that a machine that is busy for a while is busy for all of them; the median counts.

The models are compiled into dbt_project/target, so no other run of this project may be under way.
"""

import argparse
import datetime as dt
import json
import os
import platform
import resource
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from rich.progress import Progress
from rich.table import Table

from benchmarks.processes import FailedError, Measured, run
from warehouse.terminal import Terminal

PROJECT = Path(__file__).resolve().parent.parent
DBT_PROJECT = PROJECT / "dbt_project"
SOURCE = "complete_journey"
BIN = Path(sys.executable).parent
PYTHON = [sys.executable, "-m"]
DBT = [str(BIN / "dbt"), "--no-use-colors"]
IN_DBT_PROJECT = ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)]
# As the nightly run builds: unit tests prove the rules when they change, not the data of the night.
DBT_BUILD = [*DBT, "build", *IN_DBT_PROJECT, "--exclude-resource-type", "unit_test"]

FLOOR_LOAD = "floor: DuckDB reads the files"
FLOOR_LOAD_PROCESS = "floor: the same, whole process"
LOAD = "load, imports done"
LOAD_PROCESS = "load, whole process"
FLOOR_BUILD = "floor: DuckDB runs the models' SQL"
BUILD = "dbt build, whole process"
FROM_NOTHING = "whole job, from nothing"
AGAIN = "whole job, nothing new"

FLOORS = {LOAD: FLOOR_LOAD, LOAD_PROCESS: FLOOR_LOAD_PROCESS, BUILD: FLOOR_BUILD}
ORDER = [FLOOR_LOAD, LOAD, FLOOR_LOAD_PROCESS, LOAD_PROCESS, FLOOR_BUILD, BUILD, FROM_NOTHING, AGAIN]

LOAD_TARGET = 2.0  # times the floor's wall time, that is half of its rate
FROM_NOTHING_TARGET = 1.6  # times the processor time of both floors
AGAIN_TARGET_SECONDS = 15

LIMIT_CORES = 2
LIMIT_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Figure:
    """One measured part.

    Attributes:
        seconds: wall time.
        cpu_seconds: processor time; None where the process did more than the part.
        peak_mib: memory of the whole process tree at its highest.
    """

    seconds: float
    cpu_seconds: float | None
    peak_mib: float


class Bench:
    """One benchmark run in a folder of its own.

    Args:
        folder: an empty folder on a local disk.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # The same place in every round: dbt parses the project again when the warehouse's path changes.
        self.data = folder / "data"
        self.landing = self.data / "landing" / SOURCE
        self.warehouse = self.data / "warehouse.duckdb"
        self.figures: dict[str, list[Figure]] = defaultdict(list)
        self.rows = 0

    def prepare(self) -> None:
        """Parse the dbt project once, unmeasured: a user's first run does that, the following ones do not."""
        self.data.mkdir()
        self._run([*DBT, "parse", *IN_DBT_PROJECT])

    def round(self, step: Callable[[], object]) -> None:
        """Measure each part once.

        Args:
            step: called after each.
        """
        shutil.rmtree(self.data)
        self.data.mkdir()
        self._whole(FROM_NOTHING, self._run([*PYTHON, "orchestration", "nightly"]))
        step()
        self._whole(AGAIN, self._run([*PYTHON, "orchestration", "nightly"]))
        step()
        floor = self.folder / "floor"
        shutil.rmtree(floor, ignore_errors=True)
        floor.mkdir()
        self._parts(FLOOR_LOAD, FLOOR_LOAD_PROCESS, ["floor_load", str(self.landing), str(floor / "files.duckdb")])
        step()
        self._forget_loads()
        self._parts(LOAD, None, ["load", str(self.landing)])
        step()
        self._forget_loads()
        self._whole(LOAD_PROCESS, self._run([*PYTHON, "ingestion", SOURCE]))
        step()
        self._whole(BUILD, self._run(DBT_BUILD))
        step()
        shutil.copy(self.warehouse, floor / self.warehouse.name)
        manifest = DBT_PROJECT / "target" / "manifest.json"
        self._parts(FLOOR_BUILD, None, ["floor_build", str(manifest), str(floor / self.warehouse.name)])
        step()

    def limited(self) -> tuple[Figure, str]:
        """Run the whole job from nothing on two cores and with 2 GiB.

        Returns:
            What it took, and how it was limited.

        Raises:
            FailedError: the job does not run within the limit.
        """
        shutil.rmtree(self.data)
        self.data.mkdir()
        job = [*PYTHON, "orchestration", "nightly"]
        if Path("/run/systemd/system").is_dir() and shutil.which("systemd-run") and os.geteuid() == 0:
            limits = [f"--property={setting}" for setting in (f"MemoryMax={LIMIT_BYTES}", "MemorySwapMax=0")]
            how = "a control group of systemd: 2 GiB for all processes together, no swap; pinned to two cores"
            measured = self._run(["systemd-run", "--scope", "--quiet", *limits, *job], _two_cores)
        else:
            how = (
                "2 GiB of data for each process (RLIMIT_DATA) and pinned to two cores, because there is no systemd to "
                "ask for a control group; all processes together are only measured"
            )
            measured = self._run(job, _two_cores_and_2_gib)
        return Figure(measured.seconds, measured.cpu_seconds, measured.peak_mib), how

    def _run(self, command: Sequence[str], before: Callable[[], object] | None = None) -> Measured:
        environment = {"NEXT_AISLE_DATA": str(self.data), "DAGSTER_DISABLE_TELEMETRY": "1"}
        return run(command, environment, self.folder, before)

    def _whole(self, name: str, measured: Measured) -> None:
        self.figures[name].append(Figure(measured.seconds, measured.cpu_seconds, measured.peak_mib))

    def _parts(self, name: str, process_name: str | None, arguments: Sequence[str]) -> None:
        measured = self._run([*PYTHON, "benchmarks.single_process", *arguments])
        result = json.loads(measured.output.splitlines()[-1])
        self.figures[name].append(Figure(result["seconds"], result.get("cpu_seconds"), measured.peak_mib))
        if process_name:
            self._whole(process_name, measured)
        self.rows = int(result.get("rows", self.rows))

    def _forget_loads(self) -> None:
        for path in self.data.iterdir():
            if path.is_dir() and path.name != "landing":
                shutil.rmtree(path)
            elif path.is_file():
                path.unlink()


def _two_cores() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:LIMIT_CORES])


def _two_cores_and_2_gib() -> None:
    _two_cores()
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT_BYTES, LIMIT_BYTES))


def machine() -> str:
    """Say in one line what was measured on and with what."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in ("duckdb", "dlt", "dbt-core", "dbt-duckdb", "dagster"))
    return (
        f"{dt.datetime.now():%Y-%m-%d %H:%M}, {platform.system()} {platform.machine()}, {cores} cores, "
        f"{memory:.0f} GiB memory, load average {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, {versions}"
    )


def _table(bench: Bench, runs: int) -> Table:
    table = Table(
        title=f"Main job on the sample shop: {bench.rows:,} raw rows, median of {runs} interleaved runs",
        title_justify="left",
        caption="Peak memory is of the whole process tree: PSS sampled every 0.2 s, or the largest process's RSS\n"
        "where that is more. Rows are the raw rows, in every line.",
        caption_justify="left",
    )
    table.add_column("part")
    for heading in ("seconds", "fastest", "slowest", "CPU s", "x floor", "rows/s", "peak MiB"):
        table.add_column(heading, justify="right")
    for name in ORDER:
        figures = bench.figures[name]
        seconds = [figure.seconds for figure in figures]
        cpu = [figure.cpu_seconds for figure in figures if figure.cpu_seconds is not None]
        table.add_row(
            name,
            f"{statistics.median(seconds):.2f}",
            f"{min(seconds):.2f}",
            f"{max(seconds):.2f}",
            f"{statistics.median(cpu):.1f}" if cpu else "",
            f"{_ratio(bench, name):.2f}" if name in FLOORS else "",
            f"{bench.rows / statistics.median(seconds):,.0f}",
            f"{max(figure.peak_mib for figure in figures):,.0f}",
        )
    return table


def _median(bench: Bench, name: str) -> float:
    return statistics.median(figure.seconds for figure in bench.figures[name])


def _ratio(bench: Bench, name: str) -> float:
    return _median(bench, name) / _median(bench, FLOORS[name])


def _median_cpu(bench: Bench, name: str) -> float:
    return statistics.median(figure.cpu_seconds or 0 for figure in bench.figures[name])


def _verdicts(bench: Bench) -> list[tuple[bool, str]]:
    ratio, again = _ratio(bench, LOAD), _median(bench, AGAIN)
    cpu, floor_cpu = _median_cpu(bench, FROM_NOTHING), _median_cpu(bench, FLOOR_LOAD) + _median_cpu(bench, FLOOR_BUILD)
    return [
        (
            ratio <= LOAD_TARGET,
            f"load takes {ratio:.2f} times its floor, at most {LOAD_TARGET} (wall time in a process whose imports are "
            "done, up to the checkpoint; ours with digests, checks and the proof of arrival)",
        ),
        (
            cpu <= FROM_NOTHING_TARGET * floor_cpu,
            f"whole job from nothing takes {cpu:.1f} CPU seconds, {cpu / floor_cpu:.2f} times its floors, at most "
            f"{FROM_NOTHING_TARGET} (project parsed before, files in the system's cache)",
        ),
        (
            again <= AGAIN_TARGET_SECONDS,
            f"whole job with nothing new takes {again:.1f} s, at most {AGAIN_TARGET_SECONDS}",
        ),
    ]


def main(arguments: list[str] | None = None) -> int:
    """Measure and print.

    Returns:
        The exit code: 0 when every target was met, 1 when one was missed, 2 when a part failed.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.main_job",
        description="Measure loading, building and the nightly run on the sample shop, compared with plain DuckDB.",
        epilog="Takes about four minutes a run. No other run of this project may be under way meanwhile.",
    )
    parser.add_argument("--runs", type=int, default=3, help="interleaved runs; the median counts (default: 3)")
    parser.add_argument("--data", type=Path, help="existing folder for the temporary files (default: the system's)")
    parser.add_argument(
        "--memory-limit", action="store_true", help="also run the whole job limited to two cores and 2 GiB"
    )
    chosen = parser.parse_args(arguments)
    # What the table needs.
    console = Terminal(sys.stdout, columns=110)
    with tempfile.TemporaryDirectory(prefix="next-aisle-bench-", dir=chosen.data) as folder:
        bench = Bench(Path(folder).resolve())
        try:
            with Progress(console=Terminal(sys.stderr), transient=True) as progress:
                task = progress.add_task("measuring", total=7 * chosen.runs)
                bench.prepare()
                for _ in range(chosen.runs):
                    bench.round(lambda: progress.advance(task))
        except FailedError as error:
            console.print(f"error: {error}")
            return 2
        console.print(machine(), soft_wrap=True)
        console.print(_table(bench, chosen.runs))
        verdicts = _verdicts(bench)
        if chosen.memory_limit:
            try:
                figure, how = bench.limited()
                fits = figure.peak_mib <= LIMIT_BYTES / 2**20
                verdict = f"takes {figure.seconds:.1f} s and {figure.peak_mib:,.0f} MiB at its highest"
            except FailedError as error:
                fits, how, verdict = False, "see the message", f"fails: {error}"
            verdicts.append((fits, f"whole job on two cores and 2 GiB {verdict} ({how})"))
    for passed, text in verdicts:
        console.print(f"{'pass' if passed else 'FAIL'}  {text}", soft_wrap=True)
    return 0 if all(passed for passed, _ in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
