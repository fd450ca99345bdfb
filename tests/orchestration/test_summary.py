"""What a person at the terminal reads after a run, whatever the data is made of."""

import datetime as dt
import io
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from delivery.figures import (
    Backtest,
    Figures,
    Finding,
    Gap,
    ObjectiveStatus,
    Opportunities,
    Opportunity,
    Rejected,
    RowCounts,
    Shop,
    ShopStatus,
    UndatedShop,
)
from orchestration.keys import POSTGRES, PUBLISHED, VERDICT
from orchestration.summary import print_success, print_summary
from tests.conftest import words
from tests.warehouse.test_terminal import HOSTILE
from warehouse.paths import Paths
from warehouse.terminal import Terminal

NIGHT = dt.datetime(2026, 11, 20, 2, tzinfo=dt.UTC).replace(tzinfo=None)

OFFERS = Opportunities(
    horizon_days=28,
    best=[
        Opportunity("Soup", 506, 56.4, 45.0, 70.6, 381.52, "Cheese"),
        Opportunity("Tea", 100, 10.0, None, None, 50.0, None),
    ],
    categories=7,
    customers=400,
    offers=1000,
    expected_value=700.0,
    recent_spending=100_000.0,
    staples=["Milk", "Bread", "Beef", "Eggs"],
)
SHOP = Shop(
    source="corner_shop",
    first_date=dt.date(2025, 11, 16),
    last_date=dt.date(2026, 11, 20),
    spending=Decimal("4645670.89"),
    baskets=156_937,
    customers=2469,
    known_customers=801,
    purchase_frequency=62.8,
    biggest_categories=[("Soft drinks", Decimal("183961.47"))],
    opportunities=OFFERS,
    backtest=Backtest(6, "learned", (0.823, 0.771), (0.173, 0.154), 5, (94.97, 79.89, 110.39)),
)
CRM = UndatedShop(
    source="crm",
    spending=Decimal("1356988.00"),
    customers=2240,
    known_customers=2239,
    biggest_categories=[("Wines", Decimal("680816.00"))],
    why_no_score="The shop does not say when.",
    gaps=[Gap("Fish", 384, 0.8286, 1.0256, "Sweets")],
)
WARNED = ObjectiveStatus("deliveries_have_their_usual_size", False, "warning", NIGHT, "534 rows, usual are 3840")
FIGURES = Figures(
    rows=[RowCounts("corner_shop", "purchases", 1_485_784, 1_474_425, 11_359)],
    rejected=[Rejected("corner_shop", "purchases", "zero_quantity", 8946, Decimal("12.52"))],
    statuses=[ShopStatus("corner_shop", None, None, dt.datetime(2026, 11, 20, 23), 2469, 9, 0)],
    shops=[SHOP],
    objectives=[ObjectiveStatus(f"objective_{n}", True, "met", NIGHT, None) for n in range(16)] + [WARNED],
)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path)
    paths.published.parent.mkdir()
    paths.published.write_bytes(bytes(2_000_000))
    return paths


def summary(figures: Figures, paths: Paths, columns: int = 100) -> str:
    out = io.StringIO()
    print_success(figures, [], paths, 58.64, Terminal(out, columns))
    return out.getvalue()


def test_it_says_what_to_offer_what_it_is_worth_and_how_sure_that_is(paths: Paths) -> None:
    text = words(summary(FIGURES, paths))
    # Per customer: 381.52 / 506 and 50 / 100. Together: 700 of 100,000 is 0.7 %, 700 / 1000 recommendations.
    assert "Soup buys Cheese 506 56 (45 to 71) 381.52 0.75" in text
    assert "Tea - 100 10 50.00 0.50" in text
    assert "1,000 recommendations in 7 categories to 400 customers, expected spending 700.00, which is 0.7 %" in text
    assert "That is 0.70 per recommendation: an offer that costs more, costs more than the customer is expected" in text
    assert "Left out: staples, which many customers buy anyway: Milk; Bread; Beef and 1 more." in text
    assert "for every 100 first purchases predicted, 95 happened (80 to 110 at single dates)" in text
    assert "for the first time in the 28 days after 2026-11-20, with the 90 % range" in text
    assert "zero quantity 8,946 12.52" in text
    assert "Seconds 58.6" in text


