"""Made-up shops whose truth is known: what was planted must be found, what was not must not.

`python -m benchmarks.score_quality.made_shops --out DIR` writes a folder per shop, as `--shop` of the comparison reads
it, with the truth in two more files:

    purchases.parquet, products.parquet   see benchmarks/score_quality/shop.py; levels are department and category
    truth.json                            what was planted, and the horizon and active days to judge the shop with
    customers.parquet                     per customer number: the person, and what the person is like

All shops are one simulation (`make`) with other parameters (`PLANS`). On each day some customers visit. A visitor buys
each category with a chance of its own, 1 - exp(-w), where w is

    popularity of the category x preference of the customer's group x preference of the customer
    x if already bought: how far its cycle has come; if not: the customer's appetite for new categories
    scaled so that the sum over what is sold on that day is the size of the customer's baskets,
    x season of the category x lift of each planted sequence under way x factor of each substitution

and where that gives nothing, one category in proportion to w.
"""

import argparse
import calendar
import datetime as dt
import itertools
import json
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from warehouse.safe_files import replacing
from warehouse.terminal import Terminal

Array: TypeAlias = NDArray[Any]
# Dates and values, in the order of time. Between two dates the value changes by the same rate each day; two values on
# one date are a jump; before the first and after the last date it stays.
Curve: TypeAlias = tuple[tuple[dt.date, float], ...]

LAST_DAY = dt.date(2025, 6, 30)
SEED = 20250630
# A change of a curve within this many days is listed as a break.
BREAK_DAYS = 92
# Shops are open from 8 to 20 o'clock.
OPENS_HOUR, OPEN_HOURS = 8, 12
SPENDING_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

LEVEL: Curve = ((LAST_DAY, 1.0),)
NO_SEASON = (1.0,) * 12


@dataclass(frozen=True)
class Sequence:
    """After the first purchase of a category, another is bought more often for some time.

    Attributes:
        first: number of the category that is bought first.
        then: number of the one that follows.
        lift: its chances are multiplied by this.
        from_day: on this many days after the first purchase of `first`
        to_day: to this many days after it.
    """

    first: int
    then: int
    lift: float
    from_day: int
    to_day: int


@dataclass(frozen=True)
class Substitution:
    """Who has bought a category needs another one less; who has bought both buys both as before.

    Attributes:
        owned: number of the category that was bought.
        instead_of: number of the one that is not needed any more.
        factor: its chances are multiplied by this, as long as it was never bought.
    """

    owned: int
    instead_of: int
    factor: float


@dataclass(frozen=True)
class Sold:
    """When some categories are sold; those without a line are always sold.

    Attributes:
        categories: their numbers.
        first_day: the first day on which they are sold; None: always.
        last_day: the last one; None: to the end.
    """

    categories: tuple[int, ...]
    first_day: dt.date | None = None
    last_day: dt.date | None = None


