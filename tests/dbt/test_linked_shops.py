"""The score of shops that share persons: who is offered what in a shop where they have not bought yet."""

import datetime as dt
import random
from pathlib import Path
from typing import Any

import pytest

from tests.dbt.shops import Purchase, Warehouse

END = dt.date(2026, 6, 30)
DAY = dt.timedelta(days=1)
OFFERS = """select source_name, customer_key, category_name, customer_source_name, customer_id, is_new_to_shop
    from cross_sell.customer_opportunities where {where} order by all"""


def bought(shop: str, customer: str, category: str, days_ago: int = 0) -> Purchase:
    return Purchase(shop, customer, category, END - days_ago * DAY)


# The south's newest purchase is ten days older than the north's. Anna buys in both shops, under two numbers in the
# south. Ben and Cleo buy in the north only; Cleo has a number in the south, from a catalogue she ordered. Dora (8) and
# the customers with the number 7 are in no list of persons: each is a customer of one shop.
BY_HAND = [
    bought("north", "1", "milk"),
    bought("south", "21", "tea", 10),
    bought("south", "22", "honey", 11),
    bought("north", "2", "milk", 1),
    bought("north", "3", "bread", 2),
    bought("south", "8", "jam", 12),
    bought("north", "7", "milk", 3),
    bought("south", "7", "tea", 13),
    # A shop that shares no person with the others, and has the same categories.
    bought("west", "1", "milk"),
    bought("west", "2", "tea"),
]
PERSONS = {
    ("north", "1"): "anna",
    ("south", "21"): "anna",
    ("south", "22"): "anna",
    ("north", "2"): "ben",
    ("north", "3"): "cleo",
    ("south", "9"): "cleo",
}


@pytest.fixture(scope="module")
def by_hand(folder: Path) -> Warehouse:
    return Warehouse(folder / "by_hand", folder / "target").write(BY_HAND, PERSONS).build()


def test_each_person_is_offered_what_they_own_in_no_shop_and_under_the_number_of_that_shop(by_hand: Warehouse) -> None:
    assert by_hand.rows(OFFERS.format(where="customer_key like 'person:%'")) == [
        ("north", "person:anna", "bread", "north", "1", False),
        ("north", "person:ben", "bread", "north", "2", False),
        ("north", "person:cleo", "milk", "north", "3", False),
        ("south", "person:anna", "jam", "south", "21", False),
        # Honey and tea are what persons buy in the south; jam is known of Dora only. Ben has no number there.
        ("south", "person:ben", "honey", "north", "2", True),
        ("south", "person:ben", "tea", "north", "2", True),
        ("south", "person:cleo", "honey", "south", "9", True),
        ("south", "person:cleo", "tea", "south", "9", True),
    ]


def test_who_is_not_known_in_another_shop_is_offered_nothing_there(by_hand: Warehouse) -> None:
    assert by_hand.rows(OFFERS.format(where="customer_key not like 'person:%'")) == [
        ("north", "north:7", "bread", "north", "7", False),
        ("south", "south:7", "honey", "south", "7", False),
        ("south", "south:7", "jam", "south", "7", False),
        ("south", "south:8", "honey", "south", "8", False),
        ("south", "south:8", "tea", "south", "8", False),
        ("west", "west:1", "tea", "west", "1", False),
        ("west", "west:2", "milk", "west", "2", False),
    ]


def test_each_list_is_as_of_the_newest_purchase_of_its_shop_or_of_the_linked_shops(by_hand: Warehouse) -> None:
    dates = by_hand.rows(
        """select source_name, is_new_to_shop, list(distinct as_of_date) from cross_sell.customer_opportunities
           group by all order by all"""
    )
    assert dates == [
        ("north", False, [END]),
        ("south", False, [END - 10 * DAY]),
        ("south", True, [END]),
        ("west", False, [END]),
    ]


