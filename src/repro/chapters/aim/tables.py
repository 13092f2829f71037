"""Tables that several chapters on AIM-Fair show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from repro.chapters.aim.contrasts import ACC, BETTER, EO, STD, TABLE_3, WORDS, WST, task
from repro.chapters.aim.figures import GROUP_NAMES, against_number_figure
from repro.chapters.reported import aim_keyed
from repro.data.splits import GROUPS
from repro.metrics import flatten_metrics, metrics_from_counts
from repro.study.records import Results
from repro.study.runs import Record
from repro.study.session import Part, View
from repro.study.tables import Reported, differences, mean_value, means, points

#: Metric -> heading of its column.
METRICS = {ACC: "ACC", WST: "WST", EO: "EO (max)"}


def named(results: Results) -> dict[str, str]:
    """Return what to call each setting: its strategy in words, else its key."""
    return {key: WORDS.get(key, key) for key in results}


def of_strategy(results: Results, *strategies: str) -> Results:
    """Return the settings whose runs have one of these strategies."""
    return {
        key: records
        for key, records in results.items()
        if records[0].config["strategy"] in strategies
    }


def best_of(results: Results, quantity: str, seeds: Iterable[int] | None = None) -> str:
    """Return the setting with the best mean of a metric, the first of several that are equal.

    Parameters
    ----------
    results
        Records by setting, one setting at least.
    quantity
        A metric of `BETTER`, of the test part or another (``validation:accuracy``).
    seeds
        Positions of the records that count; None: all of them.
    """
    sign = 1 if BETTER[quantity.rpartition(":")[2]] == "greater" else -1
    chosen = None if seeds is None else list(seeds)

    def score(key: str) -> float:
        records = results[key] if chosen is None else [results[key][i] for i in chosen]
        return sign * mean_value(records, quantity)

    return max(results, key=score)


def averages(records: Sequence[Record]) -> dict[str, str]:
    """Return the mean of each metric over records, in points, by the heading of its column."""
    return {heading: points(mean_value(records, metric)) for metric, heading in METRICS.items()}


def nothing_of(view: View, what: str) -> str:
    """Say that these runs have nothing of a kind."""
    return f"**{view.label}**: no {what} among these runs."


def spread(values: Sequence[float], form: str) -> str:
    """Return the lowest and the highest value, in one form."""
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} – {high}"


def by_group(counts: Any) -> dict[str, str]:
    """Return numbers of images, (2, 2) [t, p], by the name of their group."""
    return {name: f"{n:,}" for name, n in zip(GROUP_NAMES, np.ravel(counts).tolist(), strict=True)}


def table_3(view: View) -> Reported | None:
    """Return the paper's Table 3 by strategy, where the data are real."""
    return view.paper(aim_keyed("3", task(view.profile), TABLE_3))


def paired(
    view: View,
    pairs: Sequence[tuple[str, str, str | tuple[str, ...]]],
    otherwise: str | None = None,
) -> list[Part]:
    """Return differences seed by seed below a heading; without pairs what is said ``otherwise``."""
    if pairs:
        heading = f"**{view.label}**, points, 95 % interval over seeds:"
        return [heading, differences(view.results, METRICS, pairs)]
    return [] if otherwise is None else [f"**{view.label}**: {otherwise}"]


def against_number(
    view: View,
    at: Mapping[str, float],
    xlabel: str,
    names: Mapping[str, str],
    lines: Mapping[str, str],
    reported: Reported,
) -> list[Part]:
    """Return settings against a number as a figure, where there are any, and all as a table.

    Parameters are those of :func:`~repro.chapters.aim.figures.against_number_figure`, and
    ``names`` of the table's settings; what is reported stands beside real data alone.
    """
    paper = view.paper(reported)
    table = means(view.results, METRICS, names, paper)
    if not at:
        return [table, view]
    figure = against_number_figure(
        view.results, at, lines=lines, xlabel=xlabel, reported=paper, title=view.label
    )
    return [figure, table, view]


def kept_by_rules(results: Results, names: Mapping[str, str]) -> pd.DataFrame:
    """Return what another rule for the kept epoch would have given, in points, mean over seeds.

    Every record has the confusion counts of each epoch, so nothing is trained again for this.
    """
    rows = []
    for key, name in names.items():
        for rule in ("accuracy", "worst_group", "last"):
            found = []
            for record in results.get(key, []):
                epoch = record.results["kept_by"][rule]
                if epoch is not None:
                    counts = record.body["history"][epoch - 1]["counts"]["test"]
                    found.append((epoch, flatten_metrics(metrics_from_counts(counts))))
            if not found:
                continue
            row = {"setting": name, "epoch kept by": RULES[rule]}
            row["epochs"] = ", ".join(str(epoch) for epoch, _ in found)
            for metric, heading in METRICS.items():
                row[heading] = points(float(np.mean([m[metric] for _, m in found])))
            rows.append(row)
    return pd.DataFrame(rows)


RULES = {
    "accuracy": "validation accuracy (the authors')",
    "worst_group": "worst-group validation accuracy",
    "last": "none: the last epoch",
}


def as_the_paper(results: Results, names: Mapping[str, str]) -> pd.DataFrame:
    """Return the tables' own arithmetic: group accuracies over seeds first, then WST, EO, STD.

    EO is the mean over seeds of each seed's maximum gap, as printed; beside it the mean of the two
    gaps, which is what the released code computes.
    """
    rows = []
    for key, name in names.items():
        if key not in results:
            continue
        metrics = [record.metrics() for record in results[key]]
        groups = [float(np.mean([m[f"accuracy_t{t}_p{p}"] for m in metrics])) for t, p in GROUPS]
        row = {"setting": name}
        row |= {group: points(value) for group, value in zip(GROUP_NAMES, groups, strict=True)}
        row |= {
            "ACC": points(float(np.mean([m[ACC] for m in metrics]))),
            "WST": points(min(groups)),
            "STD": points(float(np.std(groups))),
            "EO, max (tables)": points(float(np.mean([m[EO] for m in metrics]))),
            "EO, mean (code)": points(float(np.mean([m["equalized_odds_mean"] for m in metrics]))),
            "STD of each seed": points(float(np.mean([m[STD] for m in metrics]))),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def training_images(results: Results, names: Mapping[str, str]) -> pd.DataFrame:
    """Return what each setting was trained on and how much of it trained."""
    rows = []
    for key, name in names.items():
        if key not in results:
            continue
        found = [record.results for record in results[key]]
        counts = np.asarray(found[0]["training_images"])
        row = {"setting": name}
        row |= {name: str(n) for name, n in zip(GROUP_NAMES, counts.ravel().tolist(), strict=True)}
        row["tensors"] = spread([len(r["trained_tensors"]) for r in found], "{:d}")
        row["parameters"] = spread([r["trainable_parameters"] for r in found], "{:,}")
        rows.append(row)
    return pd.DataFrame(rows)
