from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from tests.data.conftest import cells, reduced_edition, zipped

from repro.data import lfwa
from repro.data.images import ImageSet
from repro.data.sources import DataError

PEOPLE = {"Ann_Lee": 3, "Bo": 1, "Cy_Day": 2}
NAMES = [f"{name}/{name}_{i:04}.jpg" for name, n in PEOPLE.items() for i in range(1, n + 1)]
UNLABELLED = "Dee/Dee_0001.jpg"
FIRST = {"Male": [0, 0, 0, 1, 1, 1], "Eyeglasses": [0, 1, 0, 1, 0, 1]}
SECOND = {"Eyeglasses": [1, 1, 1, 1, 1, 1], "Outdoor": [-0.5, 0.2, 0, 1, -2, 3]}


def _labels(path: Path, labels: dict[str, list[float]], names: list[str], **change: Any) -> None:
    # Back to front, as nothing promises an order.
    content = {
        "AttrName": cells([*labels]),
        "name": cells([name.replace("/", "\\") for name in names[::-1]]),
        "label": np.array([*labels.values()]).T[::-1],
    }
    savemat(path, content | change)


def _jpg(shade: int) -> bytes:
    """A bright square in the middle half of a dark frame."""
    image = Image.new("RGB", (40, 40))
    image.paste((shade, shade, shade), (10, 10, 30, 30))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95)
    return out.getvalue()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REPRO_DATA", str(tmp_path))
    folder = tmp_path / "lfwa"
    folder.mkdir()
    _labels(folder / "lfw_att_40_7.1.mat", FIRST, NAMES)
    _labels(folder / "lfw_att_73_7.1.mat", SECOND, NAMES)
    shades = {name: 100 + 20 * i for i, name in enumerate([*NAMES, UNLABELLED])}
    images = {f"lfw-deepfunneled/{name}": _jpg(shade) for name, shade in shades.items()}
    zipped(folder / "lfw-deepfunneled.zip", images)
    return tmp_path


def _load(**options: Any) -> ImageSet:
    return lfwa.load(10, edition="found", **options)


def test_labelled_images_are_loaded(root: Path) -> None:
    data = _load()
    assert list(data.attributes.index) == NAMES
    assert data.attributes.to_dict("list") == FIRST | {"Outdoor": [0, 1, 0, 1, 0, 1]}
    assert data.skipped == {"no label": 1}
    shades = data.images[:, 0, 5, 5].int().numpy()
    assert np.abs(shades - (100 + 20 * np.arange(6))).max() <= 2
    assert lfwa.attributes(edition="found").equals(data.attributes)


def test_the_middle_is_cropped(root: Path) -> None:
    def dark(data: ImageSet) -> float:
        return float((data.images[:, 0] < 50).float().mean())

    assert dark(_load(crop=1.0)) == pytest.approx(1 - 0.5**2, abs=0.12)
    assert dark(_load()) == pytest.approx(1 - (0.5 / 0.6) ** 2, abs=0.12)
    assert dark(_load(crop=0.4)) == 0
    with pytest.raises(ValueError, match="crop above 0"):
        _load(crop=0.0)


def test_a_labelled_image_that_is_missing_is_named(root: Path) -> None:
    only = {f"lfw-deepfunneled/{NAMES[0]}": _jpg(100)}
    zipped(root / "lfwa" / "lfw-deepfunneled.zip", only)
    with pytest.raises(DataError, match=r"5 of 6 labelled images .* first is Ann_Lee/Ann_Lee_0002"):
        _load()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": np.zeros((5, 2))}, r"6 names and 2 attributes, but labels of shape \(5, 2\)"),
        ({"label": np.full((6, 2), np.nan)}, "not all finite"),
        ({"name": cells([NAMES[0]] * 6)}, "a name or an attribute twice"),
        ({"AttrName": np.zeros(0)}, "is not a file of LFWA|but labels of shape"),
    ],
)
def test_labels_that_do_not_fit_together(root: Path, change: dict[str, Any], message: str) -> None:
    _labels(root / "lfwa" / "lfw_att_40_7.1.mat", FIRST, NAMES, **change)
    with pytest.raises(DataError, match=message):
        lfwa.attributes(edition="found")


def test_lists_of_different_images(root: Path) -> None:
    shorter = {name: values[1:] for name, values in SECOND.items()}
    _labels(root / "lfwa" / "lfw_att_73_7.1.mat", shorter, NAMES[1:])
    with pytest.raises(DataError, match="do not match: 6 and 5 names; at position 6"):
        lfwa.attributes(edition="found")


@pytest.mark.parametrize("content", [b"", b"no matrix", b"<html></html>" * 100])
def test_another_file_is_named(root: Path, content: bytes) -> None:
    (root / "lfwa" / "lfw_att_40_7.1.mat").write_bytes(content)
    with pytest.raises(DataError, match=r"lfw_att_40_7\.1\.mat is not a file of LFWA\+ labels"):
        lfwa.attributes(edition="found")


def test_label_files_may_be_named_without_the_version_of_their_format(root: Path) -> None:
    before, folder = _load(), root / "lfwa"
    for number in (40, 73):
        (folder / f"lfw_att_{number}_7.1.mat").rename(folder / f"lfw_att_{number}.mat")
    after = _load()
    assert after.attributes.equals(before.attributes)
    assert {"lfw_att_40.mat", "lfw_att_73.mat"} < set(after.sha256)
    with pytest.raises(DataError, match=r'There is lfw_att_40\.mat: .*"found"'):
        lfwa.attributes(edition="official")


def test_matlab_7_3_is_named_with_what_to_do(root: Path) -> None:
    # As MATLAB begins such a file: 116 bytes of text, 8 of nothing, version 2.0, byte order.
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 .".ljust(116) + bytes(8)
    path = root / "lfwa" / "lfw_att_40.mat"
    path.write_bytes(header + b"\x00\x02IM" + bytes(384) + b"\x89HDF\r\n\x1a\n")
    (root / "lfwa" / "lfw_att_40_7.1.mat").unlink()
    with pytest.raises(
        DataError, match=r"lfw_att_40\.mat is in MATLAB's format 7\.3.*_7\.1\.mat.*'-v7'\)"
    ):
        lfwa.attributes(edition="found")


def test_nobody_is_in_two_parts() -> None:
    counts = np.random.default_rng(0).geometric(0.4, 3_000)
    names = [f"P{i}/P{i}_{j:04}.jpg" for i, n in enumerate(counts) for j in range(n)]
    parts = lfwa.parts_by_person(names)
    people = [name.split("/")[0] for name in names]
    assert len(set(zip(people, parts, strict=True))) == len(set(people))
    for part, share in lfwa.SHARES.items():
        assert abs((parts == part).mean() - share) < 0.005
    shuffled = np.random.default_rng(1).permutation(len(names))
    again = lfwa.parts_by_person([names[i] for i in shuffled])
    assert (again == parts[shuffled]).all()


def test_the_reduced_edition() -> None:
    reduced_edition(lfwa)
    data = lfwa.load(16)
    assert len(data) == 13_143
    assert data.skipped == {"no label": 90}
    cells = np.bincount(2 * data.attribute("Male") + data.attribute("Heavy_Makeup"))
    assert cells.tolist() == [1544, 1418, 10055, 126]
    assert len(data.attributes.columns) == 40 + 73 - 38
    people = data.attributes.index.str.split("/").str[0]
    assert len(set(zip(people, data.part, strict=True))) == people.nunique()
    # WIN has 6,885 / 1,000 / 5,258 images.
    sizes = [int((data.part == part).sum()) for part in ("train", "validation", "test")]
    assert sizes == [6_891, 992, 5_260]
    # Decoded pixels belong to their labels.
    top = data.images[:, :, :3].float().mean(dim=(1, 2, 3)).numpy()
    blond, black = (data.attribute(name) == 1 for name in ("Blond_Hair", "Black_Hair"))
    assert top[blond].mean() > top[black].mean() + 5
