"""Which images a run sees: the biased training set, S1 and S2, and what every strategy reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from repro.aimfair.strategies import STRATEGIES
from repro.chapters.aim import data as aim_data
from repro.chapters.aim import plans as aim_plans
from repro.chapters.aim.data import (
    group_counts,
    group_images,
    real_faces,
    synthetic_faces,
    training_set,
)
from repro.chapters.aim.declared import camera_of, declared_sha256, studio_of
from repro.data import celeba, faceset, toyfaces
from repro.data.images import ImageSet
from repro.data.sources import DataError, data_root
from repro.names import UnknownNameError
from repro.settings import FaceData, SyntheticFaces
from repro.study.profiles import load_profile
from repro.vision import Faces

DATA = FaceData(name="toyfaces", size=16, total=160)
SYNTHETIC = SyntheticFaces(total=160, pool=100)
BIASED = [[8, 72], [72, 8]]  # 1:9 of 160
GROUPS = [(t, p) for t in (0, 1) for p in (0, 1)]


def camera() -> ImageSet:
    """Return the embedded images that the biased set is drawn from."""
    return aim_data.image_set(DATA)


def first_of_each_group(images: ImageSet, counts: list[list[int]]) -> list[str]:
    """Walk through the training images in their order, taking who still fits."""
    room = {(t, p): counts[t][p] for t, p in GROUPS}
    taken = []
    labels = zip(
        images.attributes.index, images.part, images.attribute("Smiling"),
        images.attribute("Male"), strict=True,
    )  # fmt: skip
    for name, part, t, p in labels:
        if part == "train" and room[t, p] > 0:
            room[t, p] -= 1
            taken.append(name)
    assert not any(room.values())
    return taken


def assert_labelled(faces: Faces, images: ImageSet) -> None:
    """Check that each example has the labels and the pixels of the image of its name."""
    rows = images.attributes.index.get_indexer(faces.names)
    assert (rows >= 0).all()
    assert faces.target.tolist() == images.attribute("Smiling")[rows].tolist()
    assert faces.protected.tolist() == images.attribute("Male")[rows].tolist()
    assert torch.equal(faces.images[faces.rows], images.images[torch.from_numpy(rows)])


# Real images


def test_the_biased_set_is_the_first_of_each_group_in_index_order() -> None:
    train = real_faces(DATA).train
    assert group_counts(train).tolist() == BIASED
    assert train.names.tolist() == first_of_each_group(camera(), BIASED)
    assert_labelled(train, camera())


def test_validation_and_test_parts_are_whole() -> None:
    real = real_faces(DATA)
    for part, faces in (("validation", real.validation), ("test", real.test)):
        here = camera().part == part
        assert faces.names.tolist() == camera().attributes.index[here].tolist()
        assert_labelled(faces, camera())
        # In their own distribution: no group is a ninth of another.
        assert group_counts(faces).min() > group_counts(faces).max() / 3
    names = [set(faces.names) for faces in (real.train, real.validation, real.test)]
    assert len(names[0] | names[1] | names[2]) == sum(map(len, names))  # nobody in two parts


def test_a_fraction_is_the_first_of_each_group_of_the_same_images() -> None:
    whole = real_faces(DATA)
    half = real_faces(DATA.model_copy(update={"fraction": 0.5}))
    assert group_counts(half.train).tolist() == [[4, 36], [36, 4]]
    assert half.train.names.tolist() == first_of_each_group(camera(), [[4, 36], [36, 4]])
    assert set(half.train.names) < set(whole.train.names)
    assert half.train.images is whole.train.images  # kept once
    assert half.test.names.tolist() == whole.test.names.tolist()


def test_a_balanced_set_is_as_large() -> None:
    train = real_faces(DATA, balanced=True).train
    assert group_counts(train).tolist() == [[40, 40], [40, 40]]
    assert train.names.tolist() == first_of_each_group(camera(), [[40, 40], [40, 40]])


def test_another_task_is_another_labelling_of_the_same_images() -> None:
    young = real_faces(DATA.model_copy(update={"target": "Young"}))
    assert group_counts(young.train).tolist() == BIASED
    rows = camera().attributes.index.get_indexer(young.train.names)
    assert young.train.target.tolist() == camera().attribute("Young")[rows].tolist()
    assert young.train.images is real_faces(DATA).train.images


def test_an_unknown_attribute_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown attribute 'Smilng'; did you mean 'Smiling"):
        real_faces(DATA.model_copy(update={"target": "Smilng"}))


@pytest.mark.parametrize("ratio", [1 / 9, 2 / 8, 4 / 6, 1.0])
@pytest.mark.parametrize("total", [40, 400])
def test_there_are_enough_images_for_every_ratio(ratio: float, total: int) -> None:
    data = DATA.model_copy(update={"bias_ratio": ratio, "total": total})
    counts = group_counts(real_faces(data).train)
    assert counts.sum() == total
    assert counts[0, 0] / counts[0, 1] == pytest.approx(ratio, abs=0.02)
    assert counts.tolist() == counts[::-1, ::-1].tolist()


# Synthetic images


def test_s1_is_biased_and_s2_is_balanced() -> None:
    sets = synthetic_faces(DATA, SYNTHETIC, seed=0)
    assert group_counts(sets.biased).tolist() == BIASED
    assert group_counts(sets.balanced).tolist() == [[40, 40], [40, 40]]
    assert group_counts(sets.pool).min() >= 72
    assert len(sets.pool) == 400
    studio = aim_data._generated(studio_of(DATA, SYNTHETIC))
    for faces in (sets.biased, sets.balanced, sets.pool):
        assert len(set(faces.names)) == len(faces)  # nobody twice
        assert_labelled(faces, studio)
    ratio = SYNTHETIC.model_copy(update={"bias_ratio": 2 / 8})
    drawn = synthetic_faces(DATA, ratio, seed=0)
    assert group_counts(drawn.biased).tolist() == [[16, 64], [64, 16]]
    assert drawn.balanced.names.tolist() == sets.balanced.names.tolist()


def test_the_seed_chooses_the_images() -> None:
    first, again, other = (synthetic_faces(DATA, SYNTHETIC, seed=seed) for seed in (3, 3, 4))
    for name in ("biased", "balanced"):
        names = [getattr(sets, name).names.tolist() for sets in (first, again, other)]
        assert names[0] == names[1]
        assert set(names[0]) != set(names[2])
    # No group of S2 is the part of S1 that a common order would give.
    for t, p in GROUPS:
        groups = [
            set(faces.names[((faces.target == t) & (faces.protected == p)).numpy()])
            for faces in (first.biased, first.balanced)
        ]
        assert groups[0] - groups[1]
        assert groups[1] - groups[0]


@pytest.fixture
def shuffled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every image set come in another order, as files do from another machine."""
    original: Callable[[toyfaces.ToyFaces], ImageSet] = aim_data._generated

    def other_order(settings: toyfaces.ToyFaces) -> ImageSet:
        images = original(settings)
        order = np.random.default_rng(1).permutation(len(images))
        return dataclasses.replace(
            images,
            images=images.images[torch.from_numpy(order)],
            attributes=images.attributes.iloc[order],
            part=images.part[order],
        )

    with monkeypatch.context() as patch:
        patch.setattr(aim_data, "_generated", other_order)
        yield


