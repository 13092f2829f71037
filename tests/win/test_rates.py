from functools import partial

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from repro.names import UnknownNameError
from repro.settings import Optimisation
from repro.training import Examples, fit
from repro.training import cross_entropy as objective
from repro.win.lowrank import LowRankLinear, plain_svd
from repro.win.rates import first_step, rate_factor

SEEDS = st.integers(0, 2**31 - 1)
# Adam as the formula has it, for epsilon -> 0: with its usual one, 1e-8, a gradient near that size
# (seed 1716) moves its weight by less.
OPTIMISERS = {"sgd": torch.optim.SGD, "adam": partial(torch.optim.Adam, eps=1e-30)}


def problem(seed: int, rank: int) -> tuple[Tensor, Tensor, nn.Linear, LowRankLinear]:
    torch.manual_seed(seed)
    head = nn.Linear(6, 4).double()
    x, y = torch.randn(30, 6, dtype=torch.float64), torch.randint(4, (30,))
    return x, y, head, LowRankLinear.from_linear(head, None, rank)


def gradient(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """dL/dW, input-major, at a weight in torch's layout."""
    at = weight.detach().clone().requires_grad_()
    loss = cross_entropy(nn.functional.linear(x, at, bias.detach()), y)
    return torch.autograd.grad(loss, at)[0].T


def moved(layer: nn.Module, x: Tensor, y: Tensor, name: str, rate: float) -> Tensor:
    """How far one step of an optimiser really moves the weight, (k, d)."""
    before = layer.weight.detach().clone()
    optimiser = OPTIMISERS[name](layer.parameters(), lr=rate)
    cross_entropy(layer(x), y).backward()
    optimiser.step()
    return layer.weight.detach() - before


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(1, 4), st.sampled_from(["sgd", "adam"]))
@example(1716, 4, "adam")
def test_the_first_step_is_what_the_optimiser_does(seed: int, rank: int, name: str) -> None:
    x, y, _, low = problem(seed, rank)
    g = gradient(x, y, low.weight, low.bias)
    expected = -1e-6 * first_step(g, low.A.detach(), low.B.detach(), name).T
    actual = moved(low, x, y, name, 1e-6)
    assert float((actual - expected).norm() / expected.norm()) < 1e-3  # the rest is O(rate)


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(1, 4), st.sampled_from(["sgd", "adam"]))
def test_matched_first_steps_are_equally_long(seed: int, rank: int, name: str) -> None:
    x, y, head, low = problem(seed, rank)
    factor = rate_factor(
        gradient(x, y, low.weight, low.bias),
        low.A.detach(),
        low.B.detach(),
        reference=gradient(x, y, head.weight, head.bias),
        optimiser=name,
    )
    matrix = moved(head, x, y, name, 1e-6).norm()
    factors = moved(low, x, y, name, 1e-6 * factor).norm()
    torch.testing.assert_close(factors, matrix, rtol=2e-3, atol=0)


def test_without_matching_the_factors_move_further() -> None:
    """Where A is large: the very thing that the control takes away."""
    x, y, head, _ = problem(0, 4)
    with torch.no_grad():
        head.weight *= 10
    low = LowRankLinear.from_linear(head, None, 4)
    g = gradient(x, y, head.weight, head.bias)
    assert rate_factor(g, low.A.detach(), low.B.detach()) < 0.2


def test_orthonormal_factors_have_a_known_factor() -> None:
    # A = B = I: G I + I G = 2 G, so half the rate.
    g, eye = torch.randn(3, 3), torch.eye(3)
    assert rate_factor(g, eye, eye) == pytest.approx(0.5)
    assert torch.equal(first_step(g, eye, eye), 2 * g)


def test_fit_takes_the_factor_for_the_factors_alone() -> None:
    x, y, _, low = problem(1, 2)
    examples = Examples(x.float(), y, torch.zeros(30))
    how = Optimisation(learning_rates=(0.1,), epochs=1, batch_size=30, optimiser="sgd", momentum=0)
    states = {}
    for factor in (None, {"A": 0.5, "B": 0.5}):
        layer = LowRankLinear(low.A.float(), low.B.float(), low.bias.float())
        start = {name: p.detach().clone() for name, p in layer.named_parameters()}
        fit(layer, examples, examples, objective, how, seed=0, rate_factors=factor)
        states[factor is None] = {n: p.detach() - start[n] for n, p in layer.named_parameters()}
    for name, ratio in (("A", 0.5), ("B", 0.5), ("bias", 1.0)):
        torch.testing.assert_close(states[False][name], ratio * states[True][name])
    with pytest.raises(UnknownNameError, match="trainable parameter 'C'"):
        fit(low, examples, examples, objective, how, seed=0, rate_factors={"C": 1.0})


def test_bad_input_is_refused() -> None:
    a, b = plain_svd(torch.randn(5, 3), 2)
    with pytest.raises(ValueError, match="nothing to match"):
        rate_factor(torch.zeros(5, 3), a, b)
    with pytest.raises(ValueError, match="nothing to match"):
        rate_factor(torch.ones(5, 3), a, b, reference=torch.full((5, 3), torch.nan))
    with pytest.raises(ValueError, match="shapes must be"):
        first_step(torch.ones(3, 5), a, b)
    with pytest.raises(ValueError, match="reference must have shape"):
        rate_factor(torch.ones(5, 3), a, b, reference=torch.ones(3, 5))
    with pytest.raises(UnknownNameError, match="did you mean 'adam'"):
        first_step(torch.ones(5, 3), a, b, "adm")
