"""Checks that look at the wall clock. Everything about the data itself is a dbt test."""

import datetime as dt
import json
from typing import Any

import dagster as dg
from dagster_dbt import DbtProject

from ingestion import warehouse
from orchestration.assets.raw import WAREHOUSE_POOL


def newest_purchase_check(source: str, project: DbtProject) -> dg.AssetChecksDefinition:
    """Block the run when a source's newest purchase is too old.

    How old is too old, and what counts as the newest purchase, stands beside the raw table in the dbt project
    (`freshness` and `loaded_at_query`), where `dbt source freshness` reads it too.

    Args:
        source: the source's name.
        project: the dbt project.
    """
    manifest = json.loads(project.manifest_path.read_text(encoding="utf-8"))
    table = manifest["sources"][f"source.next_aisle.{source}.purchases"]
    warn_after, error_after = (_span(table["freshness"][level]) for level in ("warn_after", "error_after"))
    query = table["loaded_at_query"].replace("{{ this }}", f"{table['schema']}.{table['identifier']}")

    @dg.asset_check(
        asset=dg.AssetKey([source, "purchases"]),
        name="newest_purchase_is_recent",
        blocking=True,
        pool=WAREHOUSE_POOL,
        description=f"The newest purchase is at most {_hours(error_after)} old (a warning after {_hours(warn_after)}).",
    )
    def newest_purchase_is_recent() -> dg.AssetCheckResult:
        with warehouse.connect(read_only=True) as connection:
            newest = connection.execute(query).fetchall()[0][0]
        return judge(newest, dt.datetime.now(), warn_after, error_after)

    return newest_purchase_is_recent


def judge(
    newest: dt.datetime | None, now: dt.datetime, warn_after: dt.timedelta, error_after: dt.timedelta
) -> dg.AssetCheckResult:
    """Say whether the newest purchase is recent enough.

    Args:
        newest: when it was bought, by the shop's clock; None when there is none.
        now: the time.
        warn_after: from this age on it is a warning.
        error_after: from this age on the run stops.
    """
    if newest is None:
        return dg.AssetCheckResult(passed=False, description="There is no purchase at all.")
    age = now - newest
    passed = age <= warn_after
    return dg.AssetCheckResult(
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN if age <= error_after else dg.AssetCheckSeverity.ERROR,
        description=f"The newest purchase is of {newest:%Y-%m-%d %H:%M}, {_hours(age)} ago; "
        f"a warning after {_hours(warn_after)}, an error after {_hours(error_after)}.",
        metadata={"newest_purchase": str(newest), "age_hours": round(age.total_seconds() / 3600, 1)},
    )


def _span(limit: dict[str, Any]) -> dt.timedelta:
    return dt.timedelta(**{f"{limit['period']}s": limit["count"]})


def _hours(span: dt.timedelta) -> str:
    return f"{span.total_seconds() / 3600:.0f} hours"
