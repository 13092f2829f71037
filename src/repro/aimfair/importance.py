"""WIN's importance as a sensitivity of whole tensors: what a mask could be selected by instead.

WIN takes the importance of the last layer's weights for each of two protected groups, the root of
their Fisher information, and averages the two. AIM-Fair asks of every tensor how sensitive it is to
bias, without protected labels of real images. Both meet on synthetic images, whose groups are
known: a tensor whose importance *differs* between the groups sees the bias. That difference, of
every tensor and entry by entry, is this study's own; no paper has it.

Source of the importance: Zhang and Zhou (2024), arXiv 2403.00625.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from repro.aimfair.gradients import averaged, restored
from repro.tensors import check_same_tensors


def fisher(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    chunk: int = 16,
) -> dict[str, Tensor]:
    """Compute the diagonal of the empirical Fisher information of every tensor.

    F_j = (1/N) sum_i (dL_i/dtheta_j)^2, squared before the mean over examples, in evaluation mode:
    in training mode BatchNorm would mix the examples of a batch.

    Parameters
    ----------
    model
        The pre-trained model. It is left as it was.
    batches
        Pairs of inputs (n, ...) and target (n,) on the device of the model.
    loss
        (logits, target) -> scalar, of a batch of one.
    chunk
        How many gradients of single examples are held at once, whatever the batches.

    Returns
    -------
    dict
        For each of ``model.named_parameters()``, of its shape and at least 0, in float32 or more.

    Raises
    ------
    ValueError
        If there is no example, or a gradient is not finite (the tensors are named).
    """
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    buffers = dict(model.named_buffers())

    def of_one(values: dict[str, Tensor], image: Tensor, target: Tensor) -> Tensor:
        logits = functional_call(model, (values, buffers), (image[None],))
        return loss(logits, target[None])

    gradients = vmap(grad(of_one), in_dims=(None, 0, 0))
    sums = {
        name: torch.zeros_like(p, dtype=torch.promote_types(p.dtype, torch.float32))
        for name, p in parameters.items()
    }
    count = 0
    with restored(model):
        model.eval()
        for inputs, target in batches:
            for start in range(0, len(inputs), chunk):  # vmap's own chunks would all be held
                part = slice(start, start + chunk)
                for name, gradient in gradients(parameters, inputs[part], target[part]).items():
                    sums[name] += gradient.to(sums[name].dtype).square().sum(dim=0)
            count += len(inputs)
    if count == 0:
        raise ValueError("no example: Fisher information needs at least one")
    return averaged(sums, count)


def importance_gap(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> dict[str, float]:
    """Return how much the importance of each tensor differs between two groups.

    b_j = mean over the entries of abs(sqrt F_1 - sqrt F_2). The root is the importance that WIN
    mixes; the mean over entries is AIM-Fair's for gradients, in whose place it stands.

    Parameters
    ----------
    first, second
        Of the two groups, from :func:`fisher`.

    Returns
    -------
    dict
        Name -> difference >= 0, in the order of ``first``; computed in float64.

    Raises
    ------
    ValueError
        If the two do not hold the same tensors.
    """
    check_same_tensors(first, second)
    roots = [
        {name: f.detach().cpu().double().sqrt() for name, f in group.items()}
        for group in (first, second)
    ]
    return {name: float((roots[0][name] - roots[1][name]).abs().mean()) for name in first}
