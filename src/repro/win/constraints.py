"""Fairness regularisers of the in-processing baselines.

The constraint of Zafar et al. (2015), "Fairness Constraints: Mechanisms for Fair Classification",
arXiv 1507.05259: the covariance between the protected attribute p and the signed
distance d(x) to the decision boundary,

    cov(p, d) = (1/n) sum_i (p_i - pbar) d_i  =  pbar (1 - pbar) (mean of d where p=1 - where p=0),

which stands in for the difference in positive rates because it is linear in a linear head's
weights; its absolute value is therefore convex in them. Zhang and Zhou (2024), arXiv 2403.00625,
Table 3, compare with such a regulariser at intensities 0.1, 0.5 and 0.9 without printing it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor


def signed_score(logits: Tensor) -> Tensor:
    """Return the signed score d(x) of the positive class, whose sign is the decision.

    Parameters
    ----------
    logits
        Two-class logits of shape (n, 2), or a single logit of shape (n,).

    Returns
    -------
    torch.Tensor
        Shape (n,): z1 - z0, or the single logit as it is.

    Raises
    ------
    ValueError
        If the shape is neither, n is 0, or the logits are not floating point.
    """
    two_classes = logits.ndim == 2 and logits.shape[1] == 2
    if not (two_classes or logits.ndim == 1) or not logits.is_floating_point():
        raise ValueError(
            "score must be floating point of shape (n, 2) or (n,), "
            f"not {logits.dtype} of shape {tuple(logits.shape)}"
        )
    if len(logits) == 0:
        raise ValueError("score is empty")
    return logits[:, 1] - logits[:, 0] if two_classes else logits


def demographic_parity_penalty(score: Tensor, protected: Tensor) -> Tensor:
    """Return the absolute covariance of the score and the protected attribute.

    Parameters
    ----------
    score
        Logits of shape (n, 2) or (n,), see :func:`signed_score`.
    protected
        Protected attribute p, shape (n,), values 0 or 1.

    Returns
    -------
    torch.Tensor
        Scalar >= 0, differentiable (subgradient 0 where it is 0). It is 0 for a batch in which a
        group is absent: a mini-batch may well lack one by chance, and then says nothing about the
        gap. A *data set* that lacks one is an error, which metrics and importance raise.

    Raises
    ------
    ValueError
        If the shapes do not fit or ``protected`` holds anything other than 0 and 1.

    Notes
    -----
    The decision boundary covariance of Zafar et al. (2015), arXiv 1507.05259.
    """
    d = signed_score(score)
    return _covariance(d, _binary("protected", protected, d)).abs()


def equalized_odds_penalty(score: Tensor, target: Tensor, protected: Tensor) -> Tensor:
    """Sum over t the absolute covariance within the examples of target t.

    The sum, because Delta_EO of Zhang and Zhou (2024), arXiv 2403.00625, is the sum of the TPR
    gap and the FPR gap.

    Parameters
    ----------
    score
        Logits of shape (n, 2) or (n,), see :func:`signed_score`.
    target, protected
        Target attribute t and protected attribute p, shape (n,), values 0 or 1.

    Returns
    -------
    torch.Tensor
        Scalar >= 0, differentiable. A target with fewer than two protected groups in the batch
        adds 0, for the reason given in :func:`demographic_parity_penalty`.

    Raises
    ------
    ValueError
        If the shapes do not fit or ``target`` or ``protected`` holds anything other than 0 and 1.

    Notes
    -----
    The covariance of Zafar et al. (2015), arXiv 1507.05259, taken within each
    target, with means of that target's examples.
    """
    d = signed_score(score)
    t = _binary("target", target, d)
    p = _binary("protected", protected, d)
    within = [_covariance(d[t == value], p[t == value]).abs() for value in (0, 1)]
    return within[0] + within[1]


PENALTIES: Final[Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]]] = MappingProxyType(
    {
        "dp": lambda score, target, protected: demographic_parity_penalty(score, protected),
        "eo": equalized_odds_penalty,
    }
)
"""Regularisers by name, all called as ``penalty(score, target, protected)``."""


def _covariance(d: Tensor, p: Tensor) -> Tensor:
    """Return the population covariance of d (n,) and p (n,), 0 where p does not vary."""
    if p.numel() == 0 or bool((p == p[0]).all()):
        return d[:0].sum()  # zero, and still part of the graph, so that backward() works
    return ((p - p.mean()) * d).mean()


def _binary(name: str, values: Tensor, score: Tensor) -> Tensor:
    """Check that ``values`` is 0/1 with one entry a score, and return it in the score's dtype."""
    if values.shape != score.shape:
        raise ValueError(f"{name} must have shape {tuple(score.shape)}, not {tuple(values.shape)}")
    if not torch.logical_or(values == 0, values == 1).all():
        raise ValueError(f"{name} must hold only 0 and 1")
    return values.to(dtype=score.dtype)
