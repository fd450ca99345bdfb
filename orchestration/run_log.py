"""Dagster's log of a run, translated to what quality/ judges and records: no number is counted twice or by hand."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
from dagster import DagsterEventType

from orchestration.costs import step_costs
from orchestration.holds import HELD
from orchestration.keys import SLO_STATUS, VERDICT
from orchestration.previews import UNCHANGED
from quality.objectives import Objectives
from quality.results import UNDER_WAY, Check, Run, Step
from warehouse.dbt_project import Manifest

OUTCOMES = {
    dg.DagsterRunStatus.SUCCESS: "success",
    dg.DagsterRunStatus.FAILURE: "failure",
    dg.DagsterRunStatus.CANCELED: "canceled",
}

Event = tuple[float, dg.DagsterEvent]


class DagsterRunLog:
    """The log of runs that a Dagster instance keeps (see `quality.recording.RunLog`).

    Args:
        instance: where Dagster keeps its runs.
        manifest: dbt's; says of what kind a test is.
        objectives: name the kinds of tests that they are measured by.
    """

    def __init__(self, instance: dg.DagsterInstance, manifest: Manifest, objectives: Objectives) -> None:
        self.instance = instance
        self.nodes: Mapping[str, Any] = manifest["nodes"]
        # A source's data set has another name than its assets.
        self.schemas = {source["source_name"]: source["schema"] for source in manifest["sources"].values()}
        self.kinds = [check for objective in objectives.objectives for check in objective.measured_by]

    def run(self, run_id: str) -> Run | None:
        """Read what a run did; None when Dagster knows nothing of it.

        Args:
            run_id: the run.
        """
        record = self.instance.get_run_record_by_id(run_id)
        if record is None:
            return None
        events = [
            (entry.timestamp, entry.dagster_event)
            for entry in self.instance.all_logs(run_id)
            if entry.dagster_event is not None
        ]
        outcome = OUTCOMES.get(record.dagster_run.status, UNDER_WAY)
        row_counts = dict(_row_counts(events))
        return Run(
            run_id=run_id,
            job=record.dagster_run.job_name,
            outcome=outcome,
            # A run that waits for another has started, says Dagster; it works from its first step on.
            started=next(
                (at for at, event in events if event.event_type == DagsterEventType.STEP_START),
                record.start_time or record.create_timestamp.timestamp(),
            ),
            ended=record.end_time if outcome != UNDER_WAY else None,
            checks=list(self._checks(events, row_counts)),
            steps=list(_steps(events, row_counts)),
            built=[(self._table(key), at) for key, at in _built(events)],
        )

    def ended(self, limit: int) -> list[str]:
        """Name the newest runs that ended, oldest first.

        Args:
            limit: how many at most.
        """
        filters = dg.RunsFilter(statuses=list(OUTCOMES))
        return [run.run_id for run in reversed(self.instance.get_runs(filters, limit=limit))]

    def _checks(self, events: Iterable[Event], row_counts: Mapping[dg.AssetKey, int]) -> Iterator[Check]:
        for at, event in events:
            if event.event_type != DagsterEventType.ASSET_CHECK_EVALUATION:
                continue
            check = event.asset_check_evaluation_data
            facts = {key: value.value for key, value in check.metadata.items()}
            if check.asset_key in (VERDICT, SLO_STATUS) and "unique_id" not in facts:
                # How an objective stands follows from the checks; it is none of them.
                continue
            node = self.nodes.get(str(facts.get("unique_id")), {})
            failed = _int(facts.get("rows_failed", facts.get("dagster_dbt/failed_row_count")))
            read = _int(facts.get("rows_read"))
            # A test of some rows only does not say of how many.
            has_where = bool(node) and bool(node["config"].get("where"))
            warned = check.severity == dg.AssetCheckSeverity.WARN
            yield Check(
                name=check.check_name,
                table=str(facts.get("table") or self._table(check.asset_key)),
                at=at,
                status="pass" if check.passed else "warn" if warned else "fail",
                rows_read=row_counts.get(check.asset_key) if read is None and not has_where else read,
                rows_failed=int(not check.passed) if failed is None else failed,
                description=check.description,
                measures=(str(facts.get("measures", check.check_name)), *self._kind(check.check_name, node)),
                is_held=HELD in facts,
            )

    def _kind(self, check_name: str, node: Mapping[str, Any]) -> list[str]:
        """The generic test that a dbt test is made of; of one that is no longer there, by what its name begins with."""
        if node:
            return [node["test_metadata"]["name"]] if node.get("test_metadata") else []
        return sorted((kind for kind in self.kinds if check_name.startswith(f"{kind}_")), key=len, reverse=True)

    def _table(self, key: dg.AssetKey) -> str:
        schema, *rest = key.path
        return ".".join([self.schemas.get(schema, schema), *rest])


def _built(events: Iterable[Event]) -> Iterator[tuple[dg.AssetKey, float]]:
    """The tables that were made; of a model that is up to date, Dagster has an event without a duration."""
    for at, event in events:
        if (
            event.event_type == DagsterEventType.ASSET_MATERIALIZATION
            and event.asset_key is not None
            and _number(event, "Execution Duration") is not None
        ):
            yield event.asset_key, at


def _row_counts(events: Iterable[Event]) -> Iterator[tuple[dg.AssetKey, int]]:
    for _, event in events:
        if event.event_type == DagsterEventType.ASSET_MATERIALIZATION and event.asset_key is not None:
            count = _number(event, "dagster/row_count")
            if count is not None:
                yield event.asset_key, int(count)


def _steps(events: Sequence[Event], row_counts: Mapping[dg.AssetKey, int]) -> Iterator[Step]:
    """The run's steps, and the models that its steps built."""
    cpu = step_costs(event for _, event in events)
    model_seconds: dict[str, float] = {}
    for _, event in events:
        if event.event_type == DagsterEventType.ASSET_MATERIALIZATION and event.step_key:
            seconds = _number(event, "Execution Duration") or 0.0
            model_seconds[event.step_key] = model_seconds.get(event.step_key, 0.0) + seconds
    began: dict[str, float] = {}
    loaded: dict[str, int] = {}
    read: dict[str, int] = {}
    made: dict[str, set[bool]] = {}
    for at, event in events:
        step = event.step_key or ""
        if event.event_type == DagsterEventType.STEP_START:
            began[step] = at
        elif event.event_type in (DagsterEventType.STEP_SUCCESS, DagsterEventType.STEP_FAILURE):
            succeeded = event.event_type == DagsterEventType.STEP_SUCCESS
            if made.get(step) == {False}:
                # It made nothing: how long that takes says nothing of other nights.
                continue
            seconds = round(at - began.get(step, at), 3)
            yield Step(step, seconds, loaded.get(step), succeeded, cpu.get(step), read.get(step))
        elif event.event_type == DagsterEventType.ASSET_MATERIALIZATION and event.asset_key is not None:
            rows, duration = _number(event, "rows_loaded"), _number(event, "Execution Duration")
            made.setdefault(step, set()).add(UNCHANGED not in event.step_materialization_data.materialization.metadata)
            if rows is not None:
                loaded[step] = loaded.get(step, 0) + int(rows)
            if (of_files := _number(event, "bytes_loaded")) is not None:
                read[step] = read.get(step, 0) + int(of_files)
            if duration is not None:
                name = ".".join(["model", *event.asset_key.path])
                total = model_seconds[step]
                share = round(cpu[step] * duration / total, 3) if step in cpu and total else None
                yield Step(name, round(duration, 3), row_counts.get(event.asset_key), True, share)


def _int(value: object) -> int | None:
    return None if value is None else int(str(value))


def _number(event: dg.DagsterEvent, name: str) -> float | None:
    value = event.step_materialization_data.materialization.metadata.get(name)
    return None if value is None else float(str(value.value))
