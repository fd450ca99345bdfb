"""What each step of a run costs: processor time, in the run's log for those who record and judge it."""

import resource
from collections.abc import Iterable
from typing import Any

import dagster as dg
from dagster import DagsterEventType
from dagster._core.events import EngineEventData

STEP, CPU_SECONDS = "next_aisle/step", "next_aisle/cpu_seconds"

ENDS = (DagsterEventType.STEP_SUCCESS, DagsterEventType.STEP_FAILURE, DagsterEventType.STEP_UP_FOR_RETRY)


class Meter:
    """Reads the processor time at the start and the end of each step; the steps of a run follow each other.

    Args:
        plan_context: the run's context.
    """

    def __init__(self, plan_context: Any) -> None:
        self.plan_context = plan_context
        self.began = 0.0

    def see(self, event: dg.DagsterEvent) -> Iterable[dg.DagsterEvent]:
        """Log what a step cost, when it ended.

        Args:
            event: the run's next event.

        Returns:
            What was logged: one event, or none.
        """
        if event.event_type in (DagsterEventType.STEP_START, DagsterEventType.STEP_RESTARTED):
            self.began = _cpu_seconds()
        elif event.event_type in ENDS:
            seconds = round(_cpu_seconds() - self.began, 3)
            facts = EngineEventData({STEP: dg.MetadataValue.text(event.step_key or ""), CPU_SECONDS: seconds})
            message = f"{event.step_key} took {seconds} s of processor time"
            return [dg.DagsterEvent.engine_event(self.plan_context, message, facts)]
        return []


def step_costs(events: Iterable[dg.DagsterEvent]) -> dict[str, float]:
    """Read what the steps of a run cost.

    Args:
        events: the run's.

    Returns:
        Step to seconds of processor time, over all of its tries.
    """
    costs: dict[str, float] = {}
    for event in events:
        if event.event_type == DagsterEventType.ENGINE_EVENT and STEP in event.engine_event_data.metadata:
            facts = {name: value.value for name, value in event.engine_event_data.metadata.items()}
            step = str(facts[STEP])
            costs[step] = round(costs.get(step, 0.0) + float(str(facts[CPU_SECONDS])), 3)
    return costs


def _cpu_seconds() -> float:
    """Of this process, and of those that it started and that ended, such as dbt."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)
