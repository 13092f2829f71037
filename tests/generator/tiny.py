"""A generator that is trained in seconds, and its corpus, shared by the tests of its parts."""

from __future__ import annotations

from typing import Any

import numpy as np

from repro.data.captions import TOYFACES
from repro.data.toyfaces import ToyFaces, factors, render
from repro.generator.corpus import Corpus
from repro.generator.settings import GeneratorSettings, Schedule


def schedule(**changed: Any) -> Schedule:
    """Return a few steps of a few images, in float32; what is changed is named."""
    values = {"batch_size": 8, "learning_rate": 3e-3, "warmup": 1, "average": 0.5}
    return Schedule.model_validate({"steps": 4, "precision": "float32"} | values | changed)


def settings(how: Schedule, **changed: Any) -> GeneratorSettings:
    """Return a small generator of which every part is trained as ``how`` says."""
    sizes = {"images": 64, "size": 32, "width": 8, "latent_channels": 4, "channels": (32, 32)}
    text = {"text_width": 32, "text_layers": 1}
    trained = {"autoencoder": how, "text": how, "diffusion": how}
    return GeneratorSettings.model_validate(
        {"corpus": "toyfaces"} | sizes | text | trained | changed
    )


def toy_corpus(n: int, *, size: int = 16, held: int = 5) -> Corpus:
    """Return n studio faces, of which every ``held``-th is held out."""
    drawn = ToyFaces(n=n, seed=4, size=size, domain="studio")
    table = factors(drawn)
    return Corpus(render(table, drawn), table, TOYFACES, False, np.arange(n) % held == 0)


def silent(words: str) -> None:
    """Say nothing."""
