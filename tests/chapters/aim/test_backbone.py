"""The backbone that classifiers start from in place of ImageNet's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from repro.chapters.aim import backbone, plans
from repro.chapters.aim.configs import Backbone, FaceTraining
from repro.chapters.aim.data import image_set
from repro.chapters.aim.stages import initial_model, trained_model
from repro.chapters.win import face_data, face_plans
from repro.chapters.win.face_data import head_data
from repro.data import fairface
from repro.data.images import ImageSet
from repro.models import image_classifier
from repro.settings import BackboneSettings
from repro.study.profiles import Profile, load_profile
from repro.study.runs import WEIGHTS, Record, RunError, Runs
from repro.study.stages import obtain

TINY = {
    "faces.initialisation": "fairface",
    "faces.width": 8,
    "faces.backbone": {"steps": 40, "batch_size": 32, "size": 16},
    "faces.data": {"name": "toyfaces", "size": 16, "total": 160, "target": "Smiling",
                   "protected": "Male", "toy_seed": 1},
    "faces.pretrain": {"epochs": 1, "batch_size": 32, "learning_rate": 0.01},
}  # fmt: skip


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile("smoke", TINY)


@pytest.fixture(scope="module")
def photographs() -> tuple[ImageSet, pd.DataFrame]:
    """Red is a man, green White, blue old; one in four is a minor, and looks like nobody else."""
    rng = np.random.default_rng(0)
    n = 400
    male, white, age = rng.integers(2, size=n), rng.integers(2, size=n), rng.integers(3, size=n)
    minor = np.arange(n) % 4 == 0
    labels = pd.DataFrame(
        {
            "age": np.where(minor, "3-9", np.array(["20-29", "40-49", "more than 70"])[age]),
            "gender": np.where(male == 1, "Male", "Female"),
            "race": np.where(white == 1, "White", "Black"),
        },
        index=[f"{'val' if i % 3 == 0 else 'train'}/{i}.jpg" for i in range(n)],
    )
    colours = np.stack([male * 200, white * 200, age * 100], axis=1)
    colours[minor] = 255
    pixels = torch.from_numpy(colours.astype(np.uint8))[:, :, None, None].repeat(1, 1, 16, 16)
    part = np.where(labels.index.str.startswith("val/"), "test", "train")
    images = ImageSet(
        name="fairface",
        images=pixels,
        attributes=fairface.DATASET.encode(labels),
        part=part,
        sha256=dict(fairface.declared("reduced")),
    )
    return images, labels


@pytest.fixture(scope="module")
def trained(
    profile: Profile,
    photographs: tuple[ImageSet, pd.DataFrame],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[FaceTraining, Record, Runs, list[int]]:
    """Train a backbone and a classifier that starts from it; and what the backbone was shown."""
    images, labels = photographs
    runs = Runs(tmp_path_factory.mktemp("runs"))
    shown: list[int] = []
    learn = backbone.oracle.train

    def spy(seen: torch.Tensor, *given: Any, **how: Any) -> Any:
        shown.extend(int(value) for value in seen.amin(dim=(1, 2, 3)))
        return learn(seen, *given, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbone.fairface, "load", lambda size, edition: images)
        patch.setattr(backbone.fairface, "records", lambda edition: labels)
        patch.setattr(backbone.oracle, "train", spy)
        config = plans.training(profile, 3)
        return config, obtain(config, runs), runs, shown


def test_it_learns_what_is_labelled_from_adults_alone(
    trained: tuple[FaceTraining, Record, Runs, list[int]],
    photographs: tuple[ImageSet, pd.DataFrame],
) -> None:
    config, _, runs, shown = trained
    assert config.backbone is not None
    record = runs.find(config.backbone)
    assert record is not None
    _, labels = photographs
    adults = labels[labels["age"] != "3-9"]
    assert (
        len(shown) == record.results["training_images"] == int((adults.index.str[0] == "t").sum())
    )
    assert 255 not in shown
    of_test = adults[adults.index.str[0] == "v"]
    counts = record.counts("test")  # [male][white][read as male]
    for male, gender in enumerate(("Female", "Male")):
        for white, race in enumerate(("Black", "White")):
            group = (of_test["gender"] == gender) & (of_test["race"] == race)
            assert counts[male, white].sum() == group.sum()
    # Colours give every label away.
    assert min(record.results["accuracy"].values()) > 0.9
    right = counts[0, :, 0].sum() + counts[1, :, 1].sum()
    assert right / counts.sum() == pytest.approx(record.results["accuracy"]["gender"])


def test_a_classifier_starts_from_it_with_a_head_of_its_own(
    trained: tuple[FaceTraining, Record, Runs, list[int]],
) -> None:
    config, record, runs, _ = trained
    assert config.backbone is not None
    above = runs.find(config.backbone)
    assert above is not None
    assert record.body["upstream"]["backbone"] == above.run == config.backbone.identity
    of_backbone = load_file(above.file(WEIGHTS))
    start = initial_model(config, runs).state_dict()
    same = {name for name, value in of_backbone.items() if torch.equal(start[name].cpu(), value)}
    assert of_backbone.keys() - same == {"fc.weight", "fc.bias"}
    assert start["fc.weight"].shape[0] == 1
    end = trained_model(config, record).state_dict()
    stored = load_file(record.file(WEIGHTS))
    assert all(torch.equal(end[name].cpu(), stored[name]) for name in stored)


def test_a_head_of_win_learns_from_its_features(
    trained: tuple[FaceTraining, Record, Runs, list[int]],
) -> None:
    """The features are those of the backbone, by hand; the digests those of the images."""
    config, _, runs, _ = trained
    assert config.backbone is not None
    profile = load_profile(
        "smoke", TINY | {"win.faces.backbone": "fairface", "win.faces.bias_ratio": None}
    )
    head = face_plans.pretrained(profile, 3)
    assert head.backbone == config.backbone
    data = head_data(head, runs)
    images = image_set(head.images)
    rows = face_data.split_rows(images, "Smiling", "Male", bias_ratio=None, seed=3)
    above = runs.find(config.backbone)
    assert above is not None
    model = image_classifier("resnet18", width=8, seed=0)
    kept = {n: t for n, t in load_file(above.file(WEIGHTS)).items() if not n.startswith("fc.")}
    model.load_state_dict(kept, strict=False)
    model.fc = torch.nn.Identity()
    pixels = images.images[torch.from_numpy(rows["task_test"])].float() / 255
    with torch.no_grad():
        wanted = model.eval()((pixels - 0.5) / 0.5)
    torch.testing.assert_close(data.parts["task_test"].inputs, wanted, rtol=1e-3, atol=1e-4)
    record = obtain(head, runs)
    assert record.body["data_sha256"] == head.data_sha256
    wrong = head.model_copy(update={"data_sha256": {"toyfaces camera": "0" * 64}})
    with pytest.raises(RunError, match="are not those that the run declares"):
        obtain(wrong, runs)


def test_every_seed_starts_from_one_backbone(profile: Profile) -> None:
    first, second = (plans.training(profile, seed) for seed in (0, 1))
    assert first.backbone == second.backbone
    assert first.backbone is not None
    assert first.backbone.seed == profile.faces.backbone.seed
    other = load_profile("smoke", TINY | {"faces.backbone": {"seed": 5}})
    assert plans.training(other, 0).identity != first.identity


def test_what_starts_from_scratch_says_nothing_of_a_backbone() -> None:
    config = plans.training(load_profile("smoke"), 0)
    assert "backbone" not in config.describe()
    assert config.backbone is None


def test_a_backbone_goes_with_its_initialisation_alone(profile: Profile) -> None:
    config = plans.training(profile, 0)
    plain = config.model_dump()
    with pytest.raises(ValueError, match="initialisation 'scratch' has no backbone"):
        FaceTraining.model_validate(plain | {"initialisation": "scratch"})
    with pytest.raises(ValueError, match="initialisation 'fairface' needs a backbone"):
        FaceTraining.model_validate(plain | {"backbone": None})


def test_other_images_than_declared_are_refused(
    profile: Profile,
    photographs: tuple[ImageSet, pd.DataFrame],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images, labels = photographs
    monkeypatch.setattr(backbone.fairface, "records", lambda edition: labels)
    changed = ImageSet(
        images.name,
        images.images,
        images.attributes,
        images.part,
        sha256={"fairface.zip": "0" * 64},
    )
    monkeypatch.setattr(backbone.fairface, "load", lambda size, edition: changed)
    config = Backbone(
        seed=0,
        data_sha256={"fairface.zip": "1" * 64},
        architecture="resnet18",
        width=8,
        settings=BackboneSettings(steps=1),
    )
    with pytest.raises(RunError, match="are not those that the run declares"):
        obtain(config, Runs(tmp_path))
