"""Every notebook runs alone, from nothing, in profile ``smoke``; a wrong parameter stops it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import pytest
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from repro.study.profiles import project_root
from repro.study.warm import started

NOTEBOOKS = sorted((project_root() / "notebooks").glob("*.ipynb"))
# One chapter on each paper computes all that it needs in a folder of runs of its own, in a kernel
# as plain papermill starts it. The others, to save time, share one folder, in which each finds what
# another has left or is just computing, and have kernels that fork, as in a sweep. The verdicts
# begin: they need the runs of every chapter, so that most of them are theirs to compute. Where
# REPRO_SMOKE_PAGES names the pages of a sweep of ``smoke``, these are looked at instead.
ALONE = ("25_selective_finetuning", "43_win_on_adult")
FIRST = "90_verdicts"
#: parameter -> the notebook that is called with it, its value, what is said
WRONG = {
    "sedes": (
        "43_win_on_adult",
        "[0]",
        "this notebook has no parameter 'sedes'; did you mean 'seeds'?",
    ),
    "ranks": (
        "43_win_on_adult",
        "[3]",
        "rank 3 of strategy 'svd' is out of range: the head is 10 x 2, so ranks run from 1 to 2",
    ),
    "strategies": (
        "25_selective_finetuning",
        '["masks"]',
        "unknown strategy 'masks'; did you mean 'mask'?",
    ),
    "k": ("25_selective_finetuning", "[55]", "parameter k = [55]: Input should be a valid integer"),
}

pytestmark = pytest.mark.slow


Done = subprocess.CompletedProcess[str]


def call(module: str, *words: str | Path, runs: Path, cache: Path, kernels: dict[str, str]) -> Done:
    """Call a tool as on a machine with nothing computed, without the user's start-up files."""
    environment = os.environ | {
        "JUPYTER_PREFER_ENV_PATH": "1",
        "JUPYTER_PATH": "",
        "IPYTHONDIR": str(cache / "ipython"),
        "OMP_NUM_THREADS": "1",
        "REPRO_CACHE": str(cache),
        "REPRO_RUNS": str(runs),
        **kernels,
    }
    environment.pop("REPRO_ROOT", None)
    command = [sys.executable, "-m", module, *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notebooks")


@pytest.fixture(scope="module")
def patched() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def executed(folder: Path, patched: pytest.MonkeyPatch) -> Iterator[dict[str, Future[Done]]]:
    """Execute copies of all notebooks with nbmake, two side by side as in the sweep."""

    def execute(*paths: Path, alone: bool = False) -> Done:
        copies = [folder / path.name for path in paths]
        for path, copy in zip(paths, copies, strict=True):
            notebook = load_notebook_node(str(path))
            nbformat.write(parameterize_notebook(notebook, {"profile": "smoke"}), copy)
        options = ["--nbmake", "--overwrite", "--nbmake-kernel=python3", "--rootdir", folder]
        return call(
            "pytest",
            "-p",
            "no:cacheprovider",
            *options,
            *copies,
            runs=folder / paths[0].stem if alone else folder / "shared",
            cache=folder / "cache",
            kernels={} if alone else kernels,
        )

    def swept(path: Path) -> Done:
        page = nbformat.read(pages / path.name, 4)
        told = [
            c.source for c in page.cells if "injected-parameters" not in c.metadata.get("tags", [])
        ]
        if told != [cell.source for cell in nbformat.read(path, 4).cells]:
            return Done([], 1, f"{pages / path.name} is not of this notebook")
        shutil.copy(pages / path.name, folder)
        return Done([], 0, "")

    def refused(parameter: str) -> Done:
        options = ["-k", "python3", "--no-progress-bar", "-p", "profile", "smoke"]
        out = folder / f"{parameter}.ipynb"
        name, value, _ = WRONG[parameter]
        words = [*options, "-p", parameter, value]
        notebook = project_root() / "notebooks" / f"{name}.ipynb"
        cache = folder / "cache"
        return call(
            "papermill",
            notebook,
            out,
            *words,
            runs=folder / parameter,
            cache=cache,
            kernels=kernels,
        )

    pages = Path(os.environ.get("REPRO_SMOKE_PAGES", ""))
    kernels: dict[str, str] = {}
    patched.setenv("OMP_NUM_THREADS", "1")  # libraries read it when they are loaded
    patched.delenv("REPRO_ROOT", raising=False)
    with started() as environment, ThreadPoolExecutor(2) as pool:
        kernels |= environment
        shared = sorted(
            (path for path in NOTEBOOKS if path.stem not in ALONE),
            key=lambda path: path.stem != FIRST,
        )
        jobs: dict[str, Future[Done]] = {}

        def submit(*paths: Path, alone: bool = False) -> None:
            done = pool.submit(execute, *paths, alone=alone)
            jobs.update(dict.fromkeys([path.stem for path in paths], done))

        if pages.name:
            jobs |= {path.stem: pool.submit(swept, path) for path in shared}
        else:
            submit(*shared[::2])
        for path in NOTEBOOKS:
            if path.stem in ALONE:
                submit(path, alone=True)
        if not pages.name:
            submit(*shared[1::2])
        yield jobs | {parameter: pool.submit(refused, parameter) for parameter in WRONG}


def html_of(out: Any) -> str:
    return "".join(out.get("data", {}).get("text/html", ""))


@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS])
def test_notebook_runs_in_smoke(executed: dict[str, Future[Done]], folder: Path, name: str) -> None:
    done = executed[name].result()
    assert done.returncode == 0, done.stdout
    notebook = nbformat.read(folder / f"{name}.ipynb", 4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    outputs = [out for cell in code for out in cell.outputs]
    assert not [out for out in outputs if out["output_type"] == "error"]
    assert all(cell.execution_count for cell in code)

    figures = [out for out in outputs if "image/png" in out.get("data", {})]
    tables = [out for out in outputs if "<table" in html_of(out)]
    assert figures or tables
    said = [out["text"] for out in outputs if out["output_type"] == "stream"]
    assert not [text for text in said if "Warning" in text]
    if name in ALONE:
        assert len(list((folder / name).iterdir())) > 20
    if name == "90_verdicts":
        assert "2 seed(s); a verdict takes 3" in "".join(map(html_of, outputs))


@pytest.mark.parametrize("parameter", WRONG)
def test_a_wrong_parameter_stops_papermill_before_anything_is_computed(
    executed: dict[str, Future[Done]], folder: Path, parameter: str
) -> None:
    done = executed[parameter].result()
    message = WRONG[parameter][2]
    assert done.returncode != 0
    assert message in done.stderr
    # And the notebook shows it.
    assert message in (folder / f"{parameter}.ipynb").read_text(encoding="utf-8")
    assert not (folder / parameter).exists()
