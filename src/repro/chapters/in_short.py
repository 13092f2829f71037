"""What was found, in short: a picture and a table, for the README and the book's first page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from repro.aimfair.strategies import STRATEGIES
from repro.chapters.aim import is_it_the_mask
from repro.chapters.aim.contrasts import ACC, TABLE_3, WORDS, task, versus
from repro.chapters.aim.contrasts import EO as EO_MAX
from repro.chapters.aim.plans import strategies as of_aim_fair
from repro.chapters.reported import aim_value
from repro.chapters.win import face_plans
from repro.chapters.win.configs import key_of
from repro.chapters.win.contrasts import BASELINES, SHORT, against_baselines, below
from repro.chapters.win.contrasts import EO as EO_SUM
from repro.chapters.win.plans import against_retraining
from repro.chapters.win.tables import named, papers, row_of, settings
from repro.chapters.win.win_on_faces import MAIN, dataset_of
from repro.files import whole
from repro.study.claims import Contrast
from repro.study.glance import PARTS
from repro.study.intervals import amount, mean_interval
from repro.study.judging import judge
from repro.study.profiles import Paper, Profile, load_profile
from repro.study.records import ExportedFirst, Results, look_up, value
from repro.study.runs import Record, Runs
from repro.study.tables import Reported

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Where the picture lies below the folder of the book.
PICTURE = "_static/in_short.svg"
#: The settings of AIM-Fair that are drawn, from the biased classifier on; controls come last.
DRAWN = (
    *("erm", "synthetic only", "supplementation", "repairing"),
    *("linear probing", "fully fine-tuning", "mask"),
)


@dataclass(frozen=True)
class Arm:
    """One row of the picture: a setting, its metric in each seed, and what the paper reports."""

    name: str
    #: fractions, in the order of the seeds; several draws of a seed are averaged
    values: tuple[float, ...]
    reported: float | None = None


def _by_seed(*groups: Sequence[Record], metric: str) -> tuple[float, ...]:
    """Return a metric of each seed, the mean over groups that have the same seeds."""
    found = [[value(record, metric) for record in group] for group in groups]
    return tuple(float(x) for x in np.mean(np.array(found, dtype=float), axis=0))


def _found(profile: Profile, paper: Paper, runs: Runs | None = None) -> Results:
    """Return the recorded runs of what is told in short, or those of a folder before them."""
    seeds = profile.seeds_of(paper)
    if paper == "aim-fair":
        plan = of_aim_fair(profile, seeds) | is_it_the_mask.controls(profile, seeds)
    elif paper == "win":
        plan = against_retraining(profile, seeds)
    else:
        plan = face_plans.strategies(profile, seeds) | face_plans.under_constraint(profile, seeds)
    return look_up(plan, runs or ExportedFirst())


def aim_fair_arms(profile: Profile, metric: str = EO_MAX) -> dict[str, Arm]:
    """Return `DRAWN` and the controls of chapter 37, by strategy."""
    found = _found(profile, "aim-fair")
    arms = {
        key: Arm(
            WORDS[key],
            _by_seed(found[key], metric=metric),
            aim_value("3", task(profile), TABLE_3[key], metric),
        )
        for key in DRAWN
        if key in found
    }
    for name, keys in is_it_the_mask.arms(profile, found).items():
        called = is_it_the_mask.called(name, keys)
        arms[name] = Arm(called, _by_seed(*(found[key] for key in keys), metric=metric))
    return arms


def _strongest(found: Results) -> str | None:
    """Return the key of training under the strongest constraint of equalised odds."""

    def intensity(config: Mapping[str, Any]) -> float:
        return float(config["intensity"]) if config.get("constraint") == "eo" else -1.0

    known = settings(found)
    best = max(known, key=lambda key: intensity(known[key]), default=None)
    return best if best is not None and intensity(known[best]) > 0 else None


def win_arms(profile: Profile, paper: Paper = "win") -> dict[str, Arm]:
    """Return the original model, the three ways to fine-tune its head at rank 1, and a control."""
    found = _found(profile, paper)
    keys = ["pre-trained", "tl", key_of("svd", 1), key_of("win", 1), _strongest(found)]
    own = {key: found[key] for key in keys if key is not None and key in found}
    told, names = _told(profile, paper, own), named(own)
    return {
        key: Arm(names[key], _by_seed(group, metric=EO_SUM), told.get((key, EO_SUM)))
        for key, group in own.items()
    }


def _told(profile: Profile, paper: Paper, found: Results) -> Reported:
    """Return what WIN's paper reports of settings on Adult, or on faces if it has the task."""
    if paper == "win":
        return papers(found, "fig4") | papers(found, "3")
    dataset = dataset_of(profile)
    return papers(found, "fig4", dataset) if dataset else {}


