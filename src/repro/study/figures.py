"""The figures of the result pages: seeds as dots, mean and 95 % interval, the paper as a diamond.

Every function takes records (:data:`repro.study.records.Results`), draws into a new figure and
returns it; fractions are drawn as percentage points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from repro.study.intervals import mean_interval, paired_interval
from repro.study.records import Results, value
from repro.study.runs import Record

#: quantity -> axis label
LABELS = {
    "weighted_f1_error": "Err = 100 − weighted F1 (%)",
    "demographic_parity": "ΔDP (points)",
    "equalized_odds_sum": "ΔEO, sum (points)",
    "equalized_odds_max": "equalised odds, max (points)",
    "accuracy": "accuracy (%)",
    "worst_group_accuracy": "worst-group accuracy (%)",
    "group_std": "STD over groups (points)",
    "results:mean_label_error": "Err, labels' mean (%)",
    "results:mean_label_demographic_parity": "ΔDP, labels' mean (points)",
    "results:mean_label_equalized_odds_sum": "ΔEO, labels' mean (points)",
    "results:trainable_parameters": "trainable parameters",
    "results:separation_auc_pca": "AUC in the PCA plane (%)",
    "results:separation_auc": "AUC before the last layer (%)",
}
WOMEN, MEN, GREY, PAPER = "#b2182b", "#2166ac", "#555555", "#e08214"
GROUPS = {0: ("women (p = 0)", WOMEN), 1: ("men (p = 1)", MEN)}


def style() -> None:
    """Set the look of all figures, once at the top of a notebook."""
    sns.set_theme(style="whitegrid", context="notebook", font_scale=0.85)
    plt.rcParams.update({"figure.dpi": 110, "savefig.bbox": "tight", "axes.titlesize": "medium"})
    plt.rcParams["figure.constrained_layout.use"] = True


def _values(records: Sequence[Record], quantity: str) -> list[float]:
    found = [value(record, quantity) for record in records]
    return [100 * number for number in found if number is not None]


def _dots(axes: Axes, at: float, values: Sequence[float], colour: str, label: str = "") -> None:
    """Draw the seeds as dots and, beside them, mean and interval; nothing where there are none."""
    if not values:
        return
    spread = np.linspace(-0.08, 0.08, len(values)) if len(values) > 1 else np.zeros(1)
    axes.plot(at + spread, values, "o", color=colour, alpha=0.35, markersize=4, linestyle="none")
    interval = mean_interval(values)
    error = [[interval.mean - interval.low], [interval.high - interval.mean]]
    shown = None if interval.n < 2 else error
    axes.errorbar(
        at + 0.2, interval.mean, yerr=shown, fmt="s", color=colour, capsize=3, markersize=5,
        label=label or None,
    )  # fmt: skip


def settings_figure(
    results: Results,
    quantities: Sequence[str],
    *,
    names: Mapping[str, str],
    reported: Mapping[tuple[str, str], float] | None = None,
    title: str = "",
) -> Figure:
    """Draw one panel for each quantity and one column for each setting.

    Parameters
    ----------
    results
        Records by setting.
    quantities
        What to draw, see :func:`repro.study.records.value`.
    names
        The settings to show, in order, and what to call them.
    reported
        (setting, quantity) -> what the paper reports, a fraction.
    title
        Above all panels; says which data these are.
    """
    shown = {key: name for key, name in names.items() if key in results}
    # Side by side while that leaves room to read, else one below the other.
    beside = len(shown) <= 8
    rows, columns = (1, len(quantities)) if beside else (len(quantities), 1)
    wide = 0.32 * len(shown) + 1.1 if beside else 0.55 * len(shown) + 1
    figure, panels = plt.subplots(
        rows,
        columns,
        figsize=(max(2.8, wide) * columns, 3.6 if beside else 2.9 * rows),
        squeeze=False,
        sharex=not beside,
    )
    for axes, quantity in zip(panels.ravel(), quantities, strict=True):
        for at, key in enumerate(shown):
            _dots(axes, at, _values(results[key], quantity), GREY)
            paper = (reported or {}).get((key, quantity))
            if paper is not None:
                axes.plot(at - 0.2, 100 * paper, "D", color=PAPER, markersize=6)
        if any(q == quantity for _, q in reported or {}):
            axes.plot([], [], "D", color=PAPER, label="paper")
            axes.legend(loc="best", fontsize="small")
        axes.set_xticks(range(len(shown)), shown.values(), rotation=35, ha="right")
        axes.set_ylabel(LABELS.get(quantity, quantity))
        axes.grid(axis="x", visible=False)
    figure.suptitle(title, fontsize="medium")
    return figure


def before_after_figure(
    results: Results, rows: Sequence[tuple[str, str, str, str]], *, title: str = ""
) -> Figure:
    """Draw arrows from before to after fine-tuning.

    Parameters
    ----------
    results
        Records by setting.
    rows
        (label, key before, key after, quantity).
    title
        Says which data these are.
    """
    figure, axes = plt.subplots(figsize=(7.2, 0.48 * len(rows) + 1.4))
    for at, (_, before, after, quantity) in enumerate(rows):
        if before not in results or after not in results:
            continue
        first, second = _values(results[before], quantity), _values(results[after], quantity)
        for a, b in zip(first, second, strict=True):
            axes.plot([a, b], [at, at], color=GREY, alpha=0.25, linewidth=1)
        for values, colour, mark in ((first, GREY, "o"), (second, PAPER, ">")):
            mean = mean_interval(values)
            error = None if mean.n < 2 else [[mean.mean - mean.low], [mean.high - mean.mean]]
            axes.errorbar(mean.mean, at, xerr=error, fmt=mark, color=colour, capsize=3)
    axes.set_yticks(range(len(rows)), [row[0] for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("gap between men and women on the test part (points)")
    axes.plot([], [], "o", color=GREY, label="before")
    axes.plot([], [], ">", color=PAPER, label="after fine-tuning")
    axes.legend(loc="best", fontsize="small")
    axes.grid(axis="y", visible=False)
    axes.set_title(title)
    return figure


def pca_figure(records: Mapping[str, Record], *, title: str = "") -> Figure:
    """Draw where positively predicted men and women lie in the plane of two components."""
    figure, panels = plt.subplots(1, len(records), figsize=(3.5 * len(records), 3.5), squeeze=False)
    for axes, (name, record) in zip(panels[0], records.items(), strict=True):
        results = record.results
        if results.get("pca_density") is None:
            axes.set_title(f"{name}\ntoo few positively predicted to draw", fontsize="small")
            continue
        # A margin of empty cells lets every contour close.
        centres = [_padded_centres(np.asarray(edges)) for edges in results["pca_edges"]]
        both = np.pad(np.asarray(results["pca_density"], dtype=float), ((0, 0), (3, 3), (3, 3)))
        for p, density in enumerate(both):
            smooth = _smooth(density)
            levels = np.max(smooth) * np.array([0.1, 0.3, 0.6])
            axes.contour(
                centres[0], centres[1], smooth.T, levels=levels, colors=GROUPS[p][1],
                linewidths=[0.8, 1.3, 2],
            )  # fmt: skip
            axes.plot([], [], color=GROUPS[p][1], label=GROUPS[p][0])
        for axis, limit in ((0, axes.set_xlim), (1, axes.set_ylim)):  # without the long tail
            mass = both.sum(0).sum(1 - axis).cumsum() / both.sum()
            inside = np.flatnonzero((mass > 0.002) & (mass < 0.992))
            low, high = max(inside[0] - 3, 0), min(inside[-1] + 3, len(mass) - 1)
            limit(centres[axis][low], centres[axis][high])
        auc = results["separation_auc_pca"]
        axes.set_title(f"{name}\nAUC {auc:.2f}", fontsize="small")
        axes.set_xlabel("first component")
    panels[0][0].set_ylabel("second component")
    # One legend is enough, in the first panel that has something to explain.
    for axes in [one for one in panels[0] if one.get_legend_handles_labels()[0]][:1]:
        axes.legend(fontsize="x-small")
    figure.suptitle(title, fontsize="medium")
    return figure


def _padded_centres(edges: np.ndarray) -> np.ndarray:
    """Return the centres of the cells between ``edges``, and of three more on either side."""
    width = edges[1] - edges[0]
    outside = np.arange(1, 4) * width
    centres = (edges[:-1] + edges[1:]) / 2
    return np.concatenate([centres[0] - outside[::-1], centres, centres[-1] + outside])


def _smooth(density: np.ndarray) -> np.ndarray:
    """Blur counts with a small binomial kernel, so that contours of a sparse group close."""
    kernel = np.array([1, 4, 6, 4, 1]) / 16
    for axis in (0, 1):
        density = np.apply_along_axis(np.convolve, axis, density, kernel, "same")
    return density


def importance_figure(record: Record, *, title: str = "") -> Figure:
    """Draw the importance of each input of the last layer for both groups, and their shapes."""
    importance = np.asarray(record.results["importance"])[::-1]  # from [s][row] to [p][row]
    figure, panels = plt.subplots(1, 2, figsize=(9.5, 3.4))
    rows = np.arange(importance.shape[1])
    for axes, table, label in (
        (panels[0], importance, "importance of the row"),
        (panels[1], importance / importance.sum(1, keepdims=True), "share of the group's total"),
    ):
        for p, (name, colour) in GROUPS.items():
            axes.bar(rows + 0.4 * (p - 0.5), table[p], 0.4, color=colour, label=name)
        axes.set_xlabel("input of the last layer")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="x", visible=False)
    panels[0].legend(fontsize="small")
    figure.suptitle(title, fontsize="medium")
    return figure


def null_figure(records: Sequence[Record], *, title: str = "") -> Figure:
    """Draw the distance of the groups' importances beside that of groups drawn by chance."""
    figure, axes = plt.subplots(figsize=(6, 0.3 * len(records) + 1.6))
    for at, record in enumerate(records):
        found = record.results
        axes.plot(
            [0, 100 * found["importance_distance_null_95"]], [at, at], color=GREY, linewidth=5,
            alpha=0.4, solid_capstyle="butt",
        )  # fmt: skip
        axes.plot(100 * found["importance_distance"], at, "o", color=WOMEN)
    axes.plot([], [], color=GREY, linewidth=5, alpha=0.4, label="95 % of permuted groups")
    axes.plot([], [], "o", color=WOMEN, label="men against women")
    axes.set_yticks(range(len(records)), [f"seed {r.config['seed']}" for r in records])
    axes.set_xlabel("total variation distance of the importances (%)")
    axes.set_xlim(left=0)
    axes.set_ylim(-0.7, len(records) - 0.3)
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    axes.grid(axis="y", visible=False)
    axes.set_title(title)
    return figure


