"""Every command that a page names is run as far as a test can, or checked word by word.

A notebook that a page tells one to execute is executed here without a kernel until it asks for the
first run, drawing or training: until then its parameters, profile and plan were all accepted. Real
data are stand-ins in the official layout. A command without a rule fails.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import io
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from huggingface_hub import try_to_load_from_cache
from matplotlib import pyplot as plt
from papermill.cli import _resolve_type
from papermill.inspection import inspect_notebook
from PIL import Image
from typer.testing import CliRunner

from repro import cli
from repro.aimfair.pipelinefolder import GenerationError
from repro.chapters.aim import data as aim_data
from repro.chapters.aim import train_a_generator as generator_pages
from repro.data import celeba, faceset
from repro.data.sources import DataError
from repro.generator import recipe
from repro.models import WeightsError
from repro.study.profiles import load_profile, project_root
from repro.study.runs import Runs

ROOT = project_root()
#: a notebook that the parameters alone, in README, may be given to
ANY_OF_FACES = "25_selective_finetuning"


PAGES = (
    *("README.md", "CONTRIBUTING.md", "book/*.md"),
    *("models/*/README.md", "benchmarks/README.md"),
)
_BLOCK = re.compile(r"^```(?:sh|bash|shell|console)\n(.*?)^```", re.M | re.S)
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
#: how a piece of inline code begins that somebody could type
_TYPED = re.compile(
    r"(?:[A-Z_]+=\S+ )*(?:\.venv/bin/\w+|papermill|repro|make|python|pip|conda|uv|snakemake|pytest|"
    r"ruff|mypy|pre-commit|jupyter-book|export) \S|-p \w"
)


@dataclass(frozen=True)
class Command:
    """One command: on which page, in which notebook's text, and its words."""

    page: str
    notebook: str | None
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


def pages() -> Iterator[tuple[str, str | None, str]]:
    """Yield name, notebook and Markdown of every page that a reader is given."""
    for pattern in PAGES:
        for path in sorted(ROOT.glob(pattern)):
            yield str(path.relative_to(ROOT)), None, path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for cell in cells:
            if cell["cell_type"] == "markdown":
                yield path.name, path.stem, "".join(cell["source"])


def in_markdown(page: str, notebook: str | None, text: str) -> Iterator[Command]:
    """Yield the commands of a page: every line of its shell blocks, and inline code."""
    lines = [
        line
        for block in _BLOCK.findall(text)
        for line in re.sub(r"\\\n", " ", block).splitlines()
        if shlex.split(line, comments=True)
    ]
    spans = (" ".join(span.split()) for span in _SPAN.findall(_BLOCK.sub("", text)))
    for line in [*lines, *(span for span in spans if _TYPED.match(span))]:
        words = shlex.split(line, comments=True)
        while re.match(r"[A-Z_]+=", words[0]):
            words = words[1:]
        words[0] = words[0].removeprefix(".venv/bin/")
        yield Command(page, notebook, tuple(words))


def commands() -> list[Command]:
    """Return every command of every page, each once."""
    found = (command for page in pages() for command in in_markdown(*page))
    return list(dict.fromkeys(found))


def in_messages() -> list[Command]:
    """Return the commands that messages of the package name in quotes; ``{x}`` reads "desk"."""
    found = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for text in re.findall(r"'((?:make|repro|pip) [^']+)'", _text(node)):
                found.append(Command(str(path.relative_to(ROOT)), None, tuple(shlex.split(text))))
    return list(dict.fromkeys(found))


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        parts = (part for part in node.values)
        return "".join(str(p.value) if isinstance(p, ast.Constant) else "desk" for p in parts)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return ""


def called(words: tuple[str, ...]) -> tuple[Path, dict[str, str]]:
    """Return the notebook that a papermill command executes, and its -p parameters as typed.

    Raises
    ------
    ValueError
        For a command of another form.
    """
    notebook, out, *rest = words[1:]
    if not out.endswith(".ipynb") or len(rest) % 3 or set(rest[::3]) - {"-p"}:
        raise ValueError(f"no rule for {shlex.join(words)}")
    return ROOT / notebook, dict(zip(rest[1::3], rest[2::3], strict=True))


COMMANDS = commands()


class Reached(BaseException):
    """The notebook asked for something that takes long; not to be caught by it."""


def _reached(*asked: Any, **_: Any) -> Any:
    raise Reached(asked)


