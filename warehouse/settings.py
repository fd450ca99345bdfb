"""What the environment sets, read once; and the only place that writes to the environment.

Commands and Dagster's definitions read the settings once and pass paths on as values.
"""

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from warehouse.paths import DEFAULT_DATA, Paths

KEEP_SUPERSEDED_DAYS = 30

AbsolutePath = Annotated[Path, AfterValidator(lambda path: path.expanduser().resolve())]


class Settings(BaseSettings):
    """The settings, from environment variables that start with `NEXT_AISLE_`; an empty variable counts as not set.

    Attributes:
        data: folder of all data: landed files, warehouse, published copy, run history. Default: `data/` in the
            checkout, or in the current folder when the project is installed as a package.
        objectives: quality objectives to use in place of those of the project; None: the project's.
        policy: who may see what, to use in place of the project's delivery/policy.yml; None: the project's.
        token: for the doors at the terminal: `python -m delivery mcp` answers as its role.
        manifest: a manifest of the dbt project that was made ahead; None: dbt parses the project when a file changed.
        keep_superseded_days: how many days the raw tables keep row versions that no longer count.
        timezone: the zone of the clock that the nightly schedule goes by, such as Europe/Berlin; None: the machine's.
    """

    model_config = SettingsConfigDict(
        env_prefix="NEXT_AISLE_", env_ignore_empty=True, extra="ignore", frozen=True, validate_default=True
    )

    data: AbsolutePath = DEFAULT_DATA
    objectives: AbsolutePath | None = None
    policy: AbsolutePath | None = None
    token: SecretStr | None = None
    manifest: AbsolutePath | None = None
    timezone: str | None = None
    keep_superseded_days: int = Field(default=KEEP_SUPERSEDED_DAYS, ge=0)

    @property
    def paths(self) -> Paths:
        """All places on disk, below the data folder."""
        return Paths(self.data)


def environment(paths: Paths) -> dict[str, str]:
    """The environment for a program that this process starts.

    Args:
        paths: where data lives. dbt runs in its own folder, where a relative path would name another place.
    """
    return {**os.environ, "NEXT_AISLE_DATA": str(paths.root)}


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
