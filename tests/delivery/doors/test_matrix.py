"""Role x column x door x operation: what each role sees at every way in and out, and that the rest is nowhere.

What is expected is written here by hand, by the columns' tags, and is not asked of the policy's own code. Every value
of the made-up publication says which column it is from, so that it is recognised in any answer.
"""

import io
import json
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from delivery import matrix
from delivery.policy import Column, Table
from tests.delivery.doors import made
from tests.delivery.doors.conftest import ROLES, House

SHOW, BUCKET, HASH, NULL, DROP = "show", "bucket", "hash", "null", "drop"
# By hand: the default roles, as docs and policy.yml describe them.
EXPECTED = {
    "admin": {"identifier": SHOW, "personal": SHOW, "sensitive": SHOW},
    "marketing": {"identifier": SHOW, "personal": DROP, "sensitive": DROP},
    "analyst": {"identifier": HASH, "personal": BUCKET, "sensitive": BUCKET},
    "viewer": {"identifier": DROP, "personal": DROP, "sensitive": DROP},
}
# Personal columns that have no buckets, where an analyst sees null.
WITHOUT_BUCKETS = {"person", "sent_value", "kept_value"}


def may_read(role: str, table: Table) -> bool:
    about_customers = any("identifier" in (column.tags or ()) for column in table.columns)
    return role != "viewer" or not about_customers


def expected(role: str, column: Column) -> str:
    tags = column.tags or ()
    asked = [EXPECTED[role][tag] for tag in ("identifier", "personal", "sensitive") if tag in tags]
    action = asked[0] if asked else SHOW
    return NULL if action == BUCKET and column.name in WITHOUT_BUCKETS else action


def of(table: Table, column: Column, row: int) -> Any:
    return made.value(table, column.name, column.type, column.tags or (), row)


def secrets_of(table: Table, column: Column) -> list[str]:
    """Texts by which the column's own values are recognised, in whatever form they get out."""
    if column.name == "customer_key":
        return ["zqkeyqz"]
    if column.type == "string":
        return [made.mark(table, column.name)]
    values = [of(table, column, row) for row in range(made.CUSTOMERS)]
    return [str(value) for value in values]


def hidden_texts(role: str, tables: list[Table]) -> list[str]:
    """All texts that no answer to a role may have."""
    texts = set()
    for table in tables:
        for column in table.columns:
            action = expected(role, column)
            if not may_read(role, table) and ({"identifier", "personal"} & set(column.tags or ())):
                action = DROP
            if action in (HASH, NULL, DROP):
                texts |= set(secrets_of(table, column))
            elif action == BUCKET:
                texts |= {f"{text}rare" for text in secrets_of(table, column)}
                if column.type != "string":
                    texts |= {text for text in secrets_of(table, column) if not text.endswith("0")}
    return sorted(texts)


@pytest.fixture(scope="module")
def hidden(house: House) -> dict[str, list[str]]:
    return {role: hidden_texts(role, house.tables) for role in ROLES}


def assert_clean(text: str, role: str, hidden: dict[str, list[str]]) -> None:
    found = [secret for secret in hidden[role] if secret in text]
    assert not found, (role, found[:3], text[:500])


def as_text(style: str, content: bytes) -> str:
    """All that is in a file, as one text."""
    if style == "parquet":
        return repr(pq.read_table(io.BytesIO(content)).to_pylist())
    if style == "arrow":
        return repr(pa.ipc.open_stream(content).read_all().to_pylist())
    if style == "xlsx":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return "".join(archive.read(name).decode() for name in archive.namelist())
    return content.decode()


def cells(house: House) -> Iterator[tuple[Table, Column]]:
    for table in house.tables:
        for column in table.columns:
            yield table, column


