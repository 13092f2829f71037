"""Importance of the rows of the last layer's weight, for each protected group.

A head with weight W (d x k, input-major: the transpose of torch's layout) and bias b maps the
representation x (d,) to the logits z = xW + b. The empirical Fisher information of a weight is the
mean squared gradient of the loss of one example. Weights of one row, those that read the same
input, share one importance, so that a group has d numbers.

Source: Zhang and Zhou (2024), arXiv 2403.00625, section on weight importance neutralisation.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


@torch.no_grad()
def linear_fisher(inputs: Tensor, logits: Tensor, target: Tensor) -> Tensor:
    """Compute the diagonal of the empirical Fisher information of a linear head's weight.

    For softmax cross-entropy the gradient of one example is an outer product,
    dL/dW = x (softmax(z) - onehot(y))^T. Its square is the outer product of the squares, so that
    the mean over all examples is one matrix product and no gradient is ever formed:

        F = (X^2)^T (softmax(Z) - onehot(y))^2 / n.

    Parameters
    ----------
    inputs
        Input of the head (its representation), shape (n, d), floating point.
    logits
        Output of the head for these inputs, shape (n, k), floating point, k >= 2.
    target
        Class of each example, shape (n,), int64 in 0..k-1.

    Returns
    -------
    torch.Tensor
        Shape (d, k), entries >= 0, in the dtype of ``inputs`` (float32 for half precision, where
        squares overflow), detached from the graph.

    Raises
    ------
    ValueError
        If a shape does not fit, there are no examples, a type is wrong, a target is no class, or
        an input or logit is not finite.

    Notes
    -----
    Zhang and Zhou (2024), arXiv 2403.00625, section on weight importance neutralisation:
    I = (1/N) sum_i
    (dL_i/dtheta)^2. The mean is over examples: the gradient of the *mean* loss, squared, is
    another quantity, and goes to zero as training converges.
    """
    _check_head(inputs, logits, target)
    n, classes = logits.shape
    # In float64, because softmax - 1 cancels where the model is confident: in float32 such an
    # example would have a gradient of exactly zero, and a row that only it reads no importance.
    residual = logits.double().softmax(dim=1) - functional.one_hot(target, classes)
    squares = inputs.to(torch.promote_types(inputs.dtype, torch.float32)).square()
    return squares.T @ residual.square().to(squares.dtype) / n


def row_importance(fisher: Tensor) -> Tensor:
    """Compute the importance that the weights of a row share: I_i = sqrt(sum_j F_ij).

    Parameters
    ----------
    fisher
        Fisher information of the weight, shape (d, k), from :func:`linear_fisher`.

    Returns
    -------
    torch.Tensor
        Shape (d,), entries >= 0; the diagonal of the paper's I_s.

    Raises
    ------
    ValueError
        If ``fisher`` is not a matrix, or holds a negative or non-finite entry.

    Notes
    -----
    Zhang and Zhou (2024), arXiv 2403.00625, section on weight importance neutralisation.
    Sharing importance within a row is what gives the weighted low-rank problem a closed form, see
    :func:`repro.win.lowrank.weighted_svd`.
    """
    if fisher.ndim != 2:
        raise ValueError(f"fisher must have shape (d, k), not {tuple(fisher.shape)}")
    if not fisher.isfinite().all() or (fisher < 0).any():
        raise ValueError("fisher holds a negative or non-finite entry: it is a mean of squares")
    return fisher.sum(dim=1).sqrt()


def neutralise(first: Tensor, second: Tensor, weight: float = 0.5) -> Tensor:
    """Mix the importance of the two groups: I_N = weight * first + (1 - weight) * second.

    Parameters
    ----------
    first, second
        Importance for the groups s=1 and s=2, shape (d,), from :func:`group_importance`.
    weight
        Share of the first group in [0, 1]. WIN is 0.5, the ablation of Figure 5 sweeps
        [0.5, 1).

    Returns
    -------
    torch.Tensor
        Neutralised importance, shape (d,).

    Raises
    ------
    ValueError
        If ``weight`` is outside [0, 1] or the shapes are not one and the same (d,).

    Notes
    -----
    Zhang and Zhou (2024), arXiv 2403.00625, section on weight importance neutralisation and
    Figure 5. What is averaged is the square root of the Fisher information, so the result differs
    from the importance on the pooled examples.
    """
    if not 0 <= weight <= 1:  # also refuses NaN
        raise ValueError(f"weight must lie in [0, 1], not {weight}")
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(
            "first and second must have one shape (d,), not "
            f"{tuple(first.shape)} and {tuple(second.shape)}"
        )
    return weight * first + (1 - weight) * second


def group_importance(
    inputs: Tensor, logits: Tensor, target: Tensor, protected: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute the importance of each row of the head's weight for each protected group.

    Parameters
    ----------
    inputs, logits, target
        As in :func:`linear_fisher`: shapes (n, d), (n, k), (n,).
    protected
        Protected attribute p, shape (n,), values 0 or 1.

    Returns
    -------
    first, second : torch.Tensor
        Importance of shape (d,) on the examples with p=1 (the paper's s=1) and with p=0 (its
        s=2). Each is a mean over its own group, so the size of a group does not matter.

    Raises
    ------
    ValueError
        If one of the groups has no example, ``protected`` holds anything other than 0 and 1, or
        :func:`linear_fisher` refuses its input.
    """
    _check_head(inputs, logits, target)
    check_protected(protected, len(target))
    importance = []
    for p in (1, 0):
        group = protected == p
        if not group.any():
            raise ValueError(
                f"group (protected={p}) has no example: its importance cannot be estimated"
            )
        fisher = linear_fisher(inputs[group], logits[group], target[group])
        importance.append(row_importance(fisher))
    return importance[0], importance[1]


