"""Chapter 34: fewer or more synthetic images (Table 6)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from repro.chapters.aim.contrasts import aim_claim, best, task
from repro.chapters.aim.plans import aim_experiment, bases_of, tunings
from repro.chapters.aim.tables import against_number, by_group, nothing_of, paired
from repro.chapters.reported import aim_keyed
from repro.study.claims import Contrast
from repro.study.experiments import Plan
from repro.study.profiles import Profile, synthetic_of
from repro.study.session import Part, View

NOTEBOOK = "34_synthetic_amount"


def _key(amount: float) -> str:
    """Return the key of an amount in the plan: ``0.5x``."""
    return f"{amount:g}x"


#: The set of `faces.synthetic.total` images; in the paper as many as the real ones.
AS_MANY = _key(1)
TABLE_6 = {_key(amount): f"synthetic:real = {amount:g}x" for amount in (0.5, 1, 1.5, 2)}


@aim_experiment(NOTEBOOK)
def synthetic_amount(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 6: SFT on more or fewer balanced synthetic images, with one and the same mask."""
    if profile.faces.synthetic is None:
        return {}
    bases = bases_of(profile, seeds)
    plan: Plan = {"erm": list(bases)}
    sets = {
        _key(amount): synthetic_of(profile).model_copy(update={"amount": amount})
        for amount in profile.faces.amounts
    }
    settings = {key: {"strategy": "mask", "synthetic": given} for key, given in sets.items()}
    return plan | tunings(profile, bases, settings)


def _as_many_said(profile: Profile) -> str:
    drawn = profile.faces.synthetic
    real = round(profile.faces.data.total * profile.faces.data.fraction)
    same = "as many synthetic images as real ones"
    if drawn is not None and drawn.total != real:
        same = f"the set of {drawn.total:,} synthetic images (beside {real:,} real ones)"
    return f"Selective fine-tuning is fairest with {same}, not with fewer or more."


def _as_many(profile: Profile) -> list[Contrast]:
    """Compare the synthetic set (1x) with every other amount."""
    keys = [_key(amount) for amount in profile.faces.amounts]
    return best(profile, AS_MANY, keys, table="6", rows=TABLE_6) if AS_MANY in keys else []


CLAIMS = (
    aim_claim(
        "synthetic-amount",
        "Table 6",
        _as_many_said,
        NOTEBOOK,
        synthetic_amount,
        _as_many,
        kind="best",
    ),
)


def amounts(view: View) -> dict[str, float]:
    """Return the size by setting, in sets, smallest first; ERM has none."""
    found = {_key(amount): amount for amount in sorted(view.profile.faces.amounts)}
    return {key: amount for key, amount in found.items() if key in view.results}


def training_sets(view: View) -> list[Part]:
    """Return how many synthetic images of each group every setting is fine-tuned on."""
    rows = []
    for key, amount in amounts(view).items():
        counts = np.asarray(view.results[key][0].results["training_images"])
        row = {"times the set": f"{amount:g}"} | by_group(counts)
        rows.append(row | {"in all": f"{counts.sum():,}"})
    if not rows:
        return [nothing_of(view, "fine-tuned model is")]
    heading = f"**{view.label}**, synthetic images by group (t,p):"
    return [heading, pd.DataFrame(rows), view]


def beside_paper(view: View) -> list[Part]:
    """Return figure and table of each amount, beside what the paper reports."""
    names = {"erm": "ERM"} | {key: f"SFT, {key}" for key in amounts(view)}
    reported = aim_keyed("6", task(view.profile), TABLE_6)
    total = synthetic_of(view.profile).total if amounts(view) else 0
    words = f"times the synthetic set of {total:,} images"
    return against_number(view, amounts(view), words, names, {"erm": "ERM"}, reported)


def seed_by_seed(view: View) -> list[Part]:
    """Return every other amount against the synthetic set, 1x."""
    others = [key for key in amounts(view) if key != AS_MANY and AS_MANY in view.results]
    return paired(view, [(f"{key} − {AS_MANY}", key, AS_MANY) for key in others])


def kept_epochs(view: View) -> list[Part]:
    """Return which epoch was kept in each seed."""
    rows = []
    for key in amounts(view):
        records = view.results[key]
        kept = ", ".join(str(record.results["epoch"]) for record in records)
        of = str(len(records[0].body["history"]))
        rows.append({"setting": f"SFT, {key}", "kept epoch of each seed": kept, "of": of})
    return [f"**{view.label}**", pd.DataFrame(rows)] if rows else []
