"""Time the face half of the study against the straightforward way: `python benchmarks/faces.py`.

The straightforward way is that of a plain release: pandas rows one by one, JPEG files decoded and
transformed one by one in a DataLoader, float32 in the default memory format, `.item()` for each
example. Both ways run in one process and take turns, so that a slow moment of the machine does
not fall on one of them alone; what they must agree on is checked before it is timed.

The images are generated at CelebA's 178x218 pixels in a temporary folder, which takes the cache
too. The attribute list is CelebA's own where REPRO_DATA has it, else a generated one of the same
format and length. Prints Markdown; writes nothing unless `--json FILE` is given.

Where other work shares the cores, set OMP_WAIT_POLICY=passive, so that threads do not spin while
they wait for one another, and trust the rows of one thread and the ratio of CPU times more.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import resource
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import PIL
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms

from repro import metrics, models, vision
from repro.aimfair.gradients import mean_gradients
from repro.data import celeba
from repro.data.archives import read_members
from repro.data.imagecache import load_images
from repro.data.sources import DataError, cache_root
from repro.data.splits import biased_split
from repro.settings import ImageOptimisation

WORKERS = 2  # of every DataLoader
TARGET, PROTECTED = "Smiling", "Male"
HOW = ImageOptimisation(epochs=1, selection="last")
Way = Callable[[Any], object]
Row = dict[str, Any]  # of the table


class Sizes(NamedTuple):
    """How much of everything; of images, but for the first three."""

    listed: int = 202_599  # lines of the attribute list
    train_lines: int = 162_770  # those of the training part, which come first
    chosen: int = 20_000  # examples of the biased split
    # pixels, images, batch; fewer on all cores, which take turns badly where others work, too
    all_cores: tuple[tuple[int, int, int], ...] = ((64, 512, 128), (224, 128, 64))
    one_core: tuple[tuple[int, int, int], ...] = ((64, 1_024, 128), (224, 256, 64))
    gradient: int = 512  # in each of the three sets
    evaluated: int = 5_000
    gpu: tuple[int, int] = (8_192, 128)  # n, batch


FEW = (64, 64, 32), (224, 16, 8)
QUICK = Sizes(20_000, 16_000, 2_000, FEW, FEW, 32, 256, (256, 64))


# --- Taking turns ---------------------------------------------------------------------------


def compare(what: str, theirs: Way, ours: Way, case: Any, warm: Any, repeats: int) -> Row:
    """Time both ways on ``case`` in turn, the first one changing, after one round on ``warm``."""
    ways = {"theirs": theirs, "ours": ours}
    wall: dict[str, list[float]] = {"theirs": [], "ours": []}
    cpu: dict[str, list[float]] = {"theirs": [], "ours": []}
    for way in ways.values():
        way(warm)
    for turn in range(repeats):
        for name in list(ways)[:: 1 if turn % 2 == 0 else -1]:
            start, spent = time.perf_counter(), cpu_seconds()
            ways[name](case)
            wall[name].append(time.perf_counter() - start)
            cpu[name].append(cpu_seconds() - spent)
    ratios = [b / a for a, b in zip(wall["ours"], wall["theirs"], strict=True)]
    took = [f"{s:.2f} s" if s >= 0.1 else f"{1e3 * s:.2g} ms" for s in map(median, wall.values())]
    of_cpu = median(cpu["theirs"]) / median(cpu["ours"])
    spread = f"{median(ratios):.3g} ({min(ratios):.3g}–{max(ratios):.3g})"
    print(f"| {what} | {took[0]} | {took[1]} | {spread} | {of_cpu:.3g} |", flush=True)
    return {"what": what, "wall_s": wall, "cpu_s": cpu, "ratios": ratios, "cpu_ratio": of_cpu}


def cpu_seconds() -> float:
    """Return the CPU time of all threads of this process, and of its workers that have ended."""
    workers = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + workers.ru_utime + workers.ru_stime


def must_agree(condition: object, what: str) -> None:
    """Stop if the two ways do not compute the same: their times would mean nothing."""
    if not condition:
        raise SystemExit(f"the two ways do not agree on {what}")


# --- Labels ---------------------------------------------------------------------------------


def attribute_list(path: Path, sizes: Sizes) -> str:
    """Write CelebA's own list, or else a generated one, to ``path``; say which."""
    path.parent.mkdir()
    with contextlib.suppress(DataError):
        if sizes is not QUICK:
            found = celeba.DATASET.find("found", roles=("attributes",))["attributes"]
            plain = found.suffix != ".zip"
            path.write_bytes(found.read_bytes() if plain else next(read_members(found))[1])
            return "CelebA's list"
    columns = [TARGET, PROTECTED, *(f"Attribute_{i}" for i in range(3, 41))]
    values = np.random.default_rng(0).choice([-1, 1], (sizes.listed, 40), p=[0.55, 0.45])
    names = [f"{i:06}.jpg" for i in range(1, sizes.listed + 1)]
    with path.open("w") as file:
        file.write(f"{sizes.listed}\n{' '.join(columns)}\n")
        pd.DataFrame(values, index=names).to_csv(file, sep=" ", header=False)
    return f"a generated list of {sizes.listed:,} lines"


