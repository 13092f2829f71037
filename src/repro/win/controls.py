"""Controls with the same budget, which tell the neutralising from the parametrisation.

WIN does three things at once: it cuts the head to a low rank, it lets importance choose what
survives the cut, and it trains two factors instead of one matrix. Each control changes one of them:

- another importance, same rank (:data:`IMPORTANCES`), where "none" is the plain SVD (f+SVD);
- the plain SVD at full rank, which cuts nothing: the factors alone;
- a learning rate at which the factors' first step is as long as that of the matrix
  (:mod:`repro.win.rates`).

Zhang and Zhou (2024), arXiv 2403.00625, compare with TL and f+SVD only.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor, nn

from repro.names import check_name
from repro.win.fisher import floor_importance, neutralise
from repro.win.lowrank import LowRankLinear

IMPORTANCES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "neutralised": "both groups alike (WIN)",
        "group 1": "the examples with protected = 1 only",
        "group 2": "the examples with protected = 0 only",
        "pooled": "all examples, whoever they are",
        "shuffled": "the neutralised importance, its rows permuted",
        "none": "all rows alike (f+SVD)",
    }
)
"""Name -> which examples the importance of the rows is taken from."""


def importance_of(
    kind: str,
    groups: tuple[Tensor, Tensor],
    pooled: Tensor,
    *,
    weight: float = 0.5,
    seed: int = 0,
) -> Tensor:
    """Return the importance of the rows that a control weights the head with.

    Parameters
    ----------
    kind
        One of :data:`IMPORTANCES`.
    groups
        Importance (d,) of the protected groups, p=1 (the paper's s=1) first.
    pooled
        Importance (d,) on all examples.
    weight
        a in I_N = a I_1 + (1 - a) I_2, for "neutralised" and "shuffled".
    seed
        Of the permutation, for "shuffled". It keeps the spread of the importance and destroys
        which row has which.

    Returns
    -------
    torch.Tensor
        Shape (d,), entries >= 0, a copy.

    Raises
    ------
    UnknownNameError
        For an unknown kind.
    ValueError
        If the shapes are not one and the same (d,), or ``weight`` is outside [0, 1].
    """
    check_name("importance", kind, IMPORTANCES)
    neutral = neutralise(*groups, weight=weight)
    if pooled.shape != neutral.shape:
        raise ValueError(
            f"pooled must have shape {tuple(neutral.shape)}, not {tuple(pooled.shape)}"
        )
    if kind == "neutralised":
        return neutral
    if kind == "shuffled":
        generator = torch.Generator().manual_seed(seed)
        return neutral[torch.randperm(len(neutral), generator=generator).to(neutral.device)]
    chosen = {"group 1": groups[0], "group 2": groups[1], "pooled": pooled}
    return chosen[kind].clone() if kind in chosen else torch.ones_like(neutral)


def factorised(
    head: nn.Linear,
    kind: str,
    groups: tuple[Tensor, Tensor],
    pooled: Tensor,
    *,
    rank: int | None = None,
    weight: float = 0.5,
    importance_floor: float = 0.0,
    seed: int = 0,
) -> tuple[LowRankLinear, list[int]]:
    """Return the head in two factors under one control, and the importance rows that were floored.

    Parameters
    ----------
    head
        The pre-trained last layer, d inputs and k outputs, with or without bias; not changed.
    kind, groups, pooled, weight, seed
        As in :func:`importance_of`.
    rank
        1 to min(d, k); None for the latter. At full rank A B = W whatever the importance, so that
        with kind "none" only the parametrisation differs from TL.
    importance_floor
        Relative to the largest importance; 0 lets a row of zeros be an error.

    Raises
    ------
    TypeError
        If the head is not an ``nn.Linear``.
    ValueError
        As in :func:`importance_of`, :func:`repro.win.fisher.floor_importance` and
        :func:`repro.win.lowrank.weighted_svd`.
    """
    importance = importance_of(kind, groups, pooled, weight=weight, seed=seed)
    importance, floored = floor_importance(importance, importance_floor)
    full = min(head.weight.shape) if isinstance(head, nn.Linear) else 1
    return LowRankLinear.from_linear(head, importance, rank or full), floored
