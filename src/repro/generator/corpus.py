"""What a generator learns from: images, and a table from which their captions are written.

``toyfaces`` is drawn by this project. ``faces`` is LFW with its LFWA+ attributes and FairFace,
adults only (of LFW, what LFWA+ calls neither child nor baby); never CelebA or UTKFace, which the
generator's images are to debias.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from repro.data import fairface, lfwa, toyfaces
from repro.data.captions import VOCABULARIES, Caption, Phrase, captions
from repro.generator.settings import GeneratorSettings

TOY_SEED = 700_001
"""Seed of the toy faces that a generator sees, and of no other set of the study."""

LFW_CROP = 0.72
"""Share of an LFW frame that is kept, with hair and chin, as in other aligned faces."""

BETWEEN = ("30-39", "40-49")
"""FairFace age groups that `GeneratorSettings.clear_ages` calls neither young nor aged.
What another data set's annotators call young ends somewhere among them."""

#: years of each group; nobody's exact age is known
_YEARS = {
    age: (70, 99) if age == fairface.AGES[-1] else tuple(map(int, age.split("-")))
    for age in fairface.AGES
}

_ANCESTRY = {
    "White": "ancestry_white",
    "Black": "ancestry_black",
    "East Asian": "ancestry_east_asian",
    "Southeast Asian": "ancestry_southeast_asian",
    "Indian": "ancestry_indian",
    "Middle Eastern": "ancestry_middle_eastern",
    "Latino_Hispanic": "ancestry_latino",
}


@dataclass(frozen=True)
class Corpus:
    """Captioned images, n of them.

    Attributes
    ----------
    images
        (n, 3, s, s) uint8.
    table
        n rows of what is known of each image; missing where nothing is.
    vocabulary
        The phrases that captions are made of.
    flip
        Whether a mirrored image deserves the same caption.
    held
        (n,) bool, one in twenty: kept from the text encoder and the UNet, to compare with. Nobody
        of LFW has images on both sides; FairFace does not say who is who.
    sha256
        Digests of what was read.
    chances
        (n,) float64, sum 1: how often the UNet sees each image. All alike if None.
    """

    images: Tensor
    table: pd.DataFrame
    vocabulary: Sequence[Phrase]
    flip: bool
    held: NDArray[Any]
    sha256: dict[str, str] = field(default_factory=dict)
    chances: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.images)


def load(settings: GeneratorSettings) -> Corpus:
    """Return the corpus that the settings name.

    Raises
    ------
    DataError
        If the photographs are not there; the message says what to fetch.
    """
    return _toyfaces(settings) if settings.corpus == "toyfaces" else _faces(settings)


def _toyfaces(settings: GeneratorSettings) -> Corpus:
    assert settings.images is not None
    drawn = toyfaces.ToyFaces(n=settings.images, seed=TOY_SEED, size=settings.size, domain="studio")
    images = toyfaces.generate(drawn, keep=True)
    table = toyfaces.factors(drawn)
    return Corpus(
        images=images.images,
        table=table,
        vocabulary=VOCABULARIES["toyfaces"],
        flip=False,  # heads turn left or right, and captions say which
        held=_held(images.attributes.index.tolist()),
        sha256=dict(images.sha256),
        chances=_evened(table, settings.evened) if settings.evened else None,
    )


def _faces(settings: GeneratorSettings) -> Corpus:
    lfw = lfwa.load(settings.size, crop=LFW_CROP)
    fair = fairface.load(settings.size)
    records = fairface.records().loc[fair.attributes.index]
    adult = records["age"].isin(fairface.ADULT).to_numpy()
    of_fair = pd.DataFrame(
        {"Male": fair.attributes["Male"], "Young": fair.attributes["Young"]}
    ).astype("Int8")
    if settings.clear_ages:
        of_fair.loc[records["age"].isin(BETWEEN), "Young"] = pd.NA
    ages = records["age"].map(_YEARS)
    of_fair["age_from"] = ages.str[0].astype("Int8")
    of_fair["age_to"] = ages.str[1].astype("Int8")
    for race, column in _ANCESTRY.items():
        of_fair[column] = records["race"].eq(race).astype("Int8")
    grown = ~(lfw.attributes["Child"].eq(1) | lfw.attributes["Baby"].eq(1)).to_numpy()
    of_lfw = lfw.attributes[grown].astype("Int8")
    # LFWA+ knows four ancestries, each by a classifier of its own: one is said where one holds.
    known = of_lfw[["Asian", "White", "Black", "Indian"]].fillna(0)
    single = known.sum(axis=1) == 1
    for name, column in (
        ("White", "ancestry_white"),
        ("Black", "ancestry_black"),
        ("Indian", "ancestry_indian"),
    ):
        of_lfw[column] = (known[name].eq(1) & single).astype("Int8")
    table = pd.concat([of_lfw, of_fair[adult]])
    keep = torch.from_numpy(np.flatnonzero(adult))
    return Corpus(
        images=torch.cat([lfw.images[torch.from_numpy(np.flatnonzero(grown))], fair.images[keep]]),
        table=table,
        vocabulary=VOCABULARIES["faces"],
        flip=True,
        held=_held(
            [name.split("/")[0] for name in of_lfw.index] + table.index[len(of_lfw) :].tolist()
        ),
        sha256={**lfw.sha256, **fair.sha256},
        chances=_evened(table, settings.evened) if settings.evened else None,
    )


def captions_for(
    corpus: Corpus, settings: GeneratorSettings, rows: NDArray[Any], *, seed: int
) -> list[Caption]:
    """Return a caption of each of these rows of the corpus, written anew for every seed."""
    return captions(
        corpus.table.iloc[rows],
        corpus.vocabulary,
        seed=seed % 2**32,
        short=settings.short_captions,
        free=settings.free_captions,
    )


def _evened(table: pd.DataFrame, columns: Sequence[str]) -> NDArray[np.float64]:
    """Return chances such that a combination comes as often as the root of its count, not as it.

    What is rare (a man with long hair, an aged woman) is seen often enough to be learnt, and still
    is rarer. What is not known of an image is a value of its own: of FairFace, say, nobody knows
    who wears glasses.
    """
    values = table[list(columns)].astype(object).where(table[list(columns)].notna(), "unknown")
    kinds = values.groupby(list(columns), sort=False).ngroup().to_numpy()
    counts = np.bincount(kinds)[kinds].astype(np.float64)
    chances = counts**-0.5
    return np.asarray(chances / chances.sum())


def _held(names: Sequence[str]) -> NDArray[Any]:
    """Choose about one in twenty by name."""
    digests = (hashlib.sha256(f"held out {name}".encode()).digest() for name in names)
    return np.array([digest[0] < 256 // 20 for digest in digests])
