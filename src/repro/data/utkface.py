"""UTKFace (Zhang, Song, Qi, 2017): faces whose age, gender and race stand in the file name.

For non-commercial research, and its images may not be passed on. It has no official partition,
and some of its files are exact copies of others, not always with the same labels.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from repro.data.archives import read_members
from repro.data.faceset import FaceSet, Piece
from repro.data.imagecache import image_members
from repro.data.sources import DataError
from repro.data.splits import named_parts

SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
"""Share of each part; there is no official partition."""

YOUNG_BELOW = 40
"""Age in years from which a face is not Young; the data set gives ages, and this is ours."""

WHITE = 0
"""Code of White; 1 to 4 are Black, Asian, Indian and others."""

ORDER = "by the sha256 of the names"
"""Order of the records. A name begins with the age, and a biased split takes the first images of a
group, which in the order of the names are of infants and of schoolchildren."""

# Age, gender (0 male, 1 female), race, date and time of any number of digits.
_NAME = re.compile(r"([0-9]{1,3})_([01])_([0-4])_[0-9]+\.jpg\.chip\.jpg")


class UTKFace(FaceSet):
    """Records have ``age`` in years, ``gender`` (0 male, 1 female), ``race`` (0 to 4), int16.

    Left out are files whose name is not ``age_gender_race_date.jpg.chip.jpg``, and exact copies:
    of files with the same bytes the first by name is kept, *also where their labels differ*,
    because nothing says which is right; how many did is in ``skipped``. The part follows from
    the name of the file that was kept, so no image is in two parts, and an image of the reduced
    edition is in the same part as its original. There is no official order; ours is `ORDER`.
    """

    name = "utkface"
    fetch = (
        "Fetch the aligned and cropped faces (UTKFace.tar.gz) from "
        "https://susanqq.github.io/UTKFace/"
    )
    pieces: ClassVar = {
        "images": Piece(
            ("UTKFace.tar.gz", "UTKFace.zip", "UTKFace"),
            {
                # 23,707 images, reduced to 64 x 64 pixels. No digest of the original is published.
                "reduced": (
                    "UTKFace.zip",
                    "7870685e71444ec1551ee5b754473adabc20ff12d868a0f79d638058d8a3affd",
                ),
            },
        ),
    }
    others: ClassVar = {
        "age_gender.csv": "is Kaggle's table of grey pixels at 48x48: no frames in colour",
        "crop_part1.tar.gz": "holds a part of the faces; all of them are in UTKFace.tar.gz",
        "crop_part1": "holds a part of the faces; all of them are in UTKFace.tar.gz",
        "UTKface_inthewild": "holds the images in the wild; the aligned and cropped are studied",
        "part1.tar.gz": "holds images in the wild; the aligned and cropped are studied",
        "archive.zip": "seems to be Kaggle's copy: unpack it, keep here its folder UTKFace alone "
        "and choose edition 'found'",
    }

    def read(self, found: Mapping[str, Path]) -> pd.DataFrame:
        """Read the labels in file names; a name of another form is left out."""
        names = sorted(image_members(found["images"]), key=_place)
        matches = {name: match for name in names if (match := _NAME.fullmatch(name))}
        if not matches:
            raise DataError(
                f"{found['images']}: no file is named age_gender_race_date.jpg.chip.jpg. "
                f"{self.fetch}"
            )
        labels = np.array([match.groups() for match in matches.values()]).astype(np.int16)
        index = pd.Index([*matches], name="image")
        return pd.DataFrame(labels, index=index, columns=["age", "gender", "race"])

    def encode(self, records: pd.DataFrame) -> pd.DataFrame:
        """Return Female, Male, White (race `WHITE`) and Young (under `YOUNG_BELOW`)."""
        female = records["gender"].eq(1)
        columns = {
            "Female": female,
            "Male": ~female,
            "White": records["race"].eq(WHITE),
            "Young": records["age"].lt(YOUNG_BELOW),
        }
        return pd.DataFrame(columns).astype(np.int8)

    def declared(self, edition: str) -> dict[str, str]:
        """Return the digest of every file of an edition, and `ORDER`, which decides who trains."""
        return {**super().declared(edition), "order": ORDER}

    def parts(self, records: pd.DataFrame) -> NDArray[np.generic]:
        """Draw the parts by `SHARES`, from the names."""
        return named_parts(records.index, SHARES, salt=self.name)

    def select(
        self, records: pd.DataFrame, on_disk: Mapping[str, str], images: Path
    ) -> tuple[pd.DataFrame, dict[str, int]]:
        """Keep the first file by name of those with the same bytes, and count the others."""
        content = {
            member: hashlib.sha256(data).digest()
            for member, data in read_members(images, {on_disk[name] for name in records.index})
        }
        first: dict[bytes, str] = {}
        for name in sorted(records.index):
            first.setdefault(content[on_disk[name]], name)
        original = [first[content[on_disk[name]]] for name in records.index]
        copy = records.index != np.array(original)
        differs = records.to_numpy() != records.loc[original].to_numpy()
        group = differs[:, 1:].any(axis=1)
        age = differs[:, 0] & ~group
        return records[~copy], {
            "name does not parse": len(on_disk) - len(records),
            "exact copy, same labels": int((copy & ~age & ~group).sum()),
            "exact copy, another age": int((copy & age).sum()),
            "exact copy, another gender or race": int((copy & group).sum()),
        }


def _place(name: str) -> bytes:
    return hashlib.sha256(f"utkface order/{name}".encode()).digest()


DATASET = UTKFace()
load, declared = DATASET.load, DATASET.declared
