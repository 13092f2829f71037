"""Which notebooks a sweep shares out over jobs, and which wait for which: read from their plans."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from repro.study.configs import RunConfig
from repro.study.experiments import experiments, first_asked, with_upstream
from repro.study.once import one_reading
from repro.study.profiles import Profile

#: The notebook whose page draws the pool of synthetic images, which is no run.
DRAWS = "22_synthetic_faces"


@dataclass(frozen=True)
class Sweep:
    """How a sweep runs one notebook.

    Attributes
    ----------
    jobs
        The seeds of each job; one job where its runs cannot be shared out.
    after
        Notebooks that leave what its runs build on, or the images that they read. Two that want
        the same run at once would wait for each other; a run that nothing builds on may be wanted
        by several, the first computes it.
    """

    jobs: tuple[tuple[int, ...], ...]
    after: tuple[str, ...]


@one_reading()
def sweeps(profile: Profile, *, drawn: bool = False) -> dict[str, Sweep]:
    """Return how each notebook that runs experiments is swept, by name.

    Parameters
    ----------
    drawn
        Whether the pool of synthetic images is there, so that nobody waits for it.
    """
    plans = {name: _runs(profile, name) for name in experiments()}
    leaves: dict[str, str] = {}  # run -> the first notebook that leaves it
    for name, runs in plans.items():
        for run in runs:
            leaves.setdefault(run, name)
    found = {}
    for name, runs in plans.items():
        built_on = {u.identity: u for run in runs.values() for u in with_upstream(run)}
        # Of those that come before it: two may each leave what the other builds on.
        after = {leaves[i] for i in built_on if leaves.get(i, name) < name}
        if not drawn and any(_reads_pool(run) for run in chain(runs.values(), built_on.values())):
            after.add(DRAWS)
        found[name] = Sweep(_jobs(profile, name, runs), tuple(sorted(after - {name})))
    return found


@one_reading()
def forecast(
    profile: Profile, found: Mapping[str, Sweep], seconds: Callable[[RunConfig], float | None]
) -> str:
    """Say what is left to compute, how long that took before, and which chain takes longest.

    Images that have to be drawn first are not counted.

    Parameters
    ----------
    profile, found
        What is swept, and how, as `sweeps` returns it.
    seconds
        How long a run that is still to be computed took where it was recorded, on one core; 0 if
        it is there, None if nothing is known of it.
    """
    costs: dict[str, float] = {}
    runs, unknown = 0, 0
    for name, asked in first_asked(profile).items():
        left = [cost for config in asked if (cost := seconds(config)) != 0]
        runs += len(left)
        unknown += left.count(None)
        costs[name] = sum(cost for cost in left if cost is not None)
    if not runs:
        return "every run is there; what is left are pages"
    told = f"{runs} runs to compute"
    if unknown < runs:
        chain, longest = _longest(found, costs)
        told += f", as recorded {sum(costs.values()) / 60:.1f} min one after the other"
        told += f"; the longest chain is {' -> '.join(chain)}, {longest / 60:.1f} min"
    return told + (f"; of {unknown} of them nothing is recorded" if unknown else "")


def _longest(
    found: Mapping[str, Sweep], costs: Mapping[str, float]
) -> tuple[tuple[str, ...], float]:
    """Return the chain of notebooks that takes longest, each with its jobs side by side."""
    ends: dict[str, tuple[tuple[str, ...], float]] = {}

    def end(name: str) -> tuple[tuple[str, ...], float]:
        if name not in ends:
            before = [end(other) for other in found[name].after if other in found]
            path, time = max(before, key=lambda one: one[1], default=((), 0.0))
            mine = costs[name] / len(found[name].jobs)
            ends[name] = ((*path, name), time + mine) if mine else (path, time)
        return ends[name]

    return max((end(name) for name in found), key=lambda one: one[1])


def _runs(profile: Profile, name: str, seeds: Sequence[int] | None = None) -> dict[str, RunConfig]:
    """Return the runs that a notebook asks for, without those that they build on."""
    part, plans = experiments()[name]
    asked = (plan(profile, seeds or profile.seeds_of(part)) for plan in plans)
    return {c.identity: c for plan in asked for group in plan.values() for c in group}


def _jobs(profile: Profile, name: str, runs: dict[str, RunConfig]) -> tuple[tuple[int, ...], ...]:
    part, _ = experiments()[name]
    seeds, size = profile.seeds_of(part), profile.seeds_per_job_of(part)
    jobs = tuple(seeds[i : i + size] for i in range(0, len(seeds), size))
    # A notebook that reads but one of its seeds would ask for another run in each job.
    shared = set(chain.from_iterable(_runs(profile, name, job) for job in jobs))
    return jobs if runs and shared == runs.keys() else (seeds,)


def _reads_pool(run: RunConfig) -> bool:
    synthetic = getattr(run, "synthetic", None)
    return synthetic is not None and synthetic.source == "generator"
