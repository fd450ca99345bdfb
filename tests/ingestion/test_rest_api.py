"""Pulling tables from an API, from a real HTTP server on this machine that misbehaves on demand."""

import datetime as dt
import json
import traceback
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

import pytest

from ingestion.raw_tables import LoadError
from ingestion.rest_api.source import ApiTable, RestApi
from ingestion.source import find
from tests import here
from tests.fixtures.shop_api import (
    CLIENT_ID,
    CLIENT_SECRET,
    TOKEN,
    ShopApi,
    body,
    changed,
    half,
    hang_up,
    number,
    status,
    then,
    too_many,
)
from tests.ingestion.corner_shop import (
    DATASET,
    at,
    exists,
    fill,
    line,
    lines,
    load_corner_shop,
    order,
    product,
    pull,
    pull_refused,
    query,
    refused,
    soon,
    versions,
)

LINES = [
    (101, 1, 10),
    (101, 2, 11),
    (102, 3, 10),
    (103, None, None),
    (104, 4, 12),
    (104, 5, 13),
    (104, 6, None),
    (105, 7, 10),
    (105, 8, 10),
]


# The refunds of each order, at an address of its own.
REFUNDS = ApiTable(
    "refunds",
    {"id": "bigint", "amount": "decimal(18,2)", "_purchases_id": "bigint"},
    "id",
    endpoint={
        "path": "orders/{resources.purchases.id}/refunds.json",
        "data_selector": "$",
        "paginator": "single_page",
    },
    include_from_parent=("id",),
)


@pytest.fixture
def shop(api: ShopApi) -> ShopApi:
    """The corner shop with some orders, two in a page."""
    fill(api)
    for table in ("orders", "customers", "products"):
        api.limits[table] = 2
    return api


class TestAFirstPull:
    def test_every_record_arrives_once_whichever_way_it_is_paged(self, shop: ShopApi) -> None:
        report = load_corner_shop()
        assert lines() == LINES
        assert query(f"select id, title from {DATASET}.products order by id") == [
            (10, "Milk"),
            (11, "Bread"),
            (12, "Tea"),
            (13, "Soap"),
        ]
        assert query(f"select id from {DATASET}.customers order by id") == [(1,), (2,), (3,)]
        # By Link header, by page number up to the total, by cursor.
        assert [len(shop.asked(path)) for path in ("orders", "products", "customers")] == [3, 2, 2]
        assert [str(table) for table in report.tables.values()] == [
            "customers: 3 rows from 1 of 1 deliveries; 3 rows in all; fields not taken: default_address__city",
            "products: 4 rows from 1 of 1 deliveries; 4 rows in all",
            "purchases: 9 rows from 1 of 1 deliveries; 9 rows in all; "
            "fields not taken: customer__email, line_items__sku, note",
        ]

    def test_every_line_has_the_fields_of_its_order(self, shop: ShopApi) -> None:
        shop.orders[0]["created_at"] = "2026-11-09T23:30:00-05:00"
        load_corner_shop()
        rows = query(f"select * exclude (_dlt_load_id) from {DATASET}.purchases where id in (101, 103) order by all")
        noon, day = dt.datetime(2026, 11, 10, 12), dt.timedelta(days=1)
        # 23:30 five hours behind UTC is half past four of the next day in UTC.
        made = dt.datetime(2026, 11, 10, 4, 30)
        of_the_order = (101, made, noon, None, "EUR", 7, 1)
        assert rows == [
            (*of_the_order, 1, 10, 1, Decimal("1.50"), Decimal("0.00"), 1, "orders.json, pull 1"),
            (*of_the_order, 2, 11, 2, Decimal("2.25"), Decimal("0.50"), 1, "orders.json, pull 1"),
            # An order without lines and without a customer is one row.
            (103, noon + day * 2, noon + day * 2, None, "EUR", 7, *[None] * 6, 3, "orders.json, pull 1"),
        ]

    def test_the_ledger_says_where_the_rows_came_from_and_how_far_they_go(self, shop: ShopApi) -> None:
        load_corner_shop()
        assert query(
            "select table_name, delivery, origin, row_count, cursor_from, cursor_to "
            f"from {DATASET}.deliveries order by table_name"
        ) == [
            ("customers", "customers.json, pull 1", f"{shop.url}customers.json", 3, None, "2026-11-01T12:00:00"),
            ("products", "products.json, pull 1", f"{shop.url}products.json", 4, None, None),
            ("purchases", "orders.json, pull 1", f"{shop.url}orders.json", 9, None, "2026-11-14T12:00:00"),
        ]

    def test_an_empty_shop_has_empty_tables(self, api: ShopApi) -> None:
        report = load_corner_shop()
        assert [table.rows_total for table in report.tables.values()] == [0, 0, 0]
        assert query(f"select * from {DATASET}.purchases") == []
        assert query(f"select * from {DATASET}.deliveries") == []

    def test_one_table_can_be_pulled_alone(self, shop: ShopApi) -> None:
        load_corner_shop(tables=["products"])
        assert not shop.asked("orders")
        assert len(query(f"from {DATASET}.products")) == 4
        assert query(f"from {DATASET}.purchases") == []


