"""Which parameters each strategy trains, and from which start."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from repro.names import UnknownNameError
from repro.win.fisher import neutralise
from repro.win.lowrank import LowRankLinear, plain_svd, weighted_svd
from repro.win.strategies import HEAD_ONLY, STRATEGIES, head_for

MEN, WOMEN = torch.linspace(1, 5, 10), torch.linspace(4, 2, 10)


@pytest.fixture
def head() -> nn.Linear:
    layer = nn.Linear(10, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(2, 10, generator=torch.Generator().manual_seed(0)))
    return layer.requires_grad_(False)


def settings(strategy: str, rank: int = 1, weight: float = 0.5) -> dict[str, Any]:
    return {
        "tl": {},
        "svd": {"rank": rank},
        "win": {"rank": rank, "importances": (MEN, WOMEN), "weight": weight},
    }[strategy]


@pytest.mark.parametrize("strategy", HEAD_ONLY)
def test_every_parameter_of_the_new_head_trains_and_the_old_one_stays(
    head: nn.Linear, strategy: str
) -> None:
    before = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    new, floored = head_for(strategy, head, **settings(strategy))
    assert floored == []
    assert all(p.requires_grad for p in new.parameters())
    assert sum(p.numel() for p in new.parameters()) == (22 if strategy == "tl" else 14)
    with torch.no_grad():
        for parameter in new.parameters():
            parameter.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in head.state_dict().items())


@pytest.mark.parametrize(("strategy", "rank"), [("tl", 1), ("svd", 2), ("win", 2)])
def test_full_rank_starts_from_the_same_function(head: nn.Linear, strategy: str, rank: int) -> None:
    x = torch.randn(50, 10, generator=torch.Generator().manual_seed(1))
    new, _ = head_for(strategy, head, **settings(strategy, rank))
    torch.testing.assert_close(new(x), head(x), atol=1e-5, rtol=1e-5)


def test_win_factorises_by_the_neutralised_importance(head: nn.Linear) -> None:
    weight = head.weight.T
    for a in (0.5, 0.9, 0.1):
        new, _ = head_for("win", head, **settings("win", weight=a))
        assert isinstance(new, LowRankLinear)
        expected: tuple[Tensor, Tensor] = weighted_svd(weight, a * MEN + (1 - a) * WOMEN, 1)
        torch.testing.assert_close((new.A.data, new.B.data), expected)
        torch.testing.assert_close(neutralise(MEN, WOMEN, a), a * MEN + (1 - a) * WOMEN)
    assert not torch.allclose(expected[1], plain_svd(weight, 1)[1])


def test_svd_takes_all_rows_alike(head: nn.Linear) -> None:
    new, _ = head_for("svd", head, rank=1)
    assert isinstance(new, LowRankLinear)
    torch.testing.assert_close((new.A.data, new.B.data), plain_svd(head.weight.T, 1))


def test_a_row_without_importance_is_floored_and_named(head: nn.Linear) -> None:
    men, women = MEN.clone(), WOMEN.clone()
    men[3] = women[3] = 0
    given = {"rank": 1, "importances": (men, women), "weight": 0.5}
    with pytest.raises(ValueError, match=r"rows \[3\]"):
        head_for("win", head, **given)
    new, floored = head_for("win", head, **given, importance_floor=1e-3)
    assert floored == [3]
    assert isinstance(new, LowRankLinear)
    assert new.A.isfinite().all()


@pytest.mark.parametrize("rank", [0, 3])
@pytest.mark.parametrize("strategy", ["svd", "win"])
def test_rank_out_of_range(head: nn.Linear, strategy: str, rank: int) -> None:
    with pytest.raises(ValueError, match=rf"1\.\.2 .*not {rank}"):
        head_for(strategy, head, **settings(strategy, rank))


@pytest.mark.parametrize(
    ("strategy", "given", "message"),
    [
        ("svd", {}, "'svd' needs a rank"),
        ("win", {"weight": 0.5, "importances": (MEN, WOMEN)}, "'win' needs a rank"),
        ("win", {"rank": 1, "weight": 0.5}, "needs the importances"),
        ("win", {"rank": 1, "importances": (MEN, WOMEN)}, "and a weight"),
    ],
)
def test_a_missing_setting_is_named(
    head: nn.Linear, strategy: str, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        head_for(strategy, head, **given)


def test_unknown_strategy(head: nn.Linear) -> None:
    with pytest.raises(UnknownNameError, match="unknown strategy 'wim'; did you mean 'win'"):
        head_for("wim", head)
    assert set(HEAD_ONLY) < set(STRATEGIES)
