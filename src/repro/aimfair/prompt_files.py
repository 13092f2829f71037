"""Prompts that are given as the authors release theirs: Python files of lists of strings.

A file ``Text_{target}_{protected}.py`` assigns a list to a name for each group, e.g.
``list_NoSmiling_Male`` for (0,1) of Smiling, Male, and ``list_single_NoSmiling_Male`` for its plain
prompt. It is parsed and its lists are read as literals; nothing in it is ever executed.

Source: the layout of github.com/zengqunzhao/AIM-Fair, ``stable_diffusion/ldm/scripts``.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

from repro.aimfair.prompt_form import KINDS, Group, Task
from repro.data.splits import GROUPS
from repro.settings import SettingsError

_SCRIPTS = "stable_diffusion/ldm/scripts"  # where they are in the release

# How names say an attribute at 0 and at 1.
_WORDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Smiling": (("NoSmiling", "NotSmiling"), ("Smiling",)),
    "Male": (("Female",), ("Male",)),
    "Female": (("Male",), ("Female",)),
    "Young": (("Aged",), ("Young",)),
    "White": (("NonWhite",), ("White",)),
}


def read_prompts(path: Path | str, task: Task, *, kind: str) -> dict[Group, tuple[str, ...]]:
    """Return the prompts of each group, as they are written.

    Parameters
    ----------
    path
        A file, the folder of the files, or that of the whole release.
    task
        Its file and lists are read.
    kind
        "plain" reads the lists named ``single``, any other kind the others.

    Raises
    ------
    SettingsError
        If the file or the list of a group is not there, or is no list of texts; the message names
        it.
    """
    file = _file(Path(path).expanduser(), task)
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        raise SettingsError(f"prompts_file: {file} is no Python file: {error}") from None
    lists = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found: dict[Group, tuple[str, ...]] = {}
    for group in GROUPS:
        names = _names(task, group, kind)
        name = next((name for name in names if name in lists), None)
        if name is None:
            raise SettingsError(
                f"prompts_file: {file} assigns no {' or '.join(names)}, the {kind} prompts of "
                f"group {group} of {task}; it has {', '.join(sorted(lists)) or 'no lists'}"
            )
        found[group] = _texts(lists[name], f"{name} of {file}")
    return found


def _file(path: Path, task: Task) -> Path:
    name = f"Text_{task.target}_{task.protected}.py"
    tried = [path / name, path / _SCRIPTS / name] if path.is_dir() else [path]
    file = next((file for file in tried if file.is_file()), None)
    if file is None:
        raise SettingsError(
            f"prompts_file: there is no {' nor '.join(map(str, tried))}; give a file, or a folder "
            f"that holds {name}"
        )
    return file


def _names(task: Task, group: Group, kind: str) -> list[str]:
    start = "list_single_" if kind == KINDS[0] else "list_"
    return [
        f"{start}{first}_{second}"
        for first in _WORDS[task.target][group[0]]
        for second in _WORDS[task.protected][group[1]]
    ]


def _texts(node: ast.expr, what: str) -> tuple[str, ...]:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        value = None
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise SettingsError(
            f"prompts_file: {what} is no list of texts, written out, with any in it"
        )
    return tuple(value)
