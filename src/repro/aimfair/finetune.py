"""Which tensors a strategy trains (selective fine-tuning, SFT), and that the others stay.

The strategies themselves are in `repro.aimfair.strategies`, what they train on in
`repro.aimfair.composition`.

Source: Zhao et al. (2025), arXiv 2503.05665, section on selective fine-tuning, Tables 3 and 4 and
Figure 2.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
from torch import nn

from repro.aimfair.strategies import STRATEGIES, check_whole
from repro.models import last_linear
from repro.names import check_name
from repro.tensors import block_of, check_tensors, kind_of

_ORDERS = 100


def blocks(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Group the parameter tensors of any torchvision classifier by block.

    Parameters
    ----------
    model
        The classifier.

    Returns
    -------
    dict
        Block -> names of its tensors, both in the order of the model; every tensor is in one
        block, that of :func:`repro.tensors.block_of`. Figure 2's block-1 to block-4 are
        ``layer1`` to ``layer4`` of a ResNet.
    """
    grouped: dict[str, list[str]] = {}
    for name, _ in model.named_parameters():
        grouped.setdefault(block_of(name), []).append(name)
    return {block: tuple(names) for block, names in grouped.items()}


def trainable_tensors(
    model: nn.Module,
    strategy: str,
    *,
    block: str | None = None,
    k: int | None = None,
    draw: int | None = None,
    mask: Collection[str] | None = None,
) -> frozenset[str]:
    """Return the names of the tensors that a strategy trains.

    Parameters
    ----------
    model
        The classifier; it is not changed.
    strategy
        A key of `STRATEGIES`, whose ``needs`` says which of the following it takes: those, and
        no other.
    block
        For "freeze" and "update", a key of :func:`blocks`.
    k
        For "random", how many tensors: for a fair comparison the size of the mask, which is not
        the k of the mask (:func:`repro.aimfair.mask.select_mask`).
    draw
        For "random", the seed, >= 0: k tensors uniformly without replacement. For "random
        parameters" that of :func:`tensors_of_size`.
    mask
        For "mask", "cosine mask" and "importance mask", names from
        :func:`repro.aimfair.mask.select_mask`; for
        "random parameters" the mask that it is to be as large as.

    Returns
    -------
    frozenset
        Names as in ``model.named_parameters()``, at least one but for "batchnorm statistics".

    Raises
    ------
    UnknownNameError
        For an unknown strategy, block or tensor in the mask; the nearest name is given.
    ValueError
        If an argument is missing, not needed or out of its range, nothing would train, or the
        model has no linear head to probe.
    """
    check_name("strategy", strategy, STRATEGIES)
    rule, needs = STRATEGIES[strategy].tensors, STRATEGIES[strategy].needs
    given = {"block": block, "k": k, "draw": draw, "mask": mask}
    if missing := [name for name in needs if given[name] is None]:
        raise ValueError(f"strategy {strategy!r} needs {' and '.join(missing)}")
    if extra := [name for name in given if name not in needs and given[name] is not None]:
        raise ValueError(
            f"strategy {strategy!r} takes {' and '.join(needs) or 'no further argument'}, "
            f"but {' and '.join(extra)} is given"
        )
    names = [name for name, _ in model.named_parameters()]
    chosen = frozenset(names)
    if rule == "head":
        head, _ = last_linear(model)
        chosen = frozenset(name for name in names if name.rpartition(".")[0] == head)
    elif rule == "batchnorm":
        chosen = frozenset(name for name in names if kind_of(model, name).startswith("batchnorm"))
    elif rule == "none":
        return frozenset()
    elif block is not None:
        grouped = blocks(model)
        inside = frozenset(grouped[check_name("block", block, grouped)])
        chosen = inside if rule == "one block" else chosen - inside
    elif k is not None and draw is not None:
        check_whole("k", k, 1, len(names))
        check_whole("draw", draw, 0)
        picked = np.random.default_rng(draw).choice(len(names), size=k, replace=False)
        chosen = frozenset(names[i] for i in picked)
    elif mask is not None:
        check_tensors(model, mask)
        chosen = frozenset(mask) if draw is None else tensors_of_size(model, mask, draw)
    if not chosen:
        raise ValueError(f"strategy {strategy!r} leaves no tensor to train")
    return chosen


def tensors_of_size(model: nn.Module, mask: Collection[str], draw: int) -> frozenset[str]:
    """Return random tensors that hold about as many parameters as a mask.

    In a random order each tensor is taken that still fits. Few tensors hold nearly all parameters:
    where one that is left out leaves a gap, another order is tried, a hundred at most. The first
    that is short by a hundredth or less is taken, else the one that is short by the least.

    Parameters
    ----------
    model
        The classifier.
    mask
        Names of the tensors whose parameters are counted.
    draw
        The seed of the order, >= 0.
    """
    check_whole("draw", draw, 0)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    wanted, names = sum(sizes[name] for name in mask), list(sizes)
    rng, tried = np.random.default_rng(draw), dict[frozenset[str], int]()
    for _ in range(_ORDERS):
        left, chosen = wanted, set[str]()
        for at in rng.permutation(len(names)):
            if sizes[names[at]] <= left:
                chosen.add(names[at])
                left -= sizes[names[at]]
        tried[frozenset(chosen)] = left
        if left <= wanted / 100:
            break
    return min(tried, key=lambda some: tried[some])


def freeze_all_but(model: nn.Module, names: Collection[str]) -> int:
    """Let only the named tensors train, in place.

    Parameters
    ----------
    model
        The classifier.
    names
        From :func:`trainable_tensors`.

    Returns
    -------
    int
        Number of scalar parameters that train.

    Raises
    ------
    UnknownNameError
        For a name that is no parameter tensor of the model; the model is then left as it was.
    ValueError
        If there is no name.

    Notes
    -----
    The gradients of the frozen tensors are cleared too. An optimiser that holds them would else
    move them by weight decay and momentum wherever a gradient of zeros is left, as it is by
    ``zero_grad(set_to_none=False)``, the default before PyTorch 2.0.
    """
    check_tensors(model, names)
    if not names:
        raise ValueError("no tensor to train: every tensor would be frozen")
    trained = 0
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)
        if name in names:
            trained += parameter.numel()
        else:
            parameter.grad = None
    return trained


def frozen_batchnorm(
    model: nn.Module,
    trainable: Collection[str],
    *,
    statistics: str = "move",
) -> Callable[[nn.Module], None]:
    """Return what a training loop calls on the model in place of ``model.train()``.

    Parameters
    ----------
    model
        The classifier; it is not changed.
    trainable
        Names of the tensors that train.
    statistics
        ``"move"``, the authors': every layer is in train mode, so that the running mean and
        variance of each BatchNorm move to the new data, those of frozen layers too, and even
        linear probing changes the features. ``"freeze"``: a BatchNorm layer whose tensors are
        all frozen stays in evaluation mode, and uses and keeps its pre-trained statistics; a
        layer of which one tensor trains is in train mode.

    Returns
    -------
    callable
        model -> None; to be called before every epoch, for it undoes an ``eval()``. It finds
        layers by name, so it works for a copy of the model too.

    Raises
    ------
    UnknownNameError
        For an unknown tensor or value of ``statistics``.
    """
    check_name("statistics", statistics, ("move", "freeze"))
    check_tensors(model, trainable)
    kept = [
        layer
        for layer, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        and not any(f"{layer}.{own}" in trainable for own, _ in module.named_parameters())
    ]

    def set_train_mode(model: nn.Module) -> None:
        model.train()
        if statistics == "freeze":
            for layer in kept:
                model.get_submodule(layer).eval()

    return set_train_mode
