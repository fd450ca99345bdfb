"""What a run did, in words and numbers that a person wants to read."""

import contextlib
import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import DagsterEventType
from rich import box
from rich.table import Table

from delivery import figures
from delivery.figures import (
    Backtest,
    Figures,
    Finding,
    ObjectiveStatus,
    Opportunities,
    Rejected,
    RowCounts,
    Shop,
    ShopStatus,
    UndatedShop,
)
from delivery.publication import damage
from orchestration.failures import dbt_failures, first_error
from orchestration.keys import PUBLISHED, SLO_STATUS, VERDICT
from orchestration.previews import UNCHANGED
from orchestration.progress import step_name
from quality.verdict import BREACH, MET, NOT_MEASURED, WARNING
from warehouse.paths import Paths
from warehouse.terminal import Terminal, printable

# How an objective may stand, the best first.
STATUSES = (MET, WARNING, BREACH, NOT_MEASURED)

# Longer names in tables are cut, and longer findings too (characters).
LONGEST_NAME, LONGEST_FINDING = 60, 600

UNTRIED = (
    "These numbers assume that no offer is made. To see what an offer adds, make it to some of the customers first."
)

_FAILED = "The run failed: nothing was published."
_FAILED_AFTER = "The run failed after the file was published, which everyone can read."

# How many causes of a failure the terminal shows; it says how many more are in the log file.
SHOWN_CAUSES = 20


def print_summary(
    result: dg.JobExecutionResult | dg.ExecuteInProcessResult,
    paths: Paths,
    seconds: float,
    console: Terminal,
    details: Path,
) -> None:
    """Print what a run did; after a failure also what failed, why, and what readers see meanwhile.

    Args:
        result: the run.
        paths: where data lives.
        seconds: its wall time.
        console: where to print.
        details: the run's log file; all that is known of a failure is added to it.
    """
    console.print()
    if result.success:
        print_success(figures.read(paths), result.all_events, paths, seconds, console)
    else:
        _print_failure(result.all_events, paths, console, details)


def print_success(
    published: Figures, events: Sequence[dg.DagsterEvent], paths: Paths, seconds: float, console: Terminal
) -> None:
    """Print what a run that succeeded loaded and published, and what the figures say.

    Args:
        published: the figures of the published copy.
        events: those of the run.
        paths: where data lives.
        seconds: its wall time.
        console: where to print.
    """
    materialized = list(_materialized(events))
    loaded = _loaded(materialized)
    if len(published.statuses) > 1:
        _print_statuses(published.statuses, loaded, console)
    _print_rows(published.rows, loaded, console)
    _print_changes(materialized, console)
    _print_rejected(published.rejected, console)
    _print_findings(published.findings, console)
    held = {shop.source: shop.held_since for shop in published.statuses if shop.held_since}
    history = {asset.partition("/")[0] for asset, metadata in materialized if "age" in metadata}
    for shop in published.shops:
        _print_shop(
            shop, published.currency, console, held_since=held.get(shop.source), is_history=shop.source in history
        )
    for undated_shop in published.undated_shops:
        _print_undated_shop(undated_shop, published.currency, console, held_since=held.get(undated_shop.source))
    console.print()
    _fact("Objectives", _objectives(published.objectives), console)
    _, failed = _checks(events)
    descriptions = {check.check_name: check.description for check in failed if check.asset_key in (VERDICT, SLO_STATUS)}
    for objective in published.objectives:
        if objective.status not in (MET, NOT_MEASURED):
            _warning(_standing(objective, descriptions.get(objective.objective)), console)
    passed, failed = _checks(event for event in events if not _is_of_objective(event))
    _fact("Checks", f"{passed:,} passed" + (f", {len(failed):,} with a warning" if failed else ""), console)
    for check in failed:
        _warning(_describe(check), console)
        _print_command(check, console, indent=16)
    _fact("Seconds", f"{seconds:.1f}", console)
    without = f", without the new rows of {', '.join(map(_name, held))}" if held else ""
    size = f"{paths.published.stat().st_size / 1e6:,.0f} MB"
    if any(asset == "/".join(PUBLISHED.path) and UNCHANGED in metadata for asset, metadata in materialized):
        since = _local(dt.datetime.fromtimestamp(paths.published.stat().st_mtime, dt.UTC).replace(tzinfo=None))
        _fact("Published", f"{size}{without}; nothing new since {since}. Everyone reads this:", console)
    else:
        _fact("Published", f"{size}{without}; from now on everyone reads this:", console)
    console.alone(str(paths.published), indent=14)
    console.print()
    _fact("Next", "make query   ask the published copy in SQL", console)
    _fact("", "make ui      assets, checks, schedule and lineage in the browser", console)
    _fact("", "make run     again at any time: only what is new is loaded", console)


