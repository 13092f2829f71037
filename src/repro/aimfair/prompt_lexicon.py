"""Words for Stable Diffusion: what the offline writer makes contextual prompts of by default.

Written by hand for this study: many more phrases than its own small generators understand. Who a
phrase fits is said where only some do; a phrase never says who is shown by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from repro.data.captions import VOCABULARIES as OF_GENERATORS
from repro.data.captions import Phrase

EXPRESSION = "expression"
"""Slot of facial expressions; they are written only where a task's form asks for one."""

_MEN: Mapping[str, int] = {"Male": 1}
_WOMEN: Mapping[str, int] = {"Male": 0}
_ANYONE: Mapping[str, int] = {}

# facet -> whom the phrases fit -> phrases. An attribute that a task says nothing of restricts
# nothing, but two phrases of one prompt never ask for different persons.
_PHRASES: tuple[tuple[str, Mapping[str, int], tuple[str, ...]], ...] = (
    (
        "facial features",
        _ANYONE,
        (
            *("high cheekbones", "a strong jawline", "a soft jawline", "a round face"),
            *("an oval face", "a heart-shaped face", "a square face", "a slender face"),
            *("a pointed chin", "a cleft chin", "full lips", "thin lips", "thick eyebrows"),
            *("thin eyebrows", "arched eyebrows", "bright blue eyes", "deep brown eyes"),
            *("green eyes", "hazel eyes", "almond-shaped eyes", "deep-set eyes", "wide-set eyes"),
            *("long eyelashes", "a straight nose", "a button nose", "an aquiline nose"),
            *("a broad nose", "freckles", "a mole on the cheek", "rosy cheeks", "hollow cheeks"),
            *("a high forehead", "smooth skin", "tanned skin", "a small scar on the brow"),
        ),
    ),
    (
        "facial features",
        _MEN,
        ("a full beard", "a goatee", "light stubble", "a thick moustache", "a clean-shaven face"),
    ),
    (
        "facial features",
        _WOMEN,
        ("subtle make-up", "red lipstick", "winged eyeliner", "dark mascara"),
    ),
    ("facial features", {"Young": 0}, ("deep wrinkles", "crow's feet", "age spots")),
    ("facial features", {"Young": 1}, ("youthful skin",)),
    ("facial features", {"Smiling": 1}, ("visible teeth",)),
    (
        EXPRESSION,
        _ANYONE,
        (
            *("a calm expression", "a thoughtful expression", "a curious look", "a gentle gaze"),
            *("an attentive look", "a relaxed expression", "a surprised expression"),
            *("a confident look", "a dreamy gaze", "an intense gaze", "a pensive expression"),
        ),
    ),
    (EXPRESSION, {"Smiling": 1}, ("a warm smile", "a faint smile", "a broad grin")),
    (EXPRESSION, {"Smiling": 0}, ("a serious expression", "a slight frown", "a stern look")),
    (
        "hair",
        _ANYONE,
        (
            *("short black hair", "short brown hair", "short blond hair", "short red hair"),
            *("short grey hair", "short curly brown hair", "short curly black hair"),
            *("short wavy blond hair", "long straight black hair", "long straight brown hair"),
            *("long straight blond hair", "long wavy brown hair", "long wavy auburn hair"),
            *("long curly red hair", "long curly black hair", "long grey hair"),
            *("shoulder-length brown hair", "shoulder-length blond hair", "messy brown hair"),
            *("shoulder-length wavy black hair", "slicked-back black hair", "spiky blond hair"),
            *("side-parted brown hair", "silver hair", "tousled auburn hair", "dyed blue hair"),
            *("black hair in a ponytail", "a platinum blond buzz cut", "hair tied in a low bun"),
            *("an asymmetrical brown undercut", "salt-and-pepper hair", "a tousled mohawk"),
        ),
    ),
    ("hair", _MEN, ("a bald head", "a receding hairline", "a man bun", "a neat crew cut")),
    (
        "hair",
        _WOMEN,
        (
            *("a sleek black bob", "a blond pixie cut", "two long brown braids"),
            *("an elegant updo", "auburn ringlets", "brown hair with blunt bangs"),
        ),
    ),
    ("hair", {"White": 0}, ("a natural afro", "long black dreadlocks", "neat cornrows")),
    (
        "accessories",
        _ANYONE,
        (
            *("round glasses", "thin-rimmed glasses", "thick black glasses", "rimless glasses"),
            *("tortoiseshell glasses", "dark sunglasses", "aviator sunglasses", "no glasses"),
            *("a red beanie", "a grey wool hat", "a straw hat", "a white hat", "a black beret"),
            *("a blue baseball cap", "a brown fedora", "a patterned bandana", "a sports headband"),
            *("a knitted scarf", "a silk scarf", "a striped scarf", "large headphones"),
            *("wireless earbuds", "small hoop earrings", "silver stud earrings"),
            *("a thin gold chain", "a silver pendant", "a leather cord necklace", "a nose ring"),
            *("an eyebrow piercing", "a green winter hat", "a wide-brimmed hat"),
        ),
    ),
    ("accessories", _MEN, ("a bow tie", "a tweed flat cap")),
    (
        "accessories",
        _WOMEN,
        (
            *("pearl earrings", "long dangling earrings", "a pearl necklace", "a velvet choker"),
            *("a flower in the hair", "a jewelled tiara"),
        ),
    ),
    (
        "head pose",
        _ANYONE,
        (
            *("face turned to the camera", "head turned to the left", "head turned to the right"),
            *("head turned slightly to the left", "head turned slightly to the right"),
            *("head tilted to the left", "head tilted to the right", "head tilted back"),
            *("head tilted slightly forward", "head bowed slightly", "head held upright"),
            *("chin raised", "chin slightly lowered", "chin resting on one hand"),
            *("chin tucked in", "left profile view", "right profile view"),
            *("three-quarter view from the left", "three-quarter view from the right"),
            *("looking over the left shoulder", "looking over the right shoulder"),
            *("looking up", "looking down", "looking straight ahead", "gazing into the distance"),
            *("glancing sideways", "head leaning on one shoulder", "face angled upwards"),
            *("face angled downwards", "facing away to the side"),
        ),
    ),
)

