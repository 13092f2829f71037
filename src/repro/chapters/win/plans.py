"""Which runs each table and figure of WIN needs: pure lists of configurations, nothing runs here.

Every function takes the profile and the seeds and returns a mapping from a readable key to one
configuration per seed, in the order of the seeds. Two experiments that need the same run name
the same configuration, so it is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from repro.chapters.win.configs import Constraint, Finetune, Pretrain, fair_key, key_of
from repro.chapters.win.data import declared_sha256
from repro.settings import SettingsError
from repro.study.configs import RunConfig
from repro.study.experiments import Plan, experiment
from repro.study.profiles import Profile

Base = TypeVar("Base", bound=RunConfig)


def constrained(profile: Profile) -> list[tuple[Constraint, float]]:
    """Return each regulariser of a profile with each of its intensities."""
    return [(c, i) for c in profile.win.constraints for i in profile.win.intensities]


def pretrain(
    profile: Profile,
    seed: int,
    *,
    constraint: Constraint | None = None,
    intensity: float = 0.0,
    architecture: str | None = None,
    include_protected: bool | None = None,
) -> Pretrain:
    """Return the configuration of one pre-trained model."""
    data = profile.data
    if include_protected is not None:
        data = data.model_copy(update={"include_protected": include_protected})
    return Pretrain(
        seed=seed,
        data=data,
        data_sha256=declared_sha256(data),
        architecture=architecture or profile.win.architecture,
        hidden=profile.win.hidden,
        constraint=constraint,
        intensity=intensity,
        optimisation=profile.win.pretrain,
    )


def finetune(
    profile: Profile,
    base: Pretrain,
    strategy: str,
    *,
    rank: int | None = None,
    weight: float = 0.5,
    constraint: Constraint | None = None,
    intensity: float = 0.0,
) -> Finetune:
    """Return the configuration of one fine-tuned model; ``weight`` is read by ``win`` only."""
    win = strategy == "win"
    if strategy in ("svd", "win"):
        width = min(profile.win.hidden, 2)
        if rank is None or not 1 <= rank <= width:
            raise SettingsError(
                f"rank {rank} of strategy '{strategy}' is out of range: the head is "
                f"{profile.win.hidden} x 2, so ranks run from 1 to {width}"
            )
    return Finetune.model_validate(
        {
            "seed": base.seed,
            "pretrained": base,
            "strategy": strategy,
            "rank": rank,
            "weight": weight if win else None,
            "importance_floor": profile.win.importance_floor if win else None,
            "constraint": constraint,
            "intensity": intensity,
            "optimisation": profile.win.finetune,
        }
    )


def on_bases(
    bases: Sequence[Base],
    ranks: Sequence[int],
    tune: Callable[[Base, str, int | None], RunConfig],
) -> Plan:
    """Plan TL, and f+SVD and WIN at every rank, from each of the pre-trained models."""
    plan: Plan = {"pre-trained": list(bases)}
    for strategy, rank in [("tl", None), *((s, r) for r in ranks for s in ("svd", "win"))]:
        plan[key_of(strategy, rank)] = [tune(base, strategy, rank) for base in bases]
    return plan


def under(head: str, key: str) -> str:
    """Return a key of strategies under a heading: ``mlp-3, win, rank 1``."""
    return f"{head}, {key}"


def under_each(heads: Iterable[str], plan_of: Callable[[str], Plan]) -> Plan:
    """Return the plans of several headings as one."""
    return {under(head, key): group for head in heads for key, group in plan_of(head).items()}


def strategies(
    profile: Profile,
    seeds: Sequence[int],
    *,
    architecture: str | None = None,
    include_protected: bool | None = None,
) -> Plan:
    """Figure 4 and Table 4: TL, f+SVD and WIN from one pre-trained model; keys ``win, rank 1``."""
    bases = [
        pretrain(profile, s, architecture=architecture, include_protected=include_protected)
        for s in seeds
    ]
    return on_bases(
        bases, profile.win.ranks, lambda base, how, rank: finetune(profile, base, how, rank=rank)
    )


def in_processing(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 3: every parameter retrained, plainly and under a regulariser; keys ``retrain``..."""
    bases = [pretrain(profile, seed) for seed in seeds]
    plan: Plan = {"retrain": [finetune(profile, base, "retrain") for base in bases]}
    for constraint, intensity in constrained(profile):
        plan[key_of("retrain", fair=fair_key(constraint, intensity))] = [
            finetune(profile, base, "retrain", constraint=constraint, intensity=intensity)
            for base in bases
        ]
    return plan


@experiment("43_win_on_adult", part="win")
def against_retraining(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 3 whole: the strategies of Figure 4 beside :func:`in_processing`."""
    return strategies(profile, seeds) | in_processing(profile, seeds)
