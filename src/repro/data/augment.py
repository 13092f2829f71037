"""Training and test transforms on a whole batch, where the batch lies.

The papers crop, flip and normalise one PIL image after another. Here a batch of bytes goes to the
device once and every image is cropped and flipped its own way in a single resampling step, from
the frame at its own size: nothing is interpolated twice.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

ATTEMPTS = 10
"""Draws of a box before the fallback, as in torchvision's RandomResizedCrop."""

RATIO = (3 / 4, 4 / 3)
"""Smallest and largest width / height of a box, torchvision's default and the authors'."""


def random_resized_crop(
    images: Tensor,
    size: int,
    *,
    generator: torch.Generator,
    scale: tuple[float, float] = (0.08, 1.0),
    frames: Tensor | None = None,
    flip: float = 0.5,
) -> Tensor:
    """Crop a box of its own from each image, resize it, flip it perhaps, normalise.

    The training transform of AIM-Fair: RandomResizedCrop, RandomHorizontalFlip and
    Normalize(0.5, 0.5). Boxes are those of `crop_boxes`, pixels those of `resized_crop`.

    Parameters
    ----------
    images
        (n, 3, h, w) uint8.
    size
        Height and width of the result in pixels.
    generator
        On the CPU, wherever the images are: the same boxes are drawn for every device. It
        always moves on by the same amount.
    scale
        See `crop_boxes`.
    frames
        (n, 2) height and width of each frame, in the upper left corner of its image; the whole
        images by default.
    flip
        Probability that an image is flipped left to right.

    Returns
    -------
    (n, 3, size, size) float32
        (x / 255 - 0.5) / 0.5 of what was cropped, on the device of the images.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    """
    _check_images(images)
    if not 0 <= flip <= 1:
        raise ValueError(f"flip is a probability, from 0 to 1, not {flip}")
    n, _, *whole = images.shape
    height, width = whole if frames is None else frames.unbind(1)
    boxes = crop_boxes(n, height, width, generator=generator, scale=scale)
    flipped = torch.rand(n, generator=generator) < flip
    return resized_crop(images, boxes, size, flipped=flipped)


def crop_boxes(
    n: int,
    height: int | Tensor,
    width: int | Tensor,
    *,
    generator: torch.Generator,
    scale: tuple[float, float] = (0.08, 1.0),
) -> Tensor:
    """Draw n boxes as torchvision's ``RandomResizedCrop.get_params`` draws each one.

    The share of the area is uniform, the logarithm of width / height is uniform, both sides are
    rounded to whole pixels. The first of `ATTEMPTS` boxes that fits into the image gets a
    uniform position; if none fits, the box is the largest central one within `RATIO`.

    Parameters
    ----------
    n
        Number of boxes.
    height, width
        Size of the frames in pixels, one for all or (n,) int64 of each.
    generator
        On the CPU.
    scale
        Smallest and largest share of the image's area; above 0 and at most 1.

    Returns
    -------
    (n, 4) int64
        Top, left, height, width.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    """
    if not 0 < scale[0] <= scale[1] <= 1:
        raise ValueError(f"scale must be two ascending shares, above 0 and at most 1, not {scale}")
    sides = torch.stack([torch.as_tensor(side).expand(n) for side in (height, width)], dim=1)
    highest, widest = (side[:, None] for side in sides.unbind(1))
    draws = torch.rand(n, 2, ATTEMPTS, generator=generator, dtype=torch.float64)
    corner = torch.rand(n, 2, generator=generator, dtype=torch.float64)
    area = highest * widest * (scale[0] + (scale[1] - scale[0]) * draws[:, 0])
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    shape = torch.exp(low + (high - low) * draws[:, 1])
    wide = torch.round(torch.sqrt(area * shape)).long()
    tall = torch.round(torch.sqrt(area / shape)).long()
    fits = (wide > 0) & (wide <= widest) & (tall > 0) & (tall <= highest)
    first = fits.byte().argmax(dim=1, keepdim=True)  # of equal values argmax returns the first
    wide, tall = wide.gather(1, first).squeeze(1), tall.gather(1, first).squeeze(1)
    top = (corner[:, 0] * (sides[:, 0] - tall + 1)).floor().long()
    left = (corner[:, 1] * (sides[:, 1] - wide + 1)).floor().long()
    drawn = torch.stack([top, left, tall, wide], dim=1)
    different, which = sides.unique(dim=0, return_inverse=True)  # type: ignore[no-untyped-call]
    boxes = [_central_box(tall, wide) for tall, wide in different.tolist()]
    central = torch.tensor(boxes, dtype=torch.int64).reshape(-1, 4)[which]
    return torch.where(fits.any(dim=1, keepdim=True), drawn, central)


