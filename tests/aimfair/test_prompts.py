"""Prompts: their form, the checks that keep them in their group, and the offline writer."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from itertools import chain, combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repro.aimfair.mask import jaccard
from repro.aimfair.prompt_checks import SHARE, check_prompt, check_prompts
from repro.aimfair.prompt_form import (
    CONTEXTUAL,
    PLAIN,
    POSED,
    VARIED,
    Group,
    Task,
    put_together,
    take_apart,
    tidy,
    words,
)
from repro.aimfair.prompt_lexicon import VOCABULARIES
from repro.aimfair.prompt_words import claims, contradictions, facet_of
from repro.aimfair.prompt_writer import VocabularyError, write_offline
from repro.aimfair.prompts import instruction
from repro.data.captions import FACETS, PHRASES_OF, Phrase
from repro.data.splits import GROUPS
from repro.names import UnknownNameError

SMILING_MALE = Task("Smiling", "Male")
PAPER = (SMILING_MALE, Task("Smiling", "Young"), Task("Young", "Male"), Task("Female", "White"))
TASKS = [
    Task(target, protected)
    for target in PHRASES_OF
    for protected in PHRASES_OF
    if target != protected and {target, protected} != {"Male", "Female"}
]


def rows(table: str) -> list[list[str]]:
    """Return the cells of a table, ``a | b``, a row a line or between semicolons."""
    lines = table.replace(";", "\n").strip().splitlines()
    return [[cell.strip() for cell in line.split("|")] for line in lines]


each_group = pytest.mark.parametrize("group", GROUPS, ids=str)


def posed(who: str, *features: str, pose: str = "head tilted back") -> str:
    return put_together(who, [*features, pose])


def shown(task: Task, group: Group) -> str:
    """Return who is shown; of tasks with an age and an ancestry, somebody."""
    return task.contextual(group, age="32", ancestry="Hispanic")


def of(task: Task, group: Group, *features: str) -> str:
    """Return a prompt of a task's form with head poses, where it has one."""
    context = features if task.ancestral else [*features, "head tilted back"]
    return put_together(shown(task, group), context, start=task.start)


def contexts(prompts: list[str]) -> list[tuple[str, ...]]:
    return [parts.context for parts in map(take_apart, prompts) if parts is not None]


def reasons(prompt: str, group: Group, task: Task = SMILING_MALE, kind: str = POSED) -> str:
    return "; ".join(check_prompt(prompt, task, group, kind=kind))


# Tasks and form


def test_a_task_needs_two_attributes_that_differ() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'Smiling'"):
        Task("Smilling", "Male")
    for same in (("Male", "Male"), ("Female", "Male")):
        with pytest.raises(ValueError, match="say the same of a face"):
            Task(*same)
    assert len(TASKS) == 18


# METHODS 1a, from the authors' release: plain prompts and how contextual ones begin, by group.
FORMS = {
    PAPER[0]: """
        a no-smiling female. | a female not smiling, with
        a no-smiling male.   | a male not smiling, with
        a smiling female.    | a smiling female with
        a smiling male.      | a smiling male with""",
    PAPER[1]: """
        a no smiling aged person.  | an aged person not smiling, with
        a no smiling young person. | a young person not smiling, with
        a smiling aged person.     | an aged smiling person with
        a smiling young person.    | a young smiling person with""",
    PAPER[2]: """
        an aged female.  | an aged female with
        an aged male.    | an aged male with
        a young female.  | a young female with
        a young male.    | a young male with""",
    PAPER[3]: r"""
        a non-White male.   | an? \d\d-year-old (?!White)[A-Z][A-Za-z ]+ male with
        a White male.       | an? \d\d-year-old White male with
        a non-White female. | an? \d\d-year-old (?!White)[A-Z][A-Za-z ]+ female with
        a White female.     | an? \d\d-year-old White female with""",
}


