"""How often is the rule wrong? The rule, applied to made-up effects with the recorded noise.

A claim is taken as it stands under a profile: its contrasts, their margins, and the standard
deviations over seeds that its records have. The effect is what the paper reports; where it reports
none, or one on the other side, twice the margin. Differences are drawn from normal distributions
around a multiple of that effect, and judged. Where seeds split the same people again, the mean of
a study has the variance that the interval takes it to have.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from repro.study.claims import Contrast
from repro.study.rule import HOLDS, IN_PART, NOT, Sample, best_of, outcome, word_of
from repro.study.verdicts import Verdict

MULTIPLES = {"as claimed": 1.0, "half of it": 0.5, "none": 0.0, "the opposite": -1.0}
"""Effects that are tried, in units of the paper's."""

SEEDS = (3, 5, 10, 20)


@dataclass(frozen=True)
class Case:
    """A claim's k contrasts, without its records.

    Attributes
    ----------
    margins, deviations
        (k,) margins, and standard deviations over seeds.
    effects
        (k,) what the paper reports; 0 for "no worse".
    told
        (k,) the same as the rule is told it: 0 where the paper reports nothing for this task.
    needed
        (k,) which are of kind "no worse".
    per_seed
        n_test / n_train where seeds draw overlapping splits.
    """

    name: str
    kind: str
    margins: tuple[float, ...]
    deviations: tuple[float, ...]
    effects: tuple[float, ...]
    told: tuple[float, ...]
    needed: tuple[bool, ...]
    per_seed: float = 0.0


def case_of(verdict: Verdict) -> Case | None:
    """Return a judged claim as a case; None where its records do not tell its noise."""
    found = verdict.judged
    noise = tuple(j.found.deviation for j in found)
    if not found or verdict.claim.kind == "construction":
        return None
    if any(math.isnan(deviation) or deviation == 0 for deviation in noise):
        return None
    return Case(
        verdict.claim.name,
        verdict.claim.kind,
        tuple(j.contrast.margin for j in found),
        noise,
        tuple(_effect(j.contrast) for j in found),
        tuple(j.contrast.told if j.contrast.reported is not None else 0.0 for j in found),
        tuple(j.contrast.kind == "no worse" for j in found),
        found[0].found.per_seed,
    )


def _effect(contrast: Contrast) -> float:
    if contrast.kind == "no worse":
        return 0.0
    return contrast.told if contrast.told > 0 else 2 * contrast.margin


def words(case: Case, multiple: float, seeds: int, times: int) -> Counter[str]:
    """Return how often a claim gets each word.

    Parameters
    ----------
    multiple
        The true effect, in units of the paper's; of each contrast.
    seeds
        n of each study.
    times
        How many studies are made up.
    """
    of_case = zlib.crc32(case.name.encode())
    rng = np.random.default_rng([0, seeds, round(1000 * (multiple + 2)), of_case])
    margins, noise = np.array(case.margins), np.array(case.deviations)
    effects = multiple * np.array(case.effects)
    if case.kind == "best":
        return Counter(_best(case, effects, seeds, rng) for _ in range(times))
    studies = (times, len(margins), seeds)
    # What all splits of the same people have in common does not average out.
    shared = rng.normal(effects, noise * math.sqrt(case.per_seed), studies[:2])
    drawn = rng.normal(shared[..., None], noise[:, None], studies)
    found: Counter[str] = Counter()
    of_each = (case.margins, case.needed, case.told)
    for means, deviations in zip(
        drawn.mean(-1).tolist(), drawn.std(-1, ddof=1).tolist(), strict=True
    ):
        outcomes = [
            outcome(
                Sample(mean, deviation, seeds),
                margin,
                kind="no worse" if kept else "better",
                per_seed=case.per_seed,
                told=told,
            )
            for mean, deviation, margin, kept, told in zip(means, deviations, *of_each, strict=True)
        ]
        found[word_of(case.kind, outcomes, case.needed)[0]] += 1
    return found


def _best(case: Case, effects: np.ndarray, seeds: int, rng: np.random.Generator) -> str:
    """Judge one made-up study of the kind "best"; its last contrast is with the rivals' mean."""
    rivals = len(effects) - 1
    # The difference of two settings has the recorded deviation where each has its root half.
    own = float(np.mean(case.deviations[:rivals])) / math.sqrt(2)
    values = (
        rng.normal(0, own, (rivals + 1, seeds)) - np.concatenate([[0], effects[:rivals]])[:, None]
    )
    mean = outcome(list(values[0] - values[1:].mean(0)), case.margins[-1])
    return best_of(values, case.margins[:-1], mean)[1]


def errors(cases: Sequence[Case], times: int = 100) -> pd.DataFrame:
    """Return how often each word is given, over cases.

    Returns
    -------
    pandas.DataFrame
        Columns claim, effect (a key of `MULTIPLES`), seeds, word, share.
    """
    rows = [
        (case.name, effect, n, word, count / times)
        for case in cases
        for effect, multiple in MULTIPLES.items()
        for n in SEEDS
        for word, count in words(case, multiple, n, times).items()
    ]
    return pd.DataFrame(rows, columns=["claim", "effect", "seeds", "word", "share"])


def wrong(table: pd.DataFrame) -> pd.DataFrame:
    """Return the two errors that matter, mean over claims, by number of seeds.

    Returns
    -------
    pandas.DataFrame
        A row for each number of seeds: the share in which a true effect "does not hold", and that
        in which no effect "holds", or holds in part; and those in which a true effect does.
    """
    claims = table["claim"].nunique()

    def share(effect: str, word: str) -> pd.Series:
        rows = table[(table["effect"] == effect) & (table["word"] == word)]
        return rows.groupby("seeds")["share"].sum().reindex(list(SEEDS), fill_value=0.0) / claims

    return pd.DataFrame(
        {
            "true, called 'does not hold'": share("as claimed", NOT),
            "none, called 'holds'": share("none", HOLDS),
            "none, called 'holds in part'": share("none", IN_PART),
            "true, called 'holds'": share("as claimed", HOLDS),
            "true, called 'holds in part'": share("as claimed", IN_PART),
        }
    )
