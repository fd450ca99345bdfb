"""A shop's purchases as arrays: who owned what at a day, who was active, and what they bought next."""

import datetime as dt
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.score_quality.shop import Shop

EPOCH = dt.date(1970, 1, 1)

Numbers: TypeAlias = NDArray[np.int32]
Bools: TypeAlias = NDArray[np.bool_]
Amounts: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Window:
    """The candidate pairs of one day.

    Attributes:
        day: the last day that counts as past.
        customers: numbers of the active customers, ascending.
        owned: all customers x categories, bought up to and including the day.
        candidates: active customers x categories, not bought up to then.
        bought: active customers x categories, bought within the horizon after the day.
        spent: what was spent within the horizon in each adopted pair, by row and column, in the shop's currency.
    """

    day: int
    customers: Numbers
    owned: Bools
    candidates: Bools
    bought: Bools
    spent: Amounts

    @cached_property
    def owned_by_active(self) -> Bools:
        """The rows of `owned` that the active customers are in."""
        return self.owned[self.customers]

    @cached_property
    def adopted(self) -> Bools:
        """Candidates that were adopted."""
        return self.candidates & self.bought


@dataclass(frozen=True)
class Purchases:
    """Days on which customers bought in categories, as columns of equal length; days are counted from 1970-01-01."""

    customer: Numbers
    category: Numbers
    day: Numbers
    amount: Amounts
    basket_customer: Numbers
    basket_day: Numbers
    baskets: Numbers
    customers: int
    categories: int
    horizon_days: int
    active_days: int

    def until(self, day: int) -> "Purchases":
        """Forget everything after a day: what a method may see."""
        kept, held = self.day <= day, self.basket_day <= day
        return Purchases(
            self.customer[kept],
            self.category[kept],
            self.day[kept],
            self.amount[kept],
            self.basket_customer[held],
            self.basket_day[held],
            self.baskets[held],
            self.customers,
            self.categories,
            self.horizon_days,
            self.active_days,
        )

    @cached_property
    def adoptions(self) -> NDArray[np.integer[Any]]:
        """Which entries are a customer's first day in a category."""
        order = np.lexsort((self.day, self.category, self.customer))
        pair = self.customer[order].astype(np.int64) * self.categories + self.category[order]
        return order[np.r_[True, pair[1:] != pair[:-1]]] if len(order) else order

    def pairs(self, after: int, until: int) -> Bools:
        """Customers x categories: bought after one day, up to and including another."""
        bought = np.zeros((self.customers, self.categories), dtype=bool)
        kept = (self.day > after) & (self.day <= until)
        bought[self.customer[kept], self.category[kept]] = True
        return bought

    def window(self, day: int) -> Window:
        """The candidate pairs of a day, with what was bought next as far as it is known."""
        active = np.unique(self.customer[(self.day > day - self.active_days) & (self.day <= day)])
        owned = self.pairs(np.iinfo(np.int32).min, day)
        bought = self.pairs(day, day + self.horizon_days)[active]
        candidates = ~owned[active]
        return Window(day, active, owned, candidates, bought, self._spent(day, active, candidates & bought))

    def _spent(self, day: int, active: Numbers, adopted: Bools) -> Amounts:
        pairs = np.flatnonzero(adopted)
        place = np.full(self.customers, -1, dtype=np.int64)
        place[active] = np.arange(len(active))
        kept = (self.day > day) & (self.day <= day + self.horizon_days) & (place[self.customer] >= 0)
        pair = place[self.customer[kept]] * self.categories + self.category[kept]
        at = np.searchsorted(pairs, pair)
        known = np.r_[pairs, -1][at] == pair
        return np.bincount(at[known], self.amount[kept][known], minlength=len(pairs))


def purchases(shop: Shop) -> Purchases:
    """Fetch a shop's purchases, those after any cutoff too."""
    days = shop.connection.execute(
        f"select customer, category, day - date '{EPOCH}' as day, amount from days"
    ).fetchnumpy()
    baskets = shop.connection.execute(
        f"select customer, day - date '{EPOCH}' as day, baskets from baskets"
    ).fetchnumpy()
    counts = shop.connection.execute(
        "select (select count(*) from customers), (select count(*) from categories)"
    ).fetchone()
    assert counts is not None
    return Purchases(
        _numbers(days["customer"]),
        _numbers(days["category"]),
        _numbers(days["day"]),
        np.asarray(days["amount"], dtype=np.float64),
        _numbers(baskets["customer"]),
        _numbers(baskets["day"]),
        _numbers(baskets["baskets"]),
        counts[0],
        counts[1],
        shop.horizon_days,
        shop.active_days,
    )


def number_of(day: dt.date) -> int:
    """A date as `Purchases` counts it."""
    return (day - EPOCH).days


def _numbers(values: Any) -> Numbers:
    return np.asarray(values, dtype=np.int32)
