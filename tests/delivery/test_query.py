"""SQL at a terminal: one statement with its rows in three forms, or DuckDB's own shell; always read-only."""

import io
import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from delivery.__main__ import main
from tests import here
from warehouse.paths import PROJECT_DIR

# What a shop may send: an escape sequence that clears the screen, in both spellings, and a turn of the direction.
HOSTILE = "\x1b[2J\x9b2J\u202egnirts"


@pytest.fixture
def published(data: Path) -> Path:
    """A published copy of two customers, one with a hostile name."""
    file = here.paths().published
    file.parent.mkdir()
    with duckdb.connect(str(file)) as connection:
        connection.execute("create schema core")
        connection.execute("create table core.dim_customers (customer_key varchar, name varchar, spent decimal(9, 2))")
        connection.executemany(
            "insert into core.dim_customers values (?, ?, ?)", [("s:1", HOSTILE, 12.5), ("s:2", None, 3)]
        )
    return file


@pytest.fixture
def warehouse(data: Path) -> Path:
    """A warehouse with the rows that fail a test."""
    with duckdb.connect(str(here.paths().warehouse)) as connection:
        connection.execute("create schema failed_rows")
        connection.execute("create view failed_rows.not_null_name as select 's:2' as customer_key")
    return here.paths().warehouse


def query(*arguments: str) -> int:
    return main(["query", *arguments])