@dataclass(frozen=True)
class Season:
    """Months that matter for some categories only.

    Attributes:
        categories: their numbers.
        months: their chances are multiplied by these, from January to December.
    """

    categories: tuple[int, ...]
    months: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The parameters of a shop. Spreads are standard deviations of the logarithm, 0 means that all are alike.

    Attributes:
        about: what the shop is, in a line.
        first_day: of the purchases.
        horizon_days: to judge it with, see `benchmarks.score_quality.shop`.
        active_days: to judge it with.
        customers: who are there from the first day.
        arrivals: new customers a day; they buy on the day on which they come.
        lifetime_days: mean time until a customer leaves; None: customers never leave.
        once_share: share of customers who buy once.
        days_between_visits: mean over customers of the visits a day, as its inverse.
        visit_shape: of the gamma distribution of customers' visits a day: the higher, the more alike.
        regularity: of a customer's gaps between visits: 1 is chance, 10 is like a clock.
        demand: multiplies visits and arrivals.
        months: multiplies visits and arrivals, from January to December.
        categories: how many.
        departments: how many; categories are divided among them in their order.
        popularity: of each category; None: 1 / rank ** zipf, in an order drawn by chance.
        zipf: 0 makes all categories equally popular.
        groups: customers are of one of this many kinds.
        group_spread: of the groups' preferences, half by department, half by category; 0 is no signal.
        personal_spread: of each customer's own preferences, which no one else shares.
        basket: sum of the w of all categories; a basket has fewer, as a category is in it only once, but at least one.
        basket_spread: over customers.
        explore: chance of a category never bought, relative to one bought before.
        appetite_spread: over customers, of that chance.
        cycle_days: a category's chance is back to half this long after it was bought; 0: it is at once.
        cycle_spread: over categories.
        sold: categories that are not always sold.
        seasons: of some categories.
        sequences: planted ones.
        substitutions: planted ones.
        price: median price of a category.
        price_spread: over categories.
        spending_spread: over customers, of what they pay for the same category.
        pieces: mean number of pieces in a line.
        big_customers: number of customers, the first ones, who pay and order more.
        big_factor: they pay this much more for each line.
        products: mean number of products of a category.
        duplicate_share: share of persons who go on under a second customer number from some day on.
    """

    about: str
    first_day: dt.date
    horizon_days: int = 28
    active_days: int = 90
    customers: int = 0
    arrivals: Curve = ()
    lifetime_days: float | None = None
    once_share: float = 0.0
    days_between_visits: float = 14.0
    visit_shape: float = 2.0
    regularity: float = 2.0
    demand: Curve = LEVEL
    months: tuple[float, ...] = NO_SEASON
    categories: int
    departments: int = 1
    popularity: tuple[float, ...] | None = None
    zipf: float = 0.7
    groups: int = 4
    group_spread: float = 0.0
    personal_spread: float = 0.0
    basket: float = 2.0
    basket_spread: float = 0.0
    explore: float = 1.0
    appetite_spread: float = 0.0
    cycle_days: float = 0.0
    cycle_spread: float = 0.0
    sold: tuple[Sold, ...] = ()
    seasons: tuple[Season, ...] = ()
    sequences: tuple[Sequence, ...] = ()
    substitutions: tuple[Substitution, ...] = ()
    price: float = 10.0
    price_spread: float = 0.7
    spending_spread: float = 0.4
    pieces: float = 1.3
    big_customers: int = 0
    big_factor: float = 1.0
    products: int = 8
    duplicate_share: float = 0.0


def _next_to(firsts: Iterable[int], lift: float, from_day: int, to_day: int) -> tuple[Sequence, ...]:
    """Plant a sequence from each of some categories to the one after it."""
    return tuple(Sequence(first, first + 1, lift, from_day, to_day) for first in firsts)


def _day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


GROCERIES = Plan(
    about="weekly trips of 1,000 households, strong groups",
    first_day=_day("2024-01-01"),
    customers=1000,
    days_between_visits=7,
    visit_shape=4,
    regularity=4,
    categories=120,
    departments=10,
    zipf=1.8,
    groups=6,
    group_spread=1.0,
    personal_spread=0.6,
    basket=12,
    basket_spread=0.4,
    explore=0.7,
    appetite_spread=0.6,
    cycle_days=10,
    cycle_spread=0.6,
    price=4,
)
ELECTRONICS = Plan(
    about="electronics, five years; customers grow for four, then fall by 60 % from a quarter to the next and stay low",
    first_day=_day("2020-07-01"),
    horizon_days=90,
    active_days=365,
    arrivals=((_day("2020-07-01"), 4.5), (_day("2024-07-01"), 14.5)),
    lifetime_days=700,
    once_share=0.35,
    days_between_visits=200,
    visit_shape=1.5,
    regularity=1,
    demand=((_day("2024-07-01"), 1.0), (_day("2024-07-01"), 0.4)),
    months=(0.9, 0.9, 0.95, 0.95, 0.95, 0.95, 1.0, 1.0, 1.0, 1.0, 1.2, 1.2),
    categories=32,
    departments=8,
    zipf=0.9,
    groups=4,
    group_spread=0.3,
    personal_spread=0.3,
    basket=1.3,
    basket_spread=0.2,
    appetite_spread=0.2,
    cycle_days=200,
    cycle_spread=0.5,
    price=120,
    price_spread=1.0,
    pieces=1.05,
)
PLAIN = Plan(
    about="2,000 customers who come and go, a visit every two weeks, some signal; other shops are made from it",
    first_day=_day("2024-01-01"),
    customers=1200,
    arrivals=((_day("2024-01-01"), 1.5),),
    lifetime_days=800,
    days_between_visits=14,
    categories=30,
    departments=6,
    zipf=1.3,
    groups=4,
    group_spread=0.7,
    personal_spread=0.6,
    basket=2.5,
    basket_spread=0.3,
    explore=0.4,
    appetite_spread=0.5,
    cycle_days=10,
)
ACCESSORIES = tuple(range(3, 17))
DECEMBER_ONLY = (28, 29, 30, 31)

PLANS: dict[str, Plan] = {
    "groceries": GROCERIES,
    "weak_cards": Plan(
        about="5,000 card holders; hardly more signal than popularity and each customer's appetite",
        first_day=_day("2025-01-01"),
        customers=5000,
        days_between_visits=12,
        visit_shape=1.5,
        categories=25,
        departments=5,
        zipf=1.7,
        groups=3,
        group_spread=0.1,
        basket=2.0,
        basket_spread=0.3,
        explore=0.35,
        appetite_spread=1.0,
        cycle_days=7,
        price=6,
    ),
    "durables_break": Plan(
        about="durable goods: after 2.5 years with 3 categories and some 900 customers a quarter, 17 categories and "
        "3,400 customers",
        first_day=_day("2022-01-01"),
        horizon_days=90,
        active_days=365,
        customers=1100,
        arrivals=((_day("2024-07-01"), 5.5), (_day("2024-07-01"), 26.0)),
        lifetime_days=400,
        once_share=0.4,
        days_between_visits=150,
        visit_shape=2,
        regularity=1,
        categories=17,
        departments=3,
        popularity=(6.0, 3.0, 2.0, *(1.5 / (1 + n / 3) for n in range(14))),
        groups=3,
        group_spread=0.3,
        basket=1.4,
        cycle_days=700,
        sold=(Sold(ACCESSORIES, _day("2024-07-01")),),
        sequences=(
            *(Sequence(0, then, 8.0, 1, 240) for then in (3, 5, 7, 9)),
            *(Sequence(1, then, 8.0, 1, 240) for then in (4, 6, 8)),
            Sequence(10, 1, 8.0, 1, 180),
            Sequence(11, 2, 8.0, 1, 180),
        ),
        price=250,
        price_spread=1.2,
        pieces=1.05,
    ),
    "electronics_fall": ELECTRONICS,
    "electronics_recovery": replace(
        ELECTRONICS,
        about="electronics as well, but three quarters after the fall customers come back to 80 % of what they were",
        demand=(
            (_day("2024-01-01"), 1.0),
            (_day("2024-01-01"), 0.4),
            (_day("2024-10-01"), 0.4),
            (_day("2024-10-01"), 0.8),
        ),
    ),
    "wholesale": Plan(
        about="130 customers who order big baskets every other week; sequences are planted",
        first_day=_day("2024-01-01"),
        customers=115,
        arrivals=((_day("2024-01-01"), 0.045),),
        lifetime_days=2500,
        days_between_visits=14,
        visit_shape=6,
        regularity=8,
        categories=40,
        departments=5,
        popularity=tuple(one / n**0.5 for n in range(1, 15) for one in (1.0, 0.3, 3.0))[:40],
        groups=4,
        group_spread=1.8,
        personal_spread=0.7,
        basket=18,
        basket_spread=0.5,
        explore=0.12,
        appetite_spread=0.6,
        sequences=_next_to(range(0, 39, 3), 10.0, 7, 120),
        price=60,
        spending_spread=0.8,
        pieces=6,
    ),
    "office": Plan(
        about="800 customers who order 6 times in four years, 25 % more each year, a fourth quarter twice the others",
        first_day=_day("2021-07-01"),
        horizon_days=90,
        active_days=365,
        customers=800,
        days_between_visits=240,
        visit_shape=4,
        regularity=1,
        demand=((_day("2021-07-01"), 0.62), (LAST_DAY, 0.62 * 1.25**4)),
        months=(0.8,) * 9 + (1.6,) * 3,
        categories=17,
        departments=3,
        zipf=1.4,
        basket=1.8,
        price=90,
        price_spread=1.1,
    ),
    "web_season": Plan(
        about="4,000 customers of a web shop, Christmas 2.5 times the rest, four categories sold in December only",
        first_day=_day("2023-07-01"),
        customers=2000,
        arrivals=((_day("2023-07-01"), 3.0),),
        lifetime_days=600,
        days_between_visits=30,
        months=(0.8, 0.9, 1.0, 1.0, 1.0, 1.0, 0.9, 0.9, 1.0, 1.1, 1.4, 2.5),
        categories=32,
        departments=6,
        zipf=1.3,
        groups=5,
        group_spread=0.7,
        personal_spread=0.6,
        basket=2.2,
        explore=0.4,
        appetite_spread=0.5,
        seasons=(
            Season(DECEMBER_ONLY, (0.0,) * 11 + (1.5,)),
            Season((0, 1, 2), (0.4, 0.4, 0.6, 1.0, 1.6, 2.0, 2.0, 1.6, 1.0, 0.6, 0.4, 0.4)),
        ),
        price=25,
    ),
    "growth": replace(
        PLAIN,
        about="8 % more customers each month for 15 months",
        first_day=_day("2024-04-01"),
        customers=800,
        lifetime_days=None,
        arrivals=((_day("2024-04-01"), 2.05), (LAST_DAY, 2.05 * 1.08**15)),
    ),
    "collapse": replace(
        PLAIN,
        about="demand falls to 30 % for the last third of the time",
        demand=((_day("2024-12-31"), 1.0), (_day("2024-12-31"), 0.3)),
    ),
    "no_signal": Plan(
        about="2,000 customers and 30 categories, all alike; only visits differ",
        first_day=_day("2024-07-01"),
        customers=2000,
        days_between_visits=40,
        visit_shape=1.5,
        categories=30,
        departments=5,
        zipf=0.0,
        basket=1.3,
        price_spread=0.3,
    ),
    "substitution": replace(
        PLAIN,
        about="30 categories, ten pairs of which replace each other",
        zipf=1.0,
        personal_spread=0.4,
        explore=0.5,
        substitutions=tuple(
            Substitution(owned, instead_of, 0.15)
            for first in range(0, 20, 2)
            for owned, instead_of in ((first, first + 1), (first + 1, first))
        ),
    ),
    "chain": replace(
        GROCERIES,
        about="2,500 customers, 60 categories, twelve chains A -> B -> C with two to eight weeks between",
        customers=1100,
        arrivals=((_day("2024-01-01"), 2.6),),
        lifetime_days=450,
        days_between_visits=12,
        categories=60,
        departments=6,
        basket=4,
        # What follows is bought seldom before.
        popularity=tuple(one / n**0.5 for n in range(1, 13) for one in (1.5, 0.6, 0.2, 0.2, 2.0)),
        group_spread=0.5,
        personal_spread=0.5,
        explore=0.15,
        sequences=_next_to([first for start in range(1, 60, 5) for first in (start, start + 1)], 8.0, 14, 56),
    ),
    "small": replace(
        PLAIN,
        about="50 customers, 6 categories, 8 weeks",
        first_day=_day("2025-05-06"),
        customers=50,
        arrivals=((_day("2025-05-06"), 0.1),),
        days_between_visits=10,
        categories=6,
        departments=2,
        basket=1.3,
        explore=0.15,
    ),
    "small_long": replace(
        PLAIN,
        about="50 customers, 6 categories, two years",
        first_day=_day("2023-07-01"),
        customers=48,
        arrivals=((_day("2023-07-01"), 0.02),),
        lifetime_days=3000,
        days_between_visits=20,
        categories=6,
        departments=2,
        basket=1.2,
        explore=0.2,
    ),
    "many_categories": replace(
        GROCERIES,
        about="3,000 customers, 5,000 categories, a year",
        first_day=_day("2024-07-01"),
        customers=3000,
        days_between_visits=14,
        categories=5000,
        departments=50,
        zipf=1.0,
        basket=6,
        products=3,
    ),
    "one_off": replace(
        PLAIN,
        about="10,000 customers, of whom 80 % buy once",
        customers=0,
        lifetime_days=None,
        arrivals=((_day("2024-01-01"), 18.3),),
        once_share=0.77,
        days_between_visits=60,
        basket=1.6,
    ),
    "b2b": replace(
        PLAIN,
        about="200 business customers; ten of them make 80 % of the sales",
        first_day=_day("2023-07-01"),
        customers=160,
        arrivals=((_day("2023-07-01"), 0.055),),
        lifetime_days=3000,
        days_between_visits=21,
        visit_shape=1,
        categories=40,
        departments=5,
        basket=3,
        basket_spread=0.6,
        zipf=1.5,
        explore=0.3,
        spending_spread=1.0,
        pieces=8,
        price=80,
        price_spread=1.2,
        big_customers=10,
        big_factor=60,
    ),
    "shrinking_assortment": replace(
        PLAIN,
        about="half of the categories end two months before the end",
        categories=40,
        sold=(Sold(tuple(range(0, 40, 2)), None, _day("2025-04-30")),),
    ),
    "new_departments": replace(
        GROCERIES,
        about="groceries where a new department of 8 categories opens each quarter",
        categories=80,
        zipf=1.4,
        departments=10,
        basket=9,
        sold=tuple(
            Sold(tuple(range(8 * department, 8 * department + 8)), _day(day))
            for department, day in enumerate(
                ("2024-04-01", "2024-07-01", "2024-10-01", "2025-01-01", "2025-04-01"), start=5
            )
        ),
    ),
    "duplicates": replace(
        PLAIN,
        about="2,000 persons; 15 % go on under a second customer number from some day on",
        duplicate_share=0.15,
    ),
}


class NoCustomersError(Exception):
    """The shop would be empty; the message names the way out."""


@dataclass(frozen=True, eq=False)
class Made:
    """A shop that was made.

    Attributes:
        purchases: as `benchmarks.score_quality.shop` reads them, ordered by time.
        products: product_id, department, category.
        customers: customer_id, person, group, visits_per_day, basket, appetite, spending_factor.
        truth: what was planted, with the names that the tables have.
    """

    purchases: pa.Table
    products: pa.Table
    customers: pa.Table
    truth: dict[str, Any]


@dataclass(frozen=True, eq=False)
class People:
    """What the customers are like; one value each, ordered by arrival.

    Attributes:
        arrived: number of the day of the first visit, for those who are not there from the start.
        leaves: number of the first day on which the customer does not come any more.
        once: who buys once.
        group: number of the customer's group.
        rate: visits a day, where demand is 1.
        basket: sum of the w of all categories.
        appetite: chance of a category never bought, relative to one that was.
        spending: factor on the price of all that they buy.
        preference: customers x categories, factors on popularity.
    """

    arrived: Array
    leaves: Array
    once: Array
    group: Array
    rate: Array
    basket: Array
    appetite: Array
    spending: Array
    preference: Array


def make(name: str, plan: Plan, scale: float = 1.0, seed: int = SEED) -> Made:
    """Simulate a shop. The same arguments give the same shop.

    Args:
        name: of the shop; another name is another chance.
        plan: its parameters.
        scale: times as many customers.
        seed: another seed is another shop of the same kind.

    Raises:
        NoCustomersError: the scale leaves none.
    """
    random = np.random.default_rng([seed, *name.encode()])
    days = (LAST_DAY - plan.first_day).days + 1
    dates = [plan.first_day + dt.timedelta(days=n) for n in range(days)]
    month = np.array([date.month - 1 for date in dates])
    demand = _values(plan.demand, dates) * np.array(plan.months)[month]

    popularity = _popularity(plan, random)
    cycle = (plan.cycle_days * _spread(random, plan.cycle_spread, plan.categories)).astype(np.float32)
    price = plan.price * _spread(random, plan.price_spread, plan.categories)
    people = _people(plan, random, scale, demand, dates)
    if not len(people.rate):
        raise NoCustomersError(f"{name} has no customer at a scale of {scale:g}: choose a larger one.")
    sold = np.array([_is_sold(plan, date) for date in _assortment_days(plan)])
    assortment = np.searchsorted(np.array(_assortment_days(plan)), np.array(dates), side="right") - 1
    season = np.ones((12, plan.categories), np.float32)
    for one in plan.seasons:
        season[:, list(one.categories)] *= np.array(one.months, np.float32)[:, None]

    who, what, when, basket = _simulate(
        plan, random, people, popularity.astype(np.float32), cycle, demand, sold[assortment], season[month]
    )

    products_of = 1 + random.poisson(plan.products - 1, plan.categories)
    first_product = np.concatenate([[0], np.cumsum(products_of)])
    product_category = np.repeat(np.arange(plan.categories), products_of)
    product_price = price[product_category] * _spread(random, 0.2, len(product_category))
    # The first products of a category are its best sellers.
    product = first_product[what] + np.floor(products_of[what] * random.random(len(what)) ** 2).astype(np.int64)
    quantity = 1 + random.poisson(plan.pieces - 1, len(what))
    amount = product_price[product] * people.spending[who] * quantity * _spread(random, 0.15, len(what))
    second = OPENS_HOUR * 3600 + random.integers(0, OPEN_HOURS * 3600, basket.max(initial=-1) + 1)[basket]
    persons = len(people.rate)
    number, seconds = _second_numbers(plan, random, persons, who, when)
    person_of = np.array([*range(persons), *(person for person, _ in seconds)])

    start = np.datetime64(plan.first_day, "us")
    order = np.lexsort((what, basket, second, when))
    purchases = pa.table(
        {
            "customer_id": number[order] + 1,
            "basket_id": basket[order] + 1,
            "product_id": product[order] + 1,
            "purchased_at": (start + when * np.timedelta64(86_400, "s") + second * np.timedelta64(1, "s"))[order],
            "quantity": quantity[order],
            "amount": np.maximum(np.round(amount, 2), 0.01)[order],
        }
    )
    names = category_names(plan)
    departments = _departments(plan)
    products = pa.table(
        {
            "product_id": np.arange(len(product_category)) + 1,
            "department": [departments[category] for category in product_category],
            "category": [names[category] for category in product_category],
        }
    )
    customers = pa.table(
        {
            "customer_id": np.arange(len(person_of)) + 1,
            "person": person_of + 1,
            "group": people.group[person_of],
            "visits_per_day": people.rate[person_of],
            "basket": people.basket[person_of],
            "appetite": people.appetite[person_of],
            "spending_factor": people.spending[person_of],
        }
    )
    truth = _truth(name, plan, scale, seed, people, popularity, price, cycle, seconds)
    return Made(purchases, products, customers, truth)


def category_names(plan: Plan) -> list[str]:
    """Name the categories, in the order of their numbers."""
    return [f"category {number:0{len(str(plan.categories))}}" for number in range(1, plan.categories + 1)]


def write(made: Made, folder: Path) -> None:
    """Write a shop's four files; a missing folder is made, files of earlier runs are replaced."""
    names = ("purchases.parquet", "products.parquet", "customers.parquet", "truth.json")
    with replacing(*(folder / name for name in names), durable=False) as (*tables, truth):
        for table, path in zip((made.purchases, made.products, made.customers), tables, strict=True):
            pq.write_table(table, path, compression="zstd")
        truth.write_text(json.dumps(made.truth, indent=2) + "\n", encoding="utf-8")


