"""The training loop: its schedule, its average, and that an interruption changes nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from repro.generator import trainer
from repro.generator.settings import Schedule
from repro.generator.trainer import Fitted, fit, rate_at
from repro.training import TrainingError

HOW = Schedule(steps=12, batch_size=8, learning_rate=0.02, warmup=3, precision="float32")


@pytest.fixture(autouse=True)
def _logs_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "LOG_EVERY", 1)


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Conv2d(4, 2, 1)).to(
            memory_format=torch.channels_last
        )


class Stop(Exception):  # noqa: N818
    """Stands for a process that is killed."""


def task(model: nn.Module, *, until: int | None = None) -> Callable[[int], Tensor]:
    """Return a loss that is random by its step alone."""

    def loss_of(step: int) -> Tensor:
        if step == until:
            raise Stop
        generator = torch.Generator().manual_seed(step)
        images = torch.randn(4, 3, 6, 6, generator=generator)
        return (model(images) - images[:, :2, 1:-1, 1:-1]).square().mean()

    return loss_of


def quietly(model: nn.Module, how: Schedule = HOW, **others: object) -> Fitted:
    return fit(model, how, task(model), say=lambda words: None, **others)  # type: ignore[arg-type]


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("until", [2, 7, 12])
def test_an_interrupted_training_ends_where_it_would_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: int
) -> None:
    monkeypatch.setattr(trainer, "EVERY_SECONDS", -1.0)
    whole = network()
    expected = quietly(whole)
    assert not same(whole, network())

    checkpoint = tmp_path / "work" / "checkpoint.safetensors"
    broken = network()
    with pytest.raises(Stop):
        fit(
            broken, HOW, task(broken, until=until),
            checkpoint=checkpoint, stamp="s", say=lambda words: None,
        )  # fmt: skip
    assert [path.name for path in checkpoint.parent.iterdir()] == ["checkpoint.safetensors"]

    resumed, heard = network(), []
    nn.init.zeros_(resumed[0].weight)  # type: ignore[index, arg-type]
    fitted = fit(
        resumed, HOW, task(resumed), checkpoint=checkpoint, stamp="s", say=heard.append
    )  # fmt: skip
    assert heard[0] == f"going on from step {until - 1} of 12"
    assert same(resumed, whole)
    assert fitted.history == expected.history
    assert [entry["step"] for entry in fitted.history] == list(range(1, 13))

    # And once it is done, there is nothing left to do.
    again = network()
    fit(again, HOW, task(again, until=1), checkpoint=checkpoint, stamp="s", say=heard.append)
    assert same(again, whole)


def test_a_checkpoint_of_another_training_is_ignored(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    quietly(network(), checkpoint=checkpoint, stamp="one")
    whole, other = network(), network()
    quietly(whole)
    heard: list[str] = []
    fit(other, HOW, task(other), checkpoint=checkpoint, stamp="two", say=heard.append)
    assert not any("going on" in words for words in heard)
    assert same(other, whole)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x02\0\0\0\0\0\0\0{}"])
def test_a_damaged_checkpoint_is_ignored_and_replaced(tmp_path: Path, content: bytes) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(content)
    whole, model = network(), network()
    quietly(whole)
    quietly(model, checkpoint=checkpoint)
    assert same(model, whole)
    assert checkpoint.read_bytes() != content


def test_a_checkpoint_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    whole, model = network(), network()
    quietly(whole)
    quietly(model, checkpoint=tmp_path / "file" / "checkpoint.safetensors")
    assert same(model, whole)


@pytest.mark.parametrize("spoil", ["loss", "gradient"])
def test_what_is_not_finite_is_an_error_and_keeps_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: str
) -> None:
    monkeypatch.setattr(trainer, "EVERY_SECONDS", -1.0)
    checkpoint = tmp_path / "checkpoint.safetensors"
    model = network()
    normal = task(model)

    def loss_of(step: int) -> Tensor:
        loss = normal(step)
        if step < 6:
            return loss
        if spoil == "loss":
            return loss * math.nan
        # Finite itself; the root of nothing has no slope.
        return loss + (model[0].weight * 0).sum().sqrt()  # type: ignore[index, operator]

    def go() -> Fitted:
        return fit(model, HOW, loss_of, checkpoint=checkpoint, say=lambda words: None)

    with pytest.raises(TrainingError, match=r"step 6.*smaller learning_rate than 0\.02"):
        go()
    kept = checkpoint.read_bytes()
    resumed = network()
    with pytest.raises(Stop):
        fit(resumed, HOW, task(resumed, until=6), checkpoint=checkpoint, say=lambda words: None)
    assert all(p.isfinite().all() for p in resumed.parameters())
    assert checkpoint.read_bytes() == kept


def test_the_average_is_what_is_left_in_the_model() -> None:
    seen: list[Tensor] = []
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 2.0)

    def loss_of(step: int) -> Tensor:
        seen.append(model.weight.detach().clone())  # after step - 1
        return model.weight.square().sum()

    how = HOW.model_copy(update={"steps": 30, "average": 0.6})
    fit(model, how, loss_of, say=lambda words: None)
    # The last weights are not seen; the last rate is 0, so they are those before.
    weights = [*seen[1:], seen[-1]]
    average = seen[0].clone()
    for step, weight in enumerate(weights, start=1):
        decay = min(0.6, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weight
    assert torch.allclose(model.weight, average, atol=1e-6)
    assert model.weight.item() > float(seen[-1]) + 1e-4  # it lags behind
    assert not model.training


def test_without_an_average_the_last_weights_stay() -> None:
    model = nn.Linear(1, 1, bias=False)
    seen: list[float] = []

    def loss_of(step: int) -> Tensor:
        seen.append(model.weight.item())
        return (model.weight - 3).square().sum()

    fit(model, HOW.model_copy(update={"average": 0.0}), loss_of, say=lambda words: None)
    assert model.weight.item() == pytest.approx(seen[-1], abs=1e-6)


def test_the_rate_warms_up_then_falls_along_a_cosine_to_nothing() -> None:
    how = Schedule(steps=110, learning_rate=0.4, warmup=10)
    rates = [rate_at(step, how) for step in range(1, 111)]
    assert rates[:10] == pytest.approx([0.04 * step for step in range(1, 11)])
    assert max(rates) == rates[9] == 0.4
    assert rates[59] == pytest.approx(0.2)  # half-way
    assert rates[34] == pytest.approx(0.4 * (0.5 + 0.5 * math.cos(math.pi / 4)))
    assert all(a > b for a, b in pairwise(rates[9:]))
    assert rates[-1] == pytest.approx(0, abs=1e-12)


def test_a_schedule_without_warm_up_starts_near_the_full_rate() -> None:
    how = Schedule(steps=100, learning_rate=0.4, warmup=0)
    assert rate_at(1, how) == pytest.approx(0.4, rel=1e-3)
    assert rate_at(100, how) == pytest.approx(0, abs=1e-12)


def test_the_logged_loss_is_the_mean_since_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "LOG_EVERY", 5)
    model = nn.Linear(1, 1)
    fitted = fit(
        model, HOW, lambda step: float(step) + 0 * model.weight.sum(), say=lambda words: None
    )
    assert [(entry["step"], entry["loss"]) for entry in fitted.history] == [
        (5, 3.0),
        (10, 8.0),
        (12, 11.5),
    ]
    assert fitted.steps == 12
    assert fitted.seconds >= 0


def test_what_needs_no_gradient_stays_and_is_not_in_the_checkpoint(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    whole = network()
    whole[0].requires_grad_(False)  # type: ignore[index]
    quietly(whole, checkpoint=checkpoint, stamp="s")
    first, last = (list(whole[at].parameters()) for at in (0, 2))  # type: ignore[index]
    untouched = network()
    assert all(torch.equal(a, b) for a, b in zip(first, untouched[0].parameters(), strict=True))  # type: ignore[index]
    assert not any(torch.equal(a, b) for a, b in zip(last, untouched[2].parameters(), strict=True))  # type: ignore[index]
    with safe_open(checkpoint, framework="pt") as file:
        assert {name for name in file.keys() if "/0." in name} == set()  # noqa: SIM118
    again = network()
    again[0].requires_grad_(False)  # type: ignore[index]
    fit(again, HOW, task(again, until=1), checkpoint=checkpoint, stamp="s", say=lambda words: None)
    assert same(again, whole)


def test_steps_that_lie_behind_a_model_are_not_done_again() -> None:
    first, second = network(), network()
    quietly(first)
    heard: list[int] = []

    def loss_of(step: int) -> Tensor:
        heard.append(step)
        return task(second)(step)

    fitted = fit(second, HOW, loss_of, done=4, say=lambda words: None)
    assert heard == list(range(5, 13))
    assert [entry["step"] for entry in fitted.history] == heard
    # The optimiser begins: three steps of warm-up up to where the schedule then is.
    rates = [entry["learning_rate"] for entry in fitted.history]
    shares = [1 / 3, 2 / 3, *[1.0] * 6]
    assert rates == pytest.approx([rate_at(n, HOW) * s for n, s in zip(heard, shares, strict=True)])
    assert not same(first, second)
