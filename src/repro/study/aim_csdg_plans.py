"""Which runs AIM-Fair's tables on its synthetic data need (Tables 5 to 7): pure lists."""

from __future__ import annotations

from collections.abc import Sequence

from repro.settings import SyntheticFaces
from repro.study.aim_configs import FaceTuning
from repro.study.aim_plans import bases_of, selectable, sensitivity, synthetic_of, training, tuning
from repro.study.plans import Plan
from repro.study.profiles import Profile


def prompt_sets(profile: Profile, seed: int) -> dict[str, SyntheticFaces]:
    """Return the synthetic faces of each set of prompts (Table 5), by a readable key.

    The claim is about prompts, so every seed of the study has prompts and images of its own: their
    seed is the profile's plus one plus the run's. A set holds no more images than are trained on.
    Lists that are given (``prompts_file``) are of the profile's own kind and the same in every
    seed; other kinds are written.
    """
    faces = profile.faces
    if faces.synthetic is None or faces.synthetic.source != "generator":
        return {}
    total = faces.prompt_total or faces.synthetic.total
    return {
        asked.key: faces.synthetic.model_copy(
            update={
                "prompts": asked.prompts,
                "prompts_per_group": asked.number,
                "total": total,
                "pool": -(-total // 4),
                "seed": faces.synthetic.seed + 1 + seed,
                "prompts_file": faces.synthetic.prompts_file
                if asked.prompts == faces.synthetic.prompts
                else None,
            }
        )
        for asked in faces.prompt_sets
    }


@selectable
def prompt_diversity(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 5: a classifier trained on the synthetic images of each set of prompts alone."""
    sets = {seed: prompt_sets(profile, seed) for seed in seeds}
    return {
        key: [
            training(profile, seed, strategy="synthetic only", synthetic=sets[seed][key])
            for seed in seeds
        ]
        for key in sets[seeds[0]]
    }


@selectable
def readers(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Two classifiers, of target and of protected attribute, on balanced real images; one seed.

    They read synthetic images: is what was asked for there?
    """
    synthetic = profile.faces.synthetic
    if synthetic is None or synthetic.source != "generator":
        return {}
    data = profile.faces.data
    turned = data.model_copy(update={"target": data.protected, "protected": data.target})
    return {
        name: [training(profile, seeds[0], strategy="balanced real", data=asked)]
        for name, asked in (("target", data), ("protected", turned))
    }


@selectable
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


@selectable
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


@selectable
def s1_masks(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Return the measurements behind Table 7, for what the guess changes in the mask."""
    return {
        key: [run.sensitivity for run in tuned if isinstance(run, FaceTuning) and run.sensitivity]
        for key, tuned in s1_bias(profile, seeds).items()
        if key != "erm"
    }


#: Every experiment by the notebook that runs it.
CSDG_EXPERIMENTS = {
    "22_synthetic_faces": (readers,),
    "33_prompt_diversity": (prompt_diversity,),
    "34_synthetic_amount": (synthetic_amount,),
    "35_bias_ratio": (s1_bias, s1_masks),
}
