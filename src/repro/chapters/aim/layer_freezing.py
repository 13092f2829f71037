"""Chapter 30: one block is frozen, the others are fine-tuned (Figure 2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from repro.chapters.aim.contrasts import (
    ACC,
    EO,
    MAIN_TASK,
    WST,
    aim_claim,
    task,
    versus,
)
from repro.chapters.aim.figures import group_accuracy_figure
from repro.chapters.aim.plans import aim_experiment, bases_of, block_key, tunings
from repro.chapters.aim.tables import (
    METRICS,
    averages,
    best_of,
    named,
    of_strategy,
    paired,
)
from repro.chapters.reported import aim_keyed
from repro.chapters.substitutions import TUNED
from repro.study import figures
from repro.study.claims import Contrast
from repro.study.experiments import Plan
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.session import Part, View
from repro.study.tables import known_values, points, source

if TYPE_CHECKING:
    from torch import nn

NOTEBOOK = "30_layer_freezing"

FIGURE_2 = {
    "fully fine-tuning": "freeze none (fully fine-tuning)",
    block_key("freeze", "fc"): "freeze fc",
} | {block_key("freeze", f"layer{i}"): f"freeze block-{i}" for i in (1, 2, 3, 4)}


@aim_experiment(NOTEBOOK)
def layer_freezing(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Figure 2: one block frozen, the rest trained; beside it all trained, and the start."""
    bases = bases_of(profile, seeds)
    plan: Plan = {"erm": list(bases)}
    frozen = {
        block_key("freeze", block): {"strategy": "freeze", "block": block}
        for block in profile.faces.blocks
    }
    return plan | tunings(profile, bases, {"fully fine-tuning": {}, **frozen})


def _frozen(metrics: Sequence[str]) -> Callable[[Profile], list[Contrast]]:
    """Return each block frozen against none."""
    return lambda profile: [
        contrast
        for block in profile.faces.blocks
        for contrast in versus(
            profile,
            block_key("freeze", block),
            "fully fine-tuning",
            metrics,
            table="fig2",
            rows=(FIGURE_2.get(block_key("freeze", block)), FIGURE_2["fully fine-tuning"]),
            slack=0.001,
        )
    ]


CLAIMS = (
    aim_claim(
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


def block_sizes(model: nn.Module, blocks: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Return what freezing each block holds, and how many running statistics move all the same.

    Parameters
    ----------
    model
        The classifier.
    blocks
        Block -> names of its tensors, as :func:`repro.aimfair.finetune.blocks` groups them.
    """
    parameters = {name: tensor.numel() for name, tensor in model.named_parameters()}
    running = {name: b.numel() for name, b in model.named_buffers() if "running" in name}
    rows = []
    for block, names in blocks.items():
        layers = {name.rpartition(".")[0] for name in names}
        frozen = sum(parameters[name] for name in names)
        moving = sum(n for name, n in running.items() if name.rpartition(".")[0] in layers)
        rows.append(
            {
                "block": block,
                "in Figure 2": FIGURE_2.get(block_key("freeze", block), ""),
                "tensors": f"{len(names)} of {len(parameters)}",
                "scalar parameters": f"{frozen:,}",
                "share of parameters": f"{frozen / sum(parameters.values()):.2%}",
                "running statistics": f"{moving:,}",
            }
        )
    return pd.DataFrame(rows)


def frozen_blocks(view: View) -> Results:
    """Return the records of each block that was frozen."""
    return of_strategy(view.results, "freeze")


def beside_paper(view: View) -> list[Part]:
    """Return figure and table of each setting, beside Figure 2 as it was read off the plot."""
    said = [] if frozen_blocks(view) else [f"**{view.label}**: no block was frozen in these runs."]
    reported = aim_keyed("fig2", task(view.profile), FIGURE_2)
    return [*said, *figures.beside_paper(view, METRICS, named(view.results), reported)]


def groups_that_move(view: View) -> list[Figure]:
    """Return the accuracy of each group in each setting, where there is one beside ERM."""
    if len(view.results) < 2:
        return []
    return [group_accuracy_figure(view.results, named(view.results), title=view.label)]


def seed_by_seed(view: View) -> list[Part]:
    """Return each frozen block against none, and that against the start."""
    pairs = [(f"{key} − full fine-tuning", key, "fully fine-tuning") for key in frozen_blocks(view)]
    start = ("full fine-tuning − ERM", "fully fine-tuning", "erm")
    return paired(view, [*pairs, start] if pairs else [])


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


def leads_by_chance(view: View) -> list[Part]:
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


def best_in_figure_2() -> str:
    """Say which block is the best one in the paper's figure, by WST and by EO."""
    told = aim_keyed("fig2", MAIN_TASK, FIGURE_2)
    blocks = [key for key in FIGURE_2 if key != "fully fine-tuning"]
    by_wst = max(blocks, key=lambda key: told[key, WST])
    by_eo = min(blocks, key=lambda key: told[key, EO])
    return (
        "The paper's own Figure 2 (CelebA, Smiling | Male) gives one number for each block and no "
        "spread, so no such table can be made for it. Read off the plot, the highest WST is that "
        f"of **{FIGURE_2[by_wst]}**, {points(told[by_wst, WST])}, and the lowest EO that of "
        f"**{FIGURE_2[by_eo]}**, {points(told[by_eo, EO])}."
    )


def chosen_blocks(view: View) -> list[Part]:
    """Return what the block is worth that each way of choosing one takes, on the test part.

    Without test labels it is chosen on validation images; with them on the other seeds, so that
    number and block come from different ones, or on all, as who reads the figure does.
    """
    frozen = frozen_blocks(view)
    if not frozen:
        return []
    seeds = range(len(next(iter(frozen.values()))))
    # How it is chosen -> the block of each seed.
    chosen = {
        "validation accuracy": [best_of(frozen, f"validation:{ACC}")] * len(seeds),
        "validation worst-group accuracy": [best_of(frozen, f"validation:{WST}")] * len(seeds),
    }
    if len(seeds) > 1:
        chosen["test WST of the other seeds"] = [
            best_of(frozen, WST, [j for j in seeds if j != i]) for i in seeds
        ]
    chosen["test WST of all seeds, as the figure invites"] = [best_of(frozen, WST)] * len(seeds)
    rows = [
        {"chosen by": how, "block": ", ".join(dict.fromkeys(keys))}
        | averages([frozen[key][i] for i, key in enumerate(keys)])
        for how, keys in chosen.items()
    ]
    blind = averages([record for records in frozen.values() for record in records])
    rows.append({"chosen by": "nothing: the mean over blocks", "block": ""} | blind)
    return [f"**{view.label}**, test part, mean over seeds:", pd.DataFrame(rows)]
