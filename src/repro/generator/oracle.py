"""A classifier that reads many attributes of a face at once, to see what a generator drew.

It is trained on other images than the generator: held-out toy faces, or CelebA and UTKFace.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from repro.data import augment
from repro.generator.settings import Schedule
from repro.generator.trainer import fit
from repro.layout import layout_of, place
from repro.models import head_inputs, image_classifier, last_linear
from repro.vision import stream

_AT_ONCE = 512  # images that are read together
UNKNOWN = -1
"""Label of an attribute that is not known of an image, which teaches nothing."""


@dataclass
class Oracle:
    """A trained reader.

    Attributes
    ----------
    model
        Maps (n, 3, s, s) inputs to (n, classes of all attributes).
    classes
        The values of each attribute, in the order of the outputs.
    """

    model: nn.Module
    classes: Mapping[str, tuple[object, ...]]

    @torch.no_grad()
    def read(self, images: Tensor) -> pd.DataFrame:
        """Return the most probable value of each attribute, n rows.

        Parameters
        ----------
        images
            (n, 3, s, s) uint8.
        """
        logits = torch.cat([self.model(_inputs(part)) for part in torch.split(images, _AT_ONCE)])
        read, start = {}, 0
        for name, values in self.classes.items():
            best = logits[:, start : start + len(values)].argmax(dim=1).numpy()
            read[name] = np.array(values, dtype=object)[best]
            start += len(values)
        return pd.DataFrame(read)

    def features(self, images: Tensor) -> NDArray[np.float64]:
        """Return what reaches the last layer, (n, d)."""
        _, head = last_linear(self.model)
        parts = [
            head_inputs(self.model, head, _inputs(part)) for part in torch.split(images, _AT_ONCE)
        ]
        return torch.cat(parts).double().numpy()


def _inputs(images: Tensor) -> Tensor:
    return augment.plain(images).contiguous(memory_format=torch.channels_last)


def train(
    images: Tensor,
    table: pd.DataFrame,
    classes: Mapping[str, tuple[object, ...]],
    *,
    steps: int,
    seed: int = 0,
    architecture: str = "resnet18",
    width: int = 32,
    batch_size: int = 128,
    flip: bool = True,
) -> Oracle:
    """Train a classifier on images and a table of their attributes.

    Parameters
    ----------
    images
        (n, 3, s, s) uint8.
    table
        n rows; a value that is missing, or not among ``classes``, is not learnt from.
    classes
        The values of each attribute (a column).
    steps, batch_size
        How long it trains.
    architecture, width
        As :func:`repro.models.image_classifier` builds them, but with outputs for all attributes.
    flip
        Whether images may be mirrored.
    """
    labels = torch.stack(
        [
            torch.from_numpy(
                pd.Index(values, dtype=object).get_indexer(pd.Index(table[name].astype(object)))
            )
            for name, values in classes.items()
        ],
        dim=1,
    )  # pandas gives what is missing, or not among the values, -1, which is UNKNOWN
    model = image_classifier(architecture, width=width, seed=seed)
    at, head = last_linear(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream("oracle", seed))
        outputs = sum(len(values) for values in classes.values())
        model.set_submodule(at, nn.Linear(head.in_features, outputs))
    place(model)

    def loss_of(step: int) -> Tensor:
        """Return the cross-entropy of what is known of a batch."""
        generator = torch.Generator().manual_seed(stream("oracle batch", seed, step))
        rows = torch.randint(len(images), (batch_size,), generator=generator)
        inputs = augment.random_resized_crop(
            images[rows],
            images.shape[-1],
            generator=generator,
            scale=(0.7, 1.0),
            flip=0.5 if flip else 0.0,
        ).contiguous(memory_format=layout_of(model))
        logits, start = model(inputs), 0
        total = logits.sum() * 0  # of a batch of which nothing is known, too
        for at, values in enumerate(classes.values()):
            target, part = labels[rows, at], logits[:, start : start + len(values)].float()
            start += len(values)
            if (target != UNKNOWN).any():
                total = total + cross_entropy(part, target, ignore_index=UNKNOWN)
        return cast(Tensor, total)

    # Without an average of the weights, which would not fit BatchNorm's statistics.
    how = Schedule(
        steps=steps, batch_size=batch_size, learning_rate=2e-3, warmup=50, average=0.0,
        weight_decay=1e-2,
    )  # fmt: skip
    fit(model, how, loss_of, say=lambda words: None)
    return Oracle(model, dict(classes))