def test_a_shop_without_a_customer_file_is_not_said_to_have_customers_in_it(paths: Paths) -> None:
    text = words(summary(FIGURES, paths))
    assert "customers 2,469 who bought; 801 are in the customer file" in text
    text = words(summary(replace(FIGURES, shops=[replace(SHOP, known_customers=None)]), paths))
    assert "customers 2,469 who bought; the shop sends no customer file" in text


def test_a_shop_without_dates_says_that_it_has_no_score_and_lists_what_similar_customers_buy(paths: Paths) -> None:
    text = words(summary(replace(FIGURES, undated_shops=[CRM]), paths))
    assert "crm, totals without dates total spending 1,356,988.00 so far" in text
    assert "customers 2,240 who spent; 2,239 are in the customer file" in text
    assert "biggest categories Wines 680,816.00" in text
    assert "No score: The shop does not say when." in text
    assert "Fish Sweets 384 83 % 1.03" in text
    in_dollars = words(summary(replace(FIGURES, undated_shops=[CRM], currency="USD"), paths))
    assert "total spending 4,645,670.89 USD in 156,937 baskets" in in_dollars
    assert "total spending 1,356,988.00 USD so far" in in_dollars
    without = words(summary(replace(FIGURES, undated_shops=[replace(CRM, gaps=[])]), paths))
    assert "Every customer buys in every category, except for staples." in without


def test_values_that_a_rule_left_out_or_replaced_are_counted_where_there_are_any(paths: Paths) -> None:
    title = "Left out, replaced, or worth a look"
    assert title not in summary(FIGURES, paths)
    figures = replace(FIGURES, findings=[Finding("crm", "customers", "education", "replaced_word", 203)])
    text = words(summary(figures, paths))
    assert title in text and "crm customers education replaced word 203" in text


def test_of_several_shops_each_has_a_line_and_a_held_one_says_since_when_and_why(paths: Paths) -> None:
    night = f"{NIGHT.replace(tzinfo=dt.UTC).astimezone():%Y-%m-%d %H:%M}"
    statuses = [
        *FIGURES.statuses,
        ShopStatus("late_shop", NIGHT, "the newest purchase is 60 hours old", dt.datetime(2026, 11, 17, 20), 310, 9, 2),
        ShopStatus("crm", NIGHT, "crm.csv is empty", None, 2240, 1, 0),
        ShopStatus("new_shop", NIGHT, "landing/new_shop does not exist", None, 0, 0, 0),
    ]
    shops = [SHOP, replace(SHOP, source="late_shop")]
    text = words(summary(replace(FIGURES, statuses=statuses, shops=shops, undated_shops=[CRM]), paths))
    assert f"crm, totals without dates; held since {night} total spending" in text
    assert "! crm: its tables stay as they were published last. crm.csv is empty." in text
    assert f"late_shop, 2025-11-16 to 2026-11-20; held since {night} total spending" in text
    assert "corner_shop nothing new 2026-11-20 2,469" in text
    assert f"late_shop held since {night} 2026-11-17 310" in text
    assert f"new_shop held since {night} - 0" in text
    assert (
        "! late_shop: its tables stay as they were published last. the newest purchase is 60 hours old. "
        "2 new deliveries wait."
    ) in text
    assert "! new_shop: it has no rows yet. landing/new_shop does not exist." in text
    assert "Published 2 MB, without the new rows of late_shop, crm, new_shop; from now on everyone reads this:" in text
    # The only shop needs no table of its own: all of the summary is about it.
    assert "newest purchase" not in summary(FIGURES, paths)


