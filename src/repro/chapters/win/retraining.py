"""Chapter 43: WIN against the original model and against retraining on Adult (Table 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from repro.chapters.reported import table_3, win_value
from repro.chapters.win import plans
from repro.chapters.win.contrasts import (
    DP,
    EO,
    ERROR,
    RANK,
    ROUNDING,
    SCALE,
    SHORT,
    SILENT,
    SPLIT,
    difference,
    finds_errors,
    finds_fairness,
    unfair,
)
from repro.chapters.win.plans import constrained
from repro.chapters.win.tables import compared, measured, only, short
from repro.chapters.win.win_on_adult import NOTEBOOK
from repro.study.claims import Check, Claim, Contrast
from repro.study.figures import GREY, LABELS, in_points, palette
from repro.study.intervals import mean_interval
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.session import View


def _original_unfair(profile: Profile) -> Sequence[Check]:
    told = win_value("3", "original pre-trained model", EO)
    who = "the original pre-trained model"
    return (unfair(told, plans.against_retraining, "pre-trained", who),)


def _table_3_original(metrics: Sequence[str]) -> Callable[[Profile], list[Contrast]]:
    return lambda profile: [
        Contrast(
            f"WIN against the original pre-trained model: {SHORT[metric]}",
            "win, rank 1",
            "pre-trained",
            metric,
            "less",
            reported=difference("3", "WIN", "original pre-trained model", metric),
            slack=ROUNDING[metric],
        )
        for metric in metrics
    ]


def _against_constraints(first: str, name: str, metric: str) -> Callable[[Profile], list[Contrast]]:
    return lambda profile: [
        Contrast(
            f"{name} against Retrain+{constraint.upper()} {intensity:g}: {SHORT[metric]}",
            first,
            f"retrain {constraint} {intensity:g}",
            metric,
            "less",
            reported=difference(
                "3", name, f"Retrain+{constraint.upper()}, intensity {intensity:g}", metric
            ),
            slack=ROUNDING[metric],
        )
        for constraint, intensity in constrained(profile)
    ]


def _costs(profile: Profile) -> list[Contrast]:
    """Return what the claim of a lower error leaves out: who else has it, and what it costs."""
    return _against_constraints("tl", "TL", ERROR)(profile) + _against_constraints(
        "win, rank 1", "WIN", DP
    )(profile)


def trade_off(view: View) -> View:
    """Return what Table 3 compares: of the low-rank heads WIN's first alone."""
    kept = next(key for key in view.results if key.startswith("win"))
    return only(view, lambda key: "rank" not in key or key == kept)


def trade_off_table(view: View) -> pd.DataFrame:
    """Table 3: the three metrics of each setting, beside the paper's."""
    return measured(view, table_3())


def trade_off_figure(view: View) -> Figure:
    """Table 3: error against unfairness, one point a setting with its intervals both ways."""
    paper = view.paper(table_3()) or {}
    figure, panels = plt.subplots(1, 2, figsize=(10, 4))
    colours = palette("tab10", len(view.results))
    for axes, metric in zip(panels, (DP, EO), strict=True):
        for (key, records), colour in zip(view.results.items(), colours, strict=True):
            x, y = (mean_interval(in_points(records, quantity)) for quantity in (ERROR, metric))
            axes.errorbar(
                x.mean, y.mean, xerr=x.whiskers, yerr=y.whiskers, fmt="s", color=colour,
                markersize=5, label=short(key),
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
    win = next(key for key in results if key.startswith("win"))
    return compared(
        results,
        [
            (f"{short(win)} − original", win, "pre-trained"),
            *(
                (f"{short(first)} − {short(key)}", first, key)
                for first in (win, "tl")
                for key in results
                if key.startswith("retrain")
            ),
        ],
    )


CLAIMS = (
    Claim(
        "win-vs-original",
        "Table 3",
        "WIN (rank 1) is fairer than the original pre-trained model.",
        NOTEBOOK,
        plans.against_retraining,
        _table_3_original((EO,)),
        (RANK, SILENT, SPLIT),
        _table_3_original((DP,)),
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
            *_table_3_original((ERROR,))(profile),
            *_against_constraints("win, rank 1", "WIN", ERROR)(profile),
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