def _values(curve: Curve, dates: list[dt.date]) -> Array:
    """Read a curve on each date; 0 where there is none."""
    if not curve:
        return np.zeros(len(dates))
    numbers = np.array([date.toordinal() for date in dates], float)
    at = np.array([date.toordinal() for date, _ in curve], float)
    # A jump is in force on its date: of two values on one date, the first is that of just before.
    at[:-1][at[:-1] == at[1:]] -= 1e-6
    values: Array = np.exp(np.interp(numbers, at, np.log([value for _, value in curve])))
    return values


def _spread(random: np.random.Generator, spread: float, shape: int | tuple[int, ...]) -> Array:
    """Draw factors with a median of 1."""
    factors: Array = np.exp(spread * random.standard_normal(shape, np.float32)).astype(np.float64)
    return factors


def _popularity(plan: Plan, random: np.random.Generator) -> Array:
    if plan.popularity:
        popularity = np.array(plan.popularity)
    else:
        popularity = random.permutation(1 / np.arange(1, plan.categories + 1) ** plan.zipf)
    share: Array = popularity / popularity.sum()
    return share


def _departments(plan: Plan) -> list[str]:
    width = len(str(plan.departments))
    return [
        f"department {number * plan.departments // plan.categories + 1:0{width}}" for number in range(plan.categories)
    ]


