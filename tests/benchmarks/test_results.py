"""What the figures say together, on numbers that can be added up by hand."""

import datetime as dt
import math
from typing import Any

import pytest

np = pytest.importorskip("numpy", reason="needs the group benchmark")

from benchmarks.score_quality import metrics, results  # noqa: E402
from benchmarks.score_quality.results import Difference, Results, difference  # noqa: E402

DAY = dt.date(2024, 3, 1)


def flags(text: str) -> Any:
    return np.array([letter == "1" for letter in text])


# Twelve customers, two categories; each adopts one of them.
CANDIDATES = np.ones((12, 2), dtype=bool)
BOUGHT = np.repeat([flags("10"), flags("01")], 6, axis=0)
RIGHT = np.where(BOUGHT, 0.75, 0.25)


def judged(score: Any, name: str = "shop", cutoffs: tuple[dt.date, ...] = (DAY,), **peers: Any) -> Results:
    found = Results({"shop": name})
    counts = metrics.resamples(12)
    for cutoff in cutoffs:
        for method, values in {"ours": score, **peers}.items():
            known = (values, values, CANDIDATES, BOUGHT)
            found.add(method, cutoff, metrics.evaluate(*known), metrics.resampled(*known, counts), "", 0.0)
    return found


def test_a_resample_of_every_customer_once_gives_the_figures_themselves() -> None:
    generator = np.random.default_rng(7)
    candidates, bought = generator.random((30, 8)) < 0.8, generator.random((30, 8)) < 0.2
    score = np.round(generator.random((30, 8)), 1)  # with ties
    figures = metrics.evaluate(score, score, candidates, bought)
    resampled = metrics.resampled(score, score, candidates, bought, np.ones((1, 30), dtype=np.int16))
    for name, values in resampled.items():
        assert values[0] == pytest.approx(figures[name]), name


def test_a_customer_who_is_drawn_twice_counts_twice_and_one_who_is_not_does_not() -> None:
    generator = np.random.default_rng(8)
    candidates, bought = generator.random((5, 8)) < 0.8, generator.random((5, 8)) < 0.4
    score = np.round(generator.random((5, 8)), 1)
    rows = [0, 0, 2, 3, 3]
    figures = metrics.evaluate(score[rows], score[rows], candidates[rows], bought[rows])
    counts = np.bincount(rows, minlength=5)[None].astype(np.int16)
    for name, values in metrics.resampled(score, score, candidates, bought, counts).items():
        assert values[0] == pytest.approx(figures[name]), name


def test_resamples_draw_as_many_customers_as_there_are_and_are_the_same_each_time() -> None:
    counts = metrics.resamples(7)
    assert counts.shape == (metrics.RESAMPLES, 7)
    assert (counts.sum(axis=1) == 7).all()
    assert (counts == metrics.resamples(7)).all()
    # One in e customers is in none of a resample.
    assert (metrics.resamples(1000) == 0).mean() == pytest.approx(1 / math.e, abs=0.01)


def test_a_resample_without_an_adoption_has_no_figures() -> None:
    resampled = metrics.resampled(RIGHT, None, CANDIDATES, np.zeros_like(BOUGHT), metrics.resamples(12))
    assert np.isnan(resampled["auc"]).all()
    assert np.isnan(resampled["ndcg_at_5"]).all()
    unknown = difference(0.0, resampled["auc"], 12)
    assert math.isnan(unknown.low)
    assert unknown.verdict == "same"


def test_better_is_only_said_where_the_interval_excludes_zero() -> None:
    assert Difference(0.2, 0.1, 0.3).verdict == "better"
    assert Difference(0.2, -0.1, 0.3).verdict == "same"
    assert Difference(0.2, 0.0, 0.3).verdict == "same"
    assert Difference(-0.2, -0.3, -0.1).verdict == "worse"
    # Of 0 to 200, the middle 95 %.
    drawn = difference(100.0, np.arange(201.0), 10)
    assert (drawn.low, drawn.high) == pytest.approx((5, 195))
    few = difference(100.0, np.arange(201.0), 9)
    assert math.isnan(few.low)
    assert few.verdict == "same"


