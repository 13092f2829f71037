"""WIN: weight importance neutralisation (Zhang and Zhou, 2024, arXiv 2403.00625).

In the order of the method: the importance of the head's rows to each group (:mod:`.fisher`),
the low-rank head that treats both groups' importance alike (:mod:`.lowrank`), and the fairness
regularisers of the in-processing baselines that it is compared with (:mod:`.constraints`). For
images: frozen features (:mod:`.features`), multi-label heads (:mod:`.multilabel`), and what tells
neutralising from parametrisation: controls (:mod:`.controls`), matched learning rates
(:mod:`.rates`), angles between what is kept (:mod:`.angles`).
"""

from repro.win.angles import factor_angles, principal_angles
from repro.win.constraints import (
    PENALTIES,
    Penalty,
    demographic_parity_penalty,
    equalized_odds_penalty,
    signed_score,
)
from repro.win.controls import IMPORTANCES, factorised, importance_of
from repro.win.features import backbone_digest, image_features
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
from repro.win.multilabel import (
    LabelledImportance,
    multilabel_fisher,
    multilabel_importance,
    pooled_multilabel_importance,
)
from repro.win.rates import first_step, rate_factor

__all__ = [
    "IMPORTANCES",
    "PENALTIES",
    "LabelledImportance",
    "LowRankLinear",
    "Penalty",
    "backbone_digest",
    "demographic_parity_penalty",
    "equalized_odds_penalty",
    "factor_angles",
    "factorised",
    "first_step",
    "floor_importance",
    "group_importance",
    "image_features",
    "importance_of",
    "linear_fisher",
    "multilabel_fisher",
    "multilabel_importance",
    "neutralise",
    "plain_svd",
    "pooled_multilabel_importance",
    "principal_angles",
    "rate_factor",
    "row_importance",
    "signed_score",
    "weighted_svd",
]
