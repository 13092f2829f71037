"""Arrays that are made once and then memory-mapped: decoded images, drawn ones, features.

They are kept in `repro.data.sources.cache_root`, each in a file whose name follows from everything
that it depends on, which exists whole or not at all. Two processes that ask at once make it once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import filelock
import numpy as np
from numpy.typing import DTypeLike

from repro.data.sources import DataError, cache_root
from repro.files import digest_of_values, not_kept, whole

if TYPE_CHECKING:  # torch is imported where a tensor is made: reading labels stays fast
    from torch import Tensor

RESIDENT_SHARE = 0.5
"""Images are kept in memory if they take at most this share of the memory that is available."""


def key_of(depends_on: object) -> str:
    """Return 16 hexadecimal digits that stand for plain values."""
    return digest_of_values(depends_on)[:16]


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


def cached(
    path: Path,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    write: Callable[[BinaryIO], None],
    *,
    what: str,
) -> np.memmap:
    """Map a cache file, copy on write, written first if it is not there.

    Parameters
    ----------
    path
        The file, ``.npy``.
    shape, dtype
        Of the array.
    write
        Writes the array, in C order, into an open file. As a plain file rather than through a
        memory map: a full disk is then an error that can be caught, not a signal that kills the
        process.
    what
        Begins the message of an error: "celeba: the decoded images".

    Raises
    ------
    DataError
        If the file cannot be kept; no part of it is then.
    """
    found = stored(path, shape, dtype)
    if found is not None:
        return found
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The operating system drops the lock when a process dies; a second process waits, then
        # finds the finished file.
        with filelock.FileLock(path.with_name(f".{path.name}.lock")):
            found = stored(path, shape, dtype)
            if found is not None:
                return found
            with whole(path) as part, part.open("wb") as file:
                header = {"descr": descr, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_2_0(file, header)
                write(file)
    except OSError as error:
        room = np.dtype(dtype).itemsize * np.prod(shape) / 1e6
        instead = f"set REPRO_CACHE to a folder with room for {room:,.0f} MB"
        raise DataError(not_kept(what, path.parent, error, instead)) from error
    found = stored(path, shape, dtype)
    if found is None:
        raise DataError(f"{path} was changed while it was written; run again")
    return found


def drawn(name: str, shape: tuple[int, ...], draw: Callable[[], Tensor]) -> Tensor:
    """Return images that are drawn, not read: in memory, from the cache after the first time.

    Parameters
    ----------
    name
        Of the cache file; says all that the images depend on.
    shape
        (n, 3, h, w).
    draw
        Draws them, uint8. Where the cache cannot be written they are drawn each time.
    """
    import torch

    try:
        found = cached(
            cache_root() / "images" / f"{name}.npy",
            shape,
            np.uint8,
            lambda file: _write_all(file, draw().numpy()),
            what=name,
        )
    except DataError:
        return draw()
    return torch.from_numpy(np.array(found))


def _write_all(file: BinaryIO, array: np.ndarray) -> None:
    file.write(np.ascontiguousarray(array).data)


def features(
    name: str,
    depends_on: Mapping[str, Any],
    shape: tuple[int, int],
    compute: Callable[[], Iterable[Tensor]],
) -> Tensor:
    """Return what a frozen network makes of images, computed and kept the first time.

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

    def write(file: BinaryIO) -> None:
        done = 0
        for chunk in compute():
            rows = chunk.detach().cpu().numpy()
            if rows.ndim != 2 or rows.shape[1] != shape[1] or rows.dtype != np.float32:
                raise ValueError(f"{name}: a chunk is {rows.dtype} {rows.shape}, not of {shape}")
            if not np.isfinite(rows).all():
                raise DataError(f"{name}: a feature is not finite; look for NaN in the weights")
            _write_all(file, rows)
            done += len(rows)
        if done != shape[0]:
            raise ValueError(f"{name}: {done} rows were computed, not {shape[0]}")

    path = cache_root() / "features" / f"{name}-{key_of(depends_on)}.npy"
    return torch.from_numpy(cached(path, shape, np.float32, write, what=f"{name}: the features"))


def fits_in_memory(size: float) -> bool:
    """Return whether so many bytes are at most `RESIDENT_SHARE` of the memory that is available."""
    there = available_memory()
    return there is None or size <= RESIDENT_SHARE * there


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
