"""Chapter 32: other ways to select as many tensors (Table 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from repro.aimfair.strategies import rows_of
from repro.chapters.aim.contrasts import ACC, EO, WST, fine_tuning_claim, versus
from repro.chapters.aim.plans import aim_experiment, bases_of, tuning
from repro.study.claims import Contrast
from repro.study.experiments import Plan
from repro.study.profiles import Profile

NOTEBOOK = "32_selection_rules"

#: Rows of the paper's table, by the keys of the plan.
TABLE_4 = rows_of("4")


#: What the paper calls the best of each kind.
BEST_IN_TABLE_4 = {
    "random": "Best random selection",
    "update": "Best sub-tuning (updating one block)",
    "freeze": "Best sub-tuning (freezing one block)",
}


@aim_experiment(NOTEBOOK)
def selection_rules(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 4: random tensors, one block updated or frozen, cosine mask, absolute mask."""
    bases = bases_of(profile, seeds)
    plan: Plan = {"erm": list(bases)}
    if profile.faces.synthetic is None:
        return plan
    for draw in range(profile.faces.random_draws):
        plan[f"random {draw}"] = [tuning(profile, base, "random", draw=draw) for base in bases]
    for rule in ("update", "freeze"):
        for block in profile.faces.blocks:
            # Updating the head alone is linear probing: one run under two names.
            alone = rule == "update" and block == "fc"
            plan[f"{rule} {block}"] = [
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

        draws = tuple(f"random {draw}" for draw in range(profile.faces.random_draws))
        found = against(draws, "random", f"the mean of {len(draws)} random draws of tensors")
        for rule in ("update", "freeze"):
            for block in profile.faces.blocks:
                found += against(f"{rule} {block}", rule, None)
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
