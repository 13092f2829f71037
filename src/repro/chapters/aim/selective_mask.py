"""Chapter 24: which tensors are sensitive to bias and not to the domain gap (SMG)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from repro.aimfair.mask import jaccard
from repro.aimfair.tensors import block_of
from repro.chapters.aim import recorded_masks
from repro.chapters.aim.plans import aim_experiment, bases_of, sensitivity
from repro.chapters.aim.recorded_masks import mask, sizes
from repro.chapters.aim.tables import spread
from repro.chapters.aim.top_k import agreement_by_k
from repro.study.experiments import Plan
from repro.study.figures import GREY, MEN
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.runs import Record

NOTEBOOK = "24_selective_mask"


@aim_experiment(NOTEBOOK)
def sensitivities(profile: Profile, seeds: Sequence[int]) -> Plan:
    """1d: the authors' way (train mode, augmented), and with either choice the other way."""
    if profile.faces.synthetic is None:
        return {}
    bases = bases_of(profile, seeds)
    return {
        "train, augmented": [sensitivity(profile, base) for base in bases],
        "eval, augmented": [sensitivity(profile, base, mode="eval") for base in bases],
        "eval, plain": [sensitivity(profile, base, mode="eval", augmented=False) for base in bases],
    }


def masks_by_part(records: Sequence[Record], k: int) -> pd.DataFrame:
    """Return, for each block and each kind of tensor, how many of how many the mask holds."""
    results = records[0].results
    kinds = dict(zip(results["tensors"], results["kinds"], strict=True))
    chosen = [mask(record, k) for record in records]
    rows = []
    for what, part_of in (("block", block_of), ("kind", kinds.__getitem__)):
        grouped: dict[str, list[str]] = {}
        for name in results["tensors"]:
            grouped.setdefault(part_of(name), []).append(name)
        for part, names in grouped.items():
            counts = [len(selected & set(names)) for selected in chosen]
            rows.append(
                {
                    "by": what,
                    "part": part,
                    "tensors": len(names),
                    "in the mask": spread(counts, "{:d}"),
                    "share, mean": f"{np.mean(counts) / len(names):.0%}",
                }
            )
    return pd.DataFrame(rows)


def stability(results: Results, k: int) -> pd.DataFrame:
    """Return how alike masks are: over draws of batches, over seeds, over modes, and by chance.

    Parameters
    ----------
    results
        Records of the plan ``sensitivities``.
    k
        Of the masks.
    """
    rows = []
    for key, records in results.items():
        within = [
            jaccard(mask(record, k, draw=i), mask(record, k, draw=j))
            for record in records
            for i, j in combinations(range(len(record.results["draws"])), 2)
        ]
        masks = [mask(record, k) for record in records]
        across = [jaccard(a, b) for a, b in combinations(masks, 2)]
        rows.append(
            {
                "gradients": key,
                "tensors in the mask": spread([len(m) for m in masks], "{:d}"),
                "same model, other batches": _mean(within),
                "other seeds": _mean(across),
                "two random masks of that size": f"{_chance(masks, records[0]):.2f}",
            }
        )
    keys = list(results)
    for first, second in combinations(keys, 2):
        pairs = zip(results[first], results[second], strict=True)
        same = [jaccard(mask(a, k), mask(b, k)) for a, b in pairs]
        rows.append({"gradients": f"{first} against {second}", "same model": _mean(same)})
    pairs_of_kinds = [
        jaccard(mask(r, k), mask(r, k, kind="cosine")) for r in next(iter(results.values()), [])
    ]
    rows.append({"gradients": "absolute against cosine", "same model": _mean(pairs_of_kinds)})
    return pd.DataFrame(rows).fillna("")


def mask_in_words(results: Results, k: int, label: str) -> str:
    """Return what the measured masks come to, as Markdown; every number is computed."""
    records = results["train, augmented"]
    found = [sizes(record)[k - 1] for record in records]
    grouped: dict[str, list[str]] = {}
    for name in records[0].results["tensors"]:
        grouped.setdefault(block_of(name), []).append(name)
    chosen = [mask(record, k) for record in records]
    shares = {
        block: sum(len(held & set(names)) for held in chosen) / (len(names) * len(chosen))
        for block, names in grouped.items()
    }
    most, least = (
        ", ".join(f"`{block}`" for block, share in shares.items() if share == end(shares.values()))
        for end in (max, min)
    )
    within = [
        jaccard(mask(record, k, draw=i), mask(record, k, draw=j))
        for record in records
        for i, j in combinations(range(len(record.results["draws"])), 2)
    ]
    across = [jaccard(mask(a, k), mask(b, k)) for a, b in combinations(records, 2)]
    text = (
        f"**{label}**, k = {k}: the mask holds "
        f"{spread([s.share_of_tensors for s in found], '{:.0%}')} of the tensors and "
        f"{spread([s.share_of_parameters for s in found], '{:.0%}')} of the scalar parameters. "
        f"Of the blocks it holds the largest share of {most} and the smallest of {least}."
    )
    if within:
        text += f" Masks of one model from other batches agree by {np.mean(within):.2f} (Jaccard)"
        text += f", of other seeds by {np.mean(across):.2f}" if across else ""
        text += (
            f", random masks of these sizes by {_chance([*map(_of(k), records)], records[0]):.2f}."
        )
    return text


