"""A set of synthetic images on disk: what it is drawn from, one array, a line for each image.

``set.json`` says what the images are drawn from, before the first one is. ``images.npy`` is one
array (4n, 3, s, s), in the order of the images' names. ``manifest.jsonl`` gets a line for an image
once its pixels are written, with their digest. So a set that was interrupted, even by a kill, is
read back as far as it was drawn, and a damaged image is as good as none.
"""

from __future__ import annotations

import hashlib
import math
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from repro.aimfair.pipelinefolder import GenerationError
from repro.aimfair.prompt_form import Group
from repro.data.splits import GROUPS
from repro.files import not_kept, whole
from repro.settings import Strict

ABOUT, IMAGES, MANIFEST = "set.json", "images.npy", "manifest.jsonl"


class About(Strict):
    """What ``set.json`` says: everything that an image follows from, and what may move a last bit.

    With another ``version`` it is another set. ``drawn_with`` has the versions, device and batch
    size of the first call.
    """

    version: int = 2
    target: str
    protected: str
    seed: int = Field(ge=0)
    images_per_group: int = Field(ge=1, le=1_000_000)  # names have six digits, so that they sort
    pipeline: str
    revision: str
    scheduler: str
    settings: dict[str, Any]
    prompts: dict[str, tuple[str, ...]]
    drawn_with: dict[str, str | int]

    def described(self) -> dict[str, Any]:
        """Return everything that an image follows from, by dotted name."""
        return dict(_flat(self.model_dump(mode="json", exclude={"drawn_with"})))