class TestTheNextPull:
    def test_nothing_new_adds_no_row(self, shop: ShopApi) -> None:
        load_corner_shop()
        before = versions()
        report = load_corner_shop()
        assert versions() == before
        assert [table.rows_loaded for table in report.tables.values()] == [0, 0, 0]
        assert load_corner_shop().deliveries == 3

    def test_it_asks_from_the_newest_change_less_the_lag(self, shop: ShopApi) -> None:
        load_corner_shop()
        load_corner_shop()
        assert shop.asked("orders")[-1]["updated_at_min"] == "2026-11-14T11:00:00+00:00"
        assert shop.asked("customers")[-1]["updated_at_min"] == "2026-11-01T11:00:00+00:00"
        assert "updated_at_min" not in shop.asked("orders")[0]

    def test_new_and_changed_records_are_appended_and_the_older_versions_stay(self, shop: ShopApi) -> None:
        load_corner_shop()
        # A line is gone, another has come, in an order that was changed.
        shop.orders[1] |= {"updated_at": at(15), "line_items": [line(9, 12)]}
        shop.orders.append(order(106, 16, line(10, 13)))
        shop.products[0]["title"] = "Whole milk"
        report = load_corner_shop()
        assert [table.rows_loaded for table in report.tables.values()] == [0, 1, 2]
        assert lines() == [*LINES[:2], (102, 9, 12), *LINES[3:], (106, 10, 13)]
        assert query(f"select line_items__id, _delivery from {DATASET}.purchases where id = 102 order by 2") == [
            (3, "orders.json, pull 1"),
            (9, "orders.json, pull 2"),
        ]
        assert query(f"select title from {DATASET}.products where id = 10 order by _dlt_load_id") == [
            ("Milk",),
            ("Whole milk",),
        ]

    def test_an_order_that_loses_its_last_line_has_no_line_that_counts(self, shop: ShopApi) -> None:
        load_corner_shop()
        shop.orders[4] |= {"updated_at": at(15), "line_items": []}
        load_corner_shop()
        assert [row for row in lines() if row[0] == 105] == [(105, None, None)]

    def test_a_change_that_becomes_visible_late_is_found_within_the_lag(self, shop: ShopApi) -> None:
        load_corner_shop()
        # It says that it is older than the newest order of the first pull: it was committed later.
        shop.orders.append(order(106, 14, line(10, 13), updated_at="2026-11-14T11:30:00+00:00"))
        # And this one is older than the lag.
        shop.orders.append(order(107, 14, line(11, 13), updated_at="2026-11-14T10:59:59+00:00"))
        load_corner_shop()
        assert [row for row in lines() if row[0] > 105] == [(106, 10, 13)]

    def test_records_with_the_same_time_at_the_boundary_are_not_lost(self, shop: ShopApi) -> None:
        source = corner_shop_without_lag()
        pull(source)
        shop.orders.append(order(106, 14, line(10, 13)))
        assert pull(source)["purchases"].rows_loaded == 1
        assert (106, 10, 13) in lines()
        assert pull(source)["purchases"].rows_loaded == 0

    def test_offsets_are_compared_as_moments_and_not_as_text(self, shop: ShopApi) -> None:
        # As text the first would be the later one.
        shop.orders[3]["updated_at"] = "2026-11-14T23:00:00+09:00"
        shop.orders[4]["updated_at"] = "2026-11-14T15:00:00-08:00"
        load_corner_shop()
        load_corner_shop()
        assert shop.asked("orders")[-1]["updated_at_min"] == "2026-11-14T22:00:00+00:00"

    def test_a_date_in_the_future_does_not_end_all_pulls(self, shop: ShopApi) -> None:
        shop.orders[4]["updated_at"] = "2099-01-01T00:00:00+00:00"
        started = dt.datetime.now(dt.UTC)
        load_corner_shop()
        shop.orders.append(order(106, 16, line(10, 13), updated_at=soon(0).isoformat()))
        load_corner_shop()
        asked = dt.datetime.fromisoformat(shop.asked("orders")[-1]["updated_at_min"])
        # The time of the first pull, less the lag of an hour; the server's clock shows whole seconds.
        assert abs(asked - started + dt.timedelta(hours=1)) < dt.timedelta(minutes=1)
        assert (106, 10, 13) in lines()

    def test_a_lost_cursor_means_a_full_pull_and_no_row_twice(self, shop: ShopApi) -> None:
        load_corner_shop()
        before = versions()
        with here.connect() as connection:
            connection.execute(f"delete from {DATASET}._dlt_pipeline_state")
        load_corner_shop()
        assert "updated_at_min" not in shop.asked("orders")[-3]
        assert versions() == before

    def test_a_server_that_ignores_the_cursor_adds_no_row_twice(self, shop: ShopApi) -> None:
        load_corner_shop()
        before = versions()
        shop.ignore.add("updated_at_min")
        load_corner_shop()
        assert versions() == before
        # And what it sends of an older time is not dropped.
        shop.orders.append(order(90, 1, line(10, 13)))
        load_corner_shop()
        assert (90, 10, 13) in lines()

    def test_nothing_new_is_nothing_new_in_columns_of_any_type(self, shop: ShopApi) -> None:
        values: dict[str, Any] = {
            "bigint": 1,
            "text": "x, 'y'",
            "double": 1.5,
            "decimal(18,2)": number("12.30"),
            "date": "2026-11-10",
            "timestamp": "2026-11-10T12:00:00+01:00",
            "timestamp with time zone": "2026-11-10T12:00:00+01:00",
            "time": "12:30",
            "bool": False,
            "json": [{"a": number("1.50")}, None],
        }
        columns = {f"c{place}": kind for place, kind in enumerate(values)}
        sent = dict(zip(columns, values.values(), strict=True))
        shop.refunds = {7: [sent, {**dict.fromkeys(sent), "c0": 2}]}
        endpoint = {"path": "orders/7/refunds.json", "data_selector": "$", "paginator": "single_page"}
        source = RestApi("corner_shop", client(shop), (ApiTable("things", columns, "c0", endpoint=endpoint),))
        assert pull(source)["things"].rows_loaded == 2
        assert pull(source)["things"].rows_loaded == 0
        sent["c9"] = [{"a": number("1.51")}, None]
        assert pull(source)["things"].rows_loaded == 1
        assert query(f"select cast(c9 as varchar) from {DATASET}.things where c0 = 1 order by _dlt_load_id") == [
            ('[{"a": 1.50}, null]',),
            ('[{"a": 1.51}, null]',),
        ]

    def test_a_column_declared_later_is_filled_when_the_record_comes_again(self, shop: ShopApi) -> None:
        table = corner_shop_without_lag().tables[1]
        assert table.name == "products"
        pull(RestApi("corner_shop", client(shop), (table,)))
        wider = ApiTable(
            "products", {**table.columns, "sold_as": "text"}, "id", endpoint=table.endpoint, optional=("sold_as",)
        )
        shop.products[0]["sold_as"] = "bottle"
        assert pull(RestApi("corner_shop", client(shop), (wider,)))["products"].rows_loaded == 1
        assert query(f"select id, sold_as from {DATASET}.products where sold_as is not null") == [(10, "bottle")]


