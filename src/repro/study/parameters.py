"""Notebook parameters: checked, because Papermill lets a misspelt or mistyped one through."""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType, ModuleType
from typing import Any, get_args

import yaml
from pydantic import TypeAdapter, ValidationError

from repro import numerics
from repro.data.registry import FACE_SETS, TABLES
from repro.names import UnknownNameError, check_name, hint
from repro.settings import TOY, SettingsError, Strict, leaves
from repro.study.profiles import (
    FaceSettings,
    Paper,
    Profile,
    WinFaceSettings,
    WinSettings,
    load_profile,
    synthetic_of,
)
from repro.study.session import Study

EXAMPLES = {
    "seeds": "[7]",
    "ranks": "[1, 2]",
    "label_ranks": "[1, 4]",
    "weights": "[0.5, 0.9]",
    "architectures": "[mlp-3]",
    "strategies": '["erm", "mask"]',
    "k": "55",
    "ks": "[40, 55]",
    "blocks": "[layer4, fc]",
    "fractions": "[1.0, 0.1]",
    "amounts": "[0.5, 1.0]",
    "s1_ratios": '["4:6", "1:9"]',
    "corpus": "faces",
    "train": "true",
    "overrides": '{"win.finetune.epochs": 5}',
}
#: Parameters of another name than the setting that they replace, or of another part's settings.
_ELSEWHERE: dict[Paper, dict[str, str]] = {
    "win": {"seeds": "seeds", "dataset": "data.name"},
    "win-faces": {"dataset": "faces.data.name"},
    "aim-fair": {
        "dataset": "faces.data.name",
        "target": "faces.data.target",
        "protected": "faces.data.protected",
    },
}
_SETTINGS: dict[Paper, tuple[str, type[Strict]]] = {
    "win": ("win", WinSettings),
    "win-faces": ("win.faces", WinFaceSettings),
    "aim-fair": ("faces", FaceSettings),
}


def setting_of(name: str, paper: Paper) -> str | None:
    """Return the setting that a parameter replaces, by its dotted name, or None if it has none.

    It is the setting of that name among those of the part of the study that the notebook is on.
    """
    where, own = _SETTINGS[paper]
    return _ELSEWHERE[paper].get(name) or (f"{where}.{name}" if name in own.model_fields else None)


DATASETS: dict[Paper, tuple[str, ...]] = {
    paper: tuple(name for name, entry in (TABLES | FACE_SETS).items() if paper in entry.parts)
    for paper in get_args(Paper)
}
#: Names that IPython itself puts into the namespace.
IPYTHON = {"In", "Out", "exit", "quit", "open", "get_ipython"}


def check(namespace: Mapping[str, Any], *, notebook: str, paper: Paper = "win") -> Study:
    """Check the parameters of a notebook and return the study that they describe.

    Which there are, and of which types, is read from the annotations of their cell.

    Parameters
    ----------
    namespace
        ``globals()`` of the notebook, right after its parameters.
    notebook
        Its name, for the command under each figure that computes it again.
    paper
        Whose half of the profile the parameters set.

    Raises
    ------
    UnknownNameError
        For a parameter that the notebook does not have; the nearest valid one is given.
    SettingsError
        For a value of the wrong type, or out of range.
    """
    valid: Mapping[str, Any] = namespace["__annotations__"]
    given = {name: v for name, v in namespace.items() if _is_parameter(name, v)}
    for name in given:
        if name not in valid:
            raise UnknownNameError(
                f"this notebook has no parameter '{name}'{hint(name, valid)} "
                f"(valid: {', '.join(valid)})"
            )
    values = {name: _typed(name, given[name], valid[name]) for name in valid if name in given}
    overrides = dict(values.get("overrides") or {})
    for name, given_value in values.items():
        setting = setting_of(name, paper)
        if setting and given_value is not None:
            overrides[setting] = given_value
    plain, needed = load_profile(values["profile"]), dict[str, Any]()
    if values.get("dataset") is not None:
        check_name("dataset", values["dataset"], DATASETS[paper])
        needed = _needed(values["dataset"], plain, overrides, paper)
    profile = load_profile(plain.name, needed | overrides)
    _say_what_else_changed(plain, profile, overrides)
    given_values = {name: v for name, v in values.items() if v not in (None, {})}
    if set(values.get("strategies") or []) - {"erm"}:
        synthetic_of(profile)  # refused where there are no synthetic faces to train on
    if profile.numbers_of(paper) == numerics.PORTABLE:
        numerics.hold()
    return Study(profile, notebook, given_values, paper=paper)


