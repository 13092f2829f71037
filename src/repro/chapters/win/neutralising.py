"""Chapter 47: is it the neutralising? Controls of WIN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from repro.chapters.win.face_plans import Head, pretrained, tuned
from repro.data.registry import FACE_SETS
from repro.study.experiments import Plan, experiment
from repro.study.intervals import paired_interval
from repro.study.profiles import Profile
from repro.study.records import Results, value
from repro.study.rule import MIN_SEEDS

NOTEBOOK = "47_is_it_the_neutralising"

#: importances that are compared with the neutralised one, as keys name them
CONTROLS = ("group 1", "group 2", "pooled", "shuffled")


@experiment(NOTEBOOK, part="win-faces")
def controls(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Is it the neutralising? Controls on both heads; keys ``target: win, group 1``.

    For each head, at one rank (1 of two classes, the profile's of many labels): TL; f+SVD; WIN with
    the importance of one group, of all pooled, and shuffled; WIN and f+SVD at a matched rate; and
    the plain factors at full rank, at the same and at a matched rate, which cut nothing.
    """
    plan: Plan = {}
    win = profile.win.faces
    if win is None:
        return plan
    # A head has no rank above its inputs either: 8 x width of the narrow ResNets, more of others.
    labels = FACE_SETS[profile.faces.data.name].labels or max(win.label_ranks)
    labels = min(labels, 8 * profile.faces.width)
    heads: tuple[tuple[Head, int, int], ...] = (
        ("target", 1, 2),
        ("labels", win.control_rank, labels),
    )
    for head, rank, full in heads:
        bases = [pretrained(profile, seed, head=head) for seed in seeds]
        runs = {
            "tl": [tuned(profile, b, "tl") for b in bases],
            "svd": [tuned(profile, b, "svd", rank=rank) for b in bases],
            "win": [tuned(profile, b, "win", rank=rank) for b in bases],
            **{
                f"win, {kind}": [
                    tuned(profile, b, "win", rank=rank, importance=kind) for b in bases
                ]
                for kind in CONTROLS
            },
            "svd, matched": [tuned(profile, b, "svd", rank=rank, matched=True) for b in bases],
            "win, matched": [tuned(profile, b, "win", rank=rank, matched=True) for b in bases],
            "factors": [tuned(profile, b, "svd", rank=full) for b in bases],
            "factors, matched": [tuned(profile, b, "svd", rank=full, matched=True) for b in bases],
        }
        plan |= {f"{head}: {key}": list(configs) for key, configs in runs.items()}
    return plan


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
