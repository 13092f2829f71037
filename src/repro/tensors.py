"""The parameter tensors of a classifier by name: in which block they are, and of what kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from repro.names import UnknownNameError, hint

if TYPE_CHECKING:
    import torch

#: Blocks of each layer of the ResNets whose blocks have two convolutions.
RESNETS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
#: Parts of torchvision's classifiers whose children are the blocks.
_OPENED = {"features", "classifier", "heads", "layers", "blocks", "trunk_output", "encoder"} | {
    "encoder.layers"
}
#: part -> the block that it belongs to, where it does not bear its name
_PART_OF = {
    **dict.fromkeys(("conv1", "bn1", "features.conv0", "features.norm0"), "stem"),
    **dict.fromkeys(("class_token", "conv_proj", "encoder"), "stem"),  # of a vision transformer
    # A transition closes the dense block of its number, the last norm the last of them.
    **{f"features.transition{i}": f"features.denseblock{i}" for i in (1, 2, 3)},
    "features.norm5": "features.denseblock4",
}


def resnet_tensors(architecture: str) -> list[str]:
    """Return the names of all parameter tensors of one of `RESNETS`, which is not built for it."""

    def layer(conv: str, norm: str) -> list[str]:
        return [f"{conv}.weight", f"{norm}.weight", f"{norm}.bias"]

    names = layer("conv1", "bn1")
    for i, blocks in enumerate(RESNETS[architecture], 1):
        for at in (f"layer{i}.{block}" for block in range(blocks)):
            names += layer(f"{at}.conv1", f"{at}.bn1") + layer(f"{at}.conv2", f"{at}.bn2")
            if i > 1 and at.endswith(".0"):  # half the pixels, twice the channels
                names += layer(f"{at}.downsample.0", f"{at}.downsample.1")
    return [*names, "fc.weight", "fc.bias"]


def block_of(name: str) -> str:
    """Return the block of a tensor of any torchvision classifier, from the tensor's name alone.

    Parameters
    ----------
    name
        As in ``named_parameters()``.

    Returns
    -------
    str
        For ResNets ``stem`` (conv1 and bn1), ``layer1`` to ``layer4``, ``fc``; for DenseNets
        ``stem``, ``features.denseblock1`` to 4, ``classifier``; for models in one sequence, such
        as VGG, MobileNet, EfficientNet and ConvNeXt, the child, ``features.3``; for other models
        the top-level part.
    """
    parts = name.split(".")
    depth = 1
    while ".".join(parts[:depth]) in _OPENED and depth < len(parts) - 1:
        depth += 1
    part = ".".join(parts[:depth])
    return _PART_OF.get(part, part)


def kind_of(model: torch.nn.Module, name: str) -> str:
    """Return what a tensor is: ``"conv"``, ``"batchnorm bias"``, ``"linear weight"``, ...

    Parameters
    ----------
    model
        The model that has the tensor.
    name
        As in ``model.named_parameters()``.

    Returns
    -------
    str
        ``conv`` for the weight of a convolution, of any dimension; else the layer (``conv``,
        ``batchnorm``, ``layernorm``, ``linear``, or its class in lower case) and the tensor's
        own name.

    Raises
    ------
    UnknownNameError
        If the model has no such tensor.
    """
    from torch import nn  # here: a plan asks for the blocks of names alone

    layers: dict[type[nn.Module], str] = {
        nn.modules.conv._ConvNd: "conv",
        nn.modules.batchnorm._BatchNorm: "batchnorm",
        nn.LayerNorm: "layernorm",
        nn.Linear: "linear",
    }
    check_tensors(model, [name])
    owner, _, own = name.rpartition(".")
    module = model.get_submodule(owner)
    layer = next((k for c, k in layers.items() if isinstance(module, c)), None)
    kind = f"{layer or type(module).__name__.lower()} {own}"
    return "conv" if kind == "conv weight" else kind


def check_tensors(model: torch.nn.Module, names: Iterable[str]) -> None:
    """Raise `UnknownNameError` for a name that is no parameter tensor of the model."""
    valid = dict(model.named_parameters())
    if unknown := sorted({*names} - valid.keys()):
        # Not check_name: it would list some hundred names.
        raise UnknownNameError(
            f"unknown tensor {unknown[0]!r}{hint(unknown[0], valid)} "
            f"({type(model).__name__} has {len(valid)} tensors)"
        )


def check_same_tensors(a: Mapping[str, object], b: Mapping[str, object]) -> None:
    """Raise `ValueError` if two mappings by tensor name do not hold the same tensors."""
    if a.keys() != b.keys():
        first, second = [n for n in a if n not in b], [n for n in b if n not in a]
        raise ValueError(
            "both must hold the same tensors, but only the first has "
            f"{listed(first)}, only the second {listed(second)}"
        )


def listed(names: Sequence[str]) -> str:
    """Return the first five names, and how many more there are, for a message."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (", ".join(names[:5]) or "none") + more
