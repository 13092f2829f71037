"""Sizes and schedules of a small generator."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from repro.settings import Rate, Strict


class Schedule(Strict):
    """How one of the two networks is trained: AdamW, warm-up, then a cosine down to zero."""

    steps: int = Field(ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: Rate = 1e-3
    warmup: int = Field(default=200, ge=0)  # steps
    weight_decay: float = Field(default=0.0, ge=0)
    average: float = Field(default=0.999, ge=0, lt=1)  # of the weights that are kept, per step
    precision: Literal["float32", "bfloat16"] = "bfloat16"  # autocast, where hardware has it


class GeneratorSettings(Strict):
    """Every choice that makes a generator what it is."""

    corpus: Literal["toyfaces", "faces"]
    seed: int = Field(default=0, ge=0)
    size: int = Field(default=64, ge=16, le=512)
    images: int | None = Field(default=None, ge=64)  # toyfaces: how many are drawn
    #: columns whose rare combinations the UNet sees more often than the corpus has them
    evened: tuple[str, ...] = ()
    #: whether of ages from 30 to 49 it is not said if they are young or aged (FairFace)
    clear_ages: bool = False
    #: share of the captions that say two things at most, as the study's prompts do
    short_captions: float = Field(default=0.0, ge=0, le=1)
    #: whether captions say who is shown in all the forms of prompts, or in one
    free_captions: bool = False
    # autoencoder (diffusers' AutoencoderTiny)
    width: int = Field(default=48, ge=8)
    #: residual blocks at each resolution, full to smallest; every one but the first is a halving
    encoder_blocks: tuple[int, ...] = Field(default=(0, 1, 2), min_length=2)
    decoder_blocks: tuple[int, ...] = Field(default=(2, 1, 0), min_length=2)  # smallest to full
    latent_channels: int = Field(default=4, ge=1)
    # text encoder (CLIP's)
    text_width: int = Field(default=96, ge=32, multiple_of=32)
    text_layers: int = Field(default=2, ge=1)
    text_length: int = Field(default=40, ge=8)  # tokens
    # UNet
    channels: tuple[int, ...] = (64, 128)
    layers: int = Field(default=1, ge=1)  # residual blocks at each resolution
    caption_dropout: float = Field(default=0.1, ge=0, lt=1)  # for classifier-free guidance
    autoencoder: Schedule
    text: Schedule = Schedule(steps=600, average=0.99)
    diffusion: Schedule
    # what the package ships as its defaults
    steps: int = Field(default=20, ge=1)
    guidance: float = Field(default=3.0, ge=1)

    @property
    def factor(self) -> int:
        """How many times smaller latents are than images, a side."""
        return int(2 ** (len(self.encoder_blocks) - 1))

    @model_validator(mode="after")
    def _fits(self) -> GeneratorSettings:
        if len(self.encoder_blocks) != len(self.decoder_blocks):
            raise ValueError(
                f"encoder_blocks and decoder_blocks must be as many, they are "
                f"{len(self.encoder_blocks)} and {len(self.decoder_blocks)}"
            )
        coarsest = self.factor * 2 ** (len(self.channels) - 1)
        if self.size % max(8, coarsest):
            raise ValueError(
                f"size must be a multiple of {max(8, coarsest)}, it is {self.size}: the latents "
                f"are {self.factor} times smaller, and the UNet halves them further"
            )
        if self.corpus == "toyfaces" and self.images is None:
            raise ValueError("images must be given: toy faces are drawn, as many as wanted")
        if self.corpus == "faces" and self.images is not None:
            raise ValueError("images cannot be set: the corpus 'faces' has as many as there are")
        if any(width % 32 for width in self.channels):
            raise ValueError(f"channels must be multiples of 32, they are {self.channels}")
        return self


# Small batches: on a CPU a step of 16 images costs a quarter of one of 64, and what an autoencoder
# lacks at first is steps.
TOYFACES = GeneratorSettings(
    corpus="toyfaces",
    images=40_000,
    size=32,
    latent_channels=16,
    channels=(96, 96),
    autoencoder=Schedule(steps=12_000, batch_size=16, learning_rate=2e-3),
    diffusion=Schedule(steps=16_000, batch_size=64, learning_rate=1.5e-3),
    # Target and protected attribute are read as asked as often as after 20 steps, in half the time.
    steps=12,
)
"""The generator that this study ships, at the 32x32 pixels of its default profile."""

FACES = GeneratorSettings(
    corpus="faces",
    latent_channels=8,
    channels=(64, 128, 128),
    autoencoder=Schedule(steps=6_000, batch_size=16, learning_rate=2e-3),
    diffusion=Schedule(steps=4_500, batch_size=64, learning_rate=1.5e-3),
    steps=12,
)
"""The generator of profile ``desk``, at its 64x64 pixels, an hour and a half of one CPU core."""

FACES_EVENED = FACES.model_copy(
    update={
        "evened": ("Male", "Young", "Smiling", "Eyeglasses", "Wearing_Hat"),
        "short_captions": 0.5,
        "free_captions": True,
        "diffusion": FACES.diffusion.model_copy(update={"steps": 8_000}),
    }
)
"""What `FACES` went on to for 3,500 steps, in which rare combinations are seen more often and
captions have every form of a prompt."""

FACES_AGES = FACES_EVENED.model_copy(
    update={
        "evened": (*FACES_EVENED.evened, "ancestry_white"),
        "clear_ages": True,
        "diffusion": FACES_EVENED.diffusion.model_copy(update={"steps": 15_000}),
    }
)
"""What `FACES_EVENED` went on to for 7,000 steps, in which "young" is below 30 and "aged" from 50
on, and combinations with ancestry are seen more often, too."""

SHIPPED = {
    "toyfaces": TOYFACES,
    "faces": FACES,
    "faces_evened": FACES_EVENED,
    "faces_ages": FACES_AGES,
}
"""What each folder of ``models/`` is."""

WENT_ON_FROM = {"faces_evened": "faces", "faces_ages": "faces_evened"}
"""Which of them began with the weights of which other."""


def name_of(settings: GeneratorSettings) -> str | None:
    """Return the name of the generator that ships with these settings, if one does."""
    return next((name for name, known in SHIPPED.items() if known == settings), None)
