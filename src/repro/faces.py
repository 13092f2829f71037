"""Faces with labels, in memory as bytes, and the batches in which they train.

Frames are kept at their own size. A batch is cropped, flipped and normalised where it trains, each
image its own way; what is drawn follows from a purpose, a seed and an epoch alone.
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
    """Two sets of images behind one index, so that neither is copied.

    Parameters
    ----------
    first, second
        (n, 3, h, w) and (m, 3, h', w') uint8; row i >= n is image i - n of ``second``.
    """

    def __init__(self, first: Tensor, second: Tensor) -> None:
        self.first, self.second = first, second
        self.mixed = first.shape[2:] != second.shape[2:]
        sides = (max(pair) for pair in zip(first.shape[2:], second.shape[2:], strict=True))
        self.shape = (len(first) + len(second), 3, *sides)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Return the images of rows (k,), each frame in the upper left corner of its image."""
        early = rows < len(self.first)
        images = torch.zeros((len(rows), *self.shape[1:]), dtype=torch.uint8)
        for which, own, of in (
            (early, self.first, rows[early]),
            (~early, self.second, rows[~early] - len(self.first)),
        ):
            images[which, :, : own.shape[2], : own.shape[3]] = own[of]
        return images

    def frames(self, rows: Tensor) -> Tensor | None:
        """Return height and width of the frames of rows (k,), (k, 2); None if they are alike."""
        if not self.mixed:
            return None
        sides = torch.tensor([self.first.shape[2:], self.second.shape[2:]])
        return sides[(rows >= len(self.first)).long()]


@dataclass(frozen=True)
class Faces:
    """Images with labels: ``rows`` of ``images``, whose target and protected attribute these are.

    Attributes
    ----------
    images
        Bytes, shape (N, 3, h, w), uint8, in memory or memory-mapped, or two such sets.
    rows
        Which of them, shape (n,), int64.
    target, protected
        Shape (n,), 0 or 1, int64.
    names
        Names of the n examples, for the record of predictions.
    size
        Height and width in pixels at which a network reads them; the images' width by default.
    """

    images: Tensor | Stack
    rows: Tensor
    target: Tensor
    protected: Tensor
    names: np.ndarray
    size: int = 0

    def __post_init__(self) -> None:
        if not self.size:
            object.__setattr__(self, "size", self.images.shape[-1])

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.rows)

    def subset(self, positions: np.ndarray) -> Faces:
        """Return the examples at these positions, in this order."""
        at = torch.from_numpy(np.asarray(positions, dtype=np.int64))
        return Faces(self.images, self.rows[at], self.target[at], self.protected[at],
                     self.names[positions], self.size)  # fmt: skip

    def frames(self, at: Tensor | slice) -> tuple[Tensor, Tensor | None]:
        """Return the images of some examples and, where they differ, the sizes of the frames."""
        rows = self.rows[at]
        sizes = self.images.frames(rows) if isinstance(self.images, Stack) else None
        return self.images[rows], sizes


def joined(first: Faces, second: Faces) -> Faces:
    """Return both sets as one, to be read at one size; their frames may be of two."""
    if first.size != second.size:
        raise ValueError(
            f"the sets are read at {first.size} and {second.size} pixels; one network reads one"
        )
    if isinstance(first.images, Stack) or isinstance(second.images, Stack):
        raise TypeError("a joined set cannot be joined again")
    return Faces(
        Stack(first.images, second.images),
        torch.cat([first.rows, second.rows + len(first.images)]),
        torch.cat([first.target, second.target]),
        torch.cat([first.protected, second.protected]),
        np.concatenate([first.names, second.names]),
        first.size,
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
    """Yield (inputs (b, 3, size, size) float32, target (b,)) once over ``faces``, shuffled.

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
    for done, start in enumerate(range(0, len(faces), how.batch_size)):
        at = order[start : start + how.batch_size]
        short = done > 0 and len(at) < how.batch_size
        if (limit is not None and done >= limit) or len(at) < 2 or short:
            return
        images, frames = faces.frames(at)
        images = images.to(device, non_blocking=True)
        if augmented:
            inputs = augment.random_resized_crop(
                images,
                faces.size,
                generator=generator,
                scale=(how.smallest_crop, 1.0),
                frames=frames,
                flip=how.flip,
            )
        else:
            inputs = augment.plain(images, faces.size, frames=frames)
        inputs = inputs.contiguous(memory_format=layout)
        yield inputs, faces.target[at].to(device, non_blocking=True)
