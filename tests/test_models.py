"""The classifiers have the sizes that the study says, and start from the weights that it says."""

from __future__ import annotations

import pickle
import urllib.error
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from repro import models
from repro.models import (
    MLP_LAYERS,
    NarrowResNet,
    WeightsError,
    build,
    head_inputs,
    image_architectures,
    image_classifier,
    last_linear,
    mlp,
    parameter_count,
)
from repro.names import UnknownNameError
from repro.settings import SettingsError


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


# The last linear layer


def test_last_linear_is_the_head_itself() -> None:
    model = mlp(7, layers=3, hidden=10, classes=2, seed=0)
    name, layer = last_linear(model)
    assert name == "4"
    assert layer is model[4]
    assert last_linear(nn.Linear(3, 2))[0] == ""


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 2, 1)), "Sequential has no linear layer"),
        (nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), "last .* '1', a BatchNorm1d"),
    ],
)
def test_a_model_without_a_linear_head(model: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        last_linear(model)


# Image classifiers


def state(model: nn.Module) -> dict[str, Tensor]:
    return model.state_dict()


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


def test_at_width_64_it_is_torchvisions_own() -> None:
    ours = image_classifier("resnet18", seed=3)
    torch.manual_seed(3)
    theirs = torchvision.models.resnet18(weights=None, num_classes=1)
    assert equal(state(ours), state(theirs))
    assert not equal(state(ours), state(image_classifier("resnet18", seed=4)))


@pytest.mark.parametrize(("architecture", "tensors"), [("resnet18", 62), ("resnet34", 110)])
@pytest.mark.parametrize("width", [4, 16])
def test_a_narrow_resnet_has_the_same_tensors_in_proportion(
    architecture: str, tensors: int, width: int
) -> None:
    narrow = dict(image_classifier(architecture, width=width, seed=0).named_parameters())
    with torch.device("meta"):
        whole = dict(torchvision.models.get_model(architecture, num_classes=1).named_parameters())
    assert list(narrow) == list(whole)
    assert len(narrow) == tensors
    for name, parameter in whole.items():
        # Of a size only what counts channels becomes smaller: all but kernels, colours, the logit.
        expected = [n * width // 64 if n >= 64 else n for n in parameter.shape]
        assert list(narrow[name].shape) == expected, name


def test_a_narrow_resnet_at_full_width_computes_what_torchvisions_does() -> None:
    theirs = image_classifier("resnet18", seed=1).eval()
    ours = NarrowResNet([2, 2, 2, 2], width=64).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ours(x), theirs(x))


def test_a_narrow_resnet_starts_as_torchvisions_does() -> None:
    """Of the same spread, layer by layer, whatever the width."""
    model = image_classifier("resnet18", width=16, seed=0)
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):  # Kaiming, fan out
            fan = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
            assert float(module.weight.detach().std()) == pytest.approx(
                (2 / fan) ** 0.5, rel=0.1
            ), name
        if isinstance(module, nn.BatchNorm2d):
            assert bool((module.weight == 1).all() and (module.bias == 0).all()), name


@pytest.mark.parametrize(
    "made",
    [
        partial(mlp, 7, layers=3, hidden=10, classes=2),
        partial(image_classifier, "resnet18", width=4),
    ],
    ids=["mlp", "resnet18"],
)
def test_seed_alone_fixes_the_start(made: Callable[..., nn.Module]) -> None:
    torch.manual_seed(1)
    first = state(made(seed=4))
    drawn = torch.rand(3)
    assert equal(first, state(made(seed=4)))
    assert not equal(first, state(made(seed=5)))
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), drawn)  # and building draws from nobody else's numbers


@pytest.mark.parametrize(
    ("architecture", "head"),
    [("mobilenet_v3_small", "classifier.3"), ("densenet121", "classifier")],
)
def test_other_classifiers_of_torchvision(architecture: str, head: str) -> None:
    model = image_classifier(architecture, seed=0).eval()
    name, layer = last_linear(model)
    assert (name, layer.out_features) == (head, 1)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 1)


