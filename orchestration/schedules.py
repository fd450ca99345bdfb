"""The nightly job and when it runs."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import dagster as dg
from dagster._core.execution.plan.resume_retry import ReexecutionStrategy
from dagster._core.storage.tags import RETRY_STRATEGY_TAG
from tzlocal import get_localzone_name

nightly = dg.define_asset_job(
    "nightly",
    selection=dg.AssetSelection.all(),
    description="Land, load, model, check and publish everything; a failed blocking check stops it.",
    # Repeated after a kill: every step finds out by itself what is still to be done.
    tags={RETRY_STRATEGY_TAG: ReexecutionStrategy.ALL_STEPS.value},
)


class TimezoneError(Exception):
    """There is no such time zone; the message says which setting names it."""


# After the shops have sent the day.
HOUR = 2


def every_night(timezone: str) -> dg.ScheduleDefinition:
    """Declare the schedule of the nightly job; it is on wherever Dagster's daemon runs, also with `make ui`.

    Args:
        timezone: the zone of the clock that it goes by, such as Europe/Berlin.
    """
    return dg.ScheduleDefinition(
        name="every_night",
        job=nightly,
        cron_schedule=f"0 {HOUR} * * *",
        execution_timezone=timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"The nightly job at {in_words(timezone)}, after the shops have sent the day. It runs while "
        "Dagster's daemon does (`make ui` starts it). The switch turns it off. NEXT_AISLE_TIMEZONE names another zone.",
    )


def in_words(timezone: str) -> str:
    """Say when the nightly job runs: `02:00 Europe/Berlin`.

    Args:
        timezone: the zone of the clock that it goes by.
    """
    return f"{HOUR:02}:00 {timezone}"


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
