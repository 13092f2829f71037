"""Prompts for the four groups: the instruction to a language model, and a writer that needs none.

The writer is a grammar, not a language model, and is what the study uses where no endpoint is set.
It draws each facet's phrases from a low-discrepancy sequence: with x_f a shift by the seed and a_f
the square root of the f-th prime, prompt i has the phrase at the place floor(m_f u_if) of its
facet's m_f phrases, u_if = (x_f + i a_f) mod 1. Every phrase, and every pair of phrases, then
appears about equally often, in every stretch of the sequence.

Source: Zhao et al. (2025), arXiv 2503.05665, section 3.1 and Table 5, for the instruction.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterator, Sequence
from itertools import product

from repro.aimfair.prompt_checks import (
    NEAREST,
    Checked,
    Rejection,
    check_prompt,
    check_prompts,
    similarity,
)
from repro.aimfair.prompt_form import (
    GROUPS,
    KINDS,
    VARIED,
    Group,
    Task,
    attribute_of,
    check_facets,
    put_together,
    words,
)
from repro.aimfair.prompt_lexicon import VOCABULARIES
from repro.aimfair.prompt_words import HEAD_POSE, claims
from repro.data.captions import FACETS, Phrase, joined
from repro.names import check_name

__all__ = [
    "GROUPS",
    "KINDS",
    "OFFLINE",
    "VARIED",
    "VOCABULARIES",
    "Checked",
    "Group",
    "Rejection",
    "Task",
    "VocabularyError",
    "check_prompt",
    "check_prompts",
    "instruction",
    "write_offline",
]

OFFLINE = "offline grammar (not an LLM)"
"""What a bank calls the offline writer where another names its model."""

_DRAWS = 20_000  # of the sequence; a constant, so that a smaller set is the start of a larger one
_LISTED = 50_000  # combinations that are tried one by one where the sequence did not give enough
_PRIMES = (2, 3, 5, 7, 11, 13)


class VocabularyError(ValueError):
    """A vocabulary cannot give the prompts asked for; the message says what it can."""


def instruction(
    task: Task,
    group: Group,
    n: int,
    *,
    kind: str = KINDS[2],
    facets: Collection[str] = VARIED,
) -> str:
    """Return what a language model is asked: n prompts for one group.

    Parameters
    ----------
    task, group
        Whom the prompts show.
    n
        How many, at least 1.
    kind, facets
        As in :func:`repro.aimfair.prompt_form.check_facets`.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    asked = check_facets(kind, facets)
    subject = task.subjects(group)[0]
    others = [" ".join(task.subjects(other)[0]) for other in GROUPS if other != tuple(group)]
    slots = ["{feature}", "{feature}"] + (["{head pose}"] if HEAD_POSE in asked else ["{feature}"])
    lines = [
        f"Write {n} {'different prompts' if n > 1 else 'prompt'} for a text-to-image model, for "
        "photos that train a face classifier.",
        f"The classifier predicts {task.target} and must be fair with respect to {task.protected}.",
        f"All these prompts show one group: {' '.join(subject)!r}.",
        f'Every prompt has exactly this form: "{put_together(subject, slots if asked else ())}".',
        "Begin with these words as they stand; use no other words for who is shown.",
    ]
    if asked:
        features = [facet for facet in asked if facet != HEAD_POSE]
        lines.append(f"Each {{feature}} is a short noun phrase. Vary: {joined(features)}.")
        if HEAD_POSE in asked:
            lines.append("End each with exactly one head pose, and vary it.")
        else:
            lines.append("Mention no head pose.")
        lines += [
            "Use each kind of context about equally often, and no two prompts that differ in "
            "only a word or two.",
            f"Nothing in a prompt may suggest another group ({joined([repr(o) for o in others])}) "
            "or contradict the rest of the prompt.",
        ]
    else:
        lines.append("Add nothing else.")
    lines.append('Answer with JSON only: {"prompts": ["...", "..."]}.')
    return "\n".join(lines)


def write_offline(
    task: Task,
    group: Group,
    n: int,
    *,
    seed: int = 0,
    vocabulary: str | Sequence[Phrase] = "stable-diffusion",
    kind: str = KINDS[2],
    facets: Collection[str] = VARIED,
    nearest: float = NEAREST,
) -> list[str]:
    """Write n prompts for a group with a grammar: no language model, no network, no chance.

    Parameters
    ----------
    task, group
        Whom the prompts show.
    n
        How many; 1 for the plain kind.
    seed
        Shifts the sequences. It is the same for all groups, so that groups which the same phrases
        fit get the same contexts, and context tells nothing about the group.
    vocabulary
        A key of `VOCABULARIES`, or phrases.
    kind, facets
        As in :func:`repro.aimfair.prompt_form.check_facets`; a prompt has one phrase of each facet.
    nearest
        As in :func:`check_prompts`.

    Returns
    -------
    list of str
        n different prompts that :func:`check_prompts` accepts, the same on every machine. A smaller
        set is the start of a larger one, and the set with head poses is the set without, each with
        a pose added (where the vocabulary has poses), so that their effects can be told apart.

    Raises
    ------
    VocabularyError
        If a facet has no phrase that fits the group, or the vocabulary cannot give n different
        prompts; the message says how many it gives.
    UnknownNameError, ValueError
        For a name, group, or number that does not exist.
    """
    asked = check_facets(kind, facets)
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    name = vocabulary if isinstance(vocabulary, str) else "given"
    if isinstance(vocabulary, str):
        vocabulary = VOCABULARIES[check_name("vocabulary", vocabulary, VOCABULARIES)]
    if not asked:
        if n > 1:
            raise ValueError(f"there is one plain prompt for each group, not {n}")
        return [put_together(task.subjects(group)[0])]
    chosen = {facet: _fitting(vocabulary, facet, task, group) for facet in FACETS}
    if empty := [facet for facet in asked if not chosen[facet]]:
        has = [facet for facet in FACETS if chosen[facet]]
        raise VocabularyError(
            f"vocabulary {name!r} has no phrase of {joined(empty)} for group {group} of {task}; "
            f"it has {has}. Ask for the kind {KINDS[1]!r}, for those facets, or use vocabulary "
            "'stable-diffusion'"
        )
    written = _Writer(task, group, chosen, asked, nearest).write(n, seed)
    if len(written) < n:
        raise VocabularyError(
            f"vocabulary {name!r} gives {len(written)} distinct {kind} prompts for group {group} "
            f"of {task}, not {n}; ask for at most {len(written)}, vary more facets, or use a "
            f"larger vocabulary (prompts are distinct below a similarity of {nearest})"
        )
    return written


