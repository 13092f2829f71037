import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from repro.win.constraints import (
    PENALTIES,
    demographic_parity_penalty,
    equalized_odds_penalty,
    signed_score,
)

Batch = tuple[Tensor, Tensor, Tensor]
SEEDS = st.integers(0, 2**31 - 1)


def batch(seed: int, n: int = 40) -> Batch:
    """Logits (n, 2), targets and protected attributes with every group present."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    target = torch.randint(2, (n,), generator=generator)
    protected = torch.randint(2, (n,), generator=generator)
    target[:4], protected[:4] = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    return logits, target, protected


def covariance(d: Tensor, p: Tensor) -> float:
    return float(np.cov(d.numpy(), p.numpy(), bias=True)[0, 1])


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_values_against_numpy(seed: int) -> None:
    logits, t, p = batch(seed)
    d = logits[:, 1] - logits[:, 0]
    dp, eo = PENALTIES["dp"](logits, t, p), PENALTIES["eo"](logits, t, p)
    assert dp.item() == pytest.approx(abs(covariance(d, p)), abs=1e-12)
    within = [abs(covariance(d[t == value], p[t == value])) for value in (0, 1)]
    assert eo.item() == pytest.approx(sum(within), abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_covariance_is_the_gap_of_means_times_the_variance(seed: int) -> None:
    logits, t, p = batch(seed)
    d = signed_score(logits)

    def expected(d: Tensor, p: Tensor) -> Tensor:
        share = p.double().mean()
        return share * (1 - share) * (d[p == 1].mean() - d[p == 0].mean()).abs()

    torch.testing.assert_close(
        demographic_parity_penalty(logits, p), expected(d, p), rtol=0, atol=1e-12
    )
    within = [expected(d[t == value], p[t == value]) for value in (0, 1)]
    torch.testing.assert_close(
        equalized_odds_penalty(logits, t, p), within[0] + within[1], rtol=0, atol=1e-12
    )


def test_hand_worked_example() -> None:
    d = torch.tensor([1.0, 3.0, 2.0, 8.0])
    t, p = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    assert demographic_parity_penalty(d, p).item() == 1.0  # 1/4 of 5.5 - 1.5
    assert equalized_odds_penalty(d, t, p).item() == 2.0  # 1/4 of 2 and 1/4 of 6


@pytest.mark.parametrize("name", PENALTIES)
def test_one_logit_and_two_logits_agree(name: str) -> None:
    logits, t, p = batch(3)
    single = logits[:, 1] - logits[:, 0]
    torch.testing.assert_close(PENALTIES[name](logits, t, p), PENALTIES[name](single, t, p))
    shifted = logits + 5.0  # softmax does not see a shift of both logits, nor may the penalty
    torch.testing.assert_close(PENALTIES[name](logits, t, p), PENALTIES[name](shifted, t, p))


@pytest.mark.parametrize("name", PENALTIES)
def test_gradient(name: str) -> None:
    logits, t, p = batch(5, n=12)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: PENALTIES[name](z, t, p), (logits,))
    PENALTIES[name](logits, t, p).backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() > 0


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.floats(0, 1))
def test_convex_in_the_weights_of_a_linear_model(seed: int, mix: float) -> None:
    _, t, p = batch(seed)
    generator = torch.Generator().manual_seed(seed + 1)
    x = torch.randn(len(t), 6, generator=generator, dtype=torch.float64)
    u, v = torch.randn(2, 6, 2, generator=generator, dtype=torch.float64)
    for penalty in PENALTIES.values():
        between = penalty(x @ (mix * u + (1 - mix) * v), t, p)
        chord = mix * penalty(x @ u, t, p) + (1 - mix) * penalty(x @ v, t, p)
        assert between <= chord + 1e-12


@pytest.mark.parametrize("name", PENALTIES)
def test_zero_when_score_and_protected_are_independent(name: str) -> None:
    # Every score occurs once in each group (t,p): independent by construction, not by chance.
    d = torch.tensor([-2.0, 0.5, 7.0], dtype=torch.float64).repeat(4)
    t = torch.tensor([0, 0, 1, 1]).repeat_interleave(3)
    p = torch.tensor([0, 1, 0, 1]).repeat_interleave(3)
    assert PENALTIES[name](d, t, p).item() == pytest.approx(0, abs=1e-15)


def test_the_two_penalties_are_different_demands() -> None:
    # The score follows the target alone, the target follows p: fair by EO, unfair by DP.
    t = torch.tensor([0, 0, 0, 1, 0, 1, 1, 1])
    p = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    d = 2.0 * t - 1
    assert equalized_odds_penalty(d, t, p).item() == 0
    assert demographic_parity_penalty(d, p).item() == 0.25


@pytest.mark.parametrize("present", [0, 1])
def test_a_batch_without_a_group_adds_zero_and_can_be_differentiated(present: int) -> None:
    logits, t, _ = batch(7)
    logits.requires_grad_()
    for penalty in PENALTIES.values():
        value = penalty(logits, t, torch.full_like(t, present))
        assert value.item() == 0
        (gradient,) = torch.autograd.grad(value, logits)
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_equalised_odds_keeps_the_target_that_has_both_groups() -> None:
    logits, t, p = batch(8)
    p[t == 0] = 1
    both = equalized_odds_penalty(logits, t, p)
    one = demographic_parity_penalty(logits[t == 1], p[t == 1])
    torch.testing.assert_close(both, one)
    only = torch.ones_like(t)  # no example of t=0 at all
    torch.testing.assert_close(
        equalized_odds_penalty(logits, only, p), demographic_parity_penalty(logits, p)
    )


def test_float_labels_and_dtype() -> None:
    logits, t, p = batch(9)
    value = equalized_odds_penalty(logits.float(), t.float(), p.bool())
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), equalized_odds_penalty(logits, t, p))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": torch.zeros(4, 3)}, r"shape \(n, 2\) or \(n,\)"),
        ({"score": torch.zeros(4, 1)}, r"shape \(n, 2\) or \(n,\)"),
        ({"score": torch.zeros(4, dtype=torch.int64)}, "floating point"),
        ({"score": torch.zeros(0)}, "score is empty"),
        ({"target": torch.tensor([0, 1])}, "target must have shape"),
        ({"protected": torch.tensor([0, 1])}, "protected must have shape"),
        ({"target": torch.tensor([0, 1, 2, 1])}, "target must hold only 0 and 1"),
        ({"protected": torch.tensor([1, 2, 2, 1])}, "protected must hold only 0 and 1"),
    ],
)
def test_bad_input(change: dict[str, Tensor], message: str) -> None:
    labels = torch.tensor([0, 0, 1, 1])
    arguments = {"score": torch.zeros(4, 2), "target": labels, "protected": labels, **change}
    with pytest.raises(ValueError, match=message):
        equalized_odds_penalty(**arguments)


def test_the_mapping_cannot_be_changed() -> None:
    assert list(PENALTIES) == ["dp", "eo"]
    with pytest.raises(TypeError):
        PENALTIES["dp"] = equalized_odds_penalty  # type: ignore[index]
