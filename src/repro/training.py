"""Training with a stated budget: every candidate learning rate, the best epoch, on validation.

One loop for all: pre-training, fine-tuning of a head on cached features, training with a
fairness regulariser. What differs is the model and the objective that are passed in.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from repro.names import check_name
from repro.settings import Optimisation

#: (logits (n, k), target (n,), protected (n,)) -> scalar
Objective = Callable[[Tensor, Tensor, Tensor], Tensor]


class TrainingError(RuntimeError):
    """Training cannot go on; the message says where it stopped and what to change."""


@dataclass(frozen=True)
class Examples:
    """Inputs and labels that stay in memory: inputs (n, ...), target (n,), protected (n,)."""

    inputs: Tensor
    target: Tensor
    protected: Tensor

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.target)


@dataclass(frozen=True)
class Candidate:
    """What one learning rate reached: its best epoch, or that it diverged."""

    learning_rate: float
    epoch: int | None
    objective: float | None  # on the validation part; None if it diverged
    diverged: str | None = None
    #: of each epoch, mean training objective and validation objective
    history: list[tuple[float, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Fit:
    """The kept candidate, and all that were tried."""

    learning_rate: float
    epoch: int  # counted from 1
    objective: float
    candidates: list[Candidate]

    def plain_history(self) -> list[dict[str, Any]]:
        """Return the candidates as plain values; JSON has no NaN, so a diverged end is text."""
        plain = [asdict(candidate) for candidate in self.candidates]
        for candidate in plain:
            candidate["history"] = [
                [value if math.isfinite(value) else str(value) for value in epoch]
                for epoch in candidate["history"]
            ]
        return plain


def cross_entropy(logits: Tensor, target: Tensor, protected: Tensor) -> Tensor:
    """Return the mean softmax cross-entropy; the protected attribute is not used."""
    return nn.functional.cross_entropy(logits, target)


def _optimiser(
    parameters: list[nn.Parameter] | list[dict[str, Any]], rate: float, how: Optimisation
) -> torch.optim.Optimizer:
    if how.optimiser == "sgd":
        return torch.optim.SGD(
            parameters, lr=rate, momentum=how.momentum, weight_decay=how.weight_decay
        )
    return torch.optim.Adam(parameters, lr=rate, weight_decay=how.weight_decay, fused=True)


def _groups(
    trainable: Mapping[str, nn.Parameter], factors: Mapping[str, float], rate: float
) -> list[nn.Parameter] | list[dict[str, Any]]:
    """Return the parameters, each with its own rate where there are several."""
    if not factors:
        return list(trainable.values())
    return [{"params": [p], "lr": rate * factors.get(name, 1.0)} for name, p in trainable.items()]


@torch.no_grad()
def predict(model: nn.Module, inputs: Tensor, batch: int = 8192) -> Tensor:
    """Return the logits (n, k) of ``inputs`` (n, ...), in evaluation mode."""
    training = model.training
    model.eval()
    parts = [model(inputs[start : start + batch]) for start in range(0, len(inputs), batch)]
    model.train(training)
    return torch.cat(parts)


def fit(
    model: nn.Module,
    train: Examples,
    validation: Examples,
    objective: Objective,
    how: Optimisation,
    *,
    seed: int,
    rate_factors: Mapping[str, float] | None = None,
) -> Fit:
    """Train the parameters of ``model`` that require gradients; keep the best candidate.

    Every learning rate starts from the state that ``model`` has now and sees the batches in the
    same order. After each epoch the objective is taken on the whole validation part, and the
    lowest over all rates and epochs wins (the first of equals). ``model`` ends in that state.

    Parameters
    ----------
    model
        Any module; parameters with ``requires_grad=False`` stay.
    train, validation
        The examples. The last, smaller batch of an epoch is used too.
    objective
        (logits (n, k), target (n,), protected (n,)) -> scalar; minimised, and the criterion.
    how
        The budget.
    seed
        Fixes the order of the batches. On a CPU with the same number of threads the same seed
        gives the same result bit for bit.
    rate_factors
        Parameter name -> what its learning rate is multiplied by; 1 for those not named
        (:func:`repro.win.rates.rate_factor`).

    Raises
    ------
    TrainingError
        If no parameter is trainable, or if every candidate's objective became NaN or infinite.
    UnknownNameError
        If a name in ``rate_factors`` is not that of a trainable parameter.
    """
    factors = dict(rate_factors or {})
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    trainable = list(named.values())
    for name in factors:
        check_name("trainable parameter", name, named)
    if not trainable:
        raise TrainingError("no parameter of the model is trainable: every tensor is frozen")
    if not len(train) or not len(validation):
        raise TrainingError("the training and the validation part must both hold examples")
    start = copy.deepcopy(model.state_dict())
    candidates: list[Candidate] = []
    best: tuple[float, dict[str, Tensor]] | None = None
    for rate in how.learning_rates:
        model.load_state_dict(start)
        candidate, state = _train(
            model, named, factors, train, validation, objective, how, rate, seed=seed
        )
        candidates.append(candidate)
        if candidate.objective is not None and (best is None or candidate.objective < best[0]):
            best = (candidate.objective, state)
            kept = candidate
    if best is None:
        reasons = "; ".join(f"{c.learning_rate:g}: {c.diverged}" for c in candidates)
        model.load_state_dict(start)
        raise TrainingError(
            f"every learning rate diverged ({reasons}); look for NaN in the inputs, "
            "or try smaller learning_rates"
        )
    model.load_state_dict(best[1])
    assert kept.epoch is not None
    return Fit(kept.learning_rate, kept.epoch, best[0], candidates)


def _train(
    model: nn.Module,
    trainable: dict[str, nn.Parameter],
    factors: Mapping[str, float],
    train: Examples,
    validation: Examples,
    objective: Objective,
    how: Optimisation,
    rate: float,
    *,
    seed: int,
) -> tuple[Candidate, dict[str, Tensor]]:
    """Train one candidate; return it with its state at its best epoch."""
    optimiser = _optimiser(_groups(trainable, factors, rate), rate, how)
    generator = torch.Generator().manual_seed(seed)
    history: list[tuple[float, float]] = []
    best, best_epoch, state = math.inf, None, {}
    for epoch in range(1, how.epochs + 1):
        order = torch.randperm(len(train), generator=generator)
        # Gathering once per epoch and slicing is cheaper than indexing every batch.
        inputs, target, protected = (
            tensor[order] for tensor in (train.inputs, train.target, train.protected)
        )
        model.train()
        total = torch.zeros(())
        for at in range(0, len(train), how.batch_size):
            batch = slice(at, at + how.batch_size)
            loss = objective(model(inputs[batch]), target[batch], protected[batch])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            total += loss.detach() * len(target[batch])
        mean = float(total) / len(train)
        reached = float(
            objective(predict(model, validation.inputs), validation.target, validation.protected)
        )
        history.append((mean, reached))
        if not (math.isfinite(mean) and math.isfinite(reached)):
            what = ("training", mean) if not math.isfinite(mean) else ("validation", reached)
            diverged = f"{what[0]} objective {what[1]} in epoch {epoch}"
            return Candidate(rate, None, None, diverged, history), {}
        if reached < best:
            best, best_epoch = reached, epoch
            state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return Candidate(rate, best_epoch, best, None, history), state
