from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy
from torchvision.models import resnet18

from repro.win.fisher import (
    floor_importance,
    group_importance,
    linear_fisher,
    neutralise,
    row_importance,
)

EXACT = {"rtol": 1e-10, "atol": 1e-16}


def mlp_case(classes: int) -> tuple[nn.Module, str, Tensor, Tensor, Tensor]:
    """A model in float64, the name of its head, images or rows, targets, and head inputs."""
    torch.manual_seed(classes)
    model = nn.Sequential(nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, classes)).double()
    x = torch.randn(23, 7, dtype=torch.float64)
    return model, "2", x, torch.randint(classes, (23,)), model[:2](x)


def resnet_case() -> tuple[nn.Module, str, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    model = resnet18(weights=None, num_classes=2).double().eval()
    x = torch.randn(8, 3, 32, 32, dtype=torch.float64)
    features: list[Tensor] = []
    hook = model.fc.register_forward_pre_hook(lambda _, args: features.append(args[0]))
    model(x)
    hook.remove()
    return model, "fc", x, torch.randint(2, (8,)), features[0]


CASES = pytest.mark.parametrize(
    "case",
    [lambda: mlp_case(2), lambda: mlp_case(5), resnet_case],
    ids=["two classes", "five classes", "resnet18"],
)
Case = Callable[[], tuple[nn.Module, str, Tensor, Tensor, Tensor]]


@CASES
def test_against_a_loop_of_autograd(case: Case) -> None:
    model, head, x, target, features = case()
    weight = model.get_submodule(head).weight
    squares = torch.zeros_like(weight)
    for i in range(len(x)):
        loss = cross_entropy(model(x[i : i + 1]), target[i : i + 1])
        squares += torch.autograd.grad(loss, weight)[0].square()
    ours = linear_fisher(features, model(x), target)
    torch.testing.assert_close(ours, (squares / len(x)).T, **EXACT)
    assert not ours.requires_grad


@CASES
def test_against_vmap_of_grad(case: Case) -> None:
    model, head, x, target, features = case()
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    key = f"{head}.weight"

    def loss(weight: Tensor, example: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(model, {**parameters, key: weight}, (example[None],))
        return cross_entropy(logits, label[None])

    gradients = vmap(grad(loss), in_dims=(None, 0, 0))(parameters[key], x, target)
    expected = gradients.square().mean(dim=0).T
    torch.testing.assert_close(linear_fisher(features, model(x), target), expected, **EXACT)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 22))
def test_batches_combine_as_a_weighted_mean(cut: int) -> None:
    model, _, x, target, features = mlp_case(5)
    logits = model(x)
    whole = linear_fisher(features, logits, target)
    head = linear_fisher(features[:cut], logits[:cut], target[:cut])
    tail = linear_fisher(features[cut:], logits[cut:], target[cut:])
    n = len(x)
    torch.testing.assert_close((cut * head + (n - cut) * tail) / n, whole, **EXACT)


def test_it_is_not_the_squared_mean_gradient() -> None:
    # Two opposite gradients cancel in the mean loss, not in the Fisher information.
    inputs, logits = torch.ones(2, 1), torch.zeros(2, 2)
    fisher = linear_fisher(inputs, logits, torch.tensor([0, 1]))
    torch.testing.assert_close(fisher, torch.full((1, 2), 0.25))


def test_confident_examples_keep_their_importance_in_float32() -> None:
    # At a margin of 25, softmax - 1 rounds to 0 in float32; its true size is exp(-25).
    fisher = linear_fisher(torch.ones(1, 1), torch.tensor([[25.0, 0.0]]), torch.tensor([0]))
    expected = torch.full((1, 2), 2.718281828459045**-50)
    torch.testing.assert_close(fisher, expected, rtol=1e-4, atol=0)


