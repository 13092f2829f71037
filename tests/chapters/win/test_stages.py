"""Each stage trains what it says, on the rows it says, and records what its files hold."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.conftest import Computed
from torch import nn

from repro.chapters.win import plans
from repro.chapters.win import stages as win_stages
from repro.chapters.win.configs import Finetune, Pretrain
from repro.chapters.win.data import TaskData, task_data
from repro.chapters.win.heads import objective_of
from repro.chapters.win.stages import load_pretrained
from repro.models import head_inputs, last_linear, parameter_count
from repro.settings import Optimisation
from repro.study.configs import RunConfig
from repro.study.runs import PREDICTIONS, WEIGHTS, Record, RecordError, Runs
from repro.study.stages import obtain
from repro.training import Examples, TrainingError, predict
from repro.win.constraints import PENALTIES
from repro.win.fisher import floor_importance, group_importance, neutralise
from repro.win.lowrank import LowRankLinear, weighted_svd

HEADS = ["tl", "svd, rank 1", "svd, rank 2", "win, rank 1", "win, rank 2"]
RANK_2 = ["svd, rank 2", "win, rank 2"]


@pytest.fixture(scope="module")
def base(computed: Computed) -> Pretrain:
    return plans.pretrain(computed.profile, 0)


@pytest.fixture(scope="module")
def pretrained(computed: Computed, base: Pretrain) -> tuple[nn.Module, TaskData]:
    return load_pretrained(base, computed.runs)


def weights(record: Record) -> dict[str, torch.Tensor]:
    return load_file(record.file(WEIGHTS))


def logits(record: Record, model: nn.Module, data: TaskData) -> torch.Tensor:
    """Return the test part's logits by the weights that a record stores."""
    stored = weights(record)
    trained = copy.deepcopy(model)
    _, head = last_linear(trained)
    inputs = data.parts["task_test"].inputs
    if set(stored) == set(trained.state_dict()):  # pre-training and retrain keep the whole model
        trained.load_state_dict(stored)
        return predict(trained, inputs)
    inside = head_inputs(trained, head, inputs)
    if "A" in stored:
        return predict(LowRankLinear(stored["A"], stored["B"], stored["bias"]), inside)
    head.load_state_dict(stored)
    return predict(head, inside)


def test_pretraining_record(computed: Computed, pretrained: tuple[nn.Module, TaskData]) -> None:
    model, data = pretrained
    results = computed.strategies["pre-trained"][0].results
    assert results["inputs"] == data.width
    assert results["trainable_parameters"] == parameter_count(model)
    assert results["records"] == {part: len(examples) for part, examples in data.parts.items()}
    assert sum(results["records"].values()) == 3000
    assert results["learning_rate"] == 0.02
    assert results["epoch"] in (1, 2)


@pytest.mark.parametrize("key", HEADS)
def test_only_the_head_is_trained_and_stored(
    computed: Computed, pretrained: tuple[nn.Module, TaskData], key: str
) -> None:
    record = computed.strategies[key][0]
    stored = weights(record)
    rank = int(key[-1]) if "rank" in key else None
    shapes = {name: tuple(tensor.shape) for name, tensor in stored.items()}
    if rank is None:
        assert shapes == {"weight": (2, 10), "bias": (2,)}
    else:
        assert shapes == {"A": (10, rank), "B": (rank, 2), "bias": (2,)}
    assert record.results["trainable_parameters"] == (22 if rank is None else 12 * rank + 2)
    head = last_linear(pretrained[0])[1]
    if rank is None:
        assert not torch.equal(stored["weight"], head.weight)
    else:
        start = np.asarray(record.results["start_B"])
        assert not np.array_equal(stored["B"].numpy(), start)
    assert not torch.equal(stored["bias"], head.bias)


def test_retraining_moves_every_tensor(
    computed: Computed, pretrained: tuple[nn.Module, TaskData]
) -> None:
    record = computed.strategies["retrain"][0]
    before, after = pretrained[0].state_dict(), weights(record)
    assert before.keys() == after.keys()
    assert not any(torch.equal(before[name], after[name]) for name in before)
    assert record.results["trainable_parameters"] == parameter_count(pretrained[0])
    assert record.results["start_max_logit_gap_change"] == 0
    fair = computed.strategies["retrain dp 0.5"][0]
    assert not torch.equal(weights(fair)["0.weight"], after["0.weight"])


@pytest.mark.parametrize("key", RANK_2)
def test_rank_2_starts_from_exactly_the_pretrained_function(computed: Computed, key: str) -> None:
    for record in computed.strategies[key]:
        assert np.array_equal(record.counts("start"), record.counts("before"))
        assert 0 <= record.results["start_max_logit_gap_change"] < 1e-4
        assert record.results["mean_logit_gap_change"] > 1e-3  # and then it was trained


@pytest.mark.parametrize("key", ["svd, rank 1", "win, rank 1"])
def test_rank_1_starts_from_another_function(computed: Computed, key: str) -> None:
    for record in computed.strategies[key]:
        assert record.results["start_max_logit_gap_change"] > 1e-3


def test_before_is_the_pretrained_model_on_the_test_part(computed: Computed) -> None:
    for key in [*HEADS, "retrain"]:
        for record, base in zip(
            computed.strategies[key], computed.strategies["pre-trained"], strict=True
        ):
            assert np.array_equal(record.counts("before"), base.counts("test"))


