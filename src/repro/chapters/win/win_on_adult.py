"""Chapter 43: WIN against fine-tuning and f+SVD on Adult (Figure 4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from repro.chapters.reported import figure_4, table_3, win_value
from repro.chapters.win import plans
from repro.chapters.win.contrasts import (
    DP,
    EO,
    ERROR,
    RANK,
    READING,
    SHORT,
    SILENT,
    SPLIT,
    difference,
    finds_errors,
    finds_fairness,
    unfair,
)
from repro.chapters.win.plans import strategies
from repro.chapters.win.tables import budget, compared, measured, named, only, short
from repro.study.claims import Check, Claim, Contrast
from repro.study.experiments import Plan, experiment
from repro.study.figures import settings_figure
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.session import View
from repro.study.tables import Reported

NOTEBOOK = "43_win_on_adult"


@experiment(NOTEBOOK, part="win")
def protected_switch(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Figure 4 again with the protected attribute among the features, where it is out by default.

    The paper does not say which it is; keys ``p in, tl`` and ``p out, tl``.
    """
    return {
        f"p {word}, {key}": configs
        for word, include in (("out", False), ("in", True))
        for key, configs in strategies(profile, seeds, include_protected=include).items()
    }


def _tl_unfair(profile: Profile) -> Sequence[Check]:
    return (unfair(win_value("fig4", "TL", EO), plans.strategies),)


def _versus(
    first: str, second: str, words: str, reported: tuple[str, str], metrics: Sequence[str]
) -> list[Contrast]:
    return [
        Contrast(
            f"{words}: {SHORT[metric]}",
            first,
            second,
            metric,
            "less",
            reported=difference("fig4", *reported, metric),
            slack=READING[metric],
        )
        for metric in metrics
    ]


def _figure_4(
    rank: int, baselines: Sequence[str], metrics: Sequence[str]
) -> Callable[[Profile], list[Contrast]]:
    keys = {"tl": ("tl", "TL"), "svd": (f"svd, rank {rank}", "f+SVD")}
    return lambda profile: [
        contrast
        for key, name in (keys[baseline] for baseline in baselines)
        for contrast in _versus(
            f"win, rank {rank}", key, f"WIN against {name}, rank {rank}", ("WIN", name), metrics
        )
    ]


def what_trains() -> pd.DataFrame:
    """Return what each strategy trains."""
    from repro.win.strategies import STRATEGIES

    return pd.DataFrame({"strategy": STRATEGIES.keys(), "what trains": STRATEGIES.values()})


def budgets(profile: Profile) -> list[str]:
    """Say which candidates validation chooses from, in pre-training and in fine-tuning."""
    win = profile.win
    return [
        budget(profile, "pre-training", win.pretrain),
        budget(profile, "fine-tuning", win.finetune),
    ]


def _figure_4_reported() -> Reported:
    """Return Figure 4, and beside it the original model, which Table 3 alone has."""
    original = {key: told for key, told in table_3().items() if key[0] == "pre-trained"}
    return figure_4() | original


def strategies_figure(view: View) -> Figure:
    """Figure 4: the three metrics of each strategy."""
    names = {key: name for key, name in named(view.results).items() if key[:7] != "retrain"}
    paper = view.paper(_figure_4_reported())
    return settings_figure(view.results, list(SHORT), names=names, reported=paper, title=view.label)


def strategies_table(view: View) -> pd.DataFrame:
    """Figure 4: the three metrics of each strategy, beside the paper's."""
    return measured(only(view, lambda key: not key.startswith("retrain")), _figure_4_reported())


def reported_differences() -> pd.DataFrame:
    """How the strategies differ from each other in the paper's Figure 4."""
    return pd.DataFrame(
        [
            {"paper, read off Figure 4": f"WIN − {name}"}
            | {
                heading: f"{100 * told:+.2f}"
                for metric, heading in SHORT.items()
                if (told := difference("fig4", "WIN", name, metric)) is not None
            }
            for name in ("TL", "f+SVD")
        ]
    )


def choices(results: Results) -> pd.DataFrame:
    """Show what validation chose for each setting, and how far fine-tuning moved the function.

    Choices that crowd at an end of the grid, or at the last epoch, tell that the budget was tight.
    """
    rows = []
    for key, found in results.items():
        how = found[0].config["optimisation"]
        rates = [record.results["learning_rate"] for record in found]
        epochs = [record.results["epoch"] for record in found]
        ends = (min(how["learning_rates"]), max(how["learning_rates"]))
        moved = [r.results.get("mean_logit_gap_change", math.nan) for r in found]
        rows.append(
            {
                "setting": short(key),
                "mean |change of z₁ − z₀|": f"{np.mean(moved):.2f}".replace("nan", ""),
                "rates chosen": ", ".join(f"{r:g} ({rates.count(r)}×)" for r in sorted(set(rates))),
                "at an end of the grid": f"{sum(r in ends for r in rates)} of {len(rates)}",
                "median epoch": f"{np.median(epochs):g} of {how['epochs']}",
                "at the last epoch": f"{epochs.count(how['epochs'])} of {len(epochs)}",
                "trainable parameters": str(found[0].results["trainable_parameters"]),
            }
        )
    return pd.DataFrame(rows)


def win_against_tl(results: Results) -> pd.DataFrame:
    """How WIN differs from TL under each heading that keys begin with (``mlp-3``, ``p in``)."""
    return compared(
        results,
        [
            (
                f"{at if at.startswith('p ') else at.upper()}: WIN − TL, rank {rank}",
                f"{at}, win, rank {rank}",
                f"{at}, tl",
            )
            for at in dict.fromkeys(key.split(",")[0] for key in results)
            for rank in (1, 2)
        ],
    )


def switch_table(view: View) -> pd.DataFrame:
    """Figure 4 at rank 1, with the protected attribute among the features and without."""
    paper = {
        (f"p {word}, {key}", metric): told
        for (key, metric), told in _figure_4_reported().items()
        for word in ("in", "out")
    }
    return measured(only(view, lambda key: "rank 2" not in key), paper)


CLAIMS = (
    *(
        Claim(
            f"win-vs-{baseline}-rank-{rank}",
            "Figure 4",
            f"WIN (rank {rank}) is fairer than "
            f"{ {'tl': 'plain fine-tuning of the last layer (TL)', 'svd': 'f+SVD'}[baseline] }.",
            NOTEBOOK,
            plans.strategies,
            _figure_4(rank, (baseline,), (EO,)),
            (RANK, SILENT, SPLIT),
            _figure_4(rank, (baseline,), (DP,)),
            checks=_tl_unfair,
            control=finds_fairness,
        )
        for rank in (1, 2)
        for baseline in ("tl", "svd")
    ),
    *(
        Claim(
            f"win-error-rank-{rank}",
            "Figure 4",
            f"WIN (rank {rank}) has a lower error than plain fine-tuning of the last layer (TL) "
            "and than f+SVD.",
            NOTEBOOK,
            plans.strategies,
            _figure_4(rank, ("tl", "svd"), (ERROR,)),
            (RANK, SILENT, SPLIT),
            control=finds_errors,
        )
        for rank in (1, 2)
    ),
)
