"""What holds for every file of the repository: notebooks, sizes, paths, imports."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from papermill.inspection import inspect_notebook

from repro.study.profiles import project_root

ROOT = project_root()
MADE_HERE = {".git", ".venv", "build", "runs", ".snakemake"}  # what .gitignore names, by folder
MEBIBYTE = 1 << 20

# A folder of someone's home, or an index other than the public one.
PRIVATE = re.compile(
    r"(?:/(?:home|Users|root)/|[A-Z]:\\Users\\)\w|(?:index-url|find-links)[= ]\s*\S*://", re.ASCII
)
# Which rooms of src/repro a room may import, itself apart. A module that stands alone is a room.
ROOMS = {
    room: set(others.split())
    for room, others in {
        "names": "",
        "files": "",
        "layout": "",
        "machine": "",
        "numerics": "machine",
        "precision": "numerics",
        "settings": "data names",
        "data": "files names",
        "metrics": "names",
        "tensors": "names",
        "models": "names settings tensors",
        "training": "names settings data metrics models",
        "faces": "names settings data",
        "vision": "layout names precision settings data faces metrics models training",
        "aimfair": (
            "files names precision settings data faces metrics models tensors training vision"
        ),
        "generator": (
            "files layout machine names precision settings data faces models training vision"
        ),
        "win": "names settings data metrics models training",
        "study": (
            "files layout machine names numerics precision settings data faces metrics models "
            "tensors training vision "
            "aimfair generator"  # names of strategies, settings of generators
        ),
    }.items()
}
ROOMS["chapters"] = ROOMS["study"] | {"study", "win"}
ROOMS["preflight"] = ROOMS["chapters"] | {"chapters"}
ROOMS["cli"] = ROOMS["preflight"] | {"preflight"}
ROOMS["book"] = {"study", "files", "chapters"}  # its first page tells what chapters found
ROOMS["environment"] = {"study"}


def repository_files() -> list[Path]:
    """Return the files that are, or would be, committed."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        names = [ROOT / name for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):  # no git, or an unpacked archive
        names = [
            Path(folder, name)
            for folder, folders, files in os.walk(ROOT)
            for name in files
            if not MADE_HERE & {*Path(folder).relative_to(ROOT).parts}
            and not any(part.endswith(("_cache", "__pycache__")) for part in Path(folder).parts)
        ]
    return [path for path in names if path.is_file()]


FILES = repository_files()
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_no_file_is_large() -> None:
    large = {
        str(path): path.stat().st_size for path in FILES if path.stat().st_size > 10 * MEBIBYTE
    }
    # Weights trained on photographs may be larger, if their card says on which (see the next test).
    photographs = ROOT / "models" / "faces"
    weights = {name for name in large if photographs in Path(name).parents}
    assert all(name.endswith(".safetensors") for name in weights)
    assert not large.keys() - weights


GENERATORS = sorted(path.parent for path in (ROOT / "models").glob("*/model_index.json"))


def test_generators_ship_small_and_with_a_card() -> None:
    assert ROOT / "models" / "toyfaces" in GENERATORS
    most = {"toyfaces": 10_000_000}
    most |= dict.fromkeys(("faces", "faces_evened", "faces_ages"), 40_000_000)
    for folder in GENERATORS:
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        assert size < most[folder.name], f"{folder.name}: {size:,} bytes"
        card = (folder / "README.md").read_text(encoding="utf-8")
        for word in ("Data", "icen", "Intended use", "Limits"):
            assert f"**{word}" in card or f"{word}ce" in card, f"{folder.name}: no '{word}'"


def test_nothing_is_pickled() -> None:
    suffixes = {".pickle", ".pkl", ".pt", ".pth", ".joblib", ".npy", ".npz"}
    assert [path for path in FILES if path.suffix in suffixes] == []


def test_no_photograph_is_committed() -> None:
    # What CelebA and UTKFace show may not be passed on; figures are made when the book is built.
    suffixes = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".npy"}
    found = [path for path in FILES if path.suffix.lower() in suffixes]
    pools = [path for path in found if path.parent.parent == ROOT / "models" / "pools"]
    assert found == pools
    for path in pools:  # toy faces, which no camera took
        about = json.loads((path.parent / "set.json").read_text(encoding="utf-8"))
        assert about["pipeline"] == "toyfaces"


def test_no_file_names_a_home_folder_or_an_index() -> None:
    found = []
    for path in FILES:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # a figure or a Parquet file
            continue
        if path != Path(__file__):
            found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in PRIVATE.finditer(text)]
    assert not found


