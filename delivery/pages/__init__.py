"""Pages for people who have never seen a warehouse: what changed, what to offer whom, and how far to trust it.

They ask the same doors as everything else, so that their figures are the same. A page is made whole on this machine:
its pictures are drawn by Vega-Lite into the page, and it has no script and fetches nothing from elsewhere. The same
pages can be written to a folder that opens from disk.
"""

import datetime as dt
import functools
import json
import re
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from delivery.doors import AFFINITY, OPPORTUNITIES, Answer, Caller, Doors, explain, percent, with_reasons
from delivery.errors import DoorError, RefusedError, UnknownNameError
from delivery.metrics import Question

HERE = Path(__file__).resolve().parent
STYLE = HERE / "style.css"
# Name in the address, and what stands in the menu.
MENU = (
    ("tonight", "Tonight"),
    ("opportunities", "Opportunities"),
    ("customers", "Customers"),
    ("track-record", "Track record"),
    ("quality", "Quality"),
    ("data", "Data"),
)
LISTED = 200
SORTS = {
    "value": ("expected_value", "Expected spending"),
    "customers": ("customers", "Customers"),
    "likelihood": ("likelihood", "Likelihood"),
    "name": ("category_label", "Name"),
}

# What to offer, summed over customers; of the metrics, which hold the role's minimum group.
AMONG_BEST = 3
CATEGORIES_TO_OFFER = Question(
    ("expected_cross_sell_value", "opportunity_count", "cross_sell_opportunity_score"),
    ("category", "opportunity__category_label"),
    (f"opportunity__rank <= {AMONG_BEST} and not opportunity__is_staple",),
    ("-expected_cross_sell_value",),
)

# Where a page is, given its name and the key of what it is about.
Address = Callable[..., str]


def address(page: str, key: str | None = None, **parameters: str) -> str:
    """Say where a page of the service is.

    Args:
        page: its name.
        key: of the customer or category.
        parameters: of the address.
    """
    path = "/" if page == "tonight" else f"/{page}" + (f"/{quote(key, safe=':')}" if key else "")
    asked = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())
    return f"{path}?{asked}" if asked else path


def file_name(page: str, key: str | None = None, **_: str) -> str:
    """Say in which file of a folder a page is.

    Args:
        page: its name.
        key: of the customer or category.
    """
    if not key:
        return "index.html" if page == "tonight" else f"{page}.html"
    # Keys that differ in signs alone must not meet in one file.
    plain_key = re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")[:60]
    return f"{page}-{plain_key}-{sum(ord(letter) * (place + 1) for place, letter in enumerate(key)) % 10_000:04}.html"


