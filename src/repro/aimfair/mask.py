"""The selective mask: tensors that are sensitive to bias and insensitive to the domain gap.

The pre-trained model reads three sets of faces: biased real R, biased synthetic S1 and balanced
synthetic S2. Where the gradients of a parameter tensor on R and S1 agree, the tensor does not see
the domain gap; where those on S1 and S2 differ, it sees the bias. The mask is what does both.

Source: Zhao et al. (2025), arXiv 2503.05665, section on selective mask generation, and the
released code (github.com/zengqunzhao/AIM-Fair).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor, nn

from repro.names import check_name


class EmptyMaskError(ValueError):
    """No tensor is in the mask: k is too small for the two rankings to overlap."""


class MaskSize(NamedTuple):
    """How much of a model the mask of one k holds; shares lie in [0, 1]."""

    k: int
    tensors: int
    share_of_tensors: float
    parameters: int
    share_of_parameters: float


def mean_gradients(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    mode: str = "train",
    precision: str = "float32",
) -> dict[str, Tensor]:
    """Compute g_j = (1/B) sum_b dL_b/dtheta_j, the mean over mini-batches, for every tensor j.

    Parameters
    ----------
    model
        The pre-trained model. It is left as it was, after an error too: parameters, ``.grad``,
        ``requires_grad``, the mode of each module, and every buffer.
    batches
        Pairs of inputs (n, ...) and target (n, ...) on the device of the model. Every batch
        counts the same, so that a smaller last one weighs its examples more; the authors'
        loaders leave it out (``drop_last=True``).
    loss
        (logits, target) -> scalar.
    mode
        ``"train"``, the authors': BatchNorm normalises by the statistics of the batch (and
        dropout is active), so that gradients depend on how the examples are batched. ``"eval"``:
        by the running statistics, as when the model is used.
    precision
        ``"bfloat16"`` runs the forward pass under autocast; the loss then reads float32 logits.
        ``"float32"`` turns off an autocast that is active around the call.

    Returns
    -------
    dict
        A gradient for each of ``model.named_parameters()``, in that order and of the parameter's
        shape, frozen ones included; zero where the loss does not depend on it. Accumulated in
        float32, or in float64 for a float64 parameter.

    Raises
    ------
    UnknownNameError
        For an unknown mode or precision.
    ValueError
        If there is no batch, a loss is no finite scalar (the batch is named, counted from 0) or
        depends on no parameter, or a gradient is not finite (the tensors are named).

    Notes
    -----
    Zhao et al. (2025), arXiv 2503.05665, section on selective mask generation.
    """
    check_name("mode", mode, ("train", "eval"))
    check_name("precision", precision, ("float32", "bfloat16"))
    parameters = dict(model.named_parameters())
    sums = {
        name: torch.zeros_like(p, dtype=torch.promote_types(p.dtype, torch.float32))
        for name, p in parameters.items()
    }
    half = precision == "bfloat16"
    count = 0
    with _restored(model), torch.enable_grad():
        model.train(mode == "train")
        model.requires_grad_(True)
        for inputs, target in batches:
            device = inputs.device.type
            with torch.autocast(device, enabled=False):  # Of the loss and of backward, too.
                with torch.autocast(device, dtype=torch.bfloat16, enabled=half):
                    logits = model(inputs)
                value = loss(logits.float() if half else logits, target)
                _check_loss(value, count)
                # Not backward(): the model's own .grad stays as it is.
                gradients = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
            for total, gradient in zip(sums.values(), gradients, strict=True):
                if gradient is not None:
                    total += gradient
            count += 1
    if count == 0:
        raise ValueError("no batch: a mean gradient needs at least one")
    means = {name: total / count for name, total in sums.items()}
    if bad := [name for name, mean in means.items() if not mean.isfinite().all()]:
        raise ValueError(f"the gradient of {_listed(bad)} is not finite")
    return means


def sensitivity(
    a: Mapping[str, Tensor], b: Mapping[str, Tensor], kind: str = "absolute"
) -> dict[str, float]:
    """Measure how much each tensor's mean gradient differs between two sets of examples.

    The domain sensitivity is d_j = sensitivity(g_R, g_S1)_j, the fairness sensitivity
    b_j = sensitivity(g_S1, g_S2)_j.

    Parameters
    ----------
    a, b
        Gradients by tensor name, from :func:`mean_gradients`.
    kind
        ``"absolute"``: mean absolute difference of the entries, in the unit of the gradient.
        ``"cosine"``: 1 - cosine similarity, in [0, 2] and without scale. It is 0 where both are
        all zero and 1 where one is. For a tensor of one entry, such as the bias of a one-logit
        head, it can only be 0 or 2.

    Returns
    -------
    dict
        Name -> sensitivity >= 0, in the order of ``a``; computed in float64.

    Raises
    ------
    UnknownNameError
        For an unknown kind.
    ValueError
        If the two do not hold the same tensors, or not of the same shapes; both are named.

    Notes
    -----
    Zhao et al. (2025), arXiv 2503.05665, section on selective mask generation; cosine: Table 4.
    """
    check_name("kind", kind, ("absolute", "cosine"))
    _check_same_names(a, b)
    if differ := [n for n in a if a[n].shape != b[n].shape]:
        shapes = ", ".join(f"{n} {tuple(a[n].shape)} and {tuple(b[n].shape)}" for n in differ)
        raise ValueError(f"gradients of one tensor must have one shape, but differ: {shapes}")
    measure = _absolute if kind == "absolute" else _cosine
    # On the CPU in float64: the ranking should not hang on the rounding of one device's sums.
    return {
        name: measure(*(g[name].detach().cpu().double().flatten() for g in (a, b))) for name in a
    }


def entry_k(domain: Mapping[str, float], fairness: Mapping[str, float]) -> dict[str, int]:
    """Return the smallest k whose mask holds each tensor.

    A tensor at place i by rising domain sensitivity and at place j by falling fairness
    sensitivity, counted from 1, is in the mask of k if and only if max(i, j) <= k. The masks are
    therefore nested: a larger k only adds tensors.

    Parameters
    ----------
    domain, fairness
        d and b by tensor name, from :func:`sensitivity`. Equal values are ranked in the order in
        which ``domain`` holds them, which is that of the tensors in the model.

    Returns
    -------
    dict
        Name -> k in 1 to the number of tensors, in the order of ``domain``.

    Raises
    ------
    ValueError
        If the two do not hold the same tensors, or none, or a sensitivity is not finite.
    """
    _check_same_names(domain, fairness)
    if not domain:
        raise ValueError("no tensor to rank")
    if bad := [n for n in domain if not abs(domain[n]) + abs(fairness[n]) < float("inf")]:
        raise ValueError(f"the sensitivity of {_listed(bad)} is not finite")
    insensitive = sorted(domain, key=lambda name: domain[name])
    sensitive = sorted(domain, key=lambda name: -fairness[name])
    place = {name: i for i, name in enumerate(insensitive, start=1)}
    entered = {name: max(place[name], j) for j, name in enumerate(sensitive, start=1)}
    return {name: entered[name] for name in domain}


def select_mask(
    domain: Mapping[str, float], fairness: Mapping[str, float], k: int
) -> frozenset[str]:
    """Select K = {k tensors of smallest d} intersected with {k tensors of largest b}.

    Of n tensors the mask holds max(1, 2k - n) to k: k is not the size of the mask.

    Parameters
    ----------
    domain, fairness
        As in :func:`entry_k`, with its rule for equal values.
    k
        1 to the number of tensors; the authors' runner has 55 (of 62 in ResNet-18).

    Returns
    -------
    frozenset
        Names of the tensors to train.

    Raises
    ------
    EmptyMaskError
        If the two sets of k share no tensor; the message gives the smallest k whose sets do.
    ValueError
        If k is not a whole number in that range, or :func:`entry_k` refuses its input.

    Notes
    -----
    Zhao et al. (2025), arXiv 2503.05665, section on selective mask generation.
    """
    entered = entry_k(domain, fairness)
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= len(entered):
        raise ValueError(
            f"k must be a whole number in 1..{len(entered)}, the number of tensors, not {k!r}"
        )
    mask = frozenset(name for name, first in entered.items() if first <= k)
    if not mask:
        raise EmptyMaskError(
            f"k = {k} gives an empty mask: of the {k} tensors of smallest domain sensitivity and "
            f"the {k} of largest fairness sensitivity, 0 are the same. The smallest k with a mask "
            f"is {min(entered.values())} (of {len(entered)})."
        )
    return mask


def smallest_k(domain: Mapping[str, float], fairness: Mapping[str, float]) -> int:
    """Return the smallest k whose mask is not empty; arguments and errors as in :func:`entry_k`."""
    return min(entry_k(domain, fairness).values())


def mask_sizes(
    domain: Mapping[str, float], fairness: Mapping[str, float], parameters: Mapping[str, int]
) -> list[MaskSize]:
    """List how much of the model trains for every k: the paper counts tensors, not parameters.

    Parameters
    ----------
    domain, fairness
        As in :func:`entry_k`.
    parameters
        Name -> number of scalar parameters of each tensor.

    Returns
    -------
    list of MaskSize
        For k = 1 to the number of tensors, with zeros where the mask is empty; the fields name
        the columns in ``pandas.DataFrame(...)``. The last holds the whole model.

    Raises
    ------
    ValueError
        As in :func:`entry_k`, or if ``parameters`` holds other tensors.
    """
    entered = entry_k(domain, fairness)
    _check_same_names(entered, parameters)
    n, total = len(entered), sum(parameters.values())
    sizes = []
    for k in range(1, n + 1):
        inside = [parameters[name] for name, first in entered.items() if first <= k]
        sizes.append(MaskSize(k, len(inside), len(inside) / n, sum(inside), sum(inside) / total))
    return sizes


def jaccard(first: Collection[object], second: Collection[object]) -> float:
    """Return the size of the intersection over that of the union, in [0, 1]; 1 for empty masks."""
    a, b = frozenset(first), frozenset(second)
    return len(a & b) / len(a | b) if a | b else 1.0


def agreement(masks: Sequence[Collection[str]]) -> float:
    """Return the mean Jaccard index over all pairs of masks, in [0, 1].

    It is far from 0 by chance alone where masks are large: two random ones of 50 of 62 tensors
    share 40 on average, an index of about 0.68.

    Raises
    ------
    ValueError
        For fewer than two masks.
    """
    pairs = list(combinations(masks, 2))
    if not pairs:
        raise ValueError(f"agreement is between at least 2 masks, not {len(masks)}")
    return sum(jaccard(a, b) for a, b in pairs) / len(pairs)


@contextmanager
def _restored(model: nn.Module) -> Iterator[None]:
    """Leave flags, modes and buffers after the block as they were before it."""
    modes = [(module, module.training) for module in model.modules()]
    flags = [(p, p.requires_grad) for p in model.parameters()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
        with torch.no_grad():
            for buffer, saved in buffers:
                buffer.copy_(saved)


def _check_loss(value: Tensor, batch: int) -> None:
    if value.numel() != 1:
        raise ValueError(f"loss must return a scalar, not shape {tuple(value.shape)}")
    if not value.isfinite():
        raise ValueError(f"the loss of batch {batch} is {value.item()}; look for NaN in its inputs")
    if not value.requires_grad:
        raise ValueError(f"the loss of batch {batch} does not depend on the model's parameters")


def _absolute(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().mean())


def _cosine(a: Tensor, b: Tensor) -> float:
    if not a.any() or not b.any():
        return float(a.any() != b.any())
    similarity = float(a @ b / (a.norm() * b.norm()))
    return 1 - max(-1.0, min(1.0, similarity))  # Rounding would else leave [-1, 1].


def _check_same_names(a: Mapping[str, object], b: Mapping[str, object]) -> None:
    if a.keys() != b.keys():
        first, second = [n for n in a if n not in b], [n for n in b if n not in a]
        raise ValueError(
            "both must hold the same tensors, but only the first has "
            f"{_listed(first)}, only the second {_listed(second)}"
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (", ".join(names[:5]) or "none") + more
