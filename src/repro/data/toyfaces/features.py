"""What lies on the face (age, nose, beard, mouth, eyes) and what is worn on the head.

All of it is painted onto a head that is there already (`repro.data.toyfaces.drawing`), in
coordinates that turn with the pose. ``u`` and ``v`` are these coordinates, (n, s, s); ``head`` is
how much of a pixel the head covers, (n, s, s).
"""

from __future__ import annotations

import torch
from torch import Tensor

from repro.data.toyfaces.looks import RGB, Person, flat
from repro.data.toyfaces.shapes import Canvas, box, bump, ellipse, ramp, root, stroke

HAT: dict[str, RGB] = {
    "red": (0.76, 0.15, 0.18),
    "blue": (0.18, 0.33, 0.66),
    "black": (0.14, 0.14, 0.16),
    "green": (0.22, 0.46, 0.27),
    "straw": (0.86, 0.73, 0.44),
}
TEETH: RGB = (0.97, 0.96, 0.93)
GULLET: RGB = (0.22, 0.06, 0.07)
BLUSH: RGB = (1.15, 0.86, 0.84)
"""Factors on the colour of the skin."""


def draw_age(c: Canvas, p: Person, u: Tensor, v: Tensor, head: Tensor) -> None:
    """Wrinkles of the old: forehead, crow's feet, bags, folds beside the mouth."""
    deep = p.old * p.rows.between("wrinkles", 0.55, 0.85) * head
    au = u.abs()
    for height in (-0.67, -0.57, -0.47):
        c.shade(c.inside(stroke(u, v - height, 0.40, -0.05, 0.018)) * deep, 0.72)
    c.shade(c.inside(stroke(au - 0.32, v - 0.10, 0.17, 0.06, 0.03)) * deep, 0.72)
    c.shade(c.inside(stroke(au - 0.62, v + 0.02 - 0.35 * (au - 0.62), 0.08, 0, 0.02)) * deep, 0.7)
    fold = (au - 0.28 - 0.45 * (v - 0.33)).abs() - 0.025
    c.shade(c.inside(torch.maximum(fold, (v - 0.45).abs() - 0.17)) * deep, 0.72)
    c.shade(bump(au - 0.45, v - 0.42, 0.2, 0.3) * deep * p.look.texture, 0.85)


def draw_nose(c: Canvas, p: Person, u: Tensor, v: Tensor) -> None:
    """Bridge lit from one side, tip, nostrils; the tip leans out with the pose."""
    lean = u - 0.16 * p.yaw * ramp((v + 0.2) / 0.5)
    side = torch.where(p.rows["light_x"] + 0.3 * p.yaw > 0.5, -1.0, 1.0)
    c.shade(bump(lean - side * 0.11, v - 0.08, 0.09, 0.34), 1 - 0.32 * (0.5 + p.look.light))
    c.paint(0.5 * bump(lean + side * 0.02, v - 0.1, 0.07, 0.34), (p.skin * 1.12).clamp(max=1))
    c.shade(c.inside(stroke(lean, v - 0.27, 0.15, 0.05, 0.035)), 0.62)
    c.shade(bump(lean.abs() - 0.09, v - 0.27, 0.08, 0.07), 0.6)


def draw_beard(c: Canvas, p: Person, u: Tensor, v: Tensor, shape: Tensor) -> None:
    """Draw a full beard with moustache, or the shadow of shaving (a gendered cue)."""
    beard = p.rows["Beard"]
    # From the sideburns down along the cheek, and around the mouth.
    cheek = 0.30 - 0.75 * u * u
    area = ramp((v - cheek) / 0.14) * c.inside(shape - 0.07 * beard, 0.04)
    lip = 1 - bump(u, v - 0.55, 0.30, 0.16) * 0.5
    shadow = (
        p.rows.between("stubble", 0.1, 0.36) * p.gender.clamp(min=0) * (1 - beard) * p.rows["Male"]
    )
    c.paint(area * lip * (0.94 * beard + shadow), p.hair * 0.8)


