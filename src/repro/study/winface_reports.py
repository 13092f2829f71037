"""Tables of WIN on faces: what a rank costs, what the weighting turns, what a control changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from repro.study.intervals import paired_interval
from repro.study.records import Results, value
from repro.study.rule import MIN_SEEDS

#: key of a control without its head -> what it is called
CONTROL_NAMES = {
    "tl": "TL",
    "factors": "factors at full rank",
    "factors, matched": "factors at full rank, matched rate",
    "svd": "f+SVD",
    "svd, matched": "f+SVD, matched rate",
    "win": "WIN",
    "win, matched": "WIN, matched rate",
    "win, group 1": "one group only (p = 1)",
    "win, group 2": "one group only (p = 0)",
    "win, pooled": "all people pooled",
    "win, shuffled": "importance shuffled",
}
#: label, first, second: what each difference isolates
QUESTIONS = (
    ("WIN − TL", "win", "tl"),
    ("the factors alone: full rank − TL", "factors", "tl"),
    ("the same, first steps equally long", "factors, matched", "tl"),
    ("the cut: f+SVD − factors at full rank", "svd", "factors"),
    ("any weighting: WIN − f+SVD", "win", "svd"),
    ("the same at matched rates", "win, matched", "svd, matched"),
    ("which rows: WIN − importance shuffled", "win", "win, shuffled"),
    ("groups apart: WIN − all people pooled", "win", "win, pooled"),
    ("both groups: WIN − p = 1 only", "win", "win, group 1"),
    ("both groups: WIN − p = 0 only", "win", "win, group 2"),
)


def short(key: str) -> str:
    """Return a key of a plan of strategies in the words of tables."""
    for word, name in {"svd": "f+SVD", "win": "WIN", "tl": "TL"}.items():
        key = key.replace(word, name)
    return key


def ranks_of(results: Results) -> list[int]:
    """Return the ranks that a plan of strategies has, ascending."""
    return sorted({int(key.split()[-1]) for key in results if "rank " in key})


def rank_costs(results: Results) -> pd.DataFrame:
    """Return what each rank trains, how far it starts from the head it came from, and its time."""
    rows = []
    for key in ["tl", *(f"{s}, rank {r}" for r in ranks_of(results) for s in ("svd", "win"))]:
        records = results.get(key, [])
        if not records:
            continue
        starts = [record.results["start_max_logit_change"] for record in records]
        seconds = [record.body["seconds"] for record in records]
        rows.append(
            {
                "setting": short(key),
                "trainable parameters": f"{records[0].results['trainable_parameters']:,}",
                "largest change of a logit at the start": f"{max(starts):.3g}",
                "seconds a run, median": f"{np.median(seconds):.2f}",
            }
        )
    return pd.DataFrame(rows)


def largest_angles(results: Results, which: str = "outputs") -> pd.DataFrame:
    """Return the largest principal angle between what WIN keeps and what other importances keep.

    Parameters
    ----------
    results
        Records by the keys of a plan of strategies; those of WIN hold the angles.
    which
        ``outputs`` (rows of B) or ``inputs`` (columns of A).

    Returns
    -------
    pandas.DataFrame
        Columns rank, seed, importance, angle (degrees).
    """
    rows = [
        {
            "rank": rank,
            "seed": record.config["seed"],
            "importance": pair["second"],
            "angle": max(pair[which]),
        }
        for rank in ranks_of(results)
        for record in results.get(f"win, rank {rank}", [])
        for pair in record.results["angles"]
        if pair["first"] == "neutralised"
    ]
    return pd.DataFrame(rows, columns=["rank", "seed", "importance", "angle"])


def left_out(results: Results) -> str:
    """Say in a sentence which labels a group's importance leaves out, over all seeds."""
    # One rank tells it all: the importance does not depend on the rank.
    records = next((group for key, group in results.items() if key.startswith("win, rank")), [])
    found: dict[str, Counter[str]] = {}
    for record in records:
        for group, labels in record.results["left_out_labels"].items():
            found.setdefault(group, Counter()).update(labels)
    found = {group: labels for group, labels in found.items() if labels}
    if not found:
        return "Every label varies within both groups: none is left out."
    parts = [
        f"in the group {group}: "
        + ", ".join(f"{label} ({count} of {len(records)} seeds)" for label, count in labels.items())
        for group, labels in found.items()
    ]
    return (
        "Left out of a group's importance, because they do not vary within it: "
        + "; ".join(parts)
        + "."
    )


