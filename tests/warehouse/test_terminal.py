"""Data is shown as data: no character of it changes what the terminal does."""

import io
import re

import pytest

from warehouse.terminal import Terminal, error, printable

HOSTILE = [
    "[/b] OFFER",
    "[bold red]not red[/]",
    ":smile: [link=https://example.org]here",
    "\x1b[2Jgone",
    "\x1b]0;title\x07",
    "two\nlines\r\nof\ttext",
    "\u202egnp.exe",
    "\u2066hidden\u2069",
    "\ud800",
    "\x00\x9b31m",
    "x" * 300,
    "مرحبا بالعالم",
    "🧀🥖 cheese and bread",
]


def printed(text: str, *, encoding: str = "utf-8", columns: int = 100) -> str:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    Terminal(out, columns).print(text, soft_wrap=True)
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ("[/b] OFFER", "[/b] OFFER"),
        ("two\nlines\tof\u00a0text", "two lines of text"),
        ("\x1b[2Jgone\x07", r"\x1b[2Jgone\x07"),
        ("\x1b[31mERROR\x1b[0m", "ERROR"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\udcff.csv", r"\udcff.csv"),
        ("Crème fraîche 🧀 مرحبا", "Crème fraîche 🧀 مرحبا"),
        ("👨\u200d🍳", "👨\u200d🍳"),
    ],
)
def test_control_characters_become_visible_and_letters_stay(data: str, line: str) -> None:
    assert printable(data) == line


def test_long_data_is_cut() -> None:
    assert printable("x" * 300, 60) == "x" * 57 + "..."
    assert printable("x" * 60, 60) == "x" * 60


@pytest.mark.parametrize("data", HOSTILE)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_what_is_printed_holds_no_control_character_in_any_encoding(data: str, encoding: str) -> None:
    text = printed(data, encoding=encoding)
    assert re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text) == []
    if "[" in data and "\x1b" not in data:
        assert data.split()[0] in text


def test_wrapped_lines_are_indented_and_a_path_is_never_broken(capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    path = "/a/path/that/is/longer/than/the/line.parquet"
    Terminal(out, columns=30).hanging("  head: ", f"one two three four five {path} six")
    assert out.getvalue().splitlines() == [
        "  head: one two three four",
        "        five",
        f"        {path}",
        "        six",
    ]


def test_without_a_terminal_there_is_no_colour_and_no_color_turns_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    Terminal(out).print("failed", style="red")
    assert out.getvalue() == "failed\n"
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    out = io.StringIO()
    Terminal(out).print("failed", style="red")
    assert "\x1b[31m" in out.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO()
    Terminal(out).print("failed", style="red")
    assert out.getvalue() == "failed\n"


def test_the_width_is_that_of_columns_but_at_most_what_fits_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert Terminal(io.StringIO()).width == 100
    monkeypatch.setenv("COLUMNS", "80")
    assert Terminal(io.StringIO()).width == 80
    monkeypatch.setenv("COLUMNS", "250")
    assert Terminal(io.StringIO()).width == 100


def test_an_error_keeps_the_lines_of_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    error("dbt cannot parse it:\nline 3 \x1b[2J\n  is wrong")
    assert capsys.readouterr().err == "error: dbt cannot parse it:\nline 3 \\x1b[2J\n  is wrong\n"
