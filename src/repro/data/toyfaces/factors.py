"""The factors of a toy face: who is drawn, how they look, and where; one row a face.

Which factor depends on which is set here and nowhere else. The graph::

    Smiling, Male, Young, Eyeglasses, Wearing_Hat, Pale_Skin, Wavy_Hair, Mouth_Slightly_Open,
    pose, clothing, background, hat_colour: no parent, mutually independent
    Male --> Beard, Wearing_Earrings        a beard only where Male, by chance 0.4
    Male, Young, Wavy_Hair --> hair_style   tendencies; bald only where Male and not Wavy_Hair
    Young --> hair_colour                   grey is rare in the young, common in the old
    Pale_Skin --> skin;  pose --> yaw       the continuous value behind the name
    all that is left (`NUISANCES`): no parent

So Smiling is independent of everything, and two factors that depend on one another do so only
through Male, Young and Wavy_Hair; a beard, for one, is independent of all others among men.

Every value is a hash of (seed, name of the factor, number of the row). A row is therefore the same
however many are drawn, and a factor added later changes no other.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

COINS = {
    "Smiling": 0.5,
    "Male": 0.5,
    "Young": 0.5,
    "Eyeglasses": 0.25,
    "Wearing_Hat": 0.2,
    "Pale_Skin": 0.5,
    "Wavy_Hair": 0.5,
    "Mouth_Slightly_Open": 0.45,
}
"""Binary factors without a parent, with their chance of being 1; named as in CelebA."""

ATTRIBUTES = (
    *COINS,
    "Beard",
    "Wearing_Earrings",
    "Bald",
    "Black_Hair",
    "Brown_Hair",
    "Blond_Hair",
    "Gray_Hair",
)
"""All 0/1 columns; those of hair colour say it of bald heads, too (it is that of the brows)."""

HAIR_COLOURS = ("black", "brown", "blond", "grey")
HAIR_STYLES = ("bald", "short", "bob", "long", "bun")
POSES = ("frontal", "left", "right")
CLOTHING = ("navy", "red", "green", "white", "black", "yellow")
BACKGROUNDS = ("grey", "blue", "green", "beige", "purple")
HAT_COLOURS = ("red", "blue", "black", "green", "straw")
CATEGORIES = {
    "hair_colour": HAIR_COLOURS,
    "hair_style": HAIR_STYLES,
    "pose": POSES,
    "clothing": CLOTHING,
    "background": BACKGROUNDS,
    "hat_colour": HAT_COLOURS,
}
"""Text columns and their values. Left and right are the viewer's; ``hat_colour`` is drawn for
everybody and seen only under Wearing_Hat."""

NUISANCES = (
    *("smile", "parting", "gaze", "squint", "stubble", "brim", "frame", "width", "jaw", "lips"),
    *("centre_x", "centre_y", "scale", "roll", "tilt", "light_x", "light_y", "contrast"),
    *("exposure", "warmth", "tint", "blur", "grain", "gradient", "wrinkles", "fringe", "pupil"),
)
"""Continuous columns, uniform on [0, 1), each scaled where it is drawn."""

_POSE_SHARES = (0.5, 0.25, 0.25)
_GREY = {True: 0.04, False: 0.7}  # by Young
_BEARD_OF_MEN = 0.4
_EARRINGS = {True: 0.04, False: 0.45}  # by Male
_STYLES_OF_WOMEN = (0.0, 0.06, 0.28, 0.44, 0.22)
_STYLES_OF_MEN = (0.0, 0.90, 0.04, 0.06, 0.0)
_BALD = {True: 0.1, False: 0.4}  # by Young, of men without wavy hair


def draw_factors(n: int, *, seed: int) -> pd.DataFrame:
    """Draw the factors of n faces.

    Parameters
    ----------
    n
        Number of faces.
    seed
        Non-negative. Row i is the same for every n.

    Returns
    -------
    pandas.DataFrame
        n rows indexed from 0: `ATTRIBUTES` int8, `CATEGORIES` text, ``skin`` float in [0, 1] (0
        palest, the pale lie below 0.4), ``yaw`` float in [-1, 1] (-1 far left), `NUISANCES` float,
        ``noise_key`` int64 below 2**32.

    Raises
    ------
    ValueError
        If n or seed is negative.
    """
    if n < 0 or seed < 0:
        raise ValueError(f"n ({n}) and seed ({seed}) must not be negative")

    def uniform(name: str) -> NDArray[np.float64]:
        return _uniform(seed, name, n)

    column: dict[str, NDArray[Any]] = {}
    coins = {name: uniform(name) < chance for name, chance in COINS.items()}
    male, young, wavy = coins["Male"], coins["Young"], coins["Wavy_Hair"]
    grey = uniform("grey") < np.where(young, _GREY[True], _GREY[False])
    colour = np.where(grey, 3, _choose(uniform("hair_colour"), (0.34, 0.33, 0.33)))
    style = np.where(
        male,
        _choose(uniform("hair_style"), _STYLES_OF_MEN),
        _choose(uniform("hair_style"), _STYLES_OF_WOMEN),
    )
    bald = uniform("bald") < np.where(young, _BALD[True], _BALD[False])
    style = np.where(male & ~wavy & bald, 0, style)
    pose = _choose(uniform("pose"), _POSE_SHARES)

    coins["Beard"] = male & (uniform("Beard") < _BEARD_OF_MEN)
    earrings = np.where(male, _EARRINGS[True], _EARRINGS[False])
    coins["Wearing_Earrings"] = uniform("Wearing_Earrings") < earrings
    coins["Bald"] = style == 0
    for code, name in enumerate(("Black_Hair", "Brown_Hair", "Blond_Hair", "Gray_Hair")):
        coins[name] = colour == code
    column |= {name: coins[name].astype(np.int8) for name in ATTRIBUTES}

    codes = {"hair_colour": colour, "hair_style": style, "pose": pose}
    for name, values in CATEGORIES.items():
        even = (1 / len(values),) * len(values)
        which = codes[name] if name in codes else _choose(uniform(name), even)
        column[name] = np.array(values, dtype=object)[which]
    tone = uniform("skin")
    column["skin"] = np.where(coins["Pale_Skin"], 0.4 * tone, 0.55 + 0.45 * tone)
    turn = uniform("yaw")
    column["yaw"] = np.select(
        [pose == 0, pose == 1], [0.4 * turn - 0.2, -0.6 - 0.25 * turn], 0.6 + 0.25 * turn
    )
    column |= {name: uniform(name) for name in NUISANCES}
    column["noise_key"] = (_bits(seed, "noise_key", n) >> np.uint64(32)).astype(np.int64)
    return pd.DataFrame(column)


def _choose(uniform: NDArray[np.float64], shares: tuple[float, ...]) -> NDArray[np.int64]:
    """(n,) which share of the unit interval each value falls into."""
    edges = np.cumsum(shares)[:-1]
    return np.searchsorted(edges, uniform, side="right").astype(np.int64)


def _uniform(seed: int, name: str, n: int) -> NDArray[np.float64]:
    """(n,) values in [0, 1), multiples of 2**-53."""
    return (_bits(seed, name, n) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _bits(seed: int, name: str, n: int) -> NDArray[np.uint64]:
    """(n,) 64 random bits each: the outputs of SplitMix64 that starts at a hash of the stream.

    Steele, Lea and Flood (2014), Fast splittable pseudorandom number generators, section 6. Output
    i is computed from i alone.
    """
    stream = hashlib.sha256(f"toyfaces {seed} {name}".encode()).digest()[:8]
    z = np.frombuffer(stream, "<u8") + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(
        0x9E3779B97F4A7C15
    )
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed
