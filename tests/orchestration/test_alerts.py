"""Alerts, sent to a real mail server and a real web hook on this machine."""

import datetime as dt
import json
import threading
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from aiosmtpd.controller import Controller

from orchestration.alerts import AlertsError, alerting, read_routes, tell
from orchestration.watch import ERROR, WARNING, Finding, alerts_file, look
from tests import here
from warehouse.settings import Settings

NOON, NIGHT = dt.datetime(2026, 6, 1, 12), dt.datetime(2026, 6, 1, 23)
FAILED = Finding(
    "run", ERROR, "the nightly run failed: loading corner_shop: a file is cut", since=NOON, link="http://ui/runs/1"
)
WARNED = Finding("objective:rows", WARNING, "objective rows: warning", "analytics-engineering", rows=1234)


class Hook:
    """A web hook that keeps what it is sent.

    Attributes:
        messages: title and text of each.
        answers: with what status it answers.
    """

    def __init__(self) -> None:
        self.messages: list[tuple[str, str]] = []
        self.answers = 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content: Any = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if hook.answers == 200:
                    hook.messages.append((content["title"], content["message"]))
                self.send_response(hook.answers)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://127.0.0.1:{self.server.server_port}/hook"


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    thread = threading.Thread(target=hook.server.serve_forever)
    thread.start()
    yield hook
    hook.server.shutdown()
    thread.join()
    hook.server.server_close()


class Mailbox:
    def __init__(self) -> None:
        self.mails: list[Message] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        self.mails.append(message_from_bytes(envelope.content))
        return "250 OK"


