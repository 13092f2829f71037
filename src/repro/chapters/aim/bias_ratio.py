"""Chapter 35: how biased the biased synthetic set S1 is (Table 7)."""

from __future__ import annotations

from collections.abc import Sequence

from repro.chapters.aim.configs import FaceTuning
from repro.chapters.aim.contrasts import best, fine_tuning_claim
from repro.chapters.aim.plans import aim_experiment, bases_of, sensitivity, tuning
from repro.study.claims import Contrast
from repro.study.experiments import Plan
from repro.study.profiles import Profile, synthetic_of

NOTEBOOK = "35_bias_ratio"

TABLE_7 = {
    ratio: f"bias ratio of biased synthetic set {ratio}" for ratio in ("4:6", "3:7", "2:8", "1:9")
}


@aim_experiment(NOTEBOOK)
def s1_bias(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 7: SFT with a mask from a biased synthetic set S1 of another bias ratio."""
    if profile.faces.synthetic is None:
        return {}
    bases = bases_of(profile, seeds)
    plan: Plan = {"erm": list(bases)}
    for ratio in profile.faces.s1_ratios:
        small, large = (int(part) for part in ratio.split(":"))
        synthetic = synthetic_of(profile).model_copy(update={"bias_ratio": small / large})
        if abs(small / large - synthetic_of(profile).bias_ratio) < 1e-12:
            synthetic = synthetic_of(profile)  # one run under two names
        plan[ratio] = [
            tuning(
                profile,
                base,
                "mask",
                measured=sensitivity(profile, base, synthetic=synthetic),
            )
            for base in bases
        ]
    return plan


@aim_experiment(NOTEBOOK)
def s1_masks(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Return the measurements behind Table 7, for what the guess changes in the mask."""
    return {
        key: [run.sensitivity for run in tuned if isinstance(run, FaceTuning) and run.sensitivity]
        for key, tuned in s1_bias(profile, seeds).items()
        if key != "erm"
    }


def _in_words(ratio: float) -> str:
    """Return the size of the small groups to the large as the paper writes it: 1:9."""
    return f"1:{1 / ratio:g}"


def _strong_bias(profile: Profile) -> list[Contrast]:
    """Compare S1 as biased as the real data with every milder bias of it."""
    ratios, real = profile.faces.s1_ratios, _in_words(profile.faces.data.bias_ratio)
    return best(profile, real, ratios, table="7", rows=TABLE_7) if real in ratios else []


CLAIMS = (
    fine_tuning_claim(
        "s1-bias",
        "Table 7",
        lambda profile: (
            "The mask works best when the biased synthetic set is as biased as the real data "
            f"({_in_words(profile.faces.data.bias_ratio)})."
        ),
        NOTEBOOK,
        s1_bias,
        _strong_bias,
        kind="best",
    ),
)
