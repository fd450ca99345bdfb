"""What the figures say together: leads over peers with their intervals, whether the score does harm, and its level."""

import datetime as dt
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.score_quality.metrics import Floats

Figures = Mapping[str, Any]

# What the guard compares with, and how far below the better of the two a score may be: AUC as a difference, NDCG@5 as a
# share of it. Its log loss may exceed that of the constant rate by this share.
SIMPLE = ("adoption_rate", "popularity")
MOST_BELOW = {"auc": 0.01, "ndcg_at_5": 0.02}
MOST_ABOVE_CONSTANT = 0.01
# The level: half of the cutoffs are off by less than this (on the log scale), this share within these limits, and the
# interval holds what came at this share, give or take.
LEVEL_MEDIAN = 0.10
LEVEL_LIMITS = (0.67, 1.5)
LEVEL_WITHIN = 0.90
COVERAGE, COVERAGE_TOLERANCE = 0.90, 0.05
CONFIDENCE = 0.95
# With fewer customers who adopted something, resamples say nothing about chance.
LEAST_ADOPTERS = 10

# Figures whose leads are judged; of log loss the lead is how much lower it is, as a share of the peer's.
LED = ("auc", "ndcg_at_5", "logloss")


@dataclass(frozen=True)
class Difference:
    """A difference and the interval that its resamples lie in; a limit is nan where there are too few.

    Attributes:
        value: above 0 is better.
        low: where the interval begins.
        high: where it ends.
    """

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """`better` or `worse` only where the interval excludes 0."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "same"

    def as_json(self) -> dict[str, Any]:
        """For results.json."""
        return {"value": self.value, "low": self.low, "high": self.high, "verdict": self.verdict}


def difference(value: float, resampled: Floats, adopters: int) -> Difference:
    """Take the interval from the resamples: percentiles of those where the difference can be computed.

    Args:
        value: the difference itself.
        resampled: the same in each resample of the customers, nan where it cannot be computed.
        adopters: customers with an adoption; of fewer than LEAST_ADOPTERS there is no interval.
    """
    known = resampled[np.isfinite(resampled)]
    if adopters < LEAST_ADOPTERS or len(known) * 2 < len(resampled):
        return Difference(value, math.nan, math.nan)
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Difference(value, float(low), float(high))


@dataclass
class Results:
    """Figures of every method at every cutoff of a shop.

    Attributes:
        about: what was judged: shop, level, days.
        figures: method -> cutoff -> figures of `metrics.evaluate`; empty where the method had nothing to say.
        resampled: method -> cutoff -> figures of `metrics.resampled`.
        notes: method -> cutoff -> what was chosen, or why there is nothing.
        seconds: method -> cutoff -> wall time.
    """

    about: dict[str, Any]
    figures: dict[str, dict[dt.date, Figures]] = field(default_factory=dict)
    resampled: dict[str, dict[dt.date, Mapping[str, Floats]]] = field(default_factory=dict)
    notes: dict[str, dict[dt.date, str]] = field(default_factory=dict)
    seconds: dict[str, dict[dt.date, float]] = field(default_factory=dict)

    def add(
        self,
        method: str,
        cutoff: dt.date,
        figures: Figures,
        resampled: Mapping[str, Floats],
        note: str,
        seconds: float,
    ) -> None:
        """Take in what a method reached at a cutoff."""
        self.figures.setdefault(method, {})[cutoff] = figures
        self.resampled.setdefault(method, {})[cutoff] = resampled
        self.notes.setdefault(method, {})[cutoff] = note
        self.seconds.setdefault(method, {})[cutoff] = seconds

    @property
    def name(self) -> str:
        """What the shop is called."""
        return str(self.about["shop"])

    @property
    def cutoffs(self) -> list[dt.date]:
        """All cutoffs, oldest first."""
        return sorted({cutoff for by_cutoff in self.figures.values() for cutoff in by_cutoff})

    def values(self, method: str, figure: str) -> dict[dt.date, float]:
        """One figure of one method at each cutoff where it is known, oldest first."""
        by_cutoff = self.figures.get(method, {})
        known = {cutoff: by_cutoff[cutoff].get(figure) for cutoff in sorted(by_cutoff)}
        return {cutoff: value for cutoff, value in known.items() if value is not None and math.isfinite(value)}

    def summary(self, method: str, figure: str) -> dict[str, float] | None:
        """Mean and spread over the cutoffs; the standard deviation is that of a sample, 0 for one cutoff."""
        values = list(self.values(method, figure).values())
        return summary(values) if values else None

    def has_probability(self, method: str) -> bool:
        """Whether a method gives likelihoods."""
        return any("bins" in figures for figures in self.figures[method].values())

    def joined_bins(self, method: str) -> list[dict[str, float]]:
        """A method's bins, each summed over the cutoffs; those cutoffs with fewer bins are left out."""
        held = [figures["bins"] for figures in self.figures[method].values() if "bins" in figures]
        count = max(map(len, held), default=0)
        joined = []
        for parts in zip(*(bins for bins in held if len(bins) == count), strict=True):
            total = {key: sum(part[key] for part in parts) for key in ("pairs", "predicted", "observed")}
            joined.append({**total, "predicted_over_observed": total["predicted"] / max(total["observed"], 1)})
        return joined


