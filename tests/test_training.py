"""Training keeps the best epoch of the best rate, repeats itself bit for bit, and says why not."""

from __future__ import annotations

import copy
import math
from typing import Literal

import pytest
import torch
from tests.conftest import same
from torch import Tensor, nn

from repro.models import mlp
from repro.settings import Optimisation
from repro.training import Examples, TrainingError, cross_entropy, fit, predict


def examples(n: int, seed: int) -> Examples:
    """Return noisy, learnable examples: 5 inputs, 2 classes."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n, 5, generator=generator)
    noise = torch.randn(n, generator=generator)
    target = (inputs[:, 0] - inputs[:, 1] + 1.5 * noise > 0).long()
    return Examples(inputs, target, (inputs[:, 2] > 0).long())


TRAIN, VALIDATION = examples(150, 1), examples(80, 2)


def model(seed: int = 0) -> nn.Sequential:
    return mlp(5, layers=2, hidden=8, classes=2, seed=seed)


def budget(*rates: float, **settings: object) -> Optimisation:
    values = {"learning_rates": rates or (0.05,), "epochs": 8, "batch_size": 32} | settings
    return Optimisation.model_validate(values)


def plain_loop(
    start: nn.Module, rate: float, *, epochs: int, batch: int, seed: int, optimiser: str
) -> list[tuple[float, dict[str, Tensor]]]:
    """Train as a textbook would; return validation loss and state after each epoch."""
    trained = copy.deepcopy(start)
    if optimiser == "sgd":
        step = torch.optim.SGD(trained.parameters(), lr=rate, momentum=0.9)
    else:
        step = torch.optim.Adam(trained.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(seed)
    reached = []
    for _ in range(epochs):
        for rows in torch.randperm(len(TRAIN), generator=generator).split(batch):
            step.zero_grad()
            loss = nn.functional.cross_entropy(trained(TRAIN.inputs[rows]), TRAIN.target[rows])
            loss.backward()
            step.step()
        with torch.no_grad():
            value = nn.functional.cross_entropy(trained(VALIDATION.inputs), VALIDATION.target)
        state = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
        reached.append((float(value), state))
    return reached


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_best_epoch_of_best_rate_is_kept(optimiser: Literal["adam", "sgd"]) -> None:
    rates = (0.3, 0.1, 0.003)
    trained = model()
    start = copy.deepcopy(trained)
    how = budget(*rates, optimiser=optimiser)
    found = fit(trained, TRAIN, VALIDATION, cross_entropy, how, seed=5)

    loops = [
        plain_loop(start, rate, epochs=8, batch=32, seed=5, optimiser=optimiser) for rate in rates
    ]
    value, at, epoch = min(
        (value, at, epoch) for at, loop in enumerate(loops) for epoch, (value, _) in enumerate(loop)
    )
    assert found.learning_rate == rates[at]
    assert found.epoch == epoch + 1
    assert found.objective == pytest.approx(value, abs=1e-5)
    state = loops[at][epoch][1]
    torch.testing.assert_close(dict(trained.state_dict()), state, atol=1e-4, rtol=1e-4)
    assert (at, epoch) != (len(rates) - 1, 7)  # not simply where training ended
    for candidate, loop in zip(found.candidates, loops, strict=True):
        history = [reached for _, reached in candidate.history]
        assert history == pytest.approx([value for value, _ in loop], abs=1e-4)
        assert candidate.objective == min(history)
        assert candidate.epoch == 1 + history.index(min(history))


def test_same_seed_twice_is_the_same_bit_for_bit() -> None:
    first, second, other = model(), model(), model()
    how = budget(0.05, 0.01)
    a = fit(first, TRAIN, VALIDATION, cross_entropy, how, seed=1)
    torch.rand(7)  # what was drawn before does not matter
    b = fit(second, TRAIN, VALIDATION, cross_entropy, how, seed=1)
    fit(other, TRAIN, VALIDATION, cross_entropy, how, seed=2)
    assert a == b
    assert same(first, second)
    assert not same(first, other)


def test_every_rate_starts_from_the_same_state() -> None:
    both, alone = model(), model()
    start = copy.deepcopy(both)
    # The first rate wins: that the model had gone elsewhere since must not show.
    together = fit(both, TRAIN, VALIDATION, cross_entropy, budget(0.05, 1e-6), seed=1)
    single = fit(alone, TRAIN, VALIDATION, cross_entropy, budget(1e-6), seed=1)
    assert together.learning_rate == 0.05
    assert together.candidates[1] == single.candidates[0]
    assert not same(both, start)


def test_frozen_parameters_do_not_move() -> None:
    trained = model()
    trained[0].requires_grad_(False)
    before = copy.deepcopy(trained)
    fit(trained, TRAIN, VALIDATION, cross_entropy, budget(0.05, weight_decay=0.1), seed=1)
    assert same(trained[0], before[0])
    assert not same(trained[2], before[2])


def test_a_diverging_rate_is_recorded_and_another_wins() -> None:
    trained = model()
    how = budget(1e30, 0.05, optimiser="sgd")
    found = fit(trained, TRAIN, VALIDATION, cross_entropy, how, seed=1)
    diverged, kept = found.candidates
    assert diverged.learning_rate == 1e30
    assert diverged.epoch is None
    assert diverged.objective is None
    assert diverged.diverged is not None
    assert "objective" in diverged.diverged
    assert "epoch" in diverged.diverged
    assert not math.isfinite(diverged.history[-1][0] + diverged.history[-1][1])
    assert found.learning_rate == kept.learning_rate == 0.05
    assert kept.diverged is None
    alone = model()
    fit(alone, TRAIN, VALIDATION, cross_entropy, budget(0.05, optimiser="sgd"), seed=1)
    assert same(trained, alone)


@pytest.mark.parametrize("part", ["training", "validation"])
def test_nan_inputs_name_every_rate_and_leave_the_model(part: str) -> None:
    parts = {"training": TRAIN, "validation": VALIDATION}
    broken = parts[part].inputs.clone()
    broken[3, 2] = math.nan
    parts[part] = Examples(broken, parts[part].target, parts[part].protected)
    trained = model()
    start = copy.deepcopy(trained)
    with pytest.raises(TrainingError, match=f"0.05: {part} objective nan in epoch 1") as raised:
        fit(trained, *parts.values(), cross_entropy, budget(0.05, 0.003), seed=1)
    assert f"0.003: {part} objective nan in epoch 1" in str(raised.value)
    assert "look for NaN in the inputs" in str(raised.value)
    assert same(trained, start)


def test_nothing_to_train_is_an_error() -> None:
    trained = model().requires_grad_(False)
    with pytest.raises(TrainingError, match="no parameter of the model is trainable"):
        fit(trained, TRAIN, VALIDATION, cross_entropy, budget(), seed=1)


@pytest.mark.parametrize("which", [0, 1])
def test_an_empty_part_is_an_error(which: int) -> None:
    parts = [TRAIN, VALIDATION]
    parts[which] = Examples(TRAIN.inputs[:0], TRAIN.target[:0], TRAIN.protected[:0])
    with pytest.raises(TrainingError, match="must both hold examples"):
        fit(model(), *parts, cross_entropy, budget(), seed=1)


def test_objective_sees_the_protected_attribute_of_its_own_rows() -> None:
    column = TRAIN.inputs.clone()
    column[:, 0] = torch.arange(len(column))  # every example carries its number
    train = Examples(column, TRAIN.target, TRAIN.protected)
    seen: list[Tensor] = []

    class Echo(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x: Tensor) -> Tensor:
            return self.scale * x[:, :2]

    def objective(logits: Tensor, target: Tensor, protected: Tensor) -> Tensor:
        rows = logits[:, 0].round().long()
        if logits.requires_grad:
            seen.append(rows)
            assert torch.equal(target, train.target[rows])
            assert torch.equal(protected, train.protected[rows])
        return logits.mean() * 0

    fit(Echo(), train, VALIDATION, objective, budget(epochs=2, batch_size=64), seed=1)
    assert [len(rows) for rows in seen] == [64, 64, 22] * 2  # the last, smaller batch too
    assert torch.equal(torch.cat(seen[:3]).sort().values, torch.arange(150))
    assert not torch.equal(torch.cat(seen[:3]), torch.cat(seen[3:]))  # another order


@pytest.mark.parametrize("training", [True, False])
def test_predict_is_in_evaluation_mode_and_puts_the_mode_back(training: bool) -> None:
    dropped = nn.Sequential(nn.Linear(5, 50), nn.Dropout(0.5), nn.Linear(50, 2)).train(training)
    logits = predict(dropped, TRAIN.inputs, batch=40)
    assert dropped.training is training
    assert dropped[1].training is training
    expected = dropped[2](dropped[0](TRAIN.inputs))
    torch.testing.assert_close(logits, expected)
    assert not logits.requires_grad
