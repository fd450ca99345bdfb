"""Checks that dbt does not make: of the clock, of the landed files, of newly delivered rows, and of the history."""

import contextlib
import datetime as dt
from collections.abc import Iterator

import dagster as dg
import duckdb

from ingestion import source
from ingestion.file_checks import LandedTable
from ingestion.landed_files import Comparison, compare_columns, compare_files
from ingestion.raw_tables import DELIVERIES
from orchestration.keys import NEW_DELIVERIES, SLO_STATUS, WAREHOUSE_POOL, raw_key
from orchestration.project import Project
from quality import new_rows, usual
from quality.freshness import judge_age, limit, newest_event
from quality.words import hours, per_cent
from warehouse.connections import connect
from warehouse.dbt_project import source_table
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
    ages = {
        "newest_purchase_is_recent": ("purchases", "purchase"),
        "newest_delivery_is_recent": (DELIVERIES, "delivery"),
    }
    limits = {
        check: limit(source_table(project.manifest, name, table), event) for check, (table, event) in ages.items()
    }
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

    @dg.multi_asset_check(name=f"check_{name}", specs=specs, pool=WAREHOUSE_POOL, can_subset=True)
    def check_source(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        with _loaded_warehouse(project.paths) as connection:
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
        for name, table, measure, check in measured:
            if not _is_selected(context, NEW_DELIVERIES, check):
                continue
            rows = counted[name, table]
            failed, share = rows.rows_failed[measure], rows.attained(measure)
            yield dg.AssetCheckResult(
                asset_key=NEW_DELIVERIES,
                check_name=check,
                passed=share >= levels[measure].warn_below,
                severity=dg.AssetCheckSeverity.WARN,
                description=f"{failed:,} of {rows.rows_read:,} newly delivered rows fail: {per_cent(share)} pass, "
                f"a warning below {levels[measure].warn_below:g} %.",
                metadata={
                    "measures": measure,
                    "table": f"raw_{name}.{table}",
                    "rows_read": rows.rows_read,
                    "rows_failed": failed,
                },
            )

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


@contextlib.contextmanager
def _loaded_warehouse(paths: Paths) -> Iterator[duckdb.DuckDBPyConnection]:
    try:
        with connect(paths, read_only=True) as connection:
            yield connection
    except (duckdb.CatalogException, duckdb.IOException) as error:
        raise dg.Failure(NOTHING_LOADED.format(str(error).splitlines()[0]), allow_retries=False) from None