def draw_mouth(c: Canvas, p: Person, u: Tensor, v: Tensor, head: Tensor) -> None:
    """Draw the mouth: its corners rise in a smile; open it shows teeth or only dark; lips."""
    smiling, opened = p.rows["Smiling"], p.rows["Mouth_Slightly_Open"]
    mood = p.rows["smile"]
    # Women are drawn to smile more openly, and to look friendlier when they do not: a gendered cue
    # in the same place as the target.
    joy = smiling * p.look.smile * (1.06 - 0.34 * p.gender).clamp(min=0.3)
    curve = joy * (0.15 + 0.10 * mood) - (1 - smiling) * (0.04 - 0.05 * mood + 0.05 * p.gender)
    half = 0.28 - 0.025 * p.gender + joy * (0.07 + 0.06 * mood)
    mu, mv = u, v - 0.55 + 0.35 * curve
    t2 = (mu / half) * (mu / half)
    # Cheeks lift: a light spot over a crease at each corner, where no beard hides them.
    lift = joy.clamp(max=1) * head
    au = mu.abs() - half - 0.06
    rose = flat(BLUSH)
    apple = bump(au - 0.02, v - 0.25, 0.26, 0.22) * lift
    rosy = (0.22 - 0.22 * p.gender).clamp(0, 0.6) * head
    c.paint(rosy * bump(u.abs() - 0.38, v - 0.28, 0.24, 0.2), p.skin * rose)
    c.paint(0.3 * apple, p.skin * rose)
    crease = (au + 0.5 * (v - 0.45) * (v - 0.45)).abs() - 0.02
    c.shade(c.inside(torch.maximum(crease, (v - 0.45).abs() - 0.12)) * lift * 0.6, 0.7)

    line = curve * (1 - t2)  # height of the line between the lips
    dome = (1 - t2).clamp(min=0)

    full = p.rows.between("lips", 0.85, 1.15) * (1 - 0.35 * p.gender * (1 - p.rows["Beard"]))
    # Between the lips, from above: teeth in a smile, then the dark of an open mouth.
    teeth = joy * (0.05 + 0.08 * mood)
    dark = opened * (0.055 + 0.02 * mood)
    slope = root(1 + (2 * curve * mu / (half * half)) * (2 * curve * mu / (half * half)))

    def band(high: Tensor | float, low: Tensor | float) -> Tensor:
        """Coverage between two heights below the line, which meet at the corners."""
        off = torch.maximum(line + high * dome - mv, mv - line - low * dome) / slope
        return c.inside(torch.maximum(off, mu.abs() - half)) * head

    red = flat((0.72, 0.20, 0.24))
    rouge = (0.38 - 0.34 * p.gender).clamp(0, 0.9)[:, None]
    # Seen in a beard they need to be lighter than it.
    bare = (0.74 + 0.3 * p.rows["Beard"])[:, None] * p.skin
    lips = (1 - rouge) * bare + rouge * red
    c.paint(band(-0.055 * full, teeth + dark + 0.075 * full), lips)
    c.paint(band(teeth - 0.02, teeth + dark) * opened, flat(GULLET))
    shown = (teeth * 20).clamp(max=1)
    c.paint(band(-0.01, teeth) * shown, flat(TEETH))
    parted = (20 * (teeth + dark)).clamp(max=1)
    closed = c.inside(stroke(mu, mv, half, curve, 0.022)) * head
    c.paint(closed * (1 - 0.8 * parted), p.skin * 0.25)


