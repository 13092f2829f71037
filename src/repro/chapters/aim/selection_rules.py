"""Chapter 32: other ways to select as many tensors (Table 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.figure import Figure

from repro.aimfair.mask import jaccard
from repro.aimfair.strategies import STRATEGIES, rows_of
from repro.chapters.aim.contrasts import ACC, EO, WORDS, WST, fine_tuning_claim, task, versus
from repro.chapters.aim.plans import aim_experiment, bases_of, block_key, tuning
from repro.chapters.aim.recorded_masks import mask, sensitivities
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
from repro.study.runs import Record
from repro.study.tables import Html, differences, means, source

if TYPE_CHECKING:
    from repro.study.session import View

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
    if profile.faces.synthetic is None:
        return plan
    for draw in range(profile.faces.random_draws):
        plan[_random(draw)] = [tuning(profile, base, "random", draw=draw) for base in bases]
    for rule in ("update", "freeze"):
        for block in profile.faces.blocks:
            # Updating the head alone is linear probing: one run under two names.
            alone = rule == "update" and block == "fc"
            plan[block_key(rule, block)] = [
                tuning(profile, base, "linear probing")
                if alone
                else tuning(profile, base, rule, block=block)
                for base in bases
            ]
    plan["cosine mask"] = [tuning(profile, base, "cosine mask") for base in bases]
    plan["mask"] = [tuning(profile, base, "mask") for base in bases]
    plan["fully fine-tuning"] = [tuning(profile, base, "fully fine-tuning") for base in bases]
    return plan


def _against_rules(metrics: Sequence[str]) -> Callable[[Profile], list[Contrast]]:
    """Return the mask against the mean of the random draws, and against every block.

    The paper reports the best of each kind: so the mask must beat every one by as much.
    """

    def contrasts(profile: Profile) -> list[Contrast]:
        def against(key: str | tuple[str, ...], best: str, words: str | None) -> list[Contrast]:
            found = versus(
                profile,
                "mask",
                key,
                metrics,
                table="4",
                rows=(TABLE_4["mask"], BEST_IN_TABLE_4[best]),
                words=words,
            )
            # The row is that of the paper's best, which is none of ours: it sets the margin alone.
            return [replace(c, reported=None, elsewhere=c.reported or c.elsewhere) for c in found]

        draws = tuple(map(_random, range(profile.faces.random_draws)))
        found = against(draws, "random", f"the mean of {len(draws)} random draws of tensors")
        for rule in ("update", "freeze"):
            for block in profile.faces.blocks:
                found += against(block_key(rule, block), rule, None)
        return found

    return contrasts


def _absolute(metrics: Sequence[str]) -> Callable[[Profile], list[Contrast]]:
    rows = (TABLE_4["mask"], TABLE_4["cosine mask"])
    return lambda profile: versus(profile, "mask", "cosine mask", metrics, table="4", rows=rows)


CLAIMS = (
    fine_tuning_claim(
        "selection-rules",
        "Table 4",
        "The mask is fairer than random tensors, than updating one block and than freezing one.",
        NOTEBOOK,
        selection_rules,
        _against_rules((EO,)),
        _against_rules((WST,)),
        notes=(
            "the paper compares with the best of each kind: here with the mean of the random draws "
            "and with every block",
        ),
    ),
    fine_tuning_claim(
        "absolute-vs-cosine",
        "Table 4",
        "Ranking by absolute difference is fairer than ranking by cosine similarity.",
        NOTEBOOK,
        selection_rules,
        _absolute((EO,)),
        _absolute((WST, ACC)),
    ),
)


def rules(profile: Profile) -> list[str | pd.DataFrame]:
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


def what_trains(view: View) -> list[str | pd.DataFrame | View]:
    """Return how many tensors and parameters each setting trains."""
    if len(view.results) < 2:
        return []
    table = training_images(view.results, named(view.results))
    heading = f"**{view.label}**, what trains, lowest to highest seed:"
    return [heading, table[["setting", "tensors", "parameters"]], view]


def beside_paper(view: View) -> list[str | Figure | pd.DataFrame | View]:
    """Return figure and table of every setting, the two masks beside the paper's."""
    said = [nothing_of(view, "fine-tuned model is")] if len(view.results) < 2 else []
    reported = aim_keyed("4", task(view.profile), TABLE_4)
    names = named(view.results)
    return [*said, *figures.beside_paper(view, METRICS, names, reported, (WST, EO, ACC))]


def seed_by_seed(view: View) -> list[str | pd.DataFrame]:
    """Return the mask against every other setting."""
    others = [key for key in view.results if key != "mask" and "mask" in view.results]
    return paired(view, [(f"SFT − {WORDS.get(key, key)}", "mask", key) for key in others])


def of_kind(results: Results, kind: str) -> Results:
    """Return the settings of a kind of `BEST_IN_TABLE_4`, e.g. each block that is updated."""
    # Updating the head alone is linear probing: one run under two names.
    return of_strategy(results, kind, *(["linear probing"] if kind == "update" else []))


def best_of_each_kind(view: View) -> list[str | pd.DataFrame | Html]:
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


def ways_to_choose(view: View) -> list[str | pd.DataFrame]:
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


def two_masks(view: View, k: int) -> list[str | pd.DataFrame | Html]:
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


def rank_correlation(record: Record, kind: str) -> float:
    """Return Spearman's correlation of domain and fairness sensitivity over tensors."""
    domain, fairness = sensitivities(record, kind=kind)
    return float(pd.Series(domain).corr(pd.Series(fairness), method="spearman"))
