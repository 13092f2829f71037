"""The recipes of CONTRIBUTING.md, each followed literally in a copy of the tree."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from repro.study.profiles import load_profile, project_root

#: Trains what linear probing trains, so that what comes out is known.
STRATEGY = """    Strategy(
        "probing again",
        "head",
        "Fine-tunes the last linear layer once more.",
        "probing once more",
    ),
"""
SHOWN = """
from repro.chapters.aim import plans
from repro.study import tables
from repro.study.profiles import load_profile
from repro.study.session import Study
from repro.aimfair.strategies import STRATEGIES

named = ["erm", "linear probing", "probing again"]
studio = {"source": "studio", "pool": 130, "total": 240}
given = {"faces.strategies": named, "faces.synthetic": studio, "faces.seeds": [0]}
study = Study(load_profile("smoke", given), paper="aim-fair")
results = study.compute(plans.strategies(study.profile, study.seeds))
names = {key: STRATEGIES[key].words for key in results}
table = tables.means(results, {"accuracy": "ACC"}, names)
print(table.to_csv(index=False))
known, added = (results[key][0].counts().tolist() for key in named[1:])
assert known == added
"""
#: Labels stand in the names: number, Smiling, Male.
FACE_SET = '''"""Plain squares, named number_smiling_male.png."""

import numpy as np
import pandas as pd

from repro.data.faceset import FaceSet, Piece
from repro.data.imagecache import image_members
from repro.data.splits import named_parts


class Squares(FaceSet):
    name = "squares"
    fetch = "Fetch squares.zip from https://example.org/squares"
    pieces = {"images": Piece(("squares.zip",), {})}

    def read(self, found):
        names = list(image_members(found["images"]))
        return pd.DataFrame({"stem": [name[:-4] for name in names]}, index=names)

    def encode(self, records):
        labels = records["stem"].str.split("_", expand=True)[[1, 2]].astype(np.int8)
        return labels.set_axis(["Smiling", "Male"], axis=1)

    def parts(self, records):
        shares = {"train": 0.6, "validation": 0.2, "test": 0.2}
        return named_parts(records.index, shares, salt=self.name)


DATASET = Squares()
'''
REGISTERED = """    DataSet("squares", "Squares", editions={"found": "squares as they were found"}),
"""
READ = """
from repro.chapters.aim import plans
from repro.chapters.substitutions import substitutions
from repro.study import tables
from repro.study.parameters import check

given = {"profile": "smoke", "seeds": [0], "dataset": "squares", "strategies": ["erm"]}
types = {"profile": str, "seeds": list[int], "dataset": str, "strategies": list[str]}
given["__annotations__"] = types
study = check(given, notebook="25_selective_finetuning", paper="aim-fair")
print(study.profile.data_label("aim-fair"))
print(*substitutions(study.profile, "aim-fair"), sep="\\n")
results = study.compute(plans.strategies(study.profile, study.seeds))
print(tables.means(results, {"accuracy": "ACC"}, {"erm": "ERM"}).to_csv(index=False))
"""
PREFLIGHT = """
from typer.testing import CliRunner
from repro.cli import app

print(CliRunner().invoke(app, ["preflight"]).output)
"""


#: The other side of a claim that is there: what it says must come out the other way.
CLAIM = """    aim_claim(
        "more-than-forty",
        "Figure 5",
        "A mask of k = 55 is more accurate than one of k = 40.",
        NOTEBOOK,
        top_k,
        lambda profile: versus(profile, "k 55", "k 40", ("accuracy",)),
    ),
"""
JUDGED = """
from repro.study.verdicts import verdicts

(found,) = [v for v in verdicts("toy") if v.claim.name == "more-than-forty"]
(judged,) = found.judged
print(found.statement, "|", found.word, "|", judged.contrast.text, judged.interval.n)
"""
SETTING = "    temperature: float = Field(default=1.0, gt=0)  # of the made-up recipe\n"
CHECKED = """
from repro.study import parameters

names = {"profile": "smoke", "temperature": "2.5", "__annotations__":
         {"profile": str, "temperature": float}}
study = parameters.check(names, notebook="31_top_k", paper="aim-fair")
print(study.profile.faces.temperature, study.again)
names["temperature"] = "-1"
try:
    parameters.check(names, notebook="31_top_k", paper="aim-fair")
except ValueError as error:
    print(error)
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
    paths["REPRO_DATA"] = str(tree / "data")
    paths["REPRO_ROOT"] = str(tree)
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


@pytest.mark.slow
def test_a_set_of_faces(tree: Path) -> None:
    (tree / "src/repro/data/squares.py").write_text(FACE_SET, encoding="utf-8")
    put(tree / "src/repro/data/registry.py", '    DataSet("lfwa",', REGISTERED)
    smoke = tree / "profiles/smoke.yaml"
    needs = "  squares: {faces.data.edition: found}\n"
    smoke.write_text(smoke.read_text(encoding="utf-8") + needs, encoding="utf-8")
    ours = smoke.read_text(encoding="utf-8").replace("{name: toyfaces,", "{name: squares,")
    ours = ours.replace("  data: {name: squares,", "  data: {name: squares, edition: found,")
    (tree / "profiles/ours.yaml").write_text(ours, encoding="utf-8")

    (line,) = [x for x in said(tree, PREFLIGHT).splitlines() if "profile ours" in x]
    assert line.startswith("NO ")
    assert "Fetch squares.zip from https://example.org/squares and put them into" in line

    (tree / "data/squares").mkdir(parents=True)
    with zipfile.ZipFile(tree / "data/squares/squares.zip", "w") as archive:
        for i in range(800):
            smiling, male = i % 2, i // 2 % 2
            square = io.BytesIO()
            Image.new("RGB", (32, 32), (200 * smiling, 200 * male, 90)).save(square, "PNG")
            archive.writestr(f"{i:03}_{smiling}_{male}.png", square.getvalue())
    (line,) = [x for x in said(tree, PREFLIGHT).splitlines() if "profile ours" in x]
    assert line.startswith("ok ")
    told = said(tree, READ)
    assert "Squares, Smiling | Male, 32x32" in told
    assert "Squares, Smiling | Male, none of the paper's tasks, not CelebA" in told
    assert "squares as they were found" in told
    assert [row.split(",")[0] for row in told.split("\n") if "ERM" in row] == ["ERM"]


@pytest.mark.slow
def test_a_claim(tree: Path) -> None:
    chapter = tree / "src/repro/chapters/aim/top_k.py"
    text = chapter.read_text(encoding="utf-8")
    names = "aim_claim, best, task"
    assert text.count(names) == 1
    chapter.write_text(text.replace(names, f"{names}, versus"), encoding="utf-8")
    put(chapter, '    aim_claim(\n        "top-k",', CLAIM)
    told = said(tree, JUDGED)
    assert told.startswith("A mask of k = 55 is more accurate than one of k = 40. | ")
    assert told.endswith(f"k 55 against k 40: ACC {len(load_profile('toy').seeds)}\n")


@pytest.mark.slow
def test_a_setting(tree: Path) -> None:
    where = "    ks: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(40"
    put(tree / "src/repro/study/profiles.py", where, SETTING)
    fine, refused = said(tree, CHECKED).splitlines()
    assert fine.startswith("2.5 ")
    assert fine.endswith("-p profile smoke -p temperature 2.5")
    assert "faces.temperature = -1" in refused
