"""Tables, results.json and the calibration plot."""

import datetime as dt
import json
import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

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
PEERS = ("popularity", "knn_all", "knn_50")

Figures = Mapping[str, Any]


@dataclass
class Results:
    """Figures of every method at every cutoff.

    Attributes:
        about: what was judged: shop, level, days, versions.
        figures: method -> cutoff -> figures of `metrics.evaluate`; empty where the method had nothing to say.
        notes: method -> cutoff -> what was chosen, or why there is nothing.
        seconds: method -> cutoff -> wall time.
    """

    about: dict[str, Any]
    figures: dict[str, dict[dt.date, Figures]] = field(default_factory=dict)
    notes: dict[str, dict[dt.date, str]] = field(default_factory=dict)
    seconds: dict[str, dict[dt.date, float]] = field(default_factory=dict)

    def add(self, method: str, cutoff: dt.date, figures: Figures, note: str, seconds: float) -> None:
        """Take in what a method reached at a cutoff."""
        self.figures.setdefault(method, {})[cutoff] = figures
        self.notes.setdefault(method, {})[cutoff] = note
        self.seconds.setdefault(method, {})[cutoff] = seconds

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
        return _summary(values) if values else None

    def lead(self, method: str, peer: str, figure: str) -> dict[str, float] | None:
        """By how much a method is above a peer at the cutoffs that both have: mean, spread, and at how many it is."""
        ours, theirs = self.values(method, figure), self.values(peer, figure)
        differences = [ours[cutoff] - theirs[cutoff] for cutoff in ours if cutoff in theirs]
        if not differences:
            return None
        return {
            **_summary(differences),
            "ahead": sum(difference > 0 for difference in differences),
            "of": len(differences),
        }

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


def _summary(values: list[float]) -> dict[str, float]:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "std": spread, "min": min(values), "max": max(values)}


def show(results: Results, console: Terminal) -> None:
    """Print a table per cutoff, then mean and spread, the lead over the simplest peers, and calibration."""
    for cutoff in results.cutoffs:
        console.print(_cutoff_table(results, cutoff))
        for method, notes in results.notes.items():
            if notes.get(cutoff):
                console.print(f"  {method}: {notes[cutoff]}", soft_wrap=True)
        console.print()
    if len(results.cutoffs) > 1:
        console.print(_mean_table(results))
    for peer in PEERS:
        if peer in results.figures and len(results.figures) > 1:
            console.print(_lead_table(results, peer))
    for method in results.figures:
        if results.has_probability(method):
            console.print(_calibration_table(results, method))


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


def _lead_table(results: Results, peer: str) -> Table:
    table = Table(title=f"Lead over {peer}: mean over the cutoffs, lowest, and at how many", title_justify="left")
    table.add_column("method")
    for figure in RANKING:
        table.add_column(_heading(figure), justify="right")
    for method in results.figures:
        if method != peer:
            leads = [results.lead(method, peer, figure) for figure in RANKING]
            table.add_row(
                method,
                *(
                    f"{lead['mean']:+.4f} ({lead['min']:+.4f}, {lead['ahead']:.0f}/{lead['of']:.0f})" if lead else ""
                    for lead in leads
                ),
            )
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


def save(results: Results, folder: Path) -> Path:
    """Write results.json.

    Args:
        results: what was measured.
        folder: where; made if need be.

    Returns:
        The file.
    """
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
            "lead": {
                peer: {figure: results.lead(method, peer, figure) for figure in RANKING}
                for peer in PEERS
                if peer in results.figures and peer != method
            },
        }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.json"
    text = json.dumps(_jsonable({**results.about, "methods": methods}), indent=1, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def plot(results: Results, methods: Iterable[str], folder: Path) -> Path | None:
    """Draw predicted against observed rates per bin, a panel for each method, a line for each cutoff and the mean.

    Args:
        results: what was measured.
        methods: those to draw; such without likelihoods are passed over.
        folder: where calibration.png is written.

    Returns:
        The picture, or None when there is nothing to draw.
    """
    drawn = [method for method in methods if results.has_probability(method)]
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
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "calibration.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def _rates(held: list[dict[str, float]]) -> tuple[list[float], list[float]]:
    seen = [bin_figures for bin_figures in held if bin_figures["observed"]]  # a logarithmic axis has no zero
    return (
        [100 * bin_figures["predicted"] / bin_figures["pairs"] for bin_figures in seen],
        [100 * bin_figures["observed"] / bin_figures["pairs"] for bin_figures in seen],
    )
