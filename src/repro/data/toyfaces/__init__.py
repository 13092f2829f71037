"""Toy faces, the embedded images: a controlled experiment in which bias and domain gap are set.

A face is a row of named, independent factors (`repro.data.toyfaces.factors`), drawn as antialiased
shapes (`repro.data.toyfaces.drawing`) in one of two domains (`repro.data.toyfaces.domains`):
``camera`` stands for real photographs, ``studio`` for what an image generator draws. Nobody in
them exists, and every attribute is known, not annotated.

What the defaults are made for, with target Smiling and protected attribute Male: a classifier
trained on balanced camera images serves every group well; trained on a 1:9 biased set of the same
size it fails the small groups; trained on studio images it loses accuracy on camera images. Each
has a setting that makes it stronger or weaker.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from operator import index
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from repro.data.cache import drawn
from repro.data.images import ImageSet
from repro.data.toyfaces.factors import ATTRIBUTES, draw_factors
from repro.files import digest_of_values
from repro.names import check_name

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 3
"""Raise when the same settings come to mean other pixels or other factors."""

NAME = "toyfaces"
DOMAINS = ("camera", "studio")

_PARTS = ("train",) * 12 + ("validation",) * 3 + ("test",) * 5
_CHUNK_PIXELS = 16 * 64 * 64  # drawn together: what a core's cache holds


@dataclass(frozen=True)
class ToyFaces:
    """Settings of a set of faces.

    Attributes
    ----------
    n
        Number of images. Image i is the same for every n above i.
    seed
        Seed of all factors. Both domains draw the same people from the same seed.
    size
        Height and width in pixels: a multiple of 8 from 16 to 512.
    domain
        One of `DOMAINS`.
    smile_strength
        How visible a smile is, the target: 0 not at all, 1 as designed.
    gender_strength
        How loud the cues of Male are in the face itself (jaw, brows, lips, lashes, eyes, stubble,
        neck, shoulders): 0 none, 1 as designed. Beards, earrings and hair styles are factors of
        their own and stay.
    domain_gap
        How far the studio is from the camera: 0 the same images, 1 as designed. No camera image
        depends on it.
    clutter, noise
        Scale of the clutter behind a face and of the pixel noise of a camera: 0 none.

    Raises
    ------
    ValueError
        If a number is not finite, negative, or the size is not as said.
    UnknownNameError
        If there is no such domain.
    TypeError
        If n, seed or size is not a whole number.
    """

    n: int = 20_000
    seed: int = 0
    size: int = 64
    domain: str = "camera"
    smile_strength: float = 1.0
    gender_strength: float = 1.0
    domain_gap: float = 1.0
    clutter: float = 1.0
    noise: float = 1.0

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing, and write each number in one way only."""
        check_name("domain", self.domain, DOMAINS)
        for name in ("n", "seed", "size"):
            object.__setattr__(self, name, index(getattr(self, name)))
        for name in ("smile_strength", "gender_strength", "domain_gap", "clutter", "noise"):
            value = float(getattr(self, name)) + 0.0  # -0.0 becomes 0.0
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"{name} must be finite and not negative, it is {value}")
            object.__setattr__(self, name, value)
        if self.n < 1 or self.seed < 0:
            raise ValueError(
                f"n must be at least 1 and seed not negative, they are {self.n} and {self.seed}"
            )
        if self.size % 8 or not 16 <= self.size <= 512:
            raise ValueError(
                f"size must be a multiple of 8 from 16 to 512, it is {self.size}; "
                "32, 64 and 128 are usual"
            )


def fingerprint(settings: ToyFaces) -> str:
    """Hash the settings and `VERSION`: stands for the images without drawing them."""
    return digest_of_values({NAME: VERSION, **asdict(settings)})


def factors(settings: ToyFaces) -> pd.DataFrame:
    """Return everything that is known of every face, for captions say.

    Returns
    -------
    pandas.DataFrame
        The ``settings.n`` rows of `draw_factors`, indexed by the names of the examples.
    """
    table = draw_factors(settings.n, seed=settings.seed)
    prefix = f"{settings.domain}-s{settings.seed}-"
    table.index = pd.Index([f"{prefix}{i:06d}" for i in range(settings.n)], name="name")
    return table


def generate(settings: ToyFaces = ToyFaces(), *, keep: bool = False) -> ImageSet:
    """Draw a set of faces.

    Of every twenty camera images in a row the first 12 are for training, the next 3 for
    validation, the last 5 for testing (60, 15 and 25 %), whatever n is. Studio images all train.

    Parameters
    ----------
    settings
        What to draw.
    keep
        Whether the images are kept in the cache, and taken from there the next time.

    Returns
    -------
    ImageSet
        Named ``toyfaces``, with `ATTRIBUTES` and `fingerprint` as digest.
    """
    table, digest = factors(settings), fingerprint(settings)
    key = f"{NAME}-{settings.domain}-{settings.size}-{digest[:16]}"
    shape = (settings.n, 3, settings.size, settings.size)
    # An image of the studio is for training, whatever its number.
    parts = _PARTS if settings.domain == "camera" else ("train",)
    return ImageSet(
        name=NAME,
        images=(
            drawn(key, shape, lambda: render(table, settings)) if keep else render(table, settings)
        ),
        attributes=table[list(ATTRIBUTES)],
        part=np.array(parts, dtype="<U10")[np.arange(settings.n) % len(parts)],
        sha256={f"{NAME} {settings.domain}": digest},
    )


def render(table: pd.DataFrame, settings: ToyFaces) -> Tensor:
    """Draw one image for each row of factors.

    Parameters
    ----------
    table
        Rows as `draw_factors` gives them; any of their values may have been changed.
    settings
        Size, domain and strengths; ``n`` and ``seed`` are not read.

    Returns
    -------
    torch.Tensor
        (n, 3, size, size) uint8. An image depends on its own row alone, bit for bit.
    """
    import torch  # here: a plan asks for settings and their fingerprint alone

    from repro.data.toyfaces.domains import CAMERA, STUDIO, between, draw

    share = settings.domain_gap if settings.domain == "studio" else 0.0
    # A gap above 1 leads beyond the studio, where nothing may turn negative.
    look, optics = between(CAMERA[0], STUDIO[0], share), between(CAMERA[1], STUDIO[1], share)
    look = replace(
        look,
        smile=look.smile * settings.smile_strength,
        gender=look.gender * settings.gender_strength,
    )
    optics = replace(
        optics, clutter=optics.clutter * settings.clutter, noise=optics.noise * settings.noise
    )
    size = settings.size
    images = torch.empty(len(table), 3, size, size, dtype=torch.uint8)
    step = max(1, _CHUNK_PIXELS // (size * size))
    with torch.no_grad():
        for first in range(0, len(table), step):
            rows = slice(first, first + step)
            images[rows] = draw(table.iloc[rows], size, look, optics)
    return images
