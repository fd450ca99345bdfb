"""The same number at every door: what MetricFlow says is what SQL, written by hand on the published tables, says.

With NEXT_AISLE_METRICS_DATA the questions go to that data folder's published copy instead of a made-up shop's.
"""

import math
import re
from typing import Any, NamedTuple

import pytest

from tests.metrics.conftest import Shop


class Question(NamedTuple):
    """Metrics by something, and the SQL that must say the same; its columns: first what it is by, then the metrics."""

    metrics: str
    by: str
    sql: str
    where: tuple[str, ...] = ()


P = "core.fct_purchases as p"
C = "core.dim_customers as c"
WITH_CUSTOMERS = f"{P} join core.dim_customers as c using (customer_key)"
SPENDING = "sum(p.amount)"
BASKETS = "count(distinct p.basket_key)"
BUYERS = "count(distinct p.customer_key)"
MONTH = "date_trunc('month', p.purchase_date)"
# The days that the calendar has, with the lines of a window that ends with each.
CALENDAR = "(select unnest(generate_series(min(purchase_date), max(purchase_date), interval 1 day))::date as day from core.fct_purchases) as days"  # noqa: E501

QUESTIONS = [
    # Nothing but the number.
    Question("total_spending,purchase_count,active_customers", "", f"select {SPENDING}, {BASKETS}, {BUYERS} from {P}"),
    Question("purchase_count", "", "select count(*) from core.fct_baskets"),
    Question("total_spending", "", "select sum(total_spending) from core.dim_customers"),
    Question("total_customers,new_customers", "", f"select count(*), count(first_purchase_date) from {C}"),
    Question("total_products", "", "select count(*) from core.dim_products"),
    Question("category_spending,category_buyers", "", f"select {SPENDING}, {BUYERS} from {P}"),
    Question(
        "category_spending,category_buyers",
        "category",
        f"select p.category_key, {SPENDING}, {BUYERS} from {P} group by 1",
    ),
    Question(
        "category_spending,category_buyers",
        "customer__rfm_segment",
        f"select c.rfm_segment, {SPENDING}, {BUYERS} from {WITH_CUSTOMERS} group by 1",
    ),
    Question("total_categories", "", "select count(*) from core.dim_categories"),
    # What a mart holds at its own grain is the metric, by that grain.
    Question(
        "total_spending,purchase_count",
        "customer",
        "select customer_key, total_spending, basket_count from core.dim_customers where basket_count > 0",
    ),
    Question(
        "purchase_frequency,churn_probability,recency",
        "customer",
        "select customer_key, case when basket_count > 0 then purchase_frequency end, churn_probability, recency_days "
        "from core.dim_customers",
    ),
    Question(
        "total_spending,purchase_count,active_customers",
        "category",
        "select category_key, total_spending, basket_count, customer_count from core.dim_categories "
        "where line_count > 0",
    ),
    Question(
        "spending_share,category_penetration",
        "category",
        "select category_key, total_spending / sum(total_spending) over (partition by source_name), customer_count / "
        "(select count(*) from core.dim_customers as c where basket_count > 0 and c.source_name = k.source_name) "
        "from core.dim_categories as k",
    ),
    Question(
        "spending_share,category_penetration",
        "category",
        "select category_key, spending_share, penetration from core.dim_categories",
    ),
    # By time.
    Question(
        "total_spending,average_basket_value,average_spend,purchases_per_customer",
        "metric_time__month",
        f"select {MONTH}, {SPENDING}, {SPENDING} / {BASKETS}, {SPENDING} / {BUYERS}, {BASKETS} / {BUYERS} "
        f"from {P} group by 1",
    ),
    Question(
        "total_discount,units_sold",
        "metric_time__week",
        f"select date_trunc('week', p.purchase_date), sum(discount_amount), sum(quantity) filter (is_merchandise) "
        f"from {P} group by 1",
    ),
    Question(
        "discount_rate",
        "metric_time__quarter",
        "select date_trunc('quarter', purchase_date), sum(discount_amount) / (sum(amount) + sum(discount_amount)) "
        "from core.fct_purchases group by 1",
    ),
    Question(
        "new_category_adoptions,new_category_adoption_rate",
        "metric_time__month",
        """
        with firsts as (
            select customer_key, category_key, min(purchase_date) as day from core.fct_purchases
            where is_merchandise group by 1, 2
        ),
        began as (select customer_key, min(purchase_date) as first_day from core.fct_purchases group by 1),
        adopted as (
            select date_trunc('month', day) as month, count(*) filter (day > first_day) as adoptions
            from firsts join began using (customer_key) group by 1
        ),
        bought as (
            select date_trunc('month', purchase_date) as month, count(distinct customer_key) as customers
            from core.fct_purchases group by 1
        )
        select month, adoptions, adoptions / customers from bought left join adopted using (month)
        """,
    ),
    Question(
        "new_customers",
        "metric_time__month",
        "with f as (select customer_key, date_trunc('month', min(purchase_date)) as m from core.fct_purchases "
        "group by 1) select m, count(*) from f group by 1 union all "
        "select null, 0 where exists (select 1 from core.dim_customers where basket_count = 0)",
    ),
    Question(
        "total_spending_growth,active_customers_growth",
        "metric_time__month",
        f"""
        with months as (select {MONTH} as m, {SPENDING} as spent, {BUYERS} as customers from {P} group by 1)
        select now.m, now.spent / before.spent - 1, now.customers / before.customers - 1
        from months as now left join months as before on before.m = now.m - interval 1 month
        """,
    ),
    Question(
        "total_spending_28_days,active_customers_28_days",
        "metric_time__day",
        f"""
        select day, {SPENDING}, {BUYERS} from {CALENDAR}
        join {P} on p.purchase_date <= day and p.purchase_date > day - 28 group by 1
        """,
    ),
    Question(
        "total_spending_28_days",
        "metric_time__month",
        f"""
        with daily as (
            select day, {SPENDING} as spent from {CALENDAR}
            join {P} on p.purchase_date <= day and p.purchase_date > day - 28 group by 1
        )
        select date_trunc('month', day), (array_agg(spent order by day desc))[1] from daily group by 1
        """,
    ),
    Question(
        "total_spending_to_date,total_spending_month_to_date",
        "metric_time__day",
        f"""
        select day, sum(p.amount), sum(p.amount) filter (p.purchase_date >= date_trunc('month', day))
        from {CALENDAR} join {P} on p.purchase_date <= day group by 1
        """,
    ),
    # By what customers, products and categories are; two tables away; with a filter.
    Question(
        "total_spending,active_customers",
        "customer__rfm_segment",
        f"select c.rfm_segment, {SPENDING}, {BUYERS} from {WITH_CUSTOMERS} group by 1",
    ),
    Question(
        "average_spend,average_basket_value",
        "customer__age_band,customer__is_inferred",
        f"select c.age_band, c.is_inferred, {SPENDING} / {BUYERS}, {SPENDING} / {BASKETS} "
        f"from {WITH_CUSTOMERS} group by 1, 2",
    ),
    Question(
        "total_spending,units_sold",
        "product__department,product__brand",
        f"select d.department, d.brand, {SPENDING}, sum(case when p.is_merchandise then quantity else 0 end) "
        f"from {P} join core.dim_products as d using (product_key) group by 1, 2",
    ),
    Question(
        "total_spending",
        "product__category__department",
        f"select k.department, {SPENDING} from {P} join core.dim_products as d using (product_key) "
        "join core.dim_categories as k on k.category_key = d.category_key group by 1",
    ),
    Question(
        "purchase_count,total_spending",
        "basket__customer__rfm_segment",
        "select c.rfm_segment, count(*), sum(b.amount) from core.fct_baskets as b "
        "join core.dim_customers as c using (customer_key) group by 1",
    ),
    Question(
        "total_spending",
        "calendar_day__weekday_name,calendar_day__is_weekend",
        f"select d.weekday_name, extract(isodow from p.purchase_date) > 5, {SPENDING} from {P} "
        "join core.dim_dates as d on d.date_day = p.purchase_date group by 1, 2",
    ),
    Question(
        "total_spending,purchases_per_customer",
        "purchase_line__store_id",
        f"select p.store_id, {SPENDING}, {BASKETS} / {BUYERS} from {P} where p.is_merchandise group by 1",
        ("{{ Dimension('purchase_line__is_merchandise') }}",),
    ),
    Question(
        "total_spending,purchase_count",
        "category__category_name",
        f"select k.category_name, {SPENDING}, {BASKETS} from {WITH_CUSTOMERS} "
        "join core.dim_categories as k on k.category_key = p.category_key "
        "where c.rfm_segment in ('champion', 'loyal') and k.is_merchandise group by 1",
        (
            "{{ Dimension('customer__rfm_segment') }} in ('champion', 'loyal')",
            "{{ Dimension('category__is_merchandise') }}",
        ),
    ),
    Question(
        "purchases_per_customer,active_customers",
        "",
        f"select {BASKETS} / {BUYERS}, {BUYERS} from {P} "
        "where purchase_date > (select max(purchase_date) from core.fct_purchases) - 30",
        (
            "{{ TimeDimension('metric_time', 'day') }} > "
            "(select max(purchase_date) from warehouse.core.fct_purchases) - 30",
        ),
    ),
    Question(
        "total_spending,new_category_adoptions",
        "category__department",
        "with s as (select k.department, sum(amount) as spent from core.fct_purchases "
        "join core.dim_categories as k using (category_key) group by 1), "
        "a as (select k.department, sum((not is_first_day)::int) as began from core.fct_category_adoptions "
        "join core.dim_categories as k using (category_key) group by 1) "
        "select coalesce(s.department, a.department), s.spent, a.began from s "
        "full join a on coalesce(s.department, '') = coalesce(a.department, '')",
    ),
    Question(
        "categories_per_basket,products_per_basket",
        "customer__home_ownership",
        "with b as (select customer_key, basket_key, count(distinct category_key) as k, "
        "count(distinct product_key) as n from core.fct_purchases group by 1, 2) "
        "select c.home_ownership, avg(k), avg(n) from b join core.dim_customers as c using (customer_key) group by 1",
    ),
    Question(
        "total_products",
        "category__department",
        "select k.department, count(*) from core.dim_products join core.dim_categories as k using (category_key) "
        "group by 1",
    ),
    Question(
        "total_categories",
        "category__is_merchandise",
        "select is_merchandise, count(*) from core.dim_categories group by 1",
    ),
    # What customers are like.
    Question(
        "purchase_frequency,repeat_rate,recency,churn_probability,total_customers,total_returned,return_rate",
        "customer__rfm_segment",
        """
        select rfm_segment, avg(purchase_frequency) filter (basket_count > 0),
            count(*) filter (basket_count >= 2) / nullif(count(*) filter (basket_count > 0), 0), avg(recency_days),
            avg(churn_probability), count(*), sum(returned_amount),
            sum(returned_amount) / nullif(sum(total_spending), 0)
        from core.dim_customers group by 1
        """,
    ),
    Question(
        "churn_probability,total_customers",
        "customer__marital_status,customer__income_band",
        f"select marital_status, income_band, avg(churn_probability), count(*) from {C} "
        "where not is_inferred group by 1, 2",
        ("not {{ Dimension('customer__is_inferred') }}",),
    ),
    # What may be sold.
    Question(
        "cross_sell_opportunity_score,expected_cross_sell_value,opportunity_count",
        "",
        "select avg(likelihood), sum(expected_value), count(*) from cross_sell.customer_opportunities",
    ),
    Question(
        "cross_sell_opportunity_score,opportunity_count",
        "opportunity",
        "select customer_key || ':' || category_key, likelihood, 1 from cross_sell.customer_opportunities",
    ),
    Question(
        "cross_sell_opportunity_score,expected_cross_sell_value,opportunity_count",
        "customer__rfm_segment,category__department",
        "select c.rfm_segment, k.department, avg(likelihood), sum(expected_value), count(*) "
        "from cross_sell.customer_opportunities as o join core.dim_customers as c using (customer_key) "
        "join core.dim_categories as k on k.category_key = o.category_key where o.rank <= 2 group by 1, 2",
        ("{{ Dimension('opportunity__rank') }} <= 2",),
    ),
    Question(
        "opportunity_count",
        "opportunity__score_basis,metric_time__day",
        "select score_basis, as_of_date, count(*) from cross_sell.customer_opportunities group by 1, 2",
    ),
    # What the nights cost.
    Question(
        "run_cpu_seconds,run_loaded_bytes",
        "",
        "select sum(cpu_seconds) filter (not is_model), sum(loaded_bytes) from quality.run_costs",
    ),
    Question(
        "run_cpu_seconds,run_loaded_bytes",
        "run_step__source_name,metric_time__day",
        "select source_name, run_started_at::date, sum(case when is_model then 0 else cpu_seconds end), "
        "sum(loaded_bytes) from quality.run_costs group by 1, 2",
    ),
]


