"""What holds for every set of real faces: what it must read alike, and what it must withstand."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from repro.data import celeba, fairface, lfwa, utkface
from repro.data.images import ImageSet
from repro.data.sources import DataError
from repro.data.splits import biased_split
from repro.names import UnknownNameError

LABELS = [(t, p) for t in (0, 1) for p in (0, 1)] * 2  # target and protected of eight images


def _celeba(folder: Path) -> list[str]:
    names = [f"{i + 1:06}.jpg" for i in range(8)]
    rows = [f"{n} {2 * t - 1} {2 * p - 1}" for n, (t, p) in zip(names, LABELS, strict=True)]
    listed = "\n".join(["8", "Smiling Male", *rows, ""])
    (folder / "list_attr_celeba.txt").write_text(listed)
    (folder / "list_eval_partition.txt").write_text("".join(f"{name} 0\n" for name in names))
    return [f"img_align_celeba/{name}" for name in names]


def _cells(values: list[str]) -> np.ndarray:
    cells = np.empty(len(values), dtype=object)
    cells[:] = [np.array([value]) for value in values]
    return cells


def _lfwa(folder: Path) -> list[str]:
    names = [f"P{i}/P{i}_0001.jpg" for i in range(8)]
    for number, columns in ((40, ["Smiling", "Male"]), (73, ["Smiling", "Outdoor"])):
        content = {"AttrName": _cells(columns), "name": _cells(names), "label": np.array(LABELS)}
        savemat(folder / f"lfw_att_{number}_7.1.mat", content)
    return [f"lfw-deepfunneled/{name}" for name in names]


def _utkface(folder: Path) -> list[str]:
    # The target is Female, the protected attribute White, which is race 0.
    return [
        f"UTKFace/2{i}_{t}_{1 - p}_2017010100000000{i}.jpg.chip.jpg"
        for i, (t, p) in enumerate(LABELS)
    ]


def _fairface(folder: Path) -> list[str]:
    header = "file,age,gender,race,service_test\n"
    rows = [
        f"train/{i}.jpg,20-29,{('Male', 'Female')[t]},{('Black', 'White')[p]},False\n"
        for i, (t, p) in enumerate(LABELS)
    ]
    (folder / "fairface_label_train.csv").write_text(header + "".join(rows))
    (folder / "fairface_label_val.csv").write_text(header)
    return [f"train/{i}.jpg" for i in range(8)]


@dataclass(frozen=True)
class Loader:
    module: Any
    archive: str
    labels: Callable[[Path], list[str]]  # writes the lists, and names the members of the archive
    target: str
    protected: str


LOADERS = {
    "celeba": Loader(celeba, "img_align_celeba.zip", _celeba, "Smiling", "Male"),
    "lfwa": Loader(lfwa, "lfw-deepfunneled.zip", _lfwa, "Smiling", "Male"),
    "utkface": Loader(utkface, "UTKFace.zip", _utkface, "Female", "White"),
    "fairface": Loader(fairface, "fairface.zip", _fairface, "Female", "White"),
}


def _bytes(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def _jpg(shade: int) -> bytes:
    return _bytes(Image.new("RGB", (20, 20), (shade, 100, 0)), "JPEG", quality=95)


@pytest.fixture(params=LOADERS)
def loader(request: pytest.FixtureRequest) -> Loader:
    return LOADERS[request.param]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def _load(loader: Loader, root: Path, **changed: bytes) -> ImageSet:
    """Write eight images, of which some are replaced (by number) or others added (by name)."""
    folder = root / loader.module.__name__.rpartition(".")[2]
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / loader.archive, "w") as archive:
        for i, name in enumerate(loader.labels(folder)):
            archive.writestr(name, changed.pop(str(i), None) or _jpg(20 * i))
        for name, data in changed.items():
            archive.writestr(name, data)
    data: ImageSet = loader.module.load(8, edition="found", root=root)
    return data


def _packed(path: Path, files: Path) -> None:
    with tarfile.open(path, "w:gz") as tar:
        tar.add(files, files.name)


def test_the_archive_as_published_and_unpacked_read_the_same(loader: Loader, root: Path) -> None:
    before = _load(loader, root)
    dataset = loader.module.DATASET
    folder, names = root / dataset.name, dataset.pieces["images"].names
    unpacked = folder / names[-1]
    with zipfile.ZipFile(folder / loader.archive) as archive:
        archive.extractall(unpacked)
    (folder / loader.archive).unlink()
    packed = [name for name in names if name.endswith(("gz", "tgz"))]
    for name in [*packed, unpacked.name]:  # the first that there is is read
        if name in packed:
            _packed(folder / name, unpacked)
        after = loader.module.load(8, edition="found", root=root)
        assert name in after.sha256
        assert after.attributes.equals(before.attributes)
        assert (after.part == before.part).all()
        assert (after.images == before.images).all()
        if name in packed:
            (folder / name).unlink()


MODES = {
    "grey": (_bytes(Image.new("L", (9, 9), 77), "JPEG"), (77, 77, 77)),
    # A fifth of the colour over four fifths of white.
    "RGBA": (_bytes(Image.new("RGBA", (9, 9), (0, 100, 200, 51)), "PNG"), (204, 224, 244)),
    "CMYK": (_bytes(Image.new("CMYK", (9, 9), (128, 0, 0, 0)), "JPEG", quality=100),
             (127, 255, 255)),
    "16 bits": (_bytes(Image.new("I;16", (9, 9), 40 * 257), "PNG"), (40, 40, 40)),
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_an_image_of_another_mode_becomes_rgb(loader: Loader, root: Path, mode: str) -> None:
    data, colour = MODES[mode]
    images = _load(loader, root, **{"3": data}).images
    assert len(images) == 8
    assert np.abs(images[3, :, 4, 4].int().numpy() - colour).max() <= 1
    assert np.abs(images[5, :, 4, 4].int().numpy() - (100, 100, 0)).max() <= 3


@pytest.mark.parametrize(
    "bad", [_jpg(60)[:200], b"<html>log in first</html>", b"\n"], ids=["truncated", "text", "blank"]
)
def test_what_is_no_image_is_named_and_nothing_is_kept(
    loader: Loader, root: Path, bad: bytes
) -> None:
    with pytest.raises(DataError, match=rf"{loader.archive}: \S+\.jpg cannot be decoded") as caught:
        _load(loader, root, **{"3": bad})
    assert loader.labels(root / loader.module.__name__.rpartition(".")[2])[3] in str(caught.value)
    assert "Fetch the data set again, or remove this file" in str(caught.value)
    kept = [path.suffix for path in (root.parent / "cache" / "images").iterdir()]
    assert set(kept) <= {".lock"}
    assert len(_load(loader, root)) == 8


@pytest.mark.parametrize("name", ["../out.jpg", "a/../../out.jpg", "/out.jpg"])
def test_an_archive_that_leads_out_is_refused(loader: Loader, root: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"is refused: its member .* leads out of it"):
        _load(loader, root, **{name: _jpg(1)})
    assert not list(root.parent.rglob("out.jpg"))


def test_an_attribute_that_does_not_exist_is_named(loader: Loader, root: Path) -> None:
    data = _load(loader, root)
    wrong = loader.target.lower()
    with pytest.raises(UnknownNameError, match=f"{wrong!r}; did you mean {loader.target!r}"):
        data.attribute(wrong)


def test_too_few_images_of_a_group_are_counted(loader: Loader, root: Path) -> None:
    data = _load(loader, root)
    labels = data.attribute(loader.target), data.attribute(loader.protected)
    assert sorted(zip(*(values.tolist() for values in labels), strict=True)) == sorted(LABELS)
    with pytest.raises(ValueError, match=r"5 of \(0,1\).* but there are 2 of \(0,0\), 2 of .*"):
        biased_split(*labels, 12, bias_ratio=1 / 5)
    with pytest.raises(ValueError, match="8 is the largest total that fits"):
        biased_split(*labels, 100, bias_ratio=1)
