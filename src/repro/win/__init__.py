"""WIN: weight importance neutralisation (Zhang and Zhou, 2024, arXiv 2403.00625).

In the order of the method: the importance of the head's rows to each group (:mod:`.fisher`),
the low-rank head that treats both groups' importance alike (:mod:`.lowrank`), and the fairness
regularisers of the in-processing baselines that it is compared with (:mod:`.constraints`).
"""

from repro.win.constraints import (
    PENALTIES,
    Penalty,
    demographic_parity_penalty,
    equalized_odds_penalty,
    signed_score,
)
from repro.win.fisher import (
    floor_importance,
    group_importance,
    linear_fisher,
    neutralise,
    row_importance,
)
from repro.win.lowrank import (
    LowRankLinear,
    plain_svd,
    weighted_svd,
)

__all__ = [
    "PENALTIES",
    "LowRankLinear",
    "Penalty",
    "demographic_parity_penalty",
    "equalized_odds_penalty",
    "floor_importance",
    "group_importance",
    "linear_fisher",
    "neutralise",
    "plain_svd",
    "row_importance",
    "signed_score",
    "weighted_svd",
]
