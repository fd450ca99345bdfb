"""What a run did, in words and numbers that a person wants to read."""

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

import dagster as dg
from dagster import DagsterEventType
from rich.console import Console
from rich.table import Table

from delivery import figures
from delivery.figures import Backtest, Opportunity, Rejected, RowCounts, Shop
from orchestration.progress import step_name
from quality.verdict import BREACH, MET, NOT_MEASURED, WARNING
from warehouse.paths import Paths

# How an objective may stand, the best first.
STATUSES = (MET, WARNING, BREACH, NOT_MEASURED)


def print_summary(result: dg.ExecuteInProcessResult, paths: Paths, seconds: float, console: Console) -> None:
    """Print what a run did; after a failure also what failed, why, and what readers see meanwhile.

    Args:
        result: the run.
        paths: where data lives.
        seconds: its wall time.
        console: where to print.
    """
    console.print()
    if not result.success:
        _print_failure(result.all_events, paths, console)
        return
    published = figures.read(paths)
    console.print(_rows(published.rows, _loaded(result.all_events)))
    console.print(_rejected(published.rejected))
    for shop in published.shops:
        _print_shop(shop, console)
    console.print()
    console.print(_steps(result.all_events, seconds), soft_wrap=True)
    passed, failed = _checks(result.all_events)
    counts = published.objectives
    standing = ", ".join(f"{counts[status]} {status}" for status in STATUSES if status in counts)
    console.print(f"[bold]Objectives[/]   {standing} (quality.slo_status)")
    console.print(f"[bold]Checks[/]       {passed:,} passed" + (f", {len(failed):,} warned" if failed else ""))
    for check in failed:
        console.print("             [yellow]![/] ", end="")
        console.print(_describe(check), soft_wrap=True, markup=False)
    size = paths.published.stat().st_size / 1e6
    console.print(f"[bold]Published[/]    {paths.published} ({size:,.0f} MB)", soft_wrap=True)
    console.print("\n[bold]Next[/]         make ui        assets, checks, schedule and lineage in the browser")
    console.print("             make query     ask the published copy in SQL")
    console.print("             make run       again any time: only what is new is loaded")


def _rows(rows: Sequence[RowCounts], loaded: dict[str, int]) -> Table:
    table = Table(title="Rows", title_justify="left", title_style="bold")
    table.add_column("source, table")
    for name in ("loaded now", "raw", "kept", "rejected"):
        table.add_column(name, justify="right")
    for one in rows:
        now = loaded.get(f"{one.source}/{one.table}", 0)
        counts = (now, one.raw, one.kept, one.rejected)
        table.add_row(f"{one.source}, {one.table}", *(f"{count:,}" for count in counts))
    return table


def _rejected(rejected: Sequence[Rejected]) -> Table | str:
    if not rejected:
        return "[bold]Rejected[/]     nothing"
    table = Table(title="Rejected, and why", title_justify="left", title_style="bold")
    for heading in ("source, table", "reason"):
        table.add_column(heading)
    for heading in ("rows", "amount"):
        table.add_column(heading, justify="right")
    for one in rejected:
        amount = "" if one.amount is None else f"{one.amount:,.2f}"
        table.add_row(f"{one.source}, {one.table}", one.reason.replace("_", " "), f"{one.rows:,}", amount)
    return table


def _print_shop(shop: Shop, console: Console) -> None:
    console.print(f"\n[bold]{shop.source}[/], {shop.first_date} to {shop.last_date}")
    console.print(f"  total spending      {shop.spending:,.2f} in {shop.baskets:,} baskets")
    console.print(
        f"  customers           {shop.customers:,} who bought; {shop.known_customers:,} known by the customer file"
    )
    console.print(f"  purchase frequency  {shop.purchase_frequency:,.1f} baskets per customer in the last 365 days")
    for position, (name, total) in enumerate(shop.biggest_categories):
        console.print(f"  {'' if position else 'biggest categories':<18}  {name} {total:,.2f}")
    for position, opportunity in enumerate(shop.opportunities):
        said = _opportunity(opportunity)
        console.print(f"  {'' if position else 'opportunities':<18}  {said}", soft_wrap=True)
    console.print(f"  {'back-test':<18}  {_backtest(shop.backtest)}", soft_wrap=True)


def _opportunity(one: Opportunity) -> str:
    said = (
        f"{one.category}: one of the three likeliest for {one.customers:,} customers, of whom about "
        f"{one.adopters:,.0f} will begin within {one.horizon_days} days; expected value {one.expected_value:,.2f}"
    )
    return f"{said}; most said reason: buys {one.owned_category}" if one.owned_category else said