def test_csv_and_json_have_every_row_as_it_is(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert query("--format", "csv", "from core.dim_customers order by all") == 0
    assert capsys.readouterr().out == f"customer_key,name,spent\ns:1,{HOSTILE},12.50\ns:2,,3.00\n"
    assert query("--format", "json", "from core.dim_customers order by all") == 0
    assert json.loads(capsys.readouterr().out) == [
        {"customer_key": "s:1", "name": HOSTILE, "spent": 12.5},
        {"customer_key": "s:2", "name": None, "spent": 3.0},
    ]


def test_a_table_has_all_columns_and_rows_and_no_control_characters(
    published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = ", ".join(f"repeat('{n % 10}', 60) as column_{n}" for n in range(30))
    assert query(f"select customer_key, name, {wide} from core.dim_customers, range(100) order by all") == 0
    table = capsys.readouterr().out
    assert table.count("s:1") == 100 and table.count("s:2") == 100
    for n in range(30):
        assert f"column_{n} " in table
        assert str(n % 10) * 60 in table
    assert "\\e[2J\\x9b2J\\u202egnirts" in table
    assert not set(HOSTILE[:1] + HOSTILE[4:5] + HOSTILE[7:8]) & set(table)


def test_statements_of_standard_input_may_have_several_lines(
    published: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("select count(*) as n\nfrom core.dim_customers;\n\nselect 'b' as c"))
    assert query("--format", "csv") == 0
    assert capsys.readouterr().out == "n\n2\nc\nb\n"


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("delete from core.dim_customers", "read-only mode"),
        ("from core.dim_customer", 'Did you mean "dim_customers"?'),
        ("from read_parquet('s3://nowhere/x.parquet')", "automatic extension installing is disabled|httpfs"),
    ],
)
def test_what_cannot_be_answered_is_an_error(
    statement: str, reason: str, published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert query(statement) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ") and re.search(reason, printed.err)


@pytest.mark.parametrize(("option", "missing"), [((), "published"), (("--warehouse",), "loaded")])
def test_before_the_first_run_it_says_so(
    option: tuple[str, ...], missing: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert query(*option, "select 1") == 1
    assert f"error: nothing is {missing} yet at {data}" in capsys.readouterr().err
    assert list(data.iterdir()) == []


class TestTheWarehouse:
    def test_failed_rows_can_be_looked_at(self, warehouse: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert query("--warehouse", "--format", "csv", "from failed_rows.not_null_name") == 0
        assert capsys.readouterr().out == "customer_key\ns:2\n"

    def test_it_cannot_be_changed(self, warehouse: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert query("--warehouse", "drop schema failed_rows cascade") == 1
        assert "read-only mode" in capsys.readouterr().err

    def test_a_run_that_holds_it_is_waited_for_and_named(
        self, warehouse: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("delivery.query.WAIT_FOR_FILE_SECONDS", 1)
        holds = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
        with subprocess.Popen(
            [sys.executable, "-c", holds, str(warehouse)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as holder:
            assert holder.stdout is not None
            holder.stdout.readline()
            assert query("--warehouse", "select 1") == 1
            holder.kill()
        assert capsys.readouterr().err.splitlines() == [
            f"waiting up to 1 s for process {holder.pid}, which has {warehouse} open",
            f"error: {warehouse} is open in process {holder.pid}, for more than 1 s now. Close it there. "
            f"To look at results, open {here.paths().published} instead: that never blocks a run.",
        ]


# What DuckDB's shell asks a terminal: the colour of the background, what it can do, where the cursor is.
ANSWERS = {"\x1b]11;?": "\x1b]11;rgb:0000/0000/0000\x07", "\x1b[c": "\x1b[?6c", "\x1b[6n": "\x1b[1;1R"}
PROMPT = "next_aisle\x1b[00m D "


class Terminal:
    """A command in a terminal of 80 columns."""

    def __init__(self, *arguments: str) -> None:
        self.output = ""
        self.pid, self.screen = pty.fork()
        if self.pid == 0:
            termios.tcsetwinsize(0, (24, 80))
            os.environ |= {"TERM": "xterm", "HOME": os.environ["NEXT_AISLE_DATA"]}
            os.chdir(PROJECT_DIR)
            os.execv(sys.executable, [sys.executable, "-m", "delivery", "query", *arguments])

    def type(self, keys: str) -> None:
        os.write(self.screen, keys.encode())

    def wait_for(self, text: str, seconds: float = 30) -> str:
        """What is printed up to this text."""
        deadline = time.monotonic() + seconds
        while text not in self.output:
            assert time.monotonic() < deadline, self.output
            if select.select([self.screen], [], [], 0.2)[0]:
                try:
                    self.output += os.read(self.screen, 65536).decode(errors="replace")
                except OSError:
                    # The command has ended.
                    assert text in self.output, self.output
            for question, answer in ANSWERS.items():
                if question in self.output:
                    self.output = self.output.replace(question, "")
                    self.type(answer)
        before, _, self.output = self.output.partition(text)
        return before

    def close(self) -> None:
        os.waitpid(self.pid, 0)
        os.close(self.screen)


@pytest.fixture
def shell(published: Path) -> Iterator[Terminal]:
    terminal = Terminal()
    terminal.wait_for(PROMPT)
    yield terminal


def test_the_shell_takes_several_lines_writes_csv_and_keeps_a_history(shell: Terminal, data: Path) -> None:
    for line, printed in [
        (".tables\r", "dim_customers"),
        (".mode csv\r", PROMPT),
        ("select count(*) || ' customers'\rfrom core.dim_customers;\r", "2 customers"),
        ("delete from core.dim_customers;\r", "read-only mode"),
    ]:
        shell.type(line)
        shell.wait_for(printed)
    shell.type(".quit\r")
    shell.close()
    history = (data / ".duckdb_history").read_text(encoding="utf-8")
    assert "from core.dim_customers" in history


def test_the_shell_is_of_the_same_version_as_the_library() -> None:
    shell = Path(sys.executable).parent / "duckdb"
    version = subprocess.run([str(shell), "-version"], capture_output=True, text=True, check=True).stdout
    assert version.split()[0] == f"v{duckdb.__version__}"


def test_output_that_does_not_fit_a_terminal_is_reported(published: Path) -> None:
    wide = ", ".join(f"'x' as a_long_name_of_column_{n}" for n in range(9))
    terminal = Terminal(f"select name, {wide} from core.dim_customers where name is not null")
    printed = terminal.wait_for("Not everything fits here.")
    terminal.close()
    assert "10 columns (" in printed
    assert "\x1b" not in printed and "\\e[2J\\x9b2J" in printed
