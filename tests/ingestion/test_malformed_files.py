"""Damaged files either load what an independent reader reads in them, or are refused by name; nothing else happens."""

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from ingestion.file_checks import LandedTable
from ingestion.raw_tables import LoadError
from tests.ingestion.landed import check_landed, rows
from tests.ingestion.malformed import COLUMNS, Dialect, cases, dialects, some_rows


def as_text(values: list[tuple[Any, ...]]) -> list[str]:
    """Rows that can be compared: NaN equals NaN, and 1 is not 1.0."""
    return [repr(row) for row in values]


def read(folder: Path, dialect: Dialect, content: bytes) -> list[tuple[Any, ...]]:
    """What would be loaded of a file."""
    folder.mkdir()
    (folder / dialect.name).write_bytes(content)
    table = LandedTable(name="t", columns=COLUMNS, files=dialect.name, format=dialect.format)
    try:
        return rows(check_landed(table, folder / dialect.name), *COLUMNS)
    finally:
        shutil.rmtree(folder)


# Dialects that cannot keep this line end.
LINE_ENDS = {"wrapped.csv": " ", "sheet.xlsx": "\n"}


@pytest.mark.parametrize("dialect", dialects(), ids=lambda dialect: dialect.name)
def test_an_undamaged_file_is_read_by_both_readers(tmp_path: Path, dialect: Dialect) -> None:
    for seed in range(5):
        good = some_rows(random.Random(seed))
        content = dialect.write(good)
        line_end = LINE_ENDS.get(dialect.name, "\r\n")
        expected = [(n, name and name.replace("\r\n", line_end), amount, day) for n, name, amount, day in good]
        assert as_text(dialect.read(content)) == as_text(expected)
        assert as_text(read(tmp_path / "file", dialect, content)) == as_text(expected)


def check_cases(folder: Path, seed: int, count: int) -> dict[str, int]:
    """Check damaged files; returns how many were loaded and how many refused."""
    outcomes = {"loaded": 0, "refused": 0}
    for number, dialect, content in cases(seed, count):
        case = f"case {number} of seed {seed}: {dialect.name}"
        try:
            loaded = read(folder / "file", dialect, content)
        except LoadError as error:
            assert str(error).startswith(str(folder / "file" / dialect.name)), case
            assert str(error).endswith("othing was loaded.") and "\n" not in str(error), f"{case}: {error}"
            outcomes["refused"] += 1
            continue
        except BaseException as error:
            raise AssertionError(f"{case}: {error!r}") from error
        try:
            expected = dialect.read(content)
        except Exception as error:
            raise AssertionError(f"{case} was loaded: {error!r}") from error
        assert as_text(loaded) == as_text(expected), case
        outcomes["loaded"] += 1
    return outcomes


def test_some_damaged_files(tmp_path: Path) -> None:
    outcomes = check_cases(tmp_path, seed=1, count=300)
    assert outcomes["loaded"] > 30
    assert outcomes["refused"] > 150


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 5))
def test_many_damaged_files(tmp_path: Path, seed: int) -> None:
    outcomes = check_cases(tmp_path, seed, count=1000)
    assert min(outcomes.values()) > 100
