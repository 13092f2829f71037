"""The figures of the result pages: seeds as dots, mean and 95 % interval, the paper as a diamond.

Every function takes records (:data:`repro.study.records.Results`), draws into a new figure and
returns it; fractions are drawn as percentage points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repro.study.intervals import Interval, mean_interval
from repro.study.records import Results
from repro.study.runs import Record
from repro.study.tables import Reported, known_values, means

if TYPE_CHECKING:
    from repro.study.session import Part, View

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
    import seaborn as sns

    sns.set_theme(style="whitegrid", context="notebook", font_scale=0.85)
    plt.rcParams.update({"figure.dpi": 110, "savefig.bbox": "tight", "axes.titlesize": "medium"})
    plt.rcParams["figure.constrained_layout.use"] = True


def palette(name: str, number: int | None = None) -> list[tuple[float, float, float]]:
    """Return colours of seaborn."""
    import seaborn as sns  # which takes a while to load, and a plan or a verdict draws nothing

    return list(sns.color_palette(name, number))


def in_points(records: Sequence[Record], quantity: str) -> list[float]:
    """Return a quantity of each record in percentage points, where it exists."""
    return [100 * number for number in known_values(records, quantity)]


def _dots(axes: Axes, at: float, values: Sequence[float]) -> None:
    """Draw the seeds as dots and, beside them, mean and interval; nothing where there are none."""
    if not values:
        return
    spread = np.linspace(-0.08, 0.08, len(values)) if len(values) > 1 else np.zeros(1)
    axes.plot(at + spread, values, "o", color=GREY, alpha=0.35, markersize=4, linestyle="none")
    interval = mean_interval(values)
    axes.errorbar(
        at + 0.2,
        interval.mean,
        yerr=interval.whiskers,
        fmt="s",
        color=GREY,
        capsize=3,
        markersize=5,
    )


def draw_seeds(
    axes: Axes, at: float, values: Sequence[float] | np.ndarray, interval: Interval
) -> None:
    """Draw seeds as dots above a number, and a square with whiskers for what they say of a mean."""
    axes.plot([at] * len(values), values, "o", color=GREY, alpha=0.35, markersize=4)
    axes.errorbar(
        at, interval.mean, yerr=interval.whiskers, fmt="s", color=MEN, capsize=3, markersize=4
    )


def draw_line(
    axes: Axes,
    values: Mapping[float, Sequence[float]],
    colour: str | tuple[float, float, float],
    label: str,
    *,
    dots: float = 4,
) -> None:
    """Draw seeds as dots above numbers, and a line through means with their intervals.

    Parameters
    ----------
    values
        Where on the horizontal axis -> what the seeds have there.
    dots
        Size of the dots.
    """
    for at, each in values.items():
        axes.plot([at] * len(each), each, "o", color=colour, alpha=0.3, markersize=dots)
    found = [mean_interval(each) for each in values.values()]
    # Of a single seed no length: there is a mean, but no interval.
    ends = [np.ravel(interval.whiskers or (0.0, 0.0)) for interval in found]
    axes.errorbar(
        list(values), [interval.mean for interval in found], yerr=np.reshape(ends, (-1, 2)).T,
        fmt="s-", color=colour, capsize=3, markersize=4, linewidth=1, label=label,
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
            _dots(axes, at, in_points(results[key], quantity))
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


def beside_paper(
    view: View,
    metrics: Mapping[str, str],
    names: Mapping[str, str],
    reported: Reported | None = None,
    drawn: Sequence[str] | None = None,
) -> list[Part]:
    """Return figure and table of settings beside what the paper reports, and which runs they are.

    Parameters
    ----------
    metrics
        metric -> column heading.
    names
        The settings to show, in order, and what to call them; of one alone there is no figure.
    drawn
        The metrics of the figure, where they are not all or in another order.
    """
    shown = {key: name for key, name in names.items() if key in view.results}
    paper = None if reported is None else view.paper(reported)
    table = means(view.results, metrics, shown, paper)
    if len(shown) < 2:
        return [table, view]
    drawn = list(metrics) if drawn is None else drawn
    figure = settings_figure(view.results, drawn, names=shown, reported=paper, title=view.label)
    return [figure, table, view]


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