def weight_figure(results: Results, rank: int, *, title: str = "") -> Figure:
    """Draw the three metrics against the weight a, as differences from a = 0.5, seed by seed."""
    quantities = ("weighted_f1_error", "demographic_parity", "equalized_odds_sum")
    prefix = f"rank {rank}, a "
    keys = sorted((k for k in results if k.startswith(prefix)), key=lambda k: float(k.split()[-1]))
    figure, panels = plt.subplots(1, 3, figsize=(9, 2.9))
    for axes, quantity in zip(panels, quantities, strict=True):
        base = _values(results[f"{prefix}0.5"], quantity)
        for key in keys:
            at = float(key.split()[-1])
            values = _values(results[key], quantity)
            interval = paired_interval(values, base)
            axes.plot(
                [at] * len(values), np.subtract(values, base), "o", color=GREY, alpha=0.3,
                markersize=4,
            )  # fmt: skip
            error = [[interval.mean - interval.low], [interval.high - interval.mean]]
            axes.errorbar(
                at, interval.mean, yerr=None if interval.n < 2 else error, fmt="s", color=MEN,
                capsize=3, markersize=4,
            )  # fmt: skip
        axes.axhline(0, color="black", linewidth=0.8)
        low, high = axes.get_ylim()
        # A flat line must look flat: never zoom in on less than half a point.
        axes.set_ylim(min(low, -0.5), max(high, 0.5))
        axes.set_xlabel("a, the weight of men's importance")
        axes.set_title(LABELS[quantity].split(" = ")[0], fontsize="small")
    panels[0].set_ylabel("change from a = 0.5 (points)")
    figure.suptitle(title, fontsize="medium")
    return figure


