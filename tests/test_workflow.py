"""The sweep: seeds are shared out, a failed notebook is kept and is the only one redone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from repro.study.profiles import project_root

PROFILE = """\
description: for tests
seeds: [3, 4]
seeds_per_job: 1
data: {name: toycensus, records: 3000}
win:
  pretrain: {learning_rates: [0.01], epochs: 1, batch_size: 256}
  finetune: {learning_rates: [0.01], epochs: 1, batch_size: 256}
"""
PARAMETERS = "profile: str = None  # p\nseeds: list[int] = None  # s"
SAY = "open('said', 'a').write(f'{name} {profile} {seeds}\\n')"


def write(path: Path, *cells: str) -> None:
    """Write a notebook that says in the file ``said`` that it was executed."""
    code = [f"name = '{path.stem}'\n{SAY}", *cells]
    notebook = new_notebook(cells=[new_markdown_cell(f"# {path.stem}")])
    notebook.cells += [new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})]
    notebook.cells += [new_code_cell(cell) for cell in code]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata["kernelspec"] = kernel
    nbformat.write(notebook, path)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project with the study's Snakefile and four notebooks that take no time."""
    root = tmp_path / "project"
    shutil.copytree(project_root() / "profiles", root / "profiles")
    shutil.copy(project_root() / "Snakefile", root)
    (root / "profiles" / "tiny.yaml").write_text(PROFILE, encoding="utf-8")
    notebooks = root / "notebooks"
    notebooks.mkdir()
    write(notebooks / "10_good.ipynb")
    write(
        notebooks / "20_bad.ipynb",
        "import pathlib\nassert pathlib.Path('mended').exists(), 'it is broken'",
    )
    write(notebooks / "43_win_on_adult.ipynb")  # by its name one whose seeds are shared out
    write(notebooks / "90_verdicts.ipynb")
    monkeypatch.setenv("REPRO_ROOT", str(root))
    return root


def sweep(project: Path, profile: str = "tiny") -> subprocess.CompletedProcess[str]:
    """Ask for the last page, as `make study` does for the book."""
    command = [sys.executable, "-m", "snakemake", f"build/{profile}/pages/90_verdicts.ipynb"]
    command += ["--cores", "2", "--config", f"profile={profile}", "--keep-going"]
    command += ["--rerun-incomplete", "--nolock", "--quiet", "host", "reason"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONWARNINGS"}
    return subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, timeout=300
    )


def said(project: Path) -> list[str]:
    """Return what was executed since the last call, in no order."""
    path = project / "said"
    found = sorted(path.read_text(encoding="utf-8").splitlines()) if path.exists() else []
    path.unlink(missing_ok=True)
    return found


@pytest.mark.slow
def test_a_failed_notebook_is_kept_and_is_the_only_one_redone(project: Path) -> None:
    build = project / "build" / "tiny"

    first = sweep(project)
    assert first.returncode != 0
    assert said(project) == [
        "10_good tiny [3, 4]",
        "20_bad tiny [3, 4]",
        "43_win_on_adult tiny [3, 4]",
        "43_win_on_adult tiny [3]",
        "43_win_on_adult tiny [4]",
    ]
    kept = build / "failed" / "20_bad.ipynb"
    assert "it is broken" in kept.read_text(encoding="utf-8")
    assert "build/tiny/failed/20_bad.ipynb shows the error" in first.stderr
    done = {path.relative_to(build).as_posix() for path in build.rglob("*.ipynb")}
    assert done == {
        "failed/20_bad.ipynb",
        "jobs/43_win_on_adult/0.ipynb",
        "jobs/43_win_on_adult/1.ipynb",
        "pages/10_good.ipynb",
        "pages/43_win_on_adult.ipynb",
    }

    (project / "mended").touch()
    second = sweep(project)
    assert second.returncode == 0, second.stderr
    assert said(project) == ["20_bad tiny [3, 4]", "90_verdicts tiny [3, 4]"]
    assert not kept.exists()


def test_an_unknown_profile_is_named(project: Path) -> None:
    done = sweep(project, "tinny")
    assert done.returncode != 0
    assert "unknown profile 'tinny'; did you mean 'tiny'?" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
