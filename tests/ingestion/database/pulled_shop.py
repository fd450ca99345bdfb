"""A made-up shop in a database on a real server, and the source that pulls it."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import ingestion.sources
from benchmarks.database_servers import Connection, Server
from ingestion.database import DatabaseTable
from ingestion.load import load
from ingestion.raw_tables import LoadError
from ingestion.source import LoadReport
from tests import here

NAME = "my_shop"
CREDENTIALS = f"SOURCES__{NAME.upper()}__CREDENTIALS"
NUMBERS = itertools.count(1)

# The kinds of servers. Most tests are run on MariaDB only among the slow ones; ON_BOTH is for what each does in its own
# way.
BOTH = ("postgresql", pytest.param("mysql", marks=pytest.mark.slow))
ON_BOTH = pytest.mark.parametrize("shop", ["postgresql", "mysql"], indirect=True)


class Shop:
    """A database of a test's own, a data folder, and the source `my_shop`, which is declared by `declare`.

    Args:
        server: the server.
        folder: an empty folder of the test's own.

    Attributes:
        backend: postgresql or mysql.
        url: the database's address, with the password.
        code: the folder of the source's module.
    """

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.backend = server.url.get_backend_name()
        self.url = server.url.set(database=f"shop_{next(NUMBERS)}")
        self.code = folder / "sources"
        self.code.mkdir()

    @property
    def credentials(self) -> str:
        """The address as a person writes it, without SQLAlchemy's driver."""
        return self.url.set(drivername=self.backend).render_as_string(hide_password=False)

    def connect(self) -> Connection:
        """Open a connection that commits each statement."""
        return self.server.connect(self.url)

    def execute(self, *statements: str) -> None:
        """Run statements, each committed."""
        with self.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A connection whose statements are committed together in the end."""
        with sa.create_engine(self.url, poolclass=sa.NullPool).begin() as connection:
            yield connection

    def declare(self, *tables: DatabaseTable) -> None:
        """Write the source's module."""
        text = "import datetime\nfrom ingestion.database import Database, DatabaseTable, KeySweep, SoftDelete\n"
        text += f"SOURCE = Database({NAME!r}, {tables!r})\n"
        (self.code / f"{NAME}.py").write_text(text, encoding="utf-8")
        sys.modules.pop(f"ingestion.sources.{NAME}", None)

    def pull(self, *tables: str) -> LoadReport:
        """Load the source in this process."""
        return load(NAME, here.paths(), tables or None, say=lambda _line: None)

    def refused(self) -> str:
        """Load, and return the text of the error that must come."""
        with pytest.raises(LoadError) as raised:
            self.pull()
        message = str(raised.value)
        assert "\n" not in message
        return message

    def raw(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the warehouse, with the raw tables at hand; moments are shown in UTC."""
        with here.connect() as connection:
            connection.execute(f"set timezone = 'UTC'; use raw_{NAME}")
            return connection.execute(sql).fetchall()


@contextmanager
def opened(server: Server, folder: Path) -> Iterator[Shop]:
    """Make a shop's database, and the source's module known; the database is dropped in the end."""
    shop = Shop(server, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXT_AISLE_DATA", str(folder / "data"))
        patch.setenv(CREDENTIALS, shop.credentials)
        patch.setattr(sys, "dont_write_bytecode", True)
        patch.setattr(ingestion.sources, "__path__", [*ingestion.sources.__path__, str(shop.code)])
        server.execute(f"create database {shop.url.database}")
        yield shop
        sys.modules.pop(f"ingestion.sources.{NAME}", None)
    server.execute(f"drop database {shop.url.database}" + (" with (force)" if shop.backend == "postgresql" else ""))


# What a process of its own runs to load the source.
LOAD = """
import sys
import ingestion.sources
ingestion.sources.__path__.append(sys.argv[1])
from ingestion.__main__ import main
sys.exit(main(["my_shop"]))
"""

# Forks a load for each line that it reads, and says which process that is and how it ended. What a load imports is
# imported once: that takes several times as long as a small pull. The chunks are small, so that a small pull has many.
FORKED_LOADS = """
import os
import sys
import dlt.destinations.impl.duckdb.duck
import dlt.sources.sql_database
import psycopg
import pymysql
import sqlalchemy.dialects.mysql
import sqlalchemy.dialects.postgresql
import ingestion.sources
ingestion.sources.__path__.append(sys.argv[1])
import ingestion.database.reading
ingestion.database.reading.CHUNK_ROWS = 200
from ingestion.__main__ import main
for _ in sys.stdin:
    child = os.fork()
    if not child:
        os._exit(main(["my_shop"]))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def command(shop: Shop, code: str = LOAD) -> dict[str, Any]:
    """Arguments of `subprocess.Popen` for a load in a process of its own."""
    return {
        "args": [sys.executable, "-B", "-c", code, str(shop.code)],
        "cwd": Path(__file__).resolve().parents[3],
        "env": dict(os.environ),
        "text": True,
    }


class ForkedLoads:
    """Loads in processes of their own that begin within milliseconds, as a context.

    Args:
        shop: the shop, whose source is declared.
    """

    def __init__(self, shop: Shop) -> None:
        self.process = subprocess.Popen(
            **command(shop, FORKED_LOADS),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> "ForkedLoads":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def load(self, kill_after: float | None = None) -> int:
        """Load the source.

        Args:
            kill_after: SIGKILL ends the process after this many seconds, unless it has ended before; None: it is left
                alone.

        Returns:
            How the process ended: its exit code, or minus the signal.
        """
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        child = int(self.process.stdout.readline())
        if kill_after is not None:
            time.sleep(kill_after)
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        lines = iter(self.process.stdout.readline, "")
        # What the load prints in the end comes before.
        return next(int(line) for line in lines if line.strip().lstrip("-").isdigit())
