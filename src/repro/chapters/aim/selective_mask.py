"""Chapter 24: which tensors are sensitive to bias and not to the domain gap (SMG)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from repro.aimfair.mask import jaccard
from repro.chapters.aim import recorded_masks
from repro.chapters.aim.plans import aim_experiment, bases_of, sensitivity
from repro.chapters.aim.recorded_masks import agreement, mask, of_other_batches, sizes
from repro.chapters.aim.tables import spread
from repro.chapters.aim.top_k import agreement_by_k
from repro.study.experiments import Plan
from repro.study.figures import GREY, MEN, palette
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.runs import Record
from repro.study.session import Part, View
from repro.study.tables import source
from repro.tensors import block_of

NOTEBOOK = "24_selective_mask"

#: The authors' way to take gradients.
AUTHORS = "train, augmented"


@aim_experiment(NOTEBOOK)
def sensitivities(profile: Profile, seeds: Sequence[int]) -> Plan:
    """1d: the authors' way (train mode, augmented), and with either choice the other way."""
    if profile.faces.synthetic is None:
        return {}
    bases = bases_of(profile, seeds)
    return {
        AUTHORS: [sensitivity(profile, base) for base in bases],
        "eval, augmented": [sensitivity(profile, base, mode="eval") for base in bases],
        "eval, plain": [sensitivity(profile, base, mode="eval", augmented=False) for base in bases],
    }


def rank_correlations(views: Iterable[View]) -> pd.DataFrame:
    """Return Spearman's correlation of d and b over all tensors, for each kind of gradients."""
    rows = []
    for view in views:
        for key, records in view.results.items():
            for kind in ("absolute", "cosine"):
                found = [recorded_masks.rank_correlation(record, kind) for record in records]
                rows.append(
                    {
                        "data": view.label,
                        "gradients": key,
                        "difference": kind,
                        "correlation, each seed": ", ".join(f"{value:+.2f}" for value in found),
                    }
                )
    return pd.DataFrame(rows)


def medians_by_kind(view: View) -> pd.DataFrame:
    """Return the median of d, of b, and their ratio, over all seeds' tensors of each kind."""
    measured = []
    for record in view.results[AUTHORS]:
        d, b = recorded_masks.sensitivities(record)
        measured += [
            {"kind": kind, "d": d[name], "b": b[name]}
            for name, kind in zip(record.results["tensors"], record.results["kinds"], strict=True)
        ]
    by_kind = pd.DataFrame(measured).groupby("kind", sort=False).median()
    table = by_kind.map("{:.2e}".format)
    table["b / d"] = (by_kind["b"] / by_kind["d"]).map("{:.2f}".format)
    return table.reset_index()


def what_it_holds(view: View, k: int) -> list[Part]:
    """Return which tensors the mask holds, of each seed and by part of the model."""
    records = view.results[AUTHORS]
    where_from = source(records, view.label, view.again)
    return [mask_figure(view, k), masks_by_part(records, k), where_from]


def masks_by_part(records: Sequence[Record], k: int) -> pd.DataFrame:
    """Return, for each block and each kind of tensor, how many of how many the mask holds."""
    tensors, kinds = records[0].results["tensors"], records[0].results["kinds"]
    kind_of = dict(zip(tensors, kinds, strict=True)).__getitem__
    chosen = [mask(record, k) for record in records]
    rows = []
    for what, part_of in (("block", block_of), ("kind", kind_of)):
        for part, names in _parts(tensors, part_of).items():
            counts = [len(selected & names) for selected in chosen]
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


