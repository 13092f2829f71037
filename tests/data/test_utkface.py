from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.data.conftest import jpg, reduced_edition, zipped

from repro.data import utkface
from repro.data.images import ImageSet
from repro.data.sources import DataError
from repro.data.splits import GROUPS, biased_split, named_parts


def _name(labels: str, number: int) -> str:
    return f"{labels}_{20170101000000000 + number}.jpg.chip.jpg"


FILES = {
    _name("39_0_0", 1): 10,
    _name("40_1_3", 2): 20,
    _name("116_1_4", 3): 30,
    _name("1_0_2", 4): 40,
    # Exact copies of the image with shade 20: the same labels, another age, another gender.
    _name("40_1_3", 5): 20,
    _name("41_1_3", 6): 20,
    _name("42_0_3", 7): 20,
    # Names of another form.
    "61_1_20170109142408075.jpg.chip.jpg": 50,
    "24_0_1_20170116220224657 .jpg.chip.jpg": 60,
    "55_0_0_20170116232725357jpg.chip.jpg": 70,
    "30_2_0_20170116232725357.jpg.chip.jpg": 80,
    "30_0_5_20170116232725357.jpg.chip.jpg": 90,
    # Dates of 16 and 18 digits occur, and are accepted.
    "28_1_2_201701161846515488.jpg.chip.jpg": 100,
    "14_0_0_2017011022340900.jpg.chip.jpg": 110,
}
KEPT = {
    "14_0_0_2017011022340900.jpg.chip.jpg": [0, 1, 1, 1],
    _name("1_0_2", 4): [0, 1, 0, 1],
    _name("39_0_0", 1): [0, 1, 1, 1],
    _name("116_1_4", 3): [1, 0, 0, 0],
    _name("40_1_3", 2): [1, 0, 0, 0],
    "28_1_2_201701161846515488.jpg.chip.jpg": [1, 0, 0, 1],
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REPRO_DATA", str(tmp_path))
    (tmp_path / "utkface").mkdir()
    images = {f"UTKFace/{name}": jpg((shade, shade, shade)) for name, shade in FILES.items()}
    zipped(tmp_path / "utkface" / "UTKFace.zip", images)
    return tmp_path


def _load() -> ImageSet:
    return utkface.load(8, edition="found")


def test_names_give_the_labels_and_copies_are_left_out(root: Path) -> None:
    data = _load()
    assert sorted(data.attributes.index) == sorted(KEPT)
    assert list(data.attributes.columns) == ["Female", "Male", "White", "Young"]
    for name, labels in KEPT.items():
        assert data.attributes.loc[name].tolist() == labels, name
    shades = data.images[:, 0, 4, 4].int().numpy()
    assert np.abs(shades - [FILES[name] for name in data.attributes.index]).max() <= 2
    assert data.skipped == {
        "name does not parse": 5,
        "exact copy, same labels": 1,
        "exact copy, another age": 1,
        "exact copy, another gender or race": 1,
    }
    assert len(data) + sum(data.skipped.values()) == len(FILES)
    parts = named_parts(data.attributes.index, utkface.SHARES, salt="utkface")
    assert data.part.tolist() == parts.tolist()


def test_the_order_says_nothing_of_age(root: Path) -> None:
    """In the order of the names, the first images of a group are of infants: they would train."""
    names = [_name(f"{age}_0_0", number) for age in range(1, 101) for number in range(10)]
    images = {f"UTKFace/{name}": jpg((1, 1, 1)) for name in names}
    zipped(root / "utkface" / "UTKFace.zip", images)
    ages = utkface.DATASET.records(edition="found")["age"].to_numpy()
    assert np.sort(ages).tolist() == np.repeat(np.arange(1, 101), 10).tolist()
    # Of 100 ages drawn from 1 to 100 the mean is 50.5 with a standard error of 2.9.
    assert abs(ages[:100].mean() - 50.5) < 10
    assert abs(np.corrcoef(ages, np.arange(1000))[0, 1]) < 0.12  # standard error 0.03
    assert utkface.declared("reduced")["order"] == utkface.ORDER  # part of a run's identity


def test_records_keep_copies_and_ages(root: Path) -> None:
    table = utkface.DATASET.records(edition="found")
    assert len(table) == len(FILES) - 5
    assert table.loc[_name("116_1_4", 3)].to_dict() == {"age": 116, "gender": 1, "race": 4}
    labels = utkface.DATASET.attributes(edition="found")
    assert labels.index.equals(table.index)
    assert labels["Young"].tolist() == (table["age"] < 40).astype(int).tolist()


def test_no_name_that_parses(root: Path) -> None:
    zipped(root / "utkface" / "UTKFace.zip", {"UTKFace/face.jpg": jpg((1, 1, 1))})
    with pytest.raises(DataError, match=r"no file is named age_gender_race_date.*susanqq"):
        _load()


def test_the_reduced_edition() -> None:
    reduced_edition(utkface)
    labels = utkface.DATASET.attributes()
    cells = np.bincount(2 * labels["Female"] + labels["White"])
    assert cells.tolist() == [6_912, 5_476, 6_713, 4_601]
    data = utkface.load(16)
    assert len(data) == 23_702 - 390
    assert data.skipped["name does not parse"] == 5
    assert sum(data.skipped.values()) == 395
    assert data.sha256 == utkface.declared("reduced")
    pixels = data.images.numpy().reshape(len(data), -1)
    assert len(np.unique(pixels, axis=0)) > len(data) - 20  # no copies but what 16 pixels blur
    for part, share in utkface.SHARES.items():
        assert abs((data.part == part).mean() - share) < 0.01
    # Who trains is as old as who does not, in every group of the biased split.
    train = np.flatnonzero(data.part == "train")
    ages = utkface.DATASET.records().loc[data.attributes.index, "age"].to_numpy()[train]
    labels = [data.attribute(name)[train] for name in ("Female", "White")]
    chosen = np.isin(np.arange(len(train)), biased_split(*labels, 8_000))
    for t, p in GROUPS:
        group = (labels[0] == t) & (labels[1] == p)
        off = ages[group & chosen].mean() - ages[group].mean()
        assert abs(off) < 4 * ages[group].std() / np.sqrt((group & chosen).sum()), (t, p)
    # Decoded pixels belong to their labels.
    middle = data.images[:, :, 6:10, 6:10].float().mean(dim=(1, 2, 3)).numpy()
    white = data.attribute("White") == 1
    assert middle[white].mean() > middle[~white].mean() + 5
