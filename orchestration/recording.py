"""What a run really did, read from Dagster's own log of it: checks, seconds of each step, rows of each table."""

import datetime as dt
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import dagster as dg
import duckdb
from dagster import DagsterEventType

from delivery.objectives import Objectives
from ingestion import run_history
from ingestion.contracts import LandedTable
from ingestion.landed_files import DELIVERIES
from ingestion.load import source_module
from ingestion.run_history import UNDER_WAY
from orchestration.checks import SLO_STATUS
from orchestration.progress import step_name

# Looking for runs that nobody recorded goes no further back than so many: in an installation that is older than its
# history it would take minutes.
RUNS_LOOKED_AT = 100

PUNCTUALITY = "run_ends_in_time"

OUTCOMES = {
    dg.DagsterRunStatus.SUCCESS: "success",
    dg.DagsterRunStatus.FAILURE: "failure",
    dg.DagsterRunStatus.CANCELED: "canceled",
}


class Recorder:
    """Writes runs into the history.

    Args:
        instance: where Dagster keeps its runs.
        manifest: dbt's; says of what kind a test is, and which models have a contract.
        objectives: what the checks measure.
        sources: the active sources.
    """

    def __init__(
        self, instance: dg.DagsterInstance, manifest: Mapping[str, Any], objectives: Objectives, sources: list[str]
    ) -> None:
        self.instance = instance
        self.nodes: Mapping[str, Any] = manifest["nodes"]
        # A source's data set is named otherwise than its assets.
        self.schemas = {source["source_name"]: source["schema"] for source in manifest["sources"].values()}
        self.objectives = objectives
        self.sources = sources

    def record(self, run_id: str, connection: duckdb.DuckDBPyConnection, say: Callable[[str], object]) -> int:
        """Write the run under way, and those that ended since the last time and are not in the history as ended.

        A run that failed or was killed never comes this far itself; the next one records it.

        Args:
            run_id: the run under way.
            connection: the open warehouse; the tables of the history are made anew in it.
            say: called with one line when other runs are recorded too.

        Returns:
            The run's number.
        """
        known = {run.run_id: run for run in run_history.load(connection)}
        unused = itertools.count(1 + max((run.run_number for run in known.values()), default=0))
        late = [record for record in self._ended() if self._is_news(record, run_id, known)]
        if late:
            say(f"recording {len(late)} earlier run(s) too")
        for record in late:
            earlier = known.get(record.dagster_run.run_id)
            self._write(record, earlier, earlier.run_number if earlier else next(unused), connection)
            run_history.load(connection)
        for run in known.values():
            if run.outcome == UNDER_WAY and self.instance.get_run_record_by_id(run.run_id) is None:
                self._give_up(run)
        current = self.instance.get_run_record_by_id(run_id)
        assert current is not None, "a run's own record is there while it runs"
        own = known.get(run_id)
        number = own.run_number if own else next(unused)
        self._write(current, own, number, connection)
        run_history.load(connection)
        return number

    def _ended(self) -> Iterable[dg.RunRecord]:
        """The newest runs that ended, oldest first."""
        filters = dg.RunsFilter(statuses=list(OUTCOMES))
        return reversed(self.instance.get_run_records(filters, limit=RUNS_LOOKED_AT))

    @staticmethod
    def _is_news(record: dg.RunRecord, run_id: str, known: Mapping[str, run_history.KnownRun]) -> bool:
        earlier = known.get(record.dagster_run.run_id)
        return record.dagster_run.run_id != run_id and (earlier is None or earlier.outcome == UNDER_WAY)

    def _write(
        self,
        record: dg.RunRecord,
        known: run_history.KnownRun | None,
        number: int,
        connection: duckdb.DuckDBPyConnection,
    ) -> None:
        run = record.dagster_run
        outcome = OUTCOMES.get(run.status, UNDER_WAY)
        events = [
            (entry.timestamp, entry.dagster_event)
            for entry in self.instance.all_logs(run.run_id)
            if entry.dagster_event is not None
        ]
        started = record.start_time or record.create_timestamp.timestamp()
        ended = record.end_time if outcome != UNDER_WAY else None
        row_counts = _row_counts(events)
        found = [
            *self._checks(events, row_counts),
            *self._contracts(events),
            *self._punctuality(run.job_name, outcome, started, ended),
        ]
        # A step that ran twice in a run counts as it came out last.
        checks = {
            (check["table_name"], check["check_name"]): self._with_objective(measures, check)
            for measures, check in found
        }
        parts: dict[str, list[dict[str, Any]]] = {
            "checks": list(checks.values()),
            "steps": list(_steps(events, row_counts)),
            "deliveries": self._deliveries(connection, run.run_id, ended),
            **self._promises(),
        }
        if known:
            # Completed by a later run, whose objectives may be others: what was promised then stays.
            earlier = run_history.read(known)
            parts |= {name: earlier[name] for name in ("objectives", "measures") if name in earlier}
            for check in earlier.get("checks", []):
                if (check["table_name"], check["check_name"]) in checks:
                    checks[check["table_name"], check["check_name"]] |= {
                        name: check[name] for name in ("objective", "category")
                    }
        run_history.write(
            {
                "run_id": run.run_id,
                "run_number": number,
                "job": run.job_name,
                "started_at": _time(started),
                "ended_at": _time(ended) if ended else None,
                "outcome": outcome,
            },
            parts,
        )

    @staticmethod
    def _give_up(known: run_history.KnownRun) -> None:
        """Complete a run that Dagster has forgotten: nobody knows how it ended, so it did not end in time."""
        earlier = run_history.read(known)
        for check in earlier.get("checks", []):
            if check["check_name"] == PUNCTUALITY:
                check |= {"status": "warn", "rows_failed": 1, "description": "Dagster has no record of how it ended."}
        if earlier:
            run_history.write(
                {**earlier["run"], "outcome": "unknown"},
                {name: earlier[name] for name in run_history.PART_COLUMNS if name in earlier},
            )

    def _promises(self) -> dict[str, list[dict[str, Any]]]:
        return {
            "objectives": [
                {
                    "objective": one.name,
                    **one.model_dump(exclude={"name", "measured_by"}),
                    "window_days": self.objectives.window_days,
                }
                for one in self.objectives.objectives
            ],
            "measures": [
                {"check_name": check, "objective": one.name, "category": one.category}
                for one in self.objectives.objectives
                for check in one.measured_by
            ],
        }

    def _checks(
        self, events: Iterable[tuple[float, dg.DagsterEvent]], row_counts: Mapping[dg.AssetKey, int]
    ) -> Iterator[tuple[list[str], dict[str, Any]]]:
        for timestamp, event in events:
            if event.event_type != DagsterEventType.ASSET_CHECK_EVALUATION:
                continue
            check = event.asset_check_evaluation_data
            facts = {key: value.value for key, value in check.metadata.items()}
            if check.asset_key == SLO_STATUS and "unique_id" not in facts:
                # How an objective stands follows from the checks; it is none of them.
                continue
            node = self.nodes.get(str(facts.get("unique_id")), {})
            failed = facts.get("rows_failed", facts.get("dagster_dbt/failed_row_count"))
            yield (
                [str(facts.get("measures", check.check_name)), *self._kinds(check.check_name, node)],
                {
                    "check_name": check.check_name,
                    "table_name": facts.get("table") or self._table(check.asset_key),
                    "checked_at": _time(timestamp),
                    "status": "pass"
                    if check.passed
                    else "warn"
                    if check.severity == dg.AssetCheckSeverity.WARN
                    else "fail",
                    # A test of some rows only does not say of how many.
                    "rows_read": facts.get("rows_read", row_counts.get(check.asset_key) if not _where(node) else None),
                    "rows_failed": int(not check.passed) if failed is None else failed,
                    "description": check.description,
                },
            )

    def _kinds(self, check_name: str, node: Mapping[str, Any]) -> list[str]:
        """The generic test that a dbt test is made of; of one that is no longer there, by what its name begins with."""
        if node:
            return [node["test_metadata"]["name"]] if node.get("test_metadata") else []
        known = [check for one in self.objectives.objectives for check in one.measured_by]
        return sorted((kind for kind in known if check_name.startswith(f"{kind}_")), key=len, reverse=True)

    def _contracts(self, events: Iterable[tuple[float, dg.DagsterEvent]]) -> Iterator[tuple[list[str], dict[str, Any]]]:
        """A model with a contract is built only when its columns are as declared: that it was built is the check."""
        contracts = {
            (node["schema"], node["alias"]): len(node["columns"])
            for node in self.nodes.values()
            if node["resource_type"] == "model" and node["config"]["contract"]["enforced"]
        }
        for timestamp, event in events:
            if event.event_type != DagsterEventType.ASSET_MATERIALIZATION or event.asset_key is None:
                continue
            columns = contracts.get(tuple(event.asset_key.path))  # type: ignore[arg-type]
            if columns is not None:
                name = "columns_are_as_declared"
                yield (
                    [name],
                    {
                        "check_name": name,
                        "table_name": self._table(event.asset_key),
                        "checked_at": _time(timestamp),
                        "status": "pass",
                        "rows_read": columns,
                        "rows_failed": 0,
                        "description": f"The model was built with the {columns} columns that its contract declares.",
                    },
                )

    def _punctuality(
        self, job: str, outcome: str, started: float, ended: float | None
    ) -> Iterator[tuple[list[str], dict[str, Any]]]:
        if job != "nightly":
            return
        name = PUNCTUALITY
        took = dt.timedelta(seconds=round((ended or dt.datetime.now(dt.UTC).timestamp()) - started))
        may_take = dt.timedelta(minutes=self.objectives.run_may_take_minutes)
        passed = outcome in ("success", UNDER_WAY) and took <= may_take
        yield (
            [name],
            {
                "check_name": name,
                "table_name": "runs",
                "checked_at": _time(ended or started + took.total_seconds()),
                "status": "pass" if passed else "warn",
                "rows_read": 1,
                "rows_failed": int(not passed),
                "description": f"{outcome} after {took}; a run may take {may_take}",
            },
        )

    def _with_objective(self, measures: list[str], check: dict[str, Any]) -> dict[str, Any]:
        objective = self.objectives.of(*measures)
        return {
            **check,
            "objective": objective.name if objective else None,
            "category": objective.category if objective else None,
        }

    def _table(self, key: dg.AssetKey) -> str:
        schema, *rest = key.path
        return ".".join([self.schemas.get(schema, schema), *rest])

    def _deliveries(
        self, connection: duckdb.DuckDBPyConnection, run_id: str, ended: float | None
    ) -> list[dict[str, Any]]:
        """The landed files that were loaded until the run's end and that no other run in the history has."""
        until = f"and delivered_at <= timestamp '{_time(ended)}'" if ended else ""
        rows = []
        for source in self.sources:
            tables: tuple[LandedTable, ...] = source_module(source).TABLES
            daily = ", ".join(f"'{table.name}'" for table in tables if table.is_daily)
            rows += connection.execute(
                f"""
                select
                    '{source}' as source_name, table_name, landed_file,
                    case when table_name in ({daily or "''"}) then
                        cast(try_cast(parse_filename(landed_file, true) as date) as varchar)
                    end as delivery_date,
                    row_count, cast(delivered_at as varchar) as delivered_at
                from raw_{source}.{DELIVERIES} as ledger
                where
                    not exists (
                        from {run_history.DATASET}.deliveries as recorded
                        where
                            recorded.run_id <> '{run_id}'
                            and recorded.source_name = '{source}'
                            and recorded.table_name = ledger.table_name
                            and recorded.landed_file = ledger.landed_file
                            and recorded.delivered_at = ledger.delivered_at
                    )
                    {until}
                order by table_name, landed_file, delivered_at
                """
            ).fetchall()
        return [dict(zip(run_history.PART_COLUMNS["deliveries"], row, strict=True)) for row in rows]


