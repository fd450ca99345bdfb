import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from delivery.dbt_metadata import DBT_EXECUTABLE
from tests.fixtures import tiny_shop

PROJECT_DIR = Path(__file__).resolve().parent.parent

# Published tables of the runs themselves: they differ from run to run.
OF_RUNS = {
    f"quality.{model.stem}"
    for model in (PROJECT_DIR / "dbt_project" / "models" / "marts" / "quality" / "runs").glob("*.sql")
}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder of the test's own."""
    monkeypatch.setenv("NEXT_AISLE_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def landing(data: Path) -> Path:
    """The tiny shop's landed files, in a data folder of the test's own."""
    return tiny_shop.land(data / "landing" / "complete_journey")


def lenient_objectives(folder: Path) -> Path:
    """The product's objectives, but that of a shop of thirteen lines half may be wrong."""
    objectives = yaml.safe_load((PROJECT_DIR / "delivery" / "objectives.yml").read_text(encoding="utf-8"))
    for one in objectives["objectives"]:
        if one["name"].startswith("rows_arrive_"):
            one |= {"warn_below": 50, "breach_below": 50}
    file = folder / "objectives.yml"
    file.write_text(yaml.safe_dump(objectives), encoding="utf-8")
    return file


class Project:
    """The project's commands, run as a user runs them, on a data folder of the test's own."""

    def __init__(self, data: Path, dbt_dir: Path) -> None:
        self.data = data
        self.dbt_dir = dbt_dir
        self.env = {
            **os.environ,
            "NEXT_AISLE_DATA": str(data),
            "NEXT_AISLE_OBJECTIVES": str(lenient_objectives(data.parent)),
            "DAGSTER_DISABLE_TELEMETRY": "1",
        }

    def python(self, *arguments: str, **options: object) -> "subprocess.CompletedProcess[str]":
        """`python -m ...` in the project's folder."""
        return self._run([sys.executable, "-m", *arguments], PROJECT_DIR, **options)

    def dbt(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`dbt ...` in a dbt_project folder of the test's own, so that target/ is not shared."""
        return self._run([DBT_EXECUTABLE, "--no-use-colors", *arguments], self.dbt_dir)

    def _run(self, command: list[str], folder: Path, **options: object) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(command, cwd=folder, env=self.env, capture_output=True, text=True, timeout=300, **options)  # type: ignore[call-overload, no-any-return]


def make_project(data: Path, folder: Path) -> Project:
    """The commands on a data folder, with a copy of the dbt project in another."""
    dbt_dir = folder / "dbt_project"
    shutil.copytree(PROJECT_DIR / "dbt_project", dbt_dir, ignore=shutil.ignore_patterns("logs", "run_results.json"))
    return Project(data, dbt_dir)


@pytest.fixture
def project(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The commands on an empty data folder."""
    return make_project(data, tmp_path_factory.mktemp("dbt"))
