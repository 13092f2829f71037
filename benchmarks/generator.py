"""Time a training step of the small UNet: `python benchmarks/generator.py`.

Fused attention and channels last, as one would write it, against attention written out and the
default memory layout, which is what `repro.generator.diffusion` does on a CPU. Both ways take turns
in one process. Prints a Markdown table; writes nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext
from statistics import median

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from repro.data.captions import VOCABULARIES
from repro.generator import diffusion
from repro.generator.settings import TOYFACES


def stepper(layout: torch.memory_format, *, fused: bool, batch: int) -> Callable[[], Tensor]:
    """Return a function that does one step, forward and backward, and returns the velocity."""
    words = diffusion.tokenizer(VOCABULARIES["toyfaces"], length=TOYFACES.text_length)
    networks = diffusion.build(TOYFACES, words).to(memory_format=layout)  # type: ignore[call-overload]
    generator = torch.Generator().manual_seed(0)
    side = TOYFACES.size // TOYFACES.factor
    noised = torch.randn(batch, TOYFACES.latent_channels, side, side, generator=generator)
    noised = noised.contiguous(memory_format=layout)
    times = torch.randint(diffusion.NOISE_STEPS, (batch,), generator=generator)
    tokens = diffusion.encode_text(words, ["glasses and a red hat"] * batch, TOYFACES.text_length)

    def step() -> Tensor:
        networks.zero_grad()
        attention = nullcontext() if fused else sdpa_kernel(SDPBackend.MATH)
        with torch.autocast("cpu", torch.bfloat16), attention:
            velocity = networks(noised, times, tokens)
        velocity.float().square().mean().backward()
        return velocity.detach().float()

    return step


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7, help="timed rounds (default 7)")
    parser.add_argument("--batch", type=int, default=64, help="images of a step (default 64)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    ways = {
        "fused, channels last": stepper(torch.channels_last, fused=True, batch=arguments.batch),
        "written out, channels last": stepper(
            torch.channels_last, fused=False, batch=arguments.batch
        ),
        "written out, default layout (ours)": stepper(
            torch.contiguous_format, fused=False, batch=arguments.batch
        ),
    }
    found = {name: step() for name, step in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.repeats):
        for name, step in ways.items():
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    first = next(iter(ways))
    print(f"CPU, torch {torch.__version__}, {arguments.threads} thread(s)\n")
    print("| attention, layout | images/s (median) | times the first | largest deviation |")
    print("|---|---:|---:|---:|")
    for name in ways:
        ratio = median(seconds[first]) / median(seconds[name])
        deviation = float((found[name] - found[first]).abs().max())
        print(
            f"| {name} | {arguments.batch / median(seconds[name]):.0f} | {ratio:.2f} "
            f"| {deviation:.1e} |"
        )


if __name__ == "__main__":
    main()
