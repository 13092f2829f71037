"""From settings to a packed generator: corpus, autoencoder, latents, text, diffusion, folder.

Every step that takes long leaves a checkpoint in a working folder, so that the same call goes on
where an earlier one stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from repro import machine
from repro.data.captions import ANCESTRIES
from repro.data.sources import cache_root, digest_of
from repro.files import digest_of_values
from repro.generator import autoencoder, diffusion, package, reading
from repro.generator.about import about_folder
from repro.generator.card import card
from repro.generator.corpus import Corpus, load
from repro.generator.diffusion import TextToLatent
from repro.generator.settings import GeneratorSettings
from repro.generator.trainer import Fitted
from repro.precision import effective

UNET = Path("unet") / "diffusion_pytorch_model.safetensors"
"""Where the weights of a packed generator's UNet lie in its folder."""

VERSION = 1
"""Raise when the same settings come to mean another training."""


@dataclass
class Trained:
    """The parts of a generator, and how their trainings went."""

    settings: GeneratorSettings
    autoencoder: Any  # an AutoencoderTiny
    networks: TextToLatent
    words: CLIPTokenizer
    fits: dict[str, Fitted]
    corpus: Corpus
    device: str
    #: what the generator that it went on from says of itself, and the digest of its UNet
    before: dict[str, Any] | None = None


def work_folder(settings: GeneratorSettings) -> Path:
    """Return where a training keeps its checkpoints."""
    return cache_root() / "generators" / f"{settings.corpus}-{_stamp(settings, 'diffusion')[:16]}"


def train(
    settings: GeneratorSettings,
    *,
    start: Path | None = None,
    device: str | None = None,
    say: Callable[[str], object] = print,
) -> Trained:
    """Train a generator, or go on with a training that was interrupted.

    Parameters
    ----------
    settings
        All choices.
    start
        The folder of a packed generator of the same sizes to go on from: its autoencoder and its
        tokenizer stay as they are, the text encoder learns once more from what it was, and the
        UNet's steps count as done.
    device
        The GPU if there is one, by default.

    Raises
    ------
    DataError
        If the corpus is not there.
    TrainingError
        If a loss is not finite.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    work = work_folder(settings)
    corpus = load(settings)
    say(f"{len(corpus):,} images of {settings.corpus}, {int(corpus.held.sum()):,} held out")
    before = None if start is None else package.load(start)
    fits: dict[str, Fitted] = {}
    if before is None:
        vae = autoencoder.build(settings)
        fits["autoencoder"] = autoencoder.train(
            vae,
            corpus,
            settings,
            checkpoint=work / "autoencoder.safetensors",
            stamp=_stamp(settings, "autoencoder", corpus),
            device=device,
            say=say,
        )
    else:
        vae = before.vae.to(device)
    latents = _latents(vae, corpus.images, device)
    mirrored = _latents(vae, corpus.images.flip(3), device) if corpus.flip else None
    if before is None:
        words = diffusion.tokenizer(
            corpus.vocabulary,
            length=settings.text_length,
            further=[*chain(*ANCESTRIES.values()), "year old"] if settings.free_captions else [],
        )
        networks = diffusion.build(settings, words)
    else:
        words = before.tokenizer
        networks = diffusion.build(settings, words)
        networks.text.load_state_dict(before.text_encoder.state_dict())
        networks.unet.load_state_dict(before.unet.state_dict())
    fits["text"] = reading.train(
        networks,
        words,
        corpus,
        settings,
        checkpoint=work / "text.safetensors",
        stamp=_stamp(settings, "diffusion", corpus, start),
        device=device,
        say=say,
    )
    fits["diffusion"] = diffusion.train(
        networks,
        words,
        corpus,
        latents,
        settings,
        mirrored=mirrored,
        done=0 if start is None else int(about_folder(start)["settings"]["diffusion"]["steps"]),
        checkpoint=work / "diffusion.safetensors",
        stamp=_stamp(settings, "diffusion", corpus, start),
        device=device,
        say=say,
    )
    return Trained(
        settings,
        vae.cpu(),
        networks.cpu(),
        words,
        fits,
        corpus,
        device,
        None if start is None else _told(start),
    )


def _told(folder: Path) -> dict[str, Any]:
    """Return what a packed generator says of itself, without what was measured in it."""
    about = about_folder(folder)
    training = {name: v for name, v in about["training"].items() if name != "measured"}
    return {
        "unet_sha256": digest_of(folder / UNET),
        "settings": about["settings"],
        "training": training,
    }


def captions_seen(corpus: Corpus, settings: GeneratorSettings) -> frozenset[str]:
    """Return every caption of a training, with an image or without."""
    return diffusion.captions_of(corpus, settings) | reading.captions_of(corpus, settings)


def pack(trained: Trained, folder: Path, *, measured: dict[str, Any] | None = None) -> None:
    """Write a trained generator as a folder that `diffusers` loads."""
    drawn_by = package.pipeline(trained.autoencoder, trained.networks, trained.words)
    training = {
        "images": len(trained.corpus),
        "held_out": int(trained.corpus.held.sum()),
        "data_sha256": trained.corpus.sha256,
        "seconds": {name: round(fit.seconds) for name, fit in trained.fits.items()},
        "history": {name: fit.history for name, fit in trained.fits.items()},
        "device": trained.device,
        "machine": machine.describe(trained.device),
        "instructions": machine.instructions(),
        "precision": {
            name: effective(getattr(trained.settings, name).precision, trained.device)
            for name in trained.fits
        },
        "versions": {
            name: metadata.version(name) for name in ("torch", "diffusers", "transformers", "repro")
        },
        "measured": measured or {},
    }
    if trained.before is not None:
        training["went_on_from"] = trained.before
    package.save(
        folder, drawn_by, trained.settings, training=training, card=card(trained.settings, training)
    )


def _latents(vae: Any, images: Tensor, device: str) -> Tensor:
    scale = float(vae.config.scaling_factor)
    return autoencoder.encode(vae, images, device=device) * scale


def _stamp(
    settings: GeneratorSettings,
    until: str,
    corpus: Corpus | None = None,
    start: Path | None = None,
) -> str:
    """Hash what a training depends on: one of the autoencoder not on what comes after it.

    Without a corpus only the settings count: what names the folder of the checkpoints.
    """
    values = settings.model_dump(mode="json", exclude={"steps", "guidance"})
    if until == "autoencoder":
        kept = ("corpus", "seed", "size", "images", "width", "latent_channels", "autoencoder")
        values = {n: v for n, v in values.items() if n in kept or n.endswith("coder_blocks")}
    read: Any = None
    if corpus is not None:
        read = [corpus.sha256, len(corpus), [phrase.text for phrase in corpus.vocabulary]]
    before = [] if start is None else [digest_of(start / UNET)]
    return digest_of_values([VERSION, until, values, read, *before])
