from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import ks_2samp
from torch.nn.functional import grid_sample
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.functional import hflip, pil_to_tensor, resize, resized_crop

from repro.data import augment

DRAWS = 5_000
SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _images(n: int, height: int, width: int) -> torch.Tensor:
    return torch.randint(256, (n, 3, height, width), generator=_generator(), dtype=torch.uint8)


def _normalised(pixels: torch.Tensor) -> torch.Tensor:
    return (pixels / 255 - 0.5) / 0.5


def _p_value(first: torch.Tensor, second: torch.Tensor) -> float:
    return float(ks_2samp(first, second, method="asymp").pvalue)


def _published_boxes(
    height: int, width: int, scale: tuple[float, float], draws: int = DRAWS
) -> torch.Tensor:
    torch.manual_seed(1)
    image = torch.zeros(3, height, width)
    boxes = [RandomResizedCrop.get_params(image, [*scale], [*RATIO]) for _ in range(draws)]
    return torch.tensor(boxes)


@pytest.mark.parametrize(
    ("height", "width", "scale"),
    [
        (64, 64, SCALE),
        (218, 178, SCALE),
        (40, 90, (0.5, 1.0)),  # often no attempt fits
        (64, 64, (0.25, 0.25)),
    ],
)
def test_boxes_are_distributed_as_published(
    height: int, width: int, scale: tuple[float, float]
) -> None:
    theirs = _published_boxes(height, width, scale).double()
    ours = augment.crop_boxes(DRAWS, height, width, generator=_generator(), scale=scale).double()
    for name, of in (
        ("top", lambda box: box[:, 0]),
        ("left", lambda box: box[:, 1]),
        ("height", lambda box: box[:, 2]),
        ("width", lambda box: box[:, 3]),
        ("area", lambda box: box[:, 2] * box[:, 3]),
        ("ratio", lambda box: box[:, 3] / box[:, 2]),
        ("position", lambda box: box[:, 0] - box[:, 1] * height / width),
    ):
        assert _p_value(of(theirs), of(ours)) > 1e-3, name


@pytest.mark.parametrize(("height", "width"), [(90, 40), (40, 91)])
def test_where_no_attempt_fits_the_box_is_the_published_central_one(
    height: int, width: int
) -> None:
    theirs = _published_boxes(height, width, (1.0, 1.0), 20)
    ours = augment.crop_boxes(20, height, width, generator=_generator(), scale=(1.0, 1.0))
    assert torch.equal(ours, theirs)


def test_frames_of_a_batch_may_differ() -> None:
    """Every frame gets the boxes that it would get in a batch of its own size."""
    sizes = torch.tensor([[78, 64], [64, 64], [218, 178]]).repeat(50, 1)
    mixed = augment.crop_boxes(150, *sizes.unbind(1), generator=_generator())
    for height, width in sizes.unique(dim=0).tolist():
        alone = augment.crop_boxes(150, height, width, generator=_generator())
        at = (sizes == torch.tensor([height, width])).all(dim=1)
        assert torch.equal(mixed[at], alone[at])


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.01, 1), st.integers(0, 1000))
@settings(max_examples=100, deadline=None)
def test_boxes_lie_in_the_image(height: int, width: int, scale: float, seed: int) -> None:
    boxes = augment.crop_boxes(
        20, height, width, generator=_generator(seed), scale=(scale / 2, scale)
    )
    top, left, tall, wide = boxes.unbind(1)
    assert min(top.min(), left.min()) >= 0
    assert min(tall.min(), wide.min()) >= 1
    assert (top + tall <= height).all()
    assert (left + wide <= width).all()


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(32, 32, 32), (40, 30, 48), (64, 64, 16), (78, 64, 64), (60, 20, 30), (218, 178, 64)],
)
def test_pixels_are_those_of_torchvision(height: int, width: int, size: int) -> None:
    images = _images(40, height, width)
    boxes = augment.crop_boxes(40, height, width, generator=_generator())
    flipped = torch.arange(40) % 2 == 0
    ours = augment.resized_crop(images, boxes, size, flipped=flipped)
    assert ours.dtype == torch.float32
    for i, box in enumerate(boxes.tolist()):
        theirs = resized_crop(images[i].float(), *box, [size, size], antialias=True)
        theirs = hflip(theirs) if flipped[i] else theirs
        # A difference of 1 / 127.5 is one step of 255.
        torch.testing.assert_close(ours[i], _normalised(theirs), atol=2e-4, rtol=0)


