"""Chapter 31: how many tensors of either ranking (Figure 5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from repro.aimfair.mask import entry_k, jaccard
from repro.chapters.aim.contrasts import BETTER, EO, WORDS, WST, aim_claim, best, task
from repro.chapters.aim.figures import against_number_figure
from repro.chapters.aim.plans import aim_experiment, bases_of, sensitivity, tunings
from repro.chapters.aim.recorded_masks import sensitivities, sizes
from repro.chapters.aim.tables import (
    METRICS,
    against_number,
    best_of,
    nothing_of,
    of_strategy,
    paired,
    spread,
)
from repro.chapters.reported import aim_keyed
from repro.study.claims import Contrast
from repro.study.experiments import Plan
from repro.study.figures import GREY, LABELS, MEN, WOMEN, draw_seeds, in_points
from repro.study.intervals import paired_interval
from repro.study.profiles import Profile
from repro.study.runs import Record
from repro.study.session import Part, View
from repro.study.tables import mean_value

NOTEBOOK = "31_top_k"


def _key(k: int) -> str:
    return f"k {k}"


FIGURE_5 = {_key(k): f"top-k = {k}" for k in (40, 45, 50, 55, 60)}


@aim_experiment(NOTEBOOK)
def top_k(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Figure 5: the mask of every k; keys ``k 55``; beside it the start and full fine-tuning."""
    bases = bases_of(profile, seeds)
    plan: Plan = {"erm": list(bases)}
    ks = sorted({*profile.faces.ks, profile.faces.k})
    masked = {_key(k): {"strategy": "mask", "k": k} for k in ks}
    return plan | tunings(profile, bases, {**masked, "fully fine-tuning": {}})


