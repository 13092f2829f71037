from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from tests.data.conftest import tarred, zipped

from repro.data.archives import members, read_members
from repro.data.sources import DataError

FILES = {"set/a.jpg": b"first", "set/deep/b.jpg": b"second" * 500, "set/z.txt": b""}
KINDS = ["folder", "set.zip", "set.tar.gz", "set.tgz"]


def _write(path: Path, files: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        return zipped(path, {"empty/": b""} | files)
    if path.suffix in (".gz", ".tgz"):
        link = tarfile.TarInfo("set/link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        return tarred(path, files, link)
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_and_every_archive_read_the_same(tmp_path: Path, kind: str) -> None:
    hidden = {"__MACOSX/set/._a.jpg": b"x", "set/.DS_Store": b"x", ".hidden/c.jpg": b"x"}
    path = _write(tmp_path / kind, dict(reversed(FILES.items())) | hidden)
    assert members(path) == sorted(FILES)
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
    assert members(path) == ["set/a..b.jpg"]


def test_a_damaged_zip_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path / "set.zip", FILES)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"secondsecond", b"secondSecond", 1))
    assert members(path) == sorted(FILES)  # only reading shows it
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
