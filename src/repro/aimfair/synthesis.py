"""From prompts to a set of synthetic images that can be interrupted, resumed, grown and read back.

What an image is follows from the set's seed, its group and its index alone: its prompt, its own
seed, and even which images are drawn in one batch with it. So a set that was interrupted at any
moment, or drawn by several processes, is the same as one drawn at once.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from repro.aimfair import imageset
from repro.aimfair.drawing import Drawing, Draws, seed_of
from repro.aimfair.generators import place
from repro.aimfair.imageset import read_manifest
from repro.aimfair.imagestore import STORAGES, Group
from repro.aimfair.loading import load_set
from repro.aimfair.pipelinefolder import GenerationError
from repro.data.splits import GROUPS
from repro.names import check_name

__all__ = ["Draws", "GenerationError", "generate", "load_set", "read_manifest", "seed_of"]

MOST_IMAGES = 1_000_000
"""Images of a group; names have six digits, so that they sort."""


def generate(
    generator: Draws,
    prompts: Mapping[Group, Sequence[str]],
    images_per_group: int,
    folder: Path | str,
    *,
    target: str,
    protected: str,
    seed: int,
    storage: str = "png",
    progress: bool = True,
) -> pd.DataFrame:
    """Draw the images of all four groups, or what is missing or damaged of them.

    Image i of a group is drawn from its prompt i mod n, so that the first images by name are
    spread evenly over the prompts, and a larger ``images_per_group`` only adds images. Started by
    ``accelerate launch`` on several GPUs, each process draws its share.

    Images are drawn in batches that begin at fixed indices, the last one of a group filled up
    with images that are thrown away, because another row of another batch may change the last
    bit (see `repro.aimfair.generators.Generator` for how much). An unset batch size is that of
    the first call for the folder. Where memory does not suffice, the batch is halved.

    Parameters
    ----------
    generator
        What draws; `repro.aimfair.generators.load` returns one.
    prompts
        The prompts of each group (t,p).
    images_per_group
        With fewer than before, the manifest names fewer; the other images stay.
    folder
        Of this set and no other.
    target, protected
        Names of the attributes.
    seed
        Not negative.
    storage
        ``"png"``: a file for each image, as the authors do; ``"array"``: chunks of 256 images,
        for many small ones. The pixels are the same.
    progress
        Whether a bar with rate and time left is shown on stderr.

    Returns
    -------
    pandas.DataFrame
        The manifest, also in ``manifest.csv``; see `repro.aimfair.imageset.COLUMNS`.

    Warns
    -----
    RuntimeWarning
        Once, if prompts are longer than the text encoder reads, if memory does not suffice for a
        batch, or if a set is resumed with other versions or on another device.

    Raises
    ------
    GenerationError
        If the folder holds another set, cannot be written or is full (what is finished is kept),
        an image stays one colour, or memory does not suffice for one image.
    ValueError
        If a group has no prompts or an argument is out of its range.
    """
    prompts = _checked(prompts, images_per_group, target, protected, seed)
    check_name("storage", storage, STORAGES)
    folder, here = Path(folder), place()
    with ExitStack() as held:
        if here.rank == 0:
            held.enter_context(imageset.locked(folder))
            described = imageset.describe(
                generator.identity, generator.settings, prompts,
                target=target, protected=protected, seed=seed, storage=storage,
            )  # fmt: skip
            about = imageset.begin(
                folder, described, lambda: {**generator.environment, "batch": generator.batch}
            )
            imageset.warn_of_change(about, generator.environment)
            _warn_of_length(generator, prompts)
            about.store(folder).sweep()
        here.wait()
        about = imageset.read_about(folder)
        drawing = Drawing(
            generator,
            prompts,
            seed=seed,
            store=about.store(folder),
            batch=generator.settings.batch or int(about.drawn_with["batch"]),
            known=imageset.known_digests(folder),
        )
        size = drawing.store.chunk
        chunks = [
            (group, k, range(k * size, min((k + 1) * size, images_per_group)))
            for group in GROUPS
            for k in range(math.ceil(images_per_group / size))
        ]
        own = chunks[here.rank :: here.world]
        rows: list[dict[str, Any]] = []
        with tqdm(
            total=sum(len(wanted) for _, _, wanted in own),
            desc=f"{folder.name}: drawing",
            unit=" images",
            # Seldom on a file, so that a log or notebook is not filled with it.
            mininterval=0.5 if sys.stderr.isatty() else 30,
            file=sys.stderr,
            disable=not progress or here.rank > 0,
        ) as bar:
            for group, k, wanted in own:
                rows += drawing.rows(group, wanted, drawing.complete(group, k, wanted, bar))
        here.wait()
        if here.rank == 0:
            for position, (group, k, wanted) in enumerate(chunks):
                if position % here.world:  # drawn by another process
                    rows += drawing.rows(group, wanted, drawing.store.read(group, k))
            imageset.write_manifest(folder, rows)
        here.wait()
        return imageset.read_manifest(folder)


def _warn_of_length(generator: Draws, prompts: Mapping[Group, Sequence[str]]) -> None:
    every = [text for group in GROUPS for text in prompts[group]]
    cut = generator.too_long(every)
    if cut:
        warnings.warn(
            f"{len(cut)} of {len(every)} prompts are longer than the text encoder reads, so their "
            f"end has no effect; the first is {cut[0]!r}",
            RuntimeWarning,
            stacklevel=3,
        )


def _checked(
    prompts: Mapping[Group, Sequence[str]],
    images_per_group: int,
    target: str,
    protected: str,
    seed: int,
) -> dict[Group, list[str]]:
    for group in GROUPS:
        texts = prompts.get(group, ())
        if isinstance(texts, str) or not texts:
            raise ValueError(
                f"group {group} has no list of prompts; give at least one for each of {GROUPS}"
            )
        for i, text in enumerate(texts):
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"prompt {i} of group {group} is {text!r}; give a text")
    if unknown := [group for group in prompts if group not in GROUPS]:
        raise ValueError(f"there is no group {unknown[0]!r}; the groups are {GROUPS}")
    if not 1 <= images_per_group <= MOST_IMAGES:
        raise ValueError(
            f"images_per_group must be from 1 to {MOST_IMAGES:,}, it is {images_per_group}"
        )
    if seed < 0:
        raise ValueError(f"seed must not be negative, it is {seed}")
    if not target or not protected or target == protected:
        raise ValueError(
            f"target and protected attribute must be two names, not {target!r} and {protected!r}"
        )
    return {group: list(prompts[group]) for group in GROUPS}
