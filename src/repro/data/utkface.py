"""UTKFace (Zhang, Song, Qi, 2017): faces whose age, gender and race stand in the file name.

For non-commercial research, and its images may not be passed on. It has no official partition,
and some of its files are exact copies of others, not always with the same labels.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from repro.data.archives import Dataset, Piece, read_members
from repro.data.imagecache import image_members, load_images
from repro.data.images import ImageSet
from repro.data.sources import DataError
from repro.data.splits import named_parts

DATASET = Dataset(
    "utkface",
    "Fetch the aligned and cropped faces (UTKFace.tar.gz) from https://susanqq.github.io/UTKFace/",
    {
        "images": Piece(
            ("UTKFace.tar.gz", "UTKFace.zip", "UTKFace"),
            {
                # 23,707 images, reduced to 64 x 64 pixels.
                "reduced": (
                    "UTKFace.zip",
                    "7870685e71444ec1551ee5b754473adabc20ff12d868a0f79d638058d8a3affd",
                ),
            },
        ),
    },
    {
        "age_gender.csv": "is Kaggle's table of grey pixels at 48x48: no frames in colour",
        "crop_part1.tar.gz": "holds a part of the faces; all of them are in UTKFace.tar.gz",
        "crop_part1": "holds a part of the faces; all of them are in UTKFace.tar.gz",
        "UTKface_inthewild": "holds the images in the wild; the aligned and cropped are studied",
        "part1.tar.gz": "holds images in the wild; the aligned and cropped are studied",
        "archive.zip": "seems to be Kaggle's copy: unpack it, keep here its folder UTKFace alone "
        "and choose edition 'found'",
    },
)

SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
"""Share of each part; there is no official partition."""

YOUNG_BELOW = 40
"""Age in years from which a face is not Young; the data set gives ages, and this is ours."""

WHITE = 0
"""Code of White; 1 to 4 are Black, Asian, Indian and others."""

declared = DATASET.declared

# Age, gender (0 male, 1 female), race, date and time of any number of digits.
_NAME = re.compile(r"([0-9]{1,3})_([01])_([0-4])_[0-9]+\.jpg\.chip\.jpg")


def load(
    size: int | None,
    *,
    edition: str = "reduced",
    root: Path | None = None,
    resident: bool | None = None,
) -> ImageSet:
    """Load the images, in the order of their names.

    Left out are files whose name is not ``age_gender_race_date.jpg.chip.jpg``, and exact copies:
    of files with the same bytes the first by name is kept, *also where their labels differ*,
    because nothing says which is right; how many did is in ``skipped``. The part follows from
    the name of the file that was kept, so no image is in two parts, and an image of the reduced
    edition is in the same part as its original.

    Parameters
    ----------
    size
        Height and width in pixels, to which the whole frame is squashed; None for frames at
        their own size.
    edition
        "reduced" or "found" (no digest of the original is published): see
        `repro.data.archives.Dataset`.
    root
        Folder of all data sets; `repro.data.sources.data_root` by default.
    resident
        See `repro.data.imagecache.load_images`.

    Returns
    -------
    ImageSet
        Attributes Female, Male, White (race 0) and Young (under `YOUNG_BELOW`); parts by
        `SHARES`. Ages and all races are in `records`.

    Raises
    ------
    DataError
        If the archive is absent, damaged or of another edition.
    """
    path = DATASET.find(edition, root=root)["images"]
    on_disk = image_members(path)
    table = parse_names(on_disk, where=str(path))
    kept, copies = _first_copies(path, table, on_disk)
    digests = declared(edition, root=root)
    return ImageSet(
        name="utkface",
        images=load_images(
            "utkface",
            path,
            [on_disk[name] for name in kept.index],
            size,
            digest=digests[path.name],
            resident=resident,
        ),
        attributes=_attributes(kept),
        part=named_parts(kept.index, SHARES, salt="utkface"),
        skipped={"name does not parse": len(on_disk) - len(table), **copies},
        sha256=digests,
    )


def records(*, edition: str = "reduced", root: Path | None = None) -> pd.DataFrame:
    """Return age, gender and race of every file whose name parses, exact copies included.

    Returns
    -------
    DataFrame
        By file name: ``age`` in years, ``gender`` (0 male, 1 female), ``race`` (0 to 4, see
        `WHITE`), int16.

    Raises
    ------
    DataError
        If the archive is absent, damaged or of another edition.
    """
    path = DATASET.find(edition, root=root)["images"]
    return parse_names(image_members(path), where=str(path))


def attributes(*, edition: str = "reduced", root: Path | None = None) -> pd.DataFrame:
    """Return the attributes of `records`: Female, Male, White, Young, int8.

    Raises
    ------
    DataError
        If the archive is absent, damaged or of another edition.
    """
    return _attributes(records(edition=edition, root=root))


def parse_names(names: Iterable[str], *, where: str = "utkface") -> pd.DataFrame:
    """Read the labels in file names; a name of another form is left out.

    Returns
    -------
    DataFrame
        As `records`.

    Raises
    ------
    DataError
        If no name parses.
    """
    matches = {name: match for name in names if (match := _NAME.fullmatch(name))}
    if not matches:
        raise DataError(
            f"{where}: no file is named age_gender_race_date.jpg.chip.jpg. {DATASET.fetch}"
        )
    labels = np.array([match.groups() for match in matches.values()]).astype(np.int16)
    index = pd.Index([*matches], name="image")
    return pd.DataFrame(labels, index=index, columns=["age", "gender", "race"])


def _attributes(table: pd.DataFrame) -> pd.DataFrame:
    female = table["gender"].eq(1)
    columns = {
        "Female": female,
        "Male": ~female,
        "White": table["race"].eq(WHITE),
        "Young": table["age"].lt(YOUNG_BELOW),
    }
    return pd.DataFrame(columns).astype(np.int8)


def _first_copies(
    path: Path, table: pd.DataFrame, on_disk: dict[str, str]
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Keep the first file by name of those with the same bytes, and count the others."""
    content = {
        member: hashlib.sha256(data).digest()
        for member, data in read_members(path, {on_disk[name] for name in table.index})
    }
    first: dict[bytes, str] = {}
    for name in sorted(table.index):
        first.setdefault(content[on_disk[name]], name)
    original = [first[content[on_disk[name]]] for name in table.index]
    copy = table.index != np.array(original)
    differs = table.to_numpy() != table.loc[original].to_numpy()
    group = differs[:, 1:].any(axis=1)
    age = differs[:, 0] & ~group
    return table[~copy], {
        "exact copy, same labels": int((copy & ~age & ~group).sum()),
        "exact copy, another age": int((copy & age).sum()),
        "exact copy, another gender or race": int((copy & group).sum()),
    }
