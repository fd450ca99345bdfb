"""A shop is held for as long as a run finds a cause, and says since when."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from quality import holding, new_rows, objectives
from quality.holding import LOAD, ROWS
from quality.new_rows import NewRows
from tests import here

SHOPS = ["first_shop", "second_shop"]
AGE = "purchases, newest_purchase_is_recent"


@pytest.fixture
def connection(data: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with here.connect() as connection:
        yield connection


def reasons(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    return {name: held.reason for name, held in holding.read(connection, SHOPS).items()}


def since(connection: duckdb.DuckDBPyConnection, time: str) -> None:
    connection.execute(f"update {holding.HELD_SOURCES} set held_since = timestamp '{time}'")


def test_a_shop_is_held_until_none_of_the_causes_is_found_again(connection: duckdb.DuckDBPyConnection) -> None:
    assert reasons(connection) == {}
    holding.note(connection, "second_shop", {LOAD: "can't be read", AGE: None})
    assert reasons(connection) == {"second_shop": "can't be read"}
    holding.note(connection, "second_shop", {AGE: "too old"})
    assert reasons(connection) == {"second_shop": "can't be read; too old"}
    holding.note(connection, "second_shop", {LOAD: None})
    assert reasons(connection) == {"second_shop": "too old"}
    holding.note(connection, "second_shop", {AGE: None})
    assert reasons(connection) == {}


def test_it_is_held_since_the_first_night_also_when_the_reason_changes(connection: duckdb.DuckDBPyConnection) -> None:
    before = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    holding.note(connection, "first_shop", {AGE: "50 hours old"})
    assert before <= holding.read(connection, SHOPS)["first_shop"].since <= dt.datetime.now(dt.UTC).replace(tzinfo=None)
    since(connection, "2026-11-18 02:00")
    holding.note(connection, "first_shop", {AGE: "74 hours old", LOAD: "no file"})
    held = holding.read(connection, SHOPS)["first_shop"]
    assert held.since == dt.datetime(2026, 11, 18, 2)
    assert (held.reason, held.causes) == ("no file; 74 hours old", frozenset({LOAD, AGE}))


def test_waiting_rows_are_judged_again_by_each_run_and_the_night_is_kept(connection: duckdb.DuckDBPyConnection) -> None:
    holding.note(connection, "first_shop", {ROWS: "half of them are incomplete"})
    since(connection, "2026-11-18 02:00")
    holding.begin(connection, SHOPS)
    assert reasons(connection) == {}
    holding.note(connection, "first_shop", {ROWS: "a third of them is incomplete"})
    assert holding.read(connection, SHOPS)["first_shop"].since == dt.datetime(2026, 11, 18, 2)
    holding.begin(connection, SHOPS)
    holding.note(connection, "first_shop", {ROWS: None})
    assert connection.execute(f"from {holding.HELD_SOURCES}").fetchall() == []


@pytest.mark.parametrize("active", [["first_shop"], ["second_shop", "third_shop"], ["first_shop", "second_shop"]])
def test_a_shop_that_is_not_active_and_the_only_one_are_not_held(
    active: list[str], connection: duckdb.DuckDBPyConnection
) -> None:
    holding.note(connection, "first_shop", {LOAD: "no file"})
    holding.begin(connection, active)
    assert list(holding.read(connection, active)) == (
        ["first_shop"] if len(active) > 1 and "first_shop" in active else []
    )


def test_a_shop_whose_published_deliveries_the_warehouse_has_lost_is_named(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    connection.execute(
        """
        create schema raw_published; create schema raw_first_shop; create schema raw_second_shop;
        create table raw_published.deliveries as from (values
            ('first_shop', 'purchases', 'monday', timestamp '2026-11-16 02:00'),
            ('first_shop', 'purchases', 'tuesday', timestamp '2026-11-17 02:00')
        ) as deliveries(source_name, table_name, delivery, delivered_at);
        create table raw_first_shop.deliveries as from (values
            ('purchases', 'monday', timestamp '2026-11-16 02:00'),
            ('purchases', 'wednesday', timestamp '2026-11-18 02:00')
        ) as deliveries(table_name, delivery, delivered_at);
        create table raw_second_shop.deliveries as from raw_first_shop.deliveries;
        """
    )
    assert holding.without_their_last_night(connection, SHOPS) == []
    # Made again: the same file, loaded at another time.
    connection.execute("update raw_first_shop.deliveries set delivered_at = timestamp '2026-11-20 02:00'")
    assert holding.without_their_last_night(connection, SHOPS) == ["first_shop"]


def test_a_shop_is_judged_by_its_own_new_rows() -> None:
    fine = dict.fromkeys(new_rows.MEASURES, 0)
    counted = {
        ("first_shop", "customers"): NewRows(0, fine, fine),
        # 5 of 100 incomplete: a warning, for only less than 95 % is a breach.
        ("first_shop", "purchases"): NewRows(100, {**fine, "rows_are_complete": 5}, fine),
        ("second_shop", "customers"): NewRows(1000, fine, fine),
        ("second_shop", "purchases"): NewRows(100, {**fine, "rows_are_complete": 40}, fine),
    }
    assert new_rows.breaches(counted, objectives.read()) == {
        "second_shop": "rows_arrive_complete: breach: 60 % in this run, 99 % promised. "
        "raw_second_shop.purchases: 40 of 100 newly delivered rows fail: 60 % pass"
    }
