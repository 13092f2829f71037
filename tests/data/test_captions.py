"""Captions: only what is true, at most one thing of a kind, in the papers' form."""

from __future__ import annotations

import os
import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repro.data import fairface, lfwa
from repro.data.captions import (
    FACES,
    FACETS,
    PHRASES_OF,
    TOYFACES,
    VOCABULARIES,
    Phrase,
    captions,
    facts,
    joined,
    sentence,
    truths,
)
from repro.data.toyfaces.factors import draw_factors

CAPTION = re.compile(r"Portrait face photo of (an?) ([a-z -]+?)(?: with (.+))?")

# What the words of a toy caption claim, written out once more by hand.
LENGTHS = {"short": "short", "long": "long", "chin-length": "bob", "pinned-up": "bun"}
POSES = {
    "face turned to the camera": "frontal",
    "head turned to the left": "left",
    "head turned to the right": "right",
}
CLAIMS: dict[str, dict[str, object]] = {
    "smiling": {"Smiling": 1},
    "no-smiling": {"Smiling": 0},
    "not smiling": {"Smiling": 0},
    "young": {"Young": 1},
    "aged": {"Young": 0},
    "male": {"Male": 1},
    "female": {"Male": 0},
    "a bald head": {"Bald": 1},
    "a full beard": {"Beard": 1},
    "a clean-shaven face": {"Beard": 0, "Male": 1},
    "pale skin": {"Pale_Skin": 1},
    "dark skin": {"Pale_Skin": 0},
    "a slightly open mouth": {"Mouth_Slightly_Open": 1},
    "glasses": {"Eyeglasses": 1},
    "no glasses": {"Eyeglasses": 0},
    "earrings": {"Wearing_Earrings": 1},
    "no hat": {"Wearing_Hat": 0},
    **{words: {"pose": pose} for words, pose in POSES.items()},
}
KIND = {  # of what a claim is about, one of each in a caption
    "Bald": "hair",
    "hair_style": "hair",
    "hat_colour": "hat",
    "Wearing_Hat": "hat",
}


def claim(words: str) -> dict[str, object]:
    """Return what a phrase says of a face."""
    if words in CLAIMS:
        return CLAIMS[words]
    hair = re.fullmatch(r"([a-z-]+) (?:(straight|wavy) )?(black|brown|blond|grey) hair", words)
    if hair:
        length, texture, colour = hair.groups()
        said: dict[str, object] = {"hair_style": LENGTHS[length], "hair_colour": colour}
        return said if texture is None else said | {"Wavy_Hair": int(texture == "wavy")}
    worn = re.fullmatch(r"a ([a-z]+) (hat|shirt|background)", words)
    assert worn, f"nobody knows what {words!r} means"
    colour, what = worn.groups()
    if what == "hat":
        return {"Wearing_Hat": 1, "hat_colour": colour}
    return {"clothing" if what == "shirt" else what: colour}


def said(caption: str) -> tuple[list[str], list[str]]:
    """Return the words for the subject, and the phrases after "with"."""
    match = CAPTION.fullmatch(caption)
    assert match, caption
    article, who, context = match.groups()
    assert (article == "an") == (who[0] in "aeiou")
    words = []
    while who:
        word = next(w for w in (*CLAIMS, "person") if who == w or who.startswith(f"{w} "))
        words.append(word)
        who = who[len(word) + 1 :]
    phrases = re.split(r", and | and |, ", context) if context else []
    assert caption == sentence(words, phrases)
    return words, phrases


def test_truths_of_a_table_by_hand() -> None:
    table = pd.DataFrame(
        {
            "Smiling": pd.array([1, 0, None], dtype="Int8"),
            "Male": [1.0, np.nan, 0.0],
            "pose": ["left", None, pd.NA],
        }
    )
    phrases = [
        Phrase("smiling", "facial features", {"Smiling": 1}),
        Phrase("not smiling", "facial features", {"Smiling": 0}),
        Phrase("male", "facial features", {"Male": 1}),
        Phrase("to the left", "head pose", {"pose": "left"}),
        Phrase("both", "head pose", {"pose": "left", "Smiling": 1, "Male": 1}),
        Phrase("one of them", "head pose", {"pose": "left", "Smiling": 0}),
        Phrase("always", "background"),
        Phrase("no such column", "hair", {"Bald": 0, "Smiling": 1}),
    ]
    expected = [
        [1, 0, 1, 1, 1, 0, 1, 0],
        [0, 1, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 1, 0],
    ]
    found = truths(table, phrases)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, np.array(expected, dtype=bool))


@pytest.mark.parametrize(
    ("subject", "context", "expected"),
    [
        (["smiling", "male"], [], "a smiling male"),
        (["aged", "female"], [], "an aged female"),
        (["person"], ["glasses"], "a person with glasses"),
        (["young"], ["glasses", "no hat"], "a young with glasses and no hat"),
        (["young"], ["a", "b", "c"], "a young with a, b, and c"),
        (["young"], ["a", "b", "c", "d"], "a young with a, b, c, and d"),
    ],
)
def test_form_of_a_prompt(subject: list[str], context: list[str], expected: str) -> None:
    assert sentence(subject, context) == f"Portrait face photo of {expected}"


