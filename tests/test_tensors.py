"""Tests of `repro.tensors` against torchvision's classifiers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchvision import models

from repro.names import UnknownNameError
from repro.tensors import RESNETS, block_of, kind_of, resnet_tensors


@pytest.mark.parametrize("architecture", RESNETS)
def test_the_tensors_of_a_resnet_are_torchvisions(architecture: str) -> None:
    with torch.device("meta"):
        model = models.get_model(architecture)
    assert resnet_tensors(architecture) == [name for name, _ in model.named_parameters()]


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("conv1.weight", "stem"),
        ("bn1.bias", "stem"),
        ("layer4.1.bn2.weight", "layer4"),
        ("fc.bias", "fc"),
        ("features.conv0.weight", "stem"),
        ("features.norm0.weight", "stem"),
        ("features.denseblock2.denselayer1.norm1.weight", "features.denseblock2"),
        ("features.transition2.conv.weight", "features.denseblock2"),
        ("features.norm5.bias", "features.denseblock4"),
        ("classifier.weight", "classifier"),
        ("classifier.3.bias", "classifier.3"),
        ("features.5.0.block.0.weight", "features.5"),
        ("class_token", "stem"),
        ("encoder.pos_embedding", "stem"),
        ("encoder.layers.encoder_layer_7.ln_1.weight", "encoder.layers.encoder_layer_7"),
        ("heads.head.weight", "heads.head"),
        ("trunk_output.block3.block3-1.f.a.0.weight", "trunk_output.block3"),
        ("2.weight", "2"),
    ],
)
def test_block_of(name: str, block: str) -> None:
    assert block_of(name) == block


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (
            models.resnet18,
            {
                "conv": 20,
                "batchnorm weight": 20,
                "batchnorm bias": 20,
                "linear weight": 1,
                "linear bias": 1,
            },
        ),
        (
            models.vgg11_bn,
            {
                "conv": 8,
                "conv bias": 8,
                "batchnorm weight": 8,
                "batchnorm bias": 8,
                "linear weight": 3,
                "linear bias": 3,
            },
        ),
        (
            models.convnext_tiny,
            {
                "conv": 22,
                "conv bias": 22,
                "layernorm weight": 23,
                "layernorm bias": 23,
                "linear weight": 37,
                "linear bias": 37,
                "cnblock layer_scale": 18,
            },
        ),
    ],
)
def test_kind_of(build: Callable[..., nn.Module], expected: dict[str, int]) -> None:
    with torch.device("meta"):
        model = build(weights=None)
    kinds = [kind_of(model, name) for name, _ in model.named_parameters()]
    assert {kind: kinds.count(kind) for kind in kinds} == expected


def test_kind_of_an_unknown_tensor_is_short_and_helpful() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'bn1.weight'\? \(ResNet has 62"):
        kind_of(models.resnet18(), "bn1.wieght")