class Pages:
    """Makes the pages.

    Args:
        doors: what can be asked.
        where: says where each page is.
        is_static: whether they are files, without forms and downloads.
    """

    def __init__(self, doors: Doors, where: Address = address, *, is_static: bool = False) -> None:
        self.doors = doors
        self.is_static = is_static
        self._environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {"where": where, "menu": MENU, "static": is_static, "listed": LISTED}
        self._environment.filters |= {
            "money": self._money,
            "number": lambda value: "" if value is None else f"{value:,.0f}",
            "percent": percent,
            "day": _day,
            "times": lambda value: "" if value is None else f"{value:.1f} times",
            "words": lambda text: str(text).replace("_", " "),
        }
        self._currency: tuple[str, str] = ("", "")

    def make(self, page: str, caller: Caller, key: str | None = None, *, form: str = "", **asked: str) -> str:
        """Make a page.

        Args:
            page: its name.
            caller: who asks.
            key: of the customer or category.
            form: what the forms of the page carry, so that no other site can send them.
            asked: what the page's form says.

        Raises:
            DoorError: the page cannot be made: there is no such thing, or the role may not see it.
        """
        maker = getattr(self, f"_{page.replace('-', '_')}")
        content = maker(caller, key, asked)
        meta = self.doors.meta(caller)
        self._currency = (meta["publication"], self._read_currency(caller, meta["publication"]))
        return self._environment.get_template(f"{page}.html").render(
            content, page=page, meta=meta, caller=caller, form=form
        )

    def plain(self, template: str, **content: Any) -> str:
        """Make a page that needs no data: the login, or an error.

        Args:
            template: its name.
            content: what stands in it.
        """
        given = {"page": template, "meta": None, "caller": None, "form": ""} | content
        return self._environment.get_template(f"{template}.html").render(given)

    # The pages.

    def _tonight(self, caller: Caller, _: str | None, asked: dict[str, str]) -> dict[str, Any]:
        del asked
        months = self._ask(
            caller,
            ("total_spending", "purchase_count", "active_customers", "average_basket_value"),
            "metric_time__month",
        )
        weeks = self._ask(caller, ("total_spending", "active_customers"), "metric_time__week")
        days = self._ask(caller, ("total_spending", "purchase_count", "active_customers"), "metric_time__day")
        objectives = self._table(caller, "quality.slo_status")
        return {
            "newest": days[-1] if days else None,
            "week_before": days[-8] if len(days) > 7 else None,
            "months": months[-6:],
            "chart": _chart(
                "Spending by week",
                [
                    {"week": _day(row["metric_time__week"]), "spending": _float(row["total_spending"])}
                    for row in weeks[1:]
                ],
                {
                    "mark": {"type": "area", "line": True, "opacity": 0.25},
                    "encoding": {
                        "x": {
                            "field": "week",
                            "type": "temporal",
                            "title": None,
                            "axis": {"format": "%b", "tickCount": 6},
                        },
                        "y": {"field": "spending", "type": "quantitative", "title": "Spending"},
                    },
                },
            ),
            "objectives": objectives,
            "wrong": [
                each for each in objectives if (each["last_status"] or each["status"]) not in ("met", "not measured")
            ],
            "shops": self._table(caller, "quality.shop_status"),
            "rows": self._table(caller, "quality.row_reconciliation"),
            "best": self._categories(caller)[:5],
        }

    def _opportunities(self, caller: Caller, _: str | None, asked: dict[str, str]) -> dict[str, Any]:
        found = self._categories(caller)
        search = asked.get("search", "")
        sort = asked.get("sort", "value")
        field = SORTS.get(sort, SORTS["value"])[0]
        found = [each for each in found if search.casefold() in str(each["category_label"]).casefold()]
        found.sort(key=lambda each: str(each[field]) if sort == "name" else -(each[field] or 0))
        sees_customers = self.doors.role(caller).customer_rows
        return {
            "categories": found,
            "search": search,
            "sort": sort,
            "sorts": SORTS,
            "sees_customers": sees_customers,
        }

    def _categories(self, caller: Caller) -> list[dict[str, Any]]:
        return categories_in(self.doors.query(caller, CATEGORIES_TO_OFFER))

    def _category(self, caller: Caller, key: str | None, asked: dict[str, str]) -> dict[str, Any]:
        category = self.doors.category(caller, key or "")
        minimum = _share(asked.get("minimum", ""))
        best = int(asked["best"]) if asked.get("best", "").isdigit() and int(asked["best"]) else None
        customers: list[dict[str, Any]] | None = None
        try:
            answer = self.doors.customers_of(caller, category["category_key"], LISTED, minimum, best)
            customers = answer.rows()
        except RefusedError:
            # Sums are all that the role sees.
            pass
        follows = self._table(
            caller,
            AFFINITY,
            where=(f"other_category_key = {_text(category['category_key'])} and owner_adopter_count >= 10",),
            order=("-adoption_lift_low", "category_key"),
            limit=10,
        )
        bars = [
            {"category": row["category_label"], "times": row["adoption_lift"], "low": row["adoption_lift_low"]}
            for row in follows
            if row["adoption_lift"] and row["adoption_lift"] > 1
        ]
        chart = _chart(
            f"Who begins with {category['category_label']}, by what they buy already",
            bars,
            {
                # On the left: letters are up to a sixth wider in browsers than where the picture is drawn.
                "padding": {"left": 40, "right": 8, "top": 8, "bottom": 8},
                "mark": "bar",
                "encoding": {
                    "y": {"field": "category", "type": "nominal", "sort": "-x", "title": None},
                    "x": {"field": "times", "type": "quantitative", "title": "times as likely as others"},
                },
            },
            height=max(60, 26 * len(bars)),
        )
        return {
            "category": category,
            "customers": customers,
            "follows": bars,
            "chart": chart if bars else None,
            "minimum": asked.get("minimum", ""),
            "minimum_share": minimum,
            "best": asked.get("best", ""),
        }

    def _customers(self, caller: Caller, key: str | None, asked: dict[str, str]) -> dict[str, Any]:
        search = asked.get("search", "").strip()
        rows: list[dict[str, Any]] = []
        refused = None
        try:
            rows = self._table(
                caller, "core.dim_customers", order=("-total_spending",), limit=50, search=search or None
            )
        except RefusedError as error:
            refused = str(error)
        return {"rows": rows, "search": search, "refused": refused, "key": key}

    def _customer(self, caller: Caller, key: str | None, asked: dict[str, str]) -> dict[str, Any]:
        del asked
        rows = self._table(caller, "core.dim_customers", where=(f"customer_key = {_text(key or '')}",), limit=1)
        if not rows:
            raise UnknownNameError("your role sees no such customer")
        offers = with_reasons(self.doors.opportunities(caller, str(key), 50))
        about = ("age_band", "household_composition", "income_band", "home_ownership", "country_name")
        return {
            "customer": rows[0],
            "about": [(name, rows[0][name]) for name in about if rows[0].get(name)],
            "offers": [offer | {"said": explain(offer)} for offer in offers],
            "key": key,
        }

    def _track_record(self, caller: Caller, _: str | None, asked: dict[str, str]) -> dict[str, Any]:
        del asked
        tests = self._table(caller, "cross_sell.score_backtest", order=("as_of_date",))
        bins = self._table(caller, "cross_sell.score_calibration", where=("segment_kind = 'all'",))
        bins = bins or [
            row for row in self._table(caller, "cross_sell.score_calibration") if row["segment_kind"] == "shop"
        ]
        points = [
            {"predicted": 100 * row["predicted_rate"], "happened": 100 * row["observed_rate"]}
            for row in bins
            if row["predicted_rate"] is not None and row["observed_rate"] is not None
        ]
        highest = max((max(point.values()) for point in points), default=1)
        line = [{"predicted": 0, "happened": 0}, {"predicted": highest, "happened": highest}]
        encoding = {
            "x": {"field": "predicted", "type": "quantitative", "title": "We said, %"},
            "y": {"field": "happened", "type": "quantitative", "title": "Happened, %"},
        }
        layers = [
            {"data": {"values": line}, "mark": {"type": "line", "strokeDash": [4, 4]}, "encoding": encoding},
            {"mark": {"type": "point", "filled": True, "size": 70}, "encoding": encoding},
        ]
        dates: dict[Any, dict[str, Any]] = {}
        for row in tests:
            dates.setdefault((row["source_name"], row["as_of_date"]), {})[row["method"]] = row
        return {
            "dates": [
                {"shop": shop, "day": day, "score": methods.get("score"), "popularity": methods.get("popularity")}
                for (shop, day), methods in dates.items()
                if methods.get("score")
            ],
            "chart": _chart("What we said, and what happened", points, {"layer": layers}, height=320)
            if points
            else None,
            "points": points,
        }

    def _quality(self, caller: Caller, _: str | None, asked: dict[str, str]) -> dict[str, Any]:
        del asked
        checks = self._table(caller, "quality.check_results", where=("status <> 'pass'",), order=("-run_number",))
        runs = self._table(caller, "quality.run_metrics", order=("-run_number", "-seconds"), limit=10)
        return {
            "objectives": self._table(caller, "quality.slo_status", order=("objective",)),
            "shops": self._table(caller, "quality.shop_status"),
            "rows": self._table(caller, "quality.row_reconciliation"),
            "checks": checks[:50],
            "steps": runs,
        }

    def _data(self, caller: Caller, _: str | None, asked: dict[str, str]) -> dict[str, Any]:
        del asked
        return {"tables": self.doors.tables(caller), "metrics": self.doors.metrics(caller)}

    # Their parts.

    def _ask(self, caller: Caller, metrics: tuple[str, ...], by: str) -> list[dict[str, Any]]:
        answer = self.doors.query(caller, Question(metrics, (by,), (), (by,)))
        rows = answer.rows()
        # The calendar is longer than the shop's year.
        return [row for row in rows if row[metrics[0]] is not None]

    def _table(
        self,
        caller: Caller,
        name: str,
        *,
        where: tuple[str, ...] = (),
        order: tuple[str, ...] = (),
        limit: int = 1_000,
        search: str | None = None,
    ) -> list[dict[str, Any]]:
        return self.doors.table(caller, name, where=where, order=order, limit=limit, search=search).rows()

    def _read_currency(self, caller: Caller, publication: str) -> str:
        if self._currency[0] == publication:
            return self._currency[1]
        try:
            rows = self._table(caller, "core.daily_exchange_rates", limit=1)
        except DoorError:
            rows = []
        return str(rows[0]["reporting_currency"] or "") if rows else ""

    def _money(self, value: Any, digits: int = 0) -> str:
        if value is None:
            return ""
        return f"{value:,.{digits}f} {self._currency[1]}".strip()


