"""The folder of a synthetic set: what it says of itself, and its manifest.

``set.json`` says what the images are drawn from, before the first one is; ``manifest.csv`` names
every image and its digest, once all are there; the images are in the folders of the groups
(`repro.aimfair.imagestore`).
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import pandas as pd

from repro.aimfair.generators import HOW_IT_RUNS, GenerationSettings, Identity
from repro.aimfair.imagestore import Group, Store, store, write_whole
from repro.aimfair.pipelinefolder import GenerationError

VERSION = 1
"""Version of what a set is; with another one it is another set."""

ABOUT, MANIFEST = "set.json", "manifest.csv"

COLUMNS: dict[str, type] = {
    "name": str,  # t_p/index
    "target": int,  # what was asked, 0 or 1
    "protected": int,
    "index": int,  # in its group
    "prompt_index": int,
    "prompt": str,
    "seed": int,  # of this image
    "attempt": int,  # images before it that were one colour
    "pipeline": str,
    "revision": str,  # commit, or sha256: and the digest of a folder
    "scheduler": str,
    "steps": int,
    "guidance": float,
    "eta": float,
    "size": int,  # pixels a side, as stored
    "sha256": str,  # of the pixels
}
"""Columns of the manifest."""


@dataclass(frozen=True)
class About:
    """What ``set.json`` says.

    Attributes
    ----------
    stamp
        sha256 of ``described``; every file of the set carries it.
    described
        Everything that an image follows from: generator, settings, prompts, seed.
    drawn_with
        Versions, device and batch size of the first call: what may move a last bit.
    """

    stamp: str
    described: dict[str, Any]
    drawn_with: dict[str, Any]

    def store(self, folder: Path) -> Store:
        """Return where the images are."""
        return store(folder, self.described["storage"], self.stamp)


def describe(
    identity: Identity,
    settings: GenerationSettings,
    prompts: Mapping[Group, Sequence[str]],
    *,
    target: str,
    protected: str,
    seed: int,
    storage: str,
) -> dict[str, Any]:
    """Return everything that an image follows from, as plain values."""
    return {
        "version": VERSION,
        "target": target,
        "protected": protected,
        "seed": seed,
        "storage": storage,
        "pipeline": identity.pipeline,
        "revision": identity.revision,
        "scheduler": identity.scheduler,
        "settings": settings.model_dump(mode="json", exclude=set(HOW_IT_RUNS)),
        "prompts": {f"{t}_{p}": list(texts) for (t, p), texts in sorted(prompts.items())},
    }


def begin(
    folder: Path, described: dict[str, Any], drawn_with: Callable[[], dict[str, Any]]
) -> About:
    """Write ``set.json``, or check that the folder holds this very set.

    Parameters
    ----------
    drawn_with
        Called for a new set: it may have to try out which batch fits.

    Raises
    ------
    GenerationError
        If it holds another one; the message says in what they differ.
    """
    text = json.dumps(described, sort_keys=True, ensure_ascii=False)
    stamp = hashlib.sha256(text.encode()).hexdigest()
    if not (folder / ABOUT).exists():
        about = About(stamp, described, drawn_with())
        data = {"stamp": stamp, "described": described, "drawn_with": about.drawn_with}
        text = json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False)
        write_whole(folder / ABOUT, f"{text}\n".encode())
        return about
    about = read_about(folder)
    if about.stamp != stamp:
        before, now = _flat(about.described), _flat(described)
        changed = [
            f"{key} was {before.get(key)!r}, is {now.get(key)!r}"
            for key in sorted({*before, *now})
            if before.get(key) != now.get(key)
        ]
        more = f", and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise GenerationError(
            f"{folder} holds another set: {'; '.join(changed[:3])}{more}. Choose another folder, "
            "or delete this one"
        )
    return about


def warn_of_change(about: About, environment: Mapping[str, str]) -> None:
    """Say that images may differ in a last bit from those that the set began with."""
    changed = [
        f"{key} {about.drawn_with.get(key)} is now {value}"
        for key, value in environment.items()
        if about.drawn_with.get(key) != value
    ]
    if changed:
        warnings.warn(
            f"the set was begun elsewhere ({', '.join(changed)}): images that are drawn now may "
            "differ a little from what they would have been",
            RuntimeWarning,
            stacklevel=3,
        )


def read_about(folder: Path) -> About:
    """Return what ``set.json`` says.

    Raises
    ------
    GenerationError
        If it is absent or damaged.
    """
    path = folder / ABOUT
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        return About(read["stamp"], dict(read["described"]), dict(read["drawn_with"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GenerationError(
            f"{path} is absent or damaged ({error!r}): {folder} is no synthetic set; give the "
            "folder of one, or delete it and draw the set again"
        ) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder, and keep other calls out of it; a killed process holds no lock."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / ".lock")
        lock.acquire()
    except OSError as error:
        raise GenerationError(
            f"{folder} cannot be written ({error}); choose another folder"
        ) from error
    try:
        yield
    finally:
        lock.release()


def write_manifest(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one row for each image, sorted by name."""
    table = pd.DataFrame(list(rows), columns=list(COLUMNS)).sort_values("name", ignore_index=True)
    write_whole(folder / MANIFEST, table.to_csv(index=False, lineterminator="\n").encode())


def read_manifest(folder: Path | str) -> pd.DataFrame:
    """Return the manifest of a set that was drawn to the end.

    Returns
    -------
    pandas.DataFrame
        A row for each image, sorted by name; see `COLUMNS`.

    Raises
    ------
    GenerationError
        If it is absent or damaged.
    """
    path = Path(folder) / MANIFEST
    try:
        table = pd.read_csv(path, dtype=COLUMNS, keep_default_na=False, encoding="utf-8")
        if list(table.columns) != list(COLUMNS) or not table["name"].is_unique or table.empty:
            raise ValueError("its rows are not those of a manifest")
    except (OSError, ValueError, KeyError) as error:
        raise GenerationError(
            f"{path} is absent or damaged ({error}); call generate again with the same arguments: "
            "it draws what is missing and writes the manifest"
        ) from error
    return table


def known_digests(folder: Path) -> dict[str, str]:
    """Return the digest of each image by name, of none where there is no manifest yet."""
    try:
        table = read_manifest(folder)
    except GenerationError:
        return {}
    return dict(zip(table["name"], table["sha256"], strict=True))


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return nested values by dotted key."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{above}{key}.")
        elif isinstance(value, list):
            flat |= {f"{above}{key}[{i}]": item for i, item in enumerate(value)}
        else:
            flat[f"{above}{key}"] = value
    return flat
