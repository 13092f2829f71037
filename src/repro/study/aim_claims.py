"""The claims of AIM-Fair on fine-tuning, as contrasts between runs (METHODS 1c to 1f)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from repro.study import aim_plans as plans
from repro.study.aim_contrasts import (
    ACC,
    BEST_IN_TABLE_4,
    BETTER,
    EO,
    FIGURE_2,
    FIGURE_5,
    MAIN_TASK,
    PAIRED,
    SHORT,
    STD,
    TABLE_2,
    TABLE_3,
    TABLE_4,
    WORDS,
    WST,
    best,
    biased,
    finds,
    fine_tuned,
    premise,
    task,
    versus,
)
from repro.study.aim_csdg_claims import CSDG_CLAIMS
from repro.study.contrasts import Claim, Contrast
from repro.study.plans import Experiment
from repro.study.profiles import Profile
from repro.study.reported import aim_value
from repro.study.substitutions import ERM, MASKED, TUNED

# What pages of AIM-Fair's chapters read from here, too.
__all__ = [
    "ACC",
    "AIM_CLAIMS",
    "BEST_IN_TABLE_4",
    "BETTER",
    "EO",
    "FIGURE_2",
    "FIGURE_5",
    "PAIRED",
    "SHORT",
    "STD",
    "TABLE_2",
    "TABLE_3",
    "TABLE_4",
    "WORDS",
    "WST",
    "task",
    "versus",
]


def _biased(profile: Profile) -> list[Contrast]:
    """Ask whether each small group is worse off than the large one of the same target."""
    row = TABLE_3["erm"]

    def reported(small: str, large: str) -> float | None:
        a, b = (aim_value("3", task(profile), row, metric) for metric in (small, large))
        return None if a is None or b is None else a - b

    pairs = [
        ("(0,0) against (0,1)", "accuracy_t0_p0", "accuracy_t0_p1"),
        ("(1,1) against (1,0)", "accuracy_t1_p1", "accuracy_t1_p0"),
    ]
    return [
        Contrast(
            f"ERM: accuracy of group {words}",
            "erm",
            "erm",
            small,
            "less",
            second_quantity=large,
            reported=reported(small, large),
        )
        for words, small, large in pairs
    ]


def _sft(
    second: str, metrics: Sequence[str], kind: Literal["better", "no worse"] = "better"
) -> Callable[[Profile], list[Contrast]]:
    rows = (TABLE_3["mask"], TABLE_3[second])
    return lambda profile: versus(profile, "mask", second, metrics, rows=rows, kind=kind)


def _joined(*parts: Callable[[Profile], list[Contrast]]) -> Callable[[Profile], list[Contrast]]:
    return lambda profile: [contrast for part in parts for contrast in part(profile)]


def _against_rules(metrics: Sequence[str]) -> Callable[[Profile], list[Contrast]]:
    """Return the mask against the mean of the random draws, and against every block.

    The paper reports the best of each kind: so the mask must beat every one by as much.
    """

    def contrasts(profile: Profile) -> list[Contrast]:
        def against(key: str | tuple[str, ...], best: str, words: str | None) -> list[Contrast]:
            found = versus(
                profile,
                "mask",
                key,
                metrics,
                table="4",
                rows=(TABLE_4["mask"], BEST_IN_TABLE_4[best]),
                words=words,
            )
            # The row is that of the paper's best, which is none of ours: it sets the margin alone.
            return [replace(c, reported=None, elsewhere=c.reported or c.elsewhere) for c in found]

        draws = tuple(f"random {draw}" for draw in range(profile.faces.random_draws))
        found = against(draws, "random", f"the mean of {len(draws)} random draws of tensors")
        for rule in ("update", "freeze"):
            for block in profile.faces.blocks:
                found += against(f"{rule} {block}", rule, None)
        return found

    return contrasts


def _absolute(metrics: Sequence[str]) -> Callable[[Profile], list[Contrast]]:
    rows = (TABLE_4["mask"], TABLE_4["cosine mask"])
    return lambda profile: versus(profile, "mask", "cosine mask", metrics, table="4", rows=rows)


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


def _peak(profile: Profile) -> list[Contrast]:
    """Compare k with every other that the paper has; a peak takes one on either side."""
    k, others = profile.faces.k, [k for k in profile.faces.ks if f"k {k}" in FIGURE_5]
    if not others or not min(others) < k < max(others):
        return []
    keys = [f"k {other}" for other in others]
    return best(profile, f"k {k}", keys, table="fig5", rows=FIGURE_5, slack=0.002)


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
        replace(contrast, check=biased(profile, plans.less_real_data, f"{key}, erm", f" of {key}"))
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


def _tuned(
    name: str,
    where: str,
    sentence: str | Callable[[Profile], str],
    notebook: str,
    plan: Experiment,
    contrasts: Callable[[Profile], list[Contrast]],
    beside: Callable[[Profile], list[Contrast]],
    kind: Literal["all", "any", "best"] = "all",
    notes: tuple[str, ...] = (),
    touches: frozenset[str] = MASKED,
    metric: str = EO,
) -> Claim:
    """Return a claim on fine-tuning: it needs a biased classifier, and synthetic images that do."""
    return Claim(
        name,
        where,
        sentence,
        notebook,
        plan,
        contrasts,
        (PAIRED, *notes),
        beside,
        paper="aim-fair",
        kind=kind,
        touches=touches,
        checks=fine_tuned,
        control=finds(metric),
    )


_TRAINING = (
    Claim(
        "biased-training",
        "Table 3, ERM",
        "Trained on biased real images, the classifier fails the two groups that were small.",
        "23_pretraining",
        plans.pretraining,
        _biased,
        (PAIRED,),
        paper="aim-fair",
        touches=ERM,
    ),
    Claim(
        "less-real-data",
        "Table 2",
        lambda profile: (
            f"With less real data ({min(profile.faces.fractions):.0%} instead of "
            f"{max(profile.faces.fractions):.0%}), the biased classifier is less fair."
        ),
        "36_less_real_data",
        plans.less_real_data,
        _less_hurts((EO,)),
        (PAIRED,),
        _less_hurts((WST, ACC)),
        paper="aim-fair",
        touches=ERM,
        checks=lambda profile: (biased(profile),),
        control=finds(EO),
    ),
)

_FINE_TUNING = (
    _tuned(
        "sft-vs-erm",
        "Table 3",
        lambda profile: (
            f"Selective fine-tuning (k = {profile.faces.k}) on balanced synthetic images makes the "
            "biased classifier fairer."
        ),
        "25_selective_finetuning",
        plans.strategies,
        _sft("erm", (EO,)),
        _joined(premise, _sft("erm", (WST, STD, ACC))),
    ),
    _tuned(
        "utility-kept",
        "Abstract",
        "Selective fine-tuning makes the biased classifier fairer and keeps its utility: its "
        "accuracy is no worse by a point.",
        "25_selective_finetuning",
        plans.strategies,
        _joined(_sft("erm", (EO,)), _sft("erm", (ACC,), "no worse")),
        _sft("erm", (WST,)),
    ),
    _tuned(
        "sft-vs-full",
        "Table 3",
        "Selective fine-tuning is fairer than fine-tuning all parameters.",
        "25_selective_finetuning",
        plans.strategies,
        _sft("fully fine-tuning", (EO,)),
        _sft("fully fine-tuning", (WST, STD)),
    ),
    _tuned(
        "sft-accuracy",
        "Table 3",
        "Selective fine-tuning is more accurate than fine-tuning all parameters, and than training "
        "on the synthetic images alone.",
        "25_selective_finetuning",
        plans.strategies,
        _joined(_sft("fully fine-tuning", (ACC,)), _sft("synthetic only", (ACC,))),
        # In the paper its accuracy is below that of these three, which is no claim of it.
        _joined(*(_sft(key, (ACC,)) for key in ("linear probing", "supplementation", "repairing"))),
        metric=ACC,
    ),
    _tuned(
        "sft-vs-linear-probing",
        "Table 3",
        "Selective fine-tuning is fairer than linear probing.",
        "25_selective_finetuning",
        plans.strategies,
        _sft("linear probing", (EO,)),
        _sft("linear probing", (WST, ACC)),
    ),
    _tuned(
        "sft-vs-data",
        "Table 3",
        "Selective fine-tuning is fairer than training on the synthetic images alone, than adding "
        "them to the real set and than repairing it with them.",
        "25_selective_finetuning",
        plans.strategies,
        _joined(*(_sft(key, (EO,)) for key in ("synthetic only", "supplementation", "repairing"))),
        _joined(*(_sft(key, (WST,)) for key in ("synthetic only", "supplementation", "repairing"))),
    ),
    _tuned(
        "layer-freezing",
        "Figure 2",
        "Freezing one block instead of none can be fairer.",
        "30_layer_freezing",
        plans.layer_freezing,
        _frozen((EO,)),
        _frozen((WST,)),
        kind="any",
        touches=TUNED,
    ),
    _tuned(
        "top-k",
        "Figure 5",
        lambda profile: (
            f"Fairness peaks at k = {profile.faces.k}: no other k of the paper's sweep is fairer."
        ),
        "31_top_k",
        plans.top_k,
        _peak,
        lambda profile: [],
        kind="best",
    ),
    _tuned(
        "selection-rules",
        "Table 4",
        "The mask is fairer than random tensors, than updating one block and than freezing one.",
        "32_selection_rules",
        plans.selection_rules,
        _against_rules((EO,)),
        _against_rules((WST,)),
        notes=(
            "the paper compares with the best of each kind: here with the mean of the random draws "
            "and with every block",
        ),
    ),
    _tuned(
        "absolute-vs-cosine",
        "Table 4",
        "Ranking by absolute difference is fairer than ranking by cosine similarity.",
        "32_selection_rules",
        plans.selection_rules,
        _absolute((EO,)),
        _absolute((WST, ACC)),
    ),
    _tuned(
        "sft-with-less-data",
        "Table 2",
        lambda profile: (
            f"Selective fine-tuning is fairer than ERM with {_fractions(profile)} of the real "
            "data, too."
        ),
        "36_less_real_data",
        plans.less_real_data,
        _still_helps((EO,)),
        _still_helps((WST, ACC)),
    ),
)

#: Every claim of AIM-Fair, in the order of the book.
AIM_CLAIMS = tuple(sorted(_TRAINING + _FINE_TUNING + CSDG_CLAIMS, key=lambda claim: claim.notebook))
