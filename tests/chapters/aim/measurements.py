"""Made-up measurements of six tensors, and their masks by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from repro.study.runs import Record

# Six tensors of four blocks, and how many scalar parameters each has.
TENSORS = {
    "conv1.weight": (10, "conv"),
    "bn1.weight": (2, "batchnorm weight"),
    "layer1.0.conv1.weight": (30, "conv"),
    "layer1.0.bn1.bias": (2, "batchnorm bias"),
    "fc.weight": (8, "linear weight"),
    "fc.bias": (1, "linear bias"),
}
NAMES = list(TENSORS)
#: By d: conv1, bn1, layer1 conv, layer1 bn, fc weight, fc bias; by b the other way round but one.
DOMAIN = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
FAIRNESS = [0.1, 0.9, 0.3, 0.4, 0.5, 0.6]
#: The smallest k whose mask holds each, by hand: the later of its two places.
ENTERS = [6, 2, 5, 4, 5, 6]


def measured(
    seed: int = 0,
    *,
    draws: Sequence[tuple[Sequence[float], Sequence[float]]] = ((DOMAIN, FAIRNESS),),
    cosine: tuple[Sequence[float], Sequence[float]] = (FAIRNESS, DOMAIN),
) -> Record:
    """Make up a measurement: (d, b) of each draw, and those by cosine."""
    results = {
        "tensors": NAMES,
        "parameters": [n for n, _ in TENSORS.values()],
        "kinds": [kind for _, kind in TENSORS.values()],
        "draws": [
            {
                "absolute": {"domain": list(d), "fairness": list(b)},
                "cosine": {"domain": list(cosine[0]), "fairness": list(cosine[1])},
            }
            for d, b in draws
        ],
    }
    return Record({"run": f"m{seed}", "config": {"seed": seed}, "results": results})


def random_measurement(seed: int, draws: int = 2) -> Record:
    """Make up a measurement of random sensitivities."""
    rng = np.random.default_rng(seed)
    pairs = [(rng.uniform(size=6), rng.uniform(size=6)) for _ in range(draws)]
    return measured(seed, draws=pairs, cosine=(rng.uniform(size=6), rng.uniform(size=6)))


def mask_by_hand(record: Record, k: int, *, kind: str = "absolute", draw: int = 0) -> set[str]:
    """Return what is among the ``k`` of smallest d and among the ``k`` of largest b.

    Of equal values the first counts: the last bias of a residual block has the gradient of its
    shortcut's.
    """
    values, names = record.results["draws"][draw][kind], record.results["tensors"]
    low = {names[i] for i in np.argsort(values["domain"], kind="stable")[:k]}
    high = {names[i] for i in np.argsort(np.negative(values["fairness"]), kind="stable")[:k]}
    return low & high


def jaccard_by_hand(a: set[str], b: set[str]) -> float:
    """Return how alike two sets are: 1 the same, 0 disjoint."""
    return len(a & b) / len(a | b) if a | b else 1.0
