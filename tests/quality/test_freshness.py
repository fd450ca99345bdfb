"""How old the newest event may be."""

import datetime as dt
from pathlib import Path

import pytest

from quality.freshness import AgeLimit, has_limit, judge_age, limit, newest_event
from tests import here

NOW = dt.datetime(2026, 11, 20, 2, 0)
LIMIT = AgeLimit("purchase", "select 1", dt.timedelta(hours=30), dt.timedelta(hours=48), "dbt_project/shop.yml")


@pytest.mark.parametrize(
    ("newest", "is_recent", "is_too_old"),
    [
        (dt.datetime(2026, 11, 19, 21, 0), True, False),
        (dt.datetime(2026, 11, 18, 20, 0), True, False),  # 30 hours exactly
        (dt.datetime(2026, 11, 18, 19, 59), False, False),
        (dt.datetime(2026, 11, 18, 2, 0), False, False),  # 48 hours exactly
        (dt.datetime(2026, 11, 18, 1, 59), False, True),
        (None, False, True),
    ],
)
def test_the_newest_event_is_judged_by_its_age(newest: dt.datetime | None, is_recent: bool, is_too_old: bool) -> None:
    age = judge_age(newest, NOW, LIMIT)
    assert (age.is_recent, age.is_too_old) == (is_recent, is_too_old)


def test_the_description_has_the_age_and_its_limits() -> None:
    description = judge_age(dt.datetime(2026, 11, 18, 20, 0), NOW, LIMIT).description
    assert description == (
        "The newest purchase was at 2026-11-18 20:00 (UTC), 30 hours ago; "
        "a warning after 30 hours, an error after 48 hours."
    )
    assert judge_age(None, NOW, LIMIT).description == "There is no purchase yet."


def test_data_that_is_too_old_may_be_history_and_the_description_says_how_to_declare_that() -> None:
    description = judge_age(dt.datetime(2011, 12, 9, 12, 50), NOW, LIMIT).description
    assert description.endswith(
        "an error after 48 hours. If no newer data will come because this shop is history, set its tables to "
        "`freshness: null` in dbt_project/shop.yml."
    )


def test_a_table_without_limits_is_not_checked_for_its_age() -> None:
    hour = {"count": 1, "period": "hour"}
    assert has_limit({"freshness": {"warn_after": hour, "error_after": hour}})
    assert not has_limit({"freshness": None})


def test_limits_and_query_are_those_of_dbt_and_the_clock_is_utc(data: Path) -> None:
    node = {
        "schema": "raw_shop",
        "identifier": "purchases",
        "original_file_path": "models/staging/shop/_shop__sources.yml",
        "freshness": {
            "warn_after": {"count": 2, "period": "day"},
            "error_after": {"count": 90, "period": "minute"},
        },
        "loaded_at_query": "select max(sold) at time zone 'America/New_York' from {{ this }}",
    }
    purchase_limit = limit(node, "purchase")
    assert (purchase_limit.warn_after, purchase_limit.error_after) == (dt.timedelta(days=2), dt.timedelta(minutes=90))
    assert purchase_limit.declared_in == "dbt_project/models/staging/shop/_shop__sources.yml"
    with here.connect() as connection:
        connection.execute("create schema raw_shop; create table raw_shop.purchases (sold timestamp)")
        assert newest_event(connection, purchase_limit) is None
        connection.execute("insert into raw_shop.purchases values ('2026-11-19 20:30:00')")
        # Five hours behind UTC in November, whatever zone this machine is in.
        assert newest_event(connection, purchase_limit) == dt.datetime(2026, 11, 20, 1, 30)
        connection.execute("set timezone = 'Asia/Tokyo'")
        assert newest_event(connection, purchase_limit) == dt.datetime(2026, 11, 20, 1, 30)
