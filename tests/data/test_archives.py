from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from repro.data import archives
from repro.data.archives import FOUND, Dataset, Piece, members, read_members
from repro.data.sources import DataError
from repro.names import UnknownNameError

FILES = {"set/a.jpg": b"first", "set/deep/b.jpg": b"second" * 500, "set/z.txt": b""}
KINDS = ["folder", "set.zip", "set.tar.gz", "set.tgz"]


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REPRO_CACHE", str(tmp_path / "cache"))


def _write(path: Path, files: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.mkdir("empty")
            for name, data in files.items():
                archive.writestr(name, data)
    elif path.suffix in (".gz", ".tgz"):
        with tarfile.open(path, "w:gz") as tar:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
            link = tarfile.TarInfo("set/link.jpg")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(link)
    else:
        for name, data in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_and_every_archive_read_the_same(tmp_path: Path, kind: str) -> None:
    hidden = {"__MACOSX/set/._a.jpg": b"x", "set/.DS_Store": b"x", ".hidden/c.jpg": b"x"}
    path = _write(tmp_path / kind, dict(reversed(FILES.items())) | hidden)
    sizes = members(path)
    assert sizes == {name: len(data) for name, data in FILES.items()}
    assert list(sizes) == sorted(FILES)
    assert dict(read_members(path)) == FILES
    assert dict(read_members(path, ["set/a.jpg"])) == {"set/a.jpg": b"first"}
    with pytest.raises(DataError, match=r"2 files .* are missing, the first is 'set/x.jpg'"):
        list(read_members(path, ["set/y.jpg", "set/a.jpg", "set/x.jpg"]))


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize(
    "name", ["../out.jpg", "set/../../out.jpg", "/etc/out.jpg", "..\\out.jpg", "C:\\out.jpg"]
)
def test_a_name_that_leads_out_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    path = _write(tmp_path / kind, FILES | {name: b"x"})
    for use in (members, lambda p: list(read_members(p))):
        with pytest.raises(DataError) as caught:
            use(path)
        assert f"{path} is refused: its member {name!r} leads out of it" in str(caught.value)
    assert not (tmp_path / "out.jpg").exists()


def test_names_with_dots_inside_are_fine(tmp_path: Path) -> None:
    path = _write(tmp_path / "set.tgz", {"./set/a..b.jpg": b"x"})
    assert members(path) == {"set/a..b.jpg": 1}


def test_a_damaged_zip_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path / "set.zip", FILES)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"secondsecond", b"secondSecond", 1))
    assert list(members(path)) == sorted(FILES)  # only reading shows it
    with pytest.raises(DataError, match=r"set\.zip: set/deep/b\.jpg is damaged .*CRC"):
        list(read_members(path))
    path.write_bytes(content[:-30])
    with pytest.raises(DataError, match=r"set\.zip is damaged .*delete it and fetch it again"):
        members(path)


@pytest.mark.parametrize("place", [-6, 30])  # in the checksum at the end, in the data
def test_a_damaged_tar_is_named(tmp_path: Path, place: int) -> None:
    path = _write(tmp_path / "set.tgz", FILES)
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"set\.tgz (is damaged|cannot be read)"):
        list(read_members(path))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_tar_is_named(tmp_path: Path, share: float) -> None:
    path = _write(tmp_path / "set.tar.gz", FILES)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"set\.tar\.gz(: \S+)? (is damaged|cannot be read)"):
        list(read_members(path))


def test_an_encrypted_zip_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path / "set.zip", FILES)
    content = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := content.find(signature, at + 1)) >= 0:
            content[at + flags] |= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="encrypted"):
        list(read_members(path))


def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "set.zip", {"a.jpg": b"1", "b.jpg": b"2"})
    path.write_bytes(path.read_bytes().replace(b"b.jpg", b"a.jpg"))
    with pytest.raises(DataError, match=r"two members named 'a\.jpg'"):
        members(path)


