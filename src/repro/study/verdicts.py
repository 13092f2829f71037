"""Verdicts: one rule for every claim (:mod:`repro.study.rule`), applied to records."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from repro.study.claims import Check, Claim, Contrast
from repro.study.experiments import Plan, claims
from repro.study.intervals import Interval, amount, in_words
from repro.study.judging import Judged, judge, turned
from repro.study.once import one_reading
from repro.study.profiles import Profile, load_profile
from repro.study.provenance import precision_substitution
from repro.study.records import Results, look_up, value
from repro.study.rule import (
    ABSENT,
    CONSTRUCTED,
    CONTRADICTED,
    HOLDS,
    IN_PART,
    MIN_SEEDS,
    NOT,
    OPEN,
    OUTCOMES,
    PILOT_SEEDS,
    SIGNS,
    UNDECIDED,
    UNTESTED,
    best_of,
    word_of,
)
from repro.study.runs import Runs

UNCONTROLLED = "the positive control was not passed"
SIDES = {"less": "below 0", "greater": "above 0"}


@dataclass(frozen=True)
class Verdict:
    """A claim, its judged contrasts, and the word that sums them up."""

    claim: Claim
    statement: str
    word: str
    judged: tuple[Judged, ...]
    beside: tuple[Judged, ...]  # shown, not counted
    reason: str
    simulated: bool
    substitutions: tuple[str, ...]
    seeds: int = 0
    #: why the word is not more, where it is qualified ("mixed", "smaller than claimed")
    note: str = ""
    #: seeds that would decide what is open; None where nothing is, or no number would
    lacks: int | None = None
    checked: tuple[str, ...] = ()  # what had to be so, and was
    missing: tuple[Contrast, ...] = ()  # those without runs, where others have some
    #: why the positive control was not passed on real data, where an absent effect counts, too
    uncontrolled: str = ""

    @property
    def pilot(self) -> bool:
        """Whether it rests on fewer than five seeds."""
        judged = self.word not in (UNTESTED, CONSTRUCTED) and self.claim.kind != "construction"
        return judged and self.seeds < PILOT_SEEDS

    @property
    def words(self) -> str:
        """The word with all that qualifies it."""
        note = f": {self.note}" if self.note else ""
        return f"{self.word}{note}{' (pilot)' if self.pilot else ''}"


def decide(claim: Claim, profile: Profile, results: Results, runs: Runs | None = None) -> Verdict:
    """Apply the rule to one claim; ``results`` are the known records of its plan.

    The runs of checks and controls are looked up in ``runs``, and among the recorded ones.
    """
    simulated = profile.is_simulated(claim.paper)
    seeds = profile.seeds_of(claim.paper)
    empty = Verdict(
        claim,
        claim.statement(profile),
        UNTESTED,
        (),
        (),
        "",
        simulated,
        claim.substituted(profile),
        len(seeds),
    )
    every = claim.contrasts(profile)
    contrasts = [c for c in every if results.keys() >= {*c.keys}]
    if claim.kind not in ("all", "any") or not contrasts:
        contrasts = every
    if why := _untestable(claim, contrasts, profile, seeds, results):
        return replace(empty, reason=why)
    missing = tuple(c for c in every if c not in contrasts)

    def judged_of(contrast: Contrast) -> Judged:
        return judge(contrast, results, simulated=simulated, paper=claim.paper)

    if claim.kind == "construction":
        judged = tuple(judged_of(c) for c in contrasts)
        told = "; ".join(
            f"{j.contrast.text}: {amount(j.interval.mean, j.contrast.unit)}" for j in judged
        )
        so = all(j.contrast.sign * j.interval.mean > 0 for j in judged)
        word, note = (CONSTRUCTED, "") if so else (NOT, CONTRADICTED)
        return replace(
            empty, word=word, note=note, judged=judged, reason=f"arithmetic, no sample: {told}"
        )

    passed, failed = _checks(claim.checks(profile), profile, seeds, runs)
    judged = tuple(_own_check(judged_of(c), profile, seeds, runs) for c in contrasts)
    uncontrolled = ""
    if any(j.outcome == ABSENT for j in judged) and (simulated or claim.control(profile)):
        found_by, why = _controlled(claim, profile, seeds, runs)
        passed += found_by
        if simulated:
            judged = tuple(replace(j, untested=why) if j.outcome == ABSENT else j for j in judged)
        else:
            uncontrolled = why
    counted = [j for j in judged if not j.untested]
    word, note, judged = _summed(claim, judged, counted, results)
    if missing or len(counted) < len(judged):
        word, note = _not_all(claim, word, note)
    shown = [c for c in claim.beside(profile) if set(c.keys) <= results.keys()]
    found = replace(
        empty,
        word=word,
        note=note,
        judged=judged,
        beside=tuple(judged_of(c) for c in shown),
        checked=passed,
        seeds=min(j.interval.n for j in judged),
        lacks=_lacks(judged) if word in (OPEN, IN_PART) else None,
        missing=missing,
        uncontrolled=uncontrolled,
    )
    of_these = {r.run: r for c in contrasts for key in c.keys for r in results[key]}.values()
    precision = precision_substitution(of_these) if claim.paper == "aim-fair" else None
    found = replace(
        found,
        reason=_reason(found),
        substitutions=(*found.substitutions, *([precision] if precision else [])),
    )
    if failed:
        why = "; ".join(failed)
        return replace(found, word=UNTESTED, note="", lacks=None, reason=f"{why}. {found.reason}")
    return found


def _controlled(
    claim: Claim, profile: Profile, seeds: Sequence[int], runs: Runs | None
) -> tuple[tuple[str, ...], str]:
    """Return in words the positive control that was found, and why an absent effect counts not."""
    control = claim.control(profile)
    if control is None:
        return (), "no positive control shows that this set-up finds such an effect"
    passed, failed = _checks([control], profile, seeds, runs)
    return passed, failed[0] if failed else ""


def rests_on(claim: Claim, profile: Profile) -> Plan:
    """Return the runs of a claim's checks and control, which may be another experiment's."""
    own = [c.check for c in claim.contrasts(profile) if c.check is not None]
    control = claim.control(profile)
    needed: Plan = {}
    for check in (*claim.checks(profile), *own, *([control] if control else [])):
        plan = check.plan(profile, profile.seeds_of(claim.paper))
        needed |= {f"{check.text}: {key}": plan[key] for key in check.keys if key in plan}
    return needed


def _untestable(
    claim: Claim,
    contrasts: Sequence[Contrast],
    profile: Profile,
    seeds: Sequence[int],
    results: Results,
) -> str:
    """Return why a claim cannot be judged at all, or nothing."""
    if len(seeds) < MIN_SEEDS and claim.kind != "construction":
        return f"{len(seeds)} seed(s); a verdict takes {MIN_SEEDS}"
    if not contrasts:
        return "these settings leave nothing to compare"
    missing = {key for c in contrasts for key in c.keys if key not in results}
    if never := missing - claim.plan(profile, seeds).keys():
        return f"not among the runs of profile '{profile.name}': {'; '.join(sorted(never))}"
    if missing:
        return (
            f"no records of: {'; '.join(sorted(missing))}. "
            f"'make study PROFILE={profile.name}' computes them"
        )
    return ""


def _checks(
    checks: Sequence[Check], profile: Profile, seeds: Sequence[int], runs: Runs | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return in words what had to be so and was, and what was not or is not known."""
    passed: list[str] = []
    failed: list[str] = []
    for check in checks:
        results = look_up(check.plan(profile, seeds), runs)
        if missing := [key for key in check.keys if key not in results]:
            failed.append(f"not known whether {check.text}: no records of {'; '.join(missing)}")
            continue
        fine, numbers = check.passes(results)
        (passed if fine else failed).append(
            f"{check.text}: {numbers}" if fine else f"it is not so that {check.text}: {numbers}"
        )
    return tuple(passed), tuple(failed)


