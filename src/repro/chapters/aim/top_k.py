"""Chapter 31: how many tensors of either ranking (Figure 5)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from repro.aimfair.mask import entry_k, jaccard
from repro.chapters.aim.contrasts import best, fine_tuning_claim
from repro.chapters.aim.plans import aim_experiment, bases_of, sensitivity, tuning
from repro.chapters.aim.recorded_masks import sensitivities, sizes
from repro.chapters.aim.tables import spread
from repro.study.claims import Contrast
from repro.study.experiments import Plan
from repro.study.figures import GREY, MEN, WOMEN
from repro.study.profiles import Profile
from repro.study.runs import Record

NOTEBOOK = "31_top_k"

FIGURE_5 = {f"k {k}": f"top-k = {k}" for k in (40, 45, 50, 55, 60)}


@aim_experiment(NOTEBOOK)
def top_k(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Figure 5: the mask of every k; keys ``k 55``; beside it the start and full fine-tuning."""
    bases = bases_of(profile, seeds)
    plan: Plan = {"erm": list(bases)}
    if profile.faces.synthetic is None:
        return plan
    for k in sorted({*profile.faces.ks, profile.faces.k}):
        plan[f"k {k}"] = [tuning(profile, base, "mask", k=k) for base in bases]
    plan["fully fine-tuning"] = [tuning(profile, base, "fully fine-tuning") for base in bases]
    return plan


@aim_experiment(NOTEBOOK)
def masks(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Plan the sensitivities behind Figure 5, for tensors and parameters against k."""
    if profile.faces.synthetic is None:
        return {}
    return {"train, augmented": [sensitivity(profile, base) for base in bases_of(profile, seeds)]}


def _peak(profile: Profile) -> list[Contrast]:
    """Compare k with every other that the paper has; a peak takes one on either side."""
    k, others = profile.faces.k, [k for k in profile.faces.ks if f"k {k}" in FIGURE_5]
    if not others or not min(others) < k < max(others):
        return []
    keys = [f"k {other}" for other in others]
    return best(profile, f"k {k}", keys, table="fig5", rows=FIGURE_5, slack=0.002)


def sizes_table(records: Sequence[Record], ks: Sequence[int]) -> pd.DataFrame:
    """Return k against the share of tensors and of scalar parameters, lowest to highest seed."""
    whole = len(records[0].results["tensors"])
    rows = []
    for k in ks:
        found = [sizes(record)[k - 1] for record in records]
        rows.append(
            {
                "k": k,
                "k of all tensors": f"{k / whole:.0%}",
                "tensors in the mask": spread([s.tensors for s in found], "{:d}"),
                "share of tensors": spread([s.share_of_tensors for s in found], "{:.0%}"),
                "share of parameters": spread([s.share_of_parameters for s in found], "{:.1%}"),
            }
        )
    return pd.DataFrame(rows)


def agreement_by_k(records: Sequence[Record]) -> pd.DataFrame:
    """Return, for each k, how alike the masks of the seeds are, and random ones of their sizes.

    Returns
    -------
    pandas.DataFrame
        Columns k, seeds (mean Jaccard index over pairs of seeds), chance.
    """
    entered = [entry_k(*sensitivities(record)) for record in records]
    rng, rows = np.random.default_rng(0), []
    for k in range(1, len(entered[0]) + 1):
        masks = [frozenset(name for name, first in e.items() if first <= k) for e in entered]
        if not all(masks):
            continue
        # Two independent random rankings in place of d and b, for either mask.
        chance = []
        for _ in range(60):
            first, second = (_random_mask(rng, len(entered[0]), k) for _ in range(2))
            chance.append(jaccard(first, second))
        pairs = [jaccard(a, b) for a, b in combinations(masks, 2)]
        rows.append({"k": k, "seeds": float(np.mean(pairs)), "chance": float(np.mean(chance))})
    return pd.DataFrame(rows)


def _random_mask(rng: np.random.Generator, n: int, k: int) -> frozenset[int]:
    return frozenset(np.intersect1d(rng.permutation(n)[:k], rng.permutation(n)[:k]).tolist())


def sizes_figure(records: Sequence[Record], *, title: str = "") -> Figure:
    """Draw the share of tensors and of scalar parameters in the mask, against k."""
    figure, axes = plt.subplots(figsize=(5.6, 3.6))
    for i, record in enumerate(records):
        found = sizes(record)
        ks = [size.k for size in found]
        for field, colour, name in (
            ("share_of_tensors", MEN, "tensors"),
            ("share_of_parameters", WOMEN, "scalar parameters"),
        ):
            shares = [getattr(size, field) for size in found]
            axes.step(
                ks, shares, color=colour, where="post", alpha=0.8, label=name if i == 0 else None
            )
    whole = len(records[0].results["tensors"])
    axes.plot([0, whole], [0, 1], ":", color=GREY, label=f"k of {whole}, as the paper counts")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("k")
    axes.set_ylabel("share in the mask")
    axes.legend(fontsize="small")
    axes.set_title(title)
    return figure


CLAIMS = (
    fine_tuning_claim(
        "top-k",
        "Figure 5",
        lambda profile: (
            f"Fairness peaks at k = {profile.faces.k}: no other k of the paper's sweep is fairer."
        ),
        NOTEBOOK,
        top_k,
        _peak,
        lambda profile: [],
        kind="best",
    ),
)
