"""The claims of AIM-Fair on its synthetic data: prompts, amount, bias of S1 (Tables 5 to 7)."""

from __future__ import annotations

from collections.abc import Sequence

from repro.study import aim_csdg_plans as plans
from repro.study.aim_contrasts import (
    ACC,
    EO,
    GRAMMAR,
    PAIRED,
    SYNTHETIC,
    WST,
    settings,
    versus,
)
from repro.study.contrasts import Claim, Contrast
from repro.study.profiles import Profile

PLAIN, POSED = "plain", "contextual with head poses, 50"
TABLE_5 = {
    PLAIN: "Plain prompt (1)",
    "contextual, 25": "Contextual prompts (25)",
    "contextual, 50": "Contextual prompts (50)",
    POSED: "Contextual + head poses (50)",
}
TABLE_6 = {f"{amount}x": f"synthetic:real = {amount}x" for amount in ("0.5", "1", "1.5", "2")}
TABLE_7 = {
    ratio: f"bias ratio of biased synthetic set {ratio}" for ratio in ("4:6", "3:7", "2:8", "1:9")
}


def _prompts(profile: Profile, pairs: Sequence[tuple[str, str, Sequence[str]]]) -> list[Contrast]:
    """Return contrasts between sets of prompts, of those that the profile draws from."""
    drawn = {asked.key for asked in profile.faces.prompt_sets}
    return [
        contrast
        for first, second, metrics in pairs
        if first in drawn and second in drawn
        for contrast in versus(
            profile,
            first,
            second,
            metrics,
            table="5",
            rows=(TABLE_5.get(first), TABLE_5.get(second)),
        )
    ]


def _context_helps(profile: Profile) -> list[Contrast]:
    every = (ACC, WST, EO)
    return _prompts(profile, [(key, PLAIN, every) for key in TABLE_5 if key != PLAIN])


def _more_helps(profile: Profile) -> list[Contrast]:
    steps = [("contextual, 50", "contextual, 25"), (POSED, "contextual, 50")]
    return _prompts(profile, [(more, fewer, (ACC, WST)) for more, fewer in steps])


def _more_and_odds(profile: Profile) -> list[Contrast]:
    # With head poses the paper's EO is larger on Smiling | Male: not claimed, shown beside.
    return _prompts(
        profile,
        [("contextual, 50", "contextual, 25", (EO,)), (POSED, "contextual, 50", (EO,))],
    )


def _as_many(profile: Profile) -> list[Contrast]:
    """Compare as many synthetic images as real ones with every other amount."""
    amounts = [f"{amount:g}x" for amount in profile.faces.amounts]
    if "1x" not in amounts:
        return []
    return [
        contrast
        for key in amounts
        if key != "1x"
        for contrast in versus(
            profile, "1x", key, (WST, EO), table="6", rows=(TABLE_6["1x"], TABLE_6.get(key))
        )
    ]


def _strong_bias(profile: Profile) -> list[Contrast]:
    """Compare the bias of the real data, 1:9, with every milder bias of S1."""
    ratios = profile.faces.s1_ratios
    if "1:9" not in ratios:
        return []
    return [
        contrast
        for key in ratios
        if key != "1:9"
        for contrast in versus(
            profile, "1:9", key, (WST, EO), table="7", rows=(TABLE_7["1:9"], TABLE_7.get(key))
        )
    ]


CSDG_CLAIMS = (
    Claim(
        "contextual-prompts",
        "Table 5",
        "A classifier trained on images from contextual prompts alone is more accurate and fairer "
        "than one trained on images from a plain prompt.",
        "33_prompt_diversity",
        plans.prompt_diversity,
        _context_helps,
        (SYNTHETIC, GRAMMAR, PAIRED),
        paper="aim-fair",
        settings=settings,
    ),
    Claim(
        "more-prompts",
        "Table 5",
        "More contextual prompts, and then head poses, make it more accurate and its worst group "
        "better still.",
        "33_prompt_diversity",
        plans.prompt_diversity,
        _more_helps,
        (SYNTHETIC, GRAMMAR, PAIRED),
        _more_and_odds,
        paper="aim-fair",
        settings=settings,
    ),
    Claim(
        "synthetic-amount",
        "Table 6",
        "Selective fine-tuning is fairest with as many synthetic images as real ones.",
        "34_synthetic_amount",
        plans.synthetic_amount,
        _as_many,
        (SYNTHETIC, PAIRED),
        paper="aim-fair",
        settings=settings,
    ),
    Claim(
        "s1-bias",
        "Table 7",
        "The mask works best when the biased synthetic set is as biased as the real data (1:9).",
        "35_bias_ratio",
        plans.s1_bias,
        _strong_bias,
        (SYNTHETIC, PAIRED),
        paper="aim-fair",
        settings=settings,
    ),
)
