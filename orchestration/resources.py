"""The dbt project as Dagster sees it, and the one list of active sources."""

import os
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version

from dagster_dbt import DbtCliResource, DbtProject
from packaging.version import Version

from delivery.dbt_metadata import DBT_DIR, DBT_EXECUTABLE, parse_if_stale, project_settings
from ingestion.warehouse import paths

OWNERS = {"data-platform": "team:data-platform", "analytics-engineering": "team:analytics-engineering"}


def active_sources() -> list[str]:
    """Read the list of active sources from its one place, the variable `sources` in dbt_project.yml.

    Returns:
        Source names in that order.
    """
    return list(project_settings()["vars"]["sources"])


def dbt_project() -> DbtProject:
    """Describe the dbt project, with a manifest as new as its files.

    A newcomer's first `dg check defs` works, and an edited model shows up when definitions are reloaded.

    Raises:
        DbtProjectError: the project does not parse.
    """
    if os.environ.get("NEXT_AISLE_DATA"):
        # dbt runs in its own folder, where a relative path would be another.
        os.environ["NEXT_AISLE_DATA"] = str(paths().root)
    parse_if_stale()
    return DbtProject(project_dir=DBT_DIR, profiles_dir=DBT_DIR)


class QuickDbtCli(DbtCliResource):
    """Starts dbt without what dagster-dbt does before each start: 6 s of a run (2026-11-20, two cores).

    It runs `dbt --version` to find out what the lock file says, and sets up a second dbt in this process that only
    its own fetching of row counts needs; orchestration/assets/dbt.py counts rows over one connection instead.
    """

    @cached_property
    def _cli_version(self) -> Version:
        return Version(version("dbt-core"))

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> None:  # type: ignore[override]
        del args


def dbt_cli() -> DbtCliResource:
    """Make the resource that runs dbt as a program of its own."""
    return QuickDbtCli(project_dir=str(DBT_DIR), profiles_dir=str(DBT_DIR), dbt_executable=DBT_EXECUTABLE)
