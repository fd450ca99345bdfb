"""Dagster's services in the foreground: the code server, the daemon and the webserver, each started again when it ends.

In production, systemd does the same with the units in deployment/systemd.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

import yaml

from orchestration.instance import CODE_LOCATION, open_instance
from warehouse.locks import Say
from warehouse.settings import Settings, environment, export_data

# A service that ends is started again after a second, and after twice as long each time, up to a minute.
LONGEST_PAUSE = 60.0
# One that ran this long before it ended begins with a second again.
STEADY = 120.0
# How long a service may take to end by itself.
TO_END = 20.0


def commands(socket: str, workspace: str, port: int, viewers_port: int | None = None) -> dict[str, list[str]]:
    """Say how each service is started.

    Args:
        socket: where the code server listens.
        workspace: the file that names the socket to the others.
        port: of the UI, on this machine only.
        viewers_port: of a second UI in which nothing can be started or changed; None: there is none.
    """
    code_server = ["code-server", "start", "-m", "orchestration.definitions", "--location-name", CODE_LOCATION]
    ui = [sys.executable, "-m", "orchestration.webserver", "-h", "127.0.0.1", "-w", workspace]
    services = {
        "code server": [sys.executable, "-m", "dagster", *code_server, "-s", socket, "--log-level", "warning"],
        "daemon": [sys.executable, "-m", "dagster._daemon", "run", "-w", workspace, "--log-level", "warning"],
        "webserver": [*ui, "-p", str(port), "--dagster-log-level", "warning"],
    }
    if viewers_port:
        services["webserver for viewers"] = [
            *ui, "-p", str(viewers_port), "--dagster-log-level", "warning", "--read-only",
        ]  # fmt: skip
    return services


def write_workspace(file: Path, socket: str) -> None:
    """Write the file that tells Dagster's services where the code server listens.

    Args:
        file: the file.
        socket: the code server's socket.
    """
    location = {"grpc_server": {"socket": socket, "location_name": CODE_LOCATION}}
    file.write_text(yaml.safe_dump({"load_from": [location]}), encoding="utf-8")


def run_services(settings: Settings, port: int, say: Say, viewers_port: int | None = None) -> None:
    """Run the services until a signal ends them.

    Args:
        settings: where data lives.
        port: of the UI.
        say: called with one line when a service starts again.
        viewers_port: of a second UI, for reading only.
    """
    export_data(settings.paths)
    # Makes what there is to make of Dagster's storage, before several services do so at once.
    open_instance(settings.paths).dispose()
    # A socket's path may have 107 characters: the data folder may be deeper than that.
    with tempfile.TemporaryDirectory(prefix="next-aisle-") as folder:
        socket, workspace = f"{folder}/code.sock", f"{folder}/workspace.yaml"
        write_workspace(Path(workspace), socket)
        services = commands(socket, workspace, port, viewers_port)
        supervise(services, say, environment(settings.paths), ready=Path(socket).exists)


def supervise(
    services: Mapping[str, Sequence[str]], say: Say, env: Mapping[str, str], ready: Callable[[], bool] = lambda: True
) -> None:
    """Start programs, and start each one again when it ends, until a signal ends all of them.

    Args:
        services: name to command, in the order in which they are started.
        say: called with one line when a program starts again.
        env: their environment.
        ready: tells whether the first program is up, and the others can be started.
    """
    first = next(iter(services))
    running: dict[str, tuple[subprocess.Popen[bytes], float]] = {}
    pauses = dict.fromkeys(services, 1.0)
    due = dict.fromkeys(services, 0.0)
    with _until_a_signal() as stopped:
        try:
            while not stopped:
                now = time.monotonic()
                for name, command in services.items():
                    if name not in running and now >= due[name] and (name == first or ready()):
                        # In a group of its own: Ctrl+C reaches this process only, which ends them in turn.
                        process = subprocess.Popen(command, env=env, start_new_session=True)
                        running[name] = process, now
                    elif name in running and running[name][0].poll() is not None:
                        process, since = running.pop(name)
                        pauses[name] = 1.0 if now - since > STEADY else min(2 * pauses[name], LONGEST_PAUSE)
                        due[name] = now + pauses[name]
                        how = f"exit code {process.returncode}"
                        say(f"the {name} ended ({how}); it starts again in {pauses[name]:.0f} s")
                time.sleep(0.5)
        finally:
            for name in reversed(list(services)):
                if name in running:
                    _end(running[name][0])


@contextlib.contextmanager
def _until_a_signal() -> Iterator[list[int]]:
    """Collect the signals that end this process, in place of ending it."""
    received: list[int] = []

    def receive(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(TO_END)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
