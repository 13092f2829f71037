"""The backbone that stands in for ImageNet's: a classifier of FairFace's labels.

Photographs of faces, of nobody in CelebA, LFW or UTKFace as far as is known. Gender, age and
ancestry are attributes of this study, too, so its features know more of them than ImageNet's would.
"""

from __future__ import annotations

import numpy as np
import torch

from repro.chapters.aim.configs import Backbone
from repro.chapters.aim.declared import stamped
from repro.chapters.aim.stages import check_read
from repro.data import fairface
from repro.generator import oracle
from repro.metrics import confusion_counts
from repro.study.runs import Outcome, Runs, predictions_of
from repro.study.stages import stage


@stage(Backbone)
def train_backbone(config: Backbone, runs: Runs) -> Outcome:
    """Train a classifier of age group, gender and ancestry on FairFace's adults."""
    how = config.settings
    images = fairface.load(how.size, edition=how.edition)
    check_read(config, config.data_sha256, stamped(images.sha256))
    labels = fairface.records(edition=how.edition).loc[images.attributes.index]
    adult = labels["age"].isin(fairface.ADULT).to_numpy()
    classes = {"age": fairface.ADULT, "gender": fairface.GENDERS, "race": fairface.RACES}
    train, test = (np.flatnonzero(adult & (images.part == part)) for part in ("train", "test"))
    reader = oracle.train(
        images.images[torch.from_numpy(train)],
        labels.iloc[train],
        classes,
        steps=how.steps,
        seed=config.seed,
        architecture=config.architecture,
        width=config.width,
        batch_size=how.batch_size,
    )
    read, true = reader.read(images.images[torch.from_numpy(test)]), labels.iloc[test]
    right = {name: float(np.mean(read[name].to_numpy() == true[name])) for name in classes}
    male, white, found = (
        (column.to_numpy() == value).astype(np.int64)
        for column, value in (
            (true["gender"], "Male"),
            (true["race"], "White"),
            (read["gender"], "Male"),
        )
    )
    return Outcome(
        counts={"test": confusion_counts(male, found, white)},
        predictions=predictions_of(true.index, male, white, found.astype(float)),
        weights={name: tensor.numpy() for name, tensor in reader.model.state_dict().items()},
        results={"accuracy": right, "training_images": len(train)},
        data_sha256=config.data_sha256,
    )
