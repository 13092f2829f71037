"""Tables that one chapter shows: too particular for :mod:`repro.study.tables`, too long for a cell.

Each function takes records and returns a table of text, differences and rates in points.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from repro.data.schema import CATEGORICAL, CONTINUOUS, MAY_BE_MISSING
from repro.study.claims import DP, EO, ERROR, SHORT
from repro.study.intervals import mean_interval
from repro.study.records import Results
from repro.study.reported import Reported
from repro.study.runs import Record
from repro.study.tables import differences, known_values, means, points

#: What a regulariser is meant to close.
CLOSES = {"dp": DP, "eo": EO}


def before_after_rows(results: Results) -> list[tuple[str, str, str, str]]:
    """Return (label, key before, key after, quantity) for each fair model of Table 2."""
    return [
        (
            f"{key.removesuffix(', before').upper()}: {SHORT[CLOSES[key[:2]]]}",
            key,
            key.replace("before", "after"),
            CLOSES[key[:2]],
        )
        for key in results
        if key.endswith(", before") and key[:2] in CLOSES
    ]


def before_after(results: Results, paper: Reported | None) -> pd.DataFrame:
    """Table 2: the gap before and after fine-tuning, beside the paper's, and how much returns.

    "share that returns" is (after - before) / (unconstrained after - before), of the means: 100 %
    where fine-tuning leaves the fair model as unfair as one that never was.
    """
    rows = []
    for label, before, after, quantity in before_after_rows(results):
        row = {"fair model and gap": label}
        mean = {}
        for when, key in (("before", before), ("after", after)):
            mean[when] = mean_interval(known_values(results[key], quantity)).mean
            row[when] = means(results, {quantity: "x"}, {key: key})["x"].iloc[0]
            reported = (paper or {}).get((key, quantity))
            if paper is not None:
                row[f"{when}, paper"] = "" if reported is None else points(reported)
        change = differences(results, {quantity: "x"}, [("", after, before)]).iloc[0]
        row["change [95 %]"] = change["x"]
        if "unconstrained, after" in results:
            top = mean_interval(known_values(results["unconstrained, after"], quantity)).mean
            row["unconstrained, after"] = points(top)
            away = top - mean["before"]
            share = (mean["after"] - mean["before"]) / away if away > 0 else math.nan
            row["share that returns"] = "" if math.isnan(share) else f"{100 * share:.0f} %"
        rows.append(row | {"seeds": change["seeds"]})
    return pd.DataFrame(rows)


def importance_distances(results: Results) -> pd.DataFrame:
    """Figure 3: how far apart the groups' importances are, and how far by chance."""
    rows = []
    for key, records in results.items():
        found = pd.DataFrame([record.results for record in records])
        row = {"model": key, "distance (%)": points(found["importance_distance"].mean())}
        for name, words in (("null", "by chance"), ("null_given_target", "by chance, same labels")):
            row[f"{words}, 95 % (%)"] = points(found[f"importance_distance_{name}_95"].mean())
            passed = int((found[f"importance_distance_{name}_p"] < 0.05).sum())
            row[f"{words}: p < 0.05"] = f"{passed} of {len(found)} seeds"
        row["men's total / women's"] = f"{found['importance_ratio'].mean():.2f}"
        rows.append(row)
    return pd.DataFrame(rows)


def direction(record: Record) -> np.ndarray:
    """Return the unit direction in the outputs that a rank-1 start keeps, shape (k,)."""
    kept = np.asarray(record.results["start_B"][0], dtype=float)
    return np.asarray(kept / np.linalg.norm(kept))


def angle(first: np.ndarray, second: np.ndarray) -> float:
    """Return the angle between two unit directions without sign, in degrees, 0 to 90.

    By the sine, which unlike the cosine is exact for small angles.
    """
    along = float(first @ second)
    across = float(np.linalg.norm(first - along * second))
    return float(np.degrees(np.arctan2(across, abs(along))))