def _own_check(judged: Judged, profile: Profile, seeds: Sequence[int], runs: Runs | None) -> Judged:
    check = judged.contrast.check
    if check is None:
        return judged
    _, failed = _checks([check], profile, seeds, runs)
    return replace(judged, untested=failed[0], size="") if failed else judged


def _summed(
    claim: Claim, judged: tuple[Judged, ...], counted: Sequence[Judged], results: Results
) -> tuple[str, str, tuple[Judged, ...]]:
    """Return the word, a note to it, and the contrasts (of kind "best" with joint intervals)."""
    if not counted:
        return UNTESTED, "", judged
    if claim.kind == "best":
        *rivals, mean = judged
        keys = [rivals[0].contrast.first, *(j.contrast.seconds[0] for j in rivals)]
        sign, quantity = mean.contrast.sign, mean.contrast.quantity
        table = [[value(r, quantity) for r in results[key]] for key in keys]
        if any(x is None for row in table for x in row):
            return OPEN, "", judged
        values = sign * np.array(table, dtype=float)
        outcomes, word, note = best_of(values, [j.contrast.margin for j in rivals], mean.found)
        joint = tuple(
            replace(j, found=o, interval=turned(o.interval, sign), size="")
            for j, o in zip(rivals, outcomes, strict=True)
        )
        return word, note, (*joint, mean)
    word, note = word_of(
        claim.kind,
        [j.found for j in counted],
        [j.contrast.kind == "no worse" for j in counted],
    )
    return word, note, judged


