"""Time three ways to the Fisher information of a linear head: `python benchmarks/fisher.py`.

The closed form of `repro.win.linear_fisher`, a loop of autograd over single examples, and
`torch.func.vmap(grad)`, on the same random data, in one process, taking turns so that a slow
moment of the machine does not fall on one of them alone. Prints a Markdown table; writes nothing
unless `--json FILE` is given.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.func import grad, vmap
from torch.nn.functional import cross_entropy

from repro.win.fisher import linear_fisher

SIZES = {
    "Adult-like": (8_697, 10, 2),  # head of the two-layer MLP of Zhang and Zhou (2024)
    "wide": (2_000, 512, 40),  # ResNet-18 with a head for the 40 attributes of CelebA
}
Method = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def closed_form(inputs: Tensor, weight: Tensor, bias: Tensor, target: Tensor) -> Tensor:
    """Fisher information (d, k) by one matrix product."""
    return linear_fisher(inputs, inputs @ weight + bias, target)


def autograd_loop(inputs: Tensor, weight: Tensor, bias: Tensor, target: Tensor) -> Tensor:
    """Fisher information (d, k) by one backward pass an example."""
    weight = weight.clone().requires_grad_()
    squares = torch.zeros_like(weight)
    for i in range(len(inputs)):
        loss = cross_entropy(inputs[i : i + 1] @ weight + bias, target[i : i + 1])
        squares += torch.autograd.grad(loss, weight)[0].square()
    return squares / len(inputs)


def vmap_grad(inputs: Tensor, weight: Tensor, bias: Tensor, target: Tensor) -> Tensor:
    """Fisher information (d, k) by all (n, d, k) gradients at once."""

    def loss(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return cross_entropy((x @ w + bias)[None], y[None])

    gradients: Tensor = vmap(grad(loss), in_dims=(None, 0, 0))(weight, inputs, target)
    return gradients.square().mean(dim=0)


METHODS: dict[str, Method] = {
    "closed form": closed_form,
    "vmap(grad)": vmap_grad,
    "autograd loop": autograd_loop,
}


def measure(
    n: int, d: int, k: int, repeats: int, dtype: torch.dtype
) -> dict[str, dict[str, float]]:
    """Time every method `repeats` times, in turn, after one untimed round."""
    generator = torch.Generator().manual_seed(0)
    case = (
        torch.randn(n, d, generator=generator, dtype=dtype),
        torch.randn(d, k, generator=generator, dtype=dtype) / d**0.5,
        torch.zeros(k, dtype=dtype),
        torch.randint(k, (n,), generator=generator),
    )
    results = {name: method(*case) for name, method in METHODS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    for _ in range(repeats):
        for name, method in METHODS.items():
            start = time.perf_counter()
            method(*case)
            seconds[name].append(time.perf_counter() - start)
    reference = results["closed form"]
    return {
        name: {
            "median_s": median(seconds[name]),
            "min_s": min(seconds[name]),
            "max_s": max(seconds[name]),
            "ratio": median(seconds[name]) / median(seconds["closed form"]),
            "max_abs_deviation": (results[name] - reference).abs().max().item(),
            "largest_entry": reference.max().item(),
        }
        for name in METHODS
    }


def positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=positive, default=7, help="timed rounds (default 7)")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    # One thread, because where other work shares the cores each parallel region waits for a turn
    # (16 ms a time were seen), and that wait would be measured instead.
    parser.add_argument("--threads", type=positive, default=1, help="of torch (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers here")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    dtype = getattr(torch, arguments.dtype)
    tables = {size: measure(*shape, arguments.repeats, dtype) for size, shape in SIZES.items()}
    setting = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "dtype": arguments.dtype,
        "repeats": arguments.repeats,
    }
    print("CPU, " + ", ".join(f"{name} {value}" for name, value in setting.items()) + "\n")
    print(
        "| size (n, d, k) | method | median (ms) | min-max (ms) | times the closed form "
        "| largest abs. deviation | largest entry |"
    )
    print("|---|---|---:|---:|---:|---:|---:|")
    for size, rows in tables.items():
        n, d, k = SIZES[size]
        for method, row in rows.items():
            print(
                f"| {size} ({n:,}, {d}, {k}) | {method} | {1e3 * row['median_s']:.2f} "
                f"| {1e3 * row['min_s']:.2f}-{1e3 * row['max_s']:.2f} | {row['ratio']:,.1f} "
                f"| {row['max_abs_deviation']:.1e} | {row['largest_entry']:.2g} |"
            )
    if arguments.json is not None:
        report = {"setting": setting, "sizes": SIZES, "results": tables}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
