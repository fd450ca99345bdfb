"""`python -m benchmarks.score_quality`: the cross-sell score compared with peers, by what customers bought next."""

import argparse
import datetime as dt
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.score_quality import ours, shop
from benchmarks.score_quality.shop import Shop, ShopError
from warehouse.paths import PROJECT_DIR
from warehouse.terminal import Terminal

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
QUICK = ("popularity", "knn_50")
PACKAGES = ("duckdb", "dbt-core", "numpy", "scipy", "implicit", "lightgbm")


def main(arguments: list[str] | None = None) -> int:
    """Judge, print and write the results.

    Returns:
        The exit code: 0, or 2 when the shop, the cutoffs or the models cannot be used.
    """
    chosen = _parser().parse_args(arguments)
    say = Terminal(sys.stderr, soft_wrap=True)
    try:
        chosen_shop = (
            shop.read(chosen.shop, chosen.level, chosen.horizon, chosen.active_days)
            if chosen.shop
            else shop.sample(chosen.level, chosen.horizon, chosen.active_days)
        )
        if chosen.predictions:
            return _write(chosen_shop, chosen.cutoff, chosen.predictions, say)
        return _judge(chosen_shop, chosen, say)
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
        "ranked; what they bought in the days after it decides.",
        epilog="Needs the packages of the group `benchmark`: "
        "uv run --group benchmark python -m benchmarks.score_quality. "
        "Without --shop it takes the sample shop of 2017, six cutoffs and some five minutes on two cores.",
    )
    of = parser.add_argument_group("what is judged")
    of.add_argument(
        "--shop",
        type=Path,
        metavar="DIR",
        help="folder with purchases.parquet (customer_id, basket_id, product_id, purchased_at, quantity, amount) and "
        "products.parquet (product_id and the columns of the levels); default: the sample shop",
    )
    of.add_argument("--level", metavar="COLUMN", help="column of the products that a category is")
    of.add_argument(
        "--cutoff",
        type=_day,
        action="append",
        metavar="YYYY-MM-DD",
        help="last day that counts as past; may be repeated (default: every 28 days back from the newest possible, as "
        f"long as enough is left to learn from, at most {shop.MOST_CUTOFFS}; the sample: six)",
    )
    of.add_argument("--horizon", type=_days, default=shop.HORIZON_DAYS, metavar="DAYS", help="default: %(default)s")
    of.add_argument(
        "--active-days",
        type=_days,
        default=shop.ACTIVE_DAYS,
        metavar="DAYS",
        help="a customer is active who bought in this many days up to the cutoff (default: %(default)s)",
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
        "probability, and cutoff where it holds several; may be repeated. Then only the cutoffs in the files are "
        f"judged, and with them only {' and '.join(QUICK)}, unless --cutoff and --methods say otherwise",
    )
    out = parser.add_argument_group("what is written")
    out.add_argument(
        "--out",
        type=Path,
        default=PROJECT_DIR / "data" / "score_quality",
        metavar="DIR",
        help="folder for results.json and calibration.png (default: data/score_quality)",
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


def _days(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is no number of days; write 1 or more")
    return int(text)


def _methods(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"no method {', '.join(unknown) or 'named'}; there are {', '.join(METHODS)}")
    return names


def _write(chosen_shop: Shop, cutoffs: list[dt.date] | None, path: Path, say: Terminal) -> int:
    if not cutoffs or len(cutoffs) != 1:
        raise ShopError(
            f"--predictions writes the scores of one day: name it with one --cutoff, such as {_last(chosen_shop)}."
        )
    chosen_shop.check_cutoff(cutoffs[0])
    with tempfile.TemporaryDirectory(prefix="next-aisle-score-") as folder:
        table = ours.candidates_only(chosen_shop, cutoffs[0], ours.score(chosen_shop, cutoffs[0], Path(folder)))
    missing = len(shop.candidates(chosen_shop, cutoffs[0])) - len(table)
    ours.save(table, path)
    say.print(f"{path}: {len(table):,} pairs scored as of {cutoffs[0]}, {missing:,} candidate pairs without a score")
    return 0


def _last(chosen_shop: Shop) -> dt.date | str:
    return chosen_shop.default_cutoffs[0] if chosen_shop.default_cutoffs else "2017-12-03"


def _judge(chosen_shop: Shop, chosen: argparse.Namespace, say: Terminal) -> int:
    from benchmarks.score_quality import metrics, peers, predictions, report, windows

    files = [predictions.open_file(path) for path in chosen.predictions_in]
    names = [file.name for file in files]
    if len(set(names) | set(METHODS)) < len(names) + len(METHODS):
        raise ShopError(f"--predictions-in: files of different names are needed, not those of methods: {names}")
    methods = chosen.methods or (QUICK if files else METHODS)
    methods = [name for name in methods if not (chosen.no_ours and name == OUR_NAME)]
    dates = (
        chosen.cutoff or sorted({day for file in files for day in file.cutoffs}) or list(chosen_shop.default_cutoffs)
    )
    for cutoff in dates or [chosen_shop.newest_day]:
        chosen_shop.check_cutoff(cutoff)
    everything = windows.purchases(chosen_shop)
    results = report.Results(
        {
            "shop": chosen_shop.name,
            "level": chosen_shop.level,
            "horizon_days": chosen_shop.horizon_days,
            "active_days": chosen_shop.active_days,
            "judged_at": f"{dt.datetime.now():%Y-%m-%d %H:%M}",
            "versions": {name: _version(name) for name in PACKAGES},
        }
    )
    with tempfile.TemporaryDirectory(prefix="next-aisle-score-") as folder:
        for cutoff in sorted(set(dates)):
            window = everything.window(windows.number_of(cutoff))
            if not window.candidates.any():
                raise ShopError(
                    f"{chosen_shop.name} has no candidate pairs at {cutoff}: no customer was active. Try another."
                )
            history = peers.History(everything.until(window.day), window.day)
            runs: dict[str, Callable[[], predictions.Prediction]] = {}
            for file in files:
                runs[file.name] = _reader(predictions.from_file, chosen_shop, cutoff, window, file)
            for name in methods:
                if name == OUR_NAME:
                    runs[name] = lambda day=cutoff, at=window: predictions.from_table(  # type: ignore[misc]
                        chosen_shop, at, ours.score(chosen_shop, day, Path(folder))
                    )
                else:
                    runs[name] = _reader(peers.PEERS[name], history)
            for name, predict in runs.items():
                started = time.perf_counter()
                try:
                    prediction = predict()
                    figures: dict[str, Any] = metrics.evaluate(
                        prediction.score, prediction.probability, window.candidates, window.bought
                    )
                    note = prediction.note
                except peers.CannotSayError as error:
                    figures, note = {}, f"nothing to say: {error}"
                seconds = time.perf_counter() - started
                results.add(name, cutoff, figures, note, seconds)
                reached = f"auc {figures['auc']:.4f}  ndcg@5 {figures['ndcg_at_5']:.4f}" if figures else note
                say.print(f"{cutoff}  {name:14} {reached}  {seconds:.1f} s")
    # What the tables need.
    console = Terminal(sys.stdout, columns=150)
    report.show(results, console)
    console.print(f"Written: {report.save(results, chosen.out)}", soft_wrap=True)
    picture = report.plot(results, results.figures, chosen.out)
    if picture:
        console.print(f"         {picture}", soft_wrap=True)
    return 0


def _reader(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    return lambda: function(*arguments)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
