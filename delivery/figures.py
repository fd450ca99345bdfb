"""The published copy in a few figures, such as a run's summary prints them."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import duckdb

from warehouse.paths import Paths


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
    """A category, for the customers who have it among the first three of their lists.

    Attributes:
        category: its name.
        horizon_days: the days that the likelihood is for.
        customers: how many customers have it among the first three of their lists.
        adopters: how many of them are expected to begin to buy in it within the horizon.
        expected_value: what they are expected to spend in it, in the shop's currency.
        owned_category: the category that is most often the first reason; None where there is none.
    """

    category: str
    horizon_days: int
    customers: int
    adopters: float
    expected_value: float
    owned_category: str | None


@dataclass(frozen=True)
class Backtest:
    """How right the likelihoods were at earlier dates; means over the dates.

    Attributes:
        dates: how many earlier dates were judged.
        basis: what the likelihoods rested on at most of them.
        auc: area under the ROC curve, of the score and of popularity.
        ndcg: NDCG at k, of the score and of popularity.
        k: how many of each customer's list are looked at.
        came_true: of 100 predicted adoptions how many happened: mean, least and most over the dates.
    """

    dates: int
    basis: str
    auc: tuple[float, float]
    ndcg: tuple[float, float]
    k: int
    came_true: tuple[float, float, float]


@dataclass(frozen=True)
class Shop:
    """One shop in a few figures; amounts in the shop's currency.

    Attributes:
        source: its name.
        first_date: the day of the first purchase.
        last_date: the day of the newest purchase.
        spending: the sum of all purchases.
        baskets: how many there are.
        customers: how many bought.
        known_customers: how many the customer file knows.
        purchase_frequency: mean baskets of a customer in the last 365 days.
        biggest_categories: name and spending of the five biggest.
        opportunities: the five categories of the highest expected value.
        backtest: None where there is too little history to judge.
    """

    source: str
    first_date: dt.date
    last_date: dt.date
    spending: Decimal
    baskets: int
    customers: int
    known_customers: int
    purchase_frequency: float
    biggest_categories: list[tuple[str, Decimal]]
    opportunities: list[Opportunity]
    backtest: Backtest | None


@dataclass(frozen=True)
class Figures:
    """The published copy in a few figures.

    Attributes:
        rows: for each source and table.
        rejected: for each source, table and reason, the most frequent first.
        shops: one for each source.
        objectives: how many objectives are met, warned of, broken or not measured.
    """

    rows: list[RowCounts]
    rejected: list[Rejected]
    shops: list[Shop]
    objectives: dict[str, int]


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
        objectives = connection.execute("select status, count(*) from quality.slo_status group by 1").fetchall()
        return Figures(
            [RowCounts(*row) for row in rows],
            [Rejected(*row) for row in rejected],
            list(_shops(connection)),
            dict(objectives),
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
            select avg(purchase_frequency) filter (basket_count > 0), count(*) filter (not is_inferred)
            from core.dim_customers where source_name = $1
            """,
            [source],
        ).fetchall()[0]
        biggest = connection.execute(
            """
            select category_name, sum(amount) from core.fct_purchases join core.dim_categories using (category_key)
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


def _opportunities(connection: duckdb.DuckDBPyConnection, source: str) -> list[Opportunity]:
    rows = connection.execute(
        """
        with first as (
            from cross_sell.customer_opportunities where source_name = $1 and rank <= 3
        ),
        counted as (
            select category_key, owned_category_name, count(*) as times
            from first join cross_sell.customer_opportunity_reasons as reasons using (opportunity_key)
            where reasons.rank = 1 group by all
        ),
        reason as (
            from counted
            qualify row_number() over (partition by category_key order by times desc, owned_category_name) = 1
        )
        select category_name, any_value(horizon_days), count(*), sum(likelihood), sum(expected_value),
            any_value(reason.owned_category_name)
        from first left join reason using (category_key)
        group by category_key, category_name order by 5 desc, 1 limit 5
        """,
        [source],
    ).fetchall()
    return [Opportunity(*row) for row in rows]


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
    came_true = (100 / mean, 100 / high, 100 / low)
    return Backtest(dates, basis, (auc, popularity_auc), (ndcg, popularity_ndcg), k, came_true)
