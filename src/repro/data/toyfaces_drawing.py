"""How a face is painted, back to front: hair, neck, head, features, hair front, glasses, hat.

Lengths are in the units of the head (half its height is 1, v points down); what lies on the face
is painted in coordinates that turn with the pose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from repro.data.toyfaces_shapes import Canvas, box, bump, ellipse, ramp, ripple, stroke

RGB = tuple[float, float, float]

SKIN: tuple[RGB, ...] = (
    (0.97, 0.84, 0.75),
    (0.90, 0.70, 0.56),
    (0.68, 0.46, 0.32),
    (0.44, 0.28, 0.20),
)
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
HAT: Mapping[str, RGB] = {
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


@dataclass(frozen=True)
class Look:
    """How features are drawn; the numbers in which the two domains differ, and the cues' strength.

    Attributes
    ----------
    smile, gender
        Strength of the smile and of the gendered cues; 1 as designed, 0 none.
    light
        Contrast of the directional light on skin and hair.
    texture
        Strength of pores, strands and wrinkles.
    eyes
        Size of the eyes, relative.
    line
        Darkness of an outline around the head.
    """

    smile: float
    gender: float
    light: float
    texture: float
    eyes: float
    line: float


class Rows:
    """Factors of n faces as tensors that broadcast over pixels."""

    def __init__(self, factors: pd.DataFrame) -> None:
        self._factors = factors

    def __getitem__(self, name: str) -> Tensor:
        """Return a numeric column as (n, 1, 1) float32."""
        values = self._factors[name].to_numpy(np.float32)
        return torch.from_numpy(values.copy()).reshape(-1, 1, 1)

    def between(self, name: str, low: float, high: float) -> Tensor:
        """Return a column in [0, 1) stretched to [low, high), as (n, 1, 1)."""
        return low + (high - low) * self[name]

    def have(self, column: str, *values: str) -> Tensor:
        """Return 1 where a text column has one of these values, else 0, as (n, 1, 1)."""
        found = self._factors[column].isin(values).to_numpy(np.float32)
        return torch.from_numpy(found.copy()).reshape(-1, 1, 1)

    def colour(self, column: str, palette: Mapping[str, RGB]) -> Tensor:
        """Return the colour that a text column names, as (n, 3, 1, 1)."""
        names = list(palette)
        code = torch.tensor([names.index(v) for v in self._factors[column]], dtype=torch.int64)
        return torch.tensor([palette[name] for name in names])[code][:, :, None, None]

    def skin(self) -> Tensor:
        """Return the colour of the skin, (n, 3, 1, 1)."""
        tones = torch.tensor(SKIN)
        at = self["skin"].reshape(-1) * (len(SKIN) - 1)
        low = at.floor().clamp(max=len(SKIN) - 2)
        mix = (at - low)[:, None]
        index = low.to(torch.int64)
        return ((1 - mix) * tones[index] + mix * tones[index + 1])[:, :, None, None]


def draw_person(canvas: Canvas, rows: Rows, look: Look) -> None:
    """Paint one person on each image."""
    c, u, v = canvas, canvas.u, canvas.v
    male, old, yaw = rows["Male"], 1 - rows["Young"], rows["yaw"]
    # Gendered cues run from -1 (feminine) to 1, at strength 1.
    gender = (2 * male - 1) * look.gender
    skin, hair = rows.skin(), rows.colour("hair_colour", HAIR)
    skin = skin * (1 - 0.04 * old[:, None]) + 0.02 * old[:, None]
    width = 0.755 + 0.035 * gender + rows.between("width", -0.045, 0.045)

    # Light falls on the head as on a ball.
    nx, ny = (u / width).clamp(-1, 1), v.clamp(-1, 1)
    nz = (1 - nx * nx - ny * ny).clamp(min=0.0).sqrt()
    lx, ly = rows.between("light_x", -0.75, 0.75), rows.between("light_y", -0.6, 0.05)
    lz = (1 - lx * lx - ly * ly).sqrt()
    light = 1 + look.light * (nx * lx + ny * ly + nz * lz - 0.72)

    shape = _head_distance(u, v, yaw, gender, width, rows.between("jaw", -0.25, 0.25))
    back = _Hair(rows, look, u, v, yaw, width, gender)
    c.paint(c.inside(back.behind), hair * (0.62 + 0.25 * (light[:, None] - 0.5)))
    _body(c, rows, skin, gender, yaw)
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
    _age(c, rows, fu, fv, head, old, look)
    _nose(c, rows, fu, fv, yaw, skin, look)
    _beard(c, rows, fu, fv, shape, gender, hair)
    _mouth(c, rows, fu, fv, skin, head, gender, look)
    _eyes(c, rows, fu, fv, skin, hair, gender, old, look)
    front = c.inside(back.front)
    c.shade(c.inside(back.front, 0.25) * head, 0.8)
    c.paint(front, hair * (0.9 + back.strands)[:, None] * (0.5 + 0.5 * light[:, None]))
    _earrings(c, rows, u, v, width, yaw)
    _glasses(c, rows, fu, fv, head, width)
    _hat(c, rows, u, v, head, width, light)


def _head_distance(
    u: Tensor, v: Tensor, yaw: Tensor, gender: Tensor, width: Tensor, jaw: Tensor
) -> Tensor:
    """Distance to an egg whose lower half is square (masculine) or tapered (feminine)."""
    below = v.clamp(min=0)
    across = (u - 0.10 * yaw * below) / (width * (1 - 0.16 * (1 - gender - jaw) * below * below))
    down = v / (1.0 + 0.04 * gender)
    square = down * down
    mix = (0.35 + 0.35 * gender + 0.3 * jaw).clamp(0, 0.9) * (v > 0)
    level = across * across + square * (1 - mix + mix * square)
    # Distance to first order along the radius, which is what an egg this round needs.
    radius = level.sqrt()
    return (radius - 1) * (u * u + v * v + 1e-6).sqrt() / (radius + 1e-6)


class _Hair:
    """Distances of the hair behind the head and of the hair in front of it, and its strands."""

    def __init__(
        self,
        rows: Rows,
        look: Look,
        u: Tensor,
        v: Tensor,
        yaw: Tensor,
        width: Tensor,
        gender: Tensor,
    ) -> None:
        wavy, bald = rows["Wavy_Hair"], rows.have("hair_style", "bald")
        bob, bun = rows.have("hair_style", "bob"), rows.have("hair_style", "bun")
        long = rows.have("hair_style", "long")
        hang = bob + long  # how far down: bob to the chin, long below the frame
        hu, part = u + 0.12 * yaw, rows.between("parting", -1, 1)

        # Waves move the outline in and out; straight hair has an even edge and fine strands.
        wave = ripple(1.45 * v + part) + 0.6 * ripple(1.7 * hu + 2 * part)
        edge = wavy * 0.075 * wave
        volume = 0.10 + 0.05 * wavy + 0.05 * hang
        self.strands = look.texture * (
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
        old = 1 - rows["Young"]
        hairline = rows.between("fringe", 0.50, 0.76) + 0.06 * old * (1 + gender)
        opening_u = u - 0.22 * yaw - 0.2 * part * ramp(-1.5 * v)
        opening = ellipse(opening_u, v - 0.5, width * (0.95 - 0.07 * hang), 0.5 + hairline)
        tips = (1 - wavy) * 0.03 * ripple(3.1 * hu + 2 * part)
        curtain = torch.maximum(cap, -opening - 0.7 * edge - tips)
        reach = torch.where(hang > 0, limit, 0.02 + 0.06 * gender)
        self.front = torch.maximum(curtain, v - reach) + 10 * bald


def _body(c: Canvas, rows: Rows, skin: Tensor, gender: Tensor, yaw: Tensor) -> None:
    """Neck and shoulders."""
    u, v = c.u + 0.05 * yaw, c.v
    cloth = rows.colour("clothing", CLOTH)
    neck = box(u, v - 1.1, 0.33 + 0.07 * gender, 0.6, 0.05)
    c.paint(c.inside(neck), skin * 0.72)
    shoulders = ellipse(u, v - 2.1, 1.2 + 0.22 * gender, 0.86 + 0.03 * gender)
    collar = ellipse(u, v - 1.12, 0.40 + 0.05 * gender, 0.34)
    c.paint(c.inside(torch.maximum(shoulders, -collar)), cloth)


def _age(
    c: Canvas, rows: Rows, u: Tensor, v: Tensor, head: Tensor, old: Tensor, look: Look
) -> None:
    """Wrinkles of the old: forehead, crow's feet, bags, folds beside the mouth."""
    deep = old * rows.between("wrinkles", 0.55, 0.85) * head
    au = u.abs()
    for height in (-0.67, -0.57, -0.47):
        c.shade(c.inside(stroke(u, v - height, 0.40, -0.05, 0.018)) * deep, 0.72)
    c.shade(c.inside(stroke(au - 0.32, v - 0.10, 0.17, 0.06, 0.03)) * deep, 0.72)
    c.shade(c.inside(stroke(au - 0.62, v + 0.02 - 0.35 * (au - 0.62), 0.08, 0, 0.02)) * deep, 0.7)
    fold = (au - 0.28 - 0.45 * (v - 0.33)).abs() - 0.025
    c.shade(c.inside(torch.maximum(fold, (v - 0.45).abs() - 0.17)) * deep, 0.72)
    c.shade(bump(au - 0.45, v - 0.42, 0.2, 0.3) * deep * look.texture, 0.85)