def labels_theirs(table: pd.DataFrame, sizes: Sizes) -> list[tuple[object, int, int]]:
    """Take training rows, a counter for each group, until the split is full; then the others."""

    def labels(row: pd.Series[int]) -> tuple[int, int]:
        return int((row[TARGET] + 1) / 2), int((row[PROTECTED] + 1) / 2)

    small, half = round(sizes.chosen / 20), sizes.chosen // 2
    wanted, counts, found = [small, half - small, half - small, small], [0, 0, 0, 0], []
    for name, row in table[: sizes.train_lines].iterrows():
        t, p = labels(row)
        if counts[2 * t + p] < wanted[2 * t + p]:
            counts[2 * t + p] += 1
            found.append((name, t, p))
        if counts == wanted:
            break
    return found + [(name, *labels(row)) for name, row in table[sizes.train_lines :].iterrows()]


def labels_ours(table: pd.DataFrame, sizes: Sizes) -> tuple[pd.Index, np.ndarray, np.ndarray]:
    """Return names, target and protected attribute of the biased split, then of the others."""
    target, protected, n = table[TARGET].to_numpy(), table[PROTECTED].to_numpy(), sizes.train_lines
    split = biased_split(target[:n], protected[:n], sizes.chosen)
    rows = np.concatenate([split, np.arange(n, len(table))])
    return table.index[rows], target[rows], protected[rows]


def label_rows(root: Path, sizes: Sizes, repeats: int) -> Iterator[Row]:
    """Time choosing the split and labelling all parts, alone and with reading the list."""
    path = root / "celeba" / "list_attr_celeba.txt"
    what = f"{attribute_list(path, sizes)}: {sizes.chosen:,} chosen, validation and test labelled"
    read: tuple[Callable[[], pd.DataFrame], ...] = (
        lambda: pd.read_csv(path, sep=r"\s+", skiprows=1),
        lambda: celeba.attributes(edition="found", root=root),
    )
    tables = read[0](), read[1]()
    found = zip(*labels_ours(tables[1], sizes), strict=True)
    must_agree(labels_theirs(tables[0], sizes) == list(found), "the split or its labels")
    ways = (lambda ts: labels_theirs(ts[0], sizes)), (lambda ts: labels_ours(ts[1], sizes))
    yield compare(what, *ways, tables, tables, repeats)
    ways = (lambda rs: labels_theirs(rs[0](), sizes)), (lambda rs: labels_ours(rs[1](), sizes))
    yield compare("the same, with reading the list", *ways, read, read, repeats)


# --- The same images, both ways -------------------------------------------------------------


@dataclass(frozen=True)
class Photos:
    """The same images as bytes in memory (ours) and as JPEG files (theirs)."""

    faces: vision.Faces
    files: list[Path]

    def first(self, n: int, start: int = 0) -> Photos:
        """Return n images from ``start`` on."""
        at = np.arange(start, start + n)
        return Photos(self.faces.subset(at), self.files[start : start + n])


@dataclass(frozen=True)
class Files(Dataset[tuple[Tensor, int, int]]):
    """Files that are decoded and transformed one by one, as torchvision's ImageFolder does."""

    files: list[Path]
    target: list[int]
    protected: list[int]
    transform: Callable[[Image.Image], Tensor]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[Tensor, int, int]:
        with Image.open(self.files[i]) as image:
            return self.transform(image.convert("RGB")), self.target[i], self.protected[i]


