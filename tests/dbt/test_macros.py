"""Macros that staging models of any source may use, run by dbt on values that are written out."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import PLACE, PROJECT_DIR
from warehouse.dbt_project import DBT_EXECUTABLE

Show = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def show(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Show]:
    """`dbt show` of a statement, as JSON."""
    target = tmp_path_factory.mktemp("macros") / "target"

    def run(statement: str) -> "subprocess.CompletedProcess[str]":
        with PLACE.lent(target):
            return subprocess.run(
                [DBT_EXECUTABLE, "--quiet", "show", "--output", "json", "--inline", statement, "--target-path", target],
                cwd=PROJECT_DIR / "dbt_project",
                env={**os.environ, "NEXT_AISLE_DATA": str(PLACE.data), "DBT_LOG_PATH": str(target)},
                capture_output=True,
                text=True,
                timeout=120,
            )

    yield run
    shutil.rmtree(PLACE.data, ignore_errors=True)


def test_a_key_is_cleaned_as_its_source_declares(show: Show) -> None:
    values = "' a  1b\t'", "'A1B'", "'Äb-9'", "'  '", "null"
    rows = " union all ".join(f"select {n} as n, {value} as number" for n, value in enumerate(values))
    shown = show(
        f"""select {{{{ clean_key('number') }}}} as kept, {{{{ clean_key('number', case='upper') }}}} as upper_case,
            {{{{ clean_key('number', case='lower') }}}} as lower_case from ({rows}) as sent order by n"""
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert [tuple(row.values()) for row in json.loads(shown.stdout)["show"]] == [
        ("a 1b", "A 1B", "a 1b"),
        ("A1B", "A1B", "a1b"),
        ("Äb-9", "ÄB-9", "äb-9"),
        (None, None, None),
        (None, None, None),
    ]


def test_an_unknown_case_is_an_error_that_lists_what_there_is(show: Show) -> None:
    shown = show("select {{ clean_key('number', case='Upper') }} from (select 'a' as number) as sent")
    assert shown.returncode != 0
    assert "clean_key: case is 'Upper'; it must be upper, lower or left out" in shown.stdout + shown.stderr


def test_no_source_may_have_the_name_that_keys_of_linked_numbers_begin_with(show: Show) -> None:
    shown = show("select {{ identity_key('complete_journey', 'person', 'number', 'shop') }}")
    assert shown.returncode != 0
    message = "a source cannot be named 'complete_journey': keys of linked numbers begin so."
    assert message in shown.stdout + shown.stderr
