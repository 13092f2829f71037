"""Time small networks that train one by one, as the study does, and stacked, as one product.

`python benchmarks/heads.py --repeats 3`; one thread, the two take turns. What is stacked: seven
learning rates of one head on frozen features, and ten seeds of the classifier of Adult.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from repro.settings import Optimisation
from repro.training import Examples, cross_entropy, fit

RATES = (0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03)


@dataclass(frozen=True)
class Work:
    """Networks of one shape, a rate of Adam for each; their examples and orders, or one for all."""

    models: Sequence[nn.Module]
    data: Sequence[Examples]
    rates: Sequence[float]
    how: Optimisation
    seeds: Sequence[int]


def stacked(work: Work) -> Tensor:
    """Train networks of one shape side by side with Adam; return their weights (m, parameters).

    Every batch is one product of (m, batch, d) with (m, d, k), by `torch.func.vmap`.
    """
    models, data, how = work.models, work.data, work.how
    parameters, _ = stack_module_state(list(models))  # type: ignore[arg-type]
    shape = copy.deepcopy(models[0]).to("meta")
    own = len(data) > 1  # examples of their own, or the same for all

    def loss_of(weights: dict[str, Tensor], inputs: Tensor, target: Tensor) -> Tensor:
        logits = functional_call(shape, weights, (inputs,))
        return nn.functional.cross_entropy(logits, target)

    losses = vmap(loss_of, in_dims=(0, 0, 0) if own else (0, None, None))
    first = {name: torch.zeros_like(p) for name, p in parameters.items()}
    second = {name: torch.zeros_like(p) for name, p in parameters.items()}
    rates = torch.tensor(work.rates)
    rate = {n: rates.view(-1, *[1] * (p.dim() - 1)) for n, p in parameters.items()}
    generators = [torch.Generator().manual_seed(seed) for seed in work.seeds]
    step, size = 0, len(data[0])
    for _ in range(how.epochs):
        orders = [torch.randperm(size, generator=g) for g in generators]
        inputs = [d.inputs[order] for d, order in zip(data, orders, strict=True)]
        targets = [d.target[order] for d, order in zip(data, orders, strict=True)]
        x = torch.stack(inputs) if own else inputs[0]
        y = torch.stack(targets) if own else targets[0]
        for at in range(0, size, how.batch_size):
            batch = slice(at, at + how.batch_size)
            chosen = (x[:, batch], y[:, batch]) if own else (x[batch], y[batch])
            total = losses(parameters, *chosen).sum()
            gradients = torch.autograd.grad(total, list(parameters.values()))
            step += 1
            with torch.no_grad():
                for (name, p), g in zip(parameters.items(), gradients, strict=True):
                    first[name].lerp_(g, 0.1)
                    second[name].mul_(0.999).addcmul_(g, g, value=0.001)
                    root = (second[name] / (1 - 0.999**step)).sqrt_().add_(1e-8)
                    p.sub_(rate[name] * (first[name] / (1 - 0.9**step)) / root)
    return torch.cat([p.detach().flatten(1) for p in parameters.values()], dim=1)


def one_by_one(work: Work) -> Tensor:
    """Train them as the study does, by `repro.training.fit`; its last epoch's weights."""
    found = []
    for i, (model, rate) in enumerate(zip(work.models, work.rates, strict=True)):
        own = copy.deepcopy(model)
        part = work.data[i % len(work.data)]
        last = work.how.model_copy(update={"learning_rates": (rate,)})
        kept: list[Tensor] = []

        def objective(logits: Tensor, target: Tensor, protected: Tensor) -> Tensor:
            if not logits.requires_grad:  # validation, after each epoch
                state = [p.detach().clone().flatten() for p in own.parameters()]  # noqa: B023
                kept[:] = [torch.cat(state)]  # noqa: B023
            return cross_entropy(logits, target, protected)

        few = Examples(part.inputs[:1], part.target[:1], part.protected[:1])
        fit(own, part, few, objective, last, seed=work.seeds[i % len(work.seeds)])
        found += kept
    return torch.stack(found)


def compare(title: str, work: Work, repeats: int) -> None:
    """Take turns, and print medians, the ratio and the largest deviation."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        results = []
        for way, spent in zip((one_by_one, stacked), times, strict=True):
            start = time.perf_counter()
            results.append(way(work))
            spent.append(time.perf_counter() - start)
    ratios = [a / b for a, b in zip(*times, strict=True)]
    off = float((results[0] - results[1]).abs().max())
    print(
        f"| {title} | {statistics.median(times[0]):.2f} | {statistics.median(times[1]):.2f} | "
        f"{statistics.median(ratios):.1f} ({min(ratios):.1f}-{max(ratios):.1f}) | {off:.1e} |"
    )


def main() -> None:
    """Measure both kinds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("| what | one by one (s) | stacked (s) | ratio (min-max) | largest deviation |")
    print("| --- | ---: | ---: | ---: | ---: |")

    def examples(n: int, d: int) -> Examples:
        x, y = torch.randn(n, d), torch.randint(0, 2, (n,))
        return Examples(x + 0.1 * y[:, None], y, torch.randint(0, 2, (n,)))

    how = Optimisation(learning_rates=RATES, epochs=5, batch_size=256)
    head, data = nn.Linear(512, 2), examples(14_000, 512)
    work = Work([head] * len(RATES), [data], RATES, how, [0])
    compare("seven rates of a head, 14,000 x 512, 5 epochs", work, repeats)

    seeds = list(range(10))
    models = [nn.Sequential(nn.Linear(96, 10), nn.ReLU(), nn.Linear(10, 2)) for _ in seeds]
    parts = [examples(24_000, 96) for _ in seeds]
    rates = [0.003] * len(seeds)
    work = Work(models, parts, rates, how, seeds)
    compare("ten seeds of Adult's classifier, 24,000 x 96, 5 epochs", work, repeats)


if __name__ == "__main__":
    main()