def _people(plan: Plan, random: np.random.Generator, scale: float, demand: Array, dates: list[dt.date]) -> People:
    at_start = round(plan.customers * scale)
    arriving = random.poisson(_values(plan.arrivals, dates) * demand * scale)
    arrived = np.concatenate([np.full(at_start, -1), np.repeat(np.arange(len(dates)), arriving)])
    count = len(arrived)
    stays = random.exponential(plan.lifetime_days, count) if plan.lifetime_days else np.full(count, np.inf)
    group = random.integers(0, plan.groups, count)
    rate = random.gamma(plan.visit_shape, 1 / plan.visit_shape / plan.days_between_visits, count)
    spending = _spread(random, plan.spending_spread, count)
    big = np.arange(count) < plan.big_customers
    rate[big] = 2 / plan.days_between_visits
    spending[big] = plan.big_factor
    department = np.arange(plan.categories) * plan.departments // plan.categories
    of_group = _spread(random, plan.group_spread * 0.5**0.5, (plan.groups, plan.departments))[:, department]
    of_group *= _spread(random, plan.group_spread * 0.5**0.5, (plan.groups, plan.categories))
    preference = np.exp(plan.personal_spread * random.standard_normal((count, plan.categories), np.float32))
    preference *= of_group.astype(np.float32)[group]
    return People(
        arrived=arrived,
        leaves=np.maximum(arrived, 0) + np.maximum(stays, 1),
        once=random.random(count) < plan.once_share,
        group=group,
        rate=rate,
        basket=plan.basket * _spread(random, plan.basket_spread, count),
        appetite=plan.explore * _spread(random, plan.appetite_spread, count),
        spending=spending,
        preference=preference,
    )


