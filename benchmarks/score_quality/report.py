"""Tables, results.json and the calibration plot."""

import datetime as dt
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.score_quality.metrics import RESAMPLES
from benchmarks.score_quality.results import (
    CONFIDENCE,
    COVERAGE,
    COVERAGE_TOLERANCE,
    LEAST_ADOPTERS,
    LED,
    LEVEL_LIMITS,
    LEVEL_MEDIAN,
    LEVEL_WITHIN,
    MOST_ABOVE_CONSTANT,
    MOST_BELOW,
    SIMPLE,
    Difference,
    Lead,
    Level,
    Results,
    guard,
    lead,
    lead_over_shops,
    level,
    spend_lead,
    spend_lead_over_shops,
)
from warehouse.terminal import Terminal

# What a reader compares; the other figures are in results.json.
RANKING = ("auc", "ndcg_at_5", "recall_at_5", "precision_at_5", "hit_at_5")
CALIBRATION = (
    "logloss",
    "ece",
    "predicted_over_observed",
    "worst_bin_predicted_over_observed",
    "calibration_slope",
)
HEADINGS = {
    "predicted_over_observed": "pred/obs",
    "worst_bin_predicted_over_observed": "worst bin",
    "calibration_slope": "slope",
}
DIGITS = {"logloss": 5, "ece": 5, **dict.fromkeys(CALIBRATION[2:], 2)}
LED_HEADINGS = {"auc": "AUC", "ndcg_at_5": "NDCG@5", "logloss": "log loss"}
# Rows of the guard's table that are printed; all are in results.json.
GUARD_ROWS = 40


def show(shops: Sequence[Results], judged: Sequence[str], console: Terminal) -> None:
    """Print the tables of each shop, then those over all shops.

    Of one shop there is a table per cutoff, mean and spread, the leads and the calibration. Of each of several there
    are only mean and leads.

    Args:
        shops: what was measured, shop by shop.
        judged: the methods whose leads, harm and level are judged; the others are their peers.
        console: where to print.
    """
    for results in shops:
        if len(shops) > 1:
            console.print(f"\n{results.name}", soft_wrap=True)
        else:
            for cutoff in results.cutoffs:
                console.print(_cutoff_table(results, cutoff))
                for method, notes in results.notes.items():
                    if notes.get(cutoff):
                        console.print(f"  {method}: {notes[cutoff]}", soft_wrap=True)
                console.print()
        if len(shops) > 1 or len(results.cutoffs) > 1:
            console.print(_mean_table(results))
        for method in judged:
            _print(console, _lead_table([results], method))
        if len(shops) == 1:
            for method in results.figures:
                if results.has_probability(method):
                    console.print(_calibration_table(results, method))
    for method in judged:
        if len(shops) > 1:
            _print(console, _lead_table(shops, method))
        _print(console, _guard_table(shops, method))
    _print(console, _level_table(shops, judged))
    for method in judged:
        _print(console, _money_table(shops, method))


def _print(console: Terminal, table: Table | None) -> None:
    if table is not None:
        console.print(table)


def _methods(shops: Iterable[Results]) -> list[str]:
    return list(dict.fromkeys(method for results in shops for method in results.figures))


def _lead_table(shops: Sequence[Results], method: str) -> Table | None:
    parts = "cutoffs" if len(shops) == 1 else "shops"
    table = Table(
        title=f"Lead of {method}: mean over the {parts}, its interval, and in how many {parts} it is better/same/worse",
        title_justify="left",
        caption=f"Intervals: {CONFIDENCE:.0%}, from {RESAMPLES} resamples of the customers; better and worse only "
        "where the interval excludes 0. Of log loss: how much lower it is.",
        caption_justify="left",
    )
    table.add_column("over")
    for figure in LED:
        table.add_column(LED_HEADINGS[figure], justify="right")
    for peer in _methods(shops):
        leads = [_lead(shops, method, peer, figure) for figure in LED]
        if peer != method and any(leads):
            table.add_row(
                peer,
                *(_lead_cell(found, as_share=figure == "logloss") for found, figure in zip(leads, LED, strict=True)),
            )
    return table if table.row_count else None


