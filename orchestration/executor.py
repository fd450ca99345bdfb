"""How a run's steps are executed: in the run's own process, and only while no other run is under way."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster import DagsterEventType
from dagster._core.storage.tags import RETRY_ON_ASSET_OR_OP_FAILURE_TAG

from orchestration.costs import Meter
from orchestration.failures import DBT_KILLED, first_error
from orchestration.killed_runs import close_killed_runs
from orchestration.progress import step_name
from orchestration.retention import tidy
from orchestration.schedules import LATE
from warehouse.damage import examine, sounds_damaged, suspect
from warehouse.locks import only_run
from warehouse.paths import Paths
from warehouse.settings import Settings

# A run's tag that says why it failed; the list of runs and the run's own page show it.
CAUSE = "next_aisle/cause"


def run_executor(paths: Paths) -> dg.ExecutorDefinition:
    """Declare the executor of all runs: one process for a run, and one run at a time.

    Each further process costs seconds of start-up and gains nothing with one writer.

    Args:
        paths: where data lives.
    """

    def make(context: dg.InitExecutorContext) -> dg.Executor:
        make_steps = dg.in_process_executor.executor_creation_fn
        assert make_steps, "Dagster's own executor has no function to make it"
        return OneRunAtATime(make_steps(context), paths)

    schema: Any = dg.in_process_executor.config_schema
    return dg.ExecutorDefinition(
        name="one_run_at_a_time",
        config_schema=schema,
        executor_creation_fn=make,
        description="Runs the steps in one process, while no other run is under way.",
    )


class OneRunAtATime(dg.Executor):
    """Waits until no other run is under way, has the steps executed, and says why a run failed.

    It waits before the first step, when the run has no slot of the pool yet. The system frees the lock of a run whose
    process was killed; the next run then closes the killed one.

    Args:
        steps: executes the steps.
        paths: where data lives.
    """

    def __init__(self, steps: dg.Executor, paths: Paths) -> None:
        self.steps = steps
        self.paths = paths

    @property
    def retries(self) -> Any:
        """Whether retries are enabled: as the executor of the steps has it."""
        return self.steps.retries

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        """Execute a run's steps.

        Args:
            plan_context: the run's context.
            execution_plan: its steps.

        Yields:
            Dagster's events.
        """
        run_id, instance, log = plan_context.run_id, plan_context.instance, plan_context.log
        with contextlib.ExitStack() as stack:
            with _can_be_stopped():
                stack.enter_context(only_run(self.paths, run_id, log.info))
            for other in close_killed_runs(instance, self.paths, plan_context.dagster_run):
                log.info(f"closed run {other[:8]}, whose process was killed")
            if late := plan_context.dagster_run.tags.get(LATE):
                log.warning(f"late: {late}. The run goes on without what they have not sent yet.")
            causes: list[str] = []
            failed_checks: list[str] = []
            meter = Meter(plan_context)
            for event in self.steps.execute(plan_context, execution_plan):
                if event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION:
                    failed_checks += _failed(event.asset_check_evaluation_data)
                elif event.event_type == DagsterEventType.STEP_FAILURE:
                    causes.append(f"{step_name(event.step_key or '')}: {_reason(event, failed_checks)}")
                yield event
                yield from meter.see(event)
            if not causes and CAUSE in plan_context.dagster_run.tags:
                # A run that is executed again begins with the tags of the first.
                instance.add_run_tags(run_id, {CAUSE: "none"})
            if causes:
                # The first one: steps that depend on it are not executed at all.
                instance.add_run_tags(run_id, {CAUSE: causes[0]})
                log.error(f"The run failed at {causes[0]}")
                if any(DBT_KILLED in cause for cause in causes):
                    # As with a run that was killed itself: Dagster's daemon repeats it, once.
                    instance.add_run_tags(run_id, {RETRY_ON_ASSET_OR_OP_FAILURE_TAG: "true"})
                if any(map(sounds_damaged, causes)) and (found := examine(self.paths, whole=True)):
                    suspect(self.paths, found.reason)
                    # The next run mends it before it begins: here a second try helps, and Dagster's daemon makes it.
                    instance.add_run_tags(run_id, {RETRY_ON_ASSET_OR_OP_FAILURE_TAG: "true"})
                    log.error(f"{found.reason}. The next run mends it, or says what to do.")
            try:
                tidy(Settings(data=self.paths.root), instance, log.info)
            except Exception as error:
                # The night's work is done; what could not be removed is removed by the next run.
                log.warning(f"what is older than is kept could not be removed: {error}")


def _failed(check: Any) -> list[str]:
    if check.passed or check.severity != dg.AssetCheckSeverity.ERROR:
        return []
    name = f"check {check.check_name} of {check.asset_key.to_user_string()}"
    return [f"{name}: {check.description}" if check.description else name]


def _reason(event: dg.DagsterEvent, failed_checks: list[str]) -> str:
    """Why a step failed, in a sentence: what its author wrote, or the checks that stopped it, or the first error."""
    failure = event.step_failure_data
    if failure.user_failure_data and failure.user_failure_data.description:
        return str(failure.user_failure_data.description)
    if failed_checks:
        return "; ".join(failed_checks)
    error = first_error(failure)
    return (error.message.strip() if error else "") or "no message"


@contextlib.contextmanager
def _can_be_stopped() -> Iterator[None]:
    """Let a signal (Terminate in the UI, Ctrl+C) end the wait; Dagster holds signals back until the first step."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    handlers = [signal.signal(number, signal.default_int_handler) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, handlers, strict=True):
            signal.signal(number, handler)
