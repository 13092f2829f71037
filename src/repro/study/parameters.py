"""Notebook parameters: checked, because Papermill lets a misspelt or mistyped one through."""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType, ModuleType
from typing import Any, get_args

import yaml
from pydantic import TypeAdapter, ValidationError

from repro.names import UnknownNameError, check_name, nearest
from repro.settings import DataSettings, SettingsError
from repro.study.profiles import load_profile
from repro.study.session import Study

#: Every parameter that a notebook may have; a notebook names those that it has.
KINDS: dict[str, Any] = {
    "profile": str,
    "seeds": list[int] | None,
    "dataset": str | None,
    "ranks": list[int] | None,
    "weights": list[float] | None,
    "architectures": list[str] | None,
    "overrides": dict[str, Any],
}
EXAMPLES = {
    "seeds": "[7]",
    "ranks": "[1, 2]",
    "weights": "[0.5, 0.9]",
    "architectures": "[mlp-3]",
    "overrides": '{"win.finetune.epochs": 5}',
}
#: Parameters whose value is a word.
TEXT = ("profile", "dataset")
#: Parameters that replace one setting of the profile.
SETTING = {
    "seeds": "seeds",
    "dataset": "data.name",
    "ranks": "win.ranks",
    "weights": "win.weights",
    "architectures": "win.architectures",
}
DATASETS = get_args(DataSettings.model_fields["name"].annotation)
#: Names that IPython itself puts into the namespace.
IPYTHON = {"In", "Out", "exit", "quit", "open", "get_ipython"}


def check(namespace: Mapping[str, Any], *names: str, notebook: str) -> Study:
    """Check the parameters of a notebook and return the study that they describe.

    Parameters
    ----------
    namespace
        ``globals()`` of the notebook, right after its parameters.
    names
        The parameters that this notebook has; ``profile`` is always one of them.
    notebook
        Its name, for the command under each figure that computes it again.

    Raises
    ------
    UnknownNameError
        For a parameter that the notebook does not have; the nearest valid one is given.
    SettingsError
        For a value of the wrong type, or out of range.
    """
    valid = dict.fromkeys(("profile", *names))
    given = {name: v for name, v in namespace.items() if _is_parameter(name, v)}
    for name in given:
        if name not in valid:
            guess = nearest(name, valid)
            hint = f"; did you mean '{guess}'?" if guess else ""
            raise UnknownNameError(
                f"this notebook has no parameter '{name}'{hint} (valid: {', '.join(valid)})"
            )
    values = {name: _typed(name, given[name]) for name in valid if name in given}
    if values.get("dataset") is not None:
        check_name("dataset", values["dataset"], DATASETS)
    overrides = dict(values.get("overrides") or {})
    if values.get("dataset") == "adult":  # the simulation's own settings mean nothing there
        overrides |= {"data.records": None, "data.bias": None}
    for name, setting in SETTING.items():
        if values.get(name) is not None:
            overrides[setting] = values[name]
    given_values = {name: v for name, v in values.items() if v not in (None, {})}
    return Study(load_profile(values["profile"], overrides), notebook, given_values)


def _is_parameter(name: str, value: Any) -> bool:
    if name.startswith("_") or name in IPYTHON:
        return False
    return not isinstance(value, ModuleType | FunctionType | type)


def _typed(name: str, value: Any) -> Any:
    if isinstance(value, str) and name not in TEXT:
        # Papermill's -p hands lists and mappings over as the text that was typed.
        try:
            value = yaml.safe_load(value)
        except yaml.YAMLError:
            raise SettingsError(f"parameter {name} = {value!r} cannot be read") from None
    try:
        return TypeAdapter(KINDS[name]).validate_python(value, strict=True)
    except ValidationError as error:
        reasons = "; ".join(detail["msg"] for detail in error.errors())
        hint = f", e.g. -p {name} '{EXAMPLES[name]}'" if name in EXAMPLES else ""
        raise SettingsError(f"parameter {name} = {value!r}: {reasons}{hint}") from None
