"""Settings come from the environment, once; paths follow from them."""

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from pydantic import ValidationError

from warehouse.paths import DBT_DIR, PROJECT_DIR, Paths
from warehouse.settings import Settings


def test_without_a_variable_data_is_in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEXT_AISLE_DATA", raising=False)
    assert Settings().data == PROJECT_DIR / "data"
    monkeypatch.setenv("NEXT_AISLE_DATA", "")
    assert Settings().data == PROJECT_DIR / "data", "an empty variable counts as not set"


def test_paths_are_absolute_whatever_the_variable_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEXT_AISLE_DATA", "elsewhere")
    monkeypatch.setenv("NEXT_AISLE_OBJECTIVES", "own.yml")
    assert Settings().paths == Paths(tmp_path / "elsewhere")
    assert Settings().objectives == tmp_path / "own.yml"
    assert not (tmp_path / "elsewhere").exists()
    monkeypatch.setenv("NEXT_AISLE_DATA", "~/data")
    assert Settings().data == Path.home() / "data"


def test_each_data_folder_has_dbts_files_of_its_own(tmp_path: Path) -> None:
    assert Paths(tmp_path).dbt_target == tmp_path / "dbt"
    # dbt and mf, called by hand, know no other folder than this one.
    assert Paths(PROJECT_DIR / "data").dbt_target == DBT_DIR / "target"


def test_only_the_settings_read_or_write_the_environment() -> None:
    rooms = ("warehouse", "ingestion", "quality", "delivery", "orchestration")
    readers = {
        str(file.relative_to(PROJECT_DIR))
        for room in rooms
        for file in (PROJECT_DIR / room).rglob("*.py")
        if "os.environ" in (text := file.read_text(encoding="utf-8")) or "getenv" in text
    }
    assert readers == {"warehouse/settings.py"}


def test_importing_the_rooms_writes_nothing(tmp_path: Path) -> None:
    program = (
        "import warehouse.dbt_project, ingestion.load, quality.recording, delivery.publication\n"
        "import orchestration.definitions\n"
    )
    nowhere = tmp_path / "not there"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT_DIR,
        env={**os.environ, "NEXT_AISLE_DATA": str(nowhere)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not nowhere.exists()


@pytest.mark.parametrize("limit", ["8GB", "512 MiB", "1.5GB"])
def test_memory_is_a_number_with_a_unit(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXT_AISLE_MEMORY_LIMIT", limit)
    assert Settings().memory_limit == limit
    # DuckDB reads it as well.
    duckdb.connect(config={"memory_limit": limit}).close()


@pytest.mark.parametrize("limit", ["8", "plenty", "80%", "-1GB"])
def test_memory_without_a_number_or_a_unit_is_refused(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXT_AISLE_MEMORY_LIMIT", limit)
    with pytest.raises(ValidationError, match="memory_limit"):
        Settings()
