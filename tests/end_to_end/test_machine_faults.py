"""What a machine does to a run: that is said, readers keep their copy, and the next run goes on."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster._core.storage.tags import RETRY_ON_ASSET_OR_OP_FAILURE_TAG

from benchmarks.database_servers import PASSWORD, Postgres, Server
from orchestration.instance import open_instance
from tests.conftest import Night, Project, published_rows, words
from tests.end_to_end.test_damaged_warehouse import land_tonight
from tests.fixtures.database_servers import running
from warehouse.paths import Paths
from warehouse.settings import DAGSTER_POSTGRES_URL

pytestmark = pytest.mark.slow

NIGHTLY = [sys.executable, "-m", "orchestration", "nightly"]

# Seconds, on a machine that is busy with other things.
PATIENCE = 900


@pytest.fixture(scope="module")
def postgresql_server() -> Iterator[Server]:
    """A running PostgreSQL."""
    yield from running(Postgres)


@pytest.fixture
def shop(unchecked_shop: Project) -> Project:
    return unchecked_shop


def dbt_of(run: int) -> int | None:
    """The process of `dbt build` that a run started."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if (
                parent == run
                and b"/dbt\0" in (command := (folder / "cmdline").read_bytes())
                and b"\0build\0" in command
            ):
                return int(folder.name)
    return None


def test_dbt_that_is_killed_because_memory_ran_out_is_named_and_dagsters_daemon_is_asked_to_repeat_the_run(
    shop: Project, unchecked_first_night: Night, tmp_path: Path
) -> None:
    land_tonight(shop)
    output = tmp_path / "output"
    with output.open("w") as written:
        process = subprocess.Popen(NIGHTLY, cwd=shop.code, env=shop.env, stdout=written, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + PATIENCE
    while (dbt := dbt_of(process.pid)) is None:
        assert process.poll() is None and time.monotonic() < deadline, output.read_text()
        time.sleep(0.05)
    os.kill(dbt, signal.SIGKILL)
    assert process.wait(PATIENCE) == 1
    printed = words(output.read_text())
    assert "modelling failed: dbt was killed (SIGKILL). When memory ran out, the system's log says so" in printed
    assert "Traceback" not in printed, printed
    assert published_rows(shop.data) == published_rows(unchecked_first_night.data), "readers keep what they have"
    with open_instance(Paths(shop.data)) as instance:
        (failed,) = instance.get_runs(limit=1)
    assert failed.tags[RETRY_ON_ASSET_OR_OP_FAILURE_TAG] == "true"
    again = shop.nightly()
    assert again.returncode == 0, again.stdout + again.stderr
    assert len(published_rows(shop.data)["core.fct_purchases"]) == 8


def test_postgresql_that_dies_during_a_run_is_named_and_the_next_run_goes_on(
    shop: Project, unchecked_first_night: Night, postgresql_server: Server, tmp_path: Path
) -> None:
    url = postgresql_server.url.set(drivername="postgresql+psycopg2")
    shop.env[DAGSTER_POSTGRES_URL] = url.render_as_string(hide_password=False)
    land_tonight(shop)
    output = tmp_path / "output"
    with output.open("w") as written:
        process = subprocess.Popen(NIGHTLY, cwd=shop.code, env=shop.env, stdout=written, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + PATIENCE
    while "looking up which shops are held" not in output.read_text() and process.poll() is None:
        assert time.monotonic() < deadline, output.read_text()
        time.sleep(0.2)
    postgresql_server.stop(signal.SIGKILL)
    assert process.wait(PATIENCE) == 1
    printed = words(output.read_text())
    assert "PostgreSQL, where Dagster keeps its runs, went away" in printed and "Traceback" not in printed, printed
    assert PASSWORD not in printed
    assert published_rows(shop.data) == published_rows(unchecked_first_night.data), "readers keep what they have"

    refused = shop.nightly()
    assert refused.returncode == 1 and "does not answer" in words(refused.stdout + refused.stderr)

    postgresql_server.start()
    again = shop.nightly()
    assert again.returncode == 0, again.stdout + again.stderr
    assert len(published_rows(shop.data)["core.fct_purchases"]) == 8
