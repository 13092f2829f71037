"""A text-to-image pipeline, loaded without any pickle, as a generator of images.

What was really used is always known afterwards: the commit, or the digest of the folder.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from PIL import Image
from torch import Tensor

from repro import precision, vision
from repro.aimfair.pipelinefolder import (
    GenerationError,
    GenerationSettings,
    check_folder,
    find,
    folder_digest,
    quiet,
    set_scheduler,
)
from repro.data.cache import available_memory

_MOST_AT_ONCE = {"cuda": 64, "cpu": 16}
_BYTES_AT_512 = 3 << 30  # of one image of 512x512 on a CPU, float32, guided; an upper estimate


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

    Attributes
    ----------
    name
        Of the pipeline on the hub, or of its folder, without the path to it.
    revision
        Commit on the hub; for a folder ``sha256:`` and its `folder_digest`.
    scheduler
        Class of the scheduler that runs, whichever setting led to it.
    """

    def __init__(
        self, pipe: Any, settings: GenerationSettings, name: str, revision: str, device: str
    ) -> None:
        self.pipe, self.settings, self.name, self.revision = pipe, settings, name, revision
        self.scheduler = type(pipe.scheduler).__name__
        self.device = torch.device(device)
        self._takes = set(inspect.signature(type(pipe).__call__).parameters)

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
        """How many images are drawn at once at first, as set or a power of two.

        On a CPU as many as fit into the free memory: the system ends a process that takes more. On
        a GPU too many are an error, after which `repro.aimfair.synthesis.generate` draws fewer.
        """
        most = _MOST_AT_ONCE[self.device.type]
        if self.settings.batch is not None or self.device.type == "cuda":
            return self.settings.batch or most
        each = max(1, int(_BYTES_AT_512 * ((self.settings.size or 512) / 512) ** 2))
        fits = (available_memory() or 4 << 30) // 2 // each
        return 1 << max(0, min(fits, most).bit_length() - 1)

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
        images = self._call(prompts, seeds)
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
            raise GenerationError(
                f"{self.name} draws {tuple(images.shape)}, not square colour images "
                "(n, 3, s, s); choose another pipeline"
            )
        pixels = images.float().nan_to_num(0).mul(255).clamp(0, 255).to(torch.uint8).cpu()
        return lanczos(pixels, self.settings.resize) if self.settings.resize else pixels

    def _call(self, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        how: dict[str, Any] = {"num_inference_steps": self.settings.steps, "output_type": "pt"}
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
            raise GenerationError(f"{self.name} returns no tensor of images")
        return drawn


def lanczos(images: Tensor, size: int) -> Tensor:
    """Resize (n, 3, s, s) uint8 to (n, 3, size, size) with Pillow's Lanczos filter."""
    resized = [
        np.asarray(
            Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS), dtype=np.uint8
        )
        for image in images.permute(0, 2, 3, 1).contiguous().numpy()
    ]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).contiguous()


def load(settings: GenerationSettings, *, device: str | None = None) -> Generator:
    """Load a pipeline from safetensors.

    Parameters
    ----------
    settings
        Which one, and how it draws.
    device
        Where it runs; by default the first GPU, else the CPU.

    Raises
    ------
    GenerationError
        If there is no such pipeline, a component would be unpickled or is damaged, it does not
        draw from text, or its scheduler cannot do what is asked. The message names the file.
    """
    folder, name, commit = find(settings.pipeline, settings.revision)
    check_folder(folder)
    kind: Any = diffusers.DiffusionPipeline  # without type hints for its methods
    where = device or vision.device()
    dtype = getattr(torch, precision.effective(settings.precision, where))
    try:
        with quiet():
            pipe = kind.from_pretrained(
                str(folder), use_safetensors=True, local_files_only=True, dtype=dtype
            )
    # Whatever a damaged file makes of a constructor: the libraries declare no class of errors.
    except Exception as error:
        raise GenerationError(f"{folder} cannot be loaded as a pipeline: {error}") from error
    _check_text_to_image(pipe, name)
    set_scheduler(pipe, settings.scheduler, settings.eta)
    pipe.to(where)
    pipe.set_progress_bar_config(disable=True)
    revision = commit or f"sha256:{folder_digest(folder)}"
    return Generator(pipe, settings, name, revision, where)


def _check_text_to_image(pipe: Any, name: str) -> None:
    """Refuse a pipeline that needs more than a prompt."""
    takes = inspect.signature(type(pipe).__call__).parameters
    needed = {"prompt", "generator", "num_inference_steps", "guidance_scale", "output_type"}
    if not needed <= takes.keys() or {"image", "strength"} & takes.keys():
        raise GenerationError(
            f"{name} is a {type(pipe).__name__}, which does not draw images from text alone; "
            "choose a text-to-image pipeline"
        )