def summary(values: Sequence[float]) -> dict[str, float]:
    """Mean and spread."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "std": spread, "min": min(values), "max": max(values)}


@dataclass(frozen=True)
class Lead:
    """By how much a method is above a peer in one figure, where both are known.

    Attributes:
        mean: over the parts, which are the cutoffs of a shop, or shops.
        resampled: the mean in each resample, over the parts that are known in it.
        parts: the lead in each part.
        adopters: customers with an adoption, summed over the parts.
    """

    mean: Difference
    resampled: Floats
    parts: list[Difference]
    adopters: int

    def count(self, verdict: str) -> int:
        """In how many parts the verdict is this one."""
        return sum(part.verdict == verdict for part in self.parts)

    def as_json(self) -> dict[str, Any]:
        """For results.json."""
        counts = {verdict: self.count(verdict) for verdict in ("better", "same", "worse")}
        lowest = min(part.value for part in self.parts)
        return {**self.mean.as_json(), **counts, "lowest": lowest, "of": len(self.parts)}


def lead(results: Results, method: str, peer: str, figure: str) -> Lead | None:
    """The lead over a peer at a shop's cutoffs; None where no cutoff has both."""
    mine, theirs = results.values(method, figure), results.values(peer, figure)
    both = [cutoff for cutoff in mine if cutoff in theirs]
    drawn = [[results.resampled[name][cutoff][figure] for name in (method, peer)] for cutoff in both]
    return _joined(
        [float(_ahead(figure, np.array(mine[cutoff]), np.array(theirs[cutoff]))) for cutoff in both],
        [_ahead(figure, *pair) for pair in drawn],
        [results.figures[method][cutoff]["customers"] for cutoff in both],
    )


def lead_over_shops(shops: Iterable[Results], method: str, peer: str, figure: str) -> Lead | None:
    """The lead over a peer, the mean over shops of the mean over their cutoffs; None where no shop has both."""
    return _over_shops(lead(results, method, peer, figure) for results in shops)


def spend_lead(results: Results, method: str) -> Lead | None:
    """By how much the error of a method's expected spend is below that of the category's mean, as a share of it."""
    figures = results.figures.get(method, {})
    errors = {cutoff: error for cutoff, error in results.values(method, "spend_mae_of_mean").items() if error}
    drawn = [results.resampled[method][cutoff] for cutoff in errors]
    return _joined(
        [1 - figures[cutoff]["spend_mae"] / error for cutoff, error in errors.items()],
        [1 - _share(values["spend_mae"], values["spend_mae_of_mean"]) for values in drawn],
        [figures[cutoff]["customers"] for cutoff in errors],
    )