def _flat(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


class Drawn(Strict):
    """One image: a line of the manifest."""

    name: str  # t_p/index
    target: int  # what was asked, 0 or 1
    protected: int
    index: int  # in its group
    prompt_index: int
    prompt: str
    seed: int  # of this image
    attempt: int  # images before it that were one colour
    size: int  # pixels a side, as stored
    sha256: str  # of the pixels


def name_of(group: Group, index: int) -> str:
    """Return an image's name, ``t_p/index``; sorted by name is sorted by group and index."""
    return f"{group[0]}_{group[1]}/{index:06d}"


def pixel_digest(pixels: NDArray[np.uint8]) -> str:
    """Return the sha256 of an image's bytes: (3, s, s), channel by channel, row by row."""
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()


class Store:
    """The images of one set that are there, whole, and a place for the others.

    ``rows`` has the line of each image whose pixels are what it says, by name.
    """

    def __init__(self, folder: Path, about: About) -> None:
        self.folder, self.each = folder, about.images_per_group
        self.rows: dict[str, Drawn] = {}
        self._start = 0
        if there := _lines(folder):
            self._make_room(next(iter(there.values())).size)
            self.rows = _whole(there, _images(folder), self.each)
        self.tidy()

    def keep(self, drawn: Sequence[tuple[Drawn, NDArray[np.uint8]]]) -> None:
        """Write pixels, (3, s, s) uint8 each, and then their lines."""
        if not self._start:
            self._make_room(drawn[0][0].size)
        with _writing(self.folder, IMAGES), (self.folder / IMAGES).open("r+b") as file:
            for row, pixels in drawn:
                file.seek(self._start + _place(row, self.each) * pixels.size)
                file.write(np.ascontiguousarray(pixels).data)
        with _writing(self.folder, MANIFEST), (self.folder / MANIFEST).open("a") as lines:
            lines.writelines(f"{row.model_dump_json()}\n" for row, _ in drawn)
        self.rows |= {row.name: row for row, _ in drawn}

    def tidy(self) -> None:
        """Write the manifest anew: the lines of whole images, by name."""
        lines = [f"{self.rows[name].model_dump_json()}\n" for name in sorted(self.rows)]
        _write_whole(self.folder / MANIFEST, "".join(lines))

    def _make_room(self, size: int) -> None:
        """Give the array its header and length; pixels that are there stay."""
        path, shape = self.folder / IMAGES, (len(GROUPS) * self.each, 3, size, size)
        with _writing(self.folder, IMAGES), path.open("r+b" if path.exists() else "xb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_2_0(file, header)
            self._start = file.tell()
            file.truncate(self._start + math.prod(shape))


def _place(row: Drawn, each: int) -> int:
    return GROUPS.index((row.target, row.protected)) * each + row.index


def _lines(folder: Path) -> dict[str, Drawn]:
    """Return the lines of a manifest by name; of an image with several, the last."""
    found: dict[str, Drawn] = {}
    try:
        lines = (folder / MANIFEST).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError):
        return {}
    for line in lines:
        with suppress(ValidationError):  # of a process that was killed
            row = Drawn.model_validate_json(line)
            found[row.name] = row
    return found


def _whole(rows: Mapping[str, Drawn], images: np.memmap, each: int) -> dict[str, Drawn]:
    """Return the rows, by name, whose pixels are what they say."""
    return {
        name: row
        for name, row in rows.items()
        if pixel_digest(images[_place(row, each)]) == row.sha256
    }


def read_set(folder: Path) -> tuple[About, pd.DataFrame, np.memmap]:
    """Return a finished set: what it is, its manifest, and its images, memory-mapped.

    Returns
    -------
    About
        What ``set.json`` says.
    pandas.DataFrame
        See `read_manifest`.
    (4n, 3, s, s) uint8
        In the order of the manifest. Writing into it never changes the file.

    Raises
    ------
    GenerationError
        If the set is not finished, or an image is not what the manifest says.
    """
    about, table, images = read_about(folder), read_manifest(folder), _images(folder)
    right = _whole(_lines(folder), images, about.images_per_group)
    if wrong := [name for name in table["name"] if name not in right]:
        raise GenerationError(
            f"{folder}: image {wrong[0]} is absent or not what {MANIFEST} says; {_AGAIN}"
        )
    return about, table, images


def _images(folder: Path) -> np.memmap:
    """Map the array of a set, copy on write."""
    try:
        images: np.memmap = np.load(folder / IMAGES, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise GenerationError(
            f"{folder / IMAGES} is absent or damaged ({error}); {_AGAIN}"
        ) from error
    return images


_AGAIN = "call generate again with the same arguments: it draws what is missing or damaged"


def begin(folder: Path, about: About) -> About:
    """Write ``set.json``, or return the one that is there, which must be of this very set.

    Raises
    ------
    GenerationError
        If it holds another one; the message says in what they differ.
    """
    if not (folder / ABOUT).exists():
        _write_whole(folder / ABOUT, f"{about.model_dump_json(indent=1)}\n")
        return about
    there = read_about(folder)
    before, now = there.described(), about.described()
    changed = [
        f"{key} was {reprlib.repr(before.get(key))}, is {reprlib.repr(now.get(key))}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]
    if changed:
        raise GenerationError(
            f"{folder} holds another set: {'; '.join(changed)}. Choose another folder, or delete "
            "this one"
        )
    return there


def read_about(folder: Path) -> About:
    """Return what ``set.json`` says of a set."""
    try:
        return About.model_validate_json((folder / ABOUT).read_bytes())
    except (OSError, ValueError) as error:
        raise GenerationError(
            f"{folder / ABOUT} is absent or damaged ({error}): {folder} is no synthetic set; give "
            "the folder of one, or delete it and draw the set again"
        ) from error


def read_manifest(folder: Path | str) -> pd.DataFrame:
    """Return the manifest of a set that was drawn to the end.

    Returns
    -------
    pandas.DataFrame
        A row for each image, sorted by name: the fields of `Drawn`, and what drew them, the
        ``pipeline``, ``revision`` and ``scheduler`` of `About`.

    Raises
    ------
    GenerationError
        If it is absent or damaged.
    """
    folder = Path(folder)
    rows, about = _lines(folder), read_about(folder)
    if len(rows) != (wanted := len(GROUPS) * about.images_per_group):
        raise GenerationError(
            f"{folder / MANIFEST} is absent or damaged ({len(rows)} of {wanted} images); {_AGAIN}"
        )
    table = pd.DataFrame([rows[name].model_dump() for name in sorted(rows)])
    return table.assign(**about.model_dump(include={"pipeline", "revision", "scheduler"}))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder, and keep other calls out of it; a killed process holds no lock."""
    lock = filelock.FileLock(folder / ".lock")
    with _writing(folder, ".lock"):
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _write_whole(path: Path, text: str) -> None:
    """Write a file that exists whole or not at all, and replaces one that is there."""
    with _writing(path.parent, path.name), whole(path) as part:
        part.write_text(text, encoding="utf-8")


@contextmanager
def _writing(folder: Path, name: str) -> Iterator[None]:
    """Say what to do where a file cannot be written."""
    try:
        yield
    except OSError as error:
        instead = "make it writable, and run again: what is finished is kept"
        raise GenerationError(not_kept(name, folder, error, instead)) from error
