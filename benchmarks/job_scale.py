"""How the nightly run grows with the shop: whole, one more day, and nothing new, at 1, 10 and 40 times the sample.

`python -m benchmarks.job_scale` makes the files of a larger shop (benchmarks/scaled_shop.py) and holds the newest day
back. It measures the night that loads and builds everything, plain DuckDB with the same files and the same compiled SQL
(the floor), the night in which the day that was held back comes, and a night with nothing new. Each is a program of its
own; processor time and memory are those of all its processes.
"""

import argparse
import datetime as dt
import json
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from benchmarks import scaled_shop
from benchmarks.main_job import DBT, IN_DBT_PROJECT, PROJECT, PYTHON, SOURCE, machine
from benchmarks.processes import FailedError, Measured, run
from benchmarks.score_scale import scale_of
from ingestion import sample_shop
from warehouse.paths import Paths
from warehouse.terminal import Terminal

PARTS = ("whole", "floor", "one more day", "nothing new")


@dataclass(frozen=True)
class Figure:
    """What one part took at one size.

    Attributes:
        scale: times the sample's customers.
        lines: purchase lines, in thousands.
        part: one of PARTS.
        seconds: wall time.
        cpu_seconds: processor time.
        peak_mib: memory of all its processes at its highest.
    """

    scale: int
    lines: int
    part: str
    seconds: float
    cpu_seconds: float
    peak_mib: float


def measure(scale: int, folder: Path, say: Terminal) -> list[Figure]:
    """Make a larger shop and measure its nights.

    Args:
        scale: times the sample's customers.
        folder: an empty folder on a local disk.
        say: where a line is printed for each part that is done.

    Raises:
        FailedError: a part failed.
    """
    sample, data = Paths(folder / "sample"), folder / "data"
    # The newest day is today's, so that the shop without it is as fresh as a shop is in the morning.
    sample_shop.land(sample, dt.date.today() + dt.timedelta(days=1), say=lambda _: None)
    landing = Paths(data).landing / SOURCE
    scaled_shop.write(sample.landing / SOURCE, landing, scale)
    newest = max((landing / "purchases").iterdir())
    held_back = folder / newest.name
    newest.rename(held_back)
    figures: list[Figure] = []

    def add(part: str, seconds: float, cpu_seconds: float, peak_mib: float) -> None:
        say.print(f"{scale}x  {part}: {seconds:.1f} s, {cpu_seconds:.1f} CPU s, {peak_mib:,.0f} MiB")
        figures.append(Figure(scale, lines, part, seconds, cpu_seconds, peak_mib))

    environment = {"NEXT_AISLE_DATA": str(data), "DAGSTER_DISABLE_TELEMETRY": "1"}

    def night() -> tuple[float, float, float]:
        measured = run([*PYTHON, "orchestration", "nightly"], environment, folder)
        return measured.seconds, measured.cpu_seconds, measured.peak_mib

    def floor(*arguments: str) -> tuple[Measured, dict[str, float]]:
        measured = run([*PYTHON, "benchmarks.single_process", *arguments], environment, folder)
        return measured, json.loads(measured.output.splitlines()[-1])

    whole = night()
    # The floor runs what dbt compiles when it builds tables whole.
    run([*DBT, "compile", *IN_DBT_PROJECT], environment, folder)
    files = folder / "floor"
    files.mkdir()
    loaded, load = floor("floor_load", str(landing), str(files / "files.duckdb"))
    lines = round(load["rows"] / 1000)
    add("whole", *whole)
    shutil.copy(Paths(data).warehouse, files)
    manifest = PROJECT / "dbt_project" / "target" / "manifest.json"
    built, build = floor("floor_build", str(manifest), str(files / Paths(data).warehouse.name))
    seconds, cpu_seconds = (load[unit] + build[unit] for unit in ("seconds", "cpu_seconds"))
    add("floor", seconds, cpu_seconds, max(loaded.peak_mib, built.peak_mib))
    shutil.rmtree(files)
    held_back.rename(newest)
    add("one more day", *night())
    add("nothing new", *night())
    return figures


def plot(figures: list[Figure], file: Path) -> None:
    """Draw processor time by lines, both on a logarithmic scale.

    Args:
        figures: of several sizes.
        file: the PNG to write.

    Raises:
        ImportError: matplotlib is not installed (group `benchmark`).
    """
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(7, 4.5), layout="constrained")
    axes = picture.subplots()
    for part in PARTS:
        points = [(figure.lines / 1000, figure.cpu_seconds) for figure in figures if figure.part == part]
        axes.plot(*zip(*points, strict=True), marker="o", label=part)
    axes.set(xscale="log", yscale="log", xlabel="million purchase lines", ylabel="CPU seconds")
    axes.set_title("What a night costs, two cores")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    picture.savefig(file, dpi=120)


def _table(figures: list[Figure]) -> Table:
    table = Table(title="The nightly run on larger shops", title_justify="left")
    for heading in ("scale", "lines", "part"):
        table.add_column(heading)
    for heading in ("seconds", "CPU s", "peak MiB", "of whole", "x floor"):
        table.add_column(heading, justify="right")
    cpu = {(figure.scale, figure.part): figure.cpu_seconds for figure in figures}
    for figure in figures:
        whole, floor = cpu[figure.scale, "whole"], cpu.get((figure.scale, "floor"))
        table.add_row(
            f"{figure.scale}x",
            f"{figure.lines:,} k",
            figure.part,
            f"{figure.seconds:.1f}",
            f"{figure.cpu_seconds:.1f}",
            f"{figure.peak_mib:,.0f}",
            f"{figure.cpu_seconds / whole:.2f}",
            f"{whole / floor:.2f}" if figure.part == "whole" and floor else "",
        )
    return table


def main(arguments: list[str] | None = None) -> int:
    """Measure and print.

    Returns:
        The exit code: 0, or 2 when a part failed.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.job_scale",
        description="Measure the nightly run on the sample shop with several times as many customers.",
        epilog="10x takes a quarter of an hour and 6 GB of disk, 40x an hour and 25 GB. The models are compiled into "
        "dbt_project/target, so no other run of this project may be under way.",
    )
    parser.add_argument("--scale", type=scale_of, nargs="+", default=[1, 10], help="default: 1 10")
    parser.add_argument("--data", type=Path, help="existing folder for the temporary files (default: the system's)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--plot", type=Path, help="also draw them as PNG; needs the group `benchmark`")
    chosen = parser.parse_args(arguments)
    say, console = Terminal(sys.stderr, soft_wrap=True), Terminal(sys.stdout, columns=110)
    figures: list[Figure] = []
    try:
        for scale in chosen.scale:
            with tempfile.TemporaryDirectory(prefix="next-aisle-scale-", dir=chosen.data) as folder:
                figures += measure(scale, Path(folder).resolve(), say)
    except FailedError as error:
        say.print(f"error: {error}")
        return 2
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n", encoding="utf-8")
    if chosen.plot:
        plot(figures, chosen.plot)
    console.print(machine(), soft_wrap=True)
    console.print(_table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
