"""Which edition lies on disk, and what holds for every set of real faces."""

from __future__ import annotations

import hashlib
import os
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from scipy.io import savemat
from tests.data.conftest import cells, jpg, zipped

from repro.data import archives, celeba, fairface, lfwa, utkface
from repro.data.faceset import FOUND, FaceSet, Piece
from repro.data.images import ImageSet
from repro.data.sources import DataError
from repro.names import UnknownNameError


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


SMALL, LARGE = b"the small copy", b"the published file"
LISTED = ("labels.txt", hashlib.sha256(b"labels").hexdigest())


class Few(FaceSet):
    name, fetch = "faces", "Fetch faces.zip from https://example.org/faces"
    pieces: ClassVar = {
        "images": Piece(
            ("faces.zip", "faces.tgz", "faces"),
            {
                "reduced": ("faces.zip", hashlib.sha256(SMALL).hexdigest()),
                "official": ("faces.zip", f"md5:{hashlib.md5(LARGE).hexdigest()}"),
            },
        ),
        "labels": Piece(("labels.txt",), {"reduced": LISTED, "official": LISTED}),
    }
    others: ClassVar = {"faces.7z": "is no archive that is read"}
    read = encode = parts = None  # type: ignore[assignment]


DATASET = Few()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REPRO_DATA", str(tmp_path / "root"))
    folder = tmp_path / "root" / "faces"
    folder.mkdir(parents=True)
    (folder / "labels.txt").write_bytes(b"labels")
    return folder


def test_known_editions_are_declared_without_data(tmp_path: Path) -> None:
    assert DATASET.editions == ("reduced", "official", "found")
    assert DATASET.declared("official") == {
        "faces.zip": f"md5:{hashlib.md5(LARGE).hexdigest()}",
        "labels.txt": hashlib.sha256(b"labels").hexdigest(),
    }
    with pytest.raises(UnknownNameError, match="edition of faces 'oficial'; did you mean 'offic"):
        DATASET.declared("oficial")
    with pytest.raises(UnknownNameError):
        DATASET.find("oficial")


@pytest.mark.parametrize(("edition", "content"), [("reduced", SMALL), ("official", LARGE)])
def test_an_edition_is_found_and_another_refused(
    folder: Path, edition: str, content: bytes
) -> None:
    (folder / "faces.zip").write_bytes(content)
    found = DATASET.find(edition)
    assert found == {"images": folder / "faces.zip", "labels": folder / "labels.txt"}
    other = "official" if edition == "reduced" else "reduced"
    with pytest.raises(DataError) as caught:
        DATASET.find(other)
    assert f"it is the {edition} edition" in str(caught.value)
    assert f"""-p overrides '{{"faces.data.edition": "{edition}"}}'""" in str(caught.value)
    assert DATASET.find(other, roles=("labels",)) == {"labels": folder / "labels.txt"}


def test_an_edited_file_is_refused_but_may_be_asked_for(folder: Path) -> None:
    (folder / "faces.zip").write_bytes(b"edited")
    with pytest.raises(DataError) as caught:
        DATASET.find("reduced")
    assert "no edition that is known" in str(caught.value)
    assert """'{"faces.data.edition": "found"}'""" in str(caught.value)
    assert "https://example.org/faces" in str(caught.value)
    assert DATASET.find(FOUND)["images"] == folder / "faces.zip"
    assert DATASET.declared(FOUND) == {
        "faces.zip": hashlib.sha256(b"edited").hexdigest(),
        "labels.txt": hashlib.sha256(b"labels").hexdigest(),
    }


def test_a_changed_file_gets_another_digest(folder: Path) -> None:
    path = folder / "faces.zip"
    path.write_bytes(SMALL)
    DATASET.find("reduced")
    status = path.stat()
    path.write_bytes(SMALL[::-1])  # of the same size
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(DataError, match="is not the reduced edition"):
        DATASET.find("reduced")


@pytest.mark.parametrize("edition", ["reduced", "official", "found"])
def test_an_absent_file_says_what_to_fetch_and_where_to_put_it(folder: Path, edition: str) -> None:
    with pytest.raises(DataError) as caught:
        DATASET.find(edition)
    message = str(caught.value)
    assert "faces.zip" in message
    assert "Fetch faces.zip from https://example.org/faces" in message
    assert str(folder) in message
    assert "not downloaded automatically" in message
    (folder / "faces.7z").touch()
    with pytest.raises(DataError, match=r"There is faces\.7z, which is no archive that is read\."):
        DATASET.find(edition)


def _found(folder: Path) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRO_DATA", str(folder.parent))
        return DATASET.declared(FOUND)["faces"]