def test_the_page_of_the_matrix_says_what_is_expected(house: House) -> None:
    """docs/doors-matrix.md is up to date, and what it says is what these tests hold each door to."""
    text = matrix.PAGE.read_text(encoding="utf-8")
    assert text == matrix.render(house.rules, house.tables), "run: make matrix"
    words = {SHOW: "as it is", BUCKET: "coarser", HASH: "stand-in", NULL: "empty", DROP: "not there"}
    said: dict[tuple[str, str], list[str]] = {}
    for part in text.split("\n## ")[1:]:
        name, *lines = part.splitlines()
        header = next(line for line in lines if line.startswith("| column"))
        roles = [cell.strip() for cell in header.strip("|").split("|")][2:]
        for line in lines:
            cells_of = [cell.strip() for cell in line.strip("|").split("|")]
            if line.startswith("| ") and line != header:
                said[name, cells_of[0]] = [cells_of[2 + roles.index(role)] for role in ROLES]
    count = 0
    for table, column in cells(house):
        for role, seen in zip(ROLES, said[table.full_name, column.name], strict=True):
            count += 1
            if may_read(role, table):
                assert seen == words[expected(role, column)], (role, table.full_name, column.name, seen)
            else:
                assert seen == ("not there" if expected(role, column) == DROP else "in sums"), (role, column.name)
    assert count == 4 * len(said) > 1_000


@pytest.mark.parametrize("role", ROLES)
def test_select(house: House, role: str, hidden: dict[str, list[str]]) -> None:
    count = 0
    for table in house.tables:
        answer = house.get(role, f"/v1/tables/{table.full_name}", limit=10_000)
        assert_clean(answer.text, role, hidden)
        if not may_read(role, table):
            assert answer.status_code == 403 and answer.json()["title"] == "Your role may not see this"
            continue
        assert answer.status_code == 200, answer.text
        rows = answer.json()["data"]
        for column in table.columns:
            count += 1
            action = expected(role, column)
            values = [row.get(column.name, "absent") for row in rows]
            if action == DROP:
                assert set(values) == {"absent"}, column
            elif action == NULL:
                assert set(values) == {None}, column
            elif action == HASH:
                assert all(len(value) == 32 for value in values), column
            elif action == SHOW and column.type == "string":
                made_up = {of(table, column, row) for row in range(made.rows_of(table))}
                assert values and set(values) <= made_up, column
            elif action == BUCKET and column.type == "string":
                assert len(set(values) - {None}) == 2, column
            elif action == BUCKET:
                assert all(Decimal(value) % 10 == 0 for value in values), column
        meta = answer.json()["meta"]
        masked = {column.name for column in table.columns if expected(role, column) != SHOW}
        assert set(meta["masks"].get(table.full_name, {})) == masked
        assert meta["role"] == role and meta["publication"]
    assert count > 100


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("operation", ["filter", "order", "distinct", "choose"])
def test_each_column(house: House, role: str, operation: str, hidden: dict[str, list[str]]) -> None:
    count = 0
    for table, column in cells(house):
        wanted: dict[str, Any] = {"limit": 20}
        secret = of(table, column, 0 if table.name == "shop_status" else 1)
        if operation == "filter":
            literal = f"'{secret}'" if column.type in ("string", "date", "timestamp") else str(secret).lower()
            wanted["where"] = f"{column.name} = {literal}"
        elif operation == "order":
            wanted |= {"order": column.name, "columns": column.name}
        elif operation == "distinct":
            wanted |= {"columns": column.name, "distinct": True}
        else:
            wanted["columns"] = column.name
        answer = house.get(role, f"/v1/tables/{table.full_name}", **wanted)
        count += 1
        # A condition that is refused is not repeated, nor is any value.
        assert_clean(answer.text, role, hidden)
        action = expected(role, column)
        if not may_read(role, table):
            assert answer.status_code == 403
        elif action == DROP:
            assert answer.status_code == 404, (table.full_name, column.name, answer.text)
        else:
            assert answer.status_code == 200, answer.text
            rows = answer.json()["data"]
            if operation == "filter" and action in (HASH, NULL):
                # The value itself finds no row: what is compared is what the role sees.
                assert rows == []
            elif operation == "filter" and action == SHOW:
                assert rows
    assert count > 300