def test_no_items_are_joined_to_nothing() -> None:
    assert joined([]) == ""


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_everything_that_is_said_is_true_and_said_once(seed: int) -> None:
    table = draw_factors(50, seed=seed)
    rows = table.to_dict("records")
    for row, caption in zip(rows, captions(table, TOYFACES, seed=seed), strict=True):
        who, context = said(caption.text)
        told: dict[str, object] = {}
        kinds: Counter[str] = Counter()
        for words in (*who, *context):
            if words == "person":
                assert who == ["person"]
                continue
            stated = claim(words)
            told |= stated
            for name, value in stated.items():
                assert row[name] == value, f"{caption!r} of a face with {name} {row[name]}"
            kinds.update({KIND.get(name, name) for name in stated} - {"Male"})
        kinds.subtract({"Wavy_Hair", "hair_colour"})  # said with the style
        assert max(kinds.values(), default=0) <= 1, caption
        assert len(context) <= 4
        known = {name for name, _ in facts(TOYFACES)}  # a bald head is a style of hair to it
        assert {name: caption.says[name] for name in told if name in known} == {
            name: value for name, value in told.items() if name in known
        }
        assert caption.says.items() <= row.items()


def test_context_follows_the_order_of_the_facets_and_varies_in_number() -> None:
    facet = {phrase.text: FACETS.index(phrase.facet) for phrase in TOYFACES}
    table = draw_factors(2_500, seed=5)
    context = [said(caption.text)[1] for caption in captions(table, TOYFACES, seed=5)]
    for phrases in context:
        places = [facet[words] for words in phrases]
        assert places == sorted(places)
    assert {len(phrases) for phrases in context} == {0, 1, 2, 3, 4}
    assert {words for phrases in context for words in phrases} == set(facet)  # each gets its turn


def test_the_seed_alone_decides_what_is_mentioned() -> None:
    table = draw_factors(60, seed=2)
    first = captions(table, TOYFACES, seed=9)
    assert captions(table, TOYFACES, seed=9) == first
    assert captions(table.copy(), list(TOYFACES), seed=9) == first
    assert captions(table, TOYFACES, seed=10) != first


