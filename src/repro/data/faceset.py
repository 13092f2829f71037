"""A set of real faces: its files on disk, which edition they are, and the images with their labels.

Such sets come under licences or from pages that forbid or prevent fetching them automatically, as
an archive or as the folder that was unpacked from it. The identity of a run names its data before
anything is read, so a user says which edition is meant, and another one is refused.

A data set is a subclass of `FaceSet` that states its facts: files and digests, how labels are
read, which part an image belongs to. All else is here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from repro.data.archives import digest_of_folder
from repro.data.imagecache import image_members, load_images
from repro.data.images import ImageSet
from repro.data.sources import DataError, data_root, digest_of, exists
from repro.names import check_name

FOUND = "found"
"""The edition that is whatever lies on disk, with digests that are measured, not declared."""


class Piece(NamedTuple):
    """One file or folder of a data set.

    Attributes
    ----------
    names
        Every name that it may have in the folder of the data set; the first present is used.
    editions
        For each edition with a known digest its name and digest: a sha256, or ``md5:...`` where
        that is what the publisher gives.
    """

    names: tuple[str, ...]
    editions: Mapping[str, tuple[str, str]]


class FaceSet(ABC):
    """A set of real faces that is fetched by hand; a subclass states what is particular to it.

    Attributes
    ----------
    name
        Name of the data set and of its folder below `repro.data.sources.data_root`.
    fetch
        What to fetch and from where, as the imperative sentence that error messages carry.
    pieces
        What it consists of, by role; one is "images".
    others
        Files that people have of it which cannot be used, and what to do instead.
    depth
        How many parts of a path name an image, see `repro.data.imagecache.image_members`.
    crop
        Share of height and width, in the middle, that is kept of an image.
    """

    name: ClassVar[str]
    fetch: ClassVar[str]
    pieces: ClassVar[Mapping[str, Piece]]
    others: ClassVar[Mapping[str, str]] = {}
    depth: ClassVar[int] = 1
    crop: ClassVar[float] = 1.0

    @abstractmethod
    def read(self, found: Mapping[str, Path]) -> pd.DataFrame:
        """Return the labels as published, a row an image, from the files that have them."""

    @abstractmethod
    def encode(self, records: pd.DataFrame) -> pd.DataFrame:
        """Return records as attributes: int8, 0 or 1."""

    @abstractmethod
    def parts(self, records: pd.DataFrame) -> NDArray[np.generic]:
        """Return the part of each record, (n,) str."""

    def select(
        self, records: pd.DataFrame, on_disk: Mapping[str, str], images: Path
    ) -> tuple[pd.DataFrame, dict[str, int]]:
        """Return the records that are used, and why and how many examples are not.

        By default those whose image is on disk, and an image without a label is an error.
        ``on_disk`` gives the member of ``images``, the archive or folder, by image name.
        """
        if unlisted := sorted(set(on_disk).difference(records.index)):
            raise DataError(
                f"{images}: {len(unlisted)} of its {len(on_disk)} images are not among the "
                f"{len(records)} labelled ones, the first is {unlisted[0]}. Fetch both again from "
                "one source"
            )
        kept = records[records.index.isin(on_disk)]
        return kept, {"image not on disk": len(records) - len(kept)}

    def load(
        self,
        size: int | None,
        *,
        edition: str = "reduced",
        crop: float | None = None,
    ) -> ImageSet:
        """Load the images that are used, in the order of their records.

        Parameters
        ----------
        size
            Height and width in pixels, to which the whole frame is squashed; None for frames at
            their own size.
        edition
            One of `editions`.
        crop
            Another share of height and width than the data set's own; 1 for the whole photograph.

        Raises
        ------
        DataError
            If a file is absent, damaged or of another edition, or images and labels do not fit.
        """
        found = self.find(edition)
        records, images = self.read(found), found["images"]
        on_disk = image_members(images, depth=self.depth)
        kept, skipped = self.select(records, on_disk, images)
        digests = self.declared(edition)
        return ImageSet(
            name=self.name,
            images=load_images(
                self.name,
                images,
                [on_disk[name] for name in kept.index],
                size,
                digest=digests[images.name],
                crop=self.crop if crop is None else crop,
            ),
            attributes=self.encode(kept),
            part=self.parts(kept),
            skipped=skipped,
            sha256=digests,
        )

    def records(self, *, edition: str = "reduced") -> pd.DataFrame:
        """Return the labels as published, of every image that has some, without reading one.

        Raises
        ------
        DataError
            If a file is absent, damaged or of another edition.
        """
        # Labels that stand in no file of their own are in the names of the images.
        roles = [role for role in self.pieces if role != "images"] or ["images"]
        return self.read(self.find(edition, roles=roles))

    def attributes(self, *, edition: str = "reduced") -> pd.DataFrame:
        """Return `records` as attributes, int8, 0 or 1.

        Raises
        ------
        DataError
            If a file is absent, damaged or of another edition.
        """
        return self.encode(self.records(edition=edition))

    @property
    def editions(self) -> tuple[str, ...]:
        """Names of the editions, `FOUND` last."""
        known = dict.fromkeys(name for piece in self.pieces.values() for name in piece.editions)
        return (*known, FOUND)

    def declared(self, edition: str) -> dict[str, str]:
        """Return the digest of every file of an edition, by file name.

        Nothing is read, except for `FOUND`: its digests are measured.

        Raises
        ------
        UnknownNameError
            If there is no such edition.
        DataError
            If a file of edition `FOUND` is absent or cannot be read.
        """
        check_name(f"edition of {self.name}", edition, self.editions)
        if edition == FOUND:
            paths = self.find(FOUND).values()
            return {p.name: digest_of_folder(p) if p.is_dir() else digest_of(p) for p in paths}
        return dict(piece.editions[edition] for piece in self.pieces.values())

    def find(self, edition: str, *, roles: Collection[str] | None = None) -> dict[str, Path]:
        """Return the path of every piece, by role, after checking that it is of the edition.

        Parameters
        ----------
        edition
            One of `editions`.
        roles
            Which pieces; all by default.

        Raises
        ------
        UnknownNameError
            If there is no such edition.
        DataError
            If a file is absent, unreadable or of another edition; the message says what to do.
        """
        check_name(f"edition of {self.name}", edition, self.editions)
        folder = data_root() / self.name
        wanted = self.pieces if roles is None else roles
        return {role: self._find(self.pieces[role], edition, folder) for role in wanted}

    def _find(self, piece: Piece, edition: str, folder: Path) -> Path:
        present = [folder / name for name in piece.names if exists(folder / name)]
        if edition == FOUND:
            if present:
                return present[0]
            raise self._absent(f"none of {', '.join(piece.names)} is in {folder}.", folder)
        name, expected = piece.editions[edition]
        path = folder / name
        if path not in present:
            if present:
                raise DataError(
                    f"{path}, of the {edition} edition of {self.name}, is absent. There is "
                    f"{present[0].name}: {self._advice(piece, present[0])}"
                )
            raise self._absent(f"{path} is absent.", folder)
        if path.is_dir():
            problem = "it is a folder, whose digest nobody declares"
        elif (actual := _digest_like(expected, path)) != expected:
            problem = f"its digest is {actual}, expected {expected}"
        else:
            return path
        raise DataError(
            f"{path} is not the {edition} edition of {self.name} ({problem}): "
            f"{self._advice(piece, path)}"
        )

    def _advice(self, piece: Piece, path: Path) -> str:
        """Say which edition a file is and how to ask for it."""
        for edition, (name, digest) in piece.editions.items():
            if name == path.name and path.is_file() and _digest_like(digest, path) == digest:
                return f"it is the {edition} edition; {ask(edition)}."
        return (
            f"it is no edition that is known here. To use it as it is, {ask(FOUND)}; if it "
            f"should be one, it is truncated or edited: delete it. {self.fetch}."
        )

    def _absent(self, problem: str, folder: Path) -> DataError:
        for name, advice in self.others.items():
            if exists(folder / name):
                problem += f" There is {name}, which {advice}."
        return DataError(
            f"{self.name}: {problem} {self.fetch} and put them into {folder}, or set REPRO_DATA to "
            f"the folder that has {self.name}/. It is not downloaded automatically: its licence "
            "has to be accepted by a person."
        )


def ask(edition: str) -> str:
    """Say how a user asks for an edition."""
    return f"""ask for it with -p overrides '{{"faces.data.edition": "{edition}"}}'"""


def _digest_like(expected: str, path: Path) -> str:
    return digest_of(path, "md5" if expected.startswith("md5:") else "sha256")
