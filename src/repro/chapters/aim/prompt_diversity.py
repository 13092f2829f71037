"""Chapter 33: plain and contextual prompts (Table 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import pandas as pd
from matplotlib.figure import Figure

from repro.chapters.aim.contrasts import ACC, EO, WST, aim_claim, reads, task, versus
from repro.chapters.aim.figures import group_accuracy_figure
from repro.chapters.aim.plans import aim_experiment, training
from repro.chapters.aim.synthetic import bank_of, variety
from repro.chapters.aim.tables import METRICS, paired
from repro.chapters.reported import aim_keyed
from repro.chapters.substitutions import PROMPT_SETS
from repro.settings import SyntheticFaces
from repro.study import figures
from repro.study.claims import Claim, Contrast
from repro.study.experiments import Plan
from repro.study.profiles import Profile
from repro.study.session import Part, View

NOTEBOOK = "33_prompt_diversity"

PLAIN, POSED = "plain", "contextual with head poses, 50"


TABLE_5 = {
    PLAIN: "Plain prompt (1)",
    "contextual, 25": "Contextual prompts (25)",
    "contextual, 50": "Contextual prompts (50)",
    POSED: "Contextual + head poses (50)",
}


def prompt_sets(profile: Profile, seed: int) -> dict[str, SyntheticFaces]:
    """Return the synthetic faces of each set of prompts (Table 5), by a readable key.

    The claim is about prompts, so every seed of the study has prompts and images of its own: their
    seed is the profile's plus one plus the run's. A set holds no more images than are trained on.
    Lists that are given (``prompts_file``) are of the profile's own kind and the same in every
    seed; other kinds are written.
    """
    faces = profile.faces
    if faces.synthetic is None or faces.synthetic.source != "generator":
        return {}
    total = faces.prompt_total or faces.synthetic.total
    return {
        asked.key: faces.synthetic.model_copy(
            update={
                "prompts": asked.prompts,
                "prompts_per_group": asked.number,
                "total": total,
                "pool": -(-total // 4),
                "seed": faces.synthetic.seed + 1 + seed,
                "prompts_file": faces.synthetic.prompts_file
                if asked.prompts == faces.synthetic.prompts
                else None,
            }
        )
        for asked in faces.prompt_sets
    }


@aim_experiment(NOTEBOOK)
def prompt_diversity(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 5: a classifier trained on the synthetic images of each set of prompts alone."""
    sets = {seed: prompt_sets(profile, seed) for seed in seeds}
    return {
        key: [
            training(profile, seed, strategy="synthetic only", synthetic=sets[seed][key])
            for seed in seeds
        ]
        for key in sets[seeds[0]]
    }


#: What is compared: contextual prompts with a plain one, and more of them, or posed ones, with
#: fewer.
CONTEXT = tuple((key, PLAIN) for key in TABLE_5 if key != PLAIN)
MORE = (("contextual, 50", "contextual, 25"), (POSED, "contextual, 50"))


def _help(pairs: Sequence[tuple[str, str]], *metrics: str) -> Callable[[Profile], list[Contrast]]:
    """Return contrasts between sets of prompts, of those that the profile draws from."""

    def contrasts(profile: Profile) -> list[Contrast]:
        drawn = {asked.key for asked in profile.faces.prompt_sets}
        return [
            contrast
            for pair in pairs
            if drawn.issuperset(pair)
            for contrast in versus(
                profile, *pair, metrics, table="5", rows=(TABLE_5[pair[0]], TABLE_5[pair[1]])
            )
        ]

    return contrasts


def _more_said(profile: Profile) -> str:
    drawn = {asked.key for asked in profile.faces.prompt_sets}
    parts = ["more contextual prompts"] * ("contextual, 50" in drawn) + ["head poses"] * (
        POSED in drawn
    )
    what = ", and then ".join(parts) + "," * (len(parts) > 1) or "more contextual prompts"
    return f"{what[0].upper()}{what[1:]} make a classifier of their images more accurate still."


def _of_prompts(
    name: str,
    sentence: str | Callable[[Profile], str],
    contrasts: Callable[[Profile], list[Contrast]],
    beside: Callable[[Profile], list[Contrast]] = lambda profile: [],
    metric: str = ACC,
) -> Claim:
    """Return a claim on prompts: a classifier of their images alone must tell the target."""
    return aim_claim(
        name,
        "Table 5",
        sentence,
        NOTEBOOK,
        prompt_diversity,
        contrasts,
        beside,
        touches=PROMPT_SETS,
        checks=lambda profile: tuple(
            reads(prompt_diversity, key)
            for key in dict.fromkeys(k for c in contrasts(profile) for k in c.keys)
            if key != PLAIN  # which may teach less: that is what is claimed
        ),
        metric=metric,
    )


CLAIMS = (
    _of_prompts(
        "contextual-prompts",
        "A classifier trained on images from contextual prompts alone is fairer than one trained "
        "on images from a plain prompt.",
        _help(CONTEXT, EO),
        _help(CONTEXT, WST),
        EO,
    ),
    _of_prompts(
        "contextual-accuracy",
        "A classifier trained on images from contextual prompts alone is more accurate than one "
        "trained on images from a plain prompt.",
        _help(CONTEXT, ACC),
    ),
    _of_prompts(
        "more-prompts",
        _more_said,
        _help(MORE, ACC),
        # With head poses the paper's EO is larger on Smiling | Male: not claimed.
        _help(MORE, WST, EO),
    ),
)


def variety_of_sets(profile: Profile, seed: int) -> list[Part]:
    """Return who wrote each set of prompts of a seed, and how varied they are."""
    rows = []
    for key, asked in prompt_sets(profile, seed).items():
        bank = bank_of(profile.faces.data, asked)
        rows.append({"prompts": key, "written by": bank.model} | variety(bank))
    if not rows:
        return ["The synthetic images of this profile do not come from prompts."]
    return [pd.DataFrame(rows)]


def names(view: View) -> dict[str, str]:
    """Return the sets of prompts whose runs are shown, as the profile orders them, by key."""
    keys = (asked.key for asked in view.profile.faces.prompt_sets)
    return {key: key for key in keys if key in view.results}


def beside_paper(view: View) -> list[Part]:
    """Return figure and table of each set of prompts, beside what the paper reports."""
    if not names(view):
        return [
            f"**{view.label}**: nothing was run here: no images are "
            "drawn from prompts, or the profile lists other experiments (`faces.experiments`)."
        ]
    reported = aim_keyed("5", task(view.profile), TABLE_5)
    return [*figures.beside_paper(view, METRICS, names(view), reported)]


def group_accuracies(view: View) -> list[Figure]:
    """Return the accuracy of each group (t,p) by set of prompts."""
    sets = names(view)
    return [group_accuracy_figure(view.results, sets, title=view.label)] if sets else []


def seed_by_seed(view: View) -> list[Part]:
    """Return each set of prompts against the one before, then the later ones against the first."""
    keys = list(names(view))
    pairs = [*pairwise(keys), *((keys[0], key) for key in keys[2:])]
    return paired(view, [(f"{later} − {earlier}", later, earlier) for earlier, later in pairs])
