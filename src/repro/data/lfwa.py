"""LFW deep-funneled (Huang et al., 2012) with the LFWA+ attributes (Liu et al., 2015).

13,233 photographs of 5,749 people, 13,143 of them labelled. The labels are for non-commercial
research, the images carry no explicit licence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.io import loadmat

from repro.data.faceset import FaceSet, Piece
from repro.data.images import same_names
from repro.data.sources import DataError

SHARES = {"train": 6_885 / 13_143, "validation": 1_000 / 13_143, "test": 5_258 / 13_143}
"""Share of each part in the images, from Table 1 of WIN; there is no official partition."""


def _labels(name: str, sha256: str) -> Piece:
    """Return a label file of LFWA+, the published one in both editions.

    The same names without the version of MATLAB's format are published, too.
    """
    file = (f"{name}_7.1.mat", sha256)
    return Piece((file[0], f"{name}.mat"), {"reduced": file, "official": file})


class LFWA(FaceSet):
    """Records have the 40 attributes of CelebA, then those that only the list of 73 has.

    Two attributes of both, Eyeglasses and Mouth_Slightly_Open, differ between the lists; they are
    as in the list of 40. Names are ``Person/Person_0001.jpg``; no person is in two parts. The
    face fills the middle 55 % of a photograph; what is around is background and other people, and
    of 250 pixels the middle 150 are kept.
    """

    name = "lfwa"
    fetch = (
        "Fetch lfw-deepfunneled.tgz from http://vis-www.cs.umass.edu/lfw/ and the LFWA+ label "
        "files lfw_att_40_7.1.mat and lfw_att_73_7.1.mat from "
        "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
    )
    pieces: ClassVar = {
        "images": Piece(
            ("lfw-deepfunneled.tgz", "lfw-deepfunneled.zip", "lfw-deepfunneled"),
            {
                # All images, reduced to 100 x 100 pixels.
                "reduced": (
                    "lfw-deepfunneled.zip",
                    "5449848a9a0936b69eb5c6785184ccc14072e6138f4cf5296ddeb2daf72b7252",
                ),
                "official": ("lfw-deepfunneled.tgz", "md5:68331da3eb755a505a502b5aacb3c201"),
            },
        ),
        "labels": _labels(
            "lfw_att_40", "9693c6640c33f897006da64d465389472e1fc0b52f7e67d7e1e424a594db0328"
        ),
        "more labels": _labels(
            "lfw_att_73", "8bc4689b6b84a255427ca898c25373231a13602b6bfd2abb4ee4290a88f34d7f"
        ),
    }
    depth = 2
    crop = 0.6

    def read(self, found: Mapping[str, Path]) -> pd.DataFrame:
        """Read both lists, which must name the same images."""
        first, second = (_read_labels(found[role]) for role in ("labels", "more labels"))
        same_names("lfwa: the lists of 40 and of 73 attributes", first.index, second.index)
        more = [column for column in second.columns if column not in first.columns]
        return pd.concat([first, second[more]], axis=1).sort_index()

    def encode(self, records: pd.DataFrame) -> pd.DataFrame:
        """Return the records: they are 1 where the label is positive."""
        return records

    def parts(self, records: pd.DataFrame) -> NDArray[np.generic]:
        """Draw the parts by `parts_by_person`."""
        return parts_by_person(records.index.tolist())

    def select(
        self, records: pd.DataFrame, on_disk: Mapping[str, str], images: Path
    ) -> tuple[pd.DataFrame, dict[str, int]]:
        """Leave images without a label out; a labelled one that is missing is an error."""
        if missing := sorted(set(records.index).difference(on_disk)):
            raise DataError(
                f"{images}: {len(missing)} of {len(records)} labelled images are not among its "
                f"{len(on_disk)}, the first is {missing[0]}; fetch it again"
            )
        return records, {"no label": len(on_disk) - len(records)}


DATASET = LFWA()
load, declared = DATASET.load, DATASET.declared
attributes = DATASET.attributes


def parts_by_person(names: Sequence[str]) -> NDArray[np.generic]:
    """Assign images to parts so that nobody is in two of them.

    People are lined up by the sha256 of their names, each with all images of theirs; the line is
    cut at `SHARES`, and who stands across a cut goes to the side of the greater half.

    Parameters
    ----------
    names
        n names, ``Person/Person_0001.jpg``.

    Returns
    -------
    (n,) str
        "train", "validation" or "test".
    """
    people = pd.Series([name.split("/")[0] for name in names])
    images = people.value_counts()
    line = sorted(images.index, key=lambda name: hashlib.sha256(name.encode()).digest())
    images = images[line]
    middle = (images.cumsum() - images / 2) / len(names)
    cuts = np.cumsum([*SHARES.values()])[:-1]
    part = pd.Series(np.array([*SHARES])[np.searchsorted(cuts, middle)], index=line)
    return part[people].to_numpy(dtype=str)


def _read_labels(path: Path) -> pd.DataFrame:
    try:
        content = loadmat(path, variable_names=["AttrName", "label", "name"])
        columns = [str(cell.item()) for cell in content["AttrName"].ravel()]
        # Written under Windows: Person\Person_0001.jpg.
        names = [str(cell.item()).replace("\\", "/") for cell in content["name"].ravel()]
        labels = np.asarray(content["label"], dtype=float)
    except NotImplementedError as error:
        raise DataError(
            f"{path} is in MATLAB's format 7.3 (HDF5), which is not read. Use {path.stem}_7.1.mat "
            "of the same page, or in MATLAB or Octave load it and "
            f"save('{path.name}', 'AttrName', 'label', 'name', '-v7')"
        ) from error
    # What loadmat raises for a file that is none is not documented, and varies.
    except Exception as error:
        raise DataError(
            f"{path} is not a file of LFWA+ labels ({type(error).__name__}: {error}); fetch it "
            "again"
        ) from error
    if labels.shape != (len(names), len(columns)) or not np.isfinite(labels).all():
        raise DataError(
            f"{path}: {len(names)} names and {len(columns)} attributes, but labels of shape "
            f"{labels.shape}, or not all finite; fetch it again"
        )
    if len(set(names)) < len(names) or len(set(columns)) < len(columns):
        raise DataError(f"{path} has a name or an attribute twice; fetch it again")
    index = pd.Index(names, name="image")
    return pd.DataFrame((labels > 0).astype(np.int8), index=index, columns=columns)
