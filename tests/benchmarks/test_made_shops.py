"""Made-up shops: what the plan says is in the purchases, and what it does not say is not."""

import datetime as dt
import functools
import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

pytest.importorskip("numpy", reason="needs the group benchmark")

from benchmarks.score_quality import made_shops, shop
from benchmarks.score_quality.made_shops import LAST_DAY, PLANS, Plan, Sequence, Substitution

# Fewer customers where the whole shop takes long; the facts that are tested do not depend on them.
SCALES = {"many_categories": 0.05}


@dataclass(frozen=True, eq=False)
class Facts:
    """A shop and its truth.

    Attributes:
        made: as it was made.
        connection: has its tables purchases, products and customers, and the view `bought` (a row per line:
            customer_id, basket_id, category, department, day, quantity, amount).
    """

    made: made_shops.Made
    connection: duckdb.DuckDBPyConnection

    @property
    def truth(self) -> dict[str, Any]:
        return self.made.truth

    def rows(self, query: str) -> list[Any]:
        return self.connection.execute(query).fetchall()

    def one(self, query: str) -> Any:
        return self.rows(query)[0][0]

    def customers_a_quarter(self) -> dict[str, int]:
        return dict(
            self.rows(
                "select year(day) || '-' || quarter(day), count(distinct customer_id) from bought group by all "
                "order by 1"
            )
        )

    def visits_a_month(self) -> dict[str, int]:
        return dict(self.rows("select strftime(day, '%Y-%m'), count(distinct basket_id) from bought group by all"))


def facts_of(name: str, plan: Plan, scale: float = 1.0) -> Facts:
    made = made_shops.make(name, plan, scale)
    connection = duckdb.connect()
    connection.execute("set threads = 1")
    for table in ("purchases", "products", "customers"):
        connection.register(f"arrow_{table}", getattr(made, table))
        connection.execute(f"create table {table} as from arrow_{table}")
    connection.execute(
        """create view bought as
        select customer_id, basket_id, category, department, cast(purchased_at as date) as day, quantity, amount
        from purchases join products using (product_id)"""
    )
    return Facts(made, connection)


@functools.cache
def facts(name: str) -> Facts:
    """The shop of this name; made once for all tests."""
    return facts_of(name, PLANS[name], SCALES.get(name, 1.0))


@pytest.fixture(scope="module", autouse=True)
def forget_shops() -> Iterator[None]:
    yield
    facts.cache_clear()


def lifts(of: Facts, from_day: int, to_day: int, since: dt.date) -> dict[tuple[str, str], float]:
    """How much more often a category is begun in some days after another than after the others.

    Per pair (first, then), among customers who bought `first` for the first time since a day, and had not bought `then`
    or a category that it was planted to follow: the share who begin `then` in those days, divided by the same of all
    other categories in the place of `first`.
    """
    of.connection.execute("create or replace table planted (first varchar, follower varchar)")
    for one in of.truth["sequences"]:
        of.connection.execute("insert into planted values (?, ?)", [one["first"], one["then"]])
    of.connection.execute(
        "create or replace table begun as select customer_id, category, min(day) as day from bought group by all"
    )
    rows = of.rows(
        f"""with prepared as (
            select begun.customer_id, planted.first as cause, follower as category, day
            from begun join planted on planted.first = begun.category
        ),
        pairs as (
            select a.category as first, y.category as follower,
                   coalesce(b.day between a.day + {from_day} and a.day + {to_day}, false) as begins,
                   exists (
                       select 1 from prepared
                       where prepared.customer_id = a.customer_id and prepared.category = y.category
                         and prepared.cause <> a.category and prepared.day <= a.day
                   ) as is_prepared
            from begun as a
            cross join (select distinct category from begun) as y
            left join begun as b on b.customer_id = a.customer_id and b.category = y.category
            where a.category <> y.category
              and a.day between date '{since}' and date '{LAST_DAY}' - {to_day}
              and (b.day is null or b.day >= a.day + {from_day})
        ),
        chances as (
            select first, follower, avg(begins::int) as chance from pairs
            where not is_prepared group by all having count(*) >= 30
        ),
        usual as (
            select follower, median(chance) as chance
            from chances anti join planted using (first, follower) group by all
        )
        select first, follower, chances.chance / nullif(usual.chance, 0) from chances join usual using (follower)"""
    )
    return {(first, follower): lift for first, follower, lift in rows if lift is not None}


