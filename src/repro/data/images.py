"""Labelled images: what a set of them must be, and how one of them is decoded."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from repro.data.sources import DataError
from repro.names import check_name

if TYPE_CHECKING:  # torch is imported where a tensor is made: reading labels stays fast
    from torch import Tensor

PARTS = ("train", "validation", "test")

VERSION = 2
"""Version of what a run reads of an image file; since 2 it is the frame at its own size."""


@dataclass(frozen=True)
class ImageSet:
    """Labelled images, n of them, all of one size.

    Attributes
    ----------
    name
        Name of the data set.
    images
        (n, 3, h, w) uint8, red, green, blue; in memory or memory-mapped.
    attributes
        n rows, indexed by unique example names; each column an attribute, int8, 0 or 1.
    part
        (n,) each one of `PARTS`.
    skipped
        Why examples of the data set were left out, and how many.
    sha256
        Digest of every file that was read, by file name.

    Raises
    ------
    ValueError
        If the fields do not fit together; the message says which and how.
    """

    name: str
    images: Tensor
    attributes: pd.DataFrame
    part: NDArray[np.generic]
    skipped: Mapping[str, int] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import torch

        shape, part = tuple(self.images.shape), np.asarray(self.part)
        if self.images.dtype != torch.uint8 or len(shape) != 4 or shape[1] != 3:
            raise ValueError(
                f"{self.name}: images must be uint8 of shape (n, 3, h, w), "
                f"not {self.images.dtype} of shape {shape}"
            )
        if not len(self.images) == len(self.attributes) == len(part):
            raise ValueError(
                f"{self.name}: {len(self.images)} images, {len(self)} rows of attributes and "
                f"{len(part)} parts; one of each is needed for each example"
            )
        if part.ndim != 1 or not np.isin(part, PARTS).all():
            raise ValueError(f"{self.name}: part must be one-dimensional, each one of {PARTS}")
        if not self.attributes.index.is_unique:
            twice = self.attributes.index[self.attributes.index.duplicated()][0]
            raise ValueError(f"{self.name}: two examples are named {twice!r}; names must be unique")
        for column in self.attributes.columns:
            values = self.attributes[column].to_numpy()
            if values.dtype != np.int8 or not np.isin(values, (0, 1)).all():
                raise ValueError(
                    f"{self.name}: attribute {column!r} must be int8, each value 0 or 1"
                )

    def __len__(self) -> int:
        return len(self.attributes)

    def attribute(self, name: str) -> NDArray[np.int8]:
        """Return the (n,) int8 values, 0 or 1, of one attribute.

        Raises
        ------
        UnknownNameError
            If there is no such attribute; the nearest name is given.
        """
        check_name("attribute", name, [str(column) for column in self.attributes.columns])
        return self.attributes[name].to_numpy(dtype=np.int8)


def same_names(what: str, first: Iterable[str], second: Iterable[str]) -> None:
    """Refuse a list that does not name the same examples in the same order.

    Parameters
    ----------
    what
        What is compared, as it begins the message: "celeba: attribute list and partition list".
    first, second
        The names of either; lists compare faster than an index of pandas.

    Raises
    ------
    DataError
        Both lengths and the first names that differ.
    """
    one, other = list(first), list(second)
    if one == other:
        return
    pairs = enumerate(zip(one, other, strict=False))
    shorter = min(len(one), len(other))
    at = next((i for i, (a, b) in pairs if a != b), shorter)
    shown = [repr(names[at]) if at < len(names) else "nothing" for names in (one, other)]
    raise DataError(
        f"{what} do not match: {len(one)} and {len(other)} names; at position {at + 1} the first "
        f"has {shown[0]}, the second {shown[1]}. Fetch both again from one source"
    )


def decode(data: bytes, size: int | None, name: str, *, crop: float = 1.0) -> NDArray[np.uint8]:
    """Decode an image file, as it is or squashed to a square.

    Grey, palette, CMYK and other colour modes become RGB; what is transparent shows white; 16
    bits are scaled to 8, not clipped. Rotation in EXIF data is ignored, as the papers' loader
    does. Resizing is bilinear and antialiased, as in torchvision's Resize.

    Parameters
    ----------
    data
        Content of the file.
    size
        Height and width of the result in pixels; None for the frame at its own size, which
        nothing interpolates.
    name
        Name of the file, for the message.
    crop
        Share of height and width, in the middle, that is kept; above 0 and at most 1. Without a
        ``size`` it is cut at whole pixels.

    Returns
    -------
    (3, h, w) uint8
        Red, green, blue; both sides ``size`` where that is given.

    Raises
    ------
    DataError
        If it is no image, or an incomplete one.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            if size is None:
                shown = _rgb(image).crop(_middle(*image.size, crop))
            else:
                # A JPEG far larger than needed is decoded at a half, a quarter or an eighth of its
                # size, never below twice the size that is asked for.
                image.draft(None, (2 * round(size / crop), 2 * round(size / crop)))
                width, height = image.size
                margin = (1 - crop) / 2
                box = (width * margin, height * margin, width * (1 - margin), height * (1 - margin))
                shown = _rgb(image).resize((size, size), Image.Resampling.BILINEAR, box=box)
    # PIL reports damage by any of these, depending on the format and the place of the damage.
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        IndexError,
        struct.error,
        Image.DecompressionBombError,
    ) as error:
        kind = "is empty" if not data else f"cannot be decoded ({error})"
        raise DataError(
            f"{name} {kind}: it is truncated or not an image. Fetch the data set again, or "
            "remove this file from it"
        ) from error
    return np.ascontiguousarray(np.asarray(shown).transpose(2, 0, 1))


def _middle(width: int, height: int, crop: float) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the middle of a frame, at least a pixel of it."""
    left, top = (min(round(side * (1 - crop) / 2), (side - 1) // 2) for side in (width, height))
    return left, top, width - left, height - top


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or (image.mode == "I" and np.asarray(image).max() > 65_535):
        raise ValueError(f"pixels of more than 16 bits, mode {image.mode}")
    if image.mode == "I" or image.mode.startswith("I;16"):
        wide = np.asarray(image).astype(np.float64)
        return Image.fromarray(np.rint(wide / 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        solid = image.convert("RGBA")
        white = Image.new("RGBA", solid.size, "white")
        return Image.alpha_composite(white, solid).convert("RGB")
    return image.convert("RGB")