class TestOrdersThatChangeWhileTheyAreRead:
    def test_the_version_that_was_read_last_counts(self, shop: ShopApi) -> None:
        def change() -> None:
            shop.orders[0] |= {"updated_at": at(20), "line_items": [line(1, 12)]}

        shop.misbehave("orders", then(change), request=1)
        load_corner_shop()
        assert [row for row in lines() if row[0] == 101] == [(101, 1, 12)]
        # Both versions were sent, and both are in the raw table.
        assert len(query(f"from {DATASET}.purchases where id = 101")) == 3
        assert load_corner_shop().tables["purchases"].rows_loaded == 0

    def test_a_record_that_comes_twice_unchanged_is_loaded_once(self, shop: ShopApi) -> None:
        shop.misbehave("orders", changed(lambda page: {"orders": page["orders"] * 2}), request=1)
        load_corner_shop()
        assert lines() == LINES
        assert len(query(f"from {DATASET}.purchases")) == len(LINES)

    def test_records_that_move_between_numbered_pages_are_pulled_again(self, shop: ShopApi) -> None:
        # One is added before the page that was just read: page 2 begins with the last record of page 1.
        shop.misbehave("products", then(lambda: shop.products.insert(0, product(9, "Salt"))), request=1)
        said: list[str] = []
        report = load_corner_shop(said)
        assert query(f"select id from {DATASET}.products order by id") == [(9,), (10,), (11,), (12,), (13,)]
        assert "corner_shop.products: records moved between pages while they were read (1 came twice)" in said[1]
        assert report.tables["products"].warnings == []

    def test_a_record_that_is_missed_because_another_moved_away_is_found(self, shop: ShopApi) -> None:
        # By page numbers in the order of the last change: 10 changes when page 1 was read, and becomes the last one.
        # 12 moves to page 1, which is not read again.
        shop.misbehave("products", then(lambda: shop.products.append(shop.products.pop(0))), request=1)
        load_corner_shop()
        assert query(f"select id from {DATASET}.products order by id") == [(10,), (11,), (12,), (13,)]
        assert len(shop.asked("products")) == 4

    def test_a_shop_where_records_always_move_is_loaded_with_a_warning(self, shop: ShopApi) -> None:
        shop.misbehave("products", then(lambda: shop.products.append(shop.products.pop(0))), times=100)
        report = load_corner_shop()
        assert report.tables["products"].warnings == [
            "corner_shop.products: records moved between pages while they were read (1 came twice): others may have "
            "been missed. Have the endpoint sort by a number that does not change."
        ]

    def test_back_to_what_it_was_before_the_pull_is_a_version_too(self, shop: ShopApi) -> None:
        load_corner_shop()
        before = dict(shop.orders[0])
        between = {**before, "currency": "USD"}
        shop.misbehave("orders", changed(lambda _: {"orders": [between, before]}), request=1)
        load_corner_shop()
        newest = (
            f"select currency from {DATASET}.purchases where id = 101 order by _dlt_load_id desc, _record_number desc"
        )
        assert [row[0] for row in query(newest)] == ["EUR", "EUR", "USD", "USD", "EUR", "EUR"]


