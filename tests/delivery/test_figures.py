"""The figures of a published copy, added up by hand."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from delivery.figures import Figures, Finding, Gap, ObjectiveStatus, Shop, ShopStatus, UndatedShop, read
from warehouse.paths import Paths

# One shop whose newest day is 2026-11-20. Ann and Ben have lists of four categories, of which milk is a staple: their
# first three without it are soup, tea and rice. Cid has one recommendation.
TABLES = """
    create schema core; create schema cross_sell; create schema quality;
    create table core.fct_baskets as from (values
        ('shop', date '2026-10-23', 1000.00::decimal(18, 2), 'ann'),
        ('shop', date '2026-10-24', 30.00, 'ann'),
        ('shop', date '2026-11-20', 70.00, 'ben')
    ) as t(source_name, purchase_date, amount, customer_key);
    create table core.dim_customers as from (values ('shop', 2.0, 2, false), ('shop', 1.0, 1, true))
        as t(source_name, purchase_frequency, basket_count, is_inferred);
    create table core.customer_numbers as from (values ('crm', false), ('crm', false), ('crm', true), ('shop', false))
        as t(source_name, is_inferred);
    create table core.fct_category_spending as from (values
        ('crm', 900.00::decimal(18, 2), 'a'), ('crm', 6.00, 'a'), ('shop', 7.00, 'ann'), ('shop', 7.00, 'ben')
    ) as t(source_name, amount, customer_key);
    create table core.daily_exchange_rates as from (values ('shop', 'EUR'), ('crm', 'EUR'))
        as t(source_name, reporting_currency);
    create table core.dim_categories as from (values
        ('soup', 'Soup', 'shop', 12.50::decimal(18, 2)),
        ('crm:fish', 'Fish', 'crm', 6.00), ('crm:wines', 'Wines', 'crm', 900.00), ('crm:sweets', 'Sweets', 'crm', 0.00)
    ) as t(category_key, category_label, source_name, total_spending);
    create table cross_sell.score_status as from (values
        ('shop', 'purchase lines', 'Scored.', 3), ('crm', 'totals without dates', 'No dates.', 2)
    ) as t(source_name, spending_basis, description, buyer_count);
    create table cross_sell.category_gaps as from (values
        ('crm', 'a', 'crm:fish', 'Fish', false, 0.5::double, 1.10::double, 'Meat'),
        ('crm', 'b', 'crm:fish', 'Fish', false, 0.5, 1.20, 'Meat'),
        ('crm', 'c', 'crm:fish', 'Fish', false, 0.5, 1.00, 'Wines'),
        ('crm', 'a', 'crm:sweets', 'Sweets', false, 0.4, 1.30, 'Fish'),
        ('crm', 'a', 'crm:wines', 'Wines', true, 0.9, 2.00, 'Fish')
    ) as t(
        source_name, customer_key, category_key, category_label, is_staple, penetration, lift, strongest_category_label
    );
    create table quality.findings as from (values
        ('crm', 'customers', 'birth_year', 'implausible_birth_year'),
        ('crm', 'customers', 'education', 'replaced_word'),
        ('crm', 'customers', 'education', 'replaced_word')
    ) as t(source_name, table_name, column_name, finding);
    create table core.fct_purchases as from (values ('shop', 'soup', true, 12.50::decimal(18, 2)))
        as t(source_name, category_key, is_merchandise, amount);
    create table cross_sell.customer_opportunities as
        select * replace (likelihood::double as likelihood, expected_value::double as expected_value),
            'shop' as source_name, date '2026-11-20' as as_of_date, 28::bigint as horizon_days,
            likelihood::double * 0.5 as likelihood_low, likelihood::double * 2 as likelihood_high,
            customer_key || category_label as opportunity_key, lower(category_label) as category_key
        from (values
            ('ann', 'Milk', 1, true, 0.9, 9.00), ('ann', 'Soup', 2, false, 0.4, 4.00),
            ('ann', 'Tea', 3, false, 0.2, 1.00), ('ann', 'Rice', 4, false, 0.1, 0.25),
            ('ann', 'Salt', 5, false, 0.1, 100.00),
            ('ben', 'Soup', 1, false, 0.2, 2.00), ('ben', 'Milk', 2, true, 0.2, 2.00),
            ('cid', 'Tea', 1, false, 0.3, 1.50)
        ) as t(customer_key, category_label, rank, is_staple, likelihood, expected_value);
    create table cross_sell.customer_opportunity_reasons as from (values
        ('annSoup', 1, 'Bread'), ('annSoup', 2, 'Salt'), ('benSoup', 1, 'Bread'), ('annTea', 1, 'Cake')
    ) as t(opportunity_key, rank, owned_category_label);
    create table cross_sell.score_backtest as from (values
        ('shop', date '2026-09-01', 'learned', 'score', 0.8, 0.2, 5, 1.25::double),
        ('shop', date '2026-10-01', 'learned', 'score', 0.9, 0.4, 5, 0.75),
        ('shop', date '2026-09-01', null, 'popularity', 0.7, 0.1, 5, null)
    ) as t(source_name, as_of_date, score_basis, method, auc, ndcg_at_k, k, predicted_over_observed);
    create table quality.row_reconciliation as from (values
        ('shop', 'customers', 1, 1, 0), ('shop', 'purchases', 3, 2, 1)
    ) as t(source_name, table_name, raw_rows, kept_rows, rejected_rows);
    create table quality.shop_status as from (values
        ('shop', null::timestamp, null::varchar, timestamp '2026-11-20 21:00', 5, 0),
        ('late shop', timestamp '2026-11-19 02:00', 'too old', null, 0, 2)
    ) as t(source_name, held_since, reason, newest_purchase, delivery_count, waiting_delivery_count);
    create table quality.rejected_rows as from (values ('shop', 'purchases', 'zero_amount', 0.00::decimal(18, 2)))
        as t(source_name, table_name, rejection_reason, amount);
    create table quality.slo_status as from (values
        ('arrives', 'not measured', 'warning', 1, timestamp '2026-11-20 02:00'),
        ('fresh', 'met', 'met', 2, timestamp '2026-11-21 02:00'),
        ('new', 'not measured', null, null, null)
    ) as t(objective, status, last_status, last_measured_run_number, last_measured_at);
    create table quality.check_results as from (values
        (1, 'arrives', 'raw.purchases', 'size', 'warn', '5 rows, usual are 40'),
        (1, 'arrives', 'raw.products', 'size', 'warn', null),
        (1, 'arrives', 'raw.customers', 'size', 'pass', 'fine'),
        (2, 'fresh', 'raw.purchases', 'age', 'pass', 'fine')
    ) as t(run_number, objective, table_name, check_name, status, description);