def test_importance_is_that_of_the_stored_model(
    computed: Computed, pretrained: tuple[nn.Module, TaskData]
) -> None:
    model, data = pretrained
    train = data.parts["task_train"]
    head = last_linear(model)[1]
    inside = head_inputs(model, head, train.inputs)
    men, women = group_importance(inside, predict(head, inside), train.target, train.protected)
    record = computed.strategies["win, rank 1"][0]
    torch.testing.assert_close(
        torch.tensor(record.results["importance"]), torch.stack([men, women])
    )
    # The probe lists the groups in the same order: s = 1 is p = 1.
    probed = computed.probes["unconstrained"][0].results["importance"]
    torch.testing.assert_close(torch.tensor(probed), torch.stack([men, women]))


@pytest.mark.parametrize("a", [0.1, 0.5, 0.9])
def test_the_weight_is_that_of_protected_1(
    computed: Computed, pretrained: tuple[nn.Module, TaskData], a: float
) -> None:
    record = computed.weights[f"rank 1, a {a:g}"][0]
    men, women = (torch.tensor(group) for group in record.results["importance"])
    head = last_linear(pretrained[0])[1]
    mixed = [neutralise(*pair, weight=a) for pair in ((men, women), (women, men))]
    floored = [floor_importance(importance, 1e-6) for importance in mixed]
    assert record.results["floored_rows"] == floored[0][1]
    start = [weighted_svd(head.weight.T, importance, 1)[1] for importance, _ in floored]
    recorded = torch.tensor(record.results["start_B"])
    torch.testing.assert_close(recorded, start[0], atol=1e-6, rtol=0)
    if a != 0.5:
        assert (start[0] - start[1]).abs().max() > 1e-5  # the other way round would show
        assert not torch.allclose(recorded, start[1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("key", ["pre-trained", *HEADS, "retrain", "retrain dp 0.5"])
def test_stored_weights_give_the_stored_predictions(
    computed: Computed, pretrained: tuple[nn.Module, TaskData], key: str
) -> None:
    record = computed.strategies[key][0]
    z = logits(record, *pretrained)
    score = torch.softmax(z.double(), 1)[:, 1].numpy()
    np.testing.assert_allclose(record.predictions()["score"], score, atol=1e-6)


def test_predictions_are_exactly_the_test_part(computed: Computed, base: Pretrain) -> None:
    data = task_data(base.data, base.seed)
    seen = np.concatenate([rows for part, rows in data.indices.items() if part != "task_test"])
    assert not set(seen) & set(data.indices["task_test"])
    for records in [*computed.strategies.values(), *computed.probes.values()]:
        table = records[0].predictions()
        assert table["example"].tolist() == data.indices["task_test"].tolist()
        assert table["target"].tolist() == data.table.target[table["example"]].tolist()
        assert table["protected"].tolist() == data.table.protected[table["example"]].tolist()


def test_a_run_is_the_same_bit_for_bit_when_computed_again(
    computed: Computed, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = plans.strategies(computed.profile, [1])["win, rank 1"][0]
    known = computed.runs.find(config)
    again = obtain(config, Runs(tmp_path_factory.mktemp("again")))
    for key in ("counts", "results", "history", "files"):
        assert again.body[key] == known.body[key], key


def test_objective_adds_the_regulariser() -> None:
    z = torch.tensor([[0.0, 2.0], [1.0, 0.5], [0.3, -1.0], [0.0, 3.0]])
    target, protected = torch.tensor([1, 1, 0, 0]), torch.tensor([0, 1, 0, 1])
    plain = nn.functional.cross_entropy(z, target)
    assert objective_of(None, 0.5)(z, target, protected) == plain
    assert objective_of("dp", 0.0)(z, target, protected) == plain
    for name, penalty in PENALTIES.items():
        gap = penalty(z[:, 1] - z[:, 0], target, protected)
        assert gap > 0
        found = objective_of(name, 0.5)(z, target, protected)
        torch.testing.assert_close(found, plain + 0.5 * gap)


@pytest.mark.parametrize("strategy", ["pre-train", "tl", "retrain"])
def test_nan_in_the_data_names_every_rate_and_keeps_finished_runs(
    computed: Computed,
    base: Pretrain,
    strategy: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = Runs(tmp_path_factory.mktemp("runs"))
    kept = obtain(base, runs)
    how = Optimisation(learning_rates=(0.01, 0.003), epochs=1, batch_size=128)
    config: RunConfig
    if strategy == "pre-train":
        config = base.model_copy(update={"optimisation": how})
    else:
        config = plans.finetune(computed.profile, base, strategy)
        assert isinstance(config, Finetune)
        config = config.model_copy(update={"optimisation": how})
    data = task_data(base.data, base.seed)
    part = "pretrain_train" if strategy == "pre-train" else "task_train"
    good = data.parts[part]
    inputs = good.inputs.clone()
    inputs[0, 0] = torch.nan
    broken = data.parts | {part: Examples(inputs, good.target, good.protected)}
    holed = TaskData(data.table, data.indices, data.encoder, broken)
    monkeypatch.setattr(win_stages, "task_data", lambda settings, seed: holed)
    with pytest.raises(TrainingError, match="every learning rate diverged") as raised:
        obtain(config, runs)
    assert "0.01: training objective nan in epoch 1" in str(raised.value)
    assert "0.003: training objective nan in epoch 1" in str(raised.value)
    assert runs.find(config) is None
    assert [record.body for record in runs.records()] == [kept.body]


@pytest.mark.parametrize("change", ["edited", "missing"])
def test_a_run_does_not_build_on_weights_that_changed(
    base: Pretrain, change: str, computed: Computed, tmp_path_factory: pytest.TempPathFactory
) -> None:
    runs = Runs(tmp_path_factory.mktemp("runs"))
    path = obtain(base, runs).file(WEIGHTS)
    if change == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(RecordError, match=WEIGHTS):
        obtain(plans.finetune(computed.profile, base, "tl"), runs)
    assert (path.parent / PREDICTIONS).is_file()
