"""Training of image classifiers with one logit: AIM-Fair's loop, for any model and any tensors.

Images stay in memory as bytes and become a batch (cropped, flipped, normalised, each image its
own way) where they train. What differs between strategies is passed in: which images, which
tensors require gradients, and how the model is put into training mode.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from repro.data import augment
from repro.metrics import confusion_counts
from repro.settings import ImageOptimisation
from repro.training import TrainingError


class Stack:
    """Two sets of images of one size behind one index, so that neither is copied.

    Parameters
    ----------
    first, second
        (n, 3, s, s) and (m, 3, s, s) uint8; row i >= n is image i - n of ``second``.
    """

    def __init__(self, first: Tensor, second: Tensor) -> None:
        self.first, self.second = first, second
        self.shape = (len(first) + len(second), *first.shape[1:])

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Return the images (k, 3, s, s) of rows (k,)."""
        early = rows < len(self.first)
        images = torch.empty((len(rows), *self.shape[1:]), dtype=torch.uint8)
        images[early] = self.first[rows[early]]
        images[~early] = self.second[rows[~early] - len(self.first)]
        return images


@dataclass(frozen=True)
class Faces:
    """Images with labels: ``rows`` of ``images``, whose target and protected attribute these are.

    Attributes
    ----------
    images
        Bytes, shape (N, 3, s, s), uint8, in memory or memory-mapped, or two such sets.
    rows
        Which of them, shape (n,), int64.
    target, protected
        Shape (n,), 0 or 1, int64.
    names
        Names of the n examples, for the record of predictions.
    aspect
        Width over height of the original frame (the images are squashed to squares), one number
        or (n,) of each example.
    """

    images: Tensor | Stack
    rows: Tensor
    target: Tensor
    protected: Tensor
    names: np.ndarray
    aspect: float | Tensor = 1.0

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.rows)

    def subset(self, positions: np.ndarray) -> Faces:
        """Return the examples at these positions, in this order."""
        at = torch.from_numpy(np.asarray(positions, dtype=np.int64))
        aspect = self.aspect[at] if isinstance(self.aspect, Tensor) else self.aspect
        return Faces(self.images, self.rows[at], self.target[at], self.protected[at],
                     self.names[positions], aspect)  # fmt: skip

    def aspects(self) -> Tensor:
        """Return width over height of the original frame of each example, (n,)."""
        return torch.as_tensor(self.aspect, dtype=torch.float64).expand(len(self))


def joined(first: Faces, second: Faces) -> Faces:
    """Return both sets as one, each image cropped as it was; images of the same size."""
    if isinstance(first.images, Stack) or isinstance(second.images, Stack):
        raise TypeError("a joined set cannot be joined again")
    return Faces(
        Stack(first.images, second.images),
        torch.cat([first.rows, second.rows + len(first.images)]),
        torch.cat([first.target, second.target]),
        torch.cat([first.protected, second.protected]),
        np.concatenate([first.names, second.names]),
        torch.cat([first.aspects(), second.aspects()]),
    )


def stream(*words: str | int) -> int:
    """Return a seed for a random stream of its own, by what it is for: never shared by accident."""
    text = " ".join(map(str, words))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


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
    """

    epoch: int
    history: list[dict[str, Any]]


def bce(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of logits (n,) or (n, 1) for targets (n,)."""
    return binary_cross_entropy_with_logits(logits.float().reshape(-1), target.float())


