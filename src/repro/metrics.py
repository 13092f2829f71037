"""Accuracy and fairness metrics of a binary classifier, from the counts of its four groups.

Everything here is a function of one table, ``counts[t, p, yhat]``: how many examples with target
attribute t and protected attribute p were predicted yhat. A record that keeps the table keeps
every metric under every definition, without keeping the examples.

All metrics are fractions, never per cent. Equalised odds is always given with its aggregation,
because the three in use are different numbers: the *maximum* of the TPR gap and the FPR gap is
what the tables of AIM-Fair print (Zhao et al. 2025, arXiv 2503.05665) and fairlearn's default, the
*mean* is what the released code of AIM-Fair computes, and the *sum* is Delta_EO of Zhang and Zhou
(2024), arXiv 2403.00625.
"""

from __future__ import annotations

from typing import Final, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

METRICS: Final[tuple[str, ...]] = (
    "accuracy",
    "accuracy_t0_p0",
    "accuracy_t0_p1",
    "accuracy_t1_p0",
    "accuracy_t1_p1",
    "worst_group_accuracy",
    "group_std",
    "equalized_odds_max",
    "equalized_odds_mean",
    "equalized_odds_sum",
    "demographic_parity",
    "weighted_f1_error",
)
"""Names of the flat metrics, in the order of :func:`flatten_metrics`."""


class EqualizedOdds(TypedDict):
    """The gaps in TPR and in FPR between p=1 and p=0, aggregated in three ways."""

    max: float
    mean: float
    sum: float


class Metrics(TypedDict):
    """What :func:`group_metrics` returns; all values are fractions."""

    accuracy: float
    group_accuracy: NDArray[np.float64]
    worst_group_accuracy: float
    group_std: float
    equalized_odds: EqualizedOdds
    demographic_parity: float
    weighted_f1_error: float


def confusion_counts(
    target: ArrayLike, predicted: ArrayLike, protected: ArrayLike
) -> NDArray[np.int64]:
    """Count the examples of each (t, p, yhat).

    Parameters
    ----------
    target, predicted, protected
        Arrays of shape (n,), values 0 or 1 (bool, integer or float).

    Returns
    -------
    numpy.ndarray
        Counts of shape (2, 2, 2), int64, indexed ``[t, p, yhat]``. They add up to n.

    Raises
    ------
    ValueError
        If an array is empty, not one-dimensional or holds anything other than 0 and 1, or if
        their lengths differ. The message names the array.
    """
    arrays = {
        name: _binary(name, values)
        for name, values in (
            ("target", target),
            ("predicted", predicted),
            ("protected", protected),
        )
    }
    lengths = {name: len(array) for name, array in arrays.items()}
    for name, length in lengths.items():
        if length != lengths["target"]:
            raise ValueError(f"{name} has {length} examples, but target has {lengths['target']}")
    cell = 4 * arrays["target"] + 2 * arrays["protected"] + arrays["predicted"]
    return np.bincount(cell, minlength=8).reshape(2, 2, 2).astype(np.int64)


def group_metrics(target: ArrayLike, predicted: ArrayLike, protected: ArrayLike) -> Metrics:
    """Compute every metric from the predictions: ``metrics_from_counts(confusion_counts(...))``.

    Parameters
    ----------
    target, predicted, protected
        Arrays of shape (n,), values 0 or 1 (bool, integer or float).

    Returns
    -------
    Metrics
        See :func:`metrics_from_counts`.

    Raises
    ------
    ValueError
        As in :func:`confusion_counts` and :func:`metrics_from_counts`.
    """
    return metrics_from_counts(confusion_counts(target, predicted, protected))


