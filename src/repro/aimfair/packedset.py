"""A finished set of synthetic images as three small files that can be shipped, without loss.

``images.png`` has all images side by side, in the order of the manifest, row by row of a square;
``manifest.parquet`` and ``set.json`` are those of the set (:mod:`repro.aimfair.imagestore`).
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from repro.aimfair.imagestore import ABOUT, Drawn, Store, locked, read_about, read_set
from repro.aimfair.pipelinefolder import GenerationError
from repro.files import whole

PIXELS, ROWS = "images.png", "manifest.parquet"


def pack(folder: Path, target: Path) -> None:
    """Write a finished set into a new folder ``target``, whole or not at all.

    Raises
    ------
    GenerationError
        If the set is not finished, or an image is not what its manifest says.
    """
    import torch  # here: unpacking needs neither
    from torchvision.utils import make_grid

    _, table, images = read_set(folder)
    with whole(target) as part:
        part.mkdir()
        shutil.copyfile(folder / ABOUT, part / ABOUT)
        table[list(Drawn.model_fields)].to_parquet(
            part / ROWS, index=False, compression="zstd", compression_level=19
        )
        grid = make_grid(torch.from_numpy(images), nrow=math.ceil(len(images) ** 0.5), padding=0)
        picture = grid.permute(1, 2, 0).contiguous().numpy()
        Image.fromarray(picture).save(part / PIXELS, optimize=True)


def unpack(packed: Path, folder: Path) -> None:
    """Write a packed set into the folder of its own, unless one is begun there.

    Raises
    ------
    GenerationError
        If a file of the packed set is absent or damaged, or the folder cannot be written.
    """
    with locked(folder):
        if (folder / ABOUT).exists():
            return
        about = read_about(packed)
        try:
            table = pd.read_parquet(packed / ROWS)
            rows = [Drawn.model_validate(row) for row in table.to_dict("records")]
            with Image.open(packed / PIXELS) as picture:
                images = _apart(np.asarray(picture), rows[0].size, len(rows))
        except (OSError, ValueError, IndexError) as error:
            raise GenerationError(
                f"{packed} is damaged ({error}); delete it, and its images are drawn again"
            ) from error
        Store(folder, about).keep(list(zip(rows, images, strict=True)))
        shutil.copyfile(packed / ABOUT, folder / ABOUT)  # last: now it is a set


def _apart(picture: NDArray[np.uint8], size: int, n: int) -> NDArray[np.uint8]:
    """Return the first n images of a picture, (n, 3, s, s)."""
    height, width, channels = picture.shape
    grid = picture.reshape(height // size, size, width // size, size, channels)
    return grid.transpose(0, 2, 4, 1, 3).reshape(-1, channels, size, size)[:n]
