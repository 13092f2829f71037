"""Chapter 25, continued: Table 3 in other tasks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from matplotlib.figure import Figure
from tests.conftest import MakeRecord

from repro.chapters.aim import other_tasks, plans
from repro.chapters.aim.contrasts import EO
from repro.settings import SettingsError
from repro.study import parameters
from repro.study.profiles import Profile, load_profile
from repro.study.session import View

YOUNG = {"name": "celeba", "target": "Smiling", "protected": "Young", "total": 10_000}


@pytest.fixture
def desk() -> Profile:
    return load_profile("desk", {"faces.also_tasks": [YOUNG]})  # in place of its own


def test_the_runs_are_those_of_a_profile_with_that_task(desk: Profile) -> None:
    own = {f"faces.data.{name}": value for name, value in YOUNG.items()}
    alone = plans.strategies(load_profile("desk", own), [400])
    (task,) = desk.faces.also_tasks
    every = load_profile("desk", {"faces.also_tasks": [YOUNG], "faces.experiments": None})
    planned = other_tasks.other_tasks(every, [400])
    assert planned == {f"CelebA Smiling | Young 1:9, {key}": runs for key, runs in alone.items()}
    assert next(iter(planned)) == other_tasks.task_key(task, "erm")
    assert other_tasks.other_tasks(load_profile("smoke"), [0]) == {}


def test_a_task_may_wait_while_others_are_run() -> None:
    two = [YOUNG, {**YOUNG, "target": "Young", "protected": "Male"}]
    given = {"faces.also_tasks": two, "faces.experiments": None}
    both = other_tasks.other_tasks(
        load_profile("desk", given | {"faces.seeds_left_out": {}}), [1, 2]
    )
    waits = {"other_tasks: CelebA Young | Male": [2], "other_tasks: CelebA Smiling": [1, 2]}
    fewer = other_tasks.other_tasks(
        load_profile("desk", given | {"faces.seeds_left_out": waits}), [1, 2]
    )
    assert fewer == {
        key: [config for config in configs if config.seed == 1]
        for key, configs in both.items()
        if "Young | Male" in key
    }
    assert fewer


def test_contrasts_have_the_numbers_of_their_task() -> None:
    (claim,) = other_tasks.CLAIMS
    paper = load_profile("paper")
    told = {c.first: c for c in claim.contrasts(paper)}
    assert {key: (c.reported, c.quantity) for key, c in told.items()} == {
        # Tables 3 and 1 of the paper: AIM-Fair's equalised odds against ERM's.
        "CelebA Smiling | Young 1:9, mask": (pytest.approx(0.0544 - 0.1737), EO),
        "CelebA Young | Male 1:9, mask": (pytest.approx(0.2818 - 0.5200), EO),
    }
    assert told["CelebA Young | Male 1:9, mask"].margin == pytest.approx(0.2382 / 2)
    assert "CelebA Young | Male 1:9" in claim.statement(paper)
    assert claim.contrasts(load_profile("toy")) == []


def test_each_task_has_its_own_substitutions() -> None:
    (claim,) = other_tasks.CLAIMS
    told = claim.substituted(load_profile("desk", {"faces.also_tasks": [YOUNG]}))
    assert "10,000 training images, not 20,000" in told
    two = [YOUNG, {**YOUNG, "target": "Young", "protected": "Male", "total": 14_000}]
    told = claim.substituted(load_profile("desk", {"faces.also_tasks": two}))
    assert "CelebA Smiling | Young 1:9: 10,000 training images, not 20,000" in told
    assert "CelebA Young | Male 1:9: 14,000 training images, not 20,000" in told
    assert len(set(told)) == len(told)


def test_tasks_are_different_and_those_of_the_profiles_data_set() -> None:
    with pytest.raises(SettingsError, match="a task may be named once"):
        load_profile("desk", {"faces.also_tasks": [YOUNG, {**YOUNG, "total": 50}]})
    own = load_profile("desk", {"faces.also_tasks": [YOUNG], "faces.data.protected": "Young"})
    assert own.faces.other_tasks == ()  # it is the profile's own now
    assert other_tasks.other_tasks(own, [400]) == {}
    elsewhere = parameters.check(
        {
            "profile": "desk",
            "dataset": "toyfaces",
            "__annotations__": {"profile": str, "dataset": str},
        },
        notebook="25_selective_finetuning",
        paper="aim-fair",
    )
    assert elsewhere.profile.faces.also_tasks == ()


def test_a_task_that_is_not_set_up_tests_nothing(desk: Profile, made_up: MakeRecord) -> None:
    ((check,),) = [[c.check for c in claim.contrasts(desk)] for claim in other_tasks.CLAIMS]
    assert check is not None
    erm, alone = check.keys[0], check.keys[1]
    assert (erm, alone) == tuple(
        other_tasks.task_key(desk.faces.also_tasks[0], key) for key in ("erm", "synthetic only")
    )
    # Of 1,000 people a group: half of the paper's 17.37 is 8.7; who guesses is right half the time.
    unfair, fair = (made_up(0, (100, 100, 900, gap)) for gap in (800, 900))
    guesses = made_up(0, (500, 500, 500, 500))
    assert check.passes({erm: [unfair], alone: [fair]})[0]
    assert not check.passes({erm: [fair], alone: [fair]})[0]
    assert not check.passes({erm: [unfair], alone: [guesses]})[0]


def test_each_task_is_shown_as_a_table_of_its_own(desk: Profile, made_up: MakeRecord) -> None:
    keys = ("erm", "synthetic only", "mask")
    (task,) = desk.faces.also_tasks
    records = {
        other_tasks.task_key(task, key): [
            made_up(s, (100, 100, 900, 800 + 20 * i + s), strategy=key) for s in range(3)
        ]
        for i, key in enumerate(keys)
    }
    view = View("CelebA, recorded under profile desk", records, "again", desk, "aim-fair")
    (own,) = other_tasks.task_views(view)
    assert list(own.results) == list(keys)
    assert own.label == "CelebA, Smiling | Young, 64x64, recorded under profile desk"
    assert own.profile.faces.data == task
    shown = other_tasks.in_each_task(view)
    assert isinstance(shown[0], Figure)
    assert other_tasks.in_each_task(replace(view, results={})) == []
