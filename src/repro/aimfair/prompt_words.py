"""What the words of a phrase say: of the person, of one another, and which facet they belong to.

Rules of thumb over English words. They are strict rather than lenient: a prompt that is rejected
for nothing costs one more question, while one of the wrong group puts mislabelled faces into the
training set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import combinations

HEAD_POSE = "head pose"


def normal(text: str) -> str:
    """Return a text in lower case and one spelling, as words are compared."""
    text = text.casefold().replace("’", "'")
    for spelling, other in (("gray", "grey"), ("blonde", "blond"), ("mustache", "moustache")):
        text = text.replace(spelling, other)
    return text


_PERSON = (
    r"(?=[- ](?:person|people|individual|adult|male|female|m[ae]n|wom[ae]n|boy|girl|lady|ladies"
    r"|gentlem[ae]n|guy|skin|skinned|complexion|complexioned|ethnicity|ancestry|descent|features)\b)"
)
_SMILE = r"(?:smil\w*|grin\w*|laugh\w*)"

# What words say of a person: the first rule that matches a word has it, so that "no-smiling" is not
# read as smiling. Rules that say nothing are for words that only look as if they did.
_CLAIMS: tuple[tuple[re.Pattern[str], Mapping[str, int]], ...] = tuple(
    (re.compile(rf"\b(?:{pattern})\b"), claim)
    for pattern, claim in (
        (r"baby (?:bangs|blue)|old[- ](?:fashioned|school)|page ?boy|news ?boy|ageless", {}),
        (r"(?:no|not|without(?: an?)?)[- ](?:frown\w*|scowl\w*|beards?|facial hair|stubble)", {}),
        (r"(?:no|without(?: any)?)[- ]make-?up|make-?up[- ]free|beardless", {}),
        (
            r"un-?smiling|(?:non?|not|without|never|barely|hardly)[- ]"
            rf"(?:(?:an?|any|hint|trace|sign|of|the|visible)[- ])*{_SMILE}",
            {"Smiling": 0},
        ),
        (r"(?:no|without)[- ]wrinkles|wrinkle[- ]free|not[- ](?:aged|old|elderly)", {"Young": 1}),
        (r"(?:not|no longer)[- ](?:a )?(?:young|youthful|teen\w*)", {"Young": 0}),
        (r"(?:non|not)[- ](?:an? )?(?:female|woman|girl)", {"Male": 1}),
        (r"(?:non|not)[- ](?:an? )?(?:male|man|boy)", {"Male": 0}),
        (r"(?:non|not)[- ]?(?:white|caucasian|european)", {"White": 0}),
        (r"(?:person|people|man|woman|men|women) of colou?r", {"White": 0}),
        (r"[1-3]?\d[- ]years?[- ]old|twenties|thirties|teens|20s|30s", {"Young": 1}),
        (r"\d+[- ]years?[- ]old|(?:for|fif|six|seven|eigh|nine)ties|[4-9]0s", {"Young": 0}),
        (
            rf"white{_PERSON}|caucasian|european|scandinavian|nordic|(?:pale|fair|light|ivory"
            rf"|porcelain|alabaster){_PERSON}",
            {"White": 1},
        ),
        (
            rf"(?:black|brown|dark|ebony|deep){_PERSON}|african\w*|\w*asian|indian|hispanic"
            r"|latin[aox]|latin american|middle[- ]eastern|arab\w*|chinese|japanese|korean|mexican"
            r"|indigenous|native american|polynesian",
            {"White": 0},
        ),
        (r"grand(?:mother|ma)|granny|matronly", {"Male": 0, "Young": 0}),
        (r"grand(?:father|pa)", {"Male": 1, "Young": 0}),
        (r"(?:school)?girl\w*", {"Male": 0, "Young": 1}),
        (r"(?:school)?boy\w*", {"Male": 1, "Young": 1}),
        (
            r"females?|feminine|wom[ae]n\w*|lady\w*|ladies|she|hers?|herself|mother|mom|mum"
            r"|wife|bride|queen|princess|actress|lass|daughter|sister|aunt",
            {"Male": 0},
        ),
        (
            r"males?|masculine|m[ae]n|manly|gentlem[ae]n\w*|guys?|lad|dude|he|him|his|himself"
            r"|father|dad|husband|groom|king|prince|son|brother|uncle",
            {"Male": 1},
        ),
        (
            r"\w*beard\w*|goatee\w*|\w*moustach\w*|stubbl\w*|sideburns|mutton chops|facial hair"
            r"|five o'?clock shadow|(?:clean|smooth)[- ]shaven|soul patch|adam's apple",
            {"Male": 1},
        ),
        (
            rf"{_SMILE}|smirk\w*|beam(?:ing|s)|cheer(?:ful|y)\w*|joyful|joyous|happy|happily"
            r"|gleeful\w*|chuckl\w*|giggl\w*|toothy|(?:visible|bared) teeth|showing teeth"
            r"|teeth showing|delighted|amused|merry|jovial",
            {"Smiling": 1},
        ),
        (
            r"frown\w*|scowl\w*|serious|stern|solemn|sad|sullen|grim|angry|gloomy|somb(?:re|er)"
            r"|expressionless|deadpan|impassive|stoic|(?:poker|straight) face|pout\w*|glower\w*"
            r"|crying|tearful|weeping|grimac\w*|miserable|upset|pursed lips|down-?turned mouth"
            r"|(?:neutral|blank) (?:facial )?(?:expression|face|look|stare|gaze|mouth)",
            {"Smiling": 0},
        ),
        (
            r"young\w*|youth\w*|teen\w*|adolescen\w*|juvenile|child\w*|kids?|toddler|baby|infant",
            {"Young": 1},
        ),
        (
            r"aged|ageing|aging|old|older|elder\w*|seniors?|middle[- ]aged|mature|wrinkl\w*"
            r"|crow's[- ]feet|(?:age|liver) spots?|jowls|sagging|geriatric|weathered",
            {"Young": 0},
        ),
    )
)


def claims(phrase: str) -> dict[str, int]:
    """Return what a phrase says of the person, attribute -> 0 or 1, itself contradictory or not.

    Where a phrase says both of an attribute, the value is -1.
    """
    return dict(_claims(phrase))


# Sets of prompts say the same phrases again and again; a rule that was tried need not be again.
@lru_cache(maxsize=1 << 14)
def _claims(phrase: str) -> tuple[tuple[str, int], ...]:
    text, found = normal(phrase), dict[str, int]()
    for pattern, claim in _CLAIMS:
        # What was read is blanked out; the mark keeps its neighbours from becoming one word.
        text, times = pattern.subn("·", text)
        for attribute, value in claim.items() if times else ():
            found[attribute] = value if found.get(attribute, value) == value else -1
    return tuple(found.items())


_COLOURS = {
    "black": r"black|raven|jet",
    "brown": r"brown|brunette|chestnut",
    "blond": r"blond|golden|platinum",
    "red": r"red|redhead|auburn|ginger|copper",
    "grey": r"grey|silver",
    "white": r"white",
    "blue": r"blue",
    "green": r"green",
    "pink": r"pink|purple",
}
# (what, the phrases that it is about, what they may say): two phrases that say different things
# contradict one another.
_ALTERNATIVES: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    (
        "hair colours",
        r"hair|haircut|ponytail|braids?|bun|curls|bob|pixie|bangs|locks|\w+ cut",
        _COLOURS,
    ),
    (
        "lengths of hair",
        r"hair|\w+ cut|braids?",
        {
            "short": r"short|cropped|buzz|crew|pixie",
            "middle": r"shoulder-length|chin-length|medium-length",
            "long": r"long|waist-length|braids?",
        },
    ),
    ("textures of hair", r"hair", {"straight": r"straight|sleek", "wavy": r"wavy|curly|coily"}),
    ("eye colours", r"eyes", {**_COLOURS, "hazel": "hazel"}),
    ("eyes", r"eyes", {"open": r"open|wide open", "closed": r"closed|shut"}),
    ("mouths", r"mouth|lips", {"open": r"open|parted", "closed": r"closed|pursed|pressed"}),
    (
        "shapes of the face",
        r"face",
        {shape: shape for shape in ("oval", "round", "square", "heart-shaped", "slender")},
    ),
)
_WORN = {
    "beards": r"beards?|bearded|beardless|clean-shaven|goatee|moustache|stubble|facial hair",
    "glasses": r"\w*glasses|spectacles|goggles|monocle",
    "hats": r"hats?|cap|beanie|beret|fedora|turban|helmet|hijab|headscarf|bandana|bonnet|tiara",
    "earrings": r"earrings?",
    "make-up": r"make-?up|lipstick|mascara|eyeliner",
}
_NONE = r"no|without|clean-shaven|beardless|hatless"


@lru_cache(maxsize=1 << 16)
def _has(pattern: str, text: str) -> bool:
    return re.search(rf"\b(?:{pattern})\b", text) is not None


def contradictions(context: Sequence[str]) -> list[str]:
    """Return why phrases of one prompt exclude one another, or an empty list."""
    texts = [part for phrase in context for part in normal(phrase).split(" and ")]
    head = [text for text in texts if not _has(r"beard|facial hair|eyebrows?|eyelashes", text)]
    reasons = []
    for what, noun, options in _ALTERNATIVES:
        said: list[tuple[str, set[str]]] = []
        for text in head:
            values = {name for name, pattern in options.items() if _has(pattern, text)}
            if values and _has(noun, text):
                said.append((text, values))
        for (first, a), (second, b) in combinations(said, 2):
            if not a & b:
                reasons.append(f"two {what}: {first!r} and {second!r}")
    for what, noun in _WORN.items():
        worn = [text for text in texts if _has(noun, text) and not _has(_NONE, text)]
        bare = [text for text in texts if _has(_NONE, text) and _has(noun, text)]
        if worn and bare:
            reasons.append(f"{bare[0]!r} contradicts {worn[0]!r}")
        if what in ("glasses", "hats") and len(worn) > 1:
            reasons.append(f"two {what}: {worn[0]!r} and {worn[1]!r}")
    bald = [text for text in head if _has(r"bald|shaved head|hairless", text)]
    hairy = [
        text
        for text in head
        # "A bald scalp with a fringe of white hair" is no contradiction.
        if text not in bald and _has(rf"{_ALTERNATIVES[0][1]}|afro|dreadlocks|mohawk|updo", text)
    ]
    if bald and hairy:
        reasons.append(f"{bald[0]!r} contradicts {hairy[0]!r}")
    return reasons


_FACET_OF = tuple(
    (facet, re.compile(rf"\b(?:{pattern})\b"))
    for facet, pattern in (
        ("facial features", r"facial hair|make-?up"),
        (
            "background",
            r"background|backdrop|\w*lighting|(?:day|sun|candle|moon)light|outdoors|indoors|wall"
            r"|(?:evening|morning|soft|warm|studio|natural) light",
        ),
        (
            HEAD_POSE,
            r"(?:head|face|chin|neck|gaze)(?: (?:\w+ly|held|a bit|a little))* (?:turned|tilt\w*"
            r"|facing|angled|lowered|rais\w+|lifted|bowed|look\w+|level|upright|back|down|up"
            r"|cocked|leaning|resting|straight|thrown|tucked|thrust|rotated|inclined|dipped|held"
            r"|high|forward|to the)"
            r"|(?:tilted|turned|lowered|raised|lifted|bowed|cocked|inclined) (?:head|chin|face)"
            r"|head[- ]on|tilt of the head|direct gaze|eye contact"
            r"|(?:turned|tilted|facing|angled|looking|gazing|glancing|leaning)\b.*\b(?:camera|left"
            r"|right|up\w*|down\w*|away|sides?|sideways|shoulder|ahead|forward|viewer|distance)"
            r"|(?:side|full|half)?[- ]?profile|three-quarter|(?:side|front\w*) view|frontal",
        ),
        (
            "accessories",
            r"\w*glasses|spectacles|goggles|monocle|hats?|cap|beanie|beret|fedora|turban|helmet"
            r"|hijab|headscar(?:f|ves)|headband|hairband|bandana|scarf|shawl|bonnet|visor|tiara"
            r"|crown|earrings?|earbuds?|studs?|necklace|pendant|choker|chain|piercing|rings?|brooch"
            r"|headphones|hair (?:clips?|pins?|bow|tie)|ribbon|veil|mask|eye ?patch|barrette"
            r"|locket|hearing aid|bow tie|flower",
        ),
        (
            "hair",
            r"hair\w*|bald\w*|shaved head|ponytails?|pigtails|braids?|bun|curls|ringlets|afro|bob"
            r"|dreadlocks|cornrows|pixie|bangs|fringe|mohawk|locks|mullet|\w+ cut|undercut"
            r"|strands?|quiff|pompadour|updo|chignon|tresses|fade|redhead|brunette",
        ),
        (
            "clothing",
            r"\w*shirt|blouse|jacket|sweater|hoodie|\w*coat|collar|suit|(?:neck)?tie|dress|turtleneck"
            r"|vest|cardigan|uniform|top|blazer|pullover|jumper|gown|denim",
        ),
        (
            "facial features",
            r"eyes?|\w*brows?|nose|lips?|mouth|cheeks?|cheekbones|jaw\w*|chin|face|faced|skin"
            r"|complexion|freckles?|\w*beard\w*|goatee|moustache|stubble|sideburns|dimples?"
            r"|wrinkles?|forehead|\w*lashes|mole|scar|birthmark|features|lipstick|mascara|eyeliner"
            r"|crow's feet|\w+ lines|teeth|expression|smile|grin|frown|clean-shaven|ears|cleft"
            r"|beauty mark|age spots|looks?|gaze|stare|glance",
        ),
    )
)


@lru_cache(maxsize=1 << 14)
def facet_of(phrase: str) -> str | None:
    """Return the facet that a phrase belongs to by the words in it, or None where none is known.

    A rule of thumb: it is right for every phrase of this study's vocabularies (which a test holds
    it to), and can be wrong for what a language model writes.
    """
    text = normal(phrase)
    return next((facet for facet, pattern in _FACET_OF if pattern.search(text)), None)
