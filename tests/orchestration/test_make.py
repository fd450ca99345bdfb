"""`make` at a terminal, where a command would mislead without a word."""

import os
import socket
import subprocess

from tests.conftest import PROJECT_DIR


def make(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """`make ...` without installing anything, and as a first `make`, also where `make test` runs this."""
    of_make = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    return subprocess.run(
        ["make", "-o", "setup", *arguments],
        cwd=PROJECT_DIR,
        env={name: value for name, value in os.environ.items() if name not in of_make},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_ui_is_not_started_on_a_port_that_is_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        started = make("ui", f"PORT={port}")
    assert started.returncode == 2
    assert started.stderr.startswith(
        f"error: port {port} is in use (maybe by another make ui). Choose another: make ui PORT={port + 1}\n"
    )
    assert started.stdout == ""


def test_the_address_is_that_of_the_chosen_port() -> None:
    shown = make("--dry-run", "ui", "PORT=3456").stdout
    assert "http://localhost:3456 " in shown
    assert "orchestration ui --port 3456" in shown


def test_every_command_is_listed_with_what_it_does() -> None:
    listed = [line.split(maxsplit=2)[1] for line in make("help").stdout.splitlines() if line.startswith("  make ")]
    assert {"setup", "run", "test", "ui", "query", "publish-postgres", "catalogue", "contract", "clean"} <= set(listed)
