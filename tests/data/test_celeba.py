from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from tests.data.conftest import jpg, reduced_edition, zipped

from repro.data import celeba
from repro.data.images import ImageSet
from repro.data.sources import DataError
from repro.data.splits import biased_split

NAMES = [f"{i:06}.jpg" for i in range(1, 13)]
ATTRIBUTES = ["Male", "Smiling", "5_o_Clock_Shadow"]
VALUES = np.random.default_rng(0).integers(0, 2, (12, 3))
PARTITION = [0] * 6 + [1] * 3 + [2] * 3


def _lines(values: np.ndarray = VALUES) -> list[str]:
    rows = [
        f"{name} {' '.join(f'{2 * v - 1:2}' for v in row)}"
        for name, row in zip(NAMES, values, strict=True)
    ]
    return [str(len(rows)), " ".join(ATTRIBUTES) + " ", *rows]


def _images(path: Path, numbers: list[int]) -> None:
    frames = {i: jpg((20 * i, 100, 0), (18, 22)) for i in numbers}
    zipped(path, {f"img_align_celeba/{i:06}.jpg": frame for i, frame in frames.items()})


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REPRO_DATA", str(tmp_path))
    folder = tmp_path / "celeba"
    folder.mkdir()
    (folder / "list_attr_celeba.txt").write_text("\n".join(_lines()) + "\n")
    partition = [f"{name} {part}\n" for name, part in zip(NAMES, PARTITION, strict=True)]
    (folder / "list_eval_partition.txt").write_text("".join(partition))
    _images(folder / "img_align_celeba.zip", [11, 2, 5, 8])
    return tmp_path


def _load() -> ImageSet:
    return celeba.load(8, edition="found")


def test_images_on_disk_get_their_labels(root: Path) -> None:
    data = _load()
    at = [1, 4, 7, 10]
    assert list(data.attributes.index) == [NAMES[i] for i in at]
    assert data.attributes.to_numpy().tolist() == VALUES[at].tolist()
    assert list(data.attributes.columns) == ATTRIBUTES
    assert data.part.tolist() == ["train", "train", "validation", "test"]
    assert data.skipped == {"image not on disk": 8}
    assert data.sha256 == celeba.declared("found")
    assert data.images.shape == (4, 3, 8, 8)
    assert np.abs(data.images[:, 0, 4, 4].int().numpy() - [40, 100, 160, 220]).max() <= 3


def test_lists_are_read_without_images(root: Path) -> None:
    (root / "celeba" / "img_align_celeba.zip").unlink()
    labels = celeba.attributes(edition="found")
    assert (labels.to_numpy() == VALUES).all()
    assert (labels.dtypes == np.int8).all()
    parts = celeba.DATASET.records(edition="found")["part"]
    assert parts.tolist() == ["train"] * 6 + ["validation"] * 3 + ["test"] * 3
    with pytest.raises(DataError, match=r"none of img_align_celeba\.zip, img_align_celeba is in"):
        _load()


def test_the_list_may_be_compressed(root: Path) -> None:
    folder, before = root / "celeba", _load()
    plain = folder / "list_attr_celeba.txt"
    with zipfile.ZipFile(folder / "list_attr_celeba.zip", "w") as archive:
        archive.write(plain, plain.name)
    plain.unlink()
    after = _load()
    assert after.attributes.equals(before.attributes)
    assert "list_attr_celeba.zip" in after.sha256


def _as_kaggle(folder: Path) -> None:
    """Turn the official layout into that of Kaggle's copy, unpacked."""
    attributes = [line.split() for line in _lines()[2:]]
    table = [["image_id", *ATTRIBUTES], *attributes]
    partition = (folder / "list_eval_partition.txt").read_text().split("\n")[:-1]
    for name, rows in (
        ("list_attr_celeba", table),
        ("list_eval_partition", [["image_id", "partition"], *map(str.split, partition)]),
    ):
        text = "".join(",".join(row) + "\r\n" for row in rows)
        (folder / f"{name}.csv").write_bytes(text.encode())
        (folder / f"{name}.txt").unlink()
    with zipfile.ZipFile(folder / "img_align_celeba.zip") as archive:
        archive.extractall(folder / "img_align_celeba")
    (folder / "img_align_celeba.zip").unlink()


def test_the_copy_of_kaggle_is_read(root: Path) -> None:
    before, folder = _load(), root / "celeba"
    _as_kaggle(folder)
    after = _load()
    assert after.attributes.equals(before.attributes)
    assert after.part.tolist() == before.part.tolist()
    assert (after.images == before.images).all()
    with zipfile.ZipFile(folder / "list_attr_celeba.csv.zip", "w") as archive:
        archive.write(folder / "list_attr_celeba.csv", "list_attr_celeba.csv")
    (folder / "list_attr_celeba.csv").unlink()
    assert _load().attributes.equals(before.attributes)
    with pytest.raises(DataError, match=r'There is list_attr_celeba\.csv\.zip: .*"found"'):
        celeba.attributes(edition="official")


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("list_attr_celeba", b"000003.jpg,", b"000003.jpg,1,", "line 4: expected a name and 3"),
        ("list_attr_celeba", b"000003.jpg,1", b"000003.jpg,2", "line 4: expected a name and 3"),
        ("list_attr_celeba", b"000003.jpg,1", b"000003.jpg,", "line 4: expected a name and 3"),
        ("list_eval_partition", b"000003.jpg,0", b"000003.jpg,3", "line 4: expected a name and 1"),
        ("list_eval_partition", b"000003.jpg,0\r\n", b"", "12 and 11 names; at position 3"),
    ],
)
def test_a_malformed_table_of_kaggle_is_named(
    root: Path, name: str, old: bytes, new: bytes, message: str
) -> None:
    _as_kaggle(root / "celeba")
    path = root / "celeba" / f"{name}.csv"
    content = path.read_bytes().replace(b"-1,", b"1,")
    assert old in content
    path.write_bytes(content.replace(old, new))
    with pytest.raises(DataError, match=message):
        _load()


