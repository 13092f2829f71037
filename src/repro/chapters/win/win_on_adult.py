"""Chapter 43: WIN against fine-tuning and f+SVD on Adult (Figure 4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd

from repro.chapters.reported import win_value
from repro.chapters.win import plans
from repro.chapters.win.configs import words
from repro.chapters.win.contrasts import (
    BASELINES,
    DP,
    EO,
    ERROR,
    ON_ADULT,
    SHORT,
    against_baselines,
    difference,
    finds_errors,
    finds_fairness,
    unfair,
)
from repro.chapters.win.plans import strategies, under_each
from repro.chapters.win.tables import at_one, budget, named, only, papers
from repro.study.claims import Check, Claim, Contrast
from repro.study.experiments import Plan, experiment
from repro.study.figures import beside_paper
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.session import Part, View
from repro.study.tables import Reported, means

NOTEBOOK = "43_win_on_adult"


#: Heading of a key -> in words.
SWITCH = {"p out": "p out", "p in": "p in"}


@experiment(NOTEBOOK, part="win")
def protected_switch(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Figure 4 again with the protected attribute among the features, where it is out by default.

    The paper does not say which it is; keys ``p in, tl`` and ``p out, tl``.
    """
    return under_each(
        SWITCH, lambda head: strategies(profile, seeds, include_protected=head == "p in")
    )


def _tl_unfair(profile: Profile) -> Sequence[Check]:
    return (unfair(win_value("fig4", "TL", EO), plans.strategies),)


def _figure_4(
    rank: int, baselines: Iterable[str], metrics: Sequence[str]
) -> Callable[[Profile], list[Contrast]]:
    return lambda profile: against_baselines(rank, baselines, metrics)


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


def _reported(results: Results) -> Reported:
    """Return Figure 4, and beside it the original model, which Table 3 alone has."""
    before = {key: group for key, group in results.items() if "strategy" not in group[0].config}
    return papers(results, "fig4") | papers(before, "3")


def strategies_beside_paper(view: View) -> list[Part]:
    """Figure 4: the three metrics of each strategy."""
    own = only(view, strategies(view.profile, ())).results
    return beside_paper(view, SHORT, named(own), _reported(own))


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
    for found in results.values():
        how = found[0].config["optimisation"]
        rates = [record.results["learning_rate"] for record in found]
        epochs = [record.results["epoch"] for record in found]
        ends = (min(how["learning_rates"]), max(how["learning_rates"]))
        moved = [r.results.get("mean_logit_gap_change", math.nan) for r in found]
        rows.append(
            {
                "setting": words(found[0].config),
                "mean |change of z₁ − z₀|": f"{np.mean(moved):.2f}".replace("nan", ""),
                "rates chosen": ", ".join(f"{r:g} ({rates.count(r)}×)" for r in sorted(set(rates))),
                "at an end of the grid": f"{sum(r in ends for r in rates)} of {len(rates)}",
                "median epoch": f"{np.median(epochs):g} of {how['epochs']}",
                "at the last epoch": f"{epochs.count(how['epochs'])} of {len(epochs)}",
                "trainable parameters": str(found[0].results["trainable_parameters"]),
            }
        )
    return pd.DataFrame(rows)


def switch_table(view: View) -> pd.DataFrame:
    """Figure 4 at rank 1, with the protected attribute among the features and without."""
    own = at_one(view).results
    return means(own, SHORT, named(own, SWITCH), view.paper(_reported(own)))


CLAIMS = (
    *(
        Claim(
            f"win-vs-{baseline}-rank-{rank}",
            "Figure 4",
            f"WIN (rank {rank}) is fairer than {sentence}.",
            NOTEBOOK,
            plans.strategies,
            _figure_4(rank, (baseline,), (EO,)),
            ON_ADULT,
            _figure_4(rank, (baseline,), (DP,)),
            checks=_tl_unfair,
            control=finds_fairness,
        )
        for rank in (1, 2)
        for baseline, sentence in BASELINES.items()
    ),
    *(
        Claim(
            f"win-error-rank-{rank}",
            "Figure 4",
            f"WIN (rank {rank}) has a lower error than plain fine-tuning of the last layer (TL) "
            "and than f+SVD.",
            NOTEBOOK,
            plans.strategies,
            _figure_4(rank, BASELINES, (ERROR,)),
            ON_ADULT,
            control=finds_errors,
        )
        for rank in (1, 2)
    ),
)
