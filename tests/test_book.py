"""The book is staged from executed pages, built without a warning, and loads nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from repro import book
from repro.book import BookError, build_html, clean_notebook, remote_loads, stage
from repro.study.profiles import project_root

ROOT = project_root()
PAGE = """\
# A page

Inline $x$, cited {cite:p}`zhang2024win`.

```{math}
:label: eq-svd
I_N W = U S V^T
```

By {eq}`eq-svd`.

```{exercise}
:label: ex-one
Do it.
```

```{prf:theorem}
It holds.
```

```{bibliography}
```
"""


def notebook(text: str = "# Title") -> dict[str, Any]:
    """Return an executed notebook with all the noise that execution leaves."""
    outputs = [
        {"output_type": "stream", "name": "stderr", "text": "100%|####| 3/3"},
        {"output_type": "stream", "name": "stdout", "text": "said"},
        {
            "output_type": "display_data",
            "metadata": {},
            "data": {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "bar"},
        },
    ]
    code = {
        "cell_type": "code",
        "id": "b",
        "execution_count": 1,
        "source": "print('said')",
        "outputs": outputs,
        "metadata": {"tags": ["hide-input"], "papermill": {"duration": 1.5}, "execution": {}},
    }
    markdown = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": text}
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "papermill": {"output_path": "somewhere"},
            "widgets": {},
        },
        "cells": [markdown, code],
    }


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a small project: the study's configuration, one page of prose, one notebook."""
    monkeypatch.setattr(book, "generated", lambda profile: {"glance.md": f"All of {profile}.\n"})
    (tmp_path / "book" / "recorded").mkdir(parents=True)
    (tmp_path / "book" / "recorded" / "quick.parquet").write_bytes(b"records")
    (tmp_path / "book" / "index.md").write_text(
        PAGE + "\n```{include} generated/glance.md\n```\n", encoding="utf-8"
    )
    shutil.copy(ROOT / "_config.yml", tmp_path)
    shutil.copy(ROOT / "book" / "references.bib", tmp_path / "book")
    shutil.copytree(ROOT / "book" / "_static", tmp_path / "book" / "_static")
    toc = {"format": "jb-book", "root": "book/index", "chapters": [{"file": "notebooks/10_one"}]}
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "10_one.ipynb").write_text(json.dumps(notebook()), encoding="utf-8")
    return tmp_path


def test_clean_notebook_keeps_what_is_said_and_drops_what_changes() -> None:
    cleaned = clean_notebook(notebook())
    assert set(cleaned["metadata"]) == {"kernelspec"}
    assert cleaned["cells"][1]["metadata"] == {"tags": ["hide-input"]}
    assert [output["name"] for output in cleaned["cells"][1]["outputs"]] == ["stdout"]


def test_stage_lays_out_prose_pages_and_generated_text(project: Path) -> None:
    stage("quick", project, project / "pages", project / "stage")
    staged = {
        path.relative_to(project / "stage").as_posix()
        for path in (project / "stage").rglob("*")
        if path.is_file()
    }
    assert staged == {
        "_config.yml",
        "_toc.yml",
        "book/_static/in_short.svg",
        "book/_static/logo.svg",
        "book/_static/study.css",
        "book/generated/glance.md",
        "book/index.md",
        "book/references.bib",
        "notebooks/10_one.ipynb",
    }


def test_stage_rewrites_only_what_changed_and_removes_what_is_gone(project: Path) -> None:
    destination = project / "stage"
    stage("quick", project, project / "pages", destination)
    before = {path: path.stat().st_mtime_ns for path in destination.rglob("*") if path.is_file()}
    (destination / "book" / "old.md").write_text("gone", encoding="utf-8")
    (project / "book" / "index.md").write_text("# New", encoding="utf-8")
    stage("quick", project, project / "pages", destination)
    after = {path: path.stat().st_mtime_ns for path in destination.rglob("*") if path.is_file()}
    assert before.keys() == after.keys()
    changed = {path for path in after if after[path] != before[path]}
    assert changed == {destination / "book" / "index.md"}


def test_stage_names_the_page_that_was_not_executed(project: Path) -> None:
    (project / "pages" / "10_one.ipynb").unlink()
    with pytest.raises(BookError, match=r"notebooks/10_one\.ipynb; run 'make study PROFILE=desk'"):
        stage("desk", project, project / "pages", project / "stage")


@pytest.mark.slow
def test_book_builds_with_its_math_and_loads_nothing(project: Path) -> None:
    pages = project / "build" / "quick" / "pages"
    shutil.copytree(project / "pages", pages)
    first = book.build("quick", project)
    html = first.parent
    assert first == project / "build" / "quick" / "book" / "index.html"
    assert (html / "notebooks" / "10_one.html").is_file()
    assert (html / "_static" / "mathjax" / "tex-chtml.js").is_file()
    text = (html / "book" / "index.html").read_text(encoding="utf-8")
    assert "All of quick." in text
    assert "mathjax/tex-chtml.js" in text
    assert remote_loads(html) == []  # a script from elsewhere would also have been an error


@pytest.mark.slow
def test_a_warning_is_an_error_and_would_be_repeated(project: Path) -> None:
    (project / "book" / "index.md").write_text("# One\n\n[nowhere](no.md)\n", encoding="utf-8")
    stage("quick", project, project / "pages", project / "stage")
    with pytest.raises(BookError, match="listed above"):
        build_html(project / "stage", project / "sphinx")
    assert not (project / "sphinx").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.html", '<script src="https://cdn.example/x.js"></script>'),
        ("a.html", '<link rel="stylesheet" href="//cdn.example/x.css">'),
        ("a.html", '<img srcset="a.png 1x, https://cdn.example/x.png 2x">'),
        ("a.html", '<iframe src="http://cdn.example/"></iframe>'),
        ("a.html", "<style>@import 'https://cdn.example/x.css';</style>"),
        ("a.html", "<p style=\"background: url('https://cdn.example/x.png')\"></p>"),
        ("a.html", '<script type="module">import "https://cdn.example/x.js"</script>'),
        ("a.css", "@font-face { src: url(https://cdn.example/x.woff2) }"),
        ("a.js", 'let s = document.createElement("script"); s.src = "https://cdn.example/x.js";'),
        ("a.js", 'import{a}from"https://cdn.example/x.js"'),
    ],
)
def test_loads_from_elsewhere_are_found(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    (found,) = remote_loads(tmp_path)
    assert found.startswith(f"{name}: ")
    assert "cdn.example" in found


def test_links_and_local_files_are_not_loads(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<a href="https://example.org">read</a><link rel="canonical" href="https://example.org">'
        '<script src="_static/x.js"></script><p>import "https://example.org"</p>',
        encoding="utf-8",
    )
    (tmp_path / "a.js").write_text('const home = "https://example.org";', encoding="utf-8")
    (tmp_path / "a.css").write_text("a { background: url(x.png) }", encoding="utf-8")
    assert remote_loads(tmp_path) == []


def test_table_of_contents_and_notebooks_agree() -> None:
    entries = set(book._toc_files(yaml.safe_load((ROOT / "_toc.yml").read_bytes())))
    pages = {path for path in entries if path.startswith("notebooks/")}
    assert pages == {f"notebooks/{path.stem}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    prose = {f"book/{path.stem}" for path in (ROOT / "book").glob("*.md")}
    assert entries - pages == prose
