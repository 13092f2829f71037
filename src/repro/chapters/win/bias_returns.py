"""Chapter 40: fine-tuning brings bias back (Table 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from repro.chapters.reported import win_keyed, win_value
from repro.chapters.win.configs import fair_key
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
from repro.study.claims import MARGIN, Check, Claim, Contrast
from repro.study.experiments import Plan, experiment
from repro.study.figures import GREY, PAPER, in_points
from repro.study.intervals import mean_interval
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.session import View
from repro.study.tables import Reported, differences, mean_value, means, points

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
        before, after = both_keys(constraint, intensity)
        fair = [pretrain(profile, s, constraint=constraint, intensity=intensity) for s in seeds]
        plan |= {before: list(fair), after: [finetune(profile, base, "tl") for base in fair]}
    return plan


def both_keys(constraint: str, intensity: float) -> tuple[str, str]:
    """Return the keys of a fair model before and after fine-tuning: ``dp 0.1, after``."""
    fair = fair_key(constraint, intensity)
    return f"{fair}, before", f"{fair}, after"


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


def _rows(constraint: str, intensity: float) -> tuple[str, str]:
    """Return the rows of Table 2 before and after fine-tuning."""
    fair = f"fair pre-trained, {constraint.upper()} constraint, intensity {intensity:g}"
    return f"{fair}, before fine-tuning", f"{fair}, after fine-tuning"


def fair_start(constraint: str, intensity: float) -> Check:
    """Return the check that a "fair" pre-trained model is: as the paper's, or a point above it."""
    metric, (key, _) = CLOSES[constraint], both_keys(constraint, intensity)
    bound = MARGIN + (win_value("2", _rows(constraint, intensity)[0], metric) or 0.0)

    def passes(results: Results) -> tuple[bool, str]:
        mean = mean_value(results[key], metric)
        return mean <= bound, (
            f"{SHORT[metric]} {points(mean)} before fine-tuning, at most {points(bound)} "
            "(the paper's and a point)"
        )

    name = fair_key(constraint, intensity).upper()
    return Check(f"the pre-trained model under {name} is fair", fair_then_tuned, (key,), passes)


def _table_2(profile: Profile) -> list[Contrast]:
    contrasts = []
    for constraint, intensity in constrained(profile):
        metric, name = CLOSES[constraint], fair_key(constraint, intensity).upper()
        before, after = both_keys(constraint, intensity)
        before_row, after_row = _rows(constraint, intensity)
        contrasts.append(
            Contrast(
                f"{name}: {SHORT[metric]} after against before",
                after,
                before,
                metric,
                "greater",
                reported=difference("2", after_row, before_row, metric),
                slack=ROUNDING[metric],
                check=fair_start(constraint, intensity),
            )
        )
    return contrasts


def _short_of_unconstrained(profile: Profile) -> list[Contrast]:
    """Ask whether all of the bias returns: the fair model after, against the unconstrained one."""
    return [
        Contrast(
            f"{fair_key(constraint, intensity).upper()} after, against the unconstrained model "
            f"fine-tuned alike: {SHORT[metric]}",
            both_keys(constraint, intensity)[1],
            "unconstrained, after",
            metric,
            "less",
        )
        for constraint, metric in CLOSES.items()
        if constraint in profile.win.constraints
        for intensity in profile.win.intensities
    ]


def before_after_rows(view: View) -> list[tuple[str, str, str, str]]:
    """Return (label, key before, key after, quantity) for each fair model of Table 2."""
    return [
        (f"{fair_key(*how).upper()}: {SHORT[CLOSES[how[0]]]}", *both_keys(*how), CLOSES[how[0]])
        for how in constrained(view.profile)
        if both_keys(*how)[0] in view.results
    ]


def _reported(profile: Profile) -> Reported:
    """Return Table 2 by keys of `fair_then_tuned`."""
    rows: dict[str, str] = {}
    for how in constrained(profile):
        rows |= dict(zip(both_keys(*how), _rows(*how), strict=True))
    return win_keyed("2", rows)


def before_after(view: View) -> pd.DataFrame:
    """Table 2: the gap before and after fine-tuning, beside the paper's, and how much returns.

    "share that returns" is (after - before) / (unconstrained after - before), of the means: 100 %
    where fine-tuning leaves the fair model as unfair as one that never was.
    """
    rows, results, paper = [], view.results, view.paper(_reported(view.profile))
    for label, before, after, quantity in before_after_rows(view):
        row = {"fair model and gap": label}
        mean = {}
        for when, key in (("before", before), ("after", after)):
            mean[when] = mean_value(results[key], quantity)
            row[when] = means(results, {quantity: "x"}, {key: key})["x"].iloc[0]
            if paper is not None:
                told = paper.get((key, quantity))
                row[f"{when}, paper"] = "" if told is None else points(told)
        change = differences(results, {quantity: "x"}, [("", after, before)]).iloc[0]
        row["change [95 %]"] = change["x"]
        if "unconstrained, after" in results:
            top = mean_value(results["unconstrained, after"], quantity)
            row["unconstrained, after"] = points(top)
            away = top - mean["before"]
            share = (mean["after"] - mean["before"]) / away if away > 0 else math.nan
            row["share that returns"] = "" if math.isnan(share) else f"{100 * share:.0f} %"
        rows.append(row | {"seeds": change["seeds"]})
    return pd.DataFrame(rows)


def errors(view: View) -> pd.DataFrame:
    """Table 2: the error of each model, beside the paper's."""
    names = {key: key for key in view.results}
    return means(view.results, {ERROR: SHORT[ERROR]}, names, view.paper(_reported(view.profile)))


def before_after_figure(view: View) -> Figure:
    """Draw arrows from before to after fine-tuning: thin lines are seeds."""
    rows = before_after_rows(view)
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