def _nose(
    c: Canvas, rows: Rows, u: Tensor, v: Tensor, yaw: Tensor, skin: Tensor, look: Look
) -> None:
    """Bridge lit from one side, tip, nostrils; the tip leans out with the pose."""
    lean = u - 0.16 * yaw * ramp((v + 0.2) / 0.5)
    side = torch.where(rows["light_x"] + 0.3 * yaw > 0.5, -1.0, 1.0)
    c.shade(bump(lean - side * 0.11, v - 0.08, 0.09, 0.34), 1 - 0.32 * (0.5 + look.light))
    c.paint(0.5 * bump(lean + side * 0.02, v - 0.1, 0.07, 0.34), (skin * 1.12).clamp(max=1))
    c.shade(c.inside(stroke(lean, v - 0.27, 0.15, 0.05, 0.035)), 0.62)
    c.shade(bump(lean.abs() - 0.09, v - 0.27, 0.08, 0.07), 0.6)


def _beard(
    c: Canvas, rows: Rows, u: Tensor, v: Tensor, shape: Tensor, gender: Tensor, hair: Tensor
) -> None:
    """Draw a full beard with moustache, or the shadow of shaving (a gendered cue)."""
    beard = rows["Beard"]
    # From the sideburns down along the cheek, and around the mouth.
    cheek = 0.30 - 0.75 * u * u
    area = ramp((v - cheek) / 0.14) * c.inside(shape - 0.07 * beard, 0.04)
    lip = 1 - bump(u, v - 0.55, 0.30, 0.16) * 0.5
    shadow = rows.between("stubble", 0.1, 0.36) * gender.clamp(min=0) * (1 - beard) * rows["Male"]
    c.paint(area * lip * (0.94 * beard + shadow), hair * 0.8)


