"""How a face's attributes are put into words: the vocabulary that a small generator is taught.

A phrase belongs to a facet of a portrait (hair, accessories, head pose, ...) and is true of some
faces. A caption names who is shown and some of what is true, in the one form of the papers' prompts
(Zhao et al. 2025, section 3.1): "Portrait face photo of a {target phrase} {protected phrase} with
{feature}, {feature}, and {head pose}".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

FACETS = ("facial features", "hair", "accessories", "head pose", "clothing", "background")
"""Kinds of context; the papers' four first, in the order in which a prompt names them."""

PHRASES_OF: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Smiling": (("no-smiling", "not smiling"), ("smiling",)),
    "Male": (("female",), ("male",)),
    "Young": (("aged",), ("young",)),
    "Female": (("male",), ("female",)),
    "White": (("non-white",), ("white",)),
}
"""Phrases of each attribute at 0 and at 1 (METHODS 1a); the first of several is the usual one."""


@dataclass(frozen=True)
class Phrase:
    """A few words that may stand in a prompt.

    Attributes
    ----------
    text
        The words, as they follow "with".
    facet
        One of `FACETS`. A prompt has at most one phrase of each ``slot``.
    when
        Columns of a table of faces and the values that they must have for the words to be true.
    only
        Attributes that a person so described must have ("Male": 1 for a beard), so that no prompt
        contradicts itself.
    slot
        What the words decide; two phrases of one slot exclude one another. The facet by default.
    """

    text: str
    facet: str
    when: Mapping[str, object] = field(default_factory=dict)
    only: Mapping[str, int] = field(default_factory=dict)
    slot: str = ""

    def __post_init__(self) -> None:
        if self.facet not in FACETS:
            raise ValueError(f"phrase {self.text!r}: no facet {self.facet!r}; they are {FACETS}")
        if not self.slot:
            object.__setattr__(self, "slot", self.facet)


def _toy_hair() -> list[Phrase]:
    lengths = {"short": "short", "long": "long", "bob": "chin-length", "bun": "pinned-up"}
    phrases = [Phrase("a bald head", "hair", {"hair_style": "bald"}, {"Male": 1})]
    for colour in ("black", "brown", "blond", "grey"):
        for style, words in lengths.items():
            only = {"Male": 0} if style == "bun" else {}  # no man is drawn with one
            for wavy, texture in ((0, "straight"), (1, "wavy")):
                when = {"hair_style": style, "hair_colour": colour, "Wavy_Hair": wavy}
                phrases.append(Phrase(f"{words} {texture} {colour} hair", "hair", when, only))
                if not wavy:  # the texture need not be said
                    short = {"hair_style": style, "hair_colour": colour}
                    phrases.append(Phrase(f"{words} {colour} hair", "hair", short, only))
    return phrases


TOYFACES: tuple[Phrase, ...] = (
    *_toy_hair(),
    Phrase("a full beard", "facial features", {"Beard": 1}, {"Male": 1}, "beard"),
    Phrase("a clean-shaven face", "facial features", {"Beard": 0, "Male": 1}, {"Male": 1}, "beard"),
    Phrase("pale skin", "facial features", {"Pale_Skin": 1}, slot="skin"),
    Phrase("dark skin", "facial features", {"Pale_Skin": 0}, slot="skin"),
    Phrase("a slightly open mouth", "facial features", {"Mouth_Slightly_Open": 1}, slot="mouth"),
    Phrase("glasses", "accessories", {"Eyeglasses": 1}, slot="glasses"),
    Phrase("no glasses", "accessories", {"Eyeglasses": 0}, slot="glasses"),
    Phrase("earrings", "accessories", {"Wearing_Earrings": 1}, slot="earrings"),
    Phrase("no hat", "accessories", {"Wearing_Hat": 0}, slot="hat"),
    *(
        Phrase(
            f"a {colour} hat", "accessories", {"Wearing_Hat": 1, "hat_colour": colour}, slot="hat"
        )
        for colour in ("red", "blue", "black", "green", "straw")
    ),
    Phrase("face turned to the camera", "head pose", {"pose": "frontal"}),
    Phrase("head turned to the left", "head pose", {"pose": "left"}),
    Phrase("head turned to the right", "head pose", {"pose": "right"}),
    *(
        Phrase(f"a {colour} shirt", "clothing", {"clothing": colour})
        for colour in ("navy", "red", "green", "white", "black", "yellow")
    ),
    *(
        Phrase(f"a {colour} background", "background", {"background": colour})
        for colour in ("grey", "blue", "green", "beige", "purple")
    ),
)
"""What can be said of a toy face (`repro.data.toyfaces.factors`)."""


