"""What the chapter on synthetic faces shows: alignment, variety, duplicates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from repro import vision
from repro.aimfair.checks import Alignment
from repro.aimfair.checks import alignment as compare
from repro.chapters.aim import stages as aim_stages
from repro.chapters.aim.configs import FaceTraining
from repro.chapters.aim.figures import GROUP_COLOURS, GROUP_NAMES
from repro.data import augment
from repro.data.images import ImageSet
from repro.models import head_inputs, last_linear
from repro.settings import FaceData
from repro.study.records import Results
from repro.study.session import Study

_PAIRS = 4_000  # of random images, for a mean distance


def by_group(images: ImageSet, data: FaceData) -> dict[str, Tensor]:
    """Return the images of each group, by ``(t,p)``, in the order of their names."""
    target, protected = images.attribute(data.target), images.attribute(data.protected)
    return {
        f"({t},{p})": images.images[
            torch.from_numpy(np.flatnonzero((target == t) & (protected == p)))
        ]
        for t in (0, 1)
        for p in (0, 1)
    }


def _model(study: Study, readers: Results, which: str) -> torch.nn.Module:
    """Return a reader's classifier, from its run."""
    record = readers[which][0]
    config = FaceTraining.model_validate(
        {name: v for name, v in record.config.items() if name in FaceTraining.model_fields}
    )
    return aim_stages.trained_model(config, record)


def alignment(study: Study, pool: ImageSet, manifest: pd.DataFrame, readers: Results) -> Alignment:
    """Compare what was asked with what the two readers read, image by image."""
    data = study.profile.faces.data
    models = {
        data.target: _model(study, readers, "target"),
        data.protected: _model(study, readers, "protected"),
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


def percent(table: pd.DataFrame) -> pd.DataFrame:
    """Return shares in per cent, and the index as columns."""
    shown = table.reset_index()
    for name in shown.columns:
        if name.endswith("_agreement"):
            shown[name] = shown[name].map("{:.1%}".format)
    return shown.astype(str)


def prompts_figure(found: Alignment, *, title: str = "") -> Figure:
    """Draw the agreement of each prompt, target against protected attribute."""
    figure, axes = plt.subplots(figsize=(4.8, 4.2))
    table = found.per_prompt.reset_index()
    for at, (t, p) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        rows = table[(table["target"] == t) & (table["protected"] == p)]
        axes.plot(
            100 * rows["target_agreement"], 100 * rows["protected_agreement"], "o",
            color=GROUP_COLOURS[at], alpha=0.7, label=GROUP_NAMES[at],
        )  # fmt: skip
    axes.set_xlabel("images whose target is read as asked (%)")
    axes.set_ylabel("whose protected attribute is (%)")
    axes.legend(fontsize="small")
    axes.set_title(title, fontsize="medium")
    return figure


def worst_prompts(found: Alignment, n: int) -> pd.DataFrame:
    """Return the n prompts whose images are read least as asked."""
    table = found.per_prompt.reset_index()
    both = table[["target_agreement", "protected_agreement"]].min(axis=1)
    return percent(table.loc[both.sort_values().index[:n]])


def variety(study: Study, sets: Mapping[str, ImageSet], readers: Results) -> pd.DataFrame:
    """Return the mean distance of two images of a group, in pixels and in features, by set."""
    model = _model(study, readers, "target")
    _, head = last_linear(model)
    data = study.profile.faces.data
    rows = []
    for name, images in sets.items():
        row: dict[str, Any] = {"prompts": name}
        for group, own in by_group(images, data).items():
            faces = own.float().flatten(1)
            inputs = augment.plain(own).contiguous(memory_format=torch.channels_last)
            features = head_inputs(model, head, inputs, batch=512)
            pixels = _distance(faces) / faces.shape[1] ** 0.5
            row[f"{group} pixels"] = f"{pixels:.1f}"
            row[f"{group} features"] = f"{_distance(features.float()):.2f}"
        rows.append(row)
    return pd.DataFrame(rows)


def _distance(values: Tensor) -> float:
    """Mean Euclidean distance of random pairs of rows."""
    rng = np.random.default_rng(0)
    first, second = (torch.from_numpy(at) for at in rng.integers(len(values), size=(2, _PAIRS)))
    apart = first != second
    return float((values[first[apart]] - values[second[apart]]).norm(dim=1).mean())


def side_by_side(redrawn: pd.DataFrame, twins: pd.DataFrame) -> pd.DataFrame:
    """Return what was drawn again and what is there twice, a row for each group."""
    joined = redrawn.join(twins.drop(columns="images")).reset_index()
    joined["rate"] = joined["rate"].map("{:.4%}".format)
    return joined.astype(str)