@each_notebook
def test_notebook_is_stored_without_outputs(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert not {"papermill", "execution"} & cell["metadata"].keys()
    assert not {"papermill", "widgets"} & notebook["metadata"].keys()


@each_notebook
def test_notebook_has_no_absolute_path(path: Path) -> None:
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            assert not re.search(r"""['"](?:/|~|[A-Z]:\\)\w""", "".join(cell["source"]))


@each_notebook
def test_notebook_parameters_are_typed_and_commented(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    tagged = [cell for cell in code if "parameters" in cell["metadata"].get("tags", [])]
    assert tagged == code[:1], "the first code cell, and only it, is tagged 'parameters'"

    assigned = [
        node.target.id
        for node in ast.parse("".join(tagged[0]["source"])).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    # What `papermill --help-notebook` shows; an annotation with "|" would make it miss one.
    shown = inspect_notebook(str(path))
    assert list(shown) == assigned
    assert {"profile", "seeds"} <= shown.keys()
    for name, parameter in shown.items():
        assert parameter["inferred_type_name"] != "None", f"{name} has no type"
        assert parameter["help"], f"{name} has no comment"


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of everything of ``repro`` that a module imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            # `from repro import metrics` names the room last.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.startswith("repro."))


def test_imports_go_one_way() -> None:
    package = ROOT / "src" / "repro"
    wrong = []
    for path in sorted(package.rglob("*.py")):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        assert room in ROOMS, f"{path} is in no known room: say in ROOMS what it may import"
        for line, name in imports(path):
            other = name.split(".")[1]
            if other != room and other not in ROOMS[room]:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong


def code_of(path: Path) -> Iterator[str]:
    """Yield what a notebook runs, and what its solutions tell a reader to run."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code":
            yield text
        else:
            yield from re.findall(r"```python\n(.*?)```", text, re.S)


@each_notebook
def test_what_a_notebook_imports_is_there(path: Path) -> None:
    asked = [
        (str(node.module), name.name)
        for text in code_of(path)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("repro")
        for name in node.names
    ]
    missing = [
        f"{module}.{name}"
        for module, name in asked
        if not hasattr(importlib.import_module(module), name)
        and importlib.util.find_spec(f"{module}.{name}") is None
    ]
    assert not missing


@each_notebook
def test_what_a_notebook_reads_of_a_module_is_there(path: Path) -> None:
    tree = ast.parse("\n".join(code_of(path)))
    modules = {
        name.asname or name.name: importlib.import_module(f"{node.module}.{name.name}")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("repro")
        for name in node.names
        if importlib.util.find_spec(str(node.module)).submodule_search_locations is not None
        and importlib.util.find_spec(f"{node.module}.{name.name}") is not None
    }
    read = [
        (node.value.id, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    ]
    missing = {f"{m}.{a}" for m, a in read if m in modules and not hasattr(modules[m], a)}
    assert not missing


def documented() -> list[Path]:
    """Return the modules that the book's page on the package shows."""
    page = (ROOT / "book" / "api.md").read_text(encoding="utf-8")
    names = re.findall(r"automodule:: ([\w.]+)", page)
    assert len(names) == len(set(names)) > 40
    paths = [ROOT / "src" / name.replace(".", "/") for name in names]
    return [path / "__init__.py" if path.is_dir() else Path(f"{path}.py") for path in paths]


def test_no_docstring_of_an_attribute_is_taken_for_a_type() -> None:
    """Sphinx takes what precedes a colon in its first line for one, and warns: no book then."""
    taken = []
    for path in documented():
        text = path.read_text(encoding="utf-8")
        first = re.findall(r"(?m)^(?!\s*#:).*\n\s*#: (.*)", text)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Module | ast.ClassDef):
                for before, after in pairwise(node.body):
                    said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                    if said and isinstance(before, ast.Assign | ast.AnnAssign):
                        first.append(str(after.value.value).splitlines()[0])
            if isinstance(node, ast.FunctionDef):
                decorators = [getattr(d, "id", "") for d in node.decorator_list]
                if "property" in decorators:
                    first += (ast.get_docstring(node) or "").splitlines()[:1]
        spared = re.compile(r":\w+:`[^`]*`|\\:|``.*?``")
        taken += [f"{path.name}: {line}" for line in first if ": " in spared.sub("", line)]
    assert not taken
