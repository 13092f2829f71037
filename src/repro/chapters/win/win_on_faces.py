"""Chapter 45: WIN on images (Figure 4, Table 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from repro.chapters.reported import win_value
from repro.chapters.win import face_plans as winface_plans
from repro.chapters.win.contrasts import DP, EO, ERROR, RANK, READING, SHORT, SILENT, unfair
from repro.chapters.win.face_plans import strategies
from repro.chapters.win.neutralising import controls
from repro.study.claims import Check, Claim, Contrast
from repro.study.experiments import Plan, experiment
from repro.study.profiles import Profile

NOTEBOOK = "45_win_on_faces"


@experiment(NOTEBOOK, part="win-faces")
def architectures(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 4 on images: the strategies for other backbones; keys ``resnet50, win, rank 1``."""
    return {
        f"{name}, {key}": configs
        for name in (profile.win.faces.architectures if profile.win.faces else ())
        for key, configs in strategies(profile, seeds, architecture=name).items()
    }


@experiment(NOTEBOOK, part="win-faces")
def with_controls(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Return :func:`strategies` and :func:`controls` as one plan: their runs are shared."""
    return strategies(profile, seeds) | controls(profile, seeds)


BASELINES = {
    "tl": ("TL", "plain fine-tuning of the last layer (TL)"),
    "svd": ("f+SVD", "f+SVD"),
}


#: The data set of the paper's Figure 4 whose differences set the margins of others.
MAIN = "celeba"


#: What the importance of WIN is compared with, at the same rank and rate, and what it says.
BESIDE = {
    "shuffled": "with its importance shuffled over the rows",
    "pooled": "with the importance of all people pooled",
}


BACKBONE = (
    "the paper's pre-training of image models is not given: one backbone for every seed, a "
    "classifier of the biased faces; the head is new, pre-trained on the part that it comes from"
)


PARTS = (
    "the new task trains and validates on the validation part and is tested on the test part "
    "(CelebA's official ones, LFW+a's by a hash of names, toy faces as they are drawn), the same "
    "for every seed; seeds draw the split and the head"
)


def dataset_of(profile: Profile) -> str | None:
    """Return the data set under which the paper reports the profile's task, None if it does not."""
    faces, task = profile.faces.data, profile.win.faces
    if task is None:
        return None
    asked = (faces.name, task.target, task.protected)
    reported = (("celeba", "Wavy_Hair", "Male"), ("lfwa", "Male", "Heavy_Makeup"))
    return faces.name if asked in reported else None


def _reported(profile: Profile, first: str, second: str, metric: str) -> float | None:
    return _difference(dataset_of(profile), first, second, metric)


def _difference(dataset: str | None, first: str, second: str, metric: str) -> float | None:
    if dataset is None:
        return None
    a, b = (win_value("fig4", setting, metric, dataset) for setting in (first, second))
    return None if a is None or b is None else a - b


def figure_4(
    rank: int, baselines: Sequence[str], metrics: Sequence[str]
) -> Callable[[Profile], list[Contrast]]:
    """Return the contrasts of WIN with baselines at one rank."""
    return lambda profile: [
        Contrast(
            f"WIN against {BASELINES[baseline][0]}, rank {rank}, on faces: {SHORT[metric]}",
            f"win, rank {rank}",
            "tl" if baseline == "tl" else f"svd, rank {rank}",
            metric,
            "less",
            reported=_reported(profile, "WIN", BASELINES[baseline][0], metric),
            elsewhere=_difference(MAIN, "WIN", BASELINES[baseline][0], metric),
            slack=READING[metric],
        )
        for baseline in baselines
        for metric in metrics
    ]


def _beside(rank: int, baseline: str) -> Callable[[Profile], list[Contrast]]:
    """Return the other metric; at rank 1 also WIN with an importance that does not neutralise."""
    other = figure_4(rank, (baseline,), (DP,))
    return lambda profile: [*other(profile), *(_controls(profile) if rank == 1 else [])]


def _controls(profile: Profile) -> list[Contrast]:
    return [
        Contrast(f"WIN against WIN {words}, rank 1: {SHORT[metric]}",
                 "target: win", f"target: win, {kind}", metric, "less")
        for kind, words in BESIDE.items()
        for metric in (DP, EO)
    ]  # fmt: skip


def _table_4(metrics: Sequence[str]) -> Callable[[Profile], list[Contrast]]:
    # Table 4 has no row of TL: the advantage that is to be kept is that of Figure 4.
    def contrasts(profile: Profile) -> list[Contrast]:
        own = profile.win.faces
        return [
            Contrast(
                f"{architecture}, WIN against TL: {SHORT[metric]}",
                f"{architecture}, win, rank 1",
                f"{architecture}, tl",
                metric,
                "less",
                elsewhere=_difference(MAIN, "WIN", "TL", metric),
                slack=READING[metric],
                check=_unfair(
                    profile,
                    architectures,
                    f"{architecture}, tl",
                    f"plain fine-tuning of the last layer of {architecture}",
                ),
            )
            for architecture in (own.architectures if own is not None and 1 in own.ranks else ())
            for metric in metrics
        ]

    return contrasts


def _unfair(profile: Profile, plan: Callable[..., Plan], key: str, who: str) -> Check:
    return unfair(win_value("fig4", "TL", EO, dataset_of(profile) or MAIN), plan, key, who)


def _tl_unfair(profile: Profile) -> Sequence[Check]:
    who = "plain fine-tuning of the last layer"
    return (_unfair(profile, winface_plans.strategies, "tl", who),)


def _backbones(profile: Profile) -> str:
    names = ", ".join(profile.win.faces.architectures if profile.win.faces else ())
    which = f" ({names})" if names else ""
    return f"On faces WIN (rank 1) keeps its lead in fairness over TL with other backbones{which}."


def _claim(
    name: str,
    where: str,
    sentence: str | Callable[[Profile], str],
    plan: Callable[..., Plan],
    contrasts: Callable[[Profile], list[Contrast]],
    beside: Callable[[Profile], list[Contrast]] = lambda profile: [],
    checks: Callable[[Profile], Sequence[Check]] = _tl_unfair,
) -> Claim:
    return Claim(
        name,
        where,
        sentence,
        NOTEBOOK,
        plan,
        contrasts,
        (RANK, SILENT, BACKBONE, PARTS),
        beside,
        paper="win-faces",
        checks=checks,
    )


CLAIMS = (
    *(
        _claim(
            f"win-vs-{baseline}-faces-rank-{rank}",
            "Figure 4",
            f"On faces WIN (rank {rank}) is fairer than {BASELINES[baseline][1]}.",
            with_controls if rank == 1 else winface_plans.strategies,
            figure_4(rank, (baseline,), (EO,)),
            _beside(rank, baseline),
        )
        for rank in (1, 2)
        for baseline in BASELINES
    ),
    *(
        _claim(
            f"win-error-faces-rank-{rank}",
            "Figure 4",
            f"On faces WIN (rank {rank}) has a lower error than plain fine-tuning of the last "
            "layer (TL) and than f+SVD.",
            winface_plans.strategies,
            figure_4(rank, tuple(BASELINES), (ERROR,)),
            checks=lambda profile: (),
        )
        for rank in (1, 2)
    ),
    _claim(
        "backbones",
        "Table 4",
        _backbones,
        architectures,
        _table_4((EO,)),
        _table_4((DP, ERROR)),
        lambda profile: (),  # each backbone has its own
    ),
)
