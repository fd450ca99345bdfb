"""Questions that take too much time or memory: a clear answer, and the service goes on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from delivery import snapshots
from delivery.errors import DoorError, TooSlowError
from delivery.snapshots import RoleConnection
from tests.delivery.doors.conftest import House, open_house

CATEGORIES = "/v1/tables/core.dim_categories"


@pytest.fixture
def little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A service with 24 MB for the questions of a role."""
    monkeypatch.setattr(snapshots, "MEMORY", "24MB")
    yield from open_house(tmp_path)


def connection_of(house: House) -> RoleConnection:
    snapshot = house.client.app.state.service.doors.snapshots.take()  # type: ignore[attr-defined]
    return snapshot.roles["admin"]  # type: ignore[no-any-return]


def test_what_does_not_fit_into_memory_goes_to_the_folder_for_it(little: House) -> None:
    connection = connection_of(little)
    folder = little.data / "scratch"
    with connection.asked("select uuid() as x from range(1_000_000) order by x") as answer:
        first = answer.fetchone()
        assert first and sum(file.stat().st_size for file in folder.iterdir()) > 1_000_000
        assert len(answer.fetchall()) == 999_999
    # And no other folder can be read or written.
    with pytest.raises(DoorError, match="failed"):
        connection.rows(f"copy (select 1) to '{little.data / 'out.csv'}'")


def test_too_much_memory_is_said_and_the_next_question_is_answered(little: House) -> None:
    connection = connection_of(little)
    [(body,)] = connection.rows(
        "select sql from duckdb_views() where database_name = 'doors' and view_name = 'dim_categories'"
    )
    small = little.get("admin", CATEGORIES).json()["data"]
    # As if there were a million categories for each.
    create = body.replace("dim_categories", "small", 1).replace("CREATE VIEW core.", "CREATE VIEW doors.core.")
    connection.rows(create)
    connection.rows(
        "create or replace view doors.core.dim_categories as "
        "select * replace (repeat(uuid()::varchar, 9) as category_label) from doors.core.small, range(1_000_000)"
    )
    for style in ("json", "parquet", "xlsx"):
        answer = little.get("admin", CATEGORIES, columns="category_label", distinct="true", limit=10, format=style)
        assert answer.status_code == 503, answer.text[:200]
        problem = answer.json()
        assert problem["type"] == "urn:next-aisle:too-much"
        assert problem["detail"] == "the answer takes more memory than one question may: ask for less of it."
    assert len(little.get("marketing", CATEGORIES).json()["data"]) == len(small)


@pytest.mark.parametrize("by_arrow", [False, True])
def test_too_much_time_is_said(house: House, by_arrow: bool) -> None:
    slow = "select sha256(range::varchar) as x from range(1_000_000_000)"
    connection = connection_of(house)
    with (
        pytest.raises(TooSlowError, match=r"took longer than 0\.2 s: ask for less of it"),
        connection.asked(slow, seconds=0.2) as answer,
    ):
        if by_arrow:
            for batch in answer.to_arrow_reader(20_000):
                assert batch.num_rows
        else:
            answer.fetchall()
    assert connection.rows("select 1") == [(1,)]
