"""Importance of the rows of a multi-label head: k logits, each with a sigmoid of its own.

The loss of one example is the sum of its labels' binary cross-entropies,
L = sum_j BCE(sigmoid(z_j), y_j). Zhang and Zhou (2024), arXiv 2403.00625, only have a softmax over
two classes (:mod:`repro.win.fisher`); their steps, the mean squared gradient of one example, shared
within a row and taken for each group, are kept as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from repro.win.fisher import check_finite, check_matrices, check_protected, row_importance


@dataclass(frozen=True)
class LabelledImportance:
    """Importance of the d rows for each protected group, and the labels that it leaves out.

    Attributes
    ----------
    first, second
        Importance (d,) on the examples with p=1 (the paper's s=1) and with p=0 (its s=2).
    left_out
        p -> the labels that do not vary within the group, in the order of the head.
    """

    first: Tensor
    second: Tensor
    left_out: dict[int, tuple[str, ...]]

    @property
    def groups(self) -> tuple[Tensor, Tensor]:
        """Both groups' importance, p=1 first."""
        return self.first, self.second


@torch.no_grad()
def multilabel_fisher(inputs: Tensor, logits: Tensor, target: Tensor) -> Tensor:
    """Compute the diagonal of the empirical Fisher information of a multi-label head's weight.

    The gradient of one example is an outer product, dL/dW = x (sigmoid(z) - y)^T, so that

        F = (X^2)^T (sigmoid(Z) - Y)^2 / n.

    Parameters
    ----------
    inputs
        Input of the head (its representation), shape (n, d), floating point.
    logits
        Output of the head for these inputs, shape (n, k), floating point, k >= 1. A bias, or none,
        shows in the logits alone.
    target
        Labels, shape (n, k), each 0 or 1.

    Returns
    -------
    torch.Tensor
        Shape (d, k), entries >= 0, in the dtype of ``inputs`` (float32 for half precision),
        detached from the graph. Column j is the information of label j alone.

    Raises
    ------
    ValueError
        If a shape does not fit, there are no examples, a type is wrong, a label is neither 0 nor
        1, or an input or logit is not finite.

    Notes
    -----
    Zhang and Zhou (2024), arXiv 2403.00625, section on weight importance neutralisation, for the
    sum of binary cross-entropies. Their mean over labels would divide F by k^2, which changes no
    ratio of importances.
    """
    _check(inputs, logits, target)
    # sigmoid(z) - y as (1 - 2y) sigmoid((1 - 2y) z): exact where the model is sure and right,
    # where subtracting from 1 would leave a gradient of zero.
    sign = 1 - 2 * target.double()
    residual = sign * torch.sigmoid(sign * logits.double())
    squares = inputs.to(torch.promote_types(inputs.dtype, torch.float32)).square()
    return squares.T @ residual.square().to(squares.dtype) / len(inputs)


def multilabel_importance(
    inputs: Tensor,
    logits: Tensor,
    target: Tensor,
    protected: Tensor,
    labels: Sequence[str] | None = None,
) -> LabelledImportance:
    """Compute the importance of each row for each protected group, I_i = sqrt(sum_j F_ij).

    A label that does not vary within a group (none of its examples has it, or all do) is left out
    of *that group's* sum over j, and named; the other group keeps it. What remains is not scaled
    up. Of such a label the group holds one kind of error only, so its Fisher information would
    measure a bias term, not what tells its examples apart; and once the head has learnt that the
    label is absent, that information is next to zero, so leaving it out moves the group's total
    little. Positive and negative are treated alike, because naming a label by its opposite leaves
    F as it is. The label of the protected attribute itself varies within neither group: a head
    that has it keeps it, but its importance plays no part.

    Parameters
    ----------
    inputs, logits, target
        As in :func:`multilabel_fisher`: shapes (n, d), (n, k), (n, k).
    protected
        Protected attribute p, shape (n,), values 0 or 1.
    labels
        Names of the k labels, for the message and for ``left_out``; "0", "1", ... by default.

    Returns
    -------
    LabelledImportance
        Each group's is a mean over its own examples, so the size of a group does not matter.

    Raises
    ------
    ValueError
        If a group has no example, or no label that varies within it; if ``protected`` or
        ``labels`` do not fit; or as in :func:`multilabel_fisher`.
    """
    _check(inputs, logits, target)
    names = _names(labels, logits.shape[1])
    check_protected(protected, len(target))
    found, left_out = {}, {}
    for p in (1, 0):
        group = protected == p
        if not group.any():
            raise ValueError(
                f"group (protected={p}) has no example: its importance cannot be estimated"
            )
        found[p], left_out[p] = _importance(
            inputs[group], logits[group], target[group], names, f"group (protected={p})"
        )
    return LabelledImportance(found[1], found[0], left_out)


def pooled_multilabel_importance(
    inputs: Tensor, logits: Tensor, target: Tensor, protected: Tensor
) -> Tensor:
    """Compute the importance (d,) on all examples at once, as if they were one group.

    The protected attribute only says which labels enter: those that vary within at least one of
    its groups, so that both ways of taking the importance see the same labels and differ in the
    pooling alone.

    Parameters and errors are those of :func:`multilabel_importance`.
    """
    _check(inputs, logits, target)
    check_protected(protected, len(target))
    groups = [target[protected == p] for p in (1, 0)]
    kept = torch.stack([_varies(group) for group in groups if len(group)]).any(dim=0)
    if not kept.any():
        raise ValueError("no label varies within a group: their importance cannot be estimated")
    return row_importance(multilabel_fisher(inputs, logits[:, kept], target[:, kept]))


def _varies(target: Tensor) -> Tensor:
    """Return which of the k labels (n, k) have both values, (k,) bool."""
    share = target.double().mean(dim=0)
    return (share > 0) & (share < 1)


def _importance(
    inputs: Tensor, logits: Tensor, target: Tensor, names: Sequence[str], who: str
) -> tuple[Tensor, tuple[str, ...]]:
    """Return the importance (d,) of labels that vary, and the names of those that do not."""
    varies = _varies(target)
    if not varies.any():
        raise ValueError(f"no label varies within {who}: its importance cannot be estimated")
    fisher = multilabel_fisher(inputs, logits[:, varies], target[:, varies])
    constant = torch.nonzero(~varies).flatten().tolist()
    return row_importance(fisher), tuple(names[j] for j in constant)


def _names(labels: Sequence[str] | None, k: int) -> Sequence[str]:
    if labels is not None and len(labels) != k:
        raise ValueError(f"labels must name the {k} outputs of the head, not {len(labels)}")
    return [str(j) for j in range(k)] if labels is None else labels


def _check(inputs: Tensor, logits: Tensor, target: Tensor) -> None:
    """Check that the three describe the same n >= 1 examples of a head with k >= 1 labels."""
    check_matrices(inputs, logits)
    if target.shape != logits.shape:
        raise ValueError(
            f"target must have the shape of logits {tuple(logits.shape)}, a column a label, "
            f"not {tuple(target.shape)}"
        )
    if len(inputs) != len(logits):
        raise ValueError(
            f"inputs and logits must have one length, not {len(inputs)} and {len(logits)}"
        )
    if logits.numel() == 0:
        raise ValueError("logits are empty: a mean over no example or no label")
    if not ((target == 0) | (target == 1)).all():
        raise ValueError("target must hold only 0 and 1")
    check_finite(inputs, logits)
