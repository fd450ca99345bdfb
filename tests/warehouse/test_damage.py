"""A damaged warehouse is recognised by DuckDB's own checksums, and set aside without removing anything."""

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from tests import here
from warehouse import damage
from warehouse.connections import FILE_FORMAT
from warehouse.paths import Paths

# Leaves a log of thirty commits behind, as a killed process does.
KILLED = """
import duckdb, os, sys
connection = duckdb.connect(sys.argv[1], config={"storage_compatibility_version": "v1.3.0"})
for number in range(30):
    connection.execute(f"create table t{number} as select range as id from range(100)")
os._exit(9)
"""


@pytest.fixture
def made(data: Path) -> Paths:
    with duckdb.connect(str(here.paths().warehouse), config=FILE_FORMAT) as connection:
        connection.execute("create table base as select range as id, hash(range) as h from range(200_000)")
    return here.paths()


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 0x10
    file.write_bytes(content)


def write_log(paths: Paths) -> Path:
    subprocess.run([sys.executable, "-c", KILLED, str(paths.warehouse)])
    return paths.warehouse.with_name("warehouse.duckdb.wal")


def test_a_whole_warehouse_and_none_are_not_damaged_and_looking_changes_nothing(made: Paths, tmp_path: Path) -> None:
    before = made.warehouse.stat().st_mtime_ns
    assert damage.examine(made, whole=True) is None
    assert made.warehouse.stat().st_mtime_ns == before
    assert damage.examine(Paths(tmp_path / "none"), whole=True) is None


@pytest.mark.parametrize("part", ["header", "rows"])
def test_a_flipped_bit_is_found_when_it_is_read(made: Paths, part: str) -> None:
    # The mark of DuckDB's files; the blocks of rows come after 12 kB of headers.
    flip(made.warehouse, 9 if part == "header" else 12_288 + 262_144 + 5000)
    found = damage.examine(made, whole=True)
    assert found and not found.of_log
    assert str(made.warehouse) in found.reason and damage.sounds_damaged(found.reason)
    assert (damage.examine(made, whole=False) is None) == (part == "rows"), "opening reads no rows"


@pytest.mark.parametrize("size", [0, 100, 13_000, 500_000])
def test_a_file_that_was_cut_is_damaged(made: Paths, size: int) -> None:
    os.truncate(made.warehouse, size)
    found = damage.examine(made, whole=False)
    assert found and not found.of_log


def test_a_flipped_bit_in_the_log_is_told_from_one_in_the_file_and_the_log_alone_is_set_aside(made: Paths) -> None:
    log = write_log(made)
    flip(log, log.read_bytes().index(b"t15"))
    found = damage.examine(made, whole=False)
    assert found and found.of_log
    aside = damage.set_aside(made, only_log=True)
    assert aside.exists() and aside.name.endswith(".duckdb.wal") and not log.exists()
    assert damage.examine(made, whole=True) is None
    with here.connect(read_only=True) as connection:
        assert connection.execute("select count(*) from base").fetchall() == [(200_000,)]


def test_a_log_that_was_cut_is_as_if_the_process_had_been_killed_earlier(made: Paths) -> None:
    log = write_log(made)
    os.truncate(log, log.stat().st_size // 2)
    assert damage.examine(made, whole=True) is None
    with here.connect(read_only=True) as connection:
        tables = {name for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall()}
    assert "base" in tables and 0 < len(tables) - 1 < 30
    assert tables - {"base"} == {f"t{number}" for number in range(len(tables) - 1)}, "the first commits, in their order"


def test_what_is_set_aside_has_its_log_and_no_mark_for_publication_is_left(made: Paths) -> None:
    write_log(made)
    made.audited.write_text("audited x 1")
    damage.suspect(made, "Corrupt database file")
    assert damage.is_suspected(made)
    aside = damage.set_aside(made)
    assert not made.warehouse.exists() and not made.audited.exists() and not damage.is_suspected(made)
    assert damage.aside_files(made) == [aside, aside.with_name(f"{aside.name}.wal")]
    with duckdb.connect(str(aside), read_only=True) as connection:
        assert connection.execute("select count(*) from t29").fetchall() == [(100,)]


def test_a_warehouse_that_another_process_has_open_is_not_judged(made: Paths) -> None:
    program = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(made.warehouse)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout and other.stdout.readline() == b"open\n"
        assert damage.examine(made, whole=True) is None
        other.kill()


@pytest.mark.parametrize(
    "text",
    [
        "Out of Memory Error: could not allocate block",
        "IO Error: No space left on device",
        'IO Error: Could not read enough bytes from file "/landing/2026-11-19.parquet"',
        "IO Error: Trying to read a database file with version number 99",
    ],
)
def test_other_troubles_do_not_sound_like_it(text: str) -> None:
    assert not damage.sounds_damaged(text)
