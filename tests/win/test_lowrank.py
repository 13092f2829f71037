import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models import resnet18

from repro.models import last_linear, parameter_count
from repro.win.fisher import floor_importance
from repro.win.lowrank import LowRankLinear, plain_svd, weighted_svd

SEEDS = st.integers(0, 2**31 - 1)
CLOSE = {"rtol": 1e-9, "atol": 1e-11}


def problem(seed: int, d: int = 6, k: int = 4) -> tuple[Tensor, Tensor]:
    """A weight (d, k) and importances (d,) that span two orders of magnitude, in float64."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(d, k, generator=generator, dtype=torch.float64)
    importance = 10 ** (2 * torch.rand(d, generator=generator, dtype=torch.float64) - 1)
    return weight, importance


def error(weight: Tensor, a: Tensor, b: Tensor, importance: Tensor | None = None) -> Tensor:
    """Squared Frobenius error of the pair, in the norm weighted by importance."""
    difference = weight - a @ b
    return (difference if importance is None else importance[:, None] * difference).square().sum()


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 4))
def test_the_error_is_the_sum_of_the_discarded_squares(seed: int, rank: int) -> None:
    weight, importance = problem(seed)
    spectrum = torch.linalg.svdvals(importance[:, None] * weight)
    a, b = weighted_svd(weight, importance, rank)
    assert a.shape == (6, rank)
    assert b.shape == (rank, 4)
    expected = spectrum[rank:].square().sum()
    torch.testing.assert_close(error(weight, a, b, importance), expected, rtol=1e-9, atol=1e-18)


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 3), st.floats(1e-6, 10))
def test_no_random_pair_is_better(seed: int, rank: int, size: float) -> None:
    weight, importance = problem(seed)
    a, b = weighted_svd(weight, importance, rank)
    best = error(weight, a, b, importance)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(20):  # near ones and far ones
        da = size * torch.randn(a.shape, generator=generator, dtype=a.dtype)
        db = size * torch.randn(b.shape, generator=generator, dtype=b.dtype)
        assert error(weight, a + da, b + db, importance) >= best - 1e-12
        assert error(weight, da, db, importance) >= best - 1e-12


@pytest.mark.parametrize("rank", [1, 2])
def test_no_optimised_pair_is_better(rank: int) -> None:
    weight, importance = problem(11)
    best = error(weight, *weighted_svd(weight, importance, rank), importance).item()
    found = []
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        a = torch.randn(6, rank, generator=generator, dtype=torch.float64, requires_grad=True)
        b = torch.randn(rank, 4, generator=generator, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.LBFGS(
            [a, b], max_iter=200, line_search_fn="strong_wolfe", tolerance_change=1e-14
        )

        def closure(a: Tensor = a, b: Tensor = b, step: torch.optim.LBFGS = optimiser) -> Tensor:
            step.zero_grad()
            loss = error(weight, a, b, importance)
            loss.backward()
            return loss

        optimiser.step(closure)
        found.append(error(weight, a.detach(), b.detach(), importance).item())
    assert min(found) >= best * (1 - 1e-9)
    assert min(found) == pytest.approx(best, rel=1e-6)  # the optimiser is strong enough to tell


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 4))
def test_the_paper_s_formula_and_the_identity_agree(seed: int, rank: int) -> None:
    weight, importance = problem(seed)
    a, b = weighted_svd(weight, importance, rank)
    u, s, vh = torch.linalg.svd(importance[:, None] * weight, full_matrices=False)
    paper = (u[:, :rank] * s[:rank]) / importance[:, None]  # I^{-1} U_r S_r
    torch.testing.assert_close(a @ b, paper @ vh[:rank], **CLOSE)
    torch.testing.assert_close(a, weight @ b.T, **CLOSE)  # A = W V_r
    torch.testing.assert_close(b @ b.T, torch.eye(rank, dtype=b.dtype), **CLOSE)


@pytest.mark.parametrize("shape", [(6, 4), (3, 5)])
def test_full_rank_is_exact(shape: tuple[int, int]) -> None:
    weight, importance = problem(2, *shape)
    a, b = weighted_svd(weight, importance, min(shape))
    torch.testing.assert_close(a @ b, weight, **CLOSE)


def test_two_class_head_at_rank_two_is_exact_with_and_without_importance() -> None:
    weight, importance = problem(4, d=10, k=2)
    for a, b in (weighted_svd(weight, importance, 2), plain_svd(weight, 2)):
        torch.testing.assert_close(a @ b, weight, **CLOSE)


def test_a_two_class_head_of_rank_one_can_decide_as_any_head() -> None:
    # z1 - z0 = x A (B[:,1] - B[:,0]) + (b1 - b0): with B fixed, A alone reaches every direction.
    weight, importance = problem(5, d=10, k=2)
    a, b = weighted_svd(weight, importance, 1)
    head = LowRankLinear(a, b, torch.zeros(2, dtype=a.dtype))
    gap = (b[0, 1] - b[0, 0]).item()
    assert abs(gap) > 1e-3
    x = torch.randn(50, 10, dtype=torch.float64)
    for seed in range(5):
        full, _ = problem(seed + 100, d=10, k=2)
        bias = torch.tensor([0.3, -0.2 * seed], dtype=torch.float64)
        with torch.no_grad():
            head.A.copy_((full[:, 1] - full[:, 0])[:, None] / gap)
            head.bias.copy_(bias)
        ours, wanted = head(x), x @ full + bias
        torch.testing.assert_close(ours[:, 1] - ours[:, 0], wanted[:, 1] - wanted[:, 0], **CLOSE)


def test_a_two_class_head_of_rank_one_with_equal_columns_of_b_decides_nothing() -> None:
    # The exception: two equal columns of W are kept as they are, and the input has no say.
    column, importance = problem(6, d=10, k=1)
    a, b = weighted_svd(column.expand(10, 2), importance, 1)
    x = torch.randn(50, 10, dtype=torch.float64)
    for matrix in (a, torch.randn_like(a)):
        z = x @ matrix @ b
        torch.testing.assert_close(z[:, 1], z[:, 0], **CLOSE)


def test_importance_changes_what_is_kept() -> None:
    # Output 0 is the larger, output 1 is read from the important row: one direction is left.
    weight = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    plain, weighted = plain_svd(weight, 1), weighted_svd(weight, torch.tensor([1.0, 10.0]), 1)
    assert plain[1].abs().tolist() == [[1.0, 0.0]]
    assert weighted[1].abs().tolist() == [[0.0, 1.0]]
    assert (plain[0] @ plain[1]).tolist() == [[2.0, 0.0], [0.0, 0.0]]
    assert (weighted[0] @ weighted[1]).tolist() == [[0.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_each_factorisation_wins_in_its_own_norm(seed: int, rank: int) -> None:
    weight, importance = problem(seed)
    weighted, plain = weighted_svd(weight, importance, rank), plain_svd(weight, rank)
    assert error(weight, *weighted, importance) < error(weight, *plain, importance) * (1 - 1e-6)
    assert error(weight, *plain) < error(weight, *weighted) * (1 - 1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 7.0, 1e30])
def test_only_ratios_of_importance_matter(scale: float) -> None:
    weight, importance = problem(8)
    expected, ours = (
        weighted_svd(weight, importance, 2),
        weighted_svd(weight, scale * importance, 2),
    )
    for one, other in zip(expected, ours, strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


def test_equal_importance_is_the_plain_svd() -> None:
    weight, _ = problem(9)
    for one, other in zip(
        plain_svd(weight, 2), weighted_svd(weight, torch.full((6,), 0.3), 2), strict=True
    ):
        torch.testing.assert_close(one, other, **CLOSE)


def test_the_floor_has_a_limit_that_needs_no_inverse() -> None:
    # As the floor falls to 0 the result converges to A = W V_r with V of the unfloored I_N W.
    weight, importance = problem(10)
    importance[1] = 0
    floored, rows = floor_importance(importance, 1e-9)
    assert rows == [1]
    a, b = weighted_svd(weight, floored, 2)
    v = torch.linalg.svd(importance[:, None] * weight).Vh[:2].T
    torch.testing.assert_close(a @ b, weight @ v @ v.T, rtol=1e-7, atol=1e-9)


def test_signs_do_not_depend_on_the_library() -> None:
    for seed in range(10):
        weight, importance = problem(seed)
        a, b = weighted_svd(weight, importance, 4)
        largest = b.gather(1, b.abs().argmax(dim=1, keepdim=True))
        assert (largest > 0).all()
        again = weighted_svd(-weight, importance, 4)  # an SVD may flip any pair of vectors
        torch.testing.assert_close(again[1], b, **CLOSE)
        torch.testing.assert_close(again[0], -a, **CLOSE)


@pytest.mark.parametrize("noise", [-1e-12, 0.0, 1e-12])
def test_rounding_does_not_choose_the_sign_of_opposite_columns(noise: float) -> None:
    column = problem(12, d=5, k=1)[0]
    weight = torch.cat([column, -(1 + noise) * column], dim=1)
    _, b = plain_svd(weight, 1)
    torch.testing.assert_close(
        b, torch.tensor([[1.0, -1.0]], dtype=b.dtype) / 2**0.5, rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_is_kept_and_computed_in_double(dtype: torch.dtype) -> None:
    weight = problem(13)[0].to(dtype)
    importance = problem(13)[1]
    a, b = weighted_svd(weight, importance, 3)
    assert a.dtype == b.dtype == dtype
    exact = weighted_svd(weight.double(), importance, 3)
    assert torch.equal(a, exact[0].to(dtype))
    assert torch.equal(b, exact[1].to(dtype))


@pytest.mark.parametrize("rank", [0, -1, 5, 2.0, "2", True, None])
def test_bad_rank(rank: object) -> None:
    weight, importance = problem(0)
    with pytest.raises(ValueError, match=r"rank must be a whole number in 1\.\.4 for a 6 x 4"):
        weighted_svd(weight, importance, rank)


@pytest.mark.parametrize("bad", [0.0, -1.0, torch.nan, torch.inf])
def test_rows_without_importance_are_named_with_the_remedy(bad: float) -> None:
    weight, importance = problem(0)
    importance[1] = importance[4] = bad
    with pytest.raises(ValueError, match=r"rows \[1, 4\]: .*floor_importance .*importance_floor"):
        weighted_svd(weight, importance, 2)


@pytest.mark.parametrize(
    ("weight", "importance", "message"),
    [
        (torch.ones(4), torch.ones(4), "weight must be a floating-point matrix"),
        (torch.ones(4, 2, dtype=torch.int64), torch.ones(4), "weight must be a floating-point"),
        (torch.ones(0, 2), torch.ones(0), "weight must be a floating-point matrix"),
        (torch.full((4, 2), torch.nan), torch.ones(4), "weight holds a non-finite entry"),
        (torch.ones(4, 2), torch.ones(2), r"importance must have shape \(4,\)"),
        (torch.ones(4, 2), torch.ones(4, 1), r"importance must have shape \(4,\)"),
    ],
)
def test_bad_factorisation(weight: Tensor, importance: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        weighted_svd(weight, importance, 1)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_low_rank_layer(bias: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(6, 4, bias=bias, dtype=dtype).eval()
    importance = problem(1)[1]
    layer = LowRankLinear.from_linear(linear, importance, 2)
    a, b = weighted_svd(linear.weight.T, importance, 2)
    assert torch.equal(layer.A, a)
    assert torch.equal(layer.B, b)
    assert layer.A.dtype == dtype
    assert not layer.training
    x = torch.randn(3, 5, 6, dtype=dtype)
    expected = x @ a @ b + (linear.bias if bias else 0)
    torch.testing.assert_close(layer(x), expected)
    assert parameter_count(layer) == 6 * 2 + 2 * 4 + (4 if bias else 0)
    assert set(layer.state_dict()) == ({"A", "B", "bias"} if bias else {"A", "B"})
    assert layer.weight.dtype == dtype
    torch.testing.assert_close(layer.weight, (a @ b).T)


def test_full_rank_layer_is_the_linear_layer() -> None:
    linear = nn.Linear(6, 4, dtype=torch.float64)
    x = torch.randn(7, 6, dtype=torch.float64)
    layer = LowRankLinear.from_linear(linear, None, 4)
    torch.testing.assert_close(layer(x), linear(x), **CLOSE)
    torch.testing.assert_close(layer.weight, linear.weight, **CLOSE)


def test_training_it_leaves_the_linear_layer_alone() -> None:
    linear = nn.Linear(6, 4).requires_grad_(False)  # frozen, as in a pre-trained model
    before = copy.deepcopy(linear.state_dict())
    layer = LowRankLinear.from_linear(linear, None, 4)
    start = layer.weight.detach().clone()
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.1)
    layer(torch.ones(2, 6)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in layer.parameters())
    optimiser.step()
    for name, value in linear.state_dict().items():
        assert torch.equal(value, before[name])
    torch.testing.assert_close(start, linear.weight)
    assert not torch.allclose(layer.weight, linear.weight)


def test_it_copies_what_it_is_made_from() -> None:
    parts = [torch.ones(6, 2), torch.ones(2, 4), torch.ones(4)]
    layer = LowRankLinear(*parts)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    assert all((part == 1).all() for part in parts)


def test_the_head_of_adult_in_two_factors_has_fourteen_numbers() -> None:
    assert parameter_count(LowRankLinear.from_linear(nn.Linear(10, 2), None, 1)) == 12 + 2


def test_only_a_linear_layer_can_be_factorised() -> None:
    with pytest.raises(TypeError, match=r"only nn\.Linear can be factorised, not Conv2d"):
        LowRankLinear.from_linear(nn.Conv2d(3, 4, 1), None, 1)


@pytest.mark.parametrize(
    "shapes", [((6, 2), (3, 4), (4,)), ((6, 2), (2, 4), (6,)), ((6,), (2, 4), (4,))]
)
def test_factors_must_fit(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match="shapes must be"):
        LowRankLinear(*(torch.ones(shape) for shape in shapes))


def test_repr_names_the_rank() -> None:
    layer = LowRankLinear.from_linear(nn.Linear(6, 4, bias=False), None, 2)
    assert repr(layer) == "LowRankLinear(in_features=6, rank=2, out_features=4, bias=False)"


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Sequential(nn.Linear(3, 2), nn.Dropout()))


def test_last_linear() -> None:
    model = mlp()
    assert last_linear(model) == ("2.0", model[2][0])
    linear = nn.Linear(3, 2)
    assert last_linear(linear) == ("", linear)
    net = resnet18(weights=None, num_classes=7)
    assert last_linear(net) == ("fc", net.fc)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), "Sequential has no linear layer"),
        (nn.ReLU(), "ReLU has no linear layer"),
        (
            nn.Sequential(nn.Linear(5, 3), nn.Conv1d(1, 1, 1), nn.Sigmoid()),
            "the head of Sequential is not linear: .* '1', a Conv1d",
        ),
        (
            nn.Sequential(nn.Linear(5, 3), LowRankLinear.from_linear(nn.Linear(3, 2), None, 1)),
            "'1', a LowRankLinear",
        ),
    ],
)
def test_a_model_without_a_linear_head(model: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        last_linear(model)


@pytest.mark.parametrize("make", [mlp, lambda: resnet18(weights=None, num_classes=2).eval()])
def test_the_head_of_a_model_can_be_replaced(make: object) -> None:
    model = make()
    x = torch.randn(2, 5) if isinstance(model, nn.Sequential) else torch.randn(2, 3, 32, 32)
    model.eval()
    before = model(x)
    name, head = last_linear(model)
    model.set_submodule(name, LowRankLinear.from_linear(head, None, 2))
    assert isinstance(model.get_submodule(name), LowRankLinear)
    torch.testing.assert_close(model(x), before, rtol=1e-4, atol=1e-5)
    assert f"{name}.A" in dict(model.named_parameters())
    assert f"{name}.weight" not in dict(model.named_parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_device_is_kept() -> None:
    layer = LowRankLinear.from_linear(nn.Linear(6, 4).cuda(), torch.ones(6), 2)
    assert layer.A.is_cuda
    assert layer.bias.is_cuda
    assert layer.weight.is_cuda
    assert LowRankLinear.from_linear(nn.Linear(6, 4).cuda(), None, 2).B.is_cuda