"""


def publish(folder: Path, changes: str = "") -> Paths:
    paths = Paths(folder)
    paths.published.parent.mkdir()
    with duckdb.connect(str(paths.published)) as connection:
        connection.execute(TABLES + changes)
    return paths


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Figures:
    return read(publish(tmp_path_factory.mktemp("figures")))


@pytest.fixture
def shop(figures: Figures) -> Shop:
    (shop,) = figures.shops
    return shop


def test_offers_are_ordered_by_money_and_leave_out_staples(shop: Shop) -> None:
    assert shop.opportunities is not None
    soup, tea, rice = shop.opportunities.best
    assert (soup.category, soup.customers, soup.expected_value, soup.owned_category) == ("Soup", 2, 6.0, "Bread")
    assert (soup.first_purchases, soup.low, soup.high) == pytest.approx((0.6, 0.3, 1.2))
    assert soup.value_per_customer == 3.0
    assert (tea.category, tea.customers, tea.expected_value, tea.owned_category) == ("Tea", 2, 2.5, "Cake")
    # Without the staple, rice is the third of Ann's list; salt is the fourth.
    assert (rice.category, rice.customers, rice.owned_category) == ("Rice", 1, None)
    assert shop.opportunities.staples == ["Milk"]


def test_all_recommendations_are_compared_with_what_the_shop_sold_in_as_many_days(shop: Shop) -> None:
    offers = shop.opportunities
    assert offers is not None
    assert (offers.offers, offers.customers, offers.categories, offers.horizon_days) == (5, 3, 3, 28)
    assert offers.expected_value == pytest.approx(6.0 + 2.5 + 0.25)
    # The 28 days to 2026-11-20 begin on 2026-10-24.
    assert offers.recent_spending == 100.0


def test_the_backtest_says_how_many_of_100_predicted_first_purchases_happened(shop: Shop) -> None:
    assert shop.backtest is not None
    # Predicted over observed: 1.25 and 0.75, on average 1.
    assert shop.backtest.happened == pytest.approx((100, 80, 100 / 0.75))
    assert (shop.backtest.dates, shop.backtest.k) == (2, 5)


def test_totals_and_biggest_categories(shop: Shop, figures: Figures) -> None:
    assert (shop.spending, shop.baskets, shop.customers, shop.known_customers) == (Decimal("1100.00"), 3, 2, 1)
    assert shop.biggest_categories == [("Soup", Decimal("12.50"))]
    assert [(row.raw, row.kept, row.rejected) for row in figures.rows] == [(1, 1, 0), (3, 2, 1)]


def test_a_shop_without_a_customer_file_has_no_number_of_customers_in_it(tmp_path: Path) -> None:
    without = "delete from quality.row_reconciliation where table_name = 'customers'"
    (shop,) = read(publish(tmp_path, without)).shops
    assert (shop.customers, shop.known_customers) == (2, None)


def test_each_shop_says_how_it_stands_also_one_without_rows(figures: Figures) -> None:
    assert figures.statuses == [
        ShopStatus(
            "late shop", dt.datetime(2026, 11, 19, 2), "too old", None, customers=0, deliveries=0, waiting_deliveries=2
        ),
        ShopStatus("shop", None, None, dt.datetime(2026, 11, 20, 21), customers=2, deliveries=5, waiting_deliveries=0),
    ]


def test_spending_is_in_the_reporting_currency(figures: Figures) -> None:
    assert figures.currency == "EUR"


def test_an_objective_that_the_newest_run_did_not_measure_keeps_its_last_status(figures: Figures) -> None:
    assert figures.objectives == [
        ObjectiveStatus(
            "arrives",
            in_newest_run=False,
            status="warning",
            measured_at=dt.datetime(2026, 11, 20, 2),
            findings="raw.products: size; raw.purchases: 5 rows, usual are 40",
        ),
        ObjectiveStatus("fresh", True, "met", dt.datetime(2026, 11, 21, 2), None),
        ObjectiveStatus("new", False, "not measured", None, None),
    ]


def test_a_shop_without_recommendations_has_none(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.published.parent.mkdir()
    with duckdb.connect(str(paths.published)) as connection:
        connection.execute(TABLES)
        connection.execute("delete from cross_sell.customer_opportunities; delete from cross_sell.score_backtest")
    (shop,) = read(paths).shops
    assert (shop.opportunities, shop.backtest) == (None, None)


# Of fish: (1.10 + 1.20 + 1.00) / 3.
def test_a_shop_without_purchase_lines_has_totals_and_gaps_and_says_why_it_has_no_score(figures: Figures) -> None:
    (shop,) = figures.undated_shops
    assert [replace(gap, lift=round(gap.lift, 6)) for gap in shop.gaps] == [
        Gap("Sweets", 1, 0.4, 1.30, "Fish"),
        Gap("Fish", 3, 0.5, 1.10, "Meat"),
    ]
    assert replace(shop, gaps=[]) == UndatedShop(
        source="crm",
        spending=Decimal("906.00"),
        customers=2,
        known_customers=2,
        biggest_categories=[("Wines", Decimal("900.00")), ("Fish", Decimal("6.00"))],
        why_no_score="No dates.",
        gaps=[],
    )


def test_values_that_a_rule_left_out_or_replaced_are_counted(figures: Figures) -> None:
    assert figures.findings == [
        Finding("crm", "customers", "education", "replaced_word", 2),
        Finding("crm", "customers", "birth_year", "implausible_birth_year", 1),
    ]
