"""Substitutions are the differences of a profile from the papers, said in words."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from repro.chapters import substitutions as words
from repro.chapters.substitutions import ENTRIES, PARTS, substitutions
from repro.settings import TOY, Strict
from repro.study.profiles import Profile, load_profile

SWEEP = "which of these are run: the contrasts of a claim name them"
SILENT = "the paper gives none, which the claims of WIN say"
OURS = "of an experiment of this study that no paper has"
NO_RUN = "no run depends on it"
#: Fields of which a difference is no substitution, and why; a dot at the end: all below it.
IRRELEVANT = {
    **dict.fromkeys(("name", "description", "seeds_per_job"), NO_RUN),
    **dict.fromkeys(("faces.seeds_per_job", "win.faces.seeds_per_job"), NO_RUN),
    **dict.fromkeys(("seeds", "faces.seeds", "win.faces.seeds"), "compared by their number"),
    **{f"faces.data.{name}": "of the toy faces alone, which are named" for name in TOY},
    **dict.fromkeys(("data.records", "data.bias"), "of toycensus alone, which is named"),
    **dict.fromkeys(("faces.synthetic.seed", "win.faces.backbone_seed"), "which, not how many"),
    **dict.fromkeys(("numbers", "faces.numbers"), "records say what was used"),
    "part_of": "its settings are the whole's",
    "faces.backbone.": "the initialisation says that it learnt from FairFace",
    "faces.weights_file": "the initialisation says that it is a file",
    **{f"faces.{n}.precision": "records say what was used" for n in ("pretrain", "finetune")},
    **{
        f"faces.{n}": SWEEP
        for n in (
            "experiments",
            "seeds_left_out",
            "strategies",
            "controls",
            "also_from",
            "ks",
            "blocks",
            "fractions",
        )
    },
    **{
        f"faces.{n}": SWEEP
        for n in ("also_tasks.", "prompt_sets.", "amounts", "s1_ratios", "random_draws")
    },
    **{f"win.{n}": SWEEP for n in ("constraints", "intensities", "architectures", "ranks")},
    **{f"win.{n}": SWEEP for n in ("weights", "faces.architectures", "faces.ranks")},
    "win.faces.also_tasks.": SWEEP,
    **{f"win.{n}": SILENT for n in ("pretrain.", "finetune.", "importance_floor")},
    **{f"win.faces.{n}": SILENT for n in ("pretrain.", "finetune.", "importance_floor")},
    **dict.fromkeys(("win.other_budget.", "win.permutations"), OURS),
    **dict.fromkeys(("win.faces.label_ranks", "win.faces.control_rank"), OURS),
    **dict.fromkeys(("win.faces.control_intensities", "win.faces.stacked_target"), OURS),
    **dict.fromkeys(("faces.wider_gap", "faces.fainter_smile", "faces.gradient_draws"), OURS),
    "datasets": "parameter dataset sets them, and what it set is compared",
    "generators.": "the synthetic images name the generator that draws them",
}

COPY = (
    "of CelebA a copy of 46,715 of the 202,599 images: most of the training images are others "
    "than the authors', by the same rule"
)
GRAMMAR = "prompts written by a grammar, not by GPT-4"
TOYS = "toy faces (simulated), Smiling | Male, not CelebA"
WIN_TOYS = (
    "toy faces (simulated), Smiling | Male, not CelebA's WavyHair | Male or LFW+a's gender | "
    "HeavyMakeup"
)
ONE_TO_THREE = (
    "groups (0,0) and (1,1) are 0.33 times as large as the others in every part, not as the data "
    "are"
)
#: Written by hand from profiles/*.yaml and METHODS of the papers.
EXPECTED: dict[tuple[str, Any], list[str]] = {
    ("paper", "aim-fair"): [GRAMMAR],
    ("paper", "win"): [],
    ("paper", "win-faces"): [],
    ("desk", "win"): [],
    ("desk", "aim-fair"): [
        COPY,
        "images at 64x64, not 224x224",
        "network: width 16 (not 64), initialisation scratch (not imagenet)",
        "training: rate 0.05 (not 0.01), epochs 10 (not 15), milestones 7 (not 10), crops of 70 % "
        "of the frame and more (not 8 %)",
        "synthetic images by generator 'faces_ages', not by Stable Diffusion v2.1-base",
        "drawn with 12 steps (not 50), scheduler as shipped (not DDIM), guidance 3 (not 9), "
        "64 pixels a side (not 512)",
        GRAMMAR,
        "prompts: contextual (not contextual with head poses)",
        "a pool of 1,800 synthetic images a group, not 10,500",
        "4,000 synthetic images in a set, not 20,000",
        "4,000 images of each set of prompts, not 20,000",
        "fine-tuning: rate 0.05 (not 0.06), crops of 70 % of the frame and more (not 8 %)",
        "5 seeds, not 10",
    ],
    ("desk", "win-faces"): [
        COPY,
        "images at 64x64, not 224x224",
        "features of a classifier of FairFace's labels of age, gender and ancestry",
    ],
    ("toy", "win"): ["toycensus (simulated), not UCI Adult"],
    ("toy", "aim-fair"): [
        TOYS,
        "images at 32x32, not 224x224",
        "network: width 16 (not 64), initialisation scratch (not imagenet)",
        "1,400 training images, not 20,000 of CelebA",
        "training: rate 0.05 (not 0.01), epochs 16 (not 15), milestones 12 (not 10), batches of "
        "64 (not 128), crops of 100 % of the frame and more (not 8 %)",
        "synthetic images by generator 'toyfaces', not by Stable Diffusion v2.1-base",
        "drawn with 12 steps (not 50), scheduler as shipped (not DDIM), guidance 3 (not 9), "
        "32 pixels a side (not 512)",
        GRAMMAR,
        "a pool of 1,050 synthetic images a group, not 10,500",
        "2,000 synthetic images in a set, not 20,000",
        "1,000 images of each set of prompts, not 20,000",
        "gradients of 16 batches of each set, not of all",
        "fine-tuning: rate 0.05 (not 0.06), epochs 3 (not 10), batches of 64 (not 128), crops of "
        "100 % of the frame and more (not 8 %)",
    ],
    ("toy", "win-faces"): [
        WIN_TOYS,
        "images at 32x32, not 224x224",
        "network: width 16 (not 64), initialisation scratch (not imagenet)",
        ONE_TO_THREE,
    ],
    ("smoke", "win"): ["toycensus (simulated), not UCI Adult", "2 seeds, not 10"],
    ("smoke", "aim-fair"): [
        TOYS,
        "images at 32x32, not 224x224",
        "network: width 8 (not 64), initialisation scratch (not imagenet)",
        "240 training images, not 20,000 of CelebA",
        "training: rate 0.02 (not 0.01), epochs 1 (not 15), milestones none (not 10), batches of "
        "64 (not 128)",
        "synthetic images by generator 'toyfaces', not by Stable Diffusion v2.1-base",
        "drawn with 2 steps (not 50), scheduler as shipped (not DDIM), guidance 3 (not 9), "
        "32 pixels a side (not 512)",
        GRAMMAR,
        "a pool of 130 synthetic images a group, not 10,500",
        "240 synthetic images in a set, not 20,000",
        "80 images of each set of prompts, not 20,000",
        "gradients of 2 batches of each set, not of all",
        # Both rates are constant: a milestone at the last epoch changes nothing.
        "fine-tuning: rate 0.02 (not 0.06), epochs 1 (not 10), batches of 64 (not 128)",
        "2 seeds, not 10",
    ],
    ("smoke", "win-faces"): [
        WIN_TOYS,
        "images at 32x32, not 224x224",
        "network: width 8 (not 64), initialisation scratch (not imagenet)",
        ONE_TO_THREE,
        "2 seeds, not 10",
    ],
}


@pytest.mark.parametrize(("profile", "paper"), EXPECTED)
def test_every_profile_prints_what_it_differs_in(profile: str, paper: Any) -> None:
    assert list(substitutions(load_profile(profile), paper)) == EXPECTED[profile, paper]


def said(paper: Any = "aim-fair", **changed: Any) -> tuple[str, ...]:
    overrides = {name.replace("__", "."): value for name, value in changed.items()}
    return substitutions(load_profile("paper", overrides), paper)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"faces__synthetic__writer": "gpt-4-0613"}, ()),
        ({"faces__synthetic__writer": "a-model"}, ("prompts written by a-model, not by GPT-4",)),
        ({"faces__k": 50}, (GRAMMAR, "k = 50, not 55")),
        ({"faces__synthetic__amount": 2.0}, (GRAMMAR, "2 times as many in the balanced set")),
        # Another mirror of the same weights is no other generator.
        ({"faces__synthetic__generator": "other/stable-diffusion-2-1-base"}, (GRAMMAR,)),
        (
            {"faces__data__target": "Young"},
            (
                "CelebA, Young | Male, another of the paper's tasks, not CelebA, Smiling | Male",
                GRAMMAR,
            ),
        ),
        (
            {"faces__data__target": "Attractive"},
            (
                "CelebA, Attractive | Male, none of the paper's tasks, not CelebA, Smiling | Male",
                GRAMMAR,
            ),
        ),
        ({"faces__pretrain__precision": "bfloat16"}, (GRAMMAR,)),  # records say what was used
        ({"faces__finetune__milestones": []}, (GRAMMAR,)),  # as ten of ten: never
    ],
)
def test_one_changed_setting(changed: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert said(**changed) == expected


def test_utkface_is_a_task_of_the_paper_with_sizes_of_its_own() -> None:
    changed = {"name": "utkface", "edition": "found", "size": 224, "total": 8464}
    task = {"target": "Female", "protected": "White"}
    assert said(faces__data={**changed, **task}) == (
        "UTKFace, Female | White, another of the paper's tasks, not CelebA, Smiling | Male",
        "8,464 training images, not 20,000 of CelebA",
        GRAMMAR,
    )


def test_the_prompts_of_that_task_have_no_pose() -> None:
    task = {"faces__data__target": "Female", "faces__data__protected": "White"}
    plain = said(**task, faces__synthetic__prompts="contextual")
    assert not [words for words in plain if words.startswith("prompts:")]
    posed = said(**task, faces__synthetic__prompts_per_group=51)
    assert "prompts: contextual with head poses (not contextual), 51 a group (not 50)" in posed


def test_the_renderer_has_no_prompts_and_no_steps() -> None:
    drawn = {"source": "studio", "total": 20_000, "pool": 10_500}
    assert said(faces__synthetic=drawn) == (
        "synthetic images by the renderer of the toy faces, not by Stable Diffusion v2.1-base",
    )


def test_what_is_not_drawn_is_not_compared() -> None:
    assert said(faces__synthetic=None) == ()


def test_win_says_what_its_classifier_sees() -> None:
    changed = {"data__include_protected": True, "win__hidden": 20, "data__missing": "drop"}
    assert said("win", **changed) == (
        "missing values: drop, not category",
        "the protected attribute is among the features",
        "hidden layers of width 20, not 10",
    )
    assert said("win-faces", win__faces__target="Smiling")[0] == (
        "CelebA, Smiling | Male, not CelebA's WavyHair | Male or LFW+a's gender | HeavyMakeup"
    )


def test_a_claim_prints_what_it_rests_on() -> None:
    desk = load_profile("desk")

    def has(touches: frozenset[str], *parts: str) -> list[bool]:
        found = " ".join(substitutions(desk, "aim-fair", touches))
        return [part in found for part in parts]

    every = ("64x64", "5 seeds", "training: rate", "generator", "grammar", "fine-tuning", "4,000 s")
    assert has(words.MASKED, *every) == [True] * 7
    assert has(words.ERM, *every) == [True, True, True, False, False, False, False]
    assert has(words.PROMPT_SETS, *every) == [True, True, True, True, True, False, False]
    assert "a pool of 1,800" in " ".join(substitutions(desk, "aim-fair", words.TUNED))
    toy = load_profile("toy")
    assert "gradients" in " ".join(substitutions(toy, "aim-fair", words.MASKED))
    assert "gradients" not in " ".join(substitutions(toy, "aim-fair", words.TUNED))
    with pytest.raises(ValueError, match=r"unknown parts \['promts'\] .*prompts"):
        substitutions(desk, "aim-fair", frozenset({"promts"}))


def _fields(model: type[Strict], at: str = "") -> list[str]:
    """Return the dotted name of every setting that a class can hold."""
    found = []
    for name, field in model.model_fields.items():
        options = (field.annotation, *get_args(field.annotation))
        inner = [o for o in options if isinstance(o, type) and issubclass(o, Strict)]
        found += _fields(inner[0], f"{at}{name}.") if inner else [at + name]
    return found


def test_every_setting_has_words_or_a_reason() -> None:
    said_of = {name for entries in ENTRIES.values() for e in entries for name in e.fields}
    fields = _fields(Profile)
    assert "faces.synthetic.steps" in fields
    assert "win.faces.finetune.learning_rates" in fields
    for name in fields:
        excused = [n for n in IRRELEVANT if name == n or (n.endswith(".") and name.startswith(n))]
        assert (name in said_of) != bool(excused), (
            f"setting {name} needs words in repro.chapters.substitutions, or a reason here"
        )
    assert all(any(f.startswith(name) for f in fields) for name in IRRELEVANT)


def test_every_part_is_one_that_something_touches() -> None:
    assert set().union(*(e.parts for entries in ENTRIES.values() for e in entries)) == PARTS


def test_features_of_fairface_are_said_and_the_width_that_learnt_them() -> None:
    changed = {"win.faces.backbone": "fairface", "win.faces.width": 32, "faces.width": 16}
    told = substitutions(load_profile("paper", changed), "win-faces")
    assert list(told) == [
        "network: width 32 (not 64)",
        "features of a classifier of FairFace's labels of age, gender and ancestry",
    ]
