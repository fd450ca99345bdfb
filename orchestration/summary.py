"""What a run did, in words and numbers that a person wants to read."""

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
from dagster import DagsterEventType
from rich.console import Console
from rich.table import Table

from delivery.dbt_metadata import DBT_DIR
from ingestion import warehouse
from orchestration.progress import step_name

# How an objective may stand, the best first.
STATUSES = ("met", "warning", "breach", "not measured")


def print_summary(result: dg.ExecuteInProcessResult, seconds: float, console: Console) -> None:
    """Print what a run did; after a failure also what failed, why, and what readers see meanwhile.

    Args:
        result: the run.
        seconds: its wall time.
        console: where to print.
    """
    console.print()
    if not result.success:
        _print_failure(result.all_events, console)
        return
    published = warehouse.paths().published
    with duckdb.connect(str(published), read_only=True) as connection:
        console.print(_rows(connection, _loaded(result.all_events)))
        console.print(_rejected(connection))
        _print_figures(connection, console)
        objectives = connection.execute("select status, count(*) from quality.slo_status group by 1").fetchall()
    counts = dict(objectives)
    console.print(_steps(result.all_events, seconds), soft_wrap=True)
    passed, failed = _checks(result.all_events)
    standing = ", ".join(f"{counts[status]} {status}" for status in STATUSES if status in counts)
    console.print(f"[bold]Objectives[/]   {standing} (quality.slo_status)")
    console.print(f"[bold]Checks[/]       {passed:,} passed" + (f", {len(failed):,} warned" if failed else ""))
    for check in failed:
        console.print("             [yellow]![/] ", end="")
        console.print(_describe(check), soft_wrap=True, markup=False)
    console.print(f"[bold]Published[/]    {published} ({published.stat().st_size / 1e6:,.0f} MB)", soft_wrap=True)
    console.print("\n[bold]Next[/]         make ui        assets, checks, schedule and lineage in the browser")
    console.print("             make query     ask the published copy in SQL")
    console.print("             make run       again any time: only what is new is loaded")


def _rows(connection: duckdb.DuckDBPyConnection, loaded: dict[str, int]) -> Table:
    table = Table(title="Rows", title_justify="left", title_style="bold")
    table.add_column("source, table")
    for name in ("loaded now", "raw", "kept", "rejected"):
        table.add_column(name, justify="right")
    for source, name, *counts in connection.execute(
        """
        select source_name, table_name, raw_rows, kept_rows, rejected_rows
        from quality.row_reconciliation order by all
        """
    ).fetchall():
        now = loaded.get(f"{source}/{name}", 0)
        table.add_row(f"{source}, {name}", *(f"{count:,}" for count in (now, *counts)))
    return table


def _rejected(connection: duckdb.DuckDBPyConnection) -> Table | str:
    rows = connection.execute(
        """
        select source_name || ', ' || table_name, replace(rejection_reason, '_', ' '), count(*), sum(amount)
        from quality.rejected_rows group by all order by 3 desc
        """
    ).fetchall()
    if not rows:
        return "[bold]Rejected[/]     nothing"
    table = Table(title="Rejected, and why", title_justify="left", title_style="bold")
    for heading in ("source, table", "reason"):
        table.add_column(heading)
    for heading in ("rows", "amount"):
        table.add_column(heading, justify="right")
    for where, reason, count, amount in rows:
        table.add_row(where, reason, f"{count:,}", "" if amount is None else f"{amount:,.2f}")
    return table


def _print_figures(connection: duckdb.DuckDBPyConnection, console: Console) -> None:
    for source, first, last, spending, baskets, customers in connection.execute(
        """
        select source_name, min(purchase_date), max(purchase_date), sum(amount), count(*), count(distinct customer_key)
        from core.fct_baskets group by 1 order by 1
        """
    ).fetchall():
        frequency, known = connection.execute(
            f"""
            select avg(purchase_frequency) filter (basket_count > 0), count(*) filter (not is_inferred)
            from core.dim_customers where source_name = '{source}'
            """
        ).fetchall()[0]
        biggest = connection.execute(
            f"""
            select category_name, sum(amount) from core.fct_purchases join core.dim_categories using (category_key)
            where fct_purchases.source_name = '{source}' and fct_purchases.is_merchandise
            group by 1 order by 2 desc, 1 limit 5
            """
        ).fetchall()
        console.print(f"\n[bold]{source}[/], {first} to {last}")
        console.print(f"  total spending      {spending:,.2f} in {baskets:,} baskets")
        console.print(f"  customers           {customers:,} who bought; {known:,} known by the customer file")
        console.print(f"  purchase frequency  {frequency:,.1f} baskets per customer in the last 365 days")
        for position, (name, total) in enumerate(biggest):
            console.print(f"  {'' if position else 'biggest categories':<18}  {name} {total:,.2f}")
        _print_opportunities(connection, source, console)
    console.print()