def picture(profile: str = "desk") -> Figure:
    """Draw equalised odds of both papers' settings: seeds, mean and interval, the paper's value."""
    import matplotlib.pyplot as plt

    from repro.study.figures import PAPER, style

    style()
    chosen = load_profile(profile)
    figure, panels = plt.subplot_mosaic(
        [["aim-fair", "win"], ["aim-fair", "win-faces"]], figsize=(10.5, 5.6)
    )
    for paper, name in PARTS.items():
        axes = panels[paper]
        arms = aim_fair_arms(chosen) if paper == "aim-fair" else win_arms(chosen, paper)
        _rows(axes, list(arms.values()))
        axes.set_title(
            f"{name.split()[0]}: {chosen.data_label(paper).removesuffix(', frozen features')}"
        )
        aggregation = "max" if paper == "aim-fair" else "sum"
        axes.set_xlabel(f"equalised odds, {aggregation} (points; 0 is fair)")
        axes.set_xlim(left=0)
    panels["win"].plot([], [], "D", color=PAPER, label="paper")
    panels["win"].legend(loc="best", fontsize="small")
    return figure


def _rows(axes: Axes, arms: Sequence[Arm]) -> None:
    from repro.study.figures import GREY, MEN, PAPER

    for at, arm in enumerate(arms):
        values = 100 * np.array(arm.values)
        interval = mean_interval(values.tolist())
        axes.plot(values, [at] * len(values), "o", color=GREY, alpha=0.35, markersize=4)
        axes.errorbar(
            interval.mean, at, xerr=interval.whiskers, fmt="s", color=MEN, capsize=3, markersize=5
        )
        if arm.reported is not None:
            axes.plot(100 * arm.reported, at - 0.3, "D", color=PAPER, markersize=5)
    axes.set_yticks(range(len(arms)), [arm.name for arm in arms])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)


def draw(path: Path, profile: str = "desk") -> None:
    """Write the picture as SVG: the same bytes for the same records, its letters as text."""
    import matplotlib.pyplot as plt

    with plt.rc_context({"svg.hashsalt": "in short", "svg.fonttype": "none"}), whole(path) as part:
        figure = picture(profile)
        figure.savefig(part, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)


def markdown(real: str = "desk", simulated: str = "toy", *, notebooks: str = "notebooks") -> str:
    """Return the four questions as a table: the differences that answer each, and the paper's.

    Parameters
    ----------
    real, simulated
        The profiles whose records stand beside each other.
    notebooks
        The folder of the chapters, as seen from where the text will stand.
    """
    ours, toy = load_profile(real), load_profile(simulated)
    lines = ["| Question | Difference | Real data | Paper | Simulated data |", "| --- " * 5 + "|"]
    for question, chapter, paper, contrasts_of in QUESTIONS:
        found = _found(ours, paper)
        beside = _numbers(toy, paper, _found(toy, paper), contrasts_of(toy))
        head = f"[{question}]({notebooks}/{chapter}.ipynb)"
        for contrast in contrasts_of(ours):
            told = _numbers(ours, paper, found, [contrast]).get(contrast.text, "not run")
            shown = contrast.reported is not None and not ours.is_simulated(paper)
            theirs = amount(contrast.reported, "points") if shown else ""
            cells = (head, contrast.text, told, theirs, beside.get(contrast.text, "not run"))
            lines.append(f"| {' | '.join(cells)} |")
            head = ""
    data = "; ".join(
        f"{name}: {', '.join(_with_seeds(p, paper) for paper in PARTS)}"
        for name, p in (("Real data", ours), ("simulated data", toy))
    )
    lines += [
        "",
        "Points, with 95 % paired intervals over seeds, for WIN on Adult after Nadeau and Bengio, "
        "since its seeds split the same people, for real faces from ten seeds on with the sampling "
        "error of the test images that all seeds share; the picture shows each setting by "
        "itself, with the interval over seeds of its mean, and the paper's value. EO, ΔEO: "
        "equalised odds, where less is fairer; ACC: accuracy; ERM: the biased classifier; SFT: "
        "selective fine-tuning; TL: fine-tuning of the last layer; f+SVD, WIN: of two factors of "
        "it, of rank 1; the control trains every parameter (Retrain+EO) or the last layer (TL+EO) "
        f"under a constraint of equalised odds: can this set-up find a fairer model? {data}.",
    ]
    return "\n".join(lines) + "\n"


