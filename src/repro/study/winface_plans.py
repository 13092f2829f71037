"""Which runs WIN on faces needs: Figure 4 and Table 4 on images, ranks, and controls.

Pure lists, nothing runs here, and empty ones where a profile does not run WIN on faces. Keys are
those of :mod:`repro.study.plans` where they mean the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from repro.data.registry import FACE_SETS
from repro.settings import SettingsError
from repro.study import aim_plans
from repro.study.aim_configs import FaceTraining
from repro.study.plans import Plan
from repro.study.profiles import Profile, WinFaceSettings
from repro.study.winface_configs import FaceHead, FaceHeadTuning
from repro.study.winface_data import check_labels

Head = Literal["target", "labels"]
#: importances that are compared with the neutralised one, as keys name them
CONTROLS = ("group 1", "group 2", "pooled", "shuffled")


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


def backbone(profile: Profile, architecture: str | None = None) -> FaceTraining:
    """Return the one run of faces whose layers before the head every seed shares.

    It is ERM's on the profile's faces: under the architecture of the profile it is a run that the
    chapters on AIM-Fair need, too.
    """
    faces, seed = profile.faces, settings_of(profile).backbone_seed
    if architecture is not None and architecture != faces.architecture:
        # Only two architectures can be built narrower, so another has torchvision's own width.
        faces = faces.model_copy(update={"architecture": architecture, "width": 64})
        profile = profile.model_copy(update={"faces": faces})
    return aim_plans.training(profile, profile.seeds_of("aim-fair")[0] if seed is None else seed)


def pretrained(
    profile: Profile, seed: int, *, head: Head = "target", architecture: str | None = None
) -> FaceHead:
    """Return the configuration of one pre-trained head."""
    win = settings_of(profile)
    return FaceHead(
        profile=profile.name,
        seed=seed,
        backbone=backbone(profile, architecture),
        target=win.target,
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
) -> FaceHeadTuning:
    """Return the configuration of one fine-tuned head; ``importance`` is read by ``win`` only."""
    own, win = settings_of(profile), strategy == "win"
    if base.head == "labels" and rank is not None:
        check_labels(base.backbone.data, rank)
    return FaceHeadTuning.model_validate(
        {
            "profile": profile.name,
            "seed": base.seed,
            "pretrained": base,
            "strategy": strategy,
            "rank": rank,
            "importance": importance if win else None,
            "weight": 0.5 if win else None,
            "importance_floor": own.importance_floor if win else None,
            "matched": matched,
            "optimisation": own.finetune,
        }
    )


def _strategies(profile: Profile, bases: Sequence[FaceHead], ranks: Sequence[int]) -> Plan:
    plan: Plan = {"pre-trained": list(bases)}
    plan["tl"] = [tuned(profile, base, "tl") for base in bases]
    for rank in ranks:
        for strategy in ("svd", "win"):
            plan[f"{strategy}, rank {rank}"] = [
                tuned(profile, base, strategy, rank=rank) for base in bases
            ]
    return plan


def strategies(profile: Profile, seeds: Sequence[int], *, architecture: str | None = None) -> Plan:
    """Figure 4 on images: TL, f+SVD and WIN on a two-class head; keys ``win, rank 1``."""
    if profile.win.faces is None:
        return {}
    bases = [pretrained(profile, seed, architecture=architecture) for seed in seeds]
    return _strategies(profile, bases, profile.win.faces.ranks)


def architectures(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 4 on images: the strategies for other backbones; keys ``resnet50, win, rank 1``."""
    return {
        f"{name}, {key}": configs
        for name in (profile.win.faces.architectures if profile.win.faces else ())
        for key, configs in strategies(profile, seeds, architecture=name).items()
    }


def ranks(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Sweep the rank of the head with one logit a label; keys ``win, rank 4``."""
    if profile.win.faces is None:
        return {}
    bases = [pretrained(profile, seed, head="labels") for seed in seeds]
    return _strategies(profile, bases, profile.win.faces.label_ranks)


def controls(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Is it the neutralising? Controls on both heads; keys ``target: win, group 1``.

    For each head, at one rank (1 of two classes, the profile's of many labels): TL; f+SVD; WIN with
    the importance of one group, of all pooled, and shuffled; WIN and f+SVD at a matched rate; and
    the plain factors at full rank, at the same and at a matched rate, which cut nothing.
    """
    plan: Plan = {}
    win = profile.win.faces
    if win is None:
        return plan
    # A head has no rank above its inputs either: 8 x width of the narrow ResNets, more of others.
    labels = FACE_SETS[profile.faces.data.name].labels or max(win.label_ranks)
    labels = min(labels, 8 * profile.faces.width)
    heads: tuple[tuple[Head, int, int], ...] = (
        ("target", 1, 2),
        ("labels", win.control_rank, labels),
    )
    for head, rank, full in heads:
        bases = [pretrained(profile, seed, head=head) for seed in seeds]
        runs = {
            "tl": [tuned(profile, b, "tl") for b in bases],
            "svd": [tuned(profile, b, "svd", rank=rank) for b in bases],
            "win": [tuned(profile, b, "win", rank=rank) for b in bases],
            **{
                f"win, {kind}": [
                    tuned(profile, b, "win", rank=rank, importance=kind) for b in bases
                ]
                for kind in CONTROLS
            },
            "svd, matched": [tuned(profile, b, "svd", rank=rank, matched=True) for b in bases],
            "win, matched": [tuned(profile, b, "win", rank=rank, matched=True) for b in bases],
            "factors": [tuned(profile, b, "svd", rank=full) for b in bases],
            "factors, matched": [tuned(profile, b, "svd", rank=full, matched=True) for b in bases],
        }
        plan |= {f"{head}: {key}": list(configs) for key, configs in runs.items()}
    return plan


def with_controls(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Return :func:`strategies` and :func:`controls` as one plan: their runs are shared."""
    return strategies(profile, seeds) | controls(profile, seeds)


#: Every experiment by the notebook that runs it.
EXPERIMENTS = {
    "45_win_on_faces": (with_controls, architectures),
    "46_rank": (ranks, strategies),
    "47_is_it_the_neutralising": (controls,),
}
