"""Other ways to score the same pairs, each given nothing but the purchases up to the cutoff.

Whatever a peer chooses (neighbours, factors, strength of regularisation, trees) it chooses on the window before the
cutoff, by NDCG@5, never by the labels that are reported.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchmarks.score_quality.metrics import Floats
from benchmarks.score_quality.predictions import Prediction
from benchmarks.score_quality.windows import Purchases, Window


class CannotSayError(Exception):
    """A peer has nothing to say about this shop at this cutoff; the message says why."""


@dataclass(frozen=True)
class History:
    """What a peer may see.

    Attributes:
        purchases: up to and including the cutoff.
        day: the cutoff, in days since 1970-01-01.
    """

    purchases: Purchases
    day: int

    @cached_property
    def now(self) -> Window:
        """The pairs to score; what they bought next is not known."""
        return self.purchases.window(self.day)


def popularity(history: History) -> Prediction:
    """The share of active customers who bought in the category in the days that make a customer active."""
    recent = history.purchases.pairs(history.day - history.purchases.active_days, history.day)[history.now.customers]
    return Prediction(np.broadcast_to(recent.mean(axis=0), history.now.candidates.shape))


def knn(history: History, neighbours: int | None) -> Prediction:
    """Item-kNN: the sum of the cosine similarities of the owned categories to the wanted one (Sarwar et al., 2001).

    Args:
        history: what may be seen.
        neighbours: of each wanted category, how many of the most similar count; None: all.
    """
    return Prediction(history.now.owned_by_active @ similarity(history.now, neighbours))


def similarity(window: Window, neighbours: int | None) -> Floats:
    """Cosine similarity of categories by who bought in them: owned x wanted, the diagonal zero."""
    owned = window.owned.astype(np.float32)
    both = owned.T @ owned
    size = np.sqrt(np.diag(both))
    cosine = both / np.maximum(np.outer(size, size), 1)
    np.fill_diagonal(cosine, 0)
    if neighbours is not None and neighbours < len(cosine):
        least = np.argsort(-cosine, axis=0, kind="stable")[neighbours:]
        np.put_along_axis(cosine, least, 0, axis=0)
    return cosine


PEERS: dict[str, Callable[[History], Prediction]] = {
    "popularity": popularity,
    "knn_all": lambda history: knn(history, None),
    "knn_50": lambda history: knn(history, 50),
}
