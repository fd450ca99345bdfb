"""A run's progress for a person at a terminal: one line for what starts, ends or fails."""

import logging
import sys
import time
from typing import IO, Any

import dagster as dg
from dagster import DagsterEventType

# What dagster-dbt logs of itself in the same way as we do.
DAGSTER_DBT_SAYS = ("A dbt subsetted execution", "Running dbt command", "Finished dbt command", "Copying `")

STEP_NAMES = {
    "build_models": "modelling",
    "check_rows": "measuring",
    "judge_run": "judging",
    "build_quality": "quality tables",
    "compare_with_usual": "comparing",
    "published__deliveries": "looking up what is published",
    "published__next_aisle": "publishing",
}


class ProgressHandler(logging.Handler):
    """Prints what a run does; a failed check or step stands out, all details are in the run's log file.

    Args:
        out: where to print.
    """

    def __init__(self, out: IO[str]) -> None:
        super().__init__()
        self.out = out
        self.started: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Print one event or message, if a person wants to see it."""
        meta: dict[str, Any] = getattr(record, "dagster_meta", {})
        event: dg.DagsterEvent | None = meta.get("dagster_event")
        line = self._of_event(event) if event else self._of_message(record, meta)
        if line:
            print(line, file=self.out, flush=True)

    def _of_message(self, record: logging.LogRecord, meta: dict[str, Any]) -> str | None:
        if record.levelno not in (logging.INFO, logging.WARNING) or not meta.get("step_key"):
            return None
        message = str(meta.get("orig_message") or record.getMessage())
        mark = "!" if record.levelno == logging.WARNING else " "
        return None if message.startswith(DAGSTER_DBT_SAYS) else f"  {mark} {message}"

    def _of_event(self, event: dg.DagsterEvent) -> str | None:
        step = event.step_key or ""
        name = step_name(step)
        if event.event_type == DagsterEventType.STEP_START:
            self.started[step] = time.monotonic()
            return f"▶ {name}"
        if event.event_type == DagsterEventType.STEP_SUCCESS:
            return f"✔ {name}  {self._seconds(step)}"
        if event.event_type == DagsterEventType.STEP_FAILURE:
            return f"✘ {name}  {self._seconds(step)}"
        if event.event_type == DagsterEventType.ENGINE_EVENT and "blocked by" in (event.message or ""):
            return "    waiting: another run holds the warehouse"
        if event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed:
                how = ("✘", "failed") if check.severity == dg.AssetCheckSeverity.ERROR else ("!", "warned")
                return f"  {how[0]} check {check.check_name} of {check.asset_key.to_user_string()} {how[1]}"
        return None

    def _seconds(self, step: str) -> str:
        return f"{time.monotonic() - self.started.get(step, time.monotonic()):.1f} s"


def step_name(step: str) -> str:
    """Name a step of the nightly job in one word, with its source where it has one.

    Args:
        step: Dagster's key of the step.
    """
    if step in STEP_NAMES:
        return STEP_NAMES[step]
    for prefix, word in (("land_", "landing"), ("load_", "loading"), ("check_", "checking")):
        if step.startswith(prefix):
            return f"{word} {step.removeprefix(prefix)}"
    return step


@dg.logger(None, description="A run's progress for a person at a terminal.")
def progress_logger(_context: dg.InitLoggerContext) -> logging.Logger:
    """Make the logger that `make run` uses; prints to the terminal even while stdout goes to the log file."""
    logger = logging.Logger("next_aisle.progress", level=logging.DEBUG)
    logger.addHandler(ProgressHandler(sys.__stdout__ or sys.stdout))
    return logger