def batches(
    faces: Faces,
    how: ImageOptimisation,
    *,
    seed: int,
    epoch: int = 1,
    purpose: str = "training",
    augmented: bool = True,
    device: str = "cpu",
    limit: int | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (inputs (b, 3, s, s) float32, target (b,)) once over ``faces``, shuffled.

    The order and every crop and flip follow from ``purpose``, ``seed`` and ``epoch`` alone, so that
    a training which was interrupted goes on as if it had not been. A last batch that is smaller
    than the others is left out, as by the authors' loaders, unless it is the only one.

    Parameters
    ----------
    purpose
        What the batches are for: two purposes have independent orders and crops.
    limit
        At most this many batches.
    """
    generator = torch.Generator().manual_seed(stream("batches", purpose, seed, epoch))
    order = torch.randperm(len(faces), generator=generator)
    size = faces.images.shape[-1]
    for done, start in enumerate(range(0, len(faces), how.batch_size)):
        at = order[start : start + how.batch_size]
        short = done > 0 and len(at) < how.batch_size
        if (limit is not None and done >= limit) or len(at) < 2 or short:
            return
        images = faces.images[faces.rows[at]].to(device, non_blocking=True)
        if augmented:
            inputs = augment.random_resized_crop(
                images,
                size,
                generator=generator,
                scale=(how.smallest_crop, 1.0),
                aspect=faces.aspect[at] if isinstance(faces.aspect, Tensor) else faces.aspect,
                flip=how.flip,
            )
        else:
            inputs = augment.plain(images)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        yield inputs, faces.target[at].to(device, non_blocking=True)


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
    parts = []
    try:
        for start in range(0, len(faces), batch):
            images = faces.images[faces.rows[start : start + batch]].to(device)
            inputs = augment.plain(images).contiguous(memory_format=torch.channels_last)
            with _autocast(device, precision):
                parts.append(model(inputs).float().reshape(-1).cpu())
    finally:
        for module, training in modes.items():
            module.training = training
    return torch.cat(parts)


def counts_of(logits: Tensor, faces: Faces) -> np.ndarray:
    """Return the confusion counts (2, 2, 2) [t, p, yhat] at threshold 0.5 of the probability."""
    predicted = probability(logits) > 0.5
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
    optimiser = torch.optim.SGD(
        trainable.values(),
        lr=how.learning_rate,
        momentum=how.momentum,
        weight_decay=how.weight_decay,
        fused=True,
    )
    at = progress or Progress()
    if at.epoch:
        model.load_state_dict(at.model)
        for name, parameter in trainable.items():
            if name in at.momentum:
                # Laid out as the parameter is: the fused step reads both by address.
                buffer = torch.empty_like(parameter, requires_grad=False)
                optimiser.state[parameter]["momentum_buffer"] = buffer.copy_(at.momentum[name])
    for epoch in range(at.epoch + 1, how.epochs + 1):
        rate = how.learning_rate * 0.1 ** sum(epoch > milestone for milestone in how.milestones)
        for group in optimiser.param_groups:
            group["lr"] = rate
        set_train_mode(model)
        with torch.random.fork_rng():  # of dropout, for models that have it
            torch.manual_seed(stream("dropout", purpose, seed, epoch))
            given = batches(train, how, seed=seed, epoch=epoch, purpose=purpose, device=device)
            loss = _one_epoch(model, given, how, optimiser, device)
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
        if kept_epoch(at.history, how.selection) == epoch:
            at.best_epoch = epoch
            at.best = copy.deepcopy(model.state_dict())
        if save is not None:
            at.model = model.state_dict()
            at.momentum = {
                name: optimiser.state[p]["momentum_buffer"]
                for name, p in trainable.items()
                if "momentum_buffer" in optimiser.state[p]
            }
            save(at)
    model.load_state_dict(at.best)
    return VisionFit(at.best_epoch, at.history)


def kept_epoch(history: list[dict[str, Any]], rule: str) -> int:
    """Return the epoch (from 1) that a selection rule keeps; the first of equals.

    Parameters
    ----------
    history
        As in :class:`VisionFit`.
    rule
        ``accuracy``, ``worst_group`` (both on part "validation") or ``last``.
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
    return int(np.argmax(scores)) + 1


def _one_epoch(
    model: nn.Module,
    given: Iterable[tuple[Tensor, Tensor]],
    how: ImageOptimisation,
    optimiser: torch.optim.Optimizer,
    device: str,
) -> float:
    """Train once over the batches; return the mean loss."""
    total, images = torch.zeros((), device=device), 0
    for inputs, target in given:
        with _autocast(device, how.precision):
            logits = model(inputs)
        loss = bce(logits, target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total += loss.detach() * len(target)
        images += len(target)
    return float(total) / images


def _autocast(device: str, precision: str) -> torch.autocast:
    kind = torch.device(device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=precision == "bfloat16")
