"""Find the files of a public data set, fetch those that may be fetched, refuse wrong ones.

A file is used only when its sha256 is the declared one, because the identity of a run names its
data by that digest before anything is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from repro.files import not_kept, sha256_of, whole

TIMEOUT_SECONDS = 30.0


class DataError(RuntimeError):
    """Data is absent or not what it should be; the message says what to do."""


@dataclass(frozen=True)
class SourceFile:
    """One file of a data set.

    Attributes
    ----------
    name
        File name inside the folder of the data set.
    sha256
        Expected digest, 64 lower-case hexadecimal digits.
    url
        Address of the file itself.
    page
        Page for a person who fetches it by hand; empty when ``url`` serves for that too.
    """

    name: str
    sha256: str
    url: str
    page: str = ""


def data_root() -> Path:
    """Name the folder in which data sets are kept, one folder each.

    Returns
    -------
    Path
        ``$REPRO_DATA``, else ``repro-data`` in the user's cache folder (``$XDG_CACHE_HOME``, else
        ``~/.cache``). The folder need not exist.
    """
    if named := os.environ.get("REPRO_DATA"):
        return Path(named).expanduser()
    return _user_cache() / "repro-data"


def cache_root() -> Path:
    """Name the folder of what is derived from data sets and can be made again at any time.

    Returns
    -------
    Path
        ``$REPRO_CACHE``, else ``repro-cache`` in the user's cache folder, as `data_root`. The
        folder need not exist.
    """
    if named := os.environ.get("REPRO_CACHE"):
        return Path(named).expanduser()
    return _user_cache() / "repro-cache"


def _user_cache() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification says that a relative path is invalid and to be ignored.
    return cache if cache.is_absolute() else Path.home() / ".cache"


def digest_of(path: Path, algorithm: Literal["sha256", "md5"] = "sha256") -> str:
    """Return the digest of a file, hashed again only when its size or its time has changed.

    An archive of a gigabyte is thus hashed once, not in every run. The digest is kept in
    `cache_root`; where that cannot be written, it is hashed each time.

    Returns
    -------
    str
        64 hexadecimal digits for sha256; for md5, which some publishers give, ``md5:`` and 32.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    path = path.absolute()
    try:
        status = path.stat()

        def measure() -> str:
            with path.open("rb") as file:
                # As a callable: hashlib.file_digest cannot pass on that this guards against damage
                # only, which a machine in FIPS mode wants to be told before it computes an md5.
                return hashlib.file_digest(
                    file, lambda: hashlib.new(algorithm, usedforsecurity=False)
                ).hexdigest()

        stamp = (algorithm, str(path), status.st_size, status.st_mtime_ns)
        digest = remembered(f"{algorithm} {path}", stamp, measure)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    return digest if algorithm == "sha256" else f"{algorithm}:{digest}"


def remembered(what: str, stamp: Sequence[str | int], measure: Callable[[], str]) -> str:
    """Return a digest that was measured before, or measure it and keep it in `cache_root`.

    Parameters
    ----------
    what
        Names what is measured; one digest is kept for each.
    stamp
        What the digest depends on and is known without measuring, such as size and time; one that
        was kept with another stamp is not used.
    measure
        Measures it; called each time where the cache cannot be written.
    """
    key = hashlib.sha256(what.encode(errors="surrogateescape")).hexdigest()
    note = cache_root() / "digests" / f"{key[:32]}.json"
    if (known := _noted(note, [*stamp])) is not None:
        return known
    digest = measure()
    with suppress(OSError), whole(note) as part:
        part.write_text(json.dumps([*stamp, digest]), encoding="utf-8")
    return digest


def _noted(note: Path, stamp: list[str | int]) -> str | None:
    """Return the digest that ``note`` gives for ``stamp``, None if it gives none."""
    try:
        *noted, digest = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return None
    return digest if noted == stamp and isinstance(digest, str) else None


def find_file(dataset: str, file: SourceFile, *, download: bool = True) -> Path:
    """Return the path of a verified file of a data set, downloaded first if need be.

    Parameters
    ----------
    dataset
        Folder of the data set below `data_root`.
    file
        What to find.
    download
        Whether an absent file may be fetched from ``file.url``.

    Returns
    -------
    Path
        ``dataset / file.name`` below `data_root`, whose sha256 is ``file.sha256``.

    Raises
    ------
    DataError
        If the file is absent and cannot be fetched, or is present with another sha256 (it is
        then left as it is: it may be somebody's only copy).
    """
    path = data_root() / dataset / file.name
    if exists(path):
        _verify(path, file)
        return path
    by_hand = (
        f"Fetch {file.name} from {file.page or file.url} and put it at {path}, or set REPRO_DATA "
        f"to the folder that has {dataset}/{file.name}."
    )
    if not download:
        raise DataError(f"{dataset}: {path} is absent and downloading is off. {by_hand}")
    try:
        _download(path, file)
    except DataError as error:
        raise DataError(f"{dataset}: {error} {by_hand}") from error.__cause__
    return path


def exists(path: Path) -> bool:
    """Return whether there is such a file or folder; `DataError` where that cannot be seen."""
    try:
        return path.exists()
    except OSError as error:  # a folder above that may not be entered
        raise DataError(f"{path} cannot be read: {error}.") from error


def _verify(path: Path, file: SourceFile) -> None:
    try:
        actual, size = sha256_of(path), path.stat().st_size
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    if actual != file.sha256:
        raise DataError(
            f"{path} is not the file that the study expects: sha256 {actual} ({size} bytes), "
            f"expected {file.sha256}. It may be truncated or edited; delete it and fetch it "
            f"again from {file.page or file.url}."
        )


def _download(path: Path, file: SourceFile) -> None:
    """Write ``path`` whole and verified, or leave the disk as it was."""
    # Imported where it is needed: both take a while, and most calls find the file.
    import pooch
    import requests

    # The bar is for a person who waits; a log or a notebook is not filled with it.
    answers: list[requests.Response] = []
    fetch = pooch.HTTPDownloader(
        progressbar=sys.stderr.isatty(),
        timeout=TIMEOUT_SECONDS,
        hooks={"response": lambda answer, **_: answers.append(answer)},
    )
    try:
        with whole(path) as part:
            try:
                # It opens the file before it asks: a read-only folder costs no network traffic.
                fetch(file.url, str(part), None)
            except requests.RequestException as error:
                raise DataError(f"{file.url} could not be downloaded: {error}.") from error
            actual, size = sha256_of(part), part.stat().st_size
            if actual != file.sha256:
                raise DataError(
                    f"what {file.url} sent is not {file.name}: sha256 {actual} ({size} bytes), "
                    f"expected {file.sha256}. Nothing was kept. The transfer may have been cut "
                    "short, or a proxy may have answered in place of the server."
                )
    except OSError as error:
        instead = "make it writable, or set REPRO_DATA to another folder"
        raise DataError(not_kept(file.name, path.parent, error, instead) + ".") from error
    finally:
        for answer in answers:  # which pooch leaves open where it fails
            answer.close()