def test_the_whole_image_is_itself() -> None:
    images = _images(3, 16, 16)
    whole = torch.tensor([[0, 0, 16, 16]]).repeat(3, 1)
    ours = augment.resized_crop(images, whole, 16)
    torch.testing.assert_close(ours, augment.plain(images), atol=1e-4, rtol=0)
    assert -1 <= ours.min() <= ours.max() <= 1


def test_each_image_is_flipped_or_not_on_its_own() -> None:
    images, count = _images(1, 8, 8).repeat(4_000, 1, 1, 1), 0
    whole: dict[str, Any] = {"scale": (1.0, 1.0)}
    plain = augment.plain(images[:1])[0]
    for crop in augment.random_resized_crop(images, 8, generator=_generator(), flip=0.3, **whole):
        same = torch.allclose(crop, plain, atol=1e-4)
        assert same or torch.allclose(crop, hflip(plain), atol=1e-4)
        count += not same
    assert abs(count / 4_000 - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 4_000)


def test_the_generator_decides_and_always_moves_on_by_the_same_amount() -> None:
    images = _images(8, 24, 24)
    first, second = _generator(), _generator()
    assert torch.equal(
        augment.random_resized_crop(images, 24, generator=first),
        augment.random_resized_crop(images, 24, generator=second),
    )
    augment.random_resized_crop(images, 24, generator=first)
    augment.random_resized_crop(images, 12, generator=second, scale=(1, 1), flip=0)
    assert torch.equal(first.get_state(), second.get_state())
    before = images.clone()
    augment.random_resized_crop(images, 24, generator=first)
    assert torch.equal(images, before)


def test_plain_is_the_test_transform() -> None:
    images = _images(5, 40, 40)
    torch.testing.assert_close(augment.plain(images), _normalised(images.float()))
    assert torch.equal(augment.plain(images, 40), augment.plain(images))
    smaller = resize(images.float(), [16, 16], antialias=True)
    torch.testing.assert_close(augment.plain(images, 16), _normalised(smaller))


def test_crops_of_a_frame_are_those_that_the_authors_take_with_pil() -> None:
    """Their loader crops the 178x218 JPEG itself; PIL rounds to bytes twice, once each way."""
    frame = _images(1, 218, 178)
    image = Image.fromarray(frame[0].permute(1, 2, 0).numpy())
    for box in augment.crop_boxes(20, 218, 178, generator=_generator()):
        theirs = pil_to_tensor(resized_crop(image, *box.tolist(), [64, 64]))
        ours = augment.resized_crop(frame, box[None], 64)[0]
        torch.testing.assert_close(ours, _normalised(theirs.float()), atol=1.01 / 127.5, rtol=0)


def test_what_lies_beside_a_frame_is_never_seen() -> None:
    frames = torch.tensor([[20, 16], [30, 12], [30, 16]])
    images = _images(3, 30, 16)
    other = images.clone()
    other[0, :, 20:], other[1, :, :, 12:] = 255, 0
    for size in (8, 24, 40):
        crops = [
            augment.random_resized_crop(pixels, size, generator=_generator(), frames=frames)
            for pixels in (images, other)
        ]
        assert torch.equal(*crops)
        whole = augment.plain(images, size, frames=frames)
        for i, (height, width) in enumerate(frames.tolist()):
            alone = augment.plain(images[i : i + 1, :, :height, :width], size)
            torch.testing.assert_close(whole[i : i + 1], alone, atol=2e-4, rtol=0)