def loader(photos: Photos, batch: int, augmented: bool = True, **how: Any) -> DataLoader[Any]:
    """Load the files in worker processes, with the papers' training or test transform."""
    faces, size = photos.faces, photos.faces.size
    crop = [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip()]
    tensor = [transforms.ToTensor()]
    # Resized as a tensor, because PIL rounds to bytes and ours does not; it takes as long.
    first = [*crop, *tensor] if augmented else [*tensor, transforms.Resize((size, size))]
    transform = transforms.Compose([*first, transforms.Normalize([0.5] * 3, [0.5] * 3)])
    files = Files(photos.files, faces.target.tolist(), faces.protected.tolist(), transform)
    return DataLoader(files, batch_size=batch, num_workers=WORKERS, **how)


def write_photos(folder: Path, n: int) -> list[Path]:
    """Write n JPEG files: smooth noise, and some grain so that a file is as large as CelebA's."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    files = [folder / f"{i:06}.jpg" for i in range(1, n + 1)]
    for file in files:
        coarse = Image.fromarray(rng.integers(0, 256, (14, 11, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((178, 218), Image.Resampling.BICUBIC), dtype=float)
        pixels += rng.normal(0, 4, (218, 178, 1))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, quality=75)
    return files


def photos_of(files: list[Path], size: int) -> Photos:
    """Load images through the study's cache."""
    names = [file.name for file in files]
    with contextlib.redirect_stderr(io.StringIO()):
        images = load_images("generated", files[0].parent, names, None, digest="")
    return Photos(faces_of(images, size), files)


