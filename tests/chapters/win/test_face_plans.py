"""Plans of WIN on faces have what its claims compare; claims carry the paper's numbers."""

from __future__ import annotations

import pytest
from tests.conftest import MakeRecord

from repro.chapters.aim import plans as aim_plans
from repro.chapters.win import face_plans as winface_plans
from repro.chapters.win import neutralising, rank_sweep, win_on_faces
from repro.chapters.win.contrasts import DP, EO, ERROR
from repro.chapters.win.face_configs import FaceHead, FaceHeadTuning
from repro.chapters.win.win_on_faces import CLAIMS, dataset_of
from repro.settings import SettingsError
from repro.study.claims import Claim, Contrast
from repro.study.profiles import Profile, load_profile, profile_names
from repro.study.rule import UNTESTED
from repro.study.verdicts import decide

each_profile = pytest.mark.parametrize("name", profile_names())
each_claim = pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)


@pytest.fixture(scope="module")
def quick() -> Profile:
    return load_profile("quick")


@each_profile
@each_claim
def test_the_plan_of_a_claim_has_what_its_contrasts_compare(claim: Claim, name: str) -> None:
    profile = load_profile(name)
    seeds = profile.seeds_of("win-faces")
    contrasts = claim.contrasts(profile) + claim.beside(profile)
    plan = claim.plan(profile, seeds)
    if profile.win.faces is None:
        assert plan == {}
        return
    assert contrasts or not profile.win.faces.architectures
    for contrast in contrasts:
        for key in contrast.keys:
            assert [config.seed for config in plan[key]] == list(seeds)
            assert {config.profile for config in plan[key]} == {name}
    for check in claim.checks(profile):
        assert set(check.keys) <= check.plan(profile, seeds).keys()


def test_only_the_paper_profile_has_other_backbones() -> None:
    paper = load_profile("paper")
    plan = win_on_faces.architectures(paper, [0])
    assert {key.split(",")[0] for key in plan} == {"resnet50", "densenet121"}
    base = plan["resnet50, pre-trained"][0]
    assert isinstance(base, FaceHead)
    assert (base.backbone.architecture, base.backbone.initialisation) == ("resnet50", "imagenet")
    (claim,) = [claim for claim in CLAIMS if claim.name == "backbones"]
    assert len(claim.contrasts(paper)) == 2
    assert "(resnet50, densenet121)" in claim.statement(paper)
    assert not claim.contrasts(load_profile("quick"))


def test_other_backbones_of_a_narrow_profile_have_their_own_width(quick: Profile) -> None:
    assert winface_plans.backbone(quick).width == 16
    assert winface_plans.backbone(quick, "densenet121").width == 64


def test_the_backbone_is_a_run_of_aim_fair_whatever_the_seeds(quick: Profile) -> None:
    shared = winface_plans.backbone(quick)
    assert shared == aim_plans.training(quick, quick.seeds_of("aim-fair")[0])
    plan = winface_plans.strategies(quick, [3, 4])
    for config in plan["pre-trained"]:
        assert isinstance(config, FaceHead)
        assert config.backbone == shared
    other = load_profile("quick", {"win.faces.backbone_seed": 7})
    assert winface_plans.backbone(other).seed == 7


def test_runs_that_mean_the_same_are_the_same(quick: Profile) -> None:
    plan = win_on_faces.with_controls(quick, [0])
    assert plan["target: win"] == plan["win, rank 1"]
    assert plan["target: factors"] == plan["svd, rank 2"]
    ranks = rank_sweep.ranks(quick, [0])
    assert plan["labels: factors"] == ranks["svd, rank 15"]
    assert plan["labels: win"] == ranks["win, rank 4"]
    tuned = {config.identity for key, group in plan.items() if ":" in key for config in group}
    assert len(tuned) == 2 * 11


def test_controls_change_one_thing_each(quick: Profile) -> None:
    plan = neutralising.controls(quick, [0])
    win = plan["labels: win"][0].model_dump()
    for key, field in (
        ("labels: win, pooled", "importance"),
        ("labels: win, shuffled", "importance"),
        ("labels: win, matched", "matched"),
    ):
        other = plan[key][0]
        assert isinstance(other, FaceHeadTuning)
        assert {name for name, v in other.model_dump().items() if v != win[name]} == {field}