def test_a_lead_that_every_customer_agrees_on_is_better_and_one_that_they_do_not_is_the_same() -> None:
    # Right for every other customer and wrong for the rest, and a peer that is the contrary: no lead.
    half = np.where(np.arange(12)[:, None] % 2 == 0, RIGHT, 1 - RIGHT)
    found = judged(RIGHT, wrong=1 - RIGHT, half=half, contrary=1 - half)
    ahead = results.lead(found, "ours", "wrong", "auc")
    assert ahead is not None
    assert ahead.mean == Difference(1.0, 1.0, 1.0)
    assert (ahead.mean.verdict, ahead.count("better"), ahead.count("worse")) == ("better", 1, 0)
    behind = results.lead(found, "wrong", "ours", "ndcg_at_5")
    assert behind is not None
    # In second place of two: 1 / log2(3).
    assert behind.mean.value == pytest.approx(1 / math.log2(3) - 1)
    assert behind.mean.verdict == "worse"
    apart = results.lead(found, "half", "contrary", "auc")
    assert apart is not None
    assert apart.mean.value == 0
    assert apart.mean.low < 0 < apart.mean.high
    assert apart.mean.verdict == "same"


def test_the_lead_in_log_loss_is_how_much_lower_it_is() -> None:
    found = judged(RIGHT, even=np.full((12, 2), 0.5))
    ahead = results.lead(found, "ours", "even", "logloss")
    assert ahead is not None
    assert ahead.mean.value == pytest.approx(1 - math.log(0.75) / math.log(0.5))
    assert ahead.mean.verdict == "better"


def test_a_lead_over_shops_is_the_mean_of_the_shops_means() -> None:
    later = DAY + dt.timedelta(days=28)
    level = np.full((12, 2), 0.5)
    shops = [judged(RIGHT, "a", (DAY, later), even=level), judged(level, "b", even=level), judged(level, "c")]
    ahead = results.lead_over_shops(shops, "ours", "even", "auc")
    assert ahead is not None
    assert ahead.mean.value == pytest.approx((0.5 + 0.0) / 2)
    assert [ahead.count(verdict) for verdict in ("better", "same", "worse")] == [1, 1, 0]
    assert results.lead_over_shops(shops, "ours", "nobody", "auc") is None
    # In a resample where a shop's lead cannot be computed, the mean is that of the others.
    shops[1].resampled["ours"][DAY]["auc"][0] = np.nan
    ahead = results.lead_over_shops(shops, "ours", "even", "auc")
    assert ahead is not None
    assert list(ahead.resampled[:2]) == [0.5, 0.25]


def test_the_guard_compares_with_the_better_of_what_is_simple_and_the_worst_comes_first() -> None:
    # At first right; then all alike, against an adoption rate that is right and a popularity that is wrong.
    simple = {"adoption_rate": RIGHT, "popularity": 1 - RIGHT}
    good, bad = judged(RIGHT, "good", **simple), judged(np.full((12, 2), 0.6), "bad", **simple)
    first, last = results.guard([good, bad], "ours")
    assert (first.shop, first.cutoff, first.adopters) == ("bad", DAY, 12)
    assert first.simple == {
        "auc": ("adoption_rate", 1.0),
        "ndcg_at_5": ("adoption_rate", 1.0),
        "logloss": ("constant", pytest.approx(math.log(2))),
    }
    assert first.ahead["auc"] == Difference(-0.5, -0.5, -0.5)
    # Of equal scores the first category is in front: right for half, second place for half.
    assert first.ahead["ndcg_at_5"].value == pytest.approx((1 + 1 / math.log2(3)) / 2 - 1)
    # Half of the pairs are adopted: -ln(.6) and -ln(.4) against ln 2.
    expected = 1 + (math.log(0.6) + math.log(0.4)) / 2 / math.log(2)
    assert first.ahead["logloss"].value == pytest.approx(expected)
    assert first.broken == ["auc", "ndcg_at_5", "logloss"]
    assert first.worst == pytest.approx(50)
    assert "auc" in first.certain
    assert (last.shop, last.broken, last.ahead["auc"]) == ("good", [], Difference(0.0, 0.0, 0.0))


