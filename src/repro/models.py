"""The classifiers, and what both papers ask of any of them: its head, and what reaches it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from pickle import UnpicklingError

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from repro.names import check_name
from repro.settings import SettingsError
from repro.tensors import RESNETS

#: Number of linear layers of each multi-layer perceptron (Zhang and Zhou, 2024, Adult, Table 4).
MLP_LAYERS = {"mlp-2": 2, "mlp-3": 3, "mlp-4": 4, "mlp-5": 5}


class WeightsError(RuntimeError):
    """Weights cannot be had or do not fit; the message names them and the remedy."""


def mlp(inputs: int, *, layers: int, hidden: int, classes: int, seed: int) -> nn.Sequential:
    """Build a ReLU multi-layer perceptron whose every hidden layer is ``hidden`` wide.

    Parameters
    ----------
    inputs, hidden, classes
        Widths. The last layer is ``hidden x classes``; ``mlp-2`` with 10 hidden units is the
        paper's model for Adult (its head has 20 weights).
    layers
        Number of linear layers, at least 2. The paper names MLP-3, -4 and -5 without widths: here
        every hidden layer has the same width, so that the head that is compared never changes.
    seed
        Fixes the initialisation (PyTorch's default for linear layers), whatever was drawn before.
    """
    if layers < 2:
        raise ValueError(f"a multi-layer perceptron has at least 2 linear layers, not {layers}")
    widths = [inputs] + [hidden] * (layers - 1) + [classes]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts: list[nn.Module] = []
        for wide, narrow in pairwise(widths):
            parts += [nn.Linear(wide, narrow), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def build(architecture: str, inputs: int, *, hidden: int, classes: int, seed: int) -> nn.Module:
    """Build a classifier by name.

    Raises
    ------
    UnknownNameError
        If there is no such architecture; the nearest valid name is given.
    """
    check_name("architecture", architecture, MLP_LAYERS)
    layers = MLP_LAYERS[architecture]
    return mlp(inputs, layers=layers, hidden=hidden, classes=classes, seed=seed)


def parameter_count(model: nn.Module) -> int:
    """Return the number of scalar parameters of ``model``."""
    return sum(p.numel() for p in model.parameters())


@torch.no_grad()
def head_inputs(model: nn.Module, head: nn.Module, inputs: Tensor, batch: int = 8192) -> Tensor:
    """Return what reaches ``head`` when ``model`` reads ``inputs``.

    Works for any model, however it is composed, because it listens at the layer instead of taking
    the model apart. The model is put in evaluation mode for the pass and left as it was.

    Parameters
    ----------
    model
        Any classifier.
    head
        A module of it that is called once per forward pass, e.g. its last linear layer.
    inputs
        Shape (n, ...).
    batch
        How many examples go through at once.

    Returns
    -------
    Tensor
        Shape (n, d), detached.
    """
    if not any(module is head for module in model.modules()):
        raise ValueError("the head is not a module of this model")
    caught: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, args: caught.append(args[0].detach()))
    training = model.training
    model.eval()
    try:
        for start in range(0, len(inputs), batch):
            model(inputs[start : start + batch])
    finally:
        hook.remove()
        model.train(training)
    return torch.cat(caught)


def last_linear(model: nn.Module) -> tuple[str, nn.Linear]:
    """Find the head: the last linear layer of a model, in the order of definition.

    Parameters
    ----------
    model
        Any model that defines its head last, such as those of torchvision.

    Returns
    -------
    name : str
        Qualified name, for example ``"fc"``, as ``set_submodule`` takes it; empty if ``model``
        is itself the layer.
    layer : torch.nn.Linear
        The layer itself, not a copy.

    Raises
    ------
    ValueError
        If the model has no linear layer, or one that is followed by another layer with
        parameters: importance in closed form holds for a linear head only.
    """
    parametrised = [
        (name, module)
        for name, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    ]
    if not any(isinstance(module, nn.Linear) for _, module in parametrised):
        raise ValueError(f"{type(model).__name__} has no linear layer")
    name, module = parametrised[-1]
    if not isinstance(module, nn.Linear):
        raise ValueError(
            f"the head of {type(model).__name__} is not linear: its last layer with parameters "
            f"is {name!r}, a {type(module).__name__}"
        )
    return name, module


class NarrowResNet(ResNet):  # type: ignore[misc]  # torchvision has no type hints
    """A ResNet-18 or -34 whose layers are ``width / 64`` as wide; the same names of tensors.

    For small budgets: at a quarter of the width it trains five times as fast at 32x32 on a CPU and
    keeps all 62 tensors, so that top-k and layer-wise freezing mean the same.
    """

    def __init__(self, layers: Sequence[int], *, width: int) -> None:
        # Built small by the parent, then every layer again at the width that was asked for.
        super().__init__(BasicBlock, layers=[1, 1, 1, 1], num_classes=1)
        self.inplanes = width
        self.conv1 = nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        for i, blocks in enumerate(layers):
            stride = 1 if i == 0 else 2
            part = self._make_layer(BasicBlock, width * 2**i, blocks, stride=stride)
            setattr(self, f"layer{i + 1}", part)
        self.fc = nn.Linear(width * 8, 1)
        for module in self.modules():  # as torchvision's own ResNet does
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def image_classifier(
    architecture: str,
    *,
    width: int = 64,
    initialisation: str = "scratch",
    weights_file: str | Path | None = None,
    seed: int,
) -> nn.Module:
    """Build a torchvision classifier with one logit.

    Parameters
    ----------
    architecture
        Any of :func:`image_architectures`.
    width
        Channels of the first layer of a ResNet-18 or -34; 64 is torchvision's own.
    initialisation
        ``"scratch"``, ``"imagenet"`` (torchvision's official weights, fetched once; the head is
        new) or ``"file"``.
    weights_file
        For ``"file"``: safetensors of the same architecture. A head of another size is left out
        and stays new.
    seed
        Fixes the random part of the initialisation, whatever was drawn before.

    Raises
    ------
    UnknownNameError
        If there is no such architecture; the nearest valid name is given.
    WeightsError
        If the weights cannot be had, or are of another architecture (with the tensors that
        differ).
    """
    check_name("architecture", architecture, image_architectures())
    check_name("initialisation", initialisation, ("scratch", "imagenet", "file"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if width == 64:
            model: nn.Module = torchvision.models.get_model(architecture, num_classes=1)
        elif architecture in RESNETS:
            model = NarrowResNet(RESNETS[architecture], width=width)
        else:
            raise SettingsError(
                f"width {width}: only {' and '.join(RESNETS)} can be built narrower; "
                f"{architecture} has width 64"
            )
    if initialisation == "imagenet":
        if width != 64:
            raise SettingsError("ImageNet weights are for width 64; set initialisation 'scratch'")
        _load(model, _imagenet(architecture), f"ImageNet weights of {architecture}")
    elif initialisation == "file":
        if weights_file is None:
            raise SettingsError("initialisation 'file' needs weights_file, a safetensors file")
        _load(model, _read_safetensors(Path(weights_file)), str(weights_file))
    return model


def image_architectures() -> list[str]:
    """Return the names of torchvision's classifiers that have one output and no auxiliary one."""
    names = torchvision.models.list_models(module=torchvision.models)
    return [name for name in names if name not in ("googlenet", "inception_v3")]


def _imagenet(architecture: str) -> dict[str, Tensor]:
    remedy = "set initialisation 'scratch', or 'file' with weights_file naming safetensors of them"
    official = torchvision.models.get_model_weights(architecture)
    if "IMAGENET1K_V1" not in official.__members__:
        raise WeightsError(f"torchvision has no weights IMAGENET1K_V1 of {architecture}; {remedy}")
    try:
        # They are published as a pickle, of which only tensors are read.
        found = official["IMAGENET1K_V1"].get_state_dict(
            progress=False, check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:  # no network; damaged
        raise WeightsError(
            f"ImageNet weights of {architecture} could not be fetched ({error}); {remedy}"
        ) from error
    # As torchvision itself renames parts of its DenseNets.
    return {re.sub(r"(denselayer\d+\.[a-z]+)\.(\d\.)", r"\1\2", n): t for n, t in found.items()}


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError:
        raise WeightsError(f"{path} does not exist: weights_file must name it") from None
    except (SafetensorError, OSError) as error:  # a pickle, for one
        raise WeightsError(f"{path} is not a safetensors file ({error})") from None


def _load(model: nn.Module, weights: dict[str, Tensor], where: str) -> None:
    """Copy ``weights`` into ``model``; only the head may be of another size, and stays new."""
    own = model.state_dict()
    head, _ = last_linear(model)
    free = {f"{head}.weight", f"{head}.bias"}
    # Weights from before PyTorch 0.4.1 do not count batches, which nothing here reads.
    free |= {name for name in own if name.endswith("num_batches_tracked")}
    wrong = sorted(
        name
        for name in own.keys() | weights.keys()
        if name not in free
        and (name not in own or name not in weights or own[name].shape != weights[name].shape)
    )
    if wrong:
        raise WeightsError(
            f"{where}: not weights of this {type(model).__name__}: {len(wrong)} tensors differ, "
            f"first {', '.join(wrong[:3])}; check architecture and width"
        )
    fitting = {n: t for n, t in weights.items() if n in own and own[n].shape == t.shape}
    model.load_state_dict(own | fitting)
