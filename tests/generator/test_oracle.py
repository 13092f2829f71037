"""The classifier that reads images: it learns what is known, and nothing from what is not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from repro.generator.oracle import Oracle, train

CLASSES: Mapping[str, tuple[object, ...]] = {"colour": ("red", "green", "blue"), "bright": (0, 1)}


def coloured(n: int, *, seed: int) -> tuple[Tensor, pd.DataFrame]:
    """Draw images of one colour with some noise, and what they are."""
    rng = np.random.default_rng(seed)
    colour, bright = rng.integers(3, size=n), rng.integers(2, size=n)
    pixels = rng.integers(0, 40, (n, 3, 32, 32))
    pixels[np.arange(n), colour] += np.where(bright, 210, 90)[:, None, None]
    names = np.array(CLASSES["colour"], dtype=object)[colour]
    table = pd.DataFrame({"colour": names, "bright": bright, "other": 0})
    return torch.from_numpy(pixels.astype(np.uint8)), table


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    images, table = coloured(160, seed=0)
    # Most brightnesses are not known; two colours are none that is asked for.
    table["bright"] = table["bright"].astype("Int8").where(np.arange(160) % 3 == 0)
    table.loc[:1, "colour"] = None
    return train(images, table, CLASSES, steps=60, width=8, batch_size=32)


def test_it_reads_what_it_was_taught(oracle: Oracle) -> None:
    images, truth = coloured(60, seed=1)
    read = oracle.read(images)
    assert list(read.columns) == ["colour", "bright"]
    assert (read["colour"].to_numpy() == truth["colour"].to_numpy()).mean() > 0.95
    assert (read["bright"].to_numpy() == truth["bright"].to_numpy()).mean() > 0.95


def test_features_are_what_the_last_layer_sees(
    oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repro.generator.oracle._AT_ONCE", 4)
    images, _ = coloured(10, seed=2)
    features = oracle.features(images)
    assert features.shape == (10, 64)
    assert features.dtype == np.float64
    with torch.no_grad():
        logits = oracle.model.fc(torch.from_numpy(features).float())  # type: ignore[operator]
    read = oracle.read(images)["bright"].to_numpy()
    assert (logits[:, 3:].argmax(dim=1).numpy() == read).all()
    assert not oracle.model.fc._forward_pre_hooks  # type: ignore[union-attr]


def test_an_unknown_label_teaches_nothing() -> None:
    images, table = coloured(24, seed=3)
    table["bright"] = np.where(np.arange(24) % 2 == 0, table["bright"], np.nan)
    odd = table.assign(bright=table["bright"].fillna(7.0))  # a value that is none of the classes

    def weights(labels: pd.DataFrame) -> list[Tensor]:
        found = train(images, labels, CLASSES, steps=2, width=8, batch_size=8)
        return list(found.model.state_dict().values())

    first, second = weights(table), weights(odd)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    # What is known does teach.
    other = weights(table.assign(bright=1 - table["bright"]))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_images_of_which_nothing_is_known_are_no_error() -> None:
    images, table = coloured(8, seed=4)
    nothing = table.assign(colour=None, bright=np.nan)
    found = train(images, nothing, CLASSES, steps=1, width=8, batch_size=4)
    assert all(p.isfinite().all() for p in found.model.parameters())