def comparable(rows: list[Any]) -> list[list[Any]]:
    """In an order that does not depend on the last digits of a number."""
    plain = [
        [str(v)[:10] if hasattr(v, "year") else v if isinstance(v, str | None) else float(v) for v in row]
        for row in rows
    ]
    return sorted(plain, key=lambda row: [(v is None, isinstance(v, str), str(v)) for v in row])


def same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        # A mean of millions of fractions differs in its last digits; a cent in five million does not pass.
        return math.isclose(left, right, rel_tol=1e-10, abs_tol=1e-9)
    return bool(left == right)


def request(question: Question) -> dict[str, Any]:
    return {
        "metric_names": question.metrics.split(","),
        "group_by_names": question.by.split(",") if question.by else [],
        "where_constraints": list(question.where) or None,
    }


@pytest.fixture(scope="module")
def answers(shop: Shop) -> list[Any]:
    return shop.ask([request(question) for question in QUESTIONS])


@pytest.mark.parametrize("number", range(len(QUESTIONS)), ids=[f"{q.metrics} by {q.by}" for q in QUESTIONS])
def test_metricflow_says_what_sql_says(number: int, shop: Shop, answers: list[Any]) -> None:
    question, answer = QUESTIONS[number], answers[number]
    assert "error" not in answer, answer
    wanted = [*(question.by.split(",") if question.by else []), *question.metrics.split(",")]
    assert sorted(answer["columns"]) == sorted(wanted)
    order = [answer["columns"].index(column) for column in wanted]
    answered = comparable([[row[position] for position in order] for row in answer["rows"]])
    expected = comparable(shop.sql(question.sql))
    assert len(answered) == len(expected)
    for row, expected_row in zip(answered, expected, strict=True):
        assert all(same(a, b) for a, b in zip(row, expected_row, strict=True)), (row, expected_row)
    assert answered, "nothing was compared"


def test_every_metric_is_compared(manifest: dict[str, Any]) -> None:
    public = {m["name"] for m in manifest["metrics"].values() if not m["type_params"].get("is_private")}
    assert {metric for question in QUESTIONS for metric in question.metrics.split(",")} == public


def test_the_summary_of_a_run_says_the_same(shop: Shop) -> None:
    output = shop.project.data / "output.txt"
    if not output.exists():
        pytest.skip("another data folder: its run is over")
    metrics = ["total_spending", "purchase_count", "new_customers", "purchase_frequency"]
    [answer] = shop.ask([{"metric_names": metrics}])
    number = dict(zip(answer["columns"], answer["rows"][0], strict=True))
    text = re.sub(r"\s+", " ", output.read_text(encoding="utf-8"))
    assert f"total spending {number['total_spending']:,.2f} USD in {number['purchase_count']:,.0f} baskets" in text
    assert f"customers {number['new_customers']:,.0f} who bought" in text
    assert f"purchase frequency {number['purchase_frequency']:,.1f} baskets per customer" in text
