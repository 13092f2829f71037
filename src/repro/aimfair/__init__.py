"""AIM-Fair: selective fine-tuning on synthetic faces (Zhao et al., CVPR 2025, arXiv 2503.05665).

In the order of the method: which tensors are sensitive to bias and not to the domain gap
(:mod:`.mask`), and every strategy of fine-tuning that the paper compares, as a rule for which
tensors train on which data (:mod:`.finetune`).
"""

from repro.aimfair.finetune import (
    STRATEGIES,
    Strategy,
    blocks,
    compose,
    freeze_all_but,
    frozen_batchnorm,
    trainable_tensors,
)
from repro.aimfair.mask import (
    EmptyMaskError,
    MaskSize,
    agreement,
    entry_k,
    jaccard,
    mask_sizes,
    mean_gradients,
    select_mask,
    sensitivity,
    smallest_k,
)
from repro.aimfair.tensors import block_of, kind_of

__all__ = [
    "STRATEGIES",
    "EmptyMaskError",
    "MaskSize",
    "Strategy",
    "agreement",
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
    "smallest_k",
    "trainable_tensors",
]
