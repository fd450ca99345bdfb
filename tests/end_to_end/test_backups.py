"""Backups are verified, kept by a policy and restored by one command; the landed files alone are enough, too."""

import datetime as dt
import shutil
from pathlib import Path

import pytest

from orchestration import backups
from tests import here
from tests.conftest import Night, Project, published_rows
from warehouse.paths import Paths


@pytest.fixture
def copied(first_night: Night, data: Path) -> Paths:
    shutil.copytree(first_night.data, data, symlinks=True, dirs_exist_ok=True)
    return here.paths()


def test_a_backup_is_restored_as_it_was_and_what_was_there_is_kept(
    copied: Paths, first_night: Night, tmp_path_factory: pytest.TempPathFactory
) -> None:
    target = tmp_path_factory.mktemp("backups")
    made = backups.make(copied, target)
    assert made.tables > 60 and made.rows > 1000
    copied.warehouse.write_bytes(b"a warehouse that is lost")
    shutil.rmtree(copied.published.parent)
    parsed = copied.dbt_target / "partial_parse.msgpack"
    parsed.write_bytes(b"what a newer version parsed")
    said: list[str] = []
    restored = backups.restore(copied, backups.found(target)[-1], said.append)
    assert (restored.tables, restored.rows) == (made.tables, made.rows)
    assert published_rows(copied.root) == published_rows(first_night.data)
    assert not parsed.exists(), "the version before may be the next to run"
    (before,) = copied.root.glob("before_restore_*")
    assert (before / "warehouse.duckdb").read_bytes() == b"a warehouse that is lost"
    with here.connect(read_only=True) as connection:
        assert connection.execute("select count(*) from raw_complete_journey.purchases").fetchall() == [(13,)]


def test_a_damaged_backup_is_named_and_not_restored(copied: Paths, tmp_path_factory: pytest.TempPathFactory) -> None:
    made = backups.make(copied, tmp_path_factory.mktemp("backups"))
    file = made.folder / "warehouse.duckdb"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(backups.BackupError, match=r"warehouse\.duckdb is damaged"):
        backups.restore(copied, made.folder)
    assert not list(copied.root.glob("before_restore_*")), "nothing was changed"
    file.unlink()
    with pytest.raises(backups.BackupError, match=r"warehouse\.duckdb is missing"):
        backups.verify(made.folder)


def test_the_newest_of_days_weeks_and_months_are_kept(tmp_path: Path) -> None:
    newest = dt.datetime(2026, 11, 22, 3)
    for day in range(400):
        for hour in (0, 12):
            folder = tmp_path / f"{newest - dt.timedelta(days=day, hours=hour):%Y-%m-%dT%H%M%S}"
            folder.mkdir()
            (folder / backups.MANIFEST).write_text("{}")
    backups.prune(tmp_path, days=7, weeks=4, months=6)
    left = [folder.name[:10] for folder in backups.found(tmp_path)][::-1]
    assert left[:7] == [f"{newest - dt.timedelta(days=day):%Y-%m-%d}" for day in range(7)]
    # Then the newest of the two weeks before these, and of the months before this one.
    assert left[7:10] == ["2026-11-15", "2026-11-08", "2026-11-01"] or left[7:9] == ["2026-11-15", "2026-11-08"]
    assert left[-5:] == [f"2026-{month:02}-{days}" for month, days in ((10, 31), (9, 30), (8, 31), (7, 31), (6, 30))]
    assert backups.prune(tmp_path) == []


def test_what_a_killed_backup_left_is_removed_and_never_listed(
    copied: Paths, tmp_path_factory: pytest.TempPathFactory
) -> None:
    target = tmp_path_factory.mktemp("backups")
    left = target / f"2026-01-01T000000{backups.UNFINISHED}"
    left.mkdir()
    (left / backups.MANIFEST).write_text("{}")
    assert backups.found(target) == []
    made = backups.make(copied, target)
    assert backups.found(target) == [made.folder] and not left.exists()


@pytest.mark.slow
def test_the_landed_files_alone_give_the_same_again(unchecked_shop: Project, unchecked_first_night: Night) -> None:
    for name in ("warehouse.duckdb", "audited", "published", "dlt", "dagster", "run_history"):
        file = unchecked_shop.data / name
        shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)
    run = unchecked_shop.nightly()
    assert run.returncode == 0, run.stdout + run.stderr
    assert published_rows(unchecked_shop.data) == published_rows(unchecked_first_night.data)
