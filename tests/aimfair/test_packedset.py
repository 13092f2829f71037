"""A set that was packed is the same set again, whatever was there, or an error says what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.aimfair.test_synthesis import Scribbler, contents, make

from repro.aimfair.imagestore import read_set
from repro.aimfair.packedset import PIXELS, ROWS, pack, unpack
from repro.aimfair.pipelinefolder import GenerationError


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    folder = tmp_path / "drawn"
    make(folder, n=5)  # 20 images: the square of 5 x 5 has five places left
    return folder


@pytest.fixture
def packed(drawn: Path, tmp_path: Path) -> Path:
    pack(drawn, tmp_path / "packed")
    return tmp_path / "packed"


def test_what_is_unpacked_is_the_set_byte_by_byte(
    drawn: Path, packed: Path, tmp_path: Path
) -> None:
    assert sorted(path.name for path in packed.iterdir()) == [PIXELS, ROWS, "set.json"]
    unpack(packed, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(drawn)
    again = Scribbler()
    make(tmp_path / "again", again, n=5)
    assert again.drawn == []  # nothing is missing


def test_the_picture_has_the_images_side_by_side(drawn: Path, packed: Path) -> None:
    _, _, images = read_set(drawn)
    with Image.open(packed / PIXELS) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (4 * 8, 5 * 8, 3)
    for at, image in enumerate(images):
        down, across = divmod(at, 5)
        place = pixels[8 * down : 8 * down + 8, 8 * across : 8 * across + 8]
        np.testing.assert_array_equal(place, image.transpose(1, 2, 0))


def test_a_set_that_was_begun_is_left_as_it_is(packed: Path, tmp_path: Path) -> None:
    make(tmp_path / "other", n=2)
    before = contents(tmp_path / "other")
    unpack(packed, tmp_path / "other")
    assert contents(tmp_path / "other") == before


@pytest.mark.parametrize("name", [PIXELS, ROWS, "set.json"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_one_is_named(packed: Path, tmp_path: Path, name: str, damage: str) -> None:
    path = packed / name
    path.write_bytes(path.read_bytes()[:40]) if damage == "cut" else path.unlink()
    with pytest.raises(GenerationError, match=r"packed.*(delete it|draw the set again)"):
        unpack(packed, tmp_path / "again")
    assert not (tmp_path / "again" / "set.json").exists()


def test_other_pixels_than_the_manifest_says_are_drawn_again(
    drawn: Path, packed: Path, tmp_path: Path
) -> None:
    with Image.open(packed / PIXELS) as picture:
        pixels = np.array(picture)
    pixels[0, 0] ^= 1  # of the first image
    Image.fromarray(pixels).save(packed / PIXELS)
    unpack(packed, tmp_path / "again")
    with pytest.raises(GenerationError, match="0_0/000000 is absent or not what"):
        read_set(tmp_path / "again")
    make(tmp_path / "again", n=5)
    assert contents(tmp_path / "again") == contents(drawn)


def test_only_a_finished_set_is_packed(drawn: Path, tmp_path: Path) -> None:
    lines = (drawn / "manifest.jsonl").read_text().splitlines(keepends=True)
    (drawn / "manifest.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(GenerationError, match="19 of 20 images"):
        pack(drawn, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()
