"""The verdicts at a glance: counts and one table, for the landing page and the README."""

from __future__ import annotations

import math
from collections.abc import Sequence

from repro.study.intervals import amount, in_words
from repro.study.judging import Judged
from repro.study.profiles import Paper, Profile, load_profile
from repro.study.rule import (
    ABSENT,
    CONSTRUCTED,
    CONTRADICTED,
    HOLDS,
    IN_PART,
    NOT,
    OPEN,
    SIGNS,
    SUPPORTED,
    UNTESTED,
)
from repro.study.runs import Runs
from repro.study.verdicts import UNCONTROLLED, Verdict, tally, verdicts

#: The three parts of the study, as headings of the table.
PARTS: dict[Paper, str] = {"aim-fair": "AIM-Fair", "win": "WIN", "win-faces": "WIN on faces"}


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
    """Return the contrast that tells most in words; of a mixed verdict one of either side.

    It is among those that bear its word, and of them the one of which the paper claims most, else
    the clearest.
    """
    if not verdict.judged:
        return verdict.reason
    for_it = [j for j in verdict.judged if j.outcome == SUPPORTED]
    against = [j for j in verdict.judged if j.outcome in (CONTRADICTED, ABSENT)]
    if verdict.note == "mixed":
        return f"{_in_words(_most(for_it), verdict)}; {_in_words(_most(against), verdict)}"
    bearing = {HOLDS: for_it, IN_PART: for_it, NOT: against}.get(verdict.word)
    return _in_words(_most(bearing or verdict.judged), verdict)


def _most(judged: Sequence[Judged]) -> Judged:
    """Return the contrast of which the paper claims most, else the clearest."""
    told = [j for j in judged if j.contrast.reported is not None]
    if not told:
        return clearest(judged)
    return max(told, key=lambda j: j.contrast.sign * (j.contrast.reported or 0.0))


def _in_words(most: Judged, verdict: Verdict) -> str:
    contrast, interval = most.contrast, most.interval
    if math.isnan(interval.mean):
        return f"{contrast.text}: no seed has a value"
    paper = "" if verdict.simulated else amount(contrast.reported, contrast.unit)
    points = contrast.unit == "points"
    ours = in_words(interval) if points else amount(interval.mean, contrast.unit)
    return f"{contrast.text}: {f'paper {paper}, ' if paper else ''}ours {ours}"


def counts(found: Sequence[Verdict], about: str) -> str:
    """Return how many claims have each word, a line each, and what would decide those that lack it.

    Parameters
    ----------
    about
        Which data, to head the lines.
    """
    lines = [f"{about}, {len(found)} claims:", ""]
    for word, number in tally(found).items():
        of_word = [v for v in found if v.word == word]
        pilots = sum(v.pilot for v in of_word)
        few = f" ({pilots} from fewer than five seeds, a pilot)" if pilots else ""
        lines.append(
            f"- {SIGNS[word]} **{number} {_verb(word, number)}**{few}{_more(word, of_word)}"
        )
    return "\n".join(lines) + "\n"


def _verb(word: str, number: int) -> str:
    plural = {"holds": "hold", "holds in part": "hold in part", "does not hold": "do not hold"}
    singular_be = {OPEN, CONSTRUCTED, UNTESTED}
    if word in singular_be:
        return f"{'is' if number == 1 else 'are'} {word}"
    return word if number == 1 else plural[word]