def test_only_the_papers_own_task_stands_beside_its_numbers(quick: Profile) -> None:
    assert dataset_of(quick) is None
    (claim,) = [c for c in CLAIMS if c.name == "win-vs-tl-faces-rank-1"]
    (error,) = [c for c in CLAIMS if c.name == "win-error-faces-rank-1"]

    def contrasts(profile: Profile) -> list[Contrast]:
        of_figure = [*claim.contrasts(profile), *claim.beside(profile), *error.contrasts(profile)]
        return [c for c in of_figure if c.second == "tl"]

    assert {c.reported for c in contrasts(quick)} == {None}
    told = {c.quantity: c for c in contrasts(load_profile("paper"))}
    assert {metric: c.reported for metric, c in told.items()} == {
        ERROR: pytest.approx(0.177 - 0.193),
        DP: pytest.approx(0.182 - 0.248),
        EO: pytest.approx(0.229 - 0.345),
    }
    # Of another task the margins are the same: the paper's differences on its own.
    assert {c.quantity: c.margin for c in contrasts(quick)} == {
        m: c.margin for m, c in told.items()
    }
    assert told[EO].margin == pytest.approx((0.345 - 0.229) / 2)


def test_tl_must_be_unfair(quick: Profile, made_up: MakeRecord) -> None:
    (check,) = CLAIMS[0].checks(quick)
    # Half of TL's 0.345 on CelebA.
    for gap, passes in ((172, False), (173, True)):
        assert check.passes({"tl": [made_up(0, (0, 0, 0, gap))]})[0] == passes


def test_lfw_a_stands_beside_the_papers_numbers() -> None:
    task = {"win.faces.target": "Male", "win.faces.protected": "Heavy_Makeup"}
    lfwa = load_profile("paper", {"faces.data.name": "lfwa", "faces.data.total": 2000, **task})
    assert dataset_of(lfwa) == "lfwa"
    assert dataset_of(load_profile("paper", {"faces.data.name": "lfwa"})) is None
    assert lfwa.data_label("win-faces") == "LFW+a, Male | Heavy_Makeup, 224x224, frozen features"
    both = next(c for c in CLAIMS if c.name == "win-vs-svd-faces-rank-1")
    error = next(c for c in CLAIMS if c.name == "win-error-faces-rank-1")
    contrasts = [*both.contrasts(lfwa), *both.beside(lfwa), error.contrasts(lfwa)[1]]
    told = {c.quantity: c.reported for c in contrasts if c.reported is not None}
    assert told == {
        ERROR: pytest.approx(0.117 - 0.166),
        DP: pytest.approx(0.085 - 0.140),
        EO: pytest.approx(0.256 - 0.275),
    }


def test_no_rank_is_above_the_inputs_of_a_narrow_head() -> None:
    for width, full in ((8, 64), (64, 75)):
        small = {"faces.width": width, "faces.initialisation": "scratch", "faces.data.name": "lfwa"}
        plan = neutralising.controls(load_profile("smoke", small), [0])
        (factors,) = plan["labels: factors"]
        assert isinstance(factors, FaceHeadTuning)
        assert factors.rank == full


def test_a_profile_without_settings_runs_nothing_and_says_so() -> None:
    desk = load_profile("desk")
    assert desk.win.faces is None
    for plan in (win_on_faces.with_controls, rank_sweep.ranks, win_on_faces.architectures):
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


def test_a_rank_that_no_head_has_is_refused(quick: Profile) -> None:
    wide = load_profile("quick", {"win.faces.label_ranks": [1, 16]})
    with pytest.raises(SettingsError, match="ranks of the head with one logit a label run from 1"):
        rank_sweep.ranks(wide, [0])
    with pytest.raises(SettingsError, match=r"ranks.* less than or equal to 2"):
        load_profile("quick", {"win.faces.ranks": [3]})