def test_half_precision_does_not_overflow() -> None:
    inputs = torch.full((1, 1), 300.0, dtype=torch.float16)  # 300 squared is not a float16
    fisher = linear_fisher(inputs, torch.zeros(1, 2, dtype=torch.float16), torch.tensor([1]))
    torch.testing.assert_close(fisher, torch.full((1, 2), 22_500.0))


def good() -> dict[str, Tensor]:
    return {
        "inputs": torch.ones(3, 4),
        "logits": torch.zeros(3, 2),
        "target": torch.tensor([0, 1, 1]),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": torch.ones(3)}, "inputs must be a floating-point matrix"),
        ({"inputs": torch.ones(3, 4, dtype=torch.int64)}, "inputs must be a floating-point"),
        ({"logits": torch.zeros(3)}, "logits must be a floating-point matrix"),
        ({"logits": torch.zeros(3, 1)}, "at least 2 classes"),
        ({"target": torch.zeros(3)}, "target must be int64"),
        ({"target": torch.zeros(3, 1, dtype=torch.int64)}, "target must be int64 of shape"),
        ({"inputs": torch.ones(2, 4)}, "one length, not 2, 3 and 3"),
        ({"target": torch.tensor([0, 1])}, "one length, not 3, 3 and 2"),
        ({"target": torch.tensor([0, 1, 2])}, r"target must lie in 0\.\.1, but spans 0\.\.2"),
        ({"target": torch.tensor([-1, 0, 1])}, r"spans -1\.\.1"),
        ({"inputs": torch.full((3, 4), torch.nan)}, "inputs holds a non-finite entry"),
        ({"inputs": torch.eye(3, 4) * 1e30 * 1e30}, "inputs holds a non-finite entry"),
        ({"logits": torch.full((3, 2), torch.inf)}, "logits holds a non-finite entry"),
        ({"logits": torch.tensor([[0, 0], [0, -torch.inf], [0, 0]])}, "logits holds a non-finite"),
        ({"logits": torch.tensor([[0, 0], [0, torch.nan], [0, 0]])}, "logits holds a non-finite"),
    ],
)
def test_bad_input(change: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        linear_fisher(**{**good(), **change})


def test_no_examples() -> None:
    empty = torch.zeros(0, dtype=torch.int64)
    with pytest.raises(ValueError, match="mean over no example"):
        linear_fisher(torch.ones(0, 4), torch.zeros(0, 2), empty)


def test_row_importance_is_the_root_of_the_row_sum() -> None:
    importance = row_importance(torch.tensor([[9.0, 16.0], [0.0, 0.0], [0.25, 0.0]]))
    assert importance.tolist() == [5.0, 0.0, 0.5]


@pytest.mark.parametrize("bad", [-1.0, torch.nan, torch.inf])
def test_row_importance_refuses_what_is_no_mean_of_squares(bad: float) -> None:
    with pytest.raises(ValueError, match="negative or non-finite"):
        row_importance(torch.tensor([[1.0, bad]]))
    with pytest.raises(ValueError, match="shape"):
        row_importance(torch.ones(3))


def test_importance_scales_with_the_inputs() -> None:
    first = row_importance(linear_fisher(**good()))
    scaled = row_importance(linear_fisher(**{**good(), "inputs": 3 * good()["inputs"]}))
    torch.testing.assert_close(scaled, 3 * first)


def test_neutralise() -> None:
    first, second = torch.tensor([1.0, 4.0]), torch.tensor([3.0, 0.0])
    assert neutralise(first, second).tolist() == [2.0, 2.0]
    assert neutralise(first, second, weight=0.75).tolist() == [1.5, 3.0]
    assert torch.equal(neutralise(first, second, weight=1), first)
    assert torch.equal(neutralise(first, second, weight=0), second)


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_neutralise_refuses_a_weight_outside_the_unit_interval(weight: float) -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        neutralise(torch.ones(2), torch.ones(2), weight=weight)


@pytest.mark.parametrize("shapes", [((2,), (3,)), ((2, 1), (2, 1))])
def test_neutralise_refuses_other_shapes(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match="one shape"):
        neutralise(torch.ones(shapes[0]), torch.ones(shapes[1]))


def test_group_importance_gives_protected_one_first() -> None:
    model, _, x, target, features = mlp_case(2)
    logits = model(x)
    protected = torch.arange(len(x)) % 3 == 0
    first, second = group_importance(features, logits, target, protected.long())
    for ours, group in ((first, protected), (second, ~protected)):
        fisher = linear_fisher(features[group], logits[group], target[group])
        torch.testing.assert_close(ours, row_importance(fisher), **EXACT)
    assert not torch.allclose(first, second)


def test_group_size_does_not_matter() -> None:
    model, _, x, target, features = mlp_case(2)
    logits, p = model(x), (torch.arange(len(x)) % 3 == 0).long()
    ones = p == 1
    doubled = [torch.cat([part, part[ones]]) for part in (features, logits, target, p)]
    for ours, again in zip(
        group_importance(features, logits, target, p), group_importance(*doubled), strict=True
    ):
        torch.testing.assert_close(ours, again, **EXACT)


@pytest.mark.parametrize("present", [0, 1])
def test_an_absent_group_is_named(present: int) -> None:
    protected = torch.full((3,), present)
    with pytest.raises(ValueError, match=rf"group \(protected={1 - present}\) has no example"):
        group_importance(**good(), protected=protected)


@pytest.mark.parametrize(
    ("protected", "message"),
    [
        (torch.tensor([1, 2, 1]), "only 0 and 1"),
        (torch.tensor([0.0, 1.0, torch.nan]), "only 0 and 1"),
        (torch.tensor([0, 1]), "protected must have shape"),
    ],
)
def test_bad_protected(protected: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        group_importance(**good(), protected=protected)


def test_floor_raises_only_what_is_below_and_names_it() -> None:
    importance = torch.tensor([0.0, 4.0, 0.3, 0.4])
    floored, rows = floor_importance(importance, 0.1)
    torch.testing.assert_close(floored, torch.tensor([0.4, 4.0, 0.4, 0.4]))
    assert rows == [0, 2]
    assert importance[0] == 0  # the argument is left alone


def test_floor_zero_leaves_all_rows() -> None:
    importance = torch.tensor([0.0, 4.0])
    floored, rows = floor_importance(importance, 0)
    assert torch.equal(floored, importance)
    assert rows == []


def test_floor_one_makes_all_rows_equal() -> None:
    floored, rows = floor_importance(torch.tensor([0.0, 4.0, 1.0]), 1)
    assert floored.tolist() == [4.0, 4.0, 4.0]
    assert rows == [0, 2]


def test_a_dead_unit_has_a_zero_row() -> None:
    model, _, x, target, _ = mlp_case(2)
    with torch.no_grad():
        model[0].bias[3] = -1e6
    first, second = group_importance(model[:2](x), model(x), target, (x[:, 0] > 0).long())
    importance = neutralise(first, second)
    assert importance[3] == 0
    assert floor_importance(importance, 1e-3)[1] == [3]


@pytest.mark.parametrize(
    ("importance", "relative", "message"),
    [
        (torch.ones(2), -0.1, r"\[0, 1\]"),
        (torch.ones(2), 1.5, r"\[0, 1\]"),
        (torch.ones(2), float("nan"), r"\[0, 1\]"),
        (torch.ones(2, 2), 0.1, "shape"),
        (torch.ones(0), 0.1, "shape"),
        (torch.tensor([1.0, -1.0]), 0.1, "negative"),
        (torch.tensor([1.0, torch.inf]), 0.1, "non-finite"),
        (torch.zeros(2), 0.1, "every row has importance zero"),
    ],
)
def test_bad_floor(importance: Tensor, relative: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        floor_importance(importance, relative)
