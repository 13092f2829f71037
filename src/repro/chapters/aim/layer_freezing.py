"""Chapter 30: one block is frozen, the others are fine-tuned (Figure 2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from repro.chapters.aim.contrasts import EO, WST, fine_tuning_claim, versus
from repro.chapters.aim.plans import aim_experiment, bases_of, tuning
from repro.chapters.aim.tables import METRICS
from repro.chapters.substitutions import TUNED
from repro.study.claims import Contrast
from repro.study.experiments import Plan
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.tables import Html, known_values, points, source

if TYPE_CHECKING:
    from repro.study.session import View

NOTEBOOK = "30_layer_freezing"

FIGURE_2 = {"fully fine-tuning": "freeze none (fully fine-tuning)", "freeze fc": "freeze fc"} | {
    f"freeze layer{i}": f"freeze block-{i}" for i in (1, 2, 3, 4)
}


@aim_experiment(NOTEBOOK)
def layer_freezing(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Figure 2: one block frozen, the rest trained; beside it all trained, and the start."""
    bases = bases_of(profile, seeds)
    plan: Plan = {"erm": list(bases)}
    if profile.faces.synthetic is None:
        return plan
    plan["fully fine-tuning"] = [tuning(profile, base, "fully fine-tuning") for base in bases]
    for block in profile.faces.blocks:
        plan[f"freeze {block}"] = [tuning(profile, base, "freeze", block=block) for base in bases]
    return plan


def _frozen(metrics: Sequence[str]) -> Callable[[Profile], list[Contrast]]:
    """Return each block frozen against none."""
    return lambda profile: [
        contrast
        for block in profile.faces.blocks
        for contrast in versus(
            profile,
            f"freeze {block}",
            "fully fine-tuning",
            metrics,
            table="fig2",
            rows=(FIGURE_2.get(f"freeze {block}"), FIGURE_2["fully fine-tuning"]),
            slack=0.001,
        )
    ]


def frozen_blocks(view: View) -> Results:
    """Return the records of each block that was frozen."""
    return {key: records for key, records in view.results.items() if key.startswith("freeze")}


def lead_and_noise(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lead of the best block over the mean of all, and the noise of one measurement.

    A seed shifts all blocks alike, so the noise is what remains without row and column means.

    Parameters
    ----------
    table
        A metric, the more the better, (..., seeds, blocks); two of each at least.

    Returns
    -------
    tuple of numpy.ndarray
        The lead and the estimate of σ, both (...), in the unit of the metric.
    """
    blocks, seeds = table.mean(-2, keepdims=True), table.mean(-1, keepdims=True)
    rest = table - blocks - seeds + table.mean((-2, -1), keepdims=True)
    free = (table.shape[-2] - 1) * (table.shape[-1] - 1)
    lead = blocks.max((-2, -1)) - blocks.mean((-2, -1))
    return lead, np.sqrt((rest**2).sum((-2, -1)) / free)


def leads_by_chance(view: View) -> list[str | pd.DataFrame | Html]:
    """Return the lead of the best block beside that of equally good ones, by WST and by EO."""
    frozen = frozen_blocks(view)
    seeds = len(next(iter(frozen.values()), []))
    if len(frozen) < 2 or seeds < 2:
        return [f"**{view.label}**: a lead by chance takes two blocks and two seeds."]
    rows = []
    for metric, sign in ((WST, 1), (EO, -1)):
        ours = sign * np.array([known_values(records, metric) for records in frozen.values()]).T
        lead, noise = lead_and_noise(ours)
        leads, noises = lead_and_noise(np.random.default_rng(0).normal(size=(20_000, *ours.shape)))
        as_large = np.mean(leads / noises * noise >= lead - 1e-12)
        rows.append(
            {
                "test metric": METRICS[metric],
                "best block": list(frozen)[int(ours.mean(0).argmax())],
                "leads the mean by": points(float(lead)),
                "σ": points(float(noise)),
                "expected if all are equally good": points(float(noise * leads.mean())),
                "as large a lead by chance": f"{as_large:.1%}",
            }
        )
    heading = f"**{view.label}**, points; {seeds} seeds, {len(frozen)} blocks:"
    return [heading, pd.DataFrame(rows), source(frozen, view.label, view.again)]


CLAIMS = (
    fine_tuning_claim(
        "layer-freezing",
        "Figure 2",
        "Freezing one block instead of none can be fairer.",
        NOTEBOOK,
        layer_freezing,
        _frozen((EO,)),
        _frozen((WST,)),
        kind="any",
        touches=TUNED,
    ),
)
