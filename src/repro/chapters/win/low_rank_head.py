"""Chapter 42: the weighted low-rank head: what importance changes, and how many parameters."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from repro.chapters.win import plans
from repro.chapters.win.configs import key_of
from repro.chapters.win.group_weight import angle, direction, group_weights, weight_key
from repro.data.schema import CATEGORICAL, CONTINUOUS, MAY_BE_MISSING
from repro.study.claims import Claim, Contrast
from repro.study.experiments import Plan
from repro.study.figures import GREY, MEN, WOMEN
from repro.study.profiles import Profile
from repro.study.records import Results

NOTEBOOK = "42_weighted_svd"


def rank_one(profile: Profile, seeds: Sequence[int]) -> Plan:
    """WIN at rank 1 for each weight, beside the plain SVD: the starts that are compared."""
    bases = [plans.pretrain(profile, seed) for seed in seeds]
    plan: Plan = {"svd": [plans.finetune(profile, base, "svd", rank=1) for base in bases]}
    return group_weights(profile, seeds, ranks=[1]) | plan


def _sizes(profile: Profile) -> list[Contrast]:
    return [
        Contrast(
            "WIN (rank 1) against Retrain: trainable parameters",
            key_of("win", 1),
            "retrain",
            "results:trainable_parameters",
            "less",
            reported=46 - 742,
            unit="parameters",
        )
    ]


def truncations(*, seed: int = 0) -> pd.DataFrame:
    """Cut a wide random head (10 x 6) by the weighted and the plain SVD, at rising unevenness.

    An error is || I (W - A B) ||, what the weighted SVD minimises.
    """
    import torch

    from repro.win.lowrank import plain_svd, weighted_svd

    wide = torch.randn(10, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rows = []
    for unevenness, rank in itertools.product((1, 2, 5, 20), (1, 2, 4, 6)):
        importance = torch.linspace(1, unevenness, 10, dtype=torch.float64)
        factors = {
            "weighted": weighted_svd(wide, importance, rank),
            "plain": plain_svd(wide, rank),
        }
        cosines = torch.linalg.svdvals(factors["weighted"][1] @ factors["plain"][1].T)
        turned = torch.rad2deg(torch.arccos(cosines.clamp(max=1).min()))
        errors = {
            f"weighted error, {name} SVD": float((importance[:, None] * (wide - a @ b)).norm())
            for name, (a, b) in factors.items()
        }
        rows.append(
            {
                "largest / smallest importance": unevenness,
                "rank": rank,
                "largest angle to plain SVD (°)": f"{float(turned):.1f}",
            }
            | {heading: f"{error:.3f}" for heading, error in errors.items()}
        )
    return pd.DataFrame(rows)


def _moved(first: np.ndarray, second: np.ndarray) -> int:
    """Return how many people at least are decided otherwise, of two tables of counts."""
    return int(np.abs(first - second).sum() // 2)


def rank_one_starts(results: Results) -> pd.DataFrame:
    """How the start of WIN at rank 1 differs from that of f+SVD, for every weight.

    "decisions changed" is read off confusion tables, so it is a lower bound.
    """
    learnt = np.array([1.0, -1.0]) / np.sqrt(2)
    rows = []
    for key in ["svd", *sorted(key for key in results if key != "svd")]:
        records = results[key]
        turned = [
            angle(direction(r), direction(b)) for r, b in zip(records, results["svd"], strict=True)
        ]
        away = [angle(direction(record), learnt) for record in records]
        moved = sum(_moved(r.counts("start"), r.counts("before")) for r in records)
        gaps = [r.results["start_max_logit_gap_change"] for r in records]
        rows.append(
            {
                "start": "f+SVD" if key == "svd" else f"WIN, {key}",
                "to (1, −1)/√2, mean (°)": f"{np.mean(away):.2f}",
                "to f+SVD, largest (°)": f"{max(turned):.3f}",
                "largest change of z₁ − z₀": f"{max(gaps):.3f}",
                "decisions changed": f"{moved} of {sum(r.counts().sum() for r in records)}",
            }
        )
    return pd.DataFrame(rows)


def starts_in_words(results: Results) -> str:
    """Say in a sentence how much the importance turns the start of WIN, and what it changes."""
    triples = [
        triple
        for key, records in results.items()
        if key != "svd"
        for triple in zip(records, results["svd"], results[weight_key(1, 0.5)], strict=True)
    ]
    turned = max(angle(direction(win), direction(plain)) for win, plain, _ in triples)
    apart = max(angle(direction(win), direction(equal)) for win, _, equal in triples)
    changed = sum(_moved(win.counts("start"), plain.counts("start")) for win, plain, _ in triples)
    people = sum(int(win.counts("start").sum()) for win, _, _ in triples)
    return (
        f"Over all seeds and weights the kept direction turns by {turned:.1f}° at most from "
        f"that of the plain SVD, and by {apart:.1f}° at most from that of the neutralised "
        f"importance; at the start this changes at least {changed} of {people:,} decisions "
        f"({100 * changed / people:.2f} %) against the plain SVD."
    )


#: The head of the paper's classifiers.
HIDDEN, CLASSES = 10, 2


def size_derivations(target: int) -> list[str]:
    """Return the multi-layer perceptrons of `HIDDEN` units with ``target`` parameters."""
    last = HIDDEN * CLASSES + CLASSES
    found = []
    for layers in (2, 3, 4, 5):
        inputs, rest = divmod(target - last - (layers - 2) * (HIDDEN + 1) * HIDDEN - HIDDEN, HIDDEN)
        if rest == 0 and inputs > 0:
            found.append(f"{inputs} inputs and {layers} linear layers of width {HIDDEN}")
    return found


def rank_for_size(target: int) -> int | None:
    """Return the rank whose low-rank head has ``target`` trainable parameters, if there is one."""
    rank, rest = divmod(target - CLASSES, HIDDEN + CLASSES)
    return rank if rest == 0 and 1 <= rank <= min(HIDDEN, CLASSES) else None


def adult_widths() -> dict[int, list[str]]:
    """Return how many inputs Adult has under every usual way of encoding it.

    Returns
    -------
    dict
        width -> the encodings that give it: incomplete records kept (``?`` a level) or dropped;
        every level or all but the first; country one-hot, binary or left out; fnlwgt in or out;
        the protected attribute as none, one or two columns.
    """
    widths: dict[int, list[str]] = {}
    levels = {name: len(values) for name, values in CATEGORICAL.items() if name != "sex"}
    for missing, drop_first, country, weight, sex in itertools.product(
        ("kept", "dropped"), (False, True), ("one-hot", "binary", "out"), (True, False), (0, 1, 2)
    ):
        width = len(CONTINUOUS) - (not weight) + sex
        for name, count in levels.items():
            count += missing == "kept" and name in MAY_BE_MISSING
            count -= missing == "dropped" and name == "workclass"  # nobody "never worked" is left
            if name == "native-country":
                width += {"one-hot": count - drop_first, "binary": 1, "out": 0}[country]
            else:
                width += count - drop_first
        words = (
            f"incomplete records {missing}",
            "all levels but the first" if drop_first else "every level",
            f"country {country}",
            f"fnlwgt {'in' if weight else 'out'}",
            f"sex in {sex} columns",
        )
        widths.setdefault(width, []).append(", ".join(words))
    return widths


def head_sizes() -> pd.DataFrame:
    """How many parameters of a two-class head train, at each rank and as it is."""
    from torch import nn

    from repro.models import parameter_count
    from repro.win.lowrank import LowRankLinear

    head = nn.Linear(10, 2)
    cut = {f"10 × 2, rank {rank}": LowRankLinear.from_linear(head, None, rank) for rank in (1, 2)}
    return pd.DataFrame(
        [
            {"head": name, "trainable parameters": parameter_count(module)}
            for name, module in (cut | {"10 × 2, as it is (TL)": head}).items()
        ]
    )


def sizes_in_words() -> str:
    """Say from what 742 and 46, the paper's numbers of parameters, could come."""
    rank, widths = rank_for_size(46), adult_widths()
    found = {width: widths.get(width, []) for width in (71, 60)}
    return (
        f"**742** is the size of a whole network with "
        f"{'; or '.join(size_derivations(742))}. Of {sum(map(len, widths.values()))} "
        "usual encodings of Adult (incomplete records, first levels, country, fnlwgt, sex), "
        + "; ".join(
            f"**{len(ways)}** give {width} inputs" + (f" (one: {ways[0]})" if ways else "")
            for width, ways in found.items()
        )
        + ". A network of three linear layers is a two-layer one only if hidden layers are "
        "counted; all this is arithmetic, not evidence. **46** is 12 r + 2 for "
        f"{'no rank' if rank is None else f'rank {rank}'}. It happens to be 22 + 24, the original "
        "head with its bias and both rank-2 factors counted together: arithmetic again."
    )


