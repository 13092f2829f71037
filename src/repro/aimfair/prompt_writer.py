"""How the offline writer chooses: a grammar with no chance in it.

Everything comes from low-discrepancy sequences: with x a shift by the seed and a the square root of
a prime of its own, the i-th choice among m is the one at the place floor(m u_i), u_i = (x + i a)
mod 1. So are chosen the facets of A and B, each among all that are asked for, and each facet's
phrases: every phrase of a facet then appears about equally often, in every stretch of the sequence.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from repro.aimfair.prompt_checks import check_prompt, similarity
from repro.aimfair.prompt_form import (
    AGES,
    ANCESTRIES,
    KINDS,
    Group,
    Task,
    attribute_of,
    put_together,
    words,
)
from repro.aimfair.prompt_lexicon import EXPRESSION
from repro.aimfair.prompt_words import HEAD_POSE, claims
from repro.data.captions import FACETS, Phrase

_DRAWS = 20_000  # of the sequence; a constant, so that a smaller set is the start of a larger one
_LISTED = 50_000  # combinations that are tried one by one where the sequence did not give enough
_PRIMES = dict(
    zip((*FACETS, "A", "B", "age", "ancestry"), (2, 3, 5, 7, 11, 13, 17, 19, 23, 29), strict=True)
)


def _known(phrase: Phrase) -> dict[str, int] | None:
    """Return what a phrase needs or says of a person, or None where that is a contradiction."""
    needs = dict(attribute_of(name, value) for name, value in phrase.only.items())
    return _merged(needs, claims(phrase.text))


def _merged(first: dict[str, int] | None, second: dict[str, int] | None) -> dict[str, int] | None:
    if first is None or second is None or any(first.get(k, v) != v for k, v in second.items()):
        return None
    return {**first, **second}


def fitting(vocabulary: Sequence[Phrase], facet: str, task: Task, group: Group) -> list[Phrase]:
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
        yield shift * count // one
        shift = (shift + step) % one


class Writer:
    """Chooses phrases for one group; a prompt is tried with a pose and without, if there are any.

    Parameters
    ----------
    first, second
        Kind -> phrases that fit the group, for A and for B.
    poses
        What may come last: none, or any head pose, or expression.
    posed
        Whether it is written.
    """

    def __init__(
        self,
        task: Task,
        group: Group,
        first: Mapping[str, list[Phrase]],
        second: Mapping[str, list[Phrase]],
        poses: Sequence[Phrase],
        posed: bool,
        nearest: float,
        seed: int,
    ) -> None:
        self.task, self.group, self.nearest, self.seed = task, group, nearest, seed
        self.first, self.second, self.poses, self.posed = first, second, poses, posed
        every = [phrase for kind in (first, second) for of in kind.values() for phrase in of]
        self.facets = {phrase.facet for phrase in every}
        self.kept: list[tuple[str, frozenset[str], frozenset[str]]] = []

    def write(self, n: int) -> list[str]:
        """Return up to n prompts, fewer where the vocabulary has no more."""
        pose, age = self._at(HEAD_POSE, len(self.poses)), self._at("age", len(AGES))
        ancestry = self._at("ancestry", len(ANCESTRIES))
        last, subject = next(pose), self._subject(next(age), next(ancestry))
        tried: set[frozenset[str]] = set()
        for phrases in self._pairs():
            said = frozenset(phrase.text for phrase in phrases)
            if len(self.kept) == n:
                break
            if said in tried:
                continue
            tried.add(said)
            # These move on with the prompts that are kept, so that they stay even.
            if self._keep(subject, phrases, self.poses[last] if self.poses else None):
                last, subject = next(pose), self._subject(next(age), next(ancestry))
        return [prompt for prompt, *_ in self.kept]

    def _at(self, name: str, count: int) -> Iterator[int]:
        return _places(name, max(1, count), self.seed)

    def _subject(self, age: int, ancestry: int) -> str:
        return self.task.contextual(self.group, age=str(AGES[age]), ancestry=ANCESTRIES[ancestry])

    def _pairs(self) -> Iterator[list[Phrase]]:
        """Yield A and B, or A alone where two are never possible, in the order of the facets."""
        every = [[p for ps in part.values() for p in ps] for part in (self.first, self.second)]
        if len({phrase.slot for part in every for phrase in part}) == 1:
            yield from ([phrase] for phrase in every[0])
            return
        kinds = [list(part) for part in (self.first, self.second)]
        chosen = [self._at(name, len(kind)) for name, kind in zip("AB", kinds, strict=True)]
        phrases = {**self.first, **self.second}
        # An expression is a facial feature; no form asks for both.
        place = {
            kind: self._at(FACETS[0] if kind == EXPRESSION else kind, len(of))
            for kind, of in phrases.items()
        }
        order = {facet: at for at, facet in enumerate(FACETS)}
        drawn = (
            [phrases[kind][next(place[kind])] for kind in (a[next(x)], b[next(y)])]
            for (a, b), (x, y) in ((kinds, chosen) for _ in range(_DRAWS))
        )
        listed = product(*every) if math.prod(map(len, every)) <= _LISTED else ()
        for part in (drawn, listed):
            for pair in part:
                if pair[0].slot != pair[1].slot:
                    yield sorted(pair, key=lambda phrase: order[phrase.facet])

    def _keep(self, subject: str, phrases: list[Phrase], pose: Phrase | None) -> bool:
        """Keep a prompt if it can be used both with its pose and without."""
        said = [*phrases, pose] if pose else phrases
        person: dict[str, int] | None = {}
        for phrase in said:
            person = _merged(person, _known(phrase))
        if person is None:
            return False
        start = self.task.start
        without = put_together(subject, [phrase.text for phrase in phrases], start=start)
        whole = put_together(subject, [phrase.text for phrase in said], start=start)
        bare, full = frozenset(words(without)), frozenset(words(whole))
        for _, bare_before, full_before in self.kept:
            if similarity(bare, bare_before) >= self.nearest:
                return False
            if similarity(full, full_before) >= self.nearest:
                return False
        for prompt, kind in ((without, KINDS[1]), (whole, KINDS[2] if pose else KINDS[1])):
            if check_prompt(prompt, self.task, self.group, kind=kind, facets=self.facets):
                return False
        self.kept.append((whole if self.posed else without, bare, full))
        return True
