"""The folder that `diffusers` loads: half-precision safetensors, defaults, record, card."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from transformers import CLIPTokenizer

from repro.files import whole
from repro.generator.about import ABOUT
from repro.generator.diffusion import NOISE_STEPS, TextToLatent
from repro.generator.settings import GeneratorSettings

# The library has no type hints that mypy could follow.
_SCHEDULER: Any = DPMSolverMultistepScheduler
_PIPELINE: Any = StableDiffusionPipeline


def pipeline(autoencoder: Any, networks: TextToLatent, words: CLIPTokenizer) -> Any:
    """Return trained parts as a `StableDiffusionPipeline`; it draws with DPM-Solver++."""
    scheduler = _SCHEDULER(
        num_train_timesteps=NOISE_STEPS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
    )
    with quiet():
        return _PIPELINE(
            vae=autoencoder,
            text_encoder=networks.text,
            tokenizer=words,
            unet=networks.unet,
            scheduler=scheduler,
            safety_checker=None,  # its own: nobody in toy faces exists, the other is for research
            feature_extractor=None,
            requires_safety_checker=False,
        )


def load(folder: Path) -> Any:
    """Return a packed generator as a `StableDiffusionPipeline`, in single precision."""
    with quiet():
        return _PIPELINE.from_pretrained(folder, local_files_only=True)


def save(
    folder: Path,
    drawn_by: Any,
    settings: GeneratorSettings,
    *,
    training: Mapping[str, Any],
    card: str,
) -> None:
    """Write a generator: the parts in half precision, `ABOUT`, and the card as README.md.

    The folder appears whole: it is written beside its place and renamed. One that stands there is
    replaced, and kept if the writing fails.

    Parameters
    ----------
    folder
        Where it is to stand.
    drawn_by
        The pipeline that is written. It is in single precision afterwards, its weights rounded to
        half.
    settings
        What the generator is, and the defaults of drawing.
    training
        What is known of the training (losses, seconds, versions, digests), plain values.
    card
        The model card, Markdown.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    about = {
        "corpus": settings.corpus,
        "vocabulary": settings.corpus,
        "size": settings.size,
        "steps": settings.steps,
        "guidance": settings.guidance,
        "settings": settings.model_dump(mode="json"),
        "training": dict(training),
    }
    with whole(folder) as beside:
        beside.mkdir()
        try:
            with quiet():
                drawn_by.to(torch.float16).save_pretrained(beside, safe_serialization=True)
        finally:
            drawn_by.to(torch.float32)
        _load_in_single(beside / "text_encoder" / "config.json")
        (beside / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        (beside / "README.md").write_text(card, encoding="utf-8")


def _load_in_single(config: Path) -> None:
    """Have transformers load a part in single precision by default, as diffusers does the others.

    It would take the precision of the file, and a pipeline of both cannot draw.
    """
    values = json.loads(config.read_text(encoding="utf-8"))
    values["dtype"] = "float32"
    config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back what diffusers says of a missing safety checker and of half precision on a CPU."""
    logger = logging.getLogger("diffusers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)
