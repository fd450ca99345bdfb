"""Many nights in a row, as fast as they go: late, missing and doubled deliveries, compared with one clean load.

    uv run python -m tests.end_to_end.soak --nights 60 --folder /var/tmp/soak

Each night a small shop sends the file of one more day; some come a night late, some never, some twice, some again with
a correction. Each night is a whole nightly run. In the end the published tables are compared with those of a shop that
was given all the files at once, and the program reports disk, memory and seconds of each night, also as a picture.
"""

import argparse
import datetime as dt
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import Project, make_project, published_rows
from tests.fixtures import tiny_shop

NIGHTLY = [sys.executable, "-m", "orchestration", "nightly"]

# What may happen to the file of a night, with its share of the nights; each happens at least once.
FATES = {"in time": 0.7, "late": 0.1, "missing": 0.05, "doubled": 0.05, "corrected": 0.1}

# These show the older versions of corrected days, which a clean load never had.
OF_VERSIONS = {"quality.rejected_rows", "quality.row_reconciliation"}

# Of the end of the soak compared with its beginning: more than this is a creep.
MAY_GROW = 1.5


@dataclass
class Night:
    """What a night took, and left.

    Attributes:
        number: from 1 on.
        fate: what happened to its file.
        succeeded: whether it was published.
        seconds: wall time of the run.
        cpu_seconds: its processor time.
        memory: its largest resident set, in bytes.
        disk: bytes in the data folder, without what the shop landed.
    """

    number: int
    fate: str
    succeeded: bool
    seconds: float
    cpu_seconds: float
    memory: int
    disk: int


@dataclass
class Soak:
    """What came out.

    Attributes:
        nights: each night.
        different: published tables that are not those of the clean load.
    """

    nights: list[Night] = field(default_factory=list)
    different: list[str] = field(default_factory=list)

    @property
    def failed(self) -> list[int]:
        """Nights that were not published."""
        return [night.number for night in self.nights if not night.succeeded]

    @property
    def growth(self) -> dict[str, float]:
        """How much more the last third of the nights took than the second one; the first has little to do."""
        third = len(self.nights) // 3
        if not third:
            return {}
        middle, last = self.nights[third : 2 * third], self.nights[-third:]
        return {
            what: statistics.median(getattr(night, what) for night in last)
            / statistics.median(getattr(night, what) for night in middle)
            for what in ("seconds", "cpu_seconds", "memory", "disk")
        }

    @property
    def is_clean(self) -> bool:
        """Whether all nights were published, equal one clean load, and memory does not creep."""
        return not self.failed and not self.different and self.growth.get("memory", 1.0) < MAY_GROW


def soak(folder: Path, nights: int, seed: int, say: Any = print) -> Soak:
    """Run the nights, and compare.

    Args:
        folder: an empty folder.
        nights: how many.
        seed: of what happens to the files.
        say: takes a line for each night.
    """
    chance = random.Random(seed)
    shop = make_project(folder / "data", folder)
    expect_old_files(shop.code)
    (shop.landing / "purchases").mkdir(parents=True)
    (shop.landing / "customers.csv").write_text(tiny_shop.CUSTOMERS, encoding="utf-8")
    (shop.landing / "products.csv").write_text(tiny_shop.PRODUCTS, encoding="utf-8")
    result, late = Soak(), list[dt.date]()
    for number, fate in enumerate(draw_fates(nights, chance), 1):
        day = tiny_shop.TODAY - dt.timedelta(days=nights + 1 - number)
        for waiting in late:
            send(shop.landing, waiting)
        late = [day] if fate == "late" else []
        if fate not in ("late", "missing"):
            send(shop.landing, day)
        if fate == "corrected":
            send(shop.landing, day - dt.timedelta(days=1), corrected=True)
        night = run(shop, number, fate)
        if fate == "doubled":
            # The same file once more; the next night finds it.
            send(shop.landing, day)
        result.nights.append(night)
        say(
            f"{number}: {fate}; {'published' if night.succeeded else 'FAILED'}; {night.seconds:.1f} s, "
            f"{night.memory / 1e6:,.0f} MB memory, {night.disk / 1e6:,.0f} MB disk"
        )
    clean = Project(folder / "clean", shop.code)
    clean.data.mkdir()
    subprocess.run(["cp", "-r", str(shop.data / "landing"), str(clean.data / "landing")], check=True)
    run(clean, 0, "clean")
    seen, right = published_rows(shop.data), published_rows(clean.data)
    result.different = [
        table
        for table in sorted(seen.keys() | right.keys())
        if seen.get(table) != right.get(table) and table not in OF_VERSIONS
    ]
    return result


