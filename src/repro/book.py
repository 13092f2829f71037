"""The book: executed pages and prose are staged, built by Jupyter Book, and checked.

``python -m repro.book quick`` builds ``build/quick/book`` from ``build/quick/pages``; the
sweep calls it last. Nothing is computed here.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import yaml

from repro.files import whole
from repro.study.once import one_reading
from repro.study.profiles import load_profile, project_root

_WIDGET = "application/vnd.jupyter.widget-view+json"  # a live widget: on a page it shows nothing
_REMOTE = r"(?:https?:)?//"
# Most of a page, and none of it loads anything; to be told so by a parser takes five times as long.
_INERT = re.compile(
    r"</?(?:span|div|p|em|strong|code|pre|td|tr|th|dt|dd|dl|li|ul|section|a)"
    r"(?: (?:class|id|href|title)=\"[^\"<>]*\")*>"
)
_CSS_LOAD = re.compile(rf"(?:@import\s+['\"]|url\(\s*['\"]?){_REMOTE}[^'\")\s]+", re.IGNORECASE)
# The address first, then what stands before it: bundled scripts are megabytes on one line.
_JS_ADDRESS = re.compile(rf"['\"`]{_REMOTE}[^'\"`]+")
_JS_LOAD = re.compile(
    r"(?:\b(?:import|importScripts|fetch)\(|\b(?:import|from)|\.(?:src|href)\s*=)\s*$"
)


class BookError(RuntimeError):
    """The book cannot be built; the message says what is missing or wrong."""


def stage(profile: str, root: Path, pages: Path, destination: Path) -> None:
    """Lay out the book's sources: configuration, prose, generated text and executed notebooks.

    Files that would not change are left alone, so that Sphinx builds again only what did.

    Parameters
    ----------
    profile
        The profile that the pages were executed with.
    root
        The project's folder, with ``_config.yml``, ``_toc.yml`` and ``book/``.
    pages
        The folder of executed notebooks.
    destination
        The folder to fill; what does not belong there is removed.

    Raises
    ------
    BookError
        If the table of contents names a notebook that was not executed.
    """
    toc = (root / "_toc.yml").read_bytes()
    entries = list(_toc_files(yaml.safe_load(toc)))
    notebooks = [f"{entry}.ipynb" for entry in entries if entry.startswith("notebooks/")]
    missing = [name for name in notebooks if not (pages / Path(name).name).is_file()]
    if missing:
        raise BookError(
            f"_toc.yml names pages that were not executed: {', '.join(missing)}; "
            f"run 'make study PROFILE={profile}'"
        )
    files = {"_toc.yml": toc, "_config.yml": (root / "_config.yml").read_bytes()}
    for path in sorted((root / "book").rglob("*")):
        name = path.relative_to(root).as_posix()
        # Records are data of the pages, not sources of the book.
        if path.is_file() and not name.startswith(("book/recorded/", "book/generated/")):
            files[name] = path.read_bytes()
    for name in notebooks:
        notebook = json.loads((pages / Path(name).name).read_text(encoding="utf-8"))
        files[name] = json.dumps(clean_notebook(notebook), indent=1).encode()
    for name, text in generated(profile).items():
        files[f"book/generated/{name}"] = text.encode()

    for name, content in files.items():
        path = destination / name
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    for path in sorted(destination.rglob("*")):
        if path.is_file() and path.relative_to(destination).as_posix() not in files:
            path.unlink()


@one_reading()
def generated(profile: str) -> dict[str, str]:
    """Return the texts that prose includes from ``book/generated/``, by file name."""
    # Verdicts read every record; tests of the rest of this module do without.
    from repro.chapters import in_short
    from repro.study.costs import costs_markdown
    from repro.study.glance import at_a_glance_markdown
    from repro.study.records import recorded
    from repro.study.session import RECORDED

    settings = load_profile(profile)
    seeds = len(settings.seeds)
    built_with = (
        f"The pages of this copy of the book were executed with the profile `{profile}`: "
        f"{settings.description}; {seeds} seed{'s' if seeds > 1 else ''}. They show what is "
        f"recorded of profiles {' and '.join(f'`{name}`' for name in RECORDED)}, and what this "
        f"profile computed.\n"
    )
    # Always the recorded ones, whatever this profile computed.
    verdicts = at_a_glance_markdown(*RECORDED, notebooks="../notebooks")
    return {
        "in_short.md": in_short.markdown(*RECORDED, notebooks="../notebooks"),
        "verdicts_at_a_glance.md": verdicts,
        "built_with.md": built_with,
        "costs.md": "\n".join(costs_markdown(recorded(name).values(), name) for name in RECORDED),
        "chapters.md": chapters(project_root() / "notebooks"),
    }


def chapters(notebooks: Path) -> str:
    """Return every module of the chapters and the first line of its docstring, as Markdown.

    They stand in the order of the book, what several chapters share last.

    Parameters
    ----------
    notebooks
        The folder in which a chapter's page is found by its number.
    """
    package = Path(__file__).parent
    rows = []
    for path in (package / "chapters").rglob("*.py"):
        if path.name == "__init__.py":
            continue
        told = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0]
        module = ".".join(path.relative_to(package.parent).with_suffix("").parts)
        number = re.match(r"Chapter (\d+)", told)
        if number:
            (page,) = notebooks.glob(f"{number[1]}_*.ipynb")
            told = f"[{number[0]}](../notebooks/{page.name}){told[number.end() :]}"
        rows.append((not number, number[1] if number else "", f"| `{module}` | {told} |"))
    return "\n".join(
        ["| Module | What it tells |", "| --- | --- |", *(row for *_, row in sorted(rows))]
    )


def clean_notebook(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return an executed notebook without what changes from one execution to the next.

    Dropped are progress and warnings on standard error, live widgets, and the timings, paths and
    environment that papermill notes in the metadata.
    """
    return {
        **notebook,
        "metadata": _without(notebook["metadata"], "papermill", "widgets"),
        "cells": [_clean_cell(cell) for cell in notebook["cells"]],
    }