def floor_importance(importance: Tensor, relative: float) -> tuple[Tensor, list[int]]:
    """Raise the importance of rows that have next to none, and say which rows they are.

    Where an input is zero for every example, such as a dead ReLU unit, its Fisher row is zero,
    and I_N has no inverse. The paper's A = I_N^{-1} U_r S_r then does not exist, so a floor has to
    be chosen and stated, and it is stated relative to the largest importance because only ratios
    of importance matter.

    Parameters
    ----------
    importance
        Shape (d,), entries >= 0.
    relative
        Smallest importance allowed, as a fraction in [0, 1] of the largest. 0 changes nothing; 1
        makes all rows equal, which is the plain SVD.

    Returns
    -------
    floored : torch.Tensor
        Shape (d,), a copy.
    rows : list of int
        Rows that were raised, in ascending order.

    Raises
    ------
    ValueError
        If ``relative`` is outside [0, 1]; if ``importance`` is not a non-empty (d,) or holds a
        negative or non-finite entry; if every row is zero and ``relative`` is not, as there is
        then no scale to be relative to.
    """
    if not 0 <= relative <= 1:
        raise ValueError(f"relative must lie in [0, 1], not {relative}")
    if importance.ndim != 1 or importance.numel() == 0:
        raise ValueError(f"importance must have shape (d,), not {tuple(importance.shape)}")
    if not importance.isfinite().all() or (importance < 0).any():
        raise ValueError("importance holds a negative or non-finite entry")
    floor = relative * importance.max()
    if relative > 0 and importance.max() == 0:
        raise ValueError("every row has importance zero: no example has a gradient")
    rows = torch.nonzero(importance < floor).flatten().tolist()
    return importance.clamp(min=floor), rows


def _check_head(inputs: Tensor, logits: Tensor, target: Tensor) -> None:
    """Check that the three describe the same n >= 1 examples of a classifier of k classes."""
    check_matrices(inputs, logits)
    n, classes = logits.shape
    if classes < 2:
        raise ValueError(f"logits must have at least 2 classes, not shape {tuple(logits.shape)}")
    if target.ndim != 1 or target.dtype != torch.int64:
        raise ValueError(
            f"target must be int64 of shape (n,), not {target.dtype} of {tuple(target.shape)}"
        )
    if not len(inputs) == n == len(target):
        raise ValueError(
            f"inputs, logits and target must have one length, not {len(inputs)}, {n} "
            f"and {len(target)}"
        )
    if n == 0:
        raise ValueError("inputs, logits and target are empty: a mean over no example")
    if target.min() < 0 or target.max() >= classes:
        raise ValueError(
            f"target must lie in 0..{classes - 1}, "
            f"but spans {int(target.min())}..{int(target.max())}"
        )
    check_finite(inputs, logits)


def check_matrices(inputs: Tensor, logits: Tensor) -> None:
    """Raise `ValueError` unless both are floating-point matrices."""
    for name, matrix in (("inputs", inputs), ("logits", logits)):
        if matrix.ndim != 2 or not matrix.is_floating_point():
            raise ValueError(
                f"{name} must be a floating-point matrix, "
                f"not {matrix.dtype} of shape {tuple(matrix.shape)}"
            )


def check_finite(inputs: Tensor, logits: Tensor) -> None:
    """Raise `ValueError` if an entry of the two, which are not empty, is not finite."""
    for name, matrix in (("inputs", inputs), ("logits", logits)):
        # NaN propagates through both; several times faster than isfinite() on every entry, which
        # would cost more than the Fisher information itself.
        if not torch.stack(matrix.aminmax()).isfinite().all():
            raise ValueError(f"{name} holds a non-finite entry")


def check_protected(protected: Tensor, n: int) -> None:
    """Raise `ValueError` unless it is n values 0 or 1."""
    if protected.shape != (n,):
        raise ValueError(f"protected must have shape ({n},), not {tuple(protected.shape)}")
    if not ((protected == 0) | (protected == 1)).all():
        raise ValueError("protected must hold only 0 and 1")
