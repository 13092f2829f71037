"""What the tests of data share: tables, archives, and where the official files lie."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from repro.data import adult, toycensus
from repro.data.sources import data_root
from repro.data.tabular import Table
from repro.data.toycensus import CensusSettings, Paths, counterfactual


def jpg(colour: tuple[int, int, int], size: tuple[int, int] = (20, 20)) -> bytes:
    """Return a JPEG of one colour, of width and height."""
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "JPEG", quality=95)
    return out.getvalue()


def zipped(path: Path, contents: Mapping[str, bytes]) -> Path:
    """Write a zip archive of these members, in their order."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, contents: Mapping[str, bytes], *more: tarfile.TarInfo) -> Path:
    """Write a compressed tar archive of these members, in their order, and of others without."""
    with tarfile.open(path, "w:gz") as tar:
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in more:
            tar.addfile(info)
    return path


def cells(values: list[str]) -> np.ndarray:
    """Return strings as MATLAB keeps them: an array of arrays of one string."""
    found = np.empty(len(values), dtype=object)
    found[:] = [np.array([value]) for value in values]
    return found


def effects(settings: CensusSettings) -> dict[str, float]:
    """Return the true effects of sex on P(income > 50K), men minus women.

    Direct and mediated need not add up to total, as the label is a threshold.
    """
    paths: dict[str, Paths] = {"total": "all", "direct": "direct", "mediated": "mediated"}
    return {
        name: float(counterfactual(settings, 1, of).mean() - counterfactual(settings, 0, of).mean())
        for name, of in paths.items()
    }


def reduced_edition(module: ModuleType, *more: str) -> Path:
    """Return the folder of a data set's reduced edition, or skip."""
    name = module.DATASET.name
    folder = data_root() / name
    files = [piece.editions["reduced"][0] for piece in module.DATASET.pieces.values()]
    if not all((folder / file).is_file() for file in (*files, *more)):
        pytest.skip(f"needs REPRO_DATA with the reduced edition of {name} (see README)")
    return folder


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of its own for each test."""
    monkeypatch.setenv("REPRO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def adult_folder() -> Path:
    """Folder with the official Adult files, or skip."""
    folder = data_root() / "adult"
    if not all((folder / file.name).is_file() for file in adult.FILES):
        pytest.skip("needs REPRO_DATA with adult/adult.data (see README)")
    return folder


@pytest.fixture(scope="session")
def adult_table(adult_folder: Path) -> Table:
    """All 48,842 official records."""
    return adult.load()


@pytest.fixture(scope="session")
def census() -> Table:
    """The embedded data at their defaults."""
    return toycensus.generate()
