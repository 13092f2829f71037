"""The claims of AIM-Fair on fine-tuning, as contrasts between runs (METHODS 1c to 1f)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from repro.study import aim_plans as plans
from repro.study.aim_contrasts import (
    ACC,
    BEST_IN_TABLE_4,
    BETTER,
    EO,
    FIGURE_2,
    FIGURE_5,
    PAIRED,
    SHORT,
    STD,
    SYNTHETIC,
    TABLE_2,
    TABLE_3,
    TABLE_4,
    WORDS,
    WST,
    settings,
    task,
    versus,
)
from repro.study.aim_csdg_claims import CSDG_CLAIMS
from repro.study.contrasts import Claim, Contrast
from repro.study.profiles import Profile
from repro.study.reported import aim_value

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
    "SYNTHETIC",
    "TABLE_2",
    "TABLE_3",
    "TABLE_4",
    "WORDS",
    "WST",
    "settings",
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


def _sft_against(second: str, metrics: Sequence[str]) -> Callable[[Profile], list[Contrast]]:
    rows = (TABLE_3["mask"], TABLE_3[second])
    return lambda profile: versus(profile, "mask", second, metrics, rows=rows)


def _against_data(profile: Profile) -> list[Contrast]:
    # In accuracy the paper's SFT is below supplementation and repairing: shown beside, not claimed.
    return [
        contrast
        for second, metrics in (
            ("synthetic only", (ACC, WST, EO)),
            ("supplementation", (WST, EO)),
            ("repairing", (WST, EO)),
        )
        for contrast in _sft_against(second, metrics)(profile)
    ]


def _data_accuracy(profile: Profile) -> list[Contrast]:
    return [
        contrast
        for second in ("supplementation", "repairing")
        for contrast in _sft_against(second, (ACC,))(profile)
    ]


def _against_rules(profile: Profile) -> list[Contrast]:
    # The paper reports the best of each kind only, which is the row of no single one of them.
    others = [f"random {draw}" for draw in range(profile.faces.random_draws)]
    for rule in ("update", "freeze"):
        others += [f"{rule} {block}" for block in profile.faces.blocks]
    return [
        contrast
        for other in others
        for contrast in versus(profile, "mask", other, (WST, EO), table="4")
    ]


def _absolute(profile: Profile) -> list[Contrast]:
    rows = (TABLE_4["mask"], TABLE_4["cosine mask"])
    return versus(profile, "mask", "cosine mask", (WST, EO), table="4", rows=rows)


def _frozen(profile: Profile, block: str, metrics: Sequence[str]) -> list[Contrast]:
    if block not in profile.faces.blocks:
        return []
    rows = (FIGURE_2.get(f"freeze {block}"), FIGURE_2["fully fine-tuning"])
    return versus(
        profile,
        f"freeze {block}",
        "fully fine-tuning",
        metrics,
        table="fig2",
        rows=rows,
        slack=0.001,
    )


def _some_block(profile: Profile) -> list[Contrast]:
    """Return what Figure 2 shows to be better than freezing nothing."""
    return _frozen(profile, "layer1", (WST,)) + _frozen(profile, "fc", (WST, EO))


def _other_blocks(profile: Profile) -> list[Contrast]:
    return [
        contrast
        for block in profile.faces.blocks
        for contrast in _frozen(profile, block, (EO,) if block == "layer1" else (WST, EO))
        if block != "fc"
    ]


def _peak(profile: Profile) -> list[Contrast]:
    """Compare the authors' k with every other; a peak takes one on either side."""
    best = profile.faces.k
    others = [k for k in profile.faces.ks if k != best]
    if not others or not min(others) < best < max(others):
        return []
    return [
        contrast
        for k in others
        for contrast in versus(
            profile,
            f"k {best}",
            f"k {k}",
            (WST, EO),
            table="fig5",
            rows=(FIGURE_5.get(f"k {best}"), FIGURE_5.get(f"k {k}")),
            slack=0.002,
        )
    ]


def _less_hurts(profile: Profile) -> list[Contrast]:
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
            reported=_less_reported(profile, least, most, metric),
        )
        for metric in (WST, EO)
    ]


def _less_reported(profile: Profile, least: float, most: float, metric: str) -> float | None:
    # All of the data is Table 1's row: Table 3 reports another baseline for the same setting.
    low = aim_value("2", task(profile), f"ERM @ {100 * least:g}% real", metric)
    whole = aim_value("1", task(profile), "ERM", metric) if most == 1 else None
    return None if low is None or whole is None else low - whole


