"""The figures of WIN on faces: metrics against the rank, and angles between what is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repro.study.figures import GREY, LABELS, MEN, WOMEN
from repro.study.intervals import mean_interval
from repro.study.records import Results, value
from repro.study.winface_reports import largest_angles, ranks_of

#: strategy -> what it is called, its colour, and where beside the rank it is drawn
SERIES = {"svd": ("f+SVD", WOMEN, -1), "win": ("WIN", MEN, 1)}


def rank_figure(results: Results, quantities: Mapping[str, float], *, title: str = "") -> Figure:
    """Draw quantities against the rank: seeds as dots, mean and interval of f+SVD and WIN.

    Parameters
    ----------
    results
        Records by the keys of a plan of strategies (``tl``, ``svd, rank 4``).
    quantities
        quantity (:func:`repro.study.records.value`) -> by what it is multiplied to be drawn, 100
        for a fraction in points.
    title
        Says which data these are.
    """
    figure, panels = plt.subplots(
        1, len(quantities), figsize=(3.4 * len(quantities), 3.2), squeeze=False
    )
    ranks = ranks_of(results)
    for axes, (quantity, factor) in zip(panels[0], quantities.items(), strict=True):
        for strategy, (name, colour, side) in SERIES.items():
            rows = [
                (
                    place + 0.12 * side,
                    _values(results, f"{strategy}, rank {rank}", quantity, factor),
                )
                for place, rank in enumerate(ranks)
            ]
            _series(axes, [row for row in rows if row[1]], colour, name)
        flat = _values(results, "tl", quantity, factor)
        if flat:
            interval = mean_interval(flat)
            axes.axhline(interval.mean, color=GREY, linestyle="--", label="TL")
            if interval.n > 1:
                axes.axhspan(interval.low, interval.high, color=GREY, alpha=0.12)
        axes.set_xticks(range(len(ranks)), [str(rank) for rank in ranks])
        axes.set_xlabel("rank")
        axes.set_ylabel(LABELS.get(quantity, quantity))
        axes.grid(axis="x", visible=False)
    panels[0][0].legend(fontsize="small")
    figure.suptitle(title, fontsize="medium")
    return figure


def _values(results: Results, key: str, quantity: str, factor: float) -> list[float]:
    found = [value(record, quantity) for record in results.get(key, [])]
    return [factor * number for number in found if number is not None]


def _series(axes: Axes, rows: Sequence[tuple[float, list[float]]], colour: str, name: str) -> None:
    """Draw one strategy: dots of the seeds, and a line through means with their intervals."""
    for at, values in rows:
        axes.plot([at] * len(values), values, "o", color=colour, alpha=0.3, markersize=4)
    intervals = [mean_interval(values) for _, values in rows]
    ends = np.array(
        [[i.mean - i.low, i.high - i.mean] if i.n > 1 else [0.0, 0.0] for i in intervals]
    ).reshape(-1, 2)
    axes.errorbar(
        [at for at, _ in rows], [i.mean for i in intervals], yerr=ends.T, fmt="s-", color=colour,
        capsize=3, markersize=4, linewidth=1, label=name,
    )  # fmt: skip


def angle_figure(results: Results, *, title: str = "") -> Figure:
    """Draw by how much other importances turn the outputs that WIN keeps, against the rank.

    The largest principal angle between the kept subspaces of the neutralised importance and each
    other one, seeds as dots, lines through their means; 0 at full rank, where nothing is cut.
    """
    table = largest_angles(results)
    figure, axes = plt.subplots(figsize=(6.5, 3.4))
    ranks = ranks_of(results)
    others = list(dict.fromkeys(table["importance"]))
    for other, colour in zip(others, sns.color_palette("tab10", len(others)), strict=True):
        chosen = table[table["importance"] == other]
        places = [ranks.index(rank) for rank in chosen["rank"]]
        axes.plot(places, chosen["angle"], "o", color=colour, alpha=0.35, markersize=4)
        means = chosen.groupby("rank")["angle"].mean()
        axes.plot([ranks.index(int(r)) for r in means.index], means, color=colour, label=other)
    axes.set_xticks(range(len(ranks)), [str(rank) for rank in ranks])
    axes.set_xlabel("rank")
    axes.set_ylabel("largest angle to WIN's outputs (°)")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="small", title="importance", bbox_to_anchor=(1.02, 1), loc="upper left")
    axes.grid(axis="x", visible=False)
    axes.set_title(title)
    return figure
