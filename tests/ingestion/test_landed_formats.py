"""A shop whose files are of every format, loaded from its landing folder into the raw tables."""

import datetime as dt
import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingestion.file_checks import LandedTable
from ingestion.files.formats import Csv, Excel
from ingestion.landed_files import LandedFiles, compare_files
from ingestion.load import load
from ingestion.raw_tables import LoadError
from ingestion.source import LoadReport
from tests import here

LINES = LandedTable(
    name="lines",
    files="lines/{date:%d%m%Y}_*.csv.gz",
    columns={"OrderNo": "bigint", "SKU": "text", "Amount": "decimal(18, 2)", "SoldAt": "timestamp"},
    format=Csv(delimiter=";", encoding="cp1252", decimal=",", timestamp_format="%d.%m.%Y %H:%M"),
)
SOURCE = LandedFiles(
    "paper_shop",
    (
        LandedTable(
            name="customers",
            files="Customers.xlsx",
            format=Excel("Sheet"),
            key="CustomerID",
            columns={"CustomerID": "bigint", "Name": "text", "Born": "date"},
        ),
        LandedTable(
            name="products", files="products*.jsonl.zip", key="sku", columns={"sku": "text", "price": "decimal(18, 2)"}
        ),
        LINES,
        LandedTable(name="visits", files="visits.csv", columns={"CustomerID": "bigint", "Day": "date"}),
        LandedTable(name="stock", files="stock/{date}/*.parquet", columns={"SKU": "text", "Pieces": "bigint"}),
    ),
)


def land_customers(folder: Path, *customers: list[Any]) -> None:
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in [["CustomerID", "Name", "Born"], *customers]:
        book.active.append(row)
    book.save(folder / "Customers.xlsx")


def land_products(folder: Path, name: str, *products: dict[str, Any]) -> None:
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("products.jsonl", "".join(json.dumps(product) + "\n" for product in products))


def land_lines(folder: Path, name: str, *lines: str) -> None:
    path = folder / "lines" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress("\r\n".join(["OrderNo;SKU;Amount;SoldAt", *lines]).encode("cp1252")))


def land_stock(folder: Path, name: str, skus: list[str], pieces: pa.Array, spelled: str = "SKU") -> None:
    path = folder / "stock" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({spelled: skus, "Pieces": pieces}), path)


