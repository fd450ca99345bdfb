"""The figures, on numbers that can be added up by hand."""

import math
from typing import Any

import pytest

np = pytest.importorskip("numpy", reason="needs the group benchmark")

from benchmarks.score_quality import metrics  # noqa: E402


def flags(text: str) -> Any:
    return np.array([letter == "1" for letter in text])


def test_auc_is_the_share_of_pairs_in_the_right_order_and_ties_count_half() -> None:
    # Of 2 x 3 pairs (bought, not bought): .9 beats all 3; .5 beats .1 and ties with .5, loses to .7.
    assert metrics.auc(flags("10100"), np.array([0.9, 0.7, 0.5, 0.5, 0.1])) == pytest.approx(4.5 / 6)


def test_auc_of_one_score_for_all_is_a_half() -> None:
    assert metrics.auc(flags("0110"), np.full(4, 0.3)) == 0.5


@pytest.mark.parametrize("y", ["111", "000"])
def test_auc_is_undefined_when_all_outcomes_are_the_same(y: str) -> None:
    assert math.isnan(metrics.auc(flags(y), np.array([0.1, 0.2, 0.3])))


def test_the_best_five_of_a_customer() -> None:
    # Ranked 6, 5, ..., 1; bought the 1st, the 3rd and the 6th: two of three found in five places.
    score = np.array([[6.0, 5.0, 4.0, 3.0, 2.0, 1.0]])
    figures = metrics.top(score, flags("101001")[None])
    best = 1 + 1 / math.log2(3) + 1 / 2
    assert figures == {
        "recall_at_5": pytest.approx(2 / 3),
        "ndcg_at_5": pytest.approx((1 + 1 / 2) / best),
        "precision_at_5": pytest.approx(2 / 5),
        "hit_at_5": 1.0,
    }


def test_recall_is_capped_by_the_number_of_places() -> None:
    assert metrics.top(np.arange(8.0)[None], np.ones((1, 8), dtype=bool))["recall_at_5"] == 1.0


def test_customers_who_bought_nothing_new_do_not_count_and_what_is_owned_ranks_last() -> None:
    score = np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [-np.inf, 2.0, 1.0]])
    wanted = np.array([flags("100"), flags("000"), flags("001")])
    figures = metrics.top(score, wanted, k=1)
    assert figures["hit_at_1"] == 0.5  # the first finds it, the third has another in first place


def test_of_equal_scores_the_first_category_ranks_first() -> None:
    assert metrics.top(np.zeros((1, 3)), flags("100")[None], k=1)["hit_at_1"] == 1.0
    assert metrics.top(np.zeros((1, 3)), flags("010")[None], k=1)["hit_at_1"] == 0.0


def test_fewer_categories_than_places() -> None:
    figures = metrics.top(np.array([[2.0, 1.0]]), flags("01")[None])
    assert figures["recall_at_5"] == 1.0
    assert figures["precision_at_5"] == pytest.approx(1 / 5)
    assert figures["ndcg_at_5"] == pytest.approx(1 / math.log2(3))


def test_without_purchases_the_figures_are_undefined() -> None:
    assert all(map(math.isnan, metrics.top(np.zeros((2, 3)), np.zeros((2, 3), dtype=bool)).values()))


def test_logloss_is_the_mean_surprise_and_stays_finite() -> None:
    assert metrics.logloss(flags("10"), np.array([0.8, 0.4])) == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2)
    assert metrics.logloss(flags("1"), np.array([0.0])) == pytest.approx(-math.log(1e-6))


def test_calibration_error_is_the_mean_gap_of_bins_of_equally_many_pairs() -> None:
    # Bins {.1, .2, .3} and {.5, .9}: sums .6 against 1 and 1.4 against 2; gaps .4 + .6 over 5 pairs.
    p = np.array([0.9, 0.1, 0.2, 0.3, 0.5])
    assert metrics.ece(flags("10011"), p, count=2) == pytest.approx((0.4 + 0.6) / 5)


def test_bins_hold_equal_shares_of_the_predicted_purchases() -> None:
    # Predicted 2 in all: the four likely to .25 are one half, the two at .5 the other.
    p = np.array([0.5, 0.25, 0.25, 0.5, 0.25, 0.25])
    low, high = metrics.bins(flags("110100"), p, count=2)
    assert low == {"pairs": 4, "predicted": 1.0, "observed": 1, "predicted_over_observed": 1.0}
    assert high == {"pairs": 2, "predicted": 1.0, "observed": 2, "predicted_over_observed": 0.5}
    assert metrics.worst([low, high]) == 0.5


def test_a_pair_larger_than_a_bin_leaves_bins_out() -> None:
    held = metrics.bins(flags("010"), np.array([0.05, 0.9, 0.05]), count=10)
    assert [bin_figures["pairs"] for bin_figures in held] == [2, 1]
    assert [bin_figures["predicted"] for bin_figures in held] == pytest.approx([0.1, 0.9])


def test_the_slope_is_1_when_calibrated_and_a_half_when_twice_too_sure() -> None:
    # 1 of 10 at one likelihood, 9 of 10 at the other.
    y = np.r_[flags("1000000000"), flags("0111111111")]
    calibrated = np.repeat([0.1, 0.9], 10)
    assert metrics.calibration_slope(y, calibrated) == pytest.approx(1.0)
    odds = calibrated / (1 - calibrated)
    too_sure = odds**2 / (1 + odds**2)
    assert metrics.calibration_slope(y, too_sure) == pytest.approx(0.5)


def test_a_slope_that_cannot_be_computed_is_undefined() -> None:
    assert math.isnan(metrics.calibration_slope(flags("10"), np.array([0.3, 0.3])))
    assert math.isnan(metrics.calibration_slope(flags("00"), np.array([0.3, 0.4])))
    assert math.isnan(metrics.calibration_slope(flags("01"), np.array([0.3, 0.4])))  # a line separates them


def test_a_whole_judgement() -> None:
    candidates = np.array([flags("110"), flags("011")])
    bought = np.array([flags("101"), flags("001")])  # the first customer's third category is owned already
    p = np.array([[0.6, 0.2, 0.9], [0.9, 0.4, 0.8]])
    figures = metrics.evaluate(p, p, candidates, bought)
    assert (figures["pairs"], figures["customers"], figures["base_rate"]) == (4, 2, 0.5)
    assert figures["auc"] == 1.0
    assert figures["hit_at_5"] == 1.0
    assert figures["predicted_over_observed"] == pytest.approx((0.6 + 0.2 + 0.4 + 0.8) / 2)
    assert figures["logloss_of_base_rate"] == pytest.approx(math.log(2))
    assert "logloss" not in metrics.evaluate(p, None, candidates, bought)
