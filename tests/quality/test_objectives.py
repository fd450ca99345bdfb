"""The file of objectives: every check measures one of them, and a file that makes no sense is named."""

from pathlib import Path

import pytest
import yaml

from quality import objectives
from quality.objectives import ObjectivesError
from warehouse.settings import Settings

GOOD = {
    "name": "keys_are_unique",
    "description": "A key names one row.",
    "category": "uniqueness",
    "unit": "rows",
    "target": 100,
    "warn_below": 100,
    "breach_below": 100,
    "blocks": True,
    "owner": "data-platform",
    "measured_by": ["unique"],
}


def written(folder: Path, *changes: dict[str, object]) -> Path:
    file = folder / "objectives.yml"
    declared = [{**GOOD, **change} for change in changes]
    file.write_text(yaml.safe_dump({"window_days": 28, "run_may_take_minutes": 60, "objectives": declared}))
    return file


def test_the_objective_of_a_check_is_found_by_its_own_name_before_that_of_its_kind(tmp_path: Path) -> None:
    file = written(tmp_path, {}, {"name": "special", "measured_by": ["unique_special", "expression_is_true"]})
    read = objectives.read(file)
    assert read.window_days == 28
    by_check = {
        names: objective.name if (objective := read.of(*names)) else None
        for names in [("unique_x", "unique"), ("unique_special", "unique"), ("other", "")]
    }
    assert by_check == {
        ("unique_x", "unique"): "keys_are_unique",
        ("unique_special", "unique"): "special",
        ("other", ""): None,
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([{"category": "beauty"}], "objective 1, category"),
        ([{}, {"name": "b", "measured_by": ["x"], "target": 101}], "objective 2, target"),
        ([{"warn_below": 95, "breach_below": 99}], "breach_below (99) is above warn_below (95)"),
        ([{"target": 90, "warn_below": 99, "breach_below": 95}], "breach_below (95) is above target (90)"),
        ([{"measured_by": []}], "objective 1, measured_by"),
        ([{"taget": 1}], "objective 1, taget"),
        ([{}, {"measured_by": ["x"]}], "the objective keys_are_unique is named more than once"),
        ([{}, {"name": "b"}], "the check unique is named more than once"),
        ([], "objectives: List should have at least 1 item"),
    ],
)
def test_an_invalid_value_is_named_with_its_place(
    tmp_path: Path, changes: list[dict[str, object]], message: str
) -> None:
    file = written(tmp_path, *changes)
    with pytest.raises(ObjectivesError) as error:
        objectives.read(file)
    assert str(file) in str(error.value)
    assert message in str(error.value)


def test_a_file_that_is_missing_or_not_yaml_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "own.yml"
    monkeypatch.setenv("NEXT_AISLE_OBJECTIVES", str(file))
    with pytest.raises(ObjectivesError, match=r"own\.yml cannot be read"):
        objectives.read(Settings().objectives)
    file.write_text("objectives: [")
    with pytest.raises(ObjectivesError, match=r"own\.yml is not valid YAML"):
        objectives.read(Settings().objectives)


def test_delivered_rows_stop_publication_below_these_shares() -> None:
    levels = {
        objective.name: (objective.target, objective.warn_below, objective.breach_below)
        for objective in objectives.read().objectives
        if objective.blocks and objective.unit == "rows" and objective.target < 100
    }
    assert levels == {
        "rows_arrive_complete": (99, 99, 95),
        "rows_arrive_once": (99.5, 99.5, 95),
        "rows_arrive_valid": (95, 95, 90),
    }


def test_an_objective_of_100_percent_is_a_breach_below_100() -> None:
    promised = objectives.read().objectives
    assert {objective.name for objective in promised if objective.target == 100} == {
        *("published_values_are_present", "keys_are_unique", "tables_are_as_declared", "values_are_in_range"),
        *("published_facts_agree", "sums_are_reconciled"),
    }
    for objective in promised:
        if objective.target == 100:
            assert (objective.warn_below, objective.breach_below, objective.blocks) == (100, 100, True), objective.name
