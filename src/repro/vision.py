"""Training of image classifiers with one logit: AIM-Fair's loop, for any model and any tensors.

What differs between strategies is passed in: which images (`repro.faces`), which tensors require
gradients, and how the model is put into training mode.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from repro.data import augment
from repro.faces import Faces, batches, joined, stream
from repro.layout import layout_of
from repro.metrics import confusion_counts
from repro.precision import autocast
from repro.settings import ImageOptimisation
from repro.training import TrainingError

__all__ = [
    "Faces",
    "Progress",
    "VisionFit",
    "batches",
    "bce",
    "counts_of",
    "fit",
    "joined",
    "kept_epoch",
    "predict",
    "probability",
    "stream",
]


def device() -> str:
    """Return where image models train: the first GPU, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


@dataclass
class Progress:
    """Where a training stands after an epoch; enough to go on from there, bit for bit."""

    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    model: dict[str, Tensor] = field(default_factory=dict)
    momentum: dict[str, Tensor] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class VisionFit:
    """The kept epoch (counted from 1), and what every epoch reached.

    ``history`` has, for each epoch: ``loss`` (mean over training images), ``learning_rate``, and
    ``counts`` of the confusion [t][p][yhat] of each evaluated part. What another selection rule
    would have kept can be read from it.

    ``resumed_from`` is the epoch after which this process took over from one that was killed, None
    if there was none. It tells how a fit came about, not what came out: fits that differ in it
    alone are equal.
    """

    epoch: int
    history: list[dict[str, Any]]
    resumed_from: int | None = field(default=None, compare=False)


