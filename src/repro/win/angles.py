"""Principal angles: how far the weighting turns what a low-rank head keeps.

At rank r the head is W V_r V_r^T (:func:`repro.win.lowrank.weighted_svd`), so all that importance
decides is the r-dimensional subspace of the k *outputs* spanned by the rows of B, and with it the
subspace of the d *inputs* that is read, spanned by the columns of A = W V_r.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor


@torch.no_grad()
def principal_angles(first: Tensor, second: Tensor) -> Tensor:
    """Return the principal angles between the column spaces of two matrices.

    Parameters
    ----------
    first, second
        Bases, not necessarily orthonormal, shapes (d, r) and (d, s), floating point, of full
        column rank.

    Returns
    -------
    torch.Tensor
        Shape (min(r, s),), degrees from 0 to 90, ascending, float64.

    Raises
    ------
    ValueError
        If a shape does not fit, an entry is not finite, or the columns are linearly dependent.

    Notes
    -----
    With orthonormal bases Q and P the cosines are the singular values of Q^T P and, for the
    smaller space P, the sines those of P - Q Q^T P (Björck and Golub, 1973, "Numerical methods
    for computing angles between linear subspaces"). Angles below 45 degrees are taken from the
    sines: the cosine of a small angle is 1 up to rounding.
    """
    if first.ndim != 2 or second.ndim != 2 or len(first) != len(second):
        raise ValueError(
            "first and second must have shapes (d, r) and (d, s), not "
            f"{tuple(first.shape)} and {tuple(second.shape)}"
        )
    large, small = _orthonormal(first, "first"), _orthonormal(second, "second")
    if small.shape[1] > large.shape[1]:
        large, small = small, large
    inner = large.T @ small
    cosines = torch.linalg.svdvals(inner).clamp(max=1)  # descending, so angles ascend
    sines = torch.linalg.svdvals(small - large @ inner).flip(0).clamp(max=1)
    angles = torch.where(cosines.square() >= 0.5, torch.asin(sines), torch.acos(cosines))
    return torch.rad2deg(angles)


def factor_angles(
    factors: Mapping[str, tuple[Tensor, Tensor]],
) -> dict[tuple[str, str], tuple[Tensor, Tensor]]:
    """Return the principal angles between every two factorisations of one head.

    Parameters
    ----------
    factors
        Name -> (A, B), shapes (d, r) and (r, k).

    Returns
    -------
    dict
        (name, other name) -> angles of the kept outputs (rows of B), angles of the read inputs
        (columns of A); each (r,), degrees, ascending.

    Raises
    ------
    ValueError
        As in :func:`principal_angles`.
    """
    return {
        (one, other): (
            principal_angles(factors[one][1].T, factors[other][1].T),
            principal_angles(factors[one][0], factors[other][0]),
        )
        for one, other in combinations(factors, 2)
    }


def _orthonormal(basis: Tensor, name: str) -> Tensor:
    """Return an orthonormal basis (d, r) of the column space, in float64."""
    if not basis.is_floating_point() or not basis.isfinite().all():
        raise ValueError(f"{name} must be floating point and finite")
    d, r = basis.shape
    left: Tensor
    left, spectrum, _ = torch.linalg.svd(basis.double(), full_matrices=False)
    # As in numpy.linalg.matrix_rank, with the precision that the basis came in.
    floor = spectrum[:1] * max(d, r) * torch.finfo(basis.dtype).eps
    if r < 1 or r > d or not (spectrum > floor).all():
        raise ValueError(f"{name} has linearly dependent columns: it spans fewer than {r} axes")
    return left
