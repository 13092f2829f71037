"""The two rendering domains of toy faces: how features, background and optics differ.

A domain is a set of numbers. The camera is what a photograph has: hard light, clutter, blur,
noise, colour casts. The studio is what an image generator draws: soft light, large eyes, an even
backdrop, no optics. Between the two lies a straight line, and ``domain_gap`` says how far along it
the studio is.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from repro.data.toyfaces.drawing import draw_person
from repro.data.toyfaces.looks import RGB, Look, Rows
from repro.data.toyfaces.shapes import Canvas, box, ellipse

T = TypeVar("T", "Look", "Optics")

BACKGROUND: dict[str, RGB] = {
    "grey": (0.62, 0.62, 0.64),
    "blue": (0.42, 0.58, 0.80),
    "green": (0.45, 0.65, 0.45),
    "beige": (0.84, 0.74, 0.60),
    "purple": (0.62, 0.50, 0.72),
}
CLUTTER_SHAPES = 7


@dataclass(frozen=True)
class Optics:
    """What lies between the person and the image, and behind the person.

    Attributes
    ----------
    near
        Size of the head in the frame, relative.
    clutter
        Opacity of the shapes in the background.
    haze
        Strength of patches of light and dark all over the image.
    blur
        Largest blend with the image blurred by about a pixel in 64.
    noise
        Largest standard deviation of the noise of a pixel, of full scale.
    cast
        Largest relative change of a colour channel.
    exposure
        Largest change of brightness, relative.
    chroma
        Blend of colour with its mean over 2 x 2 pixels, as in a compressed photograph.
    saturation
        Factor on the distance of a colour from its grey.
    """

    near: float
    clutter: float
    haze: float
    blur: float
    noise: float
    cast: float
    exposure: float
    chroma: float
    saturation: float


CAMERA = (
    Look(smile=1.0, gender=1.0, light=0.45, texture=1.0, eyes=1.0, line=0.0),
    Optics(
        near=1.0,
        clutter=0.8,
        haze=0.07,
        blur=0.9,
        noise=0.05,
        cast=0.12,
        exposure=0.22,
        chroma=0.8,
        saturation=0.85,
    ),
)
STUDIO = (
    # A smile is as wide as before the camera: what is learnt must not be what differs, or a
    # classifier of studio images misses the faint smiles of one sex more than of the other.
    Look(smile=1.0, gender=1.0, light=0.22, texture=0.25, eyes=1.22, line=0.55),
    Optics(
        near=0.88,
        clutter=0.0,
        haze=0.0,
        blur=0.0,
        noise=0.0,
        cast=0.02,
        exposure=0.04,
        chroma=0.0,
        saturation=1.15,
    ),
)


def between(start: T, end: T, share: float) -> T:
    """Return the numbers ``share`` of the way from one set to the other; none is negative."""
    return type(start)(
        **{
            field.name: max(
                0.0, (1 - share) * getattr(start, field.name) + share * getattr(end, field.name)
            )
            for field in fields(start)
        }
    )


def draw(factors: pd.DataFrame, size: int, look: Look, optics: Optics) -> Tensor:
    """Draw the faces of these rows, (n, 3, size, size) uint8."""
    rows, key = Rows(factors), factors["noise_key"].to_numpy(np.uint32)
    n = len(factors)
    at = (torch.arange(size, dtype=torch.float32) + 0.5) * (2 / size) - 1
    x, y = at.reshape(1, 1, size), at.reshape(1, size, 1)
    scale = rows.between("scale", 0.63, 0.71) * optics.near
    du = x - rows.between("centre_x", -0.05, 0.05)
    dv = y - rows.between("centre_y", 0.06, 0.14)
    # The head tilts by so little that two terms of sine and cosine serve.
    turn = rows.between("roll", -0.10, 0.10)
    cosine, sine = 1 - turn * turn / 2, turn - turn * turn * turn / 6
    canvas = Canvas(
        rgb=torch.zeros(n, 3, size, size),
        x=x,
        y=y,
        u=(cosine * du + sine * dv) / scale,
        v=(cosine * dv - sine * du) / scale,
        pixel=2 / size / scale,
    )
    _background(canvas, rows, key, optics)
    draw_person(canvas, rows, look)
    image = _expose(canvas, rows, key, optics)
    return (image * 255 + 0.5).clamp(0, 255).to(torch.uint8)


def _background(c: Canvas, rows: Rows, key: NDArray[np.uint32], optics: Optics) -> None:
    """Paint an even wall, lighter to one side, and what stands before it."""
    n, size = len(key), c.rgb.shape[-1]
    slope = rows.between("gradient", -0.22, 0.22)
    wall = rows.colour("background", BACKGROUND)
    c.rgb += wall * (1 + slope * c.x - 0.12 * c.y)[:, None]
    # Shapes keep their place in the image whatever the head does, so they use x and y.
    plain = Canvas(c.rgb, c.x, c.y, c.x, c.y, torch.full((1, 1, 1), 2 / size))
    thing = _uniform(key, 8 * CLUTTER_SHAPES).reshape(n, CLUTTER_SHAPES, 8, 1, 1)
    for k in range(CLUTTER_SHAPES if optics.clutter > 0 else 0):
        left, top, wide, high, kind, *colour = thing[:, k].unbind(dim=1)
        du, dv = c.x - (2.4 * left - 1.2), c.y - (2.4 * top - 1.2)
        a, b = 0.08 + 0.5 * wide * wide, 0.08 + 0.5 * high * high
        shape = torch.where(kind < 0.5, box(du, dv, a, b), ellipse(du, dv, a, b))
        paint = 0.45 * wall + 0.55 * torch.stack(colour, dim=1)
        plain.paint(plain.inside(shape, 0.06) * optics.clutter, paint)


def _expose(c: Canvas, rows: Rows, key: NDArray[np.uint32], optics: Optics) -> Tensor:
    """Return the image that the optics make of the scene, (n, 3, s, s), not yet clipped."""
    image, size = c.rgb, c.rgb.shape[-1]
    if optics.haze > 0:
        patches = _gaussian(key, 64, 1).reshape(-1, 1, 8, 8)
        image = image * (1 + optics.haze * _enlarge(patches, size))
    # Blur and noise are set for 64 pixels; larger pixels gather more light, and hide the blur.
    coarse = min(1.0, size / 64)
    share = coarse * optics.blur * rows["blur"][:, None]
    for _ in range(max(1, size // 48)):
        image = image + share * (_soften(image) - image)
    warm, tint = rows.between("warmth", -1, 1), rows.between("tint", -0.5, 0.5)
    gain = 1 + optics.cast * torch.stack([warm, tint, -warm], dim=1)
    gain = gain * (1 + optics.exposure * rows.between("exposure", -1, 1))[:, None]
    image = (image * gain).clamp(0, 1)
    grey = (0.3 * image[:, 0] + 0.59 * image[:, 1] + 0.11 * image[:, 2])[:, None]
    colour = image - grey
    if optics.chroma > 0:
        quarter = colour[..., 0::2, :] + colour[..., 1::2, :]
        quarter = (quarter[..., 0::2] + quarter[..., 1::2]) / 4
        colour = colour + optics.chroma * (_double(quarter) - colour)
    image = grey + optics.saturation * colour
    if optics.noise > 0:
        # Mostly of brightness; that of colour is coarser, as cameras smooth it.
        level = coarse * optics.noise * rows.between("grain", 0.2, 1.0)[:, None]
        grain = _gaussian(key, size * size, 2).reshape(-1, 1, size, size)
        half = size // 2
        tinge = _gaussian(key, 3 * half * half, 3).reshape(-1, 3, half, half)
        image = image + level * (grain + 0.5 * _double(tinge))
    return image


def _soften(image: Tensor) -> Tensor:
    """Blur by (1, 2, 1) / 4 in both directions; borders repeat."""
    down = torch.cat([image[..., :1, :], image, image[..., -1:, :]], dim=2)
    image = (down[..., :-2, :] + 2 * down[..., 1:-1, :] + down[..., 2:, :]) / 4
    across = torch.cat([image[..., :1], image, image[..., -1:]], dim=3)
    return (across[..., :-2] + 2 * across[..., 1:-1] + across[..., 2:]) / 4


def _double(image: Tensor) -> Tensor:
    """Repeat each pixel twice in both directions."""
    return image.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def _enlarge(grid: Tensor, size: int) -> Tensor:
    """Interpolate (n, 1, g, g) linearly to (n, 1, size, size)."""
    last = grid.shape[-1] - 1
    at = torch.arange(size, dtype=torch.float32) * (last / (size - 1))
    low = at.floor().clamp(max=last - 1)
    index, mix = low.to(torch.int64), at - low
    grid = grid[..., index] * (1 - mix) + grid[..., index + 1] * mix
    mix = mix[:, None]
    return grid[:, :, index] * (1 - mix) + grid[:, :, index + 1] * mix


def _uniform(key: NDArray[np.uint32], count: int) -> Tensor:
    """(n, count) float32 in [0, 1), row by row from the key alone."""
    bits = _hash(key, count, 0) >> np.uint32(8)
    return torch.from_numpy(bits.astype(np.float32) * np.float32(2**-24))


def _gaussian(key: NDArray[np.uint32], count: int, stream: int) -> Tensor:
    """(n, count) float32, nearly normal, mean 0 and variance 1: four bytes added up."""
    total = _hash(key, count, stream).view(np.uint8).reshape(len(key), count, 4)
    parts = torch.from_numpy(total).to(torch.float32)
    whole = parts[..., 0] + parts[..., 1] + parts[..., 2] + parts[..., 3]
    return (whole - 510) / 147.8


def _hash(key: NDArray[np.uint32], count: int, stream: int) -> NDArray[np.uint32]:
    """(n, count) 32 random bits for each key and counter (the mixing steps of lowbias32)."""
    counter = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B1)
    z = (key[:, None] + np.uint32(stream * 0x632BE5AB & 0xFFFFFFFF)) ^ counter
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        z ^= z >> np.uint32(shift)
        z *= np.uint32(factor)
    mixed: NDArray[np.uint32] = z ^ (z >> np.uint32(16))
    return mixed
