"""A warehouse and an instance of an earlier version open in this one, and the way back works."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from orchestration import backups
from orchestration.instance import open_instance
from tests.conftest import PROJECT_DIR, Project, leave_out_checks, make_project, published_rows
from tests.fixtures import tiny_shop
from warehouse.paths import Paths

pytestmark = pytest.mark.slow

# The version before checksums of the published copy, locks of runs, alerts and backups.
EARLIER = "49a5337"


@pytest.fixture(scope="module")
def earlier() -> Iterator[Path]:
    """The project as it was, in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="next_aisle_earlier_"))
    made = subprocess.run(
        ["git", "worktree", "add", "--detach", "--force", str(folder / "code"), EARLIER],
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
    )
    if made.returncode:
        shutil.rmtree(folder)
        pytest.skip(f"needs the history of the project: {made.stderr}")
    leave_out_checks(folder / "code")
    yield folder / "code"
    subprocess.run(["git", "worktree", "remove", "--force", str(folder / "code")], cwd=PROJECT_DIR, check=True)
    shutil.rmtree(folder)


def test_the_next_version_goes_on_with_the_same_data_and_the_one_before_with_the_backup(
    earlier: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    old, new = Project(data, earlier), make_project(data, tmp_path, with_checks=False)
    tiny_shop.land(old.landing)
    first = old.nightly()
    assert first.returncode == 0, first.stdout + first.stderr
    before = published_rows(data)

    # Upgrade: a backup, then the new version's run on the same data.
    backup = backups.make(Paths(data), tmp_path / "backups")
    second = new.nightly()
    assert second.returncode == 0, second.stdout + second.stderr
    after = published_rows(data)
    for table in before.keys() & after.keys():
        assert len(before[table]) == len(after[table]), table
    assert after["core.fct_purchases"]
    with duckdb.connect(str(Paths(data).warehouse), read_only=True) as connection:
        loads = connection.execute("select count(distinct _dlt_load_id) from raw_complete_journey.purchases").fetchall()
        runs = connection.execute("select outcome from raw_history.runs order by run_number").fetchall()
    assert loads == [(1,)], "nothing was loaded a second time"
    assert runs == [("success",), ("under way",)], "one history over both versions"
    with open_instance(Paths(data)) as instance:
        assert len(instance.get_runs()) == 2
    assert new.python("orchestration", "status").returncode in (0, 1)

    # And back: the version before goes on from the backup.
    backups.restore(Paths(data), backup.folder, lambda _: None)
    assert published_rows(data) == before
    third = old.nightly()
    assert third.returncode == 0, third.stdout + third.stderr
    assert published_rows(data) == before
