"""A shop that is late or broken is held, and the run goes on for the others; quality/holding.py says what that is."""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from orchestration.keys import HELD_SOURCES
from orchestration.project import Project

# A run's tag that names the held shops; the list of runs and the run's own page show it.
TAG = "next_aisle/held"

# In the metadata of what failed: the shop is held for it.
HELD = "held"


def may_hold(context: Any, project: Project) -> bool:
    """Tell whether a run can go on without a shop: there are others, and the run itself decides which ones it holds.

    A step or check that is executed by itself fails, as that of the only shop does.

    Args:
        context: of the step.
        project: has the sources.
    """
    selected = context.run.asset_selection
    return len(project.sources) > 1 and (not selected or HELD_SOURCES in selected)


def of_held(result: dg.AssetCheckResult) -> dg.AssetCheckResult:
    """Say of a failed check that its shop is held for it: it does not stop the run.

    Args:
        result: of the check.
    """
    metadata = {**result.metadata, HELD: dg.MetadataValue.bool(True)}
    return result._replace(severity=dg.AssetCheckSeverity.WARN, metadata=metadata)


def tag_run(context: Any, held: Iterable[str]) -> None:
    """Name the held shops in the run's tag.

    Args:
        context: of the step.
        held: the shops; none removes what a run that is executed again has from the first one.
    """
    names = ", ".join(held)
    if names or TAG in context.run.tags:
        context.instance.add_run_tags(context.run.run_id, {TAG: names or "none"})
