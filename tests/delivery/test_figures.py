"""The figures of a published copy, added up by hand."""

import datetime as dt
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from delivery.figures import Figures, ObjectiveStatus, Shop, read
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
    create table core.dim_categories as from (values ('soup', 'Soup')) as t(category_key, category_label);
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
    create table quality.row_reconciliation as from (values ('shop', 'purchases', 3, 2, 1))
        as t(source_name, table_name, raw_rows, kept_rows, rejected_rows);
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


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Figures:
    paths = Paths(tmp_path_factory.mktemp("figures"))
    paths.published.parent.mkdir()
    with duckdb.connect(str(paths.published)) as connection:
        connection.execute(TABLES)
    return read(paths)


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
    assert [(row.raw, row.kept, row.rejected) for row in figures.rows] == [(3, 2, 1)]


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