def _still_helps(profile: Profile) -> list[Contrast]:
    return [
        contrast
        for fraction in sorted(profile.faces.fractions, reverse=True)
        if fraction < 1
        for key in [f"{100 * fraction:g} %"]
        for contrast in versus(
            profile,
            f"{key}, mask",
            f"{key}, erm",
            (ACC, WST, EO),
            table="2",
            rows=(TABLE_2.get(f"{key}, mask"), TABLE_2.get(f"{key}, erm")),
        )
    ]


_FINE_TUNING = (
    Claim(
        "biased-training",
        "Table 3, ERM",
        "Trained on biased real images, the classifier fails the two groups that were small.",
        "23_pretraining",
        plans.pretraining,
        _biased,
        (PAIRED,),
        paper="aim-fair",
        settings=settings,
    ),
    Claim(
        "sft-vs-erm",
        "Table 3",
        "Selective fine-tuning on balanced synthetic images makes the biased classifier fairer.",
        "25_selective_finetuning",
        plans.strategies,
        # What it costs in accuracy (in the paper 0.2 points) is shown beside.
        _sft_against("erm", (WST, EO)),
        (SYNTHETIC, PAIRED),
        _sft_against("erm", (ACC,)),
        paper="aim-fair",
        settings=settings,
    ),
    Claim(
        "sft-vs-full",
        "Table 3",
        "Selective fine-tuning is more accurate and fairer than fine-tuning all parameters.",
        "25_selective_finetuning",
        plans.strategies,
        _sft_against("fully fine-tuning", (ACC, WST, EO)),
        (SYNTHETIC, PAIRED),
        paper="aim-fair",
        settings=settings,
    ),
    Claim(
        "sft-vs-linear-probing",
        "Table 3",
        "Selective fine-tuning is fairer than linear probing.",
        "25_selective_finetuning",
        plans.strategies,
        _sft_against("linear probing", (WST, EO)),
        (SYNTHETIC, PAIRED),
        _sft_against("linear probing", (ACC,)),
        paper="aim-fair",
        settings=settings,
    ),
    Claim(
        "sft-vs-data",
        "Table 3",
        "Selective fine-tuning is more accurate and fairer than training on the synthetic images "
        "alone, and fairer than adding them to the real set or repairing it with them.",
        "25_selective_finetuning",
        plans.strategies,
        _against_data,
        (SYNTHETIC, PAIRED),
        _data_accuracy,
        paper="aim-fair",
        settings=settings,
    ),
    Claim(
        "layer-freezing",
        "Figure 2",
        "Freezing one block instead of none can be fairer: the head (WST and EO) or the first "
        "block (WST).",
        "30_layer_freezing",
        plans.layer_freezing,
        _some_block,
        (SYNTHETIC, PAIRED),
        _other_blocks,
        paper="aim-fair",
        settings=settings,
    ),
    Claim(
        "top-k",
        "Figure 5",
        "Fairness peaks at the authors' k = 55 of 62 tensors: every other k is less fair.",
        "31_top_k",
        plans.top_k,
        _peak,
        (SYNTHETIC, PAIRED),
        paper="aim-fair",
        settings=settings,
    ),
    Claim(
        "selection-rules",
        "Table 4",
        "The mask is fairer than random tensors, than updating one block and than freezing one.",
        "32_selection_rules",
        plans.selection_rules,
        _against_rules,
        (SYNTHETIC, PAIRED, "the paper compares with the best of each kind: here with every one"),
        paper="aim-fair",
        settings=settings,
    ),
    Claim(
        "absolute-vs-cosine",
        "Table 4",
        "Ranking by absolute difference is fairer than ranking by cosine similarity.",
        "32_selection_rules",
        plans.selection_rules,
        _absolute,
        (SYNTHETIC, PAIRED),
        paper="aim-fair",
        settings=settings,
    ),
    Claim(
        "less-real-data",
        "Table 2",
        "With less real data, the biased classifier is less fair.",
        "36_less_real_data",
        plans.less_real_data,
        _less_hurts,
        (PAIRED,),
        paper="aim-fair",
        settings=settings,
    ),
    Claim(
        "sft-with-less-data",
        "Table 2",
        "Selective fine-tuning keeps its lead over ERM with 50, 25 and 10 % of the real data.",
        "36_less_real_data",
        plans.less_real_data,
        _still_helps,
        (SYNTHETIC, PAIRED),
        paper="aim-fair",
        settings=settings,
    ),
)

#: Every claim of AIM-Fair, in the order of the book.
AIM_CLAIMS = tuple(sorted(_FINE_TUNING + CSDG_CLAIMS, key=lambda claim: claim.notebook))
