from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from benchmarks.database_servers import PASSWORD, Postgres, Server
from tests.fixtures.database_servers import running


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    """A running PostgreSQL."""
    yield from running(Postgres)


class Database:
    """An empty database of a test's own.

    Args:
        server: the server that it is on.
        name: of the database.

    Attributes:
        settings: the environment of the command that publishes to it.
    """

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.url = server.url.set(database=name)
        self.settings = {
            "NEXT_AISLE_POSTGRES_URL": f"postgresql://{server.user}@127.0.0.1:{server.port}/{name}",
            "NEXT_AISLE_POSTGRES_PASSWORD": PASSWORD,
        }

    def connect(self, user: str | None = None) -> sa.Connection:
        """Open a connection that commits each statement, as the owner or as a user of that name."""
        url = self.url.set(username=user) if user else self.url
        return sa.create_engine(
            url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool, execution_options={"no_parameters": True}
        ).connect()

    def query(self, statement: str, user: str | None = None) -> list[tuple[Any, ...]]:
        """Ask it, as the owner or as a user of that name."""
        with self.connect(user) as connection:
            return [tuple(row) for row in connection.exec_driver_sql(statement)]

    def execute(self, *statements: str) -> None:
        """Run statements as the owner, each committed."""
        with self.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)


@pytest.fixture
def database(postgresql_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """An empty database, which the settings name."""
    name = tmp_path.name.replace("-", "_")
    yield new_database(postgresql_server, name, monkeypatch)
    postgresql_server.execute(f'drop database "{name}" with (force)')


def new_database(server: Server, name: str, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Make an empty database, and name it in the settings."""
    server.execute(f'drop database if exists "{name}" with (force)', f'create database "{name}"')
    database = Database(server, name)
    for variable, value in database.settings.items():
        monkeypatch.setenv(variable, value)
    return database
