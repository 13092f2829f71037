"""Data sets that a user fetches by hand: which edition lies on disk, and what is in it.

Face data sets come as an archive or as the folder that was unpacked from it, and under licences
or from pages that forbid or prevent fetching them automatically. The identity of a run names its
data before anything is read, so a user says which edition is meant, and another one is refused.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from repro.data.sources import DataError, data_root, digest_of, remembered
from repro.names import check_name

FOUND = "found"
"""The edition that is whatever lies on disk, with digests that are measured, not declared."""

_Entry = tuple[str, int, Callable[[], bytes]]  # name as stored, bytes, how to read them


@dataclass(frozen=True)
class Piece:
    """One file or folder of a data set.

    Attributes
    ----------
    names
        Every name that it may have in the folder of the data set; the first present is used.
    editions
        For each edition with a known digest its name and digest: a sha256, or ``md5:...`` where
        that is what the publisher gives.
    """

    names: tuple[str, ...]
    editions: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class Dataset:
    """A data set that is fetched by hand.

    Attributes
    ----------
    name
        Name of the data set and of its folder below `repro.data.sources.data_root`.
    fetch
        What to fetch and from where, as the imperative sentence that error messages carry.
    pieces
        What it consists of, by role ("images", "labels").
    others
        Files that people have of it which cannot be used, and what to do instead.
    """

    name: str
    fetch: str
    pieces: Mapping[str, Piece]
    others: Mapping[str, str] = field(default_factory=dict)

    @property
    def editions(self) -> tuple[str, ...]:
        """Names of the editions, `FOUND` last."""
        known = dict.fromkeys(name for piece in self.pieces.values() for name in piece.editions)
        return (*known, FOUND)

    def declared(self, edition: str, *, root: Path | None = None) -> dict[str, str]:
        """Return the digest of every file of an edition, by file name.

        Nothing is read, except for `FOUND`: its digests are measured. That of a folder is
        ``contents:`` and the sha256 over the sha256 and the name of each of its `members`, so an
        edited image is another data set wherever the folder lies. They are read once (as long as
        a first decoding takes to read them), and again only when a name, size or time has changed.

        Raises
        ------
        UnknownNameError
            If there is no such edition.
        DataError
            If a file of edition `FOUND` is absent or cannot be read.
        """
        check_name(f"edition of {self.name}", edition, self.editions)
        if edition == FOUND:
            return {path.name: _measure(path) for path in self.find(FOUND, root=root).values()}
        return dict(piece.editions[edition] for piece in self.pieces.values())

    def find(
        self, edition: str, *, root: Path | None = None, roles: Collection[str] | None = None
    ) -> dict[str, Path]:
        """Return the path of every piece, by role, after checking that it is of the edition.

        Parameters
        ----------
        edition
            One of `editions`.
        root
            Folder of all data sets; `repro.data.sources.data_root` by default.
        roles
            Which pieces; all by default.

        Raises
        ------
        UnknownNameError
            If there is no such edition.
        DataError
            If a file is absent, unreadable or of another edition; the message says what to do.
        """
        check_name(f"edition of {self.name}", edition, self.editions)
        folder = (data_root() if root is None else Path(root)) / self.name
        wanted = self.pieces if roles is None else roles
        return {role: self._find(self.pieces[role], edition, folder) for role in wanted}

    def _find(self, piece: Piece, edition: str, folder: Path) -> Path:
        present = [folder / name for name in piece.names if _exists(folder / name)]
        if edition == FOUND:
            if present:
                return present[0]
            raise self._absent(f"none of {', '.join(piece.names)} is in {folder}.", folder)
        name, expected = piece.editions[edition]
        path = folder / name
        if path not in present:
            if present:
                raise DataError(
                    f"{path}, of the {edition} edition of {self.name}, is absent. There is "
                    f"{present[0].name}: {self._advice(piece, present[0])}"
                )
            raise self._absent(f"{path} is absent.", folder)
        if not path.is_dir():
            actual = _digest_like(expected, path)
            if actual == expected:
                return path
            found = f"its digest is {actual}, expected {expected}"
        else:
            found = "it is a folder, whose digest nobody declares"
        raise DataError(
            f"{path} is not the {edition} edition of {self.name} ({found}): "
            f"{self._advice(piece, path)}"
        )

    def _advice(self, piece: Piece, path: Path) -> str:
        """Say which edition a file is and how to ask for it."""
        for edition, (name, digest) in piece.editions.items():
            if name == path.name and path.is_file() and _digest_like(digest, path) == digest:
                return f"it is the {edition} edition; {_ask(edition)}."
        return (
            f"it is no edition that is known here. To use it as it is, {_ask(FOUND)}; if it "
            f"should be one, it is truncated or edited: delete it. {self.fetch}."
        )

    def _absent(self, problem: str, folder: Path) -> DataError:
        for name, advice in self.others.items():
            if _exists(folder / name):
                problem += f" There is {name}, which {advice}."
        return DataError(
            f"{self.name}: {problem} {self.fetch} and put them into {folder}, or set REPRO_DATA to "
            f"the folder that has {self.name}/. It is not downloaded automatically: its licence "
            "has to be accepted by a person."
        )


def members(path: Path) -> dict[str, int]:
    """List the files in a folder, a .zip, a .tar.gz or a .tgz.

    Hidden files and ``__MACOSX`` are left out, as are links in an archive.

    Returns
    -------
    dict
        Size in bytes by name, ``/`` between its parts, in the order of the names.

    Raises
    ------
    DataError
        If ``path`` is absent, of another kind or damaged, holds a name twice, or holds one that
        leads out of it (absolute, or with ``..``).
    """
    found: dict[str, int] = {}
    for name, size, _ in _entries(path):
        if name in found:
            raise DataError(f"{path} has two members named {name!r}; fetch the archive again")
        found[name] = size
    return dict(sorted(found.items()))


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
    for name, _, read in _entries(path):
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
        for stored, size, read in walk:
            name = _safe_name(stored, path)
            if not name.startswith((".", "__MACOSX/")) and "/." not in name:
                yield name, size, partial(_read, read, path, name)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise DataError(f"{path} is damaged ({error}); delete it and fetch it again") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _read(read: Callable[[], bytes], path: Path, name: str) -> bytes:
    try:
        return read()
    # Beside damage: RuntimeError for an encrypted member, NotImplementedError for a compression
    # that zipfile does not know.
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        EOFError,
        RuntimeError,
        OSError,
    ) as error:
        raise DataError(
            f"{path}: {name} is damaged or cannot be read ({error}); fetch {path.name} again"
        ) from error


def _walk_folder(folder: Path) -> Iterator[_Entry]:
    for name, entry in _files(folder, ""):
        yield name, entry.stat().st_size, Path(entry.path).read_bytes


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
                yield info.filename, info.file_size, partial(archive.read, info)


def _walk_tar(path: Path) -> Iterator[_Entry]:
    with tarfile.open(path, "r:gz") as archive:
        for info in archive:
            if info.isreg():
                file = archive.extractfile(info)
                assert file is not None  # None only for what is no file
                yield info.name, info.size, file.read
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


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # a folder above that may not be entered
        raise DataError(f"{path} cannot be read: {error}.") from error


def _digest_like(expected: str, path: Path) -> str:
    return digest_of(path, "md5" if expected.startswith("md5:") else "sha256")


def _measure(path: Path) -> str:
    return _measure_folder(path.absolute()) if path.is_dir() else digest_of(path)


def _measure_folder(folder: Path) -> str:
    """Hash names and contents, anew only when a name, size or time has changed."""

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


def _ask(edition: str) -> str:
    """Say how a user asks for an edition."""
    return f"""ask for it with -p overrides '{{"faces.data.edition": "{edition}"}}'"""
