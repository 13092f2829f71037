"""LFW deep-funneled (Huang et al., 2012) with the LFWA+ attributes (Liu et al., 2015).

13,233 photographs of 5,749 people, 13,143 of them labelled. The labels are for non-commercial
research, the images carry no explicit licence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.io import loadmat

from repro.data.archives import Dataset, Piece
from repro.data.imagecache import image_members, load_images
from repro.data.images import ImageSet, same_names
from repro.data.sources import DataError

# The label files of the copy are the published ones, for which no digest is published.
_LABELS = {
    "labels": (
        "lfw_att_40_7.1.mat",
        "9693c6640c33f897006da64d465389472e1fc0b52f7e67d7e1e424a594db0328",
    ),
    "more labels": (
        "lfw_att_73_7.1.mat",
        "8bc4689b6b84a255427ca898c25373231a13602b6bfd2abb4ee4290a88f34d7f",
    ),
}

DATASET = Dataset(
    "lfwa",
    "Fetch lfw-deepfunneled.tgz from http://vis-www.cs.umass.edu/lfw/ and the LFWA+ label files "
    "lfw_att_40_7.1.mat and lfw_att_73_7.1.mat from "
    "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
    {
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
        **{
            # The same names without the version of MATLAB's format are published, too.
            role: Piece((file[0], file[0].replace("_7.1", "")), {"reduced": file, "official": file})
            for role, file in _LABELS.items()
        },
    },
)

SHARES = {"train": 6_885 / 13_143, "validation": 1_000 / 13_143, "test": 5_258 / 13_143}
"""Share of each part in the images, from Table 1 of WIN; there is no official partition."""

CROP = 0.6
"""Share of height and width that is kept in the middle, 150 of 250 pixels.

The face fills the middle 55 %; what is around it is background and other people.
"""

declared = DATASET.declared


def load(
    size: int | None,
    *,
    edition: str = "reduced",
    root: Path | None = None,
    resident: bool | None = None,
    crop: float = CROP,
) -> ImageSet:
    """Load the labelled images, in the order of their paths.

    No person is in two parts: see `parts_by_person`.

    Parameters
    ----------
    size
        Height and width in pixels, to which the whole frame is squashed; None for frames at
        their own size.
    edition
        "reduced", "official" or "found": see `repro.data.archives.Dataset`.
    root
        Folder of all data sets; `repro.data.sources.data_root` by default.
    resident
        See `repro.data.imagecache.load_images`.
    crop
        Share of height and width, in the middle, that is kept; 1 for the whole photograph.

    Returns
    -------
    ImageSet
        Attributes as `attributes`; names are ``Person/Person_0001.jpg``; parts by `SHARES`.

    Raises
    ------
    DataError
        If a file is absent, damaged or of another edition, or a labelled image is missing.
    """
    found = DATASET.find(edition, root=root)
    labels = _read_all(found)
    on_disk = image_members(found["images"], depth=2)
    missing = sorted(set(labels.index).difference(on_disk))
    if missing:
        raise DataError(
            f"{found['images']}: {len(missing)} of {len(labels)} labelled images are not among "
            f"its {len(on_disk)}, the first is {missing[0]}; fetch it again"
        )
    digests = declared(edition, root=root)
    return ImageSet(
        name="lfwa",
        images=load_images(
            "lfwa",
            found["images"],
            [on_disk[name] for name in labels.index],
            size,
            digest=digests[found["images"].name],
            crop=crop,
            resident=resident,
        ),
        attributes=labels,
        part=parts_by_person(labels.index.tolist()),
        skipped={"no label": len(on_disk) - len(labels)},
        sha256=digests,
    )


def attributes(*, edition: str = "reduced", root: Path | None = None) -> pd.DataFrame:
    """Return the labels of the 13,143 labelled images, without reading an image.

    Returns
    -------
    DataFrame
        By ``Person/Person_0001.jpg``, int8, 1 where the label is positive: the 40 attributes of
        CelebA, then those that only the list of 73 has. Two attributes of both, Eyeglasses and
        Mouth_Slightly_Open, differ between the lists; they are as in the list of 40.

    Raises
    ------
    DataError
        If a file is absent, damaged or of another edition.
    """
    return _read_all(DATASET.find(edition, root=root, roles=_LABELS))


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


def _read_all(found: dict[str, Path]) -> pd.DataFrame:
    first, second = (_read_labels(found[role]) for role in _LABELS)
    same_names("lfwa: the lists of 40 and of 73 attributes", first.index, second.index)
    more = [column for column in second.columns if column not in first.columns]
    return pd.concat([first, second[more]], axis=1).sort_index()


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
