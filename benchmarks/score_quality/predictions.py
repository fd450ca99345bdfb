"""A method's scores of the candidate pairs, and scores that were made elsewhere."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from benchmarks.score_quality.metrics import Floats
from benchmarks.score_quality.shop import Shop, ShopError
from benchmarks.score_quality.windows import Window
from warehouse.sql import quote_text

# A pair without a score ranks last, and counts as impossible.
NO_SCORE = -1e9
# What a table of scores may hold next to customer_id, category and score.
PROBABILITIES = ("probability", "probability_low", "probability_high")
OPTIONAL = (*PROBABILITIES, "expected_spend")


@dataclass(frozen=True)
class Prediction:
    """What a method says at one cutoff.

    Attributes:
        score: active customers x categories, higher is more likely.
        probability: the same as likelihoods in [0, 1]; None where the method has none.
        low: where the interval of each likelihood begins; None where the method has none.
        high: where it ends.
        expected_spend: what those who adopt are expected to spend within the horizon, in the shop's currency; nan where
            it is not known, None where the method does not say it.
        note: what was chosen or left out, for the results.
    """

    score: Floats
    probability: Floats | None = None
    note: str = ""
    low: Floats | None = None
    high: Floats | None = None
    expected_spend: Floats | None = None


@dataclass(frozen=True)
class PredictionsFile:
    """Scores made elsewhere, in a Parquet or CSV file.

    Attributes:
        path: where it is.
        columns: its columns.
        cutoffs: those it has scores for, newest first; empty where it has no column cutoff.
    """

    path: Path
    columns: frozenset[str] = field(default_factory=frozenset)
    cutoffs: tuple[dt.date, ...] = ()

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return self.path.stem


def open_file(path: Path) -> PredictionsFile:
    """Look into a file of predictions.

    Raises:
        ShopError: it is missing, cannot be read, or lacks a column.
    """
    if not path.is_file():
        raise ShopError(f"{path} is missing: --predictions-in names a Parquet or CSV file")
    source = _source(path)
    try:
        with duckdb.connect() as connection:
            columns = {row[0] for row in connection.execute(f"describe from {source}").fetchall()}
            missing = {"customer_id", "category", "score"} - columns
            if missing:
                raise ShopError(
                    f"{path} has no column {', '.join(sorted(missing))}. Needed: customer_id, category, score, and "
                    f"cutoff where it holds several; if need be {', '.join(OPTIONAL)}."
                )
            cutoffs = ()
            if "cutoff" in columns:
                days = connection.execute(f"select distinct cast(cutoff as date) from {source} order by 1 desc")
                cutoffs = tuple(row[0] for row in days.fetchall())
    except duckdb.Error as error:
        raise ShopError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    return PredictionsFile(path, frozenset(columns), cutoffs)


def from_file(shop: Shop, cutoff: dt.date, window: Window, file: PredictionsFile) -> Prediction:
    """Read the scores of one cutoff.

    Args:
        shop: the shop they are of.
        cutoff: which rows to read; all where the file has no column cutoff.
        window: the pairs that are judged at that cutoff.
        file: from `open_file`.

    Raises:
        ShopError: there are none, or a pair appears twice, or a value is not a number or not a likelihood.
    """
    rows = f"(select * from {_source(file.path)})"
    if "cutoff" in file.columns:
        if cutoff not in file.cutoffs:
            dates = ", ".join(map(str, file.cutoffs))
            raise ShopError(f"{file.path} has no predictions for {cutoff}; there are {dates}.")
        rows = f"(select * from {_source(file.path)} where cast(cutoff as date) = date '{cutoff}')"
    return _placed(shop, window, rows, file.columns, str(file.path))


def from_table(shop: Shop, window: Window, table: pa.Table) -> Prediction:
    """Put a table's scores (customer_id, category, score, and what is OPTIONAL) at their places.

    Raises:
        ShopError: see `from_file`.
    """
    shop.connection.register("predicted", table)
    try:
        return _placed(shop, window, "predicted", table.column_names, "the predictions")
    finally:
        shop.connection.unregister("predicted")


def _placed(shop: Shop, window: Window, rows: str, columns: Iterable[str], name: str) -> Prediction:
    given = ["score", *(column for column in OPTIONAL if column in columns)]
    # Compared as text: a file may hold 7 where the shop says '7'.
    found = shop.connection.execute(
        f"""select customers.customer, categories.category,
            {", ".join(f"cast(given.{column} as double) as {column}" for column in given)}
        from {rows} as given
        left join customers on cast(given.customer_id as varchar) = cast(customers.customer_id as varchar)
        left join categories on cast(given.category as varchar) = cast(categories.name as varchar)"""
    ).fetchnumpy()
    customer, category = np.ma.filled(found["customer"], -1), np.ma.filled(found["category"], -1)
    values = {column: np.ma.filled(found[column], np.nan) for column in given}
    if not np.isfinite(values["score"]).all():
        missing_count = (~np.isfinite(values["score"])).sum()
        raise ShopError(f"{name}: {missing_count:,} scores are no numbers. Leave such pairs out.")
    for column in PROBABILITIES:
        # An interval may be unknown.
        known = values.get(column, np.zeros(0))
        if not (((known >= 0) & (known <= 1)) | (np.isnan(known) & (column != "probability"))).all():
            raise ShopError(f"{name}: a {column} is missing or not in [0, 1].")
    place = np.full(window.owned.shape[0] + 1, -1)  # the last place is that of unknown customers, number -1
    place[window.customers] = np.arange(len(window.customers))
    row = place[customer]
    kept = (row >= 0) & (category >= 0)
    kept[kept] = window.candidates[row[kept], category[kept]]
    row, category = row[kept], category[kept]
    size = window.candidates.shape
    if len(np.unique(row.astype(np.int64) * size[1] + category)) < len(row):
        raise ShopError(f"{name}: a customer and category are there more than once. Keep one score of each pair.")
    missing = int(window.candidates.sum()) - len(row)
    if not len(row):
        raise ShopError(f"{name}: none of its customers and categories is a pair that is judged.")

    def placed(column: str, otherwise: float) -> Floats | None:
        if column not in values:
            return None
        at = np.full(size, otherwise)
        at[row, category] = values[column][kept]
        return at

    scores = placed("score", NO_SCORE)
    assert scores is not None
    return Prediction(
        scores,
        placed("probability", 0.0),
        f"{missing:,} pairs without a score" if missing else "",
        placed("probability_low", 0.0),
        placed("probability_high", 0.0),
        placed("expected_spend", np.nan),
    )


def _source(path: Path) -> str:
    return f"{'read_csv' if path.suffix == '.csv' else 'read_parquet'}({quote_text(str(path))})"