@pytest.mark.parametrize("role", ROLES)
def test_search(house: House, role: str, hidden: dict[str, list[str]]) -> None:
    for table, column in cells(house):
        if column.type != "string":
            continue
        [secret] = secrets_of(table, column)
        answer = house.get(role, f"/v1/tables/{table.full_name}", search=secret.upper(), limit=5)
        assert_clean(answer.text, role, hidden)
        if may_read(role, table) and column.name not in (*made.CATEGORY_KEYS, *made.SOURCES, "opportunity_key"):
            found = answer.json().get("data", [])
            is_seen = expected(role, column) in (SHOW, BUCKET) and column.name != "category_label"
            if is_seen:
                assert found, (table.full_name, column.name)
            elif column.name != "customer_key" and expected(role, column) != SHOW:
                assert found == [], (table.full_name, column.name)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("style", ["csv", "parquet", "arrow", "xlsx"])
def test_export(house: House, role: str, style: str, hidden: dict[str, list[str]]) -> None:
    for table in house.tables:
        answer = house.get(role, f"/v1/tables/{table.full_name}", format=style)
        assert answer.status_code == (200 if may_read(role, table) else 403), answer.text
        text = as_text(style if answer.status_code == 200 else "json", answer.content)
        assert_clean(text + json.dumps(dict(answer.headers)), role, hidden)
        for column in table.columns if answer.status_code == 200 else ():
            if expected(role, column) == DROP and style in ("parquet", "arrow", "csv"):
                assert f"'{column.name}'" not in text.partition("\n")[0]


@pytest.mark.parametrize("role", ROLES)
def test_an_etag_of_another_role_gives_nothing(house: House, role: str, hidden: dict[str, list[str]]) -> None:
    for table in house.tables:
        path = f"/v1/tables/{table.full_name}"
        for other in ROLES:
            theirs = house.get(other, path, limit=5)
            if theirs.status_code != 200:
                assert "etag" not in theirs.headers
                continue
            again = house.get(role, path, headers={"If-None-Match": theirs.headers["etag"]}, limit=5)
            assert_clean(again.text, role, hidden)
            assert (again.status_code == 304) == (role == other and may_read(role, table))
            # After another role's answer was kept in memory, one's own is one's own.
            own = house.get(role, path, limit=5)
            assert_clean(own.text, role, hidden)


def dimensions(house: House, metric: str) -> list[dict[str, Any]]:
    found = house.get("admin", "/v1/dimensions", metrics=metric).json()["data"]
    return [each for each in found if each["name"].count("__") < 2]


METRICS = ["total_customers", "total_spending", "opportunity_count"]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("operation", ["group", "filter", "order", "values"])
def test_metrics(house: House, role: str, operation: str, hidden: dict[str, list[str]]) -> None:
    by_name = {table.full_name: table for table in house.tables}
    count = 0
    for metric in METRICS:
        for dimension in dimensions(house, metric):
            name = dimension["name"]
            if dimension["table"] is None:
                continue
            table = by_name[dimension["table"]]
            column = next(each for each in table.columns if each.name == dimension["column"])
            action = expected(role, column)
            is_identifier = "identifier" in (column.tags or ())
            asked = f"{name}__day" if dimension["kind"] == "time" else name
            secret = of(table, column, 1)
            literal = f"'{secret}'" if column.type in ("string", "date", "timestamp") else str(secret).lower()
            if operation == "group":
                answer = house.get(role, "/v1/query", metrics=metric, group_by=asked)
            elif operation == "filter":
                answer = house.get(role, "/v1/query", metrics=metric, where=f"{asked} = {literal}")
            elif operation == "order":
                answer = house.get(role, "/v1/query", metrics=metric, group_by=asked, order_by=f"-{asked}", limit=5)
            else:
                answer = house.get(role, f"/v1/dimensions/{name}/values")
            count += 1
            assert_clean(answer.text, role, hidden)
            if (
                action == DROP
                or (is_identifier and role == "viewer")
                or (is_identifier and operation == "values")
                or (is_identifier and operation == "filter" and action != SHOW)
            ):
                assert answer.status_code in (403, 404, 422), (name, answer.text)
            elif not (operation == "values" and dimension["kind"] == "key"):
                assert answer.status_code == 200, (name, answer.text)
                if is_identifier and action == HASH and operation == "group":
                    assert all(len(row[asked]) == 32 for row in answer.json()["data"])
    assert count > 60


