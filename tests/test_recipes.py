"""The recipes of CONTRIBUTING.md, each followed literally in a copy of the tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from repro.study.profiles import project_root

#: Trains what linear probing trains, so that what comes out is known.
STRATEGY = """    Strategy(
        "probing again",
        "pretrained",
        "synthetic",
        "head",
        "Fine-tunes the last linear layer once more.",
        "",
        "probing once more",
    ),
"""
SHOWN = """
from repro.study import aim_plans, tables
from repro.study.profiles import load_profile
from repro.study.session import Study
from repro.aimfair.strategies import STRATEGIES

named = ["erm", "linear probing", "probing again"]
studio = {"source": "studio", "pool": 130, "total": 240}
given = {"faces.strategies": named, "faces.synthetic": studio, "faces.seeds": [0]}
study = Study(load_profile("smoke", given), paper="aim-fair")
results = study.compute(aim_plans.strategies(study.profile, study.seeds))
names = {key: STRATEGIES[key].words for key in results}
table = tables.means(results, {"accuracy": "ACC"}, names)
print(table.to_csv(index=False))
known, added = (results[key][0].counts().tolist() for key in named[1:])
assert known == added
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what the recipes change, beside what they do not."""
    root = project_root()
    for name in ("src", "profiles"):
        shutil.copytree(root / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "models", "book", "notebooks", "README.md"):
        (tmp_path / name).symlink_to(root / name)
    return tmp_path


def put(file: Path, before: str, text: str) -> None:
    """Insert a text before another that stands once in a file."""
    source = file.read_text(encoding="utf-8")
    assert source.count(before) == 1
    file.write_text(source.replace(before, text + before), encoding="utf-8")


def said(tree: Path, script: str) -> str:
    """Run a script with the packages of the copy, and return what it prints."""
    paths = {"PYTHONPATH": str(tree / "src"), "REPRO_RUNS": str(tree / "runs")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tree,
        env=os.environ | paths | {"REPRO_CACHE": str(tree / "cache"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_strategy(tree: Path) -> None:
    put(tree / "src/repro/aimfair/strategies.py", '    Strategy(\n        "freeze",', STRATEGY)
    rows = [row.split(",")[0] for row in said(tree, SHOWN).split("\n") if row]
    assert rows == ["setting", "ERM", "linear probing", "probing once more"]
