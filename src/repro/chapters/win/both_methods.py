"""Chapter 48: both methods on one classifier, AIM-Fair below the head and WIN in it."""

from __future__ import annotations

from collections.abc import Sequence

from repro.aimfair.strategies import COMPARED
from repro.chapters.aim import plans as aim_plans
from repro.chapters.aim.contrasts import WORDS
from repro.chapters.win.configs import NAMES, key_of
from repro.chapters.win.contrasts import SHORT
from repro.chapters.win.face_plans import Learnt, on_heads, pretrained
from repro.chapters.win.plans import under, under_each
from repro.chapters.win.tables import compared
from repro.study.experiments import Plan
from repro.study.figures import beside_paper
from repro.study.profiles import Profile
from repro.study.session import Part, View

NOTEBOOK = "48_both_methods"

#: Whose features a head is trained on: the biased classifier, fine-tuned whole, and selectively.
BELOW = ("erm", "fully fine-tuning", "mask")
#: The rank of two classes that cuts something.
RANK = 1


@aim_plans.aim_experiment(NOTEBOOK)
def both(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Plan WIN's strategies on the features of each classifier of `BELOW`; keys ``mask, tl``.

    Each seed has a classifier of its own, as in the chapters on AIM-Fair.
    """
    if profile.win.faces is None or profile.faces.synthetic is None:
        return {}
    if not set(BELOW) <= set(aim_plans.known_strategies(profile, COMPARED)):
        return {}

    def heads_on(name: str) -> Plan:
        bases = [pretrained(profile, s, on=_below(profile, s, name)) for s in seeds]
        return on_heads(profile, bases, (RANK,))

    return under_each(BELOW, heads_on)


def _below(profile: Profile, seed: int, strategy: str) -> Learnt:
    base = aim_plans.training(profile, seed)
    return base if strategy == "erm" else aim_plans.tuning(profile, base, strategy)


def tasks(profile: Profile) -> str:
    """Say what the classifiers below have learnt to tell, and what the heads learn."""
    task, below = profile.win.faces, profile.faces.data
    if task is None:
        return f"Profile `{profile.name}` does not run WIN on faces."
    said = f"Profile `{profile.name}`: the classifiers below tell {below.target} | "
    said += f"{below.protected}, small groups {below.bias_ratio:.2f} times as large as the others; "
    bias = "as the data are"
    if task.bias_ratio is not None:
        bias = f"small groups {task.bias_ratio:.2f} times as large, in every part"
    target = task.stacked_target or task.target
    said += f"the heads learn {target} | {task.protected}, {bias}."
    if (target, task.protected) == (below.target, below.protected):
        said += " That is the same task, on other images and with another bias."
    return said


#: The head's strategies, as keys end with them.
HEADS = {"tl": NAMES["tl"], key_of("svd", RANK): NAMES["svd"], key_of("win", RANK): NAMES["win"]}


#: What to call each setting.
SETTINGS = {
    under(name, key): f"{WORDS[name]} below, {head}"
    for name in BELOW
    for key, head in HEADS.items()
}


def results(view: View) -> list[Part]:
    """Return every setting as figure and table; no paper has them."""
    return beside_paper(view, SHORT, SETTINGS)


_WIN = key_of("win", RANK)
#: What is asked, the first setting and the second.
QUESTIONS = (
    ("AIM-Fair below, plain head: SFT − ERM", under("mask", "tl"), under("erm", "tl")),
    ("the same by full fine-tuning", under("fully fine-tuning", "tl"), under("erm", "tl")),
    ("WIN in the head, biased below: WIN − TL", under("erm", _WIN), under("erm", "tl")),
    ("WIN on top of AIM-Fair: WIN − TL", under("mask", _WIN), under("mask", "tl")),
    ("both against neither", under("mask", _WIN), under("erm", "tl")),
)


def seed_by_seed(view: View) -> list[Part]:
    """Return each question's difference, seed by seed."""
    pairs = [pair for pair in QUESTIONS if {*pair[1:]} <= view.results.keys()]
    if not pairs:
        return [f"**{view.label}**: no head is among these runs."]
    heading = f"**{view.label}**, points, 95 % interval over seeds:"
    return [heading, compared(view.results, pairs), view]