@pytest.fixture
def settings(data: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("ALERT_HOOK", hook.url)
    monkeypatch.setenv("NEXT_AISLE_TIMEZONE", "UTC")
    return route(monkeypatch, data, {"to": ["ALERT_HOOK"]})


def route(monkeypatch: pytest.MonkeyPatch, data: Path, *routes: dict[str, object]) -> Settings:
    file = data / "alerts.yml"
    file.write_text(yaml.safe_dump({"routes": list(routes)}), encoding="utf-8")
    monkeypatch.setenv("NEXT_AISLE_ALERTS", str(file))
    return Settings()


def test_a_change_is_told_once_and_once_when_it_is_over(settings: Settings, hook: Hook) -> None:
    assert tell(settings, [], NOON) == []
    assert tell(settings, [FAILED, WARNED], NOON) == ["ALERT_HOOK: 2 new, 0 over"]
    for _ in range(3):
        assert tell(settings, [FAILED, WARNED], NOON + dt.timedelta(hours=1)) == [], "not once for each run"
    assert tell(settings, [WARNED], NOON + dt.timedelta(days=1)) == ["ALERT_HOOK: 0 new, 1 over"]
    assert tell(settings, [WARNED], NOON + dt.timedelta(days=1)) == []
    (title, text), (over_title, over_text) = hook.messages
    assert title == "Next Aisle: error (2 new)"
    assert text.splitlines() == [
        "ERROR: the nightly run failed: loading corner_shop: a file is cut",
        "  since 2026-06-01 12:00 UTC; owner: data-platform",
        "  http://ui/runs/1",
        "WARNING: objective rows: warning",
        "  since 2026-06-01 12:00 UTC; owner: analytics-engineering",
        "  rows: 1,234",
    ]
    assert over_title == "Next Aisle: over (1 over)"
    assert over_text.splitlines()[0] == "OVER: the nightly run failed: loading corner_shop: a file is cut"


def test_what_gets_graver_is_told_again(settings: Settings, hook: Hook) -> None:
    tell(settings, [WARNED], NOON)
    tell(settings, [Finding(WARNED.key, ERROR, "objective rows: breach")], NOON)
    assert [title for title, _ in hook.messages] == ["Next Aisle: warning (1 new)", "Next Aisle: error (1 new)"]


def test_warnings_wait_for_the_end_of_the_quiet_hours_and_errors_do_not(
    data: Path, hook: Hook, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = route(monkeypatch, data, {"to": ["ALERT_HOOK"], "quiet_hours": {"begin": "22:00", "end": "07:00"}})
    assert tell(quiet, [WARNED, FAILED], NIGHT) == ["ALERT_HOOK: 1 new, 0 over"]
    assert "WARNING" not in hook.messages[0][1]
    short = Finding("disk", WARNING, "the disk is nearly full")
    assert tell(quiet, [WARNED, FAILED, short], NIGHT + dt.timedelta(hours=3)) == []
    assert tell(quiet, [WARNED, FAILED], NIGHT + dt.timedelta(hours=8)) == ["ALERT_HOOK: 1 new, 0 over"]
    assert "disk" not in str(hook.messages), "what came and went meanwhile is not told"


def test_routes_go_by_owner_and_a_mail_is_a_mail(
    data: Path, hook: Hook, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailbox = Mailbox()
    server = Controller(mailbox, hostname="127.0.0.1", port=8377)
    server.start()
    try:
        address = "mailto://127.0.0.1:8377?from=aisle@example.org&to=oncall@example.org&mode=insecure"
        monkeypatch.setenv("ALERT_MAIL", address)
        both = route(
            monkeypatch,
            data,
            {"to": ["ALERT_HOOK"], "owners": ["analytics-engineering"]},
            {"to": ["ALERT_MAIL"], "only_errors": True},
        )
        assert tell(both, [FAILED, WARNED], NOON) == ["ALERT_HOOK: 1 new, 0 over", "ALERT_MAIL: 1 new, 0 over"]
    finally:
        server.stop()
    assert [text.splitlines()[0] for _, text in hook.messages] == ["WARNING: objective rows: warning"]
    (mail,) = mailbox.mails
    assert mail["Subject"] == "Next Aisle: error (1 new)"
    assert mail["To"] and "oncall@example.org" in mail["To"]
    body = b"".join(
        part.get_payload(decode=True)  # type: ignore[misc]
        for part in mail.walk()
        if not part.is_multipart()
    )
    assert b"loading corner_shop: a file is cut" in body and b"http://ui/runs/1" in body


def test_an_alert_that_cannot_be_delivered_is_seen_and_sent_later(settings: Settings, hook: Hook) -> None:
    hook.answers = 500
    (line,) = tell(settings, [FAILED], NOON)
    assert line.startswith("ALERT_HOOK: not delivered: ") and hook.url not in line
    with dg.DagsterInstance.local_temp(overrides=here.NO_COMPUTE_LOGS) as instance:
        state = look(settings, instance)
        (failing,) = [finding for finding in state.findings if finding.key == "alerts:ALERT_HOOK"]
        assert failing.level == ERROR and failing.since == NOON
        assert failing.text.startswith("alerts to ALERT_HOOK cannot be delivered: ")
        with pytest.raises(AlertsError, match="not delivered"), dg.build_sensor_context(instance) as context:
            alerting(settings).evaluate_tick(context)
    hook.answers = 200
    assert tell(settings, [FAILED, failing], NOON) == ["ALERT_HOOK: 1 new, 0 over"]
    assert json.loads(alerts_file(settings).read_text())["failing"] == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("routes: [{to: [NOT_SET_ANYWHERE]}]", "names NOT_SET_ANYWHERE: set each to an address"),
        ("routes: [{to: [ALERT_HOOK], owner: me}]", "owner"),
        ("routes: [", "alerts.yml: while parsing"),
    ],
)
def test_a_wrong_file_is_named(text: str, message: str, settings: Settings) -> None:
    assert settings.alerts
    settings.alerts.write_text(text)
    with pytest.raises(AlertsError, match=message):
        read_routes(settings.alerts)


def test_without_a_file_no_one_is_told(data: Path) -> None:
    assert tell(Settings(), [FAILED]) == []
    assert not alerts_file(Settings()).exists()