def _assortment_days(plan: Plan) -> list[dt.date]:
    """The first day, and each on which another set of categories is sold."""
    starts = {one.first_day for one in plan.sold if one.first_day}
    ends = {one.last_day + dt.timedelta(days=1) for one in plan.sold if one.last_day}
    return sorted({plan.first_day} | starts | ends)


def _is_sold(plan: Plan, date: dt.date) -> Array:
    sold = np.ones(plan.categories, bool)
    for one in plan.sold:
        too_early = one.first_day is not None and date < one.first_day
        too_late = one.last_day is not None and date > one.last_day
        sold[list(one.categories)] &= not (too_early or too_late)
    return sold


def _simulate(
    plan: Plan,
    random: np.random.Generator,
    people: People,
    popularity: Array,
    cycle: Array,
    demand: Array,
    sold: Array,
    season: Array,
) -> tuple[Array, Array, Array, Array]:
    """Let the customers visit, a day at a time.

    Args:
        plan: the shop.
        random: where chance comes from.
        people: the customers.
        popularity: per category.
        cycle: per category, in days.
        demand: per day.
        sold: days x categories.
        season: days x categories, factors.

    Returns:
        Per category bought: number of the customer, of the category, of the day, and of the basket.
    """
    count = len(people.rate)
    affinity = people.preference * popularity
    never = np.int16(-1)
    first = np.full((count, plan.categories), never)
    last = first.copy()
    leaves = people.leaves.copy()
    # Visits are due when a customer's own clock, which runs as fast as demand, has used up the gap.
    # Long gaps are more likely to be under way on the first day than short ones.
    gap = random.gamma(plan.regularity + 1, 1 / plan.regularity, count)
    due = np.where(people.arrived < 0, gap * random.random(count), 0.0)
    firsts, thens = [np.array([getattr(one, end) for one in plan.sequences], int) for end in ("first", "then")]
    from_day = np.array([one.from_day for one in plan.sequences])
    to_day = np.array([one.to_day for one in plan.sequences])
    lift = np.array([one.lift for one in plan.sequences], np.float32)
    owned_one = np.array([one.owned for one in plan.substitutions], int)
    instead = np.array([one.instead_of for one in plan.substitutions], int)
    factor = np.array([one.factor for one in plan.substitutions], np.float32)

    lines: list[tuple[Array, Array, Array, Array]] = []
    baskets = 0
    for day, pace in enumerate(demand):
        here = (people.arrived <= day) & (day < leaves)
        due[here] -= people.rate[here] * pace * (people.arrived[here] < day)
        visitors = np.flatnonzero(here & (due <= 0))
        if not len(visitors):
            continue
        due[visitors] = random.gamma(plan.regularity, 1 / plan.regularity, len(visitors))
        leaves[visitors[people.once[visitors]]] = day

        known = last[visitors] != never
        age = (day - last[visitors]).astype(np.float32)
        weight = affinity[visitors] * np.where(
            known, age / (age + cycle), people.appetite[visitors, None].astype(np.float32)
        )
        weight *= sold[day]
        weight *= (people.basket[visitors] / weight.sum(axis=1)).astype(np.float32)[:, None]
        weight *= season[day]
        if len(lift):
            since = np.where(first[visitors][:, firsts] == never, -1, day - first[visitors][:, firsts])
            under_way = (since >= from_day) & (since <= to_day)
            np.multiply.at(weight, (slice(None), thens), np.where(under_way, lift, np.float32(1)))
        if len(factor):
            replaced = known[:, owned_one] & ~known[:, instead]
            np.multiply.at(weight, (slice(None), instead), np.where(replaced, factor, np.float32(1)))

        # A race of exponential times: bought is what comes within one unit of time, or else what comes first.
        with np.errstate(divide="ignore"):
            arrival = random.standard_exponential(weight.shape, np.float32) / weight
        bought = arrival < 1
        empty = np.flatnonzero(~bought.any(axis=1))
        bought[empty, arrival[empty].argmin(axis=1)] = True

        row, category = np.nonzero(bought)
        customer = visitors[row]
        first[customer, category] = np.where(first[customer, category] == never, day, first[customer, category])
        last[customer, category] = day
        lines.append((customer, category, np.full(len(row), day), baskets + row))
        baskets += len(visitors)
    if not lines:
        empty_column = np.zeros(0, int)
        return empty_column, empty_column, empty_column, empty_column
    who, what, when, basket = (np.concatenate(column) for column in zip(*lines, strict=True))
    return who, what, when, basket


