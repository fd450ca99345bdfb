"""Each value that an API sends is loaded as the same value, or is an error; nothing is rounded or guessed."""

import datetime as dt
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from ingestion.raw_tables import LoadError
from ingestion.rest_api.records import RECORD_NUMBER, Records, stored_path


def read(text: str) -> Any:
    """A JSON text, as the session reads it."""
    return json.loads(text, parse_float=Decimal)


def value_of(kind: str, text: str) -> Any:
    """What a column of a type holds of a value that was sent as JSON."""
    records = Records("shop.things", {"id": "bigint", "value": kind}, ("id",))
    return records.to_table([{"id": 1, "value": read(text)}], page=1)["value"][0].as_py()


def refusal(kind: str, text: str) -> str:
    with pytest.raises(LoadError) as raised:
        value_of(kind, text)
    begin, _, rest = str(raised.value).partition(": value is ")
    assert begin == "shop.things: page 1, record 1 of the pull (id 1)"
    assert rest.endswith("Nothing was loaded.")
    return rest


class TestValues:
    @pytest.mark.parametrize(
        ("kind", "sent", "expected"),
        [
            ("text", '"12.50"', "12.50"),
            ("text", "12.50", "12.50"),
            ("text", "0.10000000000000000001", "0.10000000000000000001"),
            ("text", "1e-7", "0.0000001"),
            ("text", "1.5e3", "1500"),
            ("text", "12345678901234567890123", "12345678901234567890123"),
            ("text", "true", "true"),
            ("text", '""', ""),
            ("text", '"  \\u00e9\\ud83d\\ude00 "', "  é😀 "),
            ("text", '{"b": [1.50, null, "x\\"y"], "a": false}', '{"b": [1.50, null, "x\\"y"], "a": false}'),
            ("text", "null", None),
            ("bigint", "9223372036854775807", 9223372036854775807),
            ("bigint", '"-9223372036854775808"', -9223372036854775808),
            ("bigint", "5.0", 5),
            ("bigint", "5e2", 500),
            ("bigint", '"0042"', 42),
            ("decimal(18,2)", "12.5", Decimal("12.50")),
            ("decimal(18,2)", '"12.500"', Decimal("12.50")),
            ("decimal(18,2)", "-0.01", Decimal("-0.01")),
            ("decimal(18,2)", "9999999999999999.99", Decimal("9999999999999999.99")),
            ("decimal(38,0)", "9" * 38, Decimal("9" * 38)),
            ("decimal(18,2)", "1.25e1", Decimal("12.50")),
            ("double", "0.1", 0.1),
            ("double", '"0.1"', 0.1),
            ("double", "9007199254740992", 9007199254740992.0),
            ("bool", "false", False),
            ("date", '"2026-02-28"', dt.date(2026, 2, 28)),
            ("timestamp", '"2026-11-21T22:01:02Z"', dt.datetime(2026, 11, 21, 22, 1, 2)),
            ("timestamp", '"2026-11-21T22:01:02-05:00"', dt.datetime(2026, 11, 22, 3, 1, 2)),
            ("timestamp", '"2026-11-21T22:01:02.123456789+0530"', dt.datetime(2026, 11, 21, 16, 31, 2, 123456)),
            ("timestamp", '"2026-11-21 22:01"', dt.datetime(2026, 11, 21, 22, 1)),
            (
                "timestamp with time zone",
                '"2026-11-21T22:01:02-05:00"',
                dt.datetime(2026, 11, 22, 3, 1, 2, tzinfo=dt.UTC),
            ),
            ("time", '"22:01:02.5"', dt.time(22, 1, 2, 500000)),
            ("json", '[1.50, {"a": "é"}]', '[1.50, {"a": "é"}]'),
            ("json", '"a"', '"a"'),
            # The hour that a clock in Berlin shows twice is two moments.
            ("timestamp", '"2026-10-25T02:30:00+02:00"', dt.datetime(2026, 10, 25, 0, 30)),
            ("timestamp", '"2026-10-25T02:30:00+01:00"', dt.datetime(2026, 10, 25, 1, 30)),
        ],
    )
    def test_the_same_value(self, kind: str, sent: str, expected: Any) -> None:
        value = value_of(kind, sent)
        assert value == expected
        assert type(value) is type(expected)
        if isinstance(value, dt.datetime):
            assert value.tzinfo == expected.tzinfo or value.utcoffset() == dt.timedelta(0)

    @pytest.mark.parametrize(
        ("kind", "sent", "reason"),
        [
            ("text", '"\\ud83d"', "surrogates not allowed"),
            ("text", '{"a": "\\ud83d"}', "surrogates not allowed"),
            ("text", "1e999999", "too many digits"),
            ("bigint", "9223372036854775808", "it does not fit into 64 bits"),
            ("bigint", "5.5", None),
            ("bigint", '"5.0"', None),
            ("bigint", '"1,000"', None),
            ("bigint", '" 5"', None),
            ("bigint", '""', None),
            ("bigint", "true", None),
            ("bigint", "[5]", None),
            ("bigint", "1e999999", None),
            ("decimal(18,2)", "0.005", "it has more than 2 digits after the point"),
            ("decimal(4,2)", "100", "it has more digits"),
            ("decimal(18,2)", "1e999999", "it has more digits"),
            ("decimal(18,2)", '"12,50"', None),
            ("decimal(18,2)", '"12.50 EUR"', None),
            ("decimal(18,2)", '"NaN"', None),
            ("decimal(18,2)", '"Infinity"', None),
            ("decimal(18,2)", '""', None),
            ("decimal(18,2)", "true", None),
            ("double", "9007199254740993", "it does not fit into 64 bits"),
            ("double", "1e999", "it does not fit into 64 bits"),
            ("double", '"nan"', None),
            ("bool", '"false"', None),
            ("bool", "0", None),
            ("date", '"2026-02-30"', "day is out of range for month"),
            ("date", '"2026-02-28T00:00:00Z"', None),
            ("date", '"28.02.2026"', None),
            ("timestamp", '"2026-11-21"', None),
            ("timestamp", "1763762400", None),
            ("timestamp", '"2026-11-21T25:00:00Z"', "hour must be in 0..23"),
            ("timestamp", '"0000-00-00 00:00:00"', "year 0 is out of range"),
            ("timestamp", '"0001-01-01T00:00:00+05:00"', "date value out of range"),
            ("timestamp", '"yesterday"', None),
            ("timestamp with time zone", '"2026-11-21T22:01:02"', "it has no time zone"),
            ("time", '"24:00"', "hour must be in 0..23"),
            ("time", '"22:01:02+01:00"', None),
            ("json", '"\\ud83d"', "surrogates not allowed"),
        ],
    )
    def test_or_an_error(self, kind: str, sent: str, reason: str | None) -> None:
        message = refusal(kind, sent)
        assert f"which is no {kind}" in message
        assert (reason or "Have it corrected, or declare another type") in message

    def test_the_value_is_shown_without_control_characters_and_not_at_length(self) -> None:
        message = refusal("bigint", json.dumps("\x1b[31m" + "x" * 1000))
        assert "\x1b" not in message
        assert "xxx..., which is no bigint" in message
        assert len(message) < 200

    def test_a_column_has_time_zones_or_it_has_none(self) -> None:
        records = Records("shop.things", {"id": "bigint", "at": "timestamp"}, ("id",))
        records.to_table([{"id": 1, "at": "2026-11-21T12:00:00Z"}, {"id": 2, "at": None}], page=1)
        with pytest.raises(LoadError, match=r"page 2, record 3 .*some values have a time zone and others have none"):
            records.to_table([{"id": 3, "at": "2026-11-21T12:00:00"}], page=2)


