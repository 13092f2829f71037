"""What of a profile is there, what is missing, and how long that will take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import pandas as pd

from repro.study.configs import RunConfig, digest, seedless
from repro.study.experiments import first_asked
from repro.study.once import one_reading
from repro.study.profiles import Profile
from repro.study.records import exported, find
from repro.study.runs import Runs


def expected_seconds(
    profile: Profile, runs: Runs | None = None
) -> Callable[[RunConfig], float | None]:
    """Return the function that tells how long a run of a profile will take, on one core.

    Returns
    -------
    callable
        Of a run: 0 if it is among ``runs``; what it took where it was recorded; else what runs of
        other seeds took on average; None if nothing is known of it.
    """
    store, of_alike = runs or Runs(), defaultdict[str, list[float]](list)
    for configs in first_asked(profile).values():
        for config in configs:
            if record := find(config, store):
                of_alike[_alike(config)].append(record.body["seconds"])

    def seconds(config: RunConfig) -> float | None:
        if store.find(config) is not None:
            return 0.0
        if (record := exported(config.identity)) is not None:
            return float(record.body["seconds"])
        known = of_alike.get(_alike(config))
        return sum(known) / len(known) if known else None

    return seconds


def _alike(config: RunConfig) -> str:
    """Return the same text for runs that differ in nothing but the seed."""
    above = {name: _alike(run) for name, run in config.upstream().items()}
    own = config.model_dump(mode="json", exclude=set(above))
    return digest([config.stage, seedless(own), above])


@one_reading()
def status(profile: Profile, runs: Runs | None = None) -> pd.DataFrame:
    """Return how far a profile is, notebook by notebook.

    A run that several notebooks ask for is counted at the first of them, with what it builds on.

    Returns
    -------
    pandas.DataFrame
        A row for each notebook that asks for runs which no earlier one does: ``notebook``; how many
        ``runs``; of these ``here``, ``recorded`` (in the files of the book), ``missing`` in both;
        the ``minutes`` of one core that the missing ones will take, as far as is known, and of how
        many nothing is (``unknown``).
    """
    store, seconds = runs or Runs(), expected_seconds(profile, runs)
    rows = []
    for notebook, new in first_asked(profile).items():
        if not new:
            continue
        here = [store.find(config) is not None for config in new]
        known = [exported(config.identity) is not None for config in new]
        missing = [c for c, *there in zip(new, here, known, strict=True) if not any(there)]
        costs = [seconds(config) for config in missing]
        rows.append(
            {
                "notebook": notebook,
                "runs": len(new),
                "here": sum(here),
                "recorded": sum(known),
                "missing": len(missing),
                "minutes": sum(cost for cost in costs if cost is not None) / 60,
                "unknown": costs.count(None),
            }
        )
    columns = ["notebook", "runs", "here", "recorded", "missing", "minutes", "unknown"]
    return pd.DataFrame(rows, columns=columns)


def in_words(table: pd.DataFrame) -> str:
    """Say what `status` found of all notebooks together."""
    total = table.drop(columns="notebook").sum()
    told = f"{total['runs']:.0f} runs: {total['here']:.0f} here, {total['recorded']:.0f} recorded, "
    told += f"{total['missing']:.0f} missing"
    if total["minutes"]:
        told += f", which take about {total['minutes']:.0f} min of one core"
    if total["unknown"]:
        told += f"; nothing is known of how long {total['unknown']:.0f} of them take"
    return told
