"""Chapter 29: a generator's training: losses, samples, and what was measured."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from repro.aimfair.generators import Generator, load
from repro.aimfair.pipelinefolder import GenerationSettings
from repro.chapters.aim.figures import faces_figure
from repro.chapters.aim.generator_quality import measure_faces, measure_toyfaces
from repro.chapters.aim.synthetic import MODELS
from repro.data.captions import VOCABULARIES, captions, sentence
from repro.data.toyfaces.factors import draw_factors
from repro.generator import recipe
from repro.generator.about import ABOUT, about_folder
from repro.generator.settings import WENT_ON_FROM, GeneratorSettings, name_of
from repro.names import check_name
from repro.study.profiles import project_root
from repro.study.session import Part, Study

_SUBJECTS = (
    ("smiling", "female"),
    ("no-smiling", "female"),
    ("smiling", "male"),
    ("no-smiling", "male"),
)
_CONTEXT: Mapping[str, Sequence[Sequence[str]]] = {
    "toyfaces": (
        (),
        ("long wavy blond hair", "earrings", "face turned to the camera"),
        ("glasses", "a red hat", "head turned to the left"),
    ),
    "faces": ((), ("blond hair", "pale skin"), ("black hair", "glasses", "a slightly open mouth")),
}


@dataclass(frozen=True)
class Shown:
    """A packed generator, and what is known of its training."""

    folder: Path
    about: Mapping[str, Any]
    trained_now: bool

    @property
    def where_from(self) -> str:
        """One sentence on where the numbers below come from."""
        training = self.about["training"]
        seconds = sum(training["seconds"].values())
        shipped = self.folder.parent == project_root() / MODELS
        name = self.folder.name if shipped else self.about["corpus"]
        found = "as it is in `models/`" if shipped else "found in the cache, trained before"
        what = "trained by this call" if self.trained_now else found
        return (
            f"Generator `{name}`, {what}: {training['images']:,} images "
            f"({training['held_out']:,} held out), {seconds / 60:.0f} minutes on "
            f"{training['device']} ({training['machine']}), torch {training['versions']['torch']}."
        )

    def generator(self, **changed: Any) -> Generator:
        """Load it with its own defaults, or with others."""
        return load(_settings(self.folder, self.about, **changed))


def _settings(folder: Path, about: Mapping[str, Any], **changed: Any) -> GenerationSettings:
    values = {
        "pipeline": str(folder),
        "scheduler": "as shipped",
        "steps": about["steps"],
        "guidance": about["guidance"],
        "size": about["size"],
        "resize": None,
        "precision": "bfloat16",
    }
    return GenerationSettings.model_validate(values | changed)


def asked(study: Study) -> GeneratorSettings:
    """Return the settings of the generator that parameter ``corpus`` names.

    Raises
    ------
    UnknownNameError
        If there is none of that name; the nearest is given.
    """
    generators = study.profile.generators
    name = check_name("corpus", study.given["corpus"], list(type(generators).model_fields))
    found: GeneratorSettings = getattr(generators, name)
    return found


def obtain(settings: GeneratorSettings, *, train: bool = False) -> Shown:
    """Return the generator of these settings: the one that ships, else one that is trained now.

    The shipped one's settings are constants of `repro.generator.settings`. With others it is
    trained (or found, if it was trained before) in the cache; with ``train`` the shipped one is
    made anew, measured, and put into ``models/``.

    Raises
    ------
    DataError
        If its corpus is not there; the message says what to fetch.
    """
    name, ours = name_of(settings), project_root() / MODELS
    ships = name is not None
    folder = recipe.work_folder(settings) / "packed" if name is None else ours / name
    there = (folder / ABOUT).is_file()
    if there and not (train and ships):
        return Shown(folder, about_folder(folder), False)
    trained = recipe.train(
        settings,
        start=ours / WENT_ON_FROM[name] if name in WENT_ON_FROM else None,
        say=lambda words: print(words, file=sys.stderr, flush=True),
    )
    recipe.pack(trained, folder)
    if ships:
        recipe.pack(trained, folder, measured=measured(trained, folder))
    return Shown(folder, about_folder(folder), True)


def measured(trained: recipe.Trained, folder: Path) -> dict[str, Any]:
    """Return what classifiers read in the images of a packed generator."""
    generator = load(_settings(folder, about_folder(folder)))

    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        import torch

        size = generator.batch
        parts = [
            generator.draw(prompts[at : at + size], seeds[at : at + size])
            for at in range(0, len(prompts), size)
        ]
        return torch.cat(parts)

    settings = trained.settings
    if settings.corpus == "toyfaces":
        seen = recipe.captions_seen(trained.corpus, settings)
        return measure_toyfaces(draw, size=settings.size, seen=seen)
    return measure_faces(draw, trained.corpus, size=settings.size)


def some_captions(settings: GeneratorSettings, n: int) -> list[str]:
    """Return captions of toy faces as a Markdown list; of photographs they would tell of people."""
    table = draw_factors(n, seed=3)
    written = captions(table, VOCABULARIES["toyfaces"], seed=settings.seed)
    return [f"- {caption.text}" for caption in written]


def sizes_table(shown: Shown) -> pd.DataFrame:
    """Return the parameters of each part, and how it was trained."""
    pipe = shown.generator(precision="float32").pipe
    counted = {
        "autoencoder": pipe.vae,
        "text encoder": pipe.text_encoder,
        "UNet": pipe.unet,
    }
    settings = shown.about["settings"]
    stages = {
        "autoencoder": ("autoencoder",),
        "text encoder": ("text", "diffusion"),
        "UNet": ("diffusion",),
    }
    rows = []
    for name, part in counted.items():
        how = [settings[stage] for stage in stages[name]]
        rows.append(
            {
                "part": name,
                "class": type(part).__name__,
                "parameters": f"{sum(p.numel() for p in part.parameters()):,}",
                "steps": ", then ".join(f"{each['steps']:,}" for each in how),
                "batch": ", ".join(str(each["batch_size"]) for each in how),
                "rate": ", ".join(f"{each['learning_rate']:g}" for each in how),
            }
        )
    return pd.DataFrame(rows)


def losses_figure(shown: Shown) -> Figure:
    """Draw the losses against steps; of one that went on from another, every training."""
    figure, panels = plt.subplots(1, 3, figsize=(9, 2.6), layout="constrained")
    training = shown.about["training"]
    histories = [training["history"]]
    while "went_on_from" in training:
        training = training["went_on_from"]["training"]
        histories.insert(0, training["history"])
    names = {"autoencoder": "pixels and edges", "text": "facts", "diffusion": "velocity"}
    for axes, (name, words) in zip(panels, names.items(), strict=True):
        for history in histories:
            learnt = history.get(name, [])  # a part that was taken over learnt nothing more
            steps = [entry["step"] for entry in learnt]
            axes.plot(steps, [entry["loss"] for entry in learnt], ".-")
        axes.set_yscale("log")
        axes.set_xlabel("step")
        axes.set_ylabel(f"loss ({words})")
        axes.set_title(name, fontsize="medium")
    return figure


def samples_figure(shown: Shown, *, seed: int, columns: int = 8) -> Figure:
    """Draw a contact sheet: a row for each prompt, a column for each noise that follows a seed."""
    drawn = shown.generator()
    noises = [seed * 1000 + column for column in range(columns)]
    rows = {}
    for context in _CONTEXT[shown.about["corpus"]]:
        for subject in _SUBJECTS:
            words = list(subject)
            prompt = sentence(words, context)
            label = "\n".join([" ".join(words), *context])
            rows[label] = drawn.draw([prompt] * columns, noises)
    return faces_figure(rows, title="drawn by the generator: none of these people exists")


def guidance_figure(shown: Shown, *, seed: int) -> Figure:
    """Draw the same noise and prompt at growing guidance."""
    subject = _SUBJECTS[0]
    prompt = sentence(list(subject), _CONTEXT[shown.about["corpus"]][1])
    rows = {}
    for guidance in (1.0, 2.0, 3.0, 5.0, 8.0):
        images = shown.generator(guidance=guidance).draw([prompt] * 8, [seed + i for i in range(8)])
        rows[f"w = {guidance:g}"] = images
    return faces_figure(rows, title=prompt)


def measured_in_it(shown: Shown) -> list[Part]:
    """Return on what a generator was measured, and a table of each measure below its title."""
    found = shown.about["training"]["measured"]
    if not found:
        return ["Nothing was measured: this is not the generator that ships."]
    prompts = found.get("prompts", "of random content")
    parts: list[Part] = [f"{found['images']:,} images of prompts {prompts}."]
    for title, numbers in found.items():
        if isinstance(numbers, dict):
            rows = [{"": name, **_cells(value)} for name, value in numbers.items()]
            parts += [f"**{title[0].upper()}{title[1:]}**", pd.DataFrame(rows)]
    return parts


#: The generators of photographs that are set side by side, the first that was made and the last.
PHOTOGRAPHS = ("faces", "faces_ages")


def of_photographs() -> list[Shown]:
    """Return those of `PHOTOGRAPHS` that are in ``models/``."""
    folders = [project_root() / MODELS / name for name in PHOTOGRAPHS]
    there = [folder for folder in folders if (folder / ABOUT).is_file()]
    return [Shown(folder, about_folder(folder), False) for folder in there]


def side_by_side(generators: Sequence[Shown]) -> pd.DataFrame:
    """Return what was measured in each generator, a column each; what one lacks is empty."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for shown in generators:
        for what, numbers in shown.about["training"]["measured"].items():
            for name, value in numbers.items() if isinstance(numbers, dict) else ():
                if isinstance(value, float):
                    rows.setdefault((what, name), {})[shown.folder.name] = f"{value:.3f}"
    names = [shown.folder.name for shown in generators]
    return pd.DataFrame(
        [
            {"measure": what, "of": name, **{n: found.get(n, "") for n in names}}
            for (what, name), found in rows.items()
        ]
    )


def photographs_figure(generators: Sequence[Shown], *, seed: int) -> Figure:
    """Draw the plain prompt of four groups by each generator, from the same noise."""
    rows = {}
    for subject in (*_SUBJECTS[:2], ("aged", "female"), ("young", "male")):
        prompt = sentence(list(subject), [])
        for shown in generators:
            label = f"{' '.join(subject)}\n{shown.folder.name}"
            noises = [seed * 1000 + column for column in range(8)]
            rows[label] = shown.generator().draw([prompt] * 8, noises)
    return faces_figure(rows, title="drawn by the generators: none of these people exists")


def _cells(value: Any) -> dict[str, str]:
    if isinstance(value, list):
        return {str(i + 1): f"{number:.3f}" for i, number in enumerate(value)}
    return {"value": f"{value:.3f}"}