def _replaced(line: int, text: str) -> list[str]:
    lines = _lines()
    lines[line] = text
    return lines


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (_replaced(4, f"{NAMES[2]} 1 0 1"), r"line 5: expected a name and 3 values"),
        (_replaced(4, f"{NAMES[2]} 1 x 1"), r"line 5: expected .*\['-1', '1'\], not '000003"),
        (_replaced(4, f"{NAMES[2]} 1 1"), "line 5: expected"),
        (_replaced(4, f"{NAMES[2]} 1 1 -1 1"), "line 5: expected"),
        (_replaced(2, f"{NAMES[0]} 1 1 -1 1"), "line 3: expected"),
        (_replaced(4, f"{NAMES[2]} 1 999 1"), "line 5: expected"),
        (_replaced(4, f"{NAMES[1]} 1 1 1"), r"names 000002\.jpg twice"),
        (_replaced(0, "13"), "12 images, but its first line says 13"),
        (_lines()[:-1], "11 images, but its first line says 12"),
        (_lines()[1:], "lines 1 and 2: expected the number of images"),
        (["12", *_lines()[2:]], "line 3: expected|expected a name and 4 values"),
        ([""], "lines 1 and 2"),
        (["12", "Male Smiling"], "cannot be read as a list|0 images"),
    ],
)
def test_a_malformed_list_is_named(root: Path, lines: list[str], message: str) -> None:
    (root / "celeba" / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=message) as caught:
        celeba.attributes(edition="found")
    assert "list_attr_celeba.txt" in str(caught.value)


def test_lists_that_do_not_match_are_named(root: Path) -> None:
    path = root / "celeba" / "list_eval_partition.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:3] + lines[4:]))
    with pytest.raises(DataError, match=r"12 and 11 names; at position 4 .*'000004\.jpg'"):
        _load()
    path.write_text("\n".join([*lines[:-1], "000012.jpg 3"]))
    with pytest.raises(DataError, match=r"line 12: expected a name and 1 values"):
        _load()


def test_an_image_without_labels_is_named(root: Path) -> None:
    _images(root / "celeba" / "img_align_celeba.zip", [3, 99, 98])
    with pytest.raises(DataError, match=r"2 of its 3 images are not among the 12 .*000098\.jpg"):
        _load()


SPLIT = "official_split_Smiling_Male_20000_0.05.txt"
CELLS = {
    ("Smiling", "Male"): {
        "train": [9455, 9976, 11307, 6802],
        "validation": [1086, 1200, 1367, 882],
        "test": [1114, 1187, 1590, 749],
    },
    ("Smiling", "Young"): {
        "train": [4507, 14924, 4737, 13372],
        "validation": [561, 1725, 668, 1581],
        "test": [617, 1684, 615, 1724],
    },
    ("Young", "Male"): {
        "train": [2761, 6483, 18001, 10295],
        "validation": [388, 841, 2065, 1241],
        "test": [456, 776, 2248, 1160],
    },
    ("Wavy_Hair", "Male"): {
        "train": [11676, 14474, 9086, 2304],
        "validation": [1499, 1870, 954, 212],
        "test": [1424, 1651, 1280, 285],
    },
}


def test_the_biased_split_is_that_of_the_authors() -> None:
    folder = reduced_edition(celeba, SPLIT)
    labels, parts = celeba.attributes(), celeba.DATASET.records()["part"]
    assert labels.shape == (202_599, 40)
    assert parts.value_counts().to_dict() == {
        "train": 162_770,
        "validation": 19_867,
        "test": 19_962,
    }
    train = labels[parts.eq("train")]
    chosen = biased_split(train["Smiling"], train["Male"], 20_000)
    # The authors' list holds the same images in index order.
    assert train.index[chosen].tolist() == (folder / SPLIT).read_text().split()
    for target, protected in (("Smiling", "Young"), ("Young", "Male")):
        rows = biased_split(train[target], train[protected], 20_000)
        cells = np.bincount(2 * train[target].to_numpy()[rows] + train[protected].to_numpy()[rows])
        assert cells.tolist() == [1000, 9000, 9000, 1000]


def test_the_reduced_edition() -> None:
    reduced_edition(celeba)
    data = celeba.load(16)
    assert len(data) == 46_715
    assert data.skipped == {"image not on disk": 202_599 - 46_715}
    assert data.sha256 == celeba.declared("reduced")
    for (target, protected), cells in CELLS.items():
        group = 2 * data.attribute(target) + data.attribute(protected)
        for part, expected in cells.items():
            assert np.bincount(group[data.part == part], minlength=4).tolist() == expected
    # Decoded pixels belong to their labels: pale hair is brighter above the face than black hair.
    top = data.images[:, :, :4, 4:12].float().mean(dim=(1, 2, 3)).numpy()
    blond, black = (data.attribute(name) == 1 for name in ("Blond_Hair", "Black_Hair"))
    assert top[blond].mean() > top[black].mean() + 20
