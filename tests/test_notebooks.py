"""Every notebook runs alone, from nothing, in profile ``smoke``; a wrong parameter stops it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from nbmake.nb_run import NotebookRun
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from repro.study.profiles import project_root

NOTEBOOKS = sorted((project_root() / "notebooks").glob("*.ipynb"))
# These compute everything they need in a folder of runs of their own; the others, to save time,
# share one, where each finds what the ones before it left.
ALONE = {"43_win_on_adult", "90_verdicts"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run this environment's own kernel, without the user's start-up files and settings."""
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    monkeypatch.setenv("JUPYTER_PATH", "")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("REPRO_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("REPRO_ROOT", raising=False)


def outputs(notebook: Any) -> list[Any]:
    return [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]


def html_of(out: Any) -> str:
    return "".join(out.get("data", {}).get("text/html", ""))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_in_smoke(
    path: Path, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path.stem not in ALONE:
        monkeypatch.setenv("REPRO_RUNS", str(shared))
    prepared = tmp_path / path.name
    notebook = load_notebook_node(str(path))
    nbformat.write(parameterize_notebook(notebook, {"profile": "smoke"}), prepared)

    result = NotebookRun(prepared, default_timeout=300, kernel="python3").execute()

    assert result.error is None, result.error and result.error.trace
    found = outputs(result.nb)
    assert not [out for out in found if out["output_type"] == "error"]
    figures = [out for out in found if "image/png" in out.get("data", {})]
    tables = [out for out in found if "<table" in html_of(out)]
    assert figures or tables
    if path.stem == "90_verdicts":
        said = "".join("".join(out.get("data", {}).get("text/markdown", "")) for out in found)
        assert "not testable here" in "".join(map(html_of, found))  # two seeds judge nothing
        assert "toycensus (simulated), this call: profile smoke" in said
    streams = [out for out in found if out["output_type"] == "stream"]
    assert not [out["text"] for out in streams if "Warning" in out["text"]]
    if path.stem in ALONE:
        assert len(list((tmp_path / "runs").iterdir())) > 20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("43_win_on_adult", {"sedes": [0]}, "no parameter 'sedes'; did you mean 'seeds'"),
        ("43_win_on_adult", {"ranks": "[3]"}, "rank 3 of strategy 'svd' is out of range: the head "
         "is 10 x 2, so ranks run from 1 to 2"),
    ],
    ids=["misspelt", "out of range"],
)  # fmt: skip
def test_a_wrong_parameter_stops_papermill_before_anything_is_computed(
    name: str, parameters: dict[str, Any], message: str, tmp_path: Path
) -> None:
    out = tmp_path / "out.ipynb"
    with pytest.raises(papermill.PapermillExecutionError) as raised:
        papermill.execute_notebook(
            project_root() / "notebooks" / f"{name}.ipynb", out, {"profile": "smoke", **parameters},
            kernel_name="python3", progress_bar=False,
        )  # fmt: skip
    assert message in raised.value.evalue
    assert message in out.read_text(encoding="utf-8")  # and the notebook shows it
    assert not (tmp_path / "runs").exists()
