"""The low-rank head: a linear layer replaced by two, cut where importance says least is lost.

Weights are input-major here, W (d x k) as in the paper: the transpose of ``nn.Linear.weight``.

Source: Zhang and Zhou (2024), arXiv 2403.00625, section on weight importance neutralisation.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn


@torch.no_grad()
def weighted_svd(weight: Tensor, importance: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factorise W into A B of the given rank, keeping what is important.

    With I = diag(importance) and SVD(I W) = U S V^T,

        A = I^{-1} U_r S_r,   B = V_r^T.

    By the theorem of Eckart and Young no pair of this rank has a smaller ||I (W - A B)||_F, whose
    square is the sum of the squares of the singular values that were cut off.

    Parameters
    ----------
    weight
        W of shape (d, k), floating point.
    importance
        Importance of each row of W, shape (d,), all entries > 0. Only ratios matter.
    rank
        r, 1 <= r <= min(d, k).

    Returns
    -------
    A : torch.Tensor
        Shape (d, r), in the dtype and on the device of ``weight``, detached.
    B : torch.Tensor
        Shape (r, k), rows orthonormal, by falling singular value. In each row the entry of
        largest magnitude (the first one, where some are equally large) is positive, so that the
        sign, which the SVD leaves open, does not depend on the linear algebra library.

    Raises
    ------
    ValueError
        If ``rank`` is not a whole number in that range, a shape does not fit, ``weight`` is not
        finite, or a row's importance is not positive and finite; the message names the rows.

    Notes
    -----
    Zhang and Zhou (2024), arXiv 2403.00625, section on weight importance neutralisation.
    As I W V = U S, the two factors obey A = W V_r, and A B = W V_r V_r^T: the head is W with its
    *outputs* projected onto r directions, and importance only chooses these. That form is
    computed, since it divides by nothing. Where two singular values coincide, the directions are
    not unique.
    """
    _check_factorisation(weight, importance, rank)
    w = weight.double()
    scale = importance.to(device=w.device, dtype=torch.float64)
    _, _, vh = torch.linalg.svd(scale[:, None] * w, full_matrices=False)
    b = _fix_signs(vh[:rank])
    a = w @ b.T
    return a.to(weight.dtype), b.to(weight.dtype)


def plain_svd(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factorise W into A B by its own truncated SVD: the f+SVD baseline, all rows alike.

    Parameters
    ----------
    weight
        W of shape (d, k), floating point.
    rank
        r, 1 <= r <= min(d, k).

    Returns
    -------
    A, B : torch.Tensor
        Shapes (d, r) and (r, k), as in :func:`weighted_svd`.

    Raises
    ------
    ValueError
        As in :func:`weighted_svd`.
    """
    return weighted_svd(weight, torch.ones(weight.shape[:1], device=weight.device), rank)


class LowRankLinear(nn.Module):
    """A linear layer in two factors, x -> (x A) B + b.

    The head of Zhang and Zhou (2024), arXiv 2403.00625, section on weight importance
    neutralisation: A, B and b are fine-tuned, everything before them is frozen.

    Parameters
    ----------
    a
        Shape (d, r).
    b
        Shape (r, k).
    bias
        Shape (k,), or None for a head without bias.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """

    A: nn.Parameter
    B: nn.Parameter
    bias: nn.Parameter | None

    def __init__(self, a: Tensor, b: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        fits = a.ndim == b.ndim == 2 and a.shape[1] == b.shape[0]
        if not fits or (bias is not None and bias.shape != b.shape[1:]):
            shapes = [None if t is None else tuple(t.shape) for t in (a, b, bias)]
            raise ValueError(f"shapes must be (d, r), (r, k) and (k,) or None, not {shapes}")
        # Copies: training this head must not move the layer that it was made from.
        self.A = nn.Parameter(a.detach().clone())
        self.B = nn.Parameter(b.detach().clone())
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        self.in_features, self.rank = a.shape
        self.out_features = b.shape[1]

    @classmethod
    def from_linear(cls, linear: nn.Module, importance: Tensor | None, rank: int) -> Self:
        """Factorise a linear layer, keeping its device, dtype and mode.

        Parameters
        ----------
        linear
            The head, an ``nn.Linear`` from d to k, with or without bias. It is not changed.
        importance
            Importance of each of its d inputs, shape (d,); None for the plain SVD.
        rank
            r, 1 <= r <= min(d, k).

        Returns
        -------
        LowRankLinear
            All of its parameters require gradients, whether or not those of ``linear`` did.

        Raises
        ------
        TypeError
            If ``linear`` is not an ``nn.Linear``.
        ValueError
            As in :func:`weighted_svd`.
        """
        if not isinstance(linear, nn.Linear):
            raise TypeError(f"only nn.Linear can be factorised, not {type(linear).__name__}")
        weight = linear.weight.detach().T
        factors = (
            plain_svd(weight, rank)
            if importance is None
            else weighted_svd(weight, importance, rank)
        )
        return cls(*factors, linear.bias).train(linear.training)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., d) to (..., k)."""
        z = (x @ self.A) @ self.B
        return z if self.bias is None else z + self.bias

    @property
    def weight(self) -> Tensor:
        """The product (A B)^T in the layout of ``nn.Linear.weight``, shape (k, d)."""
        return (self.A @ self.B).T

    def extra_repr(self) -> str:
        """Describe the layer in ``print(model)``."""
        return (
            f"in_features={self.in_features}, rank={self.rank}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )


def _check_factorisation(weight: Tensor, importance: Tensor, rank: int) -> None:
    """Check that ``weighted_svd`` has a meaning for these."""
    if weight.ndim != 2 or weight.numel() == 0 or not weight.is_floating_point():
        raise ValueError(
            "weight must be a floating-point matrix (d, k), "
            f"not {weight.dtype} of shape {tuple(weight.shape)}"
        )
    limit = min(weight.shape)
    if not isinstance(rank, int) or isinstance(rank, bool) or not 1 <= rank <= limit:
        raise ValueError(
            f"rank must be a whole number in 1..{limit} for a {weight.shape[0]} x "
            f"{weight.shape[1]} weight, not {rank!r}"
        )
    if importance.shape != weight.shape[:1]:
        raise ValueError(
            f"importance must have shape ({weight.shape[0]},), one entry a row of weight, "
            f"not {tuple(importance.shape)}"
        )
    if not weight.isfinite().all():
        raise ValueError("weight holds a non-finite entry")
    bad = torch.nonzero(~(importance.isfinite() & (importance > 0))).flatten().tolist()
    if bad:
        raise ValueError(
            f"importance must be positive and finite, but is not in rows {bad}: diag(importance) "
            "has no inverse there. Raise rows without importance with floor_importance (the "
            "setting importance_floor)."
        )


def _fix_signs(rows: Tensor) -> Tensor:
    """Flip rows (r, k) so that the first of the entries of largest magnitude is positive."""
    magnitude = rows.abs()
    # With a tolerance: a two-class head whose columns are opposite has rows (v, -v), and rounding
    # would decide which of the two is larger.
    largest = magnitude >= (1 - 1e-6) * magnitude.amax(dim=1, keepdim=True)
    leading = rows.gather(1, largest.int().argmax(dim=1, keepdim=True))
    return torch.where(leading < 0, -rows, rows)
