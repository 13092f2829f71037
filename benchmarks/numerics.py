"""Time a training in portable and in native numbers: `python benchmarks/numerics.py`.

A ResNet-18 on random images, one thread, float32, each time in a process of its own, because the
instruction set is fixed at the first operation; the two take turns. Prints a Markdown table with
the digest of the trained weights, by which two processors can be compared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from statistics import median

from repro import machine, numerics

#: width of the first layer, pixels a side, steps
SIZES = ((16, 32, 60), (32, 64, 12))
BATCH = 64


def train(width: int, size: int, steps: int) -> tuple[float, str]:
    """Return images per second of CPU, and the first digits of the digest of the weights."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    from repro.models import image_classifier

    torch.set_num_threads(1)
    model = image_classifier("resnet18", width=width, seed=0).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(4 * BATCH, 3, size, size, generator=generator)
    target = (torch.rand(4 * BATCH, generator=generator) > 0.5).float()

    def backward(rows: slice) -> None:
        optimiser.zero_grad()
        binary_cross_entropy_with_logits(model(images[rows])[:, 0], target[rows]).backward()

    for _ in range(3):  # libraries prepare their kernels
        backward(slice(BATCH))
    start = time.process_time()
    for step in range(steps):
        backward(slice(step % 4 * BATCH, (step % 4 + 1) * BATCH))
        optimiser.step()
    rate = BATCH * steps / (time.process_time() - start)
    weights = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
    return rate, hashlib.sha256(weights).hexdigest()[:12]


def main() -> None:
    """Alternate the two kinds of numbers and print what they cost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kind", choices=(numerics.PORTABLE, numerics.NATIVE), help="one process")
    given = parser.parse_args()
    if given.kind is not None:
        if given.kind == numerics.PORTABLE and not numerics.hold():
            sys.exit("this processor is no x86-64: its numbers cannot be held")
        print(json.dumps([train(*size) for size in SIZES]))
        return
    found: dict[str, list[list[tuple[float, str]]]] = {}
    for _ in range(given.repeats):
        for kind in (numerics.NATIVE, numerics.PORTABLE):
            done = subprocess.run(
                [sys.executable, __file__, "--kind", kind],
                capture_output=True,
                text=True,
                check=True,
            )
            found.setdefault(kind, []).append(json.loads(done.stdout))
    print(f"{machine.describe()}\n")
    print("| width, pixels | numbers | images/s | of native | digest |\n|---|---|---:|---:|---|")
    for place, (width, size, _) in enumerate(SIZES):
        rates = {k: median(run[place][0] for run in runs) for k, runs in found.items()}
        for kind, runs in found.items():
            digests = ", ".join(sorted({run[place][1] for run in runs}))
            share = rates[kind] / rates[numerics.NATIVE]
            print(f"| {width}, {size} | {kind} | {rates[kind]:,.0f} | {share:.2f} | {digests} |")


if __name__ == "__main__":
    main()
