"""The offline writer: a grammar with no language model, no network and no chance in it.

Everything comes from low-discrepancy sequences: with x a shift by the seed and a the square root of
a prime of its own, the i-th choice among m is the one at the place floor(m u_i), u_i = (x + i a)
mod 1. So are chosen the facets of A and B, each among all, and each facet's phrases: every phrase
of a facet then appears about equally often, in every stretch of the sequence.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from repro.aimfair.mask import jaccard
from repro.aimfair.prompt_checks import NEAREST, check_prompt
from repro.aimfair.prompt_form import (
    AGES,
    ANCESTRIES,
    CONTEXTUAL,
    PLAIN,
    POSED,
    VARIED,
    Group,
    Task,
    attribute_of,
    check_kind,
    put_together,
    words,
)
from repro.aimfair.prompt_lexicon import EXPRESSION, VOCABULARIES
from repro.aimfair.prompt_words import HEAD_POSE, claims
from repro.data.captions import FACETS, Phrase, joined
from repro.names import check_name

Choice = Mapping[str, Sequence[Phrase]]
"""Facet -> phrases, of which A or B is one."""

_DRAWS = 20_000  # of the sequence; a constant, so that a smaller set is the start of a larger one
_LISTED = 50_000  # combinations that are tried one by one where the sequence did not give enough
_PRIMES = dict(
    zip((*FACETS, "A", "B", "age", "ancestry"), (2, 3, 5, 7, 11, 13, 17, 19, 23, 29), strict=True)
)


class VocabularyError(ValueError):
    """A vocabulary cannot give the prompts asked for; the message says what it can."""


def write_offline(
    task: Task,
    group: Group,
    n: int,
    *,
    seed: int = 0,
    vocabulary: str = "stable-diffusion",
    kind: str = POSED,
) -> list[str]:
    """Write n prompts for a group.

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
        A key of `repro.aimfair.prompt_lexicon.VOCABULARIES`.
    kind
        One of `repro.aimfair.prompt_form.KINDS`.

    Returns
    -------
    list of str
        n different prompts that :func:`repro.aimfair.prompt_checks.check_prompts` accepts, the same
        on every machine. A smaller set is the start of a larger one, and the set with head poses is
        the set without, each with a pose added (where the vocabulary has poses), so that their
        effects can be told apart. Of a task with ages, both are the same.

    Raises
    ------
    VocabularyError
        If a facet has no phrase that fits the group, or the vocabulary cannot give n different
        prompts; the message says how many it gives.
    UnknownNameError, ValueError
        For a name, group, or number that does not exist.
    """
    check_kind(kind)
    known = VOCABULARIES[check_name("vocabulary", vocabulary, VOCABULARIES)]
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    if kind == PLAIN:
        if n > 1:
            raise ValueError(f"there is one plain prompt for each group, not {n}")
        return [put_together(task.plain(group), start=task.start)]
    chosen = {facet: _fitting(known, facet, task, group) for facet in FACETS}
    expressions = _fitting(known, EXPRESSION, task, group)
    if task.poses(POSED) != HEAD_POSE:
        chosen[HEAD_POSE] += expressions
    last = task.poses(kind)
    if empty := [x for x in (*VARIED, *[HEAD_POSE] * bool(last)) if not chosen[x]]:
        has = [facet for facet in FACETS if chosen[facet]]
        raise VocabularyError(
            f"vocabulary {vocabulary!r} has no phrase of {joined(empty)} for group {group} of "
            f"{task}; it has {has}. Ask for the kind {CONTEXTUAL!r}, or use vocabulary "
            "'stable-diffusion'"
        )
    features = {facet: chosen[facet] for facet in VARIED}
    first, second = features, features
    if task.ancestral:  # EXPRESSION and HAIR, where there are any expressions
        first = {EXPRESSION: expressions} if expressions else features
        second = {"hair": chosen["hair"]}
    poses = [] if task.ancestral else chosen[HEAD_POSE]
    written = _Writer(task, group, seed, poses).write(n, first, second, posed=bool(last))
    if len(written) < n:
        raise VocabularyError(
            f"vocabulary {vocabulary!r} gives {len(written)} distinct {kind} prompts for group "
            f"{group} of {task}, not {n}; ask for at most {len(written)}, or use a larger "
            f"vocabulary (prompts are distinct below a similarity of {NEAREST})"
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
    """Return the phrases of a facet, or all expressions, that can be said of a group."""
    person = task.attributes(group)
    return [
        phrase
        for phrase in vocabulary
        if facet == (EXPRESSION if phrase.slot == EXPRESSION else phrase.facet)
        # Where an ancestry is named, no phrase names another.
        and not (task.ancestral and phrase.slot == "ancestry")
        and _merged(person, _known(phrase)) is not None
    ]


def _places(name: str, count: int, seed: int) -> Iterator[int]:
    """Yield places 0..count-1 by the module's sequence, in whole numbers, so exactly anywhere."""
    one = 1 << 64
    shift = int.from_bytes(hashlib.sha256(f"{seed}|{name}".encode()).digest()[:8], "big")
    step = math.isqrt(_PRIMES[name] << 128) % one
    while True:
        yield shift * max(1, count) // one
        shift = (shift + step) % one


