"""Chapter 37: controls of selective fine-tuning, of which the paper has one, random tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from repro.aimfair.strategies import COMPARED, STRATEGIES
from repro.chapters.aim.contrasts import EO, WORDS
from repro.chapters.aim.plans import aim_experiment, bases_of, known_strategies, tunings
from repro.chapters.aim.tables import METRICS, nothing_of, paired, spread, training_images
from repro.study.experiments import Plan
from repro.study.figures import beside_paper as beside
from repro.study.intervals import in_words, paired_interval
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.records import paired as by_seed
from repro.study.session import Part, View
from repro.study.tables import folded, known_values, mean_value, points, show

NOTEBOOK = "37_is_it_the_mask"

#: Beside the controls: what they start from, what they are compared with, and its rival.
REFERENCES = ("erm", "fully fine-tuning", "mask")


@aim_experiment(NOTEBOOK)
def controls(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Plan the controls that the profile names, and `REFERENCES`; several draws where there are.

    Random tensors are as many as the mask has, or hold as many parameters: is it which, or how
    many? BatchNorm layers move in every strategy: how much of it are they?
    """
    faces = profile.faces
    if not faces.controls or "mask" not in known_strategies(profile, COMPARED):
        return {}
    bases = bases_of(profile, seeds)
    plan: Plan = {"erm": list(bases)}
    settings: dict[str, dict[str, Any]] = {"fully fine-tuning": {}, "mask": {}}
    for name in faces.controls:
        draws = range(faces.random_draws) if "draw" in STRATEGIES[name].settings else ()
        drawn = {f"{name} {draw}": {"strategy": name, "draw": draw} for draw in draws}
        settings |= drawn or {name: {}}
    return plan | tunings(profile, bases, settings)


def arms(profile: Profile, results: Results) -> dict[str, tuple[str, ...]]:
    """Return the keys of each control that has runs; the draws of one kind are one arm."""
    found: dict[str, tuple[str, ...]] = {}
    for name in profile.faces.controls:
        keys = [key for key in results if key == name or _draw_of(key) == name]
        if keys:
            found[name] = tuple(keys)
    return found


def _draw_of(key: str) -> str | None:
    name, _, draw = key.rpartition(" ")
    return name if draw.isdecimal() else None


def names(view: View) -> dict[str, str]:
    """Return what to call each setting, the controls after what they are compared with."""
    named = {key: WORDS[key] for key in REFERENCES if key in view.results}
    for name, keys in arms(view.profile, view.results).items():
        for key in keys:
            number = f", draw {int(key.rpartition(' ')[2]) + 1}" if len(keys) > 1 else ""
            named[key] = f"{WORDS[name]}{number}"
    return named


def what_trains(profile: Profile) -> pd.DataFrame:
    """Return the rule of each control that the profile names."""
    rows = [STRATEGIES[name] for name in profile.faces.controls]
    return pd.DataFrame([{"control": rule.words, "what trains": rule.meaning} for rule in rows])


def results(view: View) -> list[Part]:
    """Return every setting as figure and table, and folded how much of it trained."""
    if not view.results:
        return [nothing_of(view, "control is")]
    return [
        *beside(view, METRICS, names(view)),
        folded(show(what_trained(view)), "tensors and parameters that train"),
    ]


def what_trained(view: View) -> pd.DataFrame:
    """Return how many tensors and parameters train, and how many of the tensors with SFT, too."""
    table = training_images(view.results, names(view))[["setting", "tensors", "parameters"]]
    if "mask" in view.results:
        keys = [key for key in names(view) if key in view.results]
        table["shared with the mask of SFT"] = [_shared(view.results, key) for key in keys]
    return table


def _shared(results: Results, key: str) -> str:
    """Return how many tensors train in a setting and in SFT of the same seed, lowest to highest."""
    pairs = zip(results[key], results["mask"], strict=True)
    of_both = [
        len({*one.results["trained_tensors"]} & {*own.results["trained_tensors"]})
        for one, own in pairs
    ]
    return spread(of_both, "{:d}")


def seed_by_seed(view: View) -> list[Part]:
    """Return SFT against each control, seed by seed; draws of one kind by their mean."""
    return paired(
        view,
        [
            (f"SFT − {called(name, keys)}", "mask", keys)
            for name, keys in arms(view.profile, view.results).items()
        ],
    )


def of_the_gain(view: View) -> list[Part]:
    """Return which part of SFT's gain in equalised odds over ERM each control has.

    The part is a quotient of two means over seeds; beside it stands how much fairer SFT is, by the
    seed. All is left out where the interval of SFT's own gain holds zero: of no gain there is no
    part.
    """
    if not {"erm", "mask"} <= view.results.keys():
        return []
    erm, own = (known_values(view.results[key], EO) for key in ("erm", "mask"))
    gain = paired_interval(erm, own)
    if gain.n < 2 or gain.low <= 0:
        return [f"**{view.label}**: SFT has no gain over ERM that these seeds can tell from none."]
    rows = []
    for name, keys in {"mask": ("mask",), **arms(view.profile, view.results)}.items():
        mean = sum(mean_value(view.results[key], EO) for key in keys) / len(keys)
        pairs = by_seed(view.results["mask"], [view.results[key] for key in keys], EO)
        part = (mean_value(view.results["erm"], EO) - mean) / gain.mean
        rows.append(
            {
                "setting": called(name, keys),
                "EO (max)": points(mean),
                "gain over ERM": points(mean_value(view.results["erm"], EO) - mean),
                "part of SFT's": f"{100 * part:.0f} %",
                "EO (max): SFT − it": "" if name == "mask" else in_words(paired_interval(*pairs)),
            }
        )
    return [f"**{view.label}**, means over {gain.n} seeds:", pd.DataFrame(rows)]


def called(name: str, keys: Sequence[str]) -> str:
    """Return what to call a control, of several draws their mean."""
    return f"{WORDS[name]}, mean of {len(keys)} draws" if len(keys) > 1 else WORDS[name]
