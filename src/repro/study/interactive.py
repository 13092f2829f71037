"""Something to play with: thresholds for two groups, and every metric as they move.

The page carries its own small script and the histogram of a real run's scores, so it works in the
built book and offline; nothing is loaded from elsewhere.
"""

from __future__ import annotations

import json
from importlib.resources import files

import numpy as np
import pandas as pd

from repro.study.tables import Html

BINS = 100


def score_histogram(predictions: pd.DataFrame) -> np.ndarray:
    """Count scores in 100 equal bins for each group.

    Parameters
    ----------
    predictions
        Columns target, protected (0/1) and score in [0, 1], as in ``predictions.parquet``.

    Returns
    -------
    numpy.ndarray
        Shape (2, 2, 100), indexed [t, p, bin]; a score on an edge belongs to the bin above it.
    """
    counts = np.zeros((2, 2, BINS), dtype=int)
    score = predictions["score"].to_numpy(dtype=float)
    if not ((score >= 0) & (score <= 1)).all():
        raise ValueError("scores must lie in [0, 1]")
    at = np.minimum((score * BINS).astype(int), BINS - 1)
    np.add.at(counts, (predictions["target"], predictions["protected"], at), 1)
    return counts


def threshold_playground(predictions: pd.DataFrame, caption: str) -> Html:
    """Return a panel with one threshold for each protected group and the metrics that follow.

    Parameters
    ----------
    predictions
        As in :func:`score_histogram`.
    caption
        What the scores are of.
    """
    template = (files("repro.study") / "playground.html").read_text(encoding="utf-8")
    data = {"counts": score_histogram(predictions).tolist(), "caption": caption}
    # Whatever the caption holds: "</script" would end the element, "<!--" change how it ends.
    return Html(template.replace("__DATA__", json.dumps(data).replace("<", "\\u003c")))
