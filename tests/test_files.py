"""A file or folder appears whole or not at all, whatever the block that writes it does."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from repro.files import not_kept, sha256_of, whole


def _file(part: Path, text: str) -> None:
    part.write_text(text)


def _folder(part: Path, text: str) -> None:
    part.mkdir()
    (part / text).write_text(text)


def _content(path: Path) -> str:
    return next(path.iterdir()).name if path.is_dir() else path.read_text()


each_kind = pytest.mark.parametrize("write", [_file, _folder], ids=["file", "folder"])


@each_kind
def test_what_was_written_stands_under_its_name_and_replaces_what_stood_there(
    tmp_path: Path, write: Callable[[Path, str], None]
) -> None:
    path = tmp_path / "not" / "there" / "thing"
    for text in ("old", "new"):
        with whole(path) as part:
            write(part, text)
            assert part.name.startswith(".")
            assert part.suffix == ".part"
            assert path.exists() == (text == "new")
        assert _content(path) == text
        assert list(path.parent.iterdir()) == [path]


@each_kind
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), ValueError(), KeyboardInterrupt()]
)
def test_a_block_that_fails_leaves_the_disk_as_it_was(
    tmp_path: Path, write: Callable[[Path, str], None], error: BaseException
) -> None:
    path = tmp_path / "made" / "thing"

    def fail() -> None:
        with whole(path) as part:
            write(part, "half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert list(tmp_path.iterdir()) == []
    with whole(path) as part:
        write(part, "old")
    with pytest.raises(type(error)):
        fail()
    assert _content(path) == "old"
    assert list(path.parent.iterdir()) == [path]


@each_kind
def test_what_stood_there_stays_where_the_renaming_fails(
    tmp_path: Path, write: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "thing"
    with whole(path) as part:
        write(part, "old")

    def replace(self: Path, target: Path) -> Path:
        if self.suffix == ".part":
            raise PermissionError(errno.EACCES, "Permission denied")
        os.replace(self, target)  # noqa: PTH105
        return target

    def renamed() -> None:
        with whole(path) as part:
            write(part, "new")

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(PermissionError):
        renamed()
    assert _content(path) == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), whole(tmp_path / "file" / "thing"):
        pytest.fail("there is nowhere to write to")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"),
         "(No space left on device); free some space there or ask"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"),
         "(Disk quota exceeded); free some space there or ask"),
        # As safetensors puts it.
        (RuntimeError("I/O error: No space left on device (os error 28)"),
         "(I/O error: No space left on device (os error 28)); free some space there or ask"),
        (PermissionError(errno.EACCES, "Permission denied"), "(Permission denied); ask"),
        (OSError("odd"), "(odd); ask"),
    ],
)  # fmt: skip
def test_why_something_was_not_kept_and_what_to_do(error: Exception, said: str) -> None:
    told = not_kept("the thing", Path("some/where"), error, "ask")
    assert told == f"the thing cannot be kept in {Path('some/where')} {said}"


def test_the_digest_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    # The example of FIPS 180-2, appendix B.1.
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(tmp_path / "f") == expected
