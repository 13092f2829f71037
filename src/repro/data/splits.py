"""Splits that set the share of every group (t,p).

The task split follows the Adult protocol of WIN: part of the data pre-trains the model, the rest
is a new task with its own training, validation and test part, and every part keeps the groups in
proportion. The biased split is AIM-Fair's: it makes two of the groups small. Data sets without an
official partition get theirs from their names.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

GROUPS = ((0, 0), (0, 1), (1, 0), (1, 1))
PARTS = ("pretrain_train", "pretrain_validation", "task_train", "task_validation", "task_test")

TASK_SHARES = (12_287 / 27_602, 5_000 / 27_602, 10_315 / 27_602)
"""Training, validation and test share of the new task, from the paper's Table 1.

Its absolute sizes cannot be had: 12,287 + 5,000 + 10,315 = 27,602 is 40 % neither of the 48,842
records nor of the 45,222 complete ones. The proportions can, so they are what is kept.
"""

# 60 % of the records pre-train, a fifth of them by validating; the rest is the new task.
_SHARES = np.array([0.6 * (1 - 0.2), 0.6 * 0.2, *((1 - 0.6) * share for share in TASK_SHARES)])


def task_split(
    target: ArrayLike, protected: ArrayLike, *, seed: int
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

    Returns
    -------
    dict
        For each of `PARTS` the sorted int64 positions; disjoint, together 0 to n - 1.

    Raises
    ------
    ValueError
        If an argument is out of its range, or a group is too small to be in every part.
    """
    if seed < 0:
        raise ValueError(f"seed must not be negative, it is {seed}")
    pieces: list[list[NDArray[np.int64]]] = [[] for _ in PARTS]
    for (t, p), members in _groups(target, protected).items():
        counts = _largest_remainder(len(members), _SHARES)
        if (counts == 0).any():
            enough = math.ceil(1 / _SHARES.min())
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


def biased_split(
    target: ArrayLike, protected: ArrayLike, total: int, *, bias_ratio: float | None = 1 / 9
) -> NDArray[np.int64]:
    """Choose the training examples of AIM-Fair's biased benchmark (its section 4.1).

    Of each group the first ones in index order are taken: ``bias_ratio`` as many of (0,0) and
    (1,1) as of (0,1) and (1,0). With ratio r a small group has the share r / (2 (1 + r)) of
    ``total``, rounded to the nearest whole number (a half up); the two large groups share what
    is left, an odd example going to (0,1). 20,000 at 1/9: 1,000 / 9,000 / 9,000 / 1,000. Without
    a ratio every group keeps its share, rounded by the largest remainder.

    Parameters
    ----------
    target, protected
        (n,) each value 0 or 1.
    total
        How many examples.
    bias_ratio
        Small over large, above 0 and at most 1; 1 makes a balanced set. None: as the data are.

    Returns
    -------
    (total,) int64
        Positions, ascending.

    Raises
    ------
    ValueError
        If an argument is out of its range, ``total`` leaves a group empty, or a group has fewer
        examples than it needs; the message then gives the largest total that fits.
    """
    members = list(_groups(target, protected).values())
    there = [len(group) for group in members]
    if bias_ratio is None:
        counts, where = _as_they_are(there, total), "as the data are"
    else:
        _check_ratio(bias_ratio)
        counts, where = biased_counts(total, bias_ratio), f"at bias ratio {bias_ratio:.4g}"
    if min(counts) < 1:
        raise ValueError(
            f"{total} examples {where} leave a group without any ({_in_words(counts)}); ask for "
            "more"
        )
    if any(has < needs for has, needs in zip(there, counts, strict=True)):
        whole = sum(there) if bias_ratio is None else _largest_total(there, bias_ratio, total)
        advice = f"{whole} is the largest total that fits" if whole else "no total fits"
        raise ValueError(
            f"{total} examples {where} need {_in_words(counts)}, but "
            f"there are {_in_words(there)}; {advice}"
        )
    first = [group[:needs] for group, needs in zip(members, counts, strict=True)]
    return np.sort(np.concatenate(first))


def largest_biased_total(
    target: ArrayLike, protected: ArrayLike, *, bias_ratio: float = 1 / 9
) -> int:
    """Return the largest total that :func:`biased_split` can choose, 0 if there is none.

    Parameters
    ----------
    target, protected
        (n,) each value 0 or 1.
    bias_ratio
        Small over large, above 0 and at most 1.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    """
    _check_ratio(bias_ratio)
    there = [len(group) for group in _groups(target, protected).values()]
    return _largest_total(there, bias_ratio, sum(there) + 1)