def write(pages: Pages, caller: Caller, folder: Path, say: Callable[[str], None]) -> int:
    """Write the pages to a folder.

    Args:
        pages: made with `file_name` for their places.
        caller: as whom.
        folder: where to; made if it is not there.
        say: called with a line for what is left out.

    Returns:
        How many pages there are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "style.css").write_text(STYLE.read_text(encoding="utf-8"), encoding="utf-8")
    wanted: list[tuple[str, str | None]] = [(page, None) for page, _ in MENU]
    answer = pages.doors.table(caller, "core.dim_categories", columns=("category_key",), limit=10_000)
    wanted += [("category", row["category_key"]) for row in answer.rows()]
    try:
        answer = pages.doors.table(caller, OPPORTUNITIES, columns=("customer_key",), distinct=True, limit=10_000)
        wanted += [("customer", row["customer_key"]) for row in answer.rows()]
    except DoorError:
        say(f"the role {caller.role} sees no customers: their pages are left out")
    for page, key in wanted:
        (folder / file_name(page, key)).write_text(pages.make(page, caller, key), encoding="utf-8")
    return len(wanted)


def categories_in(answer: Answer) -> list[dict[str, Any]]:
    """Give the rows of the page Opportunities.

    Args:
        answer: to CATEGORIES_TO_OFFER.
    """
    return [
        {
            "category_key": row["category"],
            "category_label": row["opportunity__category_label"],
            "customers": row["opportunity_count"],
            "likelihood": row["cross_sell_opportunity_score"],
            "expected_value": _float(row["expected_cross_sell_value"]),
        }
        for row in answer.rows()
    ]


_drawing = threading.Lock()


def _chart(title: str, values: list[dict[str, Any]], what: dict[str, Any], height: int = 220) -> Markup:
    """Draw a picture, in the colours of the text around it."""
    specification = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "description": title,
        "width": 400,
        "height": height,
        "background": "transparent",
        "padding": 8,
        "data": {"values": values},
        "config": {
            "font": "system-ui, sans-serif",
            "view": {"stroke": "transparent"},
            "mark": {"color": "#2f7f79"},
            "axis": {
                "labelColor": "currentColor",
                "titleColor": "currentColor",
                "domainColor": "currentColor",
                "tickColor": "currentColor",
                "gridColor": "currentColor",
                "gridOpacity": 0.12,
                "labelFontSize": 14,
                "titleFontSize": 14,
                "titleFontWeight": "normal",
                "labelLimit": 190,
            },
            "axisQuantitative": {"tickCount": 5},
        },
        **what,
    }
    return Markup(_drawn(json.dumps(specification, default=str), title))


@functools.lru_cache(maxsize=500)
def _drawn(specification: str, title: str) -> str:
    # V8 takes 100 MB: it is there once somebody looks at a picture.
    import vl_convert

    with _drawing:
        svg: str = vl_convert.vegalite_to_svg(specification)
    # Each bar and axis would be read out otherwise; the same figures stand in a table.
    svg = re.sub(r' (aria-[a-z]+|role)="[^"]*"', "", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[0-9.]+" height="[0-9.]+"', r"\1", svg, count=1)
    name = title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{name}" class="chart" ', 1)


def _day(value: Any) -> str:
    if isinstance(value, dt.datetime):
        return f"{value:%Y-%m-%d}" if value.time() == dt.time() else f"{value:%Y-%m-%d %H:%M}"
    return "" if value is None else str(value)


def _float(value: Any) -> float | None:
    return float(value) if isinstance(value, Decimal | int | float) else None


def _share(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text.replace(",", ".")) / 100)) if text else 0.0
    except ValueError:
        return 0.0


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
