"""Files that exist whole or not at all, their digests, and what is said when a disk is full."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a hidden name beside ``path``; what the block writes there becomes ``path`` at its end.

    A file or a folder, that replaces one that stands there. If the block fails, that one is kept
    and nothing else is left: no part, and none of the folders above that were made for it. A
    process that is killed leaves at most the part, hidden and named ``.part``. After a loss of
    power a file may be damaged, so what is read back is checked by those who read it.

    Raises
    ------
    OSError
        If it cannot be written; `not_kept` puts that into words.
    """
    part = path.with_name(f".{path.name}-{uuid.uuid4().hex[:12]}.part")
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        if part.is_dir() and path.exists():
            _exchange(part, path)
        else:
            part.replace(path)
    except BaseException:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        with suppress(OSError):
            part.unlink(missing_ok=True)
        for folder in made:
            with suppress(OSError):  # somebody else may have put a file there meanwhile
                folder.rmdir()
        raise


def _exchange(part: Path, path: Path) -> None:
    """Put a folder into the place of another, which only then is removed."""
    old = path.with_name(f".{path.name}-old")
    shutil.rmtree(old, ignore_errors=True)
    path.replace(old)
    try:
        part.replace(path)
    except OSError:
        old.replace(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def not_kept(what: str, folder: Path, error: Exception, instead: str) -> str:
    """Say that something could not be written, why, and what to do.

    Parameters
    ----------
    what
        What was to be written; begins the message.
    folder
        Where.
    error
        An `OSError`, or what a library made of one.
    instead
        What to do, as a command; where the disk is full, freeing space is said before it.
    """
    reason = getattr(error, "strerror", None) or str(error)
    full = getattr(error, "errno", None) in _FULL or "No space left" in reason
    room = "free some space there or " if full else ""
    return f"{what} cannot be kept in {folder} ({reason}); {room}{instead}"


def digest_of_values(values: object) -> str:
    """Return the sha256 of plain values as JSON, independent of the order of keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def sha256_of(path: Path | str) -> str:
    """Compute the hexadecimal sha256 of a file's bytes.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