def test_the_order_of_the_pool_does_not_matter(request: pytest.FixtureRequest) -> None:
    first = synthetic_faces(DATA, SYNTHETIC, seed=3)
    request.getfixturevalue("shuffled")
    second = synthetic_faces(DATA, SYNTHETIC, seed=3)
    assert first.pool.rows.tolist() != second.pool.rows.tolist()  # it is in another order
    for name in ("biased", "balanced", "pool"):
        one, other = getattr(first, name), getattr(second, name)
        assert one.names.tolist() == other.names.tolist()
        assert one.target.tolist() == other.target.tolist()
        assert torch.equal(one.images[one.rows], other.images[other.rows])


def test_too_small_a_pool_says_how_many_there_are() -> None:
    with pytest.raises(ValueError, match=r"72 of \(0,1\).* but there are .* is the largest total"):
        _ = synthetic_faces(DATA, SYNTHETIC.model_copy(update={"pool": 30}), seed=0).biased


# What a strategy reads

EXPECTED = {
    "erm": (BIASED, 0),
    "synthetic only": ([[40, 40], [40, 40]], 160),
    "supplementation": ([[48, 112], [112, 48]], 160),
    "repairing": ([[72, 72], [72, 72]], 128),
}


@pytest.mark.parametrize("strategy", EXPECTED)
def test_what_a_strategy_trains_on(strategy: str) -> None:
    real = real_faces(DATA).train
    sets = synthetic_faces(DATA, SYNTHETIC, seed=3)
    faces = training_set(STRATEGIES[strategy].data, real, sets, seed=3)
    counts, synthetic = EXPECTED[strategy]
    assert group_counts(faces).tolist() == counts
    n = len(faces) - synthetic
    if n:  # all of the real images come first, as they are
        assert faces.names[:n].tolist() == real.names.tolist()
        assert_labelled(faces.subset(np.arange(n)), camera())
    studio = aim_data._generated(studio_of(DATA, SYNTHETIC))
    added = faces.subset(np.arange(n, len(faces)))
    if synthetic:
        assert_labelled(added, studio)
    assert len(set(added.names)) == synthetic  # nobody is added twice
    if strategy == "repairing":  # what fills up a group may be more than S2 has of it
        assert group_counts(added).tolist() == [[64, 0], [0, 64]]
        assert not set(added.names) <= set(sets.balanced.names)
        other = training_set("repaired", real, sets, seed=4)
        assert set(other.names) != set(faces.names)
    elif synthetic:
        assert set(added.names) == set(sets.balanced.names)


