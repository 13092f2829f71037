"""Verdicts: one rule for every claim, applied to records.

A contrast is **supported** if its 95 % paired interval over seeds lies wholly on the claimed side
of zero, **contradicted** if wholly on the other, else **undecided**. A claim *holds* if all its
contrasts are supported, *holds in part* if some are, *does not hold* if none is, and is *not
testable here* if its runs are not recorded or have fewer than three seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from repro.study.claims import WIN_CLAIMS, Claim, Contrast
from repro.study.intervals import Interval, paired_interval
from repro.study.profiles import Profile, load_profile
from repro.study.records import Results, look_up, value
from repro.study.runs import Runs

HOLDS, IN_PART, NOT, UNTESTABLE = (
    "holds",
    "holds in part",
    "does not hold",
    "not testable here",
)
SIGNS = {HOLDS: "✅", IN_PART: "🟡", NOT: "❌", UNTESTABLE: "⬜"}
MIN_SEEDS = 3


@dataclass(frozen=True)
class Judged:
    """A contrast with its interval (first - second) and what follows from it."""

    contrast: Contrast
    interval: Interval
    outcome: str  # supported, contradicted, undecided
    runs: tuple[str, ...]

    @property
    def reported_excluded(self) -> bool | None:
        """Whether the paper's difference lies outside our interval; None if it reports none."""
        reported = self.contrast.reported
        return None if reported is None else self.interval.excludes(reported)


@dataclass(frozen=True)
class Verdict:
    """A claim, its judged contrasts, and the word that sums them up."""

    claim: Claim
    word: str
    judged: tuple[Judged, ...]
    reason: str
    profile: str
    simulated: bool


def judge(contrast: Contrast, results: Results) -> Judged:
    """Judge one contrast from the records of its two settings."""
    pairs = list(zip(results[contrast.first], results[contrast.second], strict=True))
    first = [value(a, contrast.quantity) for a, _ in pairs]
    second = [value(b, contrast.second_quantity or contrast.quantity) for _, b in pairs]
    kept = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    interval = paired_interval([a for a, _ in kept], [b for _, b in kept])
    sign = -1 if contrast.direction == "less" else 1
    low, high = sorted((sign * interval.low, sign * interval.high))
    outcome = "supported" if low > 0 else "contradicted" if high < 0 else "undecided"
    runs = tuple(dict.fromkeys(record.run for pair in pairs for record in pair))
    return Judged(contrast, interval, outcome, runs)


def decide(claim: Claim, profile: Profile, results: Results) -> Verdict:
    """Apply the rule to one claim; ``results`` are the known records of its plan."""
    simulated = profile.data.name != "adult"

    def verdict(word: str, reason: str, judged: Sequence[Judged] = ()) -> Verdict:
        return Verdict(claim, word, tuple(judged), reason, profile.name, simulated)

    if len(profile.seeds) < MIN_SEEDS:
        return verdict(UNTESTABLE, f"{len(profile.seeds)} seed(s); a verdict takes {MIN_SEEDS}")
    contrasts = claim.contrasts(profile)
    missing = {
        key for c in contrasts for key in (c.first, c.second) if key not in results
    }  # fmt: skip
    if missing:
        return verdict(
            UNTESTABLE,
            f"no records of: {', '.join(sorted(missing))}; "
            f"'make study PROFILE={profile.name}' computes them",
        )
    judged = [judge(contrast, results) for contrast in contrasts]
    supported = sum(j.outcome == "supported" for j in judged)
    contradicted = sum(j.outcome == "contradicted" for j in judged)
    word = HOLDS if supported == len(judged) else IN_PART if supported else NOT
    reason = (
        f"{supported} of {len(judged)} contrasts supported, {contradicted} contradicted, "
        f"{len(judged) - supported - contradicted} undecided"
    )
    return verdict(word, reason, judged)


def verdicts(profile: str | Profile, runs: Runs | None = None) -> list[Verdict]:
    """Return the verdict on every claim from what is recorded under a profile."""
    chosen = load_profile(profile) if isinstance(profile, str) else profile
    return [
        decide(claim, chosen, look_up(claim.plan(chosen, chosen.seeds), runs))
        for claim in WIN_CLAIMS
    ]


def verdict_table(found: Sequence[Verdict]) -> pd.DataFrame:
    """Return one row for each claim: where, claim, verdict, why."""
    return pd.DataFrame(
        [
            {
                "where": v.claim.where,
                "claim": v.claim.statement,
                "verdict": f"{SIGNS[v.word]} {v.word}",
                "why": v.reason,
                "chapter": v.claim.notebook,
            }
            for v in found
        ]
    )


def contrast_table(verdict: Verdict) -> pd.DataFrame:
    """Return one row for each contrast, differences in percentage points."""

    def points(number: float | None) -> str:
        return "" if number is None else f"{100 * number:+.2f}"

    return pd.DataFrame(
        [
            {
                "contrast": j.contrast.text,
                "claimed": {"less": "below 0", "greater": "above 0"}[j.contrast.direction],
                "paper": points(j.contrast.reported),
                "ours": points(j.interval.mean),
                "95 % interval": f"[{points(j.interval.low)}, {points(j.interval.high)}]",
                "seeds": j.interval.n,
                "outcome": j.outcome,
            }
            for j in verdict.judged
        ]
    )


def at_a_glance_markdown(profile: str = "desk", runs: Runs | None = None) -> str:
    """Return the verdicts as a Markdown table, for the landing page and the README."""
    found = verdicts(profile, runs)
    chosen = load_profile(profile)
    data = "UCI Adult" if chosen.data.name == "adult" else "toycensus (simulated)"
    lines = [
        "| Paper | Claim | Verdict | Evidence |",
        "| --- | --- | --- | --- |",
    ]
    for v in found:
        lines.append(
            f"| WIN, {v.claim.where} | {v.claim.statement} | {SIGNS[v.word]} {v.word} "
            f"| {v.reason} |"
        )
    lines.append("")
    lines.append(
        f"{data}, profile `{profile}`, {len(chosen.seeds)} seeds, 95 % paired intervals over "
        "seeds; each number: chapter *Verdicts*."
    )
    return "\n".join(lines) + "\n"
