"""Chapter 32: other ways to select as many tensors (Table 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from repro.aimfair.mask import jaccard
from repro.aimfair.strategies import STRATEGIES, rows_of
from repro.chapters.aim.contrasts import ACC, EO, WORDS, WST, aim_claim, task, versus
from repro.chapters.aim.plans import aim_experiment, bases_of, block_key, tunings
from repro.chapters.aim.recorded_masks import mask, rank_correlation
from repro.chapters.aim.tables import (
    METRICS,
    averages,
    best_of,
    named,
    nothing_of,
    of_strategy,
    paired,
    training_images,
)
from repro.chapters.reported import aim_keyed
from repro.study import figures
from repro.study.claims import Contrast
from repro.study.experiments import Plan
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.session import Part, View
from repro.study.tables import differences, means, source

NOTEBOOK = "32_selection_rules"

#: Rows of the paper's table, by the keys of the plan.
TABLE_4 = rows_of("4")


#: What the paper calls the best of each kind.
BEST_IN_TABLE_4 = {
    "random": "Best random selection",
    "update": "Best sub-tuning (updating one block)",
    "freeze": "Best sub-tuning (freezing one block)",
}


def _random(draw: int) -> str:
    return f"random {draw}"


@aim_experiment(NOTEBOOK)
def selection_rules(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 4: random tensors, one block updated or frozen, cosine mask, absolute mask."""
    bases = bases_of(profile, seeds)
    plan: Plan = {"erm": list(bases)}
    settings: dict[str, dict[str, Any]] = {
        _random(draw): {"strategy": "random", "draw": draw}
        for draw in range(profile.faces.random_draws)
    }
    for rule in ("update", "freeze"):
        for block in profile.faces.blocks:
            # Updating the head alone is linear probing: one run under two names.
            alone = rule == "update" and block == "fc"
            one = {"strategy": "linear probing"} if alone else {"strategy": rule, "block": block}
            settings[block_key(rule, block)] = one
    settings |= {"cosine mask": {}, "mask": {}, "fully fine-tuning": {}}
    return plan | tunings(profile, bases, settings)


def _against_rules(profile: Profile, metric: str) -> list[Contrast]:
    """Return the mask against the mean of the random draws, and against every block.

    The paper reports the best of each kind: so the mask must beat every one by as much.
    """
    draws = tuple(map(_random, range(profile.faces.random_draws)))
    said = f"the mean of {len(draws)} random draws of tensors"
    rivals: list[tuple[str | tuple[str, ...], str, str | None]] = [(draws, "random", said)]
    rivals += [
        (block_key(rule, block), rule, None)
        for rule in ("update", "freeze")
        for block in profile.faces.blocks
    ]
    found = []
    for key, kind, words in rivals:
        rows = (TABLE_4["mask"], BEST_IN_TABLE_4[kind])
        found += versus(profile, "mask", key, (metric,), table="4", rows=rows, words=words)
    # The row is that of the paper's best, which is none of ours: it sets the margin alone.
    return [replace(c, reported=None, elsewhere=c.reported or c.elsewhere) for c in found]


def _absolute(profile: Profile, *metrics: str) -> list[Contrast]:
    rows = (TABLE_4["mask"], TABLE_4["cosine mask"])
    return versus(profile, "mask", "cosine mask", metrics, table="4", rows=rows)


CLAIMS = (
    aim_claim(
        "selection-rules",
        "Table 4",
        "The mask is fairer than random tensors, than updating one block and than freezing one.",
        NOTEBOOK,
        selection_rules,
        lambda profile: _against_rules(profile, EO),
        lambda profile: _against_rules(profile, WST),
        notes=(
            "the paper compares with the best of each kind: here with the mean of the random draws "
            "and with every block",
        ),
    ),
    aim_claim(
        "absolute-vs-cosine",
        "Table 4",
        "Ranking by absolute difference is fairer than ranking by cosine similarity.",
        NOTEBOOK,
        selection_rules,
        lambda profile: _absolute(profile, EO),
        lambda profile: _absolute(profile, WST, ACC),
    ),
)


def rules(profile: Profile) -> list[Part]:
    """Return what trains under each rule, and the settings of a profile that they have."""
    shown = ("random", "update", "freeze", "cosine mask", "mask")
    table = pd.DataFrame(
        [{"rule": rule, "what trains": STRATEGIES[rule].meaning} for rule in shown]
    )
    faces = profile.faces
    settings = (
        f"Profile `{profile.name}`: k = {faces.k}, {faces.random_draws} random draw(s), "
        f"blocks {', '.join(faces.blocks)}."
    )
    return [table, settings]


