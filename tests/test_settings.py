"""Settings are strict: an unknown key, a wrong type or a value out of range is an error."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from repro.names import UnknownNameError
from repro.settings import (
    TOY,
    DataSettings,
    FaceData,
    ImageOptimisation,
    Optimisation,
    SettingsError,
    Strict,
    SyntheticFaces,
    validate,
)

GOOD = {"learning_rates": [0.1], "epochs": 2, "batch_size": 8}


class Outer(Strict):
    how: Optimisation
    data: DataSettings


def test_unknown_key_names_the_nearest_and_where() -> None:
    values = {"how": {**GOOD, "epoch": 3}, "data": {"name": "adult"}}
    with pytest.raises(
        UnknownNameError, match=r"profile 'x': unknown setting 'how\.epoch'"
    ) as error:
        validate(Outer, values, "profile 'x'")
    assert "did you mean 'epochs'?" in str(error.value)
    assert "batch_size, epochs, learning_rates" in str(error.value)


def test_unknown_key_unlike_any_lists_the_valid_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown setting 'zzzz' \(valid: data, how\)"):
        validate(Outer, {"zzzz": 1}, "here")


@pytest.mark.parametrize(
    ("model", "values", "problem"),
    [
        (Optimisation, GOOD | {"learning_rates": []}, "learning_rates"),
        (Optimisation, GOOD | {"learning_rates": [0]}, "learning_rates.0 = 0"),
        (Optimisation, GOOD | {"learning_rates": [-1.0]}, "learning_rates.0"),
        (Optimisation, GOOD | {"learning_rates": [float("inf")]}, "learning_rates.0"),
        (Optimisation, GOOD | {"learning_rates": [float("nan")]}, "learning_rates.0"),
        (Optimisation, GOOD | {"epochs": 0}, "epochs = 0"),
        (Optimisation, GOOD | {"epochs": "many"}, "epochs = 'many'"),
        (Optimisation, GOOD | {"epochs": 1.5}, "epochs = 1.5"),
        (Optimisation, GOOD | {"batch_size": 0}, "batch_size = 0"),
        (Optimisation, GOOD | {"optimiser": "adamw"}, "'adam' or 'sgd'"),
        (Optimisation, GOOD | {"momentum": 1.0}, "momentum = 1.0"),
        (Optimisation, GOOD | {"weight_decay": -0.1}, "weight_decay"),
        (Optimisation, GOOD | {"weight_decay": float("nan")}, "weight_decay"),
        (ImageOptimisation, {"learning_rate": 0}, "learning_rate = 0"),
        (ImageOptimisation, {"batch_size": 1}, "batch_size = 1"),  # BatchNorm of one image
        (ImageOptimisation, {"selection": "best"}, "'accuracy', 'worst_group' or 'last'"),
        (ImageOptimisation, {"precision": "float16"}, "'float32' or 'bfloat16'"),
        (ImageOptimisation, {"smallest_crop": 0}, "smallest_crop = 0"),
        (ImageOptimisation, {"flip": 1.1}, "flip = 1.1"),
        (FaceData, {"name": "celebA"}, "unknown set of faces 'celebA'; did you mean 'celeba'"),
        (FaceData, {"name": "celeba", "size": 8}, "size = 8"),
        (FaceData, {"name": "celeba", "total": 39}, "total = 39"),
        (FaceData, {"name": "celeba", "fraction": 0}, "fraction = 0"),
        (FaceData, {"name": "celeba", "bias_ratio": 0}, "bias_ratio = 0"),
        (FaceData, {"name": "celeba", "target": "Male"}, "both 'Male'"),
        (FaceData, {"name": "celeba", "toy_seed": 0}, "a real data set has none"),
        (FaceData, {"name": "utkface", "toy_clutter": 1}, "['toy_clutter'] set the embedded"),
        (FaceData, {"name": "toyfaces", "toy_domain_gap": -1}, "toy_domain_gap = -1"),
        (SyntheticFaces, {"source": "diffusion"}, "'studio'"),
        (SyntheticFaces, {"pool": 9}, "pool = 9"),
    ],
)
def test_values_out_of_range_are_named(
    model: type[Strict], values: dict[str, Any], problem: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        validate(model, values, "here")
    assert str(raised.value).startswith("here: ")
    assert problem in str(raised.value)


def test_every_problem_is_listed() -> None:
    with pytest.raises(SettingsError, match="epochs") as raised:
        validate(Optimisation, {"learning_rates": [0.1], "epochs": 0, "batch_size": 0}, "here")
    assert "batch_size = 0" in str(raised.value)


def test_settings_cannot_be_changed() -> None:
    how = validate(Optimisation, GOOD, "here")
    with pytest.raises(ValidationError):
        how.epochs = 3  # type: ignore[misc]


@pytest.mark.parametrize("name", ["records", "bias"])
def test_adult_has_no_simulation_to_set(name: str) -> None:
    value = {"records": 2000, "bias": 0.5}[name]
    assert getattr(validate(DataSettings, {"name": "toycensus", name: value}, "x"), name) == value
    with pytest.raises(SettingsError, match="Adult has none to set"):
        validate(DataSettings, {"name": "adult", name: value}, "x")


def test_too_few_records_are_refused() -> None:
    with pytest.raises(SettingsError, match="records = 999"):
        validate(DataSettings, {"name": "toycensus", "records": 999}, "x")


def test_what_draws_the_toy_faces_is_optional_and_theirs_alone() -> None:
    plain = validate(FaceData, {"name": "toyfaces"}, "x")
    assert {getattr(plain, name) for name in TOY} == {None}
    fields = {name for name in FaceData.model_fields if name.startswith("toy_")}
    assert set(TOY) == fields  # one more of them is also refused for real data
    for name in TOY:
        assert getattr(validate(FaceData, {"name": "toyfaces", name: 2}, "x"), name) == 2
        with pytest.raises(SettingsError, match="a real data set has none of them"):
            validate(FaceData, {"name": "celeba", name: 2}, "x")
