"""A warehouse that is damaged, cut or gone: the run mends it from what is landed, or says what to do."""

import datetime as dt
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from tests.conftest import Night, Project, published_rows, words
from tests.fixtures import tiny_shop

# Loads, and is killed at the moment at which all of the load is in the write-ahead log and nothing in the file.
KILLED_LOAD = """
import os
from ingestion import pipeline
from ingestion.load import load
from warehouse.settings import Settings

made = pipeline.dlt_pipeline
class Killed:
    def __init__(self, *arguments):
        self.real = made(*arguments)
    def run(self, *arguments):
        self.real.run(*arguments)
        os._exit(9)
pipeline.dlt_pipeline = Killed
load("complete_journey", Settings().paths)
"""


def flip(file: Path, *places: int) -> None:
    content = bytearray(file.read_bytes())
    for place in places:
        content[place] ^= 0x10
    file.write_bytes(content)


def land_tonight(shop: Project) -> None:
    day = tiny_shop.TODAY - dt.timedelta(days=2)
    tiny_shop.write_day(shop.landing, day, [tiny_shop.line(day, 300, 1, 11, 1, 2.0)])


def rows(shop: Project) -> list[tuple[object, ...]]:
    with duckdb.connect(str(shop.data / "warehouse.duckdb"), read_only=True) as connection:
        return connection.execute(
            """
            select basket_id, product_id, sales_value, _delivery from raw_complete_journey.purchases order by all
            """
        ).fetchall()


def test_a_load_whose_log_was_cut_or_damaged_is_loaded_again_once(first_night: Night, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    shutil.copytree(first_night.data, killed, symlinks=True)
    land_tonight(shop := Project(killed))
    subprocess.run([sys.executable, "-c", KILLED_LOAD], env=shop.env, cwd=shop.code, check=False)
    log = killed / "warehouse.duckdb.wal"
    size = log.stat().st_size
    assert size > 5_000, "the load is in the log"
    for number, (what, share) in enumerate((("cut", 0.01), ("cut", 0.5), ("cut", 0.9), ("cut", 1), ("gone", 0))):
        copy = Project(tmp_path / str(number))
        shutil.copytree(killed, copy.data, symlinks=True)
        if what == "cut":
            os.truncate(copy.data / log.name, int(size * share))
        else:
            (copy.data / log.name).unlink()
        loaded = copy.python("ingestion", "complete_journey")
        assert loaded.returncode == 0, loaded.stderr
        day = f"purchases/{tiny_shop.TODAY - dt.timedelta(days=2)}.parquet"
        assert [row for row in rows(copy) if row[3] == day] == [(300, 11, 2.0, day)], (what, share)
        assert len(rows(copy)) == 14


@pytest.fixture
def shop(unchecked_shop: Project) -> Project:
    return unchecked_shop


@pytest.mark.slow
def test_a_damaged_file_is_set_aside_and_all_is_built_again(shop: Project, unchecked_first_night: Night) -> None:
    # The header: the file does not open.
    flip(shop.data / "warehouse.duckdb", 9)
    run = shop.nightly()
    assert run.returncode == 0, run.stdout + run.stderr
    assert "is damaged" in words(run.stdout) and "It was set aside as" in words(run.stdout)
    assert len(list(shop.data.glob("warehouse.damaged-*.duckdb"))) == 1
    assert published_rows(shop.data) == published_rows(unchecked_first_night.data)


@pytest.mark.slow
def test_damage_that_shows_in_the_middle_of_a_night_is_mended_in_the_same_night(
    shop: Project, unchecked_first_night: Night
) -> None:
    file = shop.data / "warehouse.duckdb"
    # The catalogue is in other blocks: the file opens.
    storage = "pragma_storage_info('raw_complete_journey.purchases')"
    with duckdb.connect(str(file), read_only=True) as connection:
        found = connection.execute(f"select distinct block_id from {storage} where block_id >= 0").fetchall()
    blocks = [block for (block,) in found]
    flip(file, *(12_288 + 262_144 * block + 100 for block in blocks))
    run = shop.nightly()
    printed = words(run.stdout)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "running again, to mend it" in printed and "It was set aside as" in printed
    assert published_rows(shop.data) == published_rows(unchecked_first_night.data)


@pytest.mark.slow
def test_where_a_file_is_not_landed_any_more_nothing_is_done_and_the_way_out_is_said(
    shop: Project, unchecked_first_night: Night
) -> None:
    flip(shop.data / "warehouse.duckdb", 9)
    gone = f"purchases/{tiny_shop.TODAY - dt.timedelta(days=3)}.parquet"
    (shop.landing / gone).unlink()
    run = shop.nightly()
    printed = words(run.stdout)
    assert run.returncode == 1
    assert f"not in the landing folder any more: complete_journey/{gone}" in printed
    assert "orchestration restore" in printed and "--without-missing" in printed
    assert not list(shop.data.glob("warehouse.damaged-*")) and (shop.data / "warehouse.duckdb").exists()
    assert published_rows(shop.data) == published_rows(unchecked_first_night.data)


@pytest.mark.slow
def test_a_deleted_dlt_folder_and_deleted_scratch_are_made_again(shop: Project) -> None:
    land_tonight(shop)
    for name in ("dlt", "converted", "logs", "runs_under_way", "run.lock", "warehouse.lock"):
        folder = shop.data / name
        shutil.rmtree(folder) if folder.is_dir() else folder.unlink(missing_ok=True)
    run = shop.nightly()
    assert run.returncode == 0, run.stdout + run.stderr
    with duckdb.connect(str(shop.data / "published" / "next_aisle.duckdb"), read_only=True) as connection:
        assert connection.execute("select count(*) from core.fct_purchases").fetchall() == [(8,)]
