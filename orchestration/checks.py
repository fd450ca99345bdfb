"""Checks that dbt cannot make: of the wall clock, of the landed files, and of each run by the product's objectives."""

import contextlib
import datetime as dt
import math
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import duckdb
from dagster_dbt import DbtProject

from delivery.dbt_metadata import read_manifest
from delivery.objectives import Objective, Objectives
from ingestion import contracts, warehouse
from ingestion.contracts import LandedTable
from ingestion.landed_files import DELIVERIES, LANDED_FILE
from ingestion.load import source_module
from orchestration.assets.raw import WAREHOUSE_POOL
from orchestration.publish import built_by, mark_audited

RECONCILIATION = dg.AssetKey(["quality", "row_reconciliation"])
NOTHING_LOADED = "{}. Was anything loaded yet? Run the nightly job: it loads and checks."
SLO_STATUS = dg.AssetKey(["quality", "slo_status"])

# What of the delivered rows is judged by an objective, and the kind of rejected rows that fail it.
ROW_MEASURES = {
    "rows_are_complete": "incomplete",
    "rows_are_not_repeated": "repeated",
    "rows_are_valid": "invalid",
}


def source_checks(source: str, project: DbtProject) -> dg.AssetChecksDefinition:
    """Check what a source has sent, before anything is modelled from it.

    How old is too old, and what counts as the newest purchase and delivery, stands beside the raw tables in the dbt
    project (`freshness` and `loaded_at_query`), where `dbt source freshness` reads it too.

    Args:
        source: the source's name.
        project: the dbt project.
    """
    tables: tuple[LandedTable, ...] = source_module(source).TABLES
    manifest = read_manifest(project.manifest_path)
    ages = {
        "newest_purchase_is_recent": _Age(manifest, source, "purchases", "purchase"),
        "newest_delivery_is_recent": _Age(manifest, source, DELIVERIES, "delivery"),
    }
    specs = [
        dg.AssetCheckSpec(
            name=name,
            asset=dg.AssetKey([source, age.table]),
            blocking=True,
            description=f"The newest {age.event} is at most {_hours(age.error_after)} old "
            f"(a warning after {_hours(age.warn_after)}).",
        )
        for name, age in ages.items()
    ]
    specs += [
        dg.AssetCheckSpec(
            name="columns_are_as_declared",
            asset=dg.AssetKey([source, table.name]),
            blocking=True,
            description="The raw table has the columns and types that its source declares; new ones are named.",
        )
        for table in tables
    ]
    specs += [
        dg.AssetCheckSpec(
            name="landed_files_are_in_raw",
            asset=dg.AssetKey([source, table.name]),
            blocking=True,
            description="The landed files, read once more, have the rows and the sums that the raw table has of them.",
        )
        for table in tables
        if table.is_daily
    ]

    @dg.multi_asset_check(name=f"check_{source}", specs=specs, pool=WAREHOUSE_POOL)
    def check_source() -> Iterator[dg.AssetCheckResult]:
        with _loaded_warehouse() as connection:
            for name, age in ages.items():
                newest = connection.execute(age.query).fetchall()[0][0]
                # The shop's purchases follow its own clock, deliveries are stamped in UTC.
                now = dt.datetime.now() if age.table != DELIVERIES else dt.datetime.now(dt.UTC).replace(tzinfo=None)
                yield judge(newest, now, age.warn_after, age.error_after, age.event)._replace(
                    asset_key=dg.AssetKey([source, age.table]), check_name=name
                )
            for table in tables:
                yield _columns(connection, source, table)
                if table.is_daily:
                    yield _landed(connection, source, table)

    return check_source


