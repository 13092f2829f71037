"""The figures of the AIM-Fair chapters: groups, faces, masks, and metrics against k."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from repro.chapters.aim.contrasts import ACC, EO, WST
from repro.study.figures import LABELS, PAPER, draw_seeds, palette
from repro.study.intervals import mean_interval
from repro.study.records import Results, value

if TYPE_CHECKING:
    from torch import Tensor

#: Fewer faces than this must not be averaged into a picture of real people.
MIN_AVERAGED = 50
GROUP_COLOURS = ("#92c5de", "#0571b0", "#f4a582", "#ca0020")
GROUP_NAMES = ("(0,0)", "(0,1)", "(1,0)", "(1,1)")


def group_counts_figure(sets: Mapping[str, np.ndarray], *, title: str = "") -> Figure:
    """Draw how many images of each group (t,p) are in each set; counts are (2, 2) [t, p]."""
    figure, axes = plt.subplots(figsize=(1.6 + 1.5 * len(sets), 3.2))
    for group in range(4):
        heights = [np.asarray(counts).ravel()[group] for counts in sets.values()]
        at = np.arange(len(sets)) + (group - 1.5) * 0.2
        bars = axes.bar(at, heights, 0.19, color=GROUP_COLOURS[group], label=GROUP_NAMES[group])
        axes.bar_label(bars, fmt="{:,.0f}", fontsize=6.5, rotation=90, padding=2)
    axes.set_xticks(range(len(sets)), list(sets))
    axes.margins(y=0.18)
    axes.set_ylabel("images")
    axes.legend(title="group (t,p)", fontsize="small", ncols=2)
    axes.grid(axis="x", visible=False)
    axes.set_title(title)
    return figure


def faces_figure(rows: Mapping[str, Tensor], *, title: str = "") -> Figure:
    """Draw a contact sheet of synthetic faces; each row is (n, 3, s, s) uint8, n alike."""
    columns = max(len(images) for images in rows.values())
    figure, panels = plt.subplots(
        len(rows), columns, figsize=(0.85 * columns + 1.2, 0.9 * len(rows) + 0.4), squeeze=False
    )
    for line, (name, images) in zip(panels, rows.items(), strict=True):
        for axes in line:
            axes.axis("off")
        for axes, image in zip(line, images, strict=False):
            axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
        line[0].text(
            -0.15, 0.5, name, transform=line[0].transAxes, ha="right", va="center", fontsize=8
        )
    figure.suptitle(title, fontsize="medium")
    return figure


def averages_figure(groups: Mapping[str, Tensor], *, title: str = "") -> Figure:
    """Draw the mean image of each group; of fewer than 50 faces it is refused.

    Parameters
    ----------
    groups
        Name -> images (n, 3, s, s) uint8.
    """
    figure, panels = plt.subplots(1, len(groups), figsize=(1.9 * len(groups), 2.3), squeeze=False)
    for axes, (name, images) in zip(panels[0], groups.items(), strict=True):
        if len(images) < MIN_AVERAGED:
            plt.close(figure)
            raise ValueError(
                f"{name}: an average of {len(images)} faces could show a person; "
                f"at least {MIN_AVERAGED} are needed"
            )
        average = images.float().mean(dim=0).permute(1, 2, 0).numpy() / 255
        axes.imshow(average, interpolation="bilinear")
        axes.set_title(f"{name}\nmean of {len(images):,}", fontsize="small")
        axes.axis("off")
    figure.suptitle(title, fontsize="medium")
    return figure


def group_accuracy_figure(
    results: Results,
    names: Mapping[str, str],
    *,
    reported: Mapping[tuple[str, str], float] | None = None,
    title: str = "",
) -> Figure:
    """Draw the accuracy of each group, seeds as dots; the paper as open diamonds."""
    shown = {key: name for key, name in names.items() if key in results}
    figure, axes = plt.subplots(figsize=(2.6 + 0.95 * len(shown), 3.6))
    for at, key in enumerate(shown):
        for group, name in enumerate(GROUP_NAMES):
            metric = f"accuracy_t{group // 2}_p{group % 2}"
            values = [100 * record.metrics()[metric] for record in results[key]]
            x = at + (group - 1.5) * 0.19
            colour = GROUP_COLOURS[group]
            axes.plot([x] * len(values), values, "o", color=colour, alpha=0.5, markersize=4)
            axes.plot(
                x, np.mean(values), "_", color=colour, markersize=13, markeredgewidth=2.5,
                label=name if at == 0 else None,
            )  # fmt: skip
            told = (reported or {}).get((key, metric))
            if told is not None:
                axes.plot(x, 100 * told, "D", color=PAPER, fillstyle="none", markersize=5)
    axes.set_xticks(range(len(shown)), list(shown.values()), rotation=25, ha="right")
    axes.set_ylabel("accuracy of the group (%)")
    if reported:
        axes.plot([], [], "D", color=PAPER, fillstyle="none", markersize=5, label="paper")
    axes.set_xlim(-0.6, len(shown) - 0.4)
    axes.legend(title="group (t,p)", fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1))
    axes.grid(axis="x", visible=False)
    axes.set_title(title)
    return figure


def against_number_figure(
    results: Results,
    at: Mapping[str, float],
    *,
    lines: Mapping[str, str],
    xlabel: str,
    reported: Mapping[tuple[str, str], float] | None = None,
    title: str = "",
    logarithmic: bool = False,
) -> Figure:
    """Draw accuracy, worst-group accuracy and EO of settings against a number.

    Parameters
    ----------
    results
        Records by setting.
    at
        Setting -> where it stands on the horizontal axis.
    lines
        Settings that are drawn as a horizontal line (mean over seeds) -> what to call them.
    xlabel
        What the number is.
    reported
        (setting, metric) -> what the paper reports, a fraction.
    logarithmic
        Whether the horizontal axis is.
    """
    figure, panels = plt.subplots(1, 3, figsize=(10, 3.1))
    colours = palette("colorblind", max(len(lines), 1))
    for axes, metric in zip(panels, (ACC, WST, EO), strict=True):
        for key, x in at.items():
            values = [100 * float(value(r, metric) or 0.0) for r in results.get(key, [])]
            if not values:
                continue
            draw_seeds(axes, x, values, mean_interval(values))
        for (key, name), colour in zip(lines.items(), colours, strict=False):
            if key in results:
                mean = 100 * np.mean([r.metrics()[metric] for r in results[key]])
                axes.axhline(mean, color=colour, linestyle="--", linewidth=1, label=name)
        told = {x: (reported or {}).get((key, metric)) for key, x in at.items()}
        known = {x: 100 * number for x, number in told.items() if number is not None}
        if known:
            axes.plot(list(known), list(known.values()), "D", color=PAPER, label="paper")
        if logarithmic:
            axes.set_xscale("log")
        axes.set_xlabel(xlabel)
        axes.set_ylabel(LABELS[metric])
    panels[0].legend(fontsize="x-small")
    figure.suptitle(title, fontsize="medium")
    return figure