def planted(of: Facts) -> set[tuple[str, str]]:
    return {(one["first"], one["then"]) for one in of.truth["sequences"]}


@pytest.mark.parametrize("name", PLANS)
def test_the_comparison_reads_each_shop_and_finds_something_to_judge(name: str, tmp_path: Path) -> None:
    # A tenth of the large shops is enough to read.
    scale = 1.0 if name.startswith("small") else 0.05 if name == "many_categories" else 0.1
    made_shops.write(made_shops.make(name, PLANS[name], scale), tmp_path / name)
    truth = json.loads((tmp_path / name / "truth.json").read_text(encoding="utf-8"))
    read = shop.read(tmp_path / name, truth["level"], truth["horizon_days"], truth["active_days"])
    newest = read.default_cutoffs[0]
    shop.candidates(read, newest).create_view("pairs")
    row = read.connection.execute(
        f"""select count(*), count(day) from pairs left join (
            select customer, category, min(day) as day from days where day > date '{newest}' group by all
        ) using (customer, category)"""
    ).fetchone()
    assert row
    assert 0.0005 < row[1] / row[0] < 0.15
    assert read.newest_day >= LAST_DAY - dt.timedelta(days=7)
    assert abs((read.first_day - dt.date.fromisoformat(truth["first_day"])).days) <= 7


@pytest.mark.parametrize("name", PLANS)
def test_lines_are_whole(name: str) -> None:
    of = facts(name)
    assert of.one("select count(*) from bought") == of.made.purchases.num_rows > 0
    assert of.one("select min(quantity) from purchases") >= 1
    assert of.one("select min(amount) from purchases") > 0
    # A basket is of one customer at one time; a category is in it once.
    assert not of.rows(
        """select basket_id from purchases join products using (product_id) group by 1
        having count(distinct customer_id) > 1 or count(distinct purchased_at) > 1
        or count(*) > count(distinct category)"""
    )
    assert not of.rows("select distinct customer_id from purchases anti join customers using (customer_id)")
    # The truth has the names that the tables have.
    named = {(one["category"], one["department"]) for one in of.truth["categories"]}
    assert named == set(of.rows("select distinct category, department from products"))
    assert len({department for _, department in named}) == PLANS[name].departments
    assert of.truth["customers"] == of.made.customers.num_rows


def test_the_same_arguments_write_the_same_bytes_and_another_seed_another_shop(tmp_path: Path) -> None:
    def written(folder: str, *more: str) -> dict[str, bytes]:
        arguments = ["duplicates", "small", "--scale", "0.1", "--out", str(tmp_path / folder), *more]
        assert made_shops.main(arguments) == 0
        files = sorted((tmp_path / folder).rglob("*.*"))
        return {str(file.relative_to(tmp_path / folder)): file.read_bytes() for file in files}

    first = written("first")
    assert list(first) == [
        f"{name}/{file}"
        for name in ("duplicates", "small")
        for file in ("customers.parquet", "products.parquet", "purchases.parquet", "truth.json")
    ]
    assert written("second") == first
    other = written("third", "--seed", "7")
    assert all(other[file] != content for file, content in first.items())


def test_a_curve_changes_by_the_same_rate_each_day_and_jumps_on_its_date() -> None:
    first, last = dt.date(2025, 1, 1), dt.date(2025, 1, 3)
    curve = ((first, 1.0), (last, 4.0), (last, 9.0))
    dates = [first + dt.timedelta(days=n) for n in range(-1, 4)]
    assert list(made_shops._values(curve, dates)) == pytest.approx([1, 1, 2, 9, 9])
    assert list(made_shops._values((), dates)) == [0] * 5


def test_groceries_are_weekly_trips_in_120_categories_and_ten_departments() -> None:
    of = facts("groceries")
    assert of.rows("select count(distinct category), count(distinct department) from bought") == [(120, 10)]
    assert of.one("select count(distinct customer_id) from bought") == 1000
    # 78 weeks; those who come often raise the mean less than they would by chance.
    assert 60 < of.one("select count(distinct basket_id) / 1000 from bought") < 85


def spread_of_groups(of: Facts) -> float:
    """Mean over the 12 best-selling categories: how far groups' shares of lines differ, as |ln| of the extremes."""
    return float(
        of.one(
            """with shares as (
                select "group", category, count(*) / sum(count(*)) over (partition by "group") as share
                from bought join customers using (customer_id) group by "group", category
            ),
            best as (select category from bought group by 1 order by count(*) desc, 1 limit 12)
            select avg(spread) from (
                select ln(max(share) / min(share)) as spread from shares join best using (category) group by category
            )"""
        )
    )


