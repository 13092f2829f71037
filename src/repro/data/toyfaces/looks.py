"""What drawing reads: the skin's colours, the numbers of a domain, the factors as tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

RGB = tuple[float, float, float]

SKIN: tuple[RGB, ...] = (
    (0.97, 0.84, 0.75),
    (0.90, 0.70, 0.56),
    (0.68, 0.46, 0.32),
    (0.44, 0.28, 0.20),
)


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


def flat(colour: RGB) -> Tensor:
    """Return a colour that is the same everywhere, (1, 3, 1, 1)."""
    return torch.tensor(colour).reshape(1, 3, 1, 1)


@dataclass(frozen=True)
class Person:
    """What every stroke may depend on, for n people; (n, 1, 1) where nothing else is said.

    Attributes
    ----------
    rows, look
        The factors, and how the domain draws them.
    gender
        Strength of the gendered cues, from -1 (feminine) to 1.
    old, yaw, width
        1 for the old; how far the head is turned; half the width of the head.
    skin, hair
        (n, 3, 1, 1) their colours.
    """

    rows: Rows
    look: Look
    gender: Tensor
    old: Tensor
    yaw: Tensor
    width: Tensor
    skin: Tensor
    hair: Tensor
