"""From prompts to a set of synthetic images that can be interrupted, resumed and read back.

What an image is follows from the set's seed, its group and its index alone: its prompt, its own
seed, and even which images are drawn in one batch with it. So a set that was interrupted at any
moment is the same as one drawn at once.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate.utils import find_executable_batch_size
from numpy.typing import NDArray
from tqdm import tqdm

from repro.aimfair.checks import is_blank
from repro.aimfair.generators import Generator
from repro.aimfair.imagestore import (
    MANIFEST,
    About,
    Drawn,
    Store,
    begin,
    locked,
    name_of,
    pixel_digest,
    read_manifest,
    read_set,
)
from repro.aimfair.pipelinefolder import HOW_IT_RUNS, GenerationError
from repro.aimfair.prompt_form import Group
from repro.data.cache import fits_in_memory
from repro.data.images import ImageSet
from repro.data.splits import GROUPS
from repro.files import sha256_of
from repro.vision import stream


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


def generate(
    generator: Generator,
    prompts: Mapping[Group, Sequence[str]],
    images_per_group: int,
    folder: Path | str,
    *,
    target: str,
    protected: str,
    seed: int,
) -> pd.DataFrame:
    """Draw the images of all four groups, or what is missing or damaged of them.

    Image i of a group is drawn from its prompt i mod n, so that the first images by name are
    spread evenly over the prompts.

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
    folder
        Of this set and no other.
    target, protected
        Names of the attributes.

    Returns
    -------
    pandas.DataFrame
        The manifest; see `repro.aimfair.imagestore.read_manifest`.

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
    folder = Path(folder)
    with locked(folder):
        asked = About(
            target=target,
            protected=protected,
            seed=seed,
            images_per_group=images_per_group,
            pipeline=generator.name,
            revision=generator.revision,
            scheduler=generator.scheduler,
            settings=generator.settings.model_dump(mode="json", exclude=set(HOW_IT_RUNS)),
            prompts=_checked(prompts),
            drawn_with={**generator.environment, "batch": generator.batch},
        )
        about = begin(folder, asked)
        _warn(generator, about)
        store = Store(folder, about)
        batch = generator.settings.batch or int(about.drawn_with["batch"])
        with tqdm(
            total=len(GROUPS) * images_per_group,
            initial=len(store.rows),
            desc=f"{folder.name}: drawing",
            unit=" images",
            # Seldom on a file, so that a log or notebook is not filled with it.
            mininterval=0.5 if sys.stderr.isatty() else 30,
            file=sys.stderr,
        ) as bar:
            _draw(generator, about, store, batch, bar)
        store.tidy()
        return read_manifest(folder)


