"""Features of images as one tensor: computed once, then memory-mapped from a cache.

What a frozen network makes of an image set follows from its weights, the images and the
preprocessing, so these name the file. It is kept in `repro.data.sources.cache_root`, exists whole
or not at all, and two processes that ask at once compute it once (as in `repro.data.imagecache`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from repro.data.cachefile import filled, stored
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
    found = stored(path, shape, np.float32)
    if found is None:
        found = filled(
            path,
            shape,
            np.float32,
            lambda file: _write(file, shape, name, compute),
            what=f"{name}: the features",
        )
    return torch.from_numpy(found)


def _write(
    file: BinaryIO, shape: tuple[int, int], name: str, compute: Callable[[], Iterable[Tensor]]
) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(file, header)
    done = 0
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
