"""Splits that keep every group (t,p) in proportion.

The task split follows the Adult protocol of WIN: part of the data pre-trains the model, the rest
is a new task with its own training, validation and test part.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

PARTS = ("pretrain_train", "pretrain_validation", "task_train", "task_validation", "task_test")

TASK_SHARES = (12_287 / 27_602, 5_000 / 27_602, 10_315 / 27_602)
"""Training, validation and test share of the new task, from the paper's Table 1.

Its absolute sizes cannot be had: 12,287 + 5,000 + 10,315 = 27,602 is 40 % neither of the 48,842
records nor of the 45,222 complete ones. The proportions can, so they are what is kept.
"""


def task_split(
    target: ArrayLike,
    protected: ArrayLike,
    *,
    seed: int,
    pretrain_share: float = 0.6,
    validation_share_of_pretrain: float = 0.2,
    task_shares: tuple[float, float, float] = TASK_SHARES,
) -> dict[str, NDArray[np.int64]]:
    """Split records into the parts of pre-training and of the new task.

    Within each group the counts are rounded by the largest remainder, so each part has each
    group within one record of its share.

    Parameters
    ----------
    target, protected
        (n,) each value 0 or 1.
    seed
        Non-negative; the same seed gives the same split.
    pretrain_share
        Share of the records that pre-train, strictly between 0 and 1.
    validation_share_of_pretrain
        Share of those that validate, strictly between 0 and 1.
    task_shares
        Training, validation and test share of the rest; positive, sum 1.

    Returns
    -------
    dict
        For each of `PARTS` the sorted int64 positions; disjoint, together 0 to n - 1.

    Raises
    ------
    ValueError
        If an argument is out of its range, or a group is too small to be in every part.
    """
    target, protected = _labels("target", target), _labels("protected", protected)
    if len(target) != len(protected):
        raise ValueError(f"{len(target)} target values but {len(protected)} protected ones")
    if seed < 0:
        raise ValueError(f"seed must not be negative, it is {seed}")
    shares = _part_shares(pretrain_share, validation_share_of_pretrain, task_shares)
    pieces: list[list[NDArray[np.int64]]] = [[] for _ in PARTS]
    for t, p in ((0, 0), (0, 1), (1, 0), (1, 1)):
        members = np.flatnonzero((target == t) & (protected == p)).astype(np.int64)
        counts = _largest_remainder(len(members), shares)
        if (counts == 0).any():
            enough = math.ceil(1 / shares.min())
            raise ValueError(
                f"group ({t},{p}) has {len(members)} records, too few for one in each of the "
                f"{len(PARTS)} parts ({PARTS[int(counts.argmin())]} would have none); "
                f"{enough} are enough"
            )
        # A generator for each group: its draw does not depend on the size of the others.
        shuffled = np.random.default_rng([seed, t, p]).permutation(members)
        for piece, chosen in zip(pieces, np.split(shuffled, counts.cumsum()[:-1]), strict=True):
            piece.append(chosen)
    return {part: np.sort(np.concatenate(piece)) for part, piece in zip(PARTS, pieces, strict=True)}


def _labels(name: str, values: ArrayLike) -> NDArray[np.generic]:
    array = np.asarray(values)
    if array.ndim != 1 or not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name} must be one-dimensional, each value 0 or 1")
    return array


def _part_shares(
    pretrain: float, validation: float, task: tuple[float, float, float]
) -> NDArray[np.float64]:
    for name, share in (
        ("pretrain_share", pretrain),
        ("validation_share_of_pretrain", validation),
    ):
        if not 0 < share < 1:
            raise ValueError(f"{name} must lie strictly between 0 and 1, it is {share}")
    if len(task) != 3 or not all(share > 0 for share in task) or not math.isclose(sum(task), 1):
        raise ValueError(f"task_shares must be three positive numbers with sum 1, not {task}")
    return np.array(
        [
            pretrain * (1 - validation),
            pretrain * validation,
            *((1 - pretrain) * share for share in task),
        ]
    )


def _largest_remainder(n: int, shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """(k,) whole counts with sum n, each the quota n * share rounded down or up."""
    quotas = n * shares
    counts = np.floor(quotas).astype(np.int64)
    by_remainder = np.argsort(counts - quotas, kind="stable")
    counts[by_remainder[: n - counts.sum()]] += 1
    return counts
