"""Drawing the images of a set, a chunk at a time: batches, blanks, and too little memory."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from repro.aimfair.checks import is_blank
from repro.aimfair.generators import GenerationSettings, Identity
from repro.aimfair.imagestore import Drawn, Group, Store, name_of, pixel_digest
from repro.aimfair.pipelinefolder import GenerationError
from repro.vision import stream

_SETTINGS = ("steps", "guidance", "eta")  # that the manifest repeats for each image

# What CUDA, the CPU's allocator and oneDNN say; not "illegal memory access", which is a fault.
_NO_MEMORY = re.compile(
    r"out of memory|not enough memory|allocate memory|could not create a memory", re.IGNORECASE
)


class Draws(Protocol):
    """What can draw a set: `repro.aimfair.generators.Generator`, or anything with its face."""

    settings: GenerationSettings
    identity: Identity

    @property
    def environment(self) -> dict[str, str]:
        """Versions and device."""

    @property
    def batch(self) -> int:
        """How many images are drawn at once."""

    def too_long(self, prompts: Sequence[str]) -> list[str]:
        """Return the prompts whose end would not be seen."""

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """Return (n, 3, s, s) uint8, one image for each prompt."""


def seed_of(seed: int, group: Group, prompt_index: int, index: int, attempt: int = 0) -> int:
    """Return an image's own seed, the same on every platform (a sha256, 63 bits).

    Parameters
    ----------
    seed
        Of the set.
    attempt
        How many images before it were one colour.
    """
    return stream("synthetic image", seed, *group, prompt_index, index, attempt)


class Drawing:
    """A set while it is drawn: which batch size is left, and what was said already.

    Parameters
    ----------
    prompts
        The prompts of each group.
    seed
        Of the set.
    store
        Where images are kept.
    batch
        How many images are drawn at once, at first.
    known
        Digests of images by name, from an earlier manifest.
    """

    def __init__(
        self,
        generator: Draws,
        prompts: Mapping[Group, Sequence[str]],
        *,
        seed: int,
        store: Store,
        batch: int,
        known: Mapping[str, str],
    ) -> None:
        self.generator, self.prompts, self.seed, self.store = generator, prompts, seed, store
        self.batch, self.known = batch, known
        self._said_smaller = False

    def rows(
        self, group: Group, wanted: range, images: Mapping[int, Drawn]
    ) -> list[dict[str, Any]]:
        """Return the rows of the manifest for a chunk."""
        identity, settings = self.generator.identity, self.generator.settings
        texts, rows = self.prompts[group], []
        for index in wanted:
            if index not in images:
                raise GenerationError(
                    f"{self.store.folder}: image {name_of(group, index)} was drawn but is not "
                    "there; see that all processes write into the same folder, and run again"
                )
            image, which = images[index], index % len(texts)
            row = {
                "name": name_of(group, index),
                "target": group[0],
                "protected": group[1],
                "index": index,
                "prompt_index": which,
                "prompt": texts[which],
                "seed": seed_of(self.seed, group, which, index, image.attempt),
                "attempt": image.attempt,
                "size": image.pixels.shape[-1],
                "sha256": image.sha256,
            }
            row |= {name: getattr(identity, name) for name in ("pipeline", "revision", "scheduler")}
            rows.append(row | {name: getattr(settings, name) for name in _SETTINGS})
        return rows

    def complete(
        self, group: Group, chunk: int, wanted: range, bar: tqdm[NoReturn]
    ) -> dict[int, Drawn]:
        """Return the images of a chunk by index, after drawing and keeping what is not there."""
        images = {
            index: image
            for index, image in self.store.read(group, chunk).items()
            if self.known.get(name_of(group, index), image.sha256) == image.sha256
        }
        missing = set(wanted) - images.keys()
        if not bar.disable:
            bar.initial += len(wanted) - len(missing)  # not drawn now, so not counted in the rate
        bar.update(len(wanted) - len(missing))
        start = chunk * self.store.chunk
        try:
            for drawn in self._batches(group, start, start + self.store.chunk, missing):
                images |= drawn
                missing -= drawn.keys()
                if self.store.single or not missing:
                    self.store.write(group, chunk, drawn if self.store.single else images)
                bar.update(len(drawn))
        except BaseException:
            # An interrupt or an error costs no image that is drawn; a kill costs those of a chunk.
            if images and missing and not self.store.single:
                with suppress(GenerationError):
                    self.store.write(group, chunk, images)
            raise
        return images

    def _batches(
        self, group: Group, start: int, end: int, missing: set[int]
    ) -> Iterator[dict[int, Drawn]]:
        """Draw the batches of a chunk that have a missing image, each in its place."""
        while start < end:
            indices = range(start, min(start + self.batch, end))
            wanted = missing.intersection(indices)
            if wanted:
                try:
                    drawn = self._batch(group, indices, wanted)
                except (RuntimeError, MemoryError) as error:
                    if not out_of_memory(error):
                        raise
                    self._halve(error)
                    drawn = None
                if drawn is None:  # Here the error is gone, and the tensors that it held.
                    if torch.cuda.is_available():
                        torch.cuda.empty_cache()
                    continue
                yield drawn
            start = indices.stop

    def _batch(self, group: Group, indices: range, wanted: set[int]) -> dict[int, Drawn]:
        """Return the wanted images of a batch; those of one colour are drawn with other seeds."""
        settings, texts = self.generator.settings, self.prompts[group]
        which = [index % len(texts) for index in indices]
        attempt, left, drawn = dict.fromkeys(indices, 0), set(wanted), {}
        while left:
            # All of the batch again, so that each image stays in its row.
            images = self.generator.draw(
                [texts[i] for i in which],
                [
                    seed_of(self.seed, group, i, index, attempt[index])
                    for i, index in zip(which, indices, strict=True)
                ],
            )
            blank = is_blank(images, settings.blank_below)
            for row, index in enumerate(indices):
                if index in left and not blank[row]:
                    pixels = images[row].numpy()
                    drawn[index] = Drawn(pixels, attempt[index], pixel_digest(pixels))
                    left.remove(index)
            for index in left:
                attempt[index] += 1
                if attempt[index] > settings.redraws:
                    raise GenerationError(
                        f"{name_of(group, index)}: {attempt[index]} images in a row are one "
                        f"colour, drawn from {texts[index % len(texts)]!r}. A safety checker "
                        "blanks what it takes for indecent, and float16 can overflow: change the "
                        "prompt, the pipeline or the precision, or raise 'redraws'"
                    )
        return drawn

    def _halve(self, error: BaseException) -> None:
        if self.batch == 1:
            raise GenerationError(
                f"memory does not suffice for one image ({error}); free some, or choose a smaller "
                "'size', a smaller pipeline or half 'precision'. What is finished is kept"
            ) from error
        before, self.batch = self.batch, self.batch // 2
        if not self._said_smaller:
            self._said_smaller = True
            warnings.warn(
                f"memory does not suffice for batches of {before} images; smaller ones are drawn "
                f"from here on, first of {self.batch}",
                RuntimeWarning,
                stacklevel=2,
            )


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory was too small, on whichever device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and bool(_NO_MEMORY.search(str(error)))
