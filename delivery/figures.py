"""The published copy in a few figures, such as a run's summary prints them."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

import duckdb

from warehouse.paths import Paths

SHOWN_OPPORTUNITIES = 5


@dataclass(frozen=True)
class RowCounts:
    """The rows of one raw table: raw = kept + rejected."""

    source: str
    table: str
    raw: int
    kept: int
    rejected: int


@dataclass(frozen=True)
class Rejected:
    """The rows of one raw table that were rejected for one reason; the amount is in the shop's currency."""

    source: str
    table: str
    reason: str
    rows: int
    amount: Decimal | None


@dataclass(frozen=True)
class Opportunity:
    """A category to offer, to the customers for whom it is a top-3 recommendation.

    Attributes:
        category: its label.
        customers: how many customers have it among their first three; staples are left out of the lists.
        first_purchases: how many of them are expected to buy in it for the first time within the horizon.
        low: lower end of the 90 % interval of first_purchases; None without a back-test.
        high: upper end of it.
        expected_value: what they are expected to spend in it, in the currency of all spending.
        owned_category: label of the category that is most often the first reason; None where there is none.
    """

    category: str
    customers: int
    first_purchases: float
    low: float | None
    high: float | None
    expected_value: float
    owned_category: str | None

    @property
    def value_per_customer(self) -> float:
        """What one of the customers is expected to spend in it, on average over all of them."""
        return self.expected_value / self.customers


@dataclass(frozen=True)
class Opportunities:
    """What to offer next in one shop: the top-3 recommendations of all its customers.

    Attributes:
        horizon_days: the days that the expectations are for, after the newest purchase.
        best: the categories with the highest expected value, the highest first.
        categories: how many categories there are.
        customers: how many customers have a recommendation.
        offers: recommendations of all customers together.
        expected_value: what is expected to be spent on all of them, in the currency of all spending.
        recent_spending: what the shop sold in as many days up to the newest purchase.
        staples: labels of the categories that are left out as staples, the one most often recommended first.
    """

    horizon_days: int
    best: list[Opportunity]
    categories: int
    customers: int
    offers: int
    expected_value: float
    recent_spending: float
    staples: list[str]


@dataclass(frozen=True)
class Backtest:
    """How right the likelihoods were at earlier dates; means over the dates.

    Attributes:
        dates: how many earlier dates were judged.
        basis: what the likelihoods rested on at most of them.
        auc: area under the ROC curve, of the score and of popularity.
        ndcg: NDCG at k, of the score and of popularity.
        k: how many of each customer's list are looked at.
        happened: of 100 predicted first purchases how many happened: mean, least and most over the dates.
    """

    dates: int
    basis: str
    auc: tuple[float, float]
    ndcg: tuple[float, float]
    k: int
    happened: tuple[float, float, float]


@dataclass(frozen=True)
class ObjectiveStatus:
    """How one quality objective stands.

    Attributes:
        objective: its name.
        in_newest_run: whether the newest run measured it; where nothing new was delivered, some are not measured.
        status: met, warning or breach, as last measured; not measured when no run ever did.
        measured_at: when the run began that measured it last, UTC; None when no run ever did.
        findings: what the checks that did not pass in that run found; None when all passed.
    """

    objective: str
    in_newest_run: bool
    status: str
    measured_at: dt.datetime | None
    findings: str | None


@dataclass(frozen=True)
class ShopStatus:
    """How one shop stands.

    Attributes:
        source: its name.
        held_since: when a run first found what holds it, UTC; None when it is current.
        reason: why it is held; None when it is current.
        newest_purchase: by the shop's clock; None without one.
        customers: how many bought.
        deliveries: how many deliveries its tables rest on.
        waiting_deliveries: deliveries that wait until it is no longer held.
    """

    source: str
    held_since: dt.datetime | None
    reason: str | None
    newest_purchase: dt.datetime | None
    customers: int
    deliveries: int
    waiting_deliveries: int


@dataclass(frozen=True)
class Shop:
    """One shop in a few figures; amounts in the currency of all spending.

    Attributes:
        source: its name.
        first_date: the day of the first purchase.
        last_date: the day of the newest purchase.
        spending: the sum of all purchases.
        baskets: how many there are.
        customers: how many bought.
        known_customers: how many the customer file knows; None where the shop sends none.
        purchase_frequency: mean baskets of a customer in the last 365 days.
        biggest_categories: label and spending of the five biggest.
        opportunities: what to offer next; None where no customer has a recommendation.
        backtest: None where there is too little history to judge.
    """

    source: str
    first_date: dt.date
    last_date: dt.date
    spending: Decimal
    baskets: int
    customers: int
    known_customers: int | None
    purchase_frequency: float
    biggest_categories: list[tuple[str, Decimal]]
    opportunities: Opportunities | None
    backtest: Backtest | None


