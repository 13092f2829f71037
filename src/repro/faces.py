"""Faces with labels, in memory as bytes, and the batches in which they train.

A batch is cropped, flipped and normalised where it trains, each image its own way; what is drawn
follows from a purpose, a seed and an epoch alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from repro.data import augment
from repro.settings import ImageOptimisation


class Stack:
    """Two sets of images of one size behind one index, so that neither is copied.

    Parameters
    ----------
    first, second
        (n, 3, s, s) and (m, 3, s, s) uint8; row i >= n is image i - n of ``second``.
    """

    def __init__(self, first: Tensor, second: Tensor) -> None:
        self.first, self.second = first, second
        self.shape = (len(first) + len(second), *first.shape[1:])

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Return the images (k, 3, s, s) of rows (k,)."""
        early = rows < len(self.first)
        images = torch.empty((len(rows), *self.shape[1:]), dtype=torch.uint8)
        images[early] = self.first[rows[early]]
        images[~early] = self.second[rows[~early] - len(self.first)]
        return images


@dataclass(frozen=True)
class Faces:
    """Images with labels: ``rows`` of ``images``, whose target and protected attribute these are.

    Attributes
    ----------
    images
        Bytes, shape (N, 3, s, s), uint8, in memory or memory-mapped, or two such sets.
    rows
        Which of them, shape (n,), int64.
    target, protected
        Shape (n,), 0 or 1, int64.
    names
        Names of the n examples, for the record of predictions.
    aspect
        Width over height of the original frame (the images are squashed to squares), one number
        or (n,) of each example.
    """

    images: Tensor | Stack
    rows: Tensor
    target: Tensor
    protected: Tensor
    names: np.ndarray
    aspect: float | Tensor = 1.0

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.rows)

    def subset(self, positions: np.ndarray) -> Faces:
        """Return the examples at these positions, in this order."""
        at = torch.from_numpy(np.asarray(positions, dtype=np.int64))
        aspect = self.aspect[at] if isinstance(self.aspect, Tensor) else self.aspect
        return Faces(self.images, self.rows[at], self.target[at], self.protected[at],
                     self.names[positions], aspect)  # fmt: skip

    def aspects(self) -> Tensor:
        """Return width over height of the original frame of each example, (n,)."""
        return torch.as_tensor(self.aspect, dtype=torch.float64).expand(len(self))


def joined(first: Faces, second: Faces) -> Faces:
    """Return both sets as one, each image cropped as it was; images of the same size."""
    if isinstance(first.images, Stack) or isinstance(second.images, Stack):
        raise TypeError("a joined set cannot be joined again")
    return Faces(
        Stack(first.images, second.images),
        torch.cat([first.rows, second.rows + len(first.images)]),
        torch.cat([first.target, second.target]),
        torch.cat([first.protected, second.protected]),
        np.concatenate([first.names, second.names]),
        torch.cat([first.aspects(), second.aspects()]),
    )


def stream(*words: str | int) -> int:
    """Return a seed for a random stream of its own, by what it is for: never shared by accident."""
    text = " ".join(map(str, words))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def batches(
    faces: Faces,
    how: ImageOptimisation,
    *,
    seed: int,
    epoch: int = 1,
    purpose: str = "training",
    augmented: bool = True,
    device: str = "cpu",
    limit: int | None = None,
    layout: torch.memory_format = torch.channels_last,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (inputs (b, 3, s, s) float32, target (b,)) once over ``faces``, shuffled.

    The order and every crop and flip follow from ``purpose``, ``seed`` and ``epoch`` alone, so that
    a training which was interrupted goes on as if it had not been. A last batch that is smaller
    than the others is left out, as by the authors' loaders, unless it is the only one.

    Parameters
    ----------
    purpose
        What the batches are for: two purposes have independent orders and crops.
    limit
        At most this many batches.
    layout
        Of the inputs in memory; see `repro.layout`.
    """
    generator = torch.Generator().manual_seed(stream("batches", purpose, seed, epoch))
    order = torch.randperm(len(faces), generator=generator)
    size = faces.images.shape[-1]
    for done, start in enumerate(range(0, len(faces), how.batch_size)):
        at = order[start : start + how.batch_size]
        short = done > 0 and len(at) < how.batch_size
        if (limit is not None and done >= limit) or len(at) < 2 or short:
            return
        images = faces.images[faces.rows[at]].to(device, non_blocking=True)
        if augmented:
            inputs = augment.random_resized_crop(
                images,
                size,
                generator=generator,
                scale=(how.smallest_crop, 1.0),
                aspect=faces.aspect[at] if isinstance(faces.aspect, Tensor) else faces.aspect,
                flip=how.flip,
            )
        else:
            inputs = augment.plain(images)
        inputs = inputs.contiguous(memory_format=layout)
        yield inputs, faces.target[at].to(device, non_blocking=True)
