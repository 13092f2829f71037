"""Tables of the AIM-Fair chapters that are more than a mean or a difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from repro.aimfair.mask import (
    MaskSize,
    entry_k,
    jaccard,
    mask_sizes,
)
from repro.aimfair.tensors import block_of
from repro.metrics import flatten_metrics, metrics_from_counts
from repro.study.aim_claims import ACC, EO, STD, WST
from repro.study.aim_stages import sensitivities_of
from repro.study.records import Results
from repro.study.runs import Record
from repro.study.tables import points

GROUPS = ("(0,0)", "(0,1)", "(1,0)", "(1,1)")


def sensitivities(
    record: Record, *, kind: str = "absolute", draw: int = 0
) -> tuple[dict[str, float], dict[str, float]]:
    """Return d and b of every tensor, by name, from a recorded measurement."""
    return sensitivities_of(record.results, kind=kind, draw=draw)


def mask(record: Record, k: int, *, kind: str = "absolute", draw: int = 0) -> frozenset[str]:
    """Return the mask of ``k`` from a recorded measurement; empty where the rankings are apart."""
    entered = entry_k(*sensitivities(record, kind=kind, draw=draw))
    return frozenset(name for name, first in entered.items() if first <= k)


def sizes(record: Record, *, kind: str = "absolute") -> list[MaskSize]:
    """Return how much of the model the mask holds, for every k."""
    results = record.results
    parameters = dict(zip(results["tensors"], results["parameters"], strict=True))
    return mask_sizes(*sensitivities(record, kind=kind), parameters)


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
                "tensors in the mask": _range([s.tensors for s in found], "{:d}"),
                "share of tensors": _range([s.share_of_tensors for s in found], "{:.0%}"),
                "share of parameters": _range([s.share_of_parameters for s in found], "{:.1%}"),
            }
        )
    return pd.DataFrame(rows)


def _range(values: Sequence[float], form: str) -> str:
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} – {high}"


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
                    "in the mask": _range(counts, "{:d}"),
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
                "tensors in the mask": _range([len(m) for m in masks], "{:d}"),
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
        f"{_range([s.share_of_tensors for s in found], '{:.0%}')} of the tensors and "
        f"{_range([s.share_of_parameters for s in found], '{:.0%}')} of the scalar parameters. "
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


def kept_by_rules(results: Results, names: Mapping[str, str]) -> pd.DataFrame:
    """Return what another rule for the kept epoch would have given, in points, mean over seeds.

    Every record has the confusion counts of each epoch, so nothing is trained again for this.
    """
    rows = []
    for key, name in names.items():
        for rule in ("accuracy", "worst_group", "last"):
            found = []
            for record in results.get(key, []):
                epoch = record.results["kept_by"][rule]
                if epoch is not None:
                    counts = record.body["history"][epoch - 1]["counts"]["test"]
                    found.append((epoch, flatten_metrics(metrics_from_counts(counts))))
            if not found:
                continue
            row = {"setting": name, "epoch kept by": RULES[rule]}
            row["epochs"] = ", ".join(str(epoch) for epoch, _ in found)
            for metric, heading in ((ACC, "ACC"), (WST, "WST"), (EO, "EO (max)")):
                row[heading] = points(float(np.mean([m[metric] for _, m in found])))
            rows.append(row)
    return pd.DataFrame(rows)


RULES = {
    "accuracy": "validation accuracy (the authors')",
    "worst_group": "worst-group validation accuracy",
    "last": "none: the last epoch",
}


def as_the_paper(results: Results, names: Mapping[str, str]) -> pd.DataFrame:
    """Return the tables' own arithmetic: group accuracies over seeds first, then WST, EO, STD.

    EO is the mean over seeds of each seed's maximum gap, as printed; beside it the mean of the two
    gaps, which is what the released code computes.
    """
    rows = []
    for key, name in names.items():
        if key not in results:
            continue
        metrics = [record.metrics() for record in results[key]]
        groups = [
            float(np.mean([m[f"accuracy_t{t}_p{p}"] for m in metrics]))
            for t in (0, 1)
            for p in (0, 1)
        ]
        row = {"setting": name}
        row |= {group: points(value) for group, value in zip(GROUPS, groups, strict=True)}
        row |= {
            "ACC": points(float(np.mean([m[ACC] for m in metrics]))),
            "WST": points(min(groups)),
            "STD": points(float(np.std(groups))),
            "EO, max (tables)": points(float(np.mean([m[EO] for m in metrics]))),
            "EO, mean (code)": points(float(np.mean([m["equalized_odds_mean"] for m in metrics]))),
            "STD of each seed": points(float(np.mean([m[STD] for m in metrics]))),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def training_images(results: Results, names: Mapping[str, str]) -> pd.DataFrame:
    """Return what each setting was trained on and how much of it trained."""
    rows = []
    for key, name in names.items():
        if key not in results:
            continue
        found = [record.results for record in results[key]]
        counts = np.asarray(found[0]["training_images"])
        row = {"setting": name}
        row |= {group: str(n) for group, n in zip(GROUPS, counts.ravel().tolist(), strict=True)}
        row["tensors"] = _range([len(r["trained_tensors"]) for r in found], "{:d}")
        row["parameters"] = _range([r["trainable_parameters"] for r in found], "{:,}")
        rows.append(row)
    return pd.DataFrame(rows)