def _mouth(
    c: Canvas,
    rows: Rows,
    u: Tensor,
    v: Tensor,
    skin: Tensor,
    head: Tensor,
    gender: Tensor,
    look: Look,
) -> None:
    """Draw the mouth: its corners rise in a smile; open it shows teeth or only dark; lips."""
    smiling, opened = rows["Smiling"], rows["Mouth_Slightly_Open"]
    mood = rows["smile"]
    # Women are drawn to smile more openly, and to look friendlier when they do not: a gendered cue
    # in the same place as the target.
    joy = smiling * look.smile * (1.06 - 0.34 * gender).clamp(min=0.3)
    curve = joy * (0.15 + 0.10 * mood) - (1 - smiling) * (0.04 - 0.05 * mood + 0.05 * gender)
    half = 0.28 - 0.025 * gender + joy * (0.07 + 0.06 * mood)
    mu, mv = u, v - 0.55 + 0.35 * curve
    t2 = (mu / half) * (mu / half)
    # Cheeks lift: a light spot over a crease at each corner, where no beard hides them.
    lift = joy.clamp(max=1) * head
    au = mu.abs() - half - 0.06
    rose = torch.tensor(BLUSH).reshape(1, 3, 1, 1)
    apple = bump(au - 0.02, v - 0.25, 0.26, 0.22) * lift
    rosy = (0.22 - 0.22 * gender).clamp(0, 0.6) * head
    c.paint(rosy * bump(u.abs() - 0.38, v - 0.28, 0.24, 0.2), skin * rose)
    c.paint(0.3 * apple, skin * rose)
    crease = (au + 0.5 * (v - 0.45) * (v - 0.45)).abs() - 0.02
    c.shade(c.inside(torch.maximum(crease, (v - 0.45).abs() - 0.12)) * lift * 0.6, 0.7)

    line = curve * (1 - t2)  # height of the line between the lips
    dome = (1 - t2).clamp(min=0)

    full = rows.between("lips", 0.85, 1.15) * (1 - 0.35 * gender * (1 - rows["Beard"]))
    # Between the lips, from above: teeth in a smile, then the dark of an open mouth.
    teeth = joy * (0.05 + 0.08 * mood)
    dark = opened * (0.055 + 0.02 * mood)
    slope = (1 + (2 * curve * mu / (half * half)) * (2 * curve * mu / (half * half))).sqrt()

    def band(high: Tensor | float, low: Tensor | float) -> Tensor:
        """Coverage between two heights below the line, which meet at the corners."""
        off = torch.maximum(line + high * dome - mv, mv - line - low * dome) / slope
        return c.inside(torch.maximum(off, mu.abs() - half))

    red = torch.tensor([0.72, 0.20, 0.24]).reshape(1, 3, 1, 1)
    rouge = (0.38 - 0.34 * gender).clamp(0, 0.9)[:, None]
    # Seen in a beard they need to be lighter than it.
    bare = (0.74 + 0.3 * rows["Beard"])[:, None] * skin
    lips = (1 - rouge) * bare + rouge * red
    c.paint(band(-0.055 * full, teeth + dark + 0.075 * full), lips)
    c.paint(band(teeth - 0.02, teeth + dark) * opened, torch.tensor(GULLET).reshape(1, 3, 1, 1))
    shown = (teeth * 20).clamp(max=1)
    c.paint(band(-0.01, teeth) * shown, torch.tensor(TEETH).reshape(1, 3, 1, 1))
    parted = (20 * (teeth + dark)).clamp(max=1)
    c.paint(c.inside(stroke(mu, mv, half, curve, 0.022)) * (1 - 0.8 * parted), skin * 0.25)


