"""Puts a run's checks, steps and deliveries into the history, and judges it on the way."""

import datetime as dt
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import duckdb

from quality import history
from quality.history import History, KnownRun
from quality.objectives import Objectives
from quality.results import UNDER_WAY, Check, Run, timestamp
from quality.verdict import Standing, judge
from warehouse.dbt_project import Manifest
from warehouse.locks import Say
from warehouse.paths import Paths

# Only this many ended runs are looked at for one that is not recorded yet: in an installation that is older than its
# history, looking at all of them would take minutes.
RUNS_LOOKED_AT = 100

PUNCTUALITY = "run_ends_in_time"
READABLE = "history_is_readable"
AS_DECLARED = "columns_are_as_declared"


class RunLog(Protocol):
    """The log of runs, kept by the program that runs them."""

    def run(self, run_id: str) -> Run | None:
        """Read what a run did; None when the log knows nothing of it.

        Args:
            run_id: the run.
        """

    def ended(self, limit: int) -> Sequence[str]:
        """Name the newest runs that ended, oldest first.

        Args:
            limit: how many at most.
        """


@dataclass(frozen=True)
class Recorded:
    """What was recorded of a run.

    Attributes:
        run_number: its place in the history.
        standings: how it stands to each objective.
    """

    run_number: int
    standings: Sequence[Standing]


