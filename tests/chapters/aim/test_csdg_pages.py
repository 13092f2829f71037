"""What the chapters on prompts and synthetic faces show."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from repro.aimfair.prompt_form import Task
from repro.chapters.aim import contextual_prompts as prompt_pages
from repro.chapters.aim import synthetic_faces as synthetic_pages
from repro.data.images import ImageSet
from repro.settings import FaceData
from repro.study.profiles import load_profile
from repro.study.session import Study

TASK = Task("Smiling", "Male")


@pytest.fixture(scope="module")
def study() -> Study:
    return Study(load_profile("quick"), paper="aim-fair")


def test_what_is_refused_has_a_reason_and_the_right_prompt_has_none() -> None:
    table = prompt_pages.refusals(TASK).set_index("prompt")["refused because"]
    assert len(table) == 6
    assert table.iloc[0] == "(accepted)"
    assert (table.iloc[1:] != "(accepted)").all()


def test_every_set_of_prompts_is_written_for_every_group(study: Study) -> None:
    for kind in prompt_pages.KINDS:
        prompts = prompt_pages.written(study, TASK, kind, 10)
        assert set(prompts) == set(prompt_pages.GROUPS)
        assert all(len(texts) == (1 if kind == "plain" else 10) for texts in prompts.values())


def test_a_vocabulary_without_head_poses_writes_none(study: Study) -> None:
    kind = "contextual with head poses"
    assert prompt_pages.written(study, TASK, kind, 10, vocabulary="faces") == {}


def test_a_plain_prompt_has_no_variety_and_contextual_ones_have(study: Study) -> None:
    table = prompt_pages.diversity_table(study, TASK).set_index("set")
    assert len(table) == 6
    distance = table["jaccard distance"].astype(float)
    assert distance["plain"] == 0
    assert (distance.drop("plain") > 0.5).all()


def images(n: int = 8) -> ImageSet:
    labels = pd.DataFrame(
        {"Smiling": np.arange(n) % 2, "Male": np.arange(n) // 2 % 2}, dtype=np.int8
    )
    labels.index = pd.Index([f"{i:03d}" for i in range(n)])
    pixels = torch.arange(n, dtype=torch.uint8).reshape(n, 1, 1, 1).expand(n, 3, 16, 16)
    return ImageSet("test", pixels.contiguous(), labels, np.full(n, "train"))


def test_images_are_grouped_by_what_was_asked() -> None:
    data = FaceData(name="toyfaces", size=16)
    groups = synthetic_pages.by_group(images(), data)
    assert {name: own[:, 0, 0, 0].tolist() for name, own in groups.items()} == {
        "(0,0)": [0, 4],
        "(0,1)": [2, 6],
        "(1,0)": [1, 5],
        "(1,1)": [3, 7],
    }


def test_distance_of_random_pairs() -> None:
    points = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    assert synthetic_pages._distance(points) == pytest.approx(5.0)
    assert np.isnan(synthetic_pages._distance(points[:1]))