def test_without_synthetic_images_the_real_ones_are_read() -> None:
    real = real_faces(DATA).train
    assert training_set("real", real, None, seed=0) is real


def test_a_pool_that_cannot_repair_is_said() -> None:
    few = SyntheticFaces(total=40, pool=20)
    sets = synthetic_faces(DATA, few, seed=0)
    with pytest.raises(DataError, match=r"group \(0,0\) has \d+ and needs 64"):
        training_set("repaired", real_faces(DATA).train, sets, seed=0)


# Groups


def test_images_of_groups() -> None:
    real = real_faces(DATA)
    found = group_images(real.test)
    assert list(found) == ["(0,0)", "(0,1)", "(1,0)", "(1,1)"]
    counts = group_counts(real.test)
    assert counts.sum() == len(real.test)
    for (t, p), images in zip(GROUPS, found.values(), strict=True):
        at = (camera().part == "test") & (camera().attribute("Smiling") == t)
        at &= camera().attribute("Male") == p
        assert len(images) == counts[t, p] == at.sum()
        assert torch.equal(images, camera().images[torch.from_numpy(np.flatnonzero(at))])


# Real data


@pytest.fixture
def reduced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the folder of CelebA's reduced edition, or skip; its labels alone are read."""
    folder = data_root() / "celeba"
    if not all((folder / name).is_file() for name in celeba.declared("reduced")):
        pytest.skip("needs REPRO_DATA with the reduced edition of celeba (see README)")
    monkeypatch.setattr(
        faceset,
        "load_images",
        lambda name, path, members, size, **_: torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(
            len(members), 3, 78, 64
        ),
    )
    aim_data._read.cache_clear()
    yield folder
    aim_data._read.cache_clear()


def test_the_biased_set_of_celeba(reduced: Path) -> None:
    data = FaceData(name="celeba", edition="reduced", size=16)
    real = real_faces(data)
    assert group_counts(real.train).tolist() == [[1000, 9000], [9000, 1000]]
    assert real.sha256 == declared_sha256(data)
    assert real.skipped == {"image not on disk": 202_599 - 46_715}
    assert (real.train.images.shape[1:], real.train.size) == ((3, 78, 64), 16)
    assert group_counts(real.validation).tolist() == [[1086, 1200], [1367, 882]]
    assert group_counts(real.test).tolist() == [[1114, 1187], [1590, 749]]
    # Names of CelebA are numbers in the order of its partition.
    numbers = [int(name.removesuffix(".jpg")) for name in real.train.names]
    assert numbers == sorted(numbers)
    assert numbers[-1] <= 162_770
    assert min(int(name.removesuffix(".jpg")) for name in real.test.names) >= 182_638
    for percent in (50, 25, 10):
        few = real_faces(data.model_copy(update={"fraction": percent / 100}))
        small, large = 10 * percent, 90 * percent
        assert group_counts(few.train).tolist() == [[small, large], [large, small]]
        assert set(few.train.names) < set(real.train.names)


def test_every_seed_draws_its_own_toy_faces_and_a_given_seed_stays() -> None:
    quick = load_profile("quick")
    drawn = [aim_plans.training(quick, seed).data for seed in (0, 1, 100)]
    names = [set(toyfaces.factors(camera_of(one)).index) for one in drawn[:2]]
    assert not names[0] & names[1]
    assert [one.toy_seed for one in drawn] == [0, 1, 100]
    fixed = load_profile("quick", {"faces.data.toy_seed": 5})
    assert {aim_plans.training(fixed, seed).data.toy_seed for seed in (0, 1)} == {5}
    # What a run builds on has the same faces, and no seed of the camera is one of the studio.
    tuned = aim_plans.tuning(quick, aim_plans.training(quick, 1), "linear probing")
    assert tuned.pretrained.data.toy_seed == 1
    largest = drawn[0].model_copy(update={"toy_seed": 2**31 - 1})
    assert camera_of(largest).seed < studio_of(drawn[0], SYNTHETIC).seed