@pytest.mark.parametrize("task", PAPER, ids=str)
def test_every_task_has_the_authors_forms(task: Task) -> None:
    start = "Face photo of" if task is PAPER[3] else "Portrait face photo of"
    # Two features of the vocabulary; no phrase of it has a comma or "and" in it.
    two, three = r"[^,]+ and [^,]+\.", r"[^,]+, [^,]+, and [^,]+\."
    for group, row in zip(GROUPS, rows(FORMS[task]), strict=True):
        plain, subject = f"{start} {row[0]}", row[1]
        assert write_offline(task, group, 1, kind=PLAIN) == [plain]
        assert check_prompt(plain, task, group, kind=PLAIN) == []
        for kind, context in ((CONTEXTUAL, two), (POSED, two if task is PAPER[3] else three)):
            for prompt in write_offline(task, group, 50, kind=kind):
                assert re.fullmatch(f"{start} {subject} {context}", prompt), prompt


def test_other_tasks_follow_the_same_rules() -> None:
    said = {
        (Task("Smiling", "White"), (0, 0)): ("no smiling non-White person", "non-White person not"),
        (Task("Young", "White"), (0, 1)): ("aged White person", "aged White person"),
        (Task("Male", "Smiling"), (1, 0)): ("no-smiling male", "male not smiling,"),
        (Task("Young", "Female"), (1, 1)): ("young female", "young female"),
        (Task("White", "Male"), (1, 0)): ("White female", "32-year-old White female"),
    }
    for (task, group), (plain, contextual) in said.items():
        assert task.plain(group) == plain
        assert shown(task, group).startswith(contextual)


@pytest.mark.parametrize("end", [".\n", "", '"', " .  "])
def test_tidying_leaves_one_full_stop(end: str) -> None:
    tidied = tidy(f'"Portrait face  photo of a smiling male{end}')
    assert tidied == "Portrait face photo of a smiling male."


phrases = st.lists(
    st.sampled_from([phrase.text for phrase in VOCABULARIES["stable-diffusion"]]), max_size=5
)


@given(context=phrases)
def test_taking_apart_undoes_putting_together(context: list[str]) -> None:
    for subject in ("smiling male", "male not smiling,"):
        parts = take_apart(put_together(subject, context))
        assert parts == ("Portrait face photo of", "a", subject, tuple(context))


def test_other_forms_are_rejected() -> None:
    text = "Portrait face photo of a smiling male with short hair, a hat, and head tilted back."
    assert reasons(text, (1, 1)) == ""
    for change in (
        *(("Portrait face", other) for other in ("portrait face", " Portrait face", "Face")),
        *(("Portrait face photo of a ", ""), (".", ""), (" with", ",")),
        *(("short hair,", "short hair, ,"), ("short hair, ", "short hair,  ")),
    ):
        assert re.search("not of the form|shows", reasons(text.replace(*change), (1, 1))), change


@given(text=st.text(max_size=80))
def test_any_text_is_judged_and_none_crashes(text: str) -> None:
    assert check_prompt(text, SMILING_MALE, (1, 1))  # no random text is a prompt
    check_prompt(f"Portrait face photo of a smiling male with {text}.", SMILING_MALE, (1, 1))
    words(text)


# The group


@each_group
def test_a_prompt_is_right_for_its_own_group_only(group: Group) -> None:
    for task in PAPER:
        prompt = of(task, group, "freckles", "short grey hair")
        right = [other for other in GROUPS if not check_prompt(prompt, task, other)]
        assert right == [group]


def test_who_is_shown_is_read_exactly() -> None:
    # "no-smiling" holds "smiling", "female" holds "male"
    for who in ("no-smiling male", "male not smiling", "smiling female", "smiling male woman"):
        assert f"shows '{who}'" in reasons(posed(who, "freckles", "a hat"), (1, 1))
    assert reasons(posed("male not smiling,", "freckles", "a hat"), (0, 1)) == ""
    assert "article" in reasons(
        posed("aged male", "freckles", "a hat").replace(" an ", " a "),
        (0, 1),
        Task("Young", "Male"),
    )


# Ages and ancestries, and which groups of Female, White they show.
SHOWN = """
    27-year-old White female | [(1, 1)]; 81-year-old South Asian female | [(1, 0)]
    1-year-old White male | [(0, 1)]; 45-year-old Middle Eastern male | [(0, 0)]
    30-year-old Pacific Islander male | [(0, 0)]; 100-year-old White male | []
    27-year-old white male | []; 27-year-old Caucasian male | []; 27-year-old male | []
    White male | []"""