def _lead(shops: Sequence[Results], method: str, peer: str, figure: str) -> Lead | None:
    return lead(shops[0], method, peer, figure) if len(shops) == 1 else lead_over_shops(shops, method, peer, figure)


def _lead_cell(found: Lead | None, *, as_share: bool) -> str:
    if not found:
        return ""
    counts = "/".join(str(found.count(verdict)) for verdict in ("better", "same", "worse"))
    return f"{_difference(found.mean, as_share=as_share)} {found.mean.verdict:6} {counts:>5}"


def _difference(found: Difference, *, as_share: bool) -> str:
    def number(value: float) -> str:
        return "?" if not math.isfinite(value) else f"{value:+.1%}" if as_share else f"{value:+.4f}"

    return f"{number(found.value)} [{number(found.low)}, {number(found.high)}]"


def _guard_table(shops: Sequence[Results], method: str) -> Table | None:
    rows = guard(shops, method)
    judged = [row for row in rows if row.ahead]
    if not judged:
        return None
    holds, certain = sum(not row.broken for row in judged), sum(bool(row.certain) for row in judged)
    left_out = f" {len(judged) - GUARD_ROWS} more are in results.json." if len(judged) > GUARD_ROWS else ""
    bars = ", ".join(
        (
            f"AUC at most {MOST_BELOW['auc']} and NDCG@5 {MOST_BELOW['ndcg_at_5']:.0%} below the better of "
            f"{' and '.join(SIMPLE)}",
            f"log loss at most {MOST_ABOVE_CONSTANT:.0%} above that of the constant rate",
        )
    )
    table = Table(
        title=f"Does {method} do harm? The bars hold at {holds} of {len(judged)} cutoffs and are broken beyond chance "
        f"at {certain}; the worst first",
        title_justify="left",
        caption=f"Bars: {bars}. adopters: customers with an adoption. Positive: {method} is better. "
        f"!: chance does not explain it; ?: fewer than {LEAST_ADOPTERS} adopters.{left_out}",
        caption_justify="left",
    )
    table.add_column("shop", overflow="fold")
    table.add_column("cutoff", no_wrap=True)
    table.add_column("adopters", justify="right")
    for figure in LED:
        of = "constant" if figure == "logloss" else "simple"
        table.add_column(f"{LED_HEADINGS[figure]}\n{of}", justify="right")
        table.add_column("\ndifference", justify="right", no_wrap=True)
    table.add_column("broken")
    for row in judged[:GUARD_ROWS]:
        cells = []
        for figure in LED:
            if figure in row.ahead:
                cells.append(f"{_number(row.reached[figure], '')}\n{_number(row.simple[figure][1], '')}")
                cells.append(_difference(row.ahead[figure], as_share=figure != "auc").replace(" [", "\n["))
            else:
                cells += ["", ""]
        broken = "\n".join(LED_HEADINGS[figure] + "!" * (figure in row.certain) for figure in row.broken)
        table.add_row(row.shop, str(row.cutoff), f"{row.adopters:,}", *cells, broken)
    return table


