"""CelebA (Liu, Luo, Wang, Tang, 2015): 202,599 aligned faces with 40 attributes.

For non-commercial research, and its images may not be passed on. The official attribute and
partition lists are read as they are published, or as the tables (CSV) of Kaggle's copy; images that
are not on disk are left out.
"""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from repro.data.archives import read_members
from repro.data.faceset import FaceSet, Piece
from repro.data.images import PARTS, same_names
from repro.data.sources import DataError

_TABLE = b"image_id,"
"""How a table of Kaggle's copy begins."""


class CelebA(FaceSet):
    """Records have the 40 attributes, and the official partition as column ``part``."""

    name = "celeba"
    fetch = (
        "Fetch img_align_celeba.zip, list_attr_celeba.txt and list_eval_partition.txt from "
        "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html (Align&Cropped Images; Anno; Eval)"
    )
    pieces: ClassVar = {
        "images": Piece(
            ("img_align_celeba.zip", "img_align_celeba"),
            {
                # 46,715 images, 5 each of 9,343 people, reduced to 64 x 78 pixels.
                "reduced": (
                    "img_align_celeba.zip",
                    "11a3eaa728bad4cb91094d0c2ee2843492f4a37e2ac301678a383c04245280d1",
                ),
                "official": ("img_align_celeba.zip", "md5:00d2c5bc6d35e252742224ab0c1e8fcb"),
            },
        ),
        # A table of Kaggle's copy is accepted as it is and as it is downloaded alone.
        "attributes": Piece(
            (
                *("list_attr_celeba.txt", "list_attr_celeba.zip"),
                *("list_attr_celeba.csv", "list_attr_celeba.csv.zip"),
            ),
            {
                # The official list, compressed.
                "reduced": (
                    "list_attr_celeba.zip",
                    "febc7da56ff901fa4b3595edb51486bc07d8f9f67153fcb9b0e6022407a83cde",
                ),
                "official": ("list_attr_celeba.txt", "md5:75e246fa4810816ffd6ee81facbd244c"),
            },
        ),
        "partition": Piece(
            (
                "list_eval_partition.txt",
                *("list_eval_partition.csv", "list_eval_partition.csv.zip"),
            ),
            {
                "reduced": (
                    "list_eval_partition.txt",
                    "fc955bcb3ef8fbdf7d5640d9a8693a8431b5f2ee291a5c1449a1549e7e073fe7",
                ),
                "official": ("list_eval_partition.txt", "md5:d32c9cbf5e040fd4025c592c306e6668"),
            },
        ),
    }
    others: ClassVar = {
        "archive.zip": "seems to be Kaggle's copy: unpack it here (img_align_celeba/, "
        "list_attr_celeba.csv, list_eval_partition.csv) and choose edition 'found'",
        "img_celeba.7z": "holds the images in the wild; the aligned ones are studied",
        "img_align_celeba_png.7z": "is no archive that is read: unpack it into img_align_celeba",
    }

    def read(self, found: Mapping[str, Path]) -> pd.DataFrame:
        """Return both lists, which must name the same images."""
        labels = _read_attributes(found["attributes"])
        part = _read_partition(found["partition"])
        same_names(
            "celeba: attribute list and partition list", labels.index.tolist(), part.index.tolist()
        )
        return labels.assign(part=np.array(PARTS)[part])

    def encode(self, records: pd.DataFrame) -> pd.DataFrame:
        """Return the 40 attributes, 1 where the list has 1, 0 where it has -1."""
        return records.drop(columns="part")

    def parts(self, records: pd.DataFrame) -> NDArray[np.generic]:
        """Return the official partition."""
        return records["part"].to_numpy(dtype=str)


DATASET = CelebA()
load, declared = DATASET.load, DATASET.declared
attributes = DATASET.attributes


def _read_attributes(path: Path) -> pd.DataFrame:
    """Read the list: how many images, the names of the attributes, a line for each image.

    Kaggle's table has no number of images, and commas; a line that is missing there is found by
    the partition list.
    """
    content = _content(path)
    if content.startswith(_TABLE):
        header, _, body = content.partition(b"\n")
        columns = header.decode("latin-1").strip().split(",")[1:]
        table = _table(body.replace(b",", b" "), columns, {"1", "-1"}, path, first_line=2)
        return (table > 0).astype(np.int8)
    count, _, rest = content.partition(b"\n")
    header, _, body = rest.partition(b"\n")
    columns = header.decode("latin-1").split()
    if not count.strip().isdigit() or not columns:
        raise DataError(
            f"{path}, lines 1 and 2: expected the number of images and the names of the "
            f"attributes, not {count[:40]!r} and {header[:40]!r}; fetch it again"
        )
    table = _table(body, columns, {"1", "-1"}, path, first_line=3)
    if len(table) != int(count):
        raise DataError(
            f"{path}: {len(table)} images, but its first line says {int(count)}; fetch it again"
        )
    return (table > 0).astype(np.int8)


def _read_partition(path: Path) -> pd.Series[int]:
    """Read the position in `PARTS` of each image."""
    content, first = _content(path), 1
    if content.startswith(_TABLE):
        content, first = content.partition(b"\n")[2].replace(b",", b" "), 2
    return _table(content, ["part"], {"0", "1", "2"}, path, first_line=first)["part"]


def _content(path: Path) -> bytes:
    """Read a list, plain or the only list of an archive."""
    if path.suffix != ".zip":
        try:
            return path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error}") from error
    lists = [data for name, data in read_members(path) if name.endswith((".txt", ".csv"))]
    if len(lists) != 1:
        raise DataError(
            f"{path} should hold one list (.txt or .csv), it has {len(lists)}; fetch it again"
        )
    return lists[0]


def _table(
    body: bytes, columns: list[str], values: set[str], path: Path, *, first_line: int
) -> pd.DataFrame:
    """Read lines of a name and a value for each column, all at once."""
    good = False
    # pandas only warns about a line with too many fields, and drops them.
    with warnings.catch_warnings(), suppress(ValueError, OverflowError, pd.errors.ParserWarning):
        warnings.simplefilter("error", pd.errors.ParserWarning)
        table = pd.read_csv(
            io.BytesIO(body),
            sep=r"\s+",
            header=None,
            names=["image", *columns],
            dtype={"image": str, **dict.fromkeys(columns, np.int8)},
            index_col=False,
            na_filter=False,
            quoting=csv.QUOTE_NONE,
            encoding="latin-1",
        ).set_index("image")
        good = bool(np.isin(table.to_numpy(), [int(value) for value in values]).all())
    if not good:
        raise _first_problem(body, len(columns), values, path, first_line)
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()][0]
        raise DataError(f"{path} names {twice} twice; fetch it again")
    return table


def _first_problem(
    body: bytes, columns: int, values: set[str], path: Path, first_line: int
) -> DataError:
    """Find the line that made reading fail: slow, but only once something is wrong."""
    for number, line in enumerate(body.decode("latin-1").splitlines(), first_line):
        fields = line.split()
        if fields and (len(fields) != columns + 1 or not values.issuperset(fields[1:])):
            return DataError(
                f"{path}, line {number}: expected a name and {columns} values of "
                f"{sorted(values)}, not {line[:60]!r}; fetch it again"
            )
    return DataError(f"{path} cannot be read as a list of images; fetch it again")
