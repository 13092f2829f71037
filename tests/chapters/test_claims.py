"""Every claim of the study: its plan has what it compares, its notebook shows it."""

from __future__ import annotations

from typing import get_args

import pytest

from repro.study.claims import Claim
from repro.study.experiments import claims, everything, experiments
from repro.study.once import one_reading
from repro.study.profiles import Paper, load_profile, profile_names, project_root
from repro.study.records import look_up

each_profile = pytest.mark.parametrize("name", profile_names())
each_claim = pytest.mark.parametrize("claim", claims(), ids=lambda claim: claim.name)
#: What "desk" does not run, or runs one experiment of.
IN_PART = {("win-faces", "desk"), ("aim-fair", "desk")}
#: A peak takes a k on either side, which the smallest profile has not.
NOTHING_TO_COMPARE = {("top-k", "smoke")}


@each_profile
@each_claim
def test_the_plan_of_a_claim_has_what_its_contrasts_compare(claim: Claim, name: str) -> None:
    if (claim.paper, name) in IN_PART:
        return
    profile = load_profile(name)
    seeds = profile.seeds_of(claim.paper)[:2]
    contrasts = claim.contrasts(profile)
    plan = claim.plan(profile, seeds)
    control = claim.control(profile)
    checks = [*claim.checks(profile), *(c.check for c in contrasts if c.check is not None)]
    for check in (*checks, *([control] if control else [])):
        assert set(check.keys) <= check.plan(profile, seeds).keys()
    faces = profile.win.faces
    none = {
        "backbones": not (faces and faces.architectures),
        "win-faces-elsewhere": not (faces and faces.also_tasks),
        "sft-vs-erm-elsewhere": not profile.faces.other_tasks,
    }
    if (claim.name, name) in NOTHING_TO_COMPARE or none.get(claim.name, False):
        assert not contrasts
        return
    assert contrasts
    assert len({contrast.text for contrast in contrasts}) == len(contrasts)
    for contrast in contrasts + claim.beside(profile):
        for key in contrast.keys:
            assert [config.seed for config in plan[key]] == list(seeds)


@each_profile
def test_everything_holds_every_plan_and_every_upstream_run(name: str) -> None:
    profile = load_profile(name)
    seeds = {paper: profile.seeds_of(paper)[:2] for paper in get_args(Paper)}
    faces = profile.faces.model_copy(update={"seeds": seeds["aim-fair"]})
    own = profile.win.faces and profile.win.faces.model_copy(update={"seeds": seeds["win-faces"]})
    win = profile.win.model_copy(update={"faces": own})
    fewer = profile.model_copy(update={"seeds": seeds["win"], "faces": faces, "win": win})
    configs = [c for group in everything(fewer).values() for c in group]
    whole = {config.identity for config in configs}
    assert {up.identity for config in configs for up in config.upstream().values()} <= whole
    for claim in claims():
        for group in claim.plan(profile, seeds[claim.paper]).values():
            assert {config.identity for config in group} <= whole
    assert {config.seed for config in configs} == {seed for own in seeds.values() for seed in own}


def test_claims_differ() -> None:
    assert len({claim.name for claim in claims()}) == len(claims())
    for name in profile_names():
        profile = load_profile(name)
        assert len({(claim.where, claim.statement(profile)) for claim in claims()}) == len(claims())


@each_claim
def test_a_claim_names_the_notebook_that_shows_it(claim: Claim) -> None:
    quick = load_profile("quick")
    assert (project_root() / "notebooks" / f"{claim.notebook}.ipynb").is_file()
    if claim.notebook in experiments():  # else it only looks at what others ran
        paper, plans_of = experiments()[claim.notebook]
        assert paper == claim.paper
        run = [plan(quick, [0]) for plan in plans_of]
        there = {config.identity for plan in run for group in plan.values() for config in group}
        needed = claim.plan(quick, [0]).values()
        assert {config.identity for group in needed for config in group} <= there


@pytest.mark.parametrize("name", ["desk", "toy"])
def test_no_recorded_contrast_mixes_processors_within_a_seed(name: str) -> None:
    """What one rounds otherwise than another is as large as what is claimed (``benchmarks/``)."""
    profile, compared = load_profile(name), 0
    with one_reading():
        for claim in claims():
            results = look_up(claim.plan(profile, profile.seeds_of(claim.paper)))
            for contrast in claim.contrasts(profile) + claim.beside(profile):
                if results.keys() >= {*contrast.keys}:
                    of_seeds = zip(*(results[key] for key in contrast.keys), strict=True)
                    machines = [{record.machine for record in records} for records in of_seeds]
                    assert {len(found) for found in machines} == {1}, contrast.text
                    compared += 1
    assert compared > 50
