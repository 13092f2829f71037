"""What a person wears on the head: earrings, glasses, a hat; painted last."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from repro.data.toyfaces_looks import RGB, Rows
from repro.data.toyfaces_shapes import Canvas, box, ellipse, ramp, stroke

HAT: Mapping[str, RGB] = {
    "red": (0.76, 0.15, 0.18),
    "blue": (0.18, 0.33, 0.66),
    "black": (0.14, 0.14, 0.16),
    "green": (0.22, 0.46, 0.27),
    "straw": (0.86, 0.73, 0.44),
}


def draw_earrings(c: Canvas, rows: Rows, u: Tensor, v: Tensor, width: Tensor, yaw: Tensor) -> None:
    """Draw a golden drop below each ear, in front of the hair."""
    gold = torch.tensor([0.98, 0.80, 0.25]).reshape(1, 3, 1, 1)
    for side in (-1.0, 1.0):
        at = u - side * (width + 0.02) + 0.10 * yaw
        seen = rows["Wearing_Earrings"] * ramp(1.3 + side * -yaw * 1.5)
        drop = c.inside(ellipse(at, v - 0.36, 0.065, 0.10))
        c.paint(drop * seen, gold)


def draw_glasses(c: Canvas, rows: Rows, u: Tensor, v: Tensor, head: Tensor, width: Tensor) -> None:
    """Two rimmed lenses with a glare, a bridge and temples."""
    worn = rows["Eyeglasses"]
    au, gv = u.abs(), v + 0.08
    lens = box(au - 0.345, gv, 0.255, 0.2, 0.14)
    rim = lens.abs() - 0.032
    bridge = stroke(u, gv + 0.05, 0.12, -0.04, 0.028)
    temple = torch.maximum((gv + 0.05).abs() - 0.026, (au - 0.78).abs() - 0.2)
    glare = c.inside((au - 0.3 + 0.7 * gv).abs() - 0.045) * c.inside(lens)
    c.paint(c.inside(lens) * worn * 0.16, torch.ones(1, 3, 1, 1))
    c.paint(glare * worn * 0.35, torch.ones(1, 3, 1, 1))
    frame = torch.minimum(torch.minimum(rim, bridge), temple + 10 * (1 - head))
    warm = rows["frame"][:, None]
    dark = torch.tensor([0.08, 0.07, 0.08]).reshape(1, 3, 1, 1)
    amber = torch.tensor([0.36, 0.17, 0.08]).reshape(1, 3, 1, 1)
    c.paint(c.inside(frame) * worn, (1 - warm) * dark + warm * amber)


def draw_hat(
    c: Canvas, rows: Rows, u: Tensor, v: Tensor, head: Tensor, width: Tensor, light: Tensor
) -> None:
    """Draw a crown with a band, and a brim of any width from a cap's to a sun hat's."""
    worn, colour = rows["Wearing_Hat"], rows.colour("hat_colour", HAT)
    rim, sag = rows.between("brim", 0.02, 0.55), 0.06
    edge = -0.52 + sag * (u / width) * (u / width)
    crown = torch.maximum(ellipse(u, v + 0.52, width + 0.13, 0.78), v - edge)
    brim = stroke(u, v + 0.52, width + 0.16 + rim, -sag, 0.095)
    c.shade(c.inside(brim - 0.02, 0.3) * worn * head, 0.75)
    c.paint(c.inside(crown) * worn, colour * (0.4 + 0.6 * light[:, None]))
    band = torch.maximum(crown, -(v + 0.78))
    c.paint(c.inside(band) * worn, colour * 0.55)
    c.paint(c.inside(brim) * worn, colour * 0.85)