def _second_numbers(
    plan: Plan, random: np.random.Generator, persons: int, who: Array, when: Array
) -> tuple[Array, list[tuple[int, int]]]:
    """Give some persons a second customer number, from one of their visits on; the first visit keeps the first number.

    Returns:
        Per line the customer number; per second number, in their order, the person and the number of its first day.
    """
    number = who.copy()
    seconds: list[tuple[int, int]] = []
    for person in np.sort(random.permutation(persons)[: round(plan.duplicate_share * persons)]):
        visits = np.unique(when[who == person])
        # Who came once has nothing to go on with.
        if len(visits) > 1:
            from_day = random.choice(visits[1:])
            number[(who == person) & (when >= from_day)] = persons + len(seconds)
            seconds.append((int(person), int(from_day)))
    return number, seconds


def _truth(
    name: str,
    plan: Plan,
    scale: float,
    seed: int,
    people: People,
    popularity: Array,
    price: Array,
    cycle: Array,
    seconds: list[tuple[int, int]],
) -> dict[str, Any]:
    names = category_names(plan)
    departments = _departments(plan)
    persons = len(people.rate)

    def named(categories: Iterable[int]) -> list[str]:
        return [names[number] for number in categories]

    def months(factors: Iterable[float]) -> dict[str, float]:
        return dict(zip(calendar.month_abbr[1:], factors, strict=True))

    def points(curve: Curve) -> list[list[Any]]:
        return [[date.isoformat(), value] for date, value in curve]

    return {
        "name": name,
        "about": plan.about,
        "seed": seed,
        "scale": scale,
        "level": "category",
        "horizon_days": plan.horizon_days,
        "active_days": plan.active_days,
        "first_day": plan.first_day.isoformat(),
        "last_day": LAST_DAY.isoformat(),
        "customers": persons + len(seconds),
        "groups": plan.groups if plan.group_spread else 1,
        "group_spread": plan.group_spread,
        "personal_spread": plan.personal_spread,
        "appetite_spread": plan.appetite_spread,
        "categories": [
            {
                "category": names[number],
                "department": departments[number],
                "popularity": round(float(popularity[number]), 6),
                "price": round(float(price[number]), 2),
                "cycle_days": round(float(cycle[number]), 1),
            }
            for number in range(plan.categories)
        ],
        "sequences": [
            {
                "first": names[one.first],
                "then": names[one.then],
                "lift": one.lift,
                "from_day": one.from_day,
                "to_day": one.to_day,
            }
            for one in plan.sequences
        ],
        "substitutions": [
            {"owned": names[one.owned], "instead_of": names[one.instead_of], "factor": one.factor}
            for one in plan.substitutions
        ],
        "demand": points(plan.demand),
        "arrivals": points(plan.arrivals),
        "breaks": _breaks(plan),
        "sold": [
            {
                "categories": named(one.categories),
                "first_day": one.first_day.isoformat() if one.first_day else None,
                "last_day": one.last_day.isoformat() if one.last_day else None,
            }
            for one in plan.sold
        ],
        "months": months(plan.months),
        "seasons": [{"categories": named(one.categories), "months": months(one.months)} for one in plan.seasons],
        "spending_factor": {
            "mean": round(float(people.spending.mean()), 4),
            "quantiles": {
                str(share): round(float(value), 4)
                for share, value in zip(
                    SPENDING_QUANTILES, np.quantile(people.spending, SPENDING_QUANTILES), strict=True
                )
            },
            "per_customer": "customers.parquet",
        },
        "duplicates": [
            {
                "person": person + 1,
                "customer_ids": [person + 1, persons + number + 1],
                "from": (plan.first_day + dt.timedelta(days=from_day)).isoformat(),
            }
            for number, (person, from_day) in enumerate(seconds)
        ],
    }


