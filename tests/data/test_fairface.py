from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.data.conftest import jpg, reduced_edition, zipped

from repro.data import fairface
from repro.data.images import ImageSet
from repro.data.sources import DataError

HEADER = "file,age,gender,race,service_test"
TRAIN = [
    "train/1.jpg,30-39,Male,East Asian,True",
    "train/2.jpg,40-49,Female,White,False",
    "train/3.jpg,more than 70,Male,Latino_Hispanic,False",
    "train/4.jpg,0-2,Female,Black,False",
]
VAL = ["val/1.jpg,3-9,Female,White,True", "val/2.jpg,60-69,Male,Middle Eastern,True"]


def _write(root: Path, train: list[str], val: list[str], names: list[str]) -> None:
    folder = root / "fairface"
    folder.mkdir(exist_ok=True)
    (folder / "fairface_label_train.csv").write_text("\n".join([HEADER, *train]) + "\n")
    (folder / "fairface_label_val.csv").write_text("\n".join([HEADER, *val]) + "\n")
    shades = {name: 40 * (i + 1) for i, name in enumerate(names)}
    zipped(folder / "fairface.zip", {name: jpg((s, s, s)) for name, s in shades.items()})


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REPRO_DATA", str(tmp_path))
    _write(tmp_path, TRAIN, VAL, ["val/1.jpg", "train/4.jpg", "train/1.jpg", "train/2.jpg"])
    return tmp_path


def _load() -> ImageSet:
    return fairface.load(8, edition="found")


def test_images_on_disk_get_their_labels(root: Path) -> None:
    data = _load()
    assert list(data.attributes.index) == ["train/1.jpg", "train/2.jpg", "train/4.jpg", "val/1.jpg"]
    assert np.abs(data.images[:, 0, 4, 4].int().numpy() - [120, 160, 80, 40]).max() <= 2
    assert data.attribute("Male").tolist() == [1, 0, 0, 0]
    assert data.attribute("Female").tolist() == [0, 1, 1, 1]
    assert data.attribute("Young").tolist() == [1, 0, 1, 1]
    assert data.attribute("White").tolist() == [0, 1, 0, 1]
    assert data.attribute("East_Asian").tolist() == [1, 0, 0, 0]
    assert data.part[-1] == "test"
    assert set(data.part[:3]) <= {"train", "validation"}
    assert data.skipped == {"image not on disk": 2}


def test_labels_are_read_without_images(root: Path) -> None:
    (root / "fairface" / "fairface.zip").unlink()
    table = fairface.records(edition="found")
    assert table.loc["val/2.jpg"].tolist() == ["60-69", "Male", "Middle Eastern"]
    labels = fairface.DATASET.attributes(edition="found")
    races = [race.replace(" ", "_") for race in fairface.RACES]
    assert (labels[races].sum(axis=1) == 1).all()
    with pytest.raises(DataError, match=r"Fetch fairface-img-margin025-trainval\.zip"):
        _load()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train/5.jpg,35,Male,White,True", "line 6: age '35' is not one of 0-2"),
        ("train/5.jpg,0-2,male,White,True", "line 6: gender 'male'"),
        ("train/5.jpg,0-2,Male,white,True", "line 6: race 'white'"),
        ("train/5.jpg,0-2,Male,,True", "line 6: race ''"),
        ("train/1.jpg,0-2,Male,White,True", "named once and begin with train/"),
        ("val/5.jpg,0-2,Male,White,True", "named once and begin with train/"),
        ("train/5.jpg,0-2,Male,White,True,,,", "cannot be read"),
    ],
)
def test_a_wrong_label_is_named(root: Path, line: str, message: str) -> None:
    _write(root, [*TRAIN, line], VAL, ["train/1.jpg"])
    with pytest.raises(DataError, match=message) as caught:
        _load()
    assert "fairface_label_train.csv" in str(caught.value)


def test_other_columns_and_unlabelled_images_are_named(root: Path) -> None:
    _write(root, TRAIN, VAL, ["train/1.jpg", "train/77.jpg"])
    with pytest.raises(DataError, match=r"1 of its 2 images .* the first is train/77\.jpg"):
        _load()
    (root / "fairface" / "fairface_label_val.csv").write_text("file,age\n")
    with pytest.raises(DataError, match="columns file, age, expected file, age, gender, race"):
        _load()


def test_the_reduced_edition() -> None:
    reduced_edition(fairface)
    data = fairface.load(16)
    assert data.skipped == {"image not on disk": 0}
    assert (data.part == "test").sum() == 3_000
    assert (data.part != "test").sum() == 27_000
    assert abs((data.part == "validation").sum() / 27_000 - 0.1) < 0.01
    # Decoded pixels belong to their labels.
    middle = data.images[:, :, 6:10, 6:10].float().mean(dim=(1, 2, 3)).numpy()
    white, black = (data.attribute(name) == 1 for name in ("White", "Black"))
    assert middle[white].mean() > middle[black].mean() + 10