def rate_factors(results: Results) -> pd.DataFrame:
    """Return by what the rate of the factors is multiplied so that first steps are equally long."""
    rows = []
    for key, records in results.items():
        if not key.endswith(", matched"):
            continue
        factors = [record.results["rate_factor"] for record in records]
        head, _, name = key.partition(": ")
        rows.append(
            {
                "head": {"target": "two classes", "labels": "one logit a label"}[head],
                "setting": CONTROL_NAMES[name],
                "factor, by seed": ", ".join(f"{factor:.3f}" for factor in factors),
            }
        )
    return pd.DataFrame(rows)


def group_sizes(results: Results, key: str = "tl") -> pd.DataFrame:
    """Return how many test images each group (t,p) has, and what that does to its accuracy.

    "half an interval" is 1.96 (0.25 / n)^(1/2), the half width of a 95 % interval for a rate of
    one half among n people: what the draw of the *people* leaves open, whatever the seeds say.
    """
    records = results.get(key, [])
    if not records:
        return pd.DataFrame()
    sizes = records[0].counts().sum(axis=2)  # the test part is the same for every seed
    return pd.DataFrame(
        [
            {
                "group (t,p)": f"({t},{p})",
                "test images": f"{sizes[t, p]:,}",
                "half an interval (points)": f"{100 * 1.96 * (0.25 / sizes[t, p]) ** 0.5:.1f}",
            }
            for t in (0, 1)
            for p in (0, 1)
        ]
    )


def decided(
    results: Results, quantities: Mapping[str, str], pairs: Sequence[tuple[str, str, str]]
) -> str:
    """Say of how many paired differences the 95 % interval lies on one side of zero.

    Parameters
    ----------
    results
        Records by setting.
    quantities
        quantity -> what it is called; smaller is better for each.
    pairs
        (label, first key, second key); the difference is first - second.
    """
    below, above, open_ = [], [], 0
    for label, first, second in pairs:
        if first not in results or second not in results:
            continue
        for quantity, name in quantities.items():
            both = [
                (value(a, quantity), value(b, quantity))
                for a, b in zip(results[first], results[second], strict=True)
            ]
            kept = [(a, b) for a, b in both if a is not None and b is not None]
            if len(kept) < MIN_SEEDS:
                open_ += 1
                continue
            interval = paired_interval([a for a, _ in kept], [b for _, b in kept])
            if interval.high < 0:
                below.append(f"{label}, {name}")
            elif interval.low > 0:
                above.append(f"{label}, {name}")
            else:
                open_ += 1
    total = len(below) + len(above) + open_
    parts = [f"Of {total} differences {open_} are undecided at 95 %"]
    for found, word in ((below, "below zero, in favour of the first"), (above, "above zero")):
        if found:
            parts.append(f"{len(found)} {'is' if len(found) == 1 else 'are'} {word} "
                         f"({'; '.join(found)})")  # fmt: skip
    chance = f"; by chance alone about {0.05 * total:.1f} would be decided"
    return ", ".join(parts) + (chance if below or above else "") + "."


def of_head(results: Results, head: str) -> Results:
    """Return the controls of one head, without its name in the keys."""
    begin = f"{head}: "
    return {k.removeprefix(begin): group for k, group in results.items() if k.startswith(begin)}
