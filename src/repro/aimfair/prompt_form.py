"""What a prompt is: whom it shows, the one form that all have, and the facets that it varies.

The first step of contextual synthetic data generation: for each group (t,p) prompts "Portrait face
photo of a {target phrase} {protected phrase} with {feature}, {feature}, and {head pose}".

Source: Zhao et al. (2025), arXiv 2503.05665, section 3.1 and Table 5.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from repro.aimfair.prompt_words import HEAD_POSE, normal
from repro.data.captions import FACETS, PHRASES_OF, joined, sentence
from repro.names import check_name

Group = tuple[int, int]
"""(t,p): the target and the protected attribute, each 0 or 1."""

GROUPS: tuple[Group, ...] = ((0, 0), (0, 1), (1, 0), (1, 1))

KINDS = ("plain", "contextual", "contextual with head poses")
"""The kinds of prompt that Table 5 compares."""

VARIED = ("facial features", "hair", "accessories")
"""The facets of the paper, but for the head pose, which a kind adds."""

# The paper writes "no-smiling" beside male and female, "not smiling" beside young and aged.
_USUAL = {("Smiling", "Young"): {"Smiling": ("not smiling", "smiling")}}


def attribute_of(name: str, value: int) -> tuple[str, int]:
    """Return an attribute in the terms that prompts are checked in: Female is Male turned round."""
    return ("Male", 1 - value) if name == "Female" else (name, value)


@dataclass(frozen=True)
class Task:
    """What a classifier predicts, and to whom it must be fair.

    Attributes
    ----------
    target, protected
        Keys of `repro.data.captions.PHRASES_OF`.

    Raises
    ------
    UnknownNameError
        If one of them has no phrases.
    ValueError
        If both say the same of a face.
    """

    target: str
    protected: str

    def __post_init__(self) -> None:
        check_name("target attribute", self.target, PHRASES_OF)
        check_name("protected attribute", self.protected, PHRASES_OF)
        if attribute_of(self.target, 1)[0] == attribute_of(self.protected, 1)[0]:
            raise ValueError(
                f"target {self.target!r} and protected attribute {self.protected!r} say the same "
                "of a face; choose two that differ"
            )

    def __str__(self) -> str:
        return f"{self.target}|{self.protected}"

    def subjects(self, group: Group) -> list[tuple[str, str]]:
        """Return the ways to say who is shown, (target phrase, protected phrase), usual one first.

        Raises
        ------
        ValueError
            If ``group`` is not one of `GROUPS`.
        """
        t, p = check_group(group)
        both = [
            (first, second)
            for first in PHRASES_OF[self.target][t]
            for second in PHRASES_OF[self.protected][p]
        ]
        usual = _USUAL.get((self.target, self.protected), {})
        wanted = usual.get(self.target, ())[t : t + 1]
        return sorted(both, key=lambda pair: bool(wanted) and pair[0] != wanted[0])

    def attributes(self, group: Group) -> dict[str, int]:
        """Return what is known of the group's faces, attribute -> 0 or 1 (see `attribute_of`)."""
        t, p = check_group(group)
        return dict([attribute_of(self.target, t), attribute_of(self.protected, p)])


def check_group(group: Group) -> Group:
    """Return ``group`` if it is one of `GROUPS`, else raise a ValueError that lists them."""
    if tuple(group) not in GROUPS:
        raise ValueError(f"no group {group!r}; they are (target, protected) in {GROUPS}")
    return group


def check_facets(kind: str, facets: Collection[str]) -> tuple[str, ...]:
    """Return the facets that prompts of a kind vary, in the order in which a prompt names them.

    Parameters
    ----------
    kind
        One of `KINDS`: "plain" varies none, "contextual with head poses" adds the head pose, last.
    facets
        Other facets to vary, of `repro.data.captions.FACETS`.

    Raises
    ------
    UnknownNameError
        For a kind or a facet that does not exist.
    ValueError
        If a contextual kind is given no facet, or the head pose, which its name decides.
    """
    check_name("kind of prompts", kind, KINDS)
    for facet in facets:
        check_name("facet", facet, FACETS)
    if HEAD_POSE in facets:
        raise ValueError(f"facet {HEAD_POSE!r} is asked for by the kind {KINDS[2]!r}, not by name")
    if kind == "plain":
        return ()
    if not facets:
        raise ValueError(f"{kind} prompts vary at least one facet; none is given")
    asked = tuple(facet for facet in FACETS if facet in facets)
    return (*asked, HEAD_POSE) if kind == KINDS[2] else asked


class Parts(NamedTuple):
    """A prompt taken apart: the words for who is shown, and the phrases after "with"."""

    article: str
    subject: str
    context: tuple[str, ...]


_FORM = re.compile(r"Portrait face photo of (an?) (.+?)(?: with (.+))?")


def tidy(prompt: str) -> str:
    """Return a prompt on one line, with single spaces, without quotes around it or a full stop."""
    return " ".join(prompt.split()).strip("\"'“”").rstrip(" .")


def take_apart(prompt: str) -> Parts | None:
    """Return the parts of a prompt, or None where it does not have the form."""
    match = _FORM.fullmatch(prompt)
    if match is None:
        return None
    article, subject, listed = match.groups()
    if listed is None:
        return Parts(article, subject, ())
    pieces = re.split(r", (?:and )?", listed) if "," in listed else listed.split(" and ")
    context = tuple(piece.strip() for piece in pieces)
    # Taken apart and put together again: whatever is listed in another way fails here.
    if not all(context) or f" with {joined(context)}" != f" with {listed}":
        return None
    return Parts(article, subject, context)


def put_together(subject: Sequence[str], context: Sequence[str] = ()) -> str:
    """Return the prompt of `repro.data.captions.sentence`; the inverse of :func:`take_apart`."""
    return sentence(subject, context)


# Words that say nothing of a face.
_EMPTY = frozenset(["a", "an", "the", "and", "with", "of", "to", "in", "on", "at", "by", "wearing"])


def words(prompt: str) -> list[str]:
    """Return the words of a prompt's context that carry its meaning, in their order.

    The subject is left out, as it is the same for a whole group; a negation and its noun are one
    word, so that "glasses" and "no glasses" share none.
    """
    parts = take_apart(tidy(prompt))
    if parts is None:
        return list(_words(prompt))
    # Each phrase by itself, so that no negation reaches into the next.
    return [word for phrase in parts.context for word in _words(phrase)]


@lru_cache(maxsize=1 << 14)
def _words(text: str) -> tuple[str, ...]:
    found = re.findall(r"[\w'-]+", re.sub(r"\b(no|without(?: an?)?) ", "no-", normal(text)))
    singular = [re.sub(r"(?<=\w\w[^s])s$", "", word) for word in found]
    return tuple(word for word in singular if word not in _EMPTY)
