"""What the chapters on Adult show alike: settings in words, their metrics, their differences."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from repro.chapters.reported import win_keyed
from repro.chapters.win.configs import NAMES, key_of, words
from repro.chapters.win.contrasts import SHORT
from repro.chapters.win.plans import under
from repro.settings import Optimisation
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.session import View
from repro.study.tables import Reported, differences


def only(view: View, keys: Collection[str]) -> View:
    """Return a view of some settings, such as those that another plan has."""
    return replace(view, results={k: group for k, group in view.results.items() if k in keys})


def at_one(view: View) -> View:
    """Return a view of the settings at rank 1, and of those that have no rank."""
    own = settings(view.results).items()
    return only(view, [key for key, config in own if config.get("rank") in (None, 1)])


def settings(results: Results) -> dict[str, Mapping[str, Any]]:
    """Return the configuration of each setting, without what its seeds vary."""
    return {key: records[0].config for key, records in results.items()}


def named(results: Results, heads: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what to call each setting; ``heads`` are the headings of its key, in words."""
    own = settings(results)
    if heads is None:
        return {key: words(config) for key, config in own.items()}
    return {
        key: under(name, words(config))
        for key, config in own.items()
        for head, name in heads.items()
        if key == under(head, words(config, {}))
    }


def row_of(config: Mapping[str, Any]) -> str:
    """Return the row of a recorded run in the paper's Figure 4 and Table 3, which give no rank."""
    if not config.get("strategy"):
        return "original pre-trained model"
    fair = config.get("constraint")
    under_it = f"+{fair.upper()}, intensity {config['intensity']:g}" if fair else ""
    return NAMES[config["strategy"]] + under_it


def papers(results: Results, table: str, dataset: str = "adult") -> Reported:
    """Return what the paper reports of each setting in Figure 4 or Table 3."""
    rows = {key: row_of(config) for key, config in settings(results).items()}
    return win_keyed(table, rows, dataset)


def compared(results: Results, pairs: Sequence[tuple[str, str, str]]) -> pd.DataFrame:
    """Return the paired differences (label, first, second) of the three metrics."""
    return differences(results, SHORT, pairs)


def ranks_of(results: Results) -> list[int]:
    """Return the ranks that strategies were run at, ascending."""
    found = {config.get("rank") for config in settings(results).values()}
    return sorted(rank for rank in found if rank)


def strategy_differences(view: View) -> pd.DataFrame:
    """How the strategies differ from each other, at each rank."""
    pairs = [("TL − pre-trained", "tl", "pre-trained")]
    for rank in ranks_of(view.results):
        win, svd = key_of("win", rank), key_of("svd", rank)
        pairs += [
            (f"WIN − TL, rank {rank}", win, "tl"),
            (f"WIN − f+SVD, rank {rank}", win, svd),
            (f"f+SVD − TL, rank {rank}", svd, "tl"),
        ]
    return compared(view.results, pairs)


def win_against_tl(view: View, heads: Mapping[str, str]) -> pd.DataFrame:
    """How WIN differs from TL under each heading of keys, which is called so."""
    return compared(
        view.results,
        [
            (f"{name}: WIN − TL, rank {rank}", under(head, key_of("win", rank)), under(head, "tl"))
            for head, name in heads.items()
            for rank in ranks_of(view.results)
        ],
    )


def budget(profile: Profile, what: str, how: Optimisation) -> str:
    """Say which candidates validation chooses from."""
    return (
        f"Profile `{profile.name}`, {what}: {how.optimiser}, rates "
        f"{', '.join(f'{rate:g}' for rate in how.learning_rates)}, {how.epochs} epochs, "
        f"batches of {how.batch_size}."
    )
