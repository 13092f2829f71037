"""The classifiers have the sizes that the study says, and their last layer can be listened to."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import nn

from repro.models import MLP_LAYERS, build, head_inputs, mlp, parameter_count
from repro.names import UnknownNameError


@pytest.mark.parametrize("layers", [2, 3, 4, 5])
def test_shapes_and_layers(layers: int) -> None:
    model = mlp(7, layers=layers, hidden=10, classes=2, seed=0)
    linear = [module for module in model if isinstance(module, nn.Linear)]
    shapes = [(layer.in_features, layer.out_features) for layer in linear]
    assert shapes == [(7, 10)] + [(10, 10)] * (layers - 2) + [(10, 2)]
    relus = [type(module) for module in model][1::2]
    assert relus == [nn.ReLU] * (layers - 1)
    assert model(torch.zeros(3, 7)).shape == (3, 2)


def test_one_layer_is_not_a_multi_layer_perceptron() -> None:
    with pytest.raises(ValueError, match="at least 2 linear layers, not 1"):
        mlp(7, layers=1, hidden=10, classes=2, seed=0)


def test_the_networks_of_742_parameters() -> None:
    # The size that the paper gives for Retrain, with its 10 hidden units and 2 classes.
    sizes = {
        (inputs, layers): parameter_count(mlp(inputs, layers=layers, hidden=10, classes=2, seed=0))
        for inputs, layers in product(range(1, 121), (2, 3, 4, 5))
    }
    assert [of for of, size in sizes.items() if size == 742] == [
        (38, 5), (49, 4), (60, 3), (71, 2),
    ]  # fmt: skip


def test_only_what_trains_is_counted() -> None:
    model = mlp(7, layers=2, hidden=10, classes=2, seed=0)
    model[0].requires_grad_(False)
    assert parameter_count(model) == 7 * 10 + 10 + 10 * 2 + 2
    assert parameter_count(model, trainable_only=True) == 10 * 2 + 2


def test_seed_alone_fixes_the_start() -> None:
    torch.manual_seed(1)
    first = mlp(7, layers=3, hidden=10, classes=2, seed=4)
    drawn = torch.rand(3)
    second = mlp(7, layers=3, hidden=10, classes=2, seed=4)
    other = mlp(7, layers=3, hidden=10, classes=2, seed=5)
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )
    assert not torch.equal(first[0].weight, other[0].weight)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), drawn)  # and building draws from nobody else's numbers


def test_build_by_name() -> None:
    for name, layers in MLP_LAYERS.items():
        model = build(name, 7, hidden=10, classes=2, seed=0)
        assert sum(isinstance(module, nn.Linear) for module in model.modules()) == layers
    with pytest.raises(UnknownNameError, match="unknown architecture 'mlp3'; did you mean 'mlp-3'"):
        build("mlp3", 7, hidden=10, classes=2, seed=0)


@pytest.mark.parametrize("batch", [4, 10, 1000])
@pytest.mark.parametrize("training", [True, False])
def test_head_inputs_are_what_reaches_the_head(batch: int, training: bool) -> None:
    model = nn.Sequential(nn.Linear(7, 10), nn.ReLU(), nn.Dropout(0.5), nn.Linear(10, 2))
    model.train(training)
    x = torch.randn(10, 7, generator=torch.Generator().manual_seed(0))
    inside = head_inputs(model, model[3], x, batch)
    torch.testing.assert_close(inside, model[0](x).relu())
    assert not inside.requires_grad
    assert model.training is training
    assert len(model[3]._forward_pre_hooks) == 0


def test_head_inputs_wants_a_part_of_the_model() -> None:
    model = mlp(7, layers=2, hidden=10, classes=2, seed=0)
    with pytest.raises(ValueError, match="not a module of this model"):
        head_inputs(model, nn.Linear(10, 2), torch.zeros(1, 7))


def test_head_inputs_leaves_the_model_as_it_was_when_the_pass_fails() -> None:
    model = mlp(7, layers=2, hidden=10, classes=2, seed=0).train()
    with pytest.raises(RuntimeError):
        head_inputs(model, model[2], torch.zeros(1, 8))
    assert model.training
    assert len(model[2]._forward_pre_hooks) == 0
