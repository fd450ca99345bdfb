"""What the environment sets, read once; and the only place that writes to the environment.

Commands and Dagster's definitions read the settings once and pass paths on as values.
"""

import datetime as dt
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from warehouse.paths import DEFAULT_DATA, Paths
from warehouse.secrets import parse_key

KEEP_SUPERSEDED_DAYS = 30
NIGHTLY_AT, WAIT_UNTIL = dt.time(2), dt.time(4)

# The address of the PostgreSQL database for Dagster's runs and events; Dagster reads it from the environment by itself.
DAGSTER_POSTGRES_URL = "NEXT_AISLE_DAGSTER_POSTGRES_URL"

# Read where a connection is opened, in dbt's process too.
MEMORY_LIMIT = "NEXT_AISLE_MEMORY_LIMIT"

AbsolutePath = Annotated[Path, AfterValidator(lambda path: path.expanduser().resolve())]


def _checked_key(key: SecretStr) -> SecretStr:
    parse_key(key.get_secret_value())
    return key


class Settings(BaseSettings):
    """The settings, from environment variables that start with `NEXT_AISLE_`; an empty variable counts as not set.

    Attributes:
        data: folder of all data: landed files, warehouse, published copy, run history. Default: `data/` in the
            checkout, or in the current folder when the project is installed as a package.
        objectives: quality objectives to use in place of those of the project; None: the project's.
        policy: who may see what, to use in place of the project's delivery/policy.yml; None: the project's.
        token: for the doors at the terminal: `python -m delivery mcp` answers as its role.
        manifest: a manifest of the dbt project that was made ahead; None: dbt parses the project when a file changed.
        ui_url: the address of the UI, for links in alerts.
        alerts: who is told what (docs/operations.md); None: no one.
        readers: the group that may read the published folder; None: its files belong to the user alone.
        backups: the folder of the backups; None: `backups/` in the data folder.
        keep_superseded_days: how many days the raw tables keep row versions that no longer count.
        keep_history_days: how many days the run history keeps the single checks and steps of a run.
        keep_runs_days: how many days Dagster keeps a run with its events and its captured output.
        keep_logs_days: how many days log files and captured output are kept.
        keep_aside_days: how many days a warehouse is kept that was set aside, and what was there before a restore.
        personal_key: 32 bytes in base64 with which the personal columns of what is published are encrypted, in files of
            their own; None: they stay in the published file.
        postgres_url: the PostgreSQL database that the published tables are also written to, after each publication
            too, such as postgresql://user@host:5432/database; None: none.
        postgres_password: its user's password; None: in the address, or where libpq looks (PGPASSWORD, ~/.pgpass).
        oidc_issuer: the address of the company's login (OpenID Connect), by which people log in at the pages; None: by
            token alone.
        oidc_client_id: the id that the service has there.
        oidc_client_secret: its password there; None for a service without.
        oidc_claim: the claim that has a person's groups, which delivery/policy.yml gives roles.
        timezone: the zone of the clock that the nightly schedule goes by, such as Europe/Berlin; None: the machine's.
        nightly_at: when the nightly schedule starts its run, by that clock.
        wait_until: how long it waits for a shop whose file of yesterday has not landed; the same time as `nightly_at`:
            not at all.
        ui_hosts: the names that the UI has in addition to localhost, separated by commas, such as aisle.example.org.
        memory_limit: how much memory DuckDB may take for a run, such as 8GB, before it writes to the disk; None: 3 GB,
            or four fifths of the machine's where that is less.
    """

    model_config = SettingsConfigDict(
        env_prefix="NEXT_AISLE_",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        validate_default=True,
        # It may be a secret.
        hide_input_in_errors=True,
    )

    data: AbsolutePath = DEFAULT_DATA
    objectives: AbsolutePath | None = None
    policy: AbsolutePath | None = None
    token: SecretStr | None = None
    manifest: AbsolutePath | None = None
    timezone: str | None = None
    nightly_at: dt.time = NIGHTLY_AT
    wait_until: dt.time = WAIT_UNTIL
    ui_hosts: str = ""
    memory_limit: Annotated[str, Field(pattern=r"^\d+(\.\d+)? ?[KMGT]i?B$")] | None = None
    ui_url: Annotated[str, AfterValidator(lambda url: url.rstrip("/"))] = "http://localhost:3000"
    alerts: AbsolutePath | None = None
    readers: str | None = None
    backups: AbsolutePath | None = None
    keep_superseded_days: int = Field(default=KEEP_SUPERSEDED_DAYS, ge=0)
    # The objectives look back 28 days.
    keep_history_days: int = Field(default=400, ge=60)
    # Tests of rows that did not change are a week old at most.
    keep_runs_days: int = Field(default=90, ge=14)
    keep_logs_days: int = Field(default=30, ge=1)
    keep_aside_days: int = Field(default=14, ge=1)
    # No secret is printed with the settings.
    personal_key: Annotated[SecretStr, AfterValidator(_checked_key)] | None = None
    postgres_url: SecretStr | None = None
    postgres_password: SecretStr | None = None
    oidc_issuer: str | None = None
    oidc_client_id: str | None = None
    oidc_client_secret: SecretStr | None = None
    oidc_claim: str = "groups"

    @property
    def paths(self) -> Paths:
        """All places on disk, below the data folder."""
        return Paths(self.data)

    @property
    def key_of_personal_columns(self) -> bytes | None:
        """The key that encrypts them; None where they stay in the published file."""
        return parse_key(self.personal_key.get_secret_value()) if self.personal_key else None

    @property
    def ui_names(self) -> list[str]:
        """The names that the UI has in addition to localhost, each in small letters."""
        return [name.strip().lower() for name in self.ui_hosts.split(",") if name.strip()]


