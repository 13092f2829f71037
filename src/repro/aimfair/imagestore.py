"""Synthetic images on disk: PNG files as the authors keep them, or chunks of one array.

Each file says by itself which set it belongs to and what its pixels hash to, and gets its name
only when it is whole. So a set that was interrupted, even by a kill, is read back without a list
of what was finished, and a damaged file is as good as none.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from repro.aimfair.pipelinefolder import GenerationError
from repro.files import not_kept, whole
from repro.names import check_name

Group = tuple[int, int]
STORAGES = ("png", "array")

_NOTE = "repro"  # key of what a file says of itself


@dataclass(frozen=True)
class Drawn:
    """One image, and what it was drawn with.

    Attributes
    ----------
    pixels
        (3, s, s) uint8.
    attempt
        How many images before it were one colour and thrown away.
    sha256
        `pixel_digest` of the pixels.
    """

    pixels: NDArray[np.uint8]
    attempt: int
    sha256: str


def pixel_digest(pixels: NDArray[np.uint8]) -> str:
    """Return the sha256 of an image's bytes: (3, s, s), channel by channel, row by row."""
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()


def name_of(group: Group, index: int) -> str:
    """Return an image's name, ``t_p/index``; sorted by name is sorted by group and index."""
    return f"{group[0]}_{group[1]}/{index:06d}"


class Store(ABC):
    """Where the images of one set are.

    Parameters
    ----------
    folder
        Of the set.
    stamp
        What the set is, 64 hexadecimal digits; files with another one are not read.
    """

    #: images of a group that are drawn and read together
    chunk: int
    #: whether an image can be kept before its chunk is complete
    single: bool

    def __init__(self, folder: Path, stamp: str) -> None:
        self.folder, self.stamp = folder, stamp

    @abstractmethod
    def read(self, group: Group, chunk: int) -> dict[int, Drawn]:
        """Return the images of a chunk that are whole, by index."""

    @abstractmethod
    def write(self, group: Group, chunk: int, images: Mapping[int, Drawn]) -> None:
        """Keep images of a chunk: if not `single`, all that it will have until the next write.

        Raises
        ------
        GenerationError
            If they cannot be written; what was there is left as it was.
        """

    def sweep(self) -> None:
        """Remove what a killed process left unfinished."""
        for part in self.folder.rglob(".*.part"):
            with suppress(OSError):
                part.unlink()

    def _whole(self, note: Mapping[str, Any], pixels: NDArray[np.uint8]) -> Drawn | None:
        """Return an image if it is what its note says, from this set."""
        digest = pixel_digest(pixels)
        if note["set"] != self.stamp or note["sha256"] != digest:
            return None
        return Drawn(pixels, int(note["attempt"]), digest)

    def _note(self, image: Drawn) -> dict[str, Any]:
        return {"set": self.stamp, "sha256": image.sha256, "attempt": image.attempt}


class PngStore(Store):
    """A PNG file for each image, ``t_p/index.png``; the note is a text chunk in it."""

    chunk, single = 64, True

    def read(self, group: Group, chunk: int) -> dict[int, Drawn]:
        """Return the images of a chunk that are whole, by index."""
        indices = range(chunk * self.chunk, (chunk + 1) * self.chunk)
        found = {index: self._read(self._path(group, index)) for index in indices}
        return {index: image for index, image in found.items() if image is not None}

    def write(self, group: Group, chunk: int, images: Mapping[int, Drawn]) -> None:
        """Keep images, each as soon as it is written."""
        for index, image in images.items():
            note, file = PngImagePlugin.PngInfo(), io.BytesIO()
            note.add_text(_NOTE, json.dumps(self._note(image)))
            Image.fromarray(image.pixels.transpose(1, 2, 0)).save(file, "PNG", pnginfo=note)
            write_whole(self._path(group, index), file.getvalue())

    def _path(self, group: Group, index: int) -> Path:
        return self.folder / f"{name_of(group, index)}.png"

    def _read(self, path: Path) -> Drawn | None:
        try:
            with Image.open(path, formats=["PNG"]) as image:
                pixels = np.asarray(image)  # before the text, which may stand behind the pixels
                note = json.loads(image.info[_NOTE])
            if pixels.ndim != 3 or pixels.shape[2] != 3:
                return None
            return self._whole(note, np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        # PIL reports damage by any of these; no file at all is an OSError as well.
        except (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError):
            return None
        except (struct.error, zlib.error, Image.DecompressionBombError):
            return None


class ArrayStore(Store):
    """A safetensors file for each chunk, ``t_p/chunk.safetensors``: for many small images.

    Its tensor ``images`` is (k, 3, s, s) uint8 and can be memory-mapped; the metadata give index
    and note of each.
    """

    chunk, single = 256, False

    def read(self, group: Group, chunk: int) -> dict[int, Drawn]:
        """Return the images of a chunk that are whole, by index."""
        try:
            with safetensors.safe_open(str(self._path(group, chunk)), framework="numpy") as file:
                notes = json.loads(file.metadata()[_NOTE])
                images = file.get_tensor("images")
            found = {
                int(note["index"]): self._whole(note, pixels)
                for note, pixels in zip(notes, images, strict=True)
            }
        except (OSError, ValueError, LookupError, TypeError, safetensors.SafetensorError):
            return {}
        return {index: image for index, image in found.items() if image is not None}

    def write(self, group: Group, chunk: int, images: Mapping[int, Drawn]) -> None:
        """Replace a chunk's file."""
        order = sorted(images)
        notes = [{"index": index, **self._note(images[index])} for index in order]
        data = safetensors.numpy.save(
            {"images": np.stack([images[index].pixels for index in order])},
            metadata={_NOTE: json.dumps(notes)},
        )
        write_whole(self._path(group, chunk), data)

    def _path(self, group: Group, chunk: int) -> Path:
        return self.folder / f"{group[0]}_{group[1]}" / f"{chunk:06d}.safetensors"


def store(folder: Path, storage: str, stamp: str) -> Store:
    """Return the store of a set; ``storage`` is one of `STORAGES`.

    Raises
    ------
    repro.names.UnknownNameError
        If it is not.
    """
    kinds: dict[str, type[Store]] = {"png": PngStore, "array": ArrayStore}
    return kinds[check_name("storage", storage, STORAGES)](folder, stamp)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that exists whole or not at all, and replaces one that is there.

    Raises
    ------
    GenerationError
        If it cannot be written; the message names the folder.
    """
    try:
        with whole(path) as part, part.open("xb") as file:
            file.write(data)
    except OSError as error:
        instead = "make it writable, and run again: what is finished is kept"
        raise GenerationError(not_kept(path.name, path.parent, error, instead)) from error
