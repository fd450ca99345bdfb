"""Real PostgreSQL and MariaDB servers for tests and benchmarks, in a temporary folder, on a free port of 127.0.0.1."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

PASSWORD = "s3cret:p@ss/w%rd"


class UnavailableError(Exception):
    """The server is not installed here, and cannot be installed; the message says why."""


class Server:
    """A database server of its own.

    Args:
        folder: an empty folder for its files; it must be readable by the server's user.

    Attributes:
        port: where it listens, on 127.0.0.1.
        drivername: SQLAlchemy's name of the driver.
        database: the database that tables are made in.
        user: who owns the database.
    """

    drivername = ""
    database = "shop"
    user = "shop"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        # Both servers refuse to run as root.
        self.account = self._service_account() if os.geteuid() == 0 else None
        if self.account:
            os.chown(folder, self.account.pw_uid, self.account.pw_gid)
        self._prepare()
        self.start()
        self._create()

    @property
    def url(self) -> sa.URL:
        """Where the database is, with the password."""
        return self.url_of(self.user, PASSWORD)

    def url_of(self, user: str, password: str | None) -> sa.URL:
        """Where the database is, for a user."""
        return sa.URL.create(self.drivername, user, password, "127.0.0.1", self.port, self.database)

    def execute(self, *statements: str) -> None:
        """Run statements as the owner of the database, each committed."""
        with self.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the database."""
        with self.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(statement)]

    def connect(self, url: sa.URL | None = None) -> "Connection":
        """Open a connection that commits each statement."""
        return Connection(url or self.url)

    def run(self, command: Sequence[str], **options: Any) -> "subprocess.CompletedProcess[str]":
        """Run one of the server's programs as its user."""
        return subprocess.run(
            command, check=True, capture_output=True, text=True, cwd=self.folder, **self._as_account(), **options
        )

    def _as_account(self) -> dict[str, Any]:
        if not self.account:
            return {}
        return {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}

    def start(self) -> None:
        """Start the server and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command(), stdout=log, stderr=log, cwd=self.folder, start_new_session=True, **self._as_account()
            )
        deadline = time.monotonic() + 60
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.folder / "log").read_text(errors="replace")[-2000:])
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server; clients are cut off.

        Args:
            how: the signal; SIGKILL is a crash.
        """
        if self.process:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    @classmethod
    def find(cls, name: str) -> str:
        """Find one of the server's programs.

        Args:
            name: the program's name.

        Raises:
            UnavailableError: it is not installed.
        """
        raise NotImplementedError

    def _service_account(self) -> pwd.struct_passwd:
        raise NotImplementedError

    def _prepare(self) -> None:
        raise NotImplementedError

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError

    def _create(self) -> None:
        raise NotImplementedError


class Connection:
    """A connection that commits each statement, as a context."""

    def __init__(self, url: sa.URL) -> None:
        # A percent sign in a statement is one.
        self.engine = sa.create_engine(
            url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool, execution_options={"no_parameters": True}
        )

    def __enter__(self) -> sa.Connection:
        self.connection = self.engine.connect()
        return self.connection

    def __exit__(self, *_: object) -> None:
        self.connection.close()


class Postgres(Server):
    """PostgreSQL."""

    drivername = "postgresql+psycopg"

    def _service_account(self) -> pwd.struct_passwd:
        return pwd.getpwnam("postgres")

    @classmethod
    def find(cls, name: str) -> str:
        """Find one of the server's programs, of its newest version."""
        versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[4]))
        found = str(versions[-1]) if versions else shutil.which(name)
        if not found:
            raise UnavailableError(f"PostgreSQL's {name} is not installed")
        return found

    def _prepare(self) -> None:
        (self.folder / "password").write_text(PASSWORD)
        (self.folder / "password").chmod(0o644)
        self.run(
            [
                *(self.find("initdb"), "--no-sync", "--username=shop", "--auth=scram-sha-256", "--encoding=UTF8"),
                *("--no-locale", "--pwfile=password", "--pgdata=data"),
            ]
        )

    def _command(self) -> list[str]:
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self.folder}
        # A benchmark's table is larger than the smallest settings; nothing must survive a power cut.
        settings |= {"fsync": "off", "shared_buffers": "128MB"}
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [self.find("postgres"), "-D", "data", *flags]

    def _answers(self) -> bool:
        try:
            with self.connect(self.url.set(database="postgres")) as connection:
                connection.exec_driver_sql("select 1")
        except sa.exc.OperationalError:
            return False
        return True

    def _create(self) -> None:
        with self.connect(self.url.set(database="postgres")) as connection:
            connection.exec_driver_sql("create database shop")


