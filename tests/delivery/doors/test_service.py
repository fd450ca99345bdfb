"""The service as it is used: formats, pages of rows, publications that change, and everything that goes wrong."""

import datetime as dt
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.database_servers import free_port
from delivery import formats, policy, tokens
from tests.conftest import PROJECT_DIR
from tests.delivery.doors import made
from tests.delivery.doors.conftest import House, open_house
from warehouse.dbt_project import prepare
from warehouse.settings import Settings

OFFERS = "/v1/tables/cross_sell.customer_opportunities"


def test_every_answer_says_what_stands_behind_it(house: House) -> None:
    for path in ("/v1/metrics", "/v1/tables", "/v1/quality", "/v1/whoami", OFFERS, "/v1/saved-queries"):
        meta = house.get("admin", path).json()["meta"]
        assert meta["publication"] and meta["as_of"] == "2026-11-20" and meta["role"] == "admin"
        assert meta["sources"][0]["source"] == "shop" and meta["published_at"].startswith("2026-")
    csv = house.get("marketing", OFFERS, format="csv")
    assert json.loads(csv.headers["x-next-aisle-meta"])["role"] == "marketing"
    parquet = pq.read_schema(io.BytesIO(house.get("marketing", OFFERS, format="parquet").content))
    assert json.loads(parquet.metadata[b"next_aisle"])["publication"] == csv.headers["x-publication"]


def test_each_format_has_the_same_rows(house: House) -> None:
    rows = house.get("admin", OFFERS).json()["data"]
    for media, read in {
        "application/vnd.apache.parquet": lambda content: pq.read_table(io.BytesIO(content)).to_pylist(),
        "application/vnd.apache.arrow.stream": lambda content: pa.ipc.open_stream(content).read_all().to_pylist(),
    }.items():
        answer = house.get("admin", OFFERS, headers={"Accept": f"text/html;q=0.1, {media}"})
        assert answer.headers["content-type"] == media
        assert [row["opportunity_key"] for row in read(answer.content)] == [row["opportunity_key"] for row in rows]  # type: ignore[no-untyped-call]
    lines = house.get("admin", OFFERS, headers={"Accept": "text/csv"}).text.splitlines()
    assert len(lines) == len(rows) + 1 and lines[0].split(",") == list(rows[0])
    book = openpyxl.load_workbook(io.BytesIO(house.get("admin", OFFERS, format="xlsx").content))
    assert book["Rows"].max_row == len(rows) + 1
    assert house.get("admin", OFFERS, headers={"Accept": "application/pdf"}).status_code == 406


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1"])  # noqa: RUF001
def test_no_text_is_a_formula(formula: str) -> None:
    batch = pa.RecordBatch.from_pydict({"=name": [formula, "plain", None], "amount": [-1.5, 2.0, None]})
    assert formats.safe(batch).column(0).to_pylist() == [f"'{formula}", "plain", None]
    text = b"".join(formats.write_csv(batch.schema, iter([batch]), {})).decode()
    assert text.startswith("'=name,amount\r\n") and "-1.5" in text
    book = openpyxl.load_workbook(io.BytesIO(b"".join(formats.write_xlsx(batch.schema, iter([batch]), {}))))
    cell = book["Rows"]["A2"]
    assert cell.data_type == "s" and str(cell.value).startswith("'")
    assert book["Rows"]["B2"].value == -1.5


def test_pages_of_rows_are_all_rows_once(house: House) -> None:
    everything = house.get("admin", "/v1/tables/core.fct_purchases", limit=10_000).json()["data"]
    for order in ("", "-amount", "store_id,-quantity"):
        seen: list[Any] = []
        cursor = None
        while True:
            wanted = {"limit": 7, "order": order} | ({"cursor": cursor} if cursor else {})
            answer = house.get("admin", "/v1/tables/core.fct_purchases", **wanted)
            assert answer.status_code == 200, answer.text
            seen += answer.json()["data"]
            cursor = answer.json()["next"]
            if not cursor:
                break
            assert answer.headers["link"].endswith('rel="next"')
        keys = [row["purchase_line_key"] for row in seen]
        assert len(keys) == len(set(keys)) == len(everything)
        if not order:
            assert seen == everything


def test_a_cursor_is_of_one_question_and_one_role(house: House) -> None:
    path = "/v1/tables/core.fct_purchases"
    cursor = house.get("admin", path, limit=5).json()["next"]
    assert house.get("admin", path, limit=5, cursor=cursor).status_code == 200
    for role, wanted in [
        ("marketing", {"cursor": cursor}),
        ("admin", {"cursor": cursor, "where": "amount > 1"}),
        ("admin", {"cursor": cursor[:-2] + "xx"}),
        ("admin", {"cursor": "!"}),
        ("admin", {"cursor": "AAAA"}),
    ]:
        answer = house.get(role, path, limit=5, **wanted)
        assert answer.status_code == 422 and "cursor" in answer.json()["detail"]


