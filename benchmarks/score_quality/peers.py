"""Other ways to score the same pairs, each given nothing but the purchases up to the cutoff.

Whatever a peer chooses (factors, strength of regularisation, number of trees) it chooses on the window before the
cutoff, whose labels are past by then, never by the labels that are reported. All are deterministic: seeds are fixed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from benchmarks.score_quality.metrics import Floats, logistic, logloss, top
from benchmarks.score_quality.predictions import Prediction
from benchmarks.score_quality.windows import Purchases, Window

# Windows that rates are counted on and that models are trained on, the newest ending at the cutoff.
WINDOWS = 3
# A category's rate is shrunk toward that of all with the weight of this many candidates.
PRIOR_CANDIDATES = 50
# The same for what adopters spend, by the weight of this many adopters.
PRIOR_SPENDERS = 5
# What owners of one category begin next: an older window counts this much of the one after it, and rates are shrunk
# toward the category's own with the weight of this many candidates, or of as many as bring this many adopters.
EVIDENCE_WINDOW_WEIGHT = 0.7
EVIDENCE_PRIOR_CANDIDATES = 500
EVIDENCE_PRIOR_ADOPTERS = 5
# The same weeks of last year: whole weeks, so that the days of the week are the same.
YEAR_DAYS = 364
NEIGHBOURS = 50
ALS_FACTORS = (8, 16, 32)
EASE_LAMBDAS = (20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)
# EASE inverts a dense matrix of categories: beyond this it takes minutes and gigabytes.
EASE_MOST_CATEGORIES = 5000
# Rows that LightGBM and the regression learn from: more do not change them, and large shops have a hundred times that.
MOST_ROWS = 1_500_000
# Pairs that are scored at a time: fifteen features of this many pairs are 240 MB.
CHUNK_PAIRS = 2_000_000
SEED = 20171203


class CannotSayError(Exception):
    """A peer has nothing to say about this shop at this cutoff; the message says why."""


@dataclass(frozen=True, eq=False)
class History:
    """What a peer may see.

    Attributes:
        purchases: up to and including the day.
        day: in days since 1970-01-01.
    """

    purchases: Purchases
    day: int

    @cached_property
    def now(self) -> Window:
        """The pairs to score; what they bought next is not known."""
        return self.purchases.window(self.day)

    @cached_property
    def past(self) -> list["Past"]:
        """Earlier windows whose labels are known by now, the newest first: where somebody bought a candidate."""
        known = []
        first = self.purchases.day.min(initial=self.day)
        for ago in range(1, WINDOWS + 1):
            day = self.day - ago * self.purchases.horizon_days
            if day < first:
                break
            window = self.purchases.window(day)
            if window.adopted.any():
                known.append(Past(History(self.purchases.until(day), day), window))
        return known

    def need_past(self) -> list["Past"]:
        """`past`, or an error that says that there is none."""
        if not self.past:
            days = self.purchases.horizon_days
            raise CannotSayError(
                f"no history: before the cutoff no {days} days in which a customer tried a new category"
            )
        return self.past

    @cached_property
    def rate(self) -> Floats:
        """Adopters over candidates of each category, shrunk toward the rate of all (beta-binomial posterior mean).

        One rate per category, in (0, 1). An error where `need_past` is one.
        """
        return _rates([earlier.window for earlier in self.need_past()])

    @cached_property
    def mean_spend(self) -> Floats:
        """What a category's adopters spent within the horizon, shrunk toward that of all; an error as for `rate`."""
        past = self.need_past()
        adopters = sum(earlier.window.adopted.sum(axis=0) for earlier in past)
        spent = sum(
            np.bincount(np.nonzero(window.adopted)[1], window.spent, minlength=self.purchases.categories)
            for window in (earlier.window for earlier in past)
        )
        mean = spent.sum() / adopters.sum()
        return (spent + PRIOR_SPENDERS * mean) / (adopters + PRIOR_SPENDERS)

    @cached_property
    def category_features(self) -> Floats:
        """Categories x the first four of FEATURES."""
        return np.c_[self.rate, self.recent_share(28), self.recent_share(90), self.season]

    @cached_property
    def season(self) -> Floats:
        """By how much a category's adoption rate rose in the same days of last year, in log odds.

        Compared with the windows before those days; for a category that was not yet sold in all of them, the rise of
        all others together. nan for all where the days are not in the history.
        """
        year, horizon = self.day - YEAR_DAYS, self.purchases.horizon_days
        first = self.purchases.day.min(initial=self.day)
        starts = [year - ago * horizon for ago in range(WINDOWS + 1)]
        known = [self.purchases.window(start) for start in starts if start >= first and horizon <= YEAR_DAYS]
        sold = known[-1].owned.any(axis=0) if len(known) > 1 else np.zeros(self.purchases.categories, dtype=bool)
        then, before = known[:1], known[1:]
        if not all(any(window.adopted[:, sold].any() for window in windows) for windows in (then, before)):
            return np.full(self.purchases.categories, np.nan)
        return _log_odds(_rates(then, sold)) - _log_odds(_rates(before, sold))

    @cached_property
    def customer_features(self) -> Floats:
        """Active customers x the last eight of FEATURES."""
        purchases, day, size = self.purchases, self.day, self.purchases.customers
        recent = [
            np.bincount(purchases.basket_customer[late], purchases.baskets[late], minlength=size)
            for late in (purchases.basket_day > day - days for days in (28, 90))
        ]
        newest, oldest = np.full(size, np.iinfo(np.int32).min), np.full(size, np.iinfo(np.int32).max)
        np.maximum.at(newest, purchases.customer, purchases.day)
        np.minimum.at(oldest, purchases.customer, purchases.day)
        adoptions = purchases.adoptions
        newest_adoption = np.full(size, np.iinfo(np.int32).min)
        np.maximum.at(newest_adoption, purchases.customer[adoptions], purchases.day[adoptions])
        new = [
            np.bincount(purchases.customer[adoptions[late]], minlength=size)
            for late in (purchases.day[adoptions] > day - windows * purchases.horizon_days for windows in (1, WINDOWS))
        ]
        owned = self.now.owned.sum(axis=1)
        columns = (owned, *recent, *new, day - newest_adoption, day - newest, day - oldest)
        return np.stack(columns, axis=1)[self.now.customers].astype(np.float64)

    @cached_property
    def evidence(self) -> tuple[Floats, Floats]:
        """Active customers x categories: what the customer's categories say about who begins which next, damped.

        The first by all that the customer owns, the second by what they began within the last windows. Zeros where
        there is no past to learn from.
        """
        return self._evidence(None), self._evidence(WINDOWS * self.purchases.horizon_days)

    def _evidence(self, days: int | None) -> Floats:
        size = self.purchases.categories
        candidates, adopters = np.zeros(size), np.zeros(size)
        owner_candidates, owner_adopters = np.zeros((size, size)), np.zeros((size, size))
        for earlier in self.past:
            age = (self.day - earlier.window.day) // self.purchases.horizon_days - 1
            weight = EVIDENCE_WINDOW_WEIGHT**age
            owned, adopted = earlier.history.owned_since(days), _sparse(earlier.window.adopted)
            own_it = _sparse(earlier.window.owned_by_active)
            candidates += weight * earlier.window.candidates.sum(axis=0)
            adopters += weight * earlier.window.adopted.sum(axis=0)
            # Candidates are all who do not own it.
            owner_candidates += weight * (owned.sum(axis=0).reshape(-1, 1) - (owned.T @ own_it).toarray())
            owner_adopters += weight * (owned.T @ adopted).toarray()
        log_odds = directed_log_odds(candidates, adopters, owner_candidates, owner_adopters)
        total = self.owned_since(days) @ log_odds
        return (np.sign(total) * np.log1p(np.abs(total))).astype(np.float32)

    def owned_since(self, days: int | None) -> Any:
        """Active customers x categories, sparse: owned, of those that they began at most this many days ago."""
        owned = self.now.owned_by_active
        if days is not None:
            owned = owned & ~self.purchases.pairs(np.iinfo(np.int32).min, self.day - days)[self.now.customers]
        return _sparse(owned)

    @cached_property
    def nearness(self) -> Floats:
        """Active customers x categories: item-kNN."""
        return self.now.owned_by_active @ similarity(self.now, NEIGHBOURS)

    @cached_property
    def ease_strength(self) -> tuple[float, str]:
        """EASE's lambda as chosen on the window before, and a note of it."""
        return _chosen(self, "lambda", EASE_LAMBDAS, ease_score, default=500.0)

    def recent_share(self, days: int) -> Floats:
        """Share of the active customers who bought in each category in a number of days up to the day."""
        return self.purchases.pairs(self.day - days, self.day)[self.now.customers].mean(axis=0)


