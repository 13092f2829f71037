"""The numbers that the papers report (CSV beside this file), as fractions throughout.

WIN's were read from the paper; AIM-Fair's were transcribed from two reproductions of its tables,
one cell corrected (``README.md`` beside this file).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from importlib.resources import files
from itertools import product
from typing import Any

import pandas as pd

from repro.study.profiles import Paper
from repro.study.tables import Reported

#: metric of the paper -> (metric of this study, factor to a fraction)
WIN_METRICS = {
    "Err": ("weighted_f1_error", 0.01),
    "Delta_DP": ("demographic_parity", 1.0),
    "Delta_EO": ("equalized_odds_sum", 1.0),
}


@cache
def win_reported() -> pd.DataFrame:
    """Return the numbers of Zhang and Zhou (2024).

    Returns
    -------
    pandas.DataFrame
        Columns table, dataset, setting, metric (in this study's words, as fractions; other metrics
        as the paper names them), value, std (NaN where the paper gives none).
    """
    with (files(__package__) / "win_reported.csv").open(encoding="utf-8") as file:
        table = pd.read_csv(file)
    for name, (ours, factor) in WIN_METRICS.items():
        rows = table["metric"] == name
        table.loc[rows, ["value", "std"]] *= factor
        table.loc[rows, "metric"] = ours
    return table


@cache
def aim_fair_reported() -> pd.DataFrame:
    """Return the numbers of Zhao et al. (2025): table, task, setting, metric, value (per cent)."""
    with (files(__package__) / "aim_fair_reported.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, dtype={"table": str})


@cache
def _rows(paper: Paper) -> list[Any]:
    """Return the rows of a paper's numbers with their columns as attributes: claims ask often."""
    if paper == "win":
        return list(win_reported().itertuples())
    table = aim_fair_reported()
    return list(table.assign(metric=table["metric"].map(AIM_METRICS)).itertuples())


def _one(paper: Paper, table: str, **where: str) -> float | None:
    """Return the value of the one row of a table that has these columns, None for none or more."""
    found = [
        float(row.value)
        for row in _rows(paper)
        if str(row.table).startswith(table) and all(getattr(row, c) == v for c, v in where.items())
    ]
    return found[0] if len(found) == 1 else None


@cache
def win_value(table: str, setting: str, metric: str, dataset: str = "adult") -> float | None:
    """Return one reported number as a fraction, or None if the paper does not give it.

    Parameters
    ----------
    table
        How the paper's table or figure begins in the CSV: "2", "3", "4", "fig4".
    setting
        The row, as in the CSV.
    metric
        A metric of this study, e.g. ``equalized_odds_sum``.
    dataset
        ``adult``, ``celeba`` or ``lfwa``.
    """
    return _one("win", table, dataset=dataset, setting=setting, metric=metric)


#: metric of AIM-Fair's tables -> metric of this study; all in per cent
AIM_METRICS = {
    "ACC": "accuracy",
    "WST": "worst_group_accuracy",
    "EO": "equalized_odds_max",
    "STD": "group_std",
    **{f"ACC_t{t}_p{p}": f"accuracy_t{t}_p{p}" for t in (0, 1) for p in (0, 1)},
}


@cache
def aim_value(table: str, task: str, setting: str, metric: str) -> float | None:
    """Return one number of Zhao et al. (2025) as a fraction, or None if the paper has none.

    Parameters
    ----------
    table
        How the paper's table or figure begins in the CSV: "1" to "7", "fig2", "fig5".
    task
        ``dataset/target/protected``, e.g. ``celeba/Smiling/Male``.
    setting
        The row, as in the CSV.
    metric
        A metric of this study, e.g. ``equalized_odds_max``.
    """
    found = _one("aim-fair", table, task=task, setting=setting, metric=metric)
    return None if found is None else found / 100


def aim_keyed(table: str, task: str, settings: Mapping[str, str]) -> Reported:
    """Return one table by the keys of a plan.

    Parameters
    ----------
    table, task
        As in :func:`aim_value`.
    settings
        Key of the plan -> row of the table.
    """
    return _keyed(partial(aim_value, table, task), settings, AIM_METRICS.values())


def win_keyed(table: str, settings: Mapping[str, str], dataset: str = "adult") -> Reported:
    """Return one table of Zhang and Zhou (2024) by the keys of a plan.

    Parameters
    ----------
    table, dataset
        As in :func:`win_value`.
    settings
        Key of the plan -> row of the table.
    """
    value = partial(win_value, table, dataset=dataset)
    return _keyed(value, settings, [metric for metric, _ in WIN_METRICS.values()])


def _keyed(
    value: Callable[[str, str], float | None], settings: Mapping[str, str], metrics: Iterable[str]
) -> Reported:
    """Return what is reported of these rows, by the keys of a plan and metric."""
    found = {
        (key, metric): value(setting, metric)
        for (key, setting), metric in product(settings.items(), metrics)
    }
    return {where: number for where, number in found.items() if number is not None}
