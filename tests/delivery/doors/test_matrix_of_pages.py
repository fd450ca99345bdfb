"""Role x column x page: what each role sees of each column on the pages, and that the rest is nowhere."""

import html
import re
from collections.abc import Iterator

import pytest

from tests.delivery.doors import made
from tests.delivery.doors.conftest import ROLES, House
from tests.delivery.doors.test_matrix import (
    BUCKET,
    DROP,
    HASH,
    NULL,
    SHOW,
    expected,
    hidden_texts,
    may_read,
    secrets_of,
)
from tests.delivery.doors.test_pages import PAGES, log_in

SAID = {SHOW: "as it is", BUCKET: "made coarser", HASH: "a stand-in", NULL: "nothing"}


@pytest.fixture
def page_house(house: House) -> Iterator[House]:
    yield house
    house.client.cookies.clear()


def key_of(house: House, role: str) -> str:
    if role == "viewer":
        return made.key(3)
    rows = house.get(role, "/v1/tables/core.dim_customers", columns="customer_key", limit=4).json()["data"]
    return str(rows[3]["customer_key"])


@pytest.mark.parametrize("role", ROLES)
def test_no_page_has_a_value_of_a_hidden_column(page_house: House, role: str) -> None:
    customer = f"/customer/{key_of(page_house, role)}"
    log_in(page_house, role)
    paths = [
        *PAGES,
        customer,
        "/opportunities?search=Category&sort=name",
        "/category/shop:category%203?minimum=1&best=3",
    ]
    answers = {path: page_house.client.get(path) for path in paths}
    assert answers[customer].status_code == (403 if role == "viewer" else 200)
    texts = {path: html.unescape(answer.text) for path, answer in answers.items()}
    count = 0
    hidden = set(hidden_texts(role, page_house.tables))
    for table in page_house.tables:
        for column in table.columns:
            secrets = set(secrets_of(table, column)) & hidden
            for path, text in texts.items():
                found = [secret for secret in secrets if secret in text]
                assert not found, (role, path, table.full_name, column.name, found[:2])
                count += 1
    assert count > 3_000


@pytest.mark.parametrize("role", ROLES)
def test_the_page_data_says_what_the_role_sees_of_each_column(page_house: House, role: str) -> None:
    log_in(page_house, role)
    text = page_house.client.get("/data").text
    said = {}
    for table_text in text.split("<details><summary>")[1:]:
        name = table_text.split(" ", 1)[0]
        for column, _, seen in re.findall(r"<tr><td>([^<]*)</td><td>([^<]*)</td><td>([^<]*)</td>", table_text):
            said[name, column] = seen
    wanted = {
        (table.full_name, column.name): SAID[expected(role, column)]
        for table in page_house.tables
        if may_read(role, table)
        for column in table.columns
        if expected(role, column) != DROP
    }
    assert said == wanted and len(said) > 100


@pytest.mark.parametrize("role", ROLES)
def test_a_search_finds_by_no_hidden_column(page_house: House, role: str) -> None:
    log_in(page_house, role)
    table = next(each for each in page_house.tables if each.full_name == "core.dim_customers")
    hidden = hidden_texts(role, page_house.tables)
    count = 0
    for column in table.columns:
        if column.type != "string" or column.name in (*made.SOURCES, "customer_key"):
            continue
        [secret] = secrets_of(table, column)
        text = page_house.client.get("/customers", params={"search": secret}).text
        # What was asked stands in the page again.
        assert not [each for each in hidden if each in text.replace(secret, "")], column.name
        is_found = 'href="/customer/' in text
        assert is_found == (role != "viewer" and expected(role, column) in (SHOW, BUCKET)), (role, column.name)
        count += 1
    assert count > 8


@pytest.mark.parametrize("role", ROLES)
def test_a_page_after_another_role_s_is_one_s_own(page_house: House, role: str) -> None:
    hidden = hidden_texts(role, page_house.tables)
    for other in ROLES:
        for path in PAGES:
            log_in(page_house, other)
            page_house.client.get(path)
            log_in(page_house, role)
            text = page_house.client.get(path).text
            assert f"You see this as {role}" in text and not [each for each in hidden if each in text], (other, path)