def _level_table(shops: Sequence[Results], judged: Sequence[str]) -> Table | None:
    table = Table(
        title="Level: predicted over observed adoptions",
        title_justify="left",
        caption=f"Bars over all: off (median of |ln(predicted / observed)|) at most {LEVEL_MEDIAN:.2f}; within "
        f"[{LEVEL_LIMITS[0]}, {LEVEL_LIMITS[1]}] at {LEVEL_WITHIN:.0%} of the cutoffs; the interval holds what came at "
        f"{COVERAGE:.0%} ± {COVERAGE_TOLERANCE:.0%} of them.",
        caption_justify="left",
    )
    for heading in ("method", "shop"):
        table.add_column(heading)
    for heading in ("cutoffs", "off", "within", "interval holds"):
        table.add_column(heading, justify="right")
    table.add_column("predicted over observed, oldest first; ! outside of the interval")
    for method in _methods(shops):
        found = level(shops, method)
        if not found.ratios:
            continue
        names = [results.name for results in shops] if method in judged and len(shops) > 1 else []
        parts = [(name, found.of(name)) for name in names if found.of(name).ratios]
        for name, part in sorted(parts, key=lambda item: -item[1].median):
            table.add_row(method, name, *_level_cells(part), _ratios(part))
        table.add_row(method, "all", *_level_cells(found), "" if parts else _ratios(found) if len(shops) == 1 else "")
        table.add_section()
    return table if table.row_count else None


def _money_table(shops: Sequence[Results], method: str) -> Table | None:
    table = Table(
        title=f"Money of {method}: what adopters were expected to spend within the horizon, and what they spent",
        title_justify="left",
        caption="Error: mean absolute error of the expected spend over the adopted pairs. Lower: than the error of the "
        "mean of the category's adopters in earlier windows, and in how many cutoffs it is better/same/worse. Expected "
        "over came: of adopters alone, and the sum of expected values over what came, oldest first.",
        caption_justify="left",
    )
    table.add_column("shop")
    for heading in ("adopted", "spent", "error", "of the mean", "lower"):
        table.add_column(heading, justify="right")
    table.add_column("of adopters")
    table.add_column("expected value over what came")
    for results in shops:
        found = spend_lead(results, method)
        if found:
            adopted = results.values(method, "adopted_pairs")
            means = (results.summary(method, figure) for figure in ("spent", "spend_mae", "spend_mae_of_mean"))
            table.add_row(
                results.name,
                f"{sum(adopted.values()):,.0f}",
                *(f"{mean['mean']:,.2f}" if mean else "" for mean in means),
                _lead_cell(found, as_share=True),
                *(
                    " ".join(f"{ratio:.2f}" for ratio in results.values(method, figure).values())
                    for figure in ("expected_spend_over_spent", "expected_over_came")
                ),
            )
    if len(shops) > 1 and (all_shops := spend_lead_over_shops(shops, method)):
        table.add_section()
        table.add_row("all", "", "", "", "", _lead_cell(all_shops, as_share=True))
    return table if table.row_count else None


def _level_cells(found: Level) -> tuple[str, ...]:
    coverage = f"{found.coverage:.0%} of {len(found.covered)}" if found.covered else "-"
    return str(len(found.ratios)), f"{found.median:.2f}", f"{found.within:.0%}", coverage


def _ratios(found: Level) -> str:
    marks = {key: "" if found.covered.get(key, True) else "!" for key in found.ratios}
    return " ".join(f"{ratio:.2f}{marks[key]}" for key, ratio in found.ratios.items())


def _cutoff_table(results: Results, cutoff: dt.date) -> Table:
    known = [by_cutoff[cutoff] for by_cutoff in results.figures.values() if by_cutoff.get(cutoff)]
    size = ""
    if known:
        first = known[0]
        rate, pairs, customers = first["base_rate"], first["pairs"], first["customers"]
        size = f": {pairs:,} candidate pairs, base rate {rate:.3%}, {customers:,} customers with an adoption"
    table = Table(title=f"Cutoff {cutoff}{size}", title_justify="left")
    table.add_column("method")
    for figure in (*RANKING, *CALIBRATION):
        table.add_column(_heading(figure), justify="right")
    table.add_column("s", justify="right")
    for method, by_cutoff in results.figures.items():
        if cutoff in by_cutoff:
            values = [_number(by_cutoff[cutoff].get(figure), figure) for figure in (*RANKING, *CALIBRATION)]
            table.add_row(method, *values, f"{results.seconds[method][cutoff]:.1f}")
    return table