def _draw(generator: Generator, about: About, store: Store, batch: int, bar: Any) -> None:
    """Draw every batch that has a missing image, all of it, so that each image has its place."""
    sizes = [batch]

    def missing(batch_size: int) -> None:
        for group in GROUPS:
            for start in range(0, about.images_per_group, batch_size):
                within = range(start, min(start + batch_size, about.images_per_group))
                wanted = {i for i in within if name_of(group, i) not in store.rows}
                if wanted:
                    indices = range(start, start + batch_size)
                    store.keep(_batch(generator, about, group, indices, wanted))
                    bar.update(len(wanted))

    def smaller() -> int:
        if sizes[-1] == 1:
            raise GenerationError(
                "memory does not suffice for one image; free some, or choose a smaller 'size', a "
                "smaller pipeline or half 'precision'. What is finished is kept"
            )
        if len(sizes) == 1:
            warnings.warn(
                f"memory does not suffice for batches of {batch} images; smaller ones are drawn "
                f"from here on, first of {batch // 2}",
                RuntimeWarning,
                stacklevel=2,
            )
        sizes.append(sizes[-1] // 2)
        return sizes[-1]

    find_executable_batch_size(missing, starting_batch_size=batch, reduce_batch_size_fn=smaller)()


def _batch(
    generator: Generator, about: About, group: Group, indices: range, wanted: set[int]
) -> list[tuple[Drawn, NDArray[np.uint8]]]:
    """Return the wanted images of a batch; those of one colour are drawn with other seeds."""
    settings, prompts = generator.settings, about.prompts[f"{group[0]}_{group[1]}"]
    which = [index % len(prompts) for index in indices]
    attempt, left = dict.fromkeys(indices, 0), set(wanted)
    drawn: dict[int, tuple[Drawn, NDArray[np.uint8]]] = {}
    while left:
        seeds = [
            seed_of(about.seed, group, i, index, attempt[index])
            for i, index in zip(which, indices, strict=True)
        ]
        # All of the batch again, so that each image stays in its row.
        images = generator.draw([prompts[i] for i in which], seeds)
        blank = is_blank(images, settings.blank_below)
        for row, index in enumerate(indices):
            if index not in left or blank[row]:
                continue
            pixels = images[row].numpy()
            line = Drawn(
                name=name_of(group, index),
                target=group[0],
                protected=group[1],
                index=index,
                prompt_index=which[row],
                prompt=prompts[which[row]],
                seed=seeds[row],
                attempt=attempt[index],
                size=pixels.shape[-1],
                sha256=pixel_digest(pixels),
            )
            drawn[index] = line, pixels
            left.remove(index)
        for index in left:
            attempt[index] += 1
            if attempt[index] > settings.redraws:
                raise GenerationError(
                    f"{name_of(group, index)}: {attempt[index]} images in a row are one colour, "
                    f"drawn from {prompts[index % len(prompts)]!r}. A safety checker blanks what "
                    "it takes for indecent, and float16 can overflow: change the prompt, the "
                    "pipeline or the precision, or raise 'redraws'"
                )
    return [drawn[index] for index in sorted(drawn)]


def load_set(folder: Path | str) -> ImageSet:
    """Return a finished set; every image is compared with its digest in the manifest.

    Parameters
    ----------
    folder
        As for `generate`.

    Returns
    -------
    ImageSet
        Sorted by name, with the target and the protected attribute as they were asked for, all
        of part ``train``; its digest is that of the manifest. Images that do not fit into the
        memory that is available are memory-mapped.

    Raises
    ------
    GenerationError
        If the set is not finished, or an image is not what the manifest says.
    """
    folder = Path(folder)
    about, manifest, images = read_set(folder)
    labels = {
        name: manifest[role].to_numpy(np.int8)
        for name, role in ((about.target, "target"), (about.protected, "protected"))
    }
    return ImageSet(
        name=f"synthetic {folder.name}",
        images=torch.from_numpy(np.array(images) if fits_in_memory(images.nbytes) else images),
        attributes=pd.DataFrame(labels, index=pd.Index(manifest["name"], name="name")),
        part=np.full(len(manifest), "train"),
        sha256={"manifest": sha256_of(folder / MANIFEST)},
    )


def _warn(generator: Generator, about: About) -> None:
    """Say where images may differ in a last bit from before, and which prompts are too long."""
    changed = [
        f"{key} {about.drawn_with.get(key)} is now {value}"
        for key, value in generator.environment.items()
        if about.drawn_with.get(key) != value
    ]
    if changed:
        warnings.warn(
            f"the set was begun elsewhere ({', '.join(changed)}): images that are drawn now may "
            "differ a little from what they would have been",
            RuntimeWarning,
            stacklevel=3,
        )
    every = [text for texts in about.prompts.values() for text in texts]
    if cut := generator.too_long(every):
        warnings.warn(
            f"{len(cut)} of {len(every)} prompts are longer than the text encoder reads, so their "
            f"end has no effect; the first is {cut[0]!r}",
            RuntimeWarning,
            stacklevel=3,
        )


def _checked(prompts: Mapping[Group, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Return the prompts by the name of their group."""
    for group in GROUPS:
        texts = prompts.get(group, ())
        if isinstance(texts, str) or not texts:
            raise ValueError(
                f"group {group} has no list of prompts; give at least one for each of {GROUPS}"
            )
        if blank := [i for i, text in enumerate(texts) if not text.strip()]:
            raise ValueError(f"prompt {blank[0]} of group {group} is empty; give a text")
    return {f"{t}_{p}": tuple(prompts[t, p]) for t, p in GROUPS}
