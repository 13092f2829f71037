"""The claims of AIM-Fair on its synthetic data: prompts, amount, bias of S1 (Tables 5 to 7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from repro.study import aim_csdg_plans as plans
from repro.study.aim_contrasts import (
    ACC,
    EO,
    PAIRED,
    WST,
    best,
    finds,
    fine_tuned,
    reads,
    versus,
)
from repro.study.contrasts import Claim, Contrast
from repro.study.plans import Experiment
from repro.study.profiles import Profile
from repro.study.substitutions import MASKED, PROMPT_SETS

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


def _context_helps(metrics: Sequence[str]) -> Callable[[Profile], list[Contrast]]:
    return lambda profile: _prompts(
        profile, [(key, PLAIN, metrics) for key in TABLE_5 if key != PLAIN]
    )


def _more_helps(metrics: Sequence[str]) -> Callable[[Profile], list[Contrast]]:
    steps = [("contextual, 50", "contextual, 25"), (POSED, "contextual, 50")]
    return lambda profile: _prompts(profile, [(more, fewer, metrics) for more, fewer in steps])


def _more_said(profile: Profile) -> str:
    drawn = {asked.key for asked in profile.faces.prompt_sets}
    parts = ["more contextual prompts"] * ("contextual, 50" in drawn) + ["head poses"] * (
        POSED in drawn
    )
    what = ", and then ".join(parts) + "," * (len(parts) > 1) or "more contextual prompts"
    return f"{what[0].upper()}{what[1:]} make a classifier of their images more accurate still."


def _as_many_said(profile: Profile) -> str:
    drawn = profile.faces.synthetic
    real = round(profile.faces.data.total * profile.faces.data.fraction)
    same = "as many synthetic images as real ones"
    if drawn is not None and drawn.total != real:
        same = f"the set of {drawn.total:,} synthetic images (beside {real:,} real ones)"
    return f"Selective fine-tuning is fairest with {same}, not with fewer or more."


def _in_words(ratio: float) -> str:
    """Return the size of the small groups to the large as the paper writes it: 1:9."""
    return f"1:{1 / ratio:g}"


def _as_many(profile: Profile) -> list[Contrast]:
    """Compare as many synthetic images as real ones with every other amount."""
    amounts = [f"{amount:g}x" for amount in profile.faces.amounts]
    return best(profile, "1x", amounts, table="6", rows=TABLE_6) if "1x" in amounts else []


def _strong_bias(profile: Profile) -> list[Contrast]:
    """Compare S1 as biased as the real data with every milder bias of it."""
    ratios, real = profile.faces.s1_ratios, _in_words(profile.faces.data.bias_ratio)
    return best(profile, real, ratios, table="7", rows=TABLE_7) if real in ratios else []


def _of_prompts(
    name: str,
    sentence: str | Callable[[Profile], str],
    contrasts: Callable[[Profile], list[Contrast]],
    beside: Callable[[Profile], list[Contrast]],
    metric: str = ACC,
) -> Claim:
    """Return a claim on prompts: a classifier of their images alone must tell the target."""
    return Claim(
        name,
        "Table 5",
        sentence,
        "33_prompt_diversity",
        plans.prompt_diversity,
        contrasts,
        (PAIRED,),
        beside,
        paper="aim-fair",
        touches=PROMPT_SETS,
        checks=lambda profile: tuple(
            reads(plans.prompt_diversity, key)
            for key in dict.fromkeys(k for c in contrasts(profile) for k in c.keys)
            if key != PLAIN  # which may teach less: that is what is claimed
        ),
        control=finds(metric),
    )


def _of_sets(
    name: str,
    where: str,
    sentence: str | Callable[[Profile], str],
    notebook: str,
    plan: Experiment,
    contrasts: Callable[[Profile], list[Contrast]],
) -> Claim:
    """Return a claim that one synthetic set is the best to fine-tune on, or to select by."""
    return Claim(
        name,
        where,
        sentence,
        notebook,
        plan,
        contrasts,
        (PAIRED,),
        paper="aim-fair",
        kind="best",
        touches=MASKED,
        checks=fine_tuned,
        control=finds(EO),
    )


CSDG_CLAIMS = (
    _of_prompts(
        "contextual-prompts",
        "A classifier trained on images from contextual prompts alone is fairer than one trained "
        "on images from a plain prompt.",
        _context_helps((EO,)),
        _context_helps((WST,)),
        EO,
    ),
    _of_prompts(
        "contextual-accuracy",
        "A classifier trained on images from contextual prompts alone is more accurate than one "
        "trained on images from a plain prompt.",
        _context_helps((ACC,)),
        lambda profile: [],
    ),
    _of_prompts(
        "more-prompts",
        _more_said,
        _more_helps((ACC,)),
        # With head poses the paper's EO is larger on Smiling | Male: not claimed.
        _more_helps((WST, EO)),
    ),
    _of_sets(
        "synthetic-amount",
        "Table 6",
        _as_many_said,
        "34_synthetic_amount",
        plans.synthetic_amount,
        _as_many,
    ),
    _of_sets(
        "s1-bias",
        "Table 7",
        lambda profile: (
            "The mask works best when the biased synthetic set is as biased as the real data "
            f"({_in_words(profile.faces.data.bias_ratio)})."
        ),
        "35_bias_ratio",
        plans.s1_bias,
        _strong_bias,
    ),
)