class _Writer:
    """Chooses phrases for one group; ``poses`` may come last: head poses, or expressions too."""

    def __init__(self, task: Task, group: Group, seed: int, poses: Sequence[Phrase]) -> None:
        self.task, self.group, self.seed, self.poses = task, group, seed, poses
        # Prompts without and with a pose, and the words of both.
        self.kept: list[tuple[str, str, frozenset[str], frozenset[str]]] = []

    def write(self, n: int, first: Choice, second: Choice, *, posed: bool) -> list[str]:
        """Return up to n prompts, fewer where there are no more."""
        pose, age = self._at(HEAD_POSE, self.poses), self._at("age", AGES)
        ancestry = self._at("ancestry", ANCESTRIES)
        last, subject = next(pose), self._subject(next(age), next(ancestry))
        tried: set[frozenset[str]] = set()
        for phrases in self._pairs(first, second):
            said = frozenset(phrase.text for phrase in phrases)
            if len(self.kept) == n:
                break
            if said in tried:
                continue
            tried.add(said)
            # These move on with the prompts that are kept, so that they stay even.
            if self._keep(subject, phrases, self.poses[last] if self.poses else None):
                last, subject = next(pose), self._subject(next(age), next(ancestry))
        return [full if posed else bare for bare, full, *_ in self.kept]

    def _at(self, name: str, among: Sequence[object]) -> Iterator[int]:
        return _places(name, len(among), self.seed)

    def _subject(self, age: int, ancestry: int) -> str:
        return self.task.contextual(self.group, age=str(AGES[age]), ancestry=ANCESTRIES[ancestry])

    def _pairs(self, first: Choice, second: Choice) -> Iterator[list[Phrase]]:
        """Yield A and B, in the order of the facets."""
        kinds = [list(first), list(second)]
        chosen = [self._at(name, kind) for name, kind in zip("AB", kinds, strict=True)]
        phrases = {**first, **second}
        # An expression is a facial feature; no form asks for both.
        place = {
            kind: self._at(FACETS[0] if kind == EXPRESSION else kind, of)
            for kind, of in phrases.items()
        }
        drawn = (
            [phrases[kind][next(place[kind])] for kind in (a[next(x)], b[next(y)])]
            for (a, b), (x, y) in ((kinds, chosen) for _ in range(_DRAWS))
        )
        every = [[phrase for of in part.values() for phrase in of] for part in (first, second)]
        listed = product(*every) if math.prod(map(len, every)) <= _LISTED else ()
        for part in (drawn, listed):
            for pair in part:
                if pair[0].slot != pair[1].slot:
                    yield sorted(pair, key=lambda phrase: FACETS.index(phrase.facet))

    def _keep(self, subject: str, phrases: list[Phrase], pose: Phrase | None) -> bool:
        """Keep a prompt if it can be used both with its pose and without."""
        said = [*phrases, pose] if pose else phrases
        person: dict[str, int] | None = {}
        for phrase in said:
            person = _merged(person, _known(phrase))
        if person is None:
            return False
        bare, full = (
            put_together(subject, [phrase.text for phrase in of], start=self.task.start)
            for of in (phrases, said)
        )
        mine = frozenset(words(bare)), frozenset(words(full))
        for _, _, *before in self.kept:
            if any(jaccard(a, b) >= NEAREST for a, b in zip(mine, before, strict=True)):
                return False
        for prompt, kind in ((bare, CONTEXTUAL), (full, POSED if pose else CONTEXTUAL)):
            if check_prompt(prompt, self.task, self.group, kind=kind):
                return False
        self.kept.append((bare, full, *mine))
        return True