def bce(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of logits (n,) or (n, 1) for targets (n,)."""
    return binary_cross_entropy_with_logits(logits.float().reshape(-1), target.float())


def plain_batches(
    faces: Faces, device: str = "cpu", *, batch: int = 512
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (inputs (b, 3, size, size) float32, target (b,)) of every example once, in order."""
    for start in range(0, len(faces), batch):
        at = slice(start, start + batch)
        images, frames = faces.frames(at)
        inputs = augment.plain(images.to(device), faces.size, frames=frames)
        yield inputs, faces.target[at].to(device)


@torch.no_grad()
def predict(
    model: nn.Module,
    faces: Faces,
    *,
    precision: str = "bfloat16",
    device: str = "cpu",
    batch: int = 512,
) -> Tensor:
    """Return the logits (n,), float32, of every example, in evaluation mode.

    The mode of every module of the model is afterwards what it was before.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    layout, parts = layout_of(model), []
    try:
        for plain, _ in plain_batches(faces, device, batch=batch):
            inputs = plain.contiguous(memory_format=layout)
            with autocast(precision, device):
                parts.append(model(inputs).float().reshape(-1).cpu())
    finally:
        for module, training in modes.items():
            module.training = training
    return torch.cat(parts)


def counts_of(logits: Tensor, faces: Faces) -> np.ndarray:
    """Return the confusion counts (2, 2, 2) [t, p, yhat] at threshold 0.5 of the probability."""
    predicted = probability(logits) >= 0.5  # a half counts as positive, as in AIM-Fair's code
    return confusion_counts(faces.target.numpy(), predicted, faces.protected.numpy())


def probability(logits: Tensor) -> np.ndarray:
    """Return the probability (n,) of target 1, in float64 so that no logit but 0 is at 0.5."""
    return torch.sigmoid(logits.double()).numpy()


def fit(
    model: nn.Module,
    train: Faces,
    evaluated: dict[str, Faces],
    how: ImageOptimisation,
    *,
    seed: int,
    purpose: str = "training",
    set_train_mode: Callable[[nn.Module], object] = nn.Module.train,
    device: str = "cpu",
    ties: Literal["first", "last"] = "first",
    decay_frozen: bool = False,
    progress: Progress | None = None,
    save: Callable[[Progress], object] | None = None,
) -> VisionFit:
    """Train the tensors that require gradients by SGD; end in the state of the kept epoch.

    Parameters
    ----------
    model
        A classifier with one logit, on ``device``.
    train
        The training images.
    evaluated
        Part name -> images, evaluated after every epoch; ``"validation"`` decides which epoch is
        kept (except for ``selection="last"``), the others are only recorded.
    how
        Schedule, selection rule, precision, augmentation.
    seed
        Fixes order, crops, flips and dropout. The same seed on the same kind of CPU with the same
        number of threads gives the same weights bit for bit.
    purpose
        See :func:`batches`.
    set_train_mode
        Called before every epoch instead of ``model.train()``, for layers that must stay in
        evaluation mode.
    ties
        Which of several epochs that are equally good is kept.
    decay_frozen
        Hand the other tensors to the optimiser, too, with gradients of zero, so that weight decay
        shrinks them. That is what AIM-Fair's code does under PyTorch before 2.0, whose
        ``zero_grad`` leaves zeros for a tensor that is frozen after it had gradients.
    progress, save
        Where to go on from, and what to call after each epoch with where it stands.

    Raises
    ------
    TrainingError
        If no tensor is trainable, a set is too small, or the loss of the first epoch is not finite
        (of a later one: training ends there, and the best epoch before it is kept).
    """
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not trainable:
        raise TrainingError("no parameter of the model is trainable: every tensor is frozen")
    if len(train) < 2:
        raise TrainingError(f"the training set has {len(train)} image(s); at least 2 are needed")
    if how.selection != "last" and "validation" not in evaluated:
        raise TrainingError(f"selection by '{how.selection}' needs a validation part")
    frozen = {n: p for n, p in model.named_parameters() if decay_frozen and n not in trainable}
    for parameter in frozen.values():
        parameter.grad = torch.zeros_like(parameter)
    moved = trainable | frozen
    optimiser = torch.optim.SGD(
        moved.values(),
        lr=how.learning_rate,
        momentum=how.momentum,
        weight_decay=how.weight_decay,
        fused=True,
    )
    at = progress or Progress()
    resumed_from = at.epoch or None
    if at.epoch:
        model.load_state_dict(at.model)
        for name, parameter in moved.items():
            if name in at.momentum:
                # Laid out as the parameter is: the fused step reads both by address.
                buffer = torch.empty_like(parameter, requires_grad=False)
                optimiser.state[parameter]["momentum_buffer"] = buffer.copy_(at.momentum[name])
    layout = layout_of(model)
    for epoch in range(at.epoch + 1, how.epochs + 1):
        rate = how.learning_rate * 0.1 ** sum(epoch > milestone for milestone in how.milestones)
        for group in optimiser.param_groups:
            group["lr"] = rate
        set_train_mode(model)
        with torch.random.fork_rng():  # of dropout, for models that have it
            torch.manual_seed(stream("dropout", purpose, seed, epoch))
            given = batches(
                train, how, seed=seed, epoch=epoch, purpose=purpose, device=device, layout=layout
            )
            loss = _one_epoch(model, given, how, optimiser, device, decay_frozen=decay_frozen)
        if not math.isfinite(loss):
            if epoch > 1:  # what was reached before is kept, and the history says how it ended
                at.history[-1]["diverged"] = f"loss {loss} in epoch {epoch}"
                break
            raise TrainingError(
                f"the loss is {loss} in epoch {epoch}: look for NaN in the start, or try a smaller "
                f"learning_rate than {how.learning_rate:g}"
            )
        tables = {
            part: counts_of(predict(model, faces, precision=how.precision, device=device), faces)
            for part, faces in evaluated.items()
        }
        at.history.append(
            {
                "loss": loss,
                "learning_rate": rate,
                "counts": {part: table.tolist() for part, table in tables.items()},
            }
        )
        at.epoch = epoch
        if kept_epoch(at.history, how.selection, ties) == epoch:
            at.best_epoch = epoch
            at.best = copy.deepcopy(model.state_dict())
        if save is not None:
            at.model = model.state_dict()
            at.momentum = {
                name: optimiser.state[p]["momentum_buffer"]
                for name, p in moved.items()
                if "momentum_buffer" in optimiser.state[p]
            }
            save(at)
    for parameter in frozen.values():
        parameter.grad = None
    model.load_state_dict(at.best)
    return VisionFit(at.best_epoch, at.history, resumed_from)


def kept_epoch(history: list[dict[str, Any]], rule: str, ties: str = "first") -> int:
    """Return the epoch (from 1) that a selection rule keeps.

    Parameters
    ----------
    history
        As in :class:`VisionFit`.
    rule
        ``accuracy``, ``worst_group`` (both on part "validation") or ``last``.
    ties
        Whether the ``first`` or the ``last`` of equals is kept.
    """
    if rule == "last":
        return len(history)
    scores = []
    for entry in history:
        table = np.asarray(entry["counts"]["validation"])
        correct = np.stack([table[0, :, 0], table[1, :, 1]])
        if rule == "accuracy":
            scores.append(correct.sum() / table.sum())
        else:
            size = table.sum(axis=2)
            if (size == 0).any():
                t, p = np.argwhere(size == 0)[0]
                raise TrainingError(
                    f"selection by worst group: the validation part has no image of group "
                    f"(target={t}, protected={p}); choose selection 'accuracy' or 'last'"
                )
            scores.append((correct / size).min())
    best = np.flatnonzero(np.asarray(scores) == max(scores)) + 1
    return int(best[0] if ties == "first" else best[-1])


def _one_epoch(
    model: nn.Module,
    given: Iterable[tuple[Tensor, Tensor]],
    how: ImageOptimisation,
    optimiser: torch.optim.Optimizer,
    device: str,
    *,
    decay_frozen: bool,
) -> float:
    """Train once over the batches; return the mean loss."""
    total, images = torch.zeros((), device=device), 0
    for inputs, target in given:
        with autocast(how.precision, device):
            logits = model(inputs)
        loss = bce(logits, target)
        optimiser.zero_grad(set_to_none=not decay_frozen)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total += loss.detach() * len(target)
        images += len(target)
    return float(total) / images
