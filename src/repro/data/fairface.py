"""FairFace (Kärkkäinen, Joo, 2021): faces balanced over seven races. Licence CC BY 4.0."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from repro.data.archives import Dataset, Piece
from repro.data.imagecache import image_members, load_images
from repro.data.images import ImageSet
from repro.data.sources import DataError
from repro.data.splits import named_parts

DATASET = Dataset(
    "fairface",
    "Fetch fairface-img-margin025-trainval.zip (padding 0.25), fairface_label_train.csv and "
    "fairface_label_val.csv from https://github.com/joojs/fairface",
    {
        "images": Piece(
            (
                "fairface-img-margin025-trainval.zip",
                "fairface.zip",
                "fairface-img-margin025-trainval",
            ),
            {
                # 27,000 + 3,000 images, reduced to 64 x 64 pixels.
                "reduced": (
                    "fairface.zip",
                    "a44701eaef350cae8f377d287a1e4c1236b82ec9573ecebc8cfe1d91b3b790ca",
                ),
            },
        ),
        "train labels": Piece(
            ("fairface_label_train.csv",),
            {
                "reduced": (
                    "fairface_label_train.csv",
                    "160ec1ad5f9e9163504c6496d6c5af6d389a93f5f8afde872378e291c19661a9",
                ),
            },
        ),
        "val labels": Piece(
            ("fairface_label_val.csv",),
            {
                "reduced": (
                    "fairface_label_val.csv",
                    "d52b2c32396589c915756ca0e2710aa2ad55ca60619823dcec60ede2643fa84b",
                ),
            },
        ),
    },
)

AGES = (
    "0-2",
    "3-9",
    "10-19",
    "20-29",
    "30-39",
    "40-49",
    "50-59",
    "60-69",
    "more than 70",
)
"""The age groups, ascending."""

YOUNG = AGES[:5]
"""Age groups that count as Young, under 40 as in `repro.data.utkface`. The rule is ours."""

GENDERS = ("Male", "Female")
RACES = (
    "White",
    "Black",
    "East Asian",
    "Southeast Asian",
    "Indian",
    "Middle Eastern",
    "Latino_Hispanic",
)

SHARES = {"train": 0.9, "validation": 0.1}
"""How the official training images are divided; the official validation images are the test."""

declared = DATASET.declared


def load(
    size: int | None,
    *,
    edition: str = "reduced",
    root: Path | None = None,
    resident: bool | None = None,
) -> ImageSet:
    """Load the images that are on disk, in the order of their names.

    The official test set is not public, so part "test" is the official validation set; part
    "validation" is a tenth of the official training set, chosen by name.

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
        Attributes as `attributes`; names are ``train/1.jpg``. The age groups are in `records`.

    Raises
    ------
    DataError
        If a file is absent, damaged or of another edition, or an image has no label.
    """
    found = DATASET.find(edition, root=root)
    table = _read_all(found)
    on_disk = image_members(found["images"], depth=2)
    unlisted = sorted(set(on_disk).difference(table.index))
    if unlisted:
        raise DataError(
            f"{found['images']}: {len(unlisted)} of its {len(on_disk)} images are not among the "
            f"{len(table)} labelled ones, the first is {unlisted[0]}. Fetch both again from one "
            "source"
        )
    kept = table[table.index.isin(on_disk)]
    digests = declared(edition, root=root)
    carved = named_parts(kept.index, SHARES, salt="fairface")
    return ImageSet(
        name="fairface",
        images=load_images(
            "fairface",
            found["images"],
            [on_disk[name] for name in kept.index],
            size,
            digest=digests[found["images"].name],
            resident=resident,
        ),
        attributes=_attributes(kept),
        part=np.where(kept.index.str.startswith("val/"), "test", carved),
        skipped={"image not on disk": len(table) - len(kept)},
        sha256=digests,
    )


def records(*, edition: str = "reduced", root: Path | None = None) -> pd.DataFrame:
    """Return the official labels, without reading an image.

    Returns
    -------
    DataFrame
        By ``train/1.jpg`` or ``val/1.jpg``: ``age`` (one of `AGES`), ``gender`` (of `GENDERS`)
        and ``race`` (of `RACES`).

    Raises
    ------
    DataError
        If a file is absent, damaged or of another edition.
    """
    return _read_all(DATASET.find(edition, root=root, roles=("train labels", "val labels")))


def attributes(*, edition: str = "reduced", root: Path | None = None) -> pd.DataFrame:
    """Return attributes made from `records`.

    Returns
    -------
    DataFrame
        int8: Male, Female, Young (`YOUNG`), and one column for each of `RACES`, with ``_`` for
        a blank (White, East_Asian, ...).

    Raises
    ------
    DataError
        If a file is absent, damaged or of another edition.
    """
    return _attributes(records(edition=edition, root=root))


def _attributes(table: pd.DataFrame) -> pd.DataFrame:
    columns = {gender: table["gender"].eq(gender) for gender in GENDERS}
    columns["Young"] = table["age"].isin(YOUNG)
    columns |= {race.replace(" ", "_"): table["race"].eq(race) for race in RACES}
    return pd.DataFrame(columns).astype(np.int8)


def _read_all(found: dict[str, Path]) -> pd.DataFrame:
    parts = [
        _read_labels(found[f"{official} labels"], prefix=f"{official}/")
        for official in ("train", "val")
    ]
    return pd.concat(parts).sort_index()


def _read_labels(path: Path, *, prefix: str) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, na_filter=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); fetch it again") from error
    wanted = {"age": AGES, "gender": GENDERS, "race": RACES}
    if not {"file", *wanted} <= set(table.columns):
        raise DataError(
            f"{path}: columns {', '.join(table.columns)}, expected file, {', '.join(wanted)}; "
            "fetch it again"
        )
    for column, values in wanted.items():
        odd = ~table[column].isin(values)
        if odd.any():
            row = int(odd.to_numpy().argmax())
            raise DataError(
                f"{path}, line {row + 2}: {column} {table[column].iloc[row]!r} is not one of "
                f"{', '.join(values)}; fetch it again"
            )
    if table["file"].duplicated().any() or not table["file"].str.startswith(prefix).all():
        raise DataError(
            f"{path}: every file must be named once and begin with {prefix}; fetch it again"
        )
    return table.set_index("file")[[*wanted]]
