"""The nightly job and when it runs."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import dagster as dg
from dagster._core.execution.plan.resume_retry import ReexecutionStrategy
from dagster._core.storage.tags import RETRY_STRATEGY_TAG
from tzlocal import get_localzone_name

from warehouse.settings import NIGHTLY_AT, WAIT_UNTIL, Settings

nightly = dg.define_asset_job(
    "nightly",
    selection=dg.AssetSelection.all(),
    description="Land, load, model, check and publish everything; a failed blocking check stops it.",
    # Repeated after a kill: every step finds out by itself what is still to be done.
    tags={RETRY_STRATEGY_TAG: ReexecutionStrategy.ALL_STEPS.value},
)


class TimezoneError(Exception):
    """There is no such time zone; the message says which setting names it."""


# Of a run of the schedule: the night that it is for, and the shops that it goes on without.
NIGHT, LATE = "next_aisle/night", "next_aisle/late"

# How often the schedule looks for late shops (minutes).
LOOKS_EVERY = 10


@dataclass(frozen=True)
class Hours:
    """When the nightly job runs by itself.

    Attributes:
        timezone: the zone of the clock that these times are of, such as Europe/Berlin.
        start: when it runs if every shop has delivered; after the shops have sent the day.
        wait_until: how long late shops are waited for; may be on the next day.
    """

    timezone: str
    start: dt.time = NIGHTLY_AT
    wait_until: dt.time = WAIT_UNTIL

    @property
    def looks(self) -> list[dt.time]:
        """The times at which the schedule looks, the first and the last ones included."""
        minutes = (_minutes(self.wait_until) - _minutes(self.start)) % MINUTES_A_DAY
        times = [*range(0, minutes, LOOKS_EVERY), minutes]
        return [_time((_minutes(self.start) + after) % MINUTES_A_DAY) for after in times]

    @property
    def cron(self) -> list[str]:
        """The same, as cron has it."""
        minutes: dict[int, list[int]] = {}
        for look in self.looks:
            minutes.setdefault(look.hour, []).append(look.minute)
        return [f"{','.join(map(str, of_hour))} {hour} * * *" for hour, of_hour in minutes.items()]

    def night(self, look: dt.datetime) -> dt.date:
        """The day on which the night began that a look is of.

        Args:
            look: its time, in the zone of the clock.
        """
        return look.date() - dt.timedelta(days=look.time().replace(tzinfo=None) < self.start)

    def is_last(self, look: dt.datetime) -> bool:
        """Tell whether late shops are waited for no longer.

        Args:
            look: its time, in the zone of the clock.
        """
        elapsed = (_minutes(look.time()) - _minutes(self.start)) % MINUTES_A_DAY
        # At a change of the clock, the last look may come an hour later than it says.
        return elapsed >= (_minutes(self.wait_until) - _minutes(self.start)) % MINUTES_A_DAY

    def in_words(self) -> str:
        """Say when it runs: `02:00 Europe/Berlin`."""
        return f"{self.start:%H:%M} {self.timezone}"


MINUTES_A_DAY = 24 * 60


def _minutes(time: dt.time) -> int:
    return 60 * time.hour + time.minute


def _time(minutes: int) -> dt.time:
    return dt.time(*divmod(minutes, 60))


def read_hours(settings: Settings) -> Hours:
    """Take the hours of the nightly job from the settings.

    Args:
        settings: the settings.

    Raises:
        TimezoneError: there is no such time zone.
    """
    return Hours(find_timezone(settings.timezone), settings.nightly_at, settings.wait_until)


def every_night(hours: Hours, late: Callable[[dt.date], list[str]]) -> dg.ScheduleDefinition:
    """Declare the schedule of the nightly job; it is on wherever Dagster's daemon runs, also with `make ui`.

    A night has one run, also when Dagster's daemon was down: it makes up for the last look that it missed.

    Args:
        hours: when it runs.
        late: names the shops that have not delivered a day.
    """

    def look(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        at = context.scheduled_execution_time.astimezone(ZoneInfo(hours.timezone))
        night = hours.night(at)
        if runs := context.instance.get_runs(dg.RunsFilter(tags={NIGHT: str(night)}), limit=1):
            return dg.SkipReason(f"The run of this night is {runs[0].run_id[:8]}.")
        missing = late(night - dt.timedelta(days=1))
        if missing and not hours.is_last(at):
            return dg.SkipReason(f"Waiting until {hours.wait_until:%H:%M} for {', '.join(missing)}.")
        tags = {NIGHT: str(night)} | ({LATE: ", ".join(missing)} if missing else {})
        return dg.RunRequest(run_key=str(night), tags=tags)

    return dg.ScheduleDefinition(
        name="every_night",
        job=nightly,
        cron_schedule=hours.cron,
        execution_timezone=hours.timezone,
        execution_fn=look,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"The nightly job at {hours.in_words()}, after the shops have sent the day. It waits for a shop "
        f"whose file of yesterday has not landed, until {hours.wait_until:%H:%M}. It runs while Dagster's daemon does "
        "(`make ui` starts it). The switch turns it off. NEXT_AISLE_TIMEZONE names another zone.",
    )


def find_timezone(name: str | None) -> str:
    """Find the zone of the clock that the schedule goes by.

    Args:
        name: as the settings have it; None: the machine's zone, or UTC where the machine does not name one.

    Raises:
        TimezoneError: there is no zone of that name.
    """
    try:
        ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise TimezoneError(
            f"NEXT_AISLE_TIMEZONE is {name!r}, and there is no such time zone. Write it as Europe/Berlin."
        ) from error
    try:
        return name or get_localzone_name() or "UTC"
    except ZoneInfoNotFoundError:
        return "UTC"