def draw_fates(nights: int, chance: random.Random) -> list[str]:
    """Draw what happens to each file. The first and the last are in time: a clean load has the same newest day."""
    fates = chance.choices(list(FATES), list(FATES.values()), k=nights)
    between = range(1, nights - 1)
    for fate, place in zip(FATES, chance.sample(between, min(len(FATES), len(between))), strict=False):
        fates[place] = fate
    return ["in time" if place not in between else fate for place, fate in enumerate(fates)]


def send(landing: Path, day: dt.date, *, corrected: bool = False) -> None:
    """Land a day's file: always the same, except for a correction."""
    chance = random.Random(str(day))
    lines = [
        tiny_shop.line(
            day,
            1000 * day.toordinal() + basket,
            chance.choice([1, 2, 3]),
            chance.choice([10, 11, 13]),
            1,
            chance.randint(100, 900) / 100,
        )
        for basket in range(8)
    ]
    tiny_shop.write_day(landing, day, lines[:-1] if corrected else lines)


def expect_old_files(code: Path) -> None:
    """Let the newest purchase be as old as it likes, in a copy of the project: the nights are of the past."""
    file = code / "dbt_project" / "models" / "staging" / "complete_journey" / "_complete_journey__sources.yml"
    text = re.sub(r"count: \d+, period: hour", "count: 9999, period: day", file.read_text(encoding="utf-8"))
    file.write_text(text, encoding="utf-8")


def run(shop: Project, number: int, fate: str) -> Night:
    """Have a nightly run, and measure it."""
    started = time.monotonic()
    log = shop.data / "soak.log"
    with log.open("a", encoding="utf-8") as output:
        process = subprocess.Popen(NIGHTLY, cwd=shop.code, env=shop.env, stdout=output, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    disk = sum(
        file.stat().st_size
        for file in shop.data.rglob("*")
        if file.is_file() and "landing" not in file.relative_to(shop.data).parts and file != log
    )
    return Night(
        number,
        fate,
        process.returncode == 0,
        round(time.monotonic() - started, 1),
        round(used.ru_utime + used.ru_stime, 1),
        used.ru_maxrss * 1024,
        disk,
    )


def draw(result: Soak, file: Path) -> None:
    """Draw seconds, memory and disk of each night."""
    import vl_convert

    values = [asdict(night) for night in result.nights]
    panels = [
        {
            "title": title,
            "mark": {"type": "line", "point": True},
            "encoding": {
                "x": {"field": "number", "type": "quantitative", "title": "night"},
                "y": {"field": what, "type": "quantitative", "title": title},
            },
            "width": 600,
            "height": 150,
        }
        for what, title in (("seconds", "seconds"), ("memory", "memory (bytes)"), ("disk", "disk (bytes)"))
    ]
    file.write_text(vl_convert.vegalite_to_svg({"data": {"values": values}, "vconcat": panels}), encoding="utf-8")


def main() -> int:
    """Parse the command line.

    Returns:
        The exit code: 1 when a night failed, the tables differ from those of a clean load, or memory creeps.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.end_to_end.soak", description=__doc__)
    parser.add_argument("--nights", type=int, default=60, help="how many (default: 60; a night takes a nightly run)")
    parser.add_argument("--seed", type=int, default=1, help="of what happens to the files (default: 1)")
    parser.add_argument("--folder", type=Path, help="an empty folder (default: a temporary one, which is removed)")
    parser.add_argument("--plot", type=Path, default=Path("soak.svg"), help="the picture (default: soak.svg)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        result = soak(chosen.folder or Path(temporary), chosen.nights, chosen.seed)
    draw(result, chosen.plot)
    report = {**asdict(result), "failed": result.failed, "growth": result.growth}
    print(json.dumps(report, indent=2))
    print(f"picture: {chosen.plot}")
    return 0 if result.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
