"""Images to latents a quarter of their size, and back: diffusers' AutoencoderTiny, from scratch.

It has no normalisation layers and convolves the full resolution only once in each direction, which
is what makes it train on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import AutoencoderTiny
from diffusers.models.autoencoders.vae import (  # type: ignore[attr-defined]
    AutoencoderTinyBlock,
)
from torch import Tensor, nn

from repro.generator.corpus import Corpus
from repro.generator.settings import GeneratorSettings
from repro.generator.trainer import Fitted, fit
from repro.precision import autocast
from repro.vision import stream

_AUTOENCODER: Any = AutoencoderTiny  # the library has no type hints that mypy could follow

NOISE = 0.1
"""Standard deviation of the noise on latents in training.

With it the decoder forgives what the UNet gets wrong.
"""

EDGES = 1.0
"""Weight of the differences between neighbouring pixels, without which faces come out blurred."""

SPREAD = 1e-3
"""Weight of the latents' mean square, which keeps them near unit size."""


def build(settings: GeneratorSettings) -> Any:
    """Return the autoencoder, an `AutoencoderTiny`, with random weights.

    It maps (n, 3, s, s) in [-1, 1] to latents (n, c, s / f, s / f) and back, where f is the
    settings' factor.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream("autoencoder", settings.seed))
        width = (settings.width,) * len(settings.encoder_blocks)
        model: AutoencoderTiny = _AUTOENCODER(
            in_channels=3,
            out_channels=3,
            encoder_block_out_channels=width,
            decoder_block_out_channels=width,
            num_encoder_blocks=settings.encoder_blocks,
            num_decoder_blocks=settings.decoder_blocks,
            latent_channels=settings.latent_channels,
        )
        _initialise(model)
    return model


def _initialise(model: Any) -> None:
    """He's initialisation, and every residual block the identity (He et al., 2015).

    Without normalisation layers PyTorch's default would let signal and gradient fade.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in model.modules():
        if isinstance(module, AutoencoderTinyBlock):
            last = [part for part in module.conv if isinstance(part, nn.Conv2d)][-1]
            nn.init.zeros_(last.weight)


def scaled(images: Tensor) -> Tensor:
    """Return (n, 3, s, s) uint8 as float32 in [-1, 1], channels last."""
    return (images.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def train(
    model: Any,
    corpus: Corpus,
    settings: GeneratorSettings,
    *,
    checkpoint: Path | None = None,
    stamp: str = "",
    device: str = "cpu",
    say: Callable[[str], object] = print,
) -> Fitted:
    """Train the autoencoder on images and their mirror images; sets its scaling factor.

    The loss of a batch is the mean absolute error of pixels, plus `EDGES` times that of the
    differences between neighbours, plus `SPREAD` times the mean square of the latents.
    """
    how = settings.autoencoder
    model.to(device, memory_format=torch.channels_last)

    def loss_of(step: int) -> Tensor:
        """Return the error of images that come back through noised latents."""
        generator = torch.Generator().manual_seed(stream("autoencoder batch", settings.seed, step))
        rows = torch.randint(len(corpus), (how.batch_size,), generator=generator)
        images = scaled(corpus.images[rows]).to(device)
        mirrored = torch.rand(how.batch_size, generator=generator) < 0.5
        images = torch.where(mirrored.to(device)[:, None, None, None], images.flip(3), images)
        latents = model.encode(images).latents
        noise = torch.randn(latents.shape, generator=generator).to(device)
        decoded = model.decode(latents + NOISE * noise).sample
        loss = _difference(decoded, images) + SPREAD * latents.float().square().mean()
        return cast(Tensor, loss)

    fitted = fit(model, how, loss_of, checkpoint=checkpoint, stamp=stamp, device=device, say=say)
    # Diffusion expects latents of unit variance.
    some = torch.linspace(0, len(corpus) - 1, min(len(corpus), 2048)).long()
    latents = encode(model, corpus.images[some], device=device)
    model.register_to_config(scaling_factor=float(1 / latents.float().std()))
    return fitted


def _difference(decoded: Tensor, images: Tensor) -> Tensor:
    off = decoded.float() - images
    edges = off.diff(dim=2).abs().mean() + off.diff(dim=3).abs().mean()
    return off.abs().mean() + EDGES * edges


@torch.no_grad()
def encode(model: Any, images: Tensor, *, device: str = "cpu") -> Tensor:
    """Return the latents of (n, 3, s, s) uint8 images, (n, c, s/f, s/f) float32, not scaled."""
    parts = []
    for chunk in torch.split(images, 256):
        with autocast("bfloat16", device):
            parts.append(model.encode(scaled(chunk).to(device)).latents.float().cpu())
    return torch.cat(parts)
