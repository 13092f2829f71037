"""Plans of WIN on faces share a backbone, and are empty where a profile does not run it."""

from __future__ import annotations

import pytest

from repro.chapters.aim import plans as aim_plans
from repro.chapters.aim.declared import declared_sha256
from repro.chapters.win import backbones, rank_sweep, win_on_faces
from repro.chapters.win import face_plans as winface_plans
from repro.chapters.win.face_configs import FaceHead
from repro.chapters.win.win_on_faces import CLAIMS
from repro.settings import SettingsError
from repro.study.profiles import Profile, load_profile
from repro.study.rule import UNTESTED
from repro.study.verdicts import decide


def test_other_backbones_of_a_narrow_profile_have_their_own_width(toy: Profile) -> None:
    assert winface_plans.backbone(toy).width == 16
    assert winface_plans.backbone(toy, "densenet121").width == 64
    wider = load_profile("toy", {"win.faces.width": 32})
    assert winface_plans.backbone(wider).width == 32
    assert winface_plans.backbone(wider, "densenet121").width == 64


def test_the_backbone_is_a_run_of_aim_fair_whatever_the_seeds(toy: Profile) -> None:
    shared = winface_plans.backbone(toy)
    assert shared == aim_plans.training(toy, toy.seeds_of("aim-fair")[0])
    plan = winface_plans.strategies(toy, [3, 4])
    for config in plan["pre-trained"]:
        assert isinstance(config, FaceHead)
        assert config.backbone == shared
    other = load_profile("quick", {"win.faces.backbone_seed": 7})
    assert winface_plans.backbone(other).seed == 7


def test_features_may_be_those_of_a_classifier_of_fairface(toy: Profile) -> None:
    profile = load_profile("toy", {"win.faces.backbone": "fairface"})
    learnt = winface_plans.backbone(profile)
    assert learnt == aim_plans.backbone(profile)
    (head,) = winface_plans.strategies(profile, [3])["pre-trained"]
    assert isinstance(head, FaceHead)
    assert head.backbone == learnt
    assert head.images == profile.faces.data
    assert head.data_sha256 == declared_sha256(profile.faces.data)
    wide = winface_plans.backbone(profile, "densenet121")
    assert (wide.architecture, wide.width) == ("densenet121", 64)
    # Of the others nothing is said, so that they are known as before.
    (plain,) = winface_plans.strategies(toy, [3])["pre-trained"]
    assert {"data", "data_sha256"} & plain.describe().keys() == set()
    assert {"data", "data_sha256"} <= head.describe().keys()
    given = {**dict(plain), "data": profile.faces.data}
    with pytest.raises(ValueError, match="data is not needed"):
        FaceHead.model_validate(given)
    with pytest.raises(ValueError, match="needs data, the images"):
        FaceHead.model_validate({**dict(head), "data": None})


def test_a_profile_without_settings_runs_nothing_and_says_so() -> None:
    desk = load_profile("desk", {"win.faces": None})
    for plan in (win_on_faces.with_controls, rank_sweep.ranks, backbones.architectures):
        assert plan(desk, [0]) == {}
    with pytest.raises(SettingsError, match="'desk' does not run WIN on faces"):
        winface_plans.pretrained(desk, 0)
    found = decide(CLAIMS[0], desk, {})
    assert (found.word, found.reason) == (
        *(UNTESTED, "not among the runs of profile 'desk': tl; win, rank 1"),
    )
    # A single setting turns it on.
    on = load_profile("desk", {"win.faces.target": "Wavy_Hair"})
    assert winface_plans.strategies(on, [0])
