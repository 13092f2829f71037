"""The fine-tuning strategies of Figure 4 and Table 3: which parameters train, from which start.

All strategies start from the same pre-trained model and read the same examples. Those that only
train the head (``tl``, ``svd``, ``win``) see the frozen layers' outputs, computed once.
"""

from __future__ import annotations

import copy

from torch import Tensor, nn

from repro.names import check_name
from repro.win.fisher import floor_importance, neutralise
from repro.win.lowrank import LowRankLinear

#: name -> what trains
STRATEGIES = {
    "tl": "the last layer as it is (TL)",
    "svd": "the last layer as two factors of a plain truncated SVD (f+SVD)",
    "win": "the last layer as two factors of the importance-weighted SVD (WIN)",
    "retrain": "every parameter, with or without a fairness regulariser (Retrain)",
}
HEAD_ONLY = ("tl", "svd", "win")


def head_for(
    strategy: str,
    head: nn.Linear,
    *,
    rank: int | None = None,
    importances: tuple[Tensor, Tensor] | None = None,
    weight: float | None = None,
    importance_floor: float = 0.0,
) -> tuple[nn.Module, list[int]]:
    """Return the head that a strategy trains, and the importance rows that were floored.

    Parameters
    ----------
    strategy
        ``tl``, ``svd`` or ``win``.
    head
        The pre-trained last layer, d inputs and k outputs; it is not changed.
    rank
        Of the two factors, 1 to min(d, k); for ``svd`` and ``win``.
    importances
        Row importances (d,) of the two protected groups, ``protected == 1`` first; for ``win``.
    weight
        a in I_N = a I_1 + (1 - a) I_2; 0.5 neutralises (Zhang and Zhou, 2024, Figure 5).
    importance_floor
        Relative to the largest importance; 0 lets a row of zeros be an error.

    Raises
    ------
    UnknownNameError
        For an unknown strategy.
    ValueError
        For a rank out of range, a missing setting, or importance rows that are zero.
    """
    check_name("strategy", strategy, HEAD_ONLY)
    if strategy == "tl":
        return copy.deepcopy(head).requires_grad_(True), []
    if rank is None:
        raise ValueError(f"strategy '{strategy}' needs a rank")
    if strategy == "svd":
        return LowRankLinear.from_linear(head, None, rank), []
    if importances is None or weight is None:
        raise ValueError("strategy 'win' needs the importances of both groups and a weight")
    importance = neutralise(*importances, weight=weight)
    importance, floored = floor_importance(importance, importance_floor)
    return LowRankLinear.from_linear(head, importance, rank), floored
