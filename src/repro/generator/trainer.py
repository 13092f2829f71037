"""The loop that both trainings share: AdamW, averaged weights, and a checkpoint to go on from.

Everything random in a step follows from the seed and the number of the step, so a training that
was interrupted ends where it would have ended.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from repro.files import whole
from repro.generator.settings import Schedule
from repro.precision import autocast
from repro.training import TrainingError

EVERY_SECONDS = 120.0
LOG_EVERY = 100  # steps


@dataclass
class Fitted:
    """What a training came to: the averaged model is in place; ``history`` has its losses."""

    steps: int
    seconds: float
    history: list[dict[str, float]] = field(default_factory=list)  # step, loss, learning_rate


def rate_at(step: int, how: Schedule) -> float:
    """Return the learning rate of a step (from 1): linear warm-up, then half a cosine."""
    if step <= how.warmup:
        return how.learning_rate * step / how.warmup
    share = (step - how.warmup) / max(1, how.steps - how.warmup)
    return how.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def fit(
    model: nn.Module,
    how: Schedule,
    loss_of: Callable[[int], Tensor],
    *,
    checkpoint: Path | None = None,
    stamp: str = "",
    device: str = "cpu",
    say: Callable[[str], object] = print,
    done: int = 0,
) -> Fitted:
    """Train a model; it ends with the exponential average of its weights.

    Parameters
    ----------
    model
        Whose parameters are trained, but those that need no gradient; on ``device``.
    how
        Steps, rate, batch, average.
    loss_of
        Returns the loss of a step, given its number from 1; all that is random in it follows from
        that number.
    checkpoint
        A safetensors file, read first if it is there, written every `EVERY_SECONDS` and at
        the end, removed by nobody here.
    stamp
        What the training is; a checkpoint with another stamp is not gone on from.
    done
        Steps that the model has behind it, where it comes with weights and without a checkpoint:
        what the optimiser knew is lost, so the rate rises anew from zero to where it would be.

    Raises
    ------
    TrainingError
        If a loss or a weight is not finite. The last checkpoint stays.
    """
    trained = _trained(model)
    optimiser = torch.optim.AdamW(
        trained.values(),
        lr=how.learning_rate,
        weight_decay=how.weight_decay,
        betas=(0.9, 0.99),
        fused=True,
    )
    average = {name: p.detach().clone() for name, p in trained.items()}
    anew, before = done, 0.0
    history: list[dict[str, float]] = []
    if checkpoint is not None:
        stood = _load(checkpoint, stamp, model, optimiser, average)
        if stood is not None:
            done, before, history = stood
            say(f"going on from step {done} of {how.steps}")
    start = last = time.monotonic()
    summed, counted = torch.zeros((), device=device), 0
    model.train()
    for step in range(done + 1, how.steps + 1):
        rate = rate_at(step, how) * (min(1.0, (step - anew) / max(1, how.warmup)) if anew else 1.0)
        for group in optimiser.param_groups:
            group["lr"] = rate
        with autocast(how.precision, device):
            loss = loss_of(step)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(trained.values(), 1.0)
        optimiser.step()
        # A short average at first, or it would remember the initialisation.
        decay = min(how.average, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, parameter in trained.items():
                average[name].lerp_(parameter, 1 - decay)
        summed += loss.detach().float()
        counted += 1
        if step % LOG_EVERY == 0 or step == how.steps:
            mean = float(summed) / counted
            # The last loss may be finite and what was learnt from it not.
            sound = all(bool(p.detach().isfinite().all()) for p in trained.values())
            if not (sound and math.isfinite(mean)):
                what = "" if sound else ", and a weight is not finite"
                raise TrainingError(
                    f"the loss is {mean} before step {step}{what}; try a smaller learning_rate "
                    f"than {how.learning_rate:g}. The last checkpoint is kept"
                )
            history.append({"step": step, "loss": mean, "learning_rate": rate})
            summed, counted = torch.zeros((), device=device), 0
            now = time.monotonic()
            pace = (step - done) / (now - start)
            say(
                f"step {step}/{how.steps}, loss {mean:.4f}, {pace * how.batch_size:.0f} images/s, "
                f"{(how.steps - step) / pace / 60:.0f} min left"
            )
            if checkpoint is not None and (now - last > EVERY_SECONDS or step == how.steps):
                _save(
                    checkpoint,
                    stamp,
                    model,
                    optimiser,
                    average,
                    step,
                    before + now - start,
                    history,
                )
                last = now
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(average[name])
    model.eval()
    return Fitted(how.steps, before + time.monotonic() - start, history)


def _trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that are not frozen, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _save(
    path: Path,
    stamp: str,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: dict[str, Tensor],
    step: int,
    seconds: float,
    history: list[dict[str, float]],
) -> None:
    tensors: dict[str, Tensor] = {}
    for name, parameter in _trained(model).items():
        tensors[f"model/{name}"] = parameter.detach()
        tensors[f"average/{name}"] = average[name]
        for moment in ("exp_avg", "exp_avg_sq"):
            tensors[f"{moment}/{name}"] = optimiser.state[parameter][moment]
    about = {"step": step, "seconds": seconds, "history": history}
    plain = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    # A full disk costs the checkpoint, not the training.
    with suppress(OSError, SafetensorError), whole(path) as part:
        save_file(plain, part, metadata={"about": json.dumps(about), "stamp": stamp})


def _load(
    path: Path,
    stamp: str,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: dict[str, Tensor],
) -> tuple[int, float, list[Any]] | None:
    """Restore a training; None if there is no usable checkpoint of it."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            about = json.loads(metadata["about"])
            if metadata["stamp"] != stamp:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    with torch.no_grad():
        for name, parameter in _trained(model).items():
            parameter.copy_(tensors[f"model/{name}"])
            average[name].copy_(tensors[f"average/{name}"])
            # Laid out as the parameter is: the fused step reads both by address.
            optimiser.state[parameter] = {
                "step": torch.tensor(float(about["step"]), device=parameter.device),
                **{
                    moment: torch.empty_like(parameter).copy_(tensors[f"{moment}/{name}"])
                    for moment in ("exp_avg", "exp_avg_sq")
                },
            }
    return int(about["step"]), float(about["seconds"]), about["history"]