def test_an_objective_that_was_not_measured_in_the_run_keeps_its_warning_with_its_date(paths: Paths) -> None:
    night = f"{NIGHT.replace(tzinfo=dt.UTC).astimezone():%Y-%m-%d %H:%M}"
    text = words(summary(FIGURES, paths))
    assert f"Objectives 16 met, 1 warning. 1 of them was last measured in the run of {night}:" in text
    assert f"! deliveries_have_their_usual_size: warning (from the run of {night}): 534 rows, usual are 3840" in text


@pytest.mark.parametrize("columns", [80, 100])
def test_every_line_fits_except_the_path_of_the_published_copy(paths: Paths, columns: int) -> None:
    lines = summary(FIGURES, paths, columns).splitlines()
    assert [line for line in lines if len(line) > columns and str(paths.published) not in line] == []
    assert f"{'':<14}{paths.published}" in lines


@pytest.mark.parametrize("data", HOSTILE)
def test_data_is_shown_as_data(paths: Paths, data: str) -> None:
    shop = replace(
        SHOP,
        source=data,
        biggest_categories=[(data, Decimal(1))],
        opportunities=replace(OFFERS, best=[Opportunity(data, 1, 1.0, 0.5, 2.0, 1.0, data)], staples=[data] * 5),
    )
    figures = Figures(
        [RowCounts(data, data, 1, 1, 0)],
        [Rejected(data, data, data, 1, None)],
        [ShopStatus(data, NIGHT, data, NIGHT, 1, 3, 2), ShopStatus(data, NIGHT, data, None, 0, 0, 0)],
        [shop],
        [ObjectiveStatus("fresh", True, "warning", NIGHT, data)],
        data,
        [replace(CRM, source=data, biggest_categories=[(data, Decimal(1))], gaps=[Gap(data, 1, 0.5, 1.0, data)])],
        [Finding(data, data, data, data, 1)],
    )
    text = summary(figures, paths)
    assert re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800]", text) == []
    if data == "[/b] OFFER":
        # Also in tables, whose cells rich would read as markup.
        assert text.count("[/b] OFFER") >= 8


def test_a_terminal_that_knows_no_unicode_gets_ascii(paths: Paths) -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    shop = replace(SHOP, biggest_categories=[("Crème fraîche", Decimal(1))])
    print_success(replace(FIGURES, shops=[shop]), [], paths, 1.0, Terminal(out))
    assert rb"Cr\xe8me fra\xeeche" in raw.getvalue()


def failed_run(paths: Paths, *assets: dg.AssetsDefinition) -> str:
    out, details = io.StringIO(), paths.root / "nightly.log"
    details.touch()
    result = dg.materialize(list(assets), raise_on_error=False, instance=dg.DagsterInstance.ephemeral())
    print_summary(result, paths, 1.0, Terminal(out), details)
    return out.getvalue()


def test_a_failed_run_says_the_cause_first_and_names_the_file_with_the_details(paths: Paths) -> None:
    cause = f"{paths.landing}/[/b]\x1b[2J.parquet is empty (0 bytes). Have it sent again; nothing was loaded."

    @dg.asset
    def load_corner_shop() -> None:
        raise dg.Failure(cause)

    lines = failed_run(paths, load_corner_shop).splitlines()
    assert lines[1:3] == ["The run failed: nothing was published.", "  loading corner_shop failed:"]
    shown = words(" ".join(lines[3:]))
    assert shown.startswith(rf"{paths.landing}/[/b]\x1b[2J.parquet is empty (0 bytes). Have it sent again;")
    assert f"  {paths.published}" in lines
    assert lines[-2:] == ["Details:", f"  {paths.root / 'nightly.log'}"]
    assert "in load_corner_shop" in (paths.root / "nightly.log").read_text(), "the traceback is in the file"


def test_a_run_that_fails_after_the_publication_says_that_the_file_is_published(paths: Paths) -> None:
    @dg.asset(key=PUBLISHED)
    def next_aisle() -> None: ...

    @dg.asset(key=POSTGRES, deps=[PUBLISHED])
    def in_postgres() -> None:
        raise dg.Failure("cannot connect to postgresql://bi@bi.example/shop")

    shown = failed_run(paths, next_aisle, in_postgres)
    assert shown.splitlines()[1:4] == [
        "The run failed after the file was published, which everyone can read.",
        "  writing to PostgreSQL failed:",
        "    cannot connect to postgresql://bi@bi.example/shop",
    ]
    assert "Readers see the copy published on" in shown


