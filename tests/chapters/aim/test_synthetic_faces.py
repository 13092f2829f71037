"""Chapter 22: what readers see in painted images, how these vary, and what stays empty."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tests.conftest import MakeRecord
from torch import Tensor, nn

from repro.chapters.aim import plans, synthetic, synthetic_faces
from repro.data.images import ImageSet
from repro.settings import FaceData
from repro.study.profiles import load_profile
from repro.study.session import Study
from repro.study.tables import Html

GROUPS = [(t, p) for t in (0, 1) for p in (0, 1)]


def image_set(images: Tensor, groups: list[tuple[int, int]]) -> ImageSet:
    labels = pd.DataFrame(groups, columns=["Smiling", "Male"], dtype=np.int8)
    labels.index = pd.Index([f"{i:03d}" for i in range(len(groups))])
    return ImageSet("test", images, labels, np.full(len(groups), "train"))


def painted(groups: list[tuple[int, int]]) -> Tensor:
    """Paint what is to be read: red for a target of 1, green for a protected attribute of 1."""
    images = torch.zeros(len(groups), 3, 16, 16, dtype=torch.uint8)
    for image, (t, p) in zip(images, groups, strict=True):
        image[0], image[1] = 255 * t, 255 * p
    return images


#: Of eight images, two a group, the last is read as (0,0) where (1,1) was asked.
ASKED = [group for group in GROUPS for _ in range(2)]
SEEN = [*ASKED[:7], (0, 0)]


@pytest.fixture
def drawn() -> synthetic_faces.Drawn:
    profile = load_profile("smoke")
    manifest = pd.DataFrame(ASKED, columns=["target", "protected"])
    manifest["name"] = [f"{i:03d}" for i in range(8)]
    manifest["prompt_index"] = [0, 1] * 4
    manifest["prompt"] = [f"prompt {i} of ({t},{p})" for i, (t, p) in enumerate(ASKED)]
    manifest["seed"] = range(70, 78)
    manifest["sha256"] = [f"{i:064x}" for i in range(8)]
    manifest["attempt"] = [0, 2, 0, 0, 0, 0, 0, 0]
    manifest["scheduler"] = "dpm++"
    data, asked = profile.faces.data, profile.faces.synthetic
    assert asked is not None
    pool = image_set(painted(SEEN), ASKED)
    # Rows of a manifest need not be in the order of the images.
    return synthetic_faces.Drawn(data, asked, {"contextual": pool}, manifest.iloc[::-1])


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch, made_up: MakeRecord) -> dict[str, Any]:
    def model(_: Any, which: str) -> nn.Module:
        """Reads one channel; its features are the means of all three."""
        head = nn.Linear(3, 1)
        with torch.no_grad():
            head.weight.copy_(torch.eye(3)[0 if which == "target" else 1])
            head.bias.zero_()
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)

    monkeypatch.setattr(synthetic_faces, "_model", model)
    return {
        "target": [made_up(0, (0, 0, 1000, 1000))],
        "protected": [made_up(0, (0, 0, 1000, 600))],
    }


@pytest.fixture
def study() -> Study:
    return Study(load_profile("smoke"), paper="aim-fair")


def test_readers_read_the_image_that_a_row_is_about(
    study: Study, drawn: synthetic_faces.Drawn, readers: dict[str, Any]
) -> None:
    found = synthetic_faces.alignment(study, drawn, readers)
    accuracies, where, _, confusion, _, agreement = synthetic_faces.read_as_asked(
        study, drawn, readers, found
    )
    assert accuracies["setting"].tolist() == ["reads Smiling", "reads Male"]
    assert accuracies["WST"].tolist() == ["100.00", "60.00"]
    assert isinstance(where, Html)
    assert confusion.to_numpy().tolist() == [
        ["(0,0)", "2", "0", "0", "0"],
        ["(0,1)", "0", "2", "0", "0"],
        ["(1,0)", "0", "0", "2", "0"],
        ["(1,1)", "1", "0", "0", "1"],
    ]
    assert agreement["both_agreement"].tolist() == ["100.0%", "100.0%", "100.0%", "50.0%"]


def test_prompts_are_drawn_at_their_agreement_and_the_worst_come_first(
    study: Study, drawn: synthetic_faces.Drawn, readers: dict[str, Any]
) -> None:
    figure, _, worst = synthetic_faces.by_prompt(synthetic_faces.alignment(study, drawn, readers))
    (axes,) = figure.axes
    points = [sorted(zip(*map(list, line.get_data()), strict=True)) for line in axes.lines]
    assert points == [[(100, 100)] * 2] * 3 + [[(0, 0), (100, 100)]]
    assert len(worst) == 5
    assert worst["prompt"].iloc[0] == "prompt 7 of (1,1)"
    assert worst["target_agreement"].iloc[0] == "0.0%"


def test_distances_are_of_pixels_and_of_the_features_of_the_reader(
    drawn: synthetic_faces.Drawn, readers: dict[str, Any]
) -> None:
    (table,) = synthetic_faces.variety(drawn, readers)
    (row,) = table.to_dict("records")
    assert row["prompts"] == "contextual"
    # The two of (1,1) differ by 255 in two of three channels; those of the others by nothing.
    assert row["(1,1) pixels"] == f"{255 * (2 / 3) ** 0.5:.1f}"
    # Networks read a channel from -1 to 1.
    assert row["(1,1) features"] == f"{(2**2 + 2**2) ** 0.5:.2f}"
    assert row["(0,1) pixels"] == "0.0"
    assert row["(0,1) features"] == "0.00"


def test_what_is_there_twice_stands_beside_what_was_drawn_again(
    drawn: synthetic_faces.Drawn,
) -> None:
    (table,) = synthetic_faces.thrown_away_and_twice(drawn)
    table = table.set_index("group")
    assert table["redrawn"].tolist() == ["1", "0", "0", "0"]
    assert table["blanks"].tolist() == ["2", "0", "0", "0"]
    assert table["pairs"].tolist() == ["1", "1", "1", "0"]
    assert table["rate"].tolist() == ["100.0000%"] * 3 + ["0.0000%"]


@pytest.mark.parametrize("listed", [["strategies"], ["pretraining", "properties"]])
def test_without_readers_the_page_says_so_and_shows_the_rest(
    drawn: synthetic_faces.Drawn, readers: dict[str, Any], listed: list[str]
) -> None:
    """Of ``properties`` one of the two readers is run all the same."""
    study = Study(load_profile("smoke", {"faces.experiments": listed}), paper="aim-fair")
    planned = plans.readers(study.profile, study.seeds)
    assert set(planned) == ({"target"} if "properties" in listed else set())
    some = {key: readers[key] for key in planned}
    found = synthetic_faces.alignment(study, drawn, some)
    assert found is None
    assert synthetic_faces.read_as_asked(study, drawn, some, found) == [
        "This profile does not list `readers` under `faces.experiments`."
    ]
    assert synthetic_faces.by_prompt(found) == []
    (table,) = synthetic_faces.variety(drawn, some)
    assert [name for name in table if name.endswith("pixels")] == [
        f"({t},{p}) pixels" for t, p in GROUPS
    ]
    assert any(name.endswith("features") for name in table) == ("properties" in listed)


def test_images_of_the_renderer_leave_the_page_empty_and_it_says_so() -> None:
    studio = {"source": "studio", "total": 80, "pool": 60}
    study = Study(load_profile("smoke", {"faces.synthetic": studio}), paper="aim-fair")
    (words,) = synthetic_faces.notice(study.profile)
    assert "come from the renderer, not from prompts" in words
    assert synthetic_faces.notice(load_profile("smoke")) == []
    assert synthetic_faces.drawn(study.profile, 0) == []


def test_a_pool_of_plain_prompts_stands_beside_the_profiles_own(
    monkeypatch: pytest.MonkeyPatch, drawn: synthetic_faces.Drawn
) -> None:
    pool = drawn.pool
    monkeypatch.setattr(synthetic, "pool", lambda _, asked: {"plain": "P"}.get(asked.prompts, pool))
    monkeypatch.setattr(synthetic, "manifest", lambda *_: drawn.manifest)
    (both,) = synthetic_faces.drawn(load_profile("smoke"), 0)
    assert both.sets == {"contextual": pool, "plain": "P"}
    assert both.pool is pool
    sets = {"faces.prompt_sets": [{"prompts": "contextual", "number": 25}]}
    (alone,) = synthetic_faces.drawn(load_profile("smoke", sets), 0)
    assert alone.sets == {"contextual": pool}


def test_the_page_shows_ten_faces_of_a_group_and_how_they_were_drawn(
    drawn: synthetic_faces.Drawn,
) -> None:
    many = image_set(painted(ASKED * 6), ASKED * 6)  # twelve a group
    sets = {"contextual": many, "plain": many}
    words, figure = synthetic_faces.look(
        synthetic_faces.Drawn(drawn.data, drawn.asked, sets, drawn.manifest)
    )
    assert words == (
        "Drawn by generator `toyfaces`: dpm++, 2 steps, guidance 3, from 50 prompts a group "
        "written by offline grammar (not an LLM); 130 images a group at 32x32."
    )
    assert len(figure.axes) == 8 * 10
    named = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert named == [f"{kind} ({t},{p})" for kind in ("contextual", "plain") for t, p in GROUPS]
    # Each row has the colour of its group.
    for row, (t, p) in enumerate(GROUPS * 2):
        (image,) = figure.axes[10 * row].get_images()
        assert np.asarray(image.get_array())[0, 0].tolist() == [255 * t, 255 * p, 0]


def test_one_image_of_each_group_is_followed_back(drawn: synthetic_faces.Drawn) -> None:
    (table,) = synthetic_faces.first_of_each_group(drawn)
    assert list(table.columns) == ["name", "prompt", "seed", "sha256"]
    first = [row for row in drawn.manifest.to_dict("records") if row["prompt_index"] == 1]
    assert table["seed"].tolist() == [str(row["seed"]) for row in first]
    assert set(table["sha256"]) == {"0" * 12}


def test_images_are_grouped_by_what_was_asked() -> None:
    pixels = torch.arange(8, dtype=torch.uint8).reshape(8, 1, 1, 1).expand(8, 3, 16, 16)
    images = image_set(pixels.contiguous(), [(i % 2, i // 2 % 2) for i in range(8)])
    groups = synthetic_faces.by_group(images, FaceData(name="toyfaces", size=16))
    assert {name: own[:, 0, 0, 0].tolist() for name, own in groups.items()} == {
        "(0,0)": [0, 4],
        "(0,1)": [2, 6],
        "(1,0)": [1, 5],
        "(1,1)": [3, 7],
    }


def test_distance_of_random_pairs() -> None:
    points = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    assert synthetic_faces._distance(points) == pytest.approx(5.0)
    assert np.isnan(synthetic_faces._distance(points[:1]))