def _fact(label: str, text: str, console: Terminal) -> None:
    console.hanging(f"{label:<14}", text, style="bold")


def _detail(label: str, text: str, console: Terminal) -> None:
    console.hanging(f"  {label:<20}", text)


def _warning(text: str, console: Terminal) -> None:
    console.hanging(f"{'':<14}! ", _cut(text), style="yellow")


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_FINDING else f"{text[: LONGEST_FINDING - 3]}..."


def _table(left: Sequence[str], right: Sequence[str]) -> Table:
    """Make a table: names on the left, numbers on the right."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in left:
        table.add_column(heading, overflow="fold")
    for heading in right:
        table.add_column(heading, justify="right")
    return table


def _print_statuses(shops: Sequence[ShopStatus], loaded: Mapping[str, int], console: Terminal) -> None:
    """Print a line for each shop, and why some are held."""
    table = _table(["shop", "in this run"], ["newest purchase", "customers"])
    for shop in shops:
        rows = sum(count for name, count in loaded.items() if name.partition("/")[0] == shop.source)
        done = f"{rows:,} rows loaded" if rows else "nothing new"
        if shop.held_since:
            done = f"held since {_local(shop.held_since)}"
        newest = f"{shop.newest_purchase:%Y-%m-%d}" if shop.newest_purchase else "-"
        table.add_row(_name(shop.source), done, newest, f"{shop.customers:,}")
    console.print("Shops", style="bold")
    console.print(table)
    for shop in shops:
        if shop.held_since:
            console.hanging("  ! ", _held(shop), style="yellow")
    console.print()


def _held(shop: ShopStatus) -> str:
    tables = "its tables stay as they were published last" if shop.deliveries else "it has no rows yet"
    text = f"{_name(shop.source)}: {tables}. {_cut(shop.reason or 'no reason')}."
    if shop.waiting_deliveries:
        wait = "new delivery waits" if shop.waiting_deliveries == 1 else "new deliveries wait"
        text += f" {shop.waiting_deliveries:,} {wait}."
    return text


def _print_rows(rows: Sequence[RowCounts], loaded: Mapping[str, int], console: Terminal) -> None:
    table = _table(["source", "table"], ["loaded now", "loaded in all", "kept", "rejected"])
    for row in rows:
        # Totals are parts of the rows of another table.
        now = loaded.get(f"{row.source}/{row.table}", None if row.table == "category_totals" else 0)
        counts = (now, row.raw, row.kept, row.rejected)
        table.add_row(
            _name(row.source), _name(row.table), *("-" if count is None else f"{count:,}" for count in counts)
        )
    console.print("Rows", style="bold")
    console.print(table)


def _print_rejected(rejected: Sequence[Rejected], console: Terminal) -> None:
    console.print("\nRejected, and why", style="bold")
    if not rejected:
        console.print("nothing")
        return
    table = _table(["source", "table", "reason"], ["rows", "amount"])
    for rows in rejected:
        amount = "-" if rows.amount is None else f"{rows.amount:,.2f}"
        reason = rows.reason.replace("_", " ")
        table.add_row(_name(rows.source), _name(rows.table), _name(reason), f"{rows.rows:,}", amount)
    console.print(table)


def _print_findings(findings: Sequence[Finding], console: Terminal) -> None:
    if not findings:
        return
    console.print("\nLeft out, replaced, or worth a look; the rows count (quality.findings)", style="bold")
    table = _table(["source", "table", "column", "what"], ["rows"])
    for found in findings:
        names = (found.source, found.table, found.column, found.finding.replace("_", " "))
        table.add_row(*(_name(name) for name in names), f"{found.rows:,}")
    console.print(table)


def _print_changes(materialized: Sequence[tuple[str, Mapping[str, Any]]], console: Terminal) -> None:
    """Name the files that were delivered again, and the columns that are new."""
    for asset, metadata in materialized:
        if again := _value(metadata, "delivered_again"):
            more = f" and {len(again) - 3:,} more" if len(again) > 3 else ""
            console.hanging(f"{asset}: ", f"delivered again with changes: {', '.join(again[:3])}{more}")
        if new := _value(metadata, "new_columns"):
            columns = ", ".join(f"{_name(name)} ({kind})" for name, kind in new.items())
            console.hanging(f"{asset}: ", f"new columns, loaded and not used yet: {columns}")


def _print_shop(
    shop: Shop, currency: str | None, console: Terminal, *, held_since: dt.datetime | None, is_history: bool
) -> None:
    notes = ["history: its age is not checked"] if is_history else []
    if held_since:
        notes.append(f"held since {_local(held_since)}")
    line = f"{shop.first_date} to {shop.last_date}"
    console.print(f"\n{_name(shop.source)}, {'; '.join([line, *notes])}", style="bold")
    _detail("total spending", f"{_amount(shop.spending, currency)} in {shop.baskets:,} baskets", console)
    known = "the shop sends no customer file"
    if shop.known_customers is not None:
        known = f"{shop.known_customers:,} are in the customer file"
    _detail("customers", f"{shop.customers:,} who bought; {known}", console)
    frequency = f"{shop.purchase_frequency:,.1f} baskets per customer in the last 365 days"
    _detail("purchase frequency", frequency, console)
    for position, (name, total) in enumerate(shop.biggest_categories):
        _detail("" if position else "biggest categories", f"{_name(name)} {total:,.2f}", console)
    console.print("\nWhat to offer next", style="bold")
    if shop.opportunities is None:
        console.print("  No customer has a recommendation yet.")
    else:
        _print_opportunities(shop.opportunities, shop.last_date, console)
    console.print("\nHow sure", style="bold")
    for line in _backtest(shop.backtest):
        console.hanging("  ", line)


def _amount(amount: Decimal, currency: str | None) -> str:
    return f"{amount:,.2f} {currency}" if currency else f"{amount:,.2f}"


def _print_undated_shop(
    shop: UndatedShop, currency: str | None, console: Terminal, *, held_since: dt.datetime | None
) -> None:
    held = f"; held since {_local(held_since)}" if held_since else ""
    console.print(f"\n{_name(shop.source)}, totals without dates{held}", style="bold")
    _detail("total spending", f"{_amount(shop.spending, currency)} so far", console)
    known = f"{shop.customers:,} who spent; {shop.known_customers:,} are in the customer file"
    _detail("customers", known, console)
    for position, (name, total) in enumerate(shop.biggest_categories):
        _detail("" if position else "biggest categories", f"{_name(name)} {total:,.2f}", console)
    console.print("\nWhat to offer next", style="bold")
    console.hanging("  No score: ", shop.why_no_score)
    if not shop.gaps:
        console.print("  Every customer buys in every category, except for staples.")
        return
    table = _table(["category", "goes best with"], ["customers without", "all who buy it", "lift"])
    for gap in shop.gaps:
        table.add_row(
            _name(gap.category),
            _name(gap.strongest_category),
            f"{gap.customers:,}",
            f"{100 * gap.penetration:.0f} %",
            f"{gap.lift:.2f}",
        )
    console.print(table)
    console.hanging(
        "  lift: ",
        "how many times as often as all customers those buy the category who buy what these customers buy. Near 1.00 "
        "it says nothing.",
    )


def _print_opportunities(offers: Opportunities, newest: dt.date, console: Terminal) -> None:
    numbers = ["customers", "first purchases", "spending", "per customer"]
    table = _table(["offer", "most common reason"], numbers)
    for offer in offers.best:
        expected = f"{offer.first_purchases:,.0f}"
        if offer.low is not None and offer.high is not None:
            expected += f" ({offer.low:,.0f} to {offer.high:,.0f})"
        table.add_row(
            _name(offer.category),
            f"buys {_name(offer.owned_category)}" if offer.owned_category else "-",
            f"{offer.customers:,}",
            expected,
            f"{offer.expected_value:,.2f}",
            f"{offer.value_per_customer:,.2f}",
        )
    console.print(table)
    per_offer = offers.expected_value / offers.offers
    horizon = offers.horizon_days
    console.hanging("  customers: ", "how many have it as a top-3 recommendation.")
    console.hanging(
        "  first purchases: ",
        f"how many of them are expected to buy in the category for the first time in the {horizon} days after "
        f"{newest}, with the 90 % range.",
    )
    console.hanging(
        "  spending: ",
        "what they are expected to spend in it in that time, and per customer who gets the offer.",
    )
    share = ""
    if offers.recent_spending > 0:
        part = 100 * offers.expected_value / offers.recent_spending
        share = f", which is {part:.1f} % of what the shop sold in the {horizon} days before that"
    console.hanging(
        "  Together: ",
        f"{offers.offers:,} recommendations in {offers.categories:,} categories to {offers.customers:,} customers, "
        f"expected spending {offers.expected_value:,.2f}{share}. That is {per_offer:,.2f} per recommendation: an offer "
        "that costs more, costs more than the customer is expected to spend.",
    )
    if offers.staples:
        names = "; ".join(map(_name, offers.staples[:3]))
        more = f" and {len(offers.staples) - 3:,} more" if len(offers.staples) > 3 else ""
        console.hanging("  Left out: ", f"staples, which many customers buy anyway: {names}{more}.")


def _backtest(backtest: Backtest | None) -> list[str]:
    if backtest is None:
        return [UNTRIED, "There is too little history to test the likelihoods: they are the adoption rates so far."]
    mean, least, most = backtest.happened
    (auc, popular_auc), (ndcg, popular_ndcg) = backtest.auc, backtest.ndcg
    return [
        UNTRIED,
        f"Back-test at {backtest.dates} earlier dates ({backtest.basis}): for every 100 first purchases predicted, "
        f"{mean:.0f} happened ({least:.0f} to {most:.0f} at single dates).",
        f"Ranking, with that by popularity alone in brackets: AUC {auc:.3f} ({popular_auc:.3f}), "
        f"NDCG@{backtest.k} {ndcg:.3f} ({popular_ndcg:.3f}).",
    ]


def _objectives(objectives: Sequence[ObjectiveStatus]) -> str:
    counts = Counter(objective.status for objective in objectives)
    text = ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status])
    kept = [objective.measured_at for objective in objectives if not objective.in_newest_run and objective.measured_at]
    if not kept:
        return text
    runs = f"the run of {_local(kept[0])}" if len(set(kept)) == 1 else "earlier runs"
    were = "1 of them was" if len(kept) == 1 else f"{len(kept)} of them were"
    return f"{text}. {were} last measured in {runs}: there was nothing new to measure on"


def _standing(objective: ObjectiveStatus, in_run: str | None) -> str:
    if objective.in_newest_run and in_run:
        return f"{objective.objective}: {in_run}"
    since = f" (from the run of {_local(objective.measured_at)})" if objective.measured_at else ""
    return f"{objective.objective}: {objective.status}{since}: {objective.findings or 'see quality.slo_status'}"


def _local(time: dt.datetime) -> str:
    return f"{time.replace(tzinfo=dt.UTC).astimezone():%Y-%m-%d %H:%M}"


def _materialized(events: Iterable[dg.DagsterEvent]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    for event in events:
        if event.event_type == DagsterEventType.ASSET_MATERIALIZATION and event.asset_key is not None:
            yield "/".join(event.asset_key.path), event.step_materialization_data.materialization.metadata


def _value(metadata: Mapping[str, Any], name: str) -> Any:
    return metadata[name].value if name in metadata else None


def _loaded(materialized: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, int]:
    return {asset: int(metadata["rows_loaded"].value) for asset, metadata in materialized if "rows_loaded" in metadata}


def _checks(events: Iterable[dg.DagsterEvent]) -> tuple[int, list[Any]]:
    checks = [e.asset_check_evaluation_data for e in events if e.event_type == DagsterEventType.ASSET_CHECK_EVALUATION]
    return sum(check.passed for check in checks), [check for check in checks if not check.passed]


def _name(text: str) -> str:
    return printable(text, LONGEST_NAME)


def _is_of_objective(event: dg.DagsterEvent) -> bool:
    """Whether it is a check that says how an objective stands."""
    if event.event_type != DagsterEventType.ASSET_CHECK_EVALUATION:
        return False
    check = event.asset_check_evaluation_data
    return check.asset_key in (VERDICT, SLO_STATUS) and "unique_id" not in check.metadata


def _describe(check: Any) -> str:
    if check.asset_key == VERDICT:
        text = f"objective {check.check_name}"
    else:
        text = f"{'.'.join(check.asset_key.path)}, check {check.check_name}"
    if check.description:
        text += f": {check.description}"
    rows = check.metadata.get("dagster_dbt/failed_row_count")
    return text if rows is None else f"{text} ({rows.value:,} row{'' if rows.value == 1 else 's'})"


def _print_command(check: Any, console: Terminal, indent: int) -> None:
    if command := _value(check.metadata, "failed_rows"):
        console.print(f"{' ' * indent}To see the rows that failed:")
        console.alone(command, indent)


def _print_failure(events: Sequence[dg.DagsterEvent], paths: Paths, console: Terminal, details: Path) -> None:
    is_published = any(
        event.event_type == DagsterEventType.ASSET_MATERIALIZATION and event.asset_key == PUBLISHED for event in events
    )
    console.print(_FAILED_AFTER if is_published else _FAILED, style="bold red")
    _, failed = _checks(events)
    stopped = [check for check in failed if check.severity == dg.AssetCheckSeverity.ERROR]
    errors = list(_errors(events, paths, blocked_by_check=bool(stopped)))
    for name, reason in errors[:SHOWN_CAUSES]:
        console.print(f"  {name} failed:", style="red")
        console.hanging("    ", _cut(reason))
    # A check that failed is shown even where there are errors enough.
    shown_checks = stopped[: max(1, SHOWN_CAUSES - len(errors))]
    for check in shown_checks:
        console.print("  check failed:", style="red")
        console.hanging("    ", _cut(_describe(check)))
        _print_command(check, console, indent=4)
    more = {
        "error": max(0, len(errors) - SHOWN_CAUSES) + len(stopped) - len(shown_checks),
        "warning": len(failed) - len(stopped),
    }
    if counted := " and ".join(
        f"{count} more {kind}{'' if count == 1 else 's'}" for kind, count in more.items() if count
    ):
        console.print(f"  {counted}, all named in the details")
    if found := damage(paths):
        console.hanging("", f"Readers have no good copy: {found}. The next run that succeeds publishes it again.")
    elif paths.published.exists():
        when = dt.datetime.fromtimestamp(paths.published.stat().st_mtime)
        console.print(f"Readers {'' if is_published else 'still '}see the copy published on {when:%Y-%m-%d %H:%M}:")
        console.alone(str(paths.published), indent=2)
    else:
        console.print("Nothing was ever published here.")
    causes = [f"{name} failed: {reason}" for name, reason in errors]
    for check in failed:
        causes.append(f"check {'failed' if check in stopped else 'warning'}: {_describe(check)}")
    # On a full disk the causes above must do.
    with contextlib.suppress(OSError):
        _write_details(events, [_FAILED_AFTER if is_published else _FAILED, *causes], details)
    console.print("Details:")
    console.alone(str(details), indent=2)


def _write_details(events: Iterable[dg.DagsterEvent], causes: Iterable[str], details: Path) -> None:
    """Add all that is known of a failure to the run's log file."""
    with details.open("a", encoding="utf-8") as log:
        print("", *map(printable, causes), sep="\n", file=log)
        for event in events:
            if event.event_type == DagsterEventType.STEP_FAILURE and event.step_failure_data.error:
                print(f"\n{event.step_key}:\n{event.step_failure_data.error.to_string()}", file=log)


