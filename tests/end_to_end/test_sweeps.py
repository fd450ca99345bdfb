"""What an operator fears: killed at any moment, a full disk, two runs at once. Run by CI as its own step."""

import datetime as dt
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.conftest import Project, make_project, published_rows
from tests.end_to_end.kill_sweep import sweep
from tests.fixtures import tiny_shop

pytestmark = pytest.mark.slow

NIGHTLY = [sys.executable, "-m", "orchestration", "nightly"]


def land_one_more(landing: Path, number: int) -> None:
    """The shop corrects the day before yesterday again and again: one line more each time."""
    day = tiny_shop.TODAY - dt.timedelta(days=2)
    tiny_shop.write_day(landing, day, [tiny_shop.line(day, 200 + n, 1, 10, 1, 1.0 + n) for n in range(number + 1)])


@pytest.fixture
def shop(tmp_path: Path) -> Project:
    shop = make_project(tmp_path / "data", tmp_path)
    tiny_shop.land(shop.landing)
    return shop


def test_killed_at_any_moment_readers_see_a_whole_copy_and_the_next_run_is_right(shop: Project) -> None:
    landing = shop.data / "landing" / "complete_journey"
    assert shop.python("orchestration", "nightly").returncode == 0
    copies = [published_rows(shop.data)]
    started = time.monotonic()
    land_one_more(landing, 0)
    assert shop.python("orchestration", "nightly").returncode == 0
    copies.append(published_rows(shop.data))
    seconds = time.monotonic() - started

    kills = 4
    for n in range(kills):
        land_one_more(landing, n + 1)
        process = subprocess.Popen(
            NIGHTLY,
            cwd=shop.code,
            env=shop.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        # From the first import to the swap itself; every other time dbt survives its parent.
        time.sleep(seconds * (n + 1) / kills)
        if n % 2:
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        seen = published_rows(shop.data)
        if seen not in copies:
            # The run got as far as the swap: what it published must be what an undisturbed shop publishes.
            assert undisturbed(shop) == seen
            copies.append(seen)

    last = shop.python("orchestration", "nightly")
    assert last.returncode == 0, last.stdout + last.stderr
    assert "whose process was killed" in last.stdout or "nothing new" in last.stdout
    assert published_rows(shop.data) == undisturbed(shop)
    with duckdb.connect(str(shop.data / "warehouse.duckdb"), read_only=True) as connection:
        runs = connection.execute("select run_number, outcome from raw_history.runs order by run_number").fetchall()
    numbers, outcomes = zip(*runs, strict=True)
    assert numbers == tuple(range(1, len(runs) + 1)), "each run is in the history once"
    assert set(outcomes[:-1]) == {"success", "failure"}, "a killed run is recorded as what it was"
    assert outcomes[-1] == "under way"
    assert not list((shop.data / "run_history").glob("*.part")), "nothing half written is left"


def undisturbed(shop: Project) -> dict[str, list[tuple[Any, ...]]]:
    """What readers see of a shop that had the same deliveries and was never killed."""
    folder = Path(tempfile.mkdtemp(dir=shop.data.parent))
    landing = tiny_shop.land(folder / "landing" / "complete_journey")
    other = Project(folder, shop.code)
    deliveries = raw_deliveries(shop.data)
    for n in deliveries:
        land_one_more(landing, n)
        loaded = other.python("ingestion", "complete_journey")
        assert loaded.returncode == 0, loaded.stderr
    done = other.python("orchestration", "nightly")
    assert done.returncode == 0, done.stdout
    return published_rows(folder)


def raw_deliveries(data: Path) -> list[int]:
    """Which corrections of the day a warehouse has loaded, in their order: a killed load may have skipped some."""
    with duckdb.connect(str(data / "warehouse.duckdb")) as connection:
        rows = connection.execute(
            f"""
            select row_count from raw_complete_journey.deliveries
            where table_name = 'purchases' and delivery like '%{tiny_shop.TODAY - dt.timedelta(days=2)}%'
            order by _dlt_load_id
            """
        ).fetchall()
    return [count - 1 for (count,) in rows]


def test_simultaneous_runs_of_the_terminal_and_dagster_run_in_turn_and_both_succeed(shop: Project) -> None:
    launched = [str(Path(sys.executable).parent / "dg"), "launch", "--job", "nightly"]
    dagster_home = shop.python("orchestration", "home").stdout.strip()
    running = [
        subprocess.Popen(
            command,
            cwd=shop.code,
            env={**shop.env, "DAGSTER_HOME": dagster_home},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for command in (NIGHTLY, launched)
    ]
    printed = [process.communicate(timeout=900)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], printed
    assert sum("waiting: another run is under way" in text for text in printed) == 1, printed
    assert not any("another run, which is writing" in text for text in printed), "their steps do not meet"
    with duckdb.connect(str(shop.data / "published" / "next_aisle.duckdb"), read_only=True) as connection:
        assert connection.execute(
            "select raw_rows, kept_rows from quality.row_reconciliation order by all"
        ).fetchall() == [
            (5, 3),
            (5, 5),
            (13, 7),
        ]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 128 MB; only root can make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("cannot mount a small disk here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_stops_the_run_with_a_clear_error_and_keeps_the_copy(small_disk: Path, tmp_path: Path) -> None:
    landing = tiny_shop.land(small_disk / "landing" / "complete_journey")
    shop = make_project(small_disk, tmp_path)
    assert shop.python("orchestration", "nightly").returncode == 0
    before = published_rows(small_disk)

    land_one_more(landing, 3)
    filler = small_disk / "filler"
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    for kept_free in (0, 600_000, 3_000_000):
        filler.write_bytes(bytes(max(0, free - kept_free)))
        full = shop.python("orchestration", "nightly")
        output = full.stdout + full.stderr
        if full.returncode == 0:
            break  # it fitted after all: nothing more to learn
        assert "Traceback" not in output, output
        assert re.search("No space left|the disk full|disk is full|Could not write|could not write", output), output
        assert published_rows(small_disk) == before
    filler.unlink()
    freed = shop.python("orchestration", "nightly")
    assert freed.returncode == 0, freed.stdout
    assert published_rows(small_disk) != before


def test_killed_at_random_moments_nothing_is_lost_doubled_or_torn(tmp_path: Path) -> None:
    result = sweep(tmp_path, kills=2, seed=7)
    assert result.is_clean, result
    assert sum(result.kills.values()) + result.ended_before == 2
    assert result.reads > 10