def asked(profile: Profile) -> list[tuple[Contrast, Results, Paper]]:
    """Return the differences of every question that have runs here, with these and their part."""
    return [
        (contrast, found, paper)
        for _, _, paper, contrasts_of in QUESTIONS
        for found in [_found(profile, paper, Runs())]
        for contrast in contrasts_of(profile)
        if {*contrast.keys} <= found.keys()
    ]


def _with_seeds(profile: Profile, paper: Paper) -> str:
    return f"{profile.data_label(paper)} ({len(profile.seeds_of(paper))} seeds)"


def _repairs(profile: Profile) -> list[Contrast]:
    """Compare selective fine-tuning with the biased classifier."""
    rows = TABLE_3["mask"], TABLE_3["erm"]
    return versus(profile, "mask", "erm", (EO_MAX, ACC), rows=rows)


def _by_the_mask(profile: Profile) -> list[Contrast]:
    """Compare selective fine-tuning with the same fine-tuning of all tensors, of random ones."""
    rows = TABLE_3["mask"], TABLE_3["fully fine-tuning"]
    found = versus(profile, "mask", "fully fine-tuning", (EO_MAX,), rows=rows)
    for name, keys in is_it_the_mask.arms(profile, _found(profile, "aim-fair")).items():
        if "draw" in STRATEGIES[name].settings:
            called = is_it_the_mask.called(name, keys)
            found += versus(profile, "mask", keys, (EO_MAX,), words=called)
    return found


def _neutralises(profile: Profile) -> list[Contrast]:
    """Compare WIN, and retraining under a constraint, with fine-tuning the last layer."""
    found, known = against_baselines(1, ("tl",), (EO_SUM,)), _found(profile, "win")
    if strongest := _strongest(known):
        rows = row_of(settings(known)[strongest]), "TL"
        text = f"control: {named(known)[strongest]} against TL"
        found += below(text, (strongest, "tl"), (EO_SUM,), "3", rows)
    return found


def _neutralises_on_faces(profile: Profile) -> list[Contrast]:
    """Compare WIN, and training under a constraint, with fine-tuning the head on faces."""
    dataset, known = dataset_of(profile), _found(profile, "win-faces")
    found = against_baselines(
        1, BASELINES, (EO_SUM,), where=", on faces", dataset=dataset, main=MAIN
    )
    if strongest := _strongest(known):
        text = f"control: {named(known)[strongest]} against TL: {SHORT[EO_SUM]}"
        found.append(Contrast(text, strongest, "tl", EO_SUM, "less"))
    return found


def _numbers(
    profile: Profile, paper: Paper, found: Results, contrasts: Iterable[Contrast]
) -> dict[str, str]:
    """Return mean and interval in points of the contrasts that have runs, as a claim's would be."""
    told = {}
    for contrast in contrasts:
        if {*contrast.keys} <= found.keys():
            judged = judge(contrast, found, simulated=profile.is_simulated(paper), paper=paper)
            interval = judged.interval
            low, mean, high = (
                amount(x, "points") for x in (interval.low, interval.mean, interval.high)
            )
            told[contrast.text] = f"{mean} [{low}, {high}]"
    return told


#: What is asked, the chapter that answers it, its half of the study, and the differences that do.
QUESTIONS: tuple[tuple[str, str, Paper, Callable[[Profile], list[Contrast]]], ...] = (
    ("Does AIM-Fair repair?", "25_selective_finetuning", "aim-fair", _repairs),
    ("Is it the mask?", "37_is_it_the_mask", "aim-fair", _by_the_mask),
    ("Does WIN neutralise?", "43_win_on_adult", "win", _neutralises),
    ("On faces, too?", "45_win_on_faces", "win-faces", _neutralises_on_faces),
)
