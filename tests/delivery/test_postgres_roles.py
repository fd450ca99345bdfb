"""What each role sees in PostgreSQL, asked as a user of that role: every column, by every kind of question.

What is expected is worked out here from the made-up rows, the contract's tags and the policy's text, and not by the
code that makes the views.
"""

import contextlib
import datetime as dt
import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from benchmarks.database_servers import PASSWORD, Server
from delivery import policy
from delivery.__main__ import main
from tests.delivery.conftest import Database, new_database
from tests.fixtures import made_publication
from warehouse.dbt_project import prepare
from warehouse.paths import Paths
from warehouse.settings import Settings

POLICY: dict[str, Any] = yaml.safe_load(policy.FILE.read_text(encoding="utf-8"))
POLICY["roles"]["regional"] = {
    "description": "Customers of one shop in two countries.",
    "purposes": ["marketing"],
    "tables": ["core.*", "cross_sell.*", "quality.*"],
    "customer_rows": True,
    "minimum_group": 3,
    "identifier": "show",
    "personal": "bucket",
    "sensitive": "null",
    "rows": {"shops": ["one"], "countries": ["DE", "AT"]},
}
POLICY["roles"]["whole_shop"] = {
    **POLICY["roles"]["regional"],
    "minimum_group": 1,
    "personal": "show",
    "sensitive": "show",
    "rows": {"shops": ["two"]},
}
ROLES = list(POLICY["roles"])
STRICTEST_LAST = ["show", "bucket", "hash", "null", "drop"]
TABLES = {(schema, table["name"]): table for schema, table in made_publication.tables()}
ROWS = {key: made_publication.rows(table) for key, table in TABLES.items()}
NAMES = [f"{schema}.{name}" for schema, name in TABLES]


class Door:
    """The database with a user of each role.

    Attributes:
        database: the database.
        key: of the hashes.
        cells: how many questions were asked and compared.
    """

    def __init__(self, database: Database, key: str) -> None:
        self.database = database
        self.key = key
        self.cells = 0
        self.open: dict[str, sa.Connection] = {}

    def ask(self, role: str, question: str) -> list[tuple[Any, ...]]:
        """Ask as a user of a role."""
        if role not in self.open:
            self.open[role] = self.database.connect(f"user_of_{role}")
        self.cells += 1
        return [tuple(row) for row in self.open[role].exec_driver_sql(question)]

    def refuses(self, role: str, question: str, reason: str) -> None:
        """Ask what must be refused, for this reason."""
        with pytest.raises(sa.exc.ProgrammingError, match=reason):
            self.ask(role, question)


