"""A finished synthetic set as an `ImageSet`: checked once, then memory-mapped from the cache."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
import torch

from repro.aimfair.imageset import MANIFEST, read_about, read_manifest
from repro.aimfair.imagestore import Store
from repro.aimfair.pipelinefolder import GenerationError
from repro.data.cache import cached, fits_in_memory
from repro.data.images import ImageSet
from repro.data.sources import cache_root
from repro.files import sha256_of


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
        If the set is not finished, or an image is not what the manifest says.
    repro.data.sources.DataError
        If the cache cannot be written.
    """
    folder = Path(folder)
    about, manifest = read_about(folder), read_manifest(folder)
    digest = sha256_of(folder / MANIFEST)
    sizes = manifest["size"].unique()
    if len(sizes) != 1:
        raise GenerationError(f"{folder / MANIFEST} names images of sizes {sizes.tolist()}")
    shape = (len(manifest), 3, int(sizes[0]), int(sizes[0]))
    path = cache_root() / "images" / f"synthetic-{shape[-1]}-{digest[:16]}.npy"
    mapped = cached(
        path,
        shape,
        np.uint8,
        lambda file: _copy(file, shape, about.store(folder), manifest),
        what=f"the images of {folder}",
    )
    if resident is None:
        resident = fits_in_memory(mapped.nbytes)
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
