"""A run as a picture: the peers' events a second, as a share of the log's."""

from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.log_appends import REFERENCE
from benchmarks.measure import Outcome, Result
from benchmarks.reads import ALL, IN_ORDER_OF_ARRIVAL
from benchmarks.report import Report

_ACROSS = 3
_OURS, _THEIRS, _PLAIN = "#1f6f8b", "#c8553d", "#9aa5b1"
_STORES = ("UmaDB", "eventsourcing")
_LEAST, _MOST = 0.01, 300  # of the axis, with room for labels on the right
_SHORT = {"redis-py, XRANGE 1000 + decode of": "redis-py, XRANGE +"}


def draw(report: Report, path: Path) -> str | None:
    """Of the cases that sync, and of reading everything. What it returns is why there is no picture."""
    results = [result for result in report.results if result.title.endswith("fsync always") or result.title == ALL]
    if not results:
        return "no case with fsync was measured"
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return "matplotlib is not installed: pip install '.[bench]'"
    rows = -(-len(results) // _ACROSS)
    figure = Figure(figsize=(16, 0.6 + 3.4 * rows), dpi=75, layout="constrained")
    panels = figure.subplots(rows, min(_ACROSS, len(results)), squeeze=False).flatten()
    for panel, result in zip(panels, results, strict=False):
        _panel(panel, result)
    for panel in panels[len(results) :]:
        panel.set_axis_off()
    where = f"{report.machine.server}, {report.machine.cores} cores, rounds: {report.rounds}"
    colours = "blue: this log, red: event stores, grey: messages without versions"
    title = f"Events a second with fsync, as a share of the log's (1.00x), log scale\n{colours}\n{where}"
    figure.suptitle(title, fontsize=12)
    save(figure, path)
    return None


def save(figure: Any, path: Path) -> None:
    """In few colours: a third of the bytes."""
    from PIL import Image

    drawn = BytesIO()
    figure.savefig(drawn, format="png")
    Image.open(drawn).convert("RGB").quantize(48).save(path, format="png", optimize=True)


def _panel(panel: Any, result: Result) -> None:
    first = next(o for o in result.outcomes if o.name in {REFERENCE, IN_ORDER_OF_ARRIVAL})
    outcomes = list(reversed(result.outcomes))
    shares = [share(outcome, first) for outcome in outcomes]
    bars = panel.barh([_short(o.name) for o in outcomes], shares, color=[colour(o) for o in outcomes])
    labels = [f"{share:.2f}x  {o.rate:,.0f}/s" for share, o in zip(shares, outcomes, strict=True)]
    panel.axvline(1, color="#333333", linewidth=0.8, zorder=0)
    panel.bar_label(bars, labels, padding=3, fontsize=9, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})
    panel.set_xscale("log")
    panel.set_xlim(_LEAST, _MOST)  # the same for all panels, so that lengths can be compared
    panel.set_title(result.title.removesuffix(", fsync always"), fontsize=11, loc="left")
    panel.tick_params(axis="y", labelsize=9)
    panel.set_xticks([])
    panel.minorticks_off()
    panel.spines[["top", "right", "bottom"]].set_visible(False)


def share(outcome: Outcome, first: Outcome) -> float:
    return median(theirs.rate / ours.rate for theirs, ours in zip(outcome.samples, first.samples, strict=True))


def colour(outcome: Outcome) -> str:
    if not outcome.baseline:
        return _OURS
    return _THEIRS if outcome.name.startswith(_STORES) else _PLAIN


def _short(name: str) -> str:
    for long, short in _SHORT.items():
        name = name.replace(long, short)
    return name
