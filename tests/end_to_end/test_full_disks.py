"""Each folder of the data on a disk of its own that is full: said in a sentence, readers keep their copy."""

import contextlib
import datetime as dt
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.conftest import Night, Project, published_rows, words
from tests.fixtures import tiny_shop

pytestmark = pytest.mark.slow

# Of the whole data folder: test_sweeps.py.
FOLDERS = ["converted", "dagster", "dbt", "dlt", "logs", "published", "run_history", "runs_under_way"]

FULL = "No space left|disk is full|the disk full|disk I/O error|ould not write"


@pytest.fixture
def shop(unchecked_shop: Project) -> Project:
    return unchecked_shop


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """Have a folder, with what is in it, on a disk that has no byte left."""
    kept = folder.with_name(f"kept_{folder.name}")
    shutil.copytree(folder, kept, symlinks=True)
    size = sum(file.stat().st_size for file in kept.rglob("*") if file.is_file()) + (4 << 20)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("cannot mount a small disk here")
    try:
        shutil.copytree(kept, folder, symlinks=True, dirs_exist_ok=True)
        with (folder / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while filler.write(bytes(4096)):
                pass
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        shutil.rmtree(kept)


def land(shop: Project, number: int) -> None:
    """The shop corrects a day, each time with another price."""
    day = tiny_shop.TODAY - dt.timedelta(days=2)
    tiny_shop.write_day(shop.landing, day, [tiny_shop.line(day, 300, 1, 11, 1, 2.0 + number)])


def test_a_full_disk_below_any_folder_is_said_and_readers_keep_their_copy(
    shop: Project, unchecked_first_night: Night
) -> None:
    copy = published_rows(unchecked_first_night.data)
    for number, name in enumerate(FOLDERS):
        land(shop, number)
        (folder := shop.data / name).mkdir(exist_ok=True)
        with full(folder):
            run = shop.nightly()
            seen = published_rows(shop.data)
        printed = words(run.stdout + run.stderr)
        assert "Traceback" not in printed, f"{name}: {printed}"
        if run.returncode == 0:
            # It could do without, or had room enough.
            copy = seen
        assert seen == copy, name
        assert run.returncode == 0 or re.search(FULL, printed), f"{name}: {printed}"
        print(name, run.returncode, printed[-600:])
    freed = shop.nightly()
    assert freed.returncode == 0, freed.stdout + freed.stderr
    assert len(published_rows(shop.data)["core.fct_purchases"]) == 8
    with duckdb.connect(str(shop.data / "published" / "next_aisle.duckdb"), read_only=True) as connection:
        newest = connection.execute(
            "select amount from core.fct_purchases where basket_key = 'complete_journey:300'"
        ).fetchall()
    assert newest == [(2 + len(FOLDERS) - 1,)]
