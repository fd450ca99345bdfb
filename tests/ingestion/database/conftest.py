from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.database_servers import MariaDb, Postgres, Server
from tests.fixtures.database_servers import running
from tests.ingestion.database.pulled_shop import BOTH, Shop, opened


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    """A running PostgreSQL."""
    yield from running(Postgres)


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[Server]:
    """A running MariaDB."""
    yield from running(MariaDb)


@pytest.fixture(params=BOTH)
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """A shop's empty database, on each kind of server."""
    with opened(request.getfixturevalue(f"{request.param}_server"), tmp_path) as shop:
        yield shop


@pytest.fixture
def postgresql(postgresql_server: Server, tmp_path: Path) -> Iterator[Shop]:
    """A shop's empty database on PostgreSQL."""
    with opened(postgresql_server, tmp_path) as shop:
        yield shop


@pytest.fixture
def mysql(mysql_server: Server, tmp_path: Path) -> Iterator[Shop]:
    """A shop's empty database on MariaDB."""
    with opened(mysql_server, tmp_path) as shop:
        yield shop
