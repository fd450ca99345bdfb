"""The lists of customers that are kept in memory: the same as those that are asked for, and of the newest night."""

import time
from typing import Any

import pytest

from delivery import snapshots
from delivery.doors import Caller, Doors, with_reasons
from delivery.errors import UnknownNameError
from tests.delivery.doors import made
from tests.delivery.doors.conftest import House


def doors_of(house: House) -> Doors:
    return house.client.app.state.service.doors  # type: ignore[attr-defined, no-any-return]


def lists(house: House, role: str, keys: list[str]) -> list[list[dict[str, Any]]]:
    caller = Caller(role, None, "test", house.rules.role(role).purposes[0])
    return [with_reasons(doors_of(house).opportunities(caller, key)) for key in keys]


def keys_of(house: House, role: str) -> list[str]:
    rows = house.get(role, "/v1/tables/core.dim_customers", columns="customer_key").json()["data"]
    return [row["customer_key"] for row in rows]


@pytest.mark.parametrize("role", ["admin", "marketing", "analyst"])
def test_a_list_is_the_same_from_memory_and_from_the_file(
    own_house: House, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = keys_of(own_house, role)
    caller = Caller(role, None, "test", own_house.rules.role(role).purposes[0])
    monkeypatch.setattr(snapshots, "MOST_IN_MEMORY", 10)
    asked = lists(own_house, role, keys)
    assert not doors_of(own_house).has_in_memory(caller)
    monkeypatch.undo()
    kept = lists(own_house, role, keys)
    assert [snapshot.in_memory.keys() for snapshot in doors_of(own_house).snapshots._open.values()] == [{role}]
    assert kept == asked and sum(map(len, kept)) > 100 and any(row["reasons"] for row in kept[0])
    assert own_house.get("viewer", f"/v1/customers/{keys[0]}/opportunities").status_code == 403
    with pytest.raises(UnknownNameError):
        lists(own_house, role, ["shop:nothing"])
    one = own_house.get(role, f"/v1/customers/{keys[3]}/opportunities", limit=2).json()
    assert [row["opportunity_key"] for row in one["data"]] == [row["opportunity_key"] for row in kept[3][:2]]


def test_after_a_publication_the_lists_are_of_the_new_one(own_house: House) -> None:
    caller = Caller("admin", None, "test", "analysis")
    path = f"/v1/customers/{made.key(3)}/opportunities"
    first = own_house.get("admin", path).json()["meta"]["publication"]
    before = doors_of(own_house).snapshots.take()
    assert before.in_memory and doors_of(own_house).snapshots.has_in_memory(caller.role)
    doors_of(own_house).snapshots.give_back(before)
    made.publish(own_house.file, own_house.tables)
    time.sleep(0.3)
    second = own_house.get("admin", path)
    assert second.status_code == 200 and second.json()["meta"]["publication"] != first
    # What is kept open for those who page has no lists any more.
    assert before.in_memory == {} and doors_of(own_house).snapshots.has_in_memory("admin")


def test_a_role_that_has_no_room_is_asked_for(own_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = doors_of(own_house).snapshots
    lists(own_house, "admin", [made.key(3)])
    monkeypatch.setattr(snapshots, "MOST_IN_MEMORY", 400)
    assert lists(own_house, "marketing", [made.key(3)])[0]
    assert rows.has_in_memory("admin") and not rows.has_in_memory("marketing")
