"""Which runs WIN on faces needs: Figure 4 and Table 4 on images, ranks, and controls.

Pure lists, nothing runs here, and empty ones where a profile does not run WIN on faces. Keys are
those of :mod:`repro.chapters.win.plans` where they mean the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from repro.chapters.aim import plans as aim_plans
from repro.chapters.aim.configs import Backbone, FaceTraining, FaceTuning
from repro.chapters.aim.declared import declared_sha256
from repro.chapters.win.configs import Constraint, fair_key, key_of
from repro.chapters.win.face_configs import FaceHead, FaceHeadTuning, reads_others
from repro.chapters.win.plans import on_bases
from repro.data.registry import FACE_SETS
from repro.settings import FaceData, SettingsError
from repro.study.experiments import Plan, experiment
from repro.study.profiles import Profile, WinFaceSettings

Head = Literal["target", "labels"]


def settings_of(profile: Profile) -> WinFaceSettings:
    """Return the profile's settings of WIN on faces.

    Raises
    ------
    SettingsError
        If it has none.
    """
    if profile.win.faces is None:
        raise SettingsError(
            f"profile '{profile.name}' does not run WIN on faces; give a setting of it, e.g. "
            '-p overrides \'{"win.faces.target": "Smiling"}\''
        )
    return profile.win.faces


Learnt = FaceTraining | FaceTuning | Backbone


def backbone(profile: Profile, architecture: str | None = None) -> FaceTraining | Backbone:
    """Return the one run of faces whose layers before the head every seed shares.

    It is ERM's on the profile's faces (under the architecture of the profile it is a run that the
    chapters on AIM-Fair need, too), or one of FairFace's labels.
    """
    faces, own = profile.faces, settings_of(profile)
    seed, changed = own.backbone_seed, dict[str, object](width=own.width or faces.width)
    if architecture is not None and architecture != faces.architecture:
        # Only two architectures can be built narrower, so another has torchvision's own width.
        changed = {"architecture": architecture, "width": 64}
    profile = aim_plans.with_faces(profile, **changed)
    if own.backbone == "fairface":
        return aim_plans.backbone(profile)
    return aim_plans.training(profile, profile.seeds_of("aim-fair")[0] if seed is None else seed)


def pretrained(
    profile: Profile,
    seed: int,
    *,
    head: Head = "target",
    architecture: str | None = None,
    on: Learnt | None = None,
) -> FaceHead:
    """Return the configuration of one pre-trained head, on the shared backbone or another."""
    win, data = settings_of(profile), profile.faces.data
    learnt = on or backbone(profile, architecture)
    images = data if isinstance(learnt, Backbone) else learnt.data
    return FaceHead(
        seed=seed,
        backbone=learnt,
        data=data if isinstance(learnt, Backbone) else None,
        data_sha256=declared_sha256(images) if reads_others(learnt) else None,
        target=win.target if on is None else win.stacked_target or win.target,
        protected=win.protected,
        bias_ratio=win.bias_ratio,
        head=head,
        optimisation=win.pretrain,
    )


def tuned(
    profile: Profile,
    base: FaceHead,
    strategy: str,
    *,
    rank: int | None = None,
    importance: str = "neutralised",
    matched: bool = False,
    constraint: Constraint | None = None,
    intensity: float = 0.0,
) -> FaceHeadTuning:
    """Return the configuration of one fine-tuned head; ``importance`` is read by ``win`` only."""
    own, win = settings_of(profile), strategy == "win"
    if base.head == "labels" and rank is not None:
        _check_labels(base.images, rank)
    return FaceHeadTuning.model_validate(
        {
            "seed": base.seed,
            "pretrained": base,
            "strategy": strategy,
            "rank": rank,
            "importance": importance if win else None,
            "weight": 0.5 if win else None,
            "importance_floor": own.importance_floor if win else None,
            "matched": matched,
            "constraint": constraint,
            "intensity": intensity,
            "optimisation": own.finetune,
        }
    )


def _check_labels(data: FaceData, rank: int) -> None:
    """Refuse a rank that no head with one logit a label has, before anything is computed.

    Of some data sets the number of attributes is only known once they are read.
    """
    most = FACE_SETS[data.name].labels
    if most is not None and rank > most:
        raise SettingsError(
            f"rank {rank} is out of range: {data.name} has {most} attributes, so ranks of the head "
            f"with one logit a label run from 1 to {most} (setting win.faces.label_ranks)"
        )


def on_heads(profile: Profile, bases: Sequence[FaceHead], ranks: Sequence[int]) -> Plan:
    """Plan TL, and f+SVD and WIN at every rank, from each of the pre-trained heads."""
    return on_bases(bases, ranks, lambda base, how, rank: tuned(profile, base, how, rank=rank))


@experiment("46_rank", part="win-faces")
def strategies(profile: Profile, seeds: Sequence[int], *, architecture: str | None = None) -> Plan:
    """Figure 4 on images: TL, f+SVD and WIN on a two-class head; keys ``win, rank 1``."""
    if profile.win.faces is None:
        return {}
    bases = [pretrained(profile, seed, architecture=architecture) for seed in seeds]
    return on_heads(profile, bases, profile.win.faces.ranks)


@experiment("45_win_on_faces", part="win-faces")
def under_constraint(profile: Profile, seeds: Sequence[int]) -> Plan:
    """TL without and with a regulariser for equalised odds; keys ``tl``, ``tl eo 0.9``.

    What is trained for fairness is fairer: the positive control of WIN on faces.
    """
    if profile.win.faces is None:
        return {}
    bases = [pretrained(profile, seed) for seed in seeds]
    plan: Plan = {"tl": [tuned(profile, base, "tl") for base in bases]}
    for intensity in profile.win.faces.control_intensities:
        plan[key_of("tl", fair=fair_key("eo", intensity))] = [
            tuned(profile, base, "tl", constraint="eo", intensity=intensity) for base in bases
        ]
    return plan
