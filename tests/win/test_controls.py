import pytest
import torch
from torch import Tensor, nn

from repro.models import parameter_count
from repro.names import UnknownNameError
from repro.win.controls import IMPORTANCES, factorised, importance_of
from repro.win.fisher import neutralise
from repro.win.lowrank import plain_svd, weighted_svd

GROUPS = (torch.tensor([4.0, 1.0, 2.0, 7.0, 3.0]), torch.tensor([1.0, 6.0, 2.0, 1.0, 5.0]))
POOLED = torch.tensor([3.0, 2.0, 2.0, 5.0, 1.0])


def head(bias: bool = True) -> nn.Linear:
    torch.manual_seed(3)
    return nn.Linear(5, 3, bias=bias)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("neutralised", neutralise(*GROUPS)),
        ("group 1", GROUPS[0]),
        ("group 2", GROUPS[1]),
        ("pooled", POOLED),
        ("none", torch.ones(5)),
    ],
)
def test_which_importance(kind: str, expected: Tensor) -> None:
    found = importance_of(kind, GROUPS, POOLED)
    assert torch.equal(found, expected)
    found.zero_()  # a copy: what was given is as it was
    assert GROUPS[0][0] == 4
    assert POOLED[0] == 3


def test_shuffled_keeps_the_values_and_moves_them_by_its_seed() -> None:
    neutral = neutralise(*GROUPS)
    draws = [importance_of("shuffled", GROUPS, POOLED, seed=seed) for seed in range(6)]
    assert all(torch.equal(draw.sort().values, neutral.sort().values) for draw in draws)
    assert any(not torch.equal(draw, neutral) for draw in draws)
    assert len({tuple(draw.tolist()) for draw in draws}) > 1
    assert torch.equal(draws[2], importance_of("shuffled", GROUPS, POOLED, seed=2))


def test_the_weight_moves_what_is_neutralised() -> None:
    assert torch.equal(importance_of("neutralised", GROUPS, POOLED, weight=1.0), GROUPS[0])
    with pytest.raises(ValueError, match="weight"):
        importance_of("neutralised", GROUPS, POOLED, weight=1.1)


@pytest.mark.parametrize("kind", IMPORTANCES)
@pytest.mark.parametrize("bias", [True, False])
def test_full_rank_is_the_head_itself_whatever_the_importance(kind: str, bias: bool) -> None:
    layer = head(bias)
    low, floored = factorised(layer, kind, GROUPS, POOLED)
    assert floored == []
    assert low.rank == 3
    assert (low.bias is None) == (not bias)
    torch.testing.assert_close(low.weight, layer.weight)


def test_every_control_has_the_same_budget() -> None:
    sizes = {
        parameter_count(factorised(head(), kind, GROUPS, POOLED, rank=2)[0]) for kind in IMPORTANCES
    }
    assert sizes == {5 * 2 + 2 * 3 + 3}


def test_none_is_the_plain_svd_and_the_others_are_not() -> None:
    weight = head().weight.detach().T
    low, _ = factorised(head(), "none", GROUPS, POOLED, rank=1)
    assert torch.equal(low.B, plain_svd(weight, 1)[1])
    low, _ = factorised(head(), "group 2", GROUPS, POOLED, rank=1)
    assert torch.equal(low.B, weighted_svd(weight, GROUPS[1], 1)[1])
    assert not torch.allclose(low.B, plain_svd(weight, 1)[1], atol=1e-3)


def test_a_dead_row_is_floored_and_named() -> None:
    dead = (GROUPS[0].clone(), GROUPS[1].clone())
    dead[0][3] = dead[1][3] = 0
    with pytest.raises(ValueError, match=r"rows \[3\]"):
        factorised(head(), "neutralised", dead, POOLED, rank=1)
    _, floored = factorised(head(), "neutralised", dead, POOLED, rank=1, importance_floor=1e-6)
    assert floored == [3]


def test_bad_input_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'pooled'"):
        importance_of("poled", GROUPS, POOLED)
    with pytest.raises(ValueError, match="pooled must have shape"):
        importance_of("none", GROUPS, POOLED[:2])
    with pytest.raises(TypeError, match=r"only nn\.Linear can be factorised, not Conv2d"):
        factorised(nn.Conv2d(5, 3, 1), "none", GROUPS, POOLED)  # type: ignore[arg-type]