def _rates(windows: Sequence[Window], known: Any = True) -> Floats:
    """Rates of categories over windows, shrunk toward that of all; what is not known counts for nothing."""
    adopters = sum(window.adopted.sum(axis=0) for window in windows) * known
    candidates = sum(window.candidates.sum(axis=0) for window in windows) * known
    mean = adopters.sum() / candidates.sum()
    return (adopters + PRIOR_CANDIDATES * mean) / (candidates + PRIOR_CANDIDATES)


def _log_odds(rate: Floats) -> Floats:
    return np.log(rate / (1 - rate))


def _sparse(pairs: Any) -> Any:
    from scipy.sparse import csr_array

    return csr_array(pairs, dtype=np.float64)


def directed_log_odds(candidates: Floats, adopters: Floats, owner_candidates: Floats, owner_adopters: Floats) -> Floats:
    """Who owns one category and begins another: log odds of the adoption rate of owners less that of the others.

    Args:
        candidates: of each category.
        adopters: of each category.
        owner_candidates: owned x wanted category, those candidates of the wanted one who own the other.
        owner_adopters: owned x wanted category, those of them who adopted the wanted one.

    Returns:
        owned x wanted category; 0 where there is no candidate.
    """
    rate = (adopters + 1) / (candidates + PRIOR_CANDIDATES)
    prior = np.maximum(EVIDENCE_PRIOR_CANDIDATES, EVIDENCE_PRIOR_ADOPTERS / rate)
    owners = (owner_adopters + prior * rate) / (owner_candidates + prior)
    others = (adopters - owner_adopters + prior * rate) / (candidates - owner_candidates + prior)
    log_odds = _log_odds(owners) - _log_odds(others)
    # Its own owners are no candidates.
    np.fill_diagonal(log_odds, 0)
    return log_odds


