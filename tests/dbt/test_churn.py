"""The likelihood of churn on small made-up shops, by a real dbt run."""

import datetime as dt
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.dbt.shops import Purchase, Warehouse

END = dt.date(2026, 6, 30)
DAY = dt.timedelta(days=1)
DAYS = 400
CHURN_DAYS = 90


def customer_days(chance: random.Random, pace: float, lapse: float) -> Iterator[int]:
    """Days on which a customer buys, for as long as they stay: each visit is the last with likelihood `lapse`."""
    day = chance.random() * DAYS * 0.8
    while True:
        yield int(day)
        if chance.random() < lapse:
            return
        day += 1 + chance.expovariate(1 / pace)


def lapsing(name: str, customers: int) -> tuple[list[Purchase], dict[str, bool]]:
    """Customers of all paces, some of them lost, and who bought nothing after the shop's end."""
    chance = random.Random(11)
    bought, gone = [], {}
    for number in range(customers):
        key, pace = f"c{number:05}", 3 + chance.lognormvariate(0, 0.8) * 12
        for day in customer_days(chance, pace, lapse=0.05):
            if day >= DAYS:
                gone[f"{name}:{key}"] = day >= DAYS + CHURN_DAYS
                break
            bought.append(Purchase(name, key, "milk", END - DAY * (DAYS - 1 - day)))
            gone[f"{name}:{key}"] = True
    return bought, gone


def planted(name: str) -> list[Purchase]:
    """Customers who came weekly for twenty weeks and were last seen some weeks ago: all have the same gap."""
    return [
        Purchase(name, f"c{weeks:02}-{n}", "milk", END - DAY * 7 * (weeks + visit))
        for weeks in range(30)
        for n in range(4)
        for visit in range(20)
    ]


def odd_shops() -> list[Purchase]:
    # No customer comes back; all come every week; thirty days of history; twenty-nine customers.
    lines = [Purchase("once", f"c{n:03}", "milk", END - DAY * n) for n in range(300)]
    lines += [Purchase("always", f"c{n:02}", "milk", END - DAY * (n % 7 + 7 * w)) for n in range(50) for w in range(40)]
    lines += [Purchase("young", f"c{n:02}", "milk", END - DAY * day) for n in range(50) for day in range(n % 5, 30, 5)]
    lines += [Purchase("small", f"c{n:02}", "milk", END - DAY * day) for n in range(29) for day in range(n, 300, 9)]
    return lines


@pytest.fixture(scope="module")
def gone() -> dict[str, bool]:
    return lapsing("lapsing", 3000)[1]


@pytest.fixture(scope="module")
def shops(folder: Path) -> Warehouse:
    lines = lapsing("lapsing", 3000)[0] + planted("planted") + odd_shops()
    return Warehouse(folder / "churn", folder / "target").write(lines).build(select="int_churn")


def probabilities(shops: Warehouse, shop: str) -> dict[str, float | None]:
    return dict(
        shops.rows(f"select customer_key, churn_probability from intermediate.int_churn where source_name = '{shop}'")
    )


def test_as_many_customers_are_lost_as_predicted(shops: Warehouse, gone: dict[str, bool]) -> None:
    predicted = probabilities(shops, "lapsing")
    assert predicted.keys() == gone.keys()
    expected, came_true = sum(p or 0 for p in predicted.values()), sum(gone.values())
    assert came_true > 300
    assert 0.9 <= expected / came_true <= 1.1
    # The same holds for those who are predicted to stay, to leave, and in between.
    parts: tuple[Callable[[float], bool], ...] = (lambda p: p < 0.2, lambda p: 0.2 <= p < 0.7, lambda p: p >= 0.7)
    for part in parts:
        customers = [key for key, p in predicted.items() if p is not None and part(p)]
        assert len(customers) > 100
        ratio = sum(predicted[key] or 0 for key in customers) / sum(gone[key] for key in customers)
        assert 0.75 <= ratio <= 1.3, (len(customers), ratio)


def test_with_the_same_gap_a_customer_seen_longer_ago_never_has_a_lower_probability(shops: Warehouse) -> None:
    rows = shops.rows(
        """
        select recency_days, min(churn_probability), max(churn_probability)
        from intermediate.int_churn
        inner join (
            select customer_key, date '2026-06-30' - max(purchase_date) as recency_days
            from core.fct_baskets group by all
        ) using (customer_key)
        where source_name = 'planted' group by all order by 1
        """
    )
    assert len(rows) == 30
    assert all(low == high for _, low, high in rows)
    likelihoods = [low for _, low, _ in rows]
    assert likelihoods == sorted(likelihoods)
    assert likelihoods[-1] > likelihoods[0] + 0.5


def test_a_more_overdue_customer_never_has_a_lower_probability(shops: Warehouse) -> None:
    for shop in ("lapsing", "planted", "always"):
        ordered = [
            p
            for (p,) in shops.rows(
                f"select churn_probability from intermediate.int_churn where source_name = '{shop}' order by overdue, 1"
            )
        ]
        assert ordered == sorted(ordered), shop


def test_no_probability_is_0_or_1(shops: Warehouse) -> None:
    assert shops.rows("select count(*) from intermediate.int_churn where churn_probability in (0, 1)") == [(0,)]
    assert 0 < max(p or 0 for p in probabilities(shops, "always").values()) < 0.05


def test_too_little_history_gives_no_probability_instead_of_a_guess(shops: Warehouse) -> None:
    # In "once" no customer came twice, so there is no gap to compare with.
    for shop, customers in (("young", 50), ("small", 29), ("once", 300)):
        predicted = probabilities(shops, shop)
        assert len(predicted) == customers
        assert set(predicted.values()) == {None}, shop


def test_two_builds_give_the_same_rows(folder: Path, shops: Warehouse) -> None:
    again = shops.copy(folder / "churn_again").build(select="int_churn")
    rows = "from intermediate.int_churn order by all"
    assert again.rows(rows) == shops.rows(rows)


@pytest.mark.parametrize("model", ["intermediate.int_churn", "core.dim_dates", "core.fct_category_adoptions"])
def test_an_empty_warehouse_gives_an_empty_table(model: str, empty: Warehouse) -> None:
    assert empty.rows(f"from {model}") == []
