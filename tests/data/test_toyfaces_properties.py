"""What the toy faces are for: solvable, biasable, and with a domain gap, all by training."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import NamedTuple

from repro import numerics

if __name__ == "__main__":  # before torch is loaded
    numerics.hold()

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from repro.data.splits import GROUPS, biased_split
from repro.data.toyfaces import ToyFaces, render
from repro.data.toyfaces.factors import draw_factors
from repro.layout import place
from repro.models import image_classifier
from repro.precision import autocast

BALANCED, BIASED = 1.0, 1 / 9  # small groups over large ones; the latter as AIM-Fair's
SIZE, TRAIN, ENOUGH, TEST, EPOCHS, BATCH, RATE = 32, 2400, 3600, 4000, 10, 64, 0.03
WIDTH = 16  # a quarter of ResNet-18's, as in profile `quick`
# Where all three hold: bias costs 11.4 points of the worst group and 0.17 of equalised odds. At 1.2
# it costs more, but the worst group of the first is then lower.
GENDER = 0.8
# Models of studio images differ most: their accuracies on camera images lie between 90 and 96 %.
DRAWS = {"enough": 2, "balanced": 2, "biased": 2, "studio": 6}


class Faces(NamedTuple):
    images: Tensor
    target: Tensor
    protected: Tensor


class Scores(NamedTuple):
    accuracy: float
    groups: np.ndarray  # (2, 2) [t, p]

    @property
    def equalised_odds(self) -> float:
        """The larger of the gaps of the true and of the false positive rate."""
        return float(np.abs(self.groups[:, 0] - self.groups[:, 1]).max())


def _faces(n: int, seed: int, ratio: float, domain: str) -> Faces:
    table = draw_factors(3 * n, seed=seed)
    table = table.iloc[biased_split(table["Smiling"], table["Male"], n, bias_ratio=ratio)]
    labels = [torch.tensor(table[name].to_numpy()).long() for name in ("Smiling", "Male")]
    return Faces(render(table, ToyFaces(size=SIZE, domain=domain, gender_strength=GENDER)), *labels)


def _inputs(images: Tensor) -> Tensor:
    scaled = (images.float() / 255 - 0.5) / 0.5
    return scaled.contiguous(memory_format=torch.channels_last)


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    with autocast("bfloat16"):
        logits: Tensor = model(_inputs(images))
    return logits.float().squeeze(1)


def _trained(faces: Faces, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    model = place(image_classifier("resnet18", width=WIDTH, seed=seed))
    steps = EPOCHS * -(-len(faces.images) // BATCH)
    optimiser = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, RATE, total_steps=steps, pct_start=0.2
    )
    model.train()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(faces.images), generator=generator).split(BATCH):
            images = faces.images[rows]
            flipped = torch.rand(len(rows), generator=generator) < 0.5
            images = torch.where(flipped[:, None, None, None], images.flip(3), images)
            loss = binary_cross_entropy_with_logits(
                _logits(model, images), faces.target[rows].float()
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def _scores(model: nn.Module, faces: Faces) -> Scores:
    positive = torch.cat([_logits(model, images) for images in faces.images.split(400)]) > 0
    correct = (positive == faces.target.bool()).numpy()
    target, protected = faces.target.numpy(), faces.protected.numpy()
    groups = [correct[(target == t) & (protected == p)].mean() for t, p in GROUPS]
    return Scores(float(correct.mean()), np.reshape(groups, (2, 2)))


@pytest.fixture(scope="module")
def scores() -> dict[str, Scores]:
    """What `measured` finds in a process of its own, in portable numbers.

    What one model scores moves by points from one processor to another all the same: of two draws
    the gap between domains was 6.6 on one and 2.2 on another, so it is a mean of more.
    """
    done = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, check=True, timeout=1200
    )
    found = json.loads(done.stdout)
    return {name: Scores(value, np.array(groups)) for name, (value, groups) in found.items()}


def measured() -> dict[str, Scores]:
    """Models trained on as many images, and one on enough, tested on the same camera images.

    Means over draws of all images and initialisations: one draw alone moves the worst group by a
    point and the gap between domains by two.
    """
    torch.set_num_threads(1)
    tests = [_faces(TEST, 900 + draw, BALANCED, "camera") for draw in range(2)]
    #: name -> images, where seeds begin, bias ratio, domain
    sets = {
        "enough": (ENOUGH, 100, BALANCED, "camera"),
        "balanced": (TRAIN, 100, BALANCED, "camera"),
        "biased": (TRAIN, 200, BIASED, "camera"),
        "studio": (TRAIN, 300, BALANCED, "studio"),
    }
    found = {
        name: [
            _scores(_trained(_faces(n, first + draw, *kind), seed=draw), tests[draw % 2])
            for draw in range(DRAWS[name])
        ]
        for name, (n, first, *kind) in sets.items()
    }
    return {
        name: Scores(
            float(np.mean([s.accuracy for s in of_draws])),
            np.mean([s.groups for s in of_draws], axis=0),
        )
        for name, of_draws in found.items()
    }


@pytest.mark.slow
def test_balanced_camera_images_serve_every_group(scores: dict[str, Scores]) -> None:
    assert scores["enough"].groups.min() >= 0.95


@pytest.mark.slow
def test_biased_camera_images_make_a_biased_model(scores: dict[str, Scores]) -> None:
    worst = {name: scores[name].groups.min() for name in ("balanced", "biased")}
    assert worst["balanced"] - worst["biased"] >= 0.08
    assert scores["biased"].equalised_odds >= 0.08


@pytest.mark.slow
def test_studio_images_leave_a_domain_gap(scores: dict[str, Scores]) -> None:
    assert scores["balanced"].accuracy - scores["studio"].accuracy >= 0.03


if __name__ == "__main__":
    print(json.dumps({name: (s.accuracy, s.groups.tolist()) for name, s in measured().items()}))
