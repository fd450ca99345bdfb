"""How a run stands to each objective, worked out from the checks of that run alone.

A breach of an objective that blocks stops publication. The rule is here and nowhere else: quality.slo_status shows what
was recorded of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from quality.objectives import Objective, Objectives
from quality.results import Check
from quality.words import per_cent

MET, WARNING, BREACH, NOT_MEASURED = "met", "warning", "breach", "not measured"


@dataclass(frozen=True)
class Standing:
    """How a run stands to one objective.

    Attributes:
        objective: the objective.
        status: met, warning, breach or not measured.
        checks_in_run: checks of the run that measure it.
        attained_in_run: per cent that passed, over all of these checks; None when nothing was measured.
        lowest_in_run: per cent that passed in the check that fared worst; where checks are counted, of all checks.
        findings: what the checks that did not pass say.
    """

    objective: Objective
    status: str
    checks_in_run: int
    attained_in_run: float | None
    lowest_in_run: float | None
    findings: tuple[str, ...]

    @property
    def stops(self) -> bool:
        """Whether it stops publication."""
        return self.status == BREACH and self.objective.blocks

    @property
    def description(self) -> str:
        """The standing in one line."""
        if self.lowest_in_run is None:
            return "Not measured in this run."
        summary = f"{self.status}: {per_cent(self.lowest_in_run)} in this run, {self.objective.target:g} % promised"
        return ". ".join([summary, "; ".join(self.findings)]) if self.findings else summary


def judge(checks: Sequence[Check], objectives: Objectives) -> list[Standing]:
    """Judge a run by its checks.

    Args:
        checks: the run's; of a check that ran twice, only the last one.
        objectives: what is promised.

    Returns:
        How the run stands to each objective, in the order of the objectives.
    """
    measured: dict[str, list[Check]] = {objective.name: [] for objective in objectives.objectives}
    for check in checks:
        if objective := objectives.of(*check.measures):
            measured[objective.name].append(check)
    return [_stand(objective, measured[objective.name]) for objective in objectives.objectives]


def _stand(objective: Objective, checks: Sequence[Check]) -> Standing:
    shares = [_counted(check, objective.unit) for check in checks]
    failed, counted = sum(share[0] for share in shares), sum(share[1] for share in shares)
    attained = _attained(failed, counted) if counted else None
    lowest = _lowest(objective, shares)
    # What a held shop has is not published: it breaks nothing, but it is not met either.
    published = [check for check in checks if not check.is_held]
    lowest_published = _lowest(objective, [_counted(check, objective.unit) for check in published])
    if attained is None or lowest is None:
        status = NOT_MEASURED
    elif any(check.status == "fail" for check in published) or (
        lowest_published is not None and lowest_published < objective.breach_below
    ):
        status = BREACH
    elif any(check.status != "pass" for check in checks) or lowest < objective.warn_below:
        status = WARNING
    else:
        status = MET
    findings = sorted(_finding(check) for check in checks if check.status != "pass")
    return Standing(objective, status, len(checks), attained, lowest, tuple(findings))


def _lowest(objective: Objective, shares: Sequence[tuple[int, int]]) -> float | None:
    """What passed in the worst of the checks, so that a small shop or table cannot hide behind a larger one."""
    worst = [_attained(*share) for share in shares if share[1]]
    if objective.unit == "rows" and worst:
        return min(worst)
    failed, counted = sum(share[0] for share in shares), sum(share[1] for share in shares)
    return _attained(failed, counted) if counted else None


def _finding(check: Check) -> str:
    finding = f"{check.table}: {check.description or check.name}"
    return f"{finding.rstrip('.')}. The shop is held for it" if check.is_held else finding


def _counted(check: Check, unit: str) -> tuple[int, int]:
    """What failed, and of how many."""
    if unit == "checks":
        return int(check.status != "pass"), 1
    failed = check.rows_failed or 0 if check.status == "pass" else max(check.rows_failed or 1, 1)
    # An empty table that must not be empty has more failures than rows.
    return failed, max(1 if check.rows_read is None else check.rows_read, failed)


def _attained(failed: int, counted: int) -> float:
    # Rounded: 100 * (1 - 0.07) lies below 93 by what floating point adds.
    return round(100 * (1 - failed / counted), 9)
