"""Whether a prompt may be used: it shows its group, does not contradict itself, and adds variety.

A reason to reject a prompt is a sentence, so that it can be sent back to a language model.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from repro.aimfair.prompt_form import (
    ANCESTRIES,
    KINDS,
    VARIED,
    Group,
    Parts,
    Task,
    check_facets,
    put_together,
    take_apart,
    tidy,
    words,
)
from repro.aimfair.prompt_words import HEAD_POSE, claims, contradictions, facet_of
from repro.data.captions import PHRASES_OF, joined

LEAST, MOST = 2, 6
"""How many phrases the context of a prompt has; one is enough where one facet is asked for."""
NEAREST = 0.85
"""Prompts whose words have a Jaccard index of at least this are near duplicates."""
SHARE = 0.25
"""A facet that is asked for is in at least this share of a set's prompts, rounded down; a head pose
follows its own rule, and prompts with an age name what their form says."""


def check_prompt(
    prompt: str,
    task: Task,
    group: Group,
    *,
    kind: str = KINDS[2],
    facets: Collection[str] = VARIED,
) -> list[str]:
    """Return why a prompt cannot be used for a group, or an empty list where it can.

    Which facets the features belong to is free: the authors often name two of one kind. Nothing may
    contradict the group or the rest; Smiling needs one head pose where poses are asked for, last.

    Parameters
    ----------
    prompt
        As :func:`repro.aimfair.prompt_form.tidy` returns it.
    task, group
        Whom the prompt shows.
    kind, facets
        As in :func:`repro.aimfair.prompt_form.check_facets`.

    Returns
    -------
    list of str
        One sentence for each thing that is wrong.

    Raises
    ------
    UnknownNameError, ValueError
        For a group, kind or facet that does not exist; never for what the prompt says.
    """
    asked = check_facets(kind, facets)
    subject = _example(task, group) if asked else task.plain(group)
    parts = take_apart(prompt)
    if parts is None or prompt != tidy(prompt) or parts.start != task.start:
        context = ["feature", "feature", "head pose"][: 3 if HEAD_POSE in asked else 2]
        form = put_together(subject, context if asked else (), start=task.start)
        return [f"not of the form {form!r}"]
    reasons = []
    if not (task.says(parts.subject, group) if asked else parts.subject == subject):
        reasons.append(f"shows {parts.subject!r}, not {subject!r}")
    elif not prompt.startswith(put_together(parts.subject, start=task.start)[:-1]):
        reasons.append(f"the article before {parts.subject!r} is not {parts.article!r}")
    return reasons + _wrong_context(parts, task, group, asked)


def _example(task: Task, group: Group) -> str:
    return task.contextual(group, age="27", ancestry=ANCESTRIES[0])


def _wrong_context(parts: Parts, task: Task, group: Group, asked: Sequence[str]) -> list[str]:
    """Return what is wrong with the phrases after "with"."""
    context = parts.context
    if not asked:
        return [f"a plain prompt has no context, not {joined(context)!r}"] if context else []
    reasons = []
    fewest = min(LEAST, len(asked))
    if not fewest <= len(context) <= MOST:
        reasons.append(f"has {len(context)} phrases after 'with', not {fewest} to {MOST}")
    known = task.attributes(group)
    if task.ancestral:
        known = claims(parts.subject) | known  # an age is young or not
    said = dict.fromkeys(known, "")
    for phrase in context:
        for attribute, value in claims(phrase).items():
            if value == -1:
                reasons.append(f"{phrase!r} contradicts itself")
            elif known.setdefault(attribute, value) != value:
                other = said[attribute]
                shown = PHRASES_OF[attribute][known[attribute]][0]
                against = f"contradicts {other!r}" if other else f"is not said of a {shown} face"
                reasons.append(f"{phrase!r} {against}")
            else:
                said.setdefault(attribute, phrase)
    reasons += contradictions(context)
    of = [facet_of(phrase) for phrase in context]
    poses = of.count(HEAD_POSE)
    if poses and (HEAD_POSE not in asked or task.ancestral):
        reasons.append(f"has a head pose, {context[of.index(HEAD_POSE)]!r}; none is asked for")
    elif HEAD_POSE in asked and task.posed and poses != 1:
        reasons.append(f"has {poses or 'no'} head pose{'s' * (poses > 1)}, not exactly one")
    elif HEAD_POSE in asked and task.posed and of[-1] != HEAD_POSE:
        reasons.append("the head pose is not the last phrase")
    return reasons


@dataclass(frozen=True)
class Rejection:
    """A prompt that cannot be used, and why."""

    prompt: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Checked:
    """What :func:`check_prompts` made of a list of prompts, both in the order of the list."""

    accepted: tuple[str, ...]
    rejected: tuple[Rejection, ...]


def similarity(first: Collection[str], second: Collection[str]) -> float:
    """Return the Jaccard index of two sets of words, in [0, 1]; 1 for two empty ones."""
    a, b = frozenset(first), frozenset(second)
    return len(a & b) / len(a | b) if a | b else 1.0


def check_prompts(
    prompts: Iterable[str],
    task: Task,
    group: Group,
    *,
    kind: str = KINDS[2],
    facets: Collection[str] = VARIED,
    n: int | None = None,
    nearest: float = NEAREST,
) -> Checked:
    """Choose the usable prompts of a list, one after the other, until there are n.

    Parameters
    ----------
    prompts
        As they were written; they are tidied first.
    task, group, kind, facets
        As in :func:`check_prompt`.
    n
        Size of the set. Each facet is to be in a quarter of it (`SHARE`): a prompt for which
        too few places would be left is rejected. None: no size, so no such rule.
    nearest
        In (0, 1]; see `NEAREST`.

    Returns
    -------
    Checked
        What comes after the n-th usable prompt is in neither list.

    Raises
    ------
    ValueError
        If ``nearest`` or n is out of range, and as in :func:`check_prompt`.
    """
    if not 0 < nearest <= 1:
        raise ValueError(f"nearest must lie in (0, 1], not {nearest}: 1 rejects equal prompts only")
    if n is not None and n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    asked = check_facets(kind, facets)
    # Where the form says what is named, nothing is left to vary.
    free = [] if task.ancestral else [facet for facet in asked if facet != HEAD_POSE]
    least = dict.fromkeys(free, int(n * SHARE) if n else 0)
    accepted: dict[str, frozenset[str]] = {}
    rejected = []
    for prompt in map(tidy, prompts):
        if len(accepted) == n:
            break
        reasons = check_prompt(prompt, task, group, kind=kind, facets=facets)
        mine = frozenset(words(prompt))
        twin = next((p for p, w in accepted.items() if similarity(mine, w) >= nearest), None)
        if twin is not None:
            reasons.append(f"nearly the same as {twin!r}" if twin != prompt else "written before")
        parts = take_apart(prompt)
        of = {facet_of(phrase) for phrase in parts.context} if parts else set()
        after = {facet: count - (facet in of) for facet, count in least.items()}
        if n and (short := [f for f in free if after[f] > n - len(accepted) - 1]):
            reasons.append(f"the places that are left are for prompts that vary {joined(short)}")
        if reasons:
            rejected.append(Rejection(prompt, tuple(reasons)))
        else:
            accepted[prompt], least = mine, after
    return Checked(tuple(accepted), tuple(rejected))