class TestTheServerAsksToWait:
    @pytest.mark.parametrize("fault", [too_many(seconds=1), too_many(until=soon(1))])
    def test_it_waits_says_so_and_goes_on(self, shop: ShopApi, fault: Any) -> None:
        shop.misbehave("orders", fault, request=2)
        said: list[str] = []
        load_corner_shop(said)
        assert lines() == LINES
        waits = [text for text in said if "trying again" in text]
        assert len(waits) == 1
        assert "corner_shop.purchases: page 2 of /admin/api/orders.json: answered 429; trying again in" in waits[0]

    def test_seconds_are_waited_as_asked(self, shop: ShopApi) -> None:
        shop.misbehave("orders", too_many(seconds=2))
        said: list[str] = []
        load_corner_shop(said)
        assert any("answered 429; trying again in 2 s as asked (attempt 2)" in text for text in said)

    def test_a_wait_that_is_too_long_ends_the_pull(self, shop: ShopApi) -> None:
        shop.misbehave("orders", too_many(seconds=86_400), request=2)
        assert refused() == (
            "corner_shop.purchases: page 2 of /admin/api/orders.json: answered 429 and asks to wait 86,400 s, more "
            "than the 5 s that RUNTIME__REQUEST_MAX_RETRY_DELAY allows. Run again later. Nothing was loaded."
        )

    def test_it_gives_up_in_the_end(self, shop: ShopApi) -> None:
        shop.misbehave("orders", too_many(seconds=0), times=100)
        assert "page 1 of /admin/api/orders.json: answered 429" in refused()
        assert len(shop.asked("orders")) == 5


