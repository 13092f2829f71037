"""From face settings to training sets: the biased real one, S1 and S2, validation and test."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from repro.aimfair.composition import compose
from repro.aimfair.strategies import Data
from repro.chapters.aim import synthetic as generated
from repro.chapters.aim.declared import camera_of, stamped, studio_of
from repro.data import toyfaces
from repro.data.images import ImageSet
from repro.data.registry import face_set
from repro.data.splits import GROUPS, biased_split
from repro.settings import FaceData, SyntheticFaces
from repro.vision import Faces, joined


# By what makes the images, not by what is asked of them: one set for all tasks and fractions.
@lru_cache(maxsize=8)
def _generated(settings: toyfaces.ToyFaces) -> ImageSet:
    return toyfaces.generate(settings, keep=True)


@lru_cache(maxsize=1)
def _read(name: str, edition: str) -> ImageSet:
    return face_set(name).load(None, edition=edition)


def image_set(data: FaceData) -> ImageSet:
    """Return the whole set of images that the settings name, drawn or read; kept in memory.

    Photographs are at their own size: what reads them crops or resizes once, to ``data.size``.
    """
    if data.name == "toyfaces":
        return _generated(camera_of(data))
    return _read(data.name, data.edition)


def read_sha256(data: FaceData, images: ImageSet) -> dict[str, str]:
    """Return the digests of what was read, as :func:`declared_sha256` declares them."""
    return dict(images.sha256 if data.name == "toyfaces" else stamped(images.sha256))


@dataclass(frozen=True)
class RealFaces:
    """The biased training set, and the validation and test part in their own distribution."""

    train: Faces
    validation: Faces
    test: Faces
    skipped: dict[str, int]  # listed but not usable, and why
    sha256: dict[str, str]


def faces_of(images: ImageSet, data: FaceData, rows: np.ndarray) -> Faces:
    """Return rows of an image set with the settings' two attributes as labels."""
    return Faces(
        images.images,
        torch.from_numpy(rows.astype(np.int64)),
        torch.from_numpy(images.attribute(data.target)[rows].astype(np.int64)),
        torch.from_numpy(images.attribute(data.protected)[rows].astype(np.int64)),
        images.attributes.index.to_numpy()[rows].astype(str),
        data.size,
    )


def real_faces(data: FaceData, *, balanced: bool = False) -> RealFaces:
    """Return the three parts; the first images of each group in index order train (1b).

    With ``balanced`` every group has as many training images, in all as many as the biased set.
    """
    images = image_set(data)
    pool = np.flatnonzero(images.part == "train")
    target, protected = images.attribute(data.target), images.attribute(data.protected)
    total = round(data.total * data.fraction)
    ratio = 1.0 if balanced else data.bias_ratio
    chosen = biased_split(target[pool], protected[pool], total, bias_ratio=ratio)
    rows = {"train": pool[chosen]} | {
        part: np.flatnonzero(images.part == part) for part in ("validation", "test")
    }
    parts = {part: faces_of(images, data, at) for part, at in rows.items()}
    return RealFaces(**parts, skipped=dict(images.skipped), sha256=read_sha256(data, images))


@dataclass(frozen=True)
class SyntheticSets:
    """Biased S1 and balanced S2, drawn from one pool of synthetic images."""

    images: ImageSet
    data: FaceData
    synthetic: SyntheticFaces
    seed: int

    @cached_property
    def pool(self) -> Faces:
        """Every image there is to draw from, by name."""
        return faces_of(self.images, self.data, self._by_name)

    @cached_property
    def biased(self) -> Faces:
        """S1."""
        return self._draw(self.synthetic.total, self.synthetic.bias_ratio, 1)

    @cached_property
    def balanced(self) -> Faces:
        """S2, ``amount`` times as large as the settings' total; a smaller one is part of it."""
        return self._draw(round(self.synthetic.total * self.synthetic.amount), 1.0, 2)

    @property
    def sha256(self) -> dict[str, str]:
        """Digests of the pool."""
        return dict(self.images.sha256)

    @cached_property
    def _by_name(self) -> np.ndarray:
        return np.argsort(self.images.attributes.index.to_numpy().astype(str), kind="stable")

    def _draw(self, total: int, ratio: float, which: int) -> Faces:
        # Two draws, independent as the authors' are: a common order would share most images.
        order = np.random.default_rng([self.seed, which]).permutation(self._by_name)
        target = self.images.attribute(self.data.target)[order]
        protected = self.images.attribute(self.data.protected)[order]
        chosen = biased_split(target, protected, total, bias_ratio=ratio)
        return faces_of(self.images, self.data, order[chosen])


def synthetic_faces(data: FaceData, synthetic: SyntheticFaces, *, seed: int) -> SyntheticSets:
    """Draw S1 and S2 from the pool: by sorted names and a seed, so that both can be had again."""
    if synthetic.source == "generator":
        images = generated.pool(data, synthetic)
    else:
        images = _generated(studio_of(data, synthetic))
    return SyntheticSets(images, data, synthetic, seed)


def group_counts(faces: Faces) -> np.ndarray:
    """Return how many images of each group there are, (2, 2) [t, p]."""
    counts = np.zeros((2, 2), dtype=int)
    np.add.at(counts, (faces.target.numpy(), faces.protected.numpy()), 1)
    return counts


def group_images(faces: Faces) -> dict[str, Tensor]:
    """Return the images of each group, (n, 3, h, w) uint8, by ``(t,p)``."""
    groups = {}
    for t, p in GROUPS:
        at = (faces.target == t) & (faces.protected == p)
        groups[f"({t},{p})"] = faces.images[faces.rows[at]]
    return groups


def training_set(data: Data, real: Faces, sets: SyntheticSets | None, *, seed: int) -> Faces:
    """Return what a strategy trains on; repairs are drawn from the pool, which has enough."""
    if sets is None:
        return real
    balanced = sets.pool if data == "repaired" else sets.balanced
    of_real, of_synthetic = compose(
        data,
        (real.target.numpy(), real.protected.numpy()),
        (balanced.target.numpy(), balanced.protected.numpy()),
        seed=seed,
    )
    if not len(of_synthetic):
        return real.subset(of_real)
    if not len(of_real):
        return balanced.subset(of_synthetic)
    return joined(real.subset(of_real), balanced.subset(of_synthetic))
