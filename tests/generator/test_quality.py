"""Measures of generated images, against what they are by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from repro.generator.quality import (
    agreement,
    diversity,
    found,
    frechet_distance,
    nearest,
    quantiles,
    worst_group,
)


def images(n: int, *, seed: int = 0, size: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, size, size), generator=generator, dtype=torch.uint8)


def test_agreement_counts_what_was_asked_for() -> None:
    asked = pd.DataFrame(
        {
            "Smiling": [1, 0, 1, 0],
            "Eyeglasses": [1.0, np.nan, 0.0, np.nan],
            "pose": ["left", None, "right", np.nan],
            "Bald": [np.nan] * 4,
        },
        index=[7, 7, 3, 1],
    )
    read = pd.DataFrame(
        {
            "Smiling": np.array([1, 1, 1, 0], dtype=object),
            "Eyeglasses": np.array([1, 1, 1, 1], dtype=object),
            "pose": ["left", "left", "right", "frontal"],
            "Bald": [0, 0, 0, 0],
            "Male": [0, 0, 0, 0],
        }
    )
    assert agreement(asked, read) == {"Smiling": 0.75, "Eyeglasses": 0.5, "pose": 1.0}


def test_agreement_of_nullable_columns_and_of_what_could_not_be_read() -> None:
    asked = pd.DataFrame({"Smiling": pd.array([1, None, 0, 1], dtype="Int8")})
    read = pd.DataFrame({"Smiling": np.array([1, 1, 1, None], dtype=object)})
    assert agreement(asked, read) == {"Smiling": pytest.approx(1 / 3)}


def test_agreement_by_group() -> None:
    asked = pd.DataFrame(
        {"Smiling": [0, 0, 1, 1, 1, 1, np.nan], "Male": [0, 0, 0, 1, 1, np.nan, 1]},
        index=[0, 0, 1, 2, 3, 4, 5],  # names may repeat
    )
    read = pd.DataFrame({"Smiling": np.array([0, 1, 1, 1, 0, 0, 1], dtype=object)})
    shares = worst_group(asked, read, "Smiling", "Male")
    assert shares == {"(0,0)": 0.5, "(1,0)": 1.0, "(1,1)": 0.5}


def test_frechet_distance_of_normal_distributions() -> None:
    rng = np.random.default_rng(0)
    n = 400_000
    first = rng.normal(size=(n, 2)) * [1.0, 2.0]
    second = rng.normal(size=(n, 2)) * [3.0, 0.5] + [2.0, -1.0]
    # Diagonal covariances: |m1 - m2|^2 + sum (s1 - s2)^2.
    expected = 2**2 + 1**2 + (1 - 3) ** 2 + (2 - 0.5) ** 2
    assert frechet_distance(first, second) == pytest.approx(expected, rel=0.01)


def test_frechet_distance_is_the_published_formula() -> None:
    rng = np.random.default_rng(1)
    first = rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5))
    second = rng.normal(size=(200, 5)) @ rng.normal(size=(5, 5)) + rng.normal(size=5)
    one, two = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    mean = first.mean(axis=0) - second.mean(axis=0)
    expected = mean @ mean + np.trace(one + two - 2 * np.real(sqrtm(one @ two)))
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_of_the_same_images_is_nothing() -> None:
    features = np.random.default_rng(2).normal(size=(500, 6))
    features[:, 2] = 0.0  # never reached, as units of a network may be
    features[:, 3] = features[:, 4]
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(features, features + 2.0) == pytest.approx(24.0)


def test_diversity() -> None:
    assert diversity(np.ones((50, 4))) == 0.0
    two = np.array([[0.0, 0.0], [3.0, 4.0]])
    assert diversity(two) == 5.0  # an image is not compared with itself
    features = np.random.default_rng(3).normal(size=(3_000, 2))
    assert diversity(features) == pytest.approx(np.sqrt(np.pi), rel=0.02)
    assert diversity(features) == diversity(features)


def test_copies_and_mirrored_copies_are_found() -> None:
    training = images(60)
    # More than are compared at once, so that what is joined is seen.
    new = torch.cat([images(300, seed=9), training[[17]], training[[23]].flip(3)])
    distances = nearest(new, training)
    assert distances.shape == (302,)
    assert distances[-2:].tolist() == [0.0, 0.0]
    assert distances[:-2].min() > 0.1


def test_the_distance_is_a_root_mean_square_of_pixels_from_0_to_1() -> None:
    dark = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    half = dark.clone()
    half[:, :, :16] = 255
    assert float(nearest(half, dark)) == pytest.approx(0.5**0.5)
    grey = torch.full_like(dark, 51)
    assert float(nearest(grey, torch.cat([half, dark]))) == pytest.approx(0.2)


def test_nearest_is_the_nearest() -> None:
    training, new = images(40, seed=1), images(5, seed=2)
    pooled = [
        torch.nn.functional.avg_pool2d(part.double() / 255, 2).flatten(1)
        for part in (training, training.flip(3), new)
    ]
    known = torch.cat(pooled[:2])
    expected = (pooled[2][:, None] - known).square().mean(dim=2).sqrt().min(dim=1).values
    assert torch.allclose(nearest(new, training).double(), expected, atol=1e-6)


def test_quantiles() -> None:
    distances = torch.arange(101).flip(0) / 100
    assert quantiles(distances) == pytest.approx([0.0, 0.01, 0.5])


def test_what_is_rare_is_counted_where_it_was_asked_for() -> None:
    asked = pd.DataFrame(
        {"hat": pd.array([1, 1, 1, 1, 0, 0, None, 0], dtype="Int8"), "beard": [0.0] * 7 + [np.nan]}
    )
    read = pd.DataFrame({"hat": [1, 0, 0, 0, 0, 0, 1, 1], "beard": [1] * 8, "more": [0] * 8})
    assert found(asked, read) == {"hat": 0.25}  # nobody was asked for a beard
    # Who never reads a hat agrees with most of what was asked.
    assert agreement(asked[["hat"]], read.assign(hat=0)) == {"hat": pytest.approx(3 / 7)}
