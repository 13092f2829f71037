"""A text-to-image pipeline of Stable Diffusion 2's own classes, tiny and untrained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

# Without type hints for their methods.
AutoencoderKL: Any = diffusers.AutoencoderKL
AutoencoderTiny: Any = diffusers.AutoencoderTiny
DDIMScheduler: Any = diffusers.DDIMScheduler
StableDiffusionPipeline: Any = diffusers.StableDiffusionPipeline
UNet2DConditionModel: Any = diffusers.UNet2DConditionModel

# What Stable Diffusion 2's scheduler_config.json says.
NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
LENGTH = 24  # tokens of a prompt


def tokenizer() -> CLIPTokenizer:
    """Return a tokenizer that knows letters and two words."""
    vocabulary = {"<|startoftext|>": 0, "<|endoftext|>": 1}
    for letter in "abcdefghijklmnopqrstuvwxyz,.-":
        vocabulary[letter] = len(vocabulary)
        vocabulary[f"{letter}</w>"] = len(vocabulary)
    merges: Any = [("m", "a"), ("ma", "l"), ("mal", "e</w>")]
    for first, second in merges:
        vocabulary.setdefault(first + second, len(vocabulary))
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LENGTH)


def make_pipeline(*, tiny: bool = False, scheduler: Any = None) -> Any:
    """Return it with random weights; 16x16 pixels, with ``tiny`` the autoencoder that we embed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        words = tokenizer()
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(words),
                hidden_size=16,
                intermediate_size=32,
                projection_dim=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                max_position_embeddings=LENGTH,
                bos_token_id=0,
                eos_token_id=1,
                pad_token_id=1,
            )
        )
        unet = UNet2DConditionModel(
            sample_size=4 if tiny else 8,
            in_channels=4,
            out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(8, 16),
            layers_per_block=1,
            cross_attention_dim=16,
            attention_head_dim=(1, 2),  # as many heads, as in Stable Diffusion 2
            norm_num_groups=4,
            use_linear_projection=True,
        )
        if tiny:
            vae = AutoencoderTiny(
                encoder_block_out_channels=(8, 8, 8),
                decoder_block_out_channels=(8, 8, 8),
                num_encoder_blocks=(0, 1, 1),
                num_decoder_blocks=(1, 1, 0),
                latent_channels=4,
            )
        else:
            vae = AutoencoderKL(
                block_out_channels=(8, 8),
                down_block_types=("DownEncoderBlock2D",) * 2,
                up_block_types=("UpDecoderBlock2D",) * 2,
                latent_channels=4,
                norm_num_groups=4,
                sample_size=16,
            )
        ddim = DDIMScheduler(**NOISE, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
        return StableDiffusionPipeline(
            vae=vae,
            text_encoder=text,
            tokenizer=words,
            unet=unet,
            scheduler=scheduler or ddim,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


@pytest.fixture(scope="session")
def pipeline_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the pipeline with AutoencoderKL; a test that changes it copies it."""
    folder = tmp_path_factory.mktemp("pipelines") / "tiny"
    make_pipeline().save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture(scope="session")
def tiny_autoencoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the pipeline with AutoencoderTiny."""
    folder = tmp_path_factory.mktemp("pipelines") / "embedded"
    make_pipeline(tiny=True).save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture(scope="session")
def pipeline_with() -> Callable[..., Any]:
    """Return what makes a pipeline with another autoencoder or scheduler."""
    return make_pipeline


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("WORLD_SIZE", raising=False)
