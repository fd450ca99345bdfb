"""What is judged: candidates as the protocol counts them, and files that cannot be used."""

import datetime as dt
from pathlib import Path

import pytest

from benchmarks.score_quality import shop
from benchmarks.score_quality.shop import ShopError, default_cutoffs
from tests.benchmarks.conftest import START, Files, day


def at(number: int) -> dt.date:
    return START + dt.timedelta(days=number)


def candidates(files: Files, cutoff: dt.date, level: str = "category") -> list[tuple[object, object]]:
    chosen_shop = shop.read(files.folder, level, active_days=30)
    shop.candidates(chosen_shop, cutoff).create_view("pairs")
    return chosen_shop.connection.execute(
        "select customer_id, name from pairs join customers using (customer) join categories using (category)"
    ).fetchall()


def test_candidates_are_active_customers_and_categories_they_never_bought(small_shop: Files) -> None:
    assert sorted(candidates(small_shop, at(40))) == [(1, "wine"), (2, "milk"), (2, "wine")]


def test_the_first_of_the_active_days_counts_the_day_before_it_does_not(small_shop: Files) -> None:
    assert {customer for customer, _ in candidates(small_shop, at(49))} == {1, 2, 4}
    # Customer 2 bought on day 20, 30 days ago; customer 1 has bought in every category by now.
    assert {customer for customer, _ in candidates(small_shop, at(50))} == {4}


def test_numbers_may_be_text_and_levels_numbers(files: Files) -> None:
    files.products([("x", 7), ("y", 8)], "product_id, shelf")
    files.purchases([("anna", "x", 0), ("bert", "y", 1), ("anna", "y", 90)])
    assert sorted(candidates(files, at(10), "shelf")) == [("anna", 8), ("bert", 7)]


def test_a_sample_shop_that_is_installed_has_the_protocols_pairs() -> None:
    try:
        sample = shop.sample()
    except ShopError as error:
        pytest.skip(str(error))
    assert len(shop.candidates(sample, dt.date(2017, 12, 3))) == 485_232
    assert sample.default_cutoffs[0] == dt.date(2017, 12, 3)
    assert sample.default_cutoffs[-1] == dt.date(2017, 7, 16)


def test_cutoffs_leave_a_quarter_of_the_history_or_four_horizons_and_are_twelve_at_most() -> None:
    year = default_cutoffs(at(0), at(364), 28)
    assert year[0] == at(336)
    assert year[-1] == at(112)  # a quarter would be 91: the next one, 84, leaves less
    assert len(default_cutoffs(at(0), at(3650), 28)) == 12
    assert default_cutoffs(at(0), at(34), 28) == (at(6),)
    assert default_cutoffs(at(0), at(27), 28) == ()


def test_cutoffs_are_whole_horizons_apart_and_28_days_at_least() -> None:
    assert default_cutoffs(at(0), at(540), 90) == (at(450), at(360), at(270), at(180))
    assert default_cutoffs(at(0), at(100), 10) == (at(90), at(60), at(30))
    assert default_cutoffs(at(0), at(100), 14) == (at(86), at(58), at(30))


@pytest.mark.parametrize("number", [-1, 63])
def test_a_cutoff_without_history_or_without_complete_labels_is_refused(small_shop: Files, number: int) -> None:
    chosen_shop = shop.read(small_shop.folder, "category")
    with pytest.raises(ShopError, match=r"outside of the history .* allow --cutoff 2024-01-01 to 2024-03-03"):
        chosen_shop.check_cutoff(at(number))
    chosen_shop.check_cutoff(at(62))


def test_a_history_shorter_than_the_horizon_is_refused(files: Files) -> None:
    files.products([(1, "a")])
    files.purchases([(1, 1, 0), (1, 1, 6)])
    with pytest.raises(ShopError, match="Give more history or a shorter --horizon"):
        shop.read(files.folder, "category").check_cutoff(at(3))


def test_a_missing_file_is_named(files: Files) -> None:
    files.products([(1, "a")])
    with pytest.raises(ShopError, match=r"purchases\.parquet is missing"):
        shop.read(files.folder, "category")


def test_a_file_that_is_not_parquet_is_named(small_shop: Files) -> None:
    (small_shop.folder / "products.parquet").write_text("product_id,category\n")
    with pytest.raises(ShopError, match=r"products\.parquet cannot be read as Parquet"):
        shop.read(small_shop.folder, "category")


