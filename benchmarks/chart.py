"""The comparison as a bar chart of ratios."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from .measure import Spread
from .results import Report
from .table import LOST

__all__ = ["draw"]

_COLOURS = ("#4c78a8", "#f58518")
_BAR = 0.36


def _bars(axis: Any, ratios: list[Spread | None], shift: float, colour: str, label: str) -> None:
    for row, ratio in enumerate(ratios):
        if ratio is None or not 0 < ratio["median"] < math.inf:
            text = " no result" if ratio is None else f" {LOST}"
            axis.text(1, row + shift, text, va="center", ha="left", fontsize=7, color="#b00020")
            continue
        # What noise made negative or infinite has no place on the axis: its whisker ends where the axis does.
        left, right = axis.get_xlim()
        median, low, high = ratio["median"], max(ratio["min"], left), min(ratio["max"], right)
        # Bars start at 1, so that their length is the gain or the loss on the logarithmic axis.
        axis.barh(row + shift, median - 1, _BAR, left=1, color=colour)
        axis.errorbar(
            median, row + shift, xerr=[[median - low], [high - median]],
            color="#333333", lw=0.8, capsize=2,
        )  # fmt: skip
        axis.text(max(1, high) * 1.03, row + shift, f"{median:.2f}", va="center", ha="left", fontsize=7)
    axis.barh([0], [0], left=1, color=colour, label=label)


def draw(reports: dict[str, Report], path: Path) -> None:
    """Write a PNG: a panel a mode, a row a case, a bar an allocator setting, whiskers from min to max.

    Parameters
    ----------
    reports : dict of allocator setting to Report
    path : Path
    """
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter, NullFormatter

    first = next(iter(reports.values()))
    modes = list(dict.fromkeys(result["mode"] for result in first["results"]))
    rows = {mode: [(r["family"], r["case"]) for r in first["results"] if r["mode"] == mode] for mode in modes}
    height = 1.6 + 0.42 * max(len(cases) for cases in rows.values())
    figure, axes = plt.subplots(1, len(modes), figsize=(7 * len(modes), height), squeeze=False, layout="constrained")
    measured = [result["ratio"] for report in reports.values() for result in report["results"] if result["ratio"]]
    bounds = [bound for ratio in measured for bound in (ratio["min"], ratio["max"]) if 0 < bound < math.inf]
    lowest, highest = min([0.5, *bounds]), max([2.0, *bounds])
    for axis, mode in zip(axes[0], modes, strict=True):
        axis.set_xscale("log", base=2)
        axis.set_xlim(lowest / 1.15, highest * 1.6)  # room for the figure at the end of a bar
        for i, (setting, report) in enumerate(reports.items()):
            by_case = {(r["family"], r["case"]): r["ratio"] for r in report["results"] if r["mode"] == mode}
            shift = (i - (len(reports) - 1) / 2) * _BAR
            _bars(axis, [by_case[case] for case in rows[mode]], shift, _COLOURS[i], setting)
        axis.axvline(1, color="black", lw=1)
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_yticks(range(len(rows[mode])), [f"{family}: {case}" for family, case in rows[mode]], fontsize=8)
        axis.set_ylim(len(rows[mode]) - 0.4, -0.6)
        axis.set_title(mode, fontsize=10)
        axis.set_xlabel("time of the fastest valid peer / time of fastgan")
        axis.grid(axis="x", lw=0.3)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=len(reports), fontsize=8)
    machine = first["machine"]
    figure.suptitle(
        f"{machine.get('gpu', machine['cpu'])}, threads: {machine['threads']}, torch {machine['torch']}, "
        f"fastgan {machine['fastgan']} at {(machine['commit'] or 'no commit')[:8]}",
        fontsize=9,
    )  # fmt: skip
    figure.savefig(path, dpi=150)
    plt.close(figure)
