"""What a text encoder learns before it sees an image: to tell what a caption says.

A published generator takes over a text encoder that was trained on pairs of images and texts (CLIP;
Radford et al., 2021). Ours starts from nothing, and the noise of the diffusion loss teaches it
words slowly. Captions whose content is known teach it in a minute. What pools words for the
UNet's residual blocks learns along; the linear layer that names the facts is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import CLIPTokenizer

from repro.data.captions import Caption, facts
from repro.generator.corpus import Corpus, captions_for
from repro.generator.diffusion import TextToLatent, attention, encode_text
from repro.generator.settings import GeneratorSettings
from repro.generator.trainer import Fitted, fit
from repro.vision import stream


class Reader(nn.Module):
    """Text encoder, the UNet's pooling of words, and a linear layer: one logit for each fact."""

    def __init__(self, networks: TextToLatent, facts: int) -> None:
        super().__init__()
        self.text = networks.text
        pooling: Any = networks.unet.add_embedding  # the library has no type hints
        self.pooling = pooling
        self.facts = nn.Linear(pooling.proj.out_features, facts)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits (n, facts) of token numbers (n, l)."""
        pooled: Tensor = self.pooling(self.text(input_ids=tokens)[0])
        return cast(Tensor, self.facts(pooled))


def train(
    networks: TextToLatent,
    words: CLIPTokenizer,
    corpus: Corpus,
    settings: GeneratorSettings,
    *,
    checkpoint: Path | None = None,
    stamp: str = "",
    device: str = "cpu",
    say: Callable[[str], object] = print,
) -> Fitted:
    """Teach the text encoder of ``networks`` to tell what captions say; no image is looked at.

    The loss is the mean binary cross-entropy over facts (`repro.data.captions.facts`). Captions are
    of images that are not held out.
    """
    how = settings.text
    known = facts(corpus.vocabulary)
    networks.to(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream("reading", settings.seed))
        reader = Reader(networks, len(known)).to(device)

    def loss_of(step: int) -> Tensor:
        """Return the cross-entropy of what is read and what is said."""
        written = _batch(corpus, settings, step)
        tokens = encode_text(words, [caption.text for caption in written], settings.text_length)
        with attention(device):
            logits = reader(tokens.to(device))
        return binary_cross_entropy_with_logits(logits.float(), said(written, known).to(device))

    return fit(reader, how, loss_of, checkpoint=checkpoint, stamp=stamp, device=device, say=say)


def said(written: Sequence[Caption], known: Sequence[tuple[str, object]]) -> Tensor:
    """Return which facts captions say, (n, facts) float32 of zeros and ones."""
    rows = [[caption.says.get(name) == value for name, value in known] for caption in written]
    return torch.tensor(rows, dtype=torch.float32)


def captions_of(corpus: Corpus, settings: GeneratorSettings) -> frozenset[str]:
    """Return every caption that the text encoder learnt from alone, written once more."""
    steps = range(1, settings.text.steps + 1)
    return frozenset(c.text for step in steps for c in _batch(corpus, settings, step))


def _batch(corpus: Corpus, settings: GeneratorSettings, step: int) -> list[Caption]:
    """Return the captions of a step."""
    seed = stream("reading batch", settings.seed, step)
    seen = np.flatnonzero(~corpus.held)
    rows = np.random.default_rng(seed).choice(seen, settings.text.batch_size)
    return captions_for(corpus, settings, rows, seed=seed)