def test_every_architecture_has_one_logit() -> None:
    names = image_architectures()
    assert {"resnet18", "resnet50", "vgg16", "vit_b_16", "convnext_tiny"} <= set(names)
    assert not {"googlenet", "inception_v3"} & set(names)  # these return more than one output
    with torch.device("meta"):
        for name in ("resnet50", "vit_b_16", "convnext_tiny", "squeezenet1_0"):
            model = torchvision.models.get_model(name, num_classes=1).eval()
            assert model(torch.empty(2, 3, 224, 224)).shape == (2, 1), name


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"architecture": "resnet81"}, UnknownNameError, "'resnet81'; did you mean 'resnet18'"),
        ({"architecture": "googlenet"}, UnknownNameError, "unknown architecture 'googlenet'"),
        ({"initialisation": "imagnet"}, UnknownNameError, "'imagnet'; did you mean 'imagenet'"),
        (
            {"architecture": "resnet50", "width": 16},
            SettingsError,
            "width 16: only resnet18 and resnet34 can be built narrower; resnet50 has width 64",
        ),
        (
            {"width": 16, "initialisation": "imagenet"},
            SettingsError,
            "ImageNet weights are for width 64; set initialisation 'scratch'",
        ),
        ({"initialisation": "file"}, SettingsError, "needs weights_file, a safetensors file"),
    ],
)
def test_what_cannot_be_built_is_said(
    given: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        image_classifier(**{"architecture": "resnet18", "seed": 0, **given})


# Weights from a file


def weights(**changed: Any) -> dict[str, Tensor]:
    """Return weights of a narrow ResNet-18, or of what is asked for."""
    found = image_classifier(**{"architecture": "resnet18", "width": 4, "seed": 9, **changed})
    return {name: tensor.contiguous() for name, tensor in state(found).items()}


def from_file(path: Path, **given: Any) -> dict[str, Tensor]:
    given = {"architecture": "resnet18", "width": 4, "seed": 0, **given}
    return state(image_classifier(initialisation="file", weights_file=path, **given))


def test_weights_of_a_file_are_loaded(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(weights(), path)
    assert equal(from_file(path), weights())
    assert equal(from_file(path, seed=1), weights())  # nothing is left to the seed


def test_a_head_of_another_size_stays_new(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    stored = weights()
    save_file(stored | {"fc.weight": torch.ones(1000, 32), "fc.bias": torch.ones(1000)}, path)
    found, new = from_file(path, seed=5), state(image_classifier("resnet18", width=4, seed=5))
    for name, tensor in found.items():
        assert torch.equal(tensor, new[name] if name.startswith("fc.") else stored[name]), name


def test_a_file_without_a_head_or_without_counts_of_batches(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    left = ("fc.", "num_batches_tracked")
    save_file({n: t for n, t in weights().items() if not any(word in n for word in left)}, path)
    found = from_file(path, seed=5)
    assert torch.equal(found["layer4.1.conv2.weight"], weights()["layer4.1.conv2.weight"])
    assert found["bn1.num_batches_tracked"] == 0


@pytest.mark.parametrize(
    ("stored", "asked", "message"),
    [
        ({}, {"width": 8}, r"not weights of this NarrowResNet: 10\d tensors differ, first bn1\."),
        ({}, {"width": 64}, r"not weights of this ResNet: \d+ tensors differ, first bn1\.bias"),
        (
            {"architecture": "resnet34"},
            {},
            r"\d+ tensors differ, first layer1\.2\.bn1\.bias, .*; check architecture and width",
        ),
        (
            {"architecture": "mobilenet_v3_small", "width": 64},
            {},
            r"w\.safetensors: not weights of this NarrowResNet",
        ),
    ],
)
def test_weights_of_another_architecture_name_tensors(
    tmp_path: Path, stored: dict[str, Any], asked: dict[str, Any], message: str
) -> None:
    path = tmp_path / "w.safetensors"
    save_file(weights(**stored), path)
    with pytest.raises(WeightsError, match=message):
        from_file(path, **asked)


class Trap:
    """What a pickle does to who loads it."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return pytest.fail, ("a pickle was loaded",)


def test_what_is_no_safetensors_file_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(pickle.dumps(Trap(), protocol=2))
    with pytest.raises(WeightsError, match=r"w\.pth is not a safetensors file"):
        from_file(path)
    torch.save(weights(), path)
    with pytest.raises(WeightsError, match=r"w\.pth is not a safetensors file"):
        from_file(path)
    save_file(weights(), path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(WeightsError, match="is not a safetensors file"):
        from_file(path)
    with pytest.raises(WeightsError, match=r"none\.safetensors does not exist"):
        from_file(tmp_path / "none.safetensors")


# ImageNet weights, without a network


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where torchvision looks for weights before it fetches them; there is no network."""

    def unreachable(url: str, *_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def published(hub: Path, architecture: str) -> Path:
    url = torchvision.models.get_model_weights(architecture)["IMAGENET1K_V1"].url
    return hub / str(url).rpartition("/")[2]


@pytest.mark.usefixtures("hub")
def test_without_a_network_the_remedy_is_said() -> None:
    with pytest.raises(WeightsError, match=r"resnet18 could not be fetched .*no network") as raised:
        image_classifier("resnet18", initialisation="imagenet", seed=0)
    assert "set initialisation 'scratch', or 'file' with weights_file naming" in str(raised.value)


def test_imagenet_weights_but_not_the_head(hub: Path) -> None:
    official = torchvision.models.resnet18(weights=None)  # a thousand classes
    torch.save(official.state_dict(), published(hub, "resnet18"))
    torch.manual_seed(1)
    found = state(image_classifier("resnet18", initialisation="imagenet", seed=5))
    drawn = torch.rand(3)
    new = state(image_classifier("resnet18", seed=5))
    for name, tensor in found.items():
        expected = new[name] if name.startswith("fc.") else official.state_dict()[name]
        assert torch.equal(tensor, expected), name
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), drawn)  # the global generator is left alone


def test_imagenet_weights_of_a_densenet_under_their_old_names(hub: Path) -> None:
    official = torchvision.models.densenet121(weights=None).state_dict()
    old = {  # as in the file that is published, from before PyTorch 0.4.1
        name.replace(".norm1.", ".norm.1.").replace(".norm2.", ".norm.2.")
        .replace(".conv1.", ".conv.1.").replace(".conv2.", ".conv.2."): tensor
        for name, tensor in official.items()
        if not name.endswith("num_batches_tracked")
    }  # fmt: skip
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, published(hub, "densenet121"))
    found = state(image_classifier("densenet121", initialisation="imagenet", seed=5))
    for name in ("features.denseblock1.denselayer1.norm1.weight", "features.norm5.running_var"):
        assert torch.equal(found[name], official[name])


def test_a_damaged_download_is_said_and_a_pickle_in_its_place_is_not_run(hub: Path) -> None:
    for content in (b"", b"<html>", pickle.dumps(Trap(), protocol=2)):
        published(hub, "resnet18").write_bytes(content)
        with pytest.raises(WeightsError, match="could not be fetched"):
            image_classifier("resnet18", initialisation="imagenet", seed=0)


@pytest.mark.usefixtures("hub")
def test_an_architecture_without_these_weights() -> None:
    # Its 645 million parameters are not made here: only what is asked for before they are loaded.
    with pytest.raises(WeightsError, match="no weights IMAGENET1K_V1 of regnet_y_128gf; set init"):
        models._imagenet("regnet_y_128gf")
