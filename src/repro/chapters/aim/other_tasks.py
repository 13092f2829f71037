"""Chapter 25, continued: the strategies of Table 3 in the paper's other tasks (Tables 1 and 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from repro.aimfair.strategies import COMPARED
from repro.chapters.aim.contrasts import (
    EO,
    PAIRED,
    TABLE_3,
    WST,
    biased,
    difference,
    finds,
    premise,
    reads,
    task,
    versus,
)
from repro.chapters.aim.plans import aim_experiment, strategies, with_faces
from repro.chapters.aim.selective_finetuning import NOTEBOOK, beside_paper, seed_by_seed
from repro.chapters.substitutions import MASKED
from repro.data.registry import FACE_SETS
from repro.settings import FaceData
from repro.study.claims import Check, Claim, Contrast, every
from repro.study.experiments import Plan
from repro.study.profiles import Profile
from repro.study.session import Part, View

#: Tables that report SFT and ERM, and its two rows; the second has one task more.
WHERE = (("3", TABLE_3["mask"], TABLE_3["erm"]), ("1", "AIM-Fair", "ERM"))


@aim_experiment(NOTEBOOK)
def other_tasks(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 3 in each other task of the profile; keys ``Smiling | Young, mask``."""
    return {
        task_key(data, key): configs
        for data in profile.faces.other_tasks
        for key, configs in strategies(on(profile, data), seeds).items()
    }


def on(profile: Profile, data: FaceData) -> Profile:
    """Return a profile with other faces in place of its own."""
    return with_faces(profile, data=data)


def name_of(data: FaceData) -> str:
    """Return what a task is called, ``CelebA Smiling | Young 1:9``."""
    label = FACE_SETS[data.name].label
    return f"{label} {data.target} | {data.protected} {data.bias}"


def task_key(data: FaceData, key: str) -> str:
    """Return the key of a strategy in another task."""
    return f"{name_of(data)}, {key}"


def _biased(profile: Profile) -> list[FaceData]:
    """Return the tasks that a claim is about: a set as it is has no bias to be freed from."""
    return [data for data in profile.faces.other_tasks if data.bias_ratio is not None]


def _set_up(profile: Profile, data: FaceData) -> Check:
    """Return the check that a task's classifier is biased, and its images teach the target."""
    where, erm = f" of {name_of(data)}", task_key(data, "erm")
    alone = reads(other_tasks, task_key(data, "synthetic only"), erm)
    return every((biased(on(profile, data), other_tasks, erm, where), alone))


def _against_erm(profile: Profile, metrics: Sequence[str]) -> list[Contrast]:
    found = []
    for data in _biased(profile):
        own = on(profile, data)
        for metric in metrics:
            told = [
                w for w in WHERE if difference(task(own), w[0], w[1], w[2:], metric) is not None
            ]
            table, *rows = (told or WHERE)[0]
            (contrast,) = versus(
                own, "mask", "erm", (metric,), table=table, rows=(rows[0], rows[1])
            )
            found.append(_in_task(contrast, data, _set_up(profile, data)))
    return found


def _in_task(contrast: Contrast, data: FaceData, check: Check | None = None) -> Contrast:
    """Return a contrast between the runs of another task."""
    first, second = (task_key(data, str(key)) for key in (contrast.first, contrast.second))
    text = f"{name_of(data)}: {contrast.text}"
    return replace(contrast, text=text, first=first, second=second, check=check)


def _premises(profile: Profile) -> list[Contrast]:
    return [
        _in_task(contrast, data)
        for data in _biased(profile)
        for contrast in premise(on(profile, data))
    ]


def _sentence(profile: Profile) -> str:
    tasks = [name_of(data) for data in _biased(profile)]
    where = f" ({'; '.join(tasks)})" if tasks else ""
    return f"Selective fine-tuning makes the biased classifier fairer in other tasks, too{where}."


CLAIMS = (
    Claim(
        "sft-vs-erm-elsewhere",
        "Tables 1, 3",
        _sentence,
        NOTEBOOK,
        other_tasks,
        lambda profile: _against_erm(profile, (EO,)),
        (PAIRED,),
        lambda profile: [*_premises(profile), *_against_erm(profile, (WST,))],
        paper="aim-fair",
        touches=MASKED,
        under=lambda profile: {name_of(d): on(profile, d) for d in _biased(profile)},
        control=finds(EO),
    ),  # whether a task is set up each contrast checks for its own
)


def task_views(view: View) -> list[View]:
    """Return a view of each other task, its strategies under their own names."""
    found = []
    for data in view.profile.faces.other_tasks:
        known = {name: view.results.get(task_key(data, name)) for name in COMPARED}
        results = {name: records for name, records in known.items() if records}
        own = on(view.profile, data)
        _, comma, where = view.label.rpartition(", ")
        label = f"{own.data_label('aim-fair')}{comma}{where}"
        if results:
            found.append(replace(view, label=label, results=results, profile=own))
    return found


def in_each_task(view: View) -> list[Part]:
    """Return Table 3 of each other task, beside the paper's, and seed by seed."""
    return [part for own in task_views(view) for part in (*beside_paper(own), *seed_by_seed(own))]