@pytest.fixture(scope="module")
def door(postgresql_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    data = tmp_path_factory.mktemp("door")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXT_AISLE_MANIFEST", str(prepare(Settings())))
        patch.setenv("NEXT_AISLE_DATA", str(data))
        patch.setenv("NEXT_AISLE_POLICY", str(data / "policy.yml"))
        (data / "policy.yml").write_text(yaml.safe_dump(POLICY), encoding="utf-8")
        database = new_database(postgresql_server, "door", patch)
        made_publication.make(data)
        assert main(["publish-postgres"]) == 0
    users = [f"user_of_{role}" for role in ROLES]
    for role, user in zip(ROLES, users, strict=True):
        database.execute(f"create role {user} login password '{PASSWORD}' in role next_aisle_{role}")
    database.execute(f"create role outsider login password '{PASSWORD}'")
    door = Door(database, policy.hash_key(Paths(data)))
    yield door
    for connection in door.open.values():
        connection.close()
    database.execute(f"drop role {', '.join([*users, 'outsider'])}")


def action(role: dict[str, Any], table: str, column: dict[str, Any]) -> str:
    """The strictest of what the role may do with the column's tags."""
    tags = column.get("tags", [])
    if {"personal", "sensitive"} & set(tags) and f"{table}.{column['name']}" not in POLICY["columns"]:
        return "drop"
    asked = [role.get(tag, "drop") for tag in ("identifier", "personal", "sensitive") if tag in tags]
    return max(asked, key=STRICTEST_LAST.index, default="show")


def is_about_customers(columns: list[dict[str, Any]]) -> bool:
    return any(c["name"] == "customer_key" or "identifier" in c.get("tags", []) for c in columns)


def allowed_rows(role: dict[str, Any], schema: str, name: str) -> list[dict[str, Any]] | None:
    """The rows that the role may see; None where it may not see the table."""
    columns = TABLES[schema, name]["properties"]
    about, rules = is_about_customers(columns), role.get("rows", {})
    if about and not role["customer_rows"]:
        return None
    rows = ROWS[schema, name]
    if shops := rules.get("shops"):
        numbers = ROWS["core", "customer_numbers"]
        elsewhere = {row["customer_key"] for row in numbers if row["source_name"] not in shops}
        rows = [row for row in rows if row.get("customer_key") not in elsewhere]
        rows = [row for row in rows if all(row[c] in shops for c in row if c.endswith("source_name"))]
        if about and "customer_key" not in ROWS[schema, name][0] and "source_name" not in ROWS[schema, name][0]:
            return None
    if (countries := rules.get("countries")) and about:
        if "customer_key" not in ROWS[schema, name][0]:
            return None
        customers = ROWS["core", "dim_customers"]
        theirs = {row["customer_key"] for row in customers if row["country_code"] in countries}
        rows = [row for row in rows if row["customer_key"] in theirs]
    sizes = [c["name"] for c in columns if "group_size" in c.get("tags", [])]
    least = role["minimum_group"]
    return [row for row in rows if all(row[c] == 0 or row[c] >= least for c in sizes)]


def masked(value: Any, how: str, bucket: dict[str, Any], rows: Counter[Any], least: int, key: str) -> Any:
    """One value as the role sees it."""
    if how == "null" or value is None:
        return None
    if how == "hash":
        inner = hashlib.sha256(f"{key}:inner:{value}".encode()).hexdigest()
        return hashlib.sha256(f"{key}:outer:{inner}".encode()).hexdigest()[:32]
    if how == "bucket":
        if width := bucket.get("width"):
            return type(value)(math.floor(value / width) * width)
        return value if bucket.get("rare") and rows[value] >= least else None
    return value


def literal(value: Any) -> str:
    if isinstance(value, bool | int | float | Decimal):
        return str(value).lower()
    kind = "timestamp" if isinstance(value, dt.datetime) else "date" if isinstance(value, dt.date) else "text"
    return f"{kind} '{value}'"


def text(value: Any) -> str:
    """As PostgreSQL writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("table", NAMES)
@pytest.mark.parametrize("role", ROLES)
def test_each_column_is_what_the_policy_says_however_it_is_asked(role: str, table: str, door: Door) -> None:
    schema, name = table.split(".")
    rights = POLICY["roles"][role]
    view = f"{role}_{schema}.{name}"
    rows = allowed_rows(rights, schema, name)
    columns = TABLES[schema, name]["properties"]
    actions = {column["name"]: action(rights, table, column) for column in columns}
    has_rule = bool(rights.get("rows")) and (
        is_about_customers(columns) or any(column.endswith("source_name") for column in actions)
    )
    has_sizes = rights["minimum_group"] > 1 and any("group_size" in column.get("tags", []) for column in columns)
    is_whole = rows is not None and set(actions.values()) == {"show"} and not has_rule and not has_sizes
    asked_before = door.cells
    for column, how in actions.items():
        raw = [row[column] for row in ROWS[schema, name]]
        bucket = POLICY["columns"].get(f"{table}.{column}", {})
        counted = Counter(row[column] for row in rows or [])
        seen = [masked(row[column], how, bucket, counted, rights["minimum_group"], door.key) for row in rows or []]
        probe = literal(raw[-1])
        questions = {
            "select": f'select "{column}" from {{}}',
            "filter": f'select count(*) from {{}} where "{column}" = {probe}',
            "order": f'select "{column}" from {{}} order by 1 nulls last',
            "group": f'select "{column}", count(*) from {{}} group by 1',
            "aggregate": f'select count("{column}"), count(distinct "{column}") from {{}}',
            "join": f'select count(*) from {{}} as t join (select {probe} as probe) as p on t."{column}" = p.probe',
        }
        if rows is None or how == "drop":
            for question in questions.values():
                door.refuses(role, question.format(view), "does not exist")
        else:
            kinds = Counter(seen)
            known = [value for value in seen if value is not None]
            assert Counter(door.ask(role, questions["select"].format(view))) == Counter((value,) for value in seen)
            assert door.ask(role, questions["filter"].format(view)) == [(known.count(raw[-1]),)]
            ordered = [value for (value,) in door.ask(role, questions["order"].format(view))]
            assert ordered == sorted(known) + [None] * (len(seen) - len(known))
            assert dict(door.ask(role, questions["group"].format(view))) == dict(kinds)
            assert door.ask(role, questions["aggregate"].format(view)) == [(len(known), len(set(known)))]
            assert door.ask(role, questions["join"].format(view)) == [(known.count(raw[-1]),)]
        # The table itself: as it is, or not at all.
        for kind, question in questions.items():
            if not is_whole:
                door.refuses(role, question.format(table), "permission denied")
            elif kind == "select":
                assert Counter(door.ask(role, question.format(table))) == Counter((value,) for value in raw)
            else:
                door.ask(role, question.format(table))
    assert door.cells - asked_before == 12 * len(columns)


def test_the_roles_are_as_different_as_the_policy_makes_them() -> None:
    def seen(role: str) -> Counter[str]:
        rights = POLICY["roles"][role]
        return Counter(
            "no table" if allowed_rows(rights, *key) is None else action(rights, ".".join(key), column)
            for key, table in TABLES.items()
            for column in table["properties"]
        )

    assert seen("viewer")["no table"] > 100
    assert seen("marketing")["drop"] == 19
    assert seen("analyst")["hash"] > 20 and seen("analyst")["bucket"] == 19
    assert set(seen("admin")) == {"show"}
    assert seen("regional")["null"] > 5
    assert 0 < len(allowed_rows(POLICY["roles"]["regional"], "core", "fct_purchases") or []) < 20


def test_joins_over_tables_give_the_same_pairs(door: Door) -> None:
    question = (
        "select count(*), sum(p.amount) from {0}.fct_purchases as p join {0}.dim_customers as c using (customer_key)"
    )
    amounts = [row["amount"] for row in ROWS["core", "fct_purchases"]]
    for role in ("marketing", "analyst", "admin"):
        assert door.ask(role, question.format(f"{role}_core")) == [(len(amounts), sum(amounts))]
    theirs = [row["amount"] for row in allowed_rows(POLICY["roles"]["regional"], "core", "fct_purchases") or []]
    assert door.ask("regional", question.format("regional_core")) == [(len(theirs), sum(theirs))]


def test_an_error_does_not_repeat_what_is_masked(door: Door) -> None:
    for column in ("customer_key", "education", "person"):
        with contextlib.suppress(sa.exc.DataError):
            door.ask("analyst", f"select {column}::int from analyst_core.dim_customers where {column} is not null")
        with pytest.raises(sa.exc.DBAPIError) as raised:
            door.ask("analyst", f"select ('x' || coalesce({column}, ''))::int from analyst_core.dim_customers")
        values = [row[column] for row in ROWS["core", "dim_customers"]] if column != "education" else ["education rare"]
        assert not any(f'"x{value}"' in str(raised.value) for value in values)


@pytest.mark.parametrize("table", ["dim_customers", "fct_purchases"])
def test_a_function_of_a_reader_is_not_called_on_rows_that_the_role_does_not_see(table: str, door: Door) -> None:
    with door.database.connect("user_of_regional") as connection:
        heard: list[str] = []
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.add_notice_handler(lambda notice: heard.append(notice.message_primary))
        connection.exec_driver_sql(
            "create function pg_temp.overhear(value text) returns boolean language plpgsql cost 0.0000001 as "
            "$$ begin raise notice 'heard %', value; return true; end $$"
        )
        shown = connection.exec_driver_sql(
            f"select customer_key from regional_core.{table} where pg_temp.overhear(customer_key)"
        ).all()
    allowed = allowed_rows(POLICY["roles"]["regional"], "core", table) or []
    assert {key for (key,) in shown} == {row["customer_key"] for row in allowed}
    assert {message.removeprefix("heard ") for message in heard} == {row["customer_key"] for row in allowed}


def test_no_reader_finds_the_key_of_the_hashes(door: Door) -> None:
    for role in ROLES:
        door.refuses(role, "select * from next_aisle.hash_key", "permission denied")
        definitions = door.ask(role, "select pg_get_viewdef(oid) from pg_class where relkind = 'v'")
        definitions += door.ask(role, "select prosrc from pg_proc")
        assert not any(door.key in str(definition) for (definition,) in definitions)


def test_statistics_of_columns_are_not_shown_to_those_who_may_not_see_them(door: Door) -> None:
    door.database.execute("analyze core.dim_customers")
    for role in ("viewer", "marketing", "analyst", "regional"):
        assert door.ask(role, "select attname from pg_stats where tablename = 'dim_customers'") == []


def test_a_grant_made_by_hand_shows_no_row(door: Door) -> None:
    database = door.database
    database.execute("grant usage on schema core to outsider", "grant select on all tables in schema core to outsider")
    try:
        assert database.query("select count(*) from core.dim_customers", "outsider") == [(0,)]
        assert database.query("select count(*) from core.fct_purchases", "outsider") == [(0,)]
        with pytest.raises(sa.exc.ProgrammingError, match="row-level security"):
            door.database.connect("outsider").exec_driver_sql("set row_security = off; select * from core.dim_dates")
    finally:
        database.execute("drop owned by outsider")


def test_who_has_no_role_sees_nothing(door: Door) -> None:
    for table in ("core.dim_dates", "admin_core.dim_customers", "viewer_core.dim_dates", "next_aisle.publication"):
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied for schema"):
            door.database.query(f"select * from {table}", "outsider")


@pytest.mark.parametrize("statement", ["delete from {}", "update {} set source_name = 'x'", "drop view {}"])
def test_nothing_can_be_changed(statement: str, door: Door) -> None:
    for role in ("marketing", "analyst", "admin"):
        for view in ("dim_customers", "customer_numbers", "fct_baskets"):
            with pytest.raises(sa.exc.DBAPIError, match=r"permission denied|must be owner|cannot"):
                door.ask(role, statement.format(f"{role}_core.{view}"))
    for table in ("core.fct_baskets", "quality.shop_status"):
        with pytest.raises(sa.exc.DBAPIError, match=r"permission denied|must be owner"):
            door.ask("admin", statement.format(table).replace("view", "table"))


def test_each_role_can_read_the_stamp(door: Door) -> None:
    [stamp] = door.database.query("select publication_id, contract_version from next_aisle.publication")
    for role in ROLES:
        assert door.ask(role, "select publication_id, contract_version from next_aisle.publication") == [stamp]


def test_a_view_says_in_its_comments_what_the_role_sees(door: Door) -> None:
    comments = dict(
        door.ask(
            "analyst",
            "select attname, col_description(attrelid, attnum) from pg_attribute "
            "where attrelid = 'analyst_core.dim_customers'::regclass and attnum > 0",
        )
    )
    assert comments["customer_key"].endswith("Here: a keyed hash of it.")
    assert comments["birth_year"].endswith("Here: made coarser.")
    assert comments["person"].endswith("Here: always empty.")
    assert "Here:" not in comments["total_spending"]