@pytest.mark.parametrize(("who", "groups"), rows(SHOWN))
def test_ages_and_ancestries_are_read(who: str, groups: str) -> None:
    prompt = put_together(who, ["a calm expression", "short hair"], start="Face photo of")
    assert str([g for g in GROUPS if not check_prompt(prompt, PAPER[3], g)]) == groups


def test_articles_are_spoken() -> None:
    for age, article in ((8, "an"), (11, "an"), (18, "an"), (81, "an"), (1, "a"), (28, "a")):
        assert put_together(f"{age}-year-old White male").split()[4] == article


# What only the opposite of (attribute, value) is said to be; each is inserted as a phrase.
OPPOSITE = {
    ("Male", 1): ["the hair of a woman", "a girl's face", "a lady's hat", "her grandmother's nose"],
    ("Male", 0): ["a man bun", "a boyish haircut", "a gentleman's hat", "a beard", "stubble"],
    ("Smiling", 1): ["a frowning mouth", "a neutral expression", "an unsmiling face", "no smile"],
    ("Smiling", 0): ["a toothy grin", "a warm smile", "smiling eyes", "a laughing mouth"],
    ("Young", 1): ["elderly skin", "deep wrinkles", "an old face", "a 70-year-old face"],
    ("Young", 0): ["a youthful face", "teenage skin", "a child's face", "a 20-year-old face"],
    ("White", 1): ["non-white skin", "dark skin", "Asian features", "a black woman's hair"],
    ("White", 0): ["white skin", "a Caucasian face", "European features", "a white man's nose"],
}


@pytest.mark.parametrize("attribute", OPPOSITE, ids=str)
def test_synonyms_of_the_opposite_group_are_rejected(attribute: tuple[str, int]) -> None:
    name, value = attribute
    task = Task(name, "White" if name == "Young" else "Young")
    group = (value, 1)
    ground = of(task, group, "freckles", "glasses")
    assert check_prompt(ground, task, group) == []
    for phrase in OPPOSITE[attribute]:
        wrong = check_prompt(of(task, group, "freckles", phrase, "glasses"), task, group)
        assert any(phrase in reason and "is not said of" in reason for reason in wrong), phrase


HARMLESS = """
    a white hat; grey hair; white hair; black hair; dark sunglasses; brown eyes; a gold chain
    an old-fashioned hat; baby bangs; a cowboy hat; a human face; a golden scarf; a mane; no frown
    a black and white scarf; a semale-brand cap; red lipstick; heavy make-up; a light blue hat
    a fair isle hat; deep-set eyes; indigo glasses"""


SAYS: dict[str, dict[str, int]] = {
    "no-smiling": {"Smiling": 0},
    "without a hint of a smile": {"Smiling": 0},
    "not smiling": {"Smiling": 0},
    "smiling": {"Smiling": 1},
    "no glasses with a smile": {"Smiling": 1},
    "female": {"Male": 0},
    "male": {"Male": 1},
    "non-white": {"White": 0},
    "a white man": {"White": 1, "Male": 1},
    "an elderly woman": {"Young": 0, "Male": 0},
    "a boy and a girl": {"Young": 1, "Male": -1},
    "no longer young": {"Young": 0},
    **{phrase: {} for (phrase,) in rows(HARMLESS)},
}


def test_what_a_phrase_says_of_a_person() -> None:
    assert {phrase: claims(phrase) for phrase in SAYS} == SAYS


# Contradictions


EXCLUSIVE = """
    a bald head | long brown hair; a shaved head | a ponytail; short brown hair | wavy blonde hair
    short brown hair | long brown hair; straight black hair | curly black hair
    gray hair | auburn curls; blue eyes | green eyes; an open mouth | a closed mouth
    an oval face | a round face; glasses | no glasses; round glasses | dark sunglasses
    a red hat | no hat; a red hat | a woollen beanie; a full beard | a clean-shaven face
    pale skin | dark skin; a goatee | no beard"""

