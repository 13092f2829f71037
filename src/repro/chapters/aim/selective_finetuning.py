"""Chapter 25: fine-tuning of the masked tensors, against every other strategy (Table 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from repro.aimfair.strategies import COMPARED
from repro.chapters.aim import plans
from repro.chapters.aim.contrasts import (
    ACC,
    EO,
    STD,
    TABLE_3,
    WST,
    fine_tuning_claim,
    joined,
    premise,
    versus,
)
from repro.chapters.aim.plans import (
    aim_experiment,
    bases_of,
    known_strategies,
    sensitivity,
    strategies,
    tuning,
)
from repro.settings import SyntheticFaces
from repro.study.claims import Contrast
from repro.study.experiments import Plan
from repro.study.profiles import Profile, synthetic_of

NOTEBOOK = "25_selective_finetuning"


@aim_experiment(NOTEBOOK)
def wider_gap(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 3 once more on embedded faces whose domains lie further apart; else empty."""
    faces = profile.faces
    if faces.wider_gap is None or faces.data.name != "toyfaces" or faces.synthetic is None:
        return {}
    data = faces.data.model_copy(update={"toy_domain_gap": faces.wider_gap})
    given = synthetic_of(profile)
    # Only the renderer has a domain gap that can be set.
    studio = SyntheticFaces(total=given.total, bias_ratio=given.bias_ratio, pool=given.pool)
    wide = faces.model_copy(update={"data": data, "synthetic": studio, "experiments": None})
    return strategies(profile.model_copy(update={"faces": wide}), seeds)


@aim_experiment(NOTEBOOK)
def switches(profile: Profile, seeds: Sequence[int]) -> Plan:
    """1g.3 and 1g.4: frozen statistics, gradients in eval mode, weight decay on frozen tensors."""
    tuned = known_strategies(profile, COMPARED)
    if "mask" not in tuned:
        return {}
    bases = bases_of(profile, seeds)
    plain = [sensitivity(profile, base, mode="eval", augmented=False) for base in bases]
    plan: Plan = {}
    for name in ("linear probing", "fully fine-tuning", "mask"):
        if name not in tuned:
            continue
        plan[f"{name}, statistics move"] = [tuning(profile, base, name) for base in bases]
        if name != "fully fine-tuning":  # where nothing is frozen, there is nothing to switch
            plan[f"{name}, statistics freeze"] = [
                tuning(profile, base, name, statistics="freeze") for base in bases
            ]
    plan["mask, gradients in eval mode"] = [
        tuning(profile, base, "mask", measured=measured)
        for base, measured in zip(bases, plain, strict=True)
    ]
    plan["mask, frozen tensors decay"] = [
        tuning(profile, base, "mask", frozen="decayed") for base in bases
    ]
    return plan


def _sft(
    second: str, metrics: Sequence[str], kind: Literal["better", "no worse"] = "better"
) -> Callable[[Profile], list[Contrast]]:
    rows = (TABLE_3["mask"], TABLE_3[second])
    return lambda profile: versus(profile, "mask", second, metrics, rows=rows, kind=kind)


CLAIMS = (
    fine_tuning_claim(
        "sft-vs-erm",
        "Table 3",
        lambda profile: (
            f"Selective fine-tuning (k = {profile.faces.k}) on balanced synthetic images makes the "
            "biased classifier fairer."
        ),
        NOTEBOOK,
        plans.strategies,
        _sft("erm", (EO,)),
        joined(premise, _sft("erm", (WST, STD, ACC))),
    ),
    fine_tuning_claim(
        "utility-kept",
        "Abstract",
        "Selective fine-tuning makes the biased classifier fairer and keeps its utility: its "
        "accuracy is no worse by a point.",
        NOTEBOOK,
        plans.strategies,
        joined(_sft("erm", (EO,)), _sft("erm", (ACC,), "no worse")),
        _sft("erm", (WST,)),
    ),
    fine_tuning_claim(
        "sft-vs-full",
        "Table 3",
        "Selective fine-tuning is fairer than fine-tuning all parameters.",
        NOTEBOOK,
        plans.strategies,
        _sft("fully fine-tuning", (EO,)),
        _sft("fully fine-tuning", (WST, STD)),
    ),
    fine_tuning_claim(
        "sft-accuracy",
        "Table 3",
        "Selective fine-tuning is more accurate than fine-tuning all parameters, and than training "
        "on the synthetic images alone.",
        NOTEBOOK,
        plans.strategies,
        joined(_sft("fully fine-tuning", (ACC,)), _sft("synthetic only", (ACC,))),
        # In the paper its accuracy is below that of these three, which is no claim of it.
        joined(*(_sft(key, (ACC,)) for key in ("linear probing", "supplementation", "repairing"))),
        metric=ACC,
    ),
    fine_tuning_claim(
        "sft-vs-linear-probing",
        "Table 3",
        "Selective fine-tuning is fairer than linear probing.",
        NOTEBOOK,
        plans.strategies,
        _sft("linear probing", (EO,)),
        _sft("linear probing", (WST, ACC)),
    ),
    fine_tuning_claim(
        "sft-vs-data",
        "Table 3",
        "Selective fine-tuning is fairer than training on the synthetic images alone, than adding "
        "them to the real set and than repairing it with them.",
        NOTEBOOK,
        plans.strategies,
        joined(*(_sft(key, (EO,)) for key in ("synthetic only", "supplementation", "repairing"))),
        joined(*(_sft(key, (WST,)) for key in ("synthetic only", "supplementation", "repairing"))),
    ),
)
