"""What a prompt is: whom it shows, the form that it has, and the facets that it varies.

The first step of contextual synthetic data generation: for each group (t,p) prompts of one form.
The forms are those of the authors' released lists, which differ by task:

- Smiling, Male: "Portrait face photo of a smiling male." or "... a no-smiling female." is the plain
  prompt; a contextual one "... of a smiling male with A, B, and POSE." or "... of a female not
  smiling, with A, B, and POSE.".
- Smiling, Young: "... of a smiling young person." or "... of a no smiling aged person."; "... of a
  young smiling person with A, B, and POSE." or "... of an aged person not smiling, with A, B, and
  POSE.".
- Young, Male: "... of an aged female."; "... of an aged female with A, B, and POSE or EXPRESSION.".
- Female, White: "Face photo of a 27-year-old White female with EXPRESSION and HAIR.". No plain
  prompt is released; this study's is "Face photo of a White female.".

A and B are two features of any kinds, sometimes of the same kind. "Contextual" prompts end after
"with A and B.". Prompts of Female, White name no head pose, so both contextual kinds are one. Their
ages go from 1 to 99, which the checks accept; this study draws no minors, so what it writes itself
has ages from 20 to 99. Other tasks follow the same rules.

Source: Zhao et al. (2025), arXiv 2503.05665, section 3.1 and Table 5, and the authors' release.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from repro.aimfair.prompt_words import HEAD_POSE, claims, normal
from repro.data.captions import FACE, PHRASES_OF, PORTRAIT, sentence
from repro.data.splits import GROUPS
from repro.names import check_name

Group = tuple[int, int]
"""Target and protected attribute (t,p), each 0 or 1."""

KINDS = ("plain", "contextual", "contextual with head poses")
"""The kinds of prompt that Table 5 compares."""

PLAIN, CONTEXTUAL, POSED = KINDS

VARIED = ("facial features", "hair", "accessories")
"""The facets of the paper that every contextual prompt varies; `POSED` adds the head pose."""

AGES = range(20, 100)
"""Ages that this study writes; the authors' lists, which may be given, have 1 to 99."""

ANCESTRIES = ("Black", "East Asian", "Hispanic", "Middle Eastern", "South Asian", "Southeast Asian")
"""What stands for not White where this study writes."""


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

    @property
    def ancestral(self) -> bool:
        """Whether faces are told by sex and ancestry, so that prompts name an age, and no pose."""
        return {attribute_of(name, 1)[0] for name in (self.target, self.protected)} == {
            "Male",
            "White",
        }

    @property
    def start(self) -> str:
        """How its prompts begin."""
        return FACE if self.ancestral else PORTRAIT

    def poses(self, kind: str) -> str:
        """Return what prompts of a kind end in: "", "head pose", or "head pose or expression"."""
        if kind != POSED or self.ancestral:
            return ""
        smiling = "Smiling" in (self.target, self.protected)
        return HEAD_POSE if smiling else f"{HEAD_POSE} or expression"

    def plain(self, group: Group) -> str:
        """Return who is shown, as the plain prompt says it: "no-smiling female"."""
        known, noun = self._words(group)
        # The authors write "no-smiling male" and "no smiling young person".
        no = "no smiling" if noun == "person" else "no-smiling"
        said = [("smiling" if known["Smiling"] else no)] if "Smiling" in known else []
        return " ".join([*said, *self._adjectives(known), noun])

    def contextual(self, group: Group, *, age: str = "", ancestry: str = "") -> str:
        """Return who is shown, as contextual prompts say it: "female not smiling,".

        Parameters
        ----------
        group
            One of `GROUPS`.
        age, ancestry
            Of `ancestral` tasks; White faces need no ancestry.
        """
        known, noun = self._words(group)
        if self.ancestral:
            return f"{age}-year-old {'White' if known['White'] else ancestry} {noun}"
        said = [*self._adjectives(known), noun]
        if "Smiling" not in known:
            return " ".join(said)
        smiling, after = (["smiling"], []) if known["Smiling"] else ([], ["not smiling,"])
        return " ".join([*said[:-1], *smiling, noun, *after])

    def _words(self, group: Group) -> tuple[dict[str, int], str]:
        known = self.attributes(group)
        noun = "person" if "Male" not in known else ("female", "male")[known["Male"]]
        return known, noun

    @staticmethod
    def _adjectives(known: dict[str, int]) -> list[str]:
        words = {"Young": ("aged", "young"), "White": ("non-White", "White")}
        return [values[known[name]] for name, values in words.items() if name in known]

    def says(self, subject: str, group: Group) -> bool:
        """Whether a contextual prompt's words for who is shown are right for a group."""
        if not self.ancestral:
            return subject == self.contextual(group)
        known, noun = self._words(group)
        found = re.fullmatch(rf"[1-9]\d?-year-old ([A-Z][A-Za-z -]*) {noun}", subject)
        if found is None:
            return False
        # Of other ancestries there are more than can be listed.
        white = claims(f"{found[1]} person").get("White", 0)
        return found[1] == "White" if known["White"] else white == 0

    def attributes(self, group: Group) -> dict[str, int]:
        """Return what is known of the group's faces, attribute -> 0 or 1 (see `attribute_of`).

        Raises
        ------
        ValueError
            If ``group`` is not one of `GROUPS`.
        """
        if tuple(group) not in GROUPS:
            raise ValueError(f"no group {group!r}; they are (target, protected) in {GROUPS}")
        return dict(map(attribute_of, (self.target, self.protected), group))


def check_kind(kind: str) -> str:
    """Return ``kind`` if it is one of `KINDS`, else raise an UnknownNameError."""
    return check_name("kind of prompts", kind, KINDS)


class Parts(NamedTuple):
    """A prompt taken apart: the words for who is shown, and the phrases after "with"."""

    start: str
    article: str
    subject: str
    context: tuple[str, ...]


_FORM = re.compile(rf"({PORTRAIT}|{FACE}) (an?) (.+?)(?: with (.+))?\.")


def tidy(prompt: str) -> str:
    """Return a prompt on one line, with single spaces and one full stop, without quotes around."""
    return " ".join(prompt.split()).strip("\"'“”").rstrip(" .") + "."


def take_apart(prompt: str) -> Parts | None:
    """Return the parts of a prompt, or None where it does not have the form.

    The authors list phrases in several ways, "A, B, and C" most often, and "A, B, C".
    """
    match = _FORM.fullmatch(prompt)
    if match is None:
        return None
    start, article, subject, listed = match.groups()
    if listed is None:
        return Parts(start, article, subject, ())
    # With a comma before "and", another "and" is within a phrase.
    between = r", (?:and )?" if ", and " in listed else r", | and "
    context = tuple(piece.strip() for piece in re.split(between, listed))
    return Parts(start, article, subject, context) if all(context) else None


def put_together(subject: str, context: Sequence[str] = (), *, start: str = PORTRAIT) -> str:
    """Return a prompt; the inverse of :func:`take_apart`."""
    return sentence([subject], context, start=start) + "."


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
