"""All of a training in one call: what it leaves, and that stopping changes nothing."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from repro.generator import diffusion, recipe, trainer
from repro.generator.about import about_folder
from repro.generator.card import card
from repro.generator.recipe import Trained
from repro.generator.settings import FACES, TOYFACES, GeneratorSettings

from .tiny import schedule, settings

HOW = schedule(steps=3, batch_size=4)
SETTINGS = settings(HOW, encoder_blocks=(0, 1, 1), decoder_blocks=(1, 1, 0))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRO_CACHE", str(cache))
    monkeypatch.setattr(trainer, "LOG_EVERY", 1)


@pytest.fixture(scope="module")
def trained(cache: Path) -> Trained:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRO_CACHE", str(cache))
        patch.setattr(trainer, "LOG_EVERY", 1)
        return recipe.train(SETTINGS, device="cpu", say=lambda words: None)


def weights(found: Trained) -> list[torch.Tensor]:
    parts = (found.autoencoder, found.networks)
    return [value for part in parts for value in part.state_dict().values()]


def test_a_finished_training_is_found_again(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = recipe.work_folder(SETTINGS)
    assert sorted(path.name for path in work.iterdir()) == [
        "autoencoder.safetensors",
        "diffusion.safetensors",
        "text.safetensors",
    ]
    heard: list[str] = []

    def nothing_to_do(*_: Any) -> Any:
        raise AssertionError("a step was trained again")

    monkeypatch.setattr(diffusion, "_batch", nothing_to_do)
    again = recipe.train(SETTINGS, device="cpu", say=heard.append)
    assert heard.count("going on from step 3 of 3") == 3
    assert all(torch.equal(a, b) for a, b in zip(weights(trained), weights(again), strict=True))
    assert again.autoencoder.config.scaling_factor == trained.autoencoder.config.scaling_factor
    for name in ("autoencoder", "text", "diffusion"):
        assert again.fits[name].history == trained.fits[name].history


def test_latents_are_scaled_to_unit_spread(trained: Trained) -> None:
    latents = recipe._latents(trained.autoencoder, trained.corpus.images, "cpu")
    assert latents.shape == (64, 4, 8, 8)
    assert float(latents.std()) == pytest.approx(1, abs=0.01)


def test_what_is_packed_says_how_it_was_made(trained: Trained, tmp_path: Path) -> None:
    recipe.pack(trained, tmp_path / "toys", measured={"images": 5})
    about = about_folder(tmp_path / "toys")
    training = about["training"]
    assert about["settings"] == SETTINGS.model_dump(mode="json")
    assert training["images"] == 64
    assert training["held_out"] == int(trained.corpus.held.sum())
    assert training["data_sha256"] == trained.corpus.sha256
    assert training["measured"] == {"images": 5}
    for name in ("autoencoder", "text", "diffusion"):
        assert training["history"][name] == trained.fits[name].history
        assert [entry["step"] for entry in training["history"][name]] == [1, 2, 3]
    text = (tmp_path / "toys" / "README.md").read_text(encoding="utf-8")
    assert text == card(SETTINGS, training)
    everything = json.dumps(about) + text
    assert not [
        root
        for root in (str(tmp_path), str(Path.home()), tempfile.gettempdir())
        if root in everything
    ]


def test_a_packed_generator_is_gone_on_from(trained: Trained, tmp_path: Path) -> None:
    recipe.pack(trained, tmp_path / "first")
    longer = SETTINGS.model_copy(
        update={"diffusion": HOW.model_copy(update={"steps": 5}), "evened": ("Male",)}
    )
    heard: list[str] = []
    second = recipe.train(longer, start=tmp_path / "first", device="cpu", say=heard.append)
    assert [words.split(",")[0] for words in heard if words.startswith("step")] == [
        "step 1/3", "step 2/3", "step 3/3", "step 4/5", "step 5/5",
    ]  # fmt: skip
    # The autoencoder is that of the folder: what was trained, rounded to half precision.
    for name, value in second.autoencoder.state_dict().items():
        assert torch.equal(value, trained.autoencoder.state_dict()[name].half().float())
    assert second.autoencoder.config.scaling_factor == trained.autoencoder.config.scaling_factor
    assert second.words.get_vocab() == trained.words.get_vocab()
    text = "glasses and a red hat"
    assert second.words(text).input_ids == trained.words(text).input_ids
    # Text encoder and UNet start from there: two steps lead less far than from random weights.
    fresh = diffusion.build(longer, second.words)
    for part in ("text", "unet"):
        near, far = (
            sum(
                float((a - b).square().sum())
                for a, b in zip(
                    getattr(second.networks, part).state_dict().values(),
                    getattr(other, part).state_dict().values(),
                    strict=True,
                )
                if a.is_floating_point()
            )
            for other in (trained.networks, fresh)
        )
        assert near < far
    recipe.pack(second, tmp_path / "second")
    told = about_folder(tmp_path / "second")["training"]["went_on_from"]
    unet = (tmp_path / "first" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    assert told["unet_sha256"] == hashlib.sha256(unet).hexdigest()
    assert told["settings"]["diffusion"]["steps"] == 3
    words = (tmp_path / "second" / "README.md").read_text(encoding="utf-8")
    assert "an earlier one, 3 steps of 4 images" in words
    assert "3 + 5 steps" in words
    # A training from another folder does not go on from this one's checkpoint.
    recipe.pack(second, tmp_path / "other")
    heard.clear()
    recipe.train(longer, start=tmp_path / "other", device="cpu", say=heard.append)
    assert not [words for words in heard if words.startswith("going on from")]
    heard.clear()
    recipe.train(longer, start=tmp_path / "other", device="cpu", say=heard.append)
    # Its UNet has all of its steps behind it, so that the text encoder alone left one.
    assert [w for w in heard if w.startswith("going on from")] == ["going on from step 3 of 3"]


@pytest.mark.parametrize("settings", [TOYFACES, FACES])
def test_cards_are_complete(settings: GeneratorSettings) -> None:
    training = {
        "images": 12_345,
        "held_out": 678,
        "seconds": {"autoencoder": 50, "text": 10, "diffusion": 120},
        "device": "cpu",
        "machine": "Linux, 2 cores",
        "versions": {"torch": "1.2.3", "diffusers": "4.5.6"},
    }
    text = card(settings, training)
    assert "{" not in text
    for words in (
        "12,345", "678", "3 minutes", "torch 1.2.3", "diffusers 4.5.6",
        f"{settings.size}x{settings.size}", f"-p corpus {settings.corpus}",
        f"{settings.autoencoder.steps} + {settings.text.steps} + {settings.diffusion.steps} steps",
        "Licence", "Intended use", "Limits", "Data",
    ):  # fmt: skip
        assert words in text
    assert ("non-commercial" in text) == (settings.corpus == "faces")


@pytest.mark.parametrize(
    ("changed", "autoencoder", "networks"),
    [
        ({"steps": 7, "guidance": 1.5}, False, False),
        ({"text_width": 64}, False, True),
        ({"text": HOW.model_copy(update={"steps": 5})}, False, True),
        ({"caption_dropout": 0.2}, False, True),
        ({"diffusion": HOW.model_copy(update={"steps": 5})}, False, True),
        ({"autoencoder": HOW.model_copy(update={"steps": 5})}, True, True),
        ({"latent_channels": 8}, True, True),
        ({"seed": 1}, True, True),
        ({"images": 65}, True, True),
    ],
)
def test_what_makes_a_training_another_one(
    changed: dict[str, Any], autoencoder: bool, networks: bool
) -> None:
    other = SETTINGS.model_copy(update=changed)
    for until, differs in (("autoencoder", autoencoder), ("diffusion", networks)):
        assert (recipe._stamp(other, until) != recipe._stamp(SETTINGS, until)) == differs
    assert (recipe.work_folder(other) != recipe.work_folder(SETTINGS)) == networks


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"size": 36}, "multiple of 8"),
        ({"images": None}, "images must be given"),
        ({"corpus": "faces"}, "images cannot be set"),
        ({"channels": (48,)}, "multiples of 32"),
        ({"encoder_blocks": (0, 1)}, "must be as many"),
        ({"width_of": 3}, "width_of"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GeneratorSettings.model_validate(SETTINGS.model_dump() | changed)
