"""What `ingestion new` finds in the files of shops that it has never seen, and what it writes."""

import datetime as dt
import gzip
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import yaml
from openpyxl import Workbook

from ingestion.new_source import command
from ingestion.new_source.found import Found
from ingestion.new_source.look import look, pattern_of, table_name
from ingestion.new_source.match import Matched, match, raw_tables, words_of_names
from ingestion.new_source.write import Skeleton, checked_name, skeleton, write
from ingestion.raw_tables import LoadError
from tests.fixtures.unseen_shops import SHOPS, TODAY


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    return folder


def found_in(folder: Path, connection: duckdb.DuckDBPyConnection) -> dict[str, Found]:
    scratch = folder.parent / "scratch"
    scratch.mkdir()
    return {table.name: table for table in look(folder, connection, scratch)[0]}


def one_in(folder: Path, connection: duckdb.DuckDBPyConnection) -> Found:
    (table,) = found_in(folder, connection).values()
    return table


def types(table: Found) -> dict[str, str]:
    return {column.name: column.type for column in table.columns}


def made_of(shop: str, tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> tuple[dict[str, Matched], Skeleton]:
    SHOPS[shop](tmp_path / shop)
    matches = match(list(found_in(tmp_path / shop, connection).values()), connection)
    text = command.files_module(shop, tmp_path / shop, raw_tables(matches))
    return matches, skeleton(shop, text, matches, connection, TODAY)


def names(matched: Matched) -> dict[str, str]:
    return {canonical: column.name for canonical, column in matched.columns.items()}


class TestFiles:
    def test_one_growing_file_of_a_german_web_shop(self, tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
        SHOPS["german"](tmp_path / "german")
        table = one_in(tmp_path / "german", connection)
        assert table.declaration == {
            "files": '"verkaeufe.csv"',
            "format": 'Csv(decimal=",", timestamp_format="%d.%m.%Y %H:%M", delimiter=";", encoding="cp1252")',
        }
        assert types(table) == {
            "Bestellnr": "text",
            "Bestelldatum": "timestamp",
            "Kundennr": "bigint",
            # 000123 is a code.
            "Artikelnr": "text",
            "Bezeichnung": "text",
            "Warengruppe": "text",
            "Menge": "bigint",
            "Einzelpreis": "decimal(18,4)",
            "Gesamtpreis": "decimal(18,4)",
        }
        assert table.row_count == 173
        assert table.evidence == [
            "delimiter ';': all rows have 9 fields",
            "encoding cp1252, usual in Western Europe and America: the file is not UTF-8. It then has words such as "
            "Käse, Gemüse; change it if they are wrong",
            "decimal ',': as all numbers are spelled in einzelpreis ('0,95'), gesamtpreis ('0,95')",
            "timestamp_format '%d.%m.%Y %H:%M': all values of bestelldatum are spelled so; '13.11.2026 08:00' cannot "
            "be %m.%d.%Y %H:%M",
        ]
        assert table.decide == []

    def test_a_type_holds_for_the_whole_file_not_only_for_its_beginning(
        self, folder: Path, connection: duckdb.DuckDBPyConnection
    ) -> None:
        rows = [f"{number},5,2026-01-31" for number in range(20_000)]
        (folder / "sales.csv").write_text("\n".join(["id,units,day", *rows, "20000,2.5,31 January", ""]))
        assert types(one_in(folder, connection)) == {"id": "bigint", "units": "decimal(18,4)", "day": "text"}

    @pytest.mark.parametrize(
        ("dates", "expected", "question"),
        [
            (("31/01/2026", "01/02/2026"), "%d/%m/%Y", None),
            (("01/31/2026", "01/02/2026"), "%m/%d/%Y", None),
            (("03/01/2026", "01/02/2026"), None, "'%d/%m/%Y' or '%m/%d/%Y': all dates fit both, such as '01/02/2026'"),
            (("20260131", "20260201"), "%Y%m%d", None),
        ],
    )
    def test_where_day_and_month_may_be_swapped_a_person_decides(
        self,
        folder: Path,
        connection: duckdb.DuckDBPyConnection,
        dates: tuple[str, ...],
        expected: str | None,
        question: str | None,
    ) -> None:
        (folder / "sales.csv").write_text("\n".join(["day", *dates, ""]))
        table = one_in(folder, connection)
        if question is None:
            assert (types(table), table.decide) == ({"day": "date"}, [])
            assert table.declaration["format"] == f'Csv(date_format="{expected}")'
        else:
            assert table.decide == [f"the order of day and month, {question}"]
            assert "date_format=to_decide(" in table.declaration["format"]

    def test_the_days_in_files_names_say_which_number_is_the_month(
        self, folder: Path, connection: duckdb.DuckDBPyConnection
    ) -> None:
        for day in (3, 4):
            (folder / f"sales_2026-02-0{day}.csv").write_text(f"at,units\n0{day}/02/2026,1\n0{day}/02/2026,2\n")
        table = one_in(folder, connection)
        assert table.declaration == {
            "files": '"sales_{date}.csv"',
            "format": 'Csv(date_format="%d/%m/%Y")',
            "day_column": '"at"',
        }
        assert "date_format '%d/%m/%Y': read so, the days are those in the files' names" in table.evidence

    def test_a_decimal_sign_that_may_be_one_of_thousands_is_for_a_person_to_decide(
        self, folder: Path, connection: duckdb.DuckDBPyConnection
    ) -> None:
        (folder / "sales.csv").write_text("price;units\n1.250;1\n2.500;2\n")
        table = one_in(folder, connection)
        assert table.decide == [
            "the decimal sign, '.' or ',': all numbers can be read both ways, such as '1.250' in price"
        ]

    def test_words_for_no_value_currencies_and_thousands(
        self, folder: Path, connection: duckdb.DuckDBPyConnection
    ) -> None:
        (folder / "sales.csv").write_text('price,units,note\n"€ 1,250.50",n/a,n/a\n€ 7.00,3,none so far\n')
        table = one_in(folder, connection)
        assert table.declaration["format"] == 'Csv(thousands=",", currency="€", null_values=("", "n/a"))'
        assert types(table) == {"price": "decimal(18,4)", "units": "bigint", "note": "text"}

    def test_a_title_above_the_header_and_a_file_without_header(
        self, folder: Path, connection: duckdb.DuckDBPyConnection
    ) -> None:
        (folder / "titled.csv").write_text("Report of May\n\nsku;units\nA1;5\nB2;6\n")
        (folder / "bare.csv").write_text("A100;5\nB200;6\n")
        found = found_in(folder, connection)
        assert found["titled"].declaration["format"] == 'Csv(delimiter=";", skip_lines=2)'
        assert found["bare"].declaration["format"] == 'Csv(delimiter=";", header=False)'
        assert types(found["bare"]) == {"column_1": "text", "column_2": "bigint"}

    def test_json_lines_that_leave_out_fields(self, tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
        SHOPS["json_lines"](tmp_path / "shop")
        table = one_in(tmp_path / "shop", connection)
        assert table.declaration == {
            "files": '"orders/orders-{date:%Y%m%d}.jsonl"',
            "format": "JsonLines(omits_nulls=True)",
            "day_column": '"placed_at"',
        }
        assert types(table)["price"] == "decimal(18,4)"

    def test_sheets_are_tables_and_packed_files_are_read(
        self, tmp_path: Path, connection: duckdb.DuckDBPyConnection
    ) -> None:
        SHOPS["excel_and_tills"](tmp_path / "shop")
        found = found_in(tmp_path / "shop", connection)
        assert {name: table.declaration["files"] for name, table in found.items()} == {
            "members": '"master data.xlsx"',
            "articles": '"master data.xlsx"',
            "till": '"tills/till_{date}.csv.gz"',
        }
        assert found["members"].declaration["format"] == 'Excel(sheet="Members")'
        assert types(found["members"])["Joined"] == "date"

    def test_a_workbook_in_which_excel_may_have_swapped_dates_is_for_a_person_to_decide(
        self, folder: Path, connection: duckdb.DuckDBPyConnection
    ) -> None:
        book = Workbook()
        sheet = book.create_sheet("Sales", 0)
        for row in (["id", "day"], [1, dt.date(2014, 5, 6)], [2, "6/16/14"]):
            sheet.append(row)
        book.save(folder / "sales.xlsx")
        (question,) = one_in(folder, connection).decide
        assert question.startswith("whether Excel swapped day and month, True or False: ")

    def test_parts_of_a_table_are_one_table_and_other_columns_are_another(
        self, folder: Path, connection: duckdb.DuckDBPyConnection
    ) -> None:
        for shop in ("berlin", "munich"):
            (folder / f"orders_{shop}.csv").write_text("order,units\nA1,5\n")
        (folder / "orders_old.csv").write_text("number,units\nA1,5\n")
        found = found_in(folder, connection)
        assert [table.declaration["files"] for table in found.values()] == ['"orders_*.csv"', '"orders_old.csv"']

    def test_names_of_files_and_of_tables(self) -> None:
        assert pattern_of("2026/11/19/orders_1.csv.gz") == "{date:%Y/%m/%d}/orders_1.csv.gz"
        assert pattern_of("sales_20261119_2.csv") == "sales_{date:%Y%m%d}_*.csv"
        assert pattern_of("article_12345678.csv") == "article_12345678.csv", "that is no day"
        assert table_name("2026/sales_{date}_*.csv.gz") == "sales"
        assert table_name("orders/{date}.csv") == "orders"
        assert table_name("{date}.csv") == "purchases"


class TestMessages:
    def look(self, folder: Path, connection: duckdb.DuckDBPyConnection) -> str:
        with pytest.raises(LoadError) as error:
            found_in(folder, connection)
        return str(error.value)

    def test_no_files(self, folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
        assert self.look(folder, connection).startswith(f"{folder} holds no files. Put the shop's files there")

    def test_no_file_of_a_known_kind(self, folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
        (folder / "orders.pdf").write_text("x")
        assert self.look(folder, connection).startswith(f"{folder} holds no file of a known kind (but orders.pdf). ")

    def test_no_folder(self, folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
        with pytest.raises(LoadError, match=r"is not a folder\. Name the folder that holds the shop's files"):
            look(folder / "no", connection, folder)

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("a.csv", b"", "a.csv is empty: nothing says what its columns are"),
            ("a.csv", b"id,units\n", "a.csv has no rows, so nothing says what its columns hold"),
            ("a.csv", b"id,units\n1,2\n1,2,3\n", "a.csv, line 3: 3 fields where the header has 2"),
            ("a.csv.gz", gzip.compress(b"id,units\n1,2\n", mtime=0)[:-9], "a.csv.gz is not a complete gzip file"),
            ("a.jsonl", b"[1,\n", "a.jsonl is not JSON lines: its first line is no whole JSON object"),
            ("a.parquet", b"PAR1", "a.parquet is not a complete Parquet file"),
            ("a.xlsx", b"PK", "a.xlsx is not a complete Excel workbook"),
        ],
    )
    def test_files_that_cannot_be_read(
        self, folder: Path, connection: duckdb.DuckDBPyConnection, name: str, content: bytes, message: str
    ) -> None:
        (folder / name).write_bytes(content)
        assert message in self.look(folder, connection)

    def test_days_with_other_columns(self, folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
        (folder / "2026-01-01.csv").write_text("id,units,day\n1,2,3\n")
        (folder / "2026-01-02.csv").write_text("sku,name\n1,2\n")
        assert self.look(folder, connection) == (
            f"{folder}/2026-01-02.csv has other columns (sku, name) than {folder}/2026-01-01.csv (id, units, day), but "
            "by its name it is of the same table. Rename the files of one of them, or put them into a folder of their "
            "own."
        )

    @pytest.mark.parametrize("name", ["My Shop", "2shop", "my__shop", "shop_", "customer", "x" * 41])
    def test_names_that_cannot_be_a_sources(self, name: str) -> None:
        with pytest.raises(LoadError, match=f"'{name}' "):
            checked_name(name)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                ["complete_journey"],
                "there is a source complete_journey already: ingestion/sources/complete_journey.py.",
            ),
            (["my_shop", "--currency", "euro"], "--currency euro: write the code of three capital letters"),
            (["my_shop"], "no table holds purchases with a date, which the score is made of (customers). "),
        ],
    )
    def test_the_command_says_why_nothing_was_written(
        self, folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
    ) -> None:
        (folder / "customers.csv").write_text("id,mnt_wines\n1,5\n2,6\n")
        assert command.main([*arguments, "--files", str(folder)]) == 1
        assert message in capsys.readouterr().err

    def test_orders_with_nested_lines_are_refused(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        order = '{"order_id": 1, "customer": "k1", "at": "2026-11-19T10:00:00", "items": [{"sku": "a", "qty": 1}]}'
        (folder / "orders.jsonl").write_text(order + "\n", encoding="utf-8")
        assert command.main(["my_shop", "--files", str(folder)]) == 1
        assert "orders has no product of its own, and nested records in items: a purchase" in capsys.readouterr().err


class TestMatch:
    def test_names_in_german(self, tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
        matches, made = made_of("german", tmp_path, connection)
        assert names(matches["purchases"]) == {
            "customer_id": "Kundennr",
            "basket_id": "Bestellnr",
            "product_id": "Artikelnr",
            "purchased_at": "Bestelldatum",
            "quantity": "Menge",
            "amount": "Gesamtpreis",
            "unit_price": "Einzelpreis",
        }
        assert matches["customers"].table is None and matches["products"].table is None
        assert made.decisions == []
        products = made.files["dbt_project/models/staging/german/stg_german__products.sql"]
        assert "product_name=clean_key('bezeichnung')" in products
        assert "others={'category': 'warengruppe'}" in products

    def test_a_price_that_is_the_same_for_each_quantity_is_that_of_a_unit(
        self, tmp_path: Path, connection: duckdb.DuckDBPyConnection
    ) -> None:
        matches, made = made_of("json_lines", tmp_path, connection)
        assert names(matches["purchases"])["unit_price"] == "price"
        assert matches["purchases"].evidence["unit_price"] == "34 products sold in different quantities have one price"
        model = made.files["dbt_project/models/staging/json_lines/stg_json_lines__purchases.sql"]
        assert "{{ to_money('qty * price') }} as amount" in model

    def test_without_categories_the_words_of_names_are_listed(
        self, tmp_path: Path, connection: duckdb.DuckDBPyConnection
    ) -> None:
        matches, _ = made_of("json_lines", tmp_path, connection)
        words = words_of_names(matches, connection)
        assert words == ["BROT (6)", "FISCH (6)", "GEMÜSE (6)", "KÄSE (6)", "OBST (6)", "WEIN (6)"]

    def test_an_amount_that_grows_with_the_quantity_is_that_of_the_line(
        self, tmp_path: Path, connection: duckdb.DuckDBPyConnection
    ) -> None:
        matches, made = made_of("excel_and_tills", tmp_path, connection)
        assert names(matches["purchases"])["amount"] == "Paid"
        assert matches["purchases"].evidence["amount"] == "of 34 products it grows with the quantity"
        assert names(matches["customers"]) == {
            "customer_id": "Member No",
            "birth_year": "Year of birth",
            "country": "Country",
        }
        assert names(matches["products"])["category"] == "Group"
        assert made.decisions == []

    def test_what_names_do_not_say_is_asked_with_examples(
        self, tmp_path: Path, connection: duckdb.DuckDBPyConnection
    ) -> None:
        _, made = made_of("parquet_days", tmp_path, connection)
        asked = [(Path(path).stem, question.split("One of")[0]) for path, question in made.decisions]
        assert asked == [
            ("stg_parquet_days__customers", "which column, or SQL over columns, is customer_id? "),
            ("stg_parquet_days__purchases", "which column, or SQL over columns, is customer_id? "),
            ("stg_parquet_days__purchases", "which column, or SQL over columns, is basket_id? "),
            ("stg_parquet_days__purchases", "which column, or SQL over columns, is quantity? "),
            ("stg_parquet_days__purchases", "which column, or SQL over columns, is amount? "),
        ]
        assert "One of visit (5001), ts (2026-11-07 " in made.decisions[0][1]

    def test_the_date_and_the_customer_of_a_line_come_from_its_order(
        self, tmp_path: Path, connection: duckdb.DuckDBPyConnection
    ) -> None:
        matches, made = made_of("orders_and_lines", tmp_path, connection)
        purchases = matches["purchases"]
        assert purchases.lookup is not None and purchases.lookup.name == "orders"
        assert {name: column.name for name, column in purchases.lookup_columns.items()} == {
            "customer_id": "customer_id",
            "purchased_at": "ordered_on",
        }
        assert made.decisions == []
        sources = yaml.safe_load(
            made.files["dbt_project/models/staging/orders_and_lines/_orders_and_lines__sources.yml"]
        )
        tables = {table["name"]: table for table in sources["sources"][0]["tables"]}
        assert list(tables) == ["purchases", "customers", "products", "orders", "deliveries"]
        assert "from raw_orders_and_lines.orders" in tables["purchases"]["config"]["loaded_at_query"]

    def test_keys_that_stand_in_a_column_of_another_name_are_found(
        self, folder: Path, connection: duckdb.DuckDBPyConnection
    ) -> None:
        (folder / "customers.csv").write_text("id,country\nk1,FR\nk2,FR\n")
        (folder / "sales.csv").write_text(
            "order,on,who,sku,qty,amount\n1,2026-01-31,k1,a,1,2.5\n2,2026-01-31,k2,b,1,3\n"
        )
        matches = match(list(found_in(folder, connection).values()), connection)
        assert names(matches["purchases"])["customer_id"] == "who"
        assert matches["purchases"].evidence["customer_id"] == "100% of its values are id of customers"

    def test_a_customer_file_without_dates_of_purchases_is_no_shop_for_the_score(
        self, folder: Path, connection: duckdb.DuckDBPyConnection
    ) -> None:
        (folder / "crm.csv").write_text(
            "ID,Year_Birth,Income,Country,Dt_Customer,MntWines\n1,1970,5,SP,2014-06-16,189\n"
        )
        assert match(list(found_in(folder, connection).values()), connection)["purchases"].table is None


class TestSkeleton:
    def test_the_unit_test_has_two_rows_of_the_shop_and_what_they_mean(
        self, tmp_path: Path, connection: duckdb.DuckDBPyConnection
    ) -> None:
        _, made = made_of("orders_and_lines", tmp_path, connection)
        text = made.files["dbt_project/models/staging/orders_and_lines/stg_orders_and_lines__purchases.yml"]
        (test,) = yaml.safe_load(text)["unit_tests"]
        lines, orders = test["given"]
        assert lines["rows"][0] == {"order_id": 5001, "sku": 129, "quantity": 1, "unit_price": 11.68}
        assert orders["rows"] == [{"id": 5001, "customer_id": 70028, "ordered_on": "2026-11-07 17:21:05"}]
        assert test["expect"]["rows"][0] == {
            "customer_id": "70028",
            "basket_id": "5001",
            "product_id": "129",
            "purchased_at": "2026-11-07 17:21:05",
            "quantity": 1.0,
            "amount": 11.68,
        }

    def test_columns_that_are_words_of_sql_or_of_yaml_are_quoted(
        self, folder: Path, connection: duckdb.DuckDBPyConnection
    ) -> None:
        (folder / "sales.csv").write_text(
            "order,on,customer,sku,qty,price,desc\nA,2026-01-31,k1,a,1,2.5,x\nB,2026-01-31,k2,a,2,2.5,x\n"
        )
        matches = match(list(found_in(folder, connection).values()), connection)
        made = skeleton("s", "", matches, connection, TODAY)
        model = made.files["dbt_project/models/staging/s/stg_s__purchases.sql"]
        assert "clean_key('\"order\"')" in model and 'cast("on" as timestamp) as purchased_at' in model
        assert "clean_key('\"desc\"')" in made.files["dbt_project/models/staging/s/stg_s__products.sql"]
        source = yaml.safe_load(made.files["dbt_project/models/staging/s/_s__sources.yml"])["sources"][0]
        assert [column["name"] for column in source["tables"][0]["columns"]][:2] == ["order", "on"]

    @pytest.mark.parametrize("shop", SHOPS)
    def test_what_is_written_can_be_read(
        self, shop: str, tmp_path: Path, connection: duckdb.DuckDBPyConnection
    ) -> None:
        _, made = made_of(shop, tmp_path, connection)
        space: dict[str, object] = {}
        exec(made.files[f"ingestion/sources/{shop}.py"], space)
        assert getattr(space["SOURCE"], "name", None) == shop
        for path, content in made.files.items():
            assert max(map(len, content.splitlines())) <= 200 or path.endswith((".yml", ".sql")), path
            if path.endswith(".yml"):
                assert yaml.safe_load(content)

    def test_a_shop_that_sends_no_more_is_history(self, tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
        SHOPS["german"](tmp_path / "old")
        matches = match(list(found_in(tmp_path / "old", connection).values()), connection)
        made = skeleton("old", "", matches, connection, TODAY + dt.timedelta(days=61))
        sources = yaml.safe_load(made.files["dbt_project/models/staging/old/_old__sources.yml"])["sources"][0]
        assert [table["config"]["freshness"] for table in sources["tables"]] == [None, None]


class TestWrite:
    @pytest.fixture
    def project(self, tmp_path: Path) -> Path:
        seeds = tmp_path / "dbt_project" / "seeds"
        seeds.mkdir(parents=True)
        (seeds / "source_currencies.csv").write_text("source_name,currency\nfirst,USD\n")
        (tmp_path / "dbt_project" / "dbt_project.yml").write_text("vars:\n  sources: [first]\n")
        return tmp_path

    def test_a_skeleton_without_marks_is_an_active_source(self, project: Path) -> None:
        made = Skeleton("mine", {"a/b/one.sql": "select 1\n"})
        assert write(project, made, "EUR") == [
            "dbt_project/seeds/source_currencies.csv",
            "dbt_project/dbt_project.yml",
        ]
        assert (project / "a/b/one.sql").read_text() == "select 1\n"
        assert "sources: [first, mine]" in (project / "dbt_project/dbt_project.yml").read_text()
        assert (project / "dbt_project/seeds/source_currencies.csv").read_text().endswith("first,USD\nmine,EUR\n")

    def test_a_skeleton_with_marks_is_not_active(self, project: Path) -> None:
        write(project, Skeleton("mine", {"one.sql": ""}, [("one.sql", "which?")]), "EUR")
        assert "sources: [first]" in (project / "dbt_project/dbt_project.yml").read_text()

    def test_nothing_is_overwritten(self, project: Path) -> None:
        (project / "two.sql").write_text("mine")
        with pytest.raises(LoadError, match=r"^two\.sql exists already\. "):
            write(project, Skeleton("mine", {"one.sql": "", "two.sql": ""}), "EUR")
        assert not (project / "one.sql").exists()

    def test_nothing_is_left_of_a_write_that_fails(self, project: Path) -> None:
        (project / "file").write_text("")
        before = sorted(project.rglob("*"))
        with pytest.raises(LoadError, match="Nothing was kept"):
            write(project, Skeleton("mine", {"new/one.sql": "", "file/two.sql": ""}), "EUR")
        assert sorted(project.rglob("*")) == before
        assert "mine" not in (project / "dbt_project/seeds/source_currencies.csv").read_text()
