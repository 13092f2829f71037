"""Plans of AIM-Fair's tables on its synthetic data (Tables 5 to 7)."""

from __future__ import annotations

import pytest

from repro.chapters.aim import bias_ratio, plans, prompt_diversity, synthetic
from repro.chapters.aim import plans as aim_plans
from repro.chapters.aim.configs import FaceTraining, FaceTuning
from repro.settings import SyntheticFaces
from repro.study.profiles import Profile, load_profile


@pytest.fixture(scope="module")
def quick() -> Profile:
    drawn = {
        **{"source": "generator", "generator": "toyfaces", "total": 2000, "pool": 1050},
        **{"prompts": "contextual with head poses", "prompts_per_group": 50},
    }
    return load_profile("quick", {"faces.synthetic": drawn, "faces.prompt_total": 1000})


def synthetic_of(config: object) -> SyntheticFaces:
    assert isinstance(config, FaceTraining | FaceTuning)
    assert config.synthetic is not None
    return config.synthetic


def test_every_set_of_prompts_gives_as_many_images(quick: Profile) -> None:
    plan = prompt_diversity.prompt_diversity(quick, [0, 1])
    assert list(plan) == [
        *("plain", "contextual, 25", "contextual, 50", "contextual with head poses, 50"),
    ]
    assert quick.faces.prompt_total is not None
    for key, configs in plan.items():
        assert [config.seed for config in configs] == [0, 1]
        for config in configs:
            asked = synthetic_of(config)
            assert isinstance(config, FaceTraining)
            assert config.strategy == "synthetic only"
            assert asked.total == quick.faces.prompt_total
            assert 4 * asked.pool >= asked.total
            assert key.startswith(str(asked.prompts))
    plain = synthetic_of(plan["plain"][0])
    assert (plain.prompts, plain.prompts_per_group) == ("plain", 1)


def test_every_seed_has_prompts_and_images_of_its_own(quick: Profile) -> None:
    sets = [prompt_diversity.prompt_sets(quick, seed) for seed in (0, 1, 9)]
    for key in sets[0]:
        drawn = [of_seed[key] for of_seed in sets]
        data = quick.faces.data
        # The digest of a pool holds its prompts and the seed of its images.
        assert len({synthetic.request_digest(data, asked) for asked in drawn}) == len(drawn)
        written = [
            {text for texts in synthetic.bank_of(data, asked).prompts.values() for text in texts}
            for asked in drawn
        ]
        if key != "plain":  # of which there is one
            assert written[0] != written[1] != written[2]
    assert quick.faces.synthetic is not None
    assert quick.faces.synthetic.seed not in {s.seed for each in sets for s in each.values()}


def test_given_lists_serve_the_sets_of_their_own_kind(quick: Profile) -> None:
    assert quick.faces.synthetic is not None
    given = quick.faces.synthetic.model_copy(update={"prompts_file": "somewhere"})
    faces = quick.faces.model_copy(update={"synthetic": given})
    sets = prompt_diversity.prompt_sets(quick.model_copy(update={"faces": faces}), 0)
    assert {key for key, asked in sets.items() if asked.prompts_file} == {
        "contextual with head poses, 50"
    }


def test_images_of_the_renderer_come_from_no_prompts(quick: Profile) -> None:
    studio = SyntheticFaces(total=200, pool=200)
    faces = quick.faces.model_copy(update={"synthetic": studio})
    assert prompt_diversity.prompt_diversity(quick.model_copy(update={"faces": faces}), [0]) == {}


def test_ratios_differ_in_the_mask_alone(quick: Profile) -> None:
    plan = bias_ratio.s1_bias(quick, [3])
    assert list(plan) == ["erm", "4:6", "3:7", "2:8", "1:9"]
    tuned = [run for key in plan if key != "erm" for run in plan[key]]
    measured = [run.sensitivity for run in tuned if isinstance(run, FaceTuning)]
    assert [round(m.synthetic.bias_ratio, 6) for m in measured if m is not None] == [
        *(round(4 / 6, 6), round(3 / 7, 6), 0.25, round(1 / 9, 6)),
    ]
    assert len({synthetic_of(run).model_dump_json() for run in tuned}) == 1
    assert plan["1:9"] == aim_plans.strategies(quick, [3])["mask"]
    masks = bias_ratio.s1_masks(quick, [3])
    assert [runs[0] for runs in masks.values()] == measured


def test_readers_are_trained_on_balanced_real_images_of_either_attribute(quick: Profile) -> None:
    plan = plans.readers(quick, [5, 6])
    (target,), (protected,) = plan["target"], plan["protected"]
    assert isinstance(target, FaceTraining)
    assert isinstance(protected, FaceTraining)
    assert (target.data.target, target.data.protected) == ("Smiling", "Male")
    assert (protected.data.target, protected.data.protected) == ("Male", "Smiling")
    assert target.strategy == protected.strategy == "balanced real"
    assert target.seed == protected.seed == 5
    # The first is one of the three properties of chapter 20.
    assert target == aim_plans.properties(quick, [5])["balanced real"][0]
