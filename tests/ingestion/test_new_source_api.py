"""What `ingestion new --api` finds at a real HTTP server on this machine, and what it writes."""

import datetime as dt
import re
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ingestion.new_source import api, command
from ingestion.new_source.found import Found
from ingestion.new_source.match import Matched, match, raw_tables
from ingestion.new_source.write import skeleton
from ingestion.raw_tables import LoadError
from ingestion.rest_api.source import RestApi
from tests.conftest import Project, copy_code
from tests.fixtures.shop_api import TOKEN, Answer, ShopApi, body, changed, status
from tests.ingestion.corner_shop import at, fill, line, order, product, pull, query

NAME = "my_shop"
CREDENTIALS = f"SOURCES__{NAME.upper()}__CREDENTIALS__"
TODAY = dt.date(2026, 11, 20)


@pytest.fixture
def shop(data: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[ShopApi]:
    """The corner shop's API, and its credentials under the new source's name."""
    monkeypatch.setenv(f"{CREDENTIALS}API_KEY", TOKEN)
    monkeypatch.setenv(f"{CREDENTIALS}NAME", "X-Access-Token")
    monkeypatch.setenv("RUNTIME__REQUEST_BACKOFF_FACTOR", "0.01")
    with ShopApi().running() as shop:
        fill(shop)
        yield shop


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def addresses(shop: ShopApi, *endpoints: str) -> list[str]:
    return [f"{shop.url}{endpoint}" for endpoint in endpoints]


ALL = ("orders.json?limit=2", "customers.json?limit=2", "products.json?limit=2")


def look(shop: ShopApi, connection: duckdb.DuckDBPyConnection, *endpoints: str) -> tuple[list[Found], dict[str, Any]]:
    return api.look(NAME, addresses(shop, *endpoints), connection, lambda _line: None)


def found_at(shop: ShopApi, connection: duckdb.DuckDBPyConnection, endpoint: str) -> Found:
    ((table,), _) = look(shop, connection, endpoint)
    return table


def endpoint_of(table: Found) -> dict[str, Any]:
    """An endpoint's declaration; a mark in it is the text of its question."""
    declared: dict[str, Any] = eval(table.declaration["endpoint"], {"to_decide": lambda question: question})
    return declared


def refused(shop: ShopApi, connection: duckdb.DuckDBPyConnection, endpoint: str = "orders.json") -> str:
    with pytest.raises(LoadError) as raised:
        look(shop, connection, endpoint)
    message = str(raised.value)
    assert "Nothing was written" in message
    assert "loaded" not in message
    assert TOKEN not in message
    return message


def written(found: list[Found], client: dict[str, Any], connection: duckdb.DuckDBPyConnection) -> tuple[str, Any]:
    matches = match(found, connection)
    text = api.module_of(NAME, client, raw_tables(matches))
    return text, skeleton(NAME, text, matches, connection, TODAY)


def without_comments(text: str) -> str:
    return re.sub(r"(?m)^ *# .*\n", "", text)


def source_of(text: str) -> RestApi:
    module = types.ModuleType(NAME)
    exec(compile(text, NAME, "exec"), module.__dict__)
    source: RestApi = module.SOURCE
    return source


class TestCornerShop:
    def test_the_declaration_of_its_three_endpoints(self, shop: ShopApi, connection: duckdb.DuckDBPyConnection) -> None:
        text, made = written(*look(shop, connection, *ALL), connection)
        assert without_comments(text) == DECLARED.replace("URL", shop.url)
        assert TOKEN not in "".join(made.files.values())
        # Two pages of what the Link header names, one of the cursor, one of page 2; and the first ones twice.
        assert len(shop.requests) == 10

    def test_what_a_person_has_to_decide_is_what_a_line_costs(
        self, shop: ShopApi, connection: duckdb.DuckDBPyConnection
    ) -> None:
        # Whether the price is that before the discount, only a person knows.
        _, made = written(*look(shop, connection, *ALL), connection)
        assert made.decisions == [
            (
                f"dbt_project/models/staging/{NAME}/stg_{NAME}__purchases.sql",
                "which column, or SQL over columns, is amount? One of line_items__price (0.9900), "
                'line_items__quantity (1), line_items__total_discount (0.0000); "null" if there is none',
            )
        ]

    def test_what_is_what(self, shop: ShopApi, connection: duckdb.DuckDBPyConnection) -> None:
        matches = match(look(shop, connection, *ALL)[0], connection)
        assert names(matches["purchases"]) == {
            "customer_id": "customer__id",
            "basket_id": "id",
            # Its name could be that of the product, as sku could; the products have its values.
            "product_id": "line_items__product_id",
            "store_id": "location_id",
            "purchased_at": "created_at",
            "quantity": "line_items__quantity",
            "discount_amount": "line_items__total_discount",
        }
        assert names(matches["customers"]) == {"customer_id": "id", "country": "default_address__country_code"}
        assert names(matches["products"]) == {
            "product_id": "id",
            "product_name": "title",
            "department": "department",
            "category": "product_type",
            "manufacturer_id": "vendor",
        }

    def test_what_was_written_loads_and_the_second_time_nothing_is_new(
        self, shop: ShopApi, connection: duckdb.DuckDBPyConnection
    ) -> None:
        text, _ = written(*look(shop, connection, *ALL), connection)
        source = source_of(text)
        assert {name: report.rows_loaded for name, report in pull(source).items()} == {
            "customers": 3,
            "products": 4,
            # Eight lines; and an order that has none.
            "purchases": 9,
        }
        columns = "id, line_items__product_id, line_items__quantity, line_items__price, line_items__total_discount"
        rows = query(f"select {columns} from raw_{NAME}.purchases order by all")
        assert [tuple(map(str, row)) for row in rows[:3]] == [
            ("101", "10", "1", "1.5000", "0.0000"),
            ("101", "11", "2", "2.2500", "0.5000"),
            ("102", "10", "1", "1.5000", "0.0000"),
        ]
        assert {report.rows_loaded for report in pull(source).values()} == {0}

    def test_models_take_the_newest_version_of_a_record(
        self, shop: ShopApi, connection: duckdb.DuckDBPyConnection
    ) -> None:
        files = written(*look(shop, connection, *ALL), connection)[1].files
        model = files[f"dbt_project/models/staging/{NAME}/stg_{NAME}__purchases.sql"]
        assert f"from ({{{{ raw_rows('{NAME}', 'purchases') }}}}) as pulled" in model
        assert "when {{ is_superseded_record(['id']) }} then 'superseded_version'" in model
        assert "when cancelled_at is not null then 'deleted'" in model
        assert "{{ shop_time('created_at', 'UTC') }}" in model
        yml = files[f"dbt_project/models/staging/{NAME}/_{NAME}__sources.yml"]
        assert yml.count("name: _record_number") == 3
        assert f"from raw_{NAME}._dlt_loads where status = 0" in yml
        assert "select cast(created_at as timestamp) as paid_at_utc" in yml

    def test_empty_text_where_the_time_of_a_cancellation_could_be_deletes_nothing(
        self, shop: ShopApi, connection: duckdb.DuckDBPyConnection
    ) -> None:
        for one in shop.orders:
            one["cancelled_at"] = ""
        files = written(*look(shop, connection, *ALL), connection)[1].files
        assert "'deleted'" not in files[f"dbt_project/models/staging/{NAME}/stg_{NAME}__purchases.sql"]

    def test_its_currency_is_that_of_its_orders(self, shop: ShopApi, connection: duckdb.DuckDBPyConnection) -> None:
        tables = raw_tables(match(look(shop, connection, *ALL)[0], connection))
        assert command._currency(None, tables) == ("EUR", "as its records say")


def names(matched: Matched) -> dict[str, str]:
    return {canonical: column.name for canonical, column in matched.columns.items()}


class TestPages:
    def test_by_offset(self, shop: ShopApi, connection: duckdb.DuckDBPyConnection) -> None:
        shop.stores = [{"id": number} for number in range(5)]
        table = found_at(shop, connection, "stores.json?limit=2")
        assert endpoint_of(table)["paginator"] == {
            "type": "offset",
            "limit": 2,
            "offset_param": "offset",
            "limit_param": "limit",
            "total_path": "total",
        }
        assert "params" not in endpoint_of(table), "the paginator sets the limit"
        assert table.row_count == 5

    def test_by_an_address_in_the_body(self, shop: ShopApi, connection: duckdb.DuckDBPyConnection) -> None:
        def with_next(answer: Answer) -> None:
            link = re.fullmatch("<(.*)>; rel=.*", answer.headers.pop("Link", ""))
            answer.set_json(answer.json | {"links": {"next": link[1] if link else None}})

        shop.misbehave("orders", with_next, times=99)
        table = found_at(shop, connection, "orders.json?limit=2")
        assert endpoint_of(table)["paginator"] == {"type": "json_link", "next_url_path": "links.next"}

    def test_by_numbers_from_0_without_a_total(self, shop: ShopApi, connection: duckdb.DuckDBPyConnection) -> None:
        everything = [product(number) for number in range(1, 6)]

        def page(answer: Answer) -> None:
            number = int(shop.requests[-1].query.get("page", 0))
            answer.set_json(everything[2 * number : 2 * number + 2])

        shop.misbehave("products", page, times=99)
        endpoint = endpoint_of(found_at(shop, connection, "products.json?per_page=2"))
        assert endpoint["data_selector"] == "$"
        assert endpoint["paginator"] == {
            "type": "page_number",
            "base_page": 0,
            "page_param": "page",
            "total_path": None,
        }
        assert endpoint["params"] == {"per_page": 2}

    def test_of_one_page_nothing_shows_how_the_next_would_be_asked_for(
        self, shop: ShopApi, connection: duckdb.DuckDBPyConnection
    ) -> None:
        table = found_at(shop, connection, "products.json")
        question = "which paginator of dlt's reads the next page? 'single_page' if this is all"
        assert endpoint_of(table)["paginator"] == question
        assert table.decide[0].startswith(f"products: {question}. The answer does not show it: if there was only one")
        assert table.row_count == 4

    def test_a_parameter_that_the_server_pays_no_heed_to_is_not_declared(
        self, shop: ShopApi, connection: duckdb.DuckDBPyConnection
    ) -> None:
        shop.ignore = {"cursor"}
        table = found_at(shop, connection, "customers.json?limit=2")
        assert endpoint_of(table)["paginator"].startswith("which paginator of dlt's reads the next page?")
        assert len(shop.requests) <= 1 + 2 * api.WAYS

    def test_pages_that_differ_only_in_when_they_were_made_are_one_page(
        self, shop: ShopApi, connection: duckdb.DuckDBPyConnection
    ) -> None:
        def made_now(answer: Answer) -> None:
            answer.set_json([{"id": 1, "answer": len(shop.requests)}, {"id": 2, "answer": len(shop.requests)}])

        shop.misbehave("products", made_now, times=99)
        table = found_at(shop, connection, "products.json")
        assert endpoint_of(table)["paginator"].startswith("which paginator of dlt's reads the next page?")


class TestRecords:
    def test_of_two_lists_the_one_named_like_the_address_is_it(
        self, shop: ShopApi, connection: duckdb.DuckDBPyConnection
    ) -> None:
        shop.misbehave("orders", changed(lambda answer: {"warnings": [{"id": 1}], **answer}), times=99)
        assert endpoint_of(found_at(shop, connection, "orders.json?limit=2"))["data_selector"] == "orders"

    def test_otherwise_a_person_decides(self, shop: ShopApi, connection: duckdb.DuckDBPyConnection) -> None:
        two = {"data": {"warnings": [{"id": 1}], "entries": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]}}
        shop.misbehave("orders", changed(lambda _answer: two), times=99)
        table = found_at(shop, connection, "orders.json")
        assert endpoint_of(table)["data_selector"] == (
            "which list are the records? One of data.warnings, data.entries; "
            "the columns below are those of data.entries"
        )
        assert [question.partition("?")[0] for question in table.decide] == [
            "orders: which list are the records",
            "orders: which paginator of dlt's reads the next page",
        ]

    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            (["1.50", "2", None], "decimal(18,4)"),
            (["007", "1.5"], "text"),
            (["123", "124"], "text"),
            ([1, 2], "bigint"),
            ([12345678901234567890, 1], "decimal(38,10)"),
            ([True, None], "bool"),
            (["2026-11-01", "2026-11-02"], "date"),
            (["2026-11-01T10:00:00Z", "2026-11-01T10:00:00+01:00"], "timestamp"),
            (["2026-11-01T10:00:00Z", "2026-11-01T10:00:00"], "text"),
            ([{"deep": {"er": 1}}], "json"),
            ([["a"], None], "json"),
            ([None, None], "text"),
            ([1, "a"], "text"),
        ],
    )
    def test_types(self, values: list[Any], kind: str, shop: ShopApi, connection: duckdb.DuckDBPyConnection) -> None:
        value = "field__deep" if kind == "json" and isinstance(values[0], dict) else "field"
        shop.stores = [{"id": number, "field": one} for number, one in enumerate(values)]
        assert found_at(shop, connection, "stores.json").column(value).type == kind

    def test_fields_that_some_leave_out_are_optional_and_those_of_null_are_not(
        self, shop: ShopApi, connection: duckdb.DuckDBPyConnection
    ) -> None:
        shop.orders = [
            order(1, 10, line(1, 10), customer=None, note="a"),
            order(2, 11, line(2, 10) | {"gift": True}),
            order(3, 12, line_items=None),
        ]
        del shop.orders[0]["note"]
        table = found_at(shop, connection, "orders.json?limit=2")
        assert table.declaration["optional"] == '("note", "line_items__gift", "line_items")'
        assert table.declaration["rows"] == '"line_items"'

    def test_an_order_has_names_and_amounts_that_are_not_its_lines(
        self, shop: ShopApi, connection: duckdb.DuckDBPyConnection
    ) -> None:
        shop.orders = [
            order(1, 10, line(1, 10, 2, "1.50") | {"name": "Milk"}, name="#1", order_number=1001, total="3.00"),
            order(2, 11, line(2, 10, 3, "1.50") | {"name": "Milk"}, name="#2", order_number=1002, total="4.50"),
        ]
        for one in shop.orders:
            del one["line_items"][0]["total_discount"]
        matched = match([found_at(shop, connection, "orders.json?limit=1")], connection)["purchases"]
        # Without products, nothing says whether it is the sku or the product_id.
        assert [column.name for column in matched.candidates["product_id"]] == [
            "line_items__product_id",
            "line_items__sku",
        ]
        assert names(matched)["basket_id"] == "id"
        assert matched.table is not None
        assert {column.known_as for column in matched.table.columns} >= {"name", "of_order_name"}

    def test_the_variants_of_a_product_are_no_lines(self, shop: ShopApi, connection: duckdb.DuckDBPyConnection) -> None:
        shop.products = [product(1, variants=[{"id": 7, "product_id": 1, "sku": "a", "price": "1.50"}])]
        table = found_at(shop, connection, "products.json")
        assert "rows" not in table.declaration
        assert table.column("variants").type == "json"

    def test_no_key(self, shop: ShopApi, connection: duckdb.DuckDBPyConnection) -> None:
        shop.stores = [{"city": "Bonn"}, {"city": "Ulm"}]
        table = found_at(shop, connection, "stores.json")
        assert table.declaration["key"] == 'to_decide("which of its columns name a record?")'


