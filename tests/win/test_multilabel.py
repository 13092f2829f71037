import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from repro.win.fisher import linear_fisher, row_importance
from repro.win.multilabel import (
    multilabel_fisher,
    multilabel_importance,
    pooled_multilabel_importance,
)

EXACT = {"rtol": 1e-10, "atol": 1e-16}
SEEDS = st.integers(0, 2**31 - 1)


def case(
    seed: int = 0, n: int = 21, d: int = 6, k: int = 4, *, bias: bool = True
) -> tuple[nn.Linear, Tensor, Tensor, Tensor]:
    """A head in float64, its inputs, labels and protected attribute; every label varies."""
    torch.manual_seed(seed)
    head = nn.Linear(d, k, bias=bias).double()
    target, protected = torch.randint(2, (n, k)), torch.arange(n) % 2
    target[:2], target[2:4] = 0, 1
    return head, torch.randn(n, d, dtype=torch.float64), target, protected


def loop(head: nn.Linear, inputs: Tensor, target: Tensor) -> Tensor:
    """Mean squared gradient of the sum of binary cross-entropies, one example at a time, (k, d)."""
    squares = torch.zeros_like(head.weight)
    for x, y in zip(inputs, target, strict=True):
        loss = binary_cross_entropy_with_logits(head(x), y.double(), reduction="sum")
        squares += torch.autograd.grad(loss, head.weight)[0].square()
    return squares / len(inputs)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("k", [1, 4])
def test_against_a_loop_of_autograd(k: int, bias: bool) -> None:
    head, inputs, target, _ = case(k=k, bias=bias)
    ours = multilabel_fisher(inputs, head(inputs), target)
    torch.testing.assert_close(ours, loop(head, inputs, target).T, **EXACT)
    assert not ours.requires_grad


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_each_groups_importance_is_that_of_its_examples(seed: int) -> None:
    head, inputs, target, protected = case(seed)
    found = multilabel_importance(inputs, head(inputs), target, protected)
    for p, importance in ((1, found.first), (0, found.second)):
        group = protected == p
        expected = loop(head, inputs[group], target[group]).sum(dim=0).sqrt()
        torch.testing.assert_close(importance, expected, rtol=1e-9, atol=1e-12)
    assert found.left_out == {1: (), 0: ()}
    assert found.groups[0] is found.first


def test_one_logit_is_the_softmax_over_two_classes() -> None:
    head, inputs, target, _ = case(k=1)
    z = head(inputs).detach()
    # Of the logits (0, z) each has the gradient of the one logit, up to its sign.
    softmax = linear_fisher(inputs, torch.cat([torch.zeros_like(z), z], 1), target[:, 0])
    torch.testing.assert_close(softmax[:, 1:], multilabel_fisher(inputs, z, target), **EXACT)
    torch.testing.assert_close(softmax[:, :1], softmax[:, 1:], **EXACT)


@pytest.mark.parametrize("value", [0, 1])
def test_a_constant_label_is_named_and_left_out_of_that_group_only(value: int) -> None:
    head, inputs, target, protected = case()
    target[protected == 0, 2] = value
    names = ["Smiling", "Young", "Beard", "Hat"]
    found = multilabel_importance(inputs, head(inputs), target, protected, names)
    assert found.left_out == {1: (), 0: ("Beard",)}
    men, women = protected == 1, protected == 0
    expected = loop(head, inputs[women], target[women])[[0, 1, 3]].sum(dim=0).sqrt()
    torch.testing.assert_close(found.second, expected, rtol=1e-9, atol=1e-12)
    whole = loop(head, inputs[men], target[men]).sum(dim=0).sqrt()
    torch.testing.assert_close(found.first, whole, rtol=1e-9, atol=1e-12)
    # The label does matter: with it the importance would be another.
    assert not torch.allclose(
        found.second, loop(head, inputs[women], target[women]).sum(dim=0).sqrt(), rtol=1e-3
    )


def test_pooled_importance_is_that_of_all_examples_on_the_same_labels() -> None:
    head, inputs, target, protected = case()
    target[protected == 0, 2] = 0  # varies within the other group: kept
    target[:, 1] = protected  # within neither, though it varies among all: left out
    found = pooled_multilabel_importance(inputs, head(inputs), target, protected)
    fisher = multilabel_fisher(inputs, head(inputs), target)
    torch.testing.assert_close(found, row_importance(fisher[:, [0, 2, 3]]), **EXACT)
    assert not torch.allclose(found, row_importance(fisher), rtol=1e-3)
    names = ["Smiling", "Male", "Beard", "Hat"]
    groups = multilabel_importance(inputs, head(inputs), target, protected, names)
    assert groups.left_out == {1: ("Male",), 0: ("Male", "Beard")}
    with pytest.raises(ValueError, match="no label varies within a group"):
        pooled_multilabel_importance(inputs, head(inputs), target * 0, protected)
    with pytest.raises(ValueError, match="protected must hold only"):
        pooled_multilabel_importance(inputs, head(inputs), target, protected + 1)


def test_a_sure_and_right_example_has_a_gradient() -> None:
    inputs, logits = torch.ones(1, 1), torch.tensor([[60.0]])
    assert float(multilabel_fisher(inputs.double(), logits, torch.ones(1, 1))) > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": torch.zeros(5, 2)}, "shape of logits"),
        ({"target": torch.full((21, 4), 2)}, "only 0 and 1"),
        ({"inputs": torch.zeros(20, 6)}, "one length"),
        ({"inputs": torch.zeros(21, 6, dtype=torch.int64)}, "floating-point"),
        ({"inputs": torch.full((21, 6), torch.nan)}, "inputs holds a non-finite"),
        ({"logits": torch.full((21, 4), torch.inf)}, "logits holds a non-finite"),
        ({"protected": torch.ones(21)}, r"group \(protected=0\) has no example"),
        ({"protected": torch.full((21,), 2)}, "protected must hold only"),
        ({"protected": torch.ones(4)}, r"protected must have shape \(21,\)"),
        ({"labels": ["a"]}, "name the 4 outputs"),
        ({"target": torch.zeros(21, 4)}, "no label varies"),
        (
            {"inputs": torch.zeros(0, 6), "logits": torch.zeros(0, 4), "target": torch.zeros(0, 4)},
            "empty",
        ),
    ],
)
def test_bad_input_is_refused(change: dict[str, Tensor], message: str) -> None:
    head, inputs, target, protected = case()
    given = {"inputs": inputs, "logits": head(inputs), "target": target, "protected": protected}
    with pytest.raises(ValueError, match=message):
        multilabel_importance(**(given | change))
