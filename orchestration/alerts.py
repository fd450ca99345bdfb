"""Alerts: what is new is told once, by mail, chat or web hook, to those who asked for it; and once when it is over.

What is open, and who was told of it, is kept in a file of the data folder. A message that cannot be delivered is tried
again at each look, and is itself a finding (`orchestration.watch`).
"""

import datetime as dt
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import yaml
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestration.schedules import find_timezone
from orchestration.watch import ERROR, Finding, alerts_file, look, read_alerts
from warehouse.safe_files import write_text
from warehouse.settings import Settings, named

# How often is looked for changes (seconds).
EVERY = 60


class AlertsError(Exception):
    """The alerts cannot be sent as they are set; the message says what to change."""


class QuietHours(BaseModel):
    """When warnings are kept back until the end of the night; errors are told at any time.

    Attributes:
        begin: when they begin, by the clock of the nightly schedule.
        end: when they end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    begin: dt.time
    end: dt.time

    def has(self, time: dt.time) -> bool:
        """Tell whether a time is one of them.

        Args:
            time: of the same clock.
        """
        if self.begin <= self.end:
            return self.begin <= time < self.end
        return time >= self.begin or time < self.end


class Route(BaseModel):
    """Who is told what.

    Attributes:
        to: names of environment variables, each with an Apprise URL; the URL, which has a password in it, is not here.
        owners: only what these teams own; none: everything.
        only_errors: leave warnings out.
        quiet_hours: when warnings are kept back.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    to: list[str] = Field(min_length=1)
    owners: list[str] = Field(default_factory=list)
    only_errors: bool = False
    quiet_hours: QuietHours | None = None

    def takes(self, finding: Finding) -> bool:
        """Tell whether a finding is for this route.

        Args:
            finding: the finding.
        """
        return (not self.owners or finding.owner in self.owners) and (finding.level == ERROR or not self.only_errors)


