"""How a face is painted, back to front: hair, neck, head, features, hair front, glasses, hat.

Lengths are in the units of the head (half its height is 1, v points down). What lies on the face
is painted in coordinates that turn with the pose. Both that and what is worn on the head are in
`repro.data.toyfaces.features`, what all of them read is in `repro.data.toyfaces.looks`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from repro.data.toyfaces.features import (
    draw_age,
    draw_beard,
    draw_earrings,
    draw_eyes,
    draw_glasses,
    draw_hat,
    draw_mouth,
    draw_nose,
)
from repro.data.toyfaces.looks import RGB, Look, Person, Rows
from repro.data.toyfaces.shapes import Canvas, box, ellipse, ramp, ripple, root

HAIR: Mapping[str, RGB] = {
    "black": (0.09, 0.08, 0.09),
    "brown": (0.36, 0.21, 0.11),
    "blond": (0.87, 0.70, 0.36),
    "grey": (0.72, 0.73, 0.75),
}
CLOTH: Mapping[str, RGB] = {
    "navy": (0.14, 0.19, 0.40),
    "red": (0.72, 0.16, 0.17),
    "green": (0.18, 0.45, 0.28),
    "white": (0.92, 0.92, 0.90),
    "black": (0.13, 0.13, 0.14),
    "yellow": (0.88, 0.72, 0.22),
}


def draw_person(canvas: Canvas, rows: Rows, look: Look) -> None:
    """Paint one person on each image."""
    c, u, v = canvas, canvas.u, canvas.v
    male, old, yaw = rows["Male"], 1 - rows["Young"], rows["yaw"]
    # Gendered cues run from -1 (feminine) to 1, at strength 1.
    gender = (2 * male - 1) * look.gender
    skin, hair = rows.skin(), rows.colour("hair_colour", HAIR)
    skin = skin * (1 - 0.04 * old[:, None]) + 0.02 * old[:, None]
    width = 0.755 + 0.035 * gender + rows.between("width", -0.045, 0.045)
    p = Person(rows, look, gender, old, yaw, width, skin, hair)

    # Light falls on the head as on a ball.
    nx, ny = (u / width).clamp(-1, 1), v.clamp(-1, 1)
    nz = root((1 - nx * nx - ny * ny).clamp(min=0.0))
    lx, ly = rows.between("light_x", -0.75, 0.75), rows.between("light_y", -0.6, 0.05)
    lz = root(1 - lx * lx - ly * ly)
    light = 1 + look.light * (nx * lx + ny * ly + nz * lz - 0.72)

    shape = _head_distance(p, u, v)
    back = _Hair(p, u, v)
    c.paint(c.inside(back.behind), hair * (0.62 + 0.25 * (light[:, None] - 0.5)))
    _body(c, p)
    for side in (-1.0, 1.0):
        # The ear that is turned away hides behind the head.
        ear_u = u - side * (width + 0.03) + 0.10 * yaw
        ear = c.inside(ellipse(ear_u, v - 0.08, 0.12, 0.2)) * ramp(1.3 + side * -yaw * 1.5)
        c.paint(ear, skin * 0.82)
    head = c.inside(shape)
    c.paint(c.inside(shape - 0.06) * look.line, skin * 0.35)
    c.paint(head, skin * light[:, None])

    # Coordinates on the face: the middle goes with the pose, the outline stays.
    square = (u / width) * (u / width)
    fu = u - yaw * 0.27 * (1 - square.clamp(max=1))
    fv = v - rows.between("tilt", -0.05, 0.05)
    draw_age(c, p, fu, fv, head)
    draw_nose(c, p, fu, fv)
    draw_beard(c, p, fu, fv, shape)
    draw_mouth(c, p, fu, fv, head)
    draw_eyes(c, p, fu, fv)
    front = c.inside(back.front)
    c.shade(c.inside(back.front, 0.25) * head, 0.8)
    c.paint(front, hair * (0.9 + back.strands)[:, None] * (0.5 + 0.5 * light[:, None]))
    draw_earrings(c, p, u, v)
    draw_glasses(c, p, fu, fv, head)
    draw_hat(c, p, u, v, head, light)


def _head_distance(p: Person, u: Tensor, v: Tensor) -> Tensor:
    """Distance to an egg whose lower half is square (masculine) or tapered (feminine)."""
    yaw, gender, jaw = p.yaw, p.gender, p.rows.between("jaw", -0.25, 0.25)
    below = v.clamp(min=0)
    across = (u - 0.10 * yaw * below) / (p.width * (1 - 0.16 * (1 - gender - jaw) * below * below))
    down = v / (1.0 + 0.04 * gender)
    square = down * down
    mix = (0.35 + 0.35 * gender + 0.3 * jaw).clamp(0, 0.9) * (v > 0)
    level = across * across + square * (1 - mix + mix * square)
    # Distance to first order along the radius, which is what an egg this round needs.
    radius = root(level)
    return (radius - 1) * root(u * u + v * v + 1e-6) / (radius + 1e-6)


class _Hair:
    """Distances of the hair behind the head and of the hair in front of it, and its strands."""

    def __init__(self, p: Person, u: Tensor, v: Tensor) -> None:
        rows, yaw, width, gender = p.rows, p.yaw, p.width, p.gender
        wavy, bald = rows["Wavy_Hair"], rows.have("hair_style", "bald")
        bob, bun = rows.have("hair_style", "bob"), rows.have("hair_style", "bun")
        long = rows.have("hair_style", "long")
        hang = bob + long  # how far down: bob to the chin, long below the frame
        hu, part = u + 0.12 * yaw, rows.between("parting", -1, 1)

        # Waves move the outline in and out; straight hair has an even edge and fine strands.
        wave = ripple(1.45 * v + part) + 0.6 * ripple(1.7 * hu + 2 * part)
        edge = wavy * 0.075 * wave
        volume = 0.10 + 0.05 * wavy + 0.05 * hang
        self.strands = p.look.texture * (
            wavy * 0.09 * ripple(2.2 * v + 0.9 * hu * hu + part)
            + (1 - wavy) * 0.06 * ripple(6.5 * hu + 0.8 * v)
        )

        crown = ellipse(hu, v + 0.14, width + volume, 1.0 + 0.8 * volume)
        limit = -0.05 + 0.8 * bob + 1.6 * long
        sides = box(hu, v - 0.5 * limit, width + volume + 0.04 * long, 0.5 * limit + 0.02, 0.1)
        fall = torch.where(hang > 0, torch.minimum(crown, sides), crown)
        cap = torch.maximum(fall, v - limit) - edge
        knot = ellipse(hu, v + 1.22, 0.34, 0.3) - edge
        cap = torch.where(bun > 0, torch.minimum(cap, knot), cap)
        # A bald head keeps a fringe of hair at the sides.
        rim = torch.maximum(ellipse(hu, v - 0.05, width + 0.07, 0.62), -0.30 - v)
        self.behind = torch.where(bald > 0, rim, cap)

        # In front: the crown, less an opening for the face whose top is the hairline.
        hairline = rows.between("fringe", 0.50, 0.76) + 0.06 * p.old * (1 + gender)
        opening_u = u - 0.22 * yaw - 0.2 * part * ramp(-1.5 * v)
        opening = ellipse(opening_u, v - 0.5, width * (0.95 - 0.07 * hang), 0.5 + hairline)
        tips = (1 - wavy) * 0.03 * ripple(3.1 * hu + 2 * part)
        curtain = torch.maximum(cap, -opening - 0.7 * edge - tips)
        reach = torch.where(hang > 0, limit, 0.02 + 0.06 * gender)
        self.front = torch.maximum(curtain, v - reach) + 10 * bald


def _body(c: Canvas, p: Person) -> None:
    """Neck and shoulders."""
    u, v, gender = c.u + 0.05 * p.yaw, c.v, p.gender
    cloth = p.rows.colour("clothing", CLOTH)
    neck = box(u, v - 1.1, 0.33 + 0.07 * gender, 0.6, 0.05)
    c.paint(c.inside(neck), p.skin * 0.72)
    shoulders = ellipse(u, v - 1.97, 1.2 + 0.22 * gender, 0.92 + 0.03 * gender)
    collar = ellipse(u, v - 1.0, 0.40 + 0.05 * gender, 0.34)
    c.paint(c.inside(torch.maximum(shoulders, -collar)), cloth)