def _not_all(claim: Claim, word: str, note: str) -> tuple[str, str]:
    """Return word and note where some contrasts were not tested: not all are so, and not none."""
    if word == HOLDS and claim.kind == "all":
        return IN_PART, note
    if word == NOT and claim.kind == "any":
        return OPEN, ""
    return word, note


def _lacks(judged: Sequence[Judged]) -> int | None:
    open_ = [j.found.lacks for j in judged if j.outcome == UNDECIDED]
    known = [n for n in open_ if n is not None]
    return max(known) if known and len(known) == len(open_) else None


def _reason(verdict: Verdict) -> str:
    """Return in words how the contrasts came out, and what an open one lacks."""
    said = [j.outcome for j in verdict.judged]
    counts = [f"{said.count(word)} {word}" for word in (*OUTCOMES, UNTESTED) if word in said]
    text = f"of {len(said)} contrast{'s' if len(said) > 1 else ''} {', '.join(counts)}"
    sizes = [j.size for j in verdict.judged if j.size]
    if sizes:
        text += "; " + ", ".join(f"{sizes.count(word)} {word}" for word in dict.fromkeys(sizes))
    if ABSENT in said:
        text += f"; {_left(verdict.judged)}"
    if UNDECIDED in said:
        text += f"; {needed(verdict)}"
    for why in dict.fromkeys(j.untested for j in verdict.judged if j.untested):
        text += f"; {why}"
    if verdict.missing:
        text += f"; not run: {', '.join(c.text for c in verdict.missing)}"
    if verdict.uncontrolled:
        text += f"; {UNCONTROLLED}: {verdict.uncontrolled}"
    return text


def _left(judged: Sequence[Judged]) -> str:
    """Say of the absent contrast that is nearest to its margin how much may be left of it."""
    absent = [j for j in judged if j.outcome == ABSENT]
    nearest = max(absent, key=lambda j: j.found.interval.high / j.contrast.margin)
    high = max(0.0, nearest.found.interval.high)
    return (
        f"at most {100 * high:.2f} points are left of an effect that is claimed from "
        f"{100 * nearest.contrast.margin:.2f} on"
    )


def needed(verdict: Verdict) -> str:
    """Say how many seeds would decide what is open."""
    number = _lacks(verdict.judged)
    if number is not None:
        return f"about {number:,} seeds would decide what is open, {verdict.seeds} are there"
    if verdict.seeds < MIN_SEEDS:
        return f"its quantity exists for {verdict.seeds} seeds alone, {MIN_SEEDS} are needed"
    if any(j.found.told_is_small for j in verdict.judged):
        return (
            "more seeds alone would not decide what is open: the paper's own difference is below "
            "the margin and in the interval"
        )
    if any(j.found.per_seed for j in verdict.judged):
        return "more seeds alone would not decide what is open: they split the same people again"
    return "more seeds alone would not decide what is open: it takes more test images"