@pytest.mark.parametrize("role", ["viewer", "analyst"])
def test_no_group_of_few_customers_is_shown(house: House, role: str) -> None:
    minimum = house.rules.role(role).minimum_group
    for metric in METRICS:
        counted = {"total_spending": "active_customers"}.get(metric, "total_customers")
        for dimension in dimensions(house, metric):
            if dimension["table"] != "core.dim_customers" or dimension["kind"] != "categorical":
                continue
            question = {"metrics": f"{metric},{counted}", "group_by": dimension["name"]}
            answer = house.get(role, "/v1/query", **question)
            if answer.status_code != 200:
                continue
            rows = answer.json()["data"]
            for row in rows:
                assert row[counted] is None or row[counted] >= minimum, (dimension["name"], row)
            everything = house.get("admin", "/v1/query", **question).json()["data"]
            if role == "viewer":
                assert answer.json()["meta"]["groups_left_out"] == len(everything) - len(rows)


def test_joins_at_the_doors_are_on_hashes(house: House) -> None:
    """What an analyst has of two tables can be joined, and leads to no customer."""
    customers = house.get("analyst", "/v1/tables/core.dim_customers", limit=1000).json()["data"]
    offers = house.get("analyst", "/v1/tables/cross_sell.customer_opportunities", limit=1000).json()["data"]
    assert {row["customer_key"] for row in offers} == {row["customer_key"] for row in customers}
    one = customers[3]["customer_key"]
    answer = house.get("analyst", f"/v1/customers/{one}/opportunities")
    assert answer.status_code == 200 and answer.json()["data"]
    assert house.get("analyst", f"/v1/customers/{made.key(3)}/opportunities").status_code == 404
    assert house.get("viewer", f"/v1/customers/{one}/opportunities").status_code == 403


@pytest.mark.parametrize("role", ROLES)
def test_error_texts_have_no_values(house: House, role: str, hidden: dict[str, list[str]]) -> None:
    for path, wanted in [
        ("/v1/tables/core.dim_customers", {"where": "age_band > 5"}),
        ("/v1/tables/core.dim_customers", {"where": "cast(age_band as int) > 5"}),
        ("/v1/tables/core.dim_customers", {"where": "error(customer_key)"}),
        ("/v1/tables/core.dim_customers", {"where": "income in (select income from core.dim_customers)"}),
        ("/v1/tables/core.dim_customers", {"where": "customer_key = customer_id"}),
        ("/v1/tables/core.dim_customers", {"where": "1 = 1; select 1"}),
        ("/v1/tables/core.dim_customers", {"order": "income; drop table x"}),
        ("/v1/tables/core.dim_customers", {"columns": "*"}),
        ("/v1/tables/published.core.dim_customers", {}),
        ("/v1/tables/duckdb_tables()", {}),
        ("/v1/query", {"metrics": "total_customers", "where": "{{ Metric('total_spending', ['customer']) }} > 1"}),
        ("/v1/query", {"metrics": "total_customers", "where": "'{{ 1 + 1 }}' = '2'"}),
        ("/v1/query", {"metrics": "total_customers", "group_by": "customer__income"}),
        ("/v1/query", {"metrics": "customers_behind__dim_customers"}),
        ("/v1/customers/nobody/opportunities", {}),
        ("/v1/categories/nothing/customers", {}),
    ]:
        answer = house.get(role, path, **wanted)
        assert answer.status_code in (403, 404, 422), (path, wanted, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert_clean(answer.text, role, hidden)
        assert "Traceback" not in answer.text and "select" not in answer.text.lower().replace("select 1", "")