def test_categories_of_two_shops_are_a_pair_when_a_person_owns_both(by_hand: Warehouse) -> None:
    pairs = by_hand.rows(
        """select source_name, category_name, other_source_name, other_category_name, both_customer_count,
               both_basket_count from cross_sell.category_affinity where source_name < other_source_name order by all"""
    )
    # Anna alone buys in both.
    assert pairs == [("north", "milk", "south", "honey", 1, None), ("north", "milk", "south", "tea", 1, None)]


# Each customer buys one of A0 to A4 in the north all along. When they begin to buy in the south, they begin with the B
# of the same number ten times as often as with another. The first thousand are persons; the others have the same number
# in both shops and are not known to be the same.
def planted_across() -> tuple[list[Purchase], dict[tuple[str, str], str]]:
    chance = random.Random(11)
    lines: list[Purchase] = []
    persons: dict[tuple[str, str], str] = {}
    for n in range(1200):
        for day in range(0, 301, 14):
            days_ago = day + chance.randrange(14)
            lines.append(bought("north", f"c{n}", f"A{n % 5}", days_ago))
            lines += [
                bought("south", f"c{n}", f"B{k}", days_ago)
                for k in range(5)
                if chance.random() < (0.02 if k == n % 5 else 0.002)
            ]
        if n < 1000:
            persons |= {("north", f"c{n}"): str(n), ("south", f"c{n}"): str(n)}
    return lines, persons


@pytest.fixture(scope="module")
def planted(folder: Path) -> Warehouse:
    lines, persons = planted_across()
    return Warehouse(folder / "planted", folder / "target").write(lines, persons).build()


@pytest.fixture(scope="module")
def unlinked(folder: Path) -> Warehouse:
    lines, _ = planted_across()
    return Warehouse(folder / "unlinked", folder / "target").write(lines).build(tests=False)


def test_a_planted_association_across_shops_is_found_and_named_as_the_reason(planted: Warehouse) -> None:
    ((persons, theirs_first, with_the_reason, basis),) = planted.rows(
        """select count(*), count(*) filter (where category_name = 'B' || n % 5),
               count(*) filter (where owned_source_name = 'north' and owned_category_name = 'A' || n % 5),
               list(distinct score_basis)
           from (
               select *, cast(substr(customer_key, 8) as int) as n from cross_sell.customer_opportunities
               where source_name = 'south' and is_new_to_shop and rank = 1) as offers
           left join cross_sell.customer_opportunity_reasons as reasons
               on offers.opportunity_key = reasons.opportunity_key and reasons.rank = 1"""
    )
    assert persons > 300
    assert theirs_first == with_the_reason == persons
    assert basis == ["learned"]


def test_as_many_begin_to_buy_in_the_other_shop_as_predicted(planted: Warehouse) -> None:
    ((dates, predicted, happened),) = planted.rows(
        """select count(*), sum(predicted_count), sum(adopted_count) from cross_sell.score_backtest
           where source_name = 'north + south' and method = 'score'"""
    )
    assert dates == 6
    assert happened > 100
    assert predicted == pytest.approx(happened, rel=0.15)


def test_a_link_changes_nothing_in_a_shop_where_the_customer_buys_already(
    planted: Warehouse, unlinked: Warehouse
) -> None:
    def lists(warehouse: Warehouse) -> list[tuple[Any, ...]]:
        return warehouse.rows(
            """select * exclude (customer_key, opportunity_key) from cross_sell.customer_opportunities
               where not is_new_to_shop order by all"""
        )

    assert len(lists(planted)) > 4000
    assert lists(planted) == lists(unlinked)
    same_shop = "select * from cross_sell.category_affinity where source_name = other_source_name order by all"
    assert planted.rows(same_shop) == unlinked.rows(same_shop)
    backtest = "select * from cross_sell.score_backtest where source_name not like '%+%' order by all"
    assert planted.rows(backtest) == unlinked.rows(backtest)
