"""A shop that was never seen before: `ingestion new`, its marks filled, and a whole night."""

import datetime as dt
import re
from pathlib import Path

import duckdb
import pytest

from tests.conftest import make_project, set_sources, words
from tests.fixtures.unseen_shops import SHOPS, lines

DAYS = 30

# What a person writes: a mark's column, and the answer in its place.
ANSWERS = {"customer_id": "'hh'", "basket_id": "'visit'", "quantity": "'n'", "amount": "'net'"}


@pytest.mark.slow
def test_a_shop_is_published_after_its_marks_are_filled(tmp_path: Path) -> None:
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    SHOPS["parquet_days"](tmp_path / "files", yesterday, DAYS)
    project = make_project(tmp_path / "data", tmp_path)
    run = project.python("ingestion", "new", "my_shop", "--files", str(tmp_path / "files"), "--currency", "USD")
    assert run.returncode == 0, run.stdout + run.stderr
    assert (
        "dbt_project/models/staging/my_shop/stg_my_shop__purchases.sql: which column, or SQL over columns, is "
        in words(run.stdout)
    )

    set_sources(project.code, ["my_shop"])
    early = project.nightly()
    assert early.returncode == 1
    assert "decide in dbt_project/models/staging/my_shop/stg_my_shop__" in words(early.stdout + early.stderr)

    written = 1  # the word in the list of sources
    for file in sorted((project.dbt_dir / "models" / "staging" / "my_shop").glob("*.sql")):
        text, count = re.subn(
            r"{% set (\w+) = to_decide\(.*\) -%}",
            lambda mark: f"{{% set {mark[1]} = {ANSWERS[mark[1]]} -%}}",
            file.read_text(encoding="utf-8"),
        )
        file.write_text(text, encoding="utf-8")
        written += count
    assert written == 6
    night = project.nightly()
    assert night.returncode == 0, night.stdout + night.stderr
    tested = project.dbt("test", "--select", "staging.my_shop,test_type:unit")
    assert "PASS=4" in tested.stdout, tested.stdout

    bought = lines(yesterday, DAYS)
    with duckdb.connect(str(tmp_path / "data" / "published" / "next_aisle.duckdb"), read_only=True) as published:
        ((kept, baskets, spent),) = published.execute(
            "select count(*), count(distinct basket_key), sum(amount) from core.fct_purchases"
        ).fetchall()
        categories = published.execute("select category_name from core.dim_categories order by 1").fetchall()
    assert kept == len(bought)
    assert baskets == len({line.basket for line in bought})
    assert round(spent * 100) == sum(line.cents for line in bought)
    assert categories == [("Brot",), ("Fisch",), ("Gemüse",), ("Käse",), ("Obst",), ("Wein",)]
