"""Chapter 36: a share of the photographs (Table 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repro.chapters.aim.contrasts import (
    ACC,
    BETTER,
    EO,
    MAIN_TASK,
    SHORT,
    WORDS,
    WST,
    aim_claim,
    biased,
    task,
    versus,
)
from repro.chapters.aim.plans import aim_experiment, known_strategies, share_key, training, tunings
from repro.chapters.aim.tables import METRICS, by_group, nothing_of, of_strategy, paired
from repro.chapters.reported import aim_keyed, aim_value
from repro.chapters.substitutions import ERM
from repro.study.claims import Contrast
from repro.study.experiments import Plan
from repro.study.figures import GREY, LABELS, draw_line, in_points, palette
from repro.study.profiles import Profile
from repro.study.session import Part, View
from repro.study.tables import Reported, means

NOTEBOOK = "36_less_real_data"

TABLE_2 = {
    share_key(share, key): f"{name} @ {100 * share:g}% real"
    for share in (0.5, 0.25, 0.1)
    for key, name in (("erm", "ERM"), ("mask", "AIM-Fair"))
}


@aim_experiment(NOTEBOOK)
def less_real_data(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 2: a share of the real data, as many synthetic images; keys ``50 %, mask``."""
    plan: Plan = {}
    for fraction in profile.faces.fractions:
        data = profile.faces.data.model_copy(update={"fraction": fraction})
        bases = [training(profile, seed, data=data) for seed in seeds]
        plan[share_key(fraction, "erm")] = list(bases)
        names = known_strategies(profile, ("fully fine-tuning", "mask"))
        plan |= tunings(
            profile, bases, {share_key(fraction, name): {"strategy": name} for name in names}
        )
    return plan


def _fractions(profile: Profile) -> str:
    """Return the shares below one in words: "50, 25 and 10 %"."""
    shares = [f"{100 * share:g}" for share in sorted(profile.faces.fractions, reverse=True)]
    *most, last = [share for share in shares if share != "100"] or ["100"]
    return f"{', '.join(most)} and {last} %" if most else f"{last} %"


def _less_hurts(profile: Profile, *metrics: str) -> list[Contrast]:
    most, least = max(profile.faces.fractions), min(profile.faces.fractions)
    if most == least:
        return []
    return [
        Contrast(
            f"ERM on {least:.0%} of the real images against {most:.0%}: {SHORT[metric]}",
            share_key(least, "erm"),
            share_key(most, "erm"),
            metric,
            "less" if BETTER[metric] == "greater" else "greater",
            reported=_less_reported(task(profile), least, most, metric),
            elsewhere=_less_reported(MAIN_TASK, least, most, metric),
        )
        for metric in metrics
    ]


def _less_reported(where: str, least: float, most: float, metric: str) -> float | None:
    # All of the data is Table 1's row: Table 3 reports another baseline for the same setting.
    low = aim_value("2", where, f"ERM @ {100 * least:g}% real", metric)
    whole = aim_value("1", where, "ERM", metric) if most == 1 else None
    return None if low is None or whole is None else low - whole


def _still_helps(profile: Profile, *metrics: str) -> list[Contrast]:
    found = []
    for fraction in sorted(profile.faces.fractions, reverse=True):
        mask, erm = (share_key(fraction, name) for name in ("mask", "erm"))
        if fraction < 1:
            check = biased(profile, less_real_data, erm, f" of {100 * fraction:g} %")
            rows = TABLE_2.get(mask), TABLE_2.get(erm)
            own = versus(profile, mask, erm, metrics, table="2", rows=rows)
            found += [replace(contrast, check=check) for contrast in own]
    return found


CLAIMS = (
    aim_claim(
        "less-real-data",
        "Table 2",
        lambda profile: (
            f"With less real data ({min(profile.faces.fractions):.0%} instead of "
            f"{max(profile.faces.fractions):.0%}), the biased classifier is less fair."
        ),
        NOTEBOOK,
        less_real_data,
        lambda profile: _less_hurts(profile, EO),
        lambda profile: _less_hurts(profile, WST, ACC),
        touches=ERM,
        checks=lambda profile: (biased(profile),),
    ),
    aim_claim(
        "sft-with-less-data",
        "Table 2",
        lambda profile: (
            f"Selective fine-tuning is fairer than ERM with {_fractions(profile)} of the real "
            "data, too."
        ),
        NOTEBOOK,
        less_real_data,
        lambda profile: _still_helps(profile, EO),
        lambda profile: _still_helps(profile, WST, ACC),
    ),
)


