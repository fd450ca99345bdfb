"""dbt as Dagster starts it."""

from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version

from dagster_dbt import DbtCliResource
from packaging.version import Version

from warehouse.dbt_project import DBT_EXECUTABLE
from warehouse.paths import DBT_DIR


class QuickDbtCli(DbtCliResource):
    """Starts dbt without what dagster-dbt does before each start: 6 s of a run (2026-11-20, two cores).

    It runs `dbt --version` to find out what the lock file says, and sets up a second dbt in this process that only
    its own fetching of row counts needs; orchestration/assets/models.py counts rows over one connection instead.
    """

    @cached_property
    def _cli_version(self) -> Version:
        return Version(version("dbt-core"))

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> None:  # type: ignore[override]
        del args


def dbt_cli() -> DbtCliResource:
    """Make the resource that runs dbt as a program of its own."""
    return QuickDbtCli(
        project_dir=str(DBT_DIR),
        profiles_dir=str(DBT_DIR),
        dbt_executable=DBT_EXECUTABLE,
        # Its output goes to files and to Dagster's log, where colours show as escape codes.
        global_config_flags=["--no-use-colors"],
    )
