"""What a generator learns from: whole, aligned, and nothing that it must not see."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from repro.data import celeba, faceset, fairface, lfwa, toyfaces, utkface
from repro.data.captions import FACES, TOYFACES, captions, truths
from repro.generator import corpus
from repro.generator.corpus import Corpus
from repro.generator.settings import GeneratorSettings, Schedule

SCHEDULE = Schedule(steps=1)


def settings(name: str, **others: Any) -> GeneratorSettings:
    return GeneratorSettings.model_validate(
        {"corpus": name, "size": 32, "autoencoder": SCHEDULE, "diffusion": SCHEDULE} | others
    )


def marked(members: Sequence[str], size: int) -> Tensor:
    """Return images that carry a digest of the member that they stand for."""
    digests = [hashlib.sha256(name.encode()).digest()[:3] for name in members]
    pixels = torch.tensor([list(digest) for digest in digests], dtype=torch.uint8)
    return pixels[:, :, None, None].repeat(1, 1, size, size)


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRO_CACHE", str(tmp_path_factory.mktemp("cache")))
        return corpus.load(settings("toyfaces", images=600, size=16))


@pytest.fixture(scope="module")
def faces() -> Corpus:
    """The real tables, with images that stand for the photographs."""
    if not os.environ.get("REPRO_DATA"):
        pytest.skip("needs REPRO_DATA with the reduced editions of lfwa and fairface (see README)")
    read = []

    def load_images(dataset: str, archive: Path, names: Sequence[str], size: int, **_: Any) -> Any:
        read.append(dataset)
        return marked(["/".join(name.split("/")[-2:]) for name in names], 1)

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("what the images are to debias was read")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faceset, "load_images", load_images)
        for module in (celeba, utkface):
            patch.setattr(type(module.DATASET), "read", refuse)
        loaded = corpus.load(settings("faces"))
    assert read == ["lfwa", "fairface"]
    return loaded


def test_toy_corpus(toys: Corpus) -> None:
    assert toys.images.shape == (600, 3, 16, 16)
    assert toys.images.dtype == torch.uint8
    assert len(toys) == len(toys.table) == len(toys.held) == 600
    assert toys.table.index.is_unique
    assert not toys.flip
    assert 0.02 < toys.held.mean() < 0.08
    again = toyfaces.ToyFaces(n=600, seed=corpus.TOY_SEED, size=16, domain="studio")
    assert torch.equal(toys.images[590:], toyfaces.render(toys.table.iloc[590:], again))
    assert toys.sha256 == {"toyfaces studio": toyfaces.fingerprint(again)}


def test_who_is_held_out_of_the_toys_does_not_depend_on_how_many_there_are(
    toys: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPRO_CACHE", str(tmp_path))
    fewer = corpus.load(settings("toyfaces", images=100, size=16))
    assert (fewer.held == toys.held[:100]).all()
    assert fewer.held.any()
    assert torch.equal(fewer.images, toys.images[:100])


def test_every_phrase_of_toy_faces_is_true_of_some(toys: Corpus) -> None:
    assert toys.vocabulary is TOYFACES
    assert set().union(*(phrase.when for phrase in TOYFACES)) <= set(toys.table.columns)
    assert truths(toys.table, TOYFACES).any(axis=1).all()


def adults_of_lfw() -> pd.DataFrame:
    labels = lfwa.attributes()
    return labels[(labels["Child"] == 0) & (labels["Baby"] == 0)]


def photographs_of_lfw(faces: Corpus) -> int:
    return int(faces.table.index.str.endswith(".jpg").sum()) - int(
        faces.table.index.str.match(r"(train|val)/\d+\.jpg").sum()
    )


def test_no_minor_by_the_labels_of_lfwa(faces: Corpus) -> None:
    n = photographs_of_lfw(faces)
    assert 12_000 < n < 13_143  # LFWA+ calls some hundred children or babies
    assert (faces.table[["Child", "Baby"]].iloc[:n] == 0).all().all()


def test_no_minor_by_the_labels_of_fairface(faces: Corpus) -> None:
    n = photographs_of_lfw(faces)
    ages = fairface.records().loc[faces.table.index[n:], "age"]
    assert set(ages) == {"20-29", "30-39", "40-49", "50-59", "60-69", "more than 70"}
    assert len(ages) == len(faces) - n


def test_no_image_of_the_sets_that_are_to_be_debiased(faces: Corpus) -> None:
    n = photographs_of_lfw(faces)
    assert set(faces.sha256) == {*lfwa.declared("reduced"), *fairface.declared("reduced")}
    kinds = {name.split("/")[0] for name in faces.table.index[n:]}
    assert kinds == {"train", "val"}
    assert list(faces.table.index[:n]) == list(adults_of_lfw().index)


def test_images_and_their_labels_are_in_one_order(faces: Corpus) -> None:
    assert torch.equal(faces.images, marked(faces.table.index.tolist(), 1))
    lfw, n = adults_of_lfw(), photographs_of_lfw(faces)
    for name in ("Smiling", "Male", "Bald"):
        assert (faces.table[name][:n].to_numpy() == lfw[name].to_numpy()).all()
    records = fairface.records().loc[faces.table.index[n:]]
    own = faces.table.iloc[n:]
    assert (own["Male"].to_numpy() == (records["gender"] == "Male").to_numpy()).all()
    young = records["age"].isin(["20-29", "30-39"]).to_numpy()
    assert (own["Young"].to_numpy() == young).all()
    for race, column in (
        ("Latino_Hispanic", "ancestry_latino"),
        ("Southeast Asian", "ancestry_southeast_asian"),
    ):
        assert (own[column].to_numpy() == (records["race"] == race).to_numpy()).all()
        assert own[column].sum() > 1_000


def test_nobody_of_lfw_is_held_out_and_seen(faces: Corpus) -> None:
    n = photographs_of_lfw(faces)
    people = np.array([name.split("/")[0] for name in faces.table.index[:n]])
    held = faces.held[:n]
    assert not set(people[held]) & set(people[~held])
    assert 0.03 < held.mean() < 0.07
    assert 0.03 < faces.held[n:].mean() < 0.07


def test_what_a_data_set_does_not_say_stays_unknown(faces: Corpus) -> None:
    n = photographs_of_lfw(faces)
    known = faces.table.notna().iloc[n:].any()
    told = {name for name, any_known in known.items() if any_known}
    assert told == {"Male", "Young", "age_from", "age_to", *corpus._ANCESTRY.values()}
    assert faces.table.iloc[:n]["ancestry_latino"].isna().all()
    texts = [c.text for c in captions(faces.table.iloc[n : n + 1_000], FACES, seed=0)]
    assert not any("smil" in text or "hair" in text or "glasses" in text for text in texts)
    assert sum("features" in text for text in texts) > 300


def test_one_ancestry_at_most_is_said_of_anybody(faces: Corpus) -> None:
    n = photographs_of_lfw(faces)
    columns = [*corpus._ANCESTRY.values()]
    number = faces.table[columns].fillna(0).sum(axis=1)
    assert number[:n].max() == 1
    assert (number[n:] == 1).all()


def test_the_words_for_photographs_are_columns_of_the_table(faces: Corpus) -> None:
    assert faces.vocabulary is FACES
    assert set().union(*(phrase.when for phrase in FACES)) <= set(faces.table.columns)
    assert truths(faces.table, FACES).any(axis=0).all()
    assert faces.flip
    assert not any("left" in phrase.text or "right" in phrase.text for phrase in FACES)


def test_rare_photographs_are_seen_as_often_as_the_root_of_their_number(faces: Corpus) -> None:
    columns = ("Male", "Young", "Eyeglasses")
    evened = corpus._evened(faces.table, columns)
    assert evened.sum() == pytest.approx(1)
    kinds = faces.table[[*columns]].astype("Int64").fillna(-1).apply(tuple, axis=1)
    shares = pd.Series(evened).groupby(kinds.to_numpy()).sum()
    counts = kinds.value_counts()
    roots = np.sqrt(counts) / np.sqrt(counts).sum()
    assert len(counts) == 12  # of FairFace nobody knows who wears glasses
    np.testing.assert_allclose(shares[roots.index], roots, rtol=1e-9)


def test_ages_of_fairface_are_years_of_their_groups(faces: Corpus) -> None:
    n = photographs_of_lfw(faces)
    first, last = faces.table["age_from"].iloc[n:], faces.table["age_to"].iloc[n:]
    pairs = set(zip(first, last, strict=True))
    assert pairs == {(20, 29), (30, 39), (40, 49), (50, 59), (60, 69), (70, 99)}
    assert ((first < 40) == faces.table["Young"].iloc[n:].eq(1)).all()