def test_another_kind_or_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "set.rar").write_bytes(b"x")
    for name in ("set.rar", "absent"):
        with pytest.raises(DataError, match=r"neither a folder nor a \.zip, \.tar\.gz or \.tgz"):
            members(tmp_path / name)
    with pytest.raises(DataError, match=r"absent\.zip cannot be read"):
        members(tmp_path / "absent.zip")


SMALL, LARGE = b"the small copy", b"the published file"
DATASET = Dataset(
    "faces",
    "Fetch faces.zip from https://example.org/faces",
    {
        "images": Piece(
            ("faces.zip", "faces.tgz", "faces"),
            {
                "reduced": ("faces.zip", hashlib.sha256(SMALL).hexdigest()),
                "official": ("faces.zip", f"md5:{hashlib.md5(LARGE).hexdigest()}"),
            },
        ),
        "labels": Piece(
            ("labels.txt",),
            {
                "reduced": ("labels.txt", hashlib.sha256(b"labels").hexdigest()),
                "official": ("labels.txt", hashlib.sha256(b"labels").hexdigest()),
            },
        ),
    },
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "root" / "faces"
    folder.mkdir(parents=True)
    (folder / "labels.txt").write_bytes(b"labels")
    return folder


def test_known_editions_are_declared_without_data(tmp_path: Path) -> None:
    assert DATASET.editions == ("reduced", "official", "found")
    assert DATASET.declared("official", root=tmp_path) == {
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
    found = DATASET.find(edition, root=folder.parent)
    assert found == {"images": folder / "faces.zip", "labels": folder / "labels.txt"}
    other = "official" if edition == "reduced" else "reduced"
    with pytest.raises(DataError) as caught:
        DATASET.find(other, root=folder.parent)
    assert f"it is the {edition} edition" in str(caught.value)
    assert f"""-p overrides '{{"faces.data.edition": "{edition}"}}'""" in str(caught.value)
    assert DATASET.find(other, root=folder.parent, roles=("labels",)) == {
        "labels": folder / "labels.txt"
    }


def test_an_edited_file_is_refused_but_may_be_asked_for(folder: Path) -> None:
    (folder / "faces.zip").write_bytes(b"edited")
    with pytest.raises(DataError) as caught:
        DATASET.find("reduced", root=folder.parent)
    assert "no edition that is known" in str(caught.value)
    assert """'{"faces.data.edition": "found"}'""" in str(caught.value)
    assert "https://example.org/faces" in str(caught.value)
    assert DATASET.find(FOUND, root=folder.parent)["images"] == folder / "faces.zip"
    assert DATASET.declared(FOUND, root=folder.parent) == {
        "faces.zip": hashlib.sha256(b"edited").hexdigest(),
        "labels.txt": hashlib.sha256(b"labels").hexdigest(),
    }


def test_a_changed_file_gets_another_digest(folder: Path) -> None:
    path = folder / "faces.zip"
    path.write_bytes(SMALL)
    DATASET.find("reduced", root=folder.parent)
    status = path.stat()
    path.write_bytes(SMALL[::-1])  # of the same size
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(DataError, match="is not the reduced edition"):
        DATASET.find("reduced", root=folder.parent)


@pytest.mark.parametrize("edition", ["reduced", "official", "found"])
def test_an_absent_file_says_what_to_fetch_and_where_to_put_it(folder: Path, edition: str) -> None:
    with pytest.raises(DataError) as caught:
        DATASET.find(edition, root=folder.parent)
    message = str(caught.value)
    assert "faces.zip" in message
    assert "Fetch faces.zip from https://example.org/faces" in message
    assert str(folder) in message
    assert "not downloaded automatically" in message


def _found(folder: Path) -> str:
    return DATASET.declared(FOUND, root=folder.parent)["faces"]


def test_a_folder_is_known_by_the_names_and_contents_in_it(folder: Path, tmp_path: Path) -> None:
    contents = {"b.jpg": b"12", "b/a.jpg": b"1", ".DS_Store": b"x"}
    _write(folder / "faces", contents)
    with pytest.raises(DataError, match=r"There is faces: .*no edition that is known"):
        DATASET.find("reduced", root=folder.parent)
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
        DATASET.find("reduced", root=folder.parent)