def _eyes(
    c: Canvas,
    rows: Rows,
    u: Tensor,
    v: Tensor,
    skin: Tensor,
    hair: Tensor,
    gender: Tensor,
    old: Tensor,
    look: Look,
) -> None:
    """Eyes with lids and lashes, and brows."""
    eu, ev = u.abs() - 0.34, v + 0.10
    wide = look.eyes * (0.165 - 0.012 * gender - 0.012 * old)
    squint = 1 - rows["Smiling"] * look.smile * rows.between("squint", 0.0, 0.45) - 0.12 * old
    tall = look.eyes * (0.098 - 0.014 * gender) * squint
    white = c.inside(ellipse(eu, ev, wide, tall))
    c.shade(bump(eu, ev, 0.27, 0.2), 0.86)
    c.paint(white, torch.tensor([0.95, 0.95, 0.95]).reshape(1, 3, 1, 1))
    look_u = u.abs() - 0.34 - torch.sign(u) * (rows.between("gaze", -0.05, 0.05))
    iris = c.inside(ellipse(look_u, ev, 0.078 * look.eyes, 0.085 * look.eyes)) * white
    blue = torch.tensor([0.24, 0.36, 0.48]).reshape(1, 3, 1, 1)
    brown = torch.tensor([0.22, 0.12, 0.07]).reshape(1, 3, 1, 1)
    c.paint(iris, torch.where(rows["pupil"][:, None] < 0.4, blue, brown))
    c.paint(c.inside(ellipse(look_u, ev, 0.035, 0.04)) * white, skin * 0.0)
    lash = 0.022 + (0.016 * (1 - gender)).clamp(0, 0.05)
    lid = stroke(eu - 0.01, ev + 0.2 * tall, wide * 1.12, -0.9 * tall, lash)
    c.paint(c.inside(lid) * 0.85, skin * 0.16)
    thick = (0.043 + 0.020 * gender).clamp(min=0.012)
    arch = -0.055 + 0.03 * gender
    brow = stroke(eu - 0.01, ev + 0.245 - 0.025 * gender + 0.06 * eu, 0.215, arch, thick)
    c.paint(c.inside(brow) * 0.9, hair * 0.62)


def _earrings(c: Canvas, rows: Rows, u: Tensor, v: Tensor, width: Tensor, yaw: Tensor) -> None:
    """Draw a golden drop below each ear, in front of the hair."""
    gold = torch.tensor([0.98, 0.80, 0.25]).reshape(1, 3, 1, 1)
    for side in (-1.0, 1.0):
        at = u - side * (width + 0.02) + 0.10 * yaw
        seen = rows["Wearing_Earrings"] * ramp(1.3 + side * -yaw * 1.5)
        drop = c.inside(ellipse(at, v - 0.36, 0.065, 0.10))
        c.paint(drop * seen, gold)


def _glasses(c: Canvas, rows: Rows, u: Tensor, v: Tensor, head: Tensor, width: Tensor) -> None:
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


def _hat(
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