@dataclass(frozen=True)
class Past:
    """An earlier window: what could be seen at its day, and what was adopted."""

    history: History
    window: Window


def popularity(history: History) -> Prediction:
    """The share of active customers who bought in the category in the days that make a customer active."""
    share = history.recent_share(history.purchases.active_days)
    return Prediction(np.broadcast_to(share, history.now.candidates.shape))


def adoption_rate(history: History) -> Prediction:
    """The share of candidates who bought in the category within the horizon, over the windows before the cutoff."""
    rates = np.broadcast_to(history.rate, history.now.candidates.shape)
    return Prediction(rates, rates, f"{len(history.past)} windows")


def knn(history: History, neighbours: int | None) -> Prediction:
    """Item-kNN: the sum of the cosine similarities of the owned categories to the wanted one (Sarwar et al., 2001).

    Args:
        history: what may be seen.
        neighbours: of each wanted category, how many of the most similar count; None: all.
    """
    return Prediction(history.now.owned_by_active @ similarity(history.now, neighbours))


def similarity(window: Window, neighbours: int | None) -> Floats:
    """Cosine similarity of categories by who bought in them: owned x wanted, the diagonal zero."""
    both = _together(window)
    size = np.sqrt(np.diag(both))
    cosine = both / np.maximum(np.outer(size, size), 1)
    np.fill_diagonal(cosine, 0)
    if neighbours is not None and neighbours < len(cosine):
        least = np.argsort(-cosine, axis=0, kind="stable")[neighbours:]
        np.put_along_axis(cosine, least, 0, axis=0)
    return cosine


def _together(window: Window) -> Floats:
    owned = window.owned.astype(np.float32)
    return owned.T @ owned


def als(history: History) -> Prediction:
    """Alternating least squares for implicit feedback (Hu, Koren and Volinsky, 2008), by the library `implicit`."""
    factors, note = _chosen(history, "factors", ALS_FACTORS, _als_score, default=8)
    return Prediction(_als_score(history, factors), None, note)


