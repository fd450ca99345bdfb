"""docs/doors.md: what it shows can be typed as it stands, and says the same number at every door."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.database_servers import PASSWORD, free_port
from delivery.personal import tables as personal_tables
from delivery.publication import Encrypted, publish
from quality.audit import mark_audited
from tests.delivery.conftest import Database
from tests.fixtures import made_publication
from warehouse.dbt_project import prepare, published_models, read_manifest
from warehouse.paths import PROJECT_DIR, Paths
from warehouse.secrets import parse_key
from warehouse.settings import Settings

PAGE = (PROJECT_DIR / "docs" / "doors.md").read_text(encoding="utf-8")
SPENT = sum(
    row["amount"]
    for schema, table in made_publication.tables()
    if table["name"] == "fct_purchases"
    for row in made_publication.rows(table)
)
PERSONAL = "Personal columns in files of their own"
NEEDS_NOTEBOOK = pytest.mark.skipif(
    find_spec("polars") is None, reason="the group `notebook` is not installed: see .ci/run"
)


def blocks(heading: str) -> list[tuple[str, str]]:
    """The language and the text of each example under a heading."""
    part = re.split(r"(?m)^#{2,3} ", PAGE.split(f"# {heading}\n", 1)[1], maxsplit=1)[0]
    return re.findall(r"(?ms)^```(\w+)\n(.*?)^```$", part)


def run(language: str, text: str, folder: Path, **variables: str) -> str:
    """Run an example as a reader would; gives what it printed."""
    commands = str(Path(sys.executable).parent)
    done = subprocess.run(
        [sys.executable, "-c", text] if language == "python" else ["bash", "-euc", text],
        cwd=folder,
        env={**os.environ, "PATH": f"{commands}:{os.environ['PATH']}", "PYTHONPATH": str(PROJECT_DIR), **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a published file in data/."""
    monkeypatch.setenv("NEXT_AISLE_MANIFEST", str(prepare(Settings())))
    monkeypatch.setenv("NEXT_AISLE_DATA", str(tmp_path / "data"))
    made_publication.make(tmp_path / "data")
    return tmp_path


def test_the_number_is_one(folder: Path) -> None:
    assert f"{SPENT}" == "3895.00"


@NEEDS_NOTEBOOK
@pytest.mark.parametrize("heading", ["pandas", "Polars"])
def test_data_frames(heading: str, folder: Path) -> None:
    [(language, text)] = blocks(heading)
    assert float(run(language, text, folder)) == float(SPENT)


def test_the_shell_of_duckdb(folder: Path) -> None:
    for language, text in blocks("DuckDB's shell"):
        assert f"{SPENT}" in run(language, text, folder)


def test_personal_columns_that_are_encrypted(folder: Path) -> None:
    key = base64.b64encode(bytes(32)).decode()
    paths = Paths(folder / "data")
    shutil.move(paths.published, paths.warehouse)
    mark_audited(paths, "run")
    models = list(published_models(read_manifest(prepare(Settings()))))
    encrypted = Encrypted(personal_tables(models), parse_key(key))
    publish(paths, [(node["schema"], node["alias"]) for node in models], {}, {}, encrypted=encrypted)
    [(language, text)] = blocks(PERSONAL)
    assert "age_band 3" in run(language, text, folder, NEXT_AISLE_PERSONAL_KEY=key)


def test_a_dbt_project(folder: Path) -> None:
    *files, (language, commands) = blocks("A dbt project of your own")
    assert len(files) == 4
    for _, text in files:
        name, content = text.split("\n", 1)
        target = folder / name.removeprefix("#").removeprefix("--").strip()
        target.parent.mkdir(exist_ok=True)
        target.write_text(content, encoding="utf-8")
    assert f"| {SPENT:,.0f} |" in run(language, commands, folder, DBT_PROFILES_DIR=str(folder)).replace("|    ", "| ")


@pytest.fixture
def service(folder: Path) -> Iterator[str]:
    """The service on the published file; its address."""
    port = free_port()
    command = [sys.executable, "-m", "delivery", "serve", "--port", str(port)]
    process = subprocess.Popen(command, cwd=PROJECT_DIR, env=dict(os.environ), stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{address}/v1/ready").close()
                break
            except OSError:
                assert process.poll() is None, "the service ended"
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def test_rest(folder: Path, service: str) -> None:
    [(language, text)] = blocks("REST")
    answer = json.loads(run(language, text, folder, NEXT_AISLE_SERVICE=service))
    assert answer["data"] == [{"total_spending": float(SPENT)}]
    assert (folder / "baskets.csv").read_text(encoding="utf-8").count("\n") == made_publication.ROWS + 1


def test_agents() -> None:
    [(language, text)] = blocks("Agents (MCP)")
    server = json.loads(text)["mcpServers"]["next-aisle"]
    assert (language, server["command"], server["args"][:3]) == ("json", "python", ["-m", "delivery", "mcp"])
    role = server["args"][3:]
    assert role == ["--role", "marketing"]


def test_postgresql(folder: Path, database: Database) -> None:
    address = database.settings["NEXT_AISLE_POSTGRES_URL"]
    (publish_language, publish), (_, make_user), (ask_language, ask) = blocks("PostgreSQL")
    for shown, ours in (
        ("postgresql://publisher@127.0.0.1:5432/next_aisle", address),
        ("PASSWORD=...", f"PASSWORD='{PASSWORD}'"),
    ):
        assert shown in publish
        publish = publish.replace(shown, ours)
    printed = run(publish_language, publish, folder)
    assert "28 tables" in printed
    database.execute(make_user.replace("anna", "anna_of_the_page"))
    try:
        ask = ask.replace("anna next_aisle ", f"anna_of_the_page {database.url.database} ")
        ask = ask.replace("-h 127.0.0.1", f"-h 127.0.0.1 -p {database.url.port}")
        printed = run(ask_language, ask, folder, PGPASSWORD="change me")
    finally:
        database.execute("drop role anna_of_the_page")
    assert f"{SPENT}" in printed
    [(publication,)] = database.query("select publication_id from next_aisle.publication")
    assert str(publication) in printed


@NEEDS_NOTEBOOK
def test_the_notebook(folder: Path) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(PROJECT_DIR / 'docs')!r}); import notebook\n"
        "outputs, names = notebook.app.run()\n"
        "print(names['total'], names['customers'], *(names[n].height for n in ('by_month', 'offers', 'chosen')))"
    )
    total, customers, months, offers, chosen = run("python", program, folder).split()
    assert (total, customers, months) == (f"{SPENT}", str(made_publication.ROWS), "2")
    assert int(offers) > 0 and int(chosen) > 0


def test_every_example_of_the_page_is_run_here() -> None:
    tested = [
        "pandas",
        "Polars",
        PERSONAL,
        "DuckDB's shell",
        "A dbt project of your own",
        "REST",
        "Agents (MCP)",
        "PostgreSQL",
    ]
    assert sum(len(blocks(heading)) for heading in tested) == PAGE.count("\n```") // 2