def metrics_from_counts(counts: ArrayLike) -> Metrics:
    """Compute every metric from the table of counts.

    Parameters
    ----------
    counts
        Whole numbers, shape (2, 2, 2), indexed ``[t, p, yhat]``.

    Returns
    -------
    Metrics
        A dictionary of fractions:

        - ``accuracy``: over all examples;
        - ``group_accuracy``: array of shape (2, 2), indexed ``[t, p]``;
        - ``worst_group_accuracy``: its minimum;
        - ``group_std``: its population standard deviation, each group counting once, as in the
          tables of Zhao et al. (2025), arXiv 2503.05665;
        - ``equalized_odds``: ``max``, ``mean`` and ``sum`` of the TPR gap and the FPR gap;
        - ``demographic_parity``: ``|P(yhat=1|p=1) - P(yhat=1|p=0)|``;
        - ``weighted_f1_error``: 1 - F1 averaged over the two classes by their support, the Err
          of Zhang and Zhou (2024), arXiv 2403.00625, which prints it in per cent.

    Raises
    ------
    ValueError
        If the table has another shape, holds anything other than whole numbers of at least 0,
        or has an empty group: rates of an empty group do not exist, and reading them as 0 or 1
        would print a fairness that was never measured.
    """
    table = _whole_numbers(counts)
    group_size = table.sum(axis=2)
    empty = np.argwhere(group_size == 0)
    if len(empty):
        t, p = empty[0]
        raise ValueError(
            f"group (target={t}, protected={p}) is empty: "
            "every group needs at least one example to have an accuracy"
        )
    total = int(group_size.sum())

    positive_rate = table[:, :, 1] / group_size  # [t, p]: row 1 is the TPR, row 0 the FPR
    # Counted directly, not as 1 - FPR, so that a perfect group is exactly 1.
    correct = np.stack([table[0, :, 0], table[1, :, 1]])
    group_accuracy = correct / group_size
    gaps = np.abs(positive_rate[:, 1] - positive_rate[:, 0])  # (FPR gap, TPR gap)

    predicted_positive = table[:, :, 1].sum(axis=0) / group_size.sum(axis=0)  # [p]

    by_class = table.sum(axis=1)  # [t, yhat]
    support, predicted = by_class.sum(axis=1), by_class.sum(axis=0)
    # F1 = 2TP / (support + predicted). No group is empty, so support > 0 and the denominator is
    # never 0; a class that is never predicted gets 0, as with scikit-learn's zero_division=0.
    f1 = 2 * by_class.diagonal() / (support + predicted)

    return {
        "accuracy": float(correct.sum() / total),
        "group_accuracy": group_accuracy,
        "worst_group_accuracy": float(group_accuracy.min()),
        "group_std": float(group_accuracy.std()),
        "equalized_odds": {
            "max": float(gaps.max()),
            "mean": float(gaps.mean()),
            "sum": float(gaps.sum()),
        },
        "demographic_parity": float(abs(predicted_positive[1] - predicted_positive[0])),
        "weighted_f1_error": float(1 - (f1 * support).sum() / total),
    }


def flatten_metrics(metrics: Metrics) -> dict[str, float]:
    """Give every number a name of its own, for a table with one column a metric.

    Parameters
    ----------
    metrics
        What :func:`group_metrics` returns.

    Returns
    -------
    dict
        Fractions by name, exactly the names of :data:`METRICS`, in that order.
    """
    accuracy, odds = metrics["group_accuracy"], metrics["equalized_odds"]
    return {
        "accuracy": metrics["accuracy"],
        **{f"accuracy_t{t}_p{p}": float(accuracy[t, p]) for t in (0, 1) for p in (0, 1)},
        "worst_group_accuracy": metrics["worst_group_accuracy"],
        "group_std": metrics["group_std"],
        "equalized_odds_max": odds["max"],
        "equalized_odds_mean": odds["mean"],
        "equalized_odds_sum": odds["sum"],
        "demographic_parity": metrics["demographic_parity"],
        "weighted_f1_error": metrics["weighted_f1_error"],
    }


def _binary(name: str, values: ArrayLike) -> NDArray[np.int64]:
    """Check that ``values`` is a non-empty (n,) array of 0 and 1, and return it as int64."""
    try:
        array = np.asarray(values)
    except ValueError as error:  # a ragged list, which numpy's own message does not name
        raise ValueError(f"{name} is not a one-dimensional array: {error}") from error
    if array.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, but has shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name} is empty")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold numbers 0 and 1, but has type {array.dtype}")
    valid = (array == 0) | (array == 1)  # false for NaN
    if not valid.all():
        where = int(np.argmin(valid))
        raise ValueError(f"{name} must hold only 0 and 1, but {name}[{where}] is {array[where]}")
    return array.astype(np.int64)


def _whole_numbers(counts: ArrayLike) -> NDArray[np.int64]:
    """Check that ``counts`` is a (2, 2, 2) table of counts, and return it as int64."""
    try:
        table = np.asarray(counts)
    except ValueError as error:
        raise ValueError(f"counts is not a table: {error}") from error
    if table.shape != (2, 2, 2):
        raise ValueError(f"counts must have shape (2, 2, 2) [t, p, yhat], not {table.shape}")
    if table.dtype.kind not in "iuf":
        raise ValueError(f"counts must hold whole numbers, but has type {table.dtype}")
    if not (np.isfinite(table).all() and (table >= 0).all() and (table % 1 == 0).all()):
        raise ValueError(f"counts must be whole numbers of at least 0, not {table.tolist()}")
    return table.astype(np.int64)