def test_failed_checks_are_shown_and_of_very_many_the_last_ones_counted_and_named_in_the_file(paths: Paths) -> None:
    names = [f"check_{n:02}" for n in range(24)]

    table = dg.AssetKey(["core", "dim_customers"])

    @dg.asset(key=table, check_specs=[dg.AssetCheckSpec(name, asset=table) for name in names])
    def build() -> Iterator[Any]:
        yield dg.MaterializeResult()
        for name in names:
            yield dg.AssetCheckResult(
                check_name=name,
                passed=False,
                severity=dg.AssetCheckSeverity.WARN if name == "check_23" else dg.AssetCheckSeverity.ERROR,
                description="no key",
                metadata={
                    "failed_rows": f'uv run python -m delivery query --warehouse "from failed_rows.{name} limit 20"',
                    "dagster_dbt/failed_row_count": 2,
                },
            )

    @dg.asset(deps=[table])
    def publish() -> None:
        raise RuntimeError("the checks did not pass")

    text = failed_run(paths, build, publish)
    assert words(text).count("check failed:") == 20
    assert "core.dim_customers, check check_19: no key (2 rows)" in text
    command = '    uv run python -m delivery query --warehouse "from failed_rows.check_00 limit 20"'
    assert command in text.splitlines()
    assert "3 more errors and 1 more warning, all named in the details" in words(text)
    details = (paths.root / "nightly.log").read_text()
    assert "check failed: core.dim_customers, check check_22: no key" in details
    assert "check warning: core.dim_customers, check check_23: no key" in details


def test_a_run_that_was_stopped_says_so(paths: Paths) -> None:
    @dg.asset
    def build_models() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    assert "modelling failed: it was stopped, by Ctrl+C or another signal." in words(failed_run(paths, build_models))


def test_memory_that_ran_out_is_named(paths: Paths) -> None:
    @dg.asset
    def build_models() -> None:
        raise MemoryError

    assert "modelling failed: memory ran out. Free some and run again" in words(failed_run(paths, build_models))


def test_no_error_of_dbt_is_lost(paths: Paths) -> None:
    results = [
        {
            "unique_id": f"model.next_aisle.int_{n}",
            "status": "error" if n < 22 else "skipped",
            "message": f"no\ntable {n}",
        }
        for n in range(25)
    ]
    paths.dbt_target.mkdir()
    (paths.dbt_target / "run_results.json").write_text(json.dumps({"results": results}))

    @dg.asset
    def build_models() -> None:
        raise dg.Failure("dbt ended with exit code 1")

    text = words(failed_run(paths, build_models))
    assert "modelling failed: int_0: no table 0 modelling failed: int_1: no table 1" in text
    assert "int_19: no table 19" in text and "int_20" not in text
    assert "2 more errors, all named in the details" in text
    assert "exit code" not in text, "dbt's own errors say more"
    assert "modelling failed: int_21: no table 21" in (paths.root / "nightly.log").read_text()


def test_an_objective_that_stops_the_run_is_named_as_one(paths: Paths) -> None:
    paths.published.unlink()

    @dg.asset(key=VERDICT, check_specs=[dg.AssetCheckSpec("rows_arrive_complete", asset=VERDICT)])
    def judge_run() -> Iterator[Any]:
        yield dg.MaterializeResult()
        yield dg.AssetCheckResult(passed=False, description="breach: 50 % in this run")

    @dg.asset(deps=[VERDICT])
    def next_aisle() -> None:
        raise RuntimeError("not judged good enough")

    text = failed_run(paths, judge_run, next_aisle)
    assert "objective rows_arrive_complete: breach: 50 % in this run" in text
    assert "Nothing was ever published here." in text