def head_figure(record: Record, head: np.ndarray, others: Mapping[str, Record]) -> Figure:
    """Draw the rows of a two-class head in the plane of its outputs, and the kept directions.

    Parameters
    ----------
    record
        A run of WIN, for the importance of the rows (the width of the lines).
    head
        Shape (d, 2).
    others
        Runs at rank 1 by name, whose kept direction is drawn.
    """
    importance = np.asarray(record.results["importance"]).mean(0)
    figure, axes = plt.subplots(figsize=(4.2, 4.2))
    reach = 1.15 * np.abs(head).max()
    for row, weight in zip(head, importance / importance.max(), strict=True):
        axes.plot([0, row[0]], [0, row[1]], color=GREY, linewidth=0.5 + 4 * weight)
    for (name, other), (colour, line) in zip(
        others.items(), ((MEN, "-"), (WOMEN, "--")), strict=False
    ):
        kept = np.asarray(other.results["start_B"][0]) * reach
        axes.plot([-kept[0], kept[0]], [-kept[1], kept[1]], line, color=colour, label=name)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="output 0", ylabel="output 1")
    axes.legend(fontsize="small", title="kept at rank 1")
    return figure


def trade_off_figure(
    results: Results,
    names: Mapping[str, str],
    *,
    reported: Mapping[tuple[str, str], float] | None = None,
    title: str = "",
) -> Figure:
    """Draw error against unfairness, one point a setting with its intervals both ways."""
    quantities = ("demographic_parity", "equalized_odds_sum")
    figure, panels = plt.subplots(1, 2, figsize=(10, 4))
    shown = [key for key in names if key in results]
    palette = sns.color_palette("tab10", len(shown))
    for axes, quantity in zip(panels, quantities, strict=True):
        for key, colour in zip(shown, palette, strict=True):
            x = mean_interval(_values(results[key], "weighted_f1_error"))
            y = mean_interval(_values(results[key], quantity))
            wide = None if x.n < 2 else [[x.mean - x.low], [x.high - x.mean]]
            tall = None if y.n < 2 else [[y.mean - y.low], [y.high - y.mean]]
            axes.errorbar(
                x.mean, y.mean, xerr=wide, yerr=tall, fmt="s", color=colour, markersize=5,
                label=names[key],
            )  # fmt: skip
            paper = reported or {}
            if (key, quantity) in paper and (key, "weighted_f1_error") in paper:
                axes.plot(
                    100 * paper[key, "weighted_f1_error"], 100 * paper[key, quantity], "D",
                    color=colour, markerfacecolor="none", markersize=6,
                )  # fmt: skip
        axes.set_xlabel(LABELS["weighted_f1_error"])
        axes.set_ylabel(LABELS[quantity])
    if reported:
        panels[1].plot([], [], "D", color=GREY, markerfacecolor="none", label="paper (same colour)")
    if shown or reported:
        panels[1].legend(fontsize="x-small", bbox_to_anchor=(1.02, 1), loc="upper left")
    figure.suptitle(title, fontsize="medium")
    return figure