def test_paging_ends_on_the_publication_it_began_with(own_house: House) -> None:
    path = "/v1/tables/core.fct_purchases"
    first = own_house.get("admin", path, limit=50).json()
    etag = own_house.get("admin", path, limit=50).headers["etag"]
    before = own_house.get("admin", path, limit=10_000).json()
    made.publish(own_house.file, own_house.tables, extra_rows=30)
    time.sleep(0.3)
    now = own_house.get("admin", path, headers={"If-None-Match": etag}, limit=10_000)
    assert now.status_code == 200
    assert len(now.json()["data"]) == len(before["data"]) + 30
    assert now.json()["meta"]["publication"] != before["meta"]["publication"]
    rows, cursor = first["data"], first["next"]
    while cursor:
        page = own_house.get("admin", path, limit=50, cursor=cursor).json()
        assert page["meta"]["publication"] == before["meta"]["publication"]
        rows, cursor = rows + page["data"], page["next"]
    assert rows == before["data"]
    # Only the newest few are kept open.
    for extra in range(4):
        made.publish(own_house.file, own_house.tables, extra_rows=extra)
        time.sleep(0.25)
        assert own_house.get("admin", "/v1/ready").status_code == 200
    gone = own_house.get("admin", path, limit=50, cursor=first["next"])
    assert gone.status_code == 410 and "begin again" in gone.json()["detail"]
    assert len(own_house.client.app.state.service.doors.snapshots.ids) <= 3  # type: ignore[attr-defined]


def test_readers_during_publications_see_one_or_the_other(own_house: House) -> None:
    """Ten people page while it is published five times: no error, and no answer of two publications."""
    wrong: list[Any] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            cursor, publications = None, set()
            for _ in range(3):
                wanted = {"limit": 40} | ({"cursor": cursor} if cursor else {})
                answer = own_house.get("marketing", "/v1/tables/core.fct_purchases", **wanted)
                if answer.status_code != 200:
                    if answer.status_code != 410:
                        wrong.append(answer.text)
                    break
                publications.add(answer.json()["meta"]["publication"])
                cursor = answer.json()["next"]
            if len(publications) > 1:
                wrong.append(publications)

    readers = [threading.Thread(target=read) for _ in range(10)]
    for reader in readers:
        reader.start()
    for extra in range(5):
        made.publish(own_house.file, own_house.tables, extra_rows=extra)
        time.sleep(0.3)
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []


def test_before_the_first_publication_and_after_it_is_gone(tmp_path: Path) -> None:
    for house in open_house(tmp_path, published=False):
        assert house.get(None, "/v1/health").json() == {"status": "up"}
        for path in ("/v1/ready", "/v1/metrics", OFFERS):
            answer = house.get("admin", path)
            assert answer.status_code == 503 and "make run" in answer.json()["detail"]
            assert answer.headers["retry-after"] and str(tmp_path) not in answer.text
        house.file.parent.mkdir(parents=True, exist_ok=True)
        house.file.write_bytes(b"no database")
        time.sleep(0.3)
        assert house.get("admin", OFFERS).status_code == 503
        made.publish(house.file, house.tables)
        time.sleep(0.3)
        assert house.get("admin", OFFERS).status_code == 200
        house.file.unlink()
        time.sleep(0.3)
        # What was opened is still answered.
        assert house.get("admin", OFFERS, columns="rank").status_code == 200
        assert house.get(None, "/v1/ready").json()["problem"] is True


def test_a_publication_of_another_version(tmp_path: Path) -> None:
    for house in open_house(tmp_path, published=False):
        kept = [table for table in house.tables if table.schema == "core" and table.name != "fct_purchases"]
        added = policy.Table("core", "dim_customers", (policy.Column("customer_key", "string", ("identifier",)),))
        newer = policy.Table("core", "brand_new", (policy.Column("anything", "string"),))
        tables = [added if table.name == "dim_customers" else table for table in kept]
        made.publish(house.file, [*tables, newer])
        # The service looks for a new file five times a second.
        give_up = time.monotonic() + 20
        while (status := house.get("admin", "/v1/tables/core.dim_categories").status_code) == 503:
            assert time.monotonic() < give_up
            time.sleep(0.05)
        assert status == 200
        assert house.get("admin", "/v1/tables/core.brand_new").status_code == 404
        answer = house.get("admin", "/v1/query", metrics="total_spending")
        assert answer.status_code == 500 and "another version" in answer.json()["detail"]
        answer = house.get("admin", OFFERS)
        assert answer.status_code in (403, 404)


