"""How things stand: what ran, what readers have, and everything that an operator should know of.

`python -m orchestration status` prints it, the alerts tell its changes, `/metrics` shows it to Prometheus.
"""

import datetime as dt
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import dagster as dg
import duckdb

from delivery.publication import damage
from orchestration.executor import CAUSE
from orchestration.schedules import LATE
from quality.objectives import ObjectivesError
from quality.objectives import read as read_objectives
from quality.verdict import BREACH, MET, NOT_MEASURED
from warehouse.settings import Settings

# How grave a finding is. An error: readers do not have what was promised, or will not have it.
WARNING, ERROR = "warning", "error"

# The team that runs this; whatever has no other owner is theirs.
OPERATIONS = "data-platform"

# The nightly run succeeds once a day, and takes its time.
FRESH, STALE = dt.timedelta(hours=26), dt.timedelta(hours=36)

# A run may wait this long for others, or work (hours), before somebody should look.
LONG = dt.timedelta(hours=1)

# A run needs room for a second published copy, and for what it spills.
LEAST_FREE_SHARE = 0.1

ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
WAITS = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING]
WORKS = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


@dataclass(frozen=True)
class Finding:
    """Something that an operator should know of, for as long as it lasts.

    Attributes:
        key: names it: the same key again is the same finding.
        level: `warning` or `error`.
        text: what is wrong, in words.
        owner: the team to ask.
        since: since when (UTC), where that is known.
        rows: how many rows failed, where rows are counted.
        link: a page of the UI that shows more.
    """

    key: str
    level: str
    text: str
    owner: str = OPERATIONS
    since: dt.datetime | None = None
    rows: int | None = None
    link: str | None = None


@dataclass(frozen=True)
class RunState:
    """A run of the nightly job or of some assets.

    Attributes:
        run_id: its number.
        job: the job.
        status: Dagster's word.
        at: when it began; of one that ended, when it ended (UTC).
        cause: why it failed.
        link: its page in the UI.
    """

    run_id: str
    job: str
    status: str
    at: dt.datetime
    cause: str | None
    link: str


@dataclass(frozen=True)
class ShopState:
    """A shop, as readers have it.

    Attributes:
        source: the shop.
        status: `current` or `held`.
        newest_purchase: the newest one published (UTC).
        reason: why it is held.
    """

    source: str
    status: str
    newest_purchase: dt.datetime | None
    reason: str | None


@dataclass(frozen=True)
class ObjectiveState:
    """An objective, as it stood when it was last measured.

    Attributes:
        objective: its name.
        status: met, warning, breach or not measured.
        attained: per cent that passed in the window; None: not measured.
        target: per cent promised.
        error_budget_left: the share that is left; below 0: more failed than was promised.
        owner: the team to ask.
    """

    objective: str
    status: str
    attained: float | None
    target: float
    error_budget_left: float | None
    owner: str


@dataclass(frozen=True)
class State:
    """How things stand.

    Attributes:
        at: when this was looked at (UTC).
        published_at: when readers got their copy (UTC); None: nothing was published.
        published_bytes: the size of the copy.
        fresh_at: when a nightly run last succeeded (UTC); with nothing new, the copy is older than that.
        last_run: the nightly run that ended last.
        working: runs that are under way.
        waiting: runs that wait to be started.
        shops: those in the published copy.
        objectives: those in the published copy.
        free_bytes: room on the disk of the data folder.
        used_bytes: what the warehouse and the copy take.
        findings: what an operator should know of, the gravest first.
    """

    at: dt.datetime
    published_at: dt.datetime | None
    published_bytes: int
    fresh_at: dt.datetime | None
    last_run: RunState | None
    working: list[RunState]
    waiting: list[RunState]
    shops: list[ShopState]
    objectives: list[ObjectiveState]
    free_bytes: int
    used_bytes: int
    findings: list[Finding] = field(default_factory=list)

    @property
    def level(self) -> str | None:
        """The gravest finding's level; None: nothing was found."""
        levels = {finding.level for finding in self.findings}
        return ERROR if ERROR in levels else WARNING if levels else None

    def as_json(self) -> str:
        """All of it, for programs."""
        return json.dumps(asdict(self) | {"level": self.level or "ok"}, default=_json, indent=2)


def _json(value: object) -> str:
    return value.isoformat() if isinstance(value, dt.datetime) else str(value)