def named_parts(
    keys: Iterable[str], shares: Mapping[str, float], *, salt: str
) -> NDArray[np.generic]:
    """Assign examples to parts by their keys: the same key always comes to the same part.

    The sha256 of a key is read as a number in [0, 1) that is compared with the cumulated shares.
    So no seed is needed, a part does not change when examples are added or missing, and
    examples with a common key (the images of one person) stay together.

    Parameters
    ----------
    keys
        n keys.
    shares
        Share of every part; positive, sum 1. The parts of few keys differ from it by chance.
    salt
        Name of the data set, hashed before each key.

    Returns
    -------
    (n,) str
        The name of a part for each key.

    Raises
    ------
    ValueError
        If the shares are not positive with sum 1.
    """
    values = np.array([*shares.values()], dtype=float)
    if not len(values) or (values <= 0).any() or not math.isclose(values.sum(), 1):
        raise ValueError(f"shares must be positive with sum 1, not {dict(shares)}")
    digests = b"".join(hashlib.sha256(f"{salt}/{key}".encode()).digest()[:8] for key in keys)
    places = np.frombuffer(digests, dtype=">u8") / 2.0**64
    # Without the last bound, so that rounding leaves no key beyond it.
    return np.array([*shares])[np.searchsorted(values.cumsum()[:-1], places, side="right")]


def group_numbers(target: ArrayLike, protected: ArrayLike, *, of: str = "") -> NDArray[np.int64]:
    """Return the number 2 t + p of each example's group (t,p), its place in `GROUPS`, (n,).

    Raises
    ------
    ValueError
        If the labels are not n values 0 or 1 each; ``of`` says whose they are.
    """
    t, p = np.asarray(target), np.asarray(protected)
    whose = f"{of} " if of else ""
    for name, values in (("target", t), ("protected", p)):
        if values.ndim != 1 or not np.isin(values, (0, 1)).all():
            raise ValueError(f"{whose}{name} must be one-dimensional, each value 0 or 1")
    if len(t) != len(p):
        raise ValueError(
            f"{f'{of}: ' if of else ''}{len(t)} target values but {len(p)} protected ones"
        )
    return 2 * t.astype(np.int64) + p.astype(np.int64)


def _check_ratio(ratio: float) -> None:
    if not 0 < ratio <= 1:
        raise ValueError(f"bias_ratio must be above 0 and at most 1, it is {ratio}")


def biased_counts(total: int, ratio: float) -> list[int]:
    """Return how many of ``total`` examples :func:`biased_split` takes of each of `GROUPS`."""
    # The tiny term keeps an exact half a half: 1 / 9 and the like are not exact in binary.
    small = math.floor(total * ratio / (2 * (1 + ratio)) + 0.5 + 1e-9)
    left = total - 2 * small
    return [small, left - left // 2, left // 2, small]


def _as_they_are(there: list[int], total: int) -> list[int]:
    """Return how many of ``total`` examples are of each group if it keeps its share."""
    shares = np.array(there) / max(sum(there), 1)
    return [int(n) for n in _largest_remainder(total, shares)]


def _largest_total(there: list[int], ratio: float, below: int) -> int:
    """Return the largest total under ``below`` that the groups have examples for, or 0."""
    small = ratio / (2 * (1 + ratio))
    # Rounding moves a count by less than 2, so nothing above this bound can fit.
    bound = min(
        (has + 2) / share
        for has, share in zip(there, (small, 0.5 - small, 0.5 - small, small), strict=True)
    )
    for total in range(min(below - 1, math.ceil(bound)), 0, -1):
        counts = biased_counts(total, ratio)
        if min(counts) >= 1 and all(h >= c for h, c in zip(there, counts, strict=True)):
            return total
    return 0


def _in_words(counts: list[int]) -> str:
    return ", ".join(f"{n} of ({t},{p})" for n, (t, p) in zip(counts, GROUPS, strict=True))


def _groups(target: ArrayLike, protected: ArrayLike) -> dict[tuple[int, int], NDArray[np.int64]]:
    """Return the positions of the examples of each group, ascending."""
    number = group_numbers(target, protected)
    return {g: np.flatnonzero(number == 2 * g[0] + g[1]).astype(np.int64) for g in GROUPS}


def _largest_remainder(n: int, shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """(k,) whole counts with sum n, each the quota n * share rounded down or up."""
    quotas = n * shares
    counts = np.floor(quotas).astype(np.int64)
    by_remainder = np.argsort(counts - quotas, kind="stable")
    counts[by_remainder[: n - counts.sum()]] += 1
    return counts