class TestFields:
    def rows(self, records: Sequence[Any], **options: Any) -> list[dict[str, Any]]:
        columns = {"id": "bigint", "customer__id": "bigint", "lines__no": "bigint", "lines__item__sku": "text"}
        self.reader = Records("shop.orders", columns, ("id",), "lines", **options)
        rows: list[dict[str, Any]] = self.reader.to_table(records, page=1).to_pylist()
        return rows

    def test_each_entry_of_the_list_is_a_row_with_the_fields_of_its_record(self) -> None:
        rows = self.rows(
            [
                {"id": 1, "customer": {"id": 5, "vip": True}, "lines": [{"no": 1, "item": {"sku": "a"}, "x": 1}]},
                {"id": 2, "customer": None, "lines": []},
                {"ID": 3, "Customer": {"Id": 6}, "Lines": [{"No": 1, "item": None}, {"no": 2, "item": {"sku": ""}}]},
            ]
        )
        assert [tuple(row.values()) for row in rows] == [
            (1, 5, 1, "a", 1),
            (2, None, None, None, 2),
            (3, 6, 1, None, 3),
            (3, 6, 2, "", 3),
        ]
        assert list(rows[0])[-1] == RECORD_NUMBER
        assert self.reader.not_taken == {"customer__vip", "lines__x"}

    @pytest.mark.parametrize(
        ("record", "expected"),
        [
            ({"customer": None, "lines": []}, "the field id is missing"),
            ({"id": 1, "lines": []}, "the field customer__id is missing"),
            ({"id": 1, "customer": {}, "lines": []}, "the field customer__id is missing"),
            ({"id": 1, "customer": 5, "lines": []}, "customer__id is missing. It has other fields: customer."),
            ({"id": 1, "customer": None}, "the field lines is missing"),
            ({"id": 1, "customer": None, "lines": [{"no": 1}]}, "the field lines__item__sku is missing"),
            ({"id": 1, "customer": None, "lines": [5]}, "lines is a list where a list of objects should be"),
            ({"id": 1, "Id": 1, "customer": None, "lines": []}, "it has id twice, spelled in two ways"),
            ({"id": "", "customer": None, "lines": []}, 'id is "", which is no bigint'),
        ],
    )
    def test_a_declared_field_must_be_there(self, record: dict[str, Any], expected: str) -> None:
        with pytest.raises(LoadError) as raised:
            self.rows([record])
        assert expected in str(raised.value)

    def test_what_may_be_left_out_is_null(self) -> None:
        optional = ("customer", "lines", "lines__item")
        rows = self.rows([{"id": 1}, {"id": 2, "lines": None}, {"id": 3, "lines": [{"no": 1}]}], optional=optional)
        assert [tuple(row.values()) for row in rows] == [
            (1, None, None, None, 1),
            (2, None, None, None, 2),
            (3, None, 1, None, 3),
        ]

    @pytest.mark.parametrize(
        ("path", "stored"),
        [
            ("id", "id"),
            ("customer.id", "customer__id"),
            ("customer__id", "customer__id"),
            ("lineItems.Product ID", "line_items__product_id"),
            ("_orders_created_at", "_orders_created_at"),
        ],
    )
    def test_paths_are_stored_as_dlt_would(self, path: str, stored: str) -> None:
        assert stored_path(path) == stored