def _als_score(history: History, factors: int) -> Floats:
    from implicit.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix
    from threadpoolctl import threadpool_limits

    # The library wants BLAS to keep to one thread: its own loop is what it runs in parallel.
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(factors=factors, random_state=SEED, num_threads=1, use_gpu=False)
        model.fit(csr_matrix(history.now.owned.astype(np.float32)), show_progress=False)
    return model.user_factors[history.now.customers] @ model.item_factors.T


def ease(history: History) -> Prediction:
    """EASE, a linear item-item model in closed form (Steck, 2019)."""
    strength, note = history.ease_strength
    return Prediction(ease_score(history, strength), None, note)


def ease_score(history: History, strength: float) -> Floats:
    """X B with B = I - P / diag(P), P = (X'X + lambda I)^-1 and X who owns what (Steck, 2019, equation 8).

    Args:
        history: what may be seen.
        strength: lambda.

    Raises:
        CannotSayError: there are too many categories for a dense inverse.
    """
    count = history.purchases.categories
    if count > EASE_MOST_CATEGORIES:
        raise CannotSayError(f"{count:,} categories; the dense inverse is made for up to {EASE_MOST_CATEGORIES:,}")
    inverse = np.linalg.inv(_together(history.now).astype(np.float64) + strength * np.eye(count))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return history.now.owned_by_active @ weights


def _chosen(
    history: History, name: str, values: Sequence[Any], score: Callable[[History, Any], Floats], default: Any
) -> tuple[Any, str]:
    """The value whose score has the best NDCG@5 on the window before the cutoff; the first of equals."""
    if not history.past:
        return default, f"{name} {default:g} (no history to choose on)"
    last = history.past[0]
    reached = [
        top(np.where(last.window.candidates, score(last.history, value), -np.inf), last.window.adopted)["ndcg_at_5"]
        for value in values
    ]
    best = values[int(np.argmax(reached))]
    return best, f"{name} {best:g}"


FEATURES = (
    "adoption rate of the category",
    "its share of active customers, 28 days",
    "its share of active customers, 90 days",
    "its season: the same days of last year",
    "item-kNN",
    "who owns what the customer owns and begins it",
    "who began what the customer began lately and begins it",
    "categories of the customer",
    "baskets, 28 days",
    "baskets, 90 days",
    "categories first bought in the last horizon",
    "categories first bought in the last three horizons",
    "days since the newest of them",
    "days since the newest purchase",
    "days since the oldest purchase",
)


def _features(history: History, row: Any, category: Any) -> Floats:
    of_pair = (matrix[row, category] for matrix in (history.nearness, *history.evidence))
    return np.c_[(history.category_features[category], *of_pair, history.customer_features[row])].astype(np.float32)


def lightgbm(history: History) -> Prediction:
    """Gradient-boosted trees (Ke et al., 2017) on fifteen features of pair, category and customer.

    Learned on the windows before the cutoff; how many trees is chosen on the newest of them, by those before it.
    """
    past = [earlier for earlier in history.need_past() if earlier.history.past]
    if not past:
        raise CannotSayError("no history: features need windows before the window that is learned from")
    trees, note = 100, "100 trees (no history to choose on)"
    if len(past) > 1:
        trees = _train(past[1:], past[0]).best_iteration
        note = f"{trees} trees"
    model = _train(past, None, trees)
    return _scored(history, note, lambda row, category: model.predict(_features(history, row, category), num_threads=1))


def _train(past: Sequence[Past], judged: Past | None, trees: int = 600) -> Any:
    import lightgbm as library

    settings = {
        "objective": "binary",
        "learning_rate": 0.05,
        "num_leaves": 31,
        "min_data_in_leaf": 200,
        "feature_fraction": 0.8,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 1.0,
        "seed": SEED,
        "deterministic": True,
        "force_row_wise": True,
        # Two threads that have to share a core with anything else are ten times slower than one.
        "num_threads": 1,
        "verbose": -1,
    }
    x, y = _rows(past, _features)
    learned = library.Dataset(x, y, feature_name=[f"f{number}" for number in range(len(FEATURES))])
    if judged is None:
        return library.train(settings, learned, max(trees, 1))
    held = library.Dataset(*_rows([judged], _features), reference=learned)
    stop = library.early_stopping(30, verbose=False)
    return library.train(settings, learned, trees, valid_sets=[held], callbacks=[stop])