def row_checks(sources: Sequence[str], objectives: Objectives) -> dg.AssetChecksDefinition:
    """Measure what share of the newly delivered rows arrived complete, once and valid.

    New is what the published copy does not have yet: what a breach kept back is judged again by each run until it is
    sent again. These checks only warn; whether a run is published is for the objectives that they measure.

    Args:
        sources: the active sources.
        objectives: from which share on it is a warning.
    """
    levels: dict[str, Objective] = {name: one for name in ROW_MEASURES if (one := objectives.of(name)) is not None}
    measured = [
        (source, table.name, measure, f"{source}_{table.name}_{measure}")
        for source in sources
        for table in source_module(source).TABLES
        for measure in levels
    ]

    @dg.multi_asset_check(
        name="check_rows",
        specs=[
            dg.AssetCheckSpec(
                name=name,
                asset=RECONCILIATION,
                blocking=True,
                description=f"raw_{source}.{table}: {levels[measure].description}",
            )
            for source, table, measure, name in measured
        ],
        pool=WAREHOUSE_POOL,
    )
    def check_rows() -> Iterator[dg.AssetCheckResult]:
        with warehouse.connect(read_only=True) as connection:
            published = _attach_published(connection)
            counted = {
                (source, table): _new_rows(connection, source, table, published)
                for source, table in dict.fromkeys((source, table) for source, table, _, _ in measured)
            }
            for source, table, measure, name in measured:
                read, rejected = counted[source, table]
                failed = rejected.get(ROW_MEASURES[measure], 0)
                share = 100 * (1 - failed / read) if read else 100.0
                yield dg.AssetCheckResult(
                    asset_key=RECONCILIATION,
                    check_name=name,
                    passed=share >= levels[measure].warn_below,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=f"{failed:,} of {read:,} newly delivered rows fail: {_per_cent(share)} pass, "
                    f"a warning below {levels[measure].warn_below:g} %.",
                    metadata={
                        "measures": measure,
                        "table": f"raw_{source}.{table}",
                        "rows_read": read,
                        "rows_failed": failed,
                    },
                )

    return check_rows


def objective_checks(objectives: Objectives) -> dg.AssetChecksDefinition:
    """Judge the run by each objective; a breach of one that blocks stops publication.

    Args:
        objectives: the product's.
    """

    @dg.multi_asset_check(
        name="judge_objectives",
        specs=[
            dg.AssetCheckSpec(name=one.name, asset=SLO_STATUS, blocking=one.blocks, description=one.description)
            for one in objectives.objectives
        ],
        pool=WAREHOUSE_POOL,
    )
    def judge_objectives() -> Iterator[dg.AssetCheckResult]:
        with warehouse.connect(read_only=True) as connection:
            rows = connection.execute(
                """
                select run_id, objective, status, blocks, lowest_in_run, attained, target, error_budget_left, trend, (
                    select string_agg(table_name || ': ' || coalesce(description, check_name), '; ' order by table_name)
                    from quality.check_results as results
                    where results.run_id = slo.run_id and results.objective = slo.objective and results.status <> 'pass'
                )
                from quality.slo_status as slo
                """
            ).fetchall()
        # Of the newest run that was recorded; another may have built the warehouse since.
        judged_run = rows[0][0] if rows else None
        judged = {row[1]: row[2:] for row in rows}
        if missing := {one.name for one in objectives.objectives} - set(judged):
            raise dg.Failure(
                f"{', '.join(sorted(missing))}: declared since the newest run was recorded. Run the nightly job.",
                allow_retries=False,
            )
        stopped = False
        for one in objectives.objectives:
            status, blocks, in_run, attained, target, budget_left, trend, failed_checks = judged[one.name]
            stops = status == "breach" and blocks
            stopped = stopped or stops
            yield dg.AssetCheckResult(
                asset_key=SLO_STATUS,
                check_name=one.name,
                passed=status in ("met", "not measured"),
                severity=dg.AssetCheckSeverity.ERROR if stops else dg.AssetCheckSeverity.WARN,
                description=in_words(status, in_run, attained, target, budget_left, trend)
                + (f". {failed_checks}" if failed_checks else ""),
                metadata={"status": status, "attained": attained, "error_budget_left": budget_left, "trend": trend},
            )
        if judged_run and judged_run == built_by() and not stopped:
            mark_audited(judged_run)

    return judge_objectives


def in_words(
    status: str,
    in_run: float | None,
    attained: float | None,
    target: float,
    budget_left: float | None,
    trend: str,
) -> str:
    """Say how an objective stands.

    Args:
        status: met, warning, breach or not measured.
        in_run: per cent that passed in the run, of rows in the check that fared worst; None when nothing was measured.
        attained: per cent that passed in the window.
        target: per cent promised.
        budget_left: share of the error budget that is left, 1 when untouched.
        trend: how the last week stands to the weeks before.
    """
    if in_run is None or attained is None or budget_left is None:
        return "Not measured in this run."
    return (
        f"{status}: {_per_cent(in_run)} in this run, {_per_cent(attained)} in the window, {target:g} % promised; "
        f"{100 * budget_left:.0f} % of the error budget left; {trend}"
    )


