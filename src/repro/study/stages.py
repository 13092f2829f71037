"""A stage is a function from a configuration to an :class:`~repro.study.runs.Outcome`.

``@stage(Config)`` says which one computes the runs of a configuration; :func:`obtain` is the one
call that notebooks, tests and the sweep use. Nothing here knows a paper.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from repro.machine import threads
from repro.study.configs import RunConfig
from repro.study.runs import Outcome, Record, Runs

Config = TypeVar("Config", bound=RunConfig)

_STAGES: dict[type[RunConfig], Callable[[Any, Runs], Outcome]] = {}


def stage(
    config: type[Config],
) -> Callable[[Callable[[Config, Runs], Outcome]], Callable[[Config, Runs], Outcome]]:
    """Return the decorator of the function that computes the runs of a configuration."""

    def known(function: Callable[[Config, Runs], Outcome]) -> Callable[[Config, Runs], Outcome]:
        _STAGES[config] = function
        return function

    return known


def obtain(config: RunConfig, runs: Runs | None = None) -> Record:
    """Return the run of ``config``, found or computed, and first those that it builds on."""
    store = runs or Runs()
    found = store.find(config)
    if found is not None:
        return found
    for upstream in config.upstream().values():
        obtain(upstream, store)
    record = store.obtain(config, lambda asked: compute(asked, store))
    from repro.study.checkpoints import checkpoint_of  # with torch, which a found run needs not

    checkpoint_of(config, store).remove()
    return record


def compute(config: RunConfig, runs: Runs) -> Outcome:
    """Compute one run whose upstream runs are there, on one thread, so that it can be repeated.

    Raises
    ------
    TypeError
        If no stage computes such runs.
    """
    import torch

    for name in import_module("repro.chapters").STAGES:
        import_module(f"repro.chapters.{name}")
    if type(config) not in _STAGES:
        raise TypeError(f"no stage computes a {type(config).__name__}")
    # On a GPU: the same kernels each time, and float32 that is float32.
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    with threads(1):  # sums in another order are other sums; two jobs share two cores
        return _STAGES[type(config)](config, runs)
