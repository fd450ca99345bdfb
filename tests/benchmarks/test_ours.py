"""Our models on a shop's past: what they are given, and how their scores come back."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from benchmarks import score_scale
from benchmarks.score_quality import __main__ as command
from benchmarks.score_quality import ours, shop
from tests.benchmarks.conftest import START, Files
from warehouse.paths import PROJECT_DIR

CUTOFF = START + dt.timedelta(days=40)
TYPES = {
    "string": "VARCHAR",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "bigint": "BIGINT",
    "decimal(18,3)": "DECIMAL(18,3)",
    "decimal(18,2)": "DECIMAL(18,2)",
}

FIGURES = ["score", "probability", "probability_low", "probability_high", "expected_spend"]

StubModels = Callable[..., Path]


@pytest.mark.parametrize("table", ["product_numbers", "customer_numbers", "fct_purchases"])
def test_the_marts_have_the_shape_of_their_contracts(small_shop: Files, tmp_path: Path, table: str) -> None:
    ours.write_warehouse(shop.read(small_shop.folder, "category"), CUTOFF, tmp_path / "warehouse.duckdb")
    contract = PROJECT_DIR / "dbt_project" / "models" / "marts" / "core" / f"{table}.yml"
    columns = yaml.safe_load(contract.read_text(encoding="utf-8"))["models"][0]["columns"]
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as connection:
        described = connection.execute(f"describe core.{table}").fetchall()
    assert [(row[0], row[1]) for row in described] == [
        (column["name"], TYPES[column["data_type"]]) for column in columns
    ]


def test_the_models_see_nothing_after_the_cutoff(small_shop: Files, tmp_path: Path) -> None:
    ours.write_warehouse(shop.read(small_shop.folder, "category"), CUTOFF, tmp_path / "warehouse.duckdb")
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as connection:
        lines = connection.execute(
            "select customer_key, category_key, purchase_date - date '2024-01-01' from core.fct_purchases order by all"
        ).fetchall()
        products = connection.execute(
            "select product_key, category_name, is_inferred from core.product_numbers"
        ).fetchall()
    assert lines == [
        ("shop:1", "shop:Unknown", 35),
        ("shop:1", "shop:bread", 0),
        ("shop:1", "shop:milk", 30),
        ("shop:2", "shop:bread", 20),
        ("shop:3", "shop:Unknown", 35),
        ("shop:3", "shop:Unknown", 37),
        ("shop:3", "shop:milk", 10),
    ]
    assert ("shop:13", "Unknown", False) in products
    assert ("shop:99", "Unknown", True) in products


def test_petrol_is_not_merchandise() -> None:
    try:
        sample = shop.sample("department")
    except shop.ShopError as error:
        pytest.skip(str(error))
    left_out = sample.connection.execute("select distinct category from products where not is_merchandise").fetchall()
    assert {"FUEL", "MISCELLANEOUS"} <= {row[0] for row in left_out}
    judged = sample.connection.execute("select name from categories").fetchall()
    assert not {"FUEL", "MISCELLANEOUS"} & {row[0] for row in judged}


def test_scores_have_the_shops_own_customer_ids_and_category_names(small_shop: Files, tmp_path: Path) -> None:
    target = tmp_path / "out" / "predictions.parquet"
    asked = ["--shop", str(small_shop.folder), "--level", "category", "--active-days", "30"]
    assert command.main([*asked, "--cutoff", str(CUTOFF), "--predictions", str(target)]) == 0
    # No customer had bought wine by then: it has no prediction, and the judge ranks it last.
    (row,) = pq.read_table(target).to_pylist()
    assert (row["customer_id"], row["category"]) == (2, "milk")
    assert 0 < row["score"] == row["probability"] < 1


def test_cutoffs_whole_horizons_apart_share_a_run_and_those_of_a_large_shop_do_not(
    small_shop: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen_shop = shop.read(small_shop.folder)
    days = [START + dt.timedelta(days=number) for number in (0, 10, 28, 38, 56)]
    assert ours.runs(chosen_shop, days) == [[days[4], days[2], days[0]], [days[3], days[1]]]
    # There is one customer on day 0, two by day 10, three by day 20.
    monkeypatch.setattr(ours, "_project_vars", lambda: {"score_backtest_customers": 2})
    assert ours.runs(chosen_shop, days) == [[days[4]], [days[3]], [days[2]], [days[1]], [days[0]]]
    assert ours.runs(chosen_shop, [days[0], days[0] - dt.timedelta(days=28), days[2]]) == [
        [days[2]],
        [days[0], days[0] - dt.timedelta(days=28)],
    ]
    # On day 28 there are three customers and two categories, on day 56 one more category.
    monkeypatch.setattr(ours, "_project_vars", lambda: {"score_backtest_customers": 10})
    monkeypatch.setattr(ours, "MOST_PAIRS", 6)
    assert ours.runs(chosen_shop, [days[0], days[2], days[4]]) == [[days[4]], [days[2], days[0]]]


@pytest.mark.parametrize(
    ("of_pair", "known"),
    [
        ("", {"expected_spend": 7.0}),
        (
            ", 0.1 as likelihood_low, null::double as likelihood_high, 3.5 as expected_spend",
            {"probability_low": 0.1, "probability_high": None, "expected_spend": 3.5},
        ),
    ],
)
def test_the_interval_and_the_spend_of_a_pair_are_read_where_the_models_say_them(
    small_shop: Files, tmp_path: Path, of_pair: str, known: dict[str, object]
) -> None:
    with duckdb.connect(str(tmp_path / "made.duckdb")) as connection:
        connection.execute(f"""
            create schema intermediate;
            create table intermediate.int_scores as
            select 'shop' as source_name, step, 5 as customer_number, 8 as category_number,
                   0.25 + step / 4 as likelihood {of_pair}
            from range(2) as steps(step);
            create table intermediate.int_score_dates as
            select 'shop' as source_name, step, date '{CUTOFF}' - cast(28 * step as integer) as as_of_date
            from range(2) as steps(step);
            create table intermediate.int_score_customers as
            select step, 5 as customer_number, 'shop:2' as customer_key from range(2) as steps(step);
            create table intermediate.int_score_categories as
            select step, 8 as category_number, 'shop:wine' as category_key, 7.0 as expected_spend
            from range(2) as steps(step);
        """)
    earlier = CUTOFF - dt.timedelta(days=28)
    (row,) = ours._scores(shop.read(small_shop.folder), earlier, tmp_path / "made.duckdb").to_pylist()
    assert row == {"customer_id": 2, "category": "wine", "score": 0.5, "probability": 0.5, **known}


def test_a_date_with_too_little_history_to_learn_from_is_scored_too(small_shop: Files, tmp_path: Path) -> None:
    days = [CUTOFF, CUTOFF - dt.timedelta(days=28)]
    tables = ours.score(shop.read(small_shop.folder, active_days=30), days, tmp_path)
    pairs = [[(row["customer_id"], row["category"]) for row in tables[day].to_pylist()] for day in days]
    # On day 12 customer 1 has bought bread, customer 3 milk.
    assert pairs == [[(2, "milk")], [(1, "milk"), (3, "bread")]]


@pytest.mark.slow
def test_one_run_gives_an_earlier_cutoff_the_scores_that_a_run_of_its_own_gives(tmp_path: Path) -> None:
    try:
        sample = shop.sample()
    except shop.ShopError as error:
        pytest.skip(str(error))
    newest, earlier = shop.SAMPLE_CUTOFFS[0], shop.SAMPLE_CUTOFFS[5]
    together = ours.score(sample, [newest, earlier], tmp_path)[earlier]
    alone = ours.score(sample, [earlier], tmp_path)[earlier]
    assert alone.drop_columns(FIGURES).equals(together.drop_columns(FIGURES))
    for figure in FIGURES:
        differences = pc.abs(pc.subtract(alone[figure], together[figure]))
        assert pc.max(differences).as_py() < 1e-9, figure


def test_missing_models_are_reported_in_one_line(small_shop: Files, tmp_path: Path, stub_models: StubModels) -> None:
    stub_models("select 1 as one")
    with pytest.raises(ours.ModelsError, match=r"dbt made no intermediate\.int_scores"):
        ours.score(shop.read(small_shop.folder, "category"), [CUTOFF], tmp_path / "work")


def test_a_model_that_fails_is_shown(small_shop: Files, tmp_path: Path, stub_models: StubModels) -> None:
    stub_models("{{ config(tags=['cross_sell']) }} select no_such_column from core.fct_purchases")
    with pytest.raises(ours.ModelsError, match="no_such_column"):
        ours.score(shop.read(small_shop.folder, "category"), [CUTOFF], tmp_path / "work")


def test_a_larger_shop_has_the_shop_itself_and_copies_that_differ(small_shop: Files) -> None:
    larger = shop.read(small_shop.folder, "category")
    before = larger.connection.execute("select product_id, purchased_at from lines order by all").fetchall()
    score_scale.multiply(larger, 40)
    query = "select product_id, purchased_at from lines where customer_id like '%-{}' order by all"
    assert larger.connection.execute(query.format(0)).fetchall() == before
    copies = [tuple(larger.connection.execute(query.format(copy)).fetchall()) for copy in range(1, 40)]
    assert len(set(copies)) > 30
    lines = sum(map(len, copies)) / 39 / len(before)
    assert 0.8 < lines < 1
    customers = larger.connection.execute("select count(distinct customer_id) from lines").fetchone()
    assert customers is not None
    assert 140 < customers[0] <= 160


def test_a_larger_shop_is_the_same_each_time(small_shop: Files) -> None:
    seen = set()
    for _ in range(2):
        larger = shop.read(small_shop.folder, "category")
        score_scale.multiply(larger, 3)
        seen.add(larger.connection.execute("select bit_xor(hash(lines)) from lines").fetchone())
    assert len(seen) == 1