def judge(
    newest: dt.datetime | None,
    now: dt.datetime,
    warn_after: dt.timedelta,
    error_after: dt.timedelta,
    event: str = "purchase",
) -> dg.AssetCheckResult:
    """Say whether the newest event is recent enough.

    Args:
        newest: when it happened; None when there is none.
        now: the time, by the same clock.
        warn_after: from this age on it is a warning.
        error_after: from this age on the run stops.
        event: what happened, in a word.
    """
    if newest is None:
        return dg.AssetCheckResult(passed=False, description=f"There is no {event} at all.")
    age = now - newest
    passed = age <= warn_after
    return dg.AssetCheckResult(
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN if age <= error_after else dg.AssetCheckSeverity.ERROR,
        description=f"The newest {event} is of {newest:%Y-%m-%d %H:%M}, {_hours(age)} ago; "
        f"a warning after {_hours(warn_after)}, an error after {_hours(error_after)}.",
        metadata={f"newest_{event}": str(newest), "age_hours": round(age.total_seconds() / 3600, 1)},
    )


@contextlib.contextmanager
def _loaded_warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    try:
        with warehouse.connect(read_only=True) as connection:
            yield connection
    except (duckdb.CatalogException, duckdb.IOException) as error:
        raise dg.Failure(
            NOTHING_LOADED.format(str(error).splitlines()[0]),
            allow_retries=False,
        ) from error


class _Age:
    """How old the newest event of a raw table may be, as dbt's manifest says."""

    def __init__(self, manifest: dict[str, Any], source: str, table: str, event: str) -> None:
        node = manifest["sources"][f"source.next_aisle.{source}.{table}"]
        self.table, self.event = table, event
        self.warn_after, self.error_after = (_span(node["freshness"][level]) for level in ("warn_after", "error_after"))
        self.query = node["loaded_at_query"].replace("{{ this }}", f"{node['schema']}.{node['identifier']}")


def _attach_published(connection: duckdb.DuckDBPyConnection) -> str | None:
    """Open the published copy beside the warehouse; None where it knows no deliveries, or there is none."""
    path = warehouse.paths().published
    if not path.exists():
        return None
    connection.execute(f"attach {contracts.sql_text(str(path))} as published (read_only)")
    known = connection.execute(
        "select 1 from duckdb_tables() where database_name = 'published' and table_name = 'load_metrics'"
    ).fetchall()
    return "published.quality.load_metrics" if known else None


def _new_rows(
    connection: duckdb.DuckDBPyConnection, source: str, table: str, published: str | None
) -> tuple[int, dict[str, int]]:
    """Count the rows of the newest version of each file that is not published yet, and the rejected ones by kind."""
    without = (
        f"""
        where not exists (
            from {published} as readers_have
            where
                readers_have.source_name = '{source}'
                and readers_have.table_name = '{table}'
                and readers_have.landed_file = ledger.landed_file
                and readers_have.delivered_at = ledger.delivered_at
        )
        """
        if published
        else ""
    )
    rows = connection.execute(
        f"""
        with ledger as (
            from raw_{source}.{DELIVERIES}
            where table_name = '{table}'
            qualify row_number() over (partition by landed_file order by _dlt_load_id desc) = 1
        ),
        new as (select landed_file, _dlt_load_id as load_id, row_count from ledger {without})
        select null as kind, coalesce(sum(row_count), 0)::bigint from new
        union all
        select rejected.rejection_kind, count(*)
        from quality.rejected_rows as rejected
        join new on rejected.landed_file = new.landed_file and rejected.load_id = new.load_id
        where rejected.source_name = '{source}' and rejected.table_name = '{table}'
        group by rejected.rejection_kind
        """
    ).fetchall()
    counts = dict(rows)
    return counts.pop(None), counts


