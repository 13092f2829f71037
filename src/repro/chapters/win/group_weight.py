"""Chapter 44: the weight of the groups (Figure 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from repro.chapters.win import weight_importance
from repro.chapters.win.contrasts import DP, EO, ERROR, RANK, SHORT, SILENT, SPLIT, finds_fairness
from repro.chapters.win.plans import finetune, pretrain
from repro.chapters.win.weight_importance import _importance
from repro.study.claims import Check, Claim, Contrast
from repro.study.experiments import Plan, experiment
from repro.study.figures import GREY, LABELS, MEN, in_points
from repro.study.intervals import paired_interval
from repro.study.judging import PER_SEED, control
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.runs import Record
from repro.study.tables import differences

NOTEBOOK = "44_group_weight"


@experiment(NOTEBOOK, part="win")
def group_weights(
    profile: Profile,
    seeds: Sequence[int],
    *,
    weights: Sequence[float] | None = None,
    ranks: Sequence[int] | None = None,
) -> Plan:
    """Figure 5: the weight a; keys ``rank 1, a 0.7``.

    The paper does not say which group is s = 1, so each a of [0.5, 1) is run as the weight of
    either group: ``a`` below 0.5 in a key means that women's importance has the weight 1 - a.
    What all are compared with, 0.5, is among them whatever ``weights`` says.
    """
    bases = [pretrain(profile, seed) for seed in seeds]
    given = profile.win.weights if weights is None else weights
    both = sorted({round(w, 6) for a in (*given, 0.5) for w in (a, 1 - a)})
    return {
        f"rank {rank}, a {weight:g}": [
            finetune(profile, base, "win", rank=rank, weight=weight) for base in bases
        ]
        for rank in (profile.win.ranks if ranks is None else ranks)
        for weight in both
    }


def _importances_differ(profile: Profile) -> Sequence[Check]:
    """Return the check of Figure 5: with equal importances the weight of a group moves nothing."""
    (contrast,) = _importance("null", "permuted groups")(profile)
    return (
        control(
            "the groups' importances differ",
            weight_importance.probes,
            contrast,
            per_seed=PER_SEED["win"],
        ),
    )


def _figure_5(metrics: Sequence[str]) -> Callable[[Profile], list[Contrast]]:
    def contrasts(profile: Profile) -> list[Contrast]:
        most = max(profile.win.weights)
        if most == 0.5:  # nothing to compare with
            return []
        return [
            Contrast(
                f"a = {most:g} on {who} against a = 0.5 (rank 1): {SHORT[metric]}",
                f"rank 1, a {weight:g}",
                "rank 1, a 0.5",
                metric,
                "greater",
            )
            for who, weight in (("men", most), ("women", round(1 - most, 6)))
            for metric in metrics
        ]

    return contrasts


def direction(record: Record) -> np.ndarray:
    """Return the unit direction in the outputs that a rank-1 start keeps, shape (k,)."""
    kept = np.asarray(record.results["start_B"][0], dtype=float)
    return np.asarray(kept / np.linalg.norm(kept))


def angle(first: np.ndarray, second: np.ndarray) -> float:
    """Return the angle between two unit directions without sign, in degrees, 0 to 90.

    By the sine, which unlike the cosine is exact for small angles.
    """
    along = float(first @ second)
    across = float(np.linalg.norm(first - along * second))
    return float(np.degrees(np.arctan2(across, abs(along))))


def rank_one_starts(results: Results, baseline: str = "svd") -> pd.DataFrame:
    """How the start of WIN at rank 1 differs from that of f+SVD, for every weight.

    "decisions changed" is read off confusion tables, so it is a lower bound.
    """
    learnt = np.array([1.0, -1.0]) / np.sqrt(2)
    rows = []
    for key in [baseline, *sorted(key for key in results if key != baseline)]:
        records = results[key]
        turned = [
            angle(direction(r), direction(b))
            for r, b in zip(records, results[baseline], strict=True)
        ]
        away = [angle(direction(record), learnt) for record in records]
        moved = [np.abs(r.counts("start") - r.counts("before")).sum() // 2 for r in records]
        gaps = [r.results["start_max_logit_gap_change"] for r in records]
        rows.append(
            {
                "start": "f+SVD" if key == baseline else f"WIN, {key}",
                "to (1, −1)/√2, mean (°)": f"{np.mean(away):.2f}",
                "to f+SVD, largest (°)": f"{max(turned):.3f}",
                "largest change of z₁ − z₀": f"{max(gaps):.3f}",
                "decisions changed": f"{sum(moved)} of {sum(r.counts().sum() for r in records)}",
            }
        )
    return pd.DataFrame(rows)


def starts_in_words(results: Results, baseline: str = "svd") -> str:
    """Say in a sentence how much the importance turns the start of WIN, and what it changes."""
    turned, apart, changed, people = [], [], 0, 0
    neutral = "rank 1, a 0.5"
    for key, records in results.items():
        if key == baseline:
            continue
        triples = zip(records, results[baseline], results[neutral], strict=True)
        for record, plain, equal in triples:
            turned.append(angle(direction(record), direction(plain)))
            apart.append(angle(direction(record), direction(equal)))
            changed += int(np.abs(record.counts("start") - plain.counts("start")).sum() // 2)
            people += int(record.counts("start").sum())
    return (
        f"Over all seeds and weights the kept direction turns by {max(turned):.1f}° at most from "
        f"that of the plain SVD, and by {max(apart):.1f}° at most from that of the neutralised "
        f"importance; at the start this changes at least {changed} of {people:,} decisions "
        f"({100 * changed / people:.2f} %) against the plain SVD."
    )


def weight_changes(results: Results) -> pd.DataFrame:
    """Figure 5: change from a = 0.5, and in how many seeds not one confusion count differs."""
    quantities = {ERROR: SHORT[ERROR], DP: SHORT[DP], EO: SHORT[EO]}
    rows = []
    for key, records in results.items():
        base = f"{key.split(',')[0]}, a 0.5"
        pairs = list(zip(records, results[base], strict=True))
        same = sum(np.array_equal(a.counts(), b.counts()) for a, b in pairs)
        change = differences(results, quantities, [(key, key, base)]).iloc[0]
        row = {"setting": key} | {heading: change[heading] for heading in quantities.values()}
        if key.startswith("rank 1,"):
            row["kept direction turns by (°)"] = (
                f"{max(angle(direction(a), direction(b)) for a, b in pairs):.3f}"
            )
        rows.append(row | {"same confusion table": f"{same} of {len(pairs)} seeds"})
    return pd.DataFrame(rows).fillna("")


def weight_figure(results: Results, rank: int, *, title: str = "") -> Figure:
    """Draw the three metrics against the weight a, as differences from a = 0.5, seed by seed."""
    quantities = ("weighted_f1_error", "demographic_parity", "equalized_odds_sum")
    prefix = f"rank {rank}, a "
    keys = sorted((k for k in results if k.startswith(prefix)), key=lambda k: float(k.split()[-1]))
    figure, panels = plt.subplots(1, 3, figsize=(9, 2.9))
    for axes, quantity in zip(panels, quantities, strict=True):
        base = in_points(results[f"{prefix}0.5"], quantity)
        for key in keys:
            at = float(key.split()[-1])
            values = in_points(results[key], quantity)
            interval = paired_interval(values, base)
            axes.plot(
                [at] * len(values), np.subtract(values, base), "o", color=GREY, alpha=0.3,
                markersize=4,
            )  # fmt: skip
            error = [[interval.mean - interval.low], [interval.high - interval.mean]]
            axes.errorbar(
                at, interval.mean, yerr=None if interval.n < 2 else error, fmt="s", color=MEN,
                capsize=3, markersize=4,
            )  # fmt: skip
        axes.axhline(0, color="black", linewidth=0.8)
        low, high = axes.get_ylim()
        # A flat line must look flat: never zoom in on less than half a point.
        axes.set_ylim(min(low, -0.5), max(high, 0.5))
        axes.set_xlabel("a, the weight of men's importance")
        axes.set_title(LABELS[quantity].split(" = ")[0], fontsize="small")
    panels[0].set_ylabel("change from a = 0.5 (points)")
    figure.suptitle(title, fontsize="medium")
    return figure


CLAIMS = (
    Claim(
        "group-weight",
        "Figure 5",
        lambda profile: (
            "Moving the weight of the groups from equal (a = 0.5) to one group "
            f"(a = {max(profile.win.weights):g}) loses fairness."
        ),
        NOTEBOOK,
        group_weights,
        _figure_5((EO,)),
        (RANK, SILENT, SPLIT, "which group is s = 1 is not stated: both are tested"),
        _figure_5((DP,)),
        checks=_importances_differ,
        control=finds_fairness,
    ),
)