def draw_eyes(c: Canvas, p: Person, u: Tensor, v: Tensor) -> None:
    """Eyes with lids and lashes, and brows."""
    eu, ev = u.abs() - 0.34, v + 0.10
    wide = p.look.eyes * (0.165 - 0.012 * p.gender - 0.012 * p.old)
    squint = (
        1 - p.rows["Smiling"] * p.look.smile * p.rows.between("squint", 0.0, 0.45) - 0.12 * p.old
    )
    tall = p.look.eyes * (0.098 - 0.014 * p.gender) * squint
    white = c.inside(ellipse(eu, ev, wide, tall))
    c.shade(bump(eu, ev, 0.27, 0.2), 0.86)
    c.paint(white, flat((0.95, 0.95, 0.95)))
    look_u = u.abs() - 0.34 - torch.sign(u) * (p.rows.between("gaze", -0.05, 0.05))
    iris = c.inside(ellipse(look_u, ev, 0.078 * p.look.eyes, 0.085 * p.look.eyes)) * white
    blue = flat((0.24, 0.36, 0.48))
    brown = flat((0.22, 0.12, 0.07))
    c.paint(iris, torch.where(p.rows["pupil"][:, None] < 0.4, blue, brown))
    c.paint(c.inside(ellipse(look_u, ev, 0.035, 0.04)) * white, p.skin * 0.0)
    lash = 0.022 + (0.016 * (1 - p.gender)).clamp(0, 0.05)
    lid = stroke(eu - 0.01, ev + 0.2 * tall, wide * 1.12, -0.9 * tall, lash)
    c.paint(c.inside(lid) * 0.85, p.skin * 0.16)
    thick = (0.043 + 0.020 * p.gender).clamp(min=0.012)
    arch = -0.055 + 0.03 * p.gender
    brow = stroke(eu - 0.01, ev + 0.245 - 0.025 * p.gender + 0.06 * eu, 0.215, arch, thick)
    c.paint(c.inside(brow) * 0.9, p.hair * 0.62)


def draw_earrings(c: Canvas, p: Person, u: Tensor, v: Tensor) -> None:
    """Draw a golden drop below each ear, in front of the hair."""
    gold = flat((0.98, 0.80, 0.25))
    for side in (-1.0, 1.0):
        at = u - side * (p.width + 0.02) + 0.10 * p.yaw
        seen = p.rows["Wearing_Earrings"] * ramp(1.3 + side * -p.yaw * 1.5)
        drop = c.inside(ellipse(at, v - 0.36, 0.065, 0.10))
        c.paint(drop * seen, gold)


def draw_glasses(c: Canvas, p: Person, u: Tensor, v: Tensor, head: Tensor) -> None:
    """Two rimmed lenses with a glare, a bridge and temples."""
    worn = p.rows["Eyeglasses"]
    au, gv = u.abs(), v + 0.08
    lens = box(au - 0.345, gv, 0.255, 0.2, 0.14)
    rim = lens.abs() - 0.032
    bridge = stroke(u, gv + 0.05, 0.12, -0.04, 0.028)
    temple = torch.maximum((gv + 0.05).abs() - 0.026, (au - 0.78).abs() - 0.2)
    glare = c.inside((au - 0.3 + 0.7 * gv).abs() - 0.045) * c.inside(lens)
    c.paint(c.inside(lens) * worn * 0.16, torch.ones(1, 3, 1, 1))
    c.paint(glare * worn * 0.35, torch.ones(1, 3, 1, 1))
    frame = torch.minimum(torch.minimum(rim, bridge), temple + 10 * (1 - head))
    warm = p.rows["frame"][:, None]
    dark = flat((0.08, 0.07, 0.08))
    amber = flat((0.36, 0.17, 0.08))
    c.paint(c.inside(frame) * worn, (1 - warm) * dark + warm * amber)


def draw_hat(c: Canvas, p: Person, u: Tensor, v: Tensor, head: Tensor, light: Tensor) -> None:
    """Draw a crown with a band, and a brim of any width from a cap's to a sun hat's."""
    worn, colour = p.rows["Wearing_Hat"], p.rows.colour("hat_colour", HAT)
    rim, sag = p.rows.between("brim", 0.02, 0.55), 0.06
    edge = -0.52 + sag * (u / p.width) * (u / p.width)
    crown = torch.maximum(ellipse(u, v + 0.52, p.width + 0.13, 0.78), v - edge)
    brim = stroke(u, v + 0.52, p.width + 0.16 + rim, -sag, 0.095)
    c.shade(c.inside(brim - 0.02, 0.3) * worn * head, 0.75)
    c.paint(c.inside(crown) * worn, colour * (0.4 + 0.6 * light[:, None]))
    band = torch.maximum(crown, -(v + 0.78))
    c.paint(c.inside(band) * worn, colour * 0.55)
    c.paint(c.inside(brim) * worn, colour * 0.85)
