"""What a trained generator draws, read by classifiers that were trained on other images.

The numbers are kept with the generator (``measured`` in its ``generator.json``), because the
classifiers take longer to train than a page may take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from repro.aimfair.prompt_bank import prompt_bank
from repro.aimfair.prompt_form import CONTEXTUAL, Task
from repro.data import celeba, toyfaces, utkface
from repro.data.captions import FACETS, PHRASES_OF, VOCABULARIES, Phrase, captions, sentence
from repro.data.splits import GROUPS
from repro.generator import quality
from repro.generator.corpus import Corpus
from repro.generator.oracle import Oracle
from repro.generator.oracle import train as train_oracle

Draw = Callable[[Sequence[str], Sequence[int]], Tensor]

#: What the reader of toy faces is asked.
TOY_CLASSES: Mapping[str, tuple[object, ...]] = {
    **dict.fromkeys(("Smiling", "Male", "Young", "Eyeglasses", "Wearing_Hat"), (0, 1)),
    **dict.fromkeys(("Beard", "Wavy_Hair", "Pale_Skin"), (0, 1)),
    "hair_colour": ("black", "brown", "blond", "grey"),
    "hair_style": ("bald", "short", "bob", "long", "bun"),
    "pose": ("frontal", "left", "right"),
    "background": ("grey", "blue", "green", "beige", "purple"),
}
CELEBA_CLASSES: Mapping[str, tuple[object, ...]] = dict.fromkeys(
    ("Smiling", "Male", "Young", "Eyeglasses", "Wearing_Hat"), (0, 1)
)
UTKFACE_CLASSES: Mapping[str, tuple[object, ...]] = dict.fromkeys(("Young", "White"), (0, 1))
#: The study's tasks on photographs, target and protected attribute.
TASKS = (("Smiling", "Male"), ("Smiling", "Young"), ("Young", "Male"), ("Female", "White"))
#: Prompts of each group that a pool of these tasks has.
_PROMPTS = 50
_READER_SEED = 900_007  # of toy faces that no generator and no classifier of the study has seen


def asked_prompts(
    vocabulary: Sequence[Phrase], n: int, *, seed: int, avoid: frozenset[str] = frozenset()
) -> tuple[list[str], pd.DataFrame]:
    """Return n prompts of random content, and what each asks for.

    Parameters
    ----------
    vocabulary
        The phrases to choose from, one of a slot at most, none that contradicts the subject.
    n, seed
        How many, and of which draw.
    avoid
        Prompts that are not to be among them, those of the training say.

    Returns
    -------
    list, pandas.DataFrame
        The prompts; n rows with a column for each attribute, missing where nothing was asked.

    Raises
    ------
    ValueError
        If hardly any prompt is left beside those that are to be avoided.
    """
    rng = np.random.default_rng(seed)
    place = {facet: at for at, facet in enumerate(FACETS)}
    prompts: list[str] = []
    asked: list[dict[str, object]] = []
    avoided = 0
    while len(prompts) < n:
        who = {name: int(rng.integers(2)) for name in ("Smiling", "Young", "Male")}
        wanted: dict[str, object] = dict(who)
        subject = [PHRASES_OF[name][value][0] for name, value in who.items()]
        chosen: dict[str, Phrase] = {}
        for at in rng.permutation(len(vocabulary)):
            phrase = vocabulary[at]
            fits = all(wanted.get(name) == value for name, value in phrase.only.items())
            agrees = all(wanted.get(name, value) == value for name, value in phrase.when.items())
            if fits and agrees and phrase.slot not in chosen:
                chosen[phrase.slot] = phrase
                wanted |= dict(phrase.when)
            if len(chosen) == 4:
                break
        context = sorted(chosen.values(), key=lambda phrase: place[phrase.facet])
        prompt = sentence(subject, [phrase.text for phrase in context])
        if prompt not in avoid:
            prompts.append(prompt)
            asked.append(wanted)
            continue
        avoided += 1
        if avoided > 1_000 + 100 * n:
            raise ValueError(
                f"{len(prompts)} of {n} prompts were found, {avoided} others are among the "
                f"{len(avoid):,} that are to be avoided; give more phrases, or avoid fewer"
            )
    return prompts, pd.DataFrame(asked)


def own_prompts(n: int, *, seed: int) -> dict[tuple[str, str], tuple[list[str], pd.DataFrame]]:
    """Return n prompts of each of `TASKS`, as the study has them, and what each asks for.

    Parameters
    ----------
    n
        Prompts of a task, a multiple of four: each group has as many, one prompt comes several
        times.
    seed
        Of the grammar that writes them.
    """
    found = {}
    for task in TASKS:
        bank = prompt_bank(Task(*task), _PROMPTS, kind=CONTEXTUAL, seed=seed, vocabulary="faces")
        prompts: list[str] = []
        asked: list[dict[str, int]] = []
        for group in GROUPS:
            texts = bank.prompts[group]
            prompts += [texts[at % len(texts)] for at in range(n // 4)]
            asked += [dict(zip(task, group, strict=True))] * (n // 4)
        found[task] = (prompts, pd.DataFrame(asked))
    return found


def measure_own_prompts(
    draw: Draw, read: Callable[[Tensor], pd.DataFrame], *, n: int, first: int
) -> dict[str, dict[str, float]]:
    """Return of each of `TASKS` how often what was asked is read, over all and in its worst group.

    Parameters
    ----------
    draw, read
        Draws images of prompts and seeds; reads Smiling, Male, Young and White in them.
    n, first
        Images of a task, and the seed of the first.
    """
    measured = {}
    for task, (prompts, asked) in own_prompts(n, seed=0).items():
        seen = read(draw(prompts, range(first, first + len(prompts))))
        first += len(prompts)
        seen = seen.assign(Female=1 - seen["Male"].astype(int))
        shares = quality.agreement(asked, seen)
        for name, other in (task, task[::-1]):
            of_groups = quality.worst_group(asked, seen, name, other)
            shares[f"{name}, least of the four groups"] = min(of_groups.values())
        measured[f"read as asked by the study's prompts of {task[0]} | {task[1]}"] = shares
    return measured


def toy_reader(*, size: int, steps: int = 700) -> tuple[Oracle, dict[str, float]]:
    """Train a reader of toy faces of both domains; return it and its accuracy on studio images."""
    parts = [
        toyfaces.ToyFaces(n=n, seed=_READER_SEED + at, size=size, domain=domain)
        for at, (domain, n) in enumerate((("camera", 4_000), ("studio", 8_000)))
    ]
    images = torch.cat([toyfaces.generate(part).images for part in parts])
    table = pd.concat([toyfaces.factors(part) for part in parts])
    reader = train_oracle(images, table, TOY_CLASSES, steps=steps, flip=False)
    unseen = toyfaces.ToyFaces(n=1_500, seed=_READER_SEED + 9, size=size, domain="studio")
    truth = toyfaces.factors(unseen)[list(TOY_CLASSES)]
    return reader, quality.agreement(truth, reader.read(toyfaces.generate(unseen).images))


def photo_readers(*, size: int, steps: int = 1_500) -> dict[str, tuple[Oracle, dict[str, float]]]:
    """Train readers on CelebA and on UTKFace; return each with its accuracy on test images."""
    readers = {}
    for module, classes in ((celeba, CELEBA_CLASSES), (utkface, UTKFACE_CLASSES)):
        images = module.load(size)
        table = images.attributes[list(classes)]
        train, test = (np.flatnonzero(images.part == part) for part in ("train", "test"))
        reader = train_oracle(
            images.images[torch.from_numpy(train)], table.iloc[train], classes, steps=steps
        )
        read = reader.read(images.images[torch.from_numpy(test)])
        readers[images.name] = (reader, quality.agreement(table.iloc[test], read))
    return readers


def measure_toyfaces(
    draw: Draw, *, size: int, n: int = 1_000, seen: frozenset[str]
) -> dict[str, Any]:
    """Return what a reader of toy faces sees in images of prompts that training never had.

    Parameters
    ----------
    draw
        Draws images (n, 3, s, s) uint8 of prompts and seeds.
    size
        Pixels a side.
    n
        Images.
    seen
        The captions of the training.
    """
    prompts, asked = asked_prompts(VOCABULARIES["toyfaces"], n, seed=1, avoid=seen)
    reader, reliable = toy_reader(size=size)
    read = reader.read(draw(prompts, range(n)))
    known = [name for name in asked.columns if name in TOY_CLASSES]
    return {
        "images": n,
        "prompts": "of random content, none of them among the captions of the training",
        "read as asked": quality.agreement(asked[known], read),
        "smile by group (t,p)": quality.worst_group(asked, read, "Smiling", "Male"),
        "the reader on rendered studio images": reliable,
    }


def measure_faces(draw: Draw, corpus: Corpus, *, size: int, n: int = 1_000) -> dict[str, Any]:
    """Return attributes, diversity, Fréchet distance and distance to training faces.

    What is read comes from prompts of random content. All else compares with photographs, so its
    images are drawn from captions of held-out photographs: the same content, as often. Every set
    that is compared has as many images, at most as many as were held out.

    Parameters
    ----------
    draw
        Draws images (n, 3, s, s) uint8 of prompts and seeds.
    corpus
        What the generator learnt from.
    size
        Pixels a side.
    n
        Images of random content, at most so many of captions, and so many of each task.
    """
    prompts, asked = asked_prompts(VOCABULARIES["faces"], n, seed=1)
    readers = photo_readers(size=size)
    reader, reliable = readers["celeba"]
    other, other_reliable = readers["utkface"]
    images = draw(prompts, range(n))
    read = reader.read(images)
    of_tasks = measure_own_prompts(
        draw,
        lambda seen: reader.read(seen).assign(White=other.read(seen)["White"]),
        n=n,
        first=2 * n,
    )
    said = [name for name in CELEBA_CLASSES if name in asked.columns]
    by_utkface = asked[["Young"]].assign(
        White=asked.get("ancestry_white", pd.Series(np.nan, index=asked.index))
    )
    # Another ancestry that was asked for means: not white.
    for name in [column for column in asked.columns if column.startswith("ancestry_")]:
        if name != "ancestry_white":
            by_utkface.loc[asked[name] == 1, "White"] = 0
    rows, captioned = held_out_captions(corpus, n, seed=2)
    like_held = draw(captioned, range(n, n + len(rows)))
    rng = np.random.default_rng(0)
    photographs = celeba.load(size)
    # Of the test part: the reader has learnt the others by heart, which shows in its features.
    test = np.flatnonzero(photographs.part == "test")
    seen = corpus.images[torch.from_numpy(np.flatnonzero(~corpus.held))]
    held = corpus.images[torch.from_numpy(rows)]
    features = {
        "generated": reader.features(like_held),
        "corpus, held out": reader.features(held),
        "corpus, seen": reader.features(seen[_some(len(seen), len(rows), rng)]),
        "CelebA": reader.features(
            photographs.images[torch.from_numpy(test)[_some(len(test), len(rows), rng)]]
        ),
    }
    distances = {
        "generated to corpus": ("generated", "corpus, seen"),
        "held-out part to corpus": ("corpus, held out", "corpus, seen"),
        "generated to CelebA": ("generated", "CelebA"),
        "held-out part to CelebA": ("corpus, held out", "CelebA"),
    }
    return {
        "images": n,
        "prompts": "of random content, for what is read, as many of each of the study's tasks, "
        f"and {len(rows):,} of captions of held-out photographs, for all that is compared with as "
        "many photographs",
        "read as asked (classifier trained on CelebA)": quality.agreement(asked[said], read),
        "read where it was asked for": quality.found(asked[said], read),
        # The reader errs on the corpus, too. No bound: guidance may exaggerate what is asked for.
        "read in held-out photographs that are labelled so": quality.found(
            corpus.table.reindex(columns=said).iloc[rows], reader.read(held)
        ),
        "smile by group (t,p)": quality.worst_group(asked, read, "Smiling", "Male"),
        "read as asked (classifier trained on UTKFace)": quality.agreement(
            by_utkface, other.read(images)
        ),
        **of_tasks,
        "the first classifier on CelebA's test images": reliable,
        "the second classifier on UTKFace's test images": other_reliable,
        "mean distance of two images, in features": {
            name: quality.diversity(values) for name, values in features.items()
        },
        "Fréchet distance, in features": {
            name: quality.frechet_distance(features[first], features[second])
            for name, (first, second) in distances.items()
        },
        "distance to the nearest training face (smallest, 1 %, median)": {
            "generated": quality.quantiles(quality.nearest(like_held, seen)),
            "held-out faces": quality.quantiles(quality.nearest(held, seen)),
        },
    }


def held_out_captions(corpus: Corpus, n: int, *, seed: int) -> tuple[NDArray[np.int64], list[str]]:
    """Return the rows of at most n held-out images, chosen at random, and a caption of each."""
    rng = np.random.default_rng(seed)
    held = np.flatnonzero(corpus.held)
    rows = np.sort(rng.choice(held, min(n, len(held)), replace=False))
    written = captions(corpus.table.iloc[rows], corpus.vocabulary, seed=seed)
    return rows, [caption.text for caption in written]


def _some(of: int, n: int, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(np.sort(rng.choice(of, n, replace=False)))
