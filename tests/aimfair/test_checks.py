"""Blanks, near duplicates and agreement, on pictures made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from repro.aimfair import checks
from repro.aimfair.checks import alignment, is_blank, near_duplicates, redrawn
from repro.names import UnknownNameError


def noise(n: int, size: int = 32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, 256, (n, 3, 8, 8), generator=generator).float()
    return torch.nn.functional.interpolate(coarse, size=(size, size)).to(torch.uint8)


def test_one_colour_is_blank_whatever_the_colour() -> None:
    images = torch.zeros(5, 3, 8, 8, dtype=torch.uint8)
    images[1, 0] = 255  # pure red: one colour, though its channels differ
    images[2] = torch.randint(120, 123, (3, 8, 8), generator=torch.Generator().manual_seed(0))
    images[3, 2, :, 4:] = 40  # only blue shows anything
    images[4] = noise(1, 8)[0]
    assert is_blank(images, 2.0).tolist() == [True, True, True, False, False]
    assert is_blank(images, 0.0).tolist() == [False] * 5
    assert is_blank(images, 25.0).tolist() == [True, True, True, True, False]  # blue's is 20


def test_redrawn_counts_images_and_times() -> None:
    manifest = pd.DataFrame(
        {"target": [0, 0, 0, 1], "protected": [1, 1, 1, 0], "attempt": [0, 2, 1, 0]}
    )
    table = redrawn(manifest)
    assert table.loc["(0,1)"].to_dict() == {"images": 3, "redrawn": 2, "blanks": 3}
    assert table.loc["(1,0)"].to_dict() == {"images": 1, "redrawn": 0, "blanks": 0}


def test_near_duplicates_are_counted_within_groups() -> None:
    images = noise(8)
    grain = torch.randint(-5, 6, images.shape, generator=torch.Generator().manual_seed(1))
    copy = (images.int() + grain).clamp(0, 255).to(torch.uint8)
    # Group (0,0): 0, 1, two copies of 0. Group (1,1): 2, 3, 4. A copy of 2 is in (0,0).
    rows = torch.stack([images[0], images[1], copy[0], images[0], copy[2], *images[2:5]])
    target = [0, 0, 0, 0, 0, 1, 1, 1]
    table = near_duplicates(rows, target, target)
    assert table.loc["(0,0)"].to_dict() == {"images": 5, "pairs": 3, "rate": 0.3, "involved": 3}
    assert table.loc["(1,1)"].to_dict() == {"images": 3, "pairs": 0, "rate": 0.0, "involved": 0}
    # All together the copy of 2 finds it.
    assert near_duplicates(rows, [0] * 8, [0] * 8).loc["(0,0)", "pairs"] == 4
    assert near_duplicates(images[:1], [0], [0]).loc["(0,0)", "rate"] == 0
    with pytest.raises(ValueError, match="8 images but 2 labels"):
        near_duplicates(rows, [0, 1], [0, 1])


def test_near_duplicates_across_blocks() -> None:
    images = noise(1100, 16)
    images[1099] = images[3]  # in the last block and in the first
    table = near_duplicates(images, np.zeros(1100), np.zeros(1100))
    assert table["pairs"].tolist() == [1]
    assert table["involved"].tolist() == [2]


ASKED = [(0, 0), (0, 0), (0, 1), (0, 1), (1, 0), (1, 0), (1, 1), (1, 1)]
SEEN = [(0, 0), (0, 1), (0, 1), (0, 1), (1, 0), (0, 1), (1, 1), (1, 0)]


def manifest() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "target": [t for t, _ in ASKED],
            "protected": [p for _, p in ASKED],
            "prompt_index": [0, 1] * 4,
            "prompt": [f"prompt {i}" for i in range(8)],
        }
    )


def read(images: Tensor) -> dict[str, np.ndarray]:
    """Return what each image says in its first pixel: its row in `SEEN`."""
    seen = np.array([SEEN[int(row)] for row in images[:, 0, 0, 0]], dtype=float)
    return {"Smiling": 0.1 + 0.4 * seen[:, 0], "Male": 0.9 * seen[:, 1]}  # 0.5 counts as 1


def pictures() -> Tensor:
    images = torch.zeros(8, 3, 4, 4, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(8, dtype=torch.uint8)
    return images


@pytest.mark.parametrize("at_once", [3, 256])
def test_alignment_of_a_hand_made_example(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_AT_ONCE", at_once)
    found = alignment(pictures(), manifest(), read, target="Smiling", protected="Male")
    assert found.confusion.to_numpy().tolist() == [
        [1, 1, 0, 0],
        [0, 2, 0, 0],
        [0, 1, 1, 0],
        [0, 0, 1, 1],
    ]
    assert list(found.confusion.index) == list(found.confusion.columns)
    assert list(found.confusion.index) == ["(0,0)", "(0,1)", "(1,0)", "(1,1)"]
    group = found.per_group
    assert group["images"].tolist() == [2, 2, 2, 2]
    assert group["target_agreement"].tolist() == [1.0, 1.0, 0.5, 1.0]
    assert group["protected_agreement"].tolist() == [0.5, 1.0, 0.5, 0.5]
    assert group["both_agreement"].tolist() == [0.5, 1.0, 0.5, 0.5]
    prompt = found.per_prompt
    assert prompt["prompt"].tolist() == [f"prompt {i}" for i in range(8)]
    assert prompt.loc[(1, 0, 1), "both_agreement"] == 0
    assert prompt.loc[(1, 1, 1), "target_agreement"] == 1
    assert prompt["images"].tolist() == [1] * 8


def test_alignment_of_one_group_has_all_rows() -> None:
    one = manifest().iloc[:2]
    found = alignment(pictures()[:2], one, read, target="Smiling", protected="Male")
    assert found.confusion.to_numpy().sum() == 2
    assert found.confusion.shape == (4, 4)
    assert list(found.per_group.index) == ["(0,0)"]


def test_alignment_refuses_what_is_no_reading() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'Smiling'"):
        alignment(pictures(), manifest(), read, target="Smilin", protected="Male")
    names: dict[str, Any] = {"target": "Smiling", "protected": "Male"}
    with pytest.raises(ValueError, match="8 images but 7 rows"):
        alignment(pictures(), manifest().iloc[1:], read, **names)

    def logits(images: Tensor) -> dict[str, np.ndarray]:
        return {name: 4 * value for name, value in read(images).items()}

    with pytest.raises(ValueError, match=r"'Smiling', 8 probabilities from 0 to 1.*to 2"):
        alignment(pictures(), manifest(), logits, **names)

    def columns(images: Tensor) -> dict[str, np.ndarray]:
        return {name: value[:, None] for name, value in read(images).items()}

    with pytest.raises(ValueError, match=r"shape \(8, 1\)"):
        alignment(pictures(), manifest(), columns, **names)
