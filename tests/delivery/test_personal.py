"""Personal columns in encrypted files: the published file has none of their values, and the doors show the same."""

import base64
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pydantic import ValidationError

from delivery import personal, policy
from delivery.contract import FOLDER, files
from delivery.personal import PersonalError, open_joined
from delivery.postgres import write_as_set
from delivery.publication import Encrypted, Publication, PublicationError, damage, publish, refuse_for_all_readers
from delivery.snapshots import RoleConnection, Snapshots
from orchestration.assets.published import _promises
from orchestration.project import read_project
from quality.audit import mark_audited
from tests import here
from tests.delivery.conftest import Database
from tests.fixtures import made_publication
from warehouse.connections import columns
from warehouse.dbt_project import prepare, published_models, read_manifest
from warehouse.settings import Settings
from warehouse.sql import quote_table

KEY = bytes(range(32))
HASH_KEY = "0" * 64
WORDS = b"household_composition 3"


@pytest.fixture
def shop(data: Path) -> list[personal.Table]:
    """A warehouse with a few rows in every published table; gives the tables that have personal columns."""
    made_publication.make(data)
    shutil.move(here.paths().published, here.paths().warehouse)
    here.paths().warehouse.chmod(0o600)
    return personal.tables(published_models(read_manifest(prepare(Settings()))))


def described() -> list[policy.Table]:
    return policy.described(read_manifest(prepare(Settings())))


def published(encrypted: Encrypted | None) -> Publication:
    mark_audited(here.paths(), "run-1")
    with duckdb.connect(str(here.paths().warehouse), read_only=True) as connection:
        names = sorted(columns(connection))
    return publish(here.paths(), names, {}, {}, None, encrypted)


def rows(connection: duckdb.DuckDBPyConnection, table: str) -> list[tuple[Any, ...]]:
    return connection.execute(f"select * from {table}").fetchall()


def encrypted_files() -> list[Path]:
    return sorted(here.paths().published.parent.glob("*.parquet"))


def test_these_tables_have_personal_columns(shop: list[personal.Table]) -> None:
    found = {f"{table.schema}.{table.name}": table.columns for table in shop}
    assert found.keys() == {"core.customer_numbers", "core.dim_customers", "quality.findings"}
    assert found["core.customer_numbers"] == ("person",)
    assert {"age_band", "country_code", "income"} < set(found["core.dim_customers"])
    assert "customer_key" not in found["core.dim_customers"]


def test_the_published_file_has_no_personal_value_and_everything_else(shop: list[personal.Table]) -> None:
    plain = published(None)
    with duckdb.connect(str(plain.path), read_only=True) as connection:
        expected = {table: rows(connection, quote_table(*table)) for table in columns(connection)}
    assert any(WORDS.decode() in row for row in expected["core", "dim_customers"])
    found = published(Encrypted(shop, KEY))
    assert found.row_counts == plain.row_counts and found.columns == plain.columns
    of_table = {(table.schema, table.name): table.columns for table in shop}
    with duckdb.connect(str(found.path), read_only=True) as connection:
        for table, names in found.columns.items():
            schema, _, name = table.partition(".")
            emptied = of_table.get((schema, name), ())
            wanted = [
                tuple(None if column in emptied else value for column, value in zip(names, row, strict=True))
                for row in expected[schema, name]
            ]
            assert rows(connection, quote_table(schema, name)) == wanted, table
    assert len(encrypted_files()) == 3
    for file in [found.path, *encrypted_files()]:
        assert WORDS not in file.read_bytes(), file
        assert file.stat().st_mode & 0o777 == 0o444


def test_an_encrypted_file_is_the_whole_table_for_who_has_the_key(shop: list[personal.Table]) -> None:
    expected = {table: rows(open_joined(published(None).path, None), f"{table.schema}.{table.name}") for table in shop}
    path = published(Encrypted(shop, KEY)).path
    with duckdb.connect(str(path), read_only=True) as connection:
        names = connection.execute("select personal_files()").fetchall()[0][0]
        connection.execute(f"pragma add_parquet_key('key', '{base64.b64encode(KEY).decode()}')")
        for table, name in zip(sorted(shop, key=lambda each: (each.schema, each.name)), names, strict=True):
            assert name.endswith(f".{table.schema}.{table.name}.parquet")
            file = path.with_name(name)
            found = rows(connection, f"read_parquet('{file}', encryption_config = {{footer_key: 'key'}})")
            assert found == expected[table]
        with pytest.raises(duckdb.Error, match="encrypted"):
            rows(connection, f"'{file}'")


def of_role(role: str, path: Path, key: bytes | None) -> dict[str, Any]:
    """All that a role's connection has: its views for rows, and those on which metrics are computed."""
    rules = policy.read()
    with duckdb.connect(str(path), read_only=True) as connection:
        there = policy.as_published(described(), columns(connection))
    opened = RoleConnection(path, rules, role, there, HASH_KEY, here.paths().root / "scratch", 1, key)
    metrics = {f"warehouse.{quote_table(*name.split('.'))}" for name in opened.metric_tables}
    views = metrics | {f"doors.{quote_table(*name.split('.'))}" for name in opened.views}
    found = {view: rows(opened.connection, f"{view} order by all") for view in views}
    opened.connection.close()
    return found


