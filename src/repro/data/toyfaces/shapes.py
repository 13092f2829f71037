"""Antialiased shapes for a batch of images at once: signed distances, coverage, layers.

Images must not depend on the batch in which they are drawn, bit for bit. Each operation here is
therefore elementwise and correctly rounded by IEEE 754 (+ - * / sqrt, comparisons, floor): there is
one right answer, whichever vector width or thread computes it. Transcendental functions, fused
multiply-adds, convolutions and library reductions give no such guarantee and are not used. The
square root is `root`, as torch's own gives other last bits on some processors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass
class Canvas:
    """Images being painted, back to front, and the coordinates of their pixels.

    Attributes
    ----------
    rgb
        (n, 3, s, s) float32 in [0, 1], changed in place.
    x, y
        (1, s, s) image coordinates, -1 to 1, right and down.
    u, v
        (n, s, s) coordinates of the head: origin at its centre, 1 is half its height.
    pixel
        (n, 1, 1) width of a pixel in those units.
    """

    rgb: Tensor
    x: Tensor
    y: Tensor
    u: Tensor
    v: Tensor
    pixel: Tensor

    def paint(self, cover: Tensor, colour: Tensor) -> None:
        """Lay a colour, (n, 3, 1, 1) or (n, 3, s, s), over the share ``cover`` (n, s, s)."""
        self.rgb += cover[:, None] * (colour - self.rgb)

    def shade(self, cover: Tensor, factor: Tensor | float) -> None:
        """Multiply the colour by ``factor``, (n, 1, 1) or (n, s, s), where ``cover`` is 1."""
        self.rgb *= (1 + cover * (factor - 1))[:, None]

    def inside(self, distance: Tensor, softness: Tensor | float = 0.0) -> Tensor:
        """Return the coverage (n, s, s) of a shape, 1 inside, over an edge a pixel wide.

        ``distance`` is signed, negative inside; ``softness``, in the units of the head, widens
        the edge.
        """
        return (0.5 - distance / (self.pixel + softness)).clamp(0, 1)


def root(x: Tensor) -> Tensor:
    """Return the square root as IEEE 754 asks for it: the float32 nearest to the true one.

    ``Tensor.sqrt`` hands a contiguous tensor to MKL, whose root is one unit in the last place off
    in six of a thousand values where it uses AVX-512, and in a fifth with ``MKL_CBWR=COMPATIBLE``
    (torch 2.15). A last place can be a grey level, and one grey level another model.
    """
    return torch.from_numpy(np.sqrt(x.numpy()))


def ellipse(u: Tensor, v: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    """Return the distance (n, s, s) to an axis-aligned ellipse at the origin, to first order."""
    p, q = u / a, v / b
    radius = root(p * p + q * q)
    slope = root((p / a) * (p / a) + (q / b) * (q / b))
    return radius * (radius - 1) / (slope + 1e-6)


def box(u: Tensor, v: Tensor, a: Tensor | float, b: Tensor | float, r: float = 0.0) -> Tensor:
    """Return the distance (n, s, s) to a box at the origin with corners rounded by ``r``."""
    p, q = u.abs() - a + r, v.abs() - b + r
    p_out, q_out = p.clamp(min=0), q.clamp(min=0)
    return root(p_out * p_out + q_out * q_out) + torch.maximum(p, q).clamp(max=0) - r


def stroke(
    u: Tensor, v: Tensor, half: Tensor | float, bend: Tensor | float, thick: Tensor | float
) -> Tensor:
    """Return the distance (n, s, s) to a parabolic line about the origin.

    The line is v = bend * (1 - (u/half)**2), for abs(u) < half, ``thick`` to either side in the
    middle and thinner to the ends: positive ``bend`` sags like a smile, negative arches like a
    brow.
    """
    t = u / half
    square = (t * t).clamp(max=1.5)
    slope = 2 * bend * t / half
    off = (v - bend * (1 - square)).abs() / root(1 + slope * slope)
    return torch.maximum(off - thick * (1.15 - 0.65 * square), u.abs() - half)


def ripple(t: Tensor) -> Tensor:
    """Return a wave of period 1 and amplitude 1 made of parabolas (it is close to a sine)."""
    w = t - t.floor() - 0.5
    return 16 * w * (w.abs() - 0.5)


def ramp(t: Tensor) -> Tensor:
    """Return 0 below 0, 1 above 1, smooth in between (3t**2 - 2t**3)."""
    t = t.clamp(0, 1)
    return t * t * (3 - 2 * t)


def bump(u: Tensor, v: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    """Return a soft spot: 1 at the origin, 0 from the ellipse of half-axes a, b outwards."""
    p, q = u / a, v / b
    fall = (1 - p * p - q * q).clamp(min=0)
    return fall * fall
