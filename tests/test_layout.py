"""Tests of `repro.layout`: who lies channels last, and that the narrow ones can be trained."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from repro.layout import layout_of, place
from repro.models import image_classifier, mlp


@pytest.mark.parametrize(
    ("width", "layout"),
    [(4, torch.contiguous_format), (7, torch.contiguous_format), (8, torch.channels_last)],
)
def test_narrow_networks_stay_channels_first(width: int, layout: torch.memory_format) -> None:
    model = place(image_classifier("resnet18", width=width, seed=0))
    assert layout_of(model) is layout
    weight = model.get_parameter("layer1.0.conv1.weight")
    assert weight.is_contiguous(memory_format=layout)


def test_without_a_convolution_the_layout_means_nothing() -> None:
    assert layout_of(mlp(4, layers=2, hidden=3, classes=2, seed=0)) is torch.channels_last


@pytest.mark.parametrize("width", [4, 8])
def test_the_backward_pass_leaves_memory_whole(width: int) -> None:
    # In a process of its own: where memory is written past its end, the process is lost.
    code = f"""
import torch
from repro.layout import layout_of, place
from repro.models import image_classifier
torch.set_num_threads(1)
model = place(image_classifier("resnet18", width={width}, seed=0))
for _ in range(10):
    for batch in (64, 30, 7):
        images = torch.randn(batch, 3, 32, 32).contiguous(memory_format=layout_of(model))
        model(images).square().mean().backward()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