NAMES = {key: WORDS[key] for key in ("erm", "fully fine-tuning", "mask")}


def shares(view: View) -> list[float]:
    """Return the shares of the real images, largest first."""
    return sorted(view.profile.faces.fractions, reverse=True)


def reported(view: View) -> Reported | None:
    """Return Table 2, and for all of the real data Table 1, where the data are real."""
    whole = {share_key(1, "erm"): "ERM", share_key(1, "mask"): "AIM-Fair"}
    where = task(view.profile)
    return view.paper(aim_keyed("2", where, TABLE_2) | aim_keyed("1", where, whole))


def training_sets(view: View) -> list[Part]:
    """Return how many images, real and synthetic, each share trains on."""
    rows = []
    for share in shares(view):
        keys = [share_key(share, name) for name in ("erm", "mask")]
        counts = [
            np.asarray(view.results[key][0].results["training_images"])
            for key in keys
            if key in view.results
        ]
        if keys[0] in view.results:
            row = {"share of real images": f"{100 * share:g} %"} | by_group(counts[0])
            row["real images"] = f"{counts[0].sum():,}"
            row["synthetic images, balanced"] = f"{counts[1].sum():,}" if counts[1:] else "none"
            rows.append(row)
    return [f"**{view.label}**, training images by group (t,p):", pd.DataFrame(rows), view]


def beside_paper(view: View) -> list[Part]:
    """Return figure and table of each share, beside what the paper reports."""
    names = {
        share_key(share, key): share_key(share, name)
        for share in shares(view)
        for key, name in NAMES.items()
    }
    table = means(view.results, METRICS, names, reported(view))
    tuned = of_strategy(view.results, "mask")
    missing = [] if tuned else [nothing_of(view, "fine-tuned model is")]
    return [*missing, fractions_figure(view), table, view]


def fractions_figure(view: View) -> Figure:
    """Draw each metric against the share of real images, one line for each strategy."""
    paper = reported(view)
    figure, panels = plt.subplots(1, 3, figsize=(10, 3.3))
    for axes, metric in zip(panels, METRICS, strict=True):
        for key, colour in zip(NAMES, palette("colorblind"), strict=False):
            _draw_strategy(axes, view, key, metric, colour, paper or {})
        axes.set_xscale("log")
        percents = [100 * share for share in shares(view)]
        axes.set_xticks(percents, [f"{percent:g}" for percent in percents])
        axes.minorticks_off()
        axes.set_xlabel("share of the real images (%)")
        axes.set_ylabel(LABELS[metric])
    if paper:
        panels[0].plot([], [], "D", color=GREY, fillstyle="none", label="paper")
    panels[0].legend(fontsize="x-small")
    figure.suptitle(view.label, fontsize="medium")
    return figure


def _draw_strategy(
    axes: Axes,
    view: View,
    key: str,
    metric: str,
    colour: tuple[float, float, float],
    paper: Reported,
) -> None:
    """Draw seeds as dots, means with their interval as a line, the paper as open diamonds."""
    beside = 1.06 ** (list(NAMES).index(key) - 1)  # strategies stand side by side
    values = {
        100 * share * beside: in_points(view.results[share_key(share, key)], metric)
        for share in shares(view)
        if share_key(share, key) in view.results
    }
    if not values:
        return
    draw_line(axes, values, colour, NAMES[key], dots=3)
    told = {100 * share: paper.get((share_key(share, key), metric)) for share in shares(view)}
    known = {p: 100 * number for p, number in told.items() if number is not None}
    axes.plot(list(known), list(known.values()), "D", color=colour, fillstyle="none")


def less_hurts(view: View) -> list[Part]:
    """Return each strategy at a smaller share against itself at the largest, seed by seed."""
    most, *smaller = shares(view)
    pairs = [
        (
            f"{name}: {100 * share:g} % − {100 * most:g} %",
            share_key(share, key),
            share_key(most, key),
        )
        for key, name in NAMES.items()
        for share in smaller
        if share_key(share, key) in view.results
    ]
    return paired(view, pairs, "one share only, nothing to compare.")


def lead(view: View) -> list[Part]:
    """Return selective fine-tuning against the others at every share, seed by seed."""
    pairs = [
        (
            f"{100 * share:g} %: SFT − {NAMES[key]}",
            share_key(share, "mask"),
            share_key(share, key),
        )
        for key in ("erm", "fully fine-tuning")
        for share in shares(view)
        if share_key(share, "mask") in view.results
    ]
    return paired(view, pairs, "SFT is not among these runs.")
