"""Whether a prompt may be used: it shows its group, does not contradict itself, and adds variety.

A reason to reject a prompt is a sentence, so that it can be sent back to a language model.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from repro.aimfair.mask import jaccard
from repro.aimfair.prompt_form import (
    ANCESTRIES,
    PLAIN,
    POSED,
    VARIED,
    Group,
    Parts,
    Task,
    check_kind,
    put_together,
    take_apart,
    tidy,
    words,
)
from repro.aimfair.prompt_words import HEAD_POSE, claims, contradictions, facet_of
from repro.data.captions import PHRASES_OF, joined

LEAST, MOST = 2, 6
"""How many phrases the context of a prompt has."""
NEAREST = 0.85
"""Prompts whose words have a Jaccard index of at least this are near duplicates."""
SHARE = 0.25
"""Each facet of `VARIED` is in at least this share of a set's prompts, rounded down; prompts with
an age name what their form says."""


def check_prompt(prompt: str, task: Task, group: Group, *, kind: str = POSED) -> list[str]:
    """Return why a prompt cannot be used for a group, or an empty list where it can.

    Which facets the features belong to is free: the authors often name two of one kind. Nothing may
    contradict the group or the rest; Smiling needs one head pose where poses are asked for, last.

    Parameters
    ----------
    prompt
        As :func:`repro.aimfair.prompt_form.tidy` returns it.
    task, group
        Whom the prompt shows.
    kind
        One of `repro.aimfair.prompt_form.KINDS`.

    Returns
    -------
    list of str
        One sentence for each thing that is wrong.

    Raises
    ------
    UnknownNameError, ValueError
        For a group or kind that does not exist; never for what the prompt says.
    """
    plain = check_kind(kind) == PLAIN
    example = task.contextual(group, age="27", ancestry=ANCESTRIES[0])
    subject = task.plain(group) if plain else example
    parts = take_apart(prompt)
    if parts is None or prompt != tidy(prompt) or parts.start != task.start:
        context = [] if plain else ["feature", "feature", *filter(None, [task.poses(kind)])]
        return [f"not of the form {put_together(subject, context, start=task.start)!r}"]
    reasons = []
    if not (parts.subject == subject if plain else task.says(parts.subject, group)):
        reasons.append(f"shows {parts.subject!r}, not {subject!r}")
    elif not prompt.startswith(put_together(parts.subject, start=task.start)[:-1]):
        reasons.append(f"the article before {parts.subject!r} is not {parts.article!r}")
    if not plain:
        return reasons + _wrong_context(parts, task, group, task.poses(kind))
    if parts.context:
        reasons.append(f"a plain prompt has no context, not {joined(parts.context)!r}")
    return reasons


def _wrong_context(parts: Parts, task: Task, group: Group, last: str) -> list[str]:
    """Return what is wrong with the phrases after "with", the last of which is a pose, say."""
    context, reasons = parts.context, []
    if not LEAST <= len(context) <= MOST:
        reasons.append(f"has {len(context)} phrases after 'with', not {LEAST} to {MOST}")
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
    if poses and not last:
        reasons.append(f"has a head pose, {context[of.index(HEAD_POSE)]!r}; none is asked for")
    elif last == HEAD_POSE and poses != 1:
        reasons.append(f"has {poses or 'no'} head pose{'s' * (poses > 1)}, not exactly one")
    elif last == HEAD_POSE and of[-1] != HEAD_POSE:
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


def check_prompts(
    prompts: Iterable[str], task: Task, group: Group, n: int, *, kind: str = POSED
) -> Checked:
    """Choose the usable prompts of a list, one after the other, until there are n.

    Each facet is to be in a quarter of them (`SHARE`): a prompt after which too few places would
    be left for that is rejected.

    Parameters
    ----------
    prompts
        As they were written; they are tidied first.
    task, group, kind
        As in :func:`check_prompt`.
    n
        Size of the set.

    Returns
    -------
    Checked
        What comes after the n-th usable prompt is in neither list.
    """
    # Where the form says what is named, nothing is left to vary.
    free = [] if task.ancestral or kind == PLAIN else VARIED
    least = dict.fromkeys(free, int(n * SHARE))
    accepted: dict[str, frozenset[str]] = {}
    rejected = []
    for prompt in map(tidy, prompts):
        if len(accepted) == n:
            break
        reasons = check_prompt(prompt, task, group, kind=kind)
        mine = frozenset(words(prompt))
        twin = next((p for p, w in accepted.items() if jaccard(mine, w) >= NEAREST), None)
        if twin is not None:
            reasons.append(f"nearly the same as {twin!r}" if twin != prompt else "written before")
        parts = take_apart(prompt)
        of = {facet_of(phrase) for phrase in parts.context} if parts else set()
        after = {facet: count - (facet in of) for facet, count in least.items()}
        if short := [facet for facet in free if after[facet] > n - len(accepted) - 1]:
            reasons.append(f"the places that are left are for prompts that vary {joined(short)}")
        if reasons:
            rejected.append(Rejection(prompt, tuple(reasons)))
        else:
            accepted[prompt], least = mine, after
    return Checked(tuple(accepted), tuple(rejected))