def test_a_bar_holds_up_to_its_limit_and_no_further() -> None:
    def row(auc: float, ndcg: float, logloss: float) -> results.Guarded:
        ahead = {"auc": auc, "ndcg_at_5": ndcg, "logloss": logloss}
        differences = {figure: Difference(value, value, value + 0.005) for figure, value in ahead.items()}
        return results.Guarded("shop", DAY, 4, {}, {}, differences)

    assert row(0.76 - 0.77, -0.02, -0.01).broken == []
    assert row(-0.011, -0.021, -0.011).broken == ["auc", "ndcg_at_5", "logloss"]
    assert row(-0.011, -0.003, -0.003).certain == ["auc"]
    # A small score's bar is broken, but chance explains it.
    assert results.Guarded("shop", DAY, 4, {}, {}, {"auc": Difference(-0.2, -0.5, 0.1)}).certain == []


def test_a_window_without_an_adoption_is_not_compared() -> None:
    found = Results({"shop": "quiet"})
    known = (RIGHT, RIGHT, CANDIDATES, np.zeros_like(BOUGHT))
    for method in ("ours", "popularity"):
        found.add(method, DAY, metrics.evaluate(*known), metrics.resampled(*known, metrics.resamples(12)), "", 0.0)
    (row,) = results.guard([found], "ours")
    assert (row.ahead, row.broken, row.worst) == ({}, [], -math.inf)
    assert results.level([found], "ours").ratios == {("quiet", DAY): math.inf}


def level_of(*sums: tuple[float, float, bool | None]) -> results.Level:
    found = Results({"shop": "shop"})
    for number, (predicted, observed, covered) in enumerate(sums):
        figures = {"predicted": predicted, "observed": observed}
        found.add(
            "ours",
            DAY + dt.timedelta(days=number),
            figures if covered is None else {**figures, "covered": covered},
            {},
            "",
            0.0,
        )
    return results.level([found], "ours")


def test_the_level_is_the_median_distance_the_share_within_and_the_coverage() -> None:
    found = level_of((110, 100, True), (50, 100, False), (100, 100, None), (160, 100, True))
    assert found.median == pytest.approx((math.log(1.1) + math.log(1.6)) / 2)
    assert found.within == 0.5
    assert found.coverage == pytest.approx(2 / 3)
    assert found.as_json()["cutoffs_with_interval"] == 3
    assert level_of((67, 100, None), (150, 100, None), (66, 100, None), (151, 100, None)).within == 0.5


def test_a_level_of_nothing_and_of_nothing_predicted() -> None:
    assert math.isnan(level_of().median)
    # Nothing predicted and nothing came: nothing to judge.
    assert level_of((0, 0, None), (0, 5, None)).ratios == {("shop", DAY + dt.timedelta(days=1)): 0.0}
    assert level_of((0, 5, None)).median == math.inf


def test_the_interval_holds_what_came_up_to_its_limits() -> None:
    low, high = np.full((12, 2), 0.25), np.full((12, 2), 0.5)  # 6 to 12; 12 came
    assert metrics.interval(low, high, CANDIDATES, BOUGHT) == {
        "predicted_low": 6.0,
        "predicted_high": 12.0,
        "covered": True,
    }
    assert not metrics.interval(low, high - 0.01, CANDIDATES, BOUGHT)["covered"]
    assert not metrics.interval(low + 0.26, high + 0.26, CANDIDATES, BOUGHT)["covered"]
    unknown = low.copy()
    unknown[0, 0] = np.nan
    assert metrics.interval(unknown, high, CANDIDATES, BOUGHT) == {}
