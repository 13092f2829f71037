"""Chapter 40: fine-tuning brings bias back (Table 2), and where it hides (Figure 1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from repro.chapters.reported import win_value
from repro.chapters.win.contrasts import (
    CLOSES,
    DP,
    EO,
    ROUNDING,
    SCALE,
    SHORT,
    SILENT,
    SPLIT,
    difference,
    finds_fairness,
    unfair,
)
from repro.chapters.win.plans import finetune, pretrain
from repro.chapters.win.weight_importance import probes
from repro.study.claims import MARGIN, Check, Claim, Contrast
from repro.study.experiments import Experiment, Plan, experiment
from repro.study.figures import GREY, GROUPS, PAPER, in_points
from repro.study.intervals import mean_interval
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.runs import Record
from repro.study.tables import Reported, differences, known_values, means, points

NOTEBOOK = "40_finetuning_brings_bias_back"


@experiment(NOTEBOOK, part="win")
def fair_then_tuned(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 2: fair pre-trained models and their fine-tuned last layer; keys ``dp 0.1, after``.

    Beside them the unconstrained model, ``unconstrained, after``: how unfair fine-tuning gets where
    nothing was ever fair.
    """
    plain = [pretrain(profile, seed) for seed in seeds]
    plan: Plan = {
        "unconstrained, before": list(plain),
        "unconstrained, after": [finetune(profile, base, "tl") for base in plain],
    }
    for constraint in profile.win.constraints:
        for intensity in profile.win.intensities:
            bases = [
                pretrain(profile, s, constraint=constraint, intensity=intensity) for s in seeds
            ]
            plan[f"{constraint} {intensity:g}, before"] = list(bases)
            plan[f"{constraint} {intensity:g}, after"] = [
                finetune(profile, base, "tl") for base in bases
            ]
    return plan