def _faces_hair() -> list[Phrase]:
    colours = {
        "black": "Black_Hair",
        "blond": "Blond_Hair",
        "brown": "Brown_Hair",
        "grey": "Gray_Hair",
    }
    bald = {"Bald": 1, "Bangs": 0, "Receding_Hairline": 0}
    phrases = [Phrase("a bald head", "hair", bald, {"Male": 1})]
    for colour, column in colours.items():
        phrases.append(Phrase(f"{colour} hair", "hair", {column: 1, "Bald": 0}))
        for texture, shape in (("wavy", "Wavy_Hair"), ("straight", "Straight_Hair")):
            when = {column: 1, shape: 1, "Bald": 0}
            phrases.append(Phrase(f"{texture} {colour} hair", "hair", when))
    return phrases


FACES: tuple[Phrase, ...] = (
    *_faces_hair(),
    Phrase("bangs", "hair", {"Bangs": 1}, slot="bangs"),
    Phrase("a receding hairline", "hair", {"Receding_Hairline": 1}, {"Male": 1}, "hairline"),
    Phrase("a full beard", "facial features", {"No_Beard": 0, "Mustache": 1}, {"Male": 1}, "beard"),
    Phrase("a goatee", "facial features", {"Goatee": 1, "Mustache": 0}, {"Male": 1}, "beard"),
    Phrase(
        "a clean-shaven face", "facial features", {"No_Beard": 1, "Male": 1}, {"Male": 1}, "beard"
    ),
    Phrase(
        "heavy make-up", "facial features", {"Heavy_Makeup": 1, "Male": 0}, {"Male": 0}, "make-up"
    ),
    Phrase(
        "lipstick", "facial features", {"Wearing_Lipstick": 1, "Male": 0}, {"Male": 0}, "make-up"
    ),
    Phrase("high cheekbones", "facial features", {"High_Cheekbones": 1}, slot="cheekbones"),
    Phrase("bushy eyebrows", "facial features", {"Bushy_Eyebrows": 1}, slot="eyebrows"),
    Phrase("pale skin", "facial features", {"Pale_Skin": 1}, slot="skin"),
    Phrase("an oval face", "facial features", {"Oval_Face": 1}, slot="shape"),
    Phrase("a round face", "facial features", {"Chubby": 1}, slot="shape"),
    Phrase("a slightly open mouth", "facial features", {"Mouth_Slightly_Open": 1}, slot="mouth"),
    Phrase("a closed mouth", "facial features", {"Mouth_Slightly_Open": 0}, slot="mouth"),
    *(
        Phrase(f"{words} features", "facial features", {column: 1}, slot="ancestry")
        for words, column in (
            ("European", "ancestry_white"),
            ("African", "ancestry_black"),
            ("East Asian", "ancestry_east_asian"),
            ("Southeast Asian", "ancestry_southeast_asian"),
            ("Indian", "ancestry_indian"),
            ("Middle Eastern", "ancestry_middle_eastern"),
            ("Latin American", "ancestry_latino"),
        )
    ),
    Phrase("glasses", "accessories", {"Eyeglasses": 1}, slot="glasses"),
    Phrase("no glasses", "accessories", {"Eyeglasses": 0}, slot="glasses"),
    Phrase("a hat", "accessories", {"Wearing_Hat": 1}, slot="hat"),
    Phrase("no hat", "accessories", {"Wearing_Hat": 0}, slot="hat"),
    Phrase("earrings", "accessories", {"Wearing_Earrings": 1, "Male": 0}, {"Male": 0}, "earrings"),
    Phrase("a necktie", "clothing", {"Wearing_Necktie": 1}),
)
"""What LFWA+ and FairFace say of a photographed face; neither says anything of its pose."""

