"""Reduced precision changes no conclusion: bfloat16 stays within what another seed changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from repro.data.splits import biased_split
from repro.data.toyfaces import ToyFaces, factors, render
from repro.metrics import flatten_metrics, metrics_from_counts
from repro.models import image_classifier
from repro.settings import ImageOptimisation
from repro.vision import Faces, fit

METRICS = ("accuracy", "worst_group_accuracy", "equalized_odds_max")
FLOOR = 0.02  # a difference that no claim rests on, should all seeds happen to agree
SEEDS = (0, 1, 2, 3, 4)
FACES = ToyFaces(n=6000, seed=4, size=32, clutter=0, noise=0, smile_strength=2)
# Small and easy enough that all seeds learn to tell a smile within seconds, and still unfair.
HOW = ImageOptimisation(
    learning_rate=0.02,
    epochs=4,
    milestones=(3,),
    batch_size=32,
    smallest_crop=1.0,
    selection="last",
)


def in_rows(images: Tensor) -> Tensor:
    """Lay images out as PyTorch does by default, channel after channel."""
    return images.contiguous()


def of_two_levels(images: Tensor) -> Tensor:
    """Round inputs to 1 bit: a precision that does lose what the classifier needs."""
    return images.sign()


@pytest.fixture(scope="module")
def parts() -> tuple[Faces, Faces]:
    """A training set biased 1:9, and a test set."""
    table = factors(FACES).assign(yaw=0.0, pose="frontal", Wearing_Hat=0, Beard=0, roll=0.5)
    images = render(table, FACES)
    target, protected = (table[name].to_numpy(np.int64) for name in ("Smiling", "Male"))

    def at(rows: np.ndarray) -> Faces:
        labels = (torch.from_numpy(values[rows]) for values in (target, protected))
        return Faces(images, torch.from_numpy(rows), *labels, table.index.to_numpy()[rows])

    return at(biased_split(target[:4500], protected[:4500], 2400)), at(np.arange(4500, 6000))


def trained(
    parts: tuple[Faces, Faces],
    precision: str,
    layout: torch.memory_format,
    before: Callable[[Tensor], Tensor] | None = None,
) -> np.ndarray:
    """(seeds, metrics) of the test part."""
    found = []
    how = HOW.model_copy(update={"precision": precision})
    for seed in SEEDS:
        model = image_classifier("resnet18", width=8, seed=seed).to(memory_format=layout)  # type: ignore[call-overload]
        if before is not None:
            model.register_forward_pre_hook(lambda _, given: (before(given[0]),))
        fitted = fit(model, parts[0], {"test": parts[1]}, how, seed=seed)
        counts = np.asarray(fitted.history[-1]["counts"]["test"])
        metrics = flatten_metrics(metrics_from_counts(counts))
        found.append([metrics[name] for name in METRICS])
    return np.array(found)


@pytest.mark.slow
def test_bfloat16_with_channels_last_changes_no_conclusion(parts: tuple[Faces, Faces]) -> None:
    exact = trained(parts, "float32", torch.contiguous_format, in_rows)
    fast = trained(parts, "bfloat16", torch.channels_last)
    coarse = trained(parts, "float32", torch.channels_last, of_two_levels)
    # Two standard errors of the difference of two means of as many seeds.
    allowed = 2 * exact.std(axis=0, ddof=1) * np.sqrt(2 / len(SEEDS)) + FLOOR
    off_fast, off_coarse = (np.abs(r.mean(axis=0) - exact.mean(axis=0)) for r in (fast, coarse))
    assert exact.mean(axis=0)[0] > 0.85  # it has learnt, else there is no conclusion to change
    assert (off_fast <= allowed).all(), (off_fast, allowed)
    # What is asked can fail: measured here, every metric leaves the band with inputs of 1 bit.
    assert (off_coarse > allowed).any(), (off_coarse, allowed)