@pytest.fixture
def nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with no run, no cache, no key and no network."""
    for name in ("RUNS", "CACHE", "DATA"):
        monkeypatch.setenv(f"REPRO_{name}", str(tmp_path / name.lower()))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    aim_data._read.cache_clear()
    yield tmp_path
    aim_data._read.cache_clear()
    plt.close("all")


@pytest.fixture
def quickly(nothing_there: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, where everything that takes long ends a notebook."""
    monkeypatch.setattr(Runs, "obtain", _reached)
    monkeypatch.setattr("repro.aimfair.synthesis.generate", _reached)
    monkeypatch.setattr(recipe, "train", _reached)
    monkeypatch.setattr(generator_pages, "load", _reached)
    # What a reader puts in place of the folder that a page tells of: lists in the authors' layout.
    folder = nothing_there / "path" / "to" / "the" / "folder"
    folder.mkdir(parents=True)
    names = (f"{t}_{p}" for t in ("NoSmiling", "Smiling") for p in ("Female", "Male"))
    (folder / "Text_Smiling_Male.py").write_text(
        "".join(f"list_{name} = ['A portrait of {name}']\n" for name in names), encoding="utf-8"
    )
    monkeypatch.chdir(nothing_there)
    return nothing_there


def execute(notebook: Path, given: dict[str, Any]) -> None:
    """Execute the code of a notebook in this process, its parameters replaced as by papermill."""
    known = inspect_notebook(str(notebook))
    assert set(given) <= set(known), f"{notebook.name} has no parameter {set(given) - set(known)}"
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile("".join(cell["source"]), notebook.name, "exec"), namespace)
            if "parameters" in cell["metadata"].get("tags", []):
                namespace |= given


# Rules: what a command does in a test


def _papermill(command: Command) -> None:
    if command.words[1] == "--help-notebook":
        known = inspect_notebook(str(ROOT / command.words[2]))
        assert known
        assert all(parameter["help"] for parameter in known.values())
        return
    notebook, typed = called(command.words)
    with contextlib.suppress(Reached):
        execute(notebook, {name: _resolve_type(value) for name, value in typed.items()})


def _parameters(command: Command) -> None:
    name = command.notebook or ANY_OF_FACES
    words = ("papermill", f"notebooks/{name}.ipynb", "out.ipynb", *command.words)
    _papermill(Command(command.page, command.notebook, words))


def _repro(command: Command) -> None:
    words = [str(word) for word in command.words[1:]]
    if len(words) == 1 and words[0] != "preflight":  # named in a sentence
        words.append("--help")
    elif words[0] in ("export", "compare"):  # of what is not there: said, and not a traceback
        with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as nothing:
            patch.setattr("repro.study.records.recorded_folder", lambda: Path(nothing))
            done = CliRunner().invoke(cli.app, words)
        assert isinstance(done.exception, cli.EXPECTED), done.output
        return
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 0, done.output
    assert len(done.output) > 100


def _make(command: Command) -> None:
    words = ["PROFILE=desk" if w == "PROFILE=PROFILE" else w for w in command.words]
    done = subprocess.run(
        [*words, "--dry-run"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    for word in words:
        if word.startswith("PROFILE="):
            load_profile(word.removeprefix("PROFILE="))


def _python(command: Command) -> None:
    script, *options = command.words[1:]
    told = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(told):
        patch.setattr(sys, "argv", [script, "--help"])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / script), run_name="__main__")
    assert ended.value.code == 0
    assert all(option in told.getvalue() for option in options if option.startswith("--"))


def _conda(command: Command) -> None:
    assert command.words == ("conda", "env", "create", "-f", "environment.yml")
    assert yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]


def _pre_commit(command: Command) -> None:
    assert command.words == ("pre-commit", "install")
    assert yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]


def _export(command: Command) -> None:
    name = command.words[1].partition("=")[0]
    assert any(f'"{name}"' in path.read_text() for path in (ROOT / "src").rglob("*.py"))


RULES: dict[str, Callable[[Command], None]] = {
    "papermill": _papermill,
    "-p": _parameters,
    "repro": _repro,
    "make": _make,
    "python": _python,
    "conda": _conda,
    "pre-commit": _pre_commit,
    "export": _export,
}


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_of_a_page_does_what_it_can_here(command: Command, quickly: Path) -> None:
    assert command.words[0] in RULES, f"no rule in this test for: {command}"
    RULES[command.words[0]](command)


def test_commands_are_found_in_every_form() -> None:
    text = (
        "Type `make study PROFILE=desk` or `-p k 5`, not `make` or `data.name`, and\n"
        "`papermill a.ipynb out.ipynb\n    -p seeds '[7]'`.\n\n"
        "```sh\nA=b .venv/bin/odd x \\\n  y   # why\n# nothing\n```\n\n```\n$DATA/no command\n```\n"
    )
    assert [command.words for command in in_markdown("page", None, text)] == [
        ("odd", "x", "y"),
        ("make", "study", "PROFILE=desk"),
        ("-p", "k", "5"),
        ("papermill", "a.ipynb", "out.ipynb", "-p", "seeds", "[7]"),
    ]
    assert len(COMMANDS) > 30
    assert {command.words[0] for command in COMMANDS} >= {"papermill", "-p", "repro", "make"}


@pytest.mark.parametrize("command", in_messages(), ids=str)
def test_a_command_that_a_message_names_exists(command: Command) -> None:
    if command.words[0] == "make":
        _make(command)
    elif command.words[0] == "repro":
        done = CliRunner().invoke(cli.app, [command.words[1], "--help"])
        assert done.exit_code == 0
    else:
        assert command.words == ("pip", "install", "-e", ".")