def test_without_a_valid_token_nothing_is_answered(own_house: House) -> None:
    for headers in ({}, {"Authorization": "Bearer na_00000000_x"}, {"Authorization": "Basic YTpi"}):
        for path in ("/v1/metrics", OFFERS, "/v1/query?metrics=total_spending", "/v1/contract"):
            answer = own_house.client.get(path, headers=headers)
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["type"] == "urn:next-aisle:no-access"
        assert own_house.client.post("/mcp/", headers=headers, json={}).status_code == 401
    [token] = [each for each in own_house.tokens.all() if each.role == "viewer"]
    assert own_house.get("viewer", "/v1/metrics").status_code == 200
    own_house.tokens.revoke(token.id)
    assert own_house.get("viewer", "/v1/metrics").status_code == 401


def test_a_purpose_is_one_of_the_role_s(house: House) -> None:
    answer = house.get("marketing", "/v1/metrics", headers={"X-Purpose": "reporting"})
    assert answer.json()["meta"]["purpose"] == "reporting"
    answer = house.get("marketing", "/v1/metrics", headers={"X-Purpose": "analysis"})
    assert answer.status_code == 403 and "marketing, reporting" in answer.json()["detail"]


def test_headers_limits_and_problems(house: House) -> None:
    answer = house.get("admin", "/v1/metrics")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "private, no-cache"
    assert "server" not in answer.headers
    large = house.client.post(
        "/v1/query", content=b"x" * 70_000, headers={"Authorization": f"Bearer {house.secrets['admin']}"}
    )
    assert large.status_code == 413
    in_parts = house.client.post(
        "/v1/query",
        content=iter([b"x" * 50_000] * 2),
        headers={"Authorization": f"Bearer {house.secrets['admin']}", "Content-Type": "application/json"},
    )
    assert in_parts.status_code == 413
    assert house.get("admin", "/v1/metrics", x="y" * 9_000).status_code == 414
    for host in ("evil.example", "127.0.0.1.evil.example", "a b", ""):
        named = house.get("admin", "/v1/metrics", headers={"Host": host})
        assert named.status_code == 400 and named.headers["content-type"] == "application/problem+json", host
        assert named.json()["type"] == "urn:next-aisle:unknown-host" and "data" not in named.json()
    missing = house.get("admin", "/v1/query", metrics="total_spendin").json()
    assert missing["alternatives"][0] == "total_spending" and missing["status"] == 404
    for path in ("/v1/tables/..%2f..%2fetc%2fpasswd", "/v1/contract/../../etc/passwd", "/static/../../etc/passwd"):
        assert house.get("admin", path).status_code in (404, 422)
    assert house.get(None, "/v1/openapi.json").json()["openapi"].startswith("3.")


