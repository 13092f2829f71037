"""Sets of faces: rows of images that are kept once, sets that are joined, and their batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.conftest import faces

from repro.faces import batches, joined
from repro.settings import ImageOptimisation

HOW = ImageOptimisation(
    learning_rate=0.05, epochs=3, milestones=(2,), batch_size=32, precision="float32"
)


def test_rows_choose_images_and_joined_sets_keep_their_labels() -> None:
    data = faces(20)
    some = data.subset(np.array([3, 1, 19]))
    assert some.names.tolist() == ["0003", "0001", "0019"]
    both = joined(some, data.subset(np.array([0])))
    assert both.target.tolist() == data.target[[3, 1, 19, 0]].tolist()
    assert torch.equal(both.images[both.rows], data.images[[3, 1, 19, 0]])
    assert both.subset(np.array([3])).names.tolist() == ["0000"]
    with pytest.raises(ValueError, match="read at 32 and 64 pixels"):
        joined(data, replace(data, size=64))


def test_another_seed_gives_other_batches() -> None:
    orders = [
        torch.cat([y for _, y in batches(faces(), HOW, seed=s, epoch=e)])
        for s, e in ((0, 1), (0, 2), (1, 1), (0, 1))
    ]
    assert torch.equal(orders[0], orders[3])
    assert not torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])


def test_two_purposes_have_independent_batches() -> None:
    orders = [
        torch.cat([y for _, y in batches(faces(), HOW, seed=0, purpose=purpose)])
        for purpose in ("training", "gradients")
    ]
    assert not torch.equal(*orders)


def test_every_image_is_in_one_batch_but_a_last_short_one() -> None:
    data = faces(75)
    data.images[:, :, :, :] = torch.arange(75, dtype=torch.uint8)[:, None, None, None]
    seen = [
        (inputs[:, 0, 0, 0] * 127.5 + 127.5).round()
        for inputs, _ in batches(data, HOW, seed=0, augmented=False)
    ]
    assert [len(b) for b in seen] == [32, 32]
    assert len(torch.cat(seen).unique()) == 64
    assert len(list(batches(data, HOW, seed=0, limit=1))) == 1


def test_a_joined_set_gives_the_batches_of_the_plain_one() -> None:
    data = faces(64)
    halves = joined(data.subset(np.arange(32)), data.subset(np.arange(32, 64)))
    for (a, _), (b, _) in zip(
        batches(data, HOW, seed=0), batches(halves, HOW, seed=0), strict=True
    ):
        assert torch.equal(a, b)