def test_groups_differ_in_groceries_hardly_among_cards_and_not_without_signal() -> None:
    assert spread_of_groups(facts("groceries")) > 1.2
    assert spread_of_groups(facts("weak_cards")) < 0.2
    assert spread_of_groups(facts("no_signal")) < 0.2


def test_card_holders_differ_in_appetite_for_new_categories() -> None:
    of = facts("weak_cards")
    low, high = of.rows(
        """select avg(categories) from (
            select customer_id, count(distinct category) as categories, count(distinct basket_id) as visits
            from bought group by 1 having visits between 10 and 20
        ) join customers using (customer_id)
        group by appetite > 0.35 order by 1"""
    )
    assert high[0] > 1.3 * low[0]


def test_durables_jump_from_3_categories_to_17_and_from_900_customers_a_quarter_to_3400() -> None:
    of = facts("durables_break")
    assert of.rows(
        """select day >= date '2024-07-01' as later, count(distinct category) from bought group by all order by 1"""
    ) == [(False, 3), (True, 17)]
    quarters = list(of.customers_a_quarter().values())
    assert len(quarters) == 14
    assert sum(quarters[:10]) / 10 == pytest.approx(900, rel=0.1)
    assert sum(quarters[10:]) / 4 == pytest.approx(3400, rel=0.1)
    assert quarters[10] > 2.5 * quarters[9]
    of_customer = "select count(distinct basket_id) as visits from bought group by customer_id"
    assert of.one(f"select avg((visits <= 3)::int) from ({of_customer})") > 0.85
    assert [(one["from"], one["of"]) for one in of.truth["breaks"]] == [
        ("2024-07-01", "arrivals"),
        ("2024-07-01", "assortment"),
    ]
    assert len(of.truth["breaks"][1]["begun"]) == 14


def test_durables_accessories_follow_what_they_belong_to() -> None:
    of = facts("durables_break")
    found = lifts(of, 1, 120, dt.date(2024, 7, 1))
    assert len(of.truth["sequences"]) == 9
    # Those that lead to a main product raise what many buy anyway.
    to_main = {pair for pair in planted(of) if pair[1] in ("category 02", "category 03")}
    assert min(found[pair] for pair in planted(of) - to_main) > 2
    assert min(found[pair] for pair in to_main) > 1.4


@pytest.mark.parametrize(
    ("name", "calm_year", "last_month", "low_month", "end"),
    [("electronics_fall", 2023, "2024-06", "2024-07", 0.4), ("electronics_recovery", 2022, "2023-12", "2024-01", 0.8)],
)
def test_electronics_grow_for_years_and_fall_by_60_percent(
    name: str, calm_year: int, last_month: str, low_month: str, end: float
) -> None:
    of = facts(name)
    assert of.made.customers.num_rows == pytest.approx(15_000, rel=0.1)
    assert of.rows("select count(distinct category), count(distinct department) from bought") == [(32, 8)]
    quarters = of.customers_a_quarter()
    for year in range(2021, calm_year + 1):
        assert quarters[f"{year}-4"] > 1.15 * quarters[f"{year - 1}-4"]
    months = list(of.truth["months"].values())
    visits = {month: number / months[int(month[-2:]) - 1] for month, number in of.visits_a_month().items()}
    assert visits[low_month] / visits[last_month] == pytest.approx(0.4, abs=0.06)
    # New customers grew on until July 2024, by a sixth a year, where demand had fallen before.
    assert (visits["2025-05"] + visits["2025-06"]) / 2 / visits[last_month] == pytest.approx(end, rel=0.2)
    assert of.truth["breaks"][0] == {
        "from": f"{low_month}-01",
        "to": f"{low_month}-01",
        "of": "demand",
        "before": 1.0,
        "after": 0.4,
    }


