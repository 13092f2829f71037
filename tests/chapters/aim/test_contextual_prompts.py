"""Chapter 21: prompts by the grammar, refusals, and variety of sets whose variety is known."""

from __future__ import annotations

import pytest

from repro.aimfair.prompt_form import Group, Task
from repro.chapters.aim import contextual_prompts
from repro.data.splits import GROUPS
from repro.study.profiles import load_profile
from repro.study.session import Study

TASK = Task("Smiling", "Male")
POSED = "contextual with head poses"


@pytest.fixture(scope="module")
def study() -> Study:
    return Study(load_profile("quick"), paper="aim-fair")


def test_what_is_refused_has_a_reason_and_the_right_prompt_has_none() -> None:
    table = contextual_prompts.refusals(TASK).set_index("prompt")["refused because"]
    assert len(table) == 6
    assert table.iloc[0] == "(accepted)"
    assert (table.iloc[1:] != "(accepted)").all()


def test_every_set_of_prompts_is_written_for_every_group(study: Study) -> None:
    for kind in contextual_prompts.KINDS:
        prompts = contextual_prompts.written(study, TASK, kind, 10)
        assert set(prompts) == set(GROUPS)
        assert all(len(texts) == (1 if kind == "plain" else 10) for texts in prompts.values())


def test_a_vocabulary_without_head_poses_writes_none(study: Study) -> None:
    assert contextual_prompts.written(study, TASK, POSED, 10, vocabulary="faces") == {}


def test_a_plain_prompt_has_no_variety_and_contextual_ones_have(study: Study) -> None:
    table = contextual_prompts.diversity_table(study, TASK).set_index("set")
    assert len(table) == 6
    distance = table["jaccard distance"].astype(float)
    assert distance["plain"] == 0
    assert (distance.drop("plain") > 0.5).all()


def test_examples_are_the_first_of_each_kind(study: Study) -> None:
    first, *lines = contextual_prompts.examples(study, TASK)
    assert first.startswith("Group (1,1), the first five of fifty")
    starts = [at for at, line in enumerate(lines) if line.startswith("*")]
    assert [lines[at] for at in starts] == [f"*{kind}*" for kind in contextual_prompts.KINDS]
    assert [end - at - 1 for at, end in zip(starts, [*starts[1:], len(lines)], strict=True)] == [
        *(1 if kind == "plain" else 5 for kind in contextual_prompts.KINDS)
    ]
    prompts = [line for line in lines if line.startswith("- ")]
    assert all(prompt.startswith("- Portrait face photo of a smiling male") for prompt in prompts)
    assert len(set(prompts)) == len(prompts)


def test_what_a_vocabulary_cannot_give_is_said() -> None:
    drawn = {"faces.synthetic.generator": "faces", "faces.synthetic.prompts": "contextual"}
    photographs = Study(load_profile("quick", drawn), paper="aim-fair")
    lines = contextual_prompts.examples(photographs, TASK)
    after = lines[lines.index(f"*{POSED}*") + 1]
    assert after == "- not possible with this generator's vocabulary: it knows no head poses"
    assert (
        not contextual_prompts.diversity_table(photographs, TASK)["set"].str.contains("pose").any()
    )
    (axes,) = contextual_prompts.diversity_figure(photographs, TASK).axes
    assert [line.get_label() for line in axes.lines] == ["contextual"]


def test_distances_are_means_over_pairs_and_then_over_groups(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In two groups all prompts are one, in one they share no word, in one two of three are one."""
    words = {
        (0, 0): ("freckles", "freckles", "freckles"),
        (0, 1): ("freckles", "earrings", "dimples"),
        (1, 0): ("freckles", "freckles", "dimples"),
        (1, 1): ("dimples", "dimples", "dimples"),
    }

    def written(*_: object) -> dict[Group, list[str]]:
        return {
            group: [f"Portrait face photo of a smiling male with {word}." for word in some]
            for group, some in words.items()
        }

    monkeypatch.setattr(contextual_prompts, "written", written)
    expected = (0 + 1 + 2 / 3 + 0) / 4
    table = contextual_prompts.diversity_table(study, TASK)
    assert set(table["jaccard distance"]) == {f"{expected:.3g}"}
    assert set(table["prompts"]) == {"3"}
    assert set(table["distinct-1"]) == {f"{(1 / 3 + 1 + 2 / 3 + 1 / 3) / 4:.3g}"}
    (axes,) = contextual_prompts.diversity_figure(study, TASK).axes
    assert [line.get_label() for line in axes.lines] == ["contextual", POSED]
    for line in axes.lines:
        assert list(line.get_xdata()) == [10, 25, 50, 100, 200]
        assert list(line.get_ydata()) == pytest.approx([expected] * 5)


def test_what_is_quoted_is_shown_as_it_is() -> None:
    assert contextual_prompts.quoted("a\n```b```") == "````text\na\n```b```\n````"
