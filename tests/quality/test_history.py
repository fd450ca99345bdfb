"""The history of runs: files that are read whole; what cannot be read is left out and named."""

import json
from pathlib import Path

import pytest

from quality import history
from quality.history import History, KnownRun
from quality.results import UNDER_WAY
from tests import here
from warehouse.dbt_project import prepare, read_manifest
from warehouse.settings import Settings


@pytest.fixture(scope="module")
def columns() -> dict[str, dict[str, str]]:
    return history.columns(read_manifest(prepare(Settings())))


@pytest.fixture
def loaded(data: Path, columns: dict[str, dict[str, str]]) -> "Loaded":
    return Loaded(columns)


class Loaded:
    """The history as it is read into the test's warehouse."""

    def __init__(self, columns: dict[str, dict[str, str]]) -> None:
        self.columns = columns

    def __call__(self) -> History:
        with here.connect() as connection:
            return history.load(connection, here.paths(), self.columns)


def write(number: int, run_id: str, **run: object) -> Path:
    return history.write(
        here.paths(),
        {"run_id": run_id, "run_number": number, "outcome": "success", "started_at": "2026-11-20 02:00:00", **run},
        {"checks": [{"check_name": "unique_x", "status": "pass", "rows_read": number}]},
    )


def checks() -> list[tuple[object, ...]]:
    with here.connect() as connection:
        return connection.execute(
            "select run_id, check_name, rows_read, table_name from raw_history.checks order by 1"
        ).fetchall()


def test_without_a_file_the_tables_are_there_and_empty(loaded: Loaded) -> None:
    assert loaded() == History([], {})
    assert loaded().next_number == 1
    assert checks() == []


def test_each_run_is_read_once_and_a_file_written_again_replaces_the_first(loaded: Loaded) -> None:
    write(1, "a", outcome=UNDER_WAY)
    write(2, "b")
    write(1, "a")
    assert loaded().runs == [KnownRun("a", 1, "success"), KnownRun("b", 2, "success")]
    assert checks() == [("a", "unique_x", 1, None), ("b", "unique_x", 2, None)]
    assert history.read(here.paths(), KnownRun("a", 1, "success"))["run"]["outcome"] == "success"
    assert loaded() == loaded()


def test_what_a_killed_run_left_half_written_is_neither_read_nor_kept(data: Path, loaded: Loaded) -> None:
    write(1, "a")
    half = data / "run_history" / ".000001-a.json.4711.part"
    half.write_text('{"run":')
    assert [run.run_id for run in loaded().runs] == ["a"]
    write(1, "a")
    assert not half.exists()


def test_a_file_of_another_version_is_read_as_far_as_it_goes(data: Path, loaded: Loaded) -> None:
    file = write(1, "a")
    content = json.loads(file.read_text())
    content["checks"] = [{"check_name": "unique_x", "of_a_newer_version": {"a": 1}}]
    content["of_a_newer_version"] = [1]
    file.write_text(json.dumps(content))
    (data / "run_history" / "a folder.json").mkdir()
    assert [run.run_id for run in loaded().runs] == ["a"]
    assert checks() == [("a", "unique_x", None, None)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("[]", "is empty"),
        ("{}", "does not name a run"),
        ("null", "does not name a run"),
        ('{"run": {"run_id": "b", "run_number": 2, "outcome": "success"}}', "does not name a run"),
        ('{"run": {"run_id"', "Malformed JSON"),
        ('{"run": {"run_id": "b", "run_number": "two"}}', "JSON transform error"),
    ],
)
def test_a_damaged_file_is_left_out_and_named_and_the_others_are_read(
    data: Path, loaded: Loaded, text: str, reason: str
) -> None:
    write(1, "a")
    write(3, "c")
    damaged = data / "run_history" / "000002-b.json"
    damaged.write_text(text)
    read = loaded()
    assert list(read.unreadable) == [damaged]
    assert reason in read.unreadable[damaged]
    assert [run.run_id for run in read.runs] == ["a", "c"]
    assert checks() == [("a", "unique_x", 1, None), ("c", "unique_x", 3, None)]


def test_the_number_of_an_unreadable_file_is_not_used_again(data: Path, loaded: Loaded) -> None:
    write(1, "a")
    (data / "run_history" / "000007-b.json").write_text("{")
    assert loaded().next_number == 8


@pytest.mark.parametrize(("number", "run_id"), [(9, "a"), (1, "b")])
def test_of_two_files_of_one_run_or_of_one_number_the_first_counts_and_both_are_named(
    loaded: Loaded, number: int, run_id: str
) -> None:
    first, second = write(1, "a"), write(number, run_id)
    read = loaded()
    assert list(read.unreadable) == [second]
    assert str(first) in read.unreadable[second]
    assert [run.run_id for run in read.runs] == ["a"]
    assert checks() == [("a", "unique_x", 1, None)]


@pytest.mark.parametrize("damaged", [1, 10, 11, 25])
def test_more_files_than_are_read_at_once(data: Path, loaded: Loaded, damaged: int) -> None:
    for number in range(1, 26):
        write(number, f"run {number:02}")
    file = data / "run_history" / f"{damaged:06}-run {damaged:02}.json"
    file.write_text("{")
    read = loaded()
    assert list(read.unreadable) == [file]
    assert [run.run_number for run in read.runs] == [number for number in range(1, 26) if number != damaged]
    assert [row[2] for row in checks()] == [run.run_number for run in read.runs]