def look(settings: Settings, instance: dg.DagsterInstance, now: dt.datetime | None = None) -> State:
    """Find out how things stand; nothing is changed, and no run is in its way.

    Args:
        settings: where data lives, and the address of the UI.
        instance: where Dagster keeps its runs.
        now: the time (UTC); None: the clock's.
    """
    now = now or dt.datetime.now(dt.UTC).replace(tzinfo=None)
    paths = settings.paths
    nightly = dg.RunsFilter(job_name="nightly", statuses=ENDED)
    last = _first(_runs(instance, nightly, settings, limit=1))
    succeeded = dg.RunsFilter(job_name="nightly", statuses=[dg.DagsterRunStatus.SUCCESS])
    fresh = _first(_runs(instance, succeeded, settings, limit=1))
    exists = paths.published.exists()
    files = (paths.warehouse, paths.published)
    paths.root.mkdir(parents=True, exist_ok=True)
    disk = shutil.disk_usage(paths.root)
    damaged = damage(paths)
    shops, objectives, of_copy = ([], [], []) if damaged or not exists else _read_copy(paths.published)
    state = State(
        at=now,
        published_at=_utc(paths.published.stat().st_mtime) if exists else None,
        published_bytes=paths.published.stat().st_size if exists else 0,
        fresh_at=fresh.at if fresh else None,
        last_run=last,
        working=list(_runs(instance, dg.RunsFilter(statuses=WORKS), settings)),
        waiting=list(_runs(instance, dg.RunsFilter(statuses=WAITS), settings)),
        shops=shops,
        objectives=objectives,
        free_bytes=disk.free,
        used_bytes=sum(file.stat().st_size for file in files if file.exists()),
    )
    found = [*of_copy, *_of_runs(state, instance, settings)]
    if damaged:
        found.append(Finding("copy", ERROR, f"{damaged}. The next run publishes it again."))
    elif not exists:
        found.append(Finding("copy", ERROR, f"nothing is published yet at {paths.published}"))
    if disk.free < LEAST_FREE_SHARE * disk.total or disk.free < 2 * state.used_bytes:
        found.append(Finding("disk", WARNING, f"{disk.free / 1e9:.1f} GB are free on the disk of {paths.root}"))
    found += _undelivered(settings)
    since = opened(settings)
    state.findings.extend(
        sorted(
            (Finding(**{**vars(each), "since": each.since or since.get(each.key)}) for each in found),
            key=lambda each: (each.level != ERROR, each.key),
        )
    )
    return state


def _first(runs: Iterator[RunState]) -> RunState | None:
    return next(runs, None)


def _utc(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).replace(tzinfo=None, microsecond=0)


def _runs(
    instance: dg.DagsterInstance, which: dg.RunsFilter, settings: Settings, limit: int | None = None
) -> Iterator[RunState]:
    for record in instance.get_run_records(which, limit=limit):
        run = record.dagster_run
        created = record.create_timestamp.timestamp()
        cause = run.tags.get(CAUSE)
        yield RunState(
            run.run_id,
            run.job_name,
            run.status.value.lower(),
            _utc(record.end_time or record.start_time or created),
            cause if cause != "none" and run.status == dg.DagsterRunStatus.FAILURE else None,
            f"{settings.ui_url}/runs/{run.run_id}",
        )


def _of_runs(state: State, instance: dg.DagsterInstance, settings: Settings) -> Iterator[Finding]:
    last = state.last_run
    if last and last.status != "success":
        cause = last.cause or ("it was stopped" if last.status == "canceled" else "its process was killed")
        yield _failed(last, cause, settings)
    age = state.at - state.fresh_at if state.fresh_at else None
    if age is None and last:
        yield Finding("fresh", ERROR, "no nightly run has succeeded yet", link=last.link)
    elif age and age > FRESH:
        hours = age.total_seconds() / 3600
        text = f"the last nightly run that succeeded ended {hours:.0f} hours ago"
        yield Finding("fresh", ERROR if age > STALE else WARNING, text, since=state.fresh_at)
    for run in state.working:
        if state.at - run.at > LONG:
            text = f"run {run.run_id[:8]} of {run.job} has been under way since {run.at:%Y-%m-%d %H:%M} UTC"
            yield Finding(f"long:{run.run_id}", WARNING, text, since=run.at, link=run.link)
    for run in state.waiting:
        if state.at - run.at > LONG:
            text = f"run {run.run_id[:8]} of {run.job} has waited since {run.at:%Y-%m-%d %H:%M} UTC"
            yield Finding(f"waits:{run.run_id}", WARNING, text, since=run.at, link=run.link)
    run_of_last = instance.get_run_by_id(last.run_id) if last else None
    if last and run_of_last and (late := run_of_last.tags.get(LATE)):
        text = f"{late} had not delivered; the run of {last.at:%Y-%m-%d %H:%M} UTC went on without"
        yield Finding("late", WARNING, text, since=last.at, link=last.link)


