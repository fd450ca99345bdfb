"""The pages: the same figures as at the other doors, a login, nothing from elsewhere; in a real browser too."""

import csv
import html
import io
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openpyxl
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


def form_of(house: House, path: str) -> str:
    found = re.search(r'name="form" value="([^"]+)"', house.client.get(path).text)
    assert found is not None
    return found[1]


def download(house: House, **given: Any) -> Any:
    return house.client.post("/opportunities/chosen", data=given, follow_redirects=False)


def test_chosen_categories_are_downloaded(page_house: House) -> None:
    log_in(page_house, "marketing")
    page = page_house.client.get("/opportunities").text
    shown = re.findall(r'type="checkbox" name="category" value="([^"]+)"', page)
    assert len(shown) > 2 and shown == re.findall(r'name="shown" value="([^"]+)"', page)
    form = form_of(page_house, "/opportunities")
    chosen = [shown[2], shown[0]]
    answer = download(page_house, form=form, category=chosen, shown=shown, **{"as": "categories.csv"})
    assert answer.status_code == 200 and "categories.csv" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert {row["category_key"] for row in rows} == set(chosen) and len(rows) == 2
    everything = download(page_house, form=form, shown=shown, **{"as": "categories.csv"}).text
    assert {row["category_key"] for row in csv.DictReader(io.StringIO(everything))} == set(shown)
    answer = download(page_house, form=form, category=chosen, **{"as": "customers.csv"})
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert {row["category_key"] for row in rows} <= set(chosen) and rows
    assert all(int(row["rank"]) <= 3 for row in rows)
    alone = [
        page_house.get("marketing", f"/v1/categories/{key}/customers", best=3, format="csv").text for key in chosen
    ]
    assert len(rows) == sum(text.count("\n") - 1 for text in alone)
    book = openpyxl.load_workbook(
        io.BytesIO(download(page_house, form=form, category=chosen, **{"as": "customers.xlsx"}).content)
    )
    assert book["Rows"].max_row == len(rows) + 1


def test_a_download_needs_the_form_of_the_page_and_the_role(page_house: House) -> None:
    given: dict[str, Any] = {"category": made.category(3), "as": "customers.csv"}
    assert download(page_house, form="x", **given).headers["location"] == "/login"
    log_in(page_house, "viewer")
    assert download(page_house, form="wrong", **given).status_code == 403
    form = form_of(page_house, "/opportunities")
    assert "customers.csv" not in page_house.client.get("/opportunities").text
    refused = download(page_house, form=form, **given)
    assert refused.status_code == 403 and "may not read the rows" in refused.text and made.key(1) not in refused.text
    for wrong in ({"as": "customers.exe"}, {"as": "secrets.csv"}, {}, {"category": ""}):
        answer = download(page_house, **({"form": form} | given | wrong | ({} if wrong else {"as": ""})))
        assert answer.status_code == 422, wrong
    missing = download(page_house, form=form, **(given | {"category": "no such", "as": "categories.csv"}))
    assert missing.status_code == 200 and len(missing.text.splitlines()) <= 1
    log_in(page_house, "marketing")
    unknown = download(page_house, form=form_of(page_house, "/"), **(given | {"category": "no such"}))
    assert unknown.status_code == 404 and "text/html" in unknown.headers["content-type"]


def cells_of(text: str, label: str) -> list[list[str]]:
    """The rows of a table of a page, without its head and its marks."""
    part = text.split(f'aria-label="{label}"', 1)[1].split("</table>", 1)[0].split("<tbody>", 1)[1]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in part.split("<tr>")[1:]]
    return [[html.unescape(re.sub("<[^>]+>", "", cell)).strip() for cell in row] for row in rows]