TOGETHER = """
    black hair | a grey beard; a bald head | a full beard; a bald head | bushy black eyebrows
    long hair | short black eyelashes; brown hair with blond highlights | brown eyes
    long wavy brown hair | brown bangs; round glasses | a square jaw; a white hat | red hair
    no glasses | a red hat; a clean-shaven face | glasses; a full beard | red lipstick
    a bald scalp with a fringe of white hair | glasses"""


@pytest.mark.parametrize("pair", rows(EXCLUSIVE), ids=" and ".join)
def test_phrases_that_exclude_one_another_are_rejected(pair: list[str]) -> None:
    # Of an attribute that the task does not know, either would do.
    for phrase in pair:
        assert reasons(posed("smiling male", phrase, "earrings", "high cheekbones"), (1, 1)) == ""
    for first, second in (pair, pair[::-1]):
        assert reasons(posed("smiling male", first, second, "earrings"), (1, 1))
        assert contradictions([first, second]) or claims(first).keys() & claims(second).keys()


@pytest.mark.parametrize("pair", rows(TOGETHER), ids=" and ".join)
def test_phrases_that_go_together_are_not_rejected(pair: list[str]) -> None:
    assert reasons(posed("smiling male", *pair, "high cheekbones"), (1, 1)) == ""


# Head poses and facets


# Task, phrases, what is said of them as contextual prompts and as those with head poses.
PHRASES = """
    0 | freckles, glasses                   |                   | has no head pose
    0 | freckles, glasses, chin raised      | none is asked for |
    0 | freckles, looking up, chin raised   | none is asked for | 2 head poses
    0 | freckles, chin raised, glasses      | none is asked for | not the last
    0 | freckles, full lips, chin raised    | none is asked for |
    0 | big ears, a tie, chin raised        | none is asked for |
    0 | chin raised                         | has 1 phrases     | has 1 phrases
    0 | a, b, c, d, e, f, chin raised       | has 7 phrases     | has 7 phrases
    2 | freckles, glasses, a soft smile     |                   |
    2 | freckles, glasses, an intense gaze  |                   |
    2 | freckles, glasses, looking slightly down | none is asked for |
    2 | freckles, glasses, chin raised      | none is asked for |
    3 | a calm look, chin raised            | none is asked for | none is asked for"""


@pytest.mark.parametrize(("task", "context", "bare", "with_pose"), rows(PHRASES))
def test_how_many_phrases_and_head_poses_a_prompt_has(
    task: str, context: str, bare: str, with_pose: str
) -> None:
    paper = PAPER[int(task)]
    prompt = put_together(shown(paper, (1, 1)), context.split(", "), start=paper.start)
    for kind, told in ((CONTEXTUAL, bare), (POSED, with_pose)):
        said = reasons(prompt, (1, 1), paper, kind)
        assert told in said if told else said == ""
    if task == "0":
        assert "a plain prompt has no context" in reasons(prompt, (1, 1), paper, PLAIN)


# Ways in which the authors' lists are written, in words of our own.
AUTHORS = """
    0 | 11 | a smiling male with thin lips, small eyes, a round chin, head tilted back.
    0 | 11 | a smiling male with wavy hair, wearing lipstick, and head facing downward.
    0 | 00 | a female not smiling, with long bangs, a snub nose, and head turned right.
    1 | 00 | an aged person not smiling, with bald head, wearing a hat, and head bowed.
    1 | 11 | a young smiling person with wearing a tie, pale skin, and head tilted left.
    2 | 11 | a young male with a goatee, a small nose, and heavy makeup, looking left.
    2 | 10 | a young female with bags under her eyes, big lips, and a broad grin.
    2 | 01 | an aged male with pale skin, sideburns, and small eyes, in a side profile.
    3 | 11 | a 3-year-old White female with a wide, merry grin and soft, short hair.
    3 | 10 | an 81-year-old Black female with a wise and kind gaze and braids, with beads.
    3 | 01 | a 70-year-old White male with a bald scalp with a fringe of hair and a grin."""


@pytest.mark.parametrize(("task", "group", "prompt"), rows(AUTHORS))
def test_the_authors_ways_of_writing_are_right(task: str, group: str, prompt: str) -> None:
    start = "Face photo of" if task == "3" else "Portrait face photo of"
    right = [g for g in GROUPS if not check_prompt(f"{start} {prompt}", PAPER[int(task)], g)]
    assert [f"{t}{p}" for t, p in right] == [group]


