"""AIM-Fair's stages train and measure what they say, and go on where they were killed."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.chapters.aim.measurements import mask_by_hand
from tests.conftest import Computed
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from repro import vision
from repro.aimfair.mask import EmptyMaskError, entry_k
from repro.chapters.aim import plans as aim_plans
from repro.chapters.aim import stages as aim_stages
from repro.chapters.aim.configs import FaceTraining, FaceTuning, Sensitivity
from repro.chapters.aim.data import real_faces, synthetic_faces
from repro.chapters.aim.recorded_masks import mask
from repro.chapters.aim.stages import chosen_tensors, initial_model, trained_model
from repro.layout import layout_of
from repro.metrics import metrics_from_counts
from repro.models import WeightsError, image_classifier
from repro.names import UnknownNameError
from repro.settings import SettingsError
from repro.study import checkpoints
from repro.study.checkpoints import Checkpoint
from repro.study.profiles import Profile, load_profile
from repro.study.runs import WEIGHTS, Record, RunError, Runs
from repro.study.stages import obtain
from repro.training import TrainingError
from repro.vision import Progress

TUNED = (
    *("linear probing", "fully fine-tuning", "mask", "cosine mask", "random 0"),
    *("update layer4", "freeze layer4", "freeze fc"),
)
BIASED, BALANCED = [[8, 72], [72, 8]], [[40, 40], [40, 40]]


def weights(record: Record) -> dict[str, Tensor]:
    return load_file(record.file(WEIGHTS))


def base_of(record: Record, computed: Computed) -> Record:
    """Return the run that a fine-tuned one started from."""
    (found,) = [
        r for r in computed.table_3["erm"] if r.run == record.body["upstream"]["pretrained"]
    ]
    return found


def tuned(computed: Computed, key: str) -> list[Record]:
    return computed.rules.get(key) or computed.table_3[key]


def differing(first: Record, second: Record) -> set[str]:
    """Return the names of parameters and buffers that two runs do not share bit for bit."""
    a, b = weights(first), weights(second)
    assert a.keys() == b.keys()
    return {name for name in a if not torch.equal(a[name], b[name])}


#: Every parameter tensor of the classifier, in its order.
TENSORS = [n for n, _ in image_classifier("resnet18", width=4, seed=0).named_parameters()]


# What trains


@pytest.mark.parametrize("key", TUNED)
def test_only_the_chosen_tensors_train(computed: Computed, key: str) -> None:
    for record in tuned(computed, key):
        base = base_of(record, computed)
        moved = differing(base, record) & set(TENSORS)
        assert moved == set(record.results["trained_tensors"])
        sizes = {name: weights(base)[name].numel() for name in TENSORS}
        assert record.results["trainable_parameters"] == sum(sizes[name] for name in moved)
        share = record.results["trainable_parameters"] / sum(sizes.values())
        assert record.results["share_of_parameters"] == pytest.approx(share)
        assert record.results["share_of_tensors"] == pytest.approx(len(moved) / 62)
        assert record.results["training_images"] == BALANCED


def test_which_tensors_a_strategy_chooses(computed: Computed) -> None:
    everything = set(TENSORS)
    assert len(everything) == 62

    def trained(key: str, seed: int = 0) -> set[str]:
        return set(tuned(computed, key)[seed].results["trained_tensors"])

    head = {"fc.weight", "fc.bias"}
    last = {name for name in everything if name.startswith("layer4.")}
    assert trained("linear probing") == head
    assert trained("fully fine-tuning") == everything
    assert trained("freeze fc") == everything - head
    assert trained("freeze layer4") == everything - last
    assert trained("update layer4") == last
    for seed, measured in enumerate(computed.masks["train, augmented"]):
        for key, kind in (("mask", "absolute"), ("cosine mask", "cosine")):
            assert trained(key, seed) == mask_by_hand(measured, 40, kind=kind)
        mask, random = trained("mask", seed), trained("random 0", seed)
        assert len(random) == len(mask) < 62
        assert random != mask


def test_random_tensors_are_drawn_by_draw_and_seed(computed: Computed) -> None:
    profile, found = computed.profile, []
    for seed in (0, 1):
        base = aim_plans.training(profile, seed)
        record = computed.runs.find(base)
        assert record is not None
        model = trained_model(base, record)
        for draw in (0, 0, 1):
            config = aim_plans.tuning(profile, base, "random", draw=draw)
            found.append(chosen_tensors(config, model, computed.runs))
    assert found[0] == found[1]
    assert found[0] == set(computed.rules["random 0"][0].results["trained_tensors"])
    assert len({found[0], found[2], found[3], found[5]}) == 4


# Statistics of BatchNorm


def batchnorms(record: Record) -> dict[str, set[str]]:
    """Return what belongs to each BatchNorm layer, parameters and statistics."""
    layers = {n.removesuffix(".running_mean") for n in weights(record) if n.endswith("_mean")}
    assert len(layers) == 20
    return {layer: {n for n in weights(record) if n.startswith(f"{layer}.")} for layer in layers}


@pytest.mark.parametrize("key", ["linear probing", "mask"])
def test_statistics_of_frozen_layers_move_or_are_frozen(computed: Computed, key: str) -> None:
    for seed in range(3):
        frozen_layers = 0
        for statistics in ("move", "freeze"):
            record = computed.everything[f"switches: {key}, statistics {statistics}"][seed]
            moved = differing(base_of(record, computed), record)
            trained = set(record.results["trained_tensors"])
            for names in batchnorms(record).values():
                own = {n for n in names if "running_" in n or "num_batches" in n}
                assert len(own) == 3
                frozen = not names & trained
                frozen_layers += frozen
                if statistics == "freeze" and frozen:
                    assert not own & moved
                else:
                    assert own <= moved
        assert frozen_layers > 0  # else this has shown nothing
    moving = computed.everything[f"switches: {key}, statistics move"]
    assert [r.run for r in moving] == [r.run for r in computed.table_3[key]]


def test_frozen_tensors_decay_where_a_run_says_so(computed: Computed) -> None:
    how = computed.profile.faces.finetune
    for still, decayed in zip(
        computed.table_3["mask"], computed.everything["switches: mask, frozen tensors decay"],
        strict=True,
    ):  # fmt: skip
        base = base_of(still, computed)
        assert still.results["trained_tensors"] == decayed.results["trained_tensors"]
        frozen = set(TENSORS) - set(still.results["trained_tensors"])
        assert frozen
        before, after = weights(base), weights(decayed)
        # The oracle: the momentum recursion on a tensor of ones, as long as the kept epoch took.
        value, speed = 1.0, 0.0
        steps = -(-160 // how.batch_size) * decayed.results["epoch"]
        for _ in range(steps):
            speed = how.momentum * speed + how.weight_decay * value
            value -= how.learning_rate * speed
        for name in frozen:
            assert np.allclose(after[name], before[name] * value, rtol=1e-5, atol=1e-9)
            assert np.array_equal(weights(still)[name], before[name])


def test_linear_probing_with_frozen_statistics_changes_the_head_alone(computed: Computed) -> None:
    for record in computed.everything["switches: linear probing, statistics freeze"]:
        assert differing(base_of(record, computed), record) == {"fc.weight", "fc.bias"}


# What a record holds


def test_training_images_are_those_of_the_strategy(computed: Computed) -> None:
    for key, counts in (
        ("erm", BIASED),
        ("synthetic only", BALANCED),
        ("supplementation", [[48, 112], [112, 48]]),
        ("repairing", [[72, 72], [72, 72]]),
    ):
        for record in computed.table_3[key]:
            assert record.results["training_images"] == counts
            assert record.results["trained_tensors"] == TENSORS
    for record in computed.everything["properties: balanced real"]:
        assert record.results["training_images"] == BALANCED
    half = computed.everything["less_real_data: 50 %, erm"][0]
    assert half.results["training_images"] == [[4, 36], [36, 4]]
    # It is the real images that become fewer; the synthetic ones are as many.
    assert (
        computed.everything["less_real_data: 50 %, mask"][0].results["training_images"] == BALANCED
    )


@pytest.mark.parametrize("key", ["erm", "synthetic only", *TUNED])
def test_stored_weights_give_the_stored_predictions(computed: Computed, key: str) -> None:
    record = tuned(computed, key)[1]
    base = aim_plans.training(computed.profile, 1)
    model = trained_model(base, record)
    test = real_faces(base.data).test
    table = record.predictions()
    assert table["example"].tolist() == test.names.tolist()
    assert table["target"].tolist() == test.target.tolist()
    assert table["protected"].tolist() == test.protected.tolist()
    logits = vision.predict(model, test, precision="bfloat16")
    assert table["score"].tolist() == torch.sigmoid(logits.double()).tolist()
    record.verify()  # the counts are those of the predictions


def test_before_is_the_upstream_run_on_the_test_part(computed: Computed) -> None:
    for key in TUNED:
        for record in tuned(computed, key):
            assert np.array_equal(record.counts("before"), base_of(record, computed).counts("test"))
    for record in computed.everything["less_real_data: 50 %, mask"]:
        (half,) = [
            r for r in computed.everything["less_real_data: 50 %, erm"]
            if r.run == record.body["upstream"]["pretrained"]
        ]  # fmt: skip
        assert np.array_equal(record.counts("before"), half.counts("test"))


# Sensitivities


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As runs are computed: sums in another order are other sums, which BatchNorm amplifies."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("way", ["train, augmented", "eval, augmented", "eval, plain"])
def test_sensitivities_are_those_of_the_loaded_model(computed: Computed, way: str) -> None:
    seed = 1
    record = computed.masks[way][seed]
    base = aim_plans.training(computed.profile, seed)
    trained = computed.runs.find(base)
    assert record.body["upstream"] == {"pretrained": trained.run}
    model = trained_model(base, trained)
    settings = computed.profile.faces
    assert settings.synthetic is not None
    real, sets = real_faces(base.data), synthetic_faces(base.data, settings.synthetic, seed=seed)
    parts = {"R": real.train, "S1": sets.biased, "S2": sets.balanced}
    for draw in (0, 1):
        gradients = {}
        for name, faces in parts.items():
            sums = {n: torch.zeros_like(p) for n, p in model.named_parameters()}
            given = vision.batches(
                faces, settings.pretrain, seed=seed, epoch=draw, purpose=f"gradients on {name}",
                augmented=way.endswith("augmented"), limit=2,
                layout=layout_of(model),
            )  # fmt: skip
            for inputs, target in given:
                model.train(way.startswith("train"))
                model.zero_grad()
                logits = model(inputs).reshape(-1)
                binary_cross_entropy_with_logits(logits, target.float()).backward()
                for n, p in model.named_parameters():
                    assert p.grad is not None
                    sums[n] += p.grad / 2
            gradients[name] = sums
        found = record.results["draws"][draw]
        for what, first, second in (("domain", "R", "S1"), ("fairness", "S1", "S2")):
            pairs = [(gradients[first][n], gradients[second][n]) for n in record.results["tensors"]]
            absolute = [float((a.double() - b.double()).abs().mean()) for a, b in pairs]
            np.testing.assert_allclose(found["absolute"][what], absolute, rtol=1e-4)
            cosine = [
                1 - float(nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0))
                for a, b in pairs
            ]
            np.testing.assert_allclose(found["cosine"][what], cosine, atol=2e-5)
    assert len(record.results["draws"]) == 2
    # The mask that trains is the first draw's; another draw has other gradients.
    assert record.results["draws"][0] != record.results["draws"][1]
    assert mask(record, 40) == mask_by_hand(record, 40)
    assert mask(record, 40, kind="cosine") == mask_by_hand(record, 40, kind="cosine")


def test_a_sensitivity_record_describes_the_tensors(computed: Computed) -> None:
    record = computed.masks["train, augmented"][0]
    base = computed.table_3["erm"][0]
    assert record.results["tensors"] == TENSORS
    sizes = [weights(base)[name].numel() for name in record.results["tensors"]]
    assert record.results["parameters"] == sizes
    kinds = dict(zip(record.results["tensors"], record.results["kinds"], strict=True))
    assert (kinds["conv1.weight"], kinds["bn1.bias"]) == ("conv", "batchnorm bias")
    assert (kinds["fc.weight"], kinds["fc.bias"]) == ("linear weight", "linear bias")
    assert np.array_equal(record.counts("test"), base.counts("test"))
    stored = weights(record)
    for kind, both in record.results["draws"][0].items():
        for what, values in both.items():
            assert stored[f"{kind}.{what}"].tolist() == values


# Trainings of several epochs


@dataclass(frozen=True)
class Longer:
    """A pre-training and a fine-tuning of three epochs each, with what they build on."""

    profile: Profile
    runs: Runs
    base: FaceTraining
    tuning: FaceTuning

    def record(self, config: FaceTraining | FaceTuning) -> Record:
        found = self.runs.find(config)
        assert found is not None
        return found

    def upstream_of(self, config: FaceTraining | FaceTuning, folder: Path) -> Runs:
        """Copy what a run builds on, and nothing else, to another folder of runs."""
        runs = Runs(folder)
        for upstream in config.upstream().values():
            shutil.copytree(self.runs.root / upstream.identity, runs.root / upstream.identity)
        return runs


@pytest.fixture(scope="module")
def longer(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Longer:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRO_ROOT", str(tiny_root))
        three = {"faces.pretrain.epochs": 3, "faces.finetune.epochs": 3}
        profile = load_profile("tiny", three)
    runs = Runs(tmp_path_factory.mktemp("longer"))
    base = aim_plans.training(profile, 7)
    tuning = aim_plans.tuning(profile, base, "mask")
    obtain(tuning, runs)
    return Longer(profile, runs, base, tuning)


def accuracy(counts: Any) -> float:
    table = np.asarray(counts)
    return float((table[0, :, 0].sum() + table[1, :, 1].sum()) / table.sum())


def worst_group(counts: Any) -> float:
    table = np.asarray(counts, dtype=float)
    return float(min(table[t, p, t] / table[t, p].sum() for t in (0, 1) for p in (0, 1)))


@pytest.mark.parametrize("which", ["base", "tuning"])
def test_every_epoch_is_in_the_history(longer: Longer, which: str) -> None:
    record = longer.record(getattr(longer, which))
    history, real = record.body["history"], real_faces(longer.base.data)
    assert len(history) == 3
    for entry in history:
        for part, faces in (("validation", real.validation), ("test", real.test)):
            table = np.asarray(entry["counts"][part])
            for t in (0, 1):
                for p in (0, 1):
                    here = (faces.target == t) & (faces.protected == p)
                    assert table[t, p].sum() == int(here.sum())
        assert np.isfinite(entry["loss"])
    validation = [entry["counts"]["validation"] for entry in history]
    kept = record.results["kept_by"]
    expected = {"last": 3}
    for rule, value in (("accuracy", accuracy), ("worst_group", worst_group)):
        values = [value(table) for table in validation]
        best = [epoch for epoch, v in enumerate(values, start=1) if v == max(values)]
        # Of epochs that are as good pre-training keeps the last, fine-tuning the first.
        expected[rule] = best[-1] if which == "base" else best[0]
    assert kept == expected
    assert record.results["epoch"] == kept["accuracy"]
    for part in ("validation", "test"):
        at = history[record.results["epoch"] - 1]["counts"][part]
        assert record.counts(part).tolist() == at
        assert metrics_from_counts(np.asarray(at))["accuracy"] == pytest.approx(accuracy(at))


@pytest.mark.parametrize("rule", ["worst_group", "last"])
def test_another_rule_keeps_another_epoch_of_the_same_training(
    longer: Longer, rule: str, tmp_path: Path
) -> None:
    how = longer.base.optimisation.model_copy(update={"selection": rule})
    other = obtain(longer.base.model_copy(update={"optimisation": how}), Runs(tmp_path))
    known = longer.record(longer.base)
    assert other.body["history"] == known.body["history"]
    assert other.results["epoch"] == known.results["kept_by"][rule]
    at = known.body["history"][other.results["epoch"] - 1]["counts"]["test"]
    assert other.counts("test").tolist() == at
    other.verify()


def test_the_same_seed_elsewhere_is_the_same_bit_for_bit(longer: Longer, tmp_path: Path) -> None:
    again = Runs(tmp_path)
    obtain(longer.tuning, again)
    assert longer.tuning.sensitivity is not None
    for config in (longer.base, longer.tuning.sensitivity, longer.tuning):
        known, other = longer.runs.find(config), again.find(config)
        for key in ("counts", "results", "history", "files"):  # files by sha256: weights, scores
            assert other.body[key] == known.body[key], key
    another = obtain(aim_plans.training(longer.profile, 8), again)
    assert differing(another, longer.record(longer.base)) >= set(TENSORS)


class Killed(Checkpoint):
    """A checkpoint after every epoch, and a process that is killed after the first."""

    after = 1

    def __init__(self, path: Path, **given: Any) -> None:
        super().__init__(path, **{**given, "every": 0})

    def save(self, progress: Progress) -> None:
        super().save(progress)
        if progress.epoch == self.after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("after", [1, 3])
@pytest.mark.parametrize("which", ["base", "tuning"])
def test_a_killed_run_goes_on_and_is_the_run_that_was_not_killed(
    longer: Longer, which: str, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = getattr(longer, which)
    runs = longer.upstream_of(config, tmp_path / "runs")
    before = {record.run for record in runs.records()}
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "Checkpoint", Killed)
        patch.setattr(Killed, "after", after)
        with pytest.raises(KeyboardInterrupt):
            obtain(config, runs)
    assert runs.find(config) is None
    assert {record.run for record in runs.records()} == before  # a checkpoint is no run
    checkpoint = runs.root / ".checkpoints" / f"{config.identity}.safetensors"
    assert checkpoint.is_file()

    begun: list[int] = []
    one_epoch: Callable[..., float] = vision._one_epoch

    def counted(*args: Any, **others: Any) -> float:
        begun.append(1)
        return one_epoch(*args, **others)

    monkeypatch.setattr(vision, "_one_epoch", counted)
    again = obtain(config, runs)
    assert len(begun) == 3 - after
    known = longer.record(config)
    for key in ("counts", "history", "files"):
        assert again.body[key] == known.body[key], key
    # The record says that it was resumed, is found as the same run, and differs in nothing else.
    assert again.results == known.results | {"resumed_after_epoch": after}
    assert known.results["resumed_after_epoch"] is None
    assert again.run == known.run == config.identity
    assert not checkpoint.exists()


def test_checkpoints_that_cannot_be_written_cost_no_run(
    longer: Longer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "Checkpoint", partial(Checkpoint, every=0))
    (tmp_path / ".checkpoints").write_text("not a folder", encoding="utf-8")
    again = obtain(longer.base, Runs(tmp_path))
    assert again.body["files"] == longer.record(longer.base).body["files"]


# What cannot be done


def files(root: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.parent.name != ".locks"
    }


def test_a_k_out_of_range_is_said_and_earlier_runs_stay(longer: Longer) -> None:
    before = files(longer.runs.root)
    for k in (63, 1000, 0, -1):
        with pytest.raises(SettingsError, match=rf"k = {k} is out of range: .* runs from 1 to 62"):
            aim_plans.tuning(longer.profile, longer.base, "mask", k=k)
        # And where a configuration was made otherwise, the stage itself refuses it.
        config = longer.tuning.model_copy(update={"k": k})
        with pytest.raises(ValueError, match=rf"k must be .* in 1\.\.62, .* not {k}"):
            obtain(config, longer.runs)
    assert files(longer.runs.root) == before


def test_an_empty_mask_gives_the_smallest_k_and_earlier_runs_stay(longer: Longer) -> None:
    assert longer.tuning.sensitivity is not None
    measured = longer.runs.find(longer.tuning.sensitivity)
    values, names = measured.results["draws"][0]["absolute"], measured.results["tensors"]
    ranked = [dict(zip(names, values[what], strict=True)) for what in ("domain", "fairness")]
    smallest = min(entry_k(*ranked).values())
    assert smallest > 1
    before = files(longer.runs.root)
    for strategy in ("mask", "random"):  # random tensors are as many as the mask has
        draw = 0 if strategy == "random" else None
        config = aim_plans.tuning(longer.profile, longer.base, strategy, k=smallest - 1, draw=draw)
        with pytest.raises(EmptyMaskError, match=f"smallest k with a mask is {smallest} "):
            obtain(config, longer.runs)
    assert files(longer.runs.root) == before


def test_an_unknown_block_names_the_nearest(longer: Longer) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown block 'layer5'; did you mean 'layer\d'"):
        aim_plans.tuning(longer.profile, longer.base, "freeze", block="layer5")
    known = aim_plans.tuning(longer.profile, longer.base, "freeze", block="layer4")
    with pytest.raises(UnknownNameError, match=r"unknown block 'layer5'; did you mean 'layer\d'"):
        obtain(known.model_copy(update={"block": "layer5"}), longer.runs)


@pytest.mark.parametrize(
    ("strategy", "given", "message"),
    [
        ("mask", {"block": "fc"}, "'mask' has no block"),
        ("mask", {"draw": 1}, "'mask' has no draw"),
        ("random", {}, "'random' needs draw"),
        ("freeze", {}, "'freeze' needs block"),
        ("linear probing", {"draw": 0}, "'linear probing' has no draw"),
        ("synthetic only", {}, "strategy"),
    ],
)
def test_a_setting_that_a_strategy_does_not_read_is_refused(
    longer: Longer, strategy: str, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        aim_plans.tuning(longer.profile, longer.base, strategy, **given)


@pytest.mark.parametrize("which", ["base", "tuning"])
def test_a_diverging_loss_is_a_clear_error(longer: Longer, which: str, tmp_path: Path) -> None:
    config = getattr(longer, which)
    how = config.optimisation.model_copy(update={"learning_rate": 1e30})
    runs = longer.upstream_of(config, tmp_path / "runs")
    before = files(runs.root)
    with pytest.raises(TrainingError, match=r"loss is (nan|inf) in epoch 1.*smaller learning_rate"):
        obtain(config.model_copy(update={"optimisation": how}), runs)
    assert files(runs.root) == before


@pytest.mark.parametrize("stage", ["train", "measure", "tune"])
def test_other_images_than_declared_are_refused_before_anything_is_trained(
    longer: Longer, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config: FaceTraining | Sensitivity | FaceTuning = {
        "train": longer.base.model_copy(update={"seed": 99}),
        "measure": aim_plans.sensitivity(longer.profile, longer.base, mode="eval"),
        "tune": aim_plans.tuning(longer.profile, longer.base, "linear probing"),
    }[stage]

    def other(data: Any, **given: Any) -> Any:
        return dataclasses.replace(real_faces(data, **given), sha256={"toyfaces camera": "0" * 64})

    monkeypatch.setattr(aim_stages, "real_faces", other)
    monkeypatch.setattr(vision, "batches", lambda *_, **__: pytest.fail("something is trained"))
    with pytest.raises(RunError, match="are not those that the run declares") as raised:
        obtain(config, longer.runs)
    assert config.label in str(raised.value)
    assert longer.runs.find(config) is None


def test_a_stage_needs_what_it_builds_on(longer: Longer, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=f"run {longer.base.identity} is not there to build on"):
        aim_stages.tune(longer.tuning, Runs(tmp_path))


# Weights from a file


def of_file(longer: Longer, path: Path, **overrides: Any) -> Profile:
    given = {"initialisation": "file", "weights_file": str(path), **overrides}
    return aim_plans.with_faces(longer.profile, **given)


def store(path: Path, seed: int = 42, **changed: Any) -> dict[str, Tensor]:
    path.parent.mkdir(exist_ok=True)
    model = image_classifier(**{"architecture": "resnet18", "width": 4, "seed": seed, **changed})
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, path)
    return state


def test_a_run_is_known_by_what_its_file_holds_and_not_by_where_it_lies(
    longer: Longer, tmp_path: Path
) -> None:
    first, second = tmp_path / "a" / "w.safetensors", tmp_path / "b" / "other.safetensors"
    store(first)
    store(second)
    configs = [aim_plans.training(of_file(longer, path), 7) for path in (first, second)]
    assert configs[0].identity == configs[1].identity
    assert configs[0].identity != longer.base.identity
    assert str(tmp_path) not in str(configs[0].describe())
    tunings = [aim_plans.tuning(of_file(longer, first), config, "mask") for config in configs]
    assert tunings[0].identity == tunings[1].identity
    store(second, seed=43)  # another content in the same place
    changed = aim_plans.training(of_file(longer, second), 7)
    assert changed.identity != configs[0].identity


def test_training_starts_from_the_file_and_what_follows_does_not_need_it(
    longer: Longer, tmp_path: Path
) -> None:
    path = tmp_path / "w.safetensors"
    state = store(path)
    profile = of_file(longer, path)
    base = aim_plans.training(profile, 7)
    start = initial_model(base, longer.runs).state_dict()
    assert all(torch.equal(start[name], tensor) for name, tensor in state.items())
    runs = Runs(tmp_path / "runs")
    record = obtain(base, runs)
    assert "weights_file" not in record.config
    assert str(tmp_path) not in str(record.body["config"])
    tuning = aim_plans.tuning(profile, base, "linear probing")
    path.unlink()
    assert obtain(tuning, runs).body["upstream"]["pretrained"] == record.run


def test_a_file_that_changed_since_the_run_was_planned_is_refused(
    longer: Longer, tmp_path: Path
) -> None:
    path = tmp_path / "w.safetensors"
    store(path)
    base = aim_plans.training(of_file(longer, path), 7)
    store(path, seed=43)
    with pytest.raises(WeightsError, match="as when the run was planned"):
        obtain(base, Runs(tmp_path / "runs"))


def test_weights_of_another_architecture_are_refused_with_names(
    longer: Longer, tmp_path: Path
) -> None:
    path = tmp_path / "w.safetensors"
    store(path, width=8)
    runs = Runs(tmp_path / "runs")
    with pytest.raises(
        WeightsError, match=r"tensors differ, first bn1\.bias, .*check architecture"
    ):
        obtain(aim_plans.training(of_file(longer, path), 7), runs)
    assert runs.records() == []


def test_a_file_that_is_not_there_is_said_when_planning(longer: Longer, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"weights_file: .*none\.safetensors cannot be read"):
        aim_plans.training(of_file(longer, tmp_path / "none.safetensors"), 7)
    without = aim_plans.with_faces(longer.profile, initialisation="file")
    with pytest.raises(SettingsError, match="needs weights_file, a safetensors file"):
        aim_plans.training(without, 7)


def test_a_file_that_is_not_asked_for_is_not_part_of_a_run(longer: Longer) -> None:
    unused = of_file(longer, Path("nowhere.safetensors"), initialisation="scratch")
    assert aim_plans.training(unused, 7) == longer.base
