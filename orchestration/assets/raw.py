"""The raw tables as assets: one load per source, its guards and its report."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from ingestion import source
from ingestion.landed_files import LandedFiles
from ingestion.load import declare, load
from ingestion.raw_tables import (
    DELIVERIES,
    DELIVERY,
    DELIVERY_COLUMNS,
    QUARANTINE,
    QUARANTINE_COLUMNS,
    LoadError,
    UnreachableError,
)
from ingestion.source import LoadReport
from orchestration.holds import HELD, may_hold, of_held
from orchestration.keys import WAREHOUSE_POOL, landing_key, raw_key
from orchestration.project import Project
from orchestration.translators import EVERY_NIGHT
from quality import holding
from quality.freshness import has_limit
from warehouse.connections import WarehouseBusyError, connect
from warehouse.damage import sounds_damaged
from warehouse.dbt_project import DbtProjectError, has_source_table, source_table
from warehouse.locks import only_writer
from warehouse.safe_files import is_disk_full

# The tables that say how old what a shop sends may be; and the metadata of those whose age is not checked.
DATED = ("purchases", DELIVERIES)
NOT_CHECKED = {"age": "not checked: the shop is history"}

# A server that does not answer is asked again after this many seconds, then after twice as many. What was sent wrong,
# or is not what was agreed, would fail again.
ATTEMPTS, PAUSE_SECONDS = 3, 60


def raw_assets(project: Project, name: str) -> dg.AssetsDefinition:
    """Declare a source's raw tables; materializing them loads what is new.

    Args:
        project: what the definitions are made from.
        name: the source's name, first part of the keys (the table is the second).
    """
    tables = source.find(name).tables
    lands = isinstance(source.find(name), LandedFiles)

    def spec(table: str, columns: Mapping[str, str], fed_by: list[str]) -> dg.AssetSpec:
        declared = source_table(project.manifest, name, table)
        return dg.AssetSpec(
            raw_key(name, table),
            deps=[landing_key(name, landed_table) for landed_table in fed_by] if lands else [],
            group_name="raw",
            owners=project.owners("raw"),
            kinds={"dlt", "duckdb"},
            freshness_policy=EVERY_NIGHT,
            description=declared["description"],
            metadata={
                "dagster/column_schema": dg.TableSchema(
                    [
                        dg.TableColumn(
                            column,
                            kind,
                            description=declared["columns"].get(column, {}).get("description") or None,
                            tags=dict.fromkeys(declared["columns"].get(column, {}).get("tags", []), ""),
                        )
                        for column, kind in columns.items()
                    ]
                )
            },
        )

    def age(table: str) -> dict[str, str]:
        if table in DATED and not has_limit(source_table(project.manifest, name, table)):
            return NOT_CHECKED
        return {}

    quarantined = [table.name for table in tables if table.has_quarantine]
    # What only one of the two declares would be loaded and not counted, or the other way round.
    if bool(quarantined) != has_source_table(project.manifest, name, QUARANTINE):
        raise DbtProjectError(
            f"the source's yml of {name} declares the table {QUARANTINE}, but no table of the source has a quarantine: "
            "remove it there"
            if not quarantined
            else f"{', '.join(quarantined)} of {name} may have rows in quarantine: add the table {QUARANTINE} to the "
            "source's yml"
        )
    specs = [spec(table.name, {**table.columns, DELIVERY: "text"}, [table.name]) for table in tables]
    specs.append(spec(DELIVERIES, DELIVERY_COLUMNS, [table.name for table in tables]))
    if quarantined:
        specs.append(spec(QUARANTINE, {**QUARANTINE_COLUMNS, DELIVERY: "text"}, quarantined))

    loaded = dg.AssetCheckSpec(
        name="new_deliveries_are_loaded",
        asset=raw_key(name, DELIVERIES),
        description="What was sent could be loaded. If not, the shop is held, and the run goes on for the others.",
    )

    @dg.multi_asset(name=f"load_{name}", specs=specs, check_specs=[loaded], pool=WAREHOUSE_POOL)
    def load_source(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        """Load new and changed files; nothing is loaded when one of them cannot be."""
        report = _load(context, project, name)
        if isinstance(report, str):
            # The models read its tables, also when none of its deliveries was ever loaded.
            declare(name, project.paths, context.log.info)
            for asset in specs:
                yield dg.MaterializeResult(asset_key=asset.key, metadata={HELD: report})
            yield _is_loaded(loaded, report)
            return
        for table in report.tables.values():
            context.log.info(str(table))
            for warning in table.warnings:
                context.log.warning(f"{table.name}: {warning}")
            yield dg.MaterializeResult(
                asset_key=raw_key(name, table.name),
                metadata={
                    "dagster/row_count": table.rows_total,
                    "rows_loaded": table.rows_loaded,
                    **({"bytes_loaded": table.bytes_loaded} if table.bytes_loaded is not None else {}),
                    **({"rows_quarantined": table.rows_quarantined} if table.name in quarantined else {}),
                    "deliveries_found": table.deliveries_found,
                    "deliveries_loaded": table.deliveries_loaded,
                    "delivered_again": dg.MetadataValue.json(table.deliveries_replaced),
                    "new_columns": dg.MetadataValue.json(table.new_columns),
                    "fields_not_taken": dg.MetadataValue.json(table.fields_not_taken),
                    **age(table.name),
                },
            )
        yield dg.MaterializeResult(
            asset_key=raw_key(name, DELIVERIES),
            metadata={
                "dagster/row_count": report.deliveries,
                "deliveries_loaded": sum(table.deliveries_loaded for table in report.tables.values()),
                **age(DELIVERIES),
            },
        )
        if quarantined:
            added = sum(table.rows_quarantined for table in report.tables.values())
            yield dg.MaterializeResult(asset_key=raw_key(name, QUARANTINE), metadata={"rows_loaded": added})
        yield _is_loaded(loaded, None)

    return load_source


def _load(context: dg.AssetExecutionContext, project: Project, name: str) -> LoadReport | str:
    """Load a source; where it cannot be loaded and the run can go on without it, say why."""
    hold = may_hold(context, project)
    reason = None
    attempt = context.retry_number
    try:
        report = load(name, project.paths, say=context.log.info, keep_superseded_days=project.keep_superseded_days)
    except UnreachableError as error:
        if attempt < ATTEMPTS - 1:
            pause = PAUSE_SECONDS * 2**attempt
            context.log.warning(f"{error} Trying again in {pause} s.")
            raise dg.RetryRequested(max_retries=ATTEMPTS - 1, seconds_to_wait=pause) from error
        if not hold:
            raise dg.Failure(str(error), allow_retries=False) from error
        reason = str(error)
    except (LoadError, WarehouseBusyError) as error:
        # A full disk, and a warehouse that is damaged or open elsewhere, stop every shop.
        of_all = isinstance(error, WarehouseBusyError) or is_disk_full(error) or sounds_damaged(str(error))
        if not hold or of_all:
            raise dg.Failure(str(error), allow_retries=False) from error
        reason = str(error)
    except Exception as error:
        # Also an error in the source's own code.
        if not hold:
            raise
        context.log.exception(f"{name} cannot be loaded")
        # Its text may hold anything, also a password, and the reason is published.
        reason = f"an unexpected {type(error).__name__}: the log of the run has its text"
    if hold:
        with only_writer(project.paths, context.log.info), connect(project.paths) as connection:
            holding.note(connection, name, {holding.LOAD: reason})
    return reason or report


def _is_loaded(check: dg.AssetCheckSpec, reason: str | None) -> dg.AssetCheckResult:
    description = reason or "All that was sent is loaded."
    result = dg.AssetCheckResult(
        asset_key=check.asset_key, check_name=check.name, passed=reason is None, description=description
    )
    return of_held(result) if reason else result
