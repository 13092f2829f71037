"""The strategies of the comparison, each a rule for which tensors train on which data.

Loss and selection of the epoch are the same for all of them. There are two schedules: that of
pre-training for what trains from the initialisation, that of fine-tuning for what continues.

Source: Zhao et al. (2025), arXiv 2503.05665, Tables 3 and 4 and Figure 2. The release has code for
"erm" and "mask" alone; from where the others start is this study's reading.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import nn

from repro.aimfair.tensors import block_of, check_tensors
from repro.data.sources import DataError
from repro.models import last_linear
from repro.names import check_name

Start = Literal["initial", "pretrained"]
Data = Literal["real", "synthetic", "real and synthetic", "repaired"]
Rule = Literal["all", "head", "all but one block", "one block", "random", "mask"]
Indices = NDArray[np.int64]

DATA: tuple[Data, ...] = ("real", "synthetic", "real and synthetic", "repaired")

#: rule -> the arguments of `trainable_tensors` that it needs
_NEEDS: dict[Rule, tuple[str, ...]] = {
    "all": (),
    "head": (),
    "all but one block": ("block",),
    "one block": ("block",),
    "random": ("k", "draw"),
    "mask": ("mask",),
}


@dataclass(frozen=True)
class Strategy:
    """Which tensors train, on which data, from which start.

    Attributes
    ----------
    name
        The key in `STRATEGIES`.
    start
        ``"initial"``, trained from the initialisation, or ``"pretrained"``, from the ERM model.
    data
        What it trains on, for :func:`compose`.
    tensors
        The rule for what trains, for :func:`trainable_tensors`.
    meaning
        One sentence for tables.
    where
        Table or figure of the paper.
    sensitivity
        Which difference of gradients ranks the tensors of its mask, if it has one: the kind of
        :func:`repro.aimfair.mask.sensitivity`.
    """

    name: str
    start: Start
    data: Data
    tensors: Rule
    meaning: str
    where: str
    sensitivity: str | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """Arguments that :func:`trainable_tensors` needs for it."""
        return _NEEDS[self.tensors]


def _trained(name: str, data: Data, meaning: str) -> Strategy:
    return Strategy(name, "initial", data, "all", meaning, "Table 3")


def _tuned(name: str, tensors: Rule, meaning: str, where: str, kind: str | None = None) -> Strategy:
    return Strategy(name, "pretrained", "synthetic", tensors, meaning, where, kind)


STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy
    for strategy in (
        _trained("erm", "real", "Trains every tensor on the biased real images."),
        _trained("synthetic only", "synthetic", "Trains every tensor on synthetic images."),
        _trained(
            "supplementation",
            "real and synthetic",
            "Trains every tensor on real and synthetic images.",
        ),
        _trained(
            "repairing",
            "repaired",
            "Trains every tensor on real images, the smaller groups filled up.",
        ),
        _tuned("linear probing", "head", "Fine-tunes the last linear layer.", "Table 3"),
        _tuned("fully fine-tuning", "all", "Fine-tunes every tensor.", "Table 3, Figure 2"),
        _tuned(
            "freeze", "all but one block", "Fine-tunes all blocks but one.", "Table 4, Figure 2"
        ),
        _tuned("update", "one block", "Fine-tunes a single block.", "Table 4"),
        _tuned(
            "random", "random", "Fine-tunes as many random tensors as the mask holds.", "Table 4"
        ),
        _tuned(
            "cosine mask", "mask", "Fine-tunes a mask by cosine similarity.", "Table 4", "cosine"
        ),
        _tuned(
            "mask", "mask", "Fine-tunes the mask (SFT): AIM-Fair.", "Tables 3 and 4", "absolute"
        ),
    )
}


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
        block, that of :func:`repro.aimfair.tensors.block_of`. Figure 2's block-1 to block-4 are
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
        For "random", the seed, >= 0: k tensors uniformly without replacement.
    mask
        For "mask" and "cosine mask", names from :func:`repro.aimfair.mask.select_mask`.

    Returns
    -------
    frozenset
        Names as in ``model.named_parameters()``, at least one.

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
    elif block is not None:
        grouped = blocks(model)
        inside = frozenset(grouped[check_name("block", block, grouped)])
        chosen = inside if rule == "one block" else chosen - inside
    elif k is not None and draw is not None:
        _check_whole("k", k, 1, len(names))
        _check_whole("draw", draw, 0)
        picked = np.random.default_rng(draw).choice(len(names), size=k, replace=False)
        chosen = frozenset(names[i] for i in picked)
    elif mask is not None:
        check_tensors(model, mask)
        chosen = frozenset(mask)
    if not chosen:
        raise ValueError(f"strategy {strategy!r} leaves no tensor to train")
    return chosen


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


def compose(
    data: Data,
    real: tuple[ArrayLike, ArrayLike],
    synthetic: tuple[ArrayLike, ArrayLike],
    *,
    seed: int,
) -> tuple[Indices, Indices]:
    """Choose the images that a strategy trains on.

    Parameters
    ----------
    data
        ``"real"``, ``"synthetic"`` or ``"real and synthetic"``: all of these. ``"repaired"``: all
        real ones, and as many synthetic ones of each smaller group as make it as large as the
        largest.
    real, synthetic
        Target and protected attribute of the images, each (n,) of 0 and 1.
    seed
        >= 0; fixes which synthetic images repair a group. A group's draw does not depend on the
        other groups.

    Returns
    -------
    real, synthetic : numpy.ndarray
        Ascending int64 positions in ``real`` and in ``synthetic``.

    Raises
    ------
    UnknownNameError
        For unknown data.
    DataError
        If a group has too few synthetic images to repair it (how many there are and are needed),
        or there is no image at all.
    ValueError
        If labels or seed are not as above.
    """
    check_name("data", data, DATA)
    _check_whole("seed", seed, 0)
    groups = {"real": _groups("real", real), "synthetic": _groups("synthetic", synthetic)}
    everything = {name: np.arange(len(group)) for name, group in groups.items()}
    none = np.empty(0, np.int64)
    chosen = (
        none if data == "synthetic" else everything["real"],
        none if data == "real" else everything["synthetic"],
    )
    if data == "repaired":
        chosen = chosen[0], _repairs(groups["real"], groups["synthetic"], seed)
    if not len(chosen[0]) + len(chosen[1]):
        raise DataError(
            f"data {data!r} holds no image: {len(groups['real'])} real and "
            f"{len(groups['synthetic'])} synthetic ones are given"
        )
    return chosen


def _repairs(real: Indices, synthetic: Indices, seed: int) -> Indices:
    """Draw the synthetic images that make all groups of the real ones equally large."""
    counts, pool = (np.bincount(group, minlength=4) for group in (real, synthetic))
    needed = counts.max() - counts
    if (lacking := np.flatnonzero(pool < needed)).size:
        detail = "; ".join(
            f"group ({g // 2},{g % 2}) has {pool[g]} and needs {needed[g]}" for g in lacking
        )
        raise DataError(
            f"too few synthetic images to repair the real ones: {detail}. Generate "
            "more, or pass the whole synthetic pool instead of a subset."
        )
    drawn = [
        np.random.default_rng([seed, g // 2, g % 2]).choice(
            np.flatnonzero(synthetic == g), size=needed[g], replace=False
        )
        for g in range(4)
    ]
    return np.sort(np.concatenate(drawn)).astype(np.int64)


def _groups(name: str, labels: tuple[ArrayLike, ArrayLike]) -> Indices:
    """(n,) number 2 t + p of the group (t,p)."""
    target, protected = (np.asarray(values) for values in labels)
    for what, values in (("target", target), ("protected", protected)):
        if values.ndim != 1 or not np.isin(values, (0, 1)).all():
            raise ValueError(f"{name} {what} must be one-dimensional, each value 0 or 1")
    if len(target) != len(protected):
        raise ValueError(f"{name}: {len(target)} target values but {len(protected)} protected ones")
    return 2 * target.astype(np.int64) + protected.astype(np.int64)


def _check_whole(name: str, value: int, low: int, high: int | None = None) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        allowed = f"in {low}..{high}" if high is not None else f">= {low}"
        raise ValueError(f"{name} must be a whole number {allowed}, not {value!r}")
