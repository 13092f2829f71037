"""Chapter 43: WIN against the original model and against retraining on Adult (Table 3)."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from repro.chapters.reported import win_value
from repro.chapters.win import plans
from repro.chapters.win.configs import NAMES, key_of, words
from repro.chapters.win.contrasts import (
    DP,
    EO,
    ERROR,
    ON_ADULT,
    RANK,
    SCALE,
    SHORT,
    SILENT,
    SPLIT,
    below,
    finds_errors,
    finds_fairness,
    unfair,
)
from repro.chapters.win.plans import constrained
from repro.chapters.win.tables import compared, named, only, papers, row_of, settings
from repro.chapters.win.win_on_adult import NOTEBOOK
from repro.study.claims import Check, Claim, Contrast
from repro.study.figures import GREY, LABELS, in_points, palette
from repro.study.intervals import mean_interval
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.session import View
from repro.study.tables import means


def _original_unfair(profile: Profile) -> Sequence[Check]:
    told = win_value("3", "original pre-trained model", EO)
    who = "the original pre-trained model"
    return (unfair(told, plans.against_retraining, "pre-trained", who),)


def _table_3_original(metrics: Sequence[str]) -> list[Contrast]:
    original = "original pre-trained model"
    pair = key_of("win", 1), "pre-trained"
    return below(f"WIN against the {original}", pair, metrics, "3", ("WIN", original))


def _against_constraints(
    profile: Profile, strategy: str, rank: int | None, metric: str
) -> list[Contrast]:
    name, found = NAMES[strategy], list[Contrast]()
    for constraint, intensity in constrained(profile):
        retrain = {"strategy": "retrain", "constraint": constraint, "intensity": intensity}
        text = f"{name} against Retrain+{constraint.upper()} {intensity:g}"
        pair = key_of(strategy, rank), words(retrain, {})
        found += below(text, pair, (metric,), "3", (name, row_of(retrain)))
    return found


def _costs(profile: Profile) -> list[Contrast]:
    """Return what the claim of a lower error leaves out: who else has it, and what it costs."""
    return [
        *_against_constraints(profile, "tl", None, ERROR),
        *_against_constraints(profile, "win", 1, DP),
    ]


def first_win(results: Results) -> str:
    """Return the first setting of WIN, which stands for it in Table 3."""
    return next(k for k, config in settings(results).items() if config.get("strategy") == "win")


def trade_off(view: View) -> View:
    """Return what Table 3 compares: of the low-rank heads WIN's first alone."""
    first = first_win(view.results)
    own = settings(view.results).items()
    return only(view, [key for key, config in own if not config.get("rank") or key == first])


def trade_off_table(view: View) -> pd.DataFrame:
    """Table 3: the three metrics of each setting, beside the paper's."""
    return means(view.results, SHORT, named(view.results), view.paper(papers(view.results, "3")))


def trade_off_figure(view: View) -> Figure:
    """Table 3: error against unfairness, one point a setting with its intervals both ways."""
    paper = view.paper(papers(view.results, "3")) or {}
    figure, panels = plt.subplots(1, 2, figsize=(10, 4))
    colours = palette("tab10", len(view.results))
    for axes, metric in zip(panels, (DP, EO), strict=True):
        for (key, records), colour in zip(view.results.items(), colours, strict=True):
            x, y = (mean_interval(in_points(records, quantity)) for quantity in (ERROR, metric))
            axes.errorbar(
                x.mean, y.mean, xerr=x.whiskers, yerr=y.whiskers, fmt="s", color=colour,
                markersize=5, label=words(records[0].config),
            )  # fmt: skip
            if (key, metric) in paper and (key, ERROR) in paper:
                axes.plot(
                    100 * paper[key, ERROR], 100 * paper[key, metric], "D",
                    color=colour, markerfacecolor="none", markersize=6,
                )  # fmt: skip
        axes.set_xlabel(LABELS[ERROR])
        axes.set_ylabel(LABELS[metric])
    if paper:
        panels[1].plot([], [], "D", color=GREY, markerfacecolor="none", label="paper (same colour)")
    if view.results or paper:
        panels[1].legend(fontsize="x-small", bbox_to_anchor=(1.02, 1), loc="upper left")
    figure.suptitle(view.label, fontsize="medium")
    return figure


def retraining_differences(results: Results) -> pd.DataFrame:
    """How WIN and TL differ from retraining, and WIN from the original model."""
    win, names = first_win(results), named(results)
    retrained = [k for k, how in settings(results).items() if how.get("strategy") == "retrain"]
    pairs = [(f"{names[win]} − original", win, "pre-trained")]
    pairs += [
        (f"{names[first]} − {names[key]}", first, key) for first in (win, "tl") for key in retrained
    ]
    return compared(results, pairs)


CLAIMS = (
    Claim(
        "win-vs-original",
        "Table 3",
        "WIN (rank 1) is fairer than the original pre-trained model.",
        NOTEBOOK,
        plans.against_retraining,
        lambda profile: _table_3_original((EO,)),
        ON_ADULT,
        lambda profile: _table_3_original((DP,)),
        checks=_original_unfair,
        control=finds_fairness,
    ),
    Claim(
        "win-vs-in-processing",
        "Table 3",
        "WIN (rank 1) has a lower error than the original pre-trained model and than retraining "
        "under a fairness constraint.",
        NOTEBOOK,
        plans.against_retraining,
        lambda profile: [
            *_table_3_original((ERROR,)),
            *_against_constraints(profile, "win", 1, ERROR),
        ],
        (
            RANK,
            SILENT,
            SCALE,
            SPLIT,
            "Retrain is taken as fine-tuning every parameter of the pre-trained model",
        ),
        _costs,
        control=finds_errors,
    ),
)
