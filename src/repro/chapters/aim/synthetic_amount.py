"""Chapter 34: fewer or more synthetic images (Table 6)."""

from __future__ import annotations

from collections.abc import Sequence

from repro.chapters.aim.contrasts import best, fine_tuning_claim
from repro.chapters.aim.plans import aim_experiment, bases_of, tuning
from repro.study.claims import Contrast
from repro.study.experiments import Plan
from repro.study.profiles import Profile, synthetic_of

NOTEBOOK = "34_synthetic_amount"

TABLE_6 = {f"{amount}x": f"synthetic:real = {amount}x" for amount in ("0.5", "1", "1.5", "2")}


@aim_experiment(NOTEBOOK)
def synthetic_amount(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 6: SFT on more or fewer balanced synthetic images, with one and the same mask."""
    if profile.faces.synthetic is None:
        return {}
    bases = bases_of(profile, seeds)
    plan: Plan = {"erm": list(bases)}
    for amount in profile.faces.amounts:
        synthetic = synthetic_of(profile).model_copy(update={"amount": amount})
        plan[f"{amount:g}x"] = [
            tuning(profile, base, "mask", synthetic=synthetic) for base in bases
        ]
    return plan


def _as_many_said(profile: Profile) -> str:
    drawn = profile.faces.synthetic
    real = round(profile.faces.data.total * profile.faces.data.fraction)
    same = "as many synthetic images as real ones"
    if drawn is not None and drawn.total != real:
        same = f"the set of {drawn.total:,} synthetic images (beside {real:,} real ones)"
    return f"Selective fine-tuning is fairest with {same}, not with fewer or more."


def _as_many(profile: Profile) -> list[Contrast]:
    """Compare as many synthetic images as real ones with every other amount."""
    amounts = [f"{amount:g}x" for amount in profile.faces.amounts]
    return best(profile, "1x", amounts, table="6", rows=TABLE_6) if "1x" in amounts else []


CLAIMS = (
    fine_tuning_claim(
        "synthetic-amount",
        "Table 6",
        _as_many_said,
        NOTEBOOK,
        synthetic_amount,
        _as_many,
        kind="best",
    ),
)
