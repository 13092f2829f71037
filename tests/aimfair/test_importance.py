"""WIN's importance of whole tensors, against gradients of single examples taken one by one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from repro.aimfair.importance import fisher, importance_gap
from repro.vision import bce


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 1)
        )


def examples(n: int = 13, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn((n, 3, 8, 8), generator=generator)
    return images, torch.randint(0, 2, (n,), generator=generator)


def one_by_one(model: nn.Module, images: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Square the gradient of each example alone, then average."""
    model = copy.deepcopy(model).eval()
    squares = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for image, label in zip(images, target, strict=True):
        model.zero_grad()
        logit = model(image[None]).reshape(())
        nn.functional.softplus(logit * (1 - 2 * label)).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            squares[name] += parameter.grad**2 / len(images)
    return squares


@pytest.mark.parametrize("sizes", [[13], [8, 5], [1, 12]])
def test_it_is_the_mean_of_squared_gradients_of_single_examples(sizes: list[int]) -> None:
    model, (images, target) = network(), examples()
    model.train()
    before = copy.deepcopy(model.state_dict())
    parts = zip(images.split(sizes), target.split(sizes), strict=True)
    found = fisher(model, parts, bce, chunk=3)
    wanted = one_by_one(model, images, target)
    assert list(found) == list(wanted)
    for name, squares in wanted.items():
        torch.testing.assert_close(found[name], squares, rtol=1e-4, atol=1e-9)
    assert model.training  # as it was, its running statistics, too
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_without_an_example_or_with_one_that_is_none() -> None:
    with pytest.raises(ValueError, match="no example"):
        fisher(network(), [], bce)
    images, target = examples(2)
    with pytest.raises(ValueError, match=r"the gradient of .*0\.weight.* is not finite"):
        fisher(network(), [(images * float("nan"), target)], bce)


def test_the_gap_by_hand() -> None:
    first = {"w": torch.tensor([[4.0, 9.0]]), "b": torch.tensor([1.0])}
    second = {"w": torch.tensor([[1.0, 16.0]]), "b": torch.tensor([0.25])}
    assert importance_gap(first, second) == {"w": 1.0, "b": 0.5}  # |2 - 1|, |3 - 4|; |1 - .5|
    assert importance_gap(second, first) == importance_gap(first, second)
    with pytest.raises(ValueError, match="b"):
        importance_gap(first, {"w": second["w"]})