class MariaDb(Server):
    """MariaDB."""

    drivername = "mysql+pymysql"

    def _service_account(self) -> pwd.struct_passwd:
        return pwd.getpwnam("mysql")

    @classmethod
    def find(cls, name: str) -> str:
        """Find one of the server's programs; some are where only root looks."""
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
        if not found:
            raise UnavailableError(f"MariaDB's {name} is not installed")
        return found

    def _prepare(self) -> None:
        self.run(
            [
                self.find("mariadb-install-db"),
                "--no-defaults",
                f"--datadir={self.folder}/data",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ]
        )

    def _command(self) -> list[str]:
        settings = {
            "datadir": self.folder / "data",
            "socket": self.folder / "socket",
            "pid-file": self.folder / "pid",
            "bind-address": "127.0.0.1",
            "port": self.port,
            "character-set-server": "utf8mb4",
            "innodb-flush-log-at-trx-commit": 0,
            "innodb-buffer-pool-size": "256M",
        }
        return [
            self.find("mariadbd"),
            "--no-defaults",
            "--skip-name-resolve",
            *(f"--{name}={value}" for name, value in settings.items()),
        ]

    def _answers(self) -> bool:
        try:
            with self.connect(self.url_of("root", None).set(database="mysql")) as connection:
                connection.exec_driver_sql("select 1")
        except sa.exc.OperationalError:
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop the server; clients are cut off."""
        super().stop(how)

    def _create(self) -> None:
        with self.connect(self.url_of("root", None).set(database="mysql")) as connection:
            connection.exec_driver_sql("create database shop")
            connection.exec_driver_sql(f"create user shop@'%' identified by '{PASSWORD}'")
            connection.exec_driver_sql("grant all on *.* to shop@'%' with grant option")


def free_port() -> int:
    """Find a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


PACKAGES: dict[type[Server], tuple[str, str]] = {
    Postgres: ("postgresql", "initdb"),
    MariaDb: ("mariadb-server", "mariadbd"),
}


def running(kind: type[Server]) -> Iterator[Server]:
    """Run a server; it is installed first if need be, and stopped and removed in the end.

    Args:
        kind: which one.

    Raises:
        UnavailableError: it cannot be installed here.
    """
    install(kind)
    folder = Path(tempfile.mkdtemp(prefix="next_aisle_"))
    folder.chmod(0o755)
    server = kind(folder)
    try:
        yield server
    finally:
        server.stop(signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def install(kind: type[Server]) -> None:
    """Install a server with apt, unless it is there.

    Args:
        kind: which one.

    Raises:
        UnavailableError: it cannot be installed here.
    """
    package, program = PACKAGES[kind]
    try:
        kind.find(program)
    except UnavailableError as missing:
        install_package(package, str(missing))


def install_package(package: str, missing: str) -> None:
    """Install a package with apt.

    Args:
        package: its name.
        missing: what is missing without it, for the message.

    Raises:
        UnavailableError: it cannot be installed here.
    """
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise UnavailableError(f"{missing}; run `apt-get install {package}`")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", package]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise UnavailableError(f"{missing}; apt-get install {package}: {done.stderr.strip()[-300:]}")
