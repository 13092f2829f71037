"""Chapter 42: the weighted low-rank head, and how many parameters it has."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from repro.chapters.win import plans
from repro.data.schema import CATEGORICAL, CONTINUOUS, MAY_BE_MISSING
from repro.study.claims import Claim, Contrast
from repro.study.figures import GREY, MEN, WOMEN
from repro.study.profiles import Profile
from repro.study.runs import Record

NOTEBOOK = "42_weighted_svd"


def _sizes(profile: Profile) -> list[Contrast]:
    return [
        Contrast(
            "WIN (rank 1) against Retrain: trainable parameters",
            "win, rank 1",
            "retrain",
            "results:trainable_parameters",
            "less",
            reported=46 - 742,
            unit="parameters",
        )
    ]


def size_derivations(target: int, *, hidden: int = 10, classes: int = 2) -> list[str]:
    """Return the multi-layer perceptrons of ``hidden`` units with ``target`` parameters."""
    last = hidden * classes + classes
    found = []
    for layers in (2, 3, 4, 5):
        inputs, rest = divmod(target - last - (layers - 2) * (hidden + 1) * hidden - hidden, hidden)
        if rest == 0 and inputs > 0:
            found.append(f"{inputs} inputs and {layers} linear layers of width {hidden}")
    return found


def rank_for_size(target: int, *, hidden: int = 10, classes: int = 2) -> int | None:
    """Return the rank whose low-rank head has ``target`` trainable parameters, if there is one."""
    rank, rest = divmod(target - classes, hidden + classes)
    return rank if rest == 0 and 1 <= rank <= min(hidden, classes) else None


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


def head_figure(record: Record, head: np.ndarray, others: Mapping[str, Record]) -> Figure:
    """Draw the rows of a two-class head in the plane of its outputs, and the kept directions.

    Parameters
    ----------
    record
        A run of WIN, for the importance of the rows (the width of the lines).
    head
        Shape (d, 2).
    others
        Runs at rank 1 by name, whose kept direction is drawn.
    """
    importance = np.asarray(record.results["importance"]).mean(0)
    figure, axes = plt.subplots(figsize=(4.2, 4.2))
    reach = 1.15 * np.abs(head).max()
    for row, weight in zip(head, importance / importance.max(), strict=True):
        axes.plot([0, row[0]], [0, row[1]], color=GREY, linewidth=0.5 + 4 * weight)
    for (name, other), (colour, line) in zip(
        others.items(), ((MEN, "-"), (WOMEN, "--")), strict=False
    ):
        kept = np.asarray(other.results["start_B"][0]) * reach
        axes.plot([-kept[0], kept[0]], [-kept[1], kept[1]], line, color=colour, label=name)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="output 0", ylabel="output 1")
    axes.legend(fontsize="small", title="kept at rank 1")
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
