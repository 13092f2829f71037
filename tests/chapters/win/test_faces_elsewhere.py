"""Figure 4 on LFW+a: its own images and task, the paper's numbers, its own checks and control."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from tests.chapters.conftest import view_of
from tests.chapters.win.conftest import settings_of
from tests.conftest import MakeRecord

from repro.chapters.win import faces_elsewhere
from repro.chapters.win.face_configs import FaceHead
from repro.study.profiles import Profile, load_profile
from repro.study.records import Results
from repro.study.runs import Record

LFWA = "LFW+a Male | Heavy_Makeup"


def at(key: str) -> str:
    return f"{LFWA}, {key}"


def test_heads_learn_the_other_task_on_the_other_images(desk: Profile) -> None:
    plan = faces_elsewhere.elsewhere(desk, [3])
    assert list(plan)[:2] == [at("pre-trained"), at("tl")]
    assert {at("win, rank 1"), at("svd, rank 1"), at("tl eo 3")} <= plan.keys()
    (base,) = plan[at("pre-trained")]
    assert isinstance(base, FaceHead)
    assert (base.images.name, base.target, base.protected) == ("lfwa", "Male", "Heavy_Makeup")
    assert base.seed == 3
    # The backbone is that of the profile's own task: it knows neither set of faces.
    own = faces_elsewhere.strategies(desk, [3])["pre-trained"][0]
    assert isinstance(own, FaceHead)
    assert own.images.name == "celeba"
    assert own.backbone == base.backbone


def test_a_task_that_is_the_profiles_own_is_not_run_twice(toy: Profile) -> None:
    given = {
        "faces.data.name": "lfwa",
        "win.faces.target": "Male",
        "win.faces.protected": "Heavy_Makeup",
    }
    assert faces_elsewhere.elsewhere(load_profile("desk", given), [0]) == {}
    assert faces_elsewhere.elsewhere(toy, [0]) == {}  # it names none
    assert faces_elsewhere.elsewhere(load_profile("desk", {"win.faces": None}), [0]) == {}


def test_the_papers_numbers_for_lfw_a(desk: Profile) -> None:
    (claim,) = faces_elsewhere.CLAIMS
    against_tl, against_svd = claim.contrasts(desk)
    # Read off Figure 4: EO of TL .287, of f+SVD .275, of WIN .256.
    assert against_tl.reported == pytest.approx(0.256 - 0.287)
    assert against_svd.reported == pytest.approx(0.256 - 0.275)
    assert against_tl.margin == pytest.approx((0.287 - 0.256) / 2)
    assert (against_tl.first, against_tl.second) == (at("win, rank 1"), at("tl"))
    assert f"({LFWA})" in claim.statement(desk)
    assert not claim.contrasts(load_profile("quick"))
    assert claim.control(load_profile("quick")) is None


def test_its_own_tl_must_be_unfair_and_a_constraint_must_show(
    desk: Profile, made_up: MakeRecord
) -> None:
    (claim,) = faces_elsewhere.CLAIMS
    check = claim.contrasts(desk)[0].check
    assert check is not None
    # Half of TL's .287; a gap of k of 1,000 people in one group is k / 1,000.
    for gap, passes in ((143, False), (144, True)):
        assert check.passes({at("tl"): [made_up(0, (0, 0, 0, gap))]})[0] is passes
    control = claim.control(desk)
    assert control is not None
    assert set(control.keys) == {at("tl eo 3"), at("tl")}

    def found(gap: int) -> Results:
        def seeds(one: int) -> list[Record]:
            return [made_up(s, (100, 100 + one + s % 2, 900, 900)) for s in range(5)]

        return {at("tl"): seeds(300), at("tl eo 3"): seeds(gap)}

    assert control.passes(found(20))[0]
    assert not control.passes(found(299))[0]


def test_it_is_shown_beside_the_papers_numbers(desk: Profile, made_up: MakeRecord) -> None:
    gaps = {("tl", None): 300, ("svd", 1): 280, ("win", 1): 250}
    keys = {("tl", None): "tl", ("svd", 1): "svd, rank 1", ("win", 1): "win, rank 1"}
    results = {
        at(keys[how]): [made_up(s, (100, 100, 900, 900 - gap - s), **settings_of(*how))
                        for s in range(3)]
        for how, gap in gaps.items()
    }  # fmt: skip
    label = f"{desk.data_label('win-faces')}, recorded under profile desk"
    view = replace(view_of(results, "desk", "win-faces"), label=label)
    (own,) = faces_elsewhere.views(view)
    assert own.label.startswith("LFW+a, Male | Heavy_Makeup, 64x64, frozen features, recorded")
    assert list(own.results) == list(keys.values())
    tables = [part for part in faces_elsewhere.figure_4(view) if isinstance(part, pd.DataFrame)]
    (told,) = [table for table in tables if "ΔEO (sum), paper" in table]
    assert told.set_index("setting").loc["WIN, rank 1", "ΔEO (sum), paper"] == "25.60"
    assert faces_elsewhere.figure_4(replace(view, results={})) == []
