"""What AIM-Fair's claims are made of: rows of its tables, words, and contrasts between runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from repro.study import aim_plans as plans
from repro.study.contrasts import Check, Contrast
from repro.study.judging import control
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.reported import aim_value
from repro.study.tables import known_values, points

ACC, WST, EO, STD = "accuracy", "worst_group_accuracy", "equalized_odds_max", "group_std"
#: The paper's metrics, in short for tables.
SHORT = {ACC: "ACC", WST: "WST", EO: "EO (max)", STD: "STD"}
BETTER = {ACC: "greater", WST: "greater", EO: "less", STD: "less"}

#: Rows of the paper's tables, by the keys of the plans.
TABLE_3 = {
    "erm": "Baseline (ERM)",
    "synthetic only": "Trained on synthetic data",
    "supplementation": "Data supplementation",
    "repairing": "Data repairing",
    "linear probing": "Linear probing",
    "fully fine-tuning": "Fully fine-tuning",
    "mask": "AIM-Fair",
}
TABLE_4 = {
    "cosine mask": "Selective fine-tuning (cosine similarity)",
    "mask": "AIM-Fair (absolute difference)",
}
#: What the paper calls the best of each kind.
BEST_IN_TABLE_4 = {
    "random": "Best random selection",
    "update": "Best sub-tuning (updating one block)",
    "freeze": "Best sub-tuning (freezing one block)",
}
FIGURE_2 = {"fully fine-tuning": "freeze none (fully fine-tuning)", "freeze fc": "freeze fc"} | {
    f"freeze layer{i}": f"freeze block-{i}" for i in (1, 2, 3, 4)
}
FIGURE_5 = {f"k {k}": f"top-k = {k}" for k in (40, 45, 50, 55, 60)}
TABLE_2 = {
    f"{percent} %, {key}": f"{name} @ {percent}% real"
    for percent in (50, 25, 10)
    for key, name in (("erm", "ERM"), ("mask", "AIM-Fair"))
}
WORDS = {
    "erm": "ERM",
    "synthetic only": "training on synthetic images",
    "supplementation": "data supplementation",
    "repairing": "data repairing",
    "linear probing": "linear probing",
    "fully fine-tuning": "full fine-tuning",
    "mask": "SFT",
    "cosine mask": "SFT with a cosine mask",
}

PAIRED = (
    "WST and EO are taken for each seed and paired; the paper takes the minimum of seed-averaged "
    "group accuracies"
)
#: The paper's main task: its differences set the margins where a task has none of its own.
MAIN_TASK = "celeba/Smiling/Male"


def task(profile: Profile) -> str:
    """Return the task as the reported numbers name it: ``dataset/target/protected``."""
    data = profile.faces.data
    return f"{data.name}/{data.target}/{data.protected}"


def difference(
    where: str, table: str, first: str | None, seconds: Sequence[str | None], metric: str
) -> float | None:
    """Return first - mean of seconds as the paper reports it for a task, or None."""
    names = [name for name in (first, *seconds) if name is not None]
    found = [aim_value(table, where, name, metric) for name in names]
    known = [number for number in found if number is not None]
    if len(known) < 1 + len(seconds) or len(known) < 2:
        return None
    return known[0] - sum(known[1:]) / len(seconds)


def versus(
    profile: Profile,
    first: str,
    second: str | tuple[str, ...],
    metrics: Sequence[str],
    *,
    table: str = "3",
    rows: tuple[str | None, str | tuple[str | None, ...] | None] = (None, None),
    slack: float = 0.0,
    words: str | None = None,
    kind: Literal["better", "no worse"] = "better",
) -> list[Contrast]:
    """Return the contrasts that say that ``first`` is better than ``second``, one for each metric.

    Parameters
    ----------
    table, rows
        Where the paper reports the two, as its rows are named.
    words
        What to call ``second``, if it is not one of `WORDS` or a key.
    """
    them = words or (WORDS.get(second, second) if isinstance(second, str) else " or ".join(second))
    others = rows[1] if isinstance(rows[1], tuple) else (rows[1],)
    return [
        Contrast(
            f"{WORDS.get(first, first)} against {them}: {SHORT[metric]}",
            first,
            second,
            metric,
            "greater" if BETTER[metric] == "greater" else "less",
            reported=difference(task(profile), table, rows[0], others, metric),
            elsewhere=difference(MAIN_TASK, table, rows[0], others, metric),
            slack=slack,
            kind=kind,
        )
        for metric in metrics
    ]


def best(
    profile: Profile,
    first: str,
    rivals: Sequence[str],
    *,
    table: str,
    rows: Mapping[str, str],
    slack: float = 0.0,
) -> list[Contrast]:
    """Return the contrasts of a setting with each rival, and last with their mean, by EO.

    Rivals are those that the paper has: it says nothing about others.
    """
    known = [key for key in rivals if key in rows and key != first]
    if not known:
        return []
    single = [
        contrast
        for key in known
        for contrast in versus(
            profile, first, key, (EO,), table=table, rows=(rows.get(first), rows[key]), slack=slack
        )
    ]
    together = versus(
        profile,
        first,
        tuple(known),
        (EO,),
        table=table,
        rows=(rows.get(first), tuple(rows[key] for key in known)),
        slack=slack,
        words="the mean of its rivals",
    )
    return [*single, *together]


# What must be so, or nothing is tested


def _mean(results: Results, key: str, metric: str) -> float:
    return float(np.mean(known_values(results[key], metric)))


def biased(profile: Profile) -> Check:
    """Return the check that the biased classifier is: at least half of the paper's EO."""
    row = TABLE_3["erm"]
    told = aim_value("3", task(profile), row, EO) or aim_value("3", MAIN_TASK, row, EO)
    assert told is not None  # the main task has it
    bound = told / 2

    def passes(results: Results) -> tuple[bool, str]:
        mean = _mean(results, "erm", EO)
        return mean >= bound, f"EO {points(mean)}, at least {points(bound)} (half of the paper's)"

    return Check("the biased classifier is biased", plans.strategies, ("erm",), passes)


def premise(profile: Profile) -> Check:
    """Return the check of AIM-Fair's premise: balanced synthetic images alone train a fairer one.

    In the paper its EO is a third of ERM's; half is asked for.
    """

    def passes(results: Results) -> tuple[bool, str]:
        alone, erm = (_mean(results, key, EO) for key in ("synthetic only", "erm"))
        return alone <= erm / 2, f"EO {points(alone)}, at most half of ERM's {points(erm)}"

    return Check(
        "a classifier of the balanced synthetic images alone is fair",
        plans.strategies,
        ("synthetic only", "erm"),
        passes,
    )


def reads(profile: Profile) -> Check:
    """Return the check that synthetic images teach the target: half of ERM's way from chance."""

    def passes(results: Results) -> tuple[bool, str]:
        alone, erm = (_mean(results, key, ACC) for key in ("synthetic only", "erm"))
        bound = 0.5 + (erm - 0.5) / 2
        return alone >= bound, f"ACC {points(alone)}, at least {points(bound)}"

    return Check(
        "a classifier of synthetic images alone tells the target in photographs",
        plans.strategies,
        ("synthetic only", "erm"),
        passes,
    )


def finds_fairness(profile: Profile) -> Check | None:
    """Return the positive control on embedded faces: balanced real images train a fairer one."""
    if profile.faces.data.name != "toyfaces":
        return None
    return control(
        "this set-up finds a fairness effect where there is one",
        plans.properties,
        Contrast("balanced real images against ERM: EO (max)", "balanced real", "erm", EO, "less"),
    )
