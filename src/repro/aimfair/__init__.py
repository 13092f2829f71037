"""AIM-Fair: selective fine-tuning on synthetic faces (Zhao et al., CVPR 2025, arXiv 2503.05665).

In the order of the method: how gradients differ between sets of faces (:mod:`.gradients`), which
tensors are therefore sensitive to bias and not to the domain gap (:mod:`.mask`), every strategy of
fine-tuning that the paper compares (:mod:`.strategies`), on which images it trains
(:mod:`.composition`) and which tensors (:mod:`.finetune`). What a tensor is, by its name, is in
:mod:`.tensors`.
"""

from repro.aimfair.composition import compose
from repro.aimfair.finetune import blocks, freeze_all_but, frozen_batchnorm, trainable_tensors
from repro.aimfair.gradients import mean_gradients, sensitivity
from repro.aimfair.mask import (
    EmptyMaskError,
    MaskSize,
    entry_k,
    jaccard,
    mask_sizes,
    select_mask,
)
from repro.aimfair.strategies import STRATEGIES, Strategy
from repro.aimfair.tensors import block_of, kind_of

__all__ = [
    "STRATEGIES",
    "EmptyMaskError",
    "MaskSize",
    "Strategy",
    "block_of",
    "blocks",
    "compose",
    "entry_k",
    "freeze_all_but",
    "frozen_batchnorm",
    "jaccard",
    "kind_of",
    "mask_sizes",
    "mean_gradients",
    "select_mask",
    "sensitivity",
    "trainable_tensors",
]
