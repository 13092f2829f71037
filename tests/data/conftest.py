"""Fixtures of the data tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from repro.data import adult, toycensus
from repro.data.sources import data_root
from repro.data.tabular import Table


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
    return adult.load(root=adult_folder.parent, download=False)


@pytest.fixture(scope="session")
def census() -> Table:
    """The embedded data at their defaults."""
    return toycensus.generate()
