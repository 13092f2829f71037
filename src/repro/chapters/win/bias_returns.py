"""Chapter 40: fine-tuning brings bias back (Table 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from repro.chapters.reported import table_2, win_value
from repro.chapters.win.contrasts import (
    CLOSES,
    ERROR,
    ROUNDING,
    SCALE,
    SHORT,
    SILENT,
    SPLIT,
    difference,
    finds_fairness,
)
from repro.chapters.win.plans import constrained, finetune, pretrain
from repro.chapters.win.tables import measured
from repro.study.claims import MARGIN, Check, Claim, Contrast
from repro.study.experiments import Experiment, Plan, experiment
from repro.study.figures import GREY, PAPER, in_points
from repro.study.intervals import mean_interval
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.session import View
from repro.study.tables import differences, known_values, mean_value, means, points

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
    for constraint, intensity in constrained(profile):
        fair = [pretrain(profile, s, constraint=constraint, intensity=intensity) for s in seeds]
        plan[f"{constraint} {intensity:g}, before"] = list(fair)
        plan[f"{constraint} {intensity:g}, after"] = [finetune(profile, b, "tl") for b in fair]
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


def row_of(constraint: str, intensity: float) -> str:
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
        mean = mean_value(results[key], metric)
        bound = MARGIN + (told or 0.0)
        return mean <= bound, (
            f"{SHORT[metric]} {points(mean)} before fine-tuning, at most {points(bound)} "
            "(the paper's and a point)"
        )

    name = key.removesuffix(", before").upper()
    return Check(f"the pre-trained model under {name} is fair", plan, (key,), passes)


def _table_2(profile: Profile) -> list[Contrast]:
    contrasts = []
    for constraint, intensity in constrained(profile):
        metric, row = CLOSES[constraint], row_of(constraint, intensity)
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
        for constraint, metric in CLOSES.items()
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


def before_after(view: View) -> pd.DataFrame:
    """Table 2: the gap before and after fine-tuning, beside the paper's, and how much returns.

    "share that returns" is (after - before) / (unconstrained after - before), of the means: 100 %
    where fine-tuning leaves the fair model as unfair as one that never was.
    """
    rows, results, paper = [], view.results, view.paper(table_2())
    for label, before, after, quantity in before_after_rows(results):
        row = {"fair model and gap": label}
        mean = {}
        for when, key in (("before", before), ("after", after)):
            mean[when] = mean_interval(known_values(results[key], quantity)).mean
            row[when] = means(results, {quantity: "x"}, {key: key})["x"].iloc[0]
            if paper is not None:
                told = paper.get((key, quantity))
                row[f"{when}, paper"] = "" if told is None else points(told)
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


def errors(view: View) -> pd.DataFrame:
    """Table 2: the error of each model, beside the paper's."""
    return measured(view, table_2(), {ERROR: SHORT[ERROR]})


def before_after_figure(view: View) -> Figure:
    """Draw arrows from before to after fine-tuning: thin lines are seeds."""
    rows = before_after_rows(view.results)
    figure, axes = plt.subplots(figsize=(7.2, 0.48 * len(rows) + 1.4))
    for at, (_, before, after, quantity) in enumerate(rows):
        first, second = (in_points(view.results[key], quantity) for key in (before, after))
        for a, b in zip(first, second, strict=True):
            axes.plot([a, b], [at, at], color=GREY, alpha=0.25, linewidth=1)
        for values, colour, mark in ((first, GREY, "o"), (second, PAPER, ">")):
            mean = mean_interval(values)
            axes.errorbar(mean.mean, at, xerr=mean.whiskers, fmt=mark, color=colour, capsize=3)
    axes.set_yticks(range(len(rows)), [row[0] for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("gap between men and women on the test part (points)")
    axes.plot([], [], "o", color=GREY, label="before")
    axes.plot([], [], ">", color=PAPER, label="after fine-tuning")
    axes.legend(loc="best", fontsize="small")
    axes.grid(axis="y", visible=False)
    axes.set_title(view.label)
    return figure


CLAIMS = (
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