def trained_parameters(results: Results) -> pd.DataFrame:
    """How many parameters each strategy of Table 3 trains in our own runs."""
    return pd.DataFrame(
        [
            {"strategy": key, "trainable parameters": group[0].results["trainable_parameters"]}
            for key, group in results.items()
            if group[0].config.get("strategy") and not group[0].config.get("constraint")
        ]
    )


def head_figure(results: Results, head: np.ndarray, *, title: str = "") -> Figure:
    """Draw the rows of a two-class head in the plane of its outputs, and the kept directions.

    Parameters
    ----------
    results
        Of `rank_one`; the first seeds are drawn, and the importance that WIN gave the rows is the
        width of their lines.
    head
        Shape (d, 2), of the first seed.
    """
    plain, win = results["svd"][0], results[weight_key(1, 0.5)][0]
    importance = np.asarray(win.results["importance"]).mean(0)
    figure, axes = plt.subplots(figsize=(4.2, 4.2))
    reach = 1.15 * np.abs(head).max()
    for row, weight in zip(head, importance / importance.max(), strict=True):
        axes.plot([0, row[0]], [0, row[1]], color=GREY, linewidth=0.5 + 4 * weight)
    for name, record, colour, line in (("f+SVD", plain, MEN, "-"), ("WIN", win, WOMEN, "--")):
        kept = np.asarray(record.results["start_B"][0]) * reach
        axes.plot([-kept[0], kept[0]], [-kept[1], kept[1]], line, color=colour, label=name)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="output 0", ylabel="output 1")
    axes.legend(fontsize="small", title="kept at rank 1")
    figure.suptitle(title, fontsize="small")
    return figure


CLAIMS = (
    Claim(
        "parameters",
        "Table 3",
        "WIN (rank 1) trains fewer parameters than retraining does.",
        NOTEBOOK,
        plans.against_retraining,
        _sizes,
        (
            "neither 46 nor 742 follows from the paper's description, so the counts are those of "
            "our own models",
        ),
        kind="construction",
    ),
)
