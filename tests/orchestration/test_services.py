"""The services in the foreground, and a UI that answers to its own names only."""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from orchestration.services import commands, supervise, write_workspace
from orchestration.webserver import OF_THIS_MACHINE, OnlyOwnNames


async def answer(request: Request) -> PlainTextResponse:
    return PlainTextResponse("answered")


async def talk(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("answered")
    await socket.close()


@pytest.fixture
def browser() -> TestClient:
    names = frozenset([*OF_THIS_MACHINE, "aisle.example.org"])
    app = Starlette(
        routes=[Route("/", answer, methods=["GET", "POST"]), WebSocketRoute("/graphql", talk)],
        middleware=[Middleware(OnlyOwnNames, names=names)],
    )
    return TestClient(app)


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("localhost:3000", None, 200),
        ("127.0.0.1:3000", "http://127.0.0.1:3000", 200),
        ("[::1]:3000", None, 200),
        ("AISLE.example.org", "https://aisle.example.org", 200),
        # A name of an attacker's that points at this machine.
        ("evil.example", None, 403),
        ("localhost.evil.example", None, 403),
        ("", None, 403),
        # A page of an attacker's that asks the right address.
        ("localhost:3000", "https://evil.example", 403),
        ("localhost:3000", "null", 403),
    ],
)
def test_only_its_own_names_are_answered(host: str, origin: str | None, status: int, browser: TestClient) -> None:
    headers = {"host": host} | ({"origin": origin} if origin else {})
    assert browser.get("/", headers=headers).status_code == status
    assert browser.post("/", headers=headers).status_code == status
    if status == 200:
        with browser.websocket_connect("/graphql", headers=headers) as socket:
            assert socket.receive_text() == "answered"
    else:
        with pytest.raises(WebSocketDisconnect), browser.websocket_connect("/graphql", headers=headers):
            pass


def test_a_refusal_says_what_to_set(browser: TestClient) -> None:
    refused = browser.get("/", headers={"host": "aisle.example.com"}).text
    assert refused == "This is not aisle.example.com: set NEXT_AISLE_UI_HOSTS to the names that the UI has.\n"


def test_every_service_listens_on_this_machine_only_and_viewers_cannot_write(tmp_path: Path) -> None:
    write_workspace(tmp_path / "workspace.yaml", "/run/code.sock")
    assert yaml.safe_load((tmp_path / "workspace.yaml").read_text()) == {
        "load_from": [{"grpc_server": {"socket": "/run/code.sock", "location_name": "next_aisle"}}]
    }
    services = commands("/run/code.sock", "workspace.yaml", 3000, 3001)
    assert list(services) == ["code server", "daemon", "webserver", "webserver for viewers"]
    for name in ("webserver", "webserver for viewers"):
        assert services[name][services[name].index("-h") + 1] == "127.0.0.1"
    assert "--read-only" in services["webserver for viewers"]
    assert "--read-only" not in services["webserver"]
    assert "webserver for viewers" not in commands("/run/code.sock", "workspace.yaml", 3000)


def test_a_service_that_ends_is_started_again_and_a_signal_ends_all(tmp_path: Path) -> None:
    said: list[str] = []
    counts = f"open({str(tmp_path / 'starts')!r}, 'a').write('x')"
    services = {
        "steady": [sys.executable, "-c", "import time; time.sleep(600)"],
        "flighty": [sys.executable, "-c", f"{counts}; raise SystemExit(3)"],
    }

    def stop_when_started_twice() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if (tmp_path / "starts").exists() and (tmp_path / "starts").read_text() == "xx":
                break
            time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGTERM)

    stopper = threading.Thread(target=stop_when_started_twice)
    stopper.start()
    env: dict[str, Any] = dict(os.environ)
    supervise(services, said.append, env)
    stopper.join()
    assert said[0] == "the flighty ended (exit code 3); it starts again in 2 s"
    assert (tmp_path / "starts").read_text() == "xx"
