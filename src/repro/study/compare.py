"""Compare two sets of records: what agrees within the spread over seeds, and what does not."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from repro.names import check_name
from repro.study.configs import seedless
from repro.study.profiles import load_profile, profile_names
from repro.study.records import read_exported, recorded, recorded_folder
from repro.study.runs import Record, RecordError, Runs, by_identity

COMPARED = (
    "accuracy",
    "worst_group_accuracy",
    "weighted_f1_error",
    "demographic_parity",
    "equalized_odds_max",
    "equalized_odds_sum",
)
#: So many other seeds make a prediction interval that can exclude something. To either side it has
#: 3.6 standard deviations with 4, 2.4 with 9, and 15.6 with 2.
ENOUGH = 4


def read_set(name: str) -> dict[str, Record]:
    """Read a set of records.

    Parameters
    ----------
    name
        A folder of runs, an exported ``.parquet`` file, or the name of a profile (its exported
        records; of a part of another profile, that one's).

    Raises
    ------
    RecordError
        If there is nothing of that name, or a record is corrupt.
    """
    path = Path(name)
    if path.is_dir():
        return by_identity(Runs(path).records())
    if path.suffix == ".parquet":
        return read_exported(path)
    check_name("set of records (a folder, a .parquet file, or a profile)", name, profile_names())
    name = load_profile(name).part_of or name
    found = recorded(name)
    if not found:
        raise RecordError(
            f"profile '{name}' has no exported records in {recorded_folder().name}/; "
            f"'make study PROFILE={name}' and 'repro export {name}' make them"
        )
    return dict(found)


def settings_key(record: Record, known: Mapping[str, Record]) -> str:
    """Return what a run is, without seeds, so that sets of other seeds compare.

    Upstream runs enter by their own settings, not by their identities, which hold the seed.
    """

    def plain(one: Record) -> dict[str, Any]:
        config: dict[str, Any] = seedless(one.config)
        for name, run in one.body["upstream"].items():
            config[name] = plain(known[run]) if run in known else run
        return config

    return json.dumps(plain(record), sort_keys=True)


def _head_words(base: Mapping[str, Any], known: Mapping[str, Record]) -> list[str]:
    """Return what tells one head on frozen features from another (WIN on faces)."""
    if "head" not in base:
        return []
    words = ["one logit a label" if base["head"] == "labels" else "two classes"]
    words += [f"{base['target']}|{base['protected']}"]
    if base["backbone"] in known:
        below = known[base["backbone"]].config
        tuned = below["strategy"] if "pretrained" in below else ""
        below = known[below["pretrained"]].config if below.get("pretrained") in known else below
        data = below.get("data") or base.get("data") or {}
        words += ["on", tuned, data.get("name", ""), below.get("architecture", "")]
    return words


def describe(record: Record, known: Mapping[str, Record]) -> str:
    """Return a few words for what a run is."""
    config = record.config
    base = known[config["pretrained"]].config if config.get("pretrained") in known else config
    words = [config["stage"].removeprefix("win-").removeprefix("aim-")]
    data = base.get("data", {})
    words += [data.get("name", "")]
    if "target" in data:
        words += [f"{data['target']}|{data['protected']}"]
        words += [f"{data['fraction']:.0%}" if data["fraction"] < 1 else ""]
    words += ["p in" if base.get("data", {}).get("include_protected") else ""]
    words += _head_words(base, known)
    words += [base.get("architecture", ""), config.get("strategy") or ""]
    words += [str(config[n]) for n in ("block", "mode") if config.get(n) is not None]
    words += [f"{n} {config[n]}" for n in ("k", "draw") if config.get(n) is not None]
    words += ["frozen statistics" if config.get("statistics") == "freeze" else ""]
    words += ["frozen tensors decay" if config.get("frozen") == "decayed" else ""]
    words += _synthetic_words(config, known)
    words += ["plain" if config.get("augmented") is False else ""]
    if config.get("sensitivity") in known and known[config["sensitivity"]].config["mode"] == "eval":
        words += ["by gradients in eval mode"]
    words += [f"rank {config['rank']}" if config.get("rank") else ""]
    words += [f"a={config['weight']:g}" if config.get("weight") is not None else ""]
    if config.get("importance") not in (None, "neutralised") and "sensitivity" not in config:
        words += [f"importance {config['importance']}"]
    words += ["matched rate" if config.get("matched") else ""]
    for name, one in (("", config), ("from ", base if base is not config else {})):
        if one.get("constraint"):
            words.append(f"{name}{one['constraint']} {one['intensity']:g}")
    return " ".join(word for word in words if word)


def compare(first: Mapping[str, Record], second: Mapping[str, Record]) -> pd.DataFrame:
    """Compare two sets by what was run.

    Returns
    -------
    pandas.DataFrame
        A row for each setting that both have and each metric of `COMPARED`: setting, metric,
        the two means and seed counts, ``identical`` (the same counts in all runs that both have,
        where one set's are a part of the other's), ``agrees`` (identical, or a two-sided test over
        seeds at 5 % finds no difference, which is not to say that there is none: Welch's or, of a
        single seed, whether it could be one more of the other set's; None where both have a single
        seed), p. Runs that are in both sets are no second sample, so that where each has others,
        and one of them two, those alone are tested. Settings that only one
        set has come last, with ``only`` naming it.
    """
    # A run that others build on counts for either set: one backbone may serve the seeds of both.
    known = {**second, **first}
    groups = [_grouped(records, known) for records in (first, second)]
    rows: list[dict[str, Any]] = []
    for key, ours in groups[0].items():
        theirs = groups[1].get(key)
        if theirs is None:
            rows.append({"setting": describe(ours[0], known), "only": "first"})
            continue
        counts = [{r.run: r.counts().tolist() for r in records} for records in (ours, theirs)]
        shared = counts[0].keys() & counts[1].keys()
        part = shared in (counts[0].keys(), counts[1].keys())
        same = part and all(counts[0][run] == counts[1][run] for run in shared)
        for metric in COMPARED:
            a = [record.metrics()[metric] for record in ours]
            b = [record.metrics()[metric] for record in theirs]
            p = 1.0 if same else _difference(ours, theirs, metric)
            rows.append(
                {
                    "setting": describe(ours[0], known),
                    "metric": metric,
                    "first": float(np.mean(a)),
                    "second": float(np.mean(b)),
                    "seeds": f"{len(a)}/{len(b)}",
                    "shared runs": len(shared),
                    "identical": same,
                    "agrees": same if same else (None if math.isnan(p) else p >= 0.05),
                    "p": p,
                    "only": "",
                }
            )
    rows += [
        {"setting": describe(theirs[0], known), "only": "second"}
        for key, theirs in groups[1].items()
        if key not in groups[0]
    ]
    return pd.DataFrame(rows)


def agreement(
    first: Mapping[str, Record], second: Mapping[str, Record]
) -> tuple[int, int, float | None]:
    """Return how far the runs that two sets share agree.

    Returns
    -------
    tuple
        How many runs both sets have; how many of them have the same confusion counts; the mean
        absolute difference of their worst-group accuracies (a fraction), None without such runs.
    """
    shared = [(first[run], second[run]) for run in first.keys() & second.keys()]
    same = sum(not a.moved(b) for a, b in shared)
    worst = [[one.metrics()["worst_group_accuracy"] for one in pair] for pair in shared]
    moved = [abs(a - b) for a, b in worst if not math.isnan(a - b)]
    return len(shared), same, float(np.mean(moved)) if moved else None


def within_spread(
    first: Mapping[str, Record], second: Mapping[str, Record], metric: str
) -> tuple[int, int]:
    """Return how many runs of the first set lie within the spread of the second's other seeds.

    Returns
    -------
    tuple
        How many lie in the 95 % prediction interval of the others, and of how many: those of whose
        settings the second set has `ENOUGH` other runs; of fewer almost anything lies within it.
    """
    known = {**second, **first}
    groups = _grouped(second, known)
    p = []
    for run, record in first.items():
        others = [r for r in groups.get(settings_key(record, known), []) if r.run != run]
        if len(others) >= ENOUGH:
            p.append(_welch([record.metrics()[metric]], [r.metrics()[metric] for r in others]))
    told = [one for one in p if not math.isnan(one)]
    return sum(one >= 0.05 for one in told), len(told)


def _grouped(records: Mapping[str, Record], known: Mapping[str, Record]) -> dict[str, list[Record]]:
    groups: dict[str, list[Record]] = {}
    for record in records.values():
        groups.setdefault(settings_key(record, known), []).append(record)
    return groups


def _difference(ours: Sequence[Record], theirs: Sequence[Record], metric: str) -> float:
    """Return p of no difference; where both sets have runs of their own, from those alone."""
    groups = ours, theirs
    shared = {r.run for r in ours} & {r.run for r in theirs}
    own = [[r for r in group if r.run not in shared] for group in groups]
    enough = all(own) and max(map(len, own)) > 1  # or none has a spread
    first, second = own if enough else groups
    return _welch([r.metrics()[metric] for r in first], [r.metrics()[metric] for r in second])


def _welch(a: Sequence[float], b: Sequence[float]) -> float:
    """Return p of Welch's test; of a single seed, of its being one more of the others."""
    if max(len(a), len(b)) < 2:
        return math.nan
    if np.ptp(a) < 1e-12 and np.ptp(b) < 1e-12:  # no spread on either side: equal or not
        return 1.0 if math.isclose(a[0], b[0], abs_tol=1e-12) else 0.0
    from scipy import stats  # which takes a while to load

    # From the moments: on a side without any spread ttest_ind itself warns of lost precision. With
    # equal variances a single one adds no freedom: t = d / (s sqrt(1 + 1/n)) of n - 1.
    single = min(len(a), len(b)) < 2
    moments = [
        part
        for x in (a, b)
        for part in (np.mean(x), np.std(x, ddof=1) if len(x) > 1 else 0.0, len(x))
    ]
    return float(stats.ttest_ind_from_stats(*moments, equal_var=single).pvalue)


def _synthetic_words(config: Mapping[str, Any], known: Mapping[str, Record]) -> list[str]:
    """Return what is unusual in the synthetic images of a run, and in those of its mask."""
    drawn = config.get("synthetic") or {}
    words = [f"S2 {drawn['amount']:g}x" if drawn.get("amount", 1) != 1 else ""]
    if drawn.get("prompts"):
        words += [f"{drawn['prompts']}, {drawn['prompts_per_group']}"]
    measured = str(config.get("sensitivity"))
    of_mask = known[measured].config if measured in known else config
    ratio = (of_mask.get("synthetic") or {}).get("bias_ratio", 1 / 9)
    return [*words, f"S1 at {ratio:.3g}" if abs(ratio - 1 / 9) > 1e-9 else ""]