def resized_crop(
    images: Tensor, boxes: Tensor, size: int, *, flipped: Tensor | None = None
) -> Tensor:
    """Resize a box of each image to a square and normalise it.

    Interpolation is bilinear between the pixels of the box, and antialiased where the box is
    higher or wider than ``size``, as in torchvision's ``resized_crop(..., antialias=True)``, which
    is what PIL does. One thing differs from PIL and from torchvision on bytes: the result is not
    rounded to one of 256 steps.

    Parameters
    ----------
    images
        (n, 3, h, w) uint8.
    boxes
        (n, 4) top, left, height, width of a box inside each image.
    size
        Height and width of the result in pixels.
    flipped
        (n,) bool, which results are flipped left to right; none by default.

    Returns
    -------
    (n, 3, size, size) float32
        (x / 255 - 0.5) / 0.5.
    """
    _check_images(images)
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, it is {size}")
    shrunk = (boxes[:, 2:] > size).any(dim=1)
    if shrunk.any():
        pixels = images.new_empty((len(images), 3, size, size), dtype=torch.float32)
        for resample, which in ((_smoothed, shrunk), (_between, ~shrunk)):
            at = which.nonzero()[:, 0]
            mirrored = None if flipped is None else flipped[at.to(flipped.device)]
            here = at.to(images.device)
            pixels[here] = resample(images[here], boxes[at], size, mirrored)
    else:
        pixels = _between(images, boxes, size, flipped)
    return pixels.mul_(2 / 255).sub_(1)


def _between(images: Tensor, boxes: Tensor, size: int, flipped: Tensor | None) -> Tensor:
    """Interpolate between the pixels of boxes that are at most ``size`` high and wide."""
    top, left, tall, wide = boxes.to(images.device, torch.float32)[:, :, None].unbind(1)
    centres = (torch.arange(size, device=images.device) + 0.5) / size  # (size,) in units of a box
    across = centres.expand(len(images), size)
    if flipped is not None:
        across = torch.where(flipped.to(images.device)[:, None], 1 - centres, across)
    # Positions in pixels, kept within the centres of the box's outer pixels: what lies around
    # the box must not shine through at its border.
    y = top + (centres * tall - 0.5).clamp(min=0).minimum(tall - 1)
    x = left + (across * wide - 0.5).clamp(min=0).minimum(wide - 1)
    height, width = images.shape[2:]
    # grid_sample counts from -1 to 1, between the outer edges of the outer pixels.
    y, x = (2 * y + 1) / height - 1, (2 * x + 1) / width - 1
    whole = (len(images), size, size)
    grid = torch.stack([x[:, None, :].expand(whole), y[:, :, None].expand(whole)], dim=-1)
    return grid_sample(
        images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False
    )


def _smoothed(images: Tensor, boxes: Tensor, size: int, flipped: Tensor | None) -> Tensor:
    """Resample boxes of any size, antialiased: one matrix for the rows, one for the columns."""
    top, left, tall, wide = boxes.to(images.device, torch.float32).unbind(1)
    n, _, height, width = images.shape
    down, across = _weights(top, tall, size, height), _weights(left, wide, size, width)
    if flipped is not None:
        across = torch.where(flipped.to(images.device)[:, None, None], across.flip(1), across)
    narrow = torch.bmm(images.float().reshape(n, 3 * height, width), across.transpose(1, 2))
    return torch.matmul(down[:, None], narrow.reshape(n, 3, height, size))


def _weights(start: Tensor, length: Tensor, size: int, extent: int) -> Tensor:
    """Return how much each of ``extent`` pixels gives to each of ``size``, (n, size, extent).

    A triangle around the centre of each result, one pixel wide on either side or, where a result
    covers more than a pixel, as wide as that; only pixels of the box count.
    """
    start, length = start[:, None, None], length[:, None, None]
    step = length / size
    centre = (torch.arange(size, device=start.device) + 0.5)[:, None] * step
    pixel = torch.arange(extent, device=start.device) + 0.5 - start
    weight = (1 - (pixel - centre).abs() / step.clamp(min=1)).clamp(min=0)
    weight = weight * ((pixel > 0) & (pixel < length))
    return weight / weight.sum(dim=2, keepdim=True)


def plain(images: Tensor, size: int | None = None, *, frames: Tensor | None = None) -> Tensor:
    """Normalise without augmentation: the papers' test transform.

    Parameters
    ----------
    images
        (n, 3, h, w) uint8.
    size
        Height and width of the result; those of the images by default. Resizing is bilinear and
        antialiased, in one step from the frame.
    frames
        As in `random_resized_crop`; needs ``size``.

    Returns
    -------
    (n, 3, size, size) float32
        (x / 255 - 0.5) / 0.5.
    """
    _check_images(images)
    if frames is not None and size is not None:
        return resized_crop(images, torch.cat([torch.zeros_like(frames), frames], dim=1), size)
    pixels = images.float()
    if size is not None and tuple(images.shape[2:]) != (size, size):
        pixels = interpolate(pixels, (size, size), mode="bilinear", antialias=True)
    return pixels.mul_(2 / 255).sub_(1)


def _central_box(height: int, width: int) -> tuple[int, int, int, int]:
    """Return the largest central box whose width / height is within `RATIO`."""
    own = width / height
    tall, wide = height, width
    if own < RATIO[0]:
        tall = max(1, round(width / RATIO[0]))
    elif own > RATIO[1]:
        wide = max(1, round(height * RATIO[1]))
    return (height - tall) // 2, (width - wide) // 2, tall, wide


def _check_images(images: Tensor) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(
            f"images must be uint8 of shape (n, 3, h, w), not {images.dtype} of shape "
            f"{tuple(images.shape)}"
        )
