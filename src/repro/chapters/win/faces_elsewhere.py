"""Chapter 45, continued: WIN on other faces (Figure 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from repro.chapters.aim.plans import with_faces
from repro.chapters.win.contrasts import BASELINES, DP, EO, ERROR, SHORT, against_baselines
from repro.chapters.win.face_plans import strategies, under_constraint
from repro.chapters.win.plans import under, under_each
from repro.chapters.win.tables import named, only, papers, strategy_differences
from repro.chapters.win.win_on_faces import (
    MAIN,
    NOTEBOOK,
    SUBSTITUTIONS,
    dataset_of,
    finds_fairness,
    group_sizes,
    tl_unfair,
    under_constraint_beside,
)
from repro.data.registry import FACE_SETS
from repro.study.claims import Check, Claim, Contrast, every
from repro.study.experiments import Plan, experiment
from repro.study.figures import beside_paper
from repro.study.profiles import Profile, WinTask
from repro.study.session import Part, View


def tasks(profile: Profile) -> dict[str, WinTask]:
    """Return the profile's other faces and tasks of WIN, by what they are called."""
    faces = profile.win.faces
    if faces is None:
        return {}
    own = (profile.faces.data.name, faces.target, faces.protected)
    return {
        f"{FACE_SETS[task.name].label} {task.target} | {task.protected}": task
        for task in faces.also_tasks
        if (task.name, task.target, task.protected) != own
    }


def on(profile: Profile, task: WinTask) -> Profile:
    """Return a profile whose WIN on faces has other images and another task."""
    assert profile.win.faces is not None
    changed = {"target": task.target, "protected": task.protected, "also_tasks": ()}
    faces = profile.win.faces.model_copy(update=changed)
    win = profile.win.model_copy(update={"faces": faces})
    images = profile.faces.data.model_copy(update={"name": task.name, "edition": task.edition})
    return with_faces(profile, data=images).model_copy(update={"win": win})


@experiment(NOTEBOOK, part="win-faces")
def elsewhere(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Figure 4 on other faces, with TL under a constraint; keys ``LFW+a Male | ..., tl``."""
    own = {name: on(profile, task) for name, task in tasks(profile).items()}
    return under_each(
        own, lambda name: strategies(own[name], seeds) | under_constraint(own[name], seeds)
    )


def _figure_4(profile: Profile, *metrics: str) -> list[Contrast]:
    found = []
    for name, task in tasks(profile).items():
        own, tl = on(profile, task), under(name, "tl")
        told = against_baselines(
            1, BASELINES, metrics, f", {name}", dataset=dataset_of(own), main=MAIN
        )
        unfair = tl_unfair(own, elsewhere, tl, f"TL of {name}")
        found += [
            replace(
                contrast,
                first=under(name, str(contrast.first)),
                second=under(name, str(contrast.second)),
                check=unfair,
            )
            for contrast in told
        ]
    return found


def _sentence(profile: Profile) -> str:
    where = f" ({', '.join(tasks(profile))})" if tasks(profile) else ""
    return (
        f"On other faces{where}, too, WIN (rank 1) is fairer than plain fine-tuning of the last "
        "layer (TL) and than f+SVD."
    )


def _finds_fairness(profile: Profile) -> Check | None:
    """Return the positive control: TL under a constraint is fairer than without, on each set."""
    own = [
        found
        for name, task in tasks(profile).items()
        if (found := finds_fairness(on(profile, task), elsewhere, name)) is not None
    ]
    return every(own) if own else None


CLAIMS = (
    Claim(
        "win-faces-elsewhere",
        "Figure 4",
        _sentence,
        NOTEBOOK,
        elsewhere,
        lambda profile: _figure_4(profile, EO),
        SUBSTITUTIONS,
        lambda profile: _figure_4(profile, DP, ERROR),
        paper="win-faces",
        under=lambda profile: {name: on(profile, task) for name, task in tasks(profile).items()},
        control=_finds_fairness,
    ),  # whether TL is unfair each contrast checks for its own faces
)


def views(view: View) -> list[View]:
    """Return a view of each other task, its settings under their own names."""
    found = []
    for name, task in tasks(view.profile).items():
        begins = under(name, "")
        results = {
            key.removeprefix(begins): records
            for key, records in view.results.items()
            if key.startswith(begins)
        }
        own = on(view.profile, task)
        before, _, where = view.label.rpartition(view.profile.data_label("win-faces"))
        if results:
            label = before + own.data_label("win-faces") + where
            found.append(replace(view, label=label, results=results, profile=own))
    return found


def figure_4(view: View) -> list[Part]:
    """Return Figure 4 on each other set of faces: sizes of groups, metrics, differences."""
    parts: list[Part] = []
    for own in views(view):
        dataset, shown = dataset_of(own.profile), only(own, strategies(own.profile, ()))
        told = papers(shown.results, "fig4", dataset) if dataset else None
        parts += [
            f"**{own.label}**",
            group_sizes(own.results),
            *beside_paper(shown, SHORT, named(shown.results), told),
            strategy_differences(shown),
            *under_constraint_beside(only(own, under_constraint(own.profile, ()))),
        ]
    return parts
