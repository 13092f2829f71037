"""The autoencoder: shapes and ranges, and that it learns."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from repro.generator import autoencoder, trainer
from repro.generator.corpus import Corpus
from repro.generator.settings import Schedule

from .tiny import settings, silent, toy_corpus

HOW = Schedule(
    steps=30, batch_size=8, learning_rate=4e-3, warmup=2, average=0.5, precision="float32"
)
SETTINGS = settings(HOW, encoder_blocks=(0, 1, 1), decoder_blocks=(1, 1, 0))


def reconstructed(model: Any, images: torch.Tensor) -> torch.Tensor:
    """Images as they come back, (n, 3, s, s) uint8."""
    decoded = model.decode(autoencoder.encode(model, images)).sample.detach()
    return ((decoded.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def tiny(n: int = 24) -> Corpus:
    return toy_corpus(n, size=32, held=6)


@pytest.fixture(scope="module")
def trained() -> tuple[object, trainer.Fitted]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "LOG_EVERY", 5)
        model = autoencoder.build(SETTINGS)
        return model, autoencoder.train(model, tiny(), SETTINGS, say=silent)


@pytest.mark.parametrize("blocks", [(0, 1), (0, 1, 1), (0, 1, 1, 1)])
def test_latents_are_smaller_by_the_factor(blocks: tuple[int, ...]) -> None:
    settings = SETTINGS.model_copy(
        update={"encoder_blocks": blocks, "decoder_blocks": blocks[::-1]}
    )
    model = autoencoder.build(settings)
    images = tiny(3).images
    side = 32 // settings.factor
    assert side == 32 // 2 ** (len(blocks) - 1)
    latents = autoencoder.encode(model, images)
    assert latents.shape == (3, 4, side, side)
    assert latents.dtype == torch.float32
    back = reconstructed(model, images)
    assert back.shape == images.shape
    assert back.dtype == torch.uint8


def test_pixels_go_from_minus_one_to_one_and_back() -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).repeat(1, 3, 1, 1)
    inputs = autoencoder.scaled(images)
    assert inputs.is_contiguous(memory_format=torch.channels_last)
    assert float(inputs.min()) == -1.0
    assert float(inputs.max()) == 1.0

    class Copy(torch.nn.Module):
        """Keeps images as they are."""

        def encode(self, x: torch.Tensor) -> object:
            return type("Encoded", (), {"latents": x})

        def decode(self, x: torch.Tensor) -> object:
            return type("Decoded", (), {"sample": x})

    assert torch.equal(reconstructed(Copy(), images), images)


def test_initial_weights_follow_from_the_seed_alone() -> None:
    before = torch.get_rng_state()
    first, second = autoencoder.build(SETTINGS), autoencoder.build(SETTINGS)
    other = autoencoder.build(SETTINGS.model_copy(update={"seed": 1}))
    assert torch.equal(torch.get_rng_state(), before)
    pairs = list(zip(first.parameters(), second.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert any(
        not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True)
    )


def test_its_loss_falls_and_its_latents_are_scaled(trained: tuple[object, trainer.Fitted]) -> None:
    model, fitted = trained
    losses = [entry["loss"] for entry in fitted.history]
    assert losses[-1] < 0.7 * losses[0]
    images = tiny().images
    error = (reconstructed(model, images).float() - images.float()).abs().mean()  # type: ignore[arg-type]
    fresh = autoencoder.build(SETTINGS)
    start = (reconstructed(fresh, images).float() - images.float()).abs().mean()
    assert error < 0.7 * start
    scale = model.config.scaling_factor  # type: ignore[attr-defined]
    assert float((autoencoder.encode(model, images) * scale).std()) == pytest.approx(1, abs=1e-3)  # type: ignore[arg-type]


def test_the_loss_by_hand() -> None:
    images = torch.zeros(1, 1, 2, 2)
    decoded = torch.tensor([[[[0.0, 1.0], [0.0, 3.0]]]])
    # Pixels 4 / 4; differences down 0 and 2, across 1 and 3.
    expected = 1.0 + autoencoder.EDGES * ((0 + 2) / 2 + (1 + 3) / 2)
    assert float(autoencoder._difference(decoded, images)) == pytest.approx(expected)


def test_training_twice_is_the_same() -> None:
    how = SETTINGS.model_copy(update={"autoencoder": HOW.model_copy(update={"steps": 3})})
    models = [autoencoder.build(how) for _ in range(2)]
    fits = [autoencoder.train(model, tiny(), how, say=silent) for model in models]
    assert fits[0].history == fits[1].history
    weights = [list(model.state_dict().values()) for model in models]
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
    assert models[0].config.scaling_factor == models[1].config.scaling_factor
