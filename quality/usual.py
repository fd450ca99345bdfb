"""How a run compares with earlier runs: what quality.slo_status says about objectives that need the history."""

from dataclasses import dataclass

import duckdb

from quality.objectives import Objective
from quality.verdict import MET, NOT_MEASURED
from quality.words import per_cent

# The model check_results makes these checks, from how a run compares with earlier ones; they only warn.
COMPARISONS = ("delivery_is_not_far_smaller_than_usual", "step_takes_not_far_longer_than_usual")


@dataclass(frozen=True)
class Compared:
    """How the newest run stands to an objective that needs the history.

    Attributes:
        passed: whether there is nothing to warn of.
        description: how it stands, in words.
    """

    passed: bool
    description: str


def is_comparison(objective: Objective) -> bool:
    """Tell whether an objective is measured by comparisons with earlier runs alone.

    Args:
        objective: the objective.
    """
    return set(objective.measured_by) <= set(COMPARISONS)


def read(connection: duckdb.DuckDBPyConnection) -> dict[str, Compared]:
    """Read how the newest recorded run stands to each objective.

    Args:
        connection: the open warehouse.
    """
    rows = connection.execute(
        """
        select objective, status, lowest_in_run, attained, target, error_budget_left, trend, (
            select string_agg(table_name || ': ' || coalesce(description, check_name), '; ' order by table_name)
            from quality.check_results as results
            where results.run_id = slo.run_id and results.objective = slo.objective and results.status <> 'pass'
        )
        from quality.slo_status as slo
        """
    ).fetchall()
    return {
        objective: Compared(status in (MET, NOT_MEASURED), _in_words(status, *figures))
        for objective, status, *figures in rows
    }


def _in_words(
    status: str,
    in_run: float | None,
    attained: float | None,
    target: float,
    budget_left: float | None,
    trend: str,
    findings: str | None,
) -> str:
    if in_run is None or attained is None or budget_left is None:
        return "Not measured in this run."
    budget = (
        f"{100 * budget_left:.0f} % of the error budget left"
        if budget_left >= 0
        else f"error budget exceeded by {-100 * budget_left:.0f} %"
    )
    summary = (
        f"{status}: {per_cent(in_run)} in this run, {per_cent(attained)} in the window, {target:g} % promised; "
        f"{budget}; {trend}"
    )
    return f"{summary}. {findings}" if findings else summary