@pytest.mark.parametrize("name", VOCABULARIES)
def test_the_facet_of_every_phrase_is_known(name: str) -> None:
    wrong = {p.text: facet_of(p.text) for p in VOCABULARIES[name] if facet_of(p.text) != p.facet}
    assert wrong == {}


FACETS_OF = """
    head slightly tilted to the side | head pose; a slight head tilt | head pose
    eyes looking at the camera | head pose; a face with raised eyebrows | facial features
    green eyes with long lashes | facial features; hair swept back from the face | hair
    a hair clip | accessories; soft studio lighting | background; an indescribable thing | None"""


def test_facets_of_other_words() -> None:
    assert [[phrase, str(facet_of(phrase))] for phrase, _ in rows(FACETS_OF)] == rows(FACETS_OF)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    prompt = posed("smiling male", "freckles", "glasses")
    with pytest.raises(UnknownNameError, match="did you mean 'contextual'"):
        check_prompt(prompt, SMILING_MALE, (1, 1), kind="contextal")
    with pytest.raises(UnknownNameError, match="did you mean 'toyfaces'"):
        write_offline(SMILING_MALE, (1, 1), 2, vocabulary="toyface")
    with pytest.raises(ValueError, match="no group"):
        check_prompt(prompt, SMILING_MALE, (1, 2))


# Sets


def test_near_duplicates_are_rejected_and_say_of_what() -> None:
    first = posed("smiling male", "light freckles", "short wavy brown hair", "thin round glasses")
    second = first.replace("thin round glasses", "the thin round glasses")
    other = posed("smiling male", "full lips", "long black hair", "a red hat", pose="chin raised")
    checked = check_prompts([first, second, other, first], SMILING_MALE, (1, 1), 9)
    assert checked.accepted == (first, other)
    assert [r.prompt for r in checked.rejected] == [second, first]
    assert first in checked.rejected[0].reasons[0]
    assert checked.rejected[1].reasons == ("written before",)
    # A negation tells two prompts apart.
    assert jaccard(words(posed("x", "glasses")), words(posed("x", "no glasses"))) < 0.85


def test_negation_tells_two_prompts_apart() -> None:
    assert jaccard(words(posed("x", "glasses")), words(posed("x", "no glasses"))) < 0.85
    assert "no-glasse" in words(posed("x", "no glasses"))


def test_places_are_kept_for_a_facet_that_is_missing() -> None:
    table = """
        freckles | glasses | chin raised; full lips | a red hat | looking up
        blue eyes | earrings | head tilted back; a cleft chin | a silk scarf | looking down
        a broad nose | a gold chain | left profile view"""
    without_hair = [posed("smiling male", *row[:2], pose=row[2]) for row in rows(table)]
    n = 4
    assert int(n * SHARE) == 1
    checked = check_prompts(without_hair, SMILING_MALE, (1, 1), n)
    assert len(checked.accepted) == n - 1
    assert {r.reasons for r in checked.rejected} == {
        ("the places that are left are for prompts that vary hair",)
    }
    haired = posed("smiling male", "a small mole", "brown hair", pose="looking straight ahead")
    assert len(check_prompts([*without_hair, haired], SMILING_MALE, (1, 1), n).accepted) == n
    # Nothing is looked at once the set is full.
    full = check_prompts([haired, *without_hair], SMILING_MALE, (1, 1), 1)
    assert (full.accepted, full.rejected) == ((haired,), ())


# The instruction


@each_group
def test_the_instruction_says_what_is_wanted(group: Group) -> None:
    task = Task("Smiling", "Male")
    asked = instruction(task, group, 25)
    for text in ("25", "Smiling", "Male", *VARIED, "head pose", '"prompts"', '"head_pose"'):
        assert text in asked
    assert f"{put_together(task.contextual(group))[:-1]} with {{feature}}" in asked
    assert "no head pose" in instruction(task, group, 25, kind=CONTEXTUAL)
    assert "{head pose or expression}" in instruction(PAPER[2], group, 25)
    assert '"age": 27, "ancestry"' in instruction(PAPER[3], group, 25)
    with pytest.raises(ValueError, match="n must be"):
        instruction(task, group, 0)


