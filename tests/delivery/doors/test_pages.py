"""The pages: the same figures as at the other doors, a login, nothing from elsewhere; in a real browser too."""

import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from delivery.doors import Caller
from delivery.pages import Pages, file_name, write
from delivery.service import COOKIE
from tests.delivery.doors import made
from tests.delivery.doors.conftest import ROLES, House
from tests.delivery.doors.test_matrix import hidden_texts

CHROMIUM = shutil.which("chromium")
PAGES = ["/", "/opportunities", "/customers", "/track-record", "/quality", "/data", "/category/shop:category%203"]
CUSTOMER = f"/customer/{made.key(3)}"


def log_in(house: House, role: str) -> None:
    house.client.cookies.clear()
    answer = house.client.post("/login", data={"token": house.secrets[role]}, follow_redirects=False)
    assert answer.status_code == 303 and answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower()


@pytest.fixture
def page_house(house: House) -> Iterator[House]:
    yield house
    house.client.cookies.clear()


def test_without_a_login_there_is_only_the_login(page_house: House) -> None:
    for path in [*PAGES, CUSTOMER]:
        answer = page_house.client.get(path, follow_redirects=False)
        assert answer.status_code == 303 and answer.headers["location"] == "/login"
    wrong = page_house.client.post("/login", data={"token": "na_00000000_x"})
    assert wrong.status_code == 401 and "not valid" in wrong.text and COOKIE not in wrong.cookies
    elsewhere = page_house.client.post(
        "/login", data={"token": page_house.secrets["admin"]}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert elsewhere.status_code == 403


@pytest.mark.parametrize("role", ROLES)
def test_each_role_sees_its_pages_and_nothing_hidden(page_house: House, role: str) -> None:
    log_in(page_house, role)
    hidden = hidden_texts(role, page_house.tables)
    for path in PAGES:
        answer = page_house.client.get(path)
        assert answer.status_code == 200, (path, answer.text)
        assert not [secret for secret in hidden if secret in answer.text], path
        assert "<script" not in answer.text and not re.search(r'(src|href)="(https?:)?//', answer.text)
        assert answer.headers["cache-control"] == "no-store"
    answer = page_house.client.get(CUSTOMER)
    assert answer.status_code == {"admin": 200, "marketing": 200, "analyst": 404, "viewer": 403}[role]
    assert not [secret for secret in hidden if secret in answer.text]


def test_a_page_has_the_numbers_of_rest(page_house: House) -> None:
    log_in(page_house, "admin")
    question = {
        "metrics": "expected_cross_sell_value,opportunity_count",
        "group_by": "opportunity__category_label",
        "where": "opportunity__rank <= 3 and not opportunity__is_staple",
    }
    rows = page_house.get("admin", "/v1/query", **question).json()["data"]
    text = page_house.client.get("/opportunities").text
    assert rows
    for row in rows:
        assert row["opportunity__category_label"] in text
        assert f"{row['opportunity_count']:,}" in text and f"{row['expected_cross_sell_value']:,.0f}" in text


def test_a_revoked_token_ends_its_session_and_log_out_needs_its_form(own_house: House) -> None:
    log_in(own_house, "marketing")
    assert own_house.client.post("/logout", data={"form": "wrong"}).status_code == 403
    page = own_house.client.get("/quality").text
    form = re.search(r'name="form" value="([^"]+)"', page)
    assert form is not None
    left = own_house.client.post("/logout", data={"form": form[1]}, follow_redirects=False)
    assert left.status_code == 303
    assert own_house.client.get("/quality", follow_redirects=False).status_code == 303
    log_in(own_house, "marketing")
    [token] = [each for each in own_house.tokens.all() if each.role == "marketing"]
    own_house.tokens.revoke(token.id)
    assert own_house.client.get("/quality", follow_redirects=False).status_code == 303


def test_a_cookie_reads_and_does_not_write(page_house: House) -> None:
    log_in(page_house, "admin")
    assert page_house.client.get("/v1/metrics").status_code == 200
    assert page_house.client.post("/v1/query", json={"metrics": ["total_spending"]}).status_code == 401


def test_texts_of_the_data_are_texts(page_house: House) -> None:
    log_in(page_house, "admin")
    answer = page_house.client.get("/customers", params={"search": "<img src=x onerror=alert(1)>"})
    assert "<img" not in answer.text and "&lt;img" in answer.text


def test_pages_in_a_folder_link_to_each_other(house: House, tmp_path: Path) -> None:
    doors = house.client.app.state.service.doors  # type: ignore[attr-defined]
    pages = Pages(doors, file_name, is_static=True)
    said: list[str] = []
    count = write(pages, Caller("marketing", None, "test", "marketing"), tmp_path, said.append)
    files = {file.name for file in tmp_path.iterdir()}
    assert count == 6 + made.CATEGORIES + made.CUSTOMERS and len(files) == count + 1 and said == []
    for file in tmp_path.glob("*.html"):
        text = file.read_text(encoding="utf-8")
        assert "<form" not in text
        for link in re.findall(r'href="([^"#]+)"', text):
            assert link in files or link.startswith("mailto:"), (file.name, link)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (768, "light"), (1280, "light")])
def test_in_a_browser(house: House, width: int, scheme: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    server = uvicorn.Server(uvicorn.Config(house.client.app, port=0, lifespan="off", log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.05)
        base = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            page.goto(base)
            page.fill("#token", house.secrets["admin"])
            page.keyboard.press("Enter")
            page.wait_for_url(f"{base}/")
            for path in [*PAGES, CUSTOMER]:
                answer = page.goto(base + path)
                assert answer is not None and answer.status == 200, path
                wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
                assert page.evaluate(wide) <= 0, path
                found = Axe().run(page).response["violations"]
                assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == [], path
            assert [url for url in asked if not url.startswith(base)] == []
            browser.close()
    finally:
        server.should_exit = True
        thread.join(timeout=20)