def _breaks(plan: Plan) -> list[dict[str, Any]]:
    """List what changed the shop within a quarter: a curve, or the assortment; the oldest first."""
    breaks: list[dict[str, Any]] = []
    for of, curve in (("demand", plan.demand), ("arrivals", plan.arrivals)):
        for (start, before), (end, after) in itertools.pairwise(curve):
            if before != after and (end - start).days <= BREAK_DAYS:
                breaks.append(
                    {"from": start.isoformat(), "to": end.isoformat(), "of": of, "before": before, "after": after}
                )
    names = np.array(category_names(plan))
    changes = _assortment_days(plan)
    for earlier, day in itertools.pairwise(changes):
        was, now = _is_sold(plan, earlier), _is_sold(plan, day)
        breaks.append(
            {
                "from": day.isoformat(),
                "to": day.isoformat(),
                "of": "assortment",
                "begun": names[now & ~was].tolist(),
                "ended": names[was & ~now].tolist(),
            }
        )
    return sorted(breaks, key=lambda one: (one["from"], one["of"]))


def _name(text: str) -> str:
    if text not in PLANS:
        raise argparse.ArgumentTypeError(f"there is no shop {text}; there are {', '.join(PLANS)}")
    return text


def _scale(text: str) -> float:
    scale = float(text)
    if not 0 < scale < np.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return scale