@pytest.mark.parametrize("role", sorted(policy.read().roles))
def test_every_role_sees_what_it_saw_in_one_file(role: str, shop: list[personal.Table]) -> None:
    seen = of_role(role, published(None).path, None)
    path = published(Encrypted(shop, KEY)).path
    assert of_role(role, path, KEY) == seen
    without_key = of_role(role, path, None)
    if role == "admin":
        assert without_key != seen, "it sees personal columns"
        kept, empty = (found['doors."core"."dim_customers"'] for found in (seen, without_key))
        assert any("age_band 3" in row for row in kept) and not any("age_band 3" in row for row in empty)


def test_postgresql_gets_what_it_got_from_one_file(
    shop: list[personal.Table], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = "select * from core.dim_customers order by customer_key"

    def sent(encrypted: Encrypted | None) -> list[tuple[Any, ...]]:
        contract = {file.name: file.read_text() for file in files(FOLDER)}
        mark_audited(here.paths(), "run-1")
        with duckdb.connect(str(here.paths().warehouse), read_only=True) as connection:
            names = sorted(columns(connection))
        publish(here.paths(), names, contract, {}, None, encrypted)
        assert write_as_set(Settings()).is_new
        return database.query(asked)

    expected = sent(None)
    monkeypatch.setenv("NEXT_AISLE_PERSONAL_KEY", base64.b64encode(KEY).decode())
    assert sent(Encrypted(shop, KEY)) == expected
    assert any("age_band 3" in row for row in expected)


def test_the_service_says_what_is_wrong_with_the_key(shop: list[personal.Table]) -> None:
    said: list[str] = []
    path = published(Encrypted(shop, KEY)).path

    def problem(key: bytes | None) -> str | None:
        opened = Snapshots(path, policy.read(), described(), HASH_KEY, here.paths().root, 1, said.append, key)
        opened.look()
        return opened.problem

    assert problem(KEY) is None and not [text for text in said if "personal" in text]
    assert problem(None) is None
    assert "the personal columns are empty at every door: NEXT_AISLE_PERSONAL_KEY is not set" in said
    assert "was written with another key than NEXT_AISLE_PERSONAL_KEY" in str(problem(bytes(32)))
    encrypted_files()[0].unlink()
    assert "is not next to the published file: run the nightly job" in str(problem(KEY))


def test_a_damaged_encrypted_file_is_damage_of_the_publication(shop: list[personal.Table]) -> None:
    published(Encrypted(shop, KEY))
    assert damage(here.paths()) is None
    file = encrypted_files()[1]
    file.chmod(0o600)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert f"the published copy {file} is damaged" in str(damage(here.paths()))
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(PersonalError, match="or it is damaged"):
        open_joined(here.paths().published, KEY)
    file.unlink()
    assert "cannot be read" in str(damage(here.paths()))
    published(Encrypted(shop, KEY))
    assert damage(here.paths()) is None


def test_without_the_key_they_are_not_published_for_all(shop: list[personal.Table]) -> None:
    path = published(Encrypted(shop, KEY)).path
    before = path.read_bytes()
    with pytest.raises(PublicationError, match="NEXT_AISLE_PERSONAL_KEY is not set"):
        published(None)
    assert path.read_bytes() == before and len(encrypted_files()) == 3
    with pytest.raises(PublicationError, match="Set the key"):
        refuse_for_all_readers(here.paths())
    # The way out that the message names.
    path.unlink()
    published(None)
    assert encrypted_files() == [] and damage(here.paths()) is None


def test_files_of_the_publication_before_stay_and_older_ones_go(shop: list[personal.Table]) -> None:
    left = here.paths().published.parent
    published(Encrypted(shop, KEY))
    (left / ".next_aisle.0a1b2c3d.core.dim_customers.parquet.77.part").write_bytes(b"of a killed run")
    first = encrypted_files()
    published(Encrypted(shop, KEY))
    second = set(encrypted_files()) - set(first)
    assert len(second) == 3 and set(first) < set(encrypted_files())
    published(Encrypted(shop, KEY))
    assert not set(first) & set(encrypted_files()) and second < set(encrypted_files())
    assert not list(left.glob(".*"))


def test_who_opened_the_copy_before_reads_it_with_its_personal_columns(shop: list[personal.Table]) -> None:
    path = published(Encrypted(shop, KEY)).path
    with path.open("rb") as held, duckdb.connect() as connection:
        published(Encrypted(shop, KEY))
        connection.execute(f"attach '/proc/self/fd/{held.fileno()}' as before (read_only)")
        assert personal.join(connection, path, "before", KEY, "joined") == {(t.schema, t.name) for t in shop}
        found = connection.execute("select count(*), count(age_band) from joined.core.dim_customers").fetchall()
        assert found == [(made_publication.ROWS, made_publication.ROWS)]


def test_another_key_is_a_reason_to_publish(data: Path) -> None:
    project = read_project()
    plain, one, other = (_promises(replace(project, personal_key=key))[1] for key in (None, KEY, bytes(32)))
    assert plain != one and one != other and KEY.hex() not in str(one)


@pytest.mark.parametrize("key", ["secret", base64.b64encode(bytes(31)).decode(), "A" * 44 + "\n", "ä" * 32])
def test_a_key_that_is_none_is_refused_and_not_repeated(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXT_AISLE_PERSONAL_KEY", key)
    with pytest.raises(ValidationError, match="openssl rand -base64 32") as refused:
        Settings()
    assert key not in str(refused.value)


def test_the_settings_do_not_print_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    key = base64.b64encode(KEY).decode()
    monkeypatch.setenv("NEXT_AISLE_PERSONAL_KEY", key)
    assert Settings().key_of_personal_columns == KEY and key not in repr(Settings())