def what_trains(view: View) -> list[Part]:
    """Return how many tensors and parameters each setting trains."""
    if len(view.results) < 2:
        return []
    table = training_images(view.results, named(view.results))
    heading = f"**{view.label}**, what trains, lowest to highest seed:"
    return [heading, table[["setting", "tensors", "parameters"]], view]


def beside_paper(view: View) -> list[Part]:
    """Return figure and table of every setting, the two masks beside the paper's."""
    said = [nothing_of(view, "fine-tuned model is")] if len(view.results) < 2 else []
    reported = aim_keyed("4", task(view.profile), TABLE_4)
    names = named(view.results)
    return [*said, *figures.beside_paper(view, METRICS, names, reported, (WST, EO, ACC))]


def seed_by_seed(view: View) -> list[Part]:
    """Return the mask against every other setting."""
    others = [key for key in view.results if key != "mask" and "mask" in view.results]
    return paired(view, [(f"SFT − {WORDS.get(key, key)}", "mask", key) for key in others])


def of_kind(results: Results, kind: str) -> Results:
    """Return the settings of a kind of `BEST_IN_TABLE_4`, e.g. each block that is updated."""
    # Updating the head alone is linear probing: one run under two names.
    return of_strategy(results, kind, *(["linear probing"] if kind == "update" else []))


def best_of_each_kind(view: View) -> list[Part]:
    """Return the setting of each kind that is best on test images, against the two masks."""
    if "mask" not in view.results:
        return []
    settings = {kind: of_kind(view.results, kind) for kind in BEST_IN_TABLE_4}
    chosen = {best_of(found, WST): kind for kind, found in settings.items() if found}
    rows = {key: BEST_IN_TABLE_4[kind] for key, kind in chosen.items()} | TABLE_4
    names = {key: f"best of {WORDS[kind]}, on test data: {key}" for key, kind in chosen.items()}
    names |= {key: WORDS[key] for key in TABLE_4}
    paper = view.paper(aim_keyed("4", task(view.profile), rows))
    pairs = [(f"SFT − {key}", "mask", key) for key in names if key != "mask"]
    shown = {key: view.results[key] for key in names if key in view.results}
    return [
        f"**{view.label}**",
        means(view.results, METRICS, names, paper),
        differences(view.results, METRICS, pairs),
        source(shown, view.label, view.again),
    ]


def ways_to_choose(view: View) -> list[Part]:
    """Return which setting of each kind validation images choose, and a blind choice's mean."""
    rows = []
    for kind in BEST_IN_TABLE_4:
        settings = of_kind(view.results, kind)
        if len(settings) < 2:  # nothing to choose from
            continue
        for how, quantity in (
            ("test WST, as above", WST),
            ("validation WST", f"validation:{WST}"),
            ("validation ACC", f"validation:{ACC}"),
        ):
            key = best_of(settings, quantity)
            row = {"kind": WORDS[kind], "chosen by": how, "setting": key}
            rows.append(row | averages(settings[key]))
        row = {"kind": WORDS[kind], "chosen by": "nothing: the mean"}
        row["setting"] = f"all {len(settings)}"
        rows.append(row | averages([r for records in settings.values() for r in records]))
    if not rows or "mask" not in view.results:
        return []
    own = {"kind": WORDS["mask"], "chosen by": "", "setting": f"mask, k = {view.profile.faces.k}"}
    rows.append(own | averages(view.results["mask"]))
    return [f"**{view.label}**, test part, mean over seeds:", pd.DataFrame(rows)]


def two_masks(view: View, k: int) -> list[Part]:
    """Return how alike the masks by absolute difference and by cosine are, seed by seed."""
    records = view.results.get("train, augmented", [])
    if not records:
        return [nothing_of(view, "sensitivities are")]
    rows = []
    for record in records:
        absolute, cosine = (mask(record, k, kind=kind) for kind in ("absolute", "cosine"))
        # What two random masks of these sizes share on average; two empty ones are the same.
        shared = len(absolute) * len(cosine) / len(record.results["tensors"])
        either = len(absolute) + len(cosine) - shared
        chance = shared / either if either else 1.0
        rows.append(
            {
                "seed": record.config["seed"],
                "tensors, absolute": len(absolute),
                "tensors, cosine": len(cosine),
                "in both": len(absolute & cosine),
                "Jaccard": f"{jaccard(absolute, cosine):.2f}",
                "by chance, about": f"{chance:.2f}",
                "rank correlation, absolute": f"{rank_correlation(record, 'absolute'):+.2f}",
                "rank correlation, cosine": f"{rank_correlation(record, 'cosine'):+.2f}",
            }
        )
    heading = f"**{view.label}**, k = {k}:"
    return [heading, pd.DataFrame(rows), source(records, view.label, view.again)]
