"""Features of images as one tensor: computed once, then memory-mapped from a cache.

What a frozen network makes of an image set follows from its weights, the images and the
preprocessing, so these name the file. It is kept in `repro.data.sources.cache_root`, exists whole
or not at all, and two processes that ask at once compute it once (as in `repro.data.imagecache`).
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import numpy as np

from repro.data.sources import DataError, cache_root

if TYPE_CHECKING:  # torch is imported where a tensor is made: reading labels stays fast
    from torch import Tensor


def load_features(
    name: str,
    depends_on: Mapping[str, Any],
    shape: tuple[int, int],
    compute: Callable[[], Iterable[Tensor]],
) -> Tensor:
    """Return features from the cache, computed and kept the first time.

    Parameters
    ----------
    name
        Begins the name of the cache file, and stands in messages.
    depends_on
        Plain values of everything that the features follow from.
    shape
        (n, d) of the result.
    compute
        Yields the features, float32, in chunks of rows (m, d) that make n together.

    Returns
    -------
    (n, d) float32
        Memory-mapped, copy on write: writing into it never changes the cache.

    Raises
    ------
    DataError
        If the cache cannot be written, or the chunks are not finite (a network in which something
        overflowed). No part of the result is kept then.
    ValueError
        If the chunks do not have the promised shape.
    """
    import torch

    text = json.dumps(depends_on, sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    path = cache_root() / "features" / f"{name}-{key}.npy"
    stored = _stored(path, shape)
    if stored is None:
        stored = _fill(path, shape, name, compute)
    return torch.from_numpy(stored)


def _stored(path: Path, shape: tuple[int, int]) -> np.memmap | None:
    """Map a cache file, copy on write; None if it is absent or not whole."""
    try:
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError):  # the latter two: truncated, or no such file format
        return None
    whole = isinstance(array, np.memmap) and array.shape == shape and array.dtype == np.float32
    return array if whole else None


def _fill(
    path: Path, shape: tuple[int, int], name: str, compute: Callable[[], Iterable[Tensor]]
) -> np.memmap:
    """Compute into a file of another name that gets its own at the end: whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The operating system drops the lock when a process dies; a second process waits, then
        # finds the finished file.
        with filelock.FileLock(path.with_name(f".{path.name}.lock")):
            stored = _stored(path, shape)
            if stored is not None:
                return stored
            try:
                _write(part, shape, name, compute)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise DataError(
            f"{name}: the features cannot be kept in {path.parent} ({error}); "
            + ("free some space there or " if full else "")
            + f"set REPRO_CACHE to a folder with room for {4 * np.prod(shape) / 1e6:,.0f} MB"
        ) from error
    stored = _stored(path, shape)
    if stored is None:
        raise DataError(f"{path} was changed while it was written; run again")
    return stored


def _write(
    part: Path, shape: tuple[int, int], name: str, compute: Callable[[], Iterable[Tensor]]
) -> None:
    # As a plain file rather than through a memory map: a full disk is then an error that can be
    # caught, not a signal that kills the process.
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    done = 0
    with part.open("wb") as file:
        np.lib.format.write_array_header_2_0(file, header)
        for chunk in compute():
            rows = chunk.detach().cpu().numpy()
            if rows.ndim != 2 or rows.shape[1] != shape[1] or rows.dtype != np.float32:
                raise ValueError(f"{name}: a chunk is {rows.dtype} {rows.shape}, not of {shape}")
            if not np.isfinite(rows).all():
                raise DataError(f"{name}: a feature is not finite; look for NaN in the weights")
            file.write(np.ascontiguousarray(rows, dtype="<f4").data)
            done += len(rows)
    if done != shape[0]:
        raise ValueError(f"{name}: {done} rows were computed, not {shape[0]}")