def _backtest(one: Backtest | None) -> str:
    if one is None:
        return "too little history to judge the likelihoods: take them for what they are, adoption rates so far"
    mean, least, most = one.came_true
    return (
        f"at {one.dates} earlier dates ({one.basis}): AUC {one.auc[0]:.3f} (popularity {one.auc[1]:.3f}), "
        f"NDCG@{one.k} {one.ndcg[0]:.3f} ({one.ndcg[1]:.3f}); "
        f"of 100 beginnings foretold {mean:.0f} came ({least:.0f} to {most:.0f})"
    )


def _steps(events: Sequence[dg.DagsterEvent], seconds: float) -> str:
    parts = [
        f"{step_name(event.step_key or '')} {event.step_success_data.duration_ms / 1000:.1f}"
        for event in events
        if event.event_type == DagsterEventType.STEP_SUCCESS
    ]
    return f"[bold]Seconds[/]      {seconds:.1f} in all: {', '.join(parts)}"


def _loaded(events: Sequence[dg.DagsterEvent]) -> dict[str, int]:
    loaded = {}
    for event in events:
        if event.event_type == DagsterEventType.ASSET_MATERIALIZATION and event.asset_key is not None:
            rows = event.step_materialization_data.materialization.metadata.get("rows_loaded")
            if rows is not None:
                loaded["/".join(event.asset_key.path)] = int(str(rows.value))
    return loaded


def _checks(events: Sequence[dg.DagsterEvent]) -> tuple[int, list[Any]]:
    checks = [e.asset_check_evaluation_data for e in events if e.event_type == DagsterEventType.ASSET_CHECK_EVALUATION]
    return sum(check.passed for check in checks), [check for check in checks if not check.passed]


def _describe(check: Any) -> str:
    text = f"{check.asset_key.to_user_string()}: {check.check_name}"
    if check.description:
        text += f": {check.description}"
    rows = check.metadata.get("dagster_dbt/failed_row_count")
    if rows is not None:
        text += f" ({rows.value:,} rows)"
    if failed_rows := check.metadata.get("failed_rows"):
        text += f"; look at them in the warehouse: {failed_rows.value}"
    return text


def _print_failure(events: Sequence[dg.DagsterEvent], paths: Paths, console: Console) -> None:
    console.print("[bold red]The run failed; nothing was published.[/]")
    _, failed = _checks(events)
    for check in failed:
        mark = "red" if check.severity == dg.AssetCheckSeverity.ERROR else "yellow"
        console.print(f"  [{mark}]check failed[/]  {_describe(check)}", soft_wrap=True, highlight=False)
    blocked_by_check = any(check.severity == dg.AssetCheckSeverity.ERROR for check in failed)
    for event in events:
        if event.event_type == DagsterEventType.STEP_FAILURE:
            reason = _reason(event, paths, blocked_by_check)
            if reason:
                console.print(f"  [red]{step_name(event.step_key or '')}[/]  ", end="")
                console.print(reason, soft_wrap=True, markup=False, highlight=False)
    if paths.published.exists():
        when = dt.datetime.fromtimestamp(paths.published.stat().st_mtime)
        console.print(
            f"  Readers still see the copy published on {when:%Y-%m-%d %H:%M}: {paths.published}", soft_wrap=True
        )
    else:
        console.print("  Nothing was ever published here.")
    console.print(f"  Details: {paths.logs}", soft_wrap=True)


def _reason(event: dg.DagsterEvent, paths: Paths, blocked_by_check: bool) -> str | None:
    if event.step_key in ("build_models", "build_quality"):
        return _dbt_errors(paths) or (None if blocked_by_check else _first_line(event.step_failure_data))
    told = event.step_failure_data.user_failure_data
    if told and told.description:
        return told.description
    return None if blocked_by_check else _first_line(event.step_failure_data)


def _first_line(failure: Any) -> str:
    error = failure.error
    while error and error.cause:
        error = error.cause
    return error.message.strip().splitlines()[0] if error and error.message.strip() else "failed without a message"


def _dbt_errors(paths: Paths) -> str | None:
    """What dbt says of the models and tests that could not run (a test that ran and failed is a failed check)."""
    try:
        report = json.loads((paths.dbt_target / "run_results.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    errors = [
        f"{node['unique_id'].split('.', 2)[-1]}: {' '.join(str(node['message']).split())}"
        for node in report["results"]
        if node["status"] == "error"
    ]
    return "; ".join(errors[:3]) or None
