"""Chapter 22: a pool of synthetic faces, what classifiers read in it, variety and duplicates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from repro import vision
from repro.aimfair.checks import Alignment, near_duplicates, redrawn
from repro.aimfair.checks import alignment as compare
from repro.chapters.aim import stages as aim_stages
from repro.chapters.aim import synthetic
from repro.chapters.aim.configs import FaceTraining
from repro.chapters.aim.contrasts import ACC, WST
from repro.chapters.aim.data import faces_of, group_images
from repro.chapters.aim.figures import GROUP_COLOURS, GROUP_NAMES, faces_figure
from repro.chapters.aim.prompt_diversity import PLAIN, prompt_sets
from repro.data import augment
from repro.data.images import ImageSet
from repro.data.splits import GROUPS
from repro.models import head_inputs, last_linear
from repro.settings import FaceData, SyntheticFaces
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.session import Part, Study
from repro.study.tables import means, source

_PAIRS = 4_000  # of random images, for a mean distance


@dataclass(frozen=True)
class Drawn:
    """The pools of a profile.

    Attributes
    ----------
    data, asked
        What they show, and what was asked of the generator.
    sets
        Kind of prompts -> images: ``contextual``, and ``plain`` where the profile has such a set.
    manifest
        A row for each image of the first.
    """

    data: FaceData
    asked: SyntheticFaces
    sets: Mapping[str, ImageSet]
    manifest: pd.DataFrame

    @property
    def pool(self) -> ImageSet:
        """The images that the profile trains on."""
        return self.sets["contextual"]


def notice(profile: Profile) -> list[str]:
    """Say that there is nothing to see where the images of a profile come from no prompts."""
    asked = profile.faces.synthetic
    if asked is not None and asked.source == "generator":
        return []
    return [
        "The synthetic images of this profile come from the renderer, not from prompts: what "
        "follows stays empty. `-p profile smoke` draws a few from prompts."
    ]


def drawn(profile: Profile, seed: int) -> list[Drawn]:
    """Draw the pools of a profile, or find them; nothing where its images come from no prompts."""
    data, asked = profile.faces.data, profile.faces.synthetic
    if asked is None or asked.source != "generator":
        return []
    sets = {"contextual": synthetic.pool(data, asked)}
    plain = prompt_sets(profile, seed).get(PLAIN)
    if plain is not None:
        sets["plain"] = synthetic.pool(data, plain)
    return [Drawn(data, asked, sets, synthetic.manifest(data, asked))]


def look(images: Drawn) -> list[Part]:
    """Return how the pool was drawn, and ten faces of each group and kind of prompts.

    The book shows synthetic faces, never real ones.
    """
    data, asked = images.data, images.asked
    how = synthetic.generation_settings(data, asked)
    rows = {
        f"{kind} {group}": faces[:10]
        for kind, some in images.sets.items()
        for group, faces in by_group(some, data).items()
    }
    return [
        f"Drawn by generator `{asked.generator}`: {images.manifest['scheduler'].iloc[0]}, "
        f"{how.steps} steps, guidance {how.guidance:g}, from {asked.prompts_per_group} prompts a "
        f"group written by {synthetic.bank_of(data, asked).model}; {asked.pool:,} images a group "
        f"at {data.size}x{data.size}.",
        faces_figure(rows, title="(t,p) as Figure 4: (t,p), kind of prompt"),
    ]


def drawn_again(images: Drawn) -> list[str]:
    """Return how many of 64 images, drawn again here and now, are those of the pool."""
    again = synthetic.drawn_again(images.data, images.asked)
    same, n = int(again["identical"].sum()), len(again)
    told = f"**Drawn again here: {same} of {n} images are identical** with those of the pool"
    if same < n:
        told += (
            f"; the others differ by {again['mean'].mean():.2g} grey levels of 256 on average, at "
            f"most by {again['largest'].max()}"
        )
    shipped = synthetic.shipped_folder(images.data, images.asked)
    where = f", which ships with this project (`{shipped.parent.name}/{shipped.name}`)"
    return [f"{told}{where if shipped.is_dir() else ''}."]


def first_of_each_group(images: Drawn) -> list[pd.DataFrame]:
    """Return name, prompt, seed and digest of the first image of each group."""
    first = images.manifest.groupby(["target", "protected"]).head(1)
    shown = first[["name", "prompt", "seed", "sha256"]].astype(str)
    return [shown.assign(sha256=shown["sha256"].str[:12])]


def by_group(images: ImageSet, data: FaceData) -> dict[str, Tensor]:
    """Return the images of each group, by ``(t,p)``, in the order of their names."""
    return group_images(faces_of(images, data, np.arange(len(images))))


def _model(readers: Results, which: str) -> torch.nn.Module:
    """Return a reader's classifier, from its run."""
    record = readers[which][0]
    config = FaceTraining.model_validate(
        {name: v for name, v in record.config.items() if name in FaceTraining.model_fields}
    )
    return aim_stages.trained_model(config, record)


