"""Chapter 45: WIN on images (Figure 4, Table 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import pandas as pd

from repro.chapters.reported import win_value
from repro.chapters.win.configs import fair_key, key_of
from repro.chapters.win.contrasts import (
    BASELINES,
    DP,
    EO,
    ERROR,
    RANK,
    SHORT,
    SILENT,
    against_baselines,
    unfair,
)
from repro.chapters.win.face_plans import strategies, under_constraint
from repro.chapters.win.neutralising import control_key, controls
from repro.chapters.win.plans import under
from repro.chapters.win.tables import budget, compared, named, only, papers
from repro.data.splits import GROUPS
from repro.study.claims import Check, Claim, Contrast
from repro.study.experiments import Experiment, Plan, experiment
from repro.study.figures import beside_paper
from repro.study.judging import control
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.session import Part, View
from repro.study.tables import mean_value, means, points

NOTEBOOK = "45_win_on_faces"


@experiment(NOTEBOOK, part="win-faces")
def with_controls(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Return :func:`strategies` and :func:`controls` as one plan: their runs are shared."""
    return strategies(profile, seeds) | controls(profile, seeds)


#: The data set of the paper's Figure 4 whose differences set the margins of others.
MAIN = "celeba"

#: What the importance of WIN is compared with, at the same rank and rate, and what it says.
BESIDE = {
    "shuffled": "with its importance shuffled over the rows",
    "pooled": "with the importance of all people pooled",
}

SUBSTITUTIONS = (
    RANK,
    SILENT,
    "the paper's pre-training of image models is not given: the features of one classifier for "
    "every seed; the head is new, pre-trained on the training part",
    "the new task trains and validates on the validation part and is tested on the test part "
    "(CelebA's official ones, LFW+a's by a hash of names, toy faces as they are drawn), the same "
    "for every seed; seeds draw the split and the head",
)


def dataset_of(profile: Profile) -> str | None:
    """Return the data set under which the paper reports the profile's task, None if it does not."""
    faces, task = profile.faces.data, profile.win.faces
    if task is None:
        return None
    asked = (faces.name, task.target, task.protected)
    reported = (("celeba", "Wavy_Hair", "Male"), ("lfwa", "Male", "Heavy_Makeup"))
    return faces.name if asked in reported else None


def _figure_4(
    rank: int, baselines: Iterable[str], metrics: Sequence[str]
) -> Callable[[Profile], list[Contrast]]:
    return lambda profile: against_baselines(
        rank, baselines, metrics, where=", on faces", dataset=dataset_of(profile), main=MAIN
    )


def _beside(rank: int, baseline: str) -> Callable[[Profile], list[Contrast]]:
    """Return the other metric; at rank 1 also WIN with an importance that does not neutralise."""
    other = _figure_4(rank, (baseline,), (DP,))
    return lambda profile: [*other(profile), *(_controls(profile) if rank == 1 else [])]


def _controls(profile: Profile) -> list[Contrast]:
    return [
        Contrast(
            f"WIN against WIN {words}, rank 1: {SHORT[metric]}",
            control_key("target", "win"),
            control_key("target", f"win, {kind}"),
            metric,
            "less",
        )
        for kind, words in BESIDE.items()
        for metric in (DP, EO)
    ]


def tl_unfair(profile: Profile, plan: Experiment, key: str, who: str) -> Check:
    """Return the check that TL is half as unfair as on the paper's data set, or on its main one."""
    return unfair(win_value("fig4", "TL", EO, dataset_of(profile) or MAIN), plan, key, who)


def _tl_unfair(profile: Profile) -> Sequence[Check]:
    who = "plain fine-tuning of the last layer"
    return (tl_unfair(profile, strategies, "tl", who),)


