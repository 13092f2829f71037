"""The selective mask: tensors that are sensitive to bias and insensitive to the domain gap.

The pre-trained model reads three sets of faces: biased real R, biased synthetic S1 and balanced
synthetic S2. Where the gradients of a parameter tensor on R and S1 agree, the tensor does not see
the domain gap; where those on S1 and S2 differ, it sees the bias (`repro.aimfair.gradients`). The
mask is what does both.

Source: Zhao et al. (2025), arXiv 2503.05665, section on selective mask generation, and the
released code (github.com/zengqunzhao/AIM-Fair).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from repro.tensors import check_same_tensors, listed


class EmptyMaskError(ValueError):
    """No tensor is in the mask: k is too small for the two rankings to overlap."""


class MaskSize(NamedTuple):
    """How much of a model the mask of one k holds; shares lie in [0, 1]."""

    k: int
    tensors: int
    share_of_tensors: float
    parameters: int
    share_of_parameters: float


def entry_k(domain: Mapping[str, float], fairness: Mapping[str, float]) -> dict[str, int]:
    """Return the smallest k whose mask holds each tensor.

    A tensor at place i by rising domain sensitivity and at place j by falling fairness
    sensitivity, counted from 1, is in the mask of k if and only if max(i, j) <= k. The masks are
    therefore nested: a larger k only adds tensors.

    Parameters
    ----------
    domain, fairness
        d and b by tensor name, from :func:`repro.aimfair.gradients.sensitivity`. Equal values are
        ranked in the order in which ``domain`` holds them, which is that of the tensors in the
        model.

    Returns
    -------
    dict
        Name -> k in 1 to the number of tensors, in the order of ``domain``.

    Raises
    ------
    ValueError
        If the two do not hold the same tensors, or none, or a sensitivity is not finite.
    """
    insensitive, sensitive = _ranked(domain, fairness)
    place = {name: i for i, name in enumerate(insensitive, start=1)}
    entered = {name: max(place[name], j) for j, name in enumerate(sensitive, start=1)}
    return {name: entered[name] for name in domain}


def _ranked(
    domain: Mapping[str, float], fairness: Mapping[str, float]
) -> tuple[list[str], list[str]]:
    """Return tensors by rising d and by falling b; sorting is stable, so ties stay in order."""
    check_same_tensors(domain, fairness)
    if not domain:
        raise ValueError("no tensor to rank")
    if bad := [n for n in domain if not abs(domain[n]) + abs(fairness[n]) < float("inf")]:
        raise ValueError(f"the sensitivity of {listed(bad)} is not finite")
    return sorted(domain, key=lambda n: domain[n]), sorted(domain, key=lambda n: -fairness[n])


def select_mask(
    domain: Mapping[str, float], fairness: Mapping[str, float], k: int
) -> frozenset[str]:
    """Select K = {k tensors of smallest d} intersected with {k tensors of largest b}.

    Of n tensors the mask holds max(1, 2k - n) to k: k is not the size of the mask.

    Parameters
    ----------
    domain, fairness
        As in :func:`entry_k`, with its rule for equal values.
    k
        1 to the number of tensors; the authors' runner has 55 (of 62 in ResNet-18).

    Returns
    -------
    frozenset
        Names of the tensors to train.

    Raises
    ------
    EmptyMaskError
        If the two sets of k share no tensor; the message gives the smallest k whose sets do.
    ValueError
        If k is not a whole number in that range, or :func:`entry_k` refuses its input.

    Notes
    -----
    Zhao et al. (2025), arXiv 2503.05665, section on selective mask generation.
    """
    insensitive, sensitive = _ranked(domain, fairness)
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= len(insensitive):
        raise ValueError(
            f"k must be a whole number in 1..{len(insensitive)}, the number of tensors, not {k!r}"
        )
    mask = frozenset(insensitive[:k]) & frozenset(sensitive[:k])
    if not mask:
        raise EmptyMaskError(
            f"k = {k} gives an empty mask: of the {k} tensors of smallest domain sensitivity and "
            f"the {k} of largest fairness sensitivity, 0 are the same. The smallest k with a mask "
            f"is {min(entry_k(domain, fairness).values())} (of {len(insensitive)})."
        )
    return mask


def mask_sizes(
    domain: Mapping[str, float], fairness: Mapping[str, float], parameters: Mapping[str, int]
) -> list[MaskSize]:
    """List how much of the model trains for every k: the paper counts tensors, not parameters.

    Parameters
    ----------
    domain, fairness
        As in :func:`entry_k`.
    parameters
        Name -> number of scalar parameters of each tensor.

    Returns
    -------
    list of MaskSize
        For k = 1 to the number of tensors, with zeros where the mask is empty; the fields name
        the columns in ``pandas.DataFrame(...)``. The last holds the whole model.

    Raises
    ------
    ValueError
        As in :func:`entry_k`, or if ``parameters`` holds other tensors.
    """
    entered = entry_k(domain, fairness)
    check_same_tensors(entered, parameters)
    n, total = len(entered), sum(parameters.values())
    sizes = []
    for k in range(1, n + 1):
        inside = [parameters[name] for name, first in entered.items() if first <= k]
        sizes.append(MaskSize(k, len(inside), len(inside) / n, sum(inside), sum(inside) / total))
    return sizes


def jaccard(first: Collection[object], second: Collection[object]) -> float:
    """Return the size of the intersection over that of the union, in [0, 1]; 1 for empty sets."""
    a, b = frozenset(first), frozenset(second)
    return len(a & b) / len(a | b) if a | b else 1.0
