"""dbt called by hand where a run has not been yet, or is under way: it says so within seconds, in one sentence."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dbt.adapters.duckdb.credentials import DuckDBCredentials

from tests.conftest import PLACE, PROJECT_DIR
from warehouse.dbt_plugin import Plugin

# dbt as the command starts it, with a wait that a test can afford.
DBT = "import warehouse.dbt_plugin as plugin; plugin.WAIT_FOR_FILE_SECONDS = 1; from dbt.cli.main import cli; cli()"


class ByHand:
    """dbt on a data folder that nothing was written to; parsed once for all tests here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = PLACE.data

    def dbt(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        target = str(self.folder / "target")
        with PLACE.lent(Path(target)):
            return subprocess.run(
                [sys.executable, "-c", DBT, "--no-use-colors", *arguments, *("--target-path", target)],
                cwd=PROJECT_DIR / "dbt_project",
                env={**os.environ, "NEXT_AISLE_DATA": str(self.data), "DBT_LOG_PATH": target},
                capture_output=True,
                text=True,
                timeout=120,
            )


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ByHand]:
    yield ByHand(tmp_path_factory.mktemp("by_hand"))
    shutil.rmtree(PLACE.data)


def test_where_no_shop_is_loaded_dbt_creates_the_data_folder_and_says_what_to_do(by_hand: ByHand) -> None:
    built = by_hand.dbt("build", "--select", "dim_customers stg_complete_journey__customers")
    assert built.returncode == 2
    assert (
        f"  nothing is loaded yet: raw_complete_journey.customers not found in {by_hand.data}/warehouse.duckdb. "
        "Load and build everything: make run, in the root of the project\n"
    ) in built.stdout
    assert "Traceback" not in built.stdout + built.stderr


def test_dbt_waits_once_for_a_warehouse_in_use_and_names_the_process(by_hand: ByHand) -> None:
    file = by_hand.data / "warehouse.duckdb"
    by_hand.data.mkdir(exist_ok=True)
    holds = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", holds, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        built = by_hand.dbt("build", "--select", "dim_customers")
        holder.kill()
    assert built.returncode == 2
    assert built.stderr.count(f"waiting up to 1 s for process {holder.pid}, which has {file} open") == 1
    assert (
        f"{file} is open in process {holder.pid}, for more than 1 s now. Close it there. To look at results, open "
        in built.stdout
    )
    assert "Traceback" not in built.stdout + built.stderr


def test_a_file_that_is_not_a_warehouse_is_named(tmp_path: Path) -> None:
    file = tmp_path / "warehouse.duckdb"
    file.write_text("no database " * 1000, encoding="utf-8")
    plugin = Plugin("dbt_plugin", {})
    with pytest.raises(RuntimeError, match=f"cannot open {file}: IO Error: The file"):
        plugin.update_connection_config(DuckDBCredentials(database="warehouse", schema="main", path=str(file)), {})