def test_wholesale_customers_order_big_baskets_every_other_week() -> None:
    of = facts("wholesale")
    assert of.one("select count(distinct customer_id) from bought") == pytest.approx(130, rel=0.1)
    assert of.one("select count(*) / count(distinct basket_id) from bought") > 6
    gap = of.one(
        """select median(day - before) from (
            select day, lag(day) over (partition by customer_id order by day) as before
            from (select distinct customer_id, day from bought)
        )"""
    )
    assert 11 <= gap <= 17
    found = lifts(of, 7, 90, dt.date(2024, 1, 1))
    of_planted = sorted(found[pair] for pair in planted(of) if pair in found)
    assert len(of_planted) >= 10
    assert of_planted[0] > 1.5
    assert of_planted[len(of_planted) // 2] > 3


def test_office_customers_order_6_times_more_each_year_and_twice_as_much_in_the_fourth_quarter() -> None:
    of = facts("office")
    visits = dict(of.rows("select customer_id, count(distinct basket_id) from bought group by 1"))
    assert sum(visits.values()) / 800 == pytest.approx(6, rel=0.15)
    quarters = dict(
        of.rows("select year(day) || '-' || quarter(day), count(distinct basket_id) from bought group by all")
    )
    years = [sum(quarters[f"{year + (n > 1)}-{(n + 2) % 4 + 1}"] for n in range(4)) for year in range(2021, 2025)]
    growth = [later / earlier for earlier, later in itertools.pairwise(years)]
    assert sum(growth) / 3 == pytest.approx(1.25, abs=0.08)
    for year in (2022, 2023):
        others = [quarters[f"{year}-{n}"] for n in (1, 2, 3)]
        assert quarters[f"{year}-4"] == pytest.approx(2 * 1.1 * sum(others) / 3, rel=0.15)


def test_the_web_shops_christmas_is_2_5_times_the_rest_and_some_categories_are_sold_in_december_only() -> None:
    of = facts("web_season")
    visits = of.visits_a_month()
    for year in (2023, 2024):
        calm = [visits[f"{year}-{month:02}"] for month in (8, 9, 10)]
        assert visits[f"{year}-12"] == pytest.approx(2.5 * sum(calm) / 3, rel=0.15)
    december_only = next(one for one in of.truth["seasons"] if one["months"]["Nov"] == 0)["categories"]
    assert len(december_only) == 4
    months = of.rows(f"select distinct category, month(day) from bought where category in {tuple(december_only)}")
    assert sorted(months) == [(category, 12) for category in december_only]


def test_growth_is_8_percent_more_customers_a_month() -> None:
    of = facts("growth")
    months = [
        number
        for _, number in of.rows(
            "select strftime(day, '%Y-%m'), count(distinct customer_id) from bought group by 1 order by 1"
        )
    ]
    assert len(months) == 15
    # From the second month on: in the first, fewer have had the time to come.
    assert (months[-1] / months[1]) ** (1 / 13) == pytest.approx(1.08, abs=0.01)


def test_demand_collapses_to_30_percent_in_the_last_third() -> None:
    of = facts("collapse")
    before, after = of.rows(
        """select count(distinct basket_id) / count(distinct day) from bought
        group by day >= date '2024-12-31' order by 1 desc"""
    )
    assert after[0] / before[0] == pytest.approx(0.3, rel=0.15)
    assert of.truth["breaks"] == [
        {"from": "2024-12-31", "to": "2024-12-31", "of": "demand", "before": 1.0, "after": 0.3}
    ]


def test_without_signal_categories_are_equally_popular_and_nothing_follows_from_anything() -> None:
    of = facts("no_signal")
    shares = [number for _, number in of.rows("select category, count(*) from bought group by 1")]
    assert len(shares) == 30
    assert max(shares) / min(shares) < 1.25
    found = sorted(lifts(of, 1, 60, dt.date(2024, 7, 1)).values())
    assert found[len(found) // 2] == pytest.approx(1, abs=0.05)
    assert found[len(found) // 20] > 0.7
    assert found[-len(found) // 20] < 1.3


def test_who_has_one_of_a_pair_needs_the_other_less() -> None:
    of = facts("substitution")
    assert len(of.truth["substitutions"]) == 20
    of.connection.execute(
        "create table begun as select customer_id, category, min(day) as day from bought group by all"
    )

    def ratio(owned: str, other: str) -> float:
        """How many of the owners begin the other within half a year, over the same of all owners of another one."""
        rates = dict(
            of.rows(
                f"""select a.category = '{owned}', avg(coalesce(b.day <= a.day + 180, false)::int)
                from begun as a left join begun as b on b.customer_id = a.customer_id and b.category = '{other}'
                where a.category <> '{other}' and a.day <= date '{LAST_DAY}' - 180 and (b.day is null or b.day > a.day)
                group by 1"""
            )
        )
        return float(rates[True] / rates[False])

    assert max(ratio(one["owned"], one["instead_of"]) for one in of.truth["substitutions"]) < 0.7
    # Two categories that have nothing to do with each other.
    free = [f"category {number}" for number in range(21, 31)]
    mean = sum(ratio(owned, other) for owned in free for other in free if owned != other) / 90
    assert mean == pytest.approx(1, abs=0.15)


def test_chains_lead_from_a_to_b_to_c_and_other_pairs_do_not() -> None:
    of = facts("chain")
    assert len(of.truth["sequences"]) == 24
    assert of.truth["sequences"][:2] == [
        {"first": "category 02", "then": "category 03", "lift": 8.0, "from_day": 14, "to_day": 56},
        {"first": "category 03", "then": "category 04", "lift": 8.0, "from_day": 14, "to_day": 56},
    ]
    found = lifts(of, 14, 56, dt.date(2024, 1, 1))
    assert min(found[pair] for pair in planted(of)) > 3
    others = sorted(lift for pair, lift in found.items() if pair not in planted(of))
    assert others[len(others) // 2] == pytest.approx(1, abs=0.15)
    assert others[-len(others) // 20] < 2


def test_a_sequence_is_under_way_on_its_days_only() -> None:
    # What follows is bought only by its lift: on days 5 to 9 after the first purchase of category 1.
    plan = Plan(
        about="two categories",
        first_day=LAST_DAY - dt.timedelta(days=59),
        customers=200,
        days_between_visits=1.5,
        regularity=20,
        visit_shape=50,
        categories=2,
        popularity=(1.0, 1e-9),
        sequences=(Sequence(0, 1, 1e9, 5, 9),),
    )
    of = facts_of("two", plan)
    days = of.rows(
        """select bought.day - begun.day from bought join (
            select customer_id, min(day) as day from bought where category = 'category 1' group by all
        ) as begun using (customer_id) where category = 'category 2'"""
    )
    assert {row[0] for row in days} == {5, 6, 7, 8, 9}


def test_who_has_a_category_never_begins_what_it_replaces_fully_but_who_has_both_goes_on() -> None:
    plan = Plan(
        about="three categories",
        first_day=LAST_DAY - dt.timedelta(days=59),
        customers=300,
        days_between_visits=3,
        categories=3,
        popularity=(1.0, 1.0, 1.0),
        basket=1.0,
        substitutions=(Substitution(0, 1, 0.0),),
    )
    of = facts_of("three", plan)
    of.connection.execute(
        "create table begun as select customer_id, category, min(day) as day from bought group by all"
    )
    both = of.rows(
        """select a.customer_id, a.day, b.day from begun as a join begun as b using (customer_id)
        where a.category = 'category 1' and b.category = 'category 2'"""
    )
    assert both
    assert all(second <= first for _, first, second in both)
    assert of.one(
        """select count(*) from bought join begun using (customer_id)
        where begun.category = 'category 1' and bought.category = 'category 2' and bought.day > begun.day"""
    )


def test_small_shops_are_small() -> None:
    for name, days in (("small", 56), ("small_long", 731)):
        of = facts(name)
        assert of.one("select count(distinct customer_id) from bought") == pytest.approx(50, abs=15)
        assert of.one("select count(distinct category) from bought") == 6
        assert (LAST_DAY - PLANS[name].first_day).days + 1 == days


def test_many_categories_are_sparse() -> None:
    of = facts("many_categories")
    assert len(of.truth["categories"]) == 5000
    assert of.one("select count(distinct category) from bought") > 2500
    of_customer = "select count(distinct category) as categories from bought group by customer_id"
    assert of.one(f"select avg(categories) from ({of_customer})") < 200


def test_80_percent_buy_once() -> None:
    of = facts("one_off")
    assert of.made.customers.num_rows == pytest.approx(10_000, rel=0.03)
    once = of.one(
        "select avg((n = 1)::int) from (select count(distinct basket_id) as n from bought group by customer_id)"
    )
    assert once == pytest.approx(0.8, abs=0.03)


def test_ten_business_customers_make_80_percent_of_the_sales() -> None:
    of = facts("b2b")
    assert of.made.customers.num_rows == pytest.approx(200, rel=0.1)
    share = of.one(
        """select sum(amount) filter (place <= 10) / sum(amount) from (
            select sum(amount) as amount, row_number() over (order by sum(amount) desc) as place
            from bought group by customer_id
        )"""
    )
    assert share == pytest.approx(0.8, abs=0.07)


def test_ended_categories_are_not_sold_any_more() -> None:
    of = facts("shrinking_assortment")
    ended = of.truth["breaks"][0]["ended"]
    assert len(ended) == 20
    last = dict(of.rows("select category, max(day) from bought group by 1"))
    assert len(last) == 40
    assert all((day <= dt.date(2025, 4, 30)) == (category in ended) for category, day in last.items())


def test_a_new_department_opens_each_quarter() -> None:
    of = facts("new_departments")
    first = dict(of.rows("select department, min(day) from bought group by 1"))
    assert [first[f"department {number:02}"] for number in range(1, 6)] == [dt.date(2024, 1, 1)] * 5
    openings = [
        dt.date(2024, 4, 1),
        dt.date(2024, 7, 1),
        dt.date(2024, 10, 1),
        dt.date(2025, 1, 1),
        dt.date(2025, 4, 1),
    ]
    assert [first[f"department {number:02}"] for number in range(6, 11)] == openings
    assert [one["from"] for one in of.truth["breaks"]] == [day.isoformat() for day in openings]
    assert all(len(one["begun"]) == 8 for one in of.truth["breaks"])


def test_duplicates_go_on_under_a_second_number() -> None:
    of = facts("duplicates")
    duplicates = of.truth["duplicates"]
    persons = of.one("select count(distinct person) from customers")
    assert persons == pytest.approx(2000, rel=0.05)
    # A few of the 15 % chosen came once only.
    assert 0.13 < len(duplicates) / persons <= 0.15
    spans = {
        customer: (first, last)
        for customer, first, last in of.rows("select customer_id, min(day), max(day) from bought group by 1")
    }
    for one in duplicates:
        first, second = one["customer_ids"]
        assert spans[first][1] < dt.date.fromisoformat(one["from"]) == spans[second][0]
        assert of.rows(f"select distinct person from customers where customer_id in ({first}, {second})") == [
            (one["person"],)
        ]


def test_what_customers_pay_is_the_category_s_price_times_their_factor() -> None:
    of = facts("groceries")
    prices = {one["category"]: one["price"] for one in of.truth["categories"]}
    of.connection.execute("create or replace table prices (category varchar, price double)")
    of.connection.executemany("insert into prices values (?, ?)", list(prices.items()))
    paid = of.rows(
        """select spending_factor, exp(avg(ln(amount / quantity / price)))
        from bought join prices using (category) join customers using (customer_id)
        group by customer_id, spending_factor having count(*) >= 100"""
    )
    assert len(paid) > 900
    errors = [abs(math.log(seen / factor)) for factor, seen in paid]
    assert sorted(errors)[len(errors) // 2] < 0.1
    quantiles = of.truth["spending_factor"]["quantiles"]
    assert quantiles["0.5"] == pytest.approx(1, rel=0.05)
    assert quantiles["0.95"] == pytest.approx(math.exp(1.645 * 0.4), rel=0.1)


def test_the_scale_is_that_of_customers() -> None:
    assert made_shops.make("weak_cards", PLANS["weak_cards"], 0.1).customers.num_rows == 500


def test_a_shop_without_customers_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert made_shops.main(["small", "--scale", "0.001", "--out", str(tmp_path)]) == 2
    assert "small has no customer at a scale of 0.001: choose a larger one." in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_month_without_a_purchase_is_no_error() -> None:
    plan = replace(PLANS["small"], months=(1.0,) * 5 + (1e-9,) + (1.0,) * 6, arrivals=())
    assert facts_of("quiet", plan).one("select max(day) from bought") <= dt.date(2025, 5, 31)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "there is no shop nowhere; there are groceries, weak_cards,"),
        (["--scale", "0"], "0 is not a number above 0"),
        (["--scale", "inf"], "inf is not a number above 0"),
        (["--seed", "-1"], "-1 is below 0"),
    ],
)
def test_what_cannot_be_made_is_refused(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        made_shops.main([*arguments, "--out", str(tmp_path)])
    assert end.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_help_names_the_shops(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        made_shops.main(["--help"])
    text = capsys.readouterr().out
    assert all(f"{name}:" in text for name in PLANS)
