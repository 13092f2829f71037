"""The text encoder's own lesson: what captions say, told apart before any image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from transformers import CLIPTokenizer

from repro.data.captions import TOYFACES, VOCABULARIES, captions, facts
from repro.data.toyfaces.factors import draw_factors
from repro.generator import diffusion, reading, trainer
from repro.generator.corpus import Corpus

from .tiny import schedule, settings, silent, toy_corpus

HOW = schedule()
SETTINGS = settings(HOW)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return toy_corpus(300)


@pytest.fixture(scope="module")
def words() -> CLIPTokenizer:
    return diffusion.tokenizer(TOYFACES, length=SETTINGS.text_length)


@pytest.mark.parametrize("name", VOCABULARIES)
def test_facts_are_all_that_a_vocabulary_can_say_and_each_once(name: str) -> None:
    known = facts(VOCABULARIES[name])
    assert len(set(known)) == len(known)
    assert known[:6] == [(who, v) for who in ("Smiling", "Young", "Male") for v in (0, 1)]
    for phrase in VOCABULARIES[name]:
        assert set(phrase.when.items()) <= set(known)


def test_targets_are_what_was_said() -> None:
    written = captions(draw_factors(200, seed=1), TOYFACES, seed=2)
    known = facts(TOYFACES)
    targets = reading.said(written, known)
    assert targets.shape == (200, len(known))
    for caption, row in zip(written, targets, strict=True):
        told = {known[at] for at in row.nonzero().flatten().tolist()}
        assert told == set(caption.says.items())
    text = [caption.text for caption in written]
    smiles = [" smiling" in t and "not smiling" not in t for t in text]
    assert targets[:, known.index(("Smiling", 1))].bool().tolist() == smiles


def test_captions_are_not_of_held_out_images(corpus: Corpus) -> None:
    marked = corpus.table.assign(clothing=np.where(corpus.held, "red", "navy"))
    many = SETTINGS.model_copy(update={"text": HOW.model_copy(update={"batch_size": 500})})
    other = Corpus(corpus.images, marked, TOYFACES, False, corpus.held)
    shirts = [c.says["clothing"] for c in reading._batch(other, many, 1) if "clothing" in c.says]
    assert len(shirts) > 50
    assert set(shirts) == {"navy"}
    seen = reading.captions_of(other, many)
    assert {c.text for c in reading._batch(other, many, 3)} <= seen
    assert any("navy" in text for text in seen)
    assert not any("red shirt" in text for text in seen)


def test_only_what_reads_learns(corpus: Corpus, words: CLIPTokenizer) -> None:
    networks = diffusion.build(SETTINGS, words)
    before = {name: value.clone() for name, value in networks.state_dict().items()}
    reading.train(networks, words, corpus, SETTINGS, say=silent)
    changed = {
        name for name, v in networks.state_dict().items() if not torch.equal(v, before[name])
    }
    assert all(name.startswith(("text.", "unet.add_embedding.")) for name in changed)
    assert {name.split(".")[0] for name in changed} == {"text", "unet"}


def test_training_twice_is_the_same(corpus: Corpus, words: CLIPTokenizer) -> None:
    torch.manual_seed(1)
    networks = [diffusion.build(SETTINGS, words) for _ in range(2)]
    for each in networks:
        reading.train(each, words, corpus, SETTINGS, say=silent)
        torch.rand(3)  # what was drawn before does not matter
    first, second = (list(each.state_dict().values()) for each in networks)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_it_learns_to_read_captions_it_never_saw(
    corpus: Corpus, words: CLIPTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[nn.Module] = []
    real = trainer.fit

    def fit(model: nn.Module, *given: object, **named: object) -> trainer.Fitted:
        kept.append(model)
        return real(model, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "fit", fit)
    how = HOW.model_copy(update={"steps": 500, "batch_size": 32, "warmup": 10, "average": 0.95})
    settings = SETTINGS.model_copy(update={"text": how, "text_width": 64})
    networks = diffusion.build(settings, words)
    reading.train(networks, words, corpus, settings, say=silent)
    unseen = captions(draw_factors(300, seed=77), TOYFACES, seed=5)
    seen = reading.captions_of(corpus, settings)
    unseen = [caption for caption in unseen if caption.text not in seen]
    assert len(unseen) > 200
    tokens = diffusion.encode_text(words, [c.text for c in unseen], settings.text_length)
    with torch.no_grad():
        read = kept[0](tokens) > 0
    known = facts(TOYFACES)
    right = read == reading.said(unseen, known).bool()
    chance = reading.said(unseen, known).bool().float().mean()
    assert right.float().mean() > 0.97 > 1 - chance