def spend_lead_over_shops(shops: Iterable[Results], method: str) -> Lead | None:
    """The same, the mean over shops."""
    return _over_shops(spend_lead(results, method) for results in shops)


def _ahead(figure: str, mine: Floats, theirs: Floats) -> Floats:
    return 1 - _share(mine, theirs) if figure == "logloss" else mine - theirs


def _over_shops(leads: Iterable[Lead | None]) -> Lead | None:
    known = [found for found in leads if found]
    return _joined(
        [found.mean.value for found in known],
        [found.resampled for found in known],
        [found.adopters for found in known],
    )


def _joined(values: list[float], resampled: list[Floats], adopters: list[int]) -> Lead | None:
    if not values:
        return None
    parts = [difference(*part) for part in zip(values, resampled, adopters, strict=True)]
    drawn = np.stack(resampled)
    known = np.isfinite(drawn)
    mean = _share(np.where(known, drawn, 0).sum(axis=0), known.sum(axis=0))
    return Lead(difference(statistics.fmean(values), mean, sum(adopters)), mean, parts, sum(adopters))


@dataclass(frozen=True)
class Guarded:
    """Whether a score does harm at one cutoff of a shop.

    Attributes:
        shop: its name.
        cutoff: the day.
        adopters: customers with an adoption.
        reached: figure -> what the score reached.
        simple: figure -> the better of SIMPLE, and what it reached; of logloss, the constant rate's.
        ahead: figure -> by how much the score is better: auc a difference, ndcg_at_5 and logloss a share of the simple
            one. Only those that can be computed.
    """

    shop: str
    cutoff: dt.date
    adopters: int
    reached: dict[str, float]
    simple: dict[str, tuple[str, float]]
    ahead: dict[str, Difference]

    @property
    def shortfalls(self) -> dict[str, float]:
        """By how many bars each figure is below the simple one."""
        return {
            figure: -ahead.value / MOST_BELOW.get(figure, MOST_ABOVE_CONSTANT) for figure, ahead in self.ahead.items()
        }

    @property
    def broken(self) -> list[str]:
        """The figures whose bar does not hold."""
        # The rounding error of a difference must not break a bar.
        return [figure for figure, shortfall in self.shortfalls.items() if shortfall > 1 + 1e-9]

    @property
    def certain(self) -> list[str]:
        """Those of them that chance does not explain: the whole interval is on the wrong side."""
        return [figure for figure in self.broken if self.ahead[figure].verdict == "worse"]

    @property
    def worst(self) -> float:
        """The largest shortfall: above 1 a bar is broken."""
        return max(self.shortfalls.values(), default=-math.inf)

    def as_json(self) -> dict[str, Any]:
        """For results.json."""
        figures = {
            figure: {
                "reached": self.reached[figure],
                "simple": self.simple[figure][1],
                "simple_method": self.simple[figure][0],
                "ahead": ahead.as_json(),
                "holds": figure not in self.broken,
            }
            for figure, ahead in self.ahead.items()
        }
        return {"shop": self.shop, "cutoff": str(self.cutoff), "adopters": self.adopters, **figures}


def guard(shops: Iterable[Results], method: str) -> list[Guarded]:
    """Compare a method with what is simple, at each cutoff of each shop.

    Returns:
        The worst cutoff first; those at which nothing can be compared, because no customer adopted anything, last.
    """
    rows = [
        _guarded(results, method, cutoff, figures)
        for results in shops
        for cutoff, figures in results.figures.get(method, {}).items()
        if figures
    ]
    return sorted(rows, key=lambda row: (-row.worst, row.shop, row.cutoff))


