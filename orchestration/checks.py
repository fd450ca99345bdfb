"""Checks that dbt does not make: of the clock, of the landed files, of newly delivered rows, and of the history."""

import contextlib
import datetime as dt
from collections.abc import Iterator

import dagster as dg
import duckdb

from ingestion import source
from ingestion.file_checks import LandedTable
from ingestion.landed_files import Comparison, compare_columns, compare_files
from ingestion.raw_tables import DELIVERIES, QUARANTINE
from ingestion.replay import in_quarantine
from orchestration.holds import may_hold, of_held
from orchestration.keys import NEW_DELIVERIES, SLO_STATUS, WAREHOUSE_POOL, raw_key
from orchestration.project import Project
from quality import holding, new_rows, up_to_date, usual
from quality.freshness import has_limit, judge_age, limit, newest_event
from quality.words import hours
from warehouse.connections import connect, count
from warehouse.dbt_project import is_staged, source_table
from warehouse.locks import only_writer
from warehouse.paths import Paths

NOTHING_LOADED = "{}. Was anything loaded yet? Run the nightly job: it loads and checks."


def source_checks(project: Project, name: str) -> dg.AssetChecksDefinition:
    """Check what a source has sent, before anything is modelled from it.

    Args:
        project: what the definitions are made from.
        name: the source's name.
    """
    tables = source.find(name).tables
    daily = [table for table in tables if isinstance(table, LandedTable) and table.is_daily]
    quarantined = [table for table in tables if table.has_quarantine]
    declared = {table: source_table(project.manifest, name, table) for table in [DELIVERIES, *(t.name for t in tables)]}
    # A source may have no purchases, or no limit: what it sends is history.
    ages = {
        check: (table, event)
        for check, table, event in (
            ("newest_purchase_is_recent", "purchases", "purchase"),
            ("newest_delivery_is_recent", DELIVERIES, "delivery"),
        )
        if table in declared and has_limit(declared[table])
    }
    limits = {check: limit(declared[table], event) for check, (table, event) in ages.items()}
    specs = [
        dg.AssetCheckSpec(
            name=check,
            asset=raw_key(name, ages[check][0]),
            blocking=True,
            description=f"The newest {freshness_limit.event} is at most {hours(freshness_limit.error_after)} old "
            f"(a warning after {hours(freshness_limit.warn_after)}).",
        )
        for check, freshness_limit in limits.items()
    ]
    specs += [
        dg.AssetCheckSpec(
            name="columns_are_as_declared",
            asset=raw_key(name, table.name),
            blocking=True,
            description="The raw table has the columns and types that its source declares; new ones are named.",
        )
        for table in tables
    ]
    specs += [
        dg.AssetCheckSpec(
            name="landed_files_are_in_raw",
            asset=raw_key(name, table.name),
            blocking=True,
            description="The landed files, read once more, have the rows and the sums that the raw table has of them.",
        )
        for table in daily
    ]
    specs += [
        dg.AssetCheckSpec(
            name=f"{table.name}_quarantine_is_empty",
            asset=raw_key(name, QUARANTINE),
            description=f"No row of {table.name} is in quarantine: it was replayed, or its file came again.",
        )
        for table in quarantined
    ]

    def evaluate(
        context: dg.AssetCheckExecutionContext, connection: duckdb.DuckDBPyConnection
    ) -> Iterator[dg.AssetCheckResult]:
        for check, freshness_limit in limits.items():
            if not _is_selected(context, raw_key(name, ages[check][0]), check):
                continue
            now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
            age = judge_age(newest_event(connection, freshness_limit), now, freshness_limit)
            yield dg.AssetCheckResult(
                asset_key=raw_key(name, ages[check][0]),
                check_name=check,
                passed=age.is_recent,
                severity=dg.AssetCheckSeverity.ERROR if age.is_too_old else dg.AssetCheckSeverity.WARN,
                description=age.description,
                metadata={f"newest_{freshness_limit.event}": str(age.newest)},
            )
        for table in tables:
            if not _is_selected(context, raw_key(name, table.name), "columns_are_as_declared"):
                continue
            yield _compared(name, table.name, "columns_are_as_declared", compare_columns(connection, name, table))
        for table in daily:
            if not _is_selected(context, raw_key(name, table.name), "landed_files_are_in_raw"):
                continue
            comparison = compare_files(connection, name, table, project.paths)
            yield _compared(name, table.name, "landed_files_are_in_raw", comparison)
        for table in quarantined:
            if not _is_selected(context, raw_key(name, QUARANTINE), f"{table.name}_quarantine_is_empty"):
                continue
            files = [found for found in in_quarantine(connection, name, table.name) if found.rows]
            rows = sum(found.rows for found in files)
            named = ", ".join(found.delivery for found in files[:3])
            waiting = f"{rows:,} {'row' if rows == 1 else 'rows'} in quarantine: {named}"
            waiting += f" and {len(files) - 3:,} more" if len(files) > 3 else ""
            yield dg.AssetCheckResult(
                asset_key=raw_key(name, QUARANTINE),
                check_name=f"{table.name}_quarantine_is_empty",
                passed=not rows,
                severity=dg.AssetCheckSeverity.WARN,
                description=f"{waiting}. Correct and replay them: python -m ingestion replay --help"
                if rows
                else f"No row of {table.name} is in quarantine.",
                metadata={"rows": rows, "files": len(files)},
            )

    @dg.multi_asset_check(name=f"check_{name}", specs=specs, pool=WAREHOUSE_POOL, can_subset=True)
    def check_source(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        if not may_hold(context, project):
            with _loaded_warehouse(project.paths) as connection:
                yield from evaluate(context, connection)
            return
        findings: dict[str, str | None] = {}
        with only_writer(project.paths, context.log.info), _loaded_warehouse(project.paths, write=True) as connection:
            held = holding.read(connection, [name]).get(name)
            # That it could not be loaded says it all.
            never_loaded = held and holding.LOAD in held.causes and not count(connection, f"raw_{name}.{DELIVERIES}")
            for result in evaluate(context, connection):
                stops = not result.passed and result.severity == dg.AssetCheckSeverity.ERROR
                assert result.asset_key
                table = result.asset_key.path[-1]
                finding = f"{table}: {result.description}" if stops and not never_loaded else None
                findings[f"{table}, {result.check_name}"] = finding
                yield of_held(result) if stops else result
            if held and len(findings) == len(specs):
                # A check that there is no longer holds no shop.
                findings |= dict.fromkeys(held.causes - {holding.LOAD, holding.ROWS} - findings.keys())
            holding.note(connection, name, findings)

    return check_source


def row_checks(project: Project) -> dg.AssetChecksDefinition:
    """Measure what share of the newly delivered rows arrived complete, once and valid.

    New is what readers do not have yet: what a breach kept back is judged again by each run until it is sent again.
    These checks only warn; whether a run is published is for the objectives that they measure.

    Args:
        project: what the definitions are made from.
    """
    levels = {name: objective for name in new_rows.MEASURES if (objective := project.objectives.of(name)) is not None}
    measured = [
        (name, table.name, measure, f"{name}_{table.name}_{measure}")
        for name in project.sources
        for table in source.find(name).tables
        # Of other tables no row is modelled by itself.
        if is_staged(project.manifest, name, table.name)
        for measure in levels
    ]

    @dg.multi_asset_check(
        name="check_rows",
        specs=[
            dg.AssetCheckSpec(
                name=check,
                asset=NEW_DELIVERIES,
                blocking=True,
                description=f"raw_{name}.{table}: {levels[measure].description}",
            )
            for name, table, measure, check in measured
        ],
        pool=WAREHOUSE_POOL,
        can_subset=True,
    )
    def check_rows(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        with _loaded_warehouse(project.paths) as connection:
            counted = new_rows.read(connection)
            held = holding.read(connection, project.sources)
            judged_in = up_to_date.built_by(connection).get(new_rows.MODEL)
        for name, table, measure, check in measured:
            if not _is_selected(context, NEW_DELIVERIES, check):
                continue
            # What an earlier run counted and judged good enough is new no longer.
            rows = new_rows.NONE if judged_in not in (None, context.run.run_id) else counted[name, table]
            result = dg.AssetCheckResult(
                asset_key=NEW_DELIVERIES,
                check_name=check,
                passed=rows.attained(measure) >= levels[measure].warn_below,
                severity=dg.AssetCheckSeverity.WARN,
                description=f"{rows.describe(measure)}, a warning below {levels[measure].warn_below:g} %."
                f"{_usual(rows.rows_usual[measure])}",
                metadata={
                    "measures": measure,
                    "table": f"raw_{name}.{table}",
                    "rows_read": rows.rows_read,
                    "rows_failed": rows.rows_failed[measure],
                },
            )
            is_held = name in held and holding.ROWS in held[name].causes
            yield of_held(result) if is_held and not result.passed else result

    return check_rows


def comparison_checks(project: Project) -> dg.AssetChecksDefinition:
    """Compare the run with those before it, once it is recorded; these checks warn and never block.

    Args:
        project: what the definitions are made from.
    """
    compared = [objective for objective in project.objectives.objectives if usual.is_comparison(objective)]

    @dg.multi_asset_check(
        name="compare_with_usual",
        specs=[
            dg.AssetCheckSpec(name=objective.name, asset=SLO_STATUS, description=objective.description)
            for objective in compared
        ],
        pool=WAREHOUSE_POOL,
        can_subset=True,
    )
    def compare_with_usual(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        with _loaded_warehouse(project.paths) as connection:
            standings = usual.read(connection)
        for objective in compared:
            if not _is_selected(context, SLO_STATUS, objective.name):
                continue
            standing = standings.get(objective.name)
            yield dg.AssetCheckResult(
                asset_key=SLO_STATUS,
                check_name=objective.name,
                passed=standing is None or standing.passed,
                severity=dg.AssetCheckSeverity.WARN,
                description=standing.description if standing else "Not measured in this run.",
            )

    return compare_with_usual


def _is_selected(context: dg.AssetCheckExecutionContext, asset: dg.AssetKey, check: str) -> bool:
    """Whether this run is to execute a check: in the UI, each can be executed by itself."""
    return dg.AssetCheckKey(asset, check) in context.selected_asset_check_keys


def _compared(name: str, table: str, check: str, comparison: Comparison) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=raw_key(name, table),
        check_name=check,
        passed=not comparison.differing,
        description=comparison.description,
        metadata={"rows_read": comparison.compared, "rows_failed": comparison.differing},
    )


def _usual(rows: int) -> str:
    return f" {rows:,} more are usual in this shop (seed usual_rejections)." if rows else ""


@contextlib.contextmanager
def _loaded_warehouse(paths: Paths, *, write: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    try:
        with connect(paths, read_only=not write) as connection:
            yield connection
    except (duckdb.CatalogException, duckdb.IOException) as error:
        raise dg.Failure(NOTHING_LOADED.format(str(error).splitlines()[0]), allow_retries=False) from None
