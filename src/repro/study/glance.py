"""The verdicts at a glance: one table for the landing page and the README."""

from __future__ import annotations

import math
from collections.abc import Sequence

from repro.study.profiles import load_profile
from repro.study.runs import Runs
from repro.study.verdicts import (
    CONTRADICTED,
    SIGNS,
    SUPPORTED,
    UNDECIDED,
    Judged,
    Verdict,
    amount,
    verdicts,
)


def clearest(judged: Sequence[Judged]) -> Judged:
    """Return the contrast whose mean is largest against its interval (the first of equals)."""

    def clarity(j: Judged) -> float:
        half = j.interval.high - j.interval.mean
        if math.isnan(j.interval.mean):
            return -math.inf
        return abs(j.interval.mean) / half if half > 0 else math.inf

    return max(judged, key=clarity)


def headline(verdict: Verdict) -> str:
    """Return one contrast in words: of the largest difference in the paper, else the clearest."""
    if not verdict.judged:
        return verdict.reason
    told = [j for j in verdict.judged if j.contrast.reported is not None]
    if told:
        most = max(told, key=lambda j: abs(j.contrast.reported or 0.0))
    else:
        most = clearest(verdict.judged)
    text = _in_words(most, verdict.simulated)
    if verdict.beside:
        text += f". *Beside it:* {_in_words(clearest(verdict.beside), verdict.simulated)}"
    return text


def _in_words(judged: Judged, simulated: bool) -> str:
    contrast, interval = judged.contrast, judged.interval
    if math.isnan(interval.mean):
        return f"{contrast.text}: no seed has a value"
    low, mean, high = (
        amount(x, contrast.unit) for x in (interval.low, interval.mean, interval.high)
    )
    told = "" if simulated else amount(contrast.reported, contrast.unit)
    ends = f" [{low}, {high}]" if contrast.unit == "points" else ""
    return f"{contrast.text}: {f'paper {told}, ' if told else ''}ours {mean}{ends}"


def _tally(verdict: Verdict) -> str:
    outcomes = [j.outcome for j in verdict.judged]
    counts = ((name, outcomes.count(name)) for name in (SUPPORTED, CONTRADICTED, UNDECIDED))
    return ", ".join(f"{count} {name}" for name, count in counts if count)


def at_a_glance_markdown(
    profile: str = "desk", runs: Runs | None = None, *, notebooks: str = "notebooks"
) -> str:
    """Return the verdicts as a Markdown table.

    Parameters
    ----------
    profile
        Whose records are judged.
    runs
        Where runs of this machine are looked for first.
    notebooks
        The folder of the chapters, as seen from where the table will stand.
    """
    chosen = load_profile(profile)
    data = "UCI Adult" if chosen.data.name == "adult" else "toycensus (simulated)"
    lines = [
        "| WIN | Claim | Verdict | Contrasts | One of them (differences in percentage points) |",
        "| --- | --- | --- | --- | --- |",
    ]
    for v in verdicts(profile, runs):
        lines.append(
            f"| [{v.claim.where}]({notebooks}/{v.claim.notebook}.ipynb) | {v.claim.statement} "
            f"| {SIGNS[v.word]} {v.word} | {_tally(v)} | {headline(v)} |"
        )
    lines.append("")
    lines.append(
        f"{data}, profile `{profile}`, {len(chosen.seeds)} seeds, differences with 95 % paired "
        "intervals over seeds. *Undecided* is neither for nor against: the interval has zero in "
        f"it. Table 2 hangs on the training budget ([shown here]({notebooks}/"
        "40_finetuning_brings_bias_back.ipynb)), and intervals that allow for overlapping splits "
        f"are wider ([last table]({notebooks}/90_verdicts.ipynb)). Every contrast, and where it "
        f"comes from: [Verdicts]({notebooks}/90_verdicts.ipynb)."
    )
    return "\n".join(lines) + "\n"