def verdicts(profile: str | Profile, runs: Runs | None = None) -> list[Verdict]:
    """Return the verdict on every claim from what is recorded under a profile."""
    chosen = load_profile(profile) if isinstance(profile, str) else profile
    with one_reading():
        return [
            decide(c, chosen, look_up(c.plan(chosen, chosen.seeds_of(c.paper)), runs), runs)
            for c in claims()
        ]


def sentence(verdict: Verdict, label: str) -> str:
    """Return a verdict as a paragraph of Markdown; ``label`` says which data it rests on.

    What was checked and substituted stands folded below it.
    """
    small = []
    if verdict.checked:
        small.append(f"Checked: {'; '.join(verdict.checked)}.")
    if verdict.substitutions:
        small.append(f"Substituted: {'; '.join(verdict.substitutions)}.")
    # Prose of a setting (a quoted name, say) is text here, not HTML.
    told = html.escape(" ".join(small), quote=False)
    below = (
        "\n\n<details class='study-source'><summary>Checked and substituted</summary>"
        f"<p>{told}</p></details>\n"
        if small
        else ""
    )
    return (
        f"**{verdict.claim.where}: {verdict.statement}** {SIGNS[verdict.word]} "
        f"*{verdict.words}* ({label}): {verdict.reason}.{proportion(verdict)}{below}"
    )


def proportion(verdict: Verdict) -> str:
    """Return what stands beside a verdict, as sentences that begin with a space; or nothing."""
    told = [f"{j.contrast.text}: {in_words(j.interval, j.contrast.unit)}" for j in verdict.beside]
    return f" Beside it, in points: {'; '.join(told)}." if told else ""


def verdict_table(found: Sequence[Verdict]) -> pd.DataFrame:
    """Return one row for each claim: where, claim, verdict, why."""
    return pd.DataFrame(
        [
            {
                "where": v.claim.where,
                "claim": v.statement,
                "verdict": f"{SIGNS[v.word]} {v.words}",
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
    rivals = verdict.judged[:-1] if verdict.claim.kind == "best" else ()
    for j, where in [(j, "") for j in verdict.judged] + [(j, "beside: ") for j in verdict.beside]:
        contrast, unit, interval = j.contrast, j.contrast.unit, j.interval
        side = "no worse" if contrast.kind == "no worse" else SIDES[contrast.direction]
        if j in rivals:
            side = "no rival better by the margin"
        drawn = not where and unit == "points"
        row = {
            "contrast": where + contrast.text,
            "claimed": "" if where else side,
            "margin": f"{100 * contrast.margin:.2f}" if drawn else "",
            "paper": amount(contrast.reported, unit),
            "ours": amount(interval.mean, unit),
            "95 % interval": f"[{amount(interval.low, unit)}, {amount(interval.high, unit)}]",
            "seeds": interval.n,
            "outcome": "" if where else j.outcome,
            "size": "" if where else j.size,
            "seeds that would decide": "" if where or j.found.lacks is None else str(j.found.lacks),
            **{
                f"beside: {name}": in_words(told) if isinstance(told, Interval) else amount(told)
                for name, told in j.beside.items()
            },
        }
        rows.append(row)
    rows += [{"contrast": c.text, "seeds": 0, "outcome": "not run"} for c in verdict.missing]
    table = pd.DataFrame(rows).fillna("")
    silent = not any(j.contrast.reported is not None for j in verdict.judged + verdict.beside)
    if verdict.simulated or silent:
        table = table.drop(columns=["paper", "size"], errors="ignore")
    return table


def tally(found: Sequence[Verdict]) -> dict[str, int]:
    """Return how many verdicts have each word, in the order of `SIGNS`, without those of none."""
    words = [verdict.word for verdict in found]
    return {word: words.count(word) for word in SIGNS if word in words}
