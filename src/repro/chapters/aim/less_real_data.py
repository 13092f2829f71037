"""Chapter 36: a share of the photographs (Table 2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from repro.chapters.aim.contrasts import (
    ACC,
    BETTER,
    EO,
    MAIN_TASK,
    PAIRED,
    SHORT,
    WST,
    biased,
    finds,
    fine_tuning_claim,
    task,
    versus,
)
from repro.chapters.aim.plans import aim_experiment, known_strategies, training, tuning
from repro.chapters.reported import aim_value
from repro.chapters.substitutions import ERM
from repro.study.claims import Claim, Contrast
from repro.study.experiments import Plan
from repro.study.profiles import Profile

NOTEBOOK = "36_less_real_data"

TABLE_2 = {
    f"{percent} %, {key}": f"{name} @ {percent}% real"
    for percent in (50, 25, 10)
    for key, name in (("erm", "ERM"), ("mask", "AIM-Fair"))
}


@aim_experiment(NOTEBOOK)
def less_real_data(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 2: a share of the real data, as many synthetic images; keys ``50 %, mask``."""
    plan: Plan = {}
    for fraction in profile.faces.fractions:
        data = profile.faces.data.model_copy(update={"fraction": fraction})
        bases = [training(profile, seed, data=data) for seed in seeds]
        key = f"{100 * fraction:g} %"
        plan[f"{key}, erm"] = list(bases)
        for name in known_strategies(profile, ("fully fine-tuning", "mask")):
            plan[f"{key}, {name}"] = [tuning(profile, base, name) for base in bases]
    return plan


def _fractions(profile: Profile) -> str:
    """Return the shares below one in words: "50, 25 and 10 %"."""
    shares = [f"{100 * share:g}" for share in sorted(profile.faces.fractions, reverse=True)]
    *most, last = [share for share in shares if share != "100"] or ["100"]
    return f"{', '.join(most)} and {last} %" if most else f"{last} %"


def _less_hurts(metrics: Sequence[str]) -> Callable[[Profile], list[Contrast]]:
    def contrasts(profile: Profile) -> list[Contrast]:
        most, least = max(profile.faces.fractions), min(profile.faces.fractions)
        if most == least:
            return []
        return [
            Contrast(
                f"ERM on {least:.0%} of the real images against {most:.0%}: {SHORT[metric]}",
                f"{100 * least:g} %, erm",
                f"{100 * most:g} %, erm",
                metric,
                "less" if BETTER[metric] == "greater" else "greater",
                reported=_less_reported(task(profile), least, most, metric),
                elsewhere=_less_reported(MAIN_TASK, least, most, metric),
            )
            for metric in metrics
        ]

    return contrasts


def _less_reported(where: str, least: float, most: float, metric: str) -> float | None:
    # All of the data is Table 1's row: Table 3 reports another baseline for the same setting.
    low = aim_value("2", where, f"ERM @ {100 * least:g}% real", metric)
    whole = aim_value("1", where, "ERM", metric) if most == 1 else None
    return None if low is None or whole is None else low - whole


def _still_helps(metrics: Sequence[str]) -> Callable[[Profile], list[Contrast]]:
    return lambda profile: [
        replace(
            contrast,
            check=biased(profile, less_real_data, f"{key}, erm", f" of {key}"),
        )
        for fraction in sorted(profile.faces.fractions, reverse=True)
        if fraction < 1
        for key in [f"{100 * fraction:g} %"]
        for contrast in versus(
            profile,
            f"{key}, mask",
            f"{key}, erm",
            metrics,
            table="2",
            rows=(TABLE_2.get(f"{key}, mask"), TABLE_2.get(f"{key}, erm")),
        )
    ]


CLAIMS = (
    Claim(
        "less-real-data",
        "Table 2",
        lambda profile: (
            f"With less real data ({min(profile.faces.fractions):.0%} instead of "
            f"{max(profile.faces.fractions):.0%}), the biased classifier is less fair."
        ),
        NOTEBOOK,
        less_real_data,
        _less_hurts((EO,)),
        (PAIRED,),
        _less_hurts((WST, ACC)),
        paper="aim-fair",
        touches=ERM,
        checks=lambda profile: (biased(profile),),
        control=finds(EO),
    ),
    fine_tuning_claim(
        "sft-with-less-data",
        "Table 2",
        lambda profile: (
            f"Selective fine-tuning is fairer than ERM with {_fractions(profile)} of the real "
            "data, too."
        ),
        NOTEBOOK,
        less_real_data,
        _still_helps((EO,)),
        _still_helps((WST, ACC)),
    ),
)
