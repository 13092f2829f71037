"""A finished synthetic set as an `ImageSet`: checked once, then memory-mapped from the cache."""

from __future__ import annotations

import errno
import uuid
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
import torch

from repro.aimfair.imageset import MANIFEST, About, read_about, read_manifest
from repro.aimfair.imagestore import Store
from repro.aimfair.pipelinefolder import GenerationError
from repro.data.cachefile import stored
from repro.data.imagecache import RESIDENT_SHARE, available_memory
from repro.data.images import ImageSet
from repro.data.sources import cache_root, sha256_of


def load_set(folder: Path | str, *, resident: bool | None = None) -> ImageSet:
    """Return a finished set.

    The first time, every image is read and compared with its digest in the manifest; all are
    then kept as one array in the cache, under the digest of the manifest.

    Parameters
    ----------
    folder
        As for `repro.aimfair.synthesis.generate`.
    resident
        Whether the images are read into memory (True), memory-mapped (False), or whichever the
        memory that is available allows (None).

    Returns
    -------
    ImageSet
        Sorted by name, with the target and the protected attribute as they were asked for, all
        of part ``train``; its digest is that of the manifest.

    Raises
    ------
    GenerationError
        If the set is not finished, an image is not what the manifest says, or the cache cannot
        be written.
    """
    folder = Path(folder)
    about, manifest = read_about(folder), read_manifest(folder)
    digest = sha256_of(folder / MANIFEST)
    sizes = manifest["size"].unique()
    if len(sizes) != 1:
        raise GenerationError(f"{folder / MANIFEST} names images of sizes {sizes.tolist()}")
    shape = (len(manifest), 3, int(sizes[0]), int(sizes[0]))
    path = cache_root() / "images" / f"synthetic-{shape[-1]}-{digest[:16]}.npy"
    mapped = stored(path, shape, np.uint8)
    if mapped is None:
        _fill(path, shape, folder, about, manifest)
        mapped = stored(path, shape, np.uint8)
    if mapped is None:
        raise GenerationError(f"{path} was changed while it was written; run again")
    if resident is None:
        there = available_memory()
        resident = there is None or bool(np.prod(shape) <= RESIDENT_SHARE * there)
    labels = {
        about.described[role]: manifest[role].to_numpy(np.int8) for role in ("target", "protected")
    }
    return ImageSet(
        name=f"synthetic {folder.name}",
        images=torch.from_numpy(np.array(mapped) if resident else mapped),
        attributes=pd.DataFrame(labels, index=pd.Index(manifest["name"], name="name")),
        part=np.full(len(manifest), "train"),
        sha256={"manifest": digest},
    )


def _fill(
    path: Path, shape: tuple[int, ...], folder: Path, about: About, manifest: pd.DataFrame
) -> None:
    """Write the images in the order of the manifest into a file that exists whole or not at all."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("xb") as file:
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_2_0(file, header)
                _copy(file, shape, about.store(folder), manifest)
            part.replace(path)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise GenerationError(
            f"the images of {folder} cannot be kept in {path.parent} ({error}); "
            + ("free some space there or " if full else "")
            + f"set REPRO_CACHE to a folder with room for {np.prod(shape) / 1e6:,.0f} MB"
        ) from error


def _copy(file: BinaryIO, shape: tuple[int, ...], images: Store, manifest: pd.DataFrame) -> None:
    chunk = manifest["index"] // images.chunk
    # The manifest is sorted by group and index, so its chunks follow each other.
    for key, rows in manifest.groupby(["target", "protected", chunk], sort=True):
        t, p, k = (int(str(part)) for part in key)
        found = images.read((t, p), k)
        for name, index, digest in rows[["name", "index", "sha256"]].itertuples(index=False):
            image = found.get(index)
            if image is None or image.sha256 != digest or image.pixels.shape != shape[1:]:
                raise GenerationError(
                    f"{images.folder}: image {name} is absent or not what {MANIFEST} says; call "
                    "generate again with the same arguments: it draws damaged images again"
                )
            file.write(np.ascontiguousarray(image.pixels).data)