def _needed(
    dataset: str, profile: Profile, overrides: Mapping[str, Any], paper: Paper
) -> dict[str, Any]:
    """Return the settings that another data set needs, without those that are set by hand.

    They are those of the profile (``datasets``); a simulation's own mean nothing elsewhere.

    Raises
    ------
    SettingsError
        If the profile does not say what the data set needs.
    """
    known, setting = leaves(profile), _ELSEWHERE[paper]["dataset"]
    if dataset == known[setting]:
        return {}
    if dataset not in profile.datasets:
        example = f'-p overrides \'{{"{setting}": "{dataset}", "faces.data.edition": "found"}}\''
        raise SettingsError(
            f"profile '{profile.name}' does not say what data set '{dataset}' needs (edition, "
            f"size, total, target, generator): add it under 'datasets' to profiles/{profile.name}"
            f".yaml, or set it and all of them by hand, e.g. {example}"
        )
    needed = _NOTHING_ELSEWHERE.get(dataset, {}) | profile.datasets[dataset]
    needed = _OTHERS | needed  # which are the profile's own data set's
    # A part of the study that this notebook is not on, or the profile does not run, stays.
    return {
        name: value
        for name, value in needed.items()
        if name.startswith(_HALF[paper]) and name in known and not _covers(overrides, name)
    }


def _say_what_else_changed(before: Profile, after: Profile, overrides: Mapping[str, Any]) -> None:
    """Print every setting that changed without being set by hand."""
    old, new = leaves(before), leaves(after)
    names = [n for n in old.keys() & new.keys() if old[n] != new[n] and not _covers(overrides, n)]
    others = not _OTHERS.keys().isdisjoint(names)
    names = [n for n in names if n not in _OTHERS]
    if names:
        told = ", ".join(f"{name} = {new[name]} (not {old[name]})" for name in sorted(names))
        print(f"For this data set, too: {told}. Parameters and -p overrides set each otherwise.")
    if others:
        print("The other tasks of the profile, of its own data set, are left out.")


def _covers(overrides: Mapping[str, Any], name: str) -> bool:
    """Return whether a setting, or a part of the profile that it is in, is set by hand."""
    return any(name == given or name.startswith(f"{given}.") for given in overrides)


#: Settings of a profile that name other tasks than its own, unset.
_OTHERS = {"faces.also_tasks": (), "win.faces.also_tasks": (), "win.faces.stacked_target": None}
#: What means something for one simulation alone is unset for any other data set.
_NOTHING_ELSEWHERE: dict[str, dict[str, Any]] = {
    "adult": {"data.records": None, "data.bias": None},
    **{
        name: {f"faces.data.{own}": None for own in TOY} for name in FACE_SETS if name != "toyfaces"
    },
}
#: How the settings of each part of the study begin.
_HALF: dict[Paper, tuple[str, ...]] = {
    "win": ("data.", "win."),
    "win-faces": ("faces.", "win.faces."),
    "aim-fair": ("faces.", "win.faces.stacked_target"),
}


def _is_parameter(name: str, value: Any) -> bool:
    if name.startswith("_") or name in IPYTHON:
        return False
    return not isinstance(value, ModuleType | FunctionType | type)


def _typed(name: str, value: Any, kind: Any) -> Any:
    if isinstance(value, str) and kind is not str:
        # Papermill's -p hands lists and mappings over as the text that was typed.
        try:
            value = yaml.safe_load(value)
        except yaml.YAMLError:
            raise SettingsError(f"parameter {name} = {value!r} cannot be read") from None
    if value is None and name != "profile":  # as the profile has it
        return None
    try:
        return TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        reasons = "; ".join(detail["msg"] for detail in error.errors())
        example = f", e.g. -p {name} '{EXAMPLES[name]}'" if name in EXAMPLES else ""
        raise SettingsError(f"parameter {name} = {value!r}: {reasons}{example}") from None
