"""`mf` as people use it: by saved query, a question that cannot be answered, nothing published, during a run."""

import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.metrics.conftest import Shop


def test_every_saved_query_runs(shop: Shop, manifest: dict[str, Any]) -> None:
    names = [query["name"] for query in manifest["saved_queries"].values()]
    for name, answer in zip(names, shop.ask([{"saved_query_name": name} for name in names]), strict=True):
        assert answer.get("rows"), (name, answer)


def test_a_question_is_answered_while_the_warehouse_is_being_written(shop: Shop) -> None:
    with duckdb.connect(str(shop.project.data / "warehouse.duckdb")):
        asked = shop.mf("query", "--quiet", "--decimals", "2", "--metrics", "total_spending")
    assert asked.returncode == 0, asked.stdout
    [(total,)] = shop.sql("select sum(amount) from core.fct_baskets")
    assert asked.stdout.split() == ["total_spending", "----------------", f"{total:.2f}"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--metrics", "churn_probability", "--group-by", "product__brand"), ("churn_probability", "product__brand")),
        (("--metrics", "total_spendings"), ("total_spendings", "'total_spending'")),
    ],
)
def test_what_cannot_be_answered_is_named(arguments: tuple[str, ...], expected: tuple[str, ...], shop: Shop) -> None:
    asked = shop.mf("query", *arguments)
    assert asked.returncode == 1
    for text in expected:
        assert text in asked.stdout
    assert "Traceback" not in asked.stdout + asked.stderr


def test_where_nothing_is_published_yet_it_says_so(shop: Shop, tmp_path: Path) -> None:
    asked = shop.mf("query", "--metrics", "total_spending", data=tmp_path)
    assert asked.returncode == 1
    assert f"nothing is published yet at {tmp_path}/published/next_aisle.duckdb: make run" in asked.stdout
    assert "Traceback" not in asked.stdout + asked.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_metric_can_be_tried_on_the_warehouse_before_it_is_published(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(shop.project.data / "warehouse.duckdb", tmp_path)
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as warehouse:
        warehouse.execute("delete from core.fct_purchases where rowid > (select min(rowid) from core.fct_purchases)")
        warehouse.execute("update core.fct_purchases set amount = 12.34")
    monkeypatch.setitem(shop.project.env, "DBT_TARGET", "warehouse")
    asked = shop.mf("query", "--quiet", "--decimals", "2", "--metrics", "total_spending", data=tmp_path)
    assert asked.returncode == 0, asked.stdout
    assert asked.stdout.split() == ["total_spending", "----------------", "12.34"]


def test_an_empty_published_copy_gives_no_rows_or_no_number(
    shop: Shop, manifest: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "published").mkdir()
    source = shop.project.data / "published" / "next_aisle.duckdb"
    with duckdb.connect(str(tmp_path / "published" / "next_aisle.duckdb")) as connection:
        connection.execute(f"attach '{source}' as whole (read_only)")
        for schema, table in connection.execute(
            "select table_schema, table_name from information_schema.tables where table_catalog = 'whole'"
        ).fetchall():
            connection.execute(f'create schema if not exists "{schema}"')
            connection.execute(f'create table "{schema}"."{table}" as select * from whole."{schema}"."{table}" limit 0')
    names = sorted(m["name"] for m in manifest["metrics"].values() if not m["type_params"].get("is_private"))
    questions = [{"metric_names": [name]} for name in names]
    questions += [{"metric_names": [name], "group_by_names": ["metric_time__month"]} for name in names]
    answers = shop.ask(questions, data=tmp_path)
    for question, answer in zip(questions, answers, strict=True):
        # Growth and rolling sums have no meaning without a time, and MetricFlow says so.
        if "error" in answer:
            assert "metric_time" in answer["error"] and len(question) == 1, (question, answer)
        elif len(question) == 1:
            assert answer["rows"] in ([[None]], [[0]]), (question, answer)
        else:
            assert answer["rows"] == [], (question, answer)


def test_a_publication_takes_place_while_a_question_is_open(shop: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "published"
    folder.mkdir()
    copy = folder / "next_aisle.duckdb"
    shutil.copy(shop.project.data / "published" / "next_aisle.duckdb", copy)
    # As MetricFlow opens it.
    with duckdb.connect() as reader:
        reader.execute(f"attach '{copy}' as warehouse (read_only)")
        before = reader.execute("select sum(amount) from warehouse.core.fct_baskets").fetchall()
        fresh = folder / ".next_aisle.duckdb.1"
        with duckdb.connect(str(fresh)) as connection:
            connection.execute("create schema core")
            connection.execute("create table core.fct_baskets as select 1 as amount")
        fresh.replace(copy)
        assert reader.execute("select sum(amount) from warehouse.core.fct_baskets").fetchall() == before
    with duckdb.connect(str(copy), read_only=True) as connection:
        assert connection.execute("from core.fct_baskets").fetchall() == [(1,)]
