"""Notebook parameters: checked, because Papermill lets a misspelt or mistyped one through."""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType, ModuleType
from typing import Any, Literal, get_args

import yaml
from pydantic import TypeAdapter, ValidationError

from repro.names import UnknownNameError, check_name, nearest
from repro.settings import TOY, DataSettings, FaceData, SettingsError, SyntheticFaces
from repro.study.aim_plans import synthetic_of
from repro.study.profiles import Paper, Profile, load_profile
from repro.study.session import Study

#: Every parameter that a notebook may have; a notebook names those that it has.
KINDS: dict[str, Any] = {
    "profile": str,
    "seeds": list[int] | None,
    "dataset": str | None,
    "ranks": list[int] | None,
    "label_ranks": list[int] | None,
    "weights": list[float] | None,
    "architectures": list[str] | None,
    "target": str | None,
    "protected": str | None,
    "strategies": list[str] | None,
    "k": int | None,
    "ks": list[int] | None,
    "blocks": list[str] | None,
    "fractions": list[float] | None,
    "amounts": list[float] | None,
    "s1_ratios": list[str] | None,
    "corpus": Literal["toyfaces", "faces"],
    "train": bool,
    "overrides": dict[str, Any],
}
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
#: Parameters whose value is a word.
TEXT = ("profile", "dataset", "target", "protected", "corpus")
#: Parameters that replace one setting of the profile, by the part that the notebook is on.
SETTING: dict[Paper, dict[str, str]] = {
    "win": {
        "seeds": "seeds",
        "dataset": "data.name",
        "ranks": "win.ranks",
        "weights": "win.weights",
        "architectures": "win.architectures",
    },
    "win-faces": {
        "seeds": "win.faces.seeds",
        "dataset": "faces.data.name",
        "target": "win.faces.target",
        "protected": "win.faces.protected",
        "ranks": "win.faces.ranks",
        "label_ranks": "win.faces.label_ranks",
        "architectures": "win.faces.architectures",
    },
    "aim-fair": {
        "seeds": "faces.seeds",
        "dataset": "faces.data.name",
        "target": "faces.data.target",
        "protected": "faces.data.protected",
        "strategies": "faces.strategies",
        "k": "faces.k",
        "ks": "faces.ks",
        "blocks": "faces.blocks",
        "fractions": "faces.fractions",
        "amounts": "faces.amounts",
        "s1_ratios": "faces.s1_ratios",
    },
}
_FACES = get_args(FaceData.model_fields["name"].annotation)
DATASETS: dict[Paper, tuple[str, ...]] = {
    "win": get_args(DataSettings.model_fields["name"].annotation),
    "win-faces": _FACES,
    "aim-fair": tuple(name for name in _FACES if name != "lfwa"),  # a data set of WIN alone
}
#: Names that IPython itself puts into the namespace.
IPYTHON = {"In", "Out", "exit", "quit", "open", "get_ipython"}


def check(namespace: Mapping[str, Any], *names: str, notebook: str, paper: Paper = "win") -> Study:
    """Check the parameters of a notebook and return the study that they describe.

    Parameters
    ----------
    namespace
        ``globals()`` of the notebook, right after its parameters.
    names
        The parameters that this notebook has; ``profile`` is always one of them.
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
    overrides = dict(values.get("overrides") or {})
    dataset = values.get("dataset")
    if dataset is not None:
        check_name("dataset", dataset, DATASETS[paper])
        overrides = _of_the_data_alone(dataset, load_profile(values["profile"])) | overrides
    for name, setting in SETTING[paper].items():
        if values.get(name) is not None:
            overrides[setting] = values[name]
    given_values = {name: v for name, v in values.items() if v not in (None, {})}
    profile = load_profile(values["profile"], overrides)
    if set(values.get("strategies") or []) - {"erm"}:
        synthetic_of(profile)  # refused where there are no synthetic faces to train on
    return Study(profile, notebook, given_values, paper=paper)


def value(name: str, given: Any) -> Any:
    """Return one parameter that sets nothing of a profile, checked."""
    return _typed(name, given)


def _of_the_data_alone(dataset: str, profile: Profile) -> dict[str, Any]:
    """Return settings that follow from a data set: a simulation's own mean nothing elsewhere."""
    if dataset == "adult":
        return {"data.records": None, "data.bias": None}
    faces, found = profile.faces, dict[str, Any]()
    if dataset != "toyfaces":
        found |= {f"faces.data.{name}": None for name in TOY}
    if dataset in OWN_GENERATOR and dataset != faces.data.name:
        generator, prompts = OWN_GENERATOR[dataset]
        given = faces.synthetic or SyntheticFaces(total=faces.data.total, pool=faces.data.total)
        changed = {
            "source": "generator",
            "generator": generator,
            "prompts": prompts,
            "prompts_per_group": given.prompts_per_group or 50,
        }
        found["faces.synthetic"] = given.model_dump() | changed
    return found


#: What draws the synthetic images of a data set where the profile is made for another: toy faces
#: for toy faces, photographs for photographs, of which no head pose is known.
OWN_GENERATOR = {
    "toyfaces": ("toyfaces", "contextual with head poses"),
    "celeba": ("faces", "contextual"),
    "utkface": ("faces", "contextual"),
}


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
