"""The pool of synthetic faces: from the settings of a profile to prompts, pipeline and images.

A pool is drawn once and kept in the cache, under the digest of everything that it follows from.
That digest is known before anything is drawn, and is what a run declares as its data.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from repro.aimfair.imagestore import read_manifest
from repro.aimfair.pipelinefolder import (
    HOW_IT_RUNS,
    GenerationError,
    GenerationSettings,
    folder_digest,
)
from repro.aimfair.prompt_bank import GIVEN, PromptBank, prompt_bank
from repro.aimfair.prompt_files import read_prompts
from repro.aimfair.prompt_form import Task
from repro.data.images import ImageSet
from repro.data.sources import cache_root
from repro.files import digest_of_values
from repro.generator.about import ABOUT, about_folder
from repro.machine import cores, threads
from repro.settings import TOY, FaceData, SettingsError, SyntheticFaces
from repro.study.once import once
from repro.study.profiles import Profile, project_root

VERSION = 2  # pixels are cut off to bytes, not rounded
"""Raise when the same settings come to mean other images."""

MODELS, POOLS = "models", "models/pools"
"""Folders of the generators that this project ships, and of images that they drew."""

_PAPER_STEPS, _PAPER_GUIDANCE, _PAPER_SIZE = 50, 9.0, 512  # METHODS 1a
_FEW_STEPS = 20  # of DPM-Solver++


@once
def generator_folder(name: str) -> Path | None:
    """Return the folder of a generator, or None if the name can only be one on the hub.

    Parameters
    ----------
    name
        A generator of `MODELS`, or a path.
    """
    for folder in (project_root() / MODELS / name, Path(name).expanduser()):
        if (folder / "model_index.json").is_file():
            return folder
    return None


@once
def about(name: str) -> dict[str, Any]:
    """Return what a generator of this project says of itself; empty for any other."""
    folder = generator_folder(name)
    if folder is None or not (folder / ABOUT).is_file():
        return {}
    return about_folder(folder)


def generation_settings(data: FaceData, synthetic: SyntheticFaces) -> GenerationSettings:
    """Return how the images of a profile are drawn; what is not set is as shipped.

    Raises
    ------
    SettingsError
        If the generator is none of this project's, no folder, and no pinned name on the hub.
    """
    assert synthetic.generator is not None
    folder, known = generator_folder(synthetic.generator), about(synthetic.generator)
    if folder is None and (synthetic.revision is None or "/" not in synthetic.generator):
        ours = sorted(path.parent.name for path in (project_root() / MODELS).glob("*/" + "model_*"))
        raise SettingsError(
            f"generator '{synthetic.generator}' is neither one of this project's "
            f"({', '.join(ours) or 'none is here'}) nor a folder with model_index.json; of a name "
            "on the hub ('owner/name') give the revision, a commit, as well. The project's own are "
            "made by notebooks/29_train_a_generator.ipynb"
        )
    steps = known.get("steps", _PAPER_STEPS)
    if synthetic.scheduler == "dpm++":
        steps = _FEW_STEPS
    return GenerationSettings.model_validate(
        {
            "pipeline": str(folder or synthetic.generator),
            "revision": synthetic.revision if folder is None else None,
            "scheduler": synthetic.scheduler
            if known or synthetic.scheduler != "as shipped"
            else "ddim",
            "steps": synthetic.steps or steps,
            "guidance": synthetic.guidance or known.get("guidance", _PAPER_GUIDANCE),
            "size": known.get("size", _PAPER_SIZE),
            "resize": data.size,
            # Small networks are drawn from at twice the speed, the paper's as released.
            "precision": "bfloat16" if known else "float32",
        }
    )


def vocabulary_of(synthetic: SyntheticFaces | None) -> str:
    """Return the vocabulary that a generator understands: its own, or that of Stable Diffusion."""
    if synthetic is None or synthetic.generator is None:
        return "stable-diffusion"
    return str(about(synthetic.generator).get("vocabulary", "stable-diffusion"))


def bank_of(data: FaceData, synthetic: SyntheticFaces) -> PromptBank:
    """Return the prompts of every group: given, asked for once and kept, or by the grammar.

    The seed is that of the images. The grammar writes other prompts for each, and a language model
    is asked anew; prompts that are given, and plain ones, are the same for all.

    Raises
    ------
    SettingsError
        If ``prompts_file`` does not hold the prompts of each group.
    VocabularyError
        If the generator's vocabulary cannot give the prompts, head poses say.
    EndpointError
        If a language model is named and its endpoint cannot be used.
    """
    assert synthetic.prompts is not None
    assert synthetic.prompts_per_group is not None
    task = Task(data.target, data.protected)
    if synthetic.prompts_file is not None:
        lists = read_prompts(synthetic.prompts_file, task, kind=synthetic.prompts)
        number = synthetic.prompts_per_group
        prompts = {group: texts[:number] for group, texts in lists.items()}
        return PromptBank(
            task=task, kind=synthetic.prompts, n=number, prompts=prompts, model=GIVEN, facets=()
        )
    return _bank(
        task,
        synthetic.prompts,
        synthetic.prompts_per_group,
        synthetic.writer,
        synthetic.seed,
        vocabulary_of(synthetic),
    )


@lru_cache(maxsize=1024)  # each seed of Table 5 has several
def _bank(
    task: Task, kind: str, number: int, writer: str | None, seed: int, vocabulary: str
) -> PromptBank:
    path = None
    if writer is not None:  # what was paid for is kept, and asked for once
        parts = [task.target, task.protected, kind.replace(" ", "_"), str(number), writer]
        # The seed cannot fix what a model answers: another one is a reason to ask again.
        usual = SyntheticFaces.model_fields["seed"].default
        name = "-".join(parts if seed == usual else [*parts, str(seed)])
        path = cache_root() / "prompts" / f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)}.json"
    return prompt_bank(
        task, number, kind=kind, model=writer, seed=seed, vocabulary=vocabulary, path=path
    )


def declared(data: FaceData, synthetic: SyntheticFaces) -> dict[str, str]:
    """Return the digest of a pool, without drawing it."""
    return {"synthetic faces": request_digest(data, synthetic)}


@once
def request_digest(data: FaceData, synthetic: SyntheticFaces) -> str:
    """Hash all that the images of a pool follow from: generator, prompts, settings, number.

    Not the pixels: they may differ in the last bit from machine to machine.
    """
    how = generation_settings(data, synthetic)
    folder = generator_folder(synthetic.generator or "")
    source = once(folder_digest)(folder) if folder else f"{how.pipeline}@{how.revision}"
    drawn = how.model_dump(mode="json", exclude=set(HOW_IT_RUNS))
    what = [data.target, data.protected, synthetic.pool, synthetic.seed]
    return digest_of_values([VERSION, source, drawn, bank_of(data, synthetic).sha256, what])


def pool_folder(data: FaceData, synthetic: SyntheticFaces) -> Path:
    """Return where the images of a pool are kept."""
    return cache_root() / "pools" / request_digest(data, synthetic)[:16]


def shipped_folder(data: FaceData, synthetic: SyntheticFaces) -> Path:
    """Return where a pool of exactly these images would be shipped; it need not exist."""
    return project_root() / POOLS / pool_folder(data, synthetic).name


def is_there(profile: Profile) -> bool:
    """Whether the pool of a profile ships, or was drawn here to the end."""
    data, asked = profile.faces.data, profile.faces.synthetic
    if asked is None or asked.source != "generator":
        return False
    if shipped_folder(data, asked).is_dir():
        return True
    try:
        return len(read_manifest(pool_folder(data, asked))) > 0
    except GenerationError:
        return False


@lru_cache(maxsize=4)
def _pool(data: FaceData, synthetic: SyntheticFaces) -> ImageSet:
    from repro.aimfair.packedset import unpack
    from repro.aimfair.synthesis import load_set

    folder, packed = pool_folder(data, synthetic), shipped_folder(data, synthetic)
    if packed.is_dir():
        unpack(packed, folder)
    try:
        return load_set(folder)  # each image is compared with its digest
    except GenerationError:  # not there yet, or not to the end, or damaged
        _draw(data, synthetic, synthetic.pool, folder)
        return load_set(folder)


def _draw(data: FaceData, synthetic: SyntheticFaces, number: int, folder: Path) -> pd.DataFrame:
    """Draw what is missing of so many images a group; two processes that want it draw it once."""
    from repro.aimfair.generators import load
    from repro.aimfair.synthesis import generate

    # Within a run, too: at the usual batch up to four threads draw what one draws, bit for bit.
    with threads(min(cores(), 4)):
        return generate(
            load(generation_settings(data, synthetic)),
            bank_of(data, synthetic).prompts,
            number,
            folder,
            target=data.target,
            protected=data.protected,
            seed=synthetic.seed,
        )


def drawn_again(data: FaceData, synthetic: SyntheticFaces, number: int = 16) -> pd.DataFrame:
    """Draw the first images of each group again, here and now, and compare them with the pool's.

    Returns
    -------
    pandas.DataFrame
        A row for each of the 4 x ``number`` images: name, ``identical``, and the ``mean`` and the
        ``largest`` difference of its pixels in grey levels.
    """
    from repro.aimfair.synthesis import load_set

    images = pool(data, synthetic)
    number = min(number, synthetic.pool)
    with TemporaryDirectory() as folder:
        _draw(data, synthetic, number, Path(folder))
        again = load_set(folder)
    rows = images.attributes.index.get_indexer(again.attributes.index)
    apart = (again.images.int() - images.images[rows].int()).abs().flatten(1)
    return pd.DataFrame(
        {
            "name": again.attributes.index,
            "identical": (apart == 0).all(1).numpy(),
            "mean": apart.float().mean(1).numpy(),
            "largest": apart.amax(1).numpy(),
        }
    )


def pool(data: FaceData, synthetic: SyntheticFaces) -> ImageSet:
    """Return the images of a pool, drawing those that are not there yet.

    Returns
    -------
    ImageSet
        With the digest that `declared` gives; the manifest in the folder of the pool has the
        sha256 of each image.
    """
    # One pool for all draws and amounts: what does not concern it is left out of the key.
    plain = synthetic.model_copy(update={"total": 40, "bias_ratio": 1 / 9, "amount": 1.0})
    own = {"total": 40, "fraction": 1.0, "bias_ratio": 1 / 9, **dict.fromkeys(TOY)}
    where = data.model_copy(update=own)
    images = _pool(where, plain)
    return ImageSet(
        name=images.name,
        images=images.images,
        attributes=images.attributes,
        part=images.part,
        sha256=declared(data, synthetic),
    )


def manifest(data: FaceData, synthetic: SyntheticFaces) -> pd.DataFrame:
    """Return the row of every image of a pool: group, prompt, seed, what drew it, sha256."""
    return read_manifest(pool_folder(data, synthetic))


#: Of all measures of variety, those that a row of a table has room for.
_SHOWN = ("facets", "distinct-1", "distinct-2", "jaccard distance", "tf-idf distance")


def variety(bank: PromptBank) -> dict[str, str]:
    """Return measures of variety of the prompts of one group, mean over the groups, as text."""
    from repro.aimfair.diversity import mean_diversity

    found = mean_diversity(bank.prompts)
    return {name: f"{found[name]:.2f}" for name in _SHOWN}
