"""What interpolating real frames twice did: `python benchmarks/frames.py`.

Until version 2 of the decoding, real frames were squashed to a square when they were read, and
cropped and resized when they trained; synthetic images, squares already, were interpolated once.
Both ways take the same boxes here. First the gradient energy (sum of squared differences of
neighbouring pixels) of crops of 1/f noise, of frames against squares that are cropped once; then,
where the reduced edition of CelebA is there, domain sensitivities d_j of a small ResNet-18 between
its photographs and images of this project's generator. Prints Markdown tables; writes only the
caches of the study.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from scipy.stats import spearmanr
from torch import Tensor

from repro import models, vision
from repro.aimfair.gradients import mean_gradients, sensitivity
from repro.chapters.aim.data import real_faces, synthetic_faces
from repro.data import augment, celeba
from repro.data.sources import DataError
from repro.settings import FaceData, ImageOptimisation, SyntheticFaces

#: data set, height and width of a frame, size that a network reads
CASES = (
    ("CelebA, official", 218, 178, 224),
    ("UTKFace, official", 200, 200, 224),
    ("CelebA, reduced", 78, 64, 64),
    ("CelebA, official", 218, 178, 64),
)
HOW = ImageOptimisation(precision="float32", batch_size=64, epochs=3, milestones=())
WAYS = ("twice", "once")


def pink(n: int, height: int, width: int, rng: np.random.Generator) -> Tensor:
    """Return n images of noise whose amplitude falls with 1 / frequency, (n, 3, h, w) uint8."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    white = np.fft.rfft2(rng.normal(size=(n, 3, height, width)))
    noise = np.fft.irfft2(white / frequency, s=(height, width))
    noise *= 40 / noise.std(axis=(2, 3), keepdims=True)
    return torch.from_numpy((noise + 127.5).round().clip(0, 255).astype(np.uint8))


def squashed(frames: Tensor, size: int) -> Tensor:
    """Return frames as they were kept before: squashed to size x size by PIL, as bytes."""
    pixels = [
        np.asarray(Image.fromarray(f).resize((size, size), Image.Resampling.BILINEAR))
        for f in frames.permute(0, 2, 3, 1).numpy()
    ]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()


def crops(frames: Tensor, boxes: Tensor, size: int, flipped: Tensor | None, way: str) -> Tensor:
    """Return the same boxes of frames, interpolated once or twice."""
    if way == "once":
        return augment.resized_crop(frames, boxes, size, flipped=flipped)
    scale = size / torch.tensor([*frames.shape[2:], *frames.shape[2:]])
    return augment.resized_crop(squashed(frames, size), boxes * scale, size, flipped=flipped)


def energy(images: Tensor) -> float:
    """Return the mean squared difference of neighbouring pixels, of both directions."""
    return float(images.diff(dim=2).square().mean() + images.diff(dim=3).square().mean())


def of_noise(n: int) -> None:
    """Print the gradient energy of crops of noise."""
    print("| frame | read at | cropped from the frame | squashed, then cropped | share kept |")
    print("|---|---:|---:|---:|---:|")
    for name, height, width, size in CASES:
        rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
        frames = pink(n, height, width, rng)
        boxes = augment.crop_boxes(n, height, width, generator=generator)
        once, twice = (energy(crops(frames, boxes, size, None, way)) for way in WAYS[::-1])
        print(
            f"| {name}, {width}x{height} | {size} | {once:.4f} | {twice:.4f} | {twice / once:.0%} |"
        )


def batches(faces: vision.Faces, way: str, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of real faces as `repro.vision.batches` does, in either way."""
    generator = torch.Generator().manual_seed(seed)
    for at in torch.randperm(len(faces), generator=generator).split(HOW.batch_size):
        frames, _ = faces.frames(at)
        boxes = augment.crop_boxes(len(at), *frames.shape[2:], generator=generator)
        flipped = torch.rand(len(at), generator=generator) < 0.5
        yield crops(frames, boxes, faces.size, flipped, way), faces.target[at]


def of_sensitivity(n: int, steps: int) -> None:
    """Print how far domain sensitivities differ between the two ways."""
    data = FaceData(name="celeba", edition="reduced", size=64, total=n)
    synthetic = SyntheticFaces(
        source="generator", generator="faces", prompts="contextual", prompts_per_group=50,
        total=n // 2, bias_ratio=1 / 9, pool=n // 4, steps=steps,
    )  # fmt: skip
    real, s1 = real_faces(data).train, synthetic_faces(data, synthetic, seed=0).biased
    model = models.image_classifier("resnet18", width=16, seed=0)
    vision.fit(model, real, {}, HOW.model_copy(update={"selection": "last"}), seed=0)
    names = [name for name, _ in model.named_parameters()]
    studio = mean_gradients(model, vision.batches(s1, HOW, seed=0), vision.bce)
    found = {
        (way, seed): sensitivity(
            mean_gradients(model, batches(real, way, seed), vision.bce), studio
        )
        for way in WAYS
        for seed in (0, 1)
    }
    print(f"\n{len(real):,} photographs, {len(s1):,} generated images, {len(names)} tensors\n")
    print("| d_j compared | median ratio (quartiles) | rank correlation | of the best 55 shared |")
    print("|---|---:|---:|---:|")
    for what, first, second in (
        ("twice against once, the same boxes", ("twice", 0), ("once", 0)),
        ("once, other boxes and order", ("once", 1), ("once", 0)),
    ):
        a, b = (np.array([found[key][name] for name in names]) for key in (first, second))
        low, mid, high = np.quantile(a / b, [0.25, 0.5, 0.75])
        shared = len(set(np.argsort(a)[:55]) & set(np.argsort(b)[:55]))
        rank = spearmanr(a, b).statistic
        print(f"| {what} | {mid:.3f} ({low:.3f}–{high:.3f}) | {rank:.3f} | {shared} |")


def main() -> None:
    """Run both measurements and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1_024, help="photographs (default 1024)")
    parser.add_argument("--steps", type=int, default=10, help="of the generator (default 10)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    of_noise(200)
    try:
        celeba.DATASET.find("reduced")
    except DataError as error:
        print(f"\nno domain sensitivities: {error}")
    else:
        of_sensitivity(arguments.images, arguments.steps)


if __name__ == "__main__":
    main()
