"""Chapter 35: how biased the biased synthetic set S1 is (Table 7)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from repro.chapters.aim.configs import FaceTuning
from repro.chapters.aim.contrasts import aim_claim, best, task
from repro.chapters.aim.plans import aim_experiment, bases_of, sensitivity, tuning
from repro.chapters.aim.recorded_masks import agreement, of_other_batches, sensitivities
from repro.chapters.aim.tables import METRICS, nothing_of, paired
from repro.chapters.reported import aim_keyed
from repro.study import figures
from repro.study.claims import Contrast
from repro.study.experiments import Plan
from repro.study.figures import MEN
from repro.study.profiles import Profile, synthetic_of
from repro.study.session import Part, View

NOTEBOOK = "35_bias_ratio"

TABLE_7 = {
    ratio: f"bias ratio of biased synthetic set {ratio}" for ratio in ("4:6", "3:7", "2:8", "1:9")
}


def _number(ratio: str) -> float:
    """Return the size of the small groups to the large: 1:9 as 1/9."""
    small, large = (int(part) for part in ratio.split(":"))
    return small / large


def _same(first: float, second: float) -> bool:
    return math.isclose(first, second, rel_tol=0, abs_tol=1e-12)


@aim_experiment(NOTEBOOK)
def s1_bias(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 7: SFT with a mask from a biased synthetic set S1 of another bias ratio."""
    if profile.faces.synthetic is None:
        return {}
    bases = bases_of(profile, seeds)
    plan: Plan = {"erm": list(bases)}
    for ratio in profile.faces.s1_ratios:
        synthetic = synthetic_of(profile)
        if not _same(_number(ratio), synthetic.bias_ratio):  # else one run under two names
            synthetic = synthetic.model_copy(update={"bias_ratio": _number(ratio)})
        plan[ratio] = [
            tuning(
                profile,
                base,
                "mask",
                measured=sensitivity(profile, base, synthetic=synthetic),
            )
            for base in bases
        ]
    return plan


@aim_experiment(NOTEBOOK)
def s1_masks(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Return the measurements behind Table 7, for what the guess changes in the mask."""
    return {
        key: [run.sensitivity for run in tuned if isinstance(run, FaceTuning) and run.sensitivity]
        for key, tuned in s1_bias(profile, seeds).items()
        if key != "erm"
    }


def _as_real(profile: Profile) -> str | None:
    """Return the ratio of S1 that is that of the real data, or None where there is none."""
    real, ratios = profile.faces.data.bias_ratio, profile.faces.s1_ratios
    if real is None:
        return None
    return next((ratio for ratio in ratios if _same(_number(ratio), real)), None)


def _strong_bias(profile: Profile) -> list[Contrast]:
    """Compare S1 as biased as the real data with every milder bias of it."""
    real = _as_real(profile)
    return best(profile, real, profile.faces.s1_ratios, table="7", rows=TABLE_7) if real else []


CLAIMS = (
    aim_claim(
        "s1-bias",
        "Table 7",
        lambda profile: (
            "The mask works best when the biased synthetic set is as biased as the real data "
            f"({profile.faces.data.bias})."
        ),
        NOTEBOOK,
        s1_bias,
        _strong_bias,
        kind="best",
    ),
)


def ratios(view: View) -> list[str]:
    """Return the ratios of S1 whose runs are shown, as the profile orders them."""
    return [ratio for ratio in view.profile.faces.s1_ratios if ratio in view.results]


def overlaps(view: View) -> list[Part]:
    """Return how far masks of two ratios on one model agree, and those of two draws of batches."""
    if not ratios(view):
        return [nothing_of(view, "sensitivities are")]
    k, found = view.profile.faces.k, {}
    for first, second in combinations(ratios(view), 2):
        both = view.results[first], view.results[second]
        found[f"{first} and {second}"] = agreement(*both, k)
    for ratio in ratios(view):
        found[f"{ratio}, other batches"] = of_other_batches(view.results[ratio], k)
    rows = [
        {"masks of S1 at": what, "Jaccard": f"{np.mean(values):.2f}"}
        for what, values in found.items()
        if values
    ]
    return [f"**{view.label}**, k = {k}", pd.DataFrame(rows), view]


def sensitivity_figures(view: View) -> list[Figure]:
    """Return how large d and b are at each ratio, tensors as dots, in the first seed."""
    if not ratios(view):
        return []
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.2))
    for place, ratio in enumerate(ratios(view)):
        for axes, values in zip(panels, sensitivities(view.results[ratio][0]), strict=True):
            numbers = np.array(list(values.values()))
            spread = np.linspace(-0.25, 0.25, len(numbers))
            axes.plot(place + spread, numbers, "o", color=MEN, alpha=0.5, markersize=3)
            axes.plot(place, np.median(numbers), "_", color="black", markersize=22)
    for axes, name in zip(panels, ("domain d", "fairness b"), strict=True):
        axes.set_yscale("log")
        axes.set_xticks(range(len(ratios(view))), ratios(view))
        axes.set_xlabel("bias of S1")
        axes.set_ylabel(f"{name} sensitivity")
    figure.suptitle(f"{view.label}; bars: medians", fontsize="medium")
    return [figure]


def beside_paper(view: View) -> list[Part]:
    """Return figure and table of each ratio, beside what the paper reports."""
    names = {"erm": "ERM"} | {ratio: f"SFT, S1 at {ratio}" for ratio in ratios(view)}
    return figures.beside_paper(view, METRICS, names, aim_keyed("7", task(view.profile), TABLE_7))


def seed_by_seed(view: View) -> list[Part]:
    """Return every other ratio against that of the real data."""
    real, shown = _as_real(view.profile), ratios(view)
    others = [ratio for ratio in shown if ratio != real] if real in shown else []
    return paired(view, [(f"{ratio} − {real}", ratio, str(real)) for ratio in others])
