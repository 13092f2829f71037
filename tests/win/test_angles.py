import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import subspace_angles

from repro.win.angles import factor_angles, principal_angles
from repro.win.lowrank import plain_svd, weighted_svd

SEEDS = st.integers(0, 2**31 - 1)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 4), st.integers(1, 4), st.floats(1e-9, 3))
def test_against_scipy(seed: int, r: int, s: int, apart: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(7, r, generator=generator, dtype=torch.float64)
    other = torch.randn(7, s, generator=generator, dtype=torch.float64)
    shared = min(r, s)
    other[:, :shared] = first[:, :shared] + apart * other[:, :shared]  # near and far ones
    ours = principal_angles(first, other)
    theirs = np.degrees(np.sort(subspace_angles(first.numpy(), other.numpy())))
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-5, rtol=1e-9)  # scipy: 1e-6


def test_a_small_angle_is_not_rounded_away() -> None:
    first, turned = torch.eye(3).double()[:, :1], torch.tensor([[1.0], [1e-9], [0.0]]).double()
    assert float(principal_angles(first, turned)) == pytest.approx(np.degrees(1e-9), rel=1e-6)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_the_basis_does_not_matter(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    first, other = torch.randn(2, 6, 2, generator=generator, dtype=torch.float64)
    mix = torch.eye(2).double() * 3 + torch.tensor([[0.0, 1.0], [0.0, 0.0]]).double()
    torch.testing.assert_close(
        principal_angles(first @ mix, other), principal_angles(other, first), rtol=1e-7, atol=1e-9
    )


def test_known_planes() -> None:
    axes = torch.eye(4)
    assert principal_angles(axes[:, :2], axes[:, 1:3]).tolist() == pytest.approx([0, 90], abs=1e-5)
    assert principal_angles(axes[:, :1], axes[:, :3]).tolist() == pytest.approx([0], abs=1e-5)


def test_between_factorisations_of_one_head() -> None:
    torch.manual_seed(0)
    weight, importance = torch.randn(8, 4).double(), torch.logspace(-1, 1, 8).double()
    factors = {"plain": plain_svd(weight, 2), "weighted": weighted_svd(weight, importance, 2)}
    outputs, inputs = factor_angles(factors)["plain", "weighted"]
    theirs = subspace_angles(factors["plain"][1].T.numpy(), factors["weighted"][1].T.numpy())
    np.testing.assert_allclose(outputs.numpy(), np.degrees(np.sort(theirs)), atol=1e-8)
    assert inputs.shape == (2,)
    assert float(outputs[-1]) > 1
    full = {"plain": plain_svd(weight, 4), "weighted": weighted_svd(weight, importance, 4)}
    outputs, inputs = factor_angles(full)["plain", "weighted"]
    assert float(outputs.max()) < 1e-5  # at full rank both keep everything
    assert float(inputs.max()) < 1e-5


def test_bad_input_is_refused() -> None:
    good = torch.randn(5, 2)
    with pytest.raises(ValueError, match=r"shapes \(d, r\) and \(d, s\)"):
        principal_angles(good, torch.randn(4, 2))
    with pytest.raises(ValueError, match="second has linearly dependent columns"):
        principal_angles(good, good[:, :1].expand(5, 2))
    with pytest.raises(ValueError, match="first has linearly dependent columns"):
        principal_angles(torch.zeros(5, 1), good)
    with pytest.raises(ValueError, match="finite"):
        principal_angles(good, torch.full((5, 2), torch.nan))
