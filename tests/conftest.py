import atexit
import contextlib
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest
import yaml

from tests.fixtures import tiny_shop
from warehouse.dbt_project import DBT_EXECUTABLE, OSI_DOCUMENT, PARSED_FROM, prepare
from warehouse.paths import Paths
from warehouse.settings import Settings

PROJECT_DIR = Path(__file__).resolve().parent.parent

# Published tables of the runs themselves: they differ from run to run.
OF_RUNS = {
    f"quality.{model.stem}"
    for model in (PROJECT_DIR / "dbt_project" / "models" / "marts" / "quality" / "runs").glob("*.sql")
}


# The order in which the rooms are tested: what takes seconds first, so that a failure shows early; then the longest
# stories, so that no worker is left with one of them in the end.
ROOMS = ["warehouse", "quality", "delivery", "ingestion", "orchestration", "end_to_end", "dbt", "metrics", "benchmarks"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the rooms in their order; one that is not in the list comes first."""
    places = {room: place for place, room in enumerate(ROOMS)}
    items.sort(key=lambda item: places.get(room_of(item.nodeid), -1))


# Where the fixture `first_night` is used, which takes most of a minute.
BEGIN_WITH_FIRST_NIGHT = (
    "tests/end_to_end/",
    "tests/orchestration/test_status.py",
)


def room_of(nodeid: str) -> str:
    return nodeid.split("/")[1]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Spread the whole suite over the processor's cores.

    A part of it runs in this process, where a debugger works; so do the sweeps, which kill by the clock.
    """
    if config.args_source is not config.ArgsSource.TESTPATHS or "not slow" not in config.option.markexpr:
        return 0
    return min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Give a file to one worker, for its tests share what was built for them.

    All of the metrics share one shop, and all of the databases their servers. Those that begin with the first night of
    the tiny shop share that too, but for the slow ones, which would keep one worker busy after all others are done.
    """
    from xdist.scheduler.loadscope import LoadScopeScheduling  # type: ignore[import-untyped]

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            shared = ("tests/metrics/", "tests/ingestion/database/")
            file = nodeid.partition("::")[0]
            if "not slow" in config.option.markexpr and file.startswith(BEGIN_WITH_FIRST_NIGHT):
                return "first night"
            return next((folder for folder in shared if nodeid.startswith(folder)), file)

    return ByFile(config, log)


class Progress:
    """Says which file is being tested, and which story when that takes long, while the tests are spread over workers.

    pytest by itself names the files only where one process tests one after the other.

    Args:
        reporter: what writes to the terminal.
    """

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self.reporter = reporter
        self.started = time.monotonic()
        self.named: set[str] = set()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        file, _, test = nodeid.partition("::")
        if file not in self.named:
            self.named.add(file)
            self._say(file)
        if room_of(nodeid) == "end_to_end":
            self._say(f"    {test}")

    def _say(self, text: str) -> None:
        seconds = int(time.monotonic() - self.started)
        self.reporter.write(f"\n{seconds // 60}:{seconds % 60:02} {text} ")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    reporter: pytest.TerminalReporter | None = config.pluginmanager.get_plugin("terminalreporter")
    if reporter and config.getoption("dist", "no") != "no" and config.get_verbosity() == 0:
        config.pluginmanager.register(Progress(reporter))


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Takes back what a test, or the code under test, sets in the environment: Dagster's home is one such thing."""
    before = dict(os.environ)
    yield
    for name in [name for name in os.environ if name not in before and name != "PYTEST_CURRENT_TEST"]:
        del os.environ[name]
    os.environ.update({name: value for name, value in before.items() if name != "PYTEST_CURRENT_TEST"})


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder of the test's own; dbt's project is not parsed again for it, which takes five seconds."""
    monkeypatch.setenv("NEXT_AISLE_MANIFEST", str(prepare(Settings())))
    monkeypatch.setenv("NEXT_AISLE_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def landing(data: Path) -> Path:
    """The tiny shop's landed files, in a data folder of the test's own."""
    return tiny_shop.land(data / "landing" / "complete_journey")


@functools.cache
def lenient_objectives() -> Path:
    """The product's objectives, but that of a shop of thirteen lines half may be wrong."""
    objectives = yaml.safe_load((PROJECT_DIR / "quality" / "objectives.yml").read_text(encoding="utf-8"))
    for objective in objectives["objectives"]:
        if objective["name"].startswith("rows_arrive_"):
            objective |= {"warn_below": 50, "breach_below": 50}
    folder = tempfile.mkdtemp(prefix="next_aisle_objectives_")
    atexit.register(shutil.rmtree, folder)
    file = Path(folder) / "objectives.yml"
    file.write_text(yaml.safe_dump(objectives), encoding="utf-8")
    return file


def published_rows(data: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All published rows of the shop; the numbers and times of the loads differ from run to run."""
    with duckdb.connect(str(data / "published" / "next_aisle.duckdb"), read_only=True) as connection:
        tables = connection.execute("select table_schema, table_name from information_schema.tables").fetchall()
        content = {}
        for schema, table in tables:
            if f"{schema}.{table}" in OF_RUNS:
                continue
            of_loads = {"rejected_rows": "load_id", "shop_status": "newest_delivery"}.get(table)
            without = f" exclude ({of_loads})" if of_loads else ""
            content[f"{schema}.{table}"] = connection.execute(
                f"select *{without} from {schema}.{table} order by all"
            ).fetchall()
    return content


def words(text: str) -> str:
    """What a command printed, however its lines were broken."""
    return " ".join(text.split())


class Project:
    """The project's commands, run as a user runs them.

    Args:
        data: the data folder.
        code: the folder that the commands are run in, the project's or a copy of it.
    """

    def __init__(self, data: Path, code: Path = PROJECT_DIR) -> None:
        self.data = data
        self.code = code
        self.dbt_dir = code / "dbt_project"
        self.landing = data / "landing" / "complete_journey"
        self.env = {
            **os.environ,
            "NEXT_AISLE_DATA": str(data),
            "NEXT_AISLE_OBJECTIVES": str(lenient_objectives()),
            "DAGSTER_DISABLE_TELEMETRY": "1",
        }
        # What a user does not set: the commands have dbt parse the project by themselves.
        self.env.pop("NEXT_AISLE_MANIFEST", None)

    def nightly(self) -> "subprocess.CompletedProcess[str]":
        """What `make run` does."""
        return self.python("orchestration", "nightly")

    def python(self, *arguments: str, **options: object) -> "subprocess.CompletedProcess[str]":
        """`python -m ...` in the project's folder."""
        return self._run([sys.executable, "-m", *arguments], self.code, **options)

    def dbt(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`dbt ...` in the folder of the dbt project."""
        return self._run([DBT_EXECUTABLE, "--no-use-colors", *arguments], self.dbt_dir)

    def _run(self, command: list[str], folder: Path, **options: object) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(command, cwd=folder, env=self.env, capture_output=True, text=True, timeout=900, **options)  # type: ignore[call-overload, no-any-return]


def copy_code(folder: Path, with_checks: bool = True) -> Path:
    """Copy what a run needs of the project: two runs must not parse and build in one dbt_project/target.

    Args:
        folder: to copy to.
        with_checks: whether dbt's data tests are run. They take ten seconds of a night's thirty, which stories that are
            not about them can do without; objectives that are judged by them are then not measured.
    """
    folder.mkdir(parents=True)
    for package in PROJECT_DIR.glob("*/__init__.py"):
        if package.parent.name not in ("tests", "benchmarks"):
            shutil.copytree(package.parent, folder / package.parent.name)
    of_a_build = shutil.ignore_patterns("logs", "compiled", "run", "run_results.json", "dbt.log*")
    shutil.copytree(PROJECT_DIR / "dbt_project", folder / "dbt_project", ignore=of_a_build)
    for settings in ("dagster.yaml", "pyproject.toml"):
        shutil.copy2(PROJECT_DIR / settings, folder)
    if not with_checks:
        leave_out_checks(folder)
    return folder


def leave_out_checks(code: Path) -> None:
    """Have a copy of the project run none of dbt's data tests."""
    settings = code / "dbt_project" / "dbt_project.yml"
    before = settings.read_text(encoding="utf-8")
    text, changed = re.subn(r"(?m)^data_tests:$", "data_tests:\n  +enabled: false", before)
    assert changed == 1
    settings.write_text(text, encoding="utf-8")


def add_shop(code: Path, name: str, currency: str = "USD") -> None:
    """Add one more shop to a copy of the project: the source and the staging models of the first under another name."""
    first = "complete_journey"
    module = code / "ingestion" / "sources" / f"{first}.py"
    staging = code / "dbt_project" / "models" / "staging"
    for file in [module, *(staging / first).iterdir()]:
        copy = Path(str(file).replace(first, name))
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(file.read_text(encoding="utf-8").replace(first, name), encoding="utf-8")
    add_to_seed(code, "source_currencies", f"{name},{currency}")
    set_sources(code, [first, name])


def set_sources(code: Path, names: list[str]) -> None:
    """Set which shops a copy of the project has."""
    settings = code / "dbt_project" / "dbt_project.yml"
    text = re.sub(r"(?m)^  sources: .*$", f"  sources: [{', '.join(names)}]", settings.read_text(encoding="utf-8"))
    settings.write_text(text, encoding="utf-8")


def add_to_seed(code: Path, seed: str, *lines: str) -> None:
    """Add lines to a table that people edit, in a copy of the project."""
    with (code / "dbt_project" / "seeds" / f"{seed}.csv").open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def make_project(data: Path, folder: Path, with_checks: bool = True) -> Project:
    """The commands on a data folder, in a copy of the project; `with_checks` as in `copy_code`."""
    return Project(data, copy_code(folder / "code", with_checks))


class Place:
    """The one data folder that dbt is run on here: each shop is moved to it before, and away from it after.

    dbt parses the whole project again, which takes eight seconds, when the path of the warehouse is another. What it
    parsed first is lent to all later ones.
    """

    def __init__(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="next_aisle_place_"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        self.data = folder / "data"
        self.parsed = folder / "parsed"

    @contextlib.contextmanager
    def lent(self, target: Path) -> Iterator[None]:
        """Give dbt's target folder what was parsed before, and keep what is parsed in it now.

        Args:
            target: the target folder.
        """
        if self.parsed.exists() and not (target / "partial_parse.msgpack").exists():
            shutil.copytree(self.parsed, target, dirs_exist_ok=True)
        yield
        parsed = [target / name for name in ("manifest.json", OSI_DOCUMENT, "partial_parse.msgpack", PARSED_FROM)]
        # dbt by itself leaves no PARSED_FROM.
        if not self.parsed.exists() and all(file.exists() for file in parsed):
            self.parsed.mkdir()
            for file in parsed:
                shutil.copy(file, self.parsed)


PLACE = Place()


class Stage:
    """Where shops have their nights, one after the other, in a copy of the project.

    Args:
        folder: for the copy of the project.
        place: where the shops are while they have their nights; a project that is another needs one of its own.
        with_checks: as in `copy_code`.
    """

    def __init__(self, folder: Path, place: Place | None = None, with_checks: bool = True) -> None:
        self.code = copy_code(folder / "code", with_checks)
        self.place = place or PLACE
        self.data = self.place.data

    @contextlib.contextmanager
    def shop(self, moved_to: Path, begin_with: Path | None = None) -> Iterator[Project]:
        """Give a shop the stage.

        Args:
            moved_to: where its data folder is put in the end.
            begin_with: the data folder that it begins with, which is copied; None begins with none.
        """
        assert not self.data.exists(), "another shop is on the stage"
        if begin_with:
            shutil.copytree(begin_with, self.data, symlinks=True)
        else:
            self.data.mkdir()
        try:
            with self.place.lent(Paths(self.data).dbt_target):
                yield Project(self.data, self.code)
        finally:
            self.data.rename(moved_to)


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp("stage"))


class Night(NamedTuple):
    """A shop after a night.

    Attributes:
        data: its data folder, to copy or to read.
        run: the run, with its output.
    """

    data: Path
    run: "subprocess.CompletedProcess[str]"


@pytest.fixture(scope="session")
def unchecked_stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A stage for stories that are not about dbt's data tests, which it does not run."""
    return Stage(tmp_path_factory.mktemp("unchecked_stage"), Place(), with_checks=False)


@pytest.fixture(scope="session")
def first_night(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Night:
    """The tiny shop after its first night."""
    return have_first_night(stage, tmp_path_factory.mktemp("first_night") / "data")


@pytest.fixture(scope="session")
def unchecked_first_night(unchecked_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Night:
    """The tiny shop after its first night, in which dbt's data tests were not run."""
    return have_first_night(unchecked_stage, tmp_path_factory.mktemp("unchecked_first_night") / "data")


def have_first_night(stage: Stage, data: Path) -> Night:
    """Land the files of the tiny shop in an empty data folder, and have a night."""
    with stage.shop(moved_to=data) as shop:
        tiny_shop.land(shop.landing, tiny_shop.TODAY)
        run = shop.nightly()
    assert run.returncode == 0, run.stdout + run.stderr
    return Night(data, run)


@pytest.fixture
def project(data: Path) -> Project:
    """The commands on an empty data folder, for those that do not run dbt."""
    return Project(data)
