"""Chapter 33: every seed has prompts and images of its own, and what the page shows of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from tests.conftest import MakeRecord, drawn

from repro.aimfair.prompt_form import words
from repro.chapters.aim import prompt_diversity, synthetic
from repro.chapters.aim.configs import FaceTraining
from repro.chapters.aim.plans import with_faces
from repro.chapters.aim.prompt_diversity import PLAIN, POSED
from repro.settings import SyntheticFaces
from repro.study.configs import RunConfig
from repro.study.profiles import Profile, load_profile
from repro.study.records import Results
from repro.study.session import View

#: How many of 1000 in each group are read as smiling, one seed after the other.
READ = {
    PLAIN: [(0, 0, 0, 400), (0, 0, 0, 600)],
    "contextual, 25": [(0, 0, 400, 400), (0, 0, 600, 600)],
    "contextual, 50": [(100, 0, 600, 500), (100, 0, 600, 700)],
    POSED: [(0, 0, 1000, 900), (0, 0, 1000, 900)],
}


@pytest.fixture(scope="module")
def studio(toy: Profile) -> Profile:
    """Return a profile whose synthetic faces the renderer draws."""
    return with_faces(toy, synthetic=SyntheticFaces(total=200, pool=200))


@pytest.fixture
def view(made_up: MakeRecord, toy: Profile) -> View:
    results: Results = {
        key: [made_up(seed, positive) for seed, positive in enumerate(READ[key])]
        for key in reversed(READ)
    }
    return View("data", results, "again", toy, "aim-fair")


# Runs


def synthetic_of(config: RunConfig) -> SyntheticFaces:
    assert isinstance(config, FaceTraining)
    assert config.strategy == "synthetic only"
    assert config.synthetic is not None
    return config.synthetic


def test_every_set_of_prompts_gives_as_many_images() -> None:
    toy = load_profile("toy")
    plan = prompt_diversity.prompt_diversity(toy, [0, 1])
    assert list(plan) == list(READ)
    assert toy.faces.prompt_total is not None
    for key, configs in plan.items():
        assert [config.seed for config in configs] == [0, 1]
        for config in configs:
            asked = synthetic_of(config)
            assert asked.total == toy.faces.prompt_total
            assert 4 * asked.pool >= asked.total
            assert key.startswith(str(asked.prompts))
    plain = synthetic_of(plan[PLAIN][0])
    assert (plain.prompts, plain.prompts_per_group) == ("plain", 1)


def test_every_seed_has_prompts_and_images_of_its_own(toy: Profile) -> None:
    sets = [prompt_diversity.prompt_sets(toy, seed) for seed in (0, 1, 9)]
    for key in sets[0]:
        asked = [of_seed[key] for of_seed in sets]
        data = toy.faces.data
        # The digest of a pool holds its prompts and the seed of its images.
        assert len({synthetic.request_digest(data, one) for one in asked}) == len(asked)
        written = [
            {text for texts in synthetic.bank_of(data, one).prompts.values() for text in texts}
            for one in asked
        ]
        if key != PLAIN:  # of which there is one
            assert written[0] != written[1] != written[2]
    assert toy.faces.synthetic is not None
    assert toy.faces.synthetic.seed not in {s.seed for each in sets for s in each.values()}


def test_given_lists_serve_the_sets_of_their_own_kind(toy: Profile) -> None:
    assert toy.faces.synthetic is not None
    given = toy.faces.synthetic.model_copy(update={"prompts_file": "somewhere"})
    sets = prompt_diversity.prompt_sets(with_faces(toy, synthetic=given), 0)
    assert {key for key, asked in sets.items() if asked.prompts_file} == {POSED}


def test_images_of_the_renderer_come_from_no_prompts(studio: Profile) -> None:
    assert prompt_diversity.prompt_diversity(studio, [0]) == {}
    assert prompt_diversity.variety_of_sets(studio, 0) == [
        "The synthetic images of this profile do not come from prompts."
    ]


# The page


def unlike(texts: Sequence[str]) -> float:
    """Return by how much two prompts differ, of all words a share, mean over pairs; 0 for one."""
    told = [set(words(text)) for text in texts]
    return float(np.mean([1 - len(a & b) / len(a | b) for a, b in combinations(told, 2)] or [0]))


def test_the_variety_of_each_set_is_that_of_the_prompts_of_a_seed(toy: Profile) -> None:
    (table,) = prompt_diversity.variety_of_sets(toy, 1)
    assert table["prompts"].tolist() == list(READ)
    for key, shown in zip(table["prompts"], table["jaccard distance"], strict=True):
        asked = prompt_diversity.prompt_sets(toy, 1)[key]
        bank = synthetic.bank_of(toy.faces.data, asked)
        expected = np.mean([unlike(texts) for texts in bank.prompts.values()])
        assert float(shown) == pytest.approx(expected, abs=0.0051)
    assert table["jaccard distance"][0] == "0.00"  # there is one plain prompt


def test_sets_stand_in_the_order_of_the_profile_above_their_source(view: View) -> None:
    figure, table, source = prompt_diversity.beside_paper(view)
    assert [label.get_text() for label in drawn(figure).axes[0].get_xticklabels()] == list(READ)
    assert table["setting"].tolist() == list(READ)
    # All of t = 0 are read right, and of t = 1 those that are read as smiling.
    assert [cell.split()[0] for cell in table["ACC"]] == ["62.50", "75.00", "77.50", "97.50"]
    assert [cell.split()[0] for cell in table["EO (max)"]] == ["50.00", "0.00", "10.00", "10.00"]
    assert source is view
    assert not [name for name in table if "paper" in name]  # the faces are simulated


def test_of_photographs_the_paper_stands_beside(view: View) -> None:
    desk = View("data", view.results, "again", load_profile("desk"), "aim-fair")
    _, table, _ = prompt_diversity.beside_paper(desk)
    assert table["setting"].tolist() == list(READ)[:3]  # its generator draws no head pose
    assert table["ACC, paper"].tolist() == ["71.65", "81.85", "82.66"]
    assert table["EO (max), paper"].tolist() == ["34.20", "16.30", "5.07"]


def test_the_accuracies_of_groups_are_the_dots(view: View) -> None:
    (figure,) = prompt_diversity.group_accuracies(view)
    (axes,) = drawn(figure).axes
    dots = [[*line.get_ydata()] for line in axes.lines if line.get_marker() == "o"]
    expected = [
        [(1000 - seed[group] if group < 2 else seed[group]) / 10 for seed in seeds]
        for seeds in READ.values()
        for group in range(4)
    ]
    assert dots == [pytest.approx(values) for values in expected]


def test_each_set_is_compared_with_the_one_before_and_with_the_first(view: View) -> None:
    _, table = prompt_diversity.seed_by_seed(view)
    found = dict(zip(table["difference"], (cell.split()[0] for cell in table["ACC"]), strict=True))
    assert found == {
        f"contextual, 25 − {PLAIN}": "+12.50",
        "contextual, 50 − contextual, 25": "+2.50",
        f"{POSED} − contextual, 50": "+20.00",
        f"contextual, 50 − {PLAIN}": "+15.00",
        f"{POSED} − {PLAIN}": "+35.00",
    }


def test_without_runs_the_page_says_so(view: View) -> None:
    none = View("data", {}, "again", view.profile, "aim-fair")
    assert prompt_diversity.beside_paper(none) == [
        "**data**: nothing was run here: no images are drawn from prompts, or the profile lists "
        "other experiments (`faces.experiments`)."
    ]
    assert prompt_diversity.group_accuracies(none) == prompt_diversity.seed_by_seed(none) == []
