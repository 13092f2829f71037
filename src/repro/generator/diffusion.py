"""From noise and a caption to latents: a tokenizer, CLIP's text encoder and a conditional UNet.

The text encoder learns from captions alone (`repro.generator.reading`) and is frozen then, as
CLIP's is in Stable Diffusion. The UNet is trained to predict the velocity v = alpha eps - sigma z
(Salimans and Ho, 2022), with captions left out now and then for classifier-free guidance (Ho and
Salimans, 2022).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from tokenizers.trainers import BpeTrainer
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from repro.data.captions import PHRASES_OF, Phrase
from repro.generator.corpus import Corpus, captions_for
from repro.generator.settings import GeneratorSettings
from repro.generator.trainer import Fitted, fit
from repro.vision import stream

# The library has no type hints that mypy could follow.
_UNET: Any = UNet2DConditionModel
_NOISING: Any = DDPMScheduler

NOISE_STEPS = 1000
START, END = "<|startoftext|>", "<|endoftext|>"


class TextToLatent(nn.Module):
    """The two networks that turn noise and words into a velocity."""

    def __init__(self, text: CLIPTextModel, unet: nn.Module) -> None:
        super().__init__()
        self.text, self.unet = text, unet

    def forward(self, latents: Tensor, times: Tensor, tokens: Tensor) -> Tensor:
        """Return the predicted velocity, (n, c, h, w).

        Parameters
        ----------
        latents
            (n, c, h, w), noised and scaled.
        times
            (n,) noise steps, from 0.
        tokens
            (n, l) token numbers of the captions.
        """
        words = self.text(input_ids=tokens)[0]
        return cast(Tensor, self.unet(latents, times, encoder_hidden_states=words).sample)


def tokenizer(
    phrases: Sequence[Phrase], *, length: int, further: Sequence[str] = ()
) -> CLIPTokenizer:
    """Return a CLIP tokenizer whose words are those of a vocabulary; others fall into letters.

    Parameters
    ----------
    phrases
        What prompts are made of, besides the subjects in `repro.data.captions.PHRASES_OF`.
    length
        Tokens of a prompt, start and end included; longer ones are cut off.
    further
        Other words that it is to know.
    """
    subjects = [text for sides in PHRASES_OF.values() for side in sides for text in side]
    texts = ["portrait face photo of a an person with and"]
    # Every word often enough that it becomes one token.
    texts += [phrase.text for phrase in phrases] * 8 + subjects * 8 + [*further] * 8
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Lowercase()
    reference = CLIPTokenizer()  # its own way of splitting text into words
    bpe.pre_tokenizer = reference.backend_tokenizer.pre_tokenizer
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    # Letters at the end of a word are named, too: left to the trainer, their numbers would come in
    # another order each time.
    trainer = BpeTrainer(
        vocab_size=2000,
        special_tokens=[START, END, *(f"{letter}</w>" for letter in letters)],
        initial_alphabet=letters,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    model = json.loads(bpe.to_str())["model"]
    merges: Any = [tuple(pair) for pair in model["merges"]]  # the library's hints know no pairs
    return CLIPTokenizer(vocab=model["vocab"], merges=merges, model_max_length=length)


def build(settings: GeneratorSettings, words: CLIPTokenizer) -> TextToLatent:
    """Return the two networks with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream("diffusion", settings.seed))
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(words),
                hidden_size=settings.text_width,
                intermediate_size=2 * settings.text_width,
                projection_dim=settings.text_width,
                num_hidden_layers=settings.text_layers,
                num_attention_heads=settings.text_width // 32,
                max_position_embeddings=settings.text_length,
                bos_token_id=words.bos_token_id,
                eos_token_id=words.eos_token_id,
                pad_token_id=words.pad_token_id,
            )
        )
        levels = len(settings.channels)
        unet = _UNET(
            sample_size=settings.size // settings.factor,
            in_channels=settings.latent_channels,
            out_channels=settings.latent_channels,
            # Words are attended to in the middle alone: anywhere else it would double the time of a
            # step on a CPU.
            down_block_types=("DownBlock2D",) * levels,
            up_block_types=("UpBlock2D",) * levels,
            block_out_channels=settings.channels,
            layers_per_block=settings.layers,
            cross_attention_dim=settings.text_width,
            attention_head_dim=tuple(width // 32 for width in settings.channels),
            # What the caption says in all reaches every residual block, beside the time: by
            # attention to its words alone a small UNet learns to heed them very slowly.
            addition_embed_type="text",
            addition_embed_type_num_heads=settings.text_width // 32,
            resnet_time_scale_shift="scale_shift",
        )
    return TextToLatent(text, unet)


def noise_schedule() -> Any:
    """Return the `DDPMScheduler` of the training: cosine noise, of which v is predicted."""
    return _NOISING(
        num_train_timesteps=NOISE_STEPS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
    )


def train(
    model: TextToLatent,
    words: CLIPTokenizer,
    corpus: Corpus,
    latents: Tensor,
    settings: GeneratorSettings,
    *,
    mirrored: Tensor | None = None,
    checkpoint: Path | None = None,
    stamp: str = "",
    device: str = "cpu",
    say: Callable[[str], object] = print,
    done: int = 0,
) -> Fitted:
    """Train the UNet on latents and captions that are written anew for each batch.

    The text encoder stays as it is.

    Parameters
    ----------
    latents
        (n, c, h, w) float32, scaled to unit variance, of the corpus in its order.
    mirrored
        Those of the mirror images, where the corpus may be mirrored.
    done
        Steps that the UNet has behind it, if it comes with weights.
    """
    how = settings.diffusion
    layout = torch.contiguous_format if device == "cpu" else torch.channels_last
    model.to(device, memory_format=layout)  # type: ignore[call-overload]
    model.text.requires_grad_(False)
    noising = noise_schedule()

    def loss_of(step: int) -> Tensor:
        """Return the mean squared error of the predicted velocity."""
        rows, written, generator, seed = _batch(corpus, settings, step)
        clean = latents[rows]
        if mirrored is not None:
            flipped = torch.rand(how.batch_size, generator=generator) < 0.5
            clean = torch.where(flipped[:, None, None, None], mirrored[rows], clean)
        noise = torch.randn(clean.shape, generator=generator)
        times = torch.randint(NOISE_STEPS, (how.batch_size,), generator=generator)
        silent = np.random.default_rng(seed).random(how.batch_size) < settings.caption_dropout
        texts = ["" if quiet else text for quiet, text in zip(silent, written, strict=True)]
        tokens = encode_text(words, texts, settings.text_length)
        noised = noising.add_noise(clean, noise, times)
        velocity = noising.get_velocity(clean, noise, times)
        noised = noised.to(device).contiguous(memory_format=layout)
        with attention(device):
            predicted = model(noised, times.to(device), tokens.to(device))
        return cast(Tensor, (predicted.float() - velocity.to(device)).square().mean())

    return fit(
        model,
        how,
        loss_of,
        checkpoint=checkpoint,
        stamp=stamp,
        device=device,
        say=say,
        done=done,
    )


def _batch(
    corpus: Corpus, settings: GeneratorSettings, step: int
) -> tuple[Tensor, list[str], torch.Generator, int]:
    """Return rows and captions of a step, and where its other random numbers come from."""
    seed = stream("diffusion batch", settings.seed, step)
    generator = torch.Generator().manual_seed(seed)
    seen = torch.from_numpy(np.flatnonzero(~corpus.held))
    size = settings.diffusion.batch_size
    if corpus.chances is None:
        rows = seen[torch.randint(len(seen), (size,), generator=generator)]
    else:
        chances = torch.from_numpy(corpus.chances)[seen]
        rows = seen[torch.multinomial(chances, size, replacement=True, generator=generator)]
    written = captions_for(corpus, settings, rows.numpy(), seed=seed)
    return rows, [caption.text for caption in written], generator, seed


def captions_of(corpus: Corpus, settings: GeneratorSettings) -> frozenset[str]:
    """Return every caption that came with an image, written once more."""
    steps = range(1, settings.diffusion.steps + 1)
    return frozenset(text for step in steps for text in _batch(corpus, settings, step)[1])


def attention(device: str) -> AbstractContextManager[Any]:
    """Return the context in which attention is trained.

    On a CPU the written-out form: PyTorch's fused one is slow backwards there for sequences as
    short as these (``benchmarks/generator.py``).
    """
    return sdpa_kernel(SDPBackend.MATH) if device == "cpu" else nullcontext()


def encode_text(words: CLIPTokenizer, texts: Sequence[str], length: int) -> Tensor:
    """Return the token numbers of texts, (n, length) int64, as the pipeline encodes them."""
    encoded = words(
        list(texts), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
    )
    return cast(Tensor, encoded.input_ids)
