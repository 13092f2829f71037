"""The claims of WIN on images, as contrasts between runs: Figure 4 and Table 4.

What the paper leaves open (what the rank does, and whether it is the neutralising) is no claim of
it: chapters 46 and 47 measure it, and the controls stand beside the claims of Figure 4.
"""

from __future__ import annotations

from collections.abc import Callable

from repro.study import winface_plans
from repro.study.claims import DP, EO, ERROR, RANK, READING, SHORT, SILENT
from repro.study.contrasts import Claim, Contrast
from repro.study.profiles import Profile
from repro.study.reported import win_value

BASELINES = {
    "tl": ("TL", "plain fine-tuning of the last layer (TL)"),
    "svd": ("f+SVD", "f+SVD"),
}
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
    "the official partition: the new task trains and validates on the validation part and is "
    "tested on the test part, the same for every seed; seeds draw the split and the head"
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
    dataset = dataset_of(profile)
    if dataset is None:
        return None
    a, b = (win_value("fig4", setting, metric, dataset) for setting in (first, second))
    return None if a is None or b is None else a - b


def figure_4(rank: int, baseline: str) -> Callable[[Profile], list[Contrast]]:
    """Return the contrasts of WIN with one baseline at one rank."""
    name = BASELINES[baseline][0]
    key = "tl" if baseline == "tl" else f"svd, rank {rank}"
    return lambda profile: [
        Contrast(
            f"WIN against {name}, rank {rank}, on faces: {SHORT[metric]}",
            f"win, rank {rank}",
            key,
            metric,
            "less",
            reported=_reported(profile, "WIN", name, metric),
            slack=READING[metric],
        )
        for metric in (ERROR, DP, EO)
    ]


def _beside(profile: Profile) -> list[Contrast]:
    """Return WIN against itself with an importance that does not neutralise, rank 1."""
    return [
        Contrast(f"WIN against WIN {words}, rank 1: {SHORT[metric]}",
                 "target: win", f"target: win, {kind}", metric, "less")
        for kind, words in BESIDE.items()
        for metric in (DP, EO)
    ]  # fmt: skip


def _table_4(profile: Profile) -> list[Contrast]:
    own = profile.win.faces
    return [
        Contrast(
            f"{architecture}, WIN against TL: {SHORT[metric]}",
            f"{architecture}, win, rank 1",
            f"{architecture}, tl",
            metric,
            "less",
        )
        for architecture in (own.architectures if own is not None and 1 in own.ranks else ())
        for metric in (ERROR, DP, EO)
    ]


def settings_of(profile: Profile) -> tuple[str, ...]:
    """Return what a profile's own settings substitute."""
    faces, task = profile.faces, profile.win.faces
    if task is None:
        return ()
    found = []
    if dataset_of(profile) is None:
        found.append(
            f"{task.target} | {task.protected} on {faces.data.name}, not CelebA's WavyHair | Male "
            "or LFW+a's gender | HeavyMakeup"
        )
    if faces.initialisation != "imagenet" or faces.data.size != 224 or faces.width != 64:
        found.append(
            f"{faces.architecture} of width {faces.width} at {faces.data.size}x{faces.data.size}, "
            f"initialised from {faces.initialisation}"
        )
    if task.bias_ratio is not None:
        found.append(
            f"groups (0,0) and (1,1) are {task.bias_ratio:.2g} times as large as the others in "
            "every part, since the embedded faces are drawn without bias"
        )
    return tuple(found)


WIN_FACE_CLAIMS = (
    *(
        Claim(
            f"win-vs-{baseline}-faces-rank-{rank}",
            "Figure 4",
            f"On faces WIN (rank {rank}) has a lower error and is fairer than "
            f"{BASELINES[baseline][1]}.",
            "45_win_on_faces",
            winface_plans.with_controls if rank == 1 else winface_plans.strategies,
            figure_4(rank, baseline),
            (RANK, SILENT, BACKBONE, PARTS),
            _beside if rank == 1 else lambda profile: [],
            paper="win-faces",
            settings=settings_of,
        )
        for rank in (1, 2)
        for baseline in BASELINES
    ),
    Claim(
        "backbones",
        "Table 4",
        "On faces WIN (rank 1) keeps its advantage over TL with other backbones (ResNet-50, "
        "DenseNet-121).",
        "45_win_on_faces",
        winface_plans.architectures,
        _table_4,
        (RANK, SILENT, BACKBONE, PARTS),
        paper="win-faces",
        settings=settings_of,
    ),
)
