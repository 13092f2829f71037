"""The registry: which experiments each chapter runs, and what it claims.

``@experiment(notebook, part=...)`` registers a function that plans runs; a module of a chapter
names its claims ``CLAIMS``. Chapters (`repro.chapters`) are imported when they are first asked
for, so that nothing here depends on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, wraps
from importlib import import_module
from typing import TYPE_CHECKING, ParamSpec, cast

from repro.names import check_name
from repro.study.configs import RunConfig
from repro.study.once import once, one_reading
from repro.study.profiles import Paper, Profile

if TYPE_CHECKING:
    from repro.study.claims import Claim

#: key -> one configuration per seed
Plan = dict[str, list[RunConfig]]
#: What plans runs from a profile and seeds (pure, nothing runs).
Experiment = Callable[[Profile, Sequence[int]], Plan]

Planning = ParamSpec("Planning")

_REGISTERED: dict[str, tuple[Paper, list[Experiment]]] = {}


def experiment(
    *notebooks: str, part: Paper
) -> Callable[[Callable[Planning, Plan]], Callable[Planning, Plan]]:
    """Return the decorator of an experiment that these notebooks run, on seeds of that part."""

    def known(plan: Callable[Planning, Plan]) -> Callable[Planning, Plan]:
        planned = once(plan)

        @wraps(plan)
        def copied(*args: Planning.args, **kwargs: Planning.kwargs) -> Plan:
            return dict(planned(*args, **kwargs))  # the caller's own, to add to

        for notebook in notebooks:
            _REGISTERED.setdefault(notebook, (part, []))[1].append(cast(Experiment, copied))
        return copied

    return known


@lru_cache(maxsize=1)
def _chapters() -> tuple[object, ...]:
    package = import_module("repro.chapters")
    return tuple(import_module(f"repro.chapters.{name}") for name in package.CHAPTERS)


def experiments() -> dict[str, tuple[Paper, tuple[Experiment, ...]]]:
    """Return, by notebook, the part of the study whose seeds it runs, and its experiments."""
    _chapters()
    return {name: (part, tuple(plans)) for name, (part, plans) in sorted(_REGISTERED.items())}


def of_part(part: Paper) -> list[Experiment]:
    """Return the experiments of one part of the study."""
    return [e for own, plans in experiments().values() if own == part for e in plans]


def claims() -> tuple[Claim, ...]:
    """Return every claim, in the order of the book."""
    return tuple(claim for chapter in _chapters() for claim in getattr(chapter, "CLAIMS", ()))


def claim_named(name: str) -> Claim:
    """Return a claim by its name.

    Raises
    ------
    UnknownNameError
        If there is none; the nearest is given.
    """
    known = {claim.name: claim for claim in claims()}
    return known[check_name("claim", name, known)]


def substituted(profile: Profile, part: Paper, touches: frozenset[str] | None) -> tuple[str, ...]:
    """Return where a profile's settings are not the paper's, as far as a claim rests on them."""
    chapter = import_module("repro.chapters.substitutions")
    rests_on = chapter.PARTS if touches is None else touches
    told: tuple[str, ...] = chapter.substitutions(profile, part, rests_on)
    return told


def everything(profile: Profile) -> Plan:
    """Return all runs of a profile, and those that they build on."""
    plan: Plan = {}
    with one_reading():
        for part, plans in experiments().values():
            for plan_of in plans:
                for key, configs in plan_of(profile, profile.seeds_of(part)).items():
                    plan[f"{plan_of.__name__}: {key}"] = configs
                    for config in configs:
                        for upstream in with_upstream(config):
                            plan.setdefault(f"upstream {upstream.identity}", [upstream])
    return plan


def first_asked(profile: Profile) -> dict[str, list[RunConfig]]:
    """Return, by notebook, the runs of a profile that it is the first to ask for.

    With them come those that they build on, which no earlier notebook leaves.
    """
    first, seen = {}, set[str]()
    with one_reading():
        for notebook, (part, plans) in experiments().items():
            asked: dict[str, RunConfig] = {}
            for plan_of in plans:
                for group in plan_of(profile, profile.seeds_of(part)).values():
                    for config in group:
                        asked |= {c.identity: c for c in (*with_upstream(config), config)}
            first[notebook] = [config for run, config in asked.items() if run not in seen]
            seen |= asked.keys()
    return first


def with_upstream(config: RunConfig) -> Iterator[RunConfig]:
    """Yield the runs that a run builds on, at any depth."""
    for upstream in config.upstream().values():
        yield upstream
        yield from with_upstream(upstream)
