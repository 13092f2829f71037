"""What a generator is asked for, and what is counted as given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from repro.chapters.aim import generator_quality
from repro.chapters.aim.generator_quality import (
    CELEBA_CLASSES,
    TASKS,
    TOY_CLASSES,
    UTKFACE_CLASSES,
    asked_prompts,
    held_out_captions,
    measure_faces,
    measure_toyfaces,
    own_prompts,
)
from repro.data.captions import FACES, FACETS, PHRASES_OF, TOYFACES, VOCABULARIES, Phrase
from repro.data.toyfaces.factors import ATTRIBUTES, CATEGORIES
from repro.generator import quality
from repro.generator.corpus import TOY_SEED, Corpus

START = "Portrait face photo of a"


def phrases_in(prompt: str, vocabulary: Sequence[Phrase]) -> list[Phrase]:
    """Return the phrases of a prompt, in its order."""
    by_text = {phrase.text: phrase for phrase in vocabulary}
    context = prompt.split(" with ", 1)[1].replace(", and ", ", ")
    return [by_text[words] for words in context.replace(" and ", ", ").split(", ")]


def subject_of(prompt: str) -> dict[str, int]:
    who = prompt.removeprefix(f"{START}n ").removeprefix(f"{START} ").split(" with ")[0].split(" ")
    sides = {
        words[0]: (name, value)
        for name in ("Smiling", "Young", "Male")
        for value, words in enumerate(PHRASES_OF[name])
    }
    return dict(sides[word] for word in who)


@pytest.mark.parametrize("name", VOCABULARIES)
def test_what_is_asked_is_what_the_words_say(name: str) -> None:
    vocabulary = VOCABULARIES[name]
    prompts, asked = asked_prompts(vocabulary, 400, seed=3)
    assert len(prompts) == len(asked) == 400
    for prompt, row in zip(prompts, asked.to_dict("records"), strict=True):
        chosen = phrases_in(prompt, vocabulary)
        wanted: dict[str, object] = dict(subject_of(prompt))
        assert set(wanted) == {"Smiling", "Young", "Male"}
        for phrase in chosen:
            for column, value in (*phrase.when.items(), *phrase.only.items()):
                assert wanted.setdefault(column, value) == value, f"{prompt} contradicts itself"
        # `only` says who may be so described, which the subject has said already.
        assert {column: value for column, value in row.items() if pd.notna(value)} == wanted
        assert len({phrase.slot for phrase in chosen}) == len(chosen) == 4
        places = [FACETS.index(phrase.facet) for phrase in chosen]
        assert places == sorted(places)


@pytest.mark.parametrize("vocabulary", [TOYFACES, FACES])
def test_every_phrase_and_every_subject_is_asked_for(vocabulary: Sequence[Phrase]) -> None:
    prompts, asked = asked_prompts(vocabulary, 1_500, seed=1)
    counted = Counter(
        phrase.text for prompt in prompts for phrase in phrases_in(prompt, vocabulary)
    )
    assert set(counted) == {phrase.text for phrase in vocabulary}
    groups = asked.groupby(["Smiling", "Male", "Young"]).size() / len(asked)
    assert len(groups) == 8
    assert groups.between(0.08, 0.17).all()


def test_the_seed_decides() -> None:
    first, table = asked_prompts(TOYFACES, 30, seed=5)
    again, same = asked_prompts(TOYFACES, 30, seed=5)
    assert first == again
    pd.testing.assert_frame_equal(table, same)
    assert asked_prompts(TOYFACES, 30, seed=6)[0] != first


def test_prompts_that_are_to_be_avoided_are() -> None:
    few = [Phrase("glasses", "accessories", {"Eyeglasses": 1})]
    every = set(asked_prompts(few, 400, seed=0)[0])
    assert len(every) == 8  # one for each subject
    avoid = frozenset(sorted(every)[:5])
    prompts, asked = asked_prompts(few, 50, seed=0, avoid=avoid)
    assert set(prompts) == every - avoid
    assert len(asked) == 50
    for prompt, row in zip(prompts, asked.to_dict("records"), strict=True):
        assert row == {**subject_of(prompt), "Eyeglasses": 1}


def test_it_does_not_look_for_prompts_for_ever() -> None:
    few = [Phrase("glasses", "accessories", {"Eyeglasses": 1})]
    every = frozenset(asked_prompts(few, 400, seed=0)[0])
    with pytest.raises(ValueError, match="8 that are to be avoided"):
        asked_prompts(few, 1, seed=0, avoid=every)


def test_the_reader_of_toy_faces_is_asked_what_there_is() -> None:
    for name, values in TOY_CLASSES.items():
        assert values == CATEGORIES.get(name, (0, 1))
        assert name in (*ATTRIBUTES, *CATEGORIES)
    # It has never seen what the generator has.
    assert TOY_SEED not in {generator_quality._READER_SEED + at for at in range(10)}


def test_measures_of_toy_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = frozenset(asked_prompts(TOYFACES, 20, seed=1)[0][:10])
    drawn: list[str] = []

    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        assert list(seeds) == list(range(40))
        drawn.extend(prompts)
        return torch.zeros(len(prompts), 3, 32, 32, dtype=torch.uint8)

    class AlwaysSmiling:
        """Reads the same in every image."""

        def read(self, images: Tensor) -> pd.DataFrame:
            always: Mapping[str, object] = {
                name: values[-1] for name, values in TOY_CLASSES.items()
            }
            return pd.DataFrame([always] * len(images), dtype=object)

    monkeypatch.setattr(
        generator_quality, "toy_reader", lambda *, size: (AlwaysSmiling(), {"Smiling": 1.0})
    )
    found = measure_toyfaces(draw, size=32, n=40, seen=seen)
    assert not seen & set(drawn)
    subjects = pd.DataFrame([subject_of(prompt) for prompt in drawn])
    assert found["images"] == 40
    assert found["read as asked"]["Smiling"] == subjects["Smiling"].mean()
    assert found["read as asked"]["pose"] == np.mean(
        ["right" in prompt for prompt in drawn if "turned" in prompt]
    )
    assert "clothing" not in found["read as asked"]  # the reader cannot tell
    assert found["smile by group (t,p)"] == {
        "(0,0)": 0.0, "(0,1)": 0.0, "(1,0)": 1.0, "(1,1)": 1.0,
    }  # fmt: skip
    assert found["the reader on rendered studio images"] == {"Smiling": 1.0}


def photographs(n: int) -> Corpus:
    """Return noise that is captioned like photographs of two sources, as the corpus of faces is."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {name: rng.integers(0, 2, n) for name in ("Male", "Young", "ancestry_black")}, dtype="Int8"
    )
    table["Smiling"] = pd.array(rng.integers(0, 2, n), dtype="Int8")
    table.loc[n // 2 :, "Smiling"] = pd.NA  # FairFace knows no smiles
    images = torch.from_numpy(rng.integers(0, 256, (n, 3, 16, 16), dtype=np.uint8))
    return Corpus(images, table, FACES, flip=True, held=np.arange(n) % 3 == 0)


def test_captions_of_held_out_photographs_are_of_both_sources() -> None:
    corpus = photographs(600)
    rows, written = held_out_captions(corpus, 100, seed=2)
    assert len(rows) == len(set(rows)) == len(written) == 100
    assert corpus.held[rows].all()
    assert 30 < (rows < 300).sum() < 70
    for row, text in zip(rows, written, strict=True):
        if row >= 300:
            assert "smiling" not in text
    assert len(held_out_captions(corpus, 1_000, seed=2)[0]) == 200  # no more than there are


def test_own_prompts_are_those_of_the_study_for_every_group() -> None:
    found = own_prompts(80, seed=0)
    assert list(found) == list(TASKS)
    for (target, protected), (prompts, asked) in found.items():
        assert len(prompts) == len(asked) == 80
        assert (asked.groupby([target, protected]).size() == 20).all()
        assert len(asked.columns) == 2
        assert len(set(prompts)) == 80  # 50 in each group to take 20 from
    prompts, asked = found["Smiling", "Male"]
    for prompt, smiling, male in zip(prompts, asked["Smiling"], asked["Male"], strict=True):
        assert ("not smiling" in prompt) == (smiling == 0)
        assert ("female" in prompt) == (male == 0)
    prompts, asked = found["Female", "White"]
    for prompt, female, white in zip(prompts, asked["Female"], asked["White"], strict=True):
        assert ("female" in prompt) == (female == 1)
        assert (" White " in prompt) == (white == 1)


def test_measures_of_photographs_compare_like_with_like(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = photographs(150)
    calls: list[tuple[list[str], list[int]]] = []
    drawn: list[Tensor] = []

    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        calls.append((list(prompts), list(seeds)))
        images = np.random.default_rng(len(calls)).integers(0, 256, (len(prompts), 3, 16, 16))
        drawn.append(torch.from_numpy(images.astype(np.uint8)))
        return drawn[-1]

    featured: list[Tensor] = []

    class Colours:
        """Reads the same in every image; its features are the mean of each colour."""

        def __init__(self, names: Sequence[str]) -> None:
            self.names = names

        def read(self, images: Tensor) -> pd.DataFrame:
            assert len(images) in (60, 50)  # those that are asked for, what was held out
            return pd.DataFrame([dict.fromkeys(self.names, 1)] * len(images))

        def features(self, images: Tensor) -> np.ndarray:
            featured.append(images)
            return images.double().mean(dim=(2, 3)).numpy()

    def readers(*, size: int) -> object:
        names = {"celeba": CELEBA_CLASSES, "utkface": UTKFACE_CLASSES}
        return {name: (Colours(list(classes)), {}) for name, classes in names.items()}

    rng = np.random.default_rng(9)
    of_celeba = SimpleNamespace(
        images=torch.from_numpy(rng.integers(0, 256, (90, 3, 16, 16), dtype=np.uint8)),
        part=np.array(["train", "test", "test"] * 30),
    )
    monkeypatch.setattr(generator_quality, "photo_readers", readers)
    monkeypatch.setattr(generator_quality.celeba, "load", lambda size: of_celeba)
    found = measure_faces(draw, corpus, size=16, n=60)

    (random, _), *of_tasks, (captioned, _) = calls
    assert random == asked_prompts(FACES, 60, seed=1)[0]
    rows, written = held_out_captions(corpus, 60, seed=2)
    assert len(rows) == 50  # all that was held out
    assert captioned == written
    every = [seed for _, of_call in calls for seed in of_call]
    assert len(set(every)) == len(every) == 60 + 4 * 60 + 50  # no noise comes twice
    assert [prompts for prompts, _ in of_tasks] == [p for p, _ in own_prompts(60, seed=0).values()]
    for task in TASKS:  # who reads a 1 in everything is right half of the time, and never
        shares = found[f"read as asked by the study's prompts of {task[0]} | {task[1]}"]
        assert {shares[name] for name in task} == {0.5}
        assert {shares[f"{name}, least of the four groups"] for name in task} == {0.0}

    generated, held, seen, celeba = featured
    assert {len(images) for images in featured} == {50}  # the distance depends on the number
    assert generated is drawn[-1]
    assert torch.equal(held, corpus.images[torch.from_numpy(rows)])
    known = {image.numpy().tobytes() for image in corpus.images[torch.from_numpy(~corpus.held)]}
    assert all(image.numpy().tobytes() in known for image in seen)
    test = {image.numpy().tobytes() for image in of_celeba.images[torch.arange(90) % 3 > 0]}
    assert all(image.numpy().tobytes() in test for image in celeba)

    frechet = found["Fréchet distance, in features"]
    means = [part.double().mean(dim=(2, 3)).numpy() for part in (generated, seen)]
    assert frechet["generated to corpus"] == pytest.approx(quality.frechet_distance(*means))
    assert set(frechet) == {
        *("generated to corpus", "held-out part to corpus"),
        *("generated to CelebA", "held-out part to CelebA"),
    }
    assert "50 of captions" in found["prompts"]
    # Who reads a 1 in everything finds all that was asked for, and all that is labelled.
    assert found["read where it was asked for"] == dict.fromkeys(CELEBA_CLASSES, 1.0)
    labelled = found["read in held-out photographs that are labelled so"]
    assert labelled == dict.fromkeys(labelled, 1.0)
    assert {"Smiling", "Male"} <= set(labelled)