VOCABULARIES: Mapping[str, tuple[Phrase, ...]] = {"toyfaces": TOYFACES, "faces": FACES}


def truths(table: pd.DataFrame, phrases: Sequence[Phrase]) -> np.ndarray:
    """Return which phrases are true of which faces.

    Parameters
    ----------
    table
        n rows; a column that is absent, or a value that is missing, makes a phrase untrue, so that
        nothing is said that is not known.
    phrases
        m phrases.

    Returns
    -------
    (n, m) bool
    """
    used = {column for phrase in phrases for column in phrase.when} & set(table.columns)
    # Once a column: a comparison of pandas' own costs more than all of its few rows.
    values = {c: table[c].astype(object).where(table[c].notna(), None).to_numpy() for c in used}
    nothing = np.full(len(table), None, dtype=object)
    known = np.ones((len(table), len(phrases)), dtype=bool)
    for at, phrase in enumerate(phrases):
        for column, value in phrase.when.items():
            known[:, at] &= values.get(column, nothing) == value
    return known


def joined(items: Sequence[str]) -> str:
    """Return "a", "a and b" or "a, b, and c", as the papers' prompts list their context."""
    if len(items) < 3:
        return " and ".join(items)
    return ", ".join(items[:-1]) + f", and {items[-1]}"


PORTRAIT, FACE = "Portrait face photo of", "Face photo of"
"""How prompts begin; the second those with an age and an ancestry."""


def sentence(subject: Sequence[str], context: Sequence[str], *, start: str = PORTRAIT) -> str:
    """Return a prompt of the papers' form, without a full stop.

    Parameters
    ----------
    subject
        Words for who is shown, e.g. ``["smiling", "male"]``.
    context
        What follows "with", possibly nothing (the plain prompt).
    start
        `PORTRAIT` or `FACE`.
    """
    who = " ".join(subject)
    article = "an" if re.match(r"[aeiou8]|1[18]-", who) else "a"  # an 87-year-old
    return f"{start} {article} {who}" + (f" with {joined(context)}" if context else "")


SUBJECTS = ("Smiling", "Young", "Male")
"""Attributes that a caption's subject names, in the order of its words."""

MOST, SHORT = 4, 2
"""How many phrases a caption has at most, one of each slot; and a short one."""


OF_AGE = 0.3
"""Share of the free captions that tell a face by age and ancestry alone, where both are known."""

ANCESTRIES: Mapping[str, tuple[str, ...]] = {
    "ancestry_white": ("White",),
    "ancestry_black": ("Black",),
    "ancestry_east_asian": ("East Asian",),
    "ancestry_southeast_asian": ("Southeast Asian",),
    "ancestry_indian": ("South Asian", "Indian"),
    "ancestry_middle_eastern": ("Middle Eastern",),
    "ancestry_latino": ("Hispanic", "Latino"),
}
"""Columns of a table of faces, and what an ancestry is called in the prompts of Female | White."""


@dataclass(frozen=True)
class Caption:
    """A caption and what it says: column names of a table of faces and their values."""

    text: str
    says: Mapping[str, object]