def _errors(events: Iterable[dg.DagsterEvent], paths: Paths, *, blocked_by_check: bool) -> Iterable[tuple[str, str]]:
    """Steps that failed by themselves, and why; where dbt has errors of its models and tests, those."""
    for event in events:
        if event.event_type != DagsterEventType.STEP_FAILURE:
            continue
        name = step_name(event.step_key or "")
        failure = event.step_failure_data
        # Those that could not run: a test that ran and failed is a failed check.
        of_dbt = (
            dbt_failures(paths.dbt_target, ("error",)) if event.step_key in ("build_models", "build_quality") else None
        )
        if of_dbt:
            yield from ((name, reason) for reason in of_dbt)
        elif of_dbt is not None and blocked_by_check:
            # dbt says of the failed check only that it failed.
            continue
        elif failure.user_failure_data and failure.user_failure_data.description:
            yield name, failure.user_failure_data.description
        elif not blocked_by_check:
            yield name, _first_line(failure)


def _first_line(failure: Any) -> str:
    error = first_error(failure)
    if error and error.cls_name == "DagsterExecutionInterruptedError":
        return "it was stopped, by Ctrl+C or another signal. Run it again to go on"
    if error and error.cls_name == "MemoryError":
        return "memory ran out. Free some and run again: the run goes on from what is done"
    return error.message.strip().splitlines()[0] if error and error.message.strip() else "no reason was given"
