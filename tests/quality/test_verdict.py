"""How a run stands to its objectives follows from its checks."""

import pytest

from quality.objectives import Objective, Objectives
from quality.results import Check
from quality.verdict import Standing, judge

ROWS = Objective(
    name="of_rows",
    description="Rows pass.",
    category="completeness",
    unit="rows",
    target=98,
    warn_below=98,
    breach_below=95,
    blocks=True,
    owner="data-platform",
    measured_by=["kind"],
)
CHECKS = ROWS.model_copy(update={"name": "of_checks", "unit": "checks", "warn_below": 100, "breach_below": 60})


def check(
    status: str,
    read: int | None,
    failed: int | None,
    *,
    table: str = "core.t",
    name: str = "kind_t",
    is_held: bool = False,
) -> Check:
    return Check(name, table, 0.0, status, read, failed, f"{failed} of {read}", (name, "kind"), is_held)


def stand(objective: Objective, *checks: Check) -> Standing:
    (standing,) = judge(checks, Objectives(window_days=28, run_may_take_minutes=60, objectives=[objective]))
    return standing


@pytest.mark.parametrize(
    ("checks", "status", "attained", "lowest"),
    [
        # 20 of 1000 are 98 %: met exactly; 21 are a warning, 50 still are (95 %), 51 are a breach.
        ([check("pass", 1000, 20)], "met", 98.0, 98.0),
        ([check("pass", 1000, 21)], "warning", 97.9, 97.9),
        ([check("pass", 1000, 50)], "warning", 95.0, 95.0),
        ([check("warn", 1000, 51)], "breach", 94.9, 94.9),
        # A check that failed as an error is a breach whatever the share, one that warned a warning.
        ([check("fail", 1000, 1)], "breach", 99.9, 99.9),
        ([check("warn", 1000, 1)], "warning", 99.9, 99.9),
        # A failed check without a count failed at least once; without rows to read it was one.
        ([check("fail", None, None)], "breach", 0.0, 0.0),
        # Not a row to read: nothing was measured. An empty table that must have rows fails by more than it has.
        ([check("pass", 0, 0)], "not measured", None, None),
        ([check("warn", 0, 1)], "breach", 0.0, 0.0),
        # 10 of 100 in one shop are a breach, though 10 of 1000 in all are 99 %.
        ([check("pass", 900, 0), check("warn", 100, 10)], "breach", 99.0, 90.0),
        ([], "not measured", None, None),
    ],
)
def test_a_run_is_as_good_as_the_worst_of_its_checks_of_rows(
    checks: list[Check], status: str, attained: float | None, lowest: float | None
) -> None:
    standing = stand(ROWS, *checks)
    assert (standing.status, standing.attained_in_run, standing.lowest_in_run) == (status, attained, lowest)
    assert standing.checks_in_run == len(checks)


def test_of_checks_the_share_that_passed_counts() -> None:
    passed, warned = check("pass", 5, 0), check("warn", 5, 1)
    assert stand(CHECKS, passed, passed).status == "met"
    one_of_three = stand(CHECKS, passed, passed, warned)
    assert (one_of_three.status, one_of_three.lowest_in_run) == ("warning", 66.666666667)
    half = stand(CHECKS, passed, warned)
    assert (half.status, half.lowest_in_run) == ("breach", 50.0)


def test_what_fails_in_a_held_shop_is_a_warning_that_names_it_however_much_it_is() -> None:
    good, held = check("pass", 100, 0), check("warn", 100, 60, table="raw_held.purchases", is_held=True)
    standing = stand(ROWS, good, held)
    assert (standing.status, standing.stops) == ("warning", False)
    # It counts in what was attained, and so in the error budget: 60 of 200.
    assert (standing.attained_in_run, standing.lowest_in_run) == (70.0, 40.0)
    assert standing.description == (
        "warning: 40 % in this run, 98 % promised. raw_held.purchases: 60 of 100. The shop is held for it"
    )
    # Of two checks one failed: 50 %, below the 60 % of a breach. But that one is not published.
    assert stand(CHECKS, good, held).status == "warning"
    # The rows of the others are judged as always.
    assert stand(ROWS, check("warn", 100, 60), held).stops


def test_only_a_breach_of_an_objective_that_blocks_stops_publication() -> None:
    broken = check("fail", 10, 5)
    assert stand(ROWS, broken).stops
    assert not stand(ROWS.model_copy(update={"blocks": False}), broken).stops
    assert not stand(ROWS, check("pass", 1000, 21)).stops


def test_a_standing_says_which_checks_did_not_pass() -> None:
    standing = stand(ROWS, check("warn", 40, 20, table="raw_shop.purchases"), check("pass", 5, 0))
    assert standing.description == "breach: 50 % in this run, 98 % promised. raw_shop.purchases: 20 of 40"
    assert stand(ROWS).description == "Not measured in this run."


def test_a_share_is_never_rounded_up_to_all() -> None:
    nearly = ROWS.model_copy(update={"target": 100.0, "warn_below": 100.0, "breach_below": 100.0})
    standing = stand(nearly, check("warn", 10_000_000, 1))
    assert standing.status == "breach"
    assert standing.description.startswith("breach: 99.99 % in this run, 100 % promised")


def test_a_check_measures_the_objective_that_names_it_before_that_of_its_kind() -> None:
    special = CHECKS.model_copy(update={"measured_by": ["kind_special"]})
    both = Objectives(window_days=28, run_may_take_minutes=60, objectives=[ROWS, special])
    standings = judge([check("pass", 5, 0, name="kind_special"), check("pass", 5, 0)], both)
    assert [standing.checks_in_run for standing in standings] == [1, 1]
