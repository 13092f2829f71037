"""Every data set of the study, one entry each: what is known of it without reading it.

What a setting accepts, what a table calls it and what a page says of its edition follow from here.
Importing this is cheap: a data set's module is imported when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from repro.data.faceset import FaceSet


@dataclass(frozen=True)
class DataSet:
    """What is known of one data set.

    Attributes
    ----------
    name
        As in settings; that of its module in `repro.data`, and of its folder in REPRO_DATA.
    words
        What a person calls it.
    simulated
        Whether this project draws it.
    labels
        Number of attributes of an image, where it is fixed.
    parts
        The parts of the study that read it.
    editions
        What is said of an edition that is not the one that the papers read.
    """

    name: str
    words: str
    simulated: bool = False
    labels: int | None = None
    parts: tuple[str, ...] = ("aim-fair", "win-faces")
    editions: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What tables call it, with the word "simulated" where it is."""
        return f"{self.name} (simulated)" if self.simulated else self.words

    @property
    def in_words(self) -> str:
        """What sentences call it, with the word "simulated" where it is."""
        return f"{self.words} (simulated)" if self.simulated else self.words


def _by_name(*entries: DataSet) -> dict[str, DataSet]:
    return {entry.name: entry for entry in entries}


TABLES = _by_name(
    DataSet("adult", "UCI Adult", parts=("win",)),
    DataSet("toycensus", "toycensus", simulated=True, parts=("win",)),
)
"""Records in the schema of UCI Adult."""

FACE_SETS = _by_name(
    DataSet("toyfaces", "toy faces", simulated=True, labels=15),
    DataSet(
        "celeba",
        "CelebA",
        labels=40,
        editions={
            "reduced": "of CelebA a copy of 46,715 of the 202,599 images: most of the training "
            "images are others than the authors', by the same rule",
            "found": "CelebA's files as they were found, of no known edition",
        },
    ),
    DataSet(
        "utkface",
        "UTKFace",
        editions={"reduced": "of UTKFace a copy reduced to 64x64 pixels"},
    ),
    DataSet("lfwa", "LFW+a", labels=75, parts=("win-faces",)),
)
"""Images of faces. FairFace, which only the generator of faces learns from, is not among them."""


def face_set(name: str) -> FaceSet:
    """Return the set of real faces of this name."""
    found: FaceSet = import_module(f"repro.data.{name}").DATASET
    return found
