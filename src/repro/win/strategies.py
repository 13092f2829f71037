"""The fine-tuning strategies of Figure 4 and Table 3; all start from one pre-trained model."""

from __future__ import annotations

#: name -> what trains
STRATEGIES = {
    "tl": "the last layer as it is (TL)",
    "svd": "the last layer as two factors of a plain truncated SVD (f+SVD)",
    "win": "the last layer as two factors of the importance-weighted SVD (WIN)",
    "retrain": "every parameter, with or without a fairness regulariser (Retrain)",
}