class Recorder:
    """Writes runs into the history.

    Args:
        log: where the runs are logged.
        paths: where data lives.
        manifest: dbt's; says which models have a contract, and what columns the history has.
        objectives: what the checks measure.
        sources: the active sources.
    """

    def __init__(
        self, log: RunLog, paths: Paths, manifest: Manifest, objectives: Objectives, sources: Sequence[str]
    ) -> None:
        self.log = log
        self.paths = paths
        self.columns = history.columns(manifest)
        self.contracts = {
            f"{node['schema']}.{node['alias']}": len(node["columns"])
            for node in manifest["nodes"].values()
            if node["resource_type"] == "model" and node["config"]["contract"]["enforced"]
        }
        self.objectives = objectives
        self.sources = sources

    def record(self, run_id: str, connection: duckdb.DuckDBPyConnection, say: Say) -> Recorded:
        """Judge and write the run under way, and write those that ended since the last time.

        A run that failed or was killed never comes this far itself; the next one records it.

        Args:
            run_id: the run under way.
            connection: the open warehouse; the tables of the history are filled in it.
            say: called with one line when other runs are recorded too.
        """
        known = history.load(connection, self.paths, self.columns)
        runs = {run.run_id: run for run in known.runs}
        # A run whose file cannot be read is not recorded a second time.
        unreadable = {file.stem[7:] for file in known.unreadable}
        unused = itertools.count(known.next_number)
        late = [
            ended_id
            for ended_id in self.log.ended(RUNS_LOOKED_AT)
            if ended_id not in {run_id, *unreadable} and (ended_id not in runs or runs[ended_id].outcome == UNDER_WAY)
        ]
        if late:
            say(f"recording {len(late)} earlier run(s) too")
        for ended_id in late:
            if run := self.log.run(ended_id):
                earlier = runs.get(ended_id)
                self._write(run, [], earlier, earlier.run_number if earlier else next(unused), connection)
                history.load(connection, self.paths, self.columns)
        for lost_run in known.runs:
            # Those that ended are written above, and reading a log takes a while.
            if lost_run.outcome == UNDER_WAY and lost_run.run_id not in late and self.log.run(lost_run.run_id) is None:
                self._give_up(lost_run)
        current = self.log.run(run_id)
        assert current is not None, "a run's own log is there while it runs"
        own = runs.get(run_id)
        number = own.run_number if own else next(unused)
        standings = self._write(current, [_readable(known, current.started)], own, number, connection)
        history.load(connection, self.paths, self.columns)
        return Recorded(number, standings)

    def _write(
        self,
        run: Run,
        more: Sequence[Check],
        known: KnownRun | None,
        number: int,
        connection: duckdb.DuckDBPyConnection,
    ) -> list[Standing]:
        # A step that ran twice in a run counts as it came out last.
        all_checks = [*run.checks, *self._contracts(run), *self._punctuality(run), *more]
        checks = list({(check.table, check.name): check for check in all_checks}.values())
        standings = judge(checks, self.objectives)
        parts: dict[str, list[dict[str, Any]]] = {
            "checks": [self._check(check) for check in checks],
            "steps": [vars(step) for step in run.steps],
            "deliveries": self._deliveries(connection, run),
            **self._promises(standings),
        }
        if known and run.outcome != UNDER_WAY:
            # Completed by a later run, whose objectives may be others: what was promised then, and how the run stood
            # to it when it was judged, stays.
            earlier = history.read(self.paths, known)
            parts |= {name: earlier[name] for name in ("objectives", "measures") if name in earlier}
            named = {(check["table_name"], check["check_name"]): check for check in earlier.get("checks", [])}
            for check in parts["checks"]:
                if before := named.pop((check["table_name"], check["check_name"]), None):
                    check |= {word: before[word] for word in ("objective", "category")}
            # Checks of the record itself are in no log.
            parts["checks"] += [check for check in named.values() if check["check_name"] == READABLE]
        history.write(
            self.paths,
            {
                "run_id": run.run_id,
                "run_number": number,
                "job": run.job,
                "started_at": timestamp(run.started),
                "ended_at": timestamp(run.ended) if run.ended else None,
                "outcome": run.outcome,
            },
            parts,
        )
        return standings

    def _give_up(self, known: KnownRun) -> None:
        """Complete a run that the log has lost: how it ended is not known, so it did not end in time."""
        earlier = history.read(self.paths, known)
        for check in earlier.get("checks", []):
            if check["check_name"] == PUNCTUALITY:
                check |= {"status": "warn", "rows_failed": 1, "description": "Dagster has no record of how it ended."}
        if earlier:
            parts = {name: earlier[name] for name in self.columns if name in earlier}
            history.write(self.paths, {**earlier["run"], "outcome": "unknown"}, parts)

    def _check(self, check: Check) -> dict[str, Any]:
        objective = self.objectives.of(*check.measures)
        return {
            "check_name": check.name,
            "table_name": check.table,
            "checked_at": timestamp(check.at),
            "status": check.status,
            "rows_read": check.rows_read,
            "rows_failed": check.rows_failed,
            "description": check.description,
            "objective": objective.name if objective else None,
            "category": objective.category if objective else None,
        }

    def _promises(self, standings: Sequence[Standing]) -> dict[str, list[dict[str, Any]]]:
        return {
            "objectives": [
                {
                    "objective": standing.objective.name,
                    **standing.objective.model_dump(exclude={"name", "measured_by"}),
                    "window_days": self.objectives.window_days,
                    "status": standing.status,
                }
                for standing in standings
            ],
            "measures": [
                {"check_name": check, "objective": objective.name, "category": objective.category}
                for objective in self.objectives.objectives
                for check in objective.measured_by
            ],
        }

    def _contracts(self, run: Run) -> Iterator[Check]:
        """A model with a contract is built only when its columns are as declared: that it was built is the check."""
        for table, at in run.built:
            if columns := self.contracts.get(table):
                description = f"The model was built with the {columns} columns that its contract declares."
                yield Check(AS_DECLARED, table, at, "pass", columns, 0, description, (AS_DECLARED,))

    def _punctuality(self, run: Run) -> Iterator[Check]:
        if run.job != "nightly":
            return
        now = dt.datetime.now(dt.UTC).timestamp()
        took = dt.timedelta(seconds=round((run.ended or now) - run.started))
        may_take = dt.timedelta(minutes=self.objectives.run_may_take_minutes)
        passed = run.outcome in ("success", UNDER_WAY) and took <= may_take
        yield Check(
            PUNCTUALITY,
            "runs",
            run.ended or run.started + took.total_seconds(),
            "pass" if passed else "warn",
            1,
            int(not passed),
            f"{run.outcome} after {took}; a run may take {may_take}",
            (PUNCTUALITY,),
        )

    def _deliveries(self, connection: duckdb.DuckDBPyConnection, run: Run) -> list[dict[str, Any]]:
        """What was delivered until the run's end and that no other run in the history has."""
        until = f"and delivered_at <= timestamp '{timestamp(run.ended)}'" if run.ended else ""
        rows = []
        for source in self.sources:
            rows += connection.execute(
                f"""
                select
                    '{source}' as source_name, table_name, delivery,
                    cast(delivery_date as varchar) as delivery_date,
                    row_count, cast(delivered_at as varchar) as delivered_at
                from raw_{source}.deliveries as ledger
                where
                    -- What is set aside of a file is no delivery of its own.
                    table_name <> 'quarantine'
                    and not exists (
                        from {history.DATASET}.deliveries as recorded
                        where
                            recorded.run_id <> '{run.run_id}'
                            and recorded.source_name = '{source}'
                            and recorded.table_name = ledger.table_name
                            and coalesce(recorded.delivery, recorded.landed_file) = ledger.delivery
                            and recorded.delivered_at = ledger.delivered_at
                    )
                    {until}
                order by table_name, delivery, delivered_at
                """
            ).fetchall()
        # landed_file: what files before 0.5.0 have in place of delivery.
        names = [name for name in self.columns["deliveries"] if name not in ("run_id", "landed_file")]
        return [dict(zip(names, row, strict=True)) for row in rows]


def _readable(known: History, at: float) -> Check:
    unreadable: Mapping[Any, str] = known.unreadable
    left_out = "; ".join(f"{file} is left out: {reason}" for file, reason in unreadable.items())
    return Check(
        READABLE,
        "runs",
        at,
        "warn" if unreadable else "pass",
        len(known.runs) + len(unreadable),
        len(unreadable),
        f"{left_out}. {history.WAY_OUT}" if unreadable else None,
        (READABLE,),
    )