@dataclass(frozen=True)
class Gap:
    """A category that customers of a shop without purchase lines do not buy, although similar customers do.

    Attributes:
        category: its label; staples are left out.
        customers: how many customers do not buy it.
        penetration: the share of all customers who buy it.
        lift: how many times as often those buy it who buy what these customers buy; the mean over them.
        strongest_category: label of the category that most often speaks for it.
    """

    category: str
    customers: int
    penetration: float
    lift: float
    strongest_category: str


@dataclass(frozen=True)
class UndatedShop:
    """A shop that sends totals without dates, in a few figures; amounts in the currency of all spending.

    Attributes:
        source: its name.
        spending: the sum of all totals.
        customers: how many spent anything.
        known_customers: how many the customer file knows.
        biggest_categories: label and spending of the five biggest.
        why_no_score: why there are no likelihoods, in a sentence or two.
        gaps: the categories with the highest lift, the highest first.
    """

    source: str
    spending: Decimal
    customers: int
    known_customers: int
    biggest_categories: list[tuple[str, Decimal]]
    why_no_score: str
    gaps: list[Gap]


@dataclass(frozen=True)
class Finding:
    """Values of one column that were left out or replaced by a rule, or that deserve a look."""

    source: str
    table: str
    column: str
    finding: str
    rows: int


@dataclass(frozen=True)
class Figures:
    """The published copy in a few figures.

    Attributes:
        rows: for each source and table.
        rejected: for each source, table and reason, the most frequent first.
        statuses: how each source stands.
        shops: one for each source with purchase lines.
        objectives: how each quality objective stands.
        currency: code of the currency of all spending; None where the only shop names none.
        undated_shops: one for each source with totals without dates.
        findings: for each source, table, column and rule, the most frequent first.
    """

    rows: list[RowCounts]
    rejected: list[Rejected]
    statuses: list[ShopStatus]
    shops: list[Shop]
    objectives: list[ObjectiveStatus]
    currency: str | None = None
    undated_shops: list[UndatedShop] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def read(paths: Paths) -> Figures:
    """Read the published copy.

    Args:
        paths: where data lives.
    """
    with duckdb.connect(str(paths.published), read_only=True) as connection:
        rows = connection.execute(
            """
            select source_name, table_name, raw_rows, kept_rows, rejected_rows
            from quality.row_reconciliation order by all
            """
        ).fetchall()
        rejected = connection.execute(
            """
            select source_name, table_name, rejection_reason, count(*), sum(amount)
            from quality.rejected_rows group by all order by 4 desc, 1, 2, 3
            """
        ).fetchall()
        findings = connection.execute(
            """
            select source_name, table_name, column_name, finding, count(*)
            from quality.findings group by all order by 5 desc, 1, 2, 3, 4
            """
        ).fetchall()
        currencies = connection.execute("select max(reporting_currency) from core.daily_exchange_rates").fetchall()
        statuses = connection.execute(
            """
            select source_name, held_since, reason, newest_purchase,
                (
                    select count(distinct customer_key) from core.fct_category_spending as spending
                    where spending.source_name = shops.source_name
                ),
                delivery_count, waiting_delivery_count
            from quality.shop_status as shops order by 1
            """
        ).fetchall()
        objectives = connection.execute(
            """
            select
                objective, status <> 'not measured', coalesce(last_status, status), last_measured_at,
                (
                    select string_agg(table_name || ': ' || coalesce(description, check_name), '; ' order by table_name)
                    from quality.check_results as results
                    where
                        results.run_number = slo.last_measured_run_number
                        and results.objective = slo.objective
                        and results.status <> 'pass'
                )
            from quality.slo_status as slo order by objective
            """
        ).fetchall()
        return Figures(
            [RowCounts(*row) for row in rows],
            [Rejected(*row) for row in rejected],
            [ShopStatus(*row) for row in statuses],
            list(_shops(connection)),
            [ObjectiveStatus(*row) for row in objectives],
            currencies[0][0],
            list(_undated_shops(connection)),
            [Finding(*row) for row in findings],
        )


def _shops(connection: duckdb.DuckDBPyConnection) -> Iterator[Shop]:
    for source, first, last, spending, baskets, customers in connection.execute(
        """
        select source_name, min(purchase_date), max(purchase_date), sum(amount), count(*), count(distinct customer_key)
        from core.fct_baskets group by 1 order by 1
        """
    ).fetchall():
        frequency, known = connection.execute(
            """
            select
                avg(purchase_frequency) filter (basket_count > 0),
                case
                    when $1 in (select source_name from quality.row_reconciliation where table_name = 'customers')
                        then count(*) filter (not is_inferred)
                end
            from core.dim_customers where source_name = $1
            """,
            [source],
        ).fetchall()[0]
        biggest = connection.execute(
            """
            select category_label, sum(amount) from core.fct_purchases join core.dim_categories using (category_key)
            where fct_purchases.source_name = $1 and fct_purchases.is_merchandise
            group by 1 order by 2 desc, 1 limit 5
            """,
            [source],
        ).fetchall()
        yield Shop(
            source,
            first,
            last,
            spending,
            baskets,
            customers,
            known,
            frequency,
            biggest,
            _opportunities(connection, source),
            _backtest(connection, source),
        )


