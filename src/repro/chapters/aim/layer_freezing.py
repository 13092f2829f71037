"""Chapter 30: one block is frozen, the others are fine-tuned (Figure 2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from repro.chapters.aim.contrasts import EO, WST, fine_tuning_claim, versus
from repro.chapters.aim.plans import aim_experiment, bases_of, tuning
from repro.chapters.substitutions import TUNED
from repro.study.claims import Contrast
from repro.study.experiments import Plan
from repro.study.profiles import Profile

NOTEBOOK = "30_layer_freezing"

FIGURE_2 = {"fully fine-tuning": "freeze none (fully fine-tuning)", "freeze fc": "freeze fc"} | {
    f"freeze layer{i}": f"freeze block-{i}" for i in (1, 2, 3, 4)
}


@aim_experiment(NOTEBOOK)
def layer_freezing(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Figure 2: one block frozen, the rest trained; beside it all trained, and the start."""
    bases = bases_of(profile, seeds)
    plan: Plan = {"erm": list(bases)}
    if profile.faces.synthetic is None:
        return plan
    plan["fully fine-tuning"] = [tuning(profile, base, "fully fine-tuning") for base in bases]
    for block in profile.faces.blocks:
        plan[f"freeze {block}"] = [tuning(profile, base, "freeze", block=block) for base in bases]
    return plan


def _frozen(metrics: Sequence[str]) -> Callable[[Profile], list[Contrast]]:
    """Return each block frozen against none."""
    return lambda profile: [
        contrast
        for block in profile.faces.blocks
        for contrast in versus(
            profile,
            f"freeze {block}",
            "fully fine-tuning",
            metrics,
            table="fig2",
            rows=(FIGURE_2.get(f"freeze {block}"), FIGURE_2["fully fine-tuning"]),
            slack=0.001,
        )
    ]


CLAIMS = (
    fine_tuning_claim(
        "layer-freezing",
        "Figure 2",
        "Freezing one block instead of none can be fairer.",
        NOTEBOOK,
        layer_freezing,
        _frozen((EO,)),
        _frozen((WST,)),
        kind="any",
        touches=TUNED,
    ),
)
