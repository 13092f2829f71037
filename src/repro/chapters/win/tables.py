"""What the chapters on Adult show alike: settings in words, their metrics, their differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from repro.chapters.win.contrasts import SHORT
from repro.settings import Optimisation
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.session import View
from repro.study.tables import Reported, differences, means

_WORDS = {"svd": "f+SVD", "win": "WIN", "tl": "TL", "retrain": "Retrain", "mlp": "MLP"}


def short(key: str) -> str:
    """Return a key of a plan of strategies in the words of tables."""
    for word, name in _WORDS.items():
        key = key.replace(word, name)
    return key


def only(view: View, keep: Callable[[str], bool]) -> View:
    """Return a view of the settings that are kept."""
    return replace(view, results={k: group for k, group in view.results.items() if keep(k)})


def named(results: Results) -> dict[str, str]:
    """Return what to call each setting."""
    return {key: short(key) for key in results}


def measured(view: View, reported: Reported, metrics: Mapping[str, str] = SHORT) -> pd.DataFrame:
    """Return the metrics of each setting beside what the paper reports."""
    return means(view.results, metrics, named(view.results), view.paper(reported))


def compared(results: Results, pairs: Sequence[tuple[str, str, str]]) -> pd.DataFrame:
    """Return the paired differences (label, first, second) of the three metrics."""
    return differences(results, SHORT, pairs)


def strategy_differences(results: Results) -> pd.DataFrame:
    """How the strategies differ from each other, at each rank."""
    pairs = [("TL − pre-trained", "tl", "pre-trained")]
    for rank in sorted({key[-1] for key in results if key.startswith("win, rank")}):
        pairs += [
            (f"WIN − TL, rank {rank}", f"win, rank {rank}", "tl"),
            (f"WIN − f+SVD, rank {rank}", f"win, rank {rank}", f"svd, rank {rank}"),
            (f"f+SVD − TL, rank {rank}", f"svd, rank {rank}", "tl"),
        ]
    return compared(results, pairs)


def budget(profile: Profile, what: str, how: Optimisation) -> str:
    """Say which candidates validation chooses from."""
    return (
        f"Profile `{profile.name}`, {what}: {how.optimiser}, rates "
        f"{', '.join(f'{rate:g}' for rate in how.learning_rates)}, {how.epochs} epochs, "
        f"batches of {how.batch_size}."
    )
