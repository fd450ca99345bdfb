"""The benchmark of PostgreSQL runs, and its figures are of what it says."""

import json
from pathlib import Path

import pytest

from benchmarks.postgres_publication import main


def test_both_bring_all_rows_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "figures.json"
    if main(["--rows", "2000", "--runs", "1", "--json", str(figures)]) != 0:
        error = capsys.readouterr().err
        if "is not installed" in error:
            pytest.skip(error)
        pytest.fail(error)
    [figure] = json.loads(figures.read_text(encoding="utf-8"))
    assert figure["driver_seconds"] > 0 and figure["seconds"] > 0
    assert "2,000 rows of 12 columns" in capsys.readouterr().out
