from __future__ import annotations

import io
import subprocess
import sys
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import center_crop, resize

from repro.data.images import ImageSet, decode, same_names
from repro.data.sources import DataError
from repro.names import UnknownNameError


def _fields(n: int = 3) -> dict[str, Any]:
    columns = {"Male": np.arange(n) % 2, "Smiling": np.ones(n)}
    return {
        "name": "faces",
        "images": torch.zeros(n, 3, 4, 4, dtype=torch.uint8),
        "attributes": pd.DataFrame(columns, index=[f"{i}.jpg" for i in range(n)]).astype(np.int8),
        "part": np.array(["train", "validation", "test"])[np.arange(n) % 3],
    }


def test_a_set_gives_its_attributes() -> None:
    data = ImageSet(**_fields())
    assert len(data) == 3
    assert data.attribute("Male").tolist() == [0, 1, 0]
    assert data.attribute("Male").dtype == np.int8


def test_an_unknown_attribute_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="attribute 'smiling'; did you mean 'Smiling'"):
        ImageSet(**_fields()).attribute("smiling")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.zeros(2, 3, 4, 4, dtype=torch.uint8)}, "2 images, 3 rows .* 3 parts"),
        ({"part": np.array(["train"])}, "3 images, 3 rows of attributes and 1 parts"),
        ({"attributes": _fields(4)["attributes"]}, "3 images, 4 rows"),
        ({"images": torch.zeros(3, 3, 4, 4)}, "must be uint8 .* not torch.float32"),
        ({"images": torch.zeros(3, 1, 4, 4, dtype=torch.uint8)}, r"of shape \(3, 1, 4, 4\)"),
        ({"images": torch.zeros(3, 3, 4, dtype=torch.uint8)}, "must be uint8 of shape"),
        ({"part": np.array(["train", "val", "test"])}, "each one of"),
        ({"attributes": _fields()["attributes"].astype(int)}, "'Male' must be int8"),
        ({"attributes": _fields()["attributes"] * np.int8(2)}, "'Male' .* each value 0 or 1"),
        ({"attributes": _fields()["attributes"].set_axis(["a", "b", "a"])}, "are named 'a'"),
    ],
)
def test_fields_that_do_not_fit_together(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageSet(**{**_fields(), **change})


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (["a", "b", "c"], ["a", "x", "c"], "3 and 3 names; at position 2 .* 'b', .* 'x'"),
        (["a", "b"], ["a"], "2 and 1 names; at position 2 .* 'b', the second nothing"),
        ([], ["a"], "0 and 1 names; at position 1 the first has nothing, the second 'a'"),
    ],
)
def test_lists_that_differ(first: list[str], second: list[str], message: str) -> None:
    same_names("two lists", first, list(first))
    with pytest.raises(DataError, match=f"two lists do not match: {message}"):
        same_names("two lists", first, second)