def _failed(run: RunState, cause: str, settings: Settings) -> Finding:
    """A failed run; of one that broke an objective, the objective's owner is to be asked."""
    owner = OPERATIONS
    try:
        for objective in read_objectives(settings.objectives).objectives:
            if f"check {objective.name} of quality/verdict" in cause:
                owner = objective.owner
    except ObjectivesError:
        pass
    return Finding("run", ERROR, f"the nightly run failed: {cause}", owner, run.at, link=run.link)


def _read_copy(file: Path) -> tuple[list[ShopState], list[ObjectiveState], list[Finding]]:
    try:
        with duckdb.connect(str(file), read_only=True) as connection:
            shops = _shops(connection)
            objectives = _objectives(connection)
            found = [
                *(_held(shop) for shop in shops if shop.status != "current"),
                *_of_objectives(connection, objectives),
                *_slow(connection),
            ]
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        return [], [], [Finding("copy", ERROR, f"the published copy cannot be read: {reason}")]
    return shops, objectives, found


def _shops(connection: duckdb.DuckDBPyConnection) -> list[ShopState]:
    return [
        ShopState(*row)
        for row in connection.execute(
            "select source_name, status, newest_purchase, reason from quality.shop_status order by all"
        ).fetchall()
    ]


def _held(shop: ShopState) -> Finding:
    return Finding(f"shop:{shop.source}", WARNING, f"{shop.source} is held: {shop.reason}")


def _objectives(connection: duckdb.DuckDBPyConnection) -> list[ObjectiveState]:
    return [
        ObjectiveState(*row)
        for row in connection.execute(
            """
            select objective, coalesce(last_status, status), attained, target, error_budget_left, owner
            from quality.slo_status order by all
            """
        ).fetchall()
    ]


def _of_objectives(connection: duckdb.DuckDBPyConnection, objectives: Sequence[ObjectiveState]) -> Iterator[Finding]:
    for each in objectives:
        if each.status not in (MET, NOT_MEASURED):
            details, rows, since = connection.execute(
                """
                select
                    string_agg(table_name || ': ' || coalesce(description, check_name), '; ' order by table_name),
                    sum(rows_failed)::bigint, min(checked_at)
                from quality.check_results as results
                join quality.slo_status as slo using (objective)
                where objective = $name and results.status <> 'pass'
                    and results.run_number = slo.last_measured_run_number
                """.replace("$name", "'" + each.objective.replace("'", "''") + "'")
            ).fetchall()[0]
            text = f"objective {each.objective}: {each.status}" + (f". {details}" if details else "")
            level = ERROR if each.status == BREACH else WARNING
            yield Finding(f"objective:{each.objective}", level, text, each.owner, since, rows)
        if each.error_budget_left is not None and each.error_budget_left < 0:
            text = (
                f"objective {each.objective}: the error budget is exhausted: {each.attained:.2f} % in the window, "
                f"{each.target:g} % promised"
            )
            yield Finding(f"budget:{each.objective}", WARNING, text, each.owner)


def _slow(connection: duckdb.DuckDBPyConnection) -> Iterator[Finding]:
    for step, seconds, expected in connection.execute(
        """
        select step, seconds, expected_seconds from quality.run_metrics
        where is_far_longer and run_number = (select max(run_number) from quality.run_metrics) order by all
        """
    ).fetchall():
        yield Finding(f"slow:{step}", WARNING, f"{step} took {seconds:.0f} s, about {expected:.0f} s expected")


# What the alerts know; orchestration/alerts.py writes it.
def alerts_file(settings: Settings) -> Path:
    """Name the file in which the alerts keep what is open and what could not be delivered.

    Args:
        settings: where data lives.
    """
    return settings.paths.root / "alerts.json"


def read_alerts(settings: Settings) -> dict[str, dict[str, dict[str, object]]]:
    """Read what the alerts keep.

    Args:
        settings: where data lives.

    Returns:
        `open`: the key of each open finding, with what was said of it to whom; `failing`: each address that does not
        take messages, with since when and why. Both are empty where nothing is kept, or it cannot be read.
    """
    try:
        kept = json.loads(alerts_file(settings).read_text(encoding="utf-8"))
        return {"open": dict(kept["open"]), "failing": dict(kept["failing"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"open": {}, "failing": {}}


def opened(settings: Settings) -> dict[str, dt.datetime]:
    """Say since when the alerts have known of each finding.

    Args:
        settings: where data lives.
    """
    return {key: dt.datetime.fromisoformat(str(kept["since"])) for key, kept in read_alerts(settings)["open"].items()}


def _undelivered(settings: Settings) -> Iterator[Finding]:
    for address, failure in read_alerts(settings)["failing"].items():
        yield Finding(
            f"alerts:{address}",
            ERROR,
            f"alerts to {address} cannot be delivered: {failure['reason']}",
            since=dt.datetime.fromisoformat(str(failure["since"])),
        )