def _clean_cell(cell: dict[str, Any]) -> dict[str, Any]:
    cleaned = {**cell, "metadata": _without(cell["metadata"], "papermill", "execution")}
    if "outputs" in cell:
        cleaned["outputs"] = [
            output
            for output in cell["outputs"]
            if output.get("name") != "stderr" and _WIDGET not in output.get("data", {})
        ]
    return cleaned


def _without(metadata: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if key not in names}


def _toc_files(entry: Any) -> Iterator[str]:
    """Yield every file that a table of contents names, in its order."""
    if isinstance(entry, dict):
        for key, value in entry.items():
            if key in ("root", "file"):
                yield str(value)
            else:
                yield from _toc_files(value)
    elif isinstance(entry, list):
        for item in entry:
            yield from _toc_files(item)


def build(profile: str, root: Path) -> Path:
    """Stage and build the book of a profile, and return its first page.

    The previous book stays in place until the new one is complete.

    Raises
    ------
    BookError
        If a page is missing, Sphinx warns, or a page would load something from elsewhere.
    """
    folder = root / "build" / profile
    stage(profile, root, folder / "pages", folder / "stage")
    html = build_html(folder / "stage", folder / "sphinx")
    with whole(folder / "book") as part:
        shutil.copytree(html, part)
    return folder / "book" / "index.html"


def build_html(sources: Path, output: Path) -> Path:
    """Build staged sources with Jupyter Book and return the folder of the pages.

    Raises
    ------
    BookError
        If Sphinx warns, or a page would load something from elsewhere.
    """
    command = [Path(sys.executable).with_name("jupyter-book"), "build", sources]
    options = ["--path-output", output, "-W", "-n", "--keep-going", "-q"]
    # Warnings come on standard error; the rest only names the folder that the caller copies.
    done = subprocess.run(
        [str(part) for part in [*command, *options]], stdout=subprocess.DEVNULL, check=False
    )
    html = output / "_build" / "html"
    if done.returncode == 0:
        remote = remote_loads(html)
        if not remote:
            return html
        problem = "pages load from elsewhere: " + "; ".join(remote[:10])
    else:
        problem = "Jupyter Book reported what is listed above"
    # Sphinx would not repeat a warning about a page that it need not build again.
    shutil.rmtree(output, ignore_errors=True)
    raise BookError(f"the book was not built: {problem}")


def remote_loads(html: Path) -> list[str]:
    """List what the pages, styles and scripts below ``html`` load from another host.

    Links that a reader may follow do not count.
    """
    found = []
    for path in sorted(html.rglob("*")):
        if path.suffix not in (".html", ".css", ".js"):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        name = path.relative_to(html).as_posix()
        if path.suffix == ".html":
            loads = _PageLoads()
            loads.feed(_INERT.sub("", text))
            found += [f"{name}: {load}" for load in loads.remote]
        else:
            loads_of = _css_loads if path.suffix == ".css" else _js_loads
            found += [f"{name}: {load}" for load in loads_of(text)]
    return found


def _css_loads(text: str) -> list[str]:
    """Return the addresses on another host that a style sheet loads."""
    return _CSS_LOAD.findall(text)


def _js_loads(text: str) -> list[str]:
    """Return the addresses on another host that a script imports, fetches or sets as a source."""
    return [
        match.group()
        for match in _JS_ADDRESS.finditer(text)
        if _JS_LOAD.search(text[max(0, match.start() - 30) : match.start()])
    ]


class _PageLoads(HTMLParser):
    """Collects what a page loads from another host when it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.remote: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the element would load from elsewhere when the page is opened."""
        self._inside = tag
        values = {name: value or "" for name, value in attrs}
        # A link element loads only some of what it points to; a reader's links load nothing.
        loads = {"stylesheet", "icon", "preload", "modulepreload", "manifest", "shortcut"}
        names = ["src", "srcset", "poster"] + (["data"] if tag == "object" else [])
        if tag == "link" and loads & set(values.get("rel", "").split()):
            names.append("href")
        for name in names:
            if re.search(rf"(?:^|,)\s*{_REMOTE}", values.get(name, "")):
                self.remote.append(f"<{tag} {name}={values[name]}>")
        self.remote += _css_loads(values.get("style", ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            self.remote += _css_loads(data)
        elif self._inside == "script":
            self.remote += _js_loads(data)


def main() -> None:
    """Build the book of the profile that the command line names."""
    parser = argparse.ArgumentParser(description="Build the book from executed pages.")
    parser.add_argument("profile", help="smoke, quick, desk or paper")
    try:
        build(load_profile(parser.parse_args().profile).name, project_root())
    except (BookError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
