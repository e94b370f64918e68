"""A run as a picture: events consumed a second, beside the peers."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.chart import colour, save, share
from benchmarks.consuming.backlog import OURS
from benchmarks.measure import Result

CHART = "consumers.png"


def draw(results: Sequence[Result], path: Path) -> str | None:
    """Of the cases with our consumer. What it returns is why there is no picture."""
    chosen = [(result, first) for result in results for first in result.outcomes if first.name == OURS]
    if not chosen:
        return "no case beside peers was measured"
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return "matplotlib is not installed: pip install '.[bench]'"
    figure = Figure(figsize=(16, 0.6 + 3.4), dpi=75, layout="constrained")
    panels = figure.subplots(1, len(chosen), squeeze=False).flatten()
    for panel, (result, first) in zip(panels, chosen, strict=True):
        outcomes = list(reversed(result.outcomes))
        shares = [share(outcome, first) for outcome in outcomes]
        bars = panel.barh([o.name for o in outcomes], shares, color=[colour(o) for o in outcomes])
        labels = [f"{each:.3f}x  {o.rate:,.0f}/s" for each, o in zip(shares, outcomes, strict=True)]
        panel.bar_label(bars, labels, padding=3, fontsize=9)
        panel.axvline(1, color="#333333", linewidth=0.8, zorder=0)
        panel.set_xscale("log")
        panel.set_xlim(0.001, 30)
        panel.set_title(result.title, fontsize=11, loc="left")
        panel.set_xticks([])
        panel.minorticks_off()
        panel.spines[["top", "right", "bottom"]].set_visible(False)
    figure.suptitle("Events consumed a second by one worker, as a share of ours (1x), log scale", fontsize=12)
    save(figure, path)
    return None
