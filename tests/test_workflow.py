"""The sweep: seeds are shared out, a failed notebook is kept and is the only one redone."""

from __future__ import annotations

import os
import re
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
faces:
  seeds: [5, 6, 7]
  seeds_per_job: 2
  data: {name: toyfaces, size: 32, total: 160}
  synthetic: {source: studio, total: 160, pool: 100}
  width: 4
  initialisation: scratch
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


def sweep(project: Path, profile: str = "tiny", *options: str) -> subprocess.CompletedProcess[str]:
    """Ask for the last page, as `make study` does for the book."""
    command = [sys.executable, "-m", "snakemake", f"build/{profile}/pages/90_verdicts.ipynb"]
    command += ["--cores", "2", "--config", f"profile={profile}", "--keep-going"]
    command += ["--rerun-incomplete", "--nolock", *(options or ("--quiet", "host", "reason"))]
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
        "10_good tiny None",  # a page is of the profile's own seeds
        "20_bad tiny None",
        "43_win_on_adult tiny None",
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
    assert said(project) == ["20_bad tiny None", "90_verdicts tiny None"]
    assert not kept.exists()


AIM_FAIR = ("20_biased_data", "23_pretraining", "24_selective_mask", "31_top_k")


def test_seeds_are_shared_out_by_paper_and_order_follows_what_builds_on_what(
    project: Path,
) -> None:
    for name in AIM_FAIR:
        write(project / "notebooks" / f"{name}.ipynb")
    planned = sweep(project, "tiny", "--dry-run")
    assert planned.returncode == 0, planned.stderr
    # Of each job what it says, what it makes, and the pages and jobs that must be there before it.
    told, before = set(), {}
    for message, made, needed in re.findall(
        r"^Job \d+: (.+)\nReason: Missing output files: build/tiny/([^;\n]+)\.ipynb(.*)$",
        planned.stdout + planned.stderr,
        re.M,
    ):
        told.add(message)
        before[made] = set(re.findall(r"build/tiny/([^,;]+)\.ipynb", needed))
    assert {message for message in told if "[" in message} == {
        *(f"{name}: seeds {seeds}" for name in AIM_FAIR for seeds in ("[5, 6]", "[7]")),
        "43_win_on_adult: seeds [3]",
        "43_win_on_adult: seeds [4]",
    }

    def jobs(name: str) -> set[str]:
        return {f"jobs/{name}/0", f"jobs/{name}/1"}

    for chunk in (0, 1):
        assert before[f"jobs/20_biased_data/{chunk}"] == set()
        assert before[f"jobs/23_pretraining/{chunk}"] == set()
        assert before[f"jobs/24_selective_mask/{chunk}"] == jobs("20_biased_data")
        masked = jobs("20_biased_data") | jobs("24_selective_mask")
        assert before[f"jobs/31_top_k/{chunk}"] == masked
    # A page finds what its own jobs left.
    assert before["pages/20_biased_data"] == jobs("20_biased_data")
    assert before["pages/23_pretraining"] == jobs("23_pretraining")
    assert before["pages/31_top_k"] == jobs("31_top_k") | masked
    assert before["pages/43_win_on_adult"] == jobs("43_win_on_adult")
    assert before["pages/10_good"] == set()
    names = ("10_good", "20_bad", "43_win_on_adult", *AIM_FAIR)
    assert before["pages/90_verdicts"] == {f"pages/{name}" for name in names}


def test_missing_faces_are_said_before_anything_runs(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = PROFILE.replace("name: toyfaces", "name: celeba")
    (project / "profiles" / "tiny.yaml").write_text(real, encoding="utf-8")
    monkeypatch.setenv("REPRO_DATA", str(project / "no-data"))
    done = sweep(project)
    text = done.stdout + done.stderr
    assert done.returncode != 0
    assert "img_align_celeba.zip" in text
    assert "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html" in text
    assert "Traceback" not in text
    assert said(project) == []


def test_an_unknown_profile_is_named(project: Path) -> None:
    done = sweep(project, "tinny")
    assert done.returncode != 0
    assert "unknown profile 'tinny'; did you mean 'tiny'?" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