#: word of a verdict -> colour, also to be told apart in grey
WORDS = {
    "holds": "#1b7837",
    "holds in part": "#a6dba0",
    "undecided": "#d9d9d9",
    "does not hold": "#762a83",
}


def words_by_effect(errors: pd.DataFrame) -> Figure:
    """Draw how often each word is given: a panel for each effect, a bar for each number of seeds.

    Parameters
    ----------
    errors
        As `repro.study.simulation.errors` returns it.
    """
    effects = list(dict.fromkeys(errors["effect"]))
    claims = errors["claim"].nunique()
    figure, panels = plt.subplots(1, len(effects), figsize=(9, 2.8), sharey=True)
    for axes, effect in zip(np.atleast_1d(panels), effects, strict=True):
        rows = errors[errors["effect"] == effect]
        shares = rows.pivot_table(index="seeds", columns="word", values="share", aggfunc="sum")
        shares = 100 * shares.reindex(columns=list(WORDS)).fillna(0.0) / claims
        low = np.zeros(len(shares))
        for word, colour in WORDS.items():
            names = [str(n) for n in shares.index]
            axes.bar(names, shares[word], bottom=low, color=colour, label=word, width=0.75)
            low = low + shares[word].to_numpy()
        axes.set(title=f"true effect: {effect}", xlabel="seeds")
        axes.grid(False)
    np.atleast_1d(panels)[0].set_ylabel("studies (%)")
    handles, labels = np.atleast_1d(panels)[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure
