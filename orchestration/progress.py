"""What a nightly run is doing, for a person at a terminal: a line for each step and layer that is done."""

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster import DagsterEventType
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as LiveLine
from rich.text import Text

from orchestration.holds import HELD
from orchestration.previews import UNCHANGED
from warehouse.dbt_project import Manifest
from warehouse.terminal import Terminal, printable

# What dagster-dbt logs by itself.
FROM_DAGSTER_DBT = ("A dbt subsetted execution", "Running dbt command", "Finished dbt command", "Copying `")

# What a person wants to know also without `verbose`: why nothing goes on.
OF_THE_RUN = ("waiting", "closed run", "building without")

STEP_NAMES = {
    "build_models": "modelling",
    "check_rows": "measuring",
    "judge_run": "judging",
    "build_quality": "quality tables",
    "compare_with_usual": "comparing",
    "published__deliveries": "looking up what is published",
    "published__held_sources": "looking up which shops are held",
    "published__next_aisle": "publishing",
    "published__postgres": "writing to PostgreSQL",
}

# Where there is no live line, a long step says how far it is about this often.
SILENT_SECONDS = 15

LOGGER = logging.getLogger("next_aisle.progress")


def layers_of(manifest: Manifest) -> dict[str, str]:
    """Name the layer of each model: the folder that it is in, `staging` for all sources.

    Args:
        manifest: dbt's.

    Returns:
        `schema.table` to layer.
    """
    layers = {}
    for node in manifest["nodes"].values():
        if node["resource_type"] in ("model", "seed"):
            folders = node["fqn"][1:-1] or [f"{node['resource_type']}s"]
            layers[f"{node['schema']}.{node['alias']}"] = folders[0 if folders[0] == "staging" else -1]
    return layers


class Progress(logging.Handler):
    """Prints a line for each step and layer that is done; on a terminal also a live line for what is under way.

    Args:
        console: where to print.
        layers: `schema.table` to the layer of that model.
        verbose: print each message too, such as one for each model.
    """

    def __init__(self, console: Terminal, layers: Mapping[str, str], *, verbose: bool) -> None:
        super().__init__()
        self.console = console
        self.layers = layers
        self.verbose = verbose
        self.live = LiveLine(
            SpinnerColumn("line" if console.options.ascii_only else "dots"),
            TextColumn("{task.description}", markup=False),
            BarColumn(24),
            TextColumn("{task.fields[counted]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            # The log file takes both while a run goes on.
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not console.is_terminal or console.is_dumb_terminal,
        )
        self.task: TaskID | None = None
        self._begin()

    def emit(self, record: logging.LogRecord) -> None:
        """Take one event or message of the run.

        Args:
            record: as Dagster logs it.
        """
        meta: dict[str, Any] = getattr(record, "dagster_meta", {})
        event: dg.DagsterEvent | None = meta.get("dagster_event")
        if event:
            self._take(event)
        elif record.levelno in (logging.INFO, logging.WARNING):
            self._say(record, str(meta.get("orig_message") or record.getMessage()))

    def _say(self, record: logging.LogRecord, message: str) -> None:
        if model := getattr(record, "model", None):
            self._built(model, getattr(record, "seconds", 0.0))
        if (unchanged := getattr(record, "unchanged", None)) is not None:
            self.models_in = Counter(layer for model, layer in self.layers.items() if model not in unchanged)
            self.unchanged = len(unchanged)
        for model, rows in getattr(record, "replaced", {}).items():
            self._print(f"    {printable(model)}: {_count(rows, 'row')} replaced, those of changed baskets")
        if getattr(record, "again", False):
            # All models are built once more: those of the first time do not count.
            self.built.clear()
            self.seconds.clear()
        if record.levelno == logging.WARNING:
            self._print(f"  ! warning: {printable(message)}", "yellow")
        elif message.startswith(OF_THE_RUN) or (self.verbose and not message.startswith(FROM_DAGSTER_DBT)):
            self._print(f"    {printable(message)}")

    def _take(self, event: dg.DagsterEvent) -> None:
        name = step_name(event.step_key or "")
        if event.event_type == DagsterEventType.STEP_START:
            self._begin(event.step_key)
            self.task = self.live.add_task(printable(name), total=None, counted="")
            if event.step_key == "build_models":
                self._print(f"  {name}")
        elif event.event_type == DagsterEventType.STEP_SUCCESS:
            self._end(True, name)
        elif event.event_type == DagsterEventType.STEP_FAILURE:
            self._end(False, f"{name} failed")
        elif event.event_type == DagsterEventType.ENGINE_EVENT and "blocked by" in (event.message or ""):
            self._print("    waiting: another run holds the warehouse")
        elif event.event_type == DagsterEventType.ASSET_MATERIALIZATION:
            metadata = event.step_materialization_data.materialization.metadata
            if UNCHANGED not in metadata:
                self._note(metadata)
            else:
                self.nothing_new = True
        elif event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION:
            self._checked(event.asset_check_evaluation_data)

    def _begin(self, step: str | None = None) -> None:
        self.step = step
        self.started = self.printed = time.monotonic()
        self.built: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.held = False
        self.models_in = Counter(self.layers.values())
        self.unchanged = 0
        self.nothing_new = False

    def _built(self, model: str, seconds: float) -> None:
        layer = self.layers.get(model, "models")
        self.built[layer] += 1
        self.seconds[layer] += seconds  # type: ignore[assignment]
        done, total = self.built[layer], self.models_in[layer]
        if self.task is not None:
            self.live.update(self.task, description=f"modelling {layer}", completed=done, total=total)
            self.live.update(self.task, counted=f"{done} of {_count(total, 'model')}", refresh=True)
        if done == total and self.step == "build_models":
            self._line(True, f"  {layer}", [_count(done, "model")], self.seconds[layer])
        elif self.live.disable and time.monotonic() - self.printed > SILENT_SECONDS:
            self._print(f"    {layer}: {done} of {_count(total, 'model')} so far")

    def _checked(self, check: Any) -> None:
        self.counts["check"] += 1
        if not check.passed:
            failed = check.severity == dg.AssetCheckSeverity.ERROR
            how, colour = ("failed", "red") if failed else ("warning", "yellow")
            mark = self.console.mark(False) if failed else "!"
            table = ".".join(check.asset_key.path)
            self._print(f"  {mark} {how}: check {printable(check.check_name)} of {printable(table)}", colour)

    def _note(self, metadata: Mapping[str, Any]) -> None:
        for fact, name in (("rows_loaded", "row"), ("tables", "table")):
            if fact in metadata:
                value = metadata[fact].value
                self.counts[name] += value if isinstance(value, int) else len(value)
        if "files_landed_now" in metadata:
            self.counts["file"] = metadata["files_landed_now"].value
        self.held = self.held or (HELD in metadata and str(self.step).startswith("load_"))

    def _end(self, succeeded: bool, name: str) -> None:
        counts = {"model": sum(self.built.values()), **self.counts, "model up to date": self.unchanged}
        if counts.keys() & {"row", "file"}:
            # That all of it is loaded is a check too.
            counts.pop("check", None)
        facts = [_count(count, noun) for noun, count in counts.items() if count]
        if succeeded and (self.nothing_new or counts.keys() & {"row", "file"}) and not facts:
            facts = ["nothing new"]
        if self.held:
            facts = ["failed, so the shop is held"]
        self._line(succeeded and not self.held, name, facts, time.monotonic() - self.started)
        if self.task is not None:
            self.live.remove_task(self.task)
            self.task = None

    def _line(self, succeeded: bool, name: str, facts: list[str], seconds: float) -> None:
        text = f"{self.console.mark(succeeded)} {printable(name):<29} {', '.join([*facts, f'{seconds:.1f} s'])}"
        self._print(text, "" if succeeded else "red")

    def _print(self, text: str, style: str = "") -> None:
        self.printed = time.monotonic()
        # With its own style: rich would give that of print() to the live line too.
        self.console.print(Text(text, style))


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


def _count(number: int, noun: str) -> str:
    noun, *rest = noun.split(" ", 1)
    return " ".join([f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s", *rest])


@contextlib.contextmanager
def shown(console: Terminal, manifest: Manifest, *, verbose: bool) -> Iterator[None]:
    """Print what the run does that goes on in the block.

    Args:
        console: where to print.
        manifest: dbt's.
        verbose: print each message of the run too.
    """
    progress = Progress(console, layers_of(manifest), verbose=verbose)
    LOGGER.addHandler(progress)
    try:
        with progress.live:
            yield
    finally:
        LOGGER.removeHandler(progress)


@dg.logger(None, description="A run's progress for a person at a terminal.")
def progress_logger(_context: dg.InitLoggerContext) -> logging.Logger:
    """Give Dagster the logger that `make run` listens to."""
    LOGGER.setLevel(logging.DEBUG)
    LOGGER.propagate = False
    return LOGGER