def test_the_edition_that_a_message_tells_to_ask_for_can_be_asked_for() -> None:
    for edition in ("reduced", "official", faceset.FOUND):
        told = faceset.ask(edition).partition("-p overrides ")[2].strip("'")
        assert load_profile("desk", json.loads(told)).faces.data.edition == edition


# The official layout, where the data are not there


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CelebA as its publisher lays it out, 200 generated images of 178x218 pixels."""
    folder = tmp_path_factory.mktemp("official") / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [f"{i:06}.jpg" for i in range(1, 201)]
    columns = ["Smiling", "Male", "Young", "Wavy_Hair", *(f"Other_{i}" for i in range(36))]
    values = rng.choice([-1, 1], (200, 40))
    for name in names:
        pixels = rng.integers(0, 256, (7, 6, 3), dtype=np.uint8)
        image = Image.fromarray(pixels).resize((178, 218), Image.Resampling.BICUBIC)
        image.save(folder / "img_align_celeba" / name)
    packed = shutil.make_archive(
        str(folder / "img_align_celeba"), "zip", folder, "img_align_celeba"
    )
    assert Path(packed).name == "img_align_celeba.zip"
    shutil.rmtree(folder / "img_align_celeba")
    rows = (f"{n}  {' '.join(f'{v:2}' for v in row)}" for n, row in zip(names, values, strict=True))
    text = "\n".join(["200", " ".join(columns) + " ", *rows]) + "\n"
    (folder / "list_attr_celeba.txt").write_text(text)
    parts = "".join(f"{n} {0 if i < 160 else 1 + i % 2}\n" for i, n in enumerate(names))
    (folder / "list_eval_partition.txt").write_text(parts)
    return folder.parent


@pytest.fixture
def official(layout: Path, nothing_there: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in, taken for the official edition: its digests are declared."""
    monkeypatch.setenv("REPRO_DATA", str(layout))
    for piece in celeba.DATASET.pieces.values():
        name, _ = piece.editions["official"]
        content = (layout / "celeba" / name).read_bytes()
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        monkeypatch.setitem(piece.editions, "official", (name, f"md5:{md5}"))
    return layout


NOTEBOOK = ROOT / "notebooks" / "25_selective_finetuning.ipynb"
SMALL = {"faces.data.total": 40, "faces.pretrain.batch_size": 20}


def test_the_papers_profile_runs_until_the_weights_of_imagenet_are_missing(
    official: Path, nothing_there: Path
) -> None:
    with pytest.raises(WeightsError, match=r"ImageNet weights of resnet18 could not be .*; set"):
        execute(NOTEBOOK, {"profile": "paper", "strategies": '["erm"]', "overrides": SMALL})
    (frames,) = (nothing_there / "cache" / "images").glob("celeba-frames-*.npy")
    assert np.load(frames, mmap_mode="r").shape == (200, 3, 218, 178)  # read, at their own size


def test_the_papers_profile_runs_until_stable_diffusion_is_missing(official: Path) -> None:
    pages = ROOT / "notebooks" / "22_synthetic_faces.ipynb"
    asked = load_profile("paper").faces.synthetic
    if try_to_load_from_cache(asked.generator, "model_index.json", revision=asked.revision):
        pytest.skip("the weights of Stable Diffusion are there")
    with pytest.raises(GenerationError, match=rf"'{asked.generator}' .*; fetch it where there is"):
        execute(pages, {"profile": "paper", "overrides": SMALL})


@pytest.mark.parametrize(("profile", "edition"), [("paper", "official"), ("desk", "reduced")])
def test_a_stand_in_is_not_taken_for_the_real_thing(
    layout: Path, nothing_there: Path, monkeypatch: pytest.MonkeyPatch, profile: str, edition: str
) -> None:
    monkeypatch.setenv("REPRO_DATA", str(layout))
    scratch = {"faces.initialisation": "scratch"} | SMALL
    with pytest.raises(DataError, match=rf"{edition} edition of celeba.*\"found\""):
        execute(NOTEBOOK, {"profile": profile, "strategies": '["erm"]', "overrides": scratch})


@pytest.mark.slow
def test_papermill_itself_says_which_weights_are_missing(layout: Path, nothing_there: Path) -> None:
    """The command as a reviewer types it, in the official layout, from the shell."""
    overrides = json.dumps(SMALL | {"faces.data.edition": "found"})
    words = ["-p", "profile", "paper", "-p", "strategies", '["erm"]', "-p", "overrides", overrides]
    out = nothing_there / "out.ipynb"
    done = subprocess.run(
        [sys.executable, "-m", "papermill", "-k", "python3", str(NOTEBOOK), str(out), *words],
        env=os.environ | {"REPRO_DATA": str(layout), "IPYTHONDIR": str(nothing_there / "ipython")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode != 0
    assert "WeightsError: ImageNet weights of resnet18 could not be fetched" in done.stderr
