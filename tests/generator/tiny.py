"""Settings of a generator that is trained in seconds, shared by the tests of its parts."""

from __future__ import annotations

from typing import Any

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
