"""Chapter 29: which generator is shown, and that what is said of it is what it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from safetensors import safe_open
from torch import Tensor

from repro.chapters.aim import train_a_generator
from repro.chapters.aim.train_a_generator import Shown
from repro.data.toyfaces.factors import draw_factors
from repro.generator import recipe
from repro.generator.settings import TOYFACES
from repro.names import UnknownNameError
from repro.study.profiles import load_profile, project_root
from repro.study.session import Study

SHIPPED = project_root() / "models" / "toyfaces"
ABOUT = json.loads((SHIPPED / "generator.json").read_text(encoding="utf-8"))


def shown(**training: Any) -> Shown:
    """Return the generator that ships, with some of what is known of its training replaced."""
    return Shown(SHIPPED, ABOUT | {"training": ABOUT["training"] | training}, False)


def test_the_corpus_names_the_settings_and_a_wrong_one_the_nearest() -> None:
    study = Study(load_profile("quick"), given={"corpus": "faces"}, paper="aim-fair")
    assert train_a_generator.asked(study) == study.profile.generators.faces
    wrong = Study(load_profile("quick"), given={"corpus": "toyface"}, paper="aim-fair")
    with pytest.raises(UnknownNameError, match="'toyface'; did you mean 'toyfaces'"):
        train_a_generator.asked(wrong)


def test_the_one_that_ships_is_found_and_any_other_trained_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPRO_CACHE", str(tmp_path))
    trained: list[object] = []

    def train(settings: object, **_: object) -> object:
        trained.append(settings)
        return settings

    def pack(_: object, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "generator.json").write_text(json.dumps(ABOUT), encoding="utf-8")

    monkeypatch.setattr(recipe, "train", train)
    monkeypatch.setattr(recipe, "pack", pack)
    ships = train_a_generator.obtain(TOYFACES)
    assert (ships.folder, ships.trained_now, trained) == (SHIPPED, False, [])
    other = TOYFACES.model_copy(update={"images": 128})
    first, again = (train_a_generator.obtain(other) for _ in range(2))
    assert tmp_path in first.folder.parents
    assert (first.trained_now, again.trained_now) == (True, False)
    assert first.folder == again.folder
    assert trained == [other]


def test_where_it_is_from_is_one_sentence() -> None:
    own = shown(
        images=1200,
        held_out=60,
        seconds={"autoencoder": 100, "text": 20, "diffusion": 60},
        device="cpu",
        machine="a machine",
        versions={"torch": "2.0"},
    )
    assert own.where_from == (
        "Generator `toyfaces`, as it is in `models/`: 1,200 images (60 held out), 3 minutes on cpu "
        "(a machine), torch 2.0."
    )
    assert ", trained by this call:" in Shown(SHIPPED, own.about, True).where_from
    assert ", found in the cache, trained before:" in Shown(Path("x"), own.about, False).where_from


def test_parameters_are_those_of_the_files() -> None:
    table = train_a_generator.sizes_table(shown()).set_index("part")
    files = {
        "autoencoder": "vae/diffusion_pytorch_model.safetensors",
        "text encoder": "text_encoder/model.safetensors",
        "UNet": "unet/diffusion_pytorch_model.safetensors",
    }
    for part, name in files.items():
        with safe_open(SHIPPED / name, "pt") as weights:
            count = sum(weights.get_tensor(key).numel() for key in weights.keys())  # noqa: SIM118
        assert table.loc[part, "parameters"] == f"{count:,}"
    # The shape of the text encoder is learnt from captions, and then frozen in the training.
    text, diffusion = (ABOUT["settings"][stage]["steps"] for stage in ("text", "diffusion"))
    assert table.loc["text encoder", "steps"] == f"{text:,}, then {diffusion:,}"
    assert table.loc["UNet", "steps"] == f"{diffusion:,}"


def test_losses_are_drawn_at_their_steps() -> None:
    history = {
        stage: [{"step": 10 * at, "loss": loss / at} for at in (1, 2)]
        for stage, loss in (("autoencoder", 1.0), ("text", 3.0), ("diffusion", 5.0))
    }
    panels = train_a_generator.losses_figure(shown(history=history)).axes
    assert [axes.get_title() for axes in panels] == list(history)
    for axes, loss in zip(panels, (1.0, 3.0, 5.0), strict=True):
        (line,) = axes.lines
        assert list(line.get_xdata()) == [10, 20]
        assert list(line.get_ydata()) == [loss, loss / 2]
    # Of one that went on from it, and took its autoencoder over, both trainings are drawn.
    later = {name: [{"step": 30, "loss": 0.5}] for name in ("text", "diffusion")}
    before = {"training": {"history": history}}
    figure = train_a_generator.losses_figure(shown(history=later, went_on_from=before))
    drawn = [[list(line.get_xdata()) for line in axes.lines] for axes in figure.axes]
    assert drawn == [[[10, 20], []], [[10, 20], [30]], [[10, 20], [30]]]


def test_generators_stand_side_by_side() -> None:
    first = {"images": 4, "a measure": {"Smiling": 0.5, "near": [0.1, 0.2]}}
    second = {"a measure": {"Smiling": 0.75}, "another": {"White": 0.25}}
    generators = [
        Shown(Path(name), {"training": {"measured": measured}}, False)
        for name, measured in (("old", first), ("new", second))
    ]
    table = train_a_generator.side_by_side(generators)
    assert table.to_dict("records") == [
        {"measure": "a measure", "of": "Smiling", "old": "0.500", "new": "0.750"},
        {"measure": "another", "of": "White", "old": "", "new": "0.250"},
    ]
    there = [shown.folder.name for shown in train_a_generator.of_photographs()]
    assert there == list(train_a_generator.PHOTOGRAPHS)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, list[str], list[int]]]:
    """Replace drawing; return what was asked for, by guidance."""
    calls: list[tuple[Any, list[str], list[int]]] = []

    class Asked:
        def __init__(self, guidance: float | None) -> None:
            self.guidance = guidance

        def draw(self, prompts: list[str], seeds: list[int]) -> Tensor:
            calls.append((self.guidance, prompts, seeds))
            return torch.zeros(len(prompts), 3, 8, 8, dtype=torch.uint8)

    monkeypatch.setattr(Shown, "generator", lambda _, guidance=None: Asked(guidance))
    return calls


def rows(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_a_row_is_one_prompt_and_a_column_one_noise(asked: list[Any]) -> None:
    figure = train_a_generator.samples_figure(shown(), seed=7, columns=3)
    assert len(figure.axes) == 12 * 3  # four groups, three contexts
    assert [seeds for _, _, seeds in asked] == [[7000, 7001, 7002]] * 12
    prompts = [texts[0] for _, texts, _ in asked]
    assert all(texts == [texts[0]] * 3 for _, texts, _ in asked)
    assert len(set(prompts)) == 12
    assert rows(figure)[0] == "smiling female"
    for name, prompt in zip(rows(figure), prompts, strict=True):
        assert all(words in prompt for words in name.split("\n"))


def test_guidance_alone_grows_from_row_to_row(asked: list[Any]) -> None:
    figure = train_a_generator.guidance_figure(shown(), seed=5)
    guidances = [guidance for guidance, _, _ in asked]
    assert guidances == sorted(set(guidances))
    assert guidances[0] == 1  # none
    assert rows(figure) == [f"w = {guidance:g}" for guidance in guidances]
    (prompts,) = {tuple(texts) for _, texts, _ in asked}
    assert figure.get_suptitle() == prompts[0]
    assert {tuple(seeds) for _, _, seeds in asked} == {tuple(range(5, 13))}


def test_what_was_measured_stands_below_its_title() -> None:
    measured = {
        "images": 1000,
        "prompts": "of one kind",
        "read as asked": {"Smiling": 0.9876, "Male": 0.5},
        "distance to the nearest": {"generated": [0.1, 0.25]},
    }
    how, first, table, second, distances = train_a_generator.measured_in_it(
        shown(measured=measured)
    )
    assert how == "1,000 images of prompts of one kind."
    assert (first, second) == ("**Read as asked**", "**Distance to the nearest**")
    assert table.to_numpy().tolist() == [["Smiling", "0.988"], ["Male", "0.500"]]
    assert distances.to_dict("records") == [{"": "generated", "1": "0.100", "2": "0.250"}]


def test_of_a_generator_that_was_not_measured_nothing_is_shown() -> None:
    assert train_a_generator.measured_in_it(shown(measured={})) == [
        "Nothing was measured: this is not the generator that ships."
    ]


def test_captions_say_who_is_there() -> None:
    written = train_a_generator.some_captions(TOYFACES, 30)
    people, named = draw_factors(30, seed=3), 0
    for text, person in zip(written, people.to_dict("records"), strict=True):
        assert text.startswith("- Portrait face photo of a")
        said = {"male", "female"} & {word.strip(",.") for word in text.split()}
        assert said <= {"male" if person["Male"] else "female"}  # or nothing
        named += len(said)
    assert named > 15