@pytest.fixture
def folder(data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The paper shop's landing folder after its first days."""
    monkeypatch.setattr("ingestion.source.find", lambda _name: SOURCE)
    folder = data / "landing" / "paper_shop"
    folder.mkdir(parents=True)
    land_customers(folder, [1, "Jäger", dt.date(1957, 9, 4)], [13313, "Łódź", dt.date(2012, 12, 31)])
    land_products(folder, "products_a.jsonl.zip", {"sku": "A1", "price": 12.5}, {"sku": "A2", "price": "0.10"})
    land_products(folder, "products_b.jsonl.zip", {"price": None, "sku": "B1", "colour": "blue"})
    land_lines(
        folder, "18112026_north.csv.gz", "1;A1;12,50;18.11.2026 09:30", '1;"Prägepapier 5 €; rot";-1,5;18.11.2026 09:31'
    )
    land_lines(folder, "18112026_south.csv.gz", "2;A2;0,10;18.11.2026 10:00")
    land_lines(folder, "19112026_north.csv.gz")
    (folder / "visits.csv").write_text("CustomerID,Day\n1,2026-11-18\n", encoding="utf-8")
    land_stock(folder, "2026-11-18/evening.parquet", ["A1"], pa.array([7], pa.int32()))
    land_stock(folder, "2026-11-19/evening [1].parquet", ["A1"], pa.array([6], pa.int64()), spelled="sku")
    return folder


def load_paper_shop() -> LoadReport:
    return load("paper_shop", here.paths(), say=lambda _line: None)


def query(sql: str) -> list[tuple[Any, ...]]:
    with here.connect() as connection:
        return connection.sql(sql).fetchall()


def test_every_value_arrives_and_names_its_file(folder: Path) -> None:
    report = load_paper_shop()
    assert query("select customer_id, name, born, _delivery from raw_paper_shop.customers order by 1") == [
        (1, "Jäger", dt.date(1957, 9, 4), "Customers.xlsx"),
        (13313, "Łódź", dt.date(2012, 12, 31), "Customers.xlsx"),
    ]
    assert query("select sku, cast(price as varchar), colour, _delivery from raw_paper_shop.products order by 1") == [
        ("A1", "12.50", None, "products_a.jsonl.zip"),
        ("A2", "0.10", None, "products_a.jsonl.zip"),
        ("B1", None, "blue", "products_b.jsonl.zip"),
    ]
    assert query(
        "select order_no, sku, cast(amount as varchar), sold_at, _delivery from raw_paper_shop.lines order by 4"
    ) == [
        (1, "A1", "12.50", dt.datetime(2026, 11, 18, 9, 30), "lines/18112026_north.csv.gz"),
        (1, "Prägepapier 5 €; rot", "-1.50", dt.datetime(2026, 11, 18, 9, 31), "lines/18112026_north.csv.gz"),
        (2, "A2", "0.10", dt.datetime(2026, 11, 18, 10), "lines/18112026_south.csv.gz"),
    ]
    assert query("select sku, pieces, _delivery from raw_paper_shop.stock order by 2") == [
        ("A1", 6, "stock/2026-11-19/evening [1].parquet"),
        ("A1", 7, "stock/2026-11-18/evening.parquet"),
    ]
    assert query(
        "select table_name, delivery, row_count, delivery_date from raw_paper_shop.deliveries "
        "where table_name in ('lines', 'visits') order by 2"
    ) == [
        ("lines", "lines/18112026_north.csv.gz", 2, dt.date(2026, 11, 18)),
        ("lines", "lines/18112026_south.csv.gz", 1, dt.date(2026, 11, 18)),
        ("lines", "lines/19112026_north.csv.gz", 0, dt.date(2026, 11, 19)),
        ("visits", "visits.csv", 1, None),
    ]
    assert report.tables["products"].new_columns == {"colour": "text"}


def test_what_did_not_change_is_not_loaded_again_and_a_growing_file_is_a_newer_version(folder: Path) -> None:
    load_paper_shop()
    assert [table.deliveries_loaded for table in load_paper_shop().tables.values()] == [0] * 5
    with (folder / "visits.csv").open("a", encoding="utf-8") as file:
        file.write("13313,2026-11-19\n")
    report = load_paper_shop().tables["visits"]
    assert (report.rows_loaded, report.deliveries_replaced) == (2, ["visits.csv"])
    assert query("select count(*) from raw_paper_shop.visits group by _dlt_load_id order by _dlt_load_id") == [
        (1,),
        (2,),
    ]


def test_one_wrong_file_keeps_all_others_out_and_nothing_converted_stays(folder: Path, data: Path) -> None:
    load_paper_shop()
    before = query("select * from raw_paper_shop.deliveries order by all")
    land_lines(folder, "20112026_north.csv.gz", "3;A1;12,50;20.11.2026 09:30")
    land_lines(folder, "20112026_south.csv.gz", "3;A1;12.50;20.11.2026 09:30")
    with pytest.raises(LoadError, match=r"20112026_south\.csv\.gz, line 2, column Amount: '12\.50' is not a number\."):
        load_paper_shop()
    assert query("select * from raw_paper_shop.deliveries order by all") == before
    assert not any(path.is_file() for path in (data / "converted").rglob("*"))


def test_what_a_killed_load_left_converted_is_removed_by_the_next(folder: Path, data: Path) -> None:
    left = data / "converted" / "paper_shop" / "x" / "rows.parquet"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    load_paper_shop()
    assert not left.exists()


def test_landed_files_are_compared_with_raw(folder: Path) -> None:
    load_paper_shop()
    stock = SOURCE.tables[-1]
    with here.connect() as connection:
        for table, rows, text in ((LINES, 3, "amount"), (stock, 2, "")):
            comparison = compare_files(connection, "paper_shop", table, here.paths())
            assert (comparison.compared, comparison.differing) == (rows, 0)
            assert text in comparison.description
        connection.execute("update raw_paper_shop.lines set amount = 12.51 where sku = 'A1'")
        comparison = compare_files(connection, "paper_shop", LINES, here.paths())
    assert comparison.differing == 1
    assert "lines/18112026_north.csv.gz (2 rows landed, 2 in raw)" in comparison.description
