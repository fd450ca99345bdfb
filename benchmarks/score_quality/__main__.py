"""`python -m benchmarks.score_quality`: the cross-sell score compared with peers, by what customers bought next."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from benchmarks.score_quality import ours, shop
from benchmarks.score_quality.shop import Shop, ShopError
from warehouse.paths import PROJECT_DIR
from warehouse.terminal import Terminal

if TYPE_CHECKING:
    # They need the group `benchmark`, which writing predictions does not.
    from benchmarks.score_quality.metrics import Counts, Floats
    from benchmarks.score_quality.peers import History
    from benchmarks.score_quality.predictions import Prediction, PredictionsFile
    from benchmarks.score_quality.results import Results
    from benchmarks.score_quality.windows import Window

OUR_NAME = "ours"
METHODS = (
    OUR_NAME,
    "popularity",
    "adoption_rate",
    "knn_all",
    "knn_50",
    "als",
    "ease",
    "lightgbm",
    "stacked",
)
# What is compared with given predictions by default: the methods that take no time.
QUICK = ("popularity", "adoption_rate", "knn_50")
PICTURE = "calibration.png"
PACKAGES = ("duckdb", "dbt-core", "numpy", "scipy", "implicit", "lightgbm")


def main(arguments: list[str] | None = None) -> int:
    """Judge, print and write the results.

    Returns:
        The exit code: 0, or 2 when a shop, the cutoffs or the models cannot be used; of several shops the others are
        judged all the same.
    """
    chosen = _parser().parse_args(arguments)
    say = Terminal(sys.stderr, soft_wrap=True)
    try:
        folders = [folder for named in chosen.shop or [shop.SAMPLE_NAME] for folder in shop.find(named)]
        if chosen.predictions:
            return _write(_open(_only(folders, "--predictions"), chosen), chosen.cutoff, chosen.predictions, say)
        return _judge(folders, chosen, say)
    except (ShopError, ours.ModelsError) as error:
        say.print(f"error: {error}")
        return 2
    except ModuleNotFoundError as error:
        if error.name not in {"numpy", "scipy", "implicit", "lightgbm", "matplotlib", "threadpoolctl"}:
            raise
        say.print(f"error: {error.name} is not installed. Start it with `uv run --group benchmark python -m ...`")
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.score_quality",
        description="Judge the cross-sell score and its peers by what customers really bought next: at each cutoff, "
        "only purchases up to it are used; the pairs of active customers and categories that they never bought are "
        "ranked; what they bought in the days after it decides. Over all shops it then says whether our score does "
        "harm (compared with the adoption rate, popularity and a constant rate), which leads are more than chance "
        "(intervals over customers), and how far the level is off.",
        epilog="Needs the packages of the group `benchmark`: "
        "uv run --group benchmark python -m benchmarks.score_quality. "
        "Without --shop it takes the sample shop of 2017, six cutoffs and some five minutes on two cores. Quickly, "
        "over many shops: --shop FOLDER --shop sample --cutoffs 3 --methods ours,adoption_rate,popularity.",
    )
    of = parser.add_argument_group("what is judged")
    of.add_argument(
        "--shop",
        action="append",
        metavar="DIR",
        help="folder with purchases.parquet (customer_id, basket_id, product_id, purchased_at, quantity, amount) and "
        "products.parquet (product_id and the columns of the levels), or a folder of such folders, or the word "
        f"{shop.SAMPLE_NAME}; may be repeated. A {' or '.join(shop.SETTINGS)} in it may hold level, horizon_days and "
        f"active_days (default: {shop.SAMPLE_NAME})",
    )
    of.add_argument(
        "--level",
        metavar="COLUMN",
        help="column of the products that a category is (default: what the shop's settings say, or "
        f"{shop.USUAL_LEVEL}, or the only column)",
    )
    when = of.add_mutually_exclusive_group()
    when.add_argument(
        "--cutoff",
        type=_day,
        action="append",
        metavar="YYYY-MM-DD",
        help="last day that counts as past; may be repeated (default: every 28 days back from the newest possible, or "
        "as many whole horizons as are longer, as long as enough is left to learn from, at most "
        f"{shop.MOST_CUTOFFS}; the sample: six)",
    )
    when.add_argument("--cutoffs", type=_count, metavar="N", help="of the default cutoffs only the newest N")
    of.add_argument(
        "--horizon", type=_count, metavar="DAYS", help=f"default: the shop's settings, or {shop.HORIZON_DAYS}"
    )
    of.add_argument(
        "--active-days",
        type=_count,
        metavar="DAYS",
        help="a customer is active who bought in this many days up to the cutoff (default: the shop's settings, or "
        f"{shop.ACTIVE_DAYS})",
    )
    by = parser.add_argument_group("by whom")
    by.add_argument("--methods", type=_methods, metavar="A,B", help=f"of {', '.join(METHODS)} (default: all)")
    by.add_argument("--no-ours", action="store_true", help="without our models: no dbt is run")
    by.add_argument(
        "--predictions-in",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="judge the scores of a Parquet or CSV file too: customer_id, category, score, where it is a likelihood "
        "probability, if need be probability_low, probability_high and expected_spend, and cutoff where it holds "
        "several; may be repeated. Then only the cutoffs in the files are "
        f"judged, and with them only {', '.join(QUICK)}, unless --cutoff and --methods say otherwise",
    )
    out = parser.add_argument_group("what is written")
    out.add_argument(
        "--out",
        type=Path,
        default=PROJECT_DIR / "data" / "score_quality",
        metavar="DIR",
        help="folder for results.json and calibration.png, of several shops in a folder each (default: "
        "data/score_quality)",
    )
    out.add_argument(
        "--predictions",
        type=Path,
        metavar="FILE",
        help="judge nothing: write our models' scores at the one --cutoff to this Parquet file (customer_id, category, "
        "score, probability). Needs no group",
    )
    return parser


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is no day; write it as 2017-12-03") from error


def _count(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is no whole number; write 1 or more")
    return int(text)


def _methods(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"no method {', '.join(unknown) or 'named'}; there are {', '.join(METHODS)}")
    return names


def _only(folders: list[Path | None], option: str) -> Path | None:
    if len(folders) > 1:
        raise ShopError(f"{option} is of one shop, and {len(folders)} are named. Name one with --shop.")
    return folders[0]


def _open(folder: Path | None, chosen: argparse.Namespace) -> Shop:
    if folder is None:
        return shop.sample(chosen.level, chosen.horizon, chosen.active_days)
    return shop.read(folder, chosen.level, chosen.horizon, chosen.active_days)


def _write(chosen_shop: Shop, cutoffs: list[dt.date] | None, path: Path, say: Terminal) -> int:
    if not cutoffs or len(cutoffs) != 1:
        raise ShopError(
            f"--predictions writes the scores of one day: name it with one --cutoff, such as {_last(chosen_shop)}."
        )
    (cutoff,) = cutoffs
    chosen_shop.check_cutoff(cutoff)
    with tempfile.TemporaryDirectory(prefix="next-aisle-score-") as folder:
        table = ours.candidates_only(chosen_shop, cutoff, ours.score(chosen_shop, cutoffs, Path(folder))[cutoff])
    missing = len(shop.candidates(chosen_shop, cutoff)) - len(table)
    ours.save(table, path)
    say.print(f"{path}: {len(table):,} pairs scored as of {cutoff}, {missing:,} candidate pairs without a score")
    return 0


def _last(chosen_shop: Shop) -> dt.date | str:
    return chosen_shop.default_cutoffs[0] if chosen_shop.default_cutoffs else "2017-12-03"


def _judge(folders: list[Path | None], chosen: argparse.Namespace, say: Terminal) -> int:
    from benchmarks.score_quality import predictions, report

    files = [predictions.open_file(path) for path in chosen.predictions_in]
    names = [file.name for file in files]
    if len(set(names) | set(METHODS)) < len(names) + len(METHODS):
        raise ShopError(f"--predictions-in: files of different names are needed, not those of methods: {names}")
    if files:
        _only(folders, "--predictions-in")
    about = {
        "judged_at": f"{dt.datetime.now():%Y-%m-%d %H:%M}",
        "versions": {name: _version(name) for name in PACKAGES},
    }
    # What the tables need.
    console = Terminal(sys.stdout, columns=150)
    judged: dict[str, Results] = {}
    failed: dict[str, str] = {}
    for folder in folders:
        name = folder.resolve().name if folder else shop.SAMPLE_NAME
        if name in judged or name in failed:
            raise ShopError(f"Two of the shops are called {name}. Rename a folder.")
        try:
            judged[name] = _judge_shop(_open(folder, chosen), files, chosen, say)
        except (ShopError, ours.ModelsError) as error:
            if len(folders) == 1:
                raise
            failed[name] = str(error)
            say.print(f"error: {name}: {error}")
        # After each shop: what was measured outlives an interrupted run.
        written = report.save(about, list(judged.values()), _subjects(judged.values(), names), failed, chosen.out)
    shops = list(judged.values())
    report.show(shops, _subjects(shops, names), console)
    for name, reason in failed.items():
        console.print(f"Not judged: {name}: {reason.splitlines()[0]}", soft_wrap=True)
    console.print(f"Written: {written}", soft_wrap=True)
    for results in shops:
        picture = report.plot(results, (chosen.out / results.name if len(folders) > 1 else chosen.out) / PICTURE)
        if picture:
            console.print(f"         {picture}", soft_wrap=True)
    return 2 if failed else 0


def _subjects(shops: Iterable[Results], files: list[str]) -> list[str]:
    """The methods that are judged against the others."""
    known = {method for results in shops for method in results.figures}
    return [method for method in (*files, OUR_NAME) if method in known]


def _judge_shop(chosen_shop: Shop, files: list[PredictionsFile], chosen: argparse.Namespace, say: Terminal) -> Results:
    from benchmarks.score_quality import metrics, peers, predictions, windows
    from benchmarks.score_quality.results import Results

    methods = chosen.methods or (QUICK if files else METHODS)
    methods = [name for name in methods if not (chosen.no_ours and name == OUR_NAME)]
    named = chosen.cutoff or sorted({day for file in files for day in file.cutoffs})
    dates = named or list(chosen_shop.default_cutoffs[: chosen.cutoffs])
    for cutoff in dates or [chosen_shop.newest_day]:
        chosen_shop.check_cutoff(cutoff)
    everything = windows.purchases(chosen_shop)
    at = {cutoff: everything.window(windows.number_of(cutoff)) for cutoff in sorted(set(dates))}
    for cutoff in [cutoff for cutoff, window in at.items() if not window.candidates.any()]:
        nothing = f"{chosen_shop.name} has no candidate pairs at {cutoff}: no customer is active, or all own all"
        if named or len(at) == 1:
            raise ShopError(f"{nothing}. Try another.")
        say.print(f"{nothing}; it is left out")
        del at[cutoff]
    results = Results(
        {
            "shop": chosen_shop.name,
            "level": chosen_shop.level,
            "horizon_days": chosen_shop.horizon_days,
            "active_days": chosen_shop.active_days,
        }
    )
    counts = metrics.resamples(everything.customers)
    ours_at: dict[dt.date, pa.Table] = {}
    seconds_of_ours = 0.0
    if OUR_NAME in methods:
        started = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="next-aisle-score-") as folder:
            ours_at = ours.score(chosen_shop, at, Path(folder))
        seconds_of_ours = (time.perf_counter() - started) / len(at)
    for cutoff, window in at.items():
        history = peers.History(everything.until(window.day), window.day)
        runs: dict[str, Callable[[], Prediction]] = {}
        for file in files:
            runs[file.name] = _reader(predictions.from_file, chosen_shop, cutoff, window, file)
        for name in methods:
            if name == OUR_NAME:
                runs[name] = _reader(predictions.from_table, chosen_shop, window, ours_at[cutoff])
            else:
                runs[name] = _reader(peers.PEERS[name], history)
        for name, predict in runs.items():
            started = time.perf_counter()
            figures: dict[str, Any] = {}
            resampled: dict[str, metrics.Floats] = {}
            try:
                prediction = predict()
                note = prediction.note
                seconds = time.perf_counter() - started
                figures, resampled = _figures(prediction, history, window, counts)
            except peers.CannotSayError as error:
                note = f"nothing to say: {error}"
                seconds = time.perf_counter() - started
            seconds += seconds_of_ours if name == OUR_NAME else 0
            results.add(name, cutoff, figures, resampled, note, seconds)
            reached = f"auc {figures['auc']:.4f}  ndcg@5 {figures['ndcg_at_5']:.4f}" if figures else note
            say.print(f"{chosen_shop.name}  {cutoff}  {name:14} {reached}  {seconds:.1f} s")
    return results


def _figures(
    prediction: Prediction, history: History, window: Window, counts: Counts
) -> tuple[dict[str, Any], dict[str, Floats]]:
    from benchmarks.score_quality import metrics, peers

    counts = counts[:, window.customers]
    known = (prediction.score, prediction.probability, window.candidates, window.bought)
    figures, resampled = metrics.evaluate(*known), metrics.resampled(*known, counts)
    if prediction.low is not None and prediction.high is not None:
        figures |= metrics.interval(prediction.low, prediction.high, window.candidates, window.bought)
    if prediction.probability is not None and prediction.expected_spend is not None:
        # Without a past there is no mean to compare with.
        with contextlib.suppress(peers.CannotSayError):
            money = metrics.money(prediction.expected_spend, prediction.probability, history.mean_spend, window, counts)
            figures |= money[0]
            resampled |= money[1]
    return figures, resampled


def _reader(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    return lambda: function(*arguments)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
