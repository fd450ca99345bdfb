"""What an operator fears: killed at any moment, a full disk, two runs at once. Run by CI as its own step."""

import contextlib
import datetime as dt
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.conftest import Night, Project, Stage, published_rows
from tests.end_to_end.kill_sweep import sweep
from tests.fixtures import tiny_shop

pytestmark = pytest.mark.slow

NIGHTLY = [sys.executable, "-m", "orchestration", "nightly"]
# What a run prints before dbt builds.
BUILDS = "✔ looking up which shops are held"


def land_one_more(landing: Path, number: int) -> None:
    """The shop corrects the day before yesterday again and again: one line more each time."""
    day = tiny_shop.TODAY - dt.timedelta(days=2)
    tiny_shop.write_day(landing, day, [tiny_shop.line(day, 200 + n, 1, 10, 1, 1.0 + n) for n in range(number + 1)])


def test_killed_at_any_moment_readers_see_a_whole_copy_and_the_next_run_is_right(
    unchecked_stage: Stage, unchecked_first_night: Night, tmp_path: Path
) -> None:
    data, output = tmp_path / "data", tmp_path / "output"
    # What readers saw after each kill, and which deliveries were loaded by then.
    seen: list[tuple[list[int], dict[str, list[tuple[Any, ...]]]]] = []
    with unchecked_stage.shop(moved_to=data, begin_with=unchecked_first_night.data) as shop:
        copies = [published_rows(shop.data)]
        # While dbt builds, with dbt and so that it survives its parent; and around the swap. At random moments: below.
        for number, (printed, with_dbt) in enumerate([(BUILDS, True), (BUILDS, False), ("✔ comparing", True)]):
            land_one_more(shop.landing, number)
            with output.open("w") as written:
                process = subprocess.Popen(
                    NIGHTLY, cwd=shop.code, env=shop.env, stdout=written, stderr=written, start_new_session=True
                )
            while printed not in output.read_text() and process.poll() is None:
                time.sleep(0.02)
            if with_dbt:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            else:
                # dbt was started by now.
                time.sleep(2)
                process.kill()
            process.wait()
            rows = published_rows(shop.data)
            if rows not in copies:
                # The run got as far as the swap: what it published must be what an undisturbed shop publishes.
                seen.append((raw_deliveries(shop.data), rows))
                copies.append(rows)

        last = shop.nightly()
        assert last.returncode == 0, last.stdout + last.stderr
        assert "whose process was killed" in last.stdout or "nothing new" in last.stdout
        seen.append((raw_deliveries(shop.data), published_rows(shop.data)))
    for number, (deliveries, rows) in enumerate(seen):
        undisturbed = tmp_path / f"undisturbed_{number}"
        with unchecked_stage.shop(moved_to=undisturbed, begin_with=unchecked_first_night.data) as shop:
            for delivery in deliveries:
                land_one_more(shop.landing, delivery)
                loaded = shop.python("ingestion", "complete_journey")
                assert loaded.returncode == 0, loaded.stderr
            done = shop.nightly()
            assert done.returncode == 0, done.stdout
        assert rows == published_rows(undisturbed)
    with duckdb.connect(str(data / "warehouse.duckdb"), read_only=True) as connection:
        runs = connection.execute("select run_number, outcome from raw_history.runs order by run_number").fetchall()
    numbers, outcomes = zip(*runs, strict=True)
    assert numbers == tuple(range(1, len(runs) + 1)), "each run is in the history once"
    assert set(outcomes[:-1]) == {"success", "failure"}, "a killed run is recorded as what it was"
    assert outcomes[-1] == "under way"
    assert not list((data / "run_history").glob("*.part")), "nothing half written is left"


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


def test_simultaneous_runs_of_the_terminal_and_dagster_run_in_turn_and_both_succeed(unchecked_shop: Project) -> None:
    shop = unchecked_shop
    land_one_more(shop.landing, 0)
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
            (14, 8),
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


def test_a_full_disk_stops_the_run_with_a_clear_error_and_keeps_the_copy(
    small_disk: Path, unchecked_stage: Stage, unchecked_first_night: Night
) -> None:
    shutil.copytree(unchecked_first_night.data, small_disk, symlinks=True, dirs_exist_ok=True)
    shop = Project(small_disk, unchecked_stage.code)
    before = published_rows(small_disk)

    land_one_more(shop.landing, 3)
    filler = small_disk / "filler"
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    for kept_free in (0, 600_000, 3_000_000):
        filler.write_bytes(bytes(max(0, free - kept_free)))
        full = shop.nightly()
        output = full.stdout + full.stderr
        if full.returncode == 0:
            break  # it fitted after all: nothing more to learn
        assert "Traceback" not in output, output
        assert re.search("No space left|the disk full|disk is full|Could not write|could not write", output), output
        assert published_rows(small_disk) == before
    filler.unlink()
    freed = shop.nightly()
    assert freed.returncode == 0, freed.stdout
    assert published_rows(small_disk) != before


def test_killed_at_random_moments_nothing_is_lost_doubled_or_torn(
    unchecked_stage: Stage, unchecked_first_night: Night, tmp_path: Path
) -> None:
    with unchecked_stage.shop(moved_to=tmp_path / "killed", begin_with=unchecked_first_night.data) as shop:
        result = sweep(shop, tmp_path / "undisturbed", kills=1, seed=7)
    assert result.is_clean, result
    assert sum(result.kills.values()) + result.ended_before == 1
    assert result.reads > 10
