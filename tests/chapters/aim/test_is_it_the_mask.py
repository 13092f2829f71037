"""Chapter 37: what the controls train, and what is said of them."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from scipy import stats
from tests.chapters.aim.measurements import mask_by_hand
from tests.chapters.conftest import without
from tests.conftest import Computed, MakeRecord
from torch import Tensor, nn

from repro import vision
from repro.chapters.aim import is_it_the_mask
from repro.chapters.aim.configs import FaceTuning
from repro.chapters.aim.data import synthetic_faces
from repro.chapters.aim.is_it_the_mask import controls
from repro.chapters.aim.stages import measure_importance, trained_model
from repro.settings import SettingsError
from repro.study.profiles import load_profile
from repro.study.records import Results
from repro.study.runs import WEIGHTS, Record
from repro.study.session import View
from repro.study.stages import obtain
from repro.study.tables import Html

ARMS = (
    *("random 0", "random parameters 0", "importance mask"),
    *("batchnorm affine", "batchnorm statistics"),
)


def weights(record: Record) -> dict[str, Tensor]:
    return load_file(record.file(WEIGHTS))


@pytest.fixture(scope="module")
def results(computed: Computed) -> Results:
    plan = controls(computed.profile, computed.profile.seeds)
    return {key: [obtain(config, computed.runs) for config in plan[key]] for key in plan}


def moved(results: Results, key: str, seed: int) -> set[str]:
    """Return the parameters and buffers that a control changed, by comparing weights."""
    before, after = weights(results["erm"][seed]), weights(results[key][seed])
    return {name for name in before if not torch.equal(before[name], after[name])}


def parameters(record: Record) -> dict[str, int]:
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    return {n: t.numel() for n, t in weights(record).items() if not n.endswith(buffers)}


def test_the_plan_has_what_the_profile_names(results: Results) -> None:
    assert list(results) == ["erm", "fully fine-tuning", "mask", *ARMS]
    assert controls(load_profile("paper"), [0]) == {}
    fewer = load_profile("smoke", {"faces.controls": ["batchnorm affine"]})
    assert list(controls(fewer, [0]))[3:] == ["batchnorm affine"]
    without_mask = load_profile("smoke", {"faces.strategies": ["erm", "fully fine-tuning"]})
    assert controls(without_mask, [0]) == {}
    with pytest.raises(SettingsError, match="'batchnorm'; did you mean 'batchnorm affine'"):
        load_profile("smoke", {"faces.controls": ["batchnorm"]})


def test_each_control_trains_what_it_says(results: Results, computed: Computed) -> None:
    for seed, measured in enumerate(computed.masks["train, augmented"]):
        sizes = parameters(results["erm"][seed])
        mask = mask_by_hand(measured, 40, kind="absolute")
        of_batchnorm = {n for n in sizes if "bn" in n or "downsample.1" in n}
        assert len(of_batchnorm) == 40
        trained = {key: moved(results, key, seed) & sizes.keys() for key in ARMS}
        assert len(trained["random 0"]) == len(mask)
        assert trained["batchnorm affine"] == of_batchnorm
        assert trained["batchnorm statistics"] == set()
        wanted, got = (sum(sizes[n] for n in names) for names in (mask, trained[ARMS[1]]))
        assert trained[ARMS[1]] != mask
        # Never more, and short by less than the smallest tensor that is left out.
        assert 0 <= wanted - got < min(sizes[n] for n in sizes.keys() - trained[ARMS[1]])
        for key in ARMS:
            record = results[key][seed]
            assert set(record.results["trained_tensors"]) == trained[key]
            assert record.results["trainable_parameters"] == sum(sizes[n] for n in trained[key])


def test_the_mask_by_importance_is_of_the_groups_of_the_synthetic_images(
    results: Results, computed: Computed
) -> None:
    config = controls(computed.profile, computed.profile.seeds)["importance mask"][0]
    assert isinstance(config, FaceTuning)
    assert config.importance is not None
    of_all = config.importance.model_copy(update={"images": None})
    measured, model = measure_importance(of_all, computed.runs), results["erm"][0]
    balanced = synthetic_faces(config.pretrained.data, config.synthetic, seed=config.seed).balanced
    head = []  # of the head's bias the gradient is the residual, sigmoid(z) - t
    logits = vision.predict(trained_model(config.pretrained, model), balanced, precision="float32")
    for p in (1, 0):
        of_group = balanced.protected == p
        residual = torch.sigmoid(logits[of_group]) - balanced.target[of_group]
        head.append(float(residual.square().mean().sqrt()))
    at = measured.results["tensors"].index("fc.bias")
    assert measured.results["fairness"][at] == pytest.approx(abs(head[0] - head[1]), rel=1e-3)
    assert [group[at] for group in measured.results["importance"]] == pytest.approx(head, rel=1e-3)
    # The mask, of the images that the profile allows.
    recorded, sensitivity = (
        obtain(config.importance, computed.runs),
        computed.masks["train, augmented"][0],
    )
    absolute = sensitivity.results["draws"][0]["absolute"]["domain"]
    names, gaps, k = recorded.results["tensors"], recorded.results["fairness"], config.k
    assert k is not None
    small = sorted(range(len(names)), key=lambda i: absolute[i])[:k]
    large = sorted(range(len(names)), key=lambda i: -gaps[i])[:k]
    trained = {names[i] for i in set(small) & set(large)}
    assert set(results["importance mask"][0].results["trained_tensors"]) == trained


def test_statistics_alone_are_the_averages_of_one_pass(
    results: Results, computed: Computed
) -> None:
    """By hand: what reaches each BatchNorm layer in training mode, batch by batch."""
    (record, *_) = results["batchnorm statistics"]
    config = controls(computed.profile, computed.profile.seeds)["batchnorm statistics"][0]
    assert isinstance(config, FaceTuning)
    model = trained_model(config.pretrained, results["erm"][0])
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor]) -> None:
            channels = inputs[0].detach().transpose(0, 1).flatten(1)
            seen.setdefault(name, []).append((channels.mean(1), channels.var(1, unbiased=True)))

        return hook

    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(note(name))
    sets = synthetic_faces(config.pretrained.data, config.synthetic, seed=config.seed)
    given = vision.batches(
        sets.balanced, config.optimisation, seed=config.seed, epoch=1, purpose=config.stage
    )
    model.train()
    with torch.no_grad():
        batches = [model(inputs) for inputs, _ in given]
    assert len(batches) > 1
    after = weights(record)
    assert len(seen) == 20
    for name, both in seen.items():
        for at, buffer in enumerate(("running_mean", "running_var")):
            mean = torch.stack([pair[at] for pair in both]).mean(0)
            torch.testing.assert_close(after[f"{name}.{buffer}"], mean, rtol=1e-4, atol=1e-5)
    assert record.results["epoch"] == 1
    assert record.moved(results["erm"][0])


# What is said


#: key -> of 1000 people in group (1,1) how many are right in two seeds; all others always are.
ROWS = {
    "erm": (200, 300),
    "fully fine-tuning": (600, 700),
    "mask": (800, 900),
    "random 0": (500, 700),
    "random 1": (700, 500),
    "random parameters 0": (600, 600),
    "batchnorm affine": (500, 600),
    "batchnorm statistics": (350, 450),
}


@pytest.fixture
def view(made_up: MakeRecord) -> View:
    found = {
        key: [
            made_up(
                seed,
                (0, 0, 1000, n),
                strategy=key.rstrip(" 01"),
                results={
                    "training_images": [[10, 10], [10, 10]],
                    # The mask trains three tensors, every other setting some of them.
                    "trained_tensors": ["a", "b", "c"][: 3 if key == "mask" else n // 250],
                    "trainable_parameters": n,
                },
            )
            for seed, n in enumerate(right)
        ]
        for key, right in ROWS.items()
    }
    named = ["random", "random parameters", "batchnorm affine", "batchnorm statistics"]
    profile = load_profile("desk", {"faces.controls": named})
    return View("data", found, "again", profile, "aim-fair")


def test_draws_of_one_kind_are_one_arm(view: View) -> None:
    assert is_it_the_mask.arms(view.profile, view.results) == {
        "random": ("random 0", "random 1"),
        "random parameters": ("random parameters 0",),
        "batchnorm affine": ("batchnorm affine",),
        "batchnorm statistics": ("batchnorm statistics",),
    }
    _, table = is_it_the_mask.seed_by_seed(view)
    assert isinstance(table, pd.DataFrame)
    # SFT is right 850 times of 1000, random draws 600 on average, in each seed 200 and 300 fewer.
    odds = dict(zip(table["difference"], table["EO (max)"], strict=True))
    assert odds["SFT − random tensors, mean of 2 draws"].startswith("-25.00 [")
    assert odds["SFT − BatchNorm statistics alone"] == "-45.00 [-45.00, -45.00]"
    assert len(odds) == 4


def test_what_part_of_the_gain_each_control_has(view: View) -> None:
    _, table = is_it_the_mask.of_the_gain(view)
    assert isinstance(table, pd.DataFrame)
    parts = dict(zip(table["setting"], table["part of SFT's"], strict=True))
    # The gain is 60 points of accuracy of group (1,1), of 25 right in 100.
    assert parts == {
        "SFT": "100 %",
        "random tensors, mean of 2 draws": "58 %",
        "random tensors of as many parameters": "58 %",
        "BatchNorm tensors alone": "50 %",
        "BatchNorm statistics alone": "25 %",
    }
    beyond = dict(zip(table["setting"], table["EO (max): SFT − it"], strict=True))
    assert beyond["SFT"] == ""
    assert beyond["BatchNorm statistics alone"] == "-45.00 [-45.00, -45.00]"
    # 20 points of group (1,1) in one seed, 30 in the other.
    low, high = stats.ttest_1samp([-20, -30], 0).confidence_interval()
    assert beyond["random tensors of as many parameters"] == f"-25.00 [{low:.2f}, +{high:.2f}]"
    gains = dict(zip(table["setting"], table["gain over ERM"], strict=True))
    assert gains["BatchNorm statistics alone"] == "15.00"


def test_what_a_control_shares_with_the_mask_is_said(view: View) -> None:
    table = is_it_the_mask.what_trained(view)
    shared = dict(zip(table["setting"], table["shared with the mask of SFT"], strict=True))
    assert shared["SFT"] == "3"
    assert shared["ERM"] == "0 – 1"
    assert shared["random tensors, draw 2"] == "2"
    assert "shared" not in " ".join(is_it_the_mask.what_trained(without(view, "mask")).columns)
    folded = is_it_the_mask.results(view)[-1]
    assert isinstance(folded, Html)
    assert "<td>0 – 1</td>" in folded.text


def test_of_no_gain_there_is_no_part(view: View) -> None:
    none = View(
        view.label, {**view.results, "mask": view.results["erm"]}, "again", view.profile, "aim-fair"
    )
    (said,) = is_it_the_mask.of_the_gain(none)
    assert "has no gain over ERM" in str(said)
    assert is_it_the_mask.of_the_gain(without(view, "mask")) == []


def test_every_setting_is_shown_by_its_words(view: View) -> None:
    names = is_it_the_mask.names(view)
    assert names["random 1"] == "random tensors, draw 2"
    assert names["random parameters 0"] == "random tensors of as many parameters"
    assert list(names)[:3] == ["erm", "fully fine-tuning", "mask"]
    assert names.keys() == view.results.keys()
    table = is_it_the_mask.what_trains(view.profile)
    assert len(table) == 4
    assert is_it_the_mask.results(View("data", {}, "again", view.profile, "aim-fair"))[0] == (
        "**data**: no control is among these runs."
    )