def faces_of(images: Tensor, size: int) -> vision.Faces:
    """Label images by their places, so that the four groups are of one size."""
    at = torch.arange(len(images))
    return vision.Faces(images, at, at % 2, at // 2 % 2, at.numpy(), size)


def resnet18(layout: torch.memory_format) -> nn.Module:
    """Build the same model, in the memory format of one of the ways."""
    return models.image_classifier("resnet18", seed=0).to(memory_format=layout)


# --- Training, mean gradients, evaluation ---------------------------------------------------


def train_theirs(model: nn.Module, photos: Photos, batch: int) -> float:
    """Train for one epoch; return the mean loss."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    total = 0.0
    model.train()
    for inputs, target, _ in loader(photos, batch, shuffle=True, drop_last=True):
        loss = vision.bce(model(inputs), target)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total += loss.item() * len(target)
    return total / len(photos.files)


def gradients_theirs(model: nn.Module, photos: Photos, batch: int, **how: Any) -> dict[str, Tensor]:
    """Accumulate the mean gradient of every tensor by backward passes."""
    model.train()
    model.zero_grad()
    batches = loader(photos, batch, shuffle=True, drop_last=True, **how)
    for inputs, target, _ in batches:
        vision.bce(model(inputs), target).backward()  # type: ignore[no-untyped-call]
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {name: gradient / len(batches) for name, gradient in gradients.items()}


def gradients_ours(
    model: nn.Module, photos: Photos, batch: int, precision: str, **how: Any
) -> dict[str, Tensor]:
    """Compute the mean gradients of the study."""
    given = HOW.model_copy(update={"batch_size": batch})
    batches = vision.batches(photos.faces, given, seed=0, **how)
    return mean_gradients(model, batches, vision.bce, precision=precision)


@torch.no_grad()
def outputs_theirs(model: nn.Module, photos: Photos) -> Iterator[list[Tensor]]:
    """Yield logits, target and protected attribute batch by batch."""
    model.eval()
    for inputs, target, protected in loader(photos, 128, augmented=False):
        yield [model(inputs).squeeze(1), target, protected]


def metrics_theirs(batches: Iterable[list[Tensor]]) -> dict[str, float]:
    """Count example by example what `outputs_theirs` yields."""
    right: Counter[tuple[float, float]] = Counter()
    there: Counter[tuple[float, float]] = Counter()
    for logits, target, protected in batches:
        predicted = (torch.sigmoid(logits) > 0.5).long()
        for i in range(len(predicted)):
            t, p = target[i].item(), protected[i].item()
            there[t, p] += 1
            right[t, p] += predicted[i].item() == t
    accuracy = {(t, p): right[t, p] / there[t, p] for t, p in there}
    gaps = [abs(accuracy[t, 1] - accuracy[t, 0]) for t in (0, 1)]  # of FPR and TPR
    return {
        "accuracy": right.total() / there.total(),
        **{f"accuracy_t{t}_p{p}": value for (t, p), value in accuracy.items()},
        "worst_group_accuracy": min(accuracy.values()),
        "group_std": float(np.std(list(accuracy.values()))),
        "equalized_odds_max": max(gaps),
        "equalized_odds_mean": sum(gaps) / 2,
    }


def metrics_ours(logits: Tensor, faces: vision.Faces) -> dict[str, float]:
    """Compute every metric from the table of counts."""
    return metrics.flatten_metrics(metrics.metrics_from_counts(vision.counts_of(logits, faces)))


def check(photos: Photos) -> list[str]:
    """Check that both ways compute the same; return by how much they deviate."""
    model, other = (resnet18(layout) for layout in (torch.channels_last, torch.contiguous_format))
    theirs = torch.cat([logits for logits, _, _ in outputs_theirs(other, photos)])
    logits = vision.predict(model, photos.faces, precision="float32")
    apart = float((logits - theirs).abs().max() / theirs.abs().max())
    must_agree(apart < 1e-4, f"the logits: {apart:.1e} of the largest")

    logits -= logits.mean()  # so that both classes are predicted
    found = metrics_ours(logits, photos.faces)
    wanted = metrics_theirs([[logits, photos.faces.target, photos.faces.protected]])
    must_agree(all(abs(found[k] - v) < 1e-12 for k, v in wanted.items()), "the group metrics")

    # In one batch, because the two ways shuffle differently and BatchNorm sees the batch. The
    # bound is wide because rounding switches ReLUs: float32 and float64 are as far apart.
    expected = gradients_theirs(other, photos, len(photos.files), augmented=False)
    deviation = {}
    for kind in ("float32", "bfloat16"):
        ours = gradients_ours(model, photos, len(photos.files), kind, augmented=False)
        deviation[kind] = max(float((ours[k] - g).norm() / g.norm()) for k, g in expected.items())
    must_agree(deviation["float32"] < 0.05, f"mean gradients: {deviation['float32']:.1e}")
    apart_in = ", ".join(f"{value:.0e} in {kind}" for kind, value in deviation.items())
    return [
        f"agreed: the split and its labels, {len(wanted)} group metrics, logits (to {apart:.0e})",
        f"mean gradients, of a tensor at most apart by these parts of its norm: {apart_in}",
    ]


def image_rows(folder: Path, sizes: Sizes, repeats: int, notes: list[str]) -> Iterator[Row]:
    """Time everything that reads images."""
    files = write_photos(folder, max(sizes.evaluated, 3 * sizes.gradient))
    notes.append(f"JPEG files of {np.mean([file.stat().st_size for file in files]) / 1e3:.1f} kB")
    small = photos_of(files, 64)
    notes += check(small.first(64))
    model, other = (resnet18(layout) for layout in (torch.channels_last, torch.contiguous_format))

    def epoch(photos: Photos, batch: int, threads: int, precision: str = "bfloat16") -> Any:
        size, how = photos.faces.size, {"batch_size": batch, "precision": precision}
        torch.set_num_threads(threads)
        return compare(
            f"an epoch of {len(photos.files):,} images at {size}x{size}, batch {batch}, {threads} "
            + f"thread{'s' * (threads > 1)}, ours in {precision}"
            + " too" * (precision == "float32"),
            lambda case: train_theirs(other, case, batch),
            lambda case: vision.fit(model, case.faces, {}, HOW.model_copy(update=how), seed=0),
            photos, photos.first(batch), repeats,
        )  # fmt: skip

    for size, n, batch in sizes.all_cores:
        yield epoch(photos_of(files[:n], size), batch, os.cpu_count() or 1)
    for size, n, batch in sizes.one_core:  # as in the study, whose runs must be repeatable
        yield epoch(photos_of(files[:n], size), batch, 1)
    _, n, batch = sizes.one_core[0]
    yield epoch(small.first(n), batch, 1, "float32")

    sets = [small.first(sizes.gradient, i * sizes.gradient) for i in range(3)]
    for kind in ("float32", "bfloat16"):  # the study takes them in float32
        yield compare(
            f"mean gradients on 3 sets of {sizes.gradient} images at 64x64, batch {batch}, "
            f"ours in {kind}" + " too" * (kind == "float32"),
            lambda case: [gradients_theirs(other, photos, batch) for photos in case],
            partial(lambda kind, case: [gradients_ours(model, p, batch, kind) for p in case], kind),
            sets, [small.first(batch)], repeats,
        )  # fmt: skip

    some = small.first(sizes.evaluated)
    yield compare(
        f"evaluation of {sizes.evaluated:,} images at 64x64, with group metrics",
        lambda case: metrics_theirs(outputs_theirs(other, case)),
        lambda case: metrics_ours(vision.predict(model, case.faces), case.faces),
        some, some.first(128), repeats,
    )  # fmt: skip
    logits = torch.randn(sizes.evaluated, generator=torch.Generator().manual_seed(0))
    yield compare(
        f"the group metrics of {sizes.evaluated:,} predictions alone",
        lambda case: metrics_theirs([[logits, case.target, case.protected]]),
        lambda case: metrics_ours(logits, case),
        some.faces, some.faces, repeats,
    )  # fmt: skip

    def anew(case: list[Path]) -> Photos:
        shutil.rmtree(cache_root() / "images")
        return photos_of(case, 64)

    what = f"loading {len(files):,} images at 64x64: the first call against later ones"
    yield compare(what, anew, lambda case: photos_of(case, 64), files, files, repeats)


# --- A GPU, and the command -----------------------------------------------------------------


def throughput(device: str, n: int, batch: int, repeats: int, peak_tflops: float | None) -> str:
    """Say how many images a second pre-train a ResNet-18 at 224x224, and the FLOP/s of that."""
    model, how = resnet18(torch.channels_last), HOW.model_copy(update={"batch_size": batch})
    with FlopCounterMode(display=False) as counter:  # a multiplication and an addition are 2
        model(torch.zeros(2, 3, 224, 224)).sum().backward()
    flop = counter.get_total_flops() / 2
    model.to(device)
    faces = faces_of(torch.randint(0, 256, (n, 3, 218, 178), dtype=torch.uint8), 224)
    seconds = []
    for _ in range(1 + repeats):  # the first one warms up
        start = time.perf_counter()
        vision.fit(model, faces, {}, how, seed=0, device=device)  # waits: it returns the loss
        seconds.append(time.perf_counter() - start)
    rates = sorted(n / s for s in seconds[1:])
    achieved = median(rates) * flop / 1e12
    share = f", {achieved / peak_tflops:.1%} of {peak_tflops:g} TFLOP/s" if peak_tflops else ""
    return (
        f"an epoch of {n:,} images at 224x224, batch {batch}, bfloat16: {median(rates):,.0f} "
        f"images/s ({rates[0]:,.0f}–{rates[-1]:,.0f}); at {flop / 1e9:.2f} GFLOP an image, forward "
        f"and backward, {achieved:.1f} TFLOP/s{share}"
    )


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run?")
    parser.add_argument("--repeat", type=int, default=3, help="timed rounds (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers here")
    parser.add_argument("--peak-tflops", type=float, help="of the GPU, dense, in bfloat16")
    arguments = parser.parse_args()
    repeats, sizes = max(1, arguments.repeat), QUICK if arguments.quick else Sizes()
    setting = {
        **{m.__name__: m.__version__ for m in (torch, torchvision, PIL, pd, np)},
        "python": platform.python_version(),
        "machine": f"{platform.machine()} with {os.cpu_count()} cores",
        "vector instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": "1 where not said",
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "not set"),
        "workers of a DataLoader": WORKERS,
        "rounds": repeats,
        "load before": f"{os.getloadavg()[0]:.1f}",
    }
    print("| what | straightforward | ours | ratio of times (min–max) | ratio of CPU times |")
    print("|---|---:|---:|---:|---:|", flush=True)
    notes: list[str] = []
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        rows = list(label_rows(root, sizes, repeats))
        os.environ["REPRO_CACHE"] = str(root / "cache")
        rows += image_rows(root / "images", sizes, repeats, notes)
    setting["load after"] = f"{os.getloadavg()[0]:.1f}"
    if torch.cuda.is_available():
        found = throughput("cuda", *sizes.gpu, repeats, arguments.peak_tflops)
        notes.append(f"{torch.cuda.get_device_name()}: {found}")
    else:
        notes.append("no GPU is there, so its throughput was not measured")
    print("\n" + ", ".join(f"{name} {value}" for name, value in setting.items()) + "\n")
    print("\n".join(f"- {note}" for note in notes))
    if arguments.json is not None:
        report = {"setting": setting, "sizes": sizes._asdict(), "notes": notes, "rows": rows}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