def _more(word: str, found: Sequence[Verdict]) -> str:
    """Return what is missing to decide the claims of a word, or nothing."""
    if word == OPEN:
        numbers = sorted(v.lacks for v in found if v.lacks is not None)
        told = []
        if len(numbers) == 1:
            told.append(f"about {numbers[0]:,} seeds")
        elif len(numbers) == 2:
            told.append(f"about {numbers[0]:,} and {numbers[1]:,} seeds")
        elif numbers:
            half = numbers[(len(numbers) - 1) // 2]
            told.append(
                f"about {numbers[0]:,} to {numbers[-1]:,} seeds each, {half:,} in the median"
            )
        if never := len(found) - len(numbers):
            told.append(f"no number of seeds alone ({never})")
        return f"; what would decide: {'; '.join(told)}"
    if word == UNTESTED:
        failed = sum(bool(v.judged) for v in found)
        not_run = len(found) - failed
        told = [f"{not_run} {'was' if not_run == 1 else 'were'} not run"] if not_run else []
        told += [f"of {failed} a check of the set-up failed or is missing"] if failed else []
        return f": {', '.join(told)}"
    notes = [v.note for v in found if v.note]
    return f": {', '.join(f'{notes.count(n)} {n}' for n in dict.fromkeys(notes))}" if notes else ""


def _cell(verdict: Verdict) -> str:
    """Return sign and word; of what is undecided also how many seeds would decide it."""
    told = f"{SIGNS[verdict.word]} {verdict.words}"
    if verdict.missing:
        judged = len(verdict.judged)
        told += f" ({judged} of its {judged + len(verdict.missing)} contrasts were run)"
    if verdict.uncontrolled:
        told += f" ({UNCONTROLLED})"
    if verdict.word == OPEN and verdict.lacks is not None:
        told += f": about {verdict.lacks:,} seeds would decide, {verdict.seeds} are there"
    return told


def at_a_glance_markdown(
    profile: str = "desk",
    simulated: str = "toy",
    runs: Runs | None = None,
    *,
    notebooks: str = "notebooks",
) -> str:
    """Return the verdicts as Markdown: how many have which word, then a table of all claims.

    Parameters
    ----------
    profile
        Whose records on real data are judged.
    simulated
        The profile whose records on simulated data stand beside.
    runs
        Where runs of this machine are looked for first.
    notebooks
        The folder of the chapters, as seen from where the table will stand.
    """
    chosen, toy = load_profile(profile), load_profile(simulated)
    found = verdicts(profile, runs)
    beside = {v.claim.name: v for v in verdicts(simulated, runs)}
    lines = [
        counts(found, f"**Real data** (profile `{profile}`)"),
        counts(list(beside.values()), f"**Simulated data** (profile `{simulated}`)"),
        "| Claim | Real data | Simulated data | One of the contrasts (in percentage points) |",
        "| --- | --- | --- | --- |",
    ]
    for paper, heading in PARTS.items():
        lines.append(f"| **{heading}** | {_data(chosen, paper)} | {_data(toy, paper)} | |")
        lines += [_row(v, beside[v.claim.name], notebooks) for v in found if v.claim.paper == paper]
    lines += [
        "",
        "Differences have 95 % paired intervals over seeds, for WIN on Adult after Nadeau and "
        "Bengio, since its seeds split the same people. *Undecided* is neither for nor "
        "against. *Does not hold* takes evidence: an effect the other way (*contradicted*), or one "
        "below its margin, half of what is reported or one point (*smaller than claimed*; not "
        "where the interval holds what is reported). Of a *mixed* verdict a contrast of either "
        "side is shown. *The positive control was not passed*: a setting that is to be fairer by "
        "its making could not be told from plain fine-tuning, either. "
        "Simulated data are a controlled experiment with the methods, no evidence about "
        "photographs or people. Every contrast, its margin, where it comes from, and how often the "
        "rule errs: "
        f"[Verdicts]({notebooks}/90_verdicts.ipynb).",
    ]
    return "\n".join(lines) + "\n"


def _row(real: Verdict, toy: Verdict, notebooks: str) -> str:
    told = real if real.judged else toy
    chapter = f"[{real.claim.where}]({notebooks}/{real.claim.notebook}.ipynb)"
    shown = f"{'real' if told is real else 'simulated'}: {headline(told)}"
    stated = told if told.judged else real
    cells = (f"{chapter}: {stated.statement}", _cell(real), _cell(toy), shown)
    return f"| {' | '.join(map(_in_a_row, cells))} |"


def _in_a_row(text: str) -> str:
    """Return a text in which a bar, as in "Smiling | Male", does not end the cell."""
    return text.replace("|", "\\|")


def _data(profile: Profile, paper: Paper) -> str:
    """Say on which data a profile runs a part of the study, or that it does not."""
    if paper == "win-faces" and profile.win.faces is None:
        return "not run"
    seeds = profile.seeds_of(paper)
    label = profile.data_label(paper)
    return _in_a_row(f"{label}, {len(seeds)} seed{'s' if len(seeds) > 1 else ''}")
