"""Verdicts: one rule for every claim, applied to records.

A contrast is **supported** if its 95 % paired interval over seeds lies wholly on the claimed side
of zero, **contradicted** if wholly on the other, else (and where its quantity exists for fewer than
three seeds) **undecided**. A claim

- *holds* if all its contrasts are supported (each at 95 %, so no correction is due),
- *holds in part* if at least one of its m contrasts is supported by the interval at 1 - 0.05 / m
  (Bonferroni: among many contrasts one is easily supported by chance),
- *does not hold* otherwise,
- is *not testable here* if its runs are not recorded or have fewer than three seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from repro.names import check_name
from repro.study.contrasts import Claim, Contrast
from repro.study.experiments import CLAIMS
from repro.study.intervals import CONFIDENCE, Interval, paired_interval
from repro.study.profiles import Profile, load_profile
from repro.study.records import Results, look_up, value
from repro.study.runs import Runs

HOLDS, IN_PART, NOT, UNTESTABLE = (
    "holds",
    "holds in part",
    "does not hold",
    "not testable here",
)
SIGNS = {HOLDS: "●", IN_PART: "◐", NOT: "○", UNTESTABLE: "–"}
SIDES = {"less": "below 0", "greater": "above 0"}
MIN_SEEDS = 3
SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"


@dataclass(frozen=True)
class Judged:
    """A contrast with its interval (first - second) and what follows from it."""

    contrast: Contrast
    interval: Interval
    outcome: str  # supported, contradicted, undecided
    survives: bool  # supported by the Bonferroni interval of the claim's contrasts, too
    runs: tuple[str, ...]

    @property
    def reported_excluded(self) -> bool | None:
        """Whether the paper's difference lies outside our interval; None if it reports none.

        A number that was read off a plot may be off by the contrast's ``slack``, and counts as
        outside only if all that it may be is.
        """
        told, slack = self.contrast.reported, self.contrast.slack
        if told is None:
            return None
        return bool(told + slack < self.interval.low or told - slack > self.interval.high)


@dataclass(frozen=True)
class Verdict:
    """A claim, its judged contrasts, and the word that sums them up."""

    claim: Claim
    word: str
    judged: tuple[Judged, ...]
    beside: tuple[Judged, ...]  # shown, not counted
    reason: str
    profile: str
    simulated: bool
    substitutions: tuple[str, ...]


def judge(contrast: Contrast, results: Results, *, family: int = 1) -> Judged:
    """Judge one contrast, of ``family`` that the claim has, from the records of its settings."""
    pairs = list(zip(results[contrast.first], results[contrast.second], strict=True))
    first = [value(a, contrast.quantity) for a, _ in pairs]
    second = [value(b, contrast.second_quantity or contrast.quantity) for _, b in pairs]
    kept = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    runs = tuple(dict.fromkeys(record.run for pair in pairs for record in pair))
    if not kept:  # too few positives in every seed, for one
        return Judged(contrast, Interval(math.nan, math.nan, math.nan, 0), UNDECIDED, False, runs)
    sides = [a for a, _ in kept], [b for _, b in kept]
    interval = paired_interval(*sides)
    if interval.n < MIN_SEEDS:
        return Judged(contrast, interval, UNDECIDED, False, runs)
    wider = paired_interval(*sides, confidence=1 - (1 - CONFIDENCE) / family)
    low, high = _claimed_side(interval, contrast)
    outcome = SUPPORTED if low > 0 else CONTRADICTED if high < 0 else UNDECIDED
    return Judged(contrast, interval, outcome, _claimed_side(wider, contrast)[0] > 0, runs)


def _claimed_side(interval: Interval, contrast: Contrast) -> tuple[float, float]:
    """Return the ends of the interval so that the claimed side is the positive one."""
    if contrast.direction == "less":
        return -interval.high, -interval.low
    return interval.low, interval.high


def decide(claim: Claim, profile: Profile, results: Results) -> Verdict:
    """Apply the rule to one claim; ``results`` are the known records of its plan."""
    simulated, substituted = profile.is_simulated(claim.paper), claim.substituted(profile)
    seeds = profile.seeds_of(claim.paper)

    def verdict(word: str, reason: str, judged: Sequence[Judged] = ()) -> Verdict:
        known = [c for c in claim.beside(profile) if {c.first, c.second} <= results.keys()]
        beside = tuple(judge(contrast, results) for contrast in known) if judged else ()
        return Verdict(
            claim, word, tuple(judged), beside, reason, profile.name, simulated, substituted
        )

    if len(seeds) < MIN_SEEDS:
        return verdict(UNTESTABLE, f"{len(seeds)} seed(s); a verdict takes {MIN_SEEDS}")
    contrasts = claim.contrasts(profile)
    if not contrasts:
        return verdict(UNTESTABLE, "these settings leave nothing to compare")
    missing = {
        key for c in contrasts for key in (c.first, c.second) if key not in results
    }  # fmt: skip
    if never := missing - claim.plan(profile, seeds).keys():
        return verdict(
            UNTESTABLE, f"profile '{profile.name}' does not run: {'; '.join(sorted(never))}"
        )
    if missing:
        return verdict(
            UNTESTABLE,
            f"no records of: {'; '.join(sorted(missing))}. "
            f"'make study PROFILE={profile.name}' computes them",
        )
    judged = [judge(contrast, results, family=len(contrasts)) for contrast in contrasts]
    supported = sum(j.outcome == SUPPORTED for j in judged)
    contradicted = sum(j.outcome == CONTRADICTED for j in judged)
    survives = any(j.survives for j in judged)
    word = HOLDS if supported == len(judged) else IN_PART if survives else NOT
    reason = (
        f"{supported} of {len(judged)} contrasts supported, {contradicted} contradicted, "
        f"{len(judged) - supported - contradicted} undecided"
    )
    told = [
        j.reported_excluded
        for j in judged
        if j.reported_excluded is not None and j.contrast.unit == "points"
    ]
    if told and not simulated:
        reason += f"; the paper's own difference lies outside our interval in {sum(told)} of "
        reason += f"{len(told)}"
    if supported and word == NOT:
        reason += f"; none supported once corrected for {len(judged)} contrasts"
    return verdict(word, reason, judged)


def verdicts(profile: str | Profile, runs: Runs | None = None) -> list[Verdict]:
    """Return the verdict on every claim from what is recorded under a profile."""
    chosen = load_profile(profile) if isinstance(profile, str) else profile
    return [
        decide(claim, chosen, look_up(claim.plan(chosen, chosen.seeds_of(claim.paper)), runs))
        for claim in CLAIMS
    ]


def claim_named(name: str) -> Claim:
    """Return a claim by its name.

    Raises
    ------
    UnknownNameError
        If there is none; the nearest is given.
    """
    check_name("claim", name, [claim.name for claim in CLAIMS])
    return next(claim for claim in CLAIMS if claim.name == name)


def sentence(verdict: Verdict, label: str) -> str:
    """Return a verdict as a paragraph of Markdown; ``label`` says which data it rests on.

    What was substituted stands below it.
    """
    words = "; ".join(verdict.substitutions)
    below = f"<br><small>Substituted: {words}.</small>" if words else ""
    return (
        f"**{verdict.claim.where}: {verdict.claim.statement}** {SIGNS[verdict.word]} "
        f"*{verdict.word}* ({label}): {verdict.reason}.{proportion(verdict)}{below}"
    )


def proportion(verdict: Verdict) -> str:
    """Return what stands beside a verdict, as sentences that begin with a space; or nothing."""
    told = []
    for j in verdict.beside:
        ends = f"[{amount(j.interval.low)}, {amount(j.interval.high)}]"
        told.append(f"{j.contrast.text}: {amount(j.interval.mean)} {ends}")
    return f" Beside it, in points: {'; '.join(told)}." if told else ""


def verdict_table(found: Sequence[Verdict]) -> pd.DataFrame:
    """Return one row for each claim: where, claim, verdict, why."""
    return pd.DataFrame(
        [
            {
                "where": v.claim.where,
                "claim": v.claim.statement,
                "verdict": f"{SIGNS[v.word]} {v.word}",
                "why": v.reason,
            }
            for v in found
        ]
    )


def contrast_table(verdict: Verdict) -> pd.DataFrame:
    """Return one row for each contrast, those beside last; fractions in percentage points.

    What the paper reports stands beside real data only.
    """
    rows = []
    for j, where in [(j, "") for j in verdict.judged] + [(j, "beside: ") for j in verdict.beside]:
        unit = j.contrast.unit
        row = {
            "contrast": where + j.contrast.text,
            "claimed": "" if where else SIDES[j.contrast.direction],
            "paper": amount(j.contrast.reported, unit),
            "ours": amount(j.interval.mean, unit),
            "95 % interval": f"[{amount(j.interval.low, unit)}, {amount(j.interval.high, unit)}]",
            "paper inside?": {None: "", True: "no", False: "yes"}[j.reported_excluded],
            "seeds": j.interval.n,
            "outcome": "" if where else j.outcome,
        }
        rows.append(row)
    table = pd.DataFrame(rows)
    silent = not any(j.contrast.reported is not None for j in verdict.judged + verdict.beside)
    if verdict.simulated or silent:
        table = table.drop(columns=["paper", "paper inside?"], errors="ignore")
    return table


def amount(number: float | None, unit: str = "points") -> str:
    """Return a signed difference, a fraction in percentage points; nothing for None and NaN."""
    if number is None or math.isnan(number):
        return ""
    return f"{100 * number:+.2f}" if unit == "points" else f"{number:+.0f}"