class TestRefused:
    @pytest.mark.parametrize("code", [401, 403])
    def test_credentials(
        self, code: int, shop: ShopApi, connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shop.misbehave("orders", status(code, f"no access with {TOKEN}"), times=9)
        assert refused(shop, connection) == (
            f"orders: page 1 of /admin/api/orders.json: answered {code}: no access with ***. Set {CREDENTIALS}API_KEY "
            f"and {CREDENTIALS}NAME (its header, now X-Access-Token), and look whether it is still valid. "
            "Nothing was written."
        )
        shop.forget()
        monkeypatch.delenv(f"{CREDENTIALS}API_KEY")
        assert f"Set {CREDENTIALS}TOKEN (a bearer token), or {CREDENTIALS}API_KEY with" in refused(shop, connection)

    def test_a_bearer_token(
        self, shop: ShopApi, connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(f"{CREDENTIALS}TOKEN", TOKEN)
        assert look(shop, connection, "products.json")[1] == {"base_url": shop.url, "auth": {"type": "bearer"}}
        assert shop.requests[0].headers["authorization"] == f"Bearer {TOKEN}"

    @pytest.mark.parametrize(
        ("fault", "message"),
        [
            (body("<html>", "text/html"), "answered with no JSON (text/html, 6 bytes): <html>. Nothing was written."),
            (body('{"orders": []}'), "the answer of orders.json has an empty list"),
            (body("[]"), "the answer of orders.json has an empty list"),
            (body('{"1": {"id": 1}, "2": {"id": 2}}'), "has no list of records at its top or below a key, but 1, 2."),
            (body("[1, 2]"), "has no list of records at its top or below a key, but entries that are no objects."),
            (body('"text"'), "has no list of records at its top or below a key, but entries that are no objects."),
            (status(301, Location="https://other.example/x?a=b"), "sends on to https://other.example/x (301). Give"),
            (status(404, "not there"), "orders.json: answered 404: not there."),
            (status(500, "broken"), "orders.json: answered 500: broken, at every attempt."),
        ],
    )
    def test_answers(
        self,
        fault: Callable[[Answer], None],
        message: str,
        shop: ShopApi,
        connection: duckdb.DuckDBPyConnection,
    ) -> None:
        shop.misbehave("orders", fault, times=99)
        assert message in refused(shop, connection)

    def test_no_answer(self, connection: duckdb.DuckDBPyConnection, shop: ShopApi) -> None:
        with pytest.raises(LoadError, match=r"^orders: page 1 of /orders: the server cannot be reached"):
            api.look(NAME, ["http://127.0.0.1:1/orders"], connection, lambda _line: None)

    @pytest.mark.parametrize(
        ("urls", "message"),
        [
            (["ftp://a.example/orders"], "must begin with https:// and name a server"),
            (["https://a.example/"], "must begin with https:// and name a server and an endpoint"),
            (["orders.json"], "must begin with https:// and name a server"),
            (["https://[a/orders"], "an address is not valid"),
            (["https://me:s3cret@a.example/orders"], "/orders has credentials in it (user@)"),
            (["https://a.example/orders?api_key=s3cret"], "/orders has credentials in it (api_key)"),
            (["https://a.example/orders", "https://b.example/products"], "several servers"),
            (["https://a.example/orders?x=1", "https://a.example/orders?x=2"], "the same but for their parameters"),
        ],
    )
    def test_addresses(self, urls: list[str], message: str) -> None:
        with pytest.raises(LoadError) as raised:
            api.addresses(NAME, urls)
        assert message in str(raised.value)
        assert "s3cret" not in str(raised.value)

    def test_the_command_writes_nothing(self, shop: ShopApi, capsys: pytest.CaptureFixture[str]) -> None:
        shop.misbehave("products", status(500), times=9)
        urls = [part for url in addresses(shop, "orders.json?limit=2", "products.json") for part in ("--api", url)]
        assert command.main([NAME, *urls]) == 1
        assert f"looking at {shop.url}products.json ..." in capsys.readouterr().err


def test_an_address_that_ends_in_a_slash_and_a_parameter_that_comes_twice() -> None:
    base, found = api.addresses(NAME, ["https://a.example/api/orders/?state=paid&state=sent&all="])
    assert base == "https://a.example/api/"
    assert [(one.table, one.path, one.params) for one in found] == [
        ("orders", "orders/", {"state": ["paid", "sent"], "all": ""})
    ]


def test_tables_are_named_by_what_differs() -> None:
    base, found = api.addresses(
        NAME, ["https://a.example/v1/orders/list?limit=5&status=any", "https://a.example/v1/customers/list"]
    )
    assert base == "https://a.example/v1/"
    assert [(one.table, one.path, one.params) for one in found] == [
        ("orders_list", "orders/list", {"limit": 5, "status": "any"}),
        ("customers_list", "customers/list", {}),
    ]


@pytest.mark.slow
def test_the_written_source_loads_and_its_models_build(shop: ShopApi, tmp_path: Path) -> None:
    project = Project(tmp_path / "data", copy_code(tmp_path / "code"))
    urls = [part for url in addresses(shop, *ALL) for part in ("--api", url)]
    said = done(project.python("ingestion", "new", NAME, *urls))
    assert "Currency: EUR, as its records say" in said
    dbt_project = project.code / "dbt_project"
    model = dbt_project / "models" / "staging" / NAME / f"stg_{NAME}__purchases.sql"
    answer = "'line_items__price * line_items__quantity - line_items__total_discount'"
    model.write_text(re.sub(r"to_decide\(.*\) -%", f"{answer} -%", model.read_text("utf-8")), encoding="utf-8")
    settings = dbt_project / "dbt_project.yml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(re.sub(r"(?m)^  sources: \[.*\]$", f"  sources: [{NAME}]", text), encoding="utf-8")
    done(project.python("ingestion", NAME))
    shop.orders[1] |= {"updated_at": at(17), "line_items": [line(3, 10, 5)]}
    shop.orders[4] |= {"updated_at": at(17), "cancelled_at": at(17)}
    done(project.python("ingestion", NAME))
    select = "+dim_customers +dim_products +fct_purchases +rejected_rows +row_reconciliation"
    done(
        project.dbt(
            "build",
            "--exclude-resource-type",
            "unit_test",
            "--indirect-selection",
            "cautious",
            "--select",
            *select.split(),
        )
    )
    done(project.dbt("test", "--select", f"staging.{NAME},test_type:unit"))
    with duckdb.connect(str(tmp_path / "data" / "warehouse.duckdb"), read_only=True) as warehouse:
        bought = warehouse.sql("select basket_key, product_key, quantity, amount from core.fct_purchases order by all")
        assert [tuple(map(str, row)) for row in bought.fetchall()] == [
            (f"{NAME}:101", f"{NAME}:10", "1.000", "1.50"),
            (f"{NAME}:101", f"{NAME}:11", "2.000", "4.00"),
            (f"{NAME}:102", f"{NAME}:10", "5.000", "7.50"),
            (f"{NAME}:104", f"{NAME}:12", "3.000", "2.97"),
            (f"{NAME}:104", f"{NAME}:13", "1.000", "1.50"),
        ]
        set_aside = warehouse.sql(
            "select rejection_reason, count(*) from quality.rejected_rows "
            "where rejection_reason in ('superseded_version', 'deleted') group by 1 order by 1"
        )
        # The order that was cancelled, of two lines; its first version, and that of the order that changed.
        assert set_aside.fetchall() == [("deleted", 2), ("superseded_version", 3)]


def done(process: Any) -> str:
    assert process.returncode == 0, process.stdout + process.stderr
    return str(process.stdout)


DECLARED = '''"""My shop: its purchases, customers, products."""

from ingestion.rest_api.source import ApiTable, RestApi

SOURCE = RestApi(
    "my_shop",
    client={"base_url": "URL", "auth": {"type": "api_key", "name": "X-Access-Token"}},
    tables=(
        ApiTable(
            name="purchases",
            key="id",
            rows="line_items",
            endpoint={
                "path": "orders.json",
                "params": {"limit": 2},
                "data_selector": "orders",
                "paginator": "header_link",
            },
            columns={
                "id": "bigint",
                "created_at": "timestamp",
                "updated_at": "timestamp",
                "cancelled_at": "text",
                "currency": "text",
                "location_id": "bigint",
                "customer__id": "bigint",
                "customer__email": "text",
                "note": "text",
                "line_items__id": "bigint",
                "line_items__product_id": "bigint",
                "line_items__quantity": "bigint",
                "line_items__price": "decimal(18,4)",
                "line_items__total_discount": "decimal(18,4)",
                "line_items__sku": "text",
            },
        ),
        ApiTable(
            name="customers",
            key="id",
            endpoint={
                "path": "customers.json",
                "params": {"limit": 2},
                "data_selector": "customers",
                "paginator": {"type": "cursor", "cursor_path": "page.next_cursor", "cursor_param": "cursor"},
            },
            columns={
                "id": "bigint",
                "updated_at": "timestamp",
                "default_address__country_code": "text",
                "default_address__city": "text",
                "birth_date": "date",
                "accepts_marketing": "bool",
            },
        ),
        ApiTable(
            name="products",
            key="id",
            endpoint={
                "path": "products.json",
                "params": {"limit": 2},
                "data_selector": "products",
                "paginator": {"type": "page_number", "base_page": 1, "page_param": "page", "total_path": "total_pages"},
            },
            columns={
                "id": "bigint",
                "title": "text",
                "vendor": "text",
                "department": "text",
                "product_type": "text",
                "tags": "json",
            },
        ),
    ),
)
'''