def finds_fairness(
    profile: Profile, plan: Experiment = under_constraint, head: str = ""
) -> Check | None:
    """Return the positive control: TL under the strongest regulariser is fairer than without.

    It must still tell the target, half of TL's way from chance: whoever guesses is fair, too. The
    keys of another plan may stand under a heading.
    """
    own = profile.win.faces
    if own is None or not own.control_intensities:
        return None
    most = key_of("tl", fair=fair_key("eo", max(own.control_intensities)))
    where = f" ({head})" if head else ""
    text = f"TL under {most.removeprefix('tl ').upper()} against TL{where}: {SHORT[EO]}"
    fair, plain = (under(head, key) if head else key for key in (most, "tl"))
    fairer = control(
        "this set-up finds a fairness effect where there is one",
        plan,
        Contrast(text, fair, plain, EO, "less"),
    )

    def passes(results: Results) -> tuple[bool, str]:
        fine, numbers = fairer.passes(results)
        right, without = (mean_value(results[key], "accuracy") for key in (fair, plain))
        bound = 0.5 + (without - 0.5) / 2
        return fine and right >= bound, (
            f"{numbers}, at an accuracy of {points(right)} (at least {points(bound)}; "
            f"TL {points(without)})"
        )

    return replace(fairer, passes=passes)


def under_constraint_beside(view: View) -> list[Part]:
    """Return TL under each regulariser, and how it differs from TL without."""
    called = named(view.results)
    pairs = [(f"{called[key]} − TL", key, "tl") for key in view.results if key != "tl"]
    return [means(view.results, SHORT, called), compared(view.results, pairs), view]


def budgets(profile: Profile) -> list[str]:
    """Say which candidates validation chooses from, and how biased every part is drawn."""
    task = profile.win.faces
    if task is None:
        return [f"Profile `{profile.name}` does not run WIN on faces."]
    said = [
        budget(profile, "pre-training of the head", task.pretrain),
        budget(profile, "fine-tuning of the head", task.finetune),
    ]
    if task.bias_ratio is not None:
        said.append(
            "Every part is drawn with groups (0,0) and (1,1) "
            f"{task.bias_ratio:.2f} times as large as the other two."
        )
    return said


def group_sizes(results: Results) -> pd.DataFrame:
    """Return how many test images each group (t,p) has, and what that does to its accuracy.

    "half an interval" is 1.96 (0.25 / n)^(1/2), the half width of a 95 % interval for a rate of
    one half among n people: what the draw of the *people* leaves open, whatever the seeds say.
    """
    records = results.get("tl", [])
    if not records:
        return pd.DataFrame()
    sizes = records[0].counts().sum(axis=2)  # the test part is the same for every seed
    return pd.DataFrame(
        [
            {
                "group (t,p)": f"({t},{p})",
                "test images": f"{sizes[t, p]:,}",
                "half an interval (points)": f"{100 * 1.96 * (0.25 / sizes[t, p]) ** 0.5:.1f}",
            }
            for t, p in GROUPS
        ]
    )


def strategies_beside_paper(view: View) -> list[Part]:
    """Figure 4: the three metrics of each strategy, without the controls, which have a chapter."""
    own, dataset = only(view, strategies(view.profile, ())), dataset_of(view.profile)
    reported = papers(own.results, "fig4", dataset) if dataset else None
    return beside_paper(own, SHORT, named(own.results), reported)


CLAIMS = (
    *(
        Claim(
            f"win-vs-{baseline}-faces-rank-{rank}",
            "Figure 4",
            f"On faces WIN (rank {rank}) is fairer than {sentence}.",
            NOTEBOOK,
            with_controls if rank == 1 else strategies,
            _figure_4(rank, (baseline,), (EO,)),
            SUBSTITUTIONS,
            _beside(rank, baseline),
            paper="win-faces",
            checks=_tl_unfair,
            control=finds_fairness,
        )
        for rank in (1, 2)
        for baseline, sentence in BASELINES.items()
    ),
    *(
        Claim(
            f"win-error-faces-rank-{rank}",
            "Figure 4",
            f"On faces WIN (rank {rank}) has a lower error than plain fine-tuning of the last "
            "layer (TL) and than f+SVD.",
            NOTEBOOK,
            strategies,
            _figure_4(rank, BASELINES, (ERROR,)),
            SUBSTITUTIONS,
            paper="win-faces",
        )
        for rank in (1, 2)
    ),
)