def alignment(study: Study, images: Drawn, readers: Results) -> Alignment | None:
    """Compare what was asked with what the two readers read, image by image.

    None where a reader is missing: a profile need not list them.
    """
    if not {"target", "protected"} <= readers.keys():
        return None
    data, pool, manifest = images.data, images.pool, images.manifest
    models = {
        data.target: _model(readers, "target"),
        data.protected: _model(readers, "protected"),
    }

    def read(images: Tensor) -> dict[str, NDArray[np.float64]]:
        rows = np.arange(len(images))
        nothing = torch.zeros(len(images), dtype=torch.int64)
        faces = vision.Faces(images, torch.from_numpy(rows), nothing, nothing, rows.astype(str))
        precision = study.profile.faces.pretrain.precision
        return {
            name: vision.probability(
                vision.predict(model, faces, precision=precision, device=vision.device())
            )
            for name, model in models.items()
        }

    named = manifest.set_index("name").loc[pool.attributes.index].reset_index()
    return compare(pool.images, named, read, target=data.target, protected=data.protected)


def read_as_asked(
    study: Study, images: Drawn, readers: Results, found: Alignment | None
) -> list[Part]:
    """Return what the readers can tell of real images, and what they read in the pool."""
    if found is None:
        return ["This profile does not list `readers` under `faces.experiments`."]
    names = {
        "target": f"reads {images.data.target}",
        "protected": f"reads {images.data.protected}",
    }
    return [
        means(readers, {ACC: "ACC", WST: "WST"}, names),
        source(readers, study.data_label, study.again),
        "Group asked for (rows) against group read (columns), images:",
        found.confusion.reset_index().astype(str),
        "Agreement by group:",
        percent(found.per_group),
    ]


def by_prompt(found: Alignment | None) -> list[Part]:
    """Return the agreement of each prompt, and the prompts that are read least as asked."""
    if found is None:
        return []
    return [
        prompts_figure(found),
        "The prompts that are read least as asked:",
        worst_prompts(found, 5),
    ]


def percent(table: pd.DataFrame) -> pd.DataFrame:
    """Return shares in per cent, and the index as columns."""
    shown = table.reset_index()
    for name in shown.columns:
        if name.endswith("_agreement"):
            shown[name] = shown[name].map("{:.1%}".format)
    return shown.astype(str)


def prompts_figure(found: Alignment) -> Figure:
    """Draw the agreement of each prompt, target against protected attribute."""
    figure, axes = plt.subplots(figsize=(4.8, 4.2))
    table = found.per_prompt.reset_index()
    for at, (t, p) in enumerate(GROUPS):
        rows = table[(table["target"] == t) & (table["protected"] == p)]
        axes.plot(
            100 * rows["target_agreement"], 100 * rows["protected_agreement"], "o",
            color=GROUP_COLOURS[at], alpha=0.7, label=GROUP_NAMES[at],
        )  # fmt: skip
    axes.set_xlabel("images whose target is read as asked (%)")
    axes.set_ylabel("whose protected attribute is (%)")
    axes.legend(fontsize="small")
    axes.set_title("each prompt of the pool, by group (t,p)", fontsize="medium")
    return figure


def worst_prompts(found: Alignment, n: int) -> pd.DataFrame:
    """Return the n prompts whose images are read least as asked."""
    agreed = ["target_agreement", "protected_agreement"]
    table = found.per_prompt
    worst = table.loc[table[agreed].min(axis=1).sort_values().index[:n]]
    groups = [f"({t},{p})" for t, p, _ in worst.index]
    # A column less is a line less of each prompt.
    return percent(worst[["prompt", "images", *agreed]].set_index(pd.Index(groups, name="group")))


def variety(images: Drawn, readers: Results) -> list[pd.DataFrame]:
    """Return the mean distance of two images of a group, by kind of prompts.

    In pixels and, where there is a reader of the target, in its features.
    """
    model = _model(readers, "target") if "target" in readers else None
    rows = []
    for name, some in images.sets.items():
        row: dict[str, Any] = {"prompts": name}
        for group, own in by_group(some, images.data).items():
            faces = own.float().flatten(1)
            row[f"{group} pixels"] = f"{_distance(faces) / faces.shape[1] ** 0.5:.1f}"
            if model is not None:
                row[f"{group} features"] = f"{_distance(_features(model, own)):.2f}"
        rows.append(row)
    return [pd.DataFrame(rows)]


def _features(model: torch.nn.Module, images: Tensor) -> Tensor:
    """Return what the last layer reads of images (n, 3, s, s) uint8, as (n, d)."""
    _, head = last_linear(model)
    inputs = augment.plain(images).contiguous(memory_format=torch.channels_last)
    return head_inputs(model, head, inputs, batch=512).float()


def _distance(values: Tensor) -> float:
    """Mean Euclidean distance of random pairs of rows."""
    rng = np.random.default_rng(0)
    first, second = (torch.from_numpy(at) for at in rng.integers(len(values), size=(2, _PAIRS)))
    apart = first != second
    return float((values[first[apart]] - values[second[apart]]).norm(dim=1).mean())


def thrown_away_and_twice(images: Drawn) -> list[pd.DataFrame]:
    """Return what was drawn again and what is there twice, a row for each group."""
    pool, data = images.pool, images.data
    twins = near_duplicates(
        pool.images, pool.attribute(data.target), pool.attribute(data.protected)
    )
    joined = redrawn(images.manifest).join(twins.drop(columns="images")).reset_index()
    joined["rate"] = joined["rate"].map("{:.4%}".format)
    return [joined.astype(str)]
