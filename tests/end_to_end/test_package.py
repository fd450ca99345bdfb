"""The project runs where it cannot write: from a wheel, and from a read-only checkout. Run by CI with the sweeps."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.conftest import PROJECT_DIR, Project, copy_code, lenient_objectives
from tests.fixtures import tiny_shop

pytestmark = pytest.mark.slow


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with the tiny shop's landed files; nothing is set in the environment."""
    tiny_shop.land(tmp_path / "data" / "landing" / "complete_journey")
    return tmp_path / "data"


def published_rows(data: Path) -> int:
    with duckdb.connect(str(data / "published" / "next_aisle.duckdb"), read_only=True) as connection:
        return int(connection.execute("select count(*) from core.fct_purchases").fetchall()[0][0])


def files(folder: Path) -> dict[str, int]:
    """Every file but Python's compiled ones, with the time of its last change."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".pyc"
    }


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """The folder in which the wheel's content is, as an installer puts it."""
    uv = shutil.which("uv") or str(PROJECT_DIR / ".tools" / "bin" / "uv")
    if not Path(uv).exists():
        pytest.skip("needs uv")
    built = subprocess.run(
        [uv, "build", "--quiet", "--wheel", "--out-dir", str(tmp_path / "dist"), str(PROJECT_DIR)],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    (file,) = (tmp_path / "dist").glob("next_aisle-*.whl")
    installed = tmp_path / "site-packages"
    shutil.unpack_archive(file, installed, "zip")
    return installed


def test_the_wheel_runs_with_a_manifest_made_ahead_and_writes_nothing_where_it_is_installed(
    wheel: Path, data: Path, tmp_path: Path
) -> None:
    # The packages it needs are those of this environment; this checkout is not on its path.
    needed = [path for path in sys.path if path.endswith("site-packages")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(wheel), *needed]), "NEXT_AISLE_DATA": str(data)}
    env |= {"NEXT_AISLE_OBJECTIVES": str(lenient_objectives()), "PYTHONDONTWRITEBYTECODE": "1"}
    before = files(wheel)
    assert not any(name.startswith(("tests/", "dbt_project/target/", "data/")) for name in before)

    def run(*arguments: str) -> str:
        command = [sys.executable, "-S", "-c", f"import runpy; runpy.run_module({arguments[0]!r}, run_name='__main__')"]
        done = subprocess.run([*command, *arguments[1:]], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    env["NEXT_AISLE_MANIFEST"] = run("orchestration", "manifest", str(tmp_path / "ahead")).strip()
    assert "Published" in run("orchestration", "nightly")
    assert published_rows(data) == tiny_shop.KEPT["purchases"]
    assert "kept_rows" in run("delivery", "query", "from quality.row_reconciliation")
    assert files(wheel) == before


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A checkout on a disk that takes no changes; only root can make one."""
    code = copy_code(tmp_path / "code")
    mounted = tmp_path / "read only"
    mounted.mkdir()
    bind = subprocess.run(["mount", "--bind", str(code), str(mounted)], capture_output=True)
    ro = subprocess.run(["mount", "-o", "remount,ro,bind", str(mounted)], capture_output=True)
    if bind.returncode or ro.returncode:
        pytest.skip("cannot mount a folder read-only here")
    yield mounted
    subprocess.run(["umount", "--lazy", str(mounted)], check=True)


def test_a_read_only_checkout_serves_two_data_folders(read_only: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Read-only"):
        (read_only / "file").touch()
    other = tmp_path / "other data"
    shutil.copytree(data, other)
    for folder in (data, other):
        done = Project(folder, read_only).nightly()
        assert done.returncode == 0, done.stdout + done.stderr
        assert published_rows(folder) == tiny_shop.KEPT["purchases"]
        assert (folder / "dbt" / "manifest.json").exists()