class TestAnswersThatAreTriedAgain:
    FAULTS: ClassVar = {
        "500": status(500, "oops"),
        "503 with a wait": status(503, "", Retry_After="1"),
        "half a body": half("length"),
        "half of a chunked body": half("chunked"),
        "half a body without a length": half("close"),
        "no answer": hang_up,
        "a page for people": body("<html>Back in a minute</html>", "text/html"),
        "an empty body": body(""),
        "damaged compression": body(b"no gzip", Content_Encoding="gzip"),
        "another encoding": body('{"orders": []}'.encode("utf-16")[:-1]),
    }

    @pytest.mark.parametrize("name", FAULTS)
    def test_a_moment_later_all_is_well(self, shop: ShopApi, name: str) -> None:
        shop.misbehave("orders", self.FAULTS[name], request=2, times=2)
        said: list[str] = []
        load_corner_shop(said)
        assert lines() == LINES
        assert sum("trying again" in text for text in said) == 2

    EXPECTED: ClassVar = {
        "500": "answered 500: oops, at every attempt. Run again later",
        "503 with a wait": "answered 503: no text, at every attempt. Run again later",
        "half a body": "the answer was cut off",
        "half of a chunked body": "the answer was cut off",
        "half a body without a length": "answered with no JSON (application/json; charset=utf-8, ",
        "no answer": "the server cannot be reached, or broke the connection",
        "a page for people": "answered with no JSON (text/html, 29 bytes): <html>Back in a minute</html>",
        "an empty body": "answered with no JSON (application/json, 0 bytes): no text",
        "damaged compression": "the answer's compression is damaged",
        "another encoding": "answered with no JSON (application/json, ",
    }

    @pytest.mark.parametrize("name", FAULTS)
    def test_or_nothing_is_loaded(self, shop: ShopApi, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "2")
        shop.misbehave("orders", self.FAULTS[name], request=2, times=100)
        assert f"corner_shop.purchases: page 2 of /admin/api/orders.json: {self.EXPECTED[name]}" in refused()
        assert not exists()

    def test_a_server_that_is_not_there(self, shop: ShopApi, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SOURCES__CORNER_SHOP__BASE_URL", "http://127.0.0.1:1/")
        assert "page 1 of /customers.json: the server cannot be reached" in refused()

    def test_what_was_loaded_before_stays(self, shop: ShopApi) -> None:
        load_corner_shop()
        shop.orders.append(order(106, 16, line(10, 13)))
        shop.products.append(product(14))
        # The products are read before the orders; they are not loaded alone.
        shop.misbehave("orders", status(500), times=100)
        refused()
        shop.forget()
        assert load_corner_shop().tables["products"].rows_loaded == 1
        assert (106, 10, 13) in lines()


class TestPages:
    def test_an_answer_in_the_middle_cannot_be_ignored(self, shop: ShopApi) -> None:
        actions = [{"status_code": 404, "action": "ignore"}]
        source = corner_shop_without_lag(purchases={"response_actions": actions})
        shop.misbehave("orders", status(404), request=3)
        message = pull_refused(source)
        assert "page 3 of /admin/api/orders.json: the answer is to be ignored by `response_actions`, but" in message
        shop.misbehave("orders", status(404))
        pull(source)
        assert lines() == []

    def test_the_same_page_again_is_an_error_and_no_circle(self, shop: ShopApi) -> None:
        shop.misbehave("customers", changed(lambda page: {**page, "page": {"next_cursor": "2"}}), times=100)
        assert "customers: page 2 of /admin/api/customers.json: it names a next page that was read before" in refused()

    def test_page_numbers_that_change_nothing(self, shop: ShopApi) -> None:
        shop.ignore.add("page")
        assert "products: page 2 of /admin/api/products.json: it has the same records as the page before" in refused()

    @pytest.mark.parametrize("code", [400, 404, 410])
    def test_a_reference_that_expires_begins_the_pull_again(self, shop: ShopApi, code: int) -> None:
        shop.misbehave("orders", status(code, "page_info is invalid"), request=3)
        said: list[str] = []
        load_corner_shop(said)
        assert lines() == LINES
        assert len(query(f"from {DATASET}.purchases")) == len(LINES)
        assert said[1] == (
            "corner_shop.purchases: page 3 of /admin/api/orders.json: the reference to page 3 is no longer valid "
            f"(answered {code}: page_info is invalid). Nothing was loaded; run again. Pulling everything once more."
        )

    def test_but_only_once(self, shop: ShopApi) -> None:
        shop.misbehave("orders", status(410), request=3)
        shop.misbehave("orders", status(410), request=6)
        assert "the reference to page 3 is no longer valid" in refused()
        assert len(shop.asked("orders")) == 6

    def test_a_next_page_on_another_server_is_not_asked_for(self, shop: ShopApi) -> None:
        def elsewhere(answer: Any) -> None:
            answer.headers["Link"] = '<http://localhost:1/admin/api/orders.json?page_info=x>; rel="next"'

        shop.misbehave("orders", elsewhere)
        assert "it names a next page on another server, http://localhost:1" in refused()

    def test_a_redirect_is_not_followed(self, shop: ShopApi) -> None:
        shop.misbehave("orders", status(302, Location="http://localhost:1/?token=abc"))
        assert "orders.json: sends on to http://localhost:1/ (302). Declare that place in `base_url`" in refused()

    def test_a_paginator_that_would_read_the_first_page_only(self, shop: ShopApi) -> None:
        source = corner_shop_without_lag(purchases={"paginator": "single_page"})
        message = pull_refused(source)
        assert "purchases: page 1 of /admin/api/orders.json: it names a next page, which the declared" in message
        assert "Declare HeaderLinkPaginator" in message

    @pytest.mark.parametrize(
        ("sent", "expected"),
        [
            ({"orders": None}, "there is no list at `orders` but null. The answer has orders."),
            ({"order_list": []}, "there is no list at `orders` but nothing. The answer has order_list."),
            ({"orders": {"id": 1}}, "there is no list at `orders` but a dict."),
            ({"orders": "none"}, "there is no list at `orders` but a str."),
            ({"orders": [1, 2]}, "`orders` has entries that are no objects"),
            ({"orders": [None]}, "`orders` has entries that are no objects"),
            ([], "there is no list at `orders` but nothing. The answer has a list."),
        ],
    )
    def test_an_answer_without_the_declared_list(self, shop: ShopApi, sent: Any, expected: str) -> None:
        shop.misbehave("orders", body(json.dumps(sent)), request=2)
        assert f"page 2 of /admin/api/orders.json: {expected}" in refused()

    def test_a_total_that_is_missing_or_no_number(self, shop: ShopApi) -> None:
        shop.misbehave("products", changed(lambda page: {"products": page["products"]}))
        assert "it does not say whether there is another page as `paginator` declares: products" in refused()
        shop.misbehave("products", changed(lambda page: {**page, "total_pages": "many"}))
        assert "it does not say whether there is another page" in refused()


class TestFields:
    def change(self, shop: ShopApi, **fields: Any) -> str:
        """Change the last order, on the last page, and return the error."""
        shop.orders[4] |= fields
        message = refused()
        begin = "corner_shop.purchases: page 3, record 5 of the pull (id 105): "
        assert message.startswith(begin), message
        return message.removeprefix(begin)

    def test_a_field_that_vanishes(self, shop: ShopApi) -> None:
        del shop.orders[4]["currency"]
        assert self.change(shop) == (
            "the field currency is missing. It has other fields: customer__email, line_items__sku, note. If it was "
            "renamed, declare its new name; if it may be left out, name it in `optional`: ('currency',). "
            "Nothing was loaded."
        )

    def test_a_field_that_is_renamed(self, shop: ShopApi) -> None:
        shop.orders[4]["line_items"][0]["amount"] = shop.orders[4]["line_items"][0].pop("price")
        message = self.change(shop)
        assert "the field line_items__price is missing. It has other fields: " in message
        assert "line_items__amount" in message

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"location_id": "seven"}, 'location_id is "seven", which is no bigint'),
            ({"location_id": {"id": 7}}, "location_id is an object, which is no bigint"),
            ({"location_id": True}, "location_id is true, which is no bigint"),
            ({"created_at": 1763121600}, "created_at is 1763121600, which is no timestamp"),
            ({"created_at": "2026-11-14T12:00:00"}, "which is no timestamp (some values have a time zone and others"),
            ({"line_items": None}, "line_items is null where a list of objects should be. If that means none, name it"),
            ({"line_items": {"0": {}}}, "line_items is an object where a list of objects should be."),
            ({"line_items": [line(1, 10, price="12,50")]}, 'line_items__price is "12,50", which is no decimal(18,2)'),
            ({"line_items": [line(1, 10, price="1.005")]}, "it has more than 2 digits after the point"),
            (
                {"line_items": [line(1, 10, quantity=number("1.5"))]},
                'line_items__quantity is "1.5", which is no bigint',
            ),
            ({"id": None}, None),
        ],
    )
    def test_a_value_of_another_type(self, shop: ShopApi, fields: dict[str, Any], expected: str | None) -> None:
        if expected is None:
            shop.orders[4] |= fields
            shop.limits["orders"] = 10
            assert "page 1, record 5 of the pull: its key id is empty" in refused()
        else:
            assert expected in self.change(shop, **fields)

    def test_a_list_that_may_be_null(self, shop: ShopApi) -> None:
        shop.orders[4]["line_items"] = None
        table = corner_shop_without_lag().tables[2]
        fields = {name: getattr(table, name) for name in ("name", "columns", "key", "endpoint", "rows")}
        pull(RestApi("corner_shop", client(shop), (ApiTable(**fields, optional=("line_items",)),)))
        assert [row for row in lines() if row[0] == 105] == [(105, None, None)]

    def test_a_cursor_that_is_missing(self, shop: ShopApi) -> None:
        shop.orders[1] = {**shop.orders[1], "updated_at": None}
        shop.sort_by_id = True
        assert "the cursor updated_at of a record is empty: without it the next pull cannot know" in refused()

    def test_money_is_exact_whether_it_comes_as_text_or_as_a_number(self, shop: ShopApi) -> None:
        shop.orders = [
            order(1, 10, line(1, 10, price="9999999999999999.99"), line(2, 10, price=number("9999999999999999.99"))),
            order(2, 11, line(3, 10, price=number("0.10")), line(4, 10, price=number("1e-2")), line(5, 10, price=3)),
        ]
        load_corner_shop()
        prices = [Decimal(text) for text in ("9999999999999999.99", "9999999999999999.99", "0.10", "0.01", "3.00")]
        assert lines("line_items__id, line_items__price") == list(enumerate(prices, 1))