class Routes(BaseModel):
    """The file of alerts.

    Attributes:
        routes: who is told what.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    routes: list[Route]


def read_routes(file: Path) -> Routes:
    """Read who is told what.

    Args:
        file: the YAML file that NEXT_AISLE_ALERTS names.

    Raises:
        AlertsError: it cannot be read, or names a variable that is not set.
    """
    try:
        routes = Routes.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise AlertsError(f"NEXT_AISLE_ALERTS is {file}, which cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValidationError) as error:
        raise AlertsError(f"{file}: {' '.join(str(error).split())}") from error
    missing = sorted({name for route in routes.routes for name in route.to if not named(name)})
    if missing:
        raise AlertsError(f"{file} names {', '.join(missing)}: set each to an address, such as mailto://user:pw@host")
    return routes


def tell(settings: Settings, findings: Iterable[Finding], now: dt.datetime | None = None) -> list[str]:
    """Tell each address what is new and what is over since it was last told.

    Args:
        settings: where data lives, and who is told what.
        findings: all that is found now.
        now: the time (UTC); None: the clock's.

    Returns:
        A line for each message that was sent, or could not be.

    Raises:
        AlertsError: the file of routes is wrong.
    """
    if settings.alerts is None:
        return []
    routes = read_routes(settings.alerts)
    now = (now or dt.datetime.now(dt.UTC)).replace(tzinfo=None)
    clock = now.replace(tzinfo=dt.UTC).astimezone(ZoneInfo(find_timezone(settings.timezone))).time()
    lock = FileLock(alerts_file(settings).with_suffix(".lock"))
    try:
        with lock.acquire(timeout=0):
            return _tell(settings, routes, list(findings), now, clock)
    except Timeout:
        return ["another process is telling them"]


def _tell(
    settings: Settings, routes: Routes, findings: Sequence[Finding], now: dt.datetime, clock: dt.time
) -> list[str]:
    kept = read_alerts(settings)
    opened: dict[str, dict[str, Any]] = dict(kept["open"])
    failing: dict[str, dict[str, Any]] = dict(kept["failing"])
    current = {finding.key: finding for finding in findings}
    for key, finding in current.items():
        entry = opened.setdefault(key, {"since": str(finding.since or now), "told": {}})
        entry |= {"level": finding.level, "text": finding.text, "over": False}
    for key in opened.keys() - current.keys():
        opened[key]["over"] = True
    lines = []
    names = dict.fromkeys(name for route in routes.routes for name in route.to)
    addresses = {name: [route for route in routes.routes if name in route.to] for name in names}
    for name, its_routes in addresses.items():
        new = [
            finding
            for finding in current.values()
            # What cannot be delivered there cannot be told there.
            if finding.key != f"alerts:{name}"
            and opened[finding.key]["told"].get(name) != finding.level
            and any(_is_due(route, finding, clock) for route in its_routes)
        ]
        over = [key for key, entry in opened.items() if entry["over"] and name in entry["told"]]
        if not new and not over:
            continue
        problem = _send(named(name) or "", *_message(new, [(key, opened[key]) for key in over], opened))
        if problem:
            failing.setdefault(name, {"since": str(now)})["reason"] = problem
            lines.append(f"{name}: not delivered: {problem}")
            continue
        failing.pop(name, None)
        lines.append(f"{name}: {len(new)} new, {len(over)} over")
        for finding in new:
            opened[finding.key]["told"][name] = finding.level
        for key in over:
            del opened[key]["told"][name]
    # An address that is no longer there is no longer told, and fails no longer.
    failing = {name: failure for name, failure in failing.items() if name in addresses}
    opened = {
        key: entry for key, entry in opened.items() if not entry["over"] or entry["told"].keys() & addresses.keys()
    }
    write_text(alerts_file(settings), json.dumps({"open": opened, "failing": failing}, indent=2))
    return lines


def _is_due(route: Route, finding: Finding, clock: dt.time) -> bool:
    is_quiet = route.quiet_hours is not None and route.quiet_hours.has(clock) and finding.level != ERROR
    return route.takes(finding) and not is_quiet


def _message(
    new: Sequence[Finding],
    over: Sequence[tuple[str, Mapping[str, Any]]],
    opened: Mapping[str, Mapping[str, Any]],
) -> tuple[str, str]:
    counts = [f"{len(new)} new" if new else "", f"{len(over)} over" if over else ""]
    worst = "error" if any(finding.level == ERROR for finding in new) else "warning" if new else "over"
    title = f"Next Aisle: {worst} ({', '.join(filter(None, counts))})"
    lines = []
    for finding in new:
        lines.append(f"{finding.level.upper()}: {finding.text}")
        lines.append(f"  since {opened[finding.key]['since'][:16]} UTC; owner: {finding.owner}")
        if finding.rows:
            lines.append(f"  rows: {finding.rows:,}")
        if finding.link:
            lines.append(f"  {finding.link}")
    for _, entry in over:
        lines.append(f"OVER: {entry['text']}")
        lines.append(f"  it began {entry['since'][:16]} UTC")
    return title, "\n".join(lines)


def _send(address: str, title: str, body: str) -> str | None:
    """Send a message; gives why it could not be sent, without the address, which may have a password in it."""
    try:
        import apprise
    except ImportError:
        return "Apprise is not installed: install next-aisle[production]"
    sender = apprise.Apprise()
    if not sender.add(address):
        return "the address is none that Apprise knows"
    with apprise.LogCapture(level=logging.WARNING) as log:  # type: ignore[no-untyped-call]
        if sender.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT):
            return None
        said = log.getvalue().strip().splitlines()
    return (said[-1].rpartition(" - ")[2] if said else "the receiver did not take it").replace(address, "***")


def alerting(settings: Settings) -> dg.SensorDefinition:
    """Declare the sensor that tells the changes; it is on wherever Dagster's daemon runs.

    Args:
        settings: where data lives, and who is told what.
    """

    @dg.sensor(
        name="alerts",
        minimum_interval_seconds=EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells what is new and what is over, to those that the file NEXT_AISLE_ALERTS names.",
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        if settings.alerts is None:
            return dg.SkipReason("NEXT_AISLE_ALERTS is not set: no one is told.")
        lines = tell(settings, look(settings, context.instance).findings)
        if any("not delivered" in line for line in lines):
            # A tick that failed shows in the UI.
            raise AlertsError("; ".join(lines))
        return dg.SkipReason("; ".join(lines) or "Nothing has changed.")

    return alerts