def test_a_folder_is_known_by_the_names_and_contents_in_it(folder: Path, tmp_path: Path) -> None:
    contents = {"b.jpg": b"12", "b/a.jpg": b"1", ".DS_Store": b"x"}
    _write(folder / "faces", contents)
    with pytest.raises(DataError, match=r"There is faces: .*no edition that is known"):
        DATASET.find("reduced")
    before = _found(folder)
    first, second = (hashlib.sha256(data).hexdigest() for data in (b"12", b"1"))
    lines = f"{first} b.jpg\n{second} b/a.jpg\n"
    assert before == "contents:" + hashlib.sha256(lines.encode()).hexdigest()
    # Neither its place nor its times matter, nor what is hidden.
    other = tmp_path / "elsewhere" / "faces"
    _write(other / "faces", {name: contents[name] for name in ("b/a.jpg", "b.jpg")})
    (other / "labels.txt").write_bytes(b"labels")
    assert _found(other) == before
    (other / "faces" / "b.jpg").rename(other / "faces" / "c.jpg")
    assert _found(other) != before


def test_an_edited_image_of_the_same_size_is_another_data_set(folder: Path) -> None:
    path = folder / "faces" / "b.jpg"
    _write(folder / "faces", {"b.jpg": b"12", "deep/a.jpg": b"1"})
    before, status = _found(folder), path.stat()
    path.write_bytes(b"21")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert _found(folder) != before
    path.write_bytes(b"12")
    assert _found(folder) == before


def test_a_folder_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(folder / "faces", {"b.jpg": b"12", "deep/a.jpg": b"1"})
    before = _found(folder)
    with monkeypatch.context() as patch:
        patch.setattr(archives, "read_members", lambda *_: pytest.fail("read again"))
        assert _found(folder) == before
    # Where it cannot be remembered, it is read each time.
    (folder / "file").touch()
    monkeypatch.setenv("REPRO_CACHE", str(folder / "file"))
    assert _found(folder) == before
    assert _found(folder) == before


def test_a_folder_that_cannot_be_read_is_named(folder: Path) -> None:
    _write(folder / "faces", {"b.jpg": b"12"})
    (folder / "faces" / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    with pytest.raises(DataError, match=r"faces cannot be read: .*gone\.jpg"):
        _found(folder)


def test_a_folder_in_the_place_of_an_archive_is_named(folder: Path) -> None:
    (folder / "faces.zip").mkdir()
    with pytest.raises(DataError, match=r"is not the reduced edition .*it is a folder"):
        DATASET.find("reduced")


LABELS = [(t, p) for t in (0, 1) for p in (0, 1)] * 2  # target and protected of eight images


def _celeba(folder: Path) -> list[str]:
    names = [f"{i + 1:06}.jpg" for i in range(8)]
    rows = [f"{n} {2 * t - 1} {2 * p - 1}" for n, (t, p) in zip(names, LABELS, strict=True)]
    listed = "\n".join(["8", "Smiling Male", *rows, ""])
    (folder / "list_attr_celeba.txt").write_text(listed)
    (folder / "list_eval_partition.txt").write_text("".join(f"{name} 0\n" for name in names))
    return [f"img_align_celeba/{name}" for name in names]


def _lfwa(folder: Path) -> list[str]:
    names = [f"P{i}/P{i}_0001.jpg" for i in range(8)]
    for number, columns in ((40, ["Smiling", "Male"]), (73, ["Smiling", "Outdoor"])):
        content = {"AttrName": cells(columns), "name": cells(names), "label": np.array(LABELS)}
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


@pytest.fixture(params=LOADERS)
def loader(request: pytest.FixtureRequest) -> Loader:
    return LOADERS[request.param]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REPRO_DATA", str(tmp_path / "root"))
    return tmp_path / "root"


def _load(loader: Loader, root: Path, **changed: bytes) -> ImageSet:
    """Write eight images, of which some are replaced (by number) or others added (by name)."""
    folder = root / loader.module.DATASET.name
    folder.mkdir(parents=True, exist_ok=True)
    images = {
        name: changed.pop(str(i), None) or jpg((20 * i, 100, 0))
        for i, name in enumerate(loader.labels(folder))
    }
    zipped(folder / loader.archive, images | changed)
    data: ImageSet = loader.module.load(8, edition="found")
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
        after = loader.module.load(8, edition="found")
        assert name in after.sha256
        assert after.attributes.equals(before.attributes)
        assert (after.part == before.part).all()
        assert (after.images == before.images).all()
        if name in packed:
            (folder / name).unlink()


@pytest.mark.parametrize(
    "bad", [jpg((60, 100, 0))[:200], b"<html>log in first</html>"], ids=["cut", "text"]
)
def test_what_is_no_image_is_named_and_nothing_is_kept(
    loader: Loader, root: Path, cache: Path, bad: bytes
) -> None:
    with pytest.raises(DataError, match=rf"{loader.archive}: \S+\.jpg cannot be decoded") as caught:
        _load(loader, root, **{"3": bad})
    assert loader.labels(root / loader.module.DATASET.name)[3] in str(caught.value)
    assert {path.suffix for path in (cache / "images").iterdir()} <= {".lock"}
    data = _load(loader, root)
    labels = data.attribute(loader.target), data.attribute(loader.protected)
    assert sorted(zip(*(values.tolist() for values in labels), strict=True)) == sorted(LABELS)