class TestCredentials:
    def hidden(self, text: str) -> None:
        assert TOKEN not in text
        assert "shpat" not in text

    def test_a_missing_secret_is_named(self, shop: ShopApi, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("SOURCES__CORNER_SHOP__CREDENTIALS__API_KEY")
        assert refused() == (
            "source corner_shop: credentials are missing. Set SOURCES__CORNER_SHOP__CREDENTIALS__API_KEY in the "
            "environment, or api_key below [sources.corner_shop.credentials] in .dlt/secrets.toml; nothing was loaded."
        )

    def test_a_missing_address_is_named(self, shop: ShopApi, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("SOURCES__CORNER_SHOP__BASE_URL")
        assert "set SOURCES__CORNER_SHOP__BASE_URL to the address of its API" in refused()

    def test_an_address_with_a_password_in_it_is_refused(self, shop: ShopApi, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SOURCES__CORNER_SHOP__BASE_URL", f"http://me:{TOKEN}@127.0.0.1/")
        message = refused()
        assert "base_url has credentials or parameters in it" in message
        self.hidden(message)

    @pytest.mark.parametrize("request_number", [1, 2])
    def test_a_secret_that_is_refused_at_first_or_in_the_middle(self, shop: ShopApi, request_number: int) -> None:
        shop.misbehave("orders", status(401, f"{{'errors': 'bad key {TOKEN}'}}"), request=request_number, times=100)
        message = refused()
        assert f"page {request_number} of /admin/api/orders.json: answered 401: {{'errors': 'bad key ***'}}." in message
        assert "Set SOURCES__CORNER_SHOP__CREDENTIALS__API_KEY, and look whether it is still valid" in message
        self.hidden(message)

    def test_a_secret_in_the_address_is_not_shown(
        self, shop: ShopApi, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        auth = {"type": "api_key", "name": "access_token", "location": "query"}
        source = corner_shop_without_lag(client={"auth": auth})
        said: list[str] = []
        pull(source, said)
        assert shop.asked("orders")[0]["access_token"] == TOKEN
        monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "2")
        for fault in (
            status(500, TOKEN),
            hang_up,
            status(404, TOKEN),
            status(302, Location=f"/x?access_token={TOKEN}"),
        ):
            shop.misbehave("orders", fault, times=2)
            try:
                pull(source, said)
            except LoadError as error:
                # Neither in the message nor in what a log would print of its causes.
                assert error.__cause__ is None or "PipelineStepFailed" in repr(type(error.__cause__))
                self.hidden(printed(error))
            else:
                pytest.fail("it was loaded")
            shop.forget()
        self.hidden("\n".join(said) + str(capfd.readouterr()))
        self.hidden(str(query(f"from {DATASET}.deliveries")) + str(query(f"from {DATASET}._dlt_pipeline_state")))

    def test_oauth_fetches_a_token_and_another_when_it_expires(
        self, shop: ShopApi, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.use_oauth(monkeypatch)
        source = corner_shop_without_lag(client=oauth(shop))
        shop.misbehave("orders", then(shop.tokens.clear), request=1)
        said: list[str] = []
        pull(source, said)
        assert lines() == LINES
        assert shop.issued == 2
        assert "corner_shop: the token was refused; fetching another" in said

    def test_oauth_fetches_another_token_when_its_time_is_over(
        self, shop: ShopApi, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.use_oauth(monkeypatch)
        shop.token_lives = 0
        pull(corner_shop_without_lag(client=oauth(shop)))
        assert lines() == LINES
        assert shop.issued == 7

    def test_oauth_with_a_wrong_secret(self, shop: ShopApi, monkeypatch: pytest.MonkeyPatch) -> None:
        self.use_oauth(monkeypatch, secret="wrong & more")
        message = pull_refused(corner_shop_without_lag(client=oauth(shop)))
        assert "corner_shop: token from 127.0.0.1:" in message
        assert "answered 401" in message
        assert "Set SOURCES__CORNER_SHOP__CREDENTIALS__CLIENT_ID and" in message
        assert "wrong" not in message
        assert CLIENT_ID not in message

    def test_oauth_whose_every_token_is_refused(self, shop: ShopApi, monkeypatch: pytest.MonkeyPatch) -> None:
        self.use_oauth(monkeypatch)
        shop.misbehave("orders", status(401), times=100)
        assert "page 1 of /admin/api/orders.json: answered 401" in pull_refused(
            corner_shop_without_lag(client=oauth(shop))
        )
        assert len(shop.asked("orders")) == 2

    def test_oauth_refreshes_once_for_the_addresses_of_all_records(
        self, shop: ShopApi, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.use_oauth(monkeypatch)
        shop.misbehave("orders/101/refunds", then(shop.tokens.clear))
        pull(RestApi("corner_shop", oauth(shop), (corner_shop_without_lag().tables[2], REFUNDS)))
        assert shop.issued == 2

    def use_oauth(self, monkeypatch: pytest.MonkeyPatch, secret: str = CLIENT_SECRET) -> None:
        monkeypatch.setenv("SOURCES__CORNER_SHOP__CREDENTIALS__CLIENT_ID", CLIENT_ID)
        monkeypatch.setenv("SOURCES__CORNER_SHOP__CREDENTIALS__CLIENT_SECRET", secret)

    def test_a_secret_of_dlts_secrets_file(self, shop: ShopApi, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SOURCES__CORNER_SHOP__CREDENTIALS__TOKEN", TOKEN)
        pull(corner_shop_without_lag(client={"auth": "bearer"}))
        assert lines() == LINES


class TestOtherKindsOfEndpoints:
    def test_by_offset(self, api: ShopApi) -> None:
        api.stores = [{"id": number, "name": f"Store {number}"} for number in range(1, 8)]
        endpoint = {
            "path": "stores.json",
            "data_selector": "stores",
            "paginator": {"type": "offset", "limit": 3, "total_path": "total"},
        }
        table = ApiTable("stores", {"id": "bigint", "name": "text"}, "id", endpoint=endpoint)
        pull(RestApi("corner_shop", client(api), (table,)))
        assert query(f"select id, name from {DATASET}.stores order by id") == [
            (number, f"Store {number}") for number in range(1, 8)
        ]
        assert [asked["offset"] for asked in api.asked("stores")] == ["0", "3", "6"]

    def test_an_address_for_each_record_of_another_table(self, shop: ShopApi) -> None:
        shop.refunds = {
            102: [{"id": 1, "amount": "1.50"}],
            105: [{"id": 2, "amount": "0.75"}, {"id": 3, "amount": "0"}],
        }
        orders = corner_shop_without_lag().tables[2]
        source = RestApi("corner_shop", client(shop), (orders, REFUNDS))
        pull(source)
        found = f"select _purchases_id, id, amount from {DATASET}.refunds order by 1, 2"
        expected = [(102, 1, Decimal("1.50")), (105, 2, Decimal("0.75")), (105, 3, Decimal("0.00"))]
        assert query(found) == expected
        assert lines() == LINES
        assert pull(source)["refunds"].rows_loaded == 0

    def test_both_are_pulled_together(self, shop: ShopApi) -> None:
        with pytest.raises(LoadError, match="refunds is pulled together with purchases: choose both"):
            pull(RestApi("corner_shop", client(shop), (REFUNDS,)))

    def test_a_list_at_the_top_and_a_number_as_cursor(self, shop: ShopApi) -> None:
        shop.refunds = {7: [{"id": 1, "changed": 1763121600}, {"id": 2, "changed": 1763125200}]}
        endpoint = {
            "path": "orders/7/refunds.json",
            "data_selector": "$",
            "paginator": "single_page",
            "incremental": {"cursor_path": "changed", "start_param": "since", "lag": 60},
        }
        table = ApiTable("refunds", {"id": "bigint", "changed": "bigint"}, "id", endpoint=endpoint)
        source = RestApi("corner_shop", client(shop), (table,))
        pull(source)
        assert pull(source)["refunds"].rows_loaded == 0
        assert [asked.get("since") for asked in shop.asked("orders/7/refunds")] == [None, "1763125140"]

    def test_the_first_pull_begins_where_it_is_told(self, shop: ShopApi) -> None:
        incremental = {"cursor_path": "updated_at", "start_param": "updated_at_min", "initial_value": at(13), "lag": 0}
        pull(corner_shop_without_lag(purchases={"incremental": incremental}))
        assert {row[0] for row in lines()} == {104, 105}


class TestDeclarations:
    GOOD: Mapping[str, Any] = {
        "path": "x",
        "data_selector": "x",
        "paginator": "header_link",
        "incremental": {"cursor_path": "at", "start_param": "since", "lag": 60},
    }

    def declare(self, endpoint: Mapping[str, Any], **fields: Any) -> RestApi:
        table = {"columns": {"id": "bigint", "at": "timestamp"}, "key": "id", **fields}
        return RestApi("probe", {}, (ApiTable("things", endpoint={**self.GOOD, **endpoint}, **table),))

    def test_a_good_one(self) -> None:
        assert self.declare({}).tables[0].cursor == "at"

    @pytest.mark.parametrize(
        ("endpoint", "fields", "expected"),
        [
            ({"paginator": None}, {}, "declare the paginator"),
            ({"paginator": "auto"}, {}, "declare the paginator"),
            ({"paginator": {"type": "auto"}}, {}, "declare the paginator"),
            ({"data_selector": None}, {}, "declare in the endpoint's data_selector"),
            ({"data_selector": "x[*]"}, {}, "declare in the endpoint's data_selector"),
            ({"path": ""}, {}, "declare the endpoint's path"),
            ({"incremental": {"cursor_path": "then"}}, {}, "the cursor then must be a column of type"),
            ({"incremental": {"cursor_path": "id.x"}}, {}, "the cursor id__x must be a column of type"),
            ({"incremental": {"cursor_path": "at", "end_value": 5}}, {}, "settings, end_value cannot be used"),
            ({"incremental": {"cursor_path": "at"}}, {}, "declare in `incremental` the lag"),
            ({"incremental": {"start_param": "since"}}, {}, "the cursor None must be a column"),
            ({}, {"key": None}, "declare which of its columns are the key"),
            ({}, {"key": "number"}, "declare which of its columns are the key"),
            ({}, {"columns": {"id": "integer"}}, "id cannot have the type integer"),
            ({}, {"columns": {"id": "decimal(5,6)"}}, "there is no type 'decimal(5,6)'"),
            ({}, {"columns": {"id": "bigint", "at": "timestamp", "_delivery": "text"}}, "leave it out"),
            (
                {},
                {"rows": "lines", "key": "lines.id", "columns": {"lines.id": "bigint", "at": "timestamp"}},
                "the key names a record, and cannot be a field of its list",
            ),
        ],
    )
    def test_mistakes_are_found_before_anything_is_asked(
        self, endpoint: dict[str, Any], fields: dict[str, Any], expected: str
    ) -> None:
        with pytest.raises(LoadError, match="source probe, table things: ") as raised:
            self.declare(endpoint, **fields)
        assert expected in str(raised.value)

    def test_a_session_of_ones_own_cannot_be_used(self) -> None:
        with pytest.raises(LoadError, match="source probe: of dlt's client settings, session cannot be used here"):
            RestApi("probe", {"session": None}, ())

    @pytest.mark.parametrize(
        "endpoint",
        [
            {"methd": "GET"},
            {"paginator": {"type": "cursor", "curser_path": "next"}},
            {"paginator": "no_such"},
            {"incremental": {"cursor_path": "updated_at", "initial_value": "last week", "lag": 0}},
        ],
    )
    def test_a_mistake_in_dlts_own_terms(self, shop: ShopApi, endpoint: dict[str, Any]) -> None:
        message = pull_refused(corner_shop_without_lag(purchases=endpoint))
        assert "source corner_shop: dlt does not understand the declared endpoints: " in message

    @pytest.mark.parametrize("auth", ["no_such", {"type": "no_such"}, 5])
    def test_a_way_to_log_in_that_there_is_not(self, shop: ShopApi, auth: Any) -> None:
        message = pull_refused(corner_shop_without_lag(client={"auth": auth}))
        assert "source corner_shop: dlt does not understand the declared `auth`" in message


def client(api: ShopApi) -> dict[str, Any]:
    """The client of the corner shop's source."""
    return {"base_url": api.url, "auth": {"type": "api_key", "name": "X-Access-Token"}}


def oauth(api: ShopApi) -> dict[str, Any]:
    """A client that logs in with OAuth 2.0."""
    api.tokens.clear()
    return {"auth": {"type": "oauth2_client_credentials", "access_token_url": f"{api.root}/oauth/token"}}


def corner_shop_without_lag(client: Mapping[str, Any] | None = None, **endpoints: Mapping[str, Any]) -> RestApi:
    """The corner shop's source, with other endpoints, and without a lag."""
    source = find("corner_shop")
    assert isinstance(source, RestApi)
    tables = []
    for table in source.tables:
        endpoint = {**table.endpoint, **endpoints.get(table.name, {})}
        if "incremental" in endpoint:
            endpoint["incremental"] = {**endpoint["incremental"], "lag": 0}
        tables.append(ApiTable(table.name, table.columns, table.key, endpoint=endpoint, rows=table.rows))
    return RestApi("corner_shop", client or source.client, tuple(tables))


def printed(error: BaseException) -> str:
    """What a program prints of an error that it did not expect."""
    return "".join(traceback.format_exception(error))