def _before(images: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
    """Return what the training transform was for square images when frames were squashed."""
    n, _, height, width = images.shape
    draws = torch.rand(n, 2, 10, generator=generator, dtype=torch.float64)
    corner = torch.rand(n, 2, generator=generator, dtype=torch.float64)
    area = height * width * (0.08 + (1.0 - 0.08) * draws[:, 0])
    low, high = math.log(3 / 4), math.log(4 / 3)
    shape = torch.exp(low + (high - low) * draws[:, 1])
    wide, tall = (
        torch.round((area * shape).sqrt()).long(),
        torch.round((area / shape).sqrt()).long(),
    )
    fits = (wide > 0) & (wide <= width) & (tall > 0) & (tall <= height)
    first = fits.byte().argmax(dim=1, keepdim=True)
    wide, tall = wide.gather(1, first).squeeze(1), tall.gather(1, first).squeeze(1)
    top = (corner[:, 0] * (height - tall + 1)).floor().long()
    left = (corner[:, 1] * (width - wide + 1)).floor().long()
    drawn = torch.stack([top, left, tall, wide], dim=1)
    boxes = torch.where(fits.any(dim=1, keepdim=True), drawn, torch.tensor([0, 0, height, width]))
    flipped = torch.rand(n, generator=generator) < 0.5
    top, left, tall, wide = boxes.float()[:, :, None].unbind(1)
    centres = (torch.arange(size) + 0.5) / size
    across = torch.where(flipped[:, None], 1 - centres, centres.expand(n, size))
    y = top + (centres * tall - 0.5).clamp(min=0).minimum(tall - 1)
    x = left + (across * wide - 0.5).clamp(min=0).minimum(wide - 1)
    y, x = (2 * y + 1) / height - 1, (2 * x + 1) / width - 1
    grid = torch.stack([x[:, None].expand(n, size, size), y[:, :, None].expand(n, size, size)], -1)
    pixels = grid_sample(
        images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return pixels.mul_(2 / 255).sub_(1)


@pytest.mark.parametrize("size", [32, 64, 224])
def test_square_images_at_the_target_size_keep_every_bit(size: int) -> None:
    """Toy faces and synthetic sets are such images: results and identities of theirs stay."""
    images = _images(40, size, size)
    first, second = _generator(5), _generator(5)
    ours = augment.random_resized_crop(images, size, generator=first)
    assert torch.equal(ours, _before(images, size, second))
    assert torch.equal(first.get_state(), second.get_state())
    assert torch.equal(augment.plain(images, size), images.float().mul_(2 / 255).sub_(1))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_device_changes_nothing() -> None:
    images = _images(64, 48, 48)
    here = augment.random_resized_crop(images, 32, generator=_generator())
    there = augment.random_resized_crop(images.cuda(), 32, generator=_generator())
    assert there.device.type == "cuda"
    torch.testing.assert_close(there.cpu(), here, atol=1e-4, rtol=0)
    frames = torch.tensor([[48, 48], [48, 30]]).repeat(32, 1)
    for size in (20, 64):  # smoothed and not
        how = {"size": size, "frames": frames}
        here, there = (
            augment.random_resized_crop(on, generator=_generator(), **how).cpu()
            for on in (images, images.cuda())
        )
        torch.testing.assert_close(there, here, atol=1e-4, rtol=0)
    plain = augment.plain(images.cuda(), 20).cpu()
    torch.testing.assert_close(plain, augment.plain(images, 20), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (torch.zeros(2, 3, 8, 8), {}, "images must be uint8"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), {}, r"shape \(n, 3, h, w\)"),
        (_images(2, 8, 8), {"size": 0}, "size must be at least 1"),
        (_images(2, 8, 8), {"flip": 1.5}, "flip is a probability"),
        (_images(2, 8, 8), {"scale": (0.0, 1.0)}, "scale must be"),
        (_images(2, 8, 8), {"scale": (0.5, 0.1)}, "scale must be"),
        (_images(2, 8, 8), {"scale": (0.5, 1.1)}, "scale must be"),
    ],
)
def test_bad_input(images: torch.Tensor, options: dict[str, Any], message: str) -> None:
    arguments = {"size": 8, "generator": _generator(), **options}
    with pytest.raises(ValueError, match=message):
        augment.random_resized_crop(images, **arguments)


def test_an_empty_batch_stays_empty() -> None:
    empty = torch.zeros(0, 3, 8, 8, dtype=torch.uint8)
    assert augment.plain(empty).shape == (0, 3, 8, 8)