@aim_experiment(NOTEBOOK)
def masks(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Plan the sensitivities behind Figure 5, for tensors and parameters against k."""
    if profile.faces.synthetic is None:
        return {}
    return {"train, augmented": [sensitivity(profile, base) for base in bases_of(profile, seeds)]}


def _peak(profile: Profile) -> list[Contrast]:
    """Compare k with every other that the paper has; a peak takes one on either side."""
    k, others = profile.faces.k, [k for k in profile.faces.ks if _key(k) in FIGURE_5]
    if not others or not min(others) < k < max(others):
        return []
    keys = [_key(other) for other in others]
    return best(profile, _key(k), keys, table="fig5", rows=FIGURE_5, slack=0.002)


CLAIMS = (
    aim_claim(
        "top-k",
        "Figure 5",
        lambda profile: (
            f"Fairness peaks at k = {profile.faces.k}: no other k of the paper's sweep is fairer."
        ),
        NOTEBOOK,
        top_k,
        _peak,
        kind="best",
    ),
)


def what_k_selects(view: View, ks: Sequence[int]) -> list[Part]:
    """Return how much of the model the masks of the measured sensitivities hold."""
    records = view.results.get("train, augmented")
    if not records:
        return [nothing_of(view, "sensitivities are")]
    return [
        sizes_figure(records, title=view.label),
        f"**{view.label}**, lowest to highest seed:",
        sizes_table(records, ks),
        smallest_masks(records, ks),
        view,
    ]


def smallest_masks(records: Sequence[Record], ks: Sequence[int]) -> str:
    """Say how many masks are as small as two rankings can make them, 2k − n tensors."""
    whole = len(records[0].results["tensors"])
    more = [
        sizes(record)[k - 1].tensors - (2 * k - whole)
        for k in ks
        if whole / 2 < k < whole
        for record in records
    ]
    return (
        f"Of these {len(more)} masks with n/2 < k < n, one for each k and seed, {more.count(0)} "
        "have exactly the smallest possible size: no tensor is ruled out by both rankings."
    )


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
                "at least (2k − n)": str(max(0, 2 * k - whole)),
                "if unrelated (k²/n)": f"{k * k / whole:.1f}",
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


#: What is drawn as a line: where fine-tuning starts, and where it ends at k = n.
LINES = {key: WORDS[key] for key in ("erm", "fully fine-tuning")}


def places(view: View) -> dict[str, int]:
    """Return the k of each setting that has a mask."""
    masked = of_strategy(view.results, "mask")
    return {key: records[0].config["k"] for key, records in masked.items()}


def beside_paper(view: View) -> list[Part]:
    """Return figure and table of each k, beside what the paper reports."""
    ks = places(view)
    names = {key: f"k = {ks[key]}" if key in ks else WORDS[key] for key in view.results}
    said = [] if ks else [nothing_of(view, "fine-tuned model is")]
    reported = aim_keyed("fig5", task(view.profile), FIGURE_5)
    return [*said, *against_number(view, ks, "k", names, LINES, reported)]


def against_parameters(view: View) -> list[Figure]:
    """Return the figure of each k against the share of scalar parameters that train."""
    shares = {
        key: 100 * mean_value(view.results[key], "results:share_of_parameters")
        for key in places(view)
    }
    if not shares:
        return []
    figure = against_number_figure(
        view.results,
        shares,
        lines=LINES,
        xlabel="parameters that train (%)",
        title=view.label,
        logarithmic=True,
    )
    return [figure]


def whole_model(view: View) -> list[str]:
    """Say in how many seeds k = n has exactly the test counts of full fine-tuning."""
    full = view.results.get("fully fine-tuning")
    if full is None:
        return []
    n = len(full[0].results["trained_tensors"])
    key = _key(n)
    if key not in view.results:
        return [f"**{view.label}**: k {n} is not among these k."]
    pairs = zip(view.results[key], full, strict=True)
    same = [np.array_equal(a.counts(), b.counts()) for a, b in pairs]
    return [
        f"**{view.label}**: k {n} and full fine-tuning have exactly the same test counts in "
        f"{sum(same)} of {len(same)} seeds."
    ]


def changes(view: View) -> list[Part]:
    """Return the change from the profile's k to each other, seed by seed."""
    base, keys = _key(view.profile.faces.k), places(view)
    pairs = [(f"{key} − {base}", key, base) for key in keys if base in keys and key != base]
    return [changes_figure(view, base), *paired(view, pairs)] if pairs else []


def changes_figure(view: View, base: str) -> Figure:
    """Draw the change from one k to each, seeds as dots, means with their interval as squares."""
    figure, panels = plt.subplots(1, 3, figsize=(10, 3.1))
    for axes, metric in zip(panels, METRICS, strict=True):
        before = in_points(view.results[base], metric)
        for key, k in places(view).items():
            after = in_points(view.results[key], metric)
            draw_seeds(axes, k, np.subtract(after, before), paired_interval(after, before))
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_xlabel("k")
        axes.set_title(LABELS[metric].split(" (")[0], fontsize="small")
    panels[0].set_ylabel(f"change from {base} (points)")
    figure.suptitle(view.label, fontsize="medium")
    return figure


def is_there_a_peak(view: View) -> list[str]:
    """Say how many k are worse and better than the profile's, and which is each seed's best."""
    base, ks = _key(view.profile.faces.k), places(view)
    others = [key for key in ks if key != base]
    if base not in ks or not others:
        return []
    masked = {key: view.results[key] for key in ks}
    said = []
    for metric in (WST, EO):
        told = Counter(_told(masked[key], masked[base], metric) for key in others)
        best = [ks[best_of(masked, metric, [i])] for i in range(len(masked[base]))]
        said.append(
            f"**{view.label}**, {METRICS[metric]}: of {len(others)} other k, "
            f"{told['worse']} are worse than {base}, {told['better']} better, "
            f"{told['undecided']} undecided (95 % intervals, not corrected for their number). "
            f"Seed by seed the best k on the test part is {', '.join(map(str, best))}."
        )
    return said


def _told(first: Sequence[Record], second: Sequence[Record], metric: str) -> str:
    """Return whether the first is better or worse, seed by seed, or neither can be said."""
    found = paired_interval(in_points(first, metric), in_points(second, metric))
    if not found.excludes(0):
        return "undecided"
    return "better" if (found.mean > 0) == (BETTER[metric] == "greater") else "worse"