def _parts(names: Sequence[str], part_of: Callable[[str], str]) -> dict[str, set[str]]:
    """Return the tensors of each part, parts in the order of the model."""
    grouped: dict[str, set[str]] = {}
    for name in names:
        grouped.setdefault(part_of(name), set()).add(name)
    return grouped


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
        masks = [mask(record, k) for record in records]
        rows.append(
            {
                "gradients": key,
                "tensors in the mask": spread([len(m) for m in masks], "{:d}"),
                "same model, other batches": _mean(of_other_batches(records, k)),
                "other seeds": _mean(_of_other_seeds(records, k)),
                "two random masks of that size": f"{_chance(masks, records[0]):.2f}",
            }
        )
    for first, second in combinations(results, 2):
        same = _mean(agreement(results[first], results[second], k))
        rows.append({"gradients": f"{first} against {second}", "same model": same})
    pairs_of_kinds = [
        jaccard(mask(r, k), mask(r, k, kind="cosine")) for r in next(iter(results.values()), [])
    ]
    rows.append({"gradients": "absolute against cosine", "same model": _mean(pairs_of_kinds)})
    return pd.DataFrame(rows).fillna("")


def _of_other_seeds(records: Sequence[Record], k: int) -> list[float]:
    """Return how far masks of other seeds agree (Jaccard), each pair of seeds."""
    return [jaccard(mask(a, k), mask(b, k)) for a, b in combinations(records, 2)]


def mask_in_words(view: View, k: int) -> str:
    """Return what the measured masks come to, as Markdown; every number is computed."""
    records = view.results[AUTHORS]
    found = [sizes(record)[k - 1] for record in records]
    chosen = [mask(record, k) for record in records]
    shares = {
        block: sum(len(held & names) for held in chosen) / (len(names) * len(chosen))
        for block, names in _parts(records[0].results["tensors"], block_of).items()
    }
    most, least = (
        ", ".join(f"`{block}`" for block, share in shares.items() if share == end(shares.values()))
        for end in (max, min)
    )
    text = (
        f"**{view.label}**, k = {k}: the mask holds "
        f"{spread([s.share_of_tensors for s in found], '{:.0%}')} of the tensors and "
        f"{spread([s.share_of_parameters for s in found], '{:.0%}')} of the scalar parameters. "
        f"Of the blocks it holds the largest share of {most} and the smallest of {least}."
    )
    within, across = of_other_batches(records, k), _of_other_seeds(records, k)
    if within:
        text += f" Masks of one model from other batches agree by {np.mean(within):.2f} (Jaccard)"
        text += f", of other seeds by {np.mean(across):.2f}" if across else ""
        text += f", random masks of these sizes by {_chance(chosen, records[0]):.2f}."
    return text


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


def sensitivity_figure(view: View, k: int) -> Figure:
    """Draw the first seed's tensors at their d and b; those of the mask are filled."""
    record = view.results[AUTHORS][0]
    domain, fairness = recorded_masks.sensitivities(record)
    chosen = mask(record, k)
    results = record.results
    kinds = dict(zip(results["tensors"], results["kinds"], strict=True))
    colours = dict(zip(dict.fromkeys(kinds.values()), palette("colorblind", 8), strict=False))
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
    axes.set_title(f"{view.label}, seed {record.config['seed']}")
    return figure


def mask_figure(view: View, k: int) -> Figure:
    """Draw which tensors the mask of each seed holds, in the order of the model."""
    records = view.results[AUTHORS]
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
    axes.set_title(f"tensors of the mask (blue), k = {k}: {view.label}")
    return figure


def stability_figure(view: View) -> Figure | str:
    """Draw how alike the masks of the seeds are against k, beside random rankings.

    Returns
    -------
    matplotlib.figure.Figure or str
        Why there is none, where there is one seed.
    """
    if len(view.results[AUTHORS]) < 2:
        return "One seed: nothing to compare."
    table = agreement_by_k(view.results[AUTHORS])
    figure, axes = plt.subplots(figsize=(5.6, 3.2))
    axes.plot(table["k"], table["seeds"], color=MEN, label="seeds")
    axes.plot(table["k"], table["chance"], ":", color=GREY, label="random rankings")
    axes.set_xlabel("k")
    axes.set_ylabel("Jaccard index of two masks")
    axes.set_ylim(0, 1.03)
    axes.legend(fontsize="small")
    axes.set_title(view.label)
    return figure