# The offline writer


@settings(max_examples=30, deadline=None)
@given(
    task=st.sampled_from(TASKS),
    group=st.sampled_from(GROUPS),
    seed=st.integers(0, 10_000),
    vocabulary=st.sampled_from(sorted(VOCABULARIES)),
    kind=st.sampled_from([CONTEXTUAL, POSED]),
    n=st.sampled_from([1, 7, 25, 50]),
)
def test_offline_prompts_always_pass(
    task: Task, group: Group, seed: int, vocabulary: str, kind: str, n: int
) -> None:
    if vocabulary == "faces":
        kind = CONTEXTUAL
    written = write_offline(task, group, n, seed=seed, vocabulary=vocabulary, kind=kind)
    checked = check_prompts(written, task, group, n, kind=kind)
    assert checked.rejected == ()
    assert checked.accepted == tuple(written)
    assert len(set(written)) == n


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@each_group
def test_sets_of_table_5_nest(vocabulary: str, group: Group) -> None:
    kind = CONTEXTUAL if vocabulary == "faces" else POSED
    for task in (SMILING_MALE, Task("Female", "White")):
        # Hair and one feature more: that is all this vocabulary can say of the second task.
        most = 150 if vocabulary == "faces" and task.ancestral else 200
        largest = write_offline(task, group, most, vocabulary=vocabulary, kind=kind)
        assert len(set(largest)) == most
        for n in (25, 50, 100):
            small = write_offline(task, group, n, vocabulary=vocabulary, kind=kind)
            assert small == largest[:n]


def test_head_poses_are_added_and_nothing_else_changes() -> None:
    for vocabulary in ("stable-diffusion", "toyfaces"):
        bare, whole = (
            contexts(write_offline(SMILING_MALE, (1, 0), 50, vocabulary=vocabulary, kind=kind))
            for kind in (CONTEXTUAL, POSED)
        )
        assert bare == [context[:-1] for context in whole]
        assert {facet_of(context[-1]) for context in whole} == {"head pose"}


def test_facets_are_covered_evenly() -> None:
    n = 200
    said = Counter(chain(*contexts(write_offline(SMILING_MALE, (1, 1), n))))
    for facet in FACETS[:4]:
        counts = [
            said[phrase.text]
            for phrase in VOCABULARIES["stable-diffusion"]
            if phrase.facet == facet
            and phrase.slot != "expression"  # the form of this task has none
            and phrase.only.get("Male", 1) == 1
            and phrase.only.get("Smiling", 1) == 1
        ]
        assert min(counts) > 0  # every phrase that fits is used
        # Each of A and B is of a facet as often as of another; a pose is in every prompt.
        assert sum(counts) == n if facet == "head pose" else sum(counts) > n / 2
        share = sum(counts) / len(counts)
        assert max(counts) <= share + 3
        assert min(counts) >= share - 3
        # Independent draws are not as even: their spread is near sqrt(share).
        spread = sum((count - share) ** 2 for count in counts) / len(counts)
        assert spread < 0.5 * share


def test_features_of_one_kind_stand_together_at_times() -> None:
    for vocabulary in ("stable-diffusion", "toyfaces"):
        written = write_offline(SMILING_MALE, (1, 1), 50, vocabulary=vocabulary)
        kinds = [[facet_of(phrase) for phrase in context] for context in contexts(written)]
        assert 0 < sum(a == b for a, b, _ in kinds) < 25


def test_ages_are_those_of_adults_and_ancestries_vary() -> None:
    ages, ancestries = [], Counter[str]()
    for prompt in write_offline(PAPER[3], (1, 0), 100):
        found = re.match(r"Face photo of an? (\d+)-year-old (.+) female with ", prompt)
        assert found is not None
        ages.append(int(found[1]))
        ancestries[found[2]] += 1
    assert min(ages) >= 20
    assert max(ages) <= 99
    assert len(set(ages)) > 57  # of the 80; as many have 100 independent draws on average
    assert max(ancestries.values()) - min(ancestries.values()) <= 3
    assert len(ancestries) == 6


