"""What is in an archive, or in the folder that was unpacked from it."""

from __future__ import annotations

import hashlib
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from pathlib import Path

from repro.data.sources import DataError, remembered

_Entry = tuple[str, Callable[[], bytes]]  # name as stored, how to read it
# By any of these an archive is found to be damaged.
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError)


def members(path: Path) -> list[str]:
    """List the files in a folder, a .zip, a .tar.gz or a .tgz.

    Hidden files and ``__MACOSX`` are left out, as are links in an archive.

    Returns
    -------
    list of str
        Names in order, ``/`` between their parts.

    Raises
    ------
    DataError
        If ``path`` is absent, of another kind or damaged, holds a name twice, or holds one that
        leads out of it (absolute, or with ``..``).
    """
    found = set[str]()
    for name, _ in _entries(path):
        if name in found:
            raise DataError(f"{path} has two members named {name!r}; fetch the archive again")
        found.add(name)
    return sorted(found)


def read_members(path: Path, names: Collection[str] | None = None) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of the members in the order in which they lie on disk.

    Checksums of the archive are verified; that of a .tar.gz is reached only at its end, so
    nothing that was read may be relied on before the last member has been taken.

    Parameters
    ----------
    path
        As for `members`.
    names
        Which members; all by default.

    Raises
    ------
    DataError
        As `members`, and if a name is not among the members.
    """
    wanted = None if names is None else set(names)
    for name, read in _entries(path):
        if wanted is None:
            yield name, read()
        elif name in wanted:
            wanted.remove(name)
            yield name, read()
    if wanted:
        raise DataError(
            f"{path}: {len(wanted)} files that belong into it are missing, the first is "
            f"{min(wanted)!r}; fetch it again"
        )


def digest_of_folder(folder: Path) -> str:
    """Return ``contents:`` and the sha256 over the sha256 and the name of each of the `members`.

    An edited image is thus another data set, wherever the folder lies. All are read once (as long
    as a first decoding takes to read them), and again only when a name, size or time has changed.

    Raises
    ------
    DataError
        If a file cannot be read.
    """
    folder = folder.absolute()

    def measure() -> str:
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in read_members(folder)}
        return "contents:" + _hash_of(f"{digests[name]} {name}\n" for name in members(folder))

    try:
        times = ((name, entry.stat()) for name, entry in _files(folder, ""))
        stamp = _hash_of(f"{s.st_size} {s.st_mtime_ns} {name}\n" for name, s in times)
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error}.") from error
    return remembered(f"contents {folder}", ("contents", str(folder), stamp), measure)


def _hash_of(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def _entries(path: Path) -> Iterator[_Entry]:
    """Walk the members, with names checked and every way to fail turned into a `DataError`."""
    if path.is_dir():
        walk = _walk_folder(path)
    elif path.suffix == ".zip":
        walk = _walk_zip(path)
    elif path.name.endswith((".tar.gz", ".tgz")):
        walk = _walk_tar(path)
    else:
        raise DataError(f"{path} is neither a folder nor a .zip, .tar.gz or .tgz archive")
    try:
        for stored, read in walk:
            name = _safe_name(stored, path)
            if not name.startswith((".", "__MACOSX/")) and "/." not in name:
                yield name, partial(_read, read, path, name)
    except _DAMAGE as error:
        raise DataError(f"{path} is damaged ({error}); delete it and fetch it again") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _read(read: Callable[[], bytes], path: Path, name: str) -> bytes:
    try:
        return read()
    # Beside damage: RuntimeError for an encrypted member, NotImplementedError for a compression
    # that zipfile does not know.
    except (*_DAMAGE, RuntimeError, OSError) as error:
        raise DataError(
            f"{path}: {name} is damaged or cannot be read ({error}); fetch {path.name} again"
        ) from error


def _walk_folder(folder: Path) -> Iterator[_Entry]:
    for name, entry in _files(folder, ""):
        yield name, Path(entry.path).read_bytes


def _files(folder: Path, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(folder) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir():
            yield from _files(folder / entry.name, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, entry


def _walk_zip(path: Path) -> Iterator[_Entry]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield info.filename, partial(archive.read, info)


def _walk_tar(path: Path) -> Iterator[_Entry]:
    with tarfile.open(path, "r:gz") as archive:
        for info in archive:
            if info.isreg():
                file = archive.extractfile(info)
                assert file is not None  # None only for what is no file
                yield info.name, file.read
        while archive.fileobj.read(1 << 20):  # to the end, where gzip keeps its checksum
            pass


def _safe_name(stored: str, path: Path) -> str:
    # By hand, not by pathlib: there are 200,000 names in the largest data set.
    parts = stored.replace("\\", "/").split("/")
    if parts[0] == "" or parts[0].endswith(":") or ".." in parts:
        raise DataError(
            f"{path} is refused: its member {stored!r} leads out of it. An archive of the "
            "official source has no such name; fetch it from there"
        )
    return "/".join(part for part in parts if part not in ("", "."))
