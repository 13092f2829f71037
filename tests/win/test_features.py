from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from repro.data import augment
from repro.data.images import ImageSet
from repro.models import head_inputs, image_classifier, last_linear
from repro.win import features
from repro.win.features import backbone_digest, image_features


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("REPRO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


def image_set(n: int = 5, size: int = 32, digest: str = "a") -> ImageSet:
    generator = torch.Generator().manual_seed(n)
    pixels = torch.randint(256, (n, 3, size, size), generator=generator, dtype=torch.uint8)
    names = pd.Index([f"{i:03}" for i in range(n)], name="name")
    labels = pd.DataFrame({"Smiling": np.arange(n) % 2}, index=names).astype(np.int8)
    return ImageSet("set", pixels, labels, np.array(["train"] * n), sha256={"archive": digest})


def network(seed: int = 0) -> nn.Module:
    return image_classifier("resnet18", width=4, seed=seed)


def stored(cache: Path) -> int:
    return len(list(cache.glob("*.npy")))


def test_they_are_what_reaches_the_head_in_evaluation_mode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(features, "_BATCH", 2)
    model, images = network().train(), image_set()
    found = image_features(model, images)
    assert found.shape == (5, 32)
    assert found.dtype == torch.float32
    assert all(module.training for module in model.modules())  # as it was
    _, head = last_linear(model)
    expected = head_inputs(model.eval(), head, augment.plain(images.images))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(head(found), model(augment.plain(images.images)))


def test_the_statistics_of_batchnorm_do_not_move() -> None:
    model = network().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    image_features(model, image_set())
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


@pytest.mark.parametrize(
    ("architecture", "size"), [("resnet18", 48), ("resnet50", 32), ("densenet121", 32)]
)
def test_backbones_at_any_size(architecture: str, size: int) -> None:
    model = image_classifier(architecture, seed=0)
    found = image_features(model, image_set(2), size=size)
    model.eval()
    assert found.shape == (2, last_linear(model)[1].in_features)
    logits = model(augment.plain(image_set(2).images, size))
    torch.testing.assert_close(last_linear(model)[1](found), logits, rtol=1e-4, atol=1e-5)


def test_what_they_depend_on_names_the_cache(cache: Path) -> None:
    image_features(network(), image_set())
    assert stored(cache) == 1
    image_features(network(), image_set())
    assert stored(cache) == 1
    image_features(network(1), image_set())  # other weights
    image_features(network(), image_set(digest="b"))  # other images
    image_features(network(), image_set(4))  # others of them
    image_features(network(), image_set(), size=48)  # read otherwise
    assert stored(cache) == 5


def test_the_head_is_not_part_of_the_backbone(cache: Path) -> None:
    model, other = network(), network()
    other.fc = nn.Linear(other.fc.in_features, 7, bias=False)
    assert backbone_digest(model) == backbone_digest(other)
    torch.testing.assert_close(
        image_features(model, image_set()), image_features(other, image_set())
    )
    assert stored(cache) == 1
    other.bn1.running_mean += 1.0  # not a parameter, and yet it makes other features
    assert backbone_digest(model) != backbone_digest(other)


class Headless(nn.Module):
    """Ends in something else than its last linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mean((2, 3))).square()


def test_a_head_that_is_not_linear_is_refused(cache: Path) -> None:
    with pytest.raises(ValueError, match="its output is changed afterwards"):
        image_features(Headless(), image_set())
    convolution = nn.Sequential(nn.Linear(32, 32), nn.Conv2d(3, 2, 1))
    with pytest.raises(ValueError, match="the head of Sequential is not linear"):
        image_features(convolution, image_set())
    assert stored(cache) == 0
