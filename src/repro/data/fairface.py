"""FairFace (Kärkkäinen, Joo, 2021): faces balanced over seven races. Licence CC BY 4.0."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from repro.data.faceset import FaceSet, Piece
from repro.data.sources import DataError
from repro.data.splits import named_parts

AGES = (
    *("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69"),
    "more than 70",
)
"""The age groups, ascending."""

YOUNG = AGES[:5]
"""Age groups that count as Young, under 40 as in `repro.data.utkface`. The rule is ours."""

ADULT = AGES[3:]
"""Age groups from 20 years on. No minor is learnt from, as far as these labels know."""

GENDERS = ("Male", "Female")
RACES = (
    *("White", "Black", "East Asian", "Southeast Asian", "Indian", "Middle Eastern"),
    "Latino_Hispanic",
)

SHARES = {"train": 0.9, "validation": 0.1}
"""How the official training images are divided; the official validation images are the test."""


def _labels(name: str, sha256: str) -> Piece:
    """Return a label file as published; no digest of the original is."""
    return Piece((name,), {"reduced": (name, sha256)})


class FairFace(FaceSet):
    """Records have ``age`` (one of `AGES`), ``gender`` (of `GENDERS`) and ``race`` (of `RACES`).

    The official test set is not public, so part "test" is the official validation set; part
    "validation" is a tenth of the official training set, chosen by name. Names are
    ``train/1.jpg`` or ``val/1.jpg``.
    """

    name = "fairface"
    fetch = (
        "Fetch fairface-img-margin025-trainval.zip (padding 0.25), fairface_label_train.csv and "
        "fairface_label_val.csv from https://github.com/joojs/fairface"
    )
    pieces: ClassVar = {
        "images": Piece(
            (
                *("fairface-img-margin025-trainval.zip", "fairface.zip"),
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
        "train labels": _labels(
            "fairface_label_train.csv",
            "160ec1ad5f9e9163504c6496d6c5af6d389a93f5f8afde872378e291c19661a9",
        ),
        "val labels": _labels(
            "fairface_label_val.csv",
            "d52b2c32396589c915756ca0e2710aa2ad55ca60619823dcec60ede2643fa84b",
        ),
    }
    depth = 2

    def read(self, found: Mapping[str, Path]) -> pd.DataFrame:
        """Read both official lists."""
        lists = [_read_labels(found[f"{of} labels"], prefix=f"{of}/") for of in ("train", "val")]
        return pd.concat(lists).sort_index()

    def encode(self, records: pd.DataFrame) -> pd.DataFrame:
        """Return Male, Female, Young (`YOUNG`), and each of `RACES` with ``_`` for a blank."""
        columns = {gender: records["gender"].eq(gender) for gender in GENDERS}
        columns["Young"] = records["age"].isin(YOUNG)
        columns |= {race.replace(" ", "_"): records["race"].eq(race) for race in RACES}
        return pd.DataFrame(columns).astype(np.int8)

    def parts(self, records: pd.DataFrame) -> NDArray[np.generic]:
        """Divide the official training images by `SHARES`, from the names."""
        carved = named_parts(records.index, SHARES, salt=self.name)
        return np.where(records.index.str.startswith("val/"), "test", carved)


DATASET = FairFace()
load, declared = DATASET.load, DATASET.declared
records = DATASET.records


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