def _of(k: int) -> Callable[[Record], frozenset[str]]:
    return lambda record: mask(record, k)


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2f}" if values else ""


def _chance(masks: Sequence[frozenset[str]], record: Record) -> float:
    """Return the mean Jaccard index of random masks of these sizes, drawn with a fixed seed."""
    rng, whole = np.random.default_rng(0), len(record.results["tensors"])
    drawn = []
    for _ in range(500):
        size = len(masks[int(rng.integers(len(masks)))])
        first, second = (set(rng.permutation(whole)[:size].tolist()) for _ in range(2))
        drawn.append(jaccard(first, second))
    return float(np.mean(drawn))


def sensitivity_figure(record: Record, k: int, *, title: str = "") -> Figure:
    """Draw every tensor at its domain and fairness sensitivity; those of the mask are filled."""
    domain, fairness = recorded_masks.sensitivities(record)
    chosen = mask(record, k)
    results = record.results
    kinds = dict(zip(results["tensors"], results["kinds"], strict=True))
    colours = dict(
        zip(dict.fromkeys(kinds.values()), sns.color_palette("colorblind", 8), strict=False)
    )
    figure, axes = plt.subplots(figsize=(6, 4.2))
    for kind, colour in colours.items():
        for inside in (True, False):
            names = [n for n in kinds if kinds[n] == kind and (n in chosen) == inside]
            axes.plot(
                [domain[n] for n in names], [fairness[n] for n in names], "o", color=colour,
                fillstyle="full" if inside else "none", label=kind if inside else None,
            )  # fmt: skip
    # The two thresholds of k: left of the one and above the other lies the mask.
    axes.axvline(sorted(domain.values())[k - 1], color=GREY, linewidth=0.8, linestyle="--")
    axes.axhline(
        sorted(fairness.values(), reverse=True)[k - 1], color=GREY, linewidth=0.8, linestyle="--"
    )
    axes.set(xscale="log", yscale="log")
    axes.set_xlabel("domain sensitivity d: mean |g_R − g_S1| (smaller is better)")
    axes.set_ylabel("fairness sensitivity b: mean |g_S1 − g_S2|")
    axes.legend(fontsize="small", title=f"filled: in the mask, k = {k}")
    axes.set_title(title)
    return figure


def mask_figure(records: Sequence[Record], k: int, *, title: str = "") -> Figure:
    """Draw which tensors the mask of each seed holds, in the order of the model."""
    names = records[0].results["tensors"]
    chosen = np.array([[name in mask(record, k) for name in names] for record in records])
    figure, axes = plt.subplots(figsize=(10, 0.9 + 0.28 * len(records)))
    axes.imshow(chosen, aspect="auto", cmap=ListedColormap(["#eeeeee", MEN]), vmin=0, vmax=1)
    axes.set_yticks(range(len(records)), [f"seed {r.config['seed']}" for r in records])
    blocks = [block_of(name) for name in names]
    starts = [i for i, block in enumerate(blocks) if i == 0 or blocks[i - 1] != block]
    for start in starts[1:]:
        axes.axvline(start - 0.5, color="black", linewidth=0.8)
    middles = [(a + b - 1) / 2 for a, b in zip(starts, [*starts[1:], len(names)], strict=True)]
    axes.set_xticks(middles, [blocks[i] for i in starts])
    axes.grid(visible=False)
    axes.set_title(title)
    return figure


def stability_figure(records: Sequence[Record], *, title: str = "") -> Figure:
    """Draw how alike the masks of the seeds are against k, beside random rankings."""
    table = agreement_by_k(records)
    figure, axes = plt.subplots(figsize=(5.6, 3.2))
    axes.plot(table["k"], table["seeds"], color=MEN, label="seeds")
    axes.plot(table["k"], table["chance"], ":", color=GREY, label="random rankings")
    axes.set_xlabel("k")
    axes.set_ylabel("Jaccard index of two masks")
    axes.set_ylim(0, 1.03)
    axes.legend(fontsize="small")
    axes.set_title(title)
    return figure