# What two features of one kind may not both decide: nobody has thick and thin eyebrows.
_SLOTS = tuple(
    (slot, re.compile(rf"\b(?:{words})\b"))
    for slot, words in (
        ("beard", "beard|goatee|stubble|moustache|clean-shaven"),
        ("make-up", "make-up|lipstick|eyeliner|mascara"),
        ("shape", "face|jawline|chin"),
        *((word, word) for word in ("eyebrows", "eyes", "eyelashes", "nose", "lips", "skin")),
        ("cheeks", "cheeks?|cheekbones"),
        ("age", "wrinkles|crow's feet|age spots"),
        ("glasses", r"\w*glasses"),
        ("headwear", r"hat|cap|beanie|beret|fedora|bandana|headband|headphones|tiara|hair"),
        ("neck", "scarf|chain|pendant|necklace|choker|bow tie"),
        ("ears", "earrings|earbuds"),
        ("piercing", "nose ring|piercing"),
    )
)


def _slot(text: str, facet: str) -> str:
    """Return what a phrase decides: of features and accessories by their words, else its facet."""
    if facet not in ("facial features", "accessories"):
        return facet
    return next((slot for slot, pattern in _SLOTS if pattern.search(text)), text)


STABLE_DIFFUSION: tuple[Phrase, ...] = tuple(
    Phrase(text, "facial features", only=only, slot=EXPRESSION)
    if facet == EXPRESSION
    else Phrase(text, facet, only=only, slot=_slot(text, facet))
    for facet, only, texts in _PHRASES
    for text in texts
)

VOCABULARIES: Mapping[str, tuple[Phrase, ...]] = {
    "stable-diffusion": STABLE_DIFFUSION,
    **OF_GENERATORS,
}
"""By name: the one above, and those of this project's own generators."""
