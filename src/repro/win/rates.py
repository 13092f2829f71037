r"""Learning-rate matching: A B learns at another effective rate than W, and this says which.

With W = A B and G = dL/dW (d x k) the chain rule gives dL/dA = G B^T and dL/dB = A^T G. One step of
gradient descent with rate eta changes the product by

    (A - eta G B^T)(B - eta A^T G) - A B = -eta (G B^T B + A A^T G) + O(eta^2),

where the matrix itself would have changed by -eta G. B's rows are orthonormal at the start, so that
B^T B projects G onto the kept outputs; A A^T is as large as the head's weight is, and has nothing
to do with fairness. Adam's first step moves every entry by the rate, whatever its gradient, so that

    -eta (sign(G B^T) B + A sign(A^T G))   stands against   -eta sign(G).

The factor by which eta is multiplied makes the first steps equally long in the Frobenius norm. It
matches the first step, not the whole training: A and B move, and their steps with them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from repro.names import check_name

OPTIMISERS = ("sgd", "adam")


@torch.no_grad()
def first_step(gradient: Tensor, a: Tensor, b: Tensor, optimiser: str = "sgd") -> Tensor:
    """Return by how much the product A B falls in the first step, to first order, for rate 1.

    Parameters
    ----------
    gradient
        G = dL/dW at W = A B, input-major, shape (d, k).
    a, b
        The factors, shapes (d, r) and (r, k).
    optimiser
        ``sgd`` (with or without momentum, which is zero at the first step) or ``adam`` (whose first
        step is the sign of the gradient; exactly for its epsilon -> 0).

    Returns
    -------
    torch.Tensor
        Shape (d, k).

    Raises
    ------
    UnknownNameError
        For another optimiser.
    ValueError
        If the shapes do not fit.
    """
    check_name("optimiser", optimiser, OPTIMISERS)
    fits = gradient.ndim == a.ndim == b.ndim == 2 and a.shape[1] == b.shape[0]
    if not fits or gradient.shape != (a.shape[0], b.shape[1]):
        shapes = [tuple(t.shape) for t in (gradient, a, b)]
        raise ValueError(f"shapes must be (d, k), (d, r) and (r, k), not {shapes}")
    on_a, on_b = gradient @ b.T, a.T @ gradient
    if optimiser == "adam":
        on_a, on_b = on_a.sign(), on_b.sign()
    return on_a @ b + a @ on_b


@torch.no_grad()
def rate_factor(
    gradient: Tensor,
    a: Tensor,
    b: Tensor,
    *,
    reference: Tensor | None = None,
    optimiser: str = "sgd",
) -> float:
    """Return by what to multiply a rate for W to get that of A and B.

    Parameters
    ----------
    gradient
        dL/dW at W = A B, shape (d, k).
    a, b
        The factors, shapes (d, r) and (r, k).
    reference
        dL/dW where the unfactorised head starts, if that is elsewhere (below full rank); by
        default ``gradient``.
    optimiser
        See :func:`first_step`.

    Returns
    -------
    float
        ||step of W||_F / ||step of A B||_F, positive.

    Raises
    ------
    UnknownNameError
        For another optimiser.
    ValueError
        If a shape does not fit, or one of the two steps is zero or not finite: there is nothing
        to match then.
    """
    matrix = gradient if reference is None else reference
    if matrix.shape != gradient.shape:
        raise ValueError(
            f"reference must have shape {tuple(gradient.shape)}, not {tuple(matrix.shape)}"
        )
    own = float(first_step(gradient, a, b, optimiser).double().norm())
    wanted = float((matrix.sign() if optimiser == "adam" else matrix).double().norm())
    for which, size in (("factors", own), ("matrix", wanted)):
        if not 0 < size < float("inf"):
            raise ValueError(f"the first step of the {which} has size {size}: nothing to match")
    return wanted / own