def _print_opportunities(connection: duckdb.DuckDBPyConnection, source: str, console: Console) -> None:
    strongest = connection.execute(
        """
        with first as (
            from cross_sell.customer_opportunities where source_name = $1 and rank <= 3
        ),
        counted as (
            select category_key, split_part(reason_1, ': those who', 1) as reason, count(*) as times
            from first where reason_1 is not null group by all
        ),
        said as (
            from counted qualify row_number() over (partition by category_key order by times desc, reason) = 1
        )
        select category_name, any_value(horizon_days), count(*), sum(likelihood), sum(expected_value),
            any_value(said.reason)
        from first left join said using (category_key)
        group by category_key, category_name order by 5 desc, 1 limit 5
        """,
        [source],
    ).fetchall()
    for position, (name, days, customers, begin, value, reason) in enumerate(strongest):
        console.print(
            f"  {'' if position else 'opportunities':<18}  {name}: one of the three likeliest for {customers:,} "
            f"customers, of whom about {begin:,.0f} will begin within {days} days; expected value {value:,.2f}"
            + (f"; most said reason: {reason}" if reason else ""),
            soft_wrap=True,
        )
    console.print(f"  {'back-test':<18}  {_verdict(connection, source)}", soft_wrap=True)


def _verdict(connection: duckdb.DuckDBPyConnection, source: str) -> str:
    dates, basis, auc, popularity_auc, ndcg, popularity_ndcg, k, mean, low, high = connection.execute(
        """
        select count(distinct as_of_date), mode(score_basis) filter (method = 'score'),
            avg(auc) filter (method = 'score'), avg(auc) filter (method = 'popularity'),
            avg(ndcg_at_k) filter (method = 'score'), avg(ndcg_at_k) filter (method = 'popularity'), any_value(k),
            avg(predicted_over_observed) filter (method = 'score'),
            min(predicted_over_observed) filter (method = 'score'),
            max(predicted_over_observed) filter (method = 'score')
        from cross_sell.score_backtest where source_name = $1
        """,
        [source],
    ).fetchall()[0]
    if not dates or mean is None or ndcg is None:
        return "too little history to judge the likelihoods: take them for what they are, adoption rates so far"
    return (
        f"at {dates} earlier dates ({basis}): AUC {auc:.3f} (popularity {popularity_auc:.3f}), "
        f"NDCG@{k} {ndcg:.3f} ({popularity_ndcg:.3f}); "
        f"of 100 beginnings foretold {100 / mean:.0f} came ({100 / high:.0f} to {100 / low:.0f})"
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
    return text


def _print_failure(events: Sequence[dg.DagsterEvent], console: Console) -> None:
    console.print("[bold red]The run failed; nothing was published.[/]")
    _, failed = _checks(events)
    for check in failed:
        mark = "red" if check.severity == dg.AssetCheckSeverity.ERROR else "yellow"
        console.print(f"  [{mark}]check failed[/]  {_describe(check)}", soft_wrap=True, highlight=False)
    blocked_by_check = any(check.severity == dg.AssetCheckSeverity.ERROR for check in failed)
    for event in events:
        if event.event_type == DagsterEventType.STEP_FAILURE:
            reason = _reason(event, blocked_by_check)
            if reason:
                console.print(f"  [red]{step_name(event.step_key or '')}[/]  ", end="")
                console.print(reason, soft_wrap=True, markup=False, highlight=False)
    published = warehouse.paths().published
    if published.exists():
        when = dt.datetime.fromtimestamp(published.stat().st_mtime)
        console.print(f"  Readers still see the copy published on {when:%Y-%m-%d %H:%M}: {published}", soft_wrap=True)
    else:
        console.print("  Nothing was ever published here.")
    console.print(f"  Details: {warehouse.paths().logs}", soft_wrap=True)


def _reason(event: dg.DagsterEvent, blocked_by_check: bool) -> str | None:
    if event.step_key in ("build_models", "build_quality"):
        return _dbt_errors() or (None if blocked_by_check else _first_line(event.step_failure_data))
    told = event.step_failure_data.user_failure_data
    if told and told.description:
        return told.description
    return None if blocked_by_check else _first_line(event.step_failure_data)


def _first_line(failure: Any) -> str:
    error = failure.error
    while error and error.cause:
        error = error.cause
    return error.message.strip().splitlines()[0] if error and error.message.strip() else "failed without a message"


def _dbt_errors() -> str | None:
    """What dbt says of the models and tests that could not run (a test that ran and failed is a failed check)."""
    results = Path(DBT_DIR / "target" / "run_results.json")
    try:
        report = json.loads(results.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    errors = [
        f"{node['unique_id'].split('.', 2)[-1]}: {' '.join(str(node['message']).split())}"
        for node in report["results"]
        if node["status"] == "error"
    ]
    return "; ".join(errors[:3]) or None