def rank_one_starts(results: Results, baseline: str = "svd") -> pd.DataFrame:
    """How the start of WIN at rank 1 differs from that of f+SVD, for every weight.

    "decisions changed" is read off confusion tables, so it is a lower bound.
    """
    learnt = np.array([1.0, -1.0]) / np.sqrt(2)
    rows = []
    for key in [baseline, *sorted(key for key in results if key != baseline)]:
        records = results[key]
        turned = [
            angle(direction(r), direction(b))
            for r, b in zip(records, results[baseline], strict=True)
        ]
        away = [angle(direction(record), learnt) for record in records]
        moved = [np.abs(r.counts("start") - r.counts("before")).sum() // 2 for r in records]
        gaps = [r.results["start_max_logit_gap_change"] for r in records]
        rows.append(
            {
                "start": "f+SVD" if key == baseline else f"WIN, {key}",
                "to (1, −1)/√2, mean (°)": f"{np.mean(away):.2f}",
                "to f+SVD, largest (°)": f"{max(turned):.3f}",
                "largest change of z₁ − z₀": f"{max(gaps):.3f}",
                "decisions changed": f"{sum(moved)} of {sum(r.counts().sum() for r in records)}",
            }
        )
    return pd.DataFrame(rows)


def choices(results: Results, names: Mapping[str, str]) -> pd.DataFrame:
    """Show what validation chose for each setting, and how far fine-tuning moved the function.

    Choices that crowd at an end of the grid, or at the last epoch, tell that the budget was tight.
    """
    rows = []
    for key, name in names.items():
        found = results.get(key, [])
        if not found:
            continue
        how = found[0].config["optimisation"]
        rates = [record.results["learning_rate"] for record in found]
        epochs = [record.results["epoch"] for record in found]
        ends = (min(how["learning_rates"]), max(how["learning_rates"]))
        moved = [r.results.get("mean_logit_gap_change", math.nan) for r in found]
        rows.append(
            {
                "setting": name,
                "mean |change of z₁ − z₀|": f"{np.mean(moved):.2f}".replace("nan", ""),
                "rates chosen": ", ".join(f"{r:g} ({rates.count(r)}×)" for r in sorted(set(rates))),
                "at an end of the grid": f"{sum(r in ends for r in rates)} of {len(rates)}",
                "median epoch": f"{np.median(epochs):g} of {how['epochs']}",
                "at the last epoch": f"{epochs.count(how['epochs'])} of {len(epochs)}",
                "trainable parameters": str(found[0].results["trainable_parameters"]),
            }
        )
    return pd.DataFrame(rows)


def weight_changes(results: Results) -> pd.DataFrame:
    """Figure 5: change from a = 0.5, and in how many seeds not one confusion count differs."""
    quantities = {ERROR: SHORT[ERROR], DP: SHORT[DP], EO: SHORT[EO]}
    rows = []
    for key, records in results.items():
        base = f"{key.split(',')[0]}, a 0.5"
        pairs = list(zip(records, results[base], strict=True))
        same = sum(np.array_equal(a.counts(), b.counts()) for a, b in pairs)
        change = differences(results, quantities, [(key, key, base)]).iloc[0]
        row = {"setting": key} | {heading: change[heading] for heading in quantities.values()}
        if key.startswith("rank 1,"):
            row["kept direction turns by (°)"] = (
                f"{max(angle(direction(a), direction(b)) for a, b in pairs):.3f}"
            )
        rows.append(row | {"same confusion table": f"{same} of {len(pairs)} seeds"})
    return pd.DataFrame(rows).fillna("")


def size_derivations(target: int, *, hidden: int = 10, classes: int = 2) -> list[str]:
    """Return the multi-layer perceptrons of ``hidden`` units with ``target`` parameters."""
    last = hidden * classes + classes
    found = []
    for layers in (2, 3, 4, 5):
        inputs, rest = divmod(target - last - (layers - 2) * (hidden + 1) * hidden - hidden, hidden)
        if rest == 0 and inputs > 0:
            found.append(f"{inputs} inputs and {layers} linear layers of width {hidden}")
    return found


def rank_for_size(target: int, *, hidden: int = 10, classes: int = 2) -> int | None:
    """Return the rank whose low-rank head has ``target`` trainable parameters, if there is one."""
    rank, rest = divmod(target - classes, hidden + classes)
    return rank if rest == 0 and 1 <= rank <= min(hidden, classes) else None


def starts_in_words(results: Results, baseline: str = "svd") -> str:
    """Say in a sentence how much the importance turns the start of WIN, and what it changes."""
    turned, apart, changed, people = [], [], 0, 0
    neutral = "rank 1, a 0.5"
    for key, records in results.items():
        if key == baseline:
            continue
        triples = zip(records, results[baseline], results[neutral], strict=True)
        for record, plain, equal in triples:
            turned.append(angle(direction(record), direction(plain)))
            apart.append(angle(direction(record), direction(equal)))
            changed += int(np.abs(record.counts("start") - plain.counts("start")).sum() // 2)
            people += int(record.counts("start").sum())
    return (
        f"Over all seeds and weights the kept direction turns by {max(turned):.1f}° at most from "
        f"that of the plain SVD, and by {max(apart):.1f}° at most from that of the neutralised "
        f"importance; at the start this changes at least {changed} of {people:,} decisions "
        f"({100 * changed / people:.2f} %) against the plain SVD."
    )


def adult_widths() -> dict[int, list[str]]:
    """Return how many inputs Adult has under every usual way of encoding it.

    Returns
    -------
    dict
        width -> the encodings that give it: incomplete records kept (``?`` a level) or dropped;
        every level or all but the first; country one-hot, binary or left out; fnlwgt in or out;
        the protected attribute as none, one or two columns.
    """
    widths: dict[int, list[str]] = {}
    levels = {name: len(values) for name, values in CATEGORICAL.items() if name != "sex"}
    for missing, drop_first, country, weight, sex in itertools.product(
        ("kept", "dropped"), (False, True), ("one-hot", "binary", "out"), (True, False), (0, 1, 2)
    ):
        width = len(CONTINUOUS) - (not weight) + sex
        for name, count in levels.items():
            count += missing == "kept" and name in MAY_BE_MISSING
            count -= missing == "dropped" and name == "workclass"  # nobody "never worked" is left
            if name == "native-country":
                width += {"one-hot": count - drop_first, "binary": 1, "out": 0}[country]
            else:
                width += count - drop_first
        words = (
            f"incomplete records {missing}",
            "all levels but the first" if drop_first else "every level",
            f"country {country}",
            f"fnlwgt {'in' if weight else 'out'}",
            f"sex in {sex} columns",
        )
        widths.setdefault(width, []).append(", ".join(words))
    return widths
