"""Images of an archive as one tensor: decoded once, then memory-mapped from the cache.

Decoding tens of thousands of files takes seconds to minutes, reading the result none
(`repro.data.cache`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from repro.data.archives import members, read_members
from repro.data.cache import (
    RESIDENT_SHARE,
    available_memory,
    cached,
    fits_in_memory,
    key_of,
    stored,
)
from repro.data.images import VERSION, decode
from repro.data.sources import DataError, cache_root

if TYPE_CHECKING:  # torch is imported where a tensor is made: reading labels stays fast
    from torch import Tensor

SUFFIXES = (".jpg", ".jpeg", ".png")
"""What ends the name of an image; other files in an archive are left alone."""

_CHUNK = 256  # images that are read, then decoded, together
_THREADED_BYTES = 4096  # images larger than this, on average, decode faster on two threads


def image_members(path: Path, *, depth: int = 1) -> dict[str, str]:
    """Return which member of an archive or folder is the image of which name.

    Parameters
    ----------
    path
        As for `repro.data.archives.members`.
    depth
        How many parts of a member's path make the name: archives differ in the folders around
        the part that the data set defines.

    Returns
    -------
    dict
        Member by name, in the order of the names.

    Raises
    ------
    DataError
        As `members`, and if two images have one name or there is none.
    """
    found: dict[str, str] = {}
    for member in members(path):
        if member.lower().endswith(SUFFIXES):
            name = "/".join(member.split("/")[-depth:])
            if name in found:
                raise DataError(
                    f"{path} has two images named {name}: {found[name]} and {member}. Remove one"
                )
            found[name] = member
    if not found:
        raise DataError(f"{path} holds no image ({', '.join(SUFFIXES)}); fetch it again")
    return dict(sorted(found.items()))


def load_images(
    dataset: str,
    archive: Path,
    names: Sequence[str],
    size: int | None,
    *,
    digest: str,
    crop: float = 1.0,
) -> Tensor:
    """Return images of an archive or folder as one tensor, decoded the first time only.

    Without a ``size`` every frame keeps its own, so that training and testing interpolate once.
    The frames of a set must then be of one size, as those of aligned faces are. Images that do not
    fit into the memory that is available stay on disk, memory-mapped; what they take is said on
    stderr.

    Parameters
    ----------
    dataset
        Name of the data set, for messages and the name of the cache file.
    archive
        As for `repro.data.archives.members`.
    names
        The n members to decode, in the order of the result.
    size
        Height and width of the result in pixels; None for frames at their own size.
    digest
        Digest of ``archive``; with another digest the images are decoded anew.
    crop
        See `repro.data.images.decode`.

    Returns
    -------
    (n, 3, h, w) uint8
        Both sides ``size`` where that is given. Writing into it never changes the cache.

    Raises
    ------
    DataError
        If a member is absent or damaged, a frame is of another size than the first, or the cache
        cannot be written. No part of the result is kept then.
    ValueError
        If ``names`` is empty or not unique, or ``size`` or ``crop`` is out of range.
    """
    import torch

    if not names or len(set(names)) < len(names):
        raise ValueError(f"{dataset}: names must be given and unique, there are {len(names)}")
    if (size is not None and size < 1) or not 0 < crop <= 1:
        raise ValueError(
            f"{dataset}: size must be at least 1 pixel and crop above 0 and at most 1, not "
            f"{size} and {crop}"
        )
    key = key_of([VERSION, digest, size, crop, list(names)])
    path = cache_root() / "images" / f"{dataset}-{size or 'frames'}-{key}.npy"
    found = stored(path, (len(names), 3, size, size), np.uint8)
    if found is None:
        if size:
            frame: tuple[int, ...] = (3, size, size)
        else:
            _, data = next(read_members(archive, names[:1]))
            frame = decode(data, None, f"{archive}: {names[0]}", crop=crop).shape

        def pixels(entry: tuple[str, bytes]) -> NDArray[np.uint8]:
            where = f"{archive}: {entry[0]}"
            image = decode(entry[1], size, where, crop=crop)
            if image.shape != frame:
                (_, height, width), (_, tall, wide) = image.shape, frame
                raise DataError(
                    f"{where} has {width}x{height} pixels, the first image has {wide}x{tall}. "
                    "Frames are read at their own size, which must be one for all: fetch the "
                    "aligned and cropped faces, not those in the wild"
                )
            return image

        title = f"{dataset}: decoding to {frame[2]}x{frame[1]}"
        found = cached(
            path,
            (len(names), *frame),
            np.uint8,
            lambda file: _decode_into(file, archive, names, pixels, title),
            what=f"{dataset}: the decoded images",
        )
    return torch.from_numpy(np.array(found) if _keep(dataset, found.shape) else found)


def _decode_into(
    file: BinaryIO,
    archive: Path,
    names: Sequence[str],
    pixels: Callable[[tuple[str, bytes]], NDArray[np.uint8]],
    title: str,
) -> None:
    start = file.tell()
    row = {name: i for i, name in enumerate(names)}
    entries = read_members(archive, row)  # in the order on disk: a .tar.gz has no other
    # Seldom on a terminal, so that a log or notebook is not filled with it.
    pause = 0.5 if sys.stderr.isatty() else 30
    with (
        ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool,
        tqdm(
            total=len(names), desc=title, unit=" images", mininterval=pause, file=sys.stderr
        ) as progress,
    ):
        while chunk := list(islice(entries, _CHUNK)):
            threaded = sum(len(data) for _, data in chunk) > _THREADED_BYTES * len(chunk)
            decoded: Iterator[NDArray[np.uint8]] = (pool.map if threaded else map)(pixels, chunk)
            for (name, _), image in zip(chunk, decoded, strict=True):
                file.seek(start + row[name] * image.size)
                file.write(image.data)
            progress.update(len(chunk))


def _keep(dataset: str, shape: tuple[int, ...]) -> bool:
    """Say what memory the images take and whether they are to be read into it."""
    needed, there = int(np.prod(shape)), available_memory()
    keep = fits_in_memory(needed)
    known = "unknown" if there is None else f"{there / 1e6:,.0f} MB"
    print(
        f"{dataset}: {shape[0]:,} images of {shape[3]}x{shape[2]} take {needed / 1e6:,.0f} MB "
        f"(memory available: {known}, of which at most {RESIDENT_SHARE:.0%} is taken); "
        + ("they are read into memory" if keep else "they are streamed from the cache on disk"),
        file=sys.stderr,
    )
    return keep
