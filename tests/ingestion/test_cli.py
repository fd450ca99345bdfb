import datetime as dt
import shutil
from pathlib import Path

import pytest

from ingestion.__main__ import main
from ingestion.sample_shop import main as land_sample
from tests.conftest import Project
from tests.fixtures import tiny_shop
from tests.ingestion.raw import contents


def test_help_says_what_it_does_and_where_data_lives(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "Load what is new at a source into the warehouse's raw tables." in output
    assert "NEXT_AISLE_DATA" in output
    assert "complete_journey" in output
    assert "--table NAME" in output


def test_the_samples_help_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        land_sample(["--help"])
    assert left.value.code == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "Land the sample shop's missing files up to yesterday" in output
    assert "for education only" in output


def test_an_unknown_source_is_refused_and_the_known_sources_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["moon"])
    assert left.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "invalid choice: 'moon'" in error
    assert "complete_journey" in error


def test_an_unknown_table_is_an_error_of_one_line(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["complete_journey", "--table", "refunds"]) == 1
    assert (
        capsys.readouterr().err
        == "error: source complete_journey has no table refunds. It has: customers, products, purchases.\n"
    )


def test_a_wrong_day_is_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        land_sample(["--today", "yesterday"])
    assert left.value.code == 2
    assert "--today" in capsys.readouterr().err


def test_a_load_prints_one_line_per_table_and_its_progress_on_stderr(
    landing: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["complete_journey"]) == 0
    captured = capsys.readouterr()
    *tables, done = captured.out.splitlines()
    assert tables == [
        "customers: 5 rows from 1 of 1 deliveries; 5 rows in all",
        "products: 5 rows from 1 of 1 deliveries; 5 rows in all",
        "purchases: 13 rows from 2 of 2 deliveries; 13 rows in all",
        # The line of the future, in the newest file.
        "purchases: WARNING: some rows are of other days than their file: "
        f"purchases/{tiny_shop.TODAY - dt.timedelta(days=1)}.parquet (1)",
    ]
    assert done.startswith("complete_journey: done in ")
    assert done.endswith(f" s, in {data / 'warehouse.duckdb'}")
    assert captured.err.splitlines() == [
        "complete_journey: checking 4 new of 4 landed files",
        "complete_journey: loading 23 rows",
    ]


def test_tables_are_chosen_by_name(landing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["complete_journey", "--table", "products", "--table", "customers"]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()[:-1]] == ["customers", "products"]


def test_as_a_process_it_says_nothing_but_its_own_lines(landing: Path, project: Project) -> None:
    result = project.python("ingestion", "complete_journey")
    assert result.returncode == 0
    assert result.stderr.splitlines() == [
        "complete_journey: checking 4 new of 4 landed files",
        "complete_journey: loading 23 rows",
    ]


def test_as_a_process_a_bad_file_is_one_line_on_stderr(loaded: Path, project: Project) -> None:
    before = contents()
    bad = loaded / "purchases" / "2026-11-19.parquet"
    bad.write_bytes(b"")
    result = project.python("ingestion", "complete_journey")
    assert (result.returncode, result.stdout) == (1, "")
    checking, error = result.stderr.splitlines()
    assert checking.startswith("complete_journey: checking 1 new of ")
    assert error == f"error: {bad} is empty (0 bytes). Have it sent again; nothing was loaded."
    assert contents() == before


def test_as_a_process_a_failure_inside_dlt_is_one_line_on_stderr(loaded: Path, project: Project) -> None:
    # dlt finds no folder to work in.
    shutil.rmtree(project.data / "dlt")
    (project.data / "dlt").write_text("no folder", encoding="utf-8")
    (loaded / "products.csv").write_text(tiny_shop.PRODUCTS.replace("MILK", "DAIRY"), encoding="utf-8")
    before = contents()
    result = project.python("ingestion", "complete_journey")
    assert (result.returncode, result.stdout) == (1, "")
    error = result.stderr.splitlines()[2]
    assert error.startswith("error: ")
    assert str(project.data / "dlt") in error
    assert len(result.stderr.splitlines()) == 3
    assert contents() == before