def _seed(text: str) -> int:
    seed = int(text)
    if seed < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return seed


def main(arguments: list[str] | None = None) -> int:
    """Write shops.

    Returns:
        The exit code: 0, or 2 when a shop would be empty; those before it are written.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.score_quality.made_shops",
        description="Write made-up shops with known truth, a folder each, for "
        "`python -m benchmarks.score_quality --shop FOLDER --level category`; truth.json says what was planted, and "
        "which --horizon and --active-days to judge with.",
        epilog="Shops: " + "; ".join(f"{name}: {plan.about}" for name, plan in PLANS.items()),
    )
    parser.add_argument("names", nargs="*", type=_name, metavar="NAME", help="shops to write (default: all)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the shops' folders are written here")
    parser.add_argument("--scale", type=_scale, default=1.0, help="times as many customers (default: %(default)s)")
    parser.add_argument("--seed", type=_seed, default=SEED, help="another one makes other shops of the same kinds")
    chosen = parser.parse_args(arguments)
    say = Terminal(sys.stdout, soft_wrap=True)
    for name in chosen.names or PLANS:
        started = time.perf_counter()
        try:
            made = make(name, PLANS[name], chosen.scale, chosen.seed)
        except NoCustomersError as error:
            say.print(f"error: {error}")
            return 2
        write(made, chosen.out / name)
        say.print(
            f"{name}: {made.purchases.num_rows:,} lines of {made.customers.num_rows:,} customers in "
            f"{time.perf_counter() - started:.1f} s"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