def _known(phrase: Phrase) -> dict[str, int] | None:
    """Return what a phrase needs or says of a person, or None where that is a contradiction."""
    needs = dict(attribute_of(name, value) for name, value in phrase.only.items())
    return _merged(needs, claims(phrase.text))


def _merged(first: dict[str, int] | None, second: dict[str, int] | None) -> dict[str, int] | None:
    if first is None or second is None or any(first.get(k, v) != v for k, v in second.items()):
        return None
    return {**first, **second}


def _fitting(vocabulary: Sequence[Phrase], facet: str, task: Task, group: Group) -> list[Phrase]:
    """Return the phrases of a facet that can be said of a group."""
    person = task.attributes(group)
    return [
        phrase
        for phrase in vocabulary
        if phrase.facet == facet and _merged(person, _known(phrase)) is not None
    ]


def _places(facet: str, count: int, seed: int) -> Iterator[int]:
    """Yield places 0..count-1 by the module's sequence, in whole numbers, so exactly anywhere."""
    one = 1 << 64
    shift = int.from_bytes(hashlib.sha256(f"{seed}|{facet}".encode()).digest()[:8], "big")
    step = math.isqrt(_PRIMES[FACETS.index(facet)] << 128) % one
    while True:
        yield shift * count // one
        shift = (shift + step) % one


class _Writer:
    """Chooses phrases for one group; a prompt is tried with a pose and without, if there are any.

    Parameters
    ----------
    chosen
        facet -> phrases that fit the group.
    """

    def __init__(
        self,
        task: Task,
        group: Group,
        chosen: dict[str, list[Phrase]],
        asked: Sequence[str],
        nearest: float,
    ) -> None:
        self.task, self.group, self.chosen, self.nearest = task, group, chosen, nearest
        self.subject = task.subjects(group)[0]
        self.features = [facet for facet in asked if facet != HEAD_POSE]
        self.posed = HEAD_POSE in asked
        self.kept: list[tuple[str, frozenset[str], frozenset[str]]] = []

    def write(self, n: int, seed: int) -> list[str]:
        """Return up to n prompts, fewer where the vocabulary has no more."""
        lists = [self.chosen[facet] for facet in self.features]
        places = [
            _places(facet, len(phrases), seed)
            for facet, phrases in zip(self.features, lists, strict=True)
        ]
        poses = self.chosen[HEAD_POSE]
        pose_at = _places(HEAD_POSE, max(1, len(poses)), seed)
        tried: set[tuple[int, ...]] = set()
        drawn = (tuple(next(place) for place in places) for _ in range(_DRAWS))
        if math.prod(map(len, lists)) <= _LISTED:
            drawn = (at for part in (drawn, product(*map(range, map(len, lists)))) for at in part)
        pose = next(pose_at)
        for at in drawn:
            if len(self.kept) == n or len(tried) == math.prod(map(len, lists)):
                break
            if at in tried:
                continue
            tried.add(at)
            phrases = [options[i] for options, i in zip(lists, at, strict=True)]
            # The pose moves on with the prompts that are kept, so that poses stay even.
            if self._keep(phrases, poses[pose] if poses else None):
                pose = next(pose_at)
        return [prompt for prompt, *_ in self.kept]

    def _keep(self, phrases: list[Phrase], pose: Phrase | None) -> bool:
        """Keep a prompt if it can be used both with its pose and without."""
        said = [*phrases, pose] if pose else phrases
        person: dict[str, int] | None = {}
        for phrase in said:
            person = _merged(person, _known(phrase))
        if person is None or len({phrase.slot for phrase in said}) < len(said):
            return False
        without = put_together(self.subject, [phrase.text for phrase in phrases])
        whole = put_together(self.subject, [phrase.text for phrase in said])
        bare, full = frozenset(words(without)), frozenset(words(whole))
        for _, bare_before, full_before in self.kept:
            if similarity(bare, bare_before) >= self.nearest:
                return False
            if similarity(full, full_before) >= self.nearest:
                return False
        for prompt, kind in ((without, KINDS[1]), (whole, KINDS[2] if pose else KINDS[1])):
            facets = self.features
            if check_prompt(prompt, self.task, self.group, kind=kind, facets=facets):
                return False
        self.kept.append((whole if self.posed else without, bare, full))
        return True
