"""Chapter 46: what the rank of the head does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from repro.chapters.win.configs import NAMES, key_of, words
from repro.chapters.win.face_plans import on_heads, pretrained
from repro.chapters.win.tables import named, ranks_of
from repro.study.experiments import Plan, experiment
from repro.study.figures import GREY, LABELS, MEN, WOMEN, draw_line, palette
from repro.study.intervals import mean_interval
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.session import View
from repro.study.tables import decided, differences, known_values, means

NOTEBOOK = "46_rank"


@experiment(NOTEBOOK, part="win-faces")
def ranks(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Sweep the rank of the head with one logit a label; keys ``win, rank 4``."""
    if profile.win.faces is None:
        return {}
    bases = [pretrained(profile, seed, head="labels") for seed in seeds]
    return on_heads(profile, bases, profile.win.faces.label_ranks)


#: the paper's metrics, averaged over the labels of a head -> in short for tables
MEANS = {
    "results:mean_label_error": "Err",
    "results:mean_label_demographic_parity": "ΔDP",
    "results:mean_label_equalized_odds_sum": "ΔEO (sum)",
}


def sweep_figure(view: View) -> Figure:
    """Draw the metrics against the rank."""
    return rank_figure(view.results, dict.fromkeys(MEANS, 100.0), title=view.label)


def sweep_table(results: Results) -> pd.DataFrame:
    """Return the metrics of each strategy at each rank."""
    return means(results, MEANS, named(results))


def _pairs(results: Results) -> list[tuple[str, str, str]]:
    """Return WIN − f+SVD and WIN − TL at every rank."""
    return [
        (f"WIN − {name}, rank {rank}", key_of("win", rank), other)
        for rank in ranks_of(results)
        for name, other in (("f+SVD", key_of("svd", rank)), ("TL", "tl"))
    ]


def rank_differences(results: Results) -> pd.DataFrame:
    """Return by how much WIN differs from f+SVD and from TL at every rank, in points."""
    return differences(results, MEANS, _pairs(results))


def learnt(view: View) -> str:
    """Say which of these differences are decided."""
    return f"**{view.label}.** {decided(view.results, MEANS, _pairs(view.results))}"


def parameters_figure(results: Results) -> Figure:
    """Draw how many parameters train against the rank."""
    return rank_figure(results, {"results:trainable_parameters": 1.0})


def rank_costs(results: Results) -> pd.DataFrame:
    """Return what each rank trains, how far it starts from the head it came from, and its time."""
    rows = []
    for key in ["tl", *(key_of(s, r) for r in ranks_of(results) for s in ("svd", "win"))]:
        if key not in results:
            continue
        records = results[key]
        starts = [record.results["start_max_logit_change"] for record in records]
        seconds = [record.body["seconds"] for record in records]
        rows.append(
            {
                "setting": words(records[0].config),
                "trainable parameters": f"{records[0].results['trainable_parameters']:,}",
                "largest change of a logit at the start": f"{max(starts):.3g}",
                "seconds a run, median": f"{np.median(seconds):.2f}",
            }
        )
    return pd.DataFrame(rows)


def largest_angles(results: Results) -> pd.DataFrame:
    """Return the largest principal angle of outputs that WIN and that other importances keep.

    Parameters
    ----------
    results
        Records by the keys of a plan of strategies; those of WIN hold the angles.

    Returns
    -------
    pandas.DataFrame
        Columns rank, seed, importance, angle (degrees).
    """
    rows = [
        {
            "rank": rank,
            "seed": record.config["seed"],
            "importance": pair["second"],
            "angle": max(pair["outputs"]),
        }
        for rank in ranks_of(results)
        for record in results.get(key_of("win", rank), [])
        for pair in record.results["angles"]
        if pair["first"] == "neutralised"
    ]
    return pd.DataFrame(rows, columns=["rank", "seed", "importance", "angle"])


def angles_table(results: Results) -> pd.DataFrame:
    """Return the mean over seeds of the largest angle, a row for each rank."""
    table = largest_angles(results)
    return table.groupby(["rank", "importance"])["angle"].mean().unstack().round(2).reset_index()


def left_out(results: Results) -> str:
    """Say in a sentence which labels a group's importance leaves out, over all seeds."""
    # One rank tells it all: the importance does not depend on the rank.
    records = next((g for g in results.values() if g[0].config.get("strategy") == "win"), [])
    found: dict[str, Counter[str]] = {}
    for record in records:
        for group, labels in record.results["left_out_labels"].items():
            found.setdefault(group, Counter()).update(labels)
    found = {group: labels for group, labels in found.items() if labels}
    if not found:
        return "Every label varies within both groups: none is left out."
    parts = [
        f"in the group {group}: "
        + ", ".join(f"{label} ({count} of {len(records)} seeds)" for label, count in labels.items())
        for group, labels in found.items()
    ]
    return (
        "Left out of a group's importance, because they do not vary within it: "
        + "; ".join(parts)
        + "."
    )


#: strategy -> its colour, and where beside the rank it is drawn
SERIES = {"svd": (WOMEN, -1), "win": (MEN, 1)}


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
        for strategy, (colour, side) in SERIES.items():
            rows = {
                place + 0.12 * side: _values(results, key_of(strategy, rank), quantity, factor)
                for place, rank in enumerate(ranks)
            }
            known = {at: values for at, values in rows.items() if values}
            draw_line(axes, known, colour, NAMES[strategy])
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
    return [factor * number for number in known_values(results.get(key, []), quantity)]


def angle_figure(results: Results, *, title: str = "") -> Figure:
    """Draw by how much other importances turn the outputs that WIN keeps, against the rank.

    The largest principal angle between the kept subspaces of the neutralised importance and each
    other one, seeds as dots, lines through their means; 0 at full rank, where nothing is cut.
    """
    table = largest_angles(results)
    figure, axes = plt.subplots(figsize=(6.5, 3.4))
    ranks = ranks_of(results)
    others = list(dict.fromkeys(table["importance"]))
    for other, colour in zip(others, palette("tab10", len(others)), strict=True):
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
