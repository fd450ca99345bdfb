"""A model is removed, and what named it is edited: the project parses, also where dbt parsed it before."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import make_project

PARSE = "from warehouse.dbt_project import prepare; from warehouse.settings import Settings; prepare(Settings())"


@pytest.mark.slow
def test_a_model_that_an_exposure_named_is_removed(tmp_path: Path) -> None:
    project = make_project(tmp_path / "data", tmp_path)

    def parse() -> str:
        parsed = subprocess.run(
            [sys.executable, "-c", PARSE], cwd=project.code, env=project.env, capture_output=True, text=True
        )
        return f"{parsed.returncode}{parsed.stdout}{parsed.stderr}"

    assert parse() == "0"
    for file in project.dbt_dir.rglob("run_costs.*"):
        file.unlink()
    exposures = project.dbt_dir / "models" / "exposures.yml"
    exposures.write_text(exposures.read_text().replace("      - ref('run_costs')\n", ""))
    assert parse() == "0"
    assert "run_costs" not in (project.data / "dbt" / "manifest.json").read_text()