def test_groups_that_the_same_phrases_fit_get_the_same_contexts() -> None:
    smiling, neutral = (
        contexts(write_offline(SMILING_MALE, (t, 1), 50, vocabulary="toyfaces")) for t in (1, 0)
    )
    assert smiling == neutral


def test_seeds_differ_and_a_seed_is_the_same_everywhere() -> None:
    written = {seed: tuple(write_offline(SMILING_MALE, (1, 1), 25, seed=seed)) for seed in range(4)}
    assert len(set(written.values())) == 4
    # Images are recorded under their prompts: another machine must not write others.
    text = "\n".join(write_offline(SMILING_MALE, (1, 1), 200))
    assert hashlib.sha256(text.encode()).hexdigest() == RECORDED


RECORDED = "3ca241c45d0cbfbb844fd3da0cb396b6f69a73efce6671a5585ed2962008fa53"


def test_a_vocabulary_without_head_poses_says_so() -> None:
    with pytest.raises(VocabularyError, match=r"'faces' has no phrase of head pose.*'contextual'"):
        write_offline(SMILING_MALE, (1, 1), 25, vocabulary="faces", kind=POSED)


def test_a_vocabulary_that_is_too_small_says_how_many_it_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = [
        Phrase("blue eyes", "facial features"),
        Phrase("a full beard", "facial features", only={"Male": 1}),
        Phrase("red lipstick", "facial features", only={"Male": 0}),
        Phrase("brown hair", "hair"),
        Phrase("glasses", "accessories"),
        Phrase("a hat", "accessories"),
    ]
    monkeypatch.setitem(VOCABULARIES, "small", small)

    def write(group: Group, n: int) -> list[str]:
        return write_offline(SMILING_MALE, group, n, vocabulary="small", kind=CONTEXTUAL)

    # Two features, hair and two accessories: two of a kind exclude one another by default.
    assert len(write((1, 1), 8)) == 2 * 1 + 2 * 2 + 1 * 2
    with pytest.raises(VocabularyError, match=r"gives 8 distinct .* not 9; ask for at most 8"):
        write((1, 1), 9)
    assert not any("beard" in prompt for prompt in write((1, 0), 8))
    assert not any("lipstick" in prompt for prompt in write((1, 1), 8))


def test_the_number_that_an_error_gives_is_reached() -> None:
    def write(n: int) -> list[str]:
        return write_offline(SMILING_MALE, (0, 0), n, vocabulary="faces", kind=CONTEXTUAL)

    with pytest.raises(VocabularyError, match="gives") as error:
        write(1000)
    most = int(str(error.value).split(" gives ")[1].split()[0])
    fitting = [
        phrase
        for phrase in VOCABULARIES["faces"]
        if phrase.facet in VARIED
        and phrase.only.get("Male", 0) == phrase.only.get("Smiling", 0) == 0
    ]
    pairs = sum(a.slot != b.slot for a, b in combinations(fitting, 2))
    assert 100 < most <= pairs  # near duplicates are no new prompts
    checked = check_prompts(write(most), SMILING_MALE, (0, 0), most, kind=CONTEXTUAL)
    assert len(checked.accepted) == most
    with pytest.raises(VocabularyError, match=f"gives {most} "):
        write(most + 1)


def test_there_is_one_plain_prompt() -> None:
    with pytest.raises(ValueError, match="one plain prompt"):
        write_offline(SMILING_MALE, (1, 1), 2, kind=PLAIN)
    with pytest.raises(ValueError, match="n must be"):
        write_offline(SMILING_MALE, (1, 1), 0)


def test_the_lexicon_is_rich_and_fits_whom_it_says() -> None:
    lexicon = VOCABULARIES["stable-diffusion"]
    counts = Counter(phrase.facet for phrase in lexicon)
    assert all(counts[facet] >= 25 for facet in FACETS[:4])
    assert len({phrase.text for phrase in lexicon}) == len(lexicon)
    for phrase in lexicon:
        said = claims(phrase.text)
        assert {k: phrase.only.get(k) for k in said} == said, phrase.text
