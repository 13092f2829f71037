"""Images of an archive as one tensor: decoded once, then memory-mapped from a cache.

Decoding tens of thousands of files takes seconds to minutes, reading the result none, so it is
kept in `repro.data.sources.cache_root` under a name that follows from everything it depends on.
A cache file exists whole or not at all, and two processes that ask at once decode once.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from repro.data.archives import members, read_members
from repro.data.cachefile import filled, stored
from repro.data.images import VERSION, decode
from repro.data.sources import DataError, cache_root

if TYPE_CHECKING:  # torch is imported where a tensor is made: reading labels stays fast
    from torch import Tensor

SUFFIXES = (".jpg", ".jpeg", ".png")
"""What ends the name of an image; other files in an archive are left alone."""

RESIDENT_SHARE = 0.5
"""A set is kept in memory if it takes at most this share of the memory that is available."""

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
    resident: bool | None = None,
) -> Tensor:
    """Return images of an archive or folder as one tensor, decoded the first time only.

    Without a ``size`` every frame keeps its own, so that training and testing interpolate once.
    The frames of a set must then be of one size, as those of aligned faces are.

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
    resident
        Whether the images are read into memory (True), stay on disk as a memory-mapped file
        (False), or whichever `RESIDENT_SHARE` of the available memory allows (None). What it
        takes is said on stderr first.

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
    depends_on = json.dumps([VERSION, digest, size, crop, list(names)]).encode()
    key = hashlib.sha256(depends_on).hexdigest()[:16]
    path = cache_root() / "images" / f"{dataset}-{size or 'frames'}-{key}.npy"
    found = stored(path, (len(names), 3, size, size), np.uint8)
    if found is None:
        frame = (3, size, size) if size else _first_frame(archive, names[0], crop)
        shape = (len(names), *frame)
        how = partial(_decode_entry, size=size, archive=archive, crop=crop, shape=frame)
        found = filled(
            path,
            shape,
            np.uint8,
            lambda file: _decode_into(file, shape, dataset, archive, names, how),
            what=f"{dataset}: the decoded images",
        )
    return torch.from_numpy(np.array(found) if _keep(dataset, found.shape, resident) else found)


def kept(name: str, shape: tuple[int, ...], make: Callable[[], Tensor]) -> Tensor:
    """Return images that are drawn, not read, from the cache; made and kept the first time.

    Parameters
    ----------
    name
        Of the cache file; says all that the images depend on.
    shape
        (n, 3, h, w).
    make
        Draws them, uint8. Where the cache cannot be written they are drawn each time.
    """
    import torch

    path = cache_root() / "images" / f"{name}.npy"
    found = stored(path, shape, np.uint8)
    if found is not None:
        return torch.from_numpy(np.array(found))
    images = make()
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("xb") as out:
            np.save(out, images.numpy(), allow_pickle=False)
        unfinished.replace(path)
    except OSError:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return images


def _decode_into(
    file: BinaryIO,
    shape: tuple[int, ...],
    dataset: str,
    archive: Path,
    names: Sequence[str],
    how: Callable[[tuple[str, bytes]], NDArray[np.uint8]],
) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(file, header)
    start = file.tell()
    row = {name: i for i, name in enumerate(names)}
    entries = read_members(archive, row)  # in the order on disk: a .tar.gz has no other
    # Seldom on a terminal, so that a log or notebook is not filled with it.
    pause = 0.5 if sys.stderr.isatty() else 30
    with (
        ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool,
        tqdm(
            total=len(names),
            desc=f"{dataset}: decoding to {shape[3]}x{shape[2]}",
            unit=" images",
            mininterval=pause,
            file=sys.stderr,
        ) as progress,
    ):
        while chunk := list(islice(entries, _CHUNK)):
            threaded = sum(len(data) for _, data in chunk) > _THREADED_BYTES * len(chunk)
            decoded: Iterator[NDArray[np.uint8]] = (pool.map if threaded else map)(how, chunk)
            for (name, _), pixels in zip(chunk, decoded, strict=True):
                file.seek(start + row[name] * pixels.size)
                file.write(pixels.data)
            progress.update(len(chunk))


def _first_frame(archive: Path, name: str, crop: float) -> tuple[int, ...]:
    _, data = next(read_members(archive, [name]))
    return decode(data, None, f"{archive}: {name}", crop=crop).shape


def _decode_entry(
    entry: tuple[str, bytes],
    *,
    size: int | None,
    archive: Path,
    crop: float,
    shape: tuple[int, ...],
) -> NDArray[np.uint8]:
    name, data = entry
    pixels = decode(data, size, f"{archive}: {name}", crop=crop)
    if pixels.shape != shape:
        (_, height, width), (_, tall, wide) = pixels.shape, shape
        raise DataError(
            f"{archive}: {name} has {width}x{height} pixels, the first image has {wide}x{tall}. "
            "Frames are read at their own size, which must be one for all: fetch the aligned and "
            "cropped faces, not those in the wild"
        )
    return pixels


def _keep(dataset: str, shape: tuple[int, ...], resident: bool | None) -> bool:
    """Say what memory the images take and whether they are to be read into it."""
    needed, there = int(np.prod(shape)), available_memory()
    fits = there is None or needed <= RESIDENT_SHARE * there
    keep = fits if resident is None else resident
    known = "unknown" if there is None else f"{there / 1e6:,.0f} MB"
    print(
        f"{dataset}: {shape[0]:,} images of {shape[3]}x{shape[2]} take {_megabytes(shape)} MB "
        f"(memory available: {known}, of which at most {RESIDENT_SHARE:.0%} is taken); "
        + ("they are read into memory" if keep else "they are streamed from the cache on disk"),
        file=sys.stderr,
    )
    return keep


def available_memory() -> int | None:
    """Return the bytes that can be taken without swapping, None where that cannot be found out.

    On Linux what the system and the container (cgroup v2) allow, whichever is less.
    """
    found = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found += [int(x.split()[1]) * 1024 for x in lines if x.startswith("MemAvailable:")]
    except (OSError, ValueError):
        pass
    try:
        group = Path("/sys/fs/cgroup")
        most, used = (
            (group / name).read_text().strip() for name in ("memory.max", "memory.current")
        )
        found += [int(most) - int(used)]
    except (OSError, ValueError):  # no such group, or no limit: the word "max"
        pass
    return max(0, min(found)) if found else None


def _megabytes(shape: tuple[int, ...]) -> str:
    return f"{np.prod(shape) / 1e6:,.0f}"
