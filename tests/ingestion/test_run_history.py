"""The history of runs: files that are read whole, whatever happened to the others."""

import json
from pathlib import Path

import pytest

from ingestion import run_history, warehouse
from ingestion.run_history import KnownRun, RunHistoryError
from tests.conftest import PROJECT_DIR


def write(number: int, run_id: str, **run: object) -> Path:
    return run_history.write(
        {"run_id": run_id, "run_number": number, "outcome": "success", "started_at": "2026-11-20 02:00:00", **run},
        {"checks": [{"check_name": "unique_x", "status": "pass", "rows_read": number}]},
    )


def load() -> list[KnownRun]:
    with warehouse.connect() as connection:
        return run_history.load(connection)


def checks() -> list[tuple[object, ...]]:
    with warehouse.connect() as connection:
        return connection.execute(
            "select run_id, check_name, rows_read, table_name from raw_history.checks order by 1"
        ).fetchall()


def test_without_a_file_the_tables_are_there_and_empty(data: Path) -> None:
    assert load() == []
    assert checks() == []


def test_each_run_is_there_once_and_a_file_written_again_replaces_the_first(data: Path) -> None:
    write(1, "a", outcome=run_history.UNDER_WAY)
    write(2, "b")
    write(1, "a")
    assert load() == [KnownRun("a", 1, "success"), KnownRun("b", 2, "success")]
    assert checks() == [("a", "unique_x", 1, None), ("b", "unique_x", 2, None)]
    assert run_history.read(KnownRun("a", 1, "success"))["run"]["outcome"] == "success"
    assert load() == load()


def test_what_a_killed_run_left_half_written_is_neither_read_nor_kept(data: Path) -> None:
    write(1, "a")
    (data / "run_history" / "000002-b.json.part").write_text('{"run":')
    assert [run.run_id for run in load()] == ["a"]
    write(2, "c")
    assert sorted(file.name for file in (data / "run_history").iterdir()) == ["000001-a.json", "000002-c.json"]


def test_a_file_of_another_version_is_read_as_far_as_it_goes(data: Path) -> None:
    file = write(1, "a")
    content = json.loads(file.read_text())
    content["checks"] = [{"check_name": "unique_x", "of_a_newer_version": {"a": 1}}]
    content["of_a_newer_version"] = [1]
    file.write_text(json.dumps(content))
    (data / "run_history" / "a folder.json").mkdir()
    assert [run.run_id for run in load()] == ["a"]
    assert checks() == [("a", "unique_x", None, None)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("[]", "is empty"),
        ("{}", "names no run"),
        ("null", "names no run"),
        ('{"run": {"run_id": "b", "run_number": 2, "outcome": "success"}}', "names no run"),
        ('{"run": {"run_id"', "Malformed JSON"),
        ('{"run": {"run_id": "b", "run_number": "two"}}', "JSON transform error"),
    ],
)
def test_a_damaged_file_is_named_and_the_tables_stay(data: Path, text: str, said: str) -> None:
    write(1, "a")
    load()
    damaged = data / "run_history" / "000002-b.json"
    damaged.write_text(text)
    with pytest.raises(RunHistoryError) as error:
        load()
    assert str(damaged) in str(error.value)
    assert said in str(error.value)
    assert "move it out of the folder" in str(error.value)
    assert checks() == [("a", "unique_x", 1, None)]


@pytest.mark.parametrize(("number", "run_id"), [(9, "a"), (1, "b")])
def test_two_files_of_one_run_or_of_one_number_are_both_named(data: Path, number: int, run_id: str) -> None:
    first, second = write(1, "a"), write(number, run_id)
    with pytest.raises(RunHistoryError) as error:
        load()
    assert first.name in str(error.value) and second.name in str(error.value)


def test_the_tables_have_the_columns_that_dbt_describes() -> None:
    import yaml

    file = PROJECT_DIR / "dbt_project" / "models" / "marts" / "quality" / "runs" / "_history__sources.yml"
    tables = yaml.safe_load(file.read_text())["sources"][0]["tables"]
    described = {table["name"]: [column["name"] for column in table["columns"]] for table in tables}
    assert described == {
        "runs": list(run_history.RUN_COLUMNS),
        **{name: ["run_id", *columns] for name, columns in run_history.PART_COLUMNS.items()},
    }
