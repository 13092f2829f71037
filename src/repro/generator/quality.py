"""How good generated faces are: what is read in them, how varied they are, whether they are copies.

Every measure comes with what it is on real images, because none means much alone.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

Features = NDArray[np.float64]


def agreement(asked: pd.DataFrame, read: pd.DataFrame) -> dict[str, float]:
    """Return for each column the share of rows in which what was read is what was asked.

    Parameters
    ----------
    asked
        n rows; a missing value was not asked for and does not count.
    read
        n rows, the same columns and more.
    """
    shares = {}
    for name in asked.columns:
        given = asked[name].notna().to_numpy()
        if given.any():
            same = asked[name].to_numpy()[given] == read[name].to_numpy()[given]
            shares[name] = float(np.mean(same.astype(bool)))
    return shares


def found(asked: pd.DataFrame, read: pd.DataFrame) -> dict[str, float]:
    """Return for each column the share of the rows with a 1 in which a 1 was read.

    Of what is rare (hats), `agreement` is high where nobody ever reads it.

    Parameters
    ----------
    asked
        n rows of 0, 1, or missing.
    read
        n rows, the same columns and more.
    """
    shares = {}
    for name in asked.columns:
        wanted = asked[name].eq(1).fillna(False).to_numpy(dtype=bool)
        if wanted.any():
            shares[name] = float((read[name].to_numpy()[wanted] == 1).mean())
    return shares


def worst_group(
    asked: pd.DataFrame, read: pd.DataFrame, target: str, protected: str
) -> dict[str, float]:
    """Return the agreement on ``target`` in each group that was asked for, by ``(t,p)``.

    Parameters
    ----------
    asked
        n rows; one that lacks a value of the two does not count.
    read
        n rows, with the column ``target`` at least.
    target, protected
        Columns of whole numbers.
    """
    known = asked[[target, protected]].notna().all(axis=1).to_numpy()
    t, p = (asked[name].to_numpy()[known].astype(int) for name in (target, protected))
    same = (read[target].to_numpy()[known] == t).astype(bool)
    return {
        f"({a},{b})": float(same[(t == a) & (p == b)].mean())
        for a, b in sorted(set(zip(t.tolist(), p.tolist(), strict=True)))
    }


def frechet_distance(first: Features, second: Features) -> float:
    """Return the Fréchet distance of two sets of features taken as normal (Heusel et al., 2017).

    It is ``|m1 - m2|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2))``, with (n, d) features each; n well
    above d. The trace of the root is that of ``(C1^(1/2) C2 C1^(1/2))^(1/2)``, which is symmetric
    and exists for features that never vary, too.
    """
    means = [part.mean(axis=0) for part in (first, second)]
    covariances = [np.cov(part, rowvar=False) for part in (first, second)]
    values, vectors = np.linalg.eigh(covariances[0])
    # Rounding may make what is zero a little less.
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    shared = np.linalg.eigvalsh(root @ covariances[1] @ root).clip(min=0)
    distance = ((means[0] - means[1]) ** 2).sum() + sum(map(np.trace, covariances))
    return float(max(0.0, distance - 2 * np.sqrt(shared).sum()))


def diversity(features: Features) -> float:
    """Return the mean distance of two images, in features (n, d), over 20,000 random pairs."""
    first, second = np.random.default_rng(0).integers(len(features), size=(2, 20_000))
    different = first != second
    return float(
        np.linalg.norm(features[first[different]] - features[second[different]], axis=1).mean()
    )


def nearest(images: Tensor, training: Tensor) -> Tensor:
    """Return each image's distance to the nearest training image, (n,).

    The distance is the root mean square over pixels (0 to 1) of images reduced to 16x16, mirror
    images included: small only if two pictures show the same face in the same place.

    Parameters
    ----------
    images, training
        (n, 3, s, s) and (m, 3, s, s) uint8.
    """
    known = torch.cat([_small(training), _small(training.flip(3))])
    found = []
    for part in torch.split(_small(images), 256):
        # By products of matrices, which is fast, but off by 1e-4 where two images are the same.
        close = torch.cdist(part, known).argmin(dim=1)
        found.append((part - known[close]).square().mean(dim=1).sqrt())
    return torch.cat(found)


def _small(images: Tensor) -> Tensor:
    parts = [
        torch.nn.functional.adaptive_avg_pool2d(part.float() / 255, 16).flatten(1)
        for part in torch.split(images, 2048)
    ]
    return torch.cat(parts)


def quantiles(distances: Tensor) -> list[float]:
    """Return the least of distances (n,), their 1 % quantile, and their median."""
    return torch.quantile(distances, torch.tensor([0.0, 0.01, 0.5])).tolist()
