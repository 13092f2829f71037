"""Chapter 41: which weights of the last layer matter to which group (Figure 3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from repro.chapters.win.configs import Probe, fair_key
from repro.chapters.win.contrasts import SILENT, SPLIT
from repro.chapters.win.plans import constrained, pretrain
from repro.chapters.win.tables import only
from repro.study.claims import Claim, Contrast
from repro.study.experiments import Plan, experiment
from repro.study.figures import GREY, GROUPS, WOMEN
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.runs import Record
from repro.study.session import View
from repro.study.tables import points

NOTEBOOK = "41_weight_importance"


@experiment("40_finetuning_brings_bias_back", NOTEBOOK, part="win")
def probes(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Figures 1 and 3: the last layer of the unconstrained and of every fair model."""
    models = {"unconstrained": [pretrain(profile, seed) for seed in seeds]}
    for constraint, intensity in constrained(profile):
        models[fair_key(constraint, intensity)] = [
            pretrain(profile, seed, constraint=constraint, intensity=intensity) for seed in seeds
        ]
    times = profile.win.permutations
    return {
        key: [Probe(seed=base.seed, pretrained=base, permutations=times) for base in bases]
        for key, bases in models.items()
    }


def beyond_chance(null: str, words: str) -> Contrast:
    """Return the contrast of the groups' importances with those of groups drawn by chance."""
    return Contrast(
        f"distance of the groups' importances against the 95 % quantile of {words}",
        "unconstrained",
        "unconstrained",
        "results:importance_distance",
        "greater",
        second_quantity=f"results:importance_distance_{null}_95",
    )


def importance_distances(results: Results) -> pd.DataFrame:
    """Figure 3: how far apart the groups' importances are, and how far by chance."""
    rows = []
    for key, records in results.items():
        found = pd.DataFrame([record.results for record in records])
        row = {"model": key, "distance (%)": points(found["importance_distance"].mean())}
        for name, words in (("null", "by chance"), ("null_given_target", "by chance, same labels")):
            row[f"{words}, 95 % (%)"] = points(found[f"importance_distance_{name}_95"].mean())
            passed = int((found[f"importance_distance_{name}_p"] < 0.05).sum())
            row[f"{words}: p < 0.05"] = f"{passed} of {len(found)} seeds"
        row["men's total / women's"] = f"{found['importance_ratio'].mean():.2f}"
        rows.append(row)
    return pd.DataFrame(rows)


def unconstrained(view: View) -> View:
    """Return a view of the unconstrained model alone."""
    return only(view, ("unconstrained",))


def neutralised_distances(views: Iterable[View]) -> pd.DataFrame:
    """How far the neutralised importance is from each group's, and from that of all people.

    Total variation distance in per cent, mean over the seeds of the unconstrained model.
    """
    import torch

    from repro.chapters.win.probe import total_variation
    from repro.win.fisher import neutralise

    rows = []
    for view in views:
        for record in view.results["unconstrained"]:
            men, women = (torch.tensor(group) for group in record.results["importance"])
            neutral = neutralise(men, women)
            rows.append(
                {
                    "data": view.label,
                    "to men's alone (%)": float(total_variation(neutral, men)),
                    "to women's alone (%)": float(total_variation(neutral, women)),
                    "to the pooled one (%)": record.results["importance_pooled_to_neutralised"],
                }
            )
    table = 100 * pd.DataFrame(rows).groupby("data", sort=False).mean()
    return table.round(2).reset_index()


def importance_figure(view: View) -> Figure:
    """Draw the first seed's importance of each input of the last layer for both groups."""
    record = view.results["unconstrained"][0]
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
    figure.suptitle(f"{view.label}, seed {record.config['seed']}", fontsize="medium")
    return figure


def null_figure(view: View) -> Figure:
    """Draw the distance of the groups' importances beside that of groups drawn by chance."""
    records: Sequence[Record] = view.results["unconstrained"]
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
    axes.set_title(view.label)
    return figure


CLAIMS = (
    Claim(
        "importance",
        "Figure 3",
        "The weights of the last layer that matter differ between the two groups, beyond chance "
        "and beyond what the groups' base rates do alone.",
        NOTEBOOK,
        probes,
        lambda profile: [
            beyond_chance("null", "permuted groups"),
            beyond_chance("null_given_target", "groups permuted within the target"),
        ],
        (
            "'differ' is tested against groups drawn by permuting the protected attribute, and "
            "against groups permuted within the target, which have the groups' base rates",
            SILENT,
            SPLIT,
        ),
    ),
)
