"""What the chapters on Adult show alike: settings in words, their metrics, their differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from repro.chapters.win.contrasts import SHORT
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