def captions(
    table: pd.DataFrame,
    phrases: Sequence[Phrase],
    *,
    seed: int,
    short: float = 0.0,
    free: bool = False,
) -> list[Caption]:
    """Return a caption of every face: who it is, and some of what is true, by chance.

    Of `SUBJECTS` one that is missing is not mentioned, and each that is known is left out one time
    in ten; where none is left, it is a "person". Then come up to `MOST` phrases, in the order of
    `FACETS`.

    Parameters
    ----------
    table
        n rows of attributes (0, 1, or missing), and whatever ``phrases`` need.
    phrases
        The vocabulary.
    seed
        Of what is mentioned.
    short
        Share of the captions that have no more than `SHORT` phrases.
    free
        Whether who is shown is said in all the forms that prompts have (`_freely`), with a full
        stop at the end of every other caption.
    """
    rng = np.random.default_rng(seed)
    # Streams of their own: what is mentioned does not depend on how.
    brief = np.random.default_rng([seed, 1]).random(len(table)) < short
    form = np.random.default_rng([seed, 2])
    true = truths(table, phrases)
    order = {facet: at for at, facet in enumerate(FACETS)}
    said = {
        name: [None if pd.isna(value) else int(value) for value in table[name]]
        for name in SUBJECTS
        if name in table.columns
    }
    written = []
    for row in range(len(table)):
        who = []
        says: dict[str, object] = {}
        for name, values in said.items():
            value = values[row]
            if value is not None and rng.random() >= 0.1:
                options = PHRASES_OF[name][value]
                who.append(options[int(rng.integers(len(options)))])
                says[name] = value
        if not who:
            who = ["person"]
        found = rng.permutation(np.flatnonzero(true[row]))
        chosen: dict[str, Phrase] = {}
        for at in found[: int(rng.integers(0, len(found) + 1))] if len(found) else []:
            if len(chosen) < (SHORT if brief[row] else MOST):
                chosen.setdefault(phrases[at].slot, phrases[at])
        context = sorted(chosen.values(), key=lambda phrase: order[phrase.facet])
        for phrase in context:
            says.update(phrase.when)
        phrases_said = [phrase.text for phrase in context]
        if not free:
            written.append(Caption(sentence(who, phrases_said), says))
            continue
        stop = "." if form.random() < 0.5 else ""
        described = form.random() < OF_AGE and _of_age(table.iloc[row], form)
        if described:
            who, of_age = described
            written.append(Caption(sentence(who, [], start=FACE) + stop, of_age))
        else:
            text = sentence(_freely(says, form), phrases_said).removesuffix(",")
            written.append(Caption(text + stop, says))
    return written


def _of_age(
    face: pd.Series, rng: np.random.Generator
) -> tuple[list[str], dict[str, object]] | None:
    """Return "27-year-old White female" and what it says, or None where that is not known.

    The age is drawn from the group that is known, from ``age_from`` to ``age_to``.
    """
    of = [column for column in ANCESTRIES if face.get(column, 0) is not pd.NA and face.get(column)]
    needed = [face.get(name, pd.NA) for name in ("age_from", "age_to", "Male")]
    if len(of) != 1 or any(pd.isna(value) for value in needed):
        return None
    youngest, oldest, male = (int(value) for value in needed)
    names = ANCESTRIES[of[0]]
    name = names[int(rng.integers(len(names)))]
    who = [f"{rng.integers(youngest, oldest + 1)}-year-old", name, PHRASES_OF["Male"][male][0]]
    young = face.get("Young", pd.NA)
    of_age = {} if pd.isna(young) else {"Young": int(young)}
    return who, {"Male": male, **of_age, of[0]: 1}


def _freely(says: Mapping[str, object], rng: np.random.Generator) -> list[str]:
    """Return words for who is shown: adjectives in any order, a noun, and maybe "not smiling,"."""
    before = [PHRASES_OF["Young"][int(bool(says["Young"]))][0]] if "Young" in says else []
    after = []
    if "Smiling" in says:
        options = PHRASES_OF["Smiling"][int(bool(says["Smiling"]))]
        if says["Smiling"] or rng.random() < 0.5:
            before.append(options[int(rng.integers(len(options)))])
        else:
            after = ["not smiling,"]
    noun = PHRASES_OF["Male"][int(bool(says["Male"]))][0] if "Male" in says else "person"
    return [*(before[i] for i in rng.permutation(len(before))), noun, *after]


def facts(phrases: Sequence[Phrase]) -> list[tuple[str, object]]:
    """Return all that a caption can say, (column, value), in a fixed order."""
    every: list[tuple[str, object]] = [(name, value) for name in SUBJECTS for value in (0, 1)]
    every += [fact for phrase in phrases for fact in phrase.when.items()]
    return list(dict.fromkeys(every))