@experiment(NOTEBOOK, part="win")
def fair_then_tuned_otherwise(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 2 under the profile's other budget; empty where it has none."""
    other = otherwise(profile)
    return {} if other is None else fair_then_tuned(other, seeds)


def otherwise(profile: Profile) -> Profile | None:
    """Return a profile with its other budget in place of its own, or None where it has none."""
    budget = profile.win.other_budget
    if budget is None:
        return None
    win = profile.win.model_copy(update={"pretrain": budget.pretrain, "finetune": budget.finetune})
    return profile.model_copy(update={"win": win})


def _row(constraint: str, intensity: float) -> str:
    """Return the beginning of a row of Table 2."""
    return f"fair pre-trained, {constraint.upper()} constraint, intensity {intensity:g}, "


def fair_start(key: str, words: str, metric: str, plan: Experiment) -> Check:
    """Return the check that a "fair" pre-trained model is: as the paper's, or a point above it.

    Parameters
    ----------
    key
        Of the model before fine-tuning, in ``plan``.
    words
        The beginning of the paper's row, as in its CSV.
    """
    told = win_value("2", f"{words}before fine-tuning", metric)

    def passes(results: Results) -> tuple[bool, str]:
        mean = float(np.mean(known_values(results[key], metric)))
        bound = MARGIN + (told or 0.0)
        return mean <= bound, (
            f"{SHORT[metric]} {points(mean)} before fine-tuning, at most {points(bound)} "
            "(the paper's and a point)"
        )

    name = key.removesuffix(", before").upper()
    return Check(f"the pre-trained model under {name} is fair", plan, (key,), passes)


def _unconstrained_unfair(profile: Profile) -> Sequence[Check]:
    """Return the check of Figure 1's unfair model, which is the original one of Table 3."""
    told = win_value("3", "original pre-trained model", EO)
    return (unfair(told, fair_then_tuned, "unconstrained, before", "the unconstrained model"),)


def _separation(quantity: str, words: str) -> Callable[[Profile], list[Contrast]]:
    return lambda profile: [
        Contrast(
            f"unfair model against {constraint.upper()} {intensity:g}: AUC of telling positively "
            f"predicted men and women apart {words}",
            "unconstrained",
            f"{constraint} {intensity:g}",
            quantity,
            "greater",
            check=fair_start(
                f"{constraint} {intensity:g}, before",
                _row(constraint, intensity),
                CLOSES[constraint],
                fair_then_tuned,
            ),
        )
        for constraint in profile.win.constraints
        for intensity in profile.win.intensities
    ]


def _table_2(profile: Profile) -> list[Contrast]:
    contrasts = []
    for constraint in profile.win.constraints:
        metric = CLOSES[constraint]
        for intensity in profile.win.intensities:
            row = _row(constraint, intensity)
            key = f"{constraint} {intensity:g}, "
            contrasts.append(
                Contrast(
                    f"{constraint.upper()} {intensity:g}: {SHORT[metric]} after against before",
                    key + "after",
                    key + "before",
                    metric,
                    "greater",
                    reported=difference(
                        "2", row + "after fine-tuning", row + "before fine-tuning", metric
                    ),
                    slack=ROUNDING[metric],
                    check=fair_start(f"{key}before", row, metric, fair_then_tuned),
                )
            )
    return contrasts


def _short_of_unconstrained(profile: Profile) -> list[Contrast]:
    """Ask whether all of the bias returns: the fair model after, against the unconstrained one."""
    return [
        Contrast(
            f"{constraint.upper()} {intensity:g} after, against the unconstrained model fine-tuned "
            f"alike: {SHORT[metric]}",
            f"{constraint} {intensity:g}, after",
            "unconstrained, after",
            metric,
            "less",
        )
        for constraint, metric in (("dp", DP), ("eo", EO))
        if constraint in profile.win.constraints
        for intensity in profile.win.intensities
    ]


def before_after_rows(results: Results) -> list[tuple[str, str, str, str]]:
    """Return (label, key before, key after, quantity) for each fair model of Table 2."""
    return [
        (
            f"{key.removesuffix(', before').upper()}: {SHORT[CLOSES[key[:2]]]}",
            key,
            key.replace("before", "after"),
            CLOSES[key[:2]],
        )
        for key in results
        if key.endswith(", before") and key[:2] in CLOSES
    ]


def before_after(results: Results, paper: Reported | None) -> pd.DataFrame:
    """Table 2: the gap before and after fine-tuning, beside the paper's, and how much returns.

    "share that returns" is (after - before) / (unconstrained after - before), of the means: 100 %
    where fine-tuning leaves the fair model as unfair as one that never was.
    """
    rows = []
    for label, before, after, quantity in before_after_rows(results):
        row = {"fair model and gap": label}
        mean = {}
        for when, key in (("before", before), ("after", after)):
            mean[when] = mean_interval(known_values(results[key], quantity)).mean
            row[when] = means(results, {quantity: "x"}, {key: key})["x"].iloc[0]
            reported = (paper or {}).get((key, quantity))
            if paper is not None:
                row[f"{when}, paper"] = "" if reported is None else points(reported)
        change = differences(results, {quantity: "x"}, [("", after, before)]).iloc[0]
        row["change [95 %]"] = change["x"]
        if "unconstrained, after" in results:
            top = mean_interval(known_values(results["unconstrained, after"], quantity)).mean
            row["unconstrained, after"] = points(top)
            away = top - mean["before"]
            share = (mean["after"] - mean["before"]) / away if away > 0 else math.nan
            row["share that returns"] = "" if math.isnan(share) else f"{100 * share:.0f} %"
        rows.append(row | {"seeds": change["seeds"]})
    return pd.DataFrame(rows)


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
        first, second = in_points(results[before], quantity), in_points(results[after], quantity)
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


CLAIMS = (
    Claim(
        "representation",
        "Figure 1",
        "Before the last layer positively predicted men and women lie further apart in an unfair "
        "pre-trained model than in a fair one.",
        NOTEBOOK,
        probes,
        _separation("results:separation_auc_pca", "in the PCA plane"),
        (
            "distance in the plotted plane is measured as the cross-validated AUC of a linear "
            "discriminant on the first two principal components",
            SILENT,
            SCALE,
            SPLIT,
        ),
        _separation("results:separation_auc", "from the whole representation"),
        checks=_unconstrained_unfair,
    ),
    Claim(
        "bias-returns",
        "Table 2",
        "Fine-tuning the last layer makes a fair pre-trained model unfair again.",
        NOTEBOOK,
        fair_then_tuned,
        _table_2,
        (SILENT, SCALE, SPLIT),
        _short_of_unconstrained,
        control=finds_fairness,
    ),
)
