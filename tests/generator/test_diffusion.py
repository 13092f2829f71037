"""Text encoder and UNet: words, velocities, what batches hold, and training twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import CLIPTokenizer

from repro.data.captions import PHRASES_OF, TOYFACES, VOCABULARIES, Phrase
from repro.generator import diffusion, trainer
from repro.generator.corpus import Corpus

from .tiny import schedule, settings, silent, toy_corpus

HOW = schedule()
SETTINGS = settings(HOW)
N = 40


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return toy_corpus(N)


@pytest.fixture(scope="module")
def latents() -> Tensor:
    """Latents that carry the number of their row."""
    noise = torch.randn(N, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    noise[:, 0, 0, 0] = torch.arange(N).float()
    return noise


@pytest.fixture(scope="module")
def words() -> CLIPTokenizer:
    return diffusion.tokenizer(TOYFACES, length=SETTINGS.text_length)


@pytest.mark.parametrize("name", VOCABULARIES)
def test_each_word_of_a_vocabulary_is_one_token(name: str) -> None:
    vocabulary = VOCABULARIES[name]
    made = diffusion.tokenizer(vocabulary, length=40)
    texts = [phrase.text for phrase in vocabulary]
    texts += [text for sides in PHRASES_OF.values() for side in sides for text in side]
    texts += ["Portrait face photo of a person with", "an aged male, and"]
    for text in texts:
        spaced = text.lower().replace("-", " - ").replace(",", " ,")
        assert made.tokenize(text) == [f"{word}</w>" for word in spaced.split()]


def test_no_prompt_of_four_phrases_is_cut_off(words: CLIPTokenizer) -> None:
    for vocabulary in VOCABULARIES.values():
        own = diffusion.tokenizer(vocabulary, length=SETTINGS.text_length)
        longest: dict[str, Phrase] = {}
        for phrase in vocabulary:
            kept = longest.setdefault(phrase.slot, phrase)
            longest[phrase.slot] = max(kept, phrase, key=lambda p: len(own.tokenize(p.text)))
        four = sorted((p.text for p in longest.values()), key=lambda t: -len(own.tokenize(t)))[:4]
        prompt = "Portrait face photo of a no-smiling young female with {}, {}, {}, and {}"
        assert len(own(prompt.format(*four)).input_ids) <= SETTINGS.text_length


def test_unknown_words_are_kept_as_letters(words: CLIPTokenizer) -> None:
    known = set(words.get_vocab())
    for text in ("zebra", "quixotic é 日", "photo!?"):
        numbers = words(text).input_ids
        assert {words.convert_ids_to_tokens(n) for n in numbers} <= known
        inner = numbers[1:-1]
        assert words.unk_token_id not in inner
        assert words.decode(inner).replace(" ", "") == text.replace(" ", "")
    assert len(words.tokenize("zebra")) > 2


def test_the_tokenizer_is_the_same_each_time(words: CLIPTokenizer) -> None:
    again = [diffusion.tokenizer(TOYFACES, length=SETTINGS.text_length) for _ in range(4)]
    assert all(each.get_vocab() == words.get_vocab() for each in again)


def test_the_tokenizer_survives_saving(words: CLIPTokenizer, tmp_path: Path) -> None:
    words.save_pretrained(tmp_path)
    loaded = CLIPTokenizer.from_pretrained(tmp_path)
    texts = ["", "Portrait face photo of an aged male with glasses, a zebra, and no hat"]
    assert torch.equal(
        diffusion.encode_text(loaded, texts, 40), diffusion.encode_text(words, texts, 40)
    )
    assert loaded.model_max_length == words.model_max_length == 40
    assert len(loaded) == len(words)


def test_texts_are_framed_padded_and_cut(words: CLIPTokenizer) -> None:
    tokens = diffusion.encode_text(words, ["", "glasses", "glasses " * 30], 12)
    start, end = words.bos_token_id, words.eos_token_id
    assert tokens.shape == (3, 12)
    assert tokens.dtype == torch.int64
    assert tokens[0].tolist() == [start] + [end] * 11
    assert tokens[1].tolist() == [start, words.convert_tokens_to_ids("glasses</w>")] + [end] * 10
    assert tokens[2, -1] == end
    assert end not in tokens[2, :-1].tolist()


def test_shapes_and_seed_of_the_networks(words: CLIPTokenizer) -> None:
    before = torch.get_rng_state()
    first, second = diffusion.build(SETTINGS, words), diffusion.build(SETTINGS, words)
    assert torch.equal(torch.get_rng_state(), before)
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    tokens = diffusion.encode_text(words, ["glasses", "a red hat", ""], SETTINGS.text_length)
    with torch.no_grad():
        velocity = first(torch.zeros(3, 4, 8, 8), torch.tensor([0, 500, 999]), tokens)
    assert velocity.shape == (3, 4, 8, 8)


def test_captions_reach_the_velocity(words: CLIPTokenizer) -> None:
    networks = diffusion.build(SETTINGS, words).eval()
    tokens = diffusion.encode_text(words, ["glasses", "a red hat"], SETTINGS.text_length)
    with torch.no_grad():
        velocity = networks(torch.zeros(2, 4, 8, 8), torch.tensor([500, 500]), tokens)
    assert not torch.allclose(velocity[0], velocity[1])


def test_noise_and_velocity_by_hand() -> None:
    noising = diffusion.noise_schedule()
    times = torch.tensor([0, 400, 999])
    clean, noise = torch.randn(2, 3, 4, 2, 2, generator=torch.Generator().manual_seed(1))
    # Nichol and Dhariwal (2021), equation 17, with the step that is taken at each time.
    share = (times.double() + 1) / 1000
    bar = (torch.cos((share + 0.008) / 1.008 * torch.pi / 2) ** 2) / (
        np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    )
    alpha, sigma = bar.sqrt()[:, None, None, None], (1 - bar).sqrt()[:, None, None, None]
    noised = noising.add_noise(clean, noise, times).double()
    velocity = noising.get_velocity(clean, noise, times).double()
    # The last step is capped, so that something of the signal is left.
    torch.testing.assert_close(noised, alpha * clean + sigma * noise, atol=2e-4, rtol=0)
    torch.testing.assert_close(velocity, alpha * noise - sigma * clean, atol=2e-4, rtol=0)
    torch.testing.assert_close(alpha * noised - sigma * velocity, clean.double(), atol=5e-4, rtol=0)


def test_batches_hold_no_held_out_image_and_their_captions_are_known_again(
    corpus: Corpus, latents: Tensor, words: CLIPTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    cleaned: list[Tensor] = []
    settings = SETTINGS.model_copy(update={"caption_dropout": 0.4})
    real_text, real_noise = diffusion.encode_text, diffusion.noise_schedule

    def encode_text(own: CLIPTokenizer, texts: list[str], length: int) -> Tensor:
        encoded.extend(texts)
        return real_text(own, texts, length)

    class Noising:
        """Remembers what was noised."""

        def __init__(self) -> None:
            self.real = real_noise()

        def add_noise(self, clean: Tensor, *others: Tensor) -> Tensor:
            cleaned.append(clean)
            return self.real.add_noise(clean, *others)

        def get_velocity(self, *given: Tensor) -> Tensor:
            return self.real.get_velocity(*given)

    monkeypatch.setattr(diffusion, "encode_text", encode_text)
    monkeypatch.setattr(diffusion, "noise_schedule", Noising)
    networks = diffusion.build(settings, words)
    diffusion.train(networks, words, corpus, latents, settings, say=silent)
    rows = torch.cat(cleaned)[:, 0, 0, 0].int().numpy()
    assert len(rows) == len(encoded) == 32
    assert not corpus.held[rows].any()
    assert len(set(rows.tolist())) > 10
    silenced = [text == "" for text in encoded]
    assert 3 <= sum(silenced) <= 24
    seen = diffusion.captions_of(corpus, settings)
    spoken = {text for text in encoded if text}
    assert spoken <= seen
    # What was left out for guidance counts as seen, too.
    assert len(seen) <= len(spoken) + sum(silenced)
    whole = settings.model_copy(update={"caption_dropout": 0.0})
    encoded.clear()
    diffusion.train(networks, words, corpus, latents, whole, say=silent)
    assert set(encoded) == seen
    assert diffusion.captions_of(corpus, whole) == seen


def test_mirror_images_are_taken_one_time_in_two(
    corpus: Corpus, latents: Tensor, words: CLIPTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Tensor] = []

    class Reached(Exception):  # noqa: N818
        """Enough was seen."""

    class Noising:
        """Ends a training where noise is added."""

        def add_noise(self, clean: Tensor, *_: Tensor) -> Tensor:
            taken.append(clean)
            raise Reached

    monkeypatch.setattr(diffusion, "noise_schedule", Noising)
    many = SETTINGS.model_copy(update={"diffusion": HOW.model_copy(update={"batch_size": 400})})
    networks = diffusion.build(SETTINGS, words)
    with pytest.raises(Reached):
        diffusion.train(
            networks, words, corpus, latents, many, mirrored=latents + 100.0, say=silent
        )  # fmt: skip
    flipped = taken[0][:, 0, 0, 0] >= 100
    assert 0.4 < flipped.float().mean() < 0.6
    rows = (taken[0][:, 0, 0, 0] - 100.0 * flipped).int()
    assert torch.equal(taken[0], latents[rows] + 100.0 * flipped[:, None, None, None])


def test_training_twice_is_the_same(
    corpus: Corpus, latents: Tensor, words: CLIPTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "LOG_EVERY", 1)
    short = SETTINGS.model_copy(update={"diffusion": HOW.model_copy(update={"steps": 3})})
    networks = [diffusion.build(SETTINGS, words) for _ in range(3)]
    seeds = (short, short, short.model_copy(update={"seed": 1}))
    losses = [
        diffusion.train(each, words, corpus, latents, how, say=silent).history
        for each, how in zip(networks, seeds, strict=True)
    ]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]
    first, second = (list(each.state_dict().values()) for each in networks[:2])
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_its_loss_falls(
    corpus: Corpus, latents: Tensor, words: CLIPTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "LOG_EVERY", 6)
    how = HOW.model_copy(update={"steps": 30, "warmup": 2, "learning_rate": 5e-3, "batch_size": 16})
    settings = SETTINGS.model_copy(update={"diffusion": how, "size": 16})
    same = latents[:1, :, 4:, 4:].repeat(N, 1, 1, 1)  # easily learnt
    fitted = diffusion.train(
        diffusion.build(settings, words), words, corpus, same, settings, say=silent
    )
    assert fitted.history[-1]["loss"] < 0.8 * fitted.history[0]["loss"]
