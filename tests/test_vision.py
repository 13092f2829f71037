"""Training of image classifiers: what trains, what is kept, and that it can be had again."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix
from tests.conftest import faces, same
from torch import Tensor, nn

from repro.models import image_classifier
from repro.settings import ImageOptimisation
from repro.training import TrainingError
from repro.vision import (
    Progress,
    batches,
    bce,
    counts_of,
    fit,
    joined,
    kept_epoch,
    predict,
    probability,
    stream,
)

HOW = ImageOptimisation(
    learning_rate=0.05, epochs=3, milestones=(2,), batch_size=32, precision="float32"
)


def model(seed: int = 0) -> nn.Module:
    return image_classifier("resnet18", width=8, seed=seed).to(memory_format=torch.channels_last)


def trained(how: ImageOptimisation = HOW, **others: Any) -> tuple[nn.Module, Any]:
    net = model()
    parts = {"validation": faces(64, seed=1), "test": faces(64, seed=2)}
    return net, fit(net, faces(), parts, how, seed=7, **others)


def test_it_learns_and_the_same_seed_gives_the_same_weights_bit_for_bit() -> None:
    first, fitted = trained()
    second, again = trained()
    assert same(first, second)
    assert fitted.history == again.history
    assert fitted.history[-1]["loss"] < fitted.history[0]["loss"]
    test = faces(64, seed=2)
    counts = counts_of(predict(first, test, precision="float32"), test)
    assert counts.tolist() == fitted.history[fitted.epoch - 1]["counts"]["test"]


def test_the_schedule_divides_the_rate_after_its_milestones() -> None:
    _, fitted = trained()
    assert [entry["learning_rate"] for entry in fitted.history] == pytest.approx(
        [0.05, 0.05, 0.005]
    )


def test_sgd_is_that_of_torch_step_by_step() -> None:
    how = HOW.model_copy(update={"epochs": 2, "selection": "last"})
    net = model()
    oracle = copy.deepcopy(net)
    fit(net, faces(), {}, how, seed=3)
    optimiser = torch.optim.SGD(oracle.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    for epoch in (1, 2):
        for inputs, target in batches(faces(), how, seed=3, epoch=epoch):
            optimiser.zero_grad()
            bce(oracle(inputs), target).backward()
            optimiser.step()
    for (name, ours), theirs in zip(
        net.state_dict().items(), oracle.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4, msg=name)


def test_frozen_tensors_stay_bit_for_bit() -> None:
    net = model()
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name.startswith("layer4"))
    before = {name: p.clone() for name, p in net.named_parameters()}
    fit(net, faces(), {"validation": faces(64, seed=1)}, HOW, seed=0)
    moved = {name for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    assert moved
    assert all(name.startswith("layer4") for name in moved)


def counts(groups: tuple[int, int, int, int]) -> dict[str, Any]:
    """A validation table in which this many of 10 are right in (0,0), (0,1), (1,0), (1,1)."""
    a, b, c, d = groups
    table = [[[a, 10 - a], [b, 10 - b]], [[10 - c, c], [10 - d, d]]]
    return {"counts": {"validation": table}}


@pytest.mark.parametrize(("rule", "epoch"), [("accuracy", 2), ("worst_group", 3), ("last", 4)])
def test_kept_epoch(rule: str, epoch: int) -> None:
    history = [counts(g) for g in ((5, 5, 5, 5), (9, 9, 9, 2), (7, 7, 7, 6), (7, 7, 7, 6))]
    assert kept_epoch(history, rule) == epoch


@pytest.mark.parametrize("rule", ["accuracy", "worst_group"])
def test_which_of_equal_epochs_is_kept_is_a_choice(rule: str) -> None:
    history = [counts(g) for g in ((4, 4, 4, 4), (6, 5, 6, 5), (5, 6, 5, 6), (4, 4, 4, 4))]
    assert kept_epoch(history, rule) == kept_epoch(history, rule, "first") == 2
    assert kept_epoch(history, rule, "last") == 3


def test_of_equal_epochs_training_ends_in_the_one_that_is_asked_for() -> None:
    # Two epochs at so small a rate, and with statistics that stay, that no image changes sides.
    still = HOW.model_copy(update={"learning_rate": 1e-12, "epochs": 2, "milestones": ()})
    for ties, epoch in (("first", 1), ("last", 2)):
        _, fitted = trained(still, ties=ties, set_train_mode=nn.Module.eval)
        validation = [entry["counts"]["validation"] for entry in fitted.history]
        assert validation[0] == validation[1]
        assert fitted.epoch == epoch


def test_a_probability_of_a_half_is_positive() -> None:
    data = faces(4)
    table = counts_of(torch.tensor([0.0, -1e-300, 0.0, 1e-12]), data)
    expected = np.zeros((2, 2, 2), dtype=int)
    for t, p in zip(data.target.tolist(), data.protected.tolist(), strict=True):
        expected[t, p, 1] += 1  # a logit of -1e-300 is 0 in single precision
    assert table.tolist() == expected.tolist()
    assert counts_of(torch.full((4,), -1e-6), data)[:, :, 1].sum() == 0


def frozen_but(name: str) -> nn.Module:
    net = model()
    for own, parameter in net.named_parameters():
        parameter.requires_grad_(own.startswith(name))
    return net


def test_frozen_tensors_decay_as_sgd_moves_them_by_gradients_of_zero() -> None:
    how = HOW.model_copy(update={"weight_decay": 0.01, "selection": "last"})
    net, start = frozen_but("fc"), model()
    fit(net, faces(), {"validation": faces(64, seed=1)}, how, seed=0, decay_frozen=True)
    frozen = {n: p for n, p in start.named_parameters() if not n.startswith("fc")}
    # The oracle: PyTorch's own SGD, one tensor after the other, over the three epochs of three.
    oracle = torch.optim.SGD(
        frozen.values(), lr=0.05, momentum=0.9, weight_decay=0.01, foreach=False, fused=False
    )
    for rate in (0.05, 0.05, 0.005):
        oracle.param_groups[0]["lr"] = rate
        for _ in range(3):
            for parameter in frozen.values():
                parameter.grad = torch.zeros_like(parameter)
            oracle.step()
    found = dict(net.named_parameters())
    for name, parameter in frozen.items():
        torch.testing.assert_close(found[name], parameter, rtol=1e-6, atol=1e-9)
        assert found[name].grad is None
    assert not torch.equal(found["conv1.weight"], dict(model().named_parameters())["conv1.weight"])


def test_at_the_authors_settings_a_frozen_tensor_loses_nine_per_cent() -> None:
    # Ten epochs of 20,000 images in batches of 128, at their rate, momentum and weight decay.
    tensor = nn.Parameter(torch.ones(1))
    optimiser = torch.optim.SGD([tensor], lr=0.06, momentum=0.9, weight_decay=1e-4)
    for _ in range(10 * 157):
        tensor.grad = torch.zeros(1)
        optimiser.step()
    assert round(100 * (1 - tensor.item())) == 9


def test_what_decays_goes_on_from_a_checkpoint_as_if_nothing_had_happened() -> None:
    states: dict[int, Progress] = {}

    def keep(progress: Progress) -> None:
        states[progress.epoch] = copy.deepcopy(progress)

    parts = {"validation": faces(64, seed=1)}
    whole, again = frozen_but("fc"), frozen_but("fc")
    fit(whole, faces(), parts, HOW, seed=0, decay_frozen=True, save=keep)
    fit(again, faces(), parts, HOW, seed=0, decay_frozen=True, progress=states[2])
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])


def test_worst_group_selection_needs_every_group() -> None:
    history = [{"counts": {"validation": [[[1, 0], [0, 0]], [[0, 1], [0, 1]]]}}]
    with pytest.raises(TrainingError, match=r"\(target=0, protected=1\)"):
        kept_epoch(history, "worst_group")


@pytest.mark.parametrize("rule", ["accuracy", "worst_group", "last"])
def test_the_model_ends_in_the_kept_epoch(rule: str) -> None:
    states: dict[int, dict[str, Tensor]] = {}

    def keep(progress: Progress) -> None:
        states[progress.epoch] = copy.deepcopy(progress.model)

    how = HOW.model_copy(update={"selection": rule})
    net, fitted = trained(how, save=keep)
    kept = states[fitted.epoch]
    assert all(torch.equal(t, kept[name]) for name, t in net.state_dict().items())


def test_predict_leaves_every_module_in_its_mode() -> None:
    net = model().train()
    net.get_submodule("bn1").eval()
    modes = [module.training for module in net.modules()]
    predict(net, faces(8))
    assert [module.training for module in net.modules()] == modes


def test_predictions_do_not_depend_on_the_batch() -> None:
    net, data = model().eval(), faces(50)
    whole = predict(net, data, precision="float32")
    torch.testing.assert_close(whole, predict(net, data, precision="float32", batch=7))
    assert whole.shape == (50,)


def test_counts_are_those_of_scikit_learn() -> None:
    data, logits = faces(80), torch.randn(80, generator=torch.Generator().manual_seed(0))
    table = counts_of(logits, data)
    for p in (0, 1):
        at = data.protected == p
        expected = confusion_matrix(data.target[at], (probability(logits) >= 0.5)[at.numpy()])
        assert table[:, p].tolist() == expected.tolist()


def test_a_joined_set_crops_each_image_from_its_own_frame() -> None:
    """Real frames of 39x32 beside synthetic ones of 32x32: each as if all were of its size."""
    square = faces(64)
    tall = replace(square, images=torch.cat([square.images, square.images[:, :, :7]], dim=2))
    both = joined(tall.subset(np.arange(32)), square.subset(np.arange(32, 64)))
    for augmented in (True, False):
        runs = [
            [x for x, _ in batches(data, HOW, seed=0, augmented=augmented)]
            for data in (both, tall, square)
        ]
        order = torch.randperm(
            64, generator=torch.Generator().manual_seed(stream("batches", "training", 0, 1))
        )
        real = (order < 32)[:, None, None, None]
        mixed, high, low = (torch.cat(batch) for batch in runs)
        assert mixed.shape == (64, 3, 32, 32)
        torch.testing.assert_close(mixed, torch.where(real, high, low), atol=2e-4, rtol=0)
        assert not torch.allclose(high, low, atol=0.1)
    logits = predict(model(), both, precision="float32")
    alone = [predict(model(), data, precision="float32") for data in (tall, square)]
    torch.testing.assert_close(logits, torch.cat([alone[0][:32], alone[1][32:]]))


def test_dropout_follows_from_the_seed_and_leaves_the_global_stream_alone() -> None:
    def run(before: int) -> nn.Module:
        torch.manual_seed(before)
        net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 8), nn.Dropout(), nn.Linear(8, 1))
        net.load_state_dict(start)
        here = torch.get_rng_state()
        fit(net, faces(), {"validation": faces(64, seed=1)}, HOW, seed=0)
        assert torch.equal(here, torch.get_rng_state())
        return net

    start = nn.Sequential(
        nn.Flatten(), nn.Linear(3 * 32 * 32, 8), nn.Dropout(), nn.Linear(8, 1)
    ).state_dict()
    assert same(run(1), run(2))


def test_a_training_that_diverges_later_keeps_what_it_had() -> None:
    net = model()

    def spoil(model: nn.Module) -> None:
        model.train()
        spoil.epoch += 1  # type: ignore[attr-defined]
        if spoil.epoch == 3:  # type: ignore[attr-defined]
            with torch.no_grad():
                model.get_parameter("fc.weight").fill_(torch.inf)

    spoil.epoch = 0  # type: ignore[attr-defined]
    how = HOW.model_copy(update={"selection": "last"})
    fitted = fit(net, faces(), {}, how, seed=7, set_train_mode=spoil)
    assert (fitted.epoch, len(fitted.history)) == (2, 2)
    assert "epoch 3" in fitted.history[-1]["diverged"]
    assert all(torch.isfinite(t).all() for t in net.state_dict().values())


def test_bfloat16_and_float32_agree_on_the_conclusion(monkeypatch: pytest.MonkeyPatch) -> None:
    """One image in twenty may change sides; the seeds of a study differ by more."""
    monkeypatch.setattr("repro.precision.bfloat16_in_hardware", lambda device="cpu": True)
    test, scores = faces(200, seed=5), []
    for precision in ("float32", "bfloat16"):
        net = model()
        how = HOW.model_copy(update={"precision": precision, "epochs": 4, "milestones": ()})
        fit(net, faces(192), {"validation": faces(64, seed=1)}, how, seed=7)
        scores.append(probability(predict(net, test, precision=precision)) > 0.5)
    right = [(s == test.target.numpy()).mean() for s in scores]
    assert min(right) > 0.9
    assert abs(right[0] - right[1]) <= 0.05


def test_what_cannot_be_trained_is_refused() -> None:
    net = model().requires_grad_(False)
    parts = {"validation": faces(64, seed=1)}
    with pytest.raises(TrainingError, match="every tensor is frozen"):
        fit(net, faces(), parts, HOW, seed=0)
    with pytest.raises(TrainingError, match="1 image"):
        fit(model(), faces(1), parts, HOW, seed=0)
    with pytest.raises(TrainingError, match="needs a validation part"):
        fit(model(), faces(), {}, HOW, seed=0)
    nan = model()
    with torch.no_grad():
        nan.get_parameter("fc.weight").fill_(torch.nan)
    with pytest.raises(TrainingError, match=r"loss is nan in epoch 1.*0\.05"):
        fit(nan, faces(), parts, HOW, seed=0)