def test_what_is_not_known_of_a_subject_is_not_mentioned() -> None:
    n = 400
    table = pd.DataFrame(
        {
            "Smiling": pd.array([None, 1] * (n // 2), dtype="Int8"),
            "Male": pd.array([0, None] * (n // 2), dtype="Int8"),
        }
    )  # and nothing at all of age
    subjects = [said(caption.text)[0] for caption in captions(table, TOYFACES, seed=1)]
    assert Counter(map(tuple, subjects[0::2])).keys() == {("female",), ("person",)}
    assert Counter(map(tuple, subjects[1::2])).keys() == {("smiling",), ("person",)}
    left_out = sum(who == ["person"] for who in subjects) / n
    assert 0.05 < left_out < 0.15  # one in ten


def test_a_caption_has_up_to_four_phrases() -> None:
    table = draw_factors(80, seed=3)
    counts = {len(said(c.text)[1]) for c in captions(table, TOYFACES, seed=3)}
    assert counts == {0, 1, 2, 3, 4}


def test_short_captions_say_two_things_at_most_and_nothing_else_changes() -> None:
    table = draw_factors(600, seed=3)
    usual, short = (captions(table, TOYFACES, seed=3, short=share) for share in (0.0, 1.0))
    for long, brief in zip(usual, short, strict=True):
        who, context = said(long.text)
        assert said(brief.text)[0] == who
        assert len(said(brief.text)[1]) == min(2, len(context))
    half = captions(table, TOYFACES, seed=3, short=0.5)
    several = [a == b for a, b, u in zip(half, short, usual, strict=True) if u != b]
    assert 0.4 < np.mean(several) < 0.6


# Who is shown, in the words of the released lists of prompts (METHODS 1a) and of this study's own.
WHO = re.compile(
    r"Portrait face photo of an? ((?:(?:aged|young|smiling|no-smiling|not smiling) )*)"
    r"(male|female|person)( not smiling)?(?:,? with .*)?\.?"
)


def test_free_captions_say_who_is_shown_in_every_form_of_a_prompt() -> None:
    table = draw_factors(2_000, seed=4)
    forms = set()
    for row, caption in zip(
        table.to_dict("records"), captions(table, TOYFACES, seed=4, free=True), strict=True
    ):
        found = WHO.fullmatch(caption.text)
        assert found, caption.text
        assert ("," in caption.text.split(" with ")[0]) == (
            found[3] is not None and " with " in caption.text
        )
        adjectives = re.findall("no-smiling|not smiling|smiling|aged|young", found[1])
        told = {}
        for word in adjectives + (["not smiling"] if found[3] else []):
            told |= (
                {"Young": int(word == "young")}
                if word in ("aged", "young")
                else {"Smiling": int(word == "smiling")}
            )
        if found[2] != "person":
            told["Male"] = int(found[2] == "male")
        assert {n: v for n, v in caption.says.items() if n in ("Smiling", "Young", "Male")} == told
        assert caption.says.items() <= row.items()
        forms.add((*adjectives, found[2], bool(found[3])))
    for form in (
        ("smiling", "male", False),
        ("female", True),
        ("young", "smiling", "person", False),
        ("smiling", "young", "person", False),
        ("aged", "person", True),
        ("aged", "female", False),
    ):
        assert form in forms


def of_age(**known: object) -> pd.DataFrame:
    values = {"Male": 0, "Young": 1, "age_from": 20, "age_to": 29, "ancestry_white": 1} | known
    return pd.DataFrame({n: pd.array([v] * 400, dtype="Int8") for n, v in values.items()})


def test_free_captions_tell_some_by_age_and_ancestry() -> None:
    written = captions(of_age(ancestry_black=0), FACES, seed=1, free=True)
    told = [c for c in written if "year-old" in c.text]
    assert 0.2 < len(told) / len(written) < 0.4
    ages = set()
    for caption in told:
        found = re.fullmatch(r"Face photo of a (2\d)-year-old White female\.?", caption.text)
        assert found, caption.text
        ages.add(int(found[1]))
        assert caption.says == {"Male": 0, "Young": 1, "ancestry_white": 1}
    assert ages == set(range(20, 30))
    assert any(
        c.text.startswith("Face photo of an 8")
        for c in captions(of_age(age_from=70, age_to=99, Young=0), FACES, seed=1, free=True)
    )


@pytest.mark.parametrize(
    "unknown",
    [{"age_from": None}, {"ancestry_white": None}, {"Male": None}, {"ancestry_indian": 1}],
)
def test_no_age_is_told_where_it_or_the_ancestry_is_not_known(unknown: dict[str, object]) -> None:
    written = captions(of_age(**unknown), FACES, seed=1, free=True)
    assert not any("year-old" in caption.text for caption in written)


@pytest.mark.parametrize("name", VOCABULARIES)
def test_vocabularies_can_be_told_apart(name: str) -> None:
    vocabulary = VOCABULARIES[name]
    texts = [phrase.text for phrase in vocabulary]
    assert len(set(texts)) == len(texts)
    assert not any("," in text or " and " in text for text in texts)  # lists are split there
    for phrase in vocabulary:
        assert phrase.when, f"{phrase.text} would be said of everybody"
        assert set(phrase.only) <= set(PHRASES_OF)
        # Who a phrase is true of may be so described.
        assert all(phrase.when.get(attr, value) == value for attr, value in phrase.only.items())


def test_two_phrases_of_a_toy_face_that_exclude_one_another_share_a_slot() -> None:
    table = draw_factors(20_000, seed=8)
    true = truths(table, TOYFACES)
    assert true.any(axis=0).all()
    men = true[table["Male"] == 1].any(axis=0)
    women = true[table["Male"] == 0].any(axis=0)
    together = true.T.astype(int) @ true.astype(int)
    excluded = np.argwhere(together == 0)
    assert len(excluded) > len(TOYFACES)
    for a, b in excluded:
        # Hair is pinned up by women alone, beards are men's.
        unlike = not (men[a] and men[b]) and not (women[a] and women[b])
        same_slot = TOYFACES[a].slot == TOYFACES[b].slot
        assert same_slot or unlike, f"{TOYFACES[a].text} / {TOYFACES[b].text}"


@pytest.mark.parametrize(("attribute", "sides"), PHRASES_OF.items())
def test_each_side_of_an_attribute_has_words_of_its_own(
    attribute: str, sides: tuple[tuple[str, ...], tuple[str, ...]]
) -> None:
    assert all(sides)
    assert not set(sides[0]) & set(sides[1])


def test_a_phrase_of_an_unknown_facet_is_refused() -> None:
    with pytest.raises(ValueError, match="no facet 'mood'"):
        Phrase("a gloomy air", "mood")


def test_the_slot_is_the_facet_where_none_is_given() -> None:
    assert Phrase("x", "hair").slot == "hair"
    assert Phrase("x", "hair", slot="y").slot == "y"


def test_the_words_for_photographs_are_columns_of_their_tables() -> None:
    if not os.environ.get("REPRO_DATA"):
        pytest.skip("needs REPRO_DATA with the reduced editions of lfwa and fairface (see README)")
    columns = {name for phrase in FACES for name in (*phrase.when, *phrase.only)}
    ancestry = {
        "ancestry_" + race.removesuffix("_Hispanic").lower().replace(" ", "_")
        for race in fairface.RACES
    }
    labels = lfwa.attributes()
    assert columns <= set(labels.columns) | ancestry
    assert ancestry <= columns
    # No phrase of LFWA+ that no photograph ever deserves.
    own = [phrase for phrase in FACES if not set(phrase.when) & ancestry]
    assert len(own) > 20
    assert truths(labels, own).any(axis=0).all()
