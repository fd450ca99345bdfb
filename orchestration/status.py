"""`python -m orchestration status`: what an operator asks first, in the terminal."""

import datetime as dt

from orchestration.watch import ERROR, WARNING, State
from quality.verdict import MET, NOT_MEASURED
from warehouse.terminal import Terminal

# As monitors have it (Nagios, Icinga): all is well, a warning, an error; 3 is for a status that cannot be told.
EXIT_CODES = {None: 0, WARNING: 1, ERROR: 2}
UNKNOWN = 3


def print_status(state: State, console: Terminal) -> None:
    """Print how things stand.

    Args:
        state: how they stand.
        console: where to print.
    """
    console.print({None: "All is well", WARNING: "There are warnings", ERROR: "Something is wrong"}[state.level])
    if state.published_at:
        size = f"{state.published_bytes / 1e6:,.0f} MB"
        _line("published", f"{_ago(state.published_at, state)}, {size}", console)
    else:
        _line("published", "nothing yet", console)
    _line("fresh", _ago(state.fresh_at, state) if state.fresh_at else "no nightly run has succeeded yet", console)
    if state.last_run:
        _line(
            "last run",
            f"{state.last_run.run_id[:8]} {state.last_run.status}, {_ago(state.last_run.at, state)}",
            console,
        )
    for run in state.working:
        _line("under way", f"{run.run_id[:8]} of {run.job}, began {_ago(run.at, state)}", console)
    for run in state.waiting:
        _line("waits", f"{run.run_id[:8]} of {run.job}, {_ago(run.at, state)}", console)
    for shop in state.shops:
        newest = _ago(shop.newest_purchase, state) if shop.newest_purchase else "none"
        _line(shop.source, f"{shop.status}, newest purchase {newest}", console)
    if state.objectives:
        met = sum(each.status in (MET, NOT_MEASURED) for each in state.objectives)
        budgets = [each.error_budget_left for each in state.objectives if each.error_budget_left is not None]
        least = f", least error budget left {100 * min(budgets):.0f} %" if budgets else ""
        _line("objectives", f"{met} of {len(state.objectives)} met{least}", console)
    _line("disk", f"{state.free_bytes / 1e9:,.1f} GB free", console)
    for finding in state.findings:
        since = f" (since {_local(finding.since)})" if finding.since else ""
        rows = f" {finding.rows:,} rows." if finding.rows else ""
        text = f"{finding.text.rstrip('.')}.{rows} Ask {finding.owner}{since}."
        console.hanging(f"  {'x' if finding.level == ERROR else '!'} {finding.level}: ", text)
        if finding.link:
            console.alone(finding.link, 4)


def _line(name: str, text: str, console: Terminal) -> None:
    console.hanging(f"  {name:<18}", text)


def _local(time: dt.datetime) -> str:
    return f"{time.replace(tzinfo=dt.UTC).astimezone():%Y-%m-%d %H:%M}"


def _ago(time: dt.datetime, state: State) -> str:
    minutes = max(0, round((state.at - time).total_seconds() / 60))
    age = f"{minutes} min" if minutes < 120 else f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} d"
    return f"{_local(time)} ({age} ago)"
