"""The nightly schedule: one run a night, by the clock of its zone; late shops are waited for until a deadline."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from ingestion.late import late
from orchestration.schedules import LATE, NIGHT, Hours, every_night
from tests import here
from warehouse.settings import Settings

BERLIN = "Europe/Berlin"


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(BERLIN))


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path), here.NO_COMPUTE_LOGS) as instance:
        yield instance


def look(
    instance: dg.DagsterInstance, time: str, missing: tuple[str, ...] = (), hours: Hours | None = None
) -> dg.RunRequest | str:
    schedule = every_night(hours or Hours(BERLIN), lambda _day: list(missing))
    with dg.build_schedule_context(instance, scheduled_execution_time=at(time)) as context:
        result = schedule.evaluate_tick(context)
    if result.run_requests:
        (request,) = result.run_requests
        return request
    return str(result.skip_message)


@pytest.mark.parametrize(
    ("day", "first", "looks"),
    [
        # An ordinary day.
        ("2026-06-01", "2026-06-01 02:00:00+02:00", 13),
        # There is no 02:00: clocks go from 02:00 to 03:00.
        ("2026-03-29", "2026-03-29 03:00:00+02:00", None),
        # 02:00 is there twice: clocks go from 03:00 back to 02:00. Dagster takes the second one.
        ("2026-10-25", "2026-10-25 02:00:00+01:00", None),
    ],
)
def test_when_clocks_change_a_night_still_has_its_run_and_only_one(
    day: str, first: str, looks: int | None, instance: dg.DagsterInstance
) -> None:
    schedule = every_night(Hours(BERLIN), lambda _day: [])
    midnight = at(f"{day} 00:00")
    times = []
    for time in schedule_execution_time_iterator(midnight.timestamp(), schedule.cron_schedule, BERLIN):
        if time.date() != midnight.date():
            break
        times.append(time)
    assert str(times[0]) == first
    assert looks is None or len(times) == looks
    assert times == sorted(times)
    # Of all the looks of that night, the first one asks for a run, and no other one does.
    asked = []
    for time in times:
        with dg.build_schedule_context(instance, scheduled_execution_time=time) as context:
            for request in schedule.evaluate_tick(context).run_requests or []:
                asked.append(request.run_key)
                instance.create_run_for_job(_job(), tags=request.tags)
    assert asked == [day]


def _job() -> dg.JobDefinition:
    @dg.job
    def some() -> None: ...

    return some


def test_a_late_shop_is_waited_for_until_the_deadline_and_then_the_run_goes_on_without_it(
    instance: dg.DagsterInstance,
) -> None:
    assert look(instance, "2026-06-01 02:00", ("corner_shop",)) == "Waiting until 04:00 for corner_shop."
    assert look(instance, "2026-06-01 03:50", ("corner_shop",)) == "Waiting until 04:00 for corner_shop."
    request = look(instance, "2026-06-01 04:00", ("corner_shop", "kiosk"))
    assert isinstance(request, dg.RunRequest)
    assert (request.run_key, request.tags[NIGHT], request.tags[LATE]) == (
        "2026-06-01",
        "2026-06-01",
        "corner_shop, kiosk",
    )


def test_it_runs_as_soon_as_the_late_shop_has_delivered(instance: dg.DagsterInstance) -> None:
    request = look(instance, "2026-06-01 02:40")
    assert isinstance(request, dg.RunRequest) and LATE not in request.tags
    run = instance.create_run_for_job(_job(), tags=request.tags)
    assert look(instance, "2026-06-01 02:50") == f"The run of this night is {run.run_id[:8]}."
    assert isinstance(look(instance, "2026-06-02 02:00"), dg.RunRequest), "the next night has its own"


def test_a_night_may_go_on_past_midnight(instance: dg.DagsterInstance) -> None:
    hours = Hours(BERLIN, dt.time(23, 30), dt.time(0, 30))
    assert [f"{time:%H:%M}" for time in hours.looks] == ["23:30", "23:40", "23:50", "00:00", "00:10", "00:20", "00:30"]
    assert look(instance, "2026-06-02 00:10", ("kiosk",), hours) == "Waiting until 00:30 for kiosk."
    request = look(instance, "2026-06-02 00:30", ("kiosk",), hours)
    assert isinstance(request, dg.RunRequest) and request.run_key == "2026-06-01"


def test_without_a_deadline_nothing_is_waited_for(instance: dg.DagsterInstance) -> None:
    hours = Hours(BERLIN, dt.time(2, 0), dt.time(2, 0))
    assert hours.cron == ["0 2 * * *"]
    assert isinstance(look(instance, "2026-06-01 02:00", ("kiosk",), hours), dg.RunRequest)


def test_the_hours_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXT_AISLE_NIGHTLY_AT", "01:15")
    monkeypatch.setenv("NEXT_AISLE_WAIT_UNTIL", "05:00")
    settings = Settings()
    assert (settings.nightly_at, settings.wait_until) == (dt.time(1, 15), dt.time(5, 0))


def test_a_shop_is_late_until_its_day_file_is_there_as_a_whole(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestion.sample_shop.SOURCE", "another")
    day = dt.date(2026, 6, 1)
    folder = data / "landing" / "complete_journey" / "purchases"
    assert late(here.paths(), ["complete_journey"], day) == ["complete_journey"]
    folder.mkdir(parents=True)
    (folder / "2026-05-31.parquet").touch()
    (folder / "2026-06-01.parquet.part").touch()
    assert late(here.paths(), ["complete_journey"], day) == ["complete_journey"]
    (folder / "2026-06-01.parquet").touch()
    assert late(here.paths(), ["complete_journey"], day) == []


def test_the_sample_shop_lands_its_files_in_the_run(data: Path) -> None:
    assert late(here.paths(), ["complete_journey"], dt.date(2026, 6, 1)) == []