def _mean_table(results: Results) -> Table:
    count = len(results.cutoffs)
    table = Table(
        title=f"Mean over {count} cutoffs, {results.cutoffs[0]} to {results.cutoffs[-1]}",
        title_justify="left",
        caption="Each with the standard deviation over the cutoffs, and the lowest and highest.",
        caption_justify="left",
    )
    table.add_column("method")
    for figure in (*RANKING[:3], "logloss", *CALIBRATION[2:]):
        table.add_column(_heading(figure), justify="right")
    for method in results.figures:
        cells = []
        for figure in (*RANKING[:3], "logloss", *CALIBRATION[2:]):
            summary = results.summary(method, figure)
            cells.append(
                f"{_number(summary['mean'], figure)} ±{_number(summary['std'], figure)}\n"
                f"{_number(summary['min'], figure)}–{_number(summary['max'], figure)}"  # noqa: RUF001
                if summary
                else ""
            )
        table.add_row(method, *cells)
    return table


def _calibration_table(results: Results, method: str) -> Table:
    joined = results.joined_bins(method)
    table = Table(
        title=f"Calibration of {method}: predicted over observed purchases",
        title_justify="left",
        caption="Each bin holds a tenth of the predicted purchases, the most likely last; slope: 1 = calibrated.",
        caption_justify="left",
    )
    table.add_column("cutoff")
    table.add_column("all", justify="right")
    for number in range(len(joined)):
        table.add_column(f"bin {number + 1}", justify="right")
    table.add_column("slope", justify="right")
    for cutoff in results.cutoffs:
        figures = results.figures[method].get(cutoff) or {}
        held = [_number(bin_figures["predicted_over_observed"], "ece", 2) for bin_figures in figures.get("bins", [])]
        held += [""] * (len(joined) - len(held))
        overall, slope = figures.get("predicted_over_observed"), figures.get("calibration_slope")
        table.add_row(str(cutoff), _number(overall, "", 2), *held, _number(slope, "", 2))
    if len(results.cutoffs) > 1:
        means = [
            (results.summary(method, figure) or {}).get("mean")
            for figure in ("predicted_over_observed", "calibration_slope")
        ]
        table.add_section()
        table.add_row(
            "mean",
            _number(means[0], "", 2),
            *(_number(bin_figures["predicted_over_observed"], "", 2) for bin_figures in joined),
            _number(means[1], "", 2),
        )
    return table


def _heading(figure: str) -> str:
    return HEADINGS.get(figure, figure.replace("_at_", "@"))


def _number(value: float | None, figure: str, digits: int | None = None) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.{DIGITS.get(figure, 4) if digits is None else digits}f}"


