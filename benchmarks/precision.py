"""Time training steps in bfloat16 and in both layouts: `python benchmarks/precision.py`.

What the study trains, forward and backward on one thread: the classifier, and both networks of the
small generator. Default layout in float32 is the straightforward way; all ways take turns in one
process. Prints a Markdown table; writes nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from repro import machine
from repro.data.captions import VOCABULARIES
from repro.generator import autoencoder, diffusion
from repro.generator.settings import TOYFACES
from repro.models import image_classifier

LAYOUTS = {"default layout": torch.contiguous_format, "channels last": torch.channels_last}
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def classifier(layout: torch.memory_format, *, width: int, size: int) -> tuple[nn.Module, Any]:
    """Return a ResNet-18 and a function that gives the outputs of 64 images."""
    model = image_classifier("resnet18", width=width, seed=0).train().to(memory_format=layout)  # type: ignore[call-overload]
    images = torch.randn(64, 3, size, size).contiguous(memory_format=layout)
    return model, lambda: model(images)


def unet(layout: torch.memory_format) -> tuple[nn.Module, Any]:
    """Return the UNet of toy faces and a function that gives its velocity for 64 latents."""
    words = diffusion.tokenizer(VOCABULARIES["toyfaces"], length=TOYFACES.text_length)
    networks = diffusion.build(TOYFACES, words).to(memory_format=layout)  # type: ignore[call-overload]
    side = TOYFACES.size // TOYFACES.factor
    noised = torch.randn(64, TOYFACES.latent_channels, side, side)
    noised = noised.contiguous(memory_format=layout)
    times = torch.randint(diffusion.NOISE_STEPS, (64,))
    tokens = diffusion.encode_text(words, ["glasses and a red hat"] * 64, TOYFACES.text_length)

    def outputs() -> Tensor:
        with diffusion.attention("cpu"):
            return networks(noised, times, tokens)

    return networks, outputs


def coder(layout: torch.memory_format) -> tuple[nn.Module, Any]:
    """Return the autoencoder of toy faces and a function that gives 64 images back."""
    model = autoencoder.build(TOYFACES).to(memory_format=layout)
    images = torch.randn(64, 3, TOYFACES.size, TOYFACES.size).contiguous(memory_format=layout)
    return model, lambda: model.decode(model.encode(images).latents).sample


NETWORKS: Mapping[str, Callable[[torch.memory_format], tuple[nn.Module, Any]]] = {
    "ResNet-18, width 16, 32x32": partial(classifier, width=16, size=32),
    "ResNet-18, width 32, 64x64": partial(classifier, width=32, size=64),
    "UNet of toy faces": unet,
    "autoencoder of toy faces": coder,
}


def step(model: nn.Module, outputs: Callable[[], Tensor], precision: torch.dtype) -> None:
    """Take one step: outputs, a loss, gradients."""
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        loss = outputs().float().square().mean()
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7, help="timed rounds (default 7)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    bfloat16 = [name for name in machine.instructions() if "bf16" in name]
    print(f"{machine.describe()}, torch {torch.__version__}, bfloat16 by {bfloat16 or 'nothing'}\n")
    ways = list(product(LAYOUTS, PRECISIONS))
    print("| network | " + " | ".join(f"{p}, {layout}" for layout, p in ways) + " |")
    print("|---|" + "---:|" * len(ways))
    for name, build in NETWORKS.items():
        steps = {way: partial(step, *build(LAYOUTS[way[0]]), PRECISIONS[way[1]]) for way in ways}
        for run in steps.values():
            run()
        seconds: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
        for _ in range(arguments.repeats):
            for way, run in steps.items():
                start = time.process_time()
                run()
                seconds[way].append(time.process_time() - start)
        first = median(seconds[ways[0]])
        cells = [
            f"{64 / median(seconds[way]):,.0f} ({first / median(seconds[way]):.2f})" for way in ways
        ]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
