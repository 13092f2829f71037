"""The verdicts at a glance: one table for the landing page and the README."""

from __future__ import annotations

import math
from collections.abc import Sequence

from repro.study.profiles import Paper, Profile, load_profile
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
        if half > 0:
            return abs(j.interval.mean) / half
        return math.inf if j.interval.mean else 0.0  # no difference in any seed is none to show

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
    profile: str = "desk",
    runs: Runs | None = None,
    *,
    simulated: str = "quick",
    notebooks: str = "notebooks",
) -> str:
    """Return the verdicts as Markdown, a table for each paper.

    Parameters
    ----------
    profile
        Whose records are judged.
    runs
        Where runs of this machine are looked for first.
    simulated
        The profile whose records on the embedded faces stand beside those on real ones.
    notebooks
        The folder of the chapters, as seen from where the table will stand.
    """
    chosen, toy = load_profile(profile), load_profile(simulated)
    found = {
        paper: [v for v in verdicts(profile, runs) if v.claim.paper == paper]
        for paper in ("aim-fair", "win", "win-faces")
    }
    beside = {v.claim.name: v for v in verdicts(simulated, runs)}

    def chapter(v: Verdict) -> str:
        return f"[{v.claim.where}]({notebooks}/{v.claim.notebook}.ipynb)"

    faces, toys = chosen.data_label("aim-fair"), toy.data_label("aim-fair")
    lines = [
        "| AIM-Fair | Claim | Real faces | Toy faces (simulated) | One of the contrasts "
        "(differences in percentage points) |",
        "| --- | --- | --- | --- | --- |",
    ]

    def on_faces(v: Verdict) -> str:
        other = beside[v.claim.name]
        told = v if v.judged else other
        return (
            f"| {chapter(v)} | {v.claim.statement} | {SIGNS[v.word]} {v.word} "
            f"| {SIGNS[other.word]} {other.word}{_in_brackets(_tally(other))} "
            f"| {'real' if told is v else 'toy'} faces: {headline(told)} |"
        )

    lines += [on_faces(v) for v in found["aim-fair"]]
    lines += [
        "",
        f"Real faces: {faces}, profile `{profile}`, {_seeds(chosen, 'aim-fair')}. Toy faces: "
        f"{toys}, profile `{simulated}`, {_seeds(toy, 'aim-fair')}: a controlled experiment with "
        "the methods, not evidence about photographs.",
        "",
        "| WIN | Claim | Verdict | Contrasts | One of them (differences in percentage points) |",
        "| --- | --- | --- | --- | --- |",
    ]
    for v in found["win"]:
        lines.append(
            f"| {chapter(v)} | {v.claim.statement} "
            f"| {SIGNS[v.word]} {v.word} | {_tally(v)} | {headline(v)} |"
        )
    lines.append("")
    lines.append(
        f"{chosen.data_label('win')}, profile `{profile}`, {_seeds(chosen, 'win')}, differences "
        "with 95 % paired intervals over seeds. *Undecided* is neither for nor against: the "
        f"interval has zero in it. Table 2 hangs on the training budget ([shown here]({notebooks}/"
        "40_finetuning_brings_bias_back.ipynb)), and intervals that allow for overlapping splits "
        f"are wider ([last table]({notebooks}/90_verdicts.ipynb)). Every contrast, and where it "
        f"comes from: [Verdicts]({notebooks}/90_verdicts.ipynb)."
    )
    lines += [
        "",
        "| WIN on faces | Claim | Real faces | Toy faces (simulated) | One of the contrasts "
        "(differences in percentage points) |",
        "| --- | --- | --- | --- | --- |",
        *(on_faces(v) for v in found["win-faces"]),
        "",
        f"Real faces: {_real_faces(chosen)}. Toy faces: {toy.data_label('win-faces')}, profile "
        f"`{simulated}`, {_seeds(toy, 'win-faces')}. One backbone serves all seeds, so intervals "
        "speak about splits and heads, not about other backbones.",
    ]
    return "\n".join(lines) + "\n"


def _real_faces(profile: Profile) -> str:
    """Say on which faces a profile runs WIN, or that it does not."""
    if profile.win.faces is None:
        return f"not run under profile `{profile.name}`"
    seeds = _seeds(profile, "win-faces")
    return f"{profile.data_label('win-faces')}, profile `{profile.name}`, {seeds}"


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""


def _seeds(profile: Profile, paper: Paper) -> str:
    return f"{len(profile.seeds_of(paper))} seeds"
