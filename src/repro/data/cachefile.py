"""One array in a cache file that exists whole or not at all, and is read through a memory map."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import filelock
import numpy as np
from numpy.typing import DTypeLike

from repro.data.sources import DataError


def stored(path: Path, shape: tuple[int | None, ...], dtype: DTypeLike) -> np.memmap | None:
    """Map a cache file, copy on write; None if it is absent or not whole.

    A side of ``shape`` that is None may have any length.
    """
    try:
        array: Any = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError):  # the latter two: truncated, or no such file format
        return None
    if not isinstance(array, np.memmap) or array.dtype != dtype or array.ndim != len(shape):
        return None
    fits = all(side in (None, own) for side, own in zip(shape, array.shape, strict=True))
    return array if fits else None


def filled(
    path: Path,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    write: Callable[[BinaryIO], None],
    *,
    what: str,
) -> np.memmap:
    """Map a cache file, written first if it is not there.

    It is written under another name and gets its own at the end. Two processes that ask at once
    write it once.

    Parameters
    ----------
    path
        The file, ``.npy``.
    shape, dtype
        Of the array.
    write
        Writes header and array into an open file. As a plain file rather than through a memory
        map: a full disk is then an error that can be caught, not a signal that kills the process.
    what
        Begins the message of an error: "celeba: the decoded images".

    Raises
    ------
    DataError
        If the file cannot be kept; no part of it is then.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The operating system drops the lock when a process dies; a second process waits, then
        # finds the finished file.
        with filelock.FileLock(path.with_name(f".{path.name}.lock")):
            there = stored(path, shape, dtype)
            if there is not None:
                return there
            try:
                with part.open("wb") as file:
                    write(file)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        room = np.dtype(dtype).itemsize * np.prod(shape) / 1e6
        raise DataError(
            f"{what} cannot be kept in {path.parent} ({error}); "
            + ("free some space there or " if full else "")
            + f"set REPRO_CACHE to a folder with room for {room:,.0f} MB"
        ) from error
    there = stored(path, shape, dtype)
    if there is None:
        raise DataError(f"{path} was changed while it was written; run again")
    return there
