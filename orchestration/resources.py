"""The dbt project as Dagster sees it, and the one list of active sources."""

import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from dagster_dbt import DbtCliResource, DbtProject
from filelock import FileLock
from packaging.version import Version

from ingestion.warehouse import PROJECT_DIR, paths

DBT_DIR = PROJECT_DIR / "dbt_project"
DBT_EXECUTABLE = str(Path(sys.executable).parent / "dbt")

OWNERS = {"data-platform": "team:data-platform", "analytics-engineering": "team:analytics-engineering"}


class DbtProjectError(Exception):
    """The dbt project does not parse; the message is dbt's own."""


def active_sources() -> list[str]:
    """Read the list of active sources from its one place, the variable `sources` in dbt_project.yml.

    Returns:
        Source names in that order.
    """
    settings: dict[str, Any] = yaml.safe_load((DBT_DIR / "dbt_project.yml").read_text(encoding="utf-8"))
    return list(settings["vars"]["sources"])


def dbt_project() -> DbtProject:
    """Describe the dbt project, with a manifest as new as its files.

    Parsing needs no network and no warehouse. It happens when a file changed since the last time: a newcomer's first
    `dg check defs` works, and an edited model shows up when definitions are reloaded.

    Raises:
        DbtProjectError: the project does not parse.
    """
    if os.environ.get("NEXT_AISLE_DATA"):
        # dbt runs in its own folder, where a relative path would be another.
        os.environ["NEXT_AISLE_DATA"] = str(paths().root)
    project = DbtProject(project_dir=DBT_DIR, profiles_dir=DBT_DIR)
    project.manifest_path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(project.manifest_path.parent / "parse.lock"):
        if not _is_fresh(project.manifest_path):
            parsed = subprocess.run(
                [DBT_EXECUTABLE, "--no-use-colors", "parse"],
                cwd=DBT_DIR,
                capture_output=True,
                text=True,
                check=False,
            )
            if parsed.returncode:
                raise DbtProjectError(f"dbt cannot parse {DBT_DIR}:\n{parsed.stdout}{parsed.stderr}")
    return project


def _is_fresh(manifest: Path) -> bool:
    if not manifest.exists():
        return False
    written = manifest.stat().st_mtime
    folders = ("models", "macros", "seeds", "tests")
    files = [path for folder in folders for path in [DBT_DIR / folder, *(DBT_DIR / folder).rglob("*")]]
    files += DBT_DIR.glob("*.yml")
    return all(path.stat().st_mtime <= written for path in files)


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
