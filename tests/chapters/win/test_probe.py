"""What the probe says of the last layer, against plain loops and data with a known answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from repro.chapters.win.probe import PCA_BINS, group_difference, separation, total_variation
from repro.training import Examples
from repro.win.fisher import linear_fisher, row_importance

N, WIDTH = 120, 4


def drawn(seed: int = 0) -> tuple[Tensor, Tensor, Examples]:
    """Return inputs of a head, its logits, and labels."""
    generator = torch.Generator().manual_seed(seed)
    protected = (torch.rand(N, generator=generator) < 0.6).long()
    inside = torch.randn(N, WIDTH, generator=generator).relu()
    inside[protected == 1, 0] *= 3  # men use the first unit more
    logits = inside @ torch.randn(WIDTH, 2, generator=generator)
    target = (torch.rand(N, generator=generator) < 0.4).long()
    return inside, logits, Examples(inside, target, protected)


def by_hand(inside: Tensor, logits: Tensor, target: Tensor, protected: Tensor) -> float:
    """Return the distance of the groups' importances, with the functions of the method."""
    shares = []
    for p in (1, 0):
        group = protected == p
        importance = row_importance(
            linear_fisher(inside[group].double(), logits[group].double(), target[group])
        )
        shares.append(importance / importance.sum())
    return float((shares[0] - shares[1]).abs().sum() / 2)


def test_group_difference_against_a_loop_over_permutations() -> None:
    inside, logits, train = drawn()
    found = group_difference(inside, logits, train, 19, seed=7)
    observed = by_hand(inside, logits, train.target, train.protected)
    assert found["importance_distance"] == pytest.approx(observed, rel=1e-6)

    generator = torch.Generator().manual_seed(7)
    everybody = [torch.arange(N)]
    by_target = [torch.nonzero(train.target == t).flatten() for t in (0, 1)]
    for name, cells in (("null", everybody), ("null_given_target", by_target)):
        null = []
        for _ in range(19):
            protected = train.protected.clone()
            for cell in cells:
                order = torch.randperm(len(cell), generator=generator)
                protected[cell] = train.protected[cell][order]
            null.append(by_hand(inside, logits, train.target, protected))
        distance = f"importance_distance_{name}"
        assert found[distance] == pytest.approx(np.mean(null), rel=1e-6)
        assert found[f"{distance}_95"] == pytest.approx(np.quantile(null, 0.95), rel=1e-6)
        p = (1 + sum(one >= observed for one in null)) / 20
        assert found[f"{distance}_p"] == pytest.approx(p)
        assert p == 0.05  # the difference that was put in is found


def test_a_difference_of_base_rates_alone_is_none_within_the_target() -> None:
    inside, logits, train = drawn()
    inside[:, 0] = inside[:, 1]
    # Importance depends on the target, and so does the group, but given the target on nothing else.
    inside[train.target == 1, 2] *= 5
    generator = torch.Generator().manual_seed(1)
    protected = (torch.rand(N, generator=generator) < 0.2 + 0.6 * train.target).long()
    found = group_difference(inside, logits, Examples(inside, train.target, protected), 99, seed=7)
    assert found["importance_distance_null_p"] < 0.05
    assert found["importance_distance_null_given_target_p"] > 0.05


def test_importance_ratio_is_men_over_women() -> None:
    inside, logits, train = drawn()
    totals = []
    for p in (1, 0):
        group = train.protected == p
        fisher = linear_fisher(inside[group], logits[group], train.target[group])
        totals.append(float(row_importance(fisher).sum()))
    found = group_difference(inside, logits, train, 19, seed=7)
    assert found["importance_ratio"] == pytest.approx(totals[0] / totals[1], rel=1e-5)
    assert found["importance_ratio"] > 1


def test_without_a_difference_none_is_found() -> None:
    inside, logits, train = drawn()
    inside[:, 0] = inside[:, 1]
    shuffled = train.protected[torch.randperm(N, generator=torch.Generator().manual_seed(3))]
    found = group_difference(inside, logits, Examples(inside, train.target, shuffled), 99, seed=7)
    assert found["importance_distance_null_p"] > 0.05


def test_total_variation() -> None:
    first, second = torch.tensor([2.0, 2.0, 0.0]), torch.tensor([0.0, 0.0, 5.0])
    assert total_variation(first, second) == 1
    assert total_variation(first, 3 * first) == 0
    assert total_variation(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0])) == 0.25


def clouds(apart: float, men: int = 80, women: int = 60) -> tuple[Tensor, Tensor, Tensor]:
    """Return two clouds of positively predicted people and some who are not."""
    generator = torch.Generator().manual_seed(0)
    protected = torch.cat([torch.ones(men), torch.zeros(women), torch.ones(30)]).long()
    inside = torch.randn(len(protected), 5, generator=generator)
    inside[protected == 1, 2] += apart
    inside[-30:] = 1000  # predicted 0: must not matter
    positive = torch.tensor([1.0] * (men + women) + [-1.0] * 30)
    return inside, torch.stack([-positive, positive], 1), protected


def test_separation_of_clouds_far_apart_and_of_one() -> None:
    far, one = separation(*clouds(8.0), seed=0), separation(*clouds(0.0), seed=0)
    for name in ("separation_auc", "separation_auc_pca"):
        assert far[name] > 0.99
        assert 0.3 < one[name] < 0.7
    assert far["separation_distance"] > 3
    assert one["separation_distance"] < 0.5
    assert far["positives"] == [60, 80]


def test_separation_stores_counts_and_no_person() -> None:
    found = separation(*clouds(3.0), seed=0)
    density = np.asarray(found["pca_density"])
    assert density.shape == (2, PCA_BINS, PCA_BINS)
    assert density.dtype.kind == "i"
    for p, n in enumerate(found["positives"]):
        assert 0.9 * n <= density[p].sum() <= n  # the outermost lie outside the grid
    assert [len(edges) for edges in found["pca_edges"]] == [PCA_BINS + 1] * 2
    assert sum(found["pca_explained"]) <= 1


@pytest.mark.parametrize(("men", "women"), [(19, 60), (60, 19), (60, 0), (0, 0)])
def test_too_few_positives_have_no_separation(men: int, women: int) -> None:
    found = separation(*clouds(3.0, men, women), seed=0)
    assert found == {
        "separation_auc": None,
        "separation_auc_pca": None,
        "separation_distance": None,
        "positives": [women, men],
    }


def test_dead_units_are_taken() -> None:
    inside, logits, protected = clouds(8.0)
    inside[:, 4] = 0
    assert separation(inside, logits, protected, seed=0)["separation_auc"] > 0.99
