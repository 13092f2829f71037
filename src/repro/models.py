"""The classifiers, and what both papers ask of any of them: the inputs of its last layer."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from repro.names import check_name

#: Number of linear layers of each multi-layer perceptron (Zhang and Zhou, 2024, Adult, Table 4).
MLP_LAYERS = {"mlp-2": 2, "mlp-3": 3, "mlp-4": 4, "mlp-5": 5}


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


def parameter_count(model: nn.Module, *, trainable_only: bool = False) -> int:
    """Return the number of scalar parameters of ``model``."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable_only)


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