def _columns(connection: duckdb.DuckDBPyConnection, source: str, table: LandedTable) -> dg.AssetCheckResult:
    kinds = dict(
        connection.execute(
            "select column_name, data_type from information_schema.columns "
            f"where table_schema = 'raw_{source}' and table_name = '{table.name}'"
        ).fetchall()
    )
    declared = {contracts.stored_name(name): contracts.SQL_TYPES[kind] for name, kind in table.columns.items()}
    wrong = [
        f"{name} is {kinds.get(name, 'missing')}, declared {kind}"
        for name, kind in declared.items()
        if kinds.get(name) != kind
    ]
    new = sorted(name for name in kinds if name not in declared and not name.startswith("_"))
    return dg.AssetCheckResult(
        asset_key=dg.AssetKey([source, table.name]),
        check_name="columns_are_as_declared",
        passed=not wrong,
        description=("; ".join(wrong) or f"All {len(declared)} declared columns are there.")
        + (f" Beside them: {', '.join(new)}." if new else ""),
        metadata={"rows_read": len(declared), "rows_failed": len(wrong)},
    )


def _landed(connection: duckdb.DuckDBPyConnection, source: str, table: LandedTable) -> dg.AssetCheckResult:
    """Compare the day files that are still landed with the rows of their newest delivery in the raw table."""
    folder = warehouse.paths().landing / source
    loaded = set(
        connection.execute(
            f"select landed_file, arg_max(sha256, _dlt_load_id) from raw_{source}.{DELIVERIES} "
            f"where table_name = '{table.name}' group by all"
        ).fetchall()
    )
    try:
        landed = contracts.find_deliveries(folder, [table])
    except contracts.LandingError:
        # Taken away since they were loaded: there is nothing left to compare.
        landed = []
    # What came or changed since the load is the next run's delivery.
    files = [one.path for one in landed if (one.landed_file, one.sha256) in loaded]
    names = ", ".join(contracts.sql_text(str(path)) for path in files)
    amounts = [name for name, kind in table.columns.items() if kind == "double"]
    differing: list[tuple[Any, ...]] = []
    if files:
        differing = connection.execute(
            f"""
            with landed as (
                select substr(filename, {len(str(folder)) + 2}) as landed_file, count(*) as row_count,
                    {_cents(amounts)} as cents
                from read_parquet([{names}], filename = true, union_by_name = true, hive_partitioning = false)
                group by all
            ),
            newest as (
                select landed_file, max(_dlt_load_id) as _dlt_load_id
                from raw_{source}.{DELIVERIES} where table_name = '{table.name}' group by all
            ),
            arrived as (
                select landed_file, count(*) as row_count,
                    {_cents([contracts.stored_name(name) for name in amounts])} as cents
                from newest
                join raw_{source}.{table.name} as loaded
                    on loaded.{LANDED_FILE} = newest.landed_file and loaded._dlt_load_id = newest._dlt_load_id
                group by all
            )
            select landed_file, landed.row_count, coalesce(arrived.row_count, 0)
            from landed left join arrived using (landed_file)
            where landed.row_count is distinct from arrived.row_count or landed.cents is distinct from arrived.cents
            order by 1
            """
        ).fetchall()
    said = f"{len(files) - len(differing):,} of {len(files):,} landed files agree in rows and in {', '.join(amounts)}."
    if differing:
        said += " Not " + ", ".join(
            f"{name} ({there} rows landed, {here} in raw)" for name, there, here in differing[:3]
        )
        said += ": have the day sent again, or remove the warehouse to rebuild it from the landed files."
    return dg.AssetCheckResult(
        asset_key=dg.AssetKey([source, table.name]),
        check_name="landed_files_are_in_raw",
        passed=not differing,
        description=said,
        metadata={"rows_read": len(files), "rows_failed": len(differing)},
    )


def _cents(columns: Sequence[str]) -> str:
    """Sums as a list of whole cents: fractions added in another order differ. What is no number counts as nothing."""
    sums = [
        f"sum(case when abs({name}) < 1e12 then cast(round({name} * 100) as hugeint) else 0 end)"
        for name in (contracts.sql_name(column) for column in columns)
    ]
    return f"[{', '.join(sums)}]"


def _span(limit: dict[str, Any]) -> dt.timedelta:
    return dt.timedelta(**{f"{limit['period']}s": limit["count"]})


def _hours(span: dt.timedelta) -> str:
    return f"{span.total_seconds() / 3600:.0f} hours"


def _per_cent(share: float) -> str:
    """Two decimals, rounded down: 99.999 is not 100. The first rounding takes away what floating point added."""
    return f"{math.floor(round(share * 100, 6)) / 100:g} %"
