"""Chapter 48: heads on the features of biased and of fine-tuned classifiers."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from tests.chapters.conftest import view_of, without
from tests.conftest import Computed, MakeRecord
from torch import nn

from repro.chapters.aim.data import image_set
from repro.chapters.aim.stages import trained_model
from repro.chapters.win import both_methods
from repro.chapters.win.face_configs import FaceHead, FaceHeadTuning
from repro.chapters.win.face_data import head_data
from repro.data import augment
from repro.study.profiles import load_profile
from repro.study.stages import obtain


def test_the_head_reads_the_classifier_of_its_seed_and_strategy(computed: Computed) -> None:
    plan = both_methods.both(computed.profile, [1])
    (head,) = plan["mask, pre-trained"]
    assert isinstance(head, FaceHead)
    sft = computed.table_3["mask"][1]
    assert head.backbone.identity == sft.run
    data = head_data(head, computed.runs)
    # By a hook, on a few images of the test part: what reaches the last layer of that classifier.
    model, seen = trained_model(head.backbone, sft).eval(), []
    (last,) = [m for m in model.modules() if isinstance(m, nn.Linear)]
    last.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    images = image_set(head.images)
    at = [int(i) for i in images.attributes.index.get_indexer(data.names[:5])]
    with torch.no_grad():
        model(augment.plain(images.images[at], head.images.size))
    torch.testing.assert_close(data.parts["task_test"].inputs[:5], seen[0], rtol=1e-3, atol=1e-4)
    for wrong in ({"data_sha256": None}, {"backbone": plan["erm, pre-trained"][0].backbone}):
        with pytest.raises(ValueError, match="read other images, too, needs data_sha256"):
            FaceHead.model_validate(dict(head) | wrong)
    (tuned,) = plan["mask, win, rank 1"]
    assert isinstance(tuned, FaceHeadTuning)
    assert tuned.pretrained == head
    record = obtain(tuned, computed.runs)
    record.verify()
    assert record.body["upstream"]["pretrained"] == head.identity


def test_it_needs_faces_for_both_methods() -> None:
    assert list(both_methods.both(load_profile("smoke"), [0]))[::4] == [
        f"{name}, pre-trained" for name in both_methods.BELOW
    ]
    for off in ({"win.faces": None}, {"faces.strategies": ["erm", "mask"]}):
        assert both_methods.both(load_profile("smoke", off), [0]) == {}


def test_each_question_has_its_difference(made_up: MakeRecord) -> None:
    gaps = {"erm": 400, "fully fine-tuning": 300, "mask": 100}  # sums of odds of .4, .3, .1
    less = {"tl": 0, "svd, rank 1": 20, "win, rank 1": 50}
    found = {
        f"{name}, {key}": [made_up(s, (0, 0, 0, gap - minus + s)) for s in range(3)]
        for name, gap in gaps.items()
        for key, minus in less.items()
    }
    view = view_of(found)
    shown = both_methods.results(view)
    assert isinstance(shown[0], Figure)
    assert both_methods.SETTINGS["mask, win, rank 1"] == "SFT below, WIN"
    _, table, _ = both_methods.seed_by_seed(view)
    assert isinstance(table, pd.DataFrame)
    odds = [text.split(" ")[0] for text in table["ΔEO (sum)"]]
    assert odds == ["-30.00", "-10.00", "-5.00", "-5.00", "-35.00"]
    (said,) = both_methods.seed_by_seed(without(view, *found))
    assert "no head" in str(said)


def test_it_says_which_tasks_are_stacked() -> None:
    same = both_methods.tasks(load_profile("toy"))
    assert "0.11 times as large as the others; the heads learn Smiling | Male, small" in same
    assert same.endswith("That is the same task, on other images and with another bias.")
    another = both_methods.tasks(load_profile("paper"))
    assert another.endswith("the heads learn Wavy_Hair | Male, as the data are.")
    assert "does not run WIN" in both_methods.tasks(load_profile("smoke", {"win.faces": None}))


@pytest.mark.parametrize("question", both_methods.QUESTIONS, ids=lambda q: q[0])
def test_a_question_names_settings_of_the_plan(question: tuple[str, str, str]) -> None:
    plan = both_methods.both(load_profile("toy"), [20])
    assert {*question[1:]} <= plan.keys()
