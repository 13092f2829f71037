"""Chapter 10: group fairness, read from one classifier: metrics, their names, counterfactuals."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from repro.chapters.reported import aim_fair_reported
from repro.chapters.win.configs import Pretrain
from repro.chapters.win.data import census_settings
from repro.data.schema import PROTECTED_COLUMN, PROTECTED_VALUES
from repro.data.splits import GROUPS
from repro.data.toycensus import Paths, counterfactual, counterfactual_records
from repro.metrics import group_metrics
from repro.study.runs import Record, Runs

#: What carries the other sex to income -> in words.
PATHS: dict[Paths, str] = {
    "direct": "the direct path alone",
    "mediated": "marital status, occupation, hours alone",
    "all": "every path",
}


def groups(record: Record) -> pd.DataFrame:
    """Return a row for each group (t, p): who they are, how they are predicted, the accuracy."""
    counts = record.counts()  # [t, p, predicted]
    return pd.DataFrame(
        [
            {
                "group (t, p)": f"({t}, {p})",
                "who": f"{'men' if p else 'women'} who earn {'more' if t else 'less'}",
                "people": counts[t, p].sum(),
                "predicted 0": counts[t, p, 0],
                "predicted 1": counts[t, p, 1],
                "accuracy (%)": f"{100 * counts[t, p, t] / counts[t, p].sum():.1f}",
            }
            for t, p in GROUPS
        ]
    )


def printed_odds() -> pd.DataFrame:
    """Return AIM-Fair's equalised odds beside the three aggregations of its group accuracies.

    Returns
    -------
    pandas.DataFrame
        By table, task and setting, in per cent: printed EO, max, mean, sum.
    """
    wide = aim_fair_reported().pivot_table(
        index=["table", "task", "setting"], columns="metric", values="value"
    )
    wide = wide.dropna(subset=["EO", *(f"ACC_t{t}_p{p}" for t, p in GROUPS)])
    gaps = np.array([(wide[f"ACC_t{t}_p0"] - wide[f"ACC_t{t}_p1"]).abs() for t in (0, 1)])
    return pd.DataFrame(
        {
            "printed EO": wide["EO"],
            "max": gaps.max(axis=0),
            "mean": gaps.mean(axis=0),
            "sum": gaps.sum(axis=0),
        }
    )


def printed_odds_of(table: str, task: str) -> pd.DataFrame:
    """Return the rows of one table and task of `printed_odds`."""
    rows = printed_odds().round(2).reset_index()
    own = rows[(rows["table"] == table) & (rows["task"] == task)]
    return own.drop(columns=["table", "task"])


def printed_odds_in_words() -> str:
    """Say which aggregation AIM-Fair's printed numbers are nearest to."""
    check = printed_odds()
    away = check[["max", "mean", "sum"]].sub(check["printed EO"], axis=0).abs()
    closest = away.idxmin(axis=1).value_counts()
    mean = away.mean()
    return (
        f"Over all {len(check)} rows of AIM-Fair's Tables 3 to 7 that print group accuracies, the "
        f"printed number is nearest to the **{closest.index[0]}** in {closest.iloc[0]} rows; the "
        f"mean absolute distance is {mean['max']:.2f} points to the max, {mean['mean']:.2f} to the "
        f"mean, {mean['sum']:.2f} to the sum."
    )


def extremes_in_words(record: Record) -> str:
    """Say how fair two classifiers would be: one that knows, and one that says no to everybody."""
    people = record.counts().sum(axis=2)  # by [t, p]
    base_rate = people[1] / people.sum(axis=0)
    perfect = abs(base_rate[1] - base_rate[0])
    predictions = record.predictions()
    target, protected = predictions["target"], predictions["protected"]
    constant = group_metrics(target, 0 * target, protected)
    return (
        f"In these data the perfect classifier has ΔDP = {100 * perfect:.1f} points, and "
        "the classifier that says no to everybody has ΔDP = ΔEO = "
        f"{100 * constant['demographic_parity']:.0f} at an accuracy of "
        f"{100 * constant['accuracy']:.1f} %."
    )


def counterfactuals(config: Pretrain, runs: Runs) -> pd.DataFrame | str:
    """Return how labels and predictions change when nothing but a person's sex is another.

    Of the people of the test part; the classifier reads the record that each would have had.

    Returns
    -------
    pandas.DataFrame or str
        A row for what carries the other sex: in how many people label and prediction change (%),
        and the effect, the rate of 1 with everybody a man minus that with everybody a woman, in
        points. Why there is none, where the people are real.
    """
    if config.data.name != "toycensus":
        return (
            "What would have become of a real person of another sex nobody knows, so there is no "
            "such table for these data: run this notebook with `-p dataset toycensus`."
        )
    import torch

    from repro.chapters.win.stages import load_pretrained
    from repro.training import predict

    model, data = load_pretrained(config, runs)
    people = data.indices["task_test"]
    census = census_settings(config.data)

    def decide(frame: pd.DataFrame) -> np.ndarray:
        inputs = torch.from_numpy(data.encoder.transform(frame.iloc[people]))
        decided: np.ndarray = predict(model, inputs).argmax(1).numpy()
        return decided

    facts = data.table
    sexes: tuple[Literal[0, 1], ...] = (0, 1)
    entry = [decide(facts.frame.assign(**{PROTECTED_COLUMN: PROTECTED_VALUES[s]})) for s in sexes]
    same = facts.target[people]
    rows = [_changes("only what the record says under sex", [same, same], entry)]
    for paths, words in PATHS.items():
        labels = [counterfactual(census, sex, paths)[people] for sex in sexes]
        predictions = [decide(counterfactual_records(census, sex, paths)) for sex in sexes]
        rows.append(_changes(words, labels, predictions))
    return pd.DataFrame(rows)


def _changes(words: str, labels: list[np.ndarray], predictions: list[np.ndarray]) -> dict[str, str]:
    row = {"what carries the other sex": words}
    for name, (as_woman, as_man) in (("label", labels), ("prediction", predictions)):
        row[f"{name} changes (%)"] = f"{100 * np.mean(as_woman != as_man):.2f}"
        row[f"effect on {name} (points)"] = f"{100 * (as_man.mean() - as_woman.mean()):+.2f}"
    return row
