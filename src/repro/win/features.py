"""What reaches the head of a frozen image classifier: computed once for each image set.

WIN freezes everything before the last layer, so an image's representation never changes: on cached
features a fine-tuning run takes seconds, and the Fisher information is one matrix product.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from repro.data import augment
from repro.data.cache import features
from repro.data.images import ImageSet
from repro.models import last_linear

PREPROCESSING = "plain 1"
"""What is done to the bytes before the network (`repro.data.augment.plain`), and its version."""

_BATCH = 256  # images that go through at once


def backbone_digest(model: nn.Module) -> str:
    """Return the sha256 of everything before the head: names, types, shapes and bytes.

    Two classifiers that differ in their heads alone have one digest, as their features are the
    same.

    Raises
    ------
    ValueError
        If the head of the model is not linear (:func:`repro.models.last_linear`).
    """
    head, _ = last_linear(model)
    total = hashlib.sha256(type(model).__name__.encode())
    for name, tensor in sorted(model.state_dict().items()):
        if name in (f"{head}.weight", f"{head}.bias"):
            continue
        plain = tensor.detach().cpu().contiguous()
        total.update(f"{name} {plain.dtype} {tuple(plain.shape)}".encode())
        total.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def image_features(
    model: nn.Module,
    images: ImageSet,
    *,
    size: int | None = None,
    device: str = "cpu",
) -> Tensor:
    """Return what reaches the head of ``model`` when it reads images, from the cache if it can.

    Parameters
    ----------
    model
        A classifier whose last layer is linear, such as torchvision's; it is moved to ``device``
        and left in the mode it was in.
    images
        The image set; its digests and the names of the examples stand for its pixels.
    size
        Height and width at which the network reads them; the images' width by default.
    device
        Where the features are computed. Another device rounds otherwise, so it has its own cache.

    Returns
    -------
    torch.Tensor
        Shape (n, d), float32, memory-mapped.

    Raises
    ------
    ValueError
        If the head is not linear, or not what the model ends with (its output is changed
        afterwards, so that it is not a linear classifier of these features).
    DataError
        If a feature is not finite or the cache cannot be written.
    """
    _, head = last_linear(model)
    listed = "\n".join(f"{i} {name}" for i, name in enumerate(images.attributes.index))
    read_at = images.images.shape[-1] if size is None else size
    depends_on = {
        "backbone": backbone_digest(model),
        "images": dict(images.sha256),
        "stored size": list(images.images.shape[2:]),
        "size": read_at,
        "rows": hashlib.sha256(listed.encode()).hexdigest(),
        "preprocessing": PREPROCESSING,
        "device": torch.device(device).type,
    }

    def compute() -> Iterator[Tensor]:
        return _passes(model, head, images.images, read_at, device)

    title = f"{images.name}-{read_at}-{type(model).__name__}".lower()
    return features(title, depends_on, (len(images), head.in_features), compute)


@torch.no_grad()
def _passes(
    model: nn.Module, head: nn.Linear, images: Tensor, size: int, device: str
) -> Iterator[Tensor]:
    """Yield the inputs of the head, batch by batch, in evaluation mode."""
    caught: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, args: caught.append(args[0].detach()))
    modes = {module: module.training for module in model.modules()}
    model.to(device).eval()
    try:
        for start in range(0, len(images), _BATCH):
            caught.clear()
            pixels = images[start : start + _BATCH].to(device)
            logits = model(augment.plain(pixels, size).contiguous())
            if len(caught) != 1 or caught[0].ndim != 2:
                raise ValueError("the head must read one vector for each image, once a pass")
            if start == 0:
                _check_last(head, caught[0], logits)
            yield caught[0].float()
    finally:
        hook.remove()
        for module, training in modes.items():
            module.training = training


def _check_last(head: nn.Linear, inside: Tensor, logits: Tensor) -> None:
    """Refuse a model that does something to the output of its last linear layer."""
    own = nn.functional.linear(inside, head.weight, head.bias)
    if own.shape != logits.shape or not torch.allclose(own, logits, rtol=1e-4, atol=1e-5):
        raise ValueError(
            "the last linear layer is not what the model ends with: its output is changed "
            "afterwards, so the importance in closed form does not hold for it"
        )
