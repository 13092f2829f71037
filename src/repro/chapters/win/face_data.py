"""From a backbone to the parts of WIN on faces: frozen features, labels, and their split.

The partition of the images is kept, so that nobody is in two of its parts (CelebA's is by identity;
LFW+a has none, and `repro.data.lfwa` makes one by identity): the head is pre-trained on the
training part, the new task is trained and validated on the validation part, and tested on the test
part. A seed draws the images and their split within the first two; the test images are the same for
every seed.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from repro.chapters.aim.data import image_set, read_sha256
from repro.chapters.aim.stages import built_on, check_read, trained_model
from repro.chapters.win.face_configs import FaceHead
from repro.chapters.win.heads import HeadData
from repro.data.images import ImageSet
from repro.data.splits import GROUPS, biased_split, largest_biased_total
from repro.settings import SettingsError
from repro.study.runs import Runs
from repro.training import Examples
from repro.vision import device
from repro.win.features import image_features

#: Share of a part that trains; as in WIN on Adult (:mod:`repro.data.splits`).
PRETRAIN_SHARE, TASK_SHARE = 0.8, 12_287 / (12_287 + 5_000)


def split_rows(
    images: ImageSet, target: str, protected: str, *, bias_ratio: float | None, seed: int
) -> dict[str, np.ndarray]:
    """Return the rows of every part, in the words of :class:`~repro.chapters.win.heads.HeadData`.

    Parameters
    ----------
    images
        The image set, with its partition.
    target, protected
        Two of its attributes.
    bias_ratio
        Size of groups (0,0) and (1,1) against (0,1) and (1,0) in every part, as many images as
        that leaves; None: as the data are.
    seed
        Of the draw and the split. The test part does not depend on it.

    Raises
    ------
    SettingsError
        If a group is too small to be in every part.
    """
    t, p = images.attribute(target), images.attribute(protected)
    rows: dict[str, np.ndarray] = {}
    for which, (part, share, names) in enumerate(
        (
            ("train", PRETRAIN_SHARE, ("pretrain_train", "pretrain_validation")),
            ("validation", TASK_SHARE, ("task_train", "task_validation")),
            ("test", 1, ("task_test",)),
        )
    ):
        pool = np.flatnonzero(images.part == part)
        if share < 1:
            pool = np.random.default_rng([seed, which]).permutation(pool)
        if bias_ratio is not None:
            total = largest_biased_total(t[pool], p[pool], bias_ratio=bias_ratio)
            if total:
                pool = pool[biased_split(t[pool], p[pool], total, bias_ratio=bias_ratio)]
        cuts = []
        for group in GROUPS:
            members = pool[(t[pool] == group[0]) & (p[pool] == group[1])]
            cut = round(share * len(members))
            cuts.append((members[:cut], members[cut:]))
            if cut == 0 or (share < 1 and cut == len(members)):
                raise SettingsError(
                    f"the {part} part of {images.name} has {len(members)} images of group "
                    f"({target}={group[0]}, {protected}={group[1]}): too few for WIN on faces; "
                    "more images, or another target or protected attribute, are needed"
                )
        for name, of_groups in zip(names, zip(*cuts, strict=True), strict=False):
            rows[name] = np.sort(np.concatenate(of_groups))
    return rows


def head_data(config: FaceHead, runs: Runs) -> HeadData:
    """Return the parts of a head's runs; the features of its backbone's images from the cache.

    Raises
    ------
    SettingsError
        As in :func:`split_rows`.
    UnknownNameError
        If the images have no such attribute.
    """
    data = config.images
    images = image_set(data)
    rows = split_rows(
        images, config.target, config.protected, bias_ratio=config.bias_ratio, seed=config.seed
    )
    digests = read_sha256(data, images)
    if config.data_sha256 is not None:  # else the backbone's run has declared and checked them
        check_read(config, config.data_sha256, digests)
    features = _features(config, runs)
    names = [str(column) for column in images.attributes.columns]
    labels = tuple(names) if config.head == "labels" else (config.target,)
    table = images.attributes[list(labels)].to_numpy(dtype=np.int64)
    protected = images.attribute(config.protected).astype(np.int64)
    parts = {}
    for part, at in rows.items():
        target = torch.from_numpy(table[at] if config.head == "labels" else table[at, 0])
        parts[part] = Examples(
            features[torch.from_numpy(at)], target, torch.from_numpy(protected[at])
        )
    return HeadData(
        parts,
        labels,
        config.target,
        config.protected,
        images.attributes.index.to_numpy()[rows["task_test"]].astype(str),
        digests,
    )


def _features(config: FaceHead, runs: Runs) -> Tensor:
    """Return what reaches the head for every image of the set, (n, d)."""
    backbone, data = config.backbone, config.images
    model = trained_model(backbone, built_on(backbone, runs))
    return image_features(model, image_set(data), size=data.size, device=device())