def _guarded(results: Results, method: str, cutoff: dt.date, figures: Figures) -> Guarded:
    drawn, adopters = results.resampled[method][cutoff], figures["customers"]
    reached: dict[str, float] = {}
    simple: dict[str, tuple[str, float]] = {}
    ahead: dict[str, Difference] = {}
    for figure in MOST_BELOW:
        known = {name: value for name in SIMPLE if (value := results.values(name, figure).get(cutoff)) is not None}
        if known and math.isfinite(figures[figure]):
            # Of equals the first.
            best = max(known, key=lambda name: known[name])
            theirs = results.resampled[best][cutoff][figure]
            reached[figure], simple[figure] = figures[figure], (best, known[best])
            if figure == "auc":
                ahead[figure] = difference(figures[figure] - known[best], drawn[figure] - theirs, adopters)
            elif known[best]:
                drawn_share = _share(drawn[figure], theirs) - 1
                ahead[figure] = difference(figures[figure] / known[best] - 1, drawn_share, adopters)
    # Where nothing was adopted, or everything, the constant rate is right by definition.
    if 0 < figures.get("observed", 0) < figures["pairs"]:
        constant = figures["logloss_of_base_rate"]
        reached["logloss"], simple["logloss"] = figures["logloss"], ("constant", constant)
        value = 1 - figures["logloss"] / constant
        drawn_share = _share(drawn["logloss"], drawn["logloss_of_base_rate"])
        ahead["logloss"] = difference(value, 1 - drawn_share, adopters)
    return Guarded(results.name, cutoff, adopters, reached, simple, ahead)


def _share(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole != 0)


@dataclass(frozen=True)
class Level:
    """Predicted over observed at all cutoffs.

    Attributes:
        ratios: shop, cutoff -> predicted over observed; infinite where nothing was adopted.
        covered: shop, cutoff -> whether the interval holds what came, where the method gives one.
    """

    ratios: dict[tuple[str, dt.date], float]
    covered: dict[tuple[str, dt.date], bool]

    @property
    def median(self) -> float:
        """The median of |ln(predicted / observed)|: how far the level is off."""
        return statistics.median(map(distance, self.ratios.values())) if self.ratios else math.nan

    @property
    def within(self) -> float:
        """The share of the cutoffs within LEVEL_LIMITS."""
        low, high = LEVEL_LIMITS
        return _mean([low <= ratio <= high for ratio in self.ratios.values()])

    @property
    def coverage(self) -> float:
        """At which share of the cutoffs the interval holds what came."""
        return _mean(list(self.covered.values()))

    def of(self, shop: str) -> "Level":
        """The level of one shop."""
        return Level(
            {key: value for key, value in self.ratios.items() if key[0] == shop},
            {key: value for key, value in self.covered.items() if key[0] == shop},
        )

    def as_json(self) -> dict[str, Any]:
        """For results.json."""
        return {
            "cutoffs": len(self.ratios),
            "median_abs_log": self.median,
            "share_within": self.within,
            "cutoffs_with_interval": len(self.covered),
            "coverage": self.coverage,
        }


def level(shops: Iterable[Results], method: str) -> Level:
    """How well the sum of a method's likelihoods holds, at each cutoff of each shop."""
    ratios: dict[tuple[str, dt.date], float] = {}
    covered: dict[tuple[str, dt.date], bool] = {}
    for results in shops:
        for cutoff, figures in sorted(results.figures.get(method, {}).items()):
            if "predicted" not in figures:
                continue
            predicted, observed = figures["predicted"], figures["observed"]
            if predicted or observed:
                ratios[results.name, cutoff] = predicted / observed if observed else math.inf
            if "covered" in figures:
                covered[results.name, cutoff] = figures["covered"]
    return Level(ratios, covered)


def distance(ratio: float) -> float:
    """|ln(predicted / observed)|, infinite where only one of the two is 0."""
    return abs(math.log(ratio)) if ratio else math.inf


def _mean(flags: list[bool]) -> float:
    return sum(flags) / len(flags) if flags else math.nan
