"""Mean gradients of every tensor on a set of faces, and how much they differ between two sets.

Source: Zhao et al. (2025), arXiv 2503.05665, section on selective mask generation, and the
released code (github.com/zengqunzhao/AIM-Fair).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from repro.names import check_name
from repro.tensors import check_same_tensors, listed


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
    with restored(model), torch.enable_grad():
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
    return averaged(sums, count)


def averaged(sums: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Return sums over ``count`` by name; one that is not finite is an error that names it."""
    means = {name: total / count for name, total in sums.items()}
    if bad := [name for name, mean in means.items() if not mean.isfinite().all()]:
        raise ValueError(f"the gradient of {listed(bad)} is not finite")
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
    check_same_tensors(a, b)
    if differ := [n for n in a if a[n].shape != b[n].shape]:
        shapes = ", ".join(f"{n} {tuple(a[n].shape)} and {tuple(b[n].shape)}" for n in differ)
        raise ValueError(f"gradients of one tensor must have one shape, but differ: {shapes}")
    measure = _absolute if kind == "absolute" else _cosine
    # On the CPU in float64: the ranking should not hang on the rounding of one device's sums.
    return {
        name: measure(*(g[name].detach().cpu().double().flatten() for g in (a, b))) for name in a
    }


@contextmanager
def restored(model: nn.Module) -> Iterator[None]:
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