def _bytes(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def _noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def _smooth(height: int, width: int) -> Image.Image:
    return Image.fromarray(_noise(6, 5)).resize((width, height), Image.Resampling.BICUBIC)


def test_pixels_of_the_right_size_come_as_they_are() -> None:
    pixels = _noise(8, 8)
    decoded = decode(_bytes(Image.fromarray(pixels)), 8, "a.png")
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous
    assert np.array_equal(decoded, pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("size", [9, 32, 70])
def test_the_frame_is_squashed_as_by_the_test_transform(size: int) -> None:
    image = _smooth(61, 40)
    expected = np.asarray(resize(image, [size, size]))
    ours = decode(_bytes(image), size, "a.png")
    assert np.array_equal(ours, expected.transpose(2, 0, 1))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_frame_at_its_own_size_is_what_pil_reads(kind: str) -> None:
    image = Image.fromarray(_noise(218, 178))
    data = _bytes(image, kind)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(decode(data, None, "a"), expected.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("height", "width", "crop", "tall", "wide"),
    [(250, 250, 0.6, 150, 150), (100, 100, 0.6, 60, 60), (31, 20, 0.5, 15, 10), (2, 3, 0.1, 2, 1)],
)
def test_the_middle_of_a_frame_is_cut_at_whole_pixels(
    height: int, width: int, crop: float, tall: int, wide: int
) -> None:
    pixels = _noise(height, width)
    top, left = (height - tall) // 2, (width - wide) // 2
    expected = pixels[top : top + tall, left : left + wide].transpose(2, 0, 1)
    assert np.array_equal(
        decode(_bytes(Image.fromarray(pixels)), None, "a.png", crop=crop), expected
    )


def test_a_middle_is_cropped_before() -> None:
    image = _smooth(40, 60)
    expected = np.asarray(resize(center_crop(image, [20, 30]), [16, 16]))
    ours = decode(_bytes(image), 16, "a.png", crop=0.5).astype(int)
    # At its border PIL's resampling of a box sees a little of what lies around it.
    difference = np.abs(ours - expected.transpose(2, 0, 1))
    assert difference[:, 2:-2, 2:-2].max() == 0
    assert difference.max() < 30
    assert np.abs(ours - decode(_bytes(image), 16, "a.png")).mean() > 10


@pytest.mark.parametrize(("height", "width", "size"), [(640, 480, 32), (120, 100, 48)])
def test_a_large_jpeg_is_decoded_small_and_looks_the_same(
    height: int, width: int, size: int
) -> None:
    data = _bytes(_smooth(height, width), "JPEG", quality=95)
    expected = np.asarray(resize(Image.open(io.BytesIO(data)), [size, size])).transpose(2, 0, 1)
    difference = np.abs(decode(data, size, "a.jpg").astype(int) - expected)
    assert difference.mean() < 1
    assert difference.max() < 5


def _constant(mode: str, value: Any) -> Image.Image:
    return Image.new(mode, (4, 4), value)


PALETTE = _constant("RGB", (255, 0, 0)).convert("P", palette=Image.Palette.ADAPTIVE, colors=2)


@pytest.mark.parametrize(
    ("data", "colour"),
    [
        (_bytes(_constant("L", 77)), (77, 77, 77)),
        (_bytes(_constant("L", 77), "JPEG"), (77, 77, 77)),
        (_bytes(_constant("1", 1)), (255, 255, 255)),
        (_bytes(_constant("RGBA", (10, 20, 30, 255))), (10, 20, 30)),
        # Alpha 51 of 255 is a fifth of the colour over four fifths of white.
        (_bytes(_constant("RGBA", (0, 100, 200, 51))), (204, 224, 244)),
        (_bytes(_constant("RGBA", (0, 0, 0, 0))), (255, 255, 255)),
        (_bytes(_constant("LA", (100, 51))), (224, 224, 224)),
        (_bytes(PALETTE), (255, 0, 0)),
        (_bytes(PALETTE, transparency=PALETTE.getpixel((0, 0))), (255, 255, 255)),
        (_bytes(PALETTE, "GIF"), (255, 0, 0)),
        # Half cyan and no black ink.
        (_bytes(_constant("CMYK", (128, 0, 0, 0)), "TIFF"), (127, 255, 255)),
        (_bytes(_constant("CMYK", (128, 0, 0, 0)), "JPEG", quality=100), (127, 255, 255)),
        (_bytes(_constant("I;16", 40 * 257)), (40, 40, 40)),
        (_bytes(_constant("I;16", 65_535)), (255, 255, 255)),
        (_bytes(_constant("I;16", 40 * 257), "TIFF"), (40, 40, 40)),
        (_bytes(_constant("I", 40 * 257), "TIFF"), (40, 40, 40)),
        (_bytes(_constant("HSV", (0, 255, 255)).convert("RGB")), (255, 0, 0)),
    ],
)
def test_every_mode_becomes_rgb(data: bytes, colour: tuple[int, int, int]) -> None:
    decoded = decode(data, 4, "a.png").astype(int)
    assert decoded.shape == (3, 4, 4)
    assert np.abs(decoded - np.array(colour)[:, None, None]).max() <= 1


def test_exif_rotation_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = _smooth(16, 16)
    plain, turned = (_bytes(image, "JPEG", **more) for more in ({}, {"exif": exif}))
    assert plain != turned
    assert np.array_equal(decode(plain, 8, "a.jpg"), decode(turned, 8, "a.jpg"))


JPEG, PNG = _bytes(_smooth(40, 40), "JPEG"), _bytes(_smooth(40, 40))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"<html>log in first</html>", "cannot be decoded"),
        (JPEG[: len(JPEG) // 2], "cannot be decoded"),
        (JPEG[:30], "cannot be decoded"),
        (PNG[: len(PNG) // 2], "cannot be decoded"),
        (PNG[:20], "cannot be decoded"),
        (b"\xff\xd8" + b"text" * 20, "cannot be decoded"),
        (_bytes(_constant("F", 0.5), "TIFF"), "more than 16 bits"),
        (_bytes(_constant("I", 1 << 20), "TIFF"), "more than 16 bits"),
    ],
)
def test_what_is_no_image_is_named(data: bytes, message: str) -> None:
    with pytest.raises(
        DataError, match=rf"^set\.zip: a\.jpg .*{message}.*Fetch the data set again"
    ):
        decode(data, 8, "set.zip: a.jpg")


def test_a_damaged_file_is_decoded_or_refused_but_nothing_else() -> None:
    random = np.random.default_rng(0)
    for whole in (JPEG, PNG):
        for _ in range(100):
            damaged = bytearray(whole)
            damaged[random.integers(len(whole))] ^= int(random.integers(1, 256))
            with suppress(DataError):
                assert decode(bytes(damaged), 8, "a").shape == (3, 8, 8)


def test_reading_labels_does_not_import_torch() -> None:
    code = (
        "import sys; from repro.data import adult, celeba, fairface, lfwa, toycensus, utkface; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