def test_too_many_requests(tmp_path: Path) -> None:
    for house in open_house(tmp_path):
        house.client.app.state.service.access.rate.burst = 3  # type: ignore[attr-defined]
        house.client.app.state.service.access.rate.per_second = 0.01  # type: ignore[attr-defined]
        answers = [house.get("admin", "/v1/whoami") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert int(answers[-1].headers["retry-after"]) > 1
        assert house.get("viewer", "/v1/whoami").status_code == 200


def test_the_audit_log_has_names_and_no_values(own_house: House) -> None:
    own_house.get("admin", f"/v1/customers/{made.key(3)}/opportunities")
    own_house.get("admin", "/v1/query", metrics="total_spending", where="category__department = 'zqsecretqz'")
    own_house.get("marketing", OFFERS, search="zqsecretqz", columns="customer_key")
    file = Settings(data=own_house.data).paths.audit_log
    text = file.read_text(encoding="utf-8")
    assert "zqsecretqz" not in text and made.key(3) not in text
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines[0]["path"] == "/v1/customers/{customer:path}/opportunities" and lines[0]["name"] == "of admin"
    assert lines[1]["asked"]["where"] == ["category__department = ?"]
    assert lines[2]["asked"]["columns"] == ["customer_key"] and lines[2]["status"] == 200
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
def test_agents_ask_with_and_without_a_slash_and_the_audit_log_says_where(own_house: House, path: str) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"} | {"params": {"name": "list_metrics", "arguments": {}}}
    headers = {
        "Authorization": f"Bearer {own_house.secrets['viewer']}",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2025-06-18",
    }
    answer = own_house.client.post(path, json=body, headers=headers, follow_redirects=False)
    assert answer.status_code == 200 and not answer.json()["result"].get("isError")
    lines = Settings(data=own_house.data).paths.audit_log.read_text(encoding="utf-8").splitlines()
    line = json.loads(lines[-1])
    assert (line["door"], line["path"], line["asked"]["tool"]) == ("mcp", "/mcp", "list_metrics")


def test_a_clock_that_jumps(own_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions and limits go by a clock that is never set; tokens end by the one on the wall, which may come back."""
    own_house.client.post("/login", data={"token": own_house.secrets["admin"]})
    real = time.time
    now = tokens._now
    path = f"/v1/customers/{made.key(3)}/opportunities"
    for days, status in ((-3650, 200), (3650, 401), (0, 200)):
        jump = dt.timedelta(days=days)
        monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump.total_seconds())
        monkeypatch.setattr(tokens, "_now", lambda jump=jump: now() + jump)
        assert own_house.get("admin", path).status_code == status
        assert own_house.get(None, "/v1/ready").status_code == 200
        page = own_house.client.get("/quality", follow_redirects=False)
        assert page.status_code == (200 if status == 200 else 303)
    # A night whose file is dated before the one that is open is a new one all the same.
    first = own_house.get("admin", path).json()["meta"]["publication"]
    made.publish(own_house.file, own_house.tables)
    os.utime(own_house.file, (1_000_000_000, 1_000_000_000))
    time.sleep(0.3)
    assert own_house.get("admin", path).json()["meta"]["publication"] != first


@pytest.mark.slow
def test_slow_callers_hold_up_no_others(own_house: House) -> None:
    """Forty callers send a letter a second or take nothing; others are answered, and the slow ones are sent away."""
    made.publish(own_house.file, own_house.tables, extra_rows=60_000)
    port = free_port()
    environment = os.environ | {"NEXT_AISLE_DATA": str(own_house.data), "NEXT_AISLE_MANIFEST": str(prepare(Settings()))}
    program = (
        "import sys; from delivery import service, __main__; service.SLOWEST_SECONDS = 2; "
        f"sys.exit(__main__.main(['serve', '--port', '{port}']))"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", program], cwd=PROJECT_DIR, env=environment, stderr=subprocess.DEVNULL
    )
    token = f"Authorization: Bearer {own_house.secrets['admin']}\r\n"
    slow: list[socket.socket] = []
    try:
        wait_for(port)
        for number in range(40):
            connection = socket.create_connection(("127.0.0.1", port))
            slow.append(connection)
            if number % 2:
                head = f"POST /v1/query HTTP/1.1\r\nHost: localhost\r\n{token}Content-Type: application/json\r\n"
                connection.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
            else:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                path = "/v1/tables/core.fct_purchases?format=csv"
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{token}\r\n".encode())
        headers = {"Authorization": f"Bearer {own_house.secrets['viewer']}"}
        base = f"http://127.0.0.1:{port}"
        for _ in range(20):
            assert httpx.get(f"{base}/v1/whoami", headers=headers, timeout=10).status_code == 200
        # Who sends too slowly is told so.
        slow[1].settimeout(20)
        assert b" 408 " in slow[1].recv(1_000)
        lines = Settings(data=own_house.data).paths.audit_log
        give_up = time.monotonic() + 30
        while sum('"path": "/v1/tables/{table}"' in line for line in lines.read_text().splitlines()) < 20:
            assert time.monotonic() < give_up, "those who take nothing are still waited for"
            time.sleep(0.2)
    finally:
        for connection in slow:
            connection.close()
        server.terminate()
        assert server.wait(timeout=30) in (0, -signal.SIGTERM)


def test_a_failure_inside_says_nothing_of_itself(own_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(own_house.client.app.state.service.doors, "metrics", fails)  # type: ignore[attr-defined]
    answer = own_house.get("admin", "/v1/metrics")
    assert answer.status_code == 500 and "secret" not in answer.text and answer.json()["request"]


def serve(data: Path, port: int, *options: str) -> "subprocess.Popen[str]":
    environment = os.environ | {"NEXT_AISLE_DATA": str(data), "NEXT_AISLE_MANIFEST": str(prepare(Settings()))}
    return subprocess.Popen(
        [sys.executable, "-m", "delivery", "serve", "--port", str(port), *options],
        cwd=PROJECT_DIR,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(port: int, seconds: float = 60) -> float:
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/v1/ready").status_code == 200:
                return time.monotonic() - started
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("it does not answer")


def test_killed_and_started_again_it_serves(own_house: House) -> None:
    port = free_port()
    first = serve(own_house.data, port)
    try:
        wait_for(port)
        headers = {"Authorization": f"Bearer {own_house.secrets['admin']}"}
        assert httpx.get(f"http://127.0.0.1:{port}/v1/metrics", headers=headers).status_code == 200
        taken = serve(own_house.data, port)
        _, said = taken.communicate(timeout=60)
        assert taken.returncode == 1 and f"127.0.0.1:{port}" in said and "Choose another port" in said
        assert "Traceback" not in said
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait(timeout=20)
    again = serve(own_house.data, port)
    try:
        wait_for(port)
        assert httpx.get(f"http://127.0.0.1:{port}/v1/metrics", headers=headers).status_code == 200
    finally:
        again.terminate()
        assert again.wait(timeout=20) in (0, -signal.SIGTERM)
