"""The figures of a score: how well it ranks, and whether its likelihoods are calibrated."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.score_quality.windows import Window

TOP_K = 5
EQUAL_COUNT_BINS = 20
EQUAL_SHARE_BINS = 10
RESAMPLES = 200
SEED = 20171203

Floats: TypeAlias = NDArray[np.floating[Any]]
Bools: TypeAlias = NDArray[np.bool_]
Counts: TypeAlias = NDArray[np.int16]


def evaluate(score: Floats, probability: Floats | None, candidates: Bools, bought: Bools) -> dict[str, Any]:
    """Judge a score by what customers bought next.

    Args:
        score: one row per active customer, one column per category; higher is more likely. Of equal scores the category
            that comes first counts as ranked first.
        probability: the same as likelihoods in [0, 1], or None where the method gives none.
        candidates: which pairs are judged.
        bought: which pairs were adopted.

    Returns:
        pairs, customers (with at least one purchase of a candidate), base_rate, auc, and the means over those customers
        of recall_at_5, ndcg_at_5, precision_at_5 and hit_at_5; with a probability also logloss, logloss_of_base_rate,
        ece, predicted and observed (sums), predicted_over_observed, bins (see `bins`),
        worst_bin_predicted_over_observed and calibration_slope. What cannot be computed (without any purchase, for
        example) is nan.
    """
    y = bought[candidates]
    wanted = bought & candidates
    figures: dict[str, Any] = {
        "pairs": int(candidates.sum()),
        "customers": int(wanted.any(axis=1).sum()),
        "base_rate": float(y.mean()) if len(y) else np.nan,
        "auc": auc(y, score[candidates]),
        **top(np.where(candidates, score, -np.inf), wanted),
    }
    if probability is not None:
        p = np.asarray(probability[candidates], dtype=np.float64)
        held = bins(y, p)
        figures |= {
            "logloss": logloss(y, p),
            "logloss_of_base_rate": logloss(y, np.full(len(y), figures["base_rate"])),
            "ece": ece(y, p),
            "predicted": float(p.sum()),
            "observed": int(y.sum()),
            "predicted_over_observed": float(p.sum() / y.sum()) if y.any() else np.nan,
            "worst_bin_predicted_over_observed": worst(held),
            "calibration_slope": calibration_slope(y, p),
            "bins": held,
        }
    return figures


def interval(low: Floats, high: Floats, candidates: Bools, bought: Bools) -> dict[str, Any]:
    """Whether the interval of the level holds what came: the sum of all low likelihoods to the sum of all high ones.

    Args:
        low: customers x categories, where the interval of each likelihood begins.
        high: where it ends.
        candidates: see `evaluate`.
        bought: see `evaluate`.

    Returns:
        predicted_low, predicted_high and covered; nothing where the interval of any pair is unknown.
    """
    least, most = float(low[candidates].sum()), float(high[candidates].sum())
    if not np.isfinite([least, most]).all():
        return {}
    covered = least <= bought[candidates].sum() <= most
    return {"predicted_low": least, "predicted_high": most, "covered": bool(covered)}


def money(
    expected_spend: Floats, probability: Floats, mean_spend: Floats, window: Window, counts: Counts
) -> tuple[dict[str, Any], dict[str, Floats]]:
    """Judge expected spend by what those who adopted spent, and expected value by what came.

    Args:
        expected_spend: active customers x categories, what an adopter spends within the horizon; nan where unknown.
        probability: of the same pairs.
        mean_spend: of each category, what its adopters spent before: what a customer's own expected spend must beat.
        window: the pairs and what was spent.
        counts: resamples x active customers, see `resampled`.

    Returns:
        Figures and resampled figures. Figures: adopted_pairs (with a known expected spend), spent (their mean),
        spend_mae and spend_mae_of_mean (mean absolute error of the expected spend, and of the category's mean),
        expected_value (sum of likelihood times expected spend), came (what was spent in all adopted pairs) and their
        ratio expected_over_came; and expected_spend_over_spent, the same for the adopted pairs alone. nan where nothing
        came. Resampled: spend_mae and spend_mae_of_mean.
    """
    row, category = np.nonzero(window.adopted)
    expected = expected_spend[row, category]
    known = np.isfinite(expected)
    row, expected, spent = row[known], expected[known], window.spent[known]
    errors = np.abs(expected - spent), np.abs(mean_spend[category[known]] - spent)
    value = float(np.nansum(np.where(window.candidates, probability * expected_spend, 0)))
    came = float(window.spent.sum())
    size = len(window.customers)
    pairs = counts @ np.bincount(row, minlength=size).astype(np.float64)
    names = ("spend_mae", "spend_mae_of_mean")
    return {
        "adopted_pairs": len(spent),
        "spent": float(spent.mean()) if len(spent) else np.nan,
        **{name: float(error.mean()) if len(error) else np.nan for name, error in zip(names, errors, strict=True)},
        "expected_value": value,
        "came": came,
        "expected_over_came": value / came if came else np.nan,
        "expected_spend_over_spent": float(expected.sum() / spent.sum()) if spent.sum() else np.nan,
    }, {
        name: _ratio(counts @ np.bincount(row, error, minlength=size), pairs)
        for name, error in zip(names, errors, strict=True)
    }


def resamples(customers: int, count: int = RESAMPLES) -> Counts:
    """Draw customers with replacement, as many as there are, again and again (Efron, 1979); the same in each run.

    All pairs of a customer are drawn together, at all cutoffs, because they are not independent.

    Args:
        customers: how many there are.
        count: how often.

    Returns:
        Resamples x customers: how often each was drawn.
    """
    generator = np.random.default_rng(SEED)
    drawn = (np.bincount(generator.integers(customers, size=customers), minlength=customers) for _ in range(count))
    return np.stack([np.asarray(counts, dtype=np.int16) for counts in drawn])


def resampled(
    score: Floats, probability: Floats | None, candidates: Bools, bought: Bools, counts: Counts
) -> dict[str, Floats]:
    """Judge a score in each resample of the customers, for the intervals of differences.

    Args:
        score: see `evaluate`.
        probability: see `evaluate`.
        candidates: see `evaluate`.
        bought: see `evaluate`.
        counts: resamples x customers, how often each is drawn.

    Returns:
        auc and ndcg_at_5, with a probability also logloss and logloss_of_base_rate (of each resample): one value per
        resample, nan where it cannot be computed, such as without any purchase.
    """
    row, _ = np.nonzero(candidates)
    y, s = bought[candidates], score[candidates]
    not_adopted = ~y
    order = np.argsort(s[not_adopted], kind="stable")
    below_rows = row[not_adopted][order].astype(np.int32)
    below, reached, above_rows = s[not_adopted][order], s[y], row[y]
    first, last = np.searchsorted(below, reached, "left"), np.searchsorted(below, reached, "right")
    areas = np.full(len(counts), np.nan)
    for number, drawn in enumerate(counts):
        until = np.r_[0, np.cumsum(drawn[below_rows], dtype=np.int64)]
        weight = drawn[above_rows].astype(np.float64)
        total = weight.sum() * until[-1]
        if total:
            # Equal scores count half, as in `auc`.
            areas[number] = (weight * (until[first] + until[last])).sum() / 2 / total
    wanted = bought & candidates
    buyers = wanted.any(axis=1)
    gains = _ndcg(*_hits(np.where(candidates, score, -np.inf)[buyers], wanted[buyers]))
    figures = {"auc": areas, f"ndcg_at_{TOP_K}": _ratio(counts[:, buyers] @ gains, counts[:, buyers].sum(axis=1))}
    if probability is not None:
        size = len(candidates)
        losses = np.bincount(row, _losses(y, probability[candidates].astype(np.float64)), minlength=size)
        pairs = counts @ np.bincount(row, minlength=size).astype(np.float64)
        rate = _ratio(counts @ np.bincount(row, y, minlength=size), pairs)
        rate[(rate == 0) | (rate == 1)] = np.nan
        figures |= {
            "logloss": _ratio(counts @ losses, pairs),
            "logloss_of_base_rate": -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate)),
        }
    return figures


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole != 0)


def auc(y: Bools, score: Floats) -> float:
    """The chance that an adopted pair has a higher score than one that was not adopted; equal scores count half.

    From rank sums: U / (n1 n0) of Mann and Whitney (1947), with mean ranks for ties; Hanley and McNeil (1982).

    Args:
        y: whether each pair was adopted.
        score: of the same pairs.

    Returns:
        0 to 1; nan when all pairs were adopted or none was.
    """
    positives = int(y.sum())
    negatives = len(y) - positives
    if not positives or not negatives:
        return float("nan")
    order = np.argsort(score, kind="stable")
    ordered = score[order]
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    counts = np.diff(np.r_[first, len(ordered)])
    ranks = np.repeat(first + (counts + 1) / 2, counts)  # ranks from 1
    u = ranks[y[order]].sum() - positives * (positives + 1) / 2
    return float(u / (positives * negatives))


def top(score: Floats, wanted: Bools, k: int = TOP_K) -> dict[str, float]:
    """How much of what a customer bought is among the k categories with the highest score.

    Recall is capped: divided by what k places can hold at most. The gain of a hit in place r (from 1), 1 / log2(r + 1),
    is divided by the gain of the best order: NDCG of Järvelin and Kekäläinen (2002) with binary relevance.

    Args:
        score: customers x categories; -inf where a pair is no candidate.
        wanted: customers x categories, what was adopted.
        k: places.

    Returns:
        recall_at_k, ndcg_at_k, precision_at_k and hit_at_k, means over the customers who bought at least one; nan
        where no customer did.
    """
    rows = wanted.any(axis=1)
    if not rows.any():
        return {f"{name}_at_{k}": float("nan") for name in ("recall", "ndcg", "precision", "hit")}
    hits, possible = _hits(score[rows], wanted[rows], k)
    hit_counts = hits.sum(axis=1)
    return {
        f"recall_at_{k}": float((hit_counts / possible).mean()),
        f"ndcg_at_{k}": float(_ndcg(hits, possible).mean()),
        f"precision_at_{k}": float((hit_counts / k).mean()),
        f"hit_at_{k}": float((hit_counts > 0).mean()),
    }


def _hits(score: Floats, wanted: Bools, k: int = TOP_K) -> tuple[Bools, NDArray[np.integer[Any]]]:
    """Customers x places: whether what is ranked there was adopted; and how many hits are possible."""
    # A stable sort of all columns, not a partition: it decides which of equal scores comes first.
    best = np.argsort(-score, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(wanted, best, axis=1), np.minimum(wanted.sum(axis=1), k)


def _ndcg(hits: Bools, possible: NDArray[np.integer[Any]]) -> Floats:
    """NDCG of each customer."""
    gain = 1 / np.log2(np.arange(max(hits.shape[1], possible.max(initial=0))) + 2)
    return (hits @ gain[: hits.shape[1]]) / np.cumsum(gain)[possible - 1]


def logloss(y: Bools, p: Floats) -> float:
    """Mean negative log likelihood of what happened (Good, 1952), in nats; p is kept 1e-6 away from 0 and 1."""
    return float(_losses(y, p).mean()) if len(y) else float("nan")


def _losses(y: Bools, p: Floats) -> Floats:
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return -np.log(np.where(y, p, 1 - p))


def ece(y: Bools, p: Floats, count: int = EQUAL_COUNT_BINS) -> float:
    """Expected calibration error: mean over the pairs of |predicted - observed rate| of their bin.

    Bins hold equally many pairs: the adaptive form of Nguyen and O'Connor (2015) of the error of Naeini et al. (2015).

    Args:
        y: whether each pair was adopted.
        p: likelihoods of the same pairs.
        count: number of bins.
    """
    if not len(y):
        return float("nan")
    order = np.argsort(p, kind="stable")
    sizes = np.full(count, len(y) // count) + (np.arange(count) < len(y) % count)
    edges = np.r_[0, np.cumsum(sizes)]
    excess = np.r_[0, np.cumsum(p[order] - y[order])][edges]
    return float(np.abs(np.diff(excess)).sum() / len(y))


def bins(y: Bools, p: Floats, count: int = EQUAL_SHARE_BINS) -> list[dict[str, float]]:
    """Predicted and observed purchases in bins that hold an equal share of the predicted purchases each.

    With a low base rate nearly all pairs are unlikely ones, and bins of equally many pairs would say nothing about the
    few likely ones that people act upon.

    Args:
        y: whether each pair was adopted.
        p: likelihoods of the same pairs.
        count: number of bins; those that would be empty, because one pair holds more than a share, are left out.

    Returns:
        From the least to the most likely: pairs, predicted and observed purchases and predicted_over_observed (by at
        least one observed).
    """
    p = np.clip(p, 1e-9, 1 - 1e-9)
    order = np.argsort(p, kind="stable")
    share = np.cumsum(p[order]) / p.sum()
    # The tolerance keeps a bin's last pair, and the last pair of all, on this side of an edge that rounding moved.
    number = np.clip(np.ceil(share * count - 1e-11) - 1, 0, count - 1).astype(np.int64)
    pairs = np.bincount(number, minlength=count)
    predicted = np.bincount(number, p[order], minlength=count)
    observed = np.bincount(number, y[order], minlength=count)
    return [
        {
            "pairs": int(pairs[n]),
            "predicted": float(predicted[n]),
            "observed": int(observed[n]),
            "predicted_over_observed": float(predicted[n] / max(observed[n], 1)),
        }
        for n in np.flatnonzero(pairs)
    ]


def worst(held: list[dict[str, float]]) -> float:
    """Predicted over observed of the bin whose ratio is furthest from 1, on a logarithmic scale."""
    ratios = [bin_figures["predicted_over_observed"] for bin_figures in held]
    return max(ratios, key=lambda ratio: abs(np.log(ratio)), default=float("nan"))


def calibration_slope(y: Bools, p: Floats) -> float:
    """Slope of a logistic regression of what happened on the log odds of the likelihood (Cox, 1958).

    Args:
        y: whether each pair was adopted.
        p: likelihoods of the same pairs.

    Returns:
        1 = calibrated, below 1 = too sure, above 1 = not sure enough; nan where it cannot be computed: all pairs have
        the same likelihood, or the same outcome.
    """
    # What is called impossible would have an infinite pull.
    p = np.clip(p, 1e-9, 1 - 1e-9)
    x = np.clip(np.log(p) - np.log1p(-p), -20, 20)
    if not y.any() or y.all() or np.ptp(x) < 1e-9:
        return float("nan")
    return float(logistic(np.c_[np.ones(len(x)), x], y, start=np.array([0.0, 1.0]))[1])


def logistic(x: Floats, y: Bools, start: Floats | None = None, ridge: Floats | float = 0.0) -> Floats:
    """Fit a logistic regression by Newton steps (iteratively reweighted least squares; Hastie et al., 4.4.1).

    A step that does not lower the loss is halved: from a start that is far too sure, whole steps run away.

    Args:
        x: rows x features, with a column of ones where an intercept is wanted.
        y: rows, whether it happened.
        start: coefficients to start from; default: zeros.
        ridge: penalty on the squared coefficients, one for all or one for each.

    Returns:
        The coefficients; nan where the steps do not settle (outcomes that a line separates).
    """
    w = np.zeros(x.shape[1]) if start is None else np.array(start, dtype=np.float64)
    penalty = np.broadcast_to(ridge, w.shape)
    sign = np.where(y, -1.0, 1.0)

    def loss(w: Floats) -> float:
        return float(np.logaddexp(0, sign * (x @ w)).sum() + (penalty * w * w).sum() / 2)

    now = loss(w)
    for _ in range(50):
        q = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        try:
            step = np.linalg.solve((x * (q * (1 - q))[:, None]).T @ x + np.diag(penalty), x.T @ (y - q) - penalty * w)
        except np.linalg.LinAlgError:
            break
        # The rounding error of a sum of many losses must not pass for a loss that grew.
        while (then := loss(w + step)) > now + 1e-9 * abs(now) and np.abs(step).max() > 1e-8:
            step /= 2
        w, now = w + step, then
        if np.abs(step).max() < 1e-6:
            return w
    return np.full_like(w, np.nan)