def _rows(past: Sequence[Past], features: Callable[[History, Any, Any], Floats]) -> tuple[Floats, Floats]:
    """Features and outcomes of the candidates of earlier windows; an even sample where there are too many."""
    generator = np.random.default_rng(SEED)
    xs, ys = [], []
    for earlier in past:
        row, category = np.nonzero(earlier.window.candidates)
        most = MOST_ROWS // len(past)
        if len(row) > most:
            kept = np.sort(generator.choice(len(row), most, replace=False))
            row, category = row[kept], category[kept]
        xs.append(features(earlier.history, row, category))
        ys.append(earlier.window.bought[row, category])
    return np.concatenate(xs), np.concatenate(ys)


def _scored(history: History, note: str, predict: Callable[[Any, Any], Floats]) -> Prediction:
    """Likelihoods of all candidates, a chunk at a time."""
    row, category = np.nonzero(history.now.candidates)
    likelihood = np.zeros(history.now.candidates.shape)
    for start in range(0, len(row), CHUNK_PAIRS):
        some = slice(start, start + CHUNK_PAIRS)
        likelihood[row[some], category[some]] = predict(row[some], category[some])
    return Prediction(likelihood, likelihood, note)


# Columns of the regression: what it always has, and what it takes where that helps on the window before the cutoff.
BASE = tuple(range(9))
SEASON, NEXT = (9,), (10, 11, 12, 13)
COLUMNS = {"": BASE, "season": BASE + SEASON, "next": BASE + NEXT, "season and next": BASE + SEASON + NEXT}


def stacked(history: History) -> Prediction:
    """A logistic regression over the category's adoption rate, EASE and the customer's activity.

    Also, where they help on the window before the cutoff: the category's season, and what is begun next.
    """
    past = [earlier for earlier in history.need_past() if earlier.history.past]
    if not past:
        raise CannotSayError("no history: features need windows before the window that is learned from")
    strength, note = history.ease_strength
    ease_scores = {
        id(known): ease_score(known, strength) for known in (history, *(earlier.history for earlier in past))
    }

    def features(known: History, row: Any, category: Any) -> Floats:
        log_odds = _log_odds(known.rate)[category]
        ease = ease_scores[id(known)][row, category]
        categories, baskets, _, adopted_last, adopted, adoption_days, days, _ = np.log1p(known.customer_features)[row].T
        base = (np.ones(len(row)), log_odds, ease, ease * ease, ease * log_odds, categories, baskets, adopted, days)
        season = np.nan_to_num(known.season)[category]
        evidence = (matrix[row, category] for matrix in known.evidence)
        return np.stack((*base, season, *evidence, adopted_last, adoption_days), axis=1)

    x, y = _rows(past[:1], features)
    columns = BASE
    if len(past) > 1:
        earlier = _rows(past[1:], features)
        losses = {}
        for name, kept in COLUMNS.items():
            weights = _regression(earlier[0][:, kept], earlier[1])
            losses[name] = logloss(y, _likelihood(x[:, kept], weights)) if np.isfinite(weights).all() else np.inf
        best = min(losses, key=lambda name: losses[name])
        columns = COLUMNS[best]
        note += f", {best}" if best else ""
        x, y = np.concatenate((x, earlier[0])), np.concatenate((y, earlier[1]))
    weights = _regression(x[:, columns], y)
    if not np.isfinite(weights).all():
        raise CannotSayError("the regression does not settle on so few adoptions")
    return _scored(
        history, note, lambda row, category: _likelihood(features(history, row, category)[:, columns], weights)
    )


def _regression(x: Floats, y: Floats) -> Floats:
    scale = np.maximum(np.abs(x).max(axis=0), 1e-9)
    # A little ridge on all but the intercept keeps tiny shops, where a line may separate the outcomes, finite.
    return logistic(x / scale, y, ridge=np.r_[0.0, np.full(x.shape[1] - 1, 1e-2)]) / scale


def _likelihood(x: Floats, weights: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))


PEERS: dict[str, Callable[[History], Prediction]] = {
    "popularity": popularity,
    "adoption_rate": adoption_rate,
    "knn_all": lambda history: knn(history, None),
    "knn_50": lambda history: knn(history, NEIGHBOURS),
    "als": als,
    "ease": ease,
    "lightgbm": lightgbm,
    "stacked": stacked,
}