def test_a_missing_column_is_named_with_the_existing_columns(files: Files) -> None:
    files.products([(1, "a")])
    files.purchases([(1, 1, 0)], columns="customer_id, product_id, purchased_at, quantity, amount")
    with pytest.raises(
        ShopError, match=r"purchases\.parquet has no column basket_id\. .*there: customer_id, product_id"
    ):
        shop.read(files.folder, "category")


@pytest.mark.parametrize(
    ("column", "as_text"), [("quantity", "a number"), ("amount", "a number"), ("purchased_at", "a date or a timestamp")]
)
def test_a_column_of_another_type_is_named(files: Files, column: str, as_text: str) -> None:
    files.products([(1, "a")])
    files.purchases([(1, 1, 0)], columns=f"* replace (cast({column} as varchar) as {column})")
    with pytest.raises(ShopError, match=f"column {column}: it is VARCHAR and must be {as_text}"):
        shop.read(files.folder, "category")


def test_an_unknown_level_lists_the_existing_levels(small_shop: Files) -> None:
    small_shop.products([(10, "bread", "food")], "product_id, category, department")
    with pytest.raises(ShopError, match=r"name one with --level; there are category, department\."):
        shop.read(small_shop.folder, "shelf")


def test_without_a_level_it_is_that_of_the_settings_or_category_or_the_only_column(small_shop: Files) -> None:
    assert shop.read(small_shop.folder).level == "category"
    small_shop.products([(10, "bread")], "product_id, shelf")
    assert shop.read(small_shop.folder).level == "shelf"
    small_shop.products([(10, "bread", "food")], "product_id, shelf, department")
    with pytest.raises(ShopError, match=r"a shop needs a level: name one with --level; there are shelf, department\."):
        shop.read(small_shop.folder)
    (small_shop.folder / "settings.json").write_text('{"level": "department"}')
    assert shop.read(small_shop.folder).level == "department"


def test_days_are_those_of_the_settings_unless_they_are_named(small_shop: Files) -> None:
    (small_shop.folder / "truth.json").write_text('{"horizon_days": 14, "active_days": 30}')
    known, named = shop.read(small_shop.folder), shop.read(small_shop.folder, horizon_days=7)
    assert (known.horizon_days, known.active_days) == (14, 30)
    assert (named.horizon_days, named.active_days) == (7, 30)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"truth\.json is not JSON"),
        ("[]", r"truth\.json must hold an object"),
        ('{"horizon_days": 0}', "horizon_days: 0 is no number of days"),
        ('{"active_days": "90"}', "active_days: '90' is no number of days"),
    ],
)
def test_settings_that_cannot_be_used_are_named(small_shop: Files, text: str, message: str) -> None:
    (small_shop.folder / "truth.json").write_text(text)
    with pytest.raises(ShopError, match=message):
        shop.read(small_shop.folder)


def test_a_word_names_the_sample_a_shop_or_a_folder_of_shops(small_shop: Files) -> None:
    assert list(shop.find("sample")) == [None]
    assert list(shop.find(str(small_shop.folder))) == [small_shop.folder]
    assert list(shop.find(str(small_shop.folder.parent))) == [small_shop.folder]


def test_a_product_that_is_listed_twice_is_named(small_shop: Files) -> None:
    small_shop.products([(10, "bread"), (10, "milk")])
    with pytest.raises(ShopError, match="product_id 10 is there 2 times"):
        shop.read(small_shop.folder, "category")


def test_a_shop_without_a_purchase_to_judge_says_where_the_lines_went(files: Files) -> None:
    files.products([(1, None)])
    files.purchases([(1, 1, 0), (1, 2, 0), (1, 1, 0, 1, 0.0)])
    with pytest.raises(ShopError, match=r"of 3 lines 2 have .* of those 1 are .* of those 0 have a known category"):
        shop.read(files.folder, "category")


def test_the_day_of_a_time_stamp_does_not_depend_on_the_machine(files: Files, tmp_path: Path) -> None:
    files.products([(1, "a"), (2, "b")])
    files.purchases(
        [(1, 1, 0), (2, 2, 0), (1, 1, 90)],
        columns="* replace (purchased_at at time zone 'UTC' + interval 3 hour as purchased_at)",
    )
    assert day(0).hour == 20
    assert shop.read(files.folder, "category").first_day == at(0)