@pytest.mark.parametrize("role", ROLES)
def test_every_figure_that_a_page_asks_for_is_that_of_rest(page_house: House, role: str) -> None:
    """All questions that the pages ask, asked at REST by the same role, and compared figure by figure."""
    log_in(page_house, role)

    def metrics(names: str, by: str) -> list[dict[str, Any]]:
        rows = page_house.get(role, "/v1/query", metrics=names, group_by=by, order_by=by).json()["data"]
        return [row for row in rows if row[names.split(",")[0]] is not None]

    def money(value: Any, digits: int = 0) -> str:
        return f"{value:,.{digits}f}"

    text = page_house.client.get("/").text
    months = metrics("total_spending,purchase_count,active_customers,average_basket_value", "metric_time__month")[-6:]
    shown = cells_of(text, "The last months")
    assert len(shown) == len(months) > 0
    for cells, row in zip(shown, months, strict=True):
        assert cells[0] == row["metric_time__month"][:7]
        assert cells[1].split()[0] == money(row["total_spending"])
        assert cells[2:4] == [f"{row['purchase_count']:,}", f"{row['active_customers']:,}"]
        assert cells[4].split()[0] == money(row["average_basket_value"], 2)
    days = metrics("total_spending,purchase_count,active_customers", "metric_time__day")
    big = re.findall(r'<span class="big">([^<]+)</span>', text)
    if days:
        assert big[0].split()[0] == money(days[-1]["total_spending"])
        assert big[1:] == [f"{days[-1]['purchase_count']:,}", f"{days[-1]['active_customers']:,}"]
    offers = page_house.get(
        role,
        "/v1/query",
        metrics="expected_cross_sell_value,opportunity_count,cross_sell_opportunity_score",
        group_by="category,opportunity__category_label",
        where="opportunity__rank <= 3 and not opportunity__is_staple",
        order_by="-expected_cross_sell_value",
    ).json()["data"]
    listed = cells_of(page_house.client.get("/opportunities").text, "Opportunities by category")
    wanted = [
        [
            row["opportunity__category_label"],
            f"{row['opportunity_count']:,}",
            f"{100 * row['cross_sell_opportunity_score']:.1f} %",
            money(row["expected_cross_sell_value"]),
        ]
        for row in offers
    ]
    assert [[*cells[1:4], cells[4].split()[0]] for cells in listed] == wanted and wanted
    assert [cells[0] for cells in cells_of(text, "Worth offering most")] == [row[0] for row in wanted[:5]]

    def table(name: str, **asked: Any) -> list[dict[str, Any]]:
        return page_house.get(role, f"/v1/tables/{name}", limit=1000, **asked).json()["data"]  # type: ignore[no-any-return]

    quality = page_house.client.get("/quality").text
    arrived = [
        [f"{row[name]:,}" for name in ("raw_rows", "kept_rows", "incomplete_rows", "repeated_rows", "invalid_rows")]
        for row in table("quality.row_reconciliation")
    ]
    assert [cells[2:7] for cells in cells_of(quality, "Rows that arrived")] == arrived
    objectives = [f"{row['attained']:.2f} %" for row in table("quality.slo_status", order="objective")]
    assert [cells[2] for cells in cells_of(quality, "Objectives")] == objectives
    [category] = table("core.dim_categories", where=f"category_key = '{made.category(3)}'")
    page = page_house.client.get(f"/category/{made.category(3)}").text
    assert f"{category['customer_count']:,} customers ever bought here" in page
    assert f"They spent {money(category['total_spending'])}" in page
    if role == "viewer":
        return
    customers = page_house.get(role, f"/v1/categories/{made.category(3)}/customers", limit=200).json()["data"]
    assert [[cells[1], cells[2].split()[0]] for cells in cells_of(page, "Customers to offer it to")] == [
        [f"{100 * row['likelihood']:.1f} %", money(row["expected_value"], 2)] for row in customers
    ]
    key = table("core.dim_customers", columns="customer_key")[3]["customer_key"]
    opportunities = page_house.get(role, f"/v1/customers/{key}/opportunities", limit=50).json()["data"]
    page = page_house.client.get(f"/customer/{key}").text
    assert [[*cells[:2], cells[2].split()[0], cells[3]] for cells in cells_of(page, "What to offer next")] == [
        [
            row["category_label"],
            f"{100 * row['likelihood']:.1f} %",
            money(row["expected_value"], 2),
            row["explanation"],
        ]
        for row in opportunities
    ]


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