def dagster_postgres_url() -> str | None:
    """Give the address of the PostgreSQL database for Dagster's runs; None where they are kept in the data folder."""
    return os.environ.get(DAGSTER_POSTGRES_URL) or None


def memory_limit() -> str | None:
    """Give the memory that DuckDB may take, such as 8GB; None where nothing is set."""
    return os.environ.get(MEMORY_LIMIT) or None


def environment(paths: Paths) -> dict[str, str]:
    """The environment for a program that this process starts.

    Args:
        paths: where data lives. dbt runs in its own folder, where a relative path would name another place.
    """
    return {**os.environ, "NEXT_AISLE_DATA": str(paths.root)}


def named(variable: str) -> str | None:
    """Give the value of an environment variable that a file of the user names; None where it is not set, or empty.

    Args:
        variable: its name.
    """
    return os.environ.get(variable) or None


def export_replaced_models(models: Iterable[str], tests: Iterable[str]) -> None:
    """Name to dbt the models of which it is to replace only some rows (macros/changed_baskets.sql).

    Args:
        models: as dbt names them.
        tests: those for which the new rows are enough.
    """
    os.environ["NEXT_AISLE_REPLACES_ROWS"] = ",".join(sorted(models))
    os.environ["NEXT_AISLE_TESTS_NEW_ROWS"] = ",".join(sorted(tests))


def export_data(paths: Paths) -> None:
    """Name the data folder to the programs that libraries start from this process: dbt.

    Args:
        paths: where data lives.
    """
    os.environ.update(environment(paths))


def export_dagster_home(paths: Paths) -> None:
    """Name Dagster's home to this process and what it starts; Dagster reads it from the environment only.

    Args:
        paths: where data lives.
    """
    os.environ["DAGSTER_HOME"] = str(paths.dagster)


def quiet_dlt() -> None:
    """Keep dlt from calling home, and from printing the traceback of an error that is raised as well.

    dlt reads both from the environment, before its own configuration can be set.
    """
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ.setdefault("RUNTIME__LOG_LEVEL", "CRITICAL")
