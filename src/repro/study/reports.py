"""Tables that one chapter shows: too particular for :mod:`repro.study.tables`, too long for a cell.

Each function takes records and returns a table of text, differences and rates in points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from repro.study.claims import DP, EO, ERROR, SHORT
from repro.study.records import Results
from repro.study.reported import Reported
from repro.study.runs import Record
from repro.study.tables import differences, means, points
from repro.study.verdicts import SUPPORTED, Judged

#: What a regulariser is meant to close.
CLOSES = {"dp": DP, "eo": EO}


def before_after_rows(results: Results) -> list[tuple[str, str, str, str]]:
    """Return (label, key before, key after, quantity) for each fair model of Table 2."""
    return [
        (key.removesuffix(", before").upper(), key, key.replace("before", "after"), CLOSES[key[:2]])
        for key in results
        if key.endswith(", before")
    ]


def before_after(results: Results, paper: Reported | None) -> pd.DataFrame:
    """Table 2: the gap before and after fine-tuning, beside the paper's, and its change."""
    rows = []
    for label, before, after, quantity in before_after_rows(results):
        row = {"fair model": label, "metric": SHORT[quantity]}
        for when, key in (("before", before), ("after", after)):
            row[when] = means(results, {quantity: "x"}, {key: key})["x"].iloc[0]
            reported = (paper or {}).get((key, quantity))
            if paper is not None:
                row[f"{when}, paper"] = "" if reported is None else points(reported)
        change = differences(results, {quantity: "x"}, [("", after, before)]).iloc[0]
        rows.append(row | {"change [95 %]": change["x"], "seeds": change["seeds"]})
    return pd.DataFrame(rows)


def importance_distances(results: Results) -> pd.DataFrame:
    """Figure 3: how far apart the groups' importances are, and how far by chance."""
    rows = []
    for key, records in results.items():
        found = pd.DataFrame([record.results for record in records])
        rows.append(
            {
                "model": key,
                "distance (%)": points(found["importance_distance"].mean()),
                "by chance, mean (%)": points(found["importance_distance_null"].mean()),
                "by chance, 95 % (%)": points(found["importance_distance_null_95"].mean()),
                "men's total / women's": f"{found['importance_ratio'].mean():.2f}",
                "seeds with p < 0.05": f"{(found['importance_distance_p'] < 0.05).sum()} "
                f"of {len(found)}",
            }
        )
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
    """Show what validation chose for each strategy, and how far fine-tuning moved."""
    rows = []
    for key, name in names.items():
        found = [r for r in results.get(key, []) if "mean_logit_gap_change" in r.results]
        if not found:
            continue
        how = found[0].config["optimisation"]
        rates = [record.results["learning_rate"] for record in found]
        ends = (min(how["learning_rates"]), max(how["learning_rates"]))
        moved = np.mean([record.results["mean_logit_gap_change"] for record in found])
        rows.append(
            {
                "strategy": name,
                "mean |change of z₁ − z₀|": f"{moved:.2f}",
                "rates chosen": ", ".join(f"{r:g} ({rates.count(r)}×)" for r in sorted(set(rates))),
                "at an end of the grid": f"{sum(r in ends for r in rates)} of {len(rates)}",
                "median epoch": f"{np.median([r.results['epoch'] for r in found]):g} "
                f"of {how['epochs']}",
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


def corrected(
    results: Results, judged: Sequence[Judged], *, baseline: str = "pre-trained"
) -> dict[str, object]:
    """How many supported contrasts survive the correction for overlapping splits.

    Nadeau and Bengio (2003): with n random splits of the same examples the variance of the mean is
    (1/n + n_test/n_train) s^2 rather than s^2/n.
    """
    records = results[baseline]
    sizes = records[0].results["records"]
    train = sizes["task_train"] + sizes["task_validation"]
    factor = float(np.sqrt(1 + len(records) * sizes["task_test"] / train))
    supported = [j for j in judged if j.outcome == SUPPORTED]
    kept = [
        j for j in supported if abs(j.interval.mean) > factor * (j.interval.high - j.interval.mean)
    ]
    return {
        "seeds": len(records),
        "intervals wider by": f"{factor:.2f}×",
        "contrasts": len(judged),
        "supported": len(supported),
        "of these, still supported": len(kept),
    }