def _where(node: Mapping[str, Any]) -> str | None:
    return node["config"].get("where") if node else None


def _row_counts(events: Iterable[tuple[float, dg.DagsterEvent]]) -> dict[dg.AssetKey, int]:
    counts = {}
    for _, event in events:
        if event.event_type == DagsterEventType.ASSET_MATERIALIZATION and event.asset_key is not None:
            count = event.step_materialization_data.materialization.metadata.get("dagster/row_count")
            if count is not None:
                counts[event.asset_key] = int(str(count.value))
    return counts


def _steps(
    events: Iterable[tuple[float, dg.DagsterEvent]], row_counts: Mapping[dg.AssetKey, int]
) -> Iterator[dict[str, Any]]:
    """The run's steps, and the models that its steps built."""
    began: dict[str, float] = {}
    loaded: dict[str, int] = {}
    for timestamp, event in events:
        step = event.step_key or ""
        if event.event_type == DagsterEventType.STEP_START:
            began[step] = timestamp
        elif event.event_type in (DagsterEventType.STEP_SUCCESS, DagsterEventType.STEP_FAILURE):
            yield {
                "step": step_name(step),
                "seconds": round(timestamp - began.get(step, timestamp), 3),
                "row_count": loaded.get(step),
                "succeeded": event.event_type == DagsterEventType.STEP_SUCCESS,
            }
        elif event.event_type == DagsterEventType.ASSET_MATERIALIZATION and event.asset_key is not None:
            metadata = event.step_materialization_data.materialization.metadata
            if "rows_loaded" in metadata:
                loaded[step] = loaded.get(step, 0) + int(str(metadata["rows_loaded"].value))
            if "Execution Duration" in metadata:
                yield {
                    "step": f"model {'.'.join(event.asset_key.path)}",
                    "seconds": round(float(str(metadata["Execution Duration"].value)), 3),
                    "row_count": row_counts.get(event.asset_key),
                    "succeeded": True,
                }


def _time(timestamp: float | None) -> str:
    assert timestamp is not None
    return dt.datetime.fromtimestamp(timestamp, dt.UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