def save(
    about: Mapping[str, Any], shops: Sequence[Results], judged: Sequence[str], failed: Mapping[str, str], folder: Path
) -> Path:
    """Write results.json.

    Args:
        about: when it was judged, and the versions.
        shops: what was measured, shop by shop.
        judged: see `show`.
        failed: shops that could not be judged, and why.
        folder: where; made if need be.

    Returns:
        The file.
    """
    methods = _methods(shops)
    written = {
        **about,
        "shops": {results.name: _shop(results, judged) for results in shops},
        "failed": dict(failed),
        "over_shops": {
            method: {
                "guard": [row.as_json() for row in guard(shops, method)],
                "lead": {
                    peer: {
                        figure: found.as_json() if (found := lead_over_shops(shops, method, peer, figure)) else None
                        for figure in LED
                    }
                    for peer in methods
                    if peer != method
                },
                "spend_lead": found.as_json() if (found := spend_lead_over_shops(shops, method)) else None,
            }
            for method in judged
        },
        "level": {method: level(shops, method).as_json() for method in methods},
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.json"
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_text(json.dumps(_jsonable(written), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    unfinished.replace(path)
    return path


def _shop(results: Results, judged: Sequence[str]) -> dict[str, Any]:
    methods = {}
    for method, by_cutoff in results.figures.items():
        methods[method] = {
            "cutoffs": {
                str(cutoff): {
                    **figures,
                    "note": results.notes[method][cutoff],
                    "seconds": round(results.seconds[method][cutoff], 2),
                }
                for cutoff, figures in sorted(by_cutoff.items())
            },
            "over_cutoffs": {figure: results.summary(method, figure) for figure in (*RANKING, *CALIBRATION)},
            "bins_over_cutoffs": results.joined_bins(method),
        }
        if method in judged:
            methods[method]["spend_lead"] = found.as_json() if (found := spend_lead(results, method)) else None
            methods[method]["lead"] = {
                peer: {
                    figure: found.as_json() if (found := lead(results, method, peer, figure)) else None
                    for figure in LED
                }
                for peer in results.figures
                if peer != method
            }
    return {**results.about, "methods": methods}


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def plot(results: Results, path: Path) -> Path | None:
    """Draw predicted against observed rates per bin, a panel for each method, a line for each cutoff and the mean.

    Args:
        results: what was measured; methods without likelihoods, or without an adoption, are passed over.
        path: the picture; its folder is made if need be.

    Returns:
        The picture, or None when there is nothing to draw.
    """
    drawn = [method for method in results.figures if any(held["observed"] for held in results.joined_bins(method))]
    if not drawn:
        return None
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    columns = min(3, len(drawn))
    rows = -(-len(drawn) // columns)
    figure, panels = plt.subplots(
        rows,
        columns,
        figsize=(1 + 4.4 * columns, 1.2 + 4.9 * rows),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    colours = mpl.colormaps["viridis"]
    cutoffs = results.cutoffs
    for panel in panels.flat[len(drawn) :]:
        panel.remove()
    for method, panel in zip(drawn, panels.flat, strict=False):
        for number, cutoff in enumerate(cutoffs):
            held = (results.figures[method].get(cutoff) or {}).get("bins", [])
            colour = colours(0.9 * number / max(len(cutoffs) - 1, 1))
            panel.plot(*_rates(held), marker="o", markersize=3, linewidth=1, alpha=0.8, color=colour, label=str(cutoff))
        if len(cutoffs) > 1:
            panel.plot(
                *_rates(results.joined_bins(method)),
                "s-",
                color="black",
                markersize=5,
                linewidth=2,
                label="all cutoffs",
            )
        panel.set(xscale="log", yscale="log", title=method)
        panel.grid(which="major", alpha=0.3)
        panel.set_xlabel("predicted: mean likelihood in the bin, %")
        panel.set_ylabel("observed: share that bought, %")
    low = min(panel.get_xlim()[0] for panel in panels.flat[: len(drawn)])
    high = max(panel.get_xlim()[1] for panel in panels.flat[: len(drawn)])
    low, high = min(low, panels.flat[0].get_ylim()[0]), max(high, panels.flat[0].get_ylim()[1])
    for panel in panels.flat[: len(drawn)]:
        panel.plot([low, high], [low, high], "--", color="grey", linewidth=1, label="calibrated")
        panel.set(xlim=(low, high), ylim=(low, high), box_aspect=1)
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_locator(mpl.ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
            axis.set_minor_formatter(mpl.ticker.NullFormatter())
    panels.flat[0].legend(fontsize=8, loc="upper left")
    figure.suptitle(
        "Each dot: a tenth of the predicted purchases.\nAbove the broken line more was bought than predicted.",
        fontsize=10,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def _rates(held: list[dict[str, float]]) -> tuple[list[float], list[float]]:
    seen = [bin_figures for bin_figures in held if bin_figures["observed"]]  # a logarithmic axis has no zero
    return (
        [100 * bin_figures["predicted"] / bin_figures["pairs"] for bin_figures in seen],
        [100 * bin_figures["observed"] / bin_figures["pairs"] for bin_figures in seen],
    )