def _undated_shops(connection: duckdb.DuckDBPyConnection) -> Iterator[UndatedShop]:
    for source, why, customers, spending, known in connection.execute(
        """
        select source_name, description, buyer_count,
            (
                select coalesce(sum(amount), 0) from core.fct_category_spending as spending
                where spending.source_name = shops.source_name
            ),
            (
                select count(*) from core.customer_numbers as numbers
                where numbers.source_name = shops.source_name and not is_inferred
            )
        from cross_sell.score_status as shops
        where spending_basis = 'totals without dates'
        order by 1
        """
    ).fetchall():
        biggest = connection.execute(
            """
            select category_label, total_spending from core.dim_categories
            where source_name = $1 and total_spending > 0 order by 2 desc, 1 limit 5
            """,
            [source],
        ).fetchall()
        gaps = connection.execute(
            f"""
            select category_label, count(*), any_value(penetration), avg(lift), mode(strongest_category_label)
            from cross_sell.category_gaps where source_name = $1 and not is_staple
            group by category_key, category_label order by 4 desc, 1 limit {SHOWN_OPPORTUNITIES}
            """,
            [source],
        ).fetchall()
        yield UndatedShop(source, spending, customers, known, biggest, why, [Gap(*gap) for gap in gaps])


def _opportunities(connection: duckdb.DuckDBPyConnection, source: str) -> Opportunities | None:
    offers = """
        select * from cross_sell.customer_opportunities
        where source_name = $1 and not is_staple
        qualify row_number() over (partition by customer_key order by rank) <= 3
    """
    best = connection.execute(
        f"""
        with offers as ({offers}),
        counted as (
            select category_key, reasons.owned_category_label, count(*) as times
            from offers join cross_sell.customer_opportunity_reasons as reasons using (opportunity_key)
            where reasons.rank = 1 group by all
        ),
        reason as (
            from counted
            qualify row_number() over (partition by category_key order by times desc, owned_category_label) = 1
        )
        select category_label, count(*), sum(likelihood), sum(likelihood_low), sum(likelihood_high),
            sum(expected_value), any_value(reason.owned_category_label)
        from offers left join reason using (category_key)
        group by category_key, category_label order by 6 desc, 1 limit {SHOWN_OPPORTUNITIES}
        """,
        [source],
    ).fetchall()
    if not best:
        return None
    horizon, categories, customers, count, value, recent = connection.execute(
        f"""
        with offers as ({offers})
        select any_value(horizon_days), count(distinct category_key), count(distinct customer_key), count(*),
            sum(expected_value),
            (
                select coalesce(sum(amount), 0)::double from core.fct_baskets
                where source_name = $1 and purchase_date > (select max(as_of_date - horizon_days::int) from offers)
            )
        from offers
        """,
        [source],
    ).fetchall()[0]
    staples = connection.execute(
        """
        select category_label from cross_sell.customer_opportunities
        where source_name = $1 and is_staple
        group by category_key, category_label order by count(*) filter (rank <= 3) desc, 1
        """,
        [source],
    ).fetchall()
    return Opportunities(
        horizon,
        [Opportunity(*row) for row in best],
        categories,
        customers,
        count,
        value,
        recent,
        [label for (label,) in staples],
    )


def _backtest(connection: duckdb.DuckDBPyConnection, source: str) -> Backtest | None:
    dates, basis, auc, popularity_auc, ndcg, popularity_ndcg, k, mean, low, high = connection.execute(
        """
        select count(distinct as_of_date), mode(score_basis) filter (method = 'score'),
            avg(auc) filter (method = 'score'), avg(auc) filter (method = 'popularity'),
            avg(ndcg_at_k) filter (method = 'score'), avg(ndcg_at_k) filter (method = 'popularity'), any_value(k),
            avg(predicted_over_observed) filter (method = 'score'),
            min(predicted_over_observed) filter (method = 'score'),
            max(predicted_over_observed) filter (method = 'score')
        from cross_sell.score_backtest where source_name = $1
        """,
        [source],
    ).fetchall()[0]
    if not dates or mean is None or ndcg is None:
        return None
    happened = (100 / mean, 100 / high, 100 / low)
    return Backtest(dates, basis, (auc, popularity_auc), (ndcg, popularity_ndcg), k, happened)
