"""Which runs each table and figure of WIN needs: pure lists of configurations, nothing runs here.

Every function takes the profile and the seeds and returns a mapping from a readable key to one
configuration per seed, in the order of the seeds. Two experiments that need the same run name
the same configuration, so it is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from repro.settings import SettingsError
from repro.study.configs import Constraint, Finetune, Pretrain, Probe, RunConfig
from repro.study.datasets import declared_sha256
from repro.study.profiles import Profile

#: key -> one configuration per seed
Plan = dict[str, list[RunConfig]]
Experiment = Callable[[Profile, Sequence[int]], Plan]


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
        profile=profile.name,
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
            "profile": profile.name,
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


def strategies(
    profile: Profile,
    seeds: Sequence[int],
    *,
    ranks: Sequence[int] | None = None,
    architecture: str | None = None,
    include_protected: bool | None = None,
) -> Plan:
    """Figure 4 and Table 4: TL, f+SVD and WIN from one pre-trained model; keys ``win, rank 1``."""
    bases = [
        pretrain(profile, s, architecture=architecture, include_protected=include_protected)
        for s in seeds
    ]
    plan: Plan = {"pre-trained": list(bases)}
    plan["tl"] = [finetune(profile, base, "tl") for base in bases]
    for rank in profile.win.ranks if ranks is None else ranks:
        for strategy in ("svd", "win"):
            plan[f"{strategy}, rank {rank}"] = [
                finetune(profile, base, strategy, rank=rank) for base in bases
            ]
    return plan


def fair_then_tuned(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 2: fair pre-trained models and their fine-tuned last layer; keys ``dp 0.1, after``.

    Beside them the unconstrained model, ``unconstrained, after``: how unfair fine-tuning gets where
    nothing was ever fair.
    """
    plain = [pretrain(profile, seed) for seed in seeds]
    plan: Plan = {
        "unconstrained, before": list(plain),
        "unconstrained, after": [finetune(profile, base, "tl") for base in plain],
    }
    for constraint in profile.win.constraints:
        for intensity in profile.win.intensities:
            bases = [
                pretrain(profile, s, constraint=constraint, intensity=intensity) for s in seeds
            ]
            plan[f"{constraint} {intensity:g}, before"] = list(bases)
            plan[f"{constraint} {intensity:g}, after"] = [
                finetune(profile, base, "tl") for base in bases
            ]
    return plan


def fair_then_tuned_otherwise(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 2 under the profile's other budget; empty where it has none."""
    other = otherwise(profile)
    return {} if other is None else fair_then_tuned(other, seeds)


def otherwise(profile: Profile) -> Profile | None:
    """Return a profile with its other budget in place of its own, or None where it has none."""
    budget = profile.win.other_budget
    if budget is None:
        return None
    win = profile.win.model_copy(update={"pretrain": budget.pretrain, "finetune": budget.finetune})
    return profile.model_copy(update={"win": win})


def probes(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Figures 1 and 3: the last layer of the unconstrained and of every fair model."""
    plan: Plan = {
        "unconstrained": [
            _probe(profile, pretrain(profile, seed)) for seed in seeds
        ]
    }  # fmt: skip
    for constraint in profile.win.constraints:
        for intensity in profile.win.intensities:
            plan[f"{constraint} {intensity:g}"] = [
                _probe(profile, pretrain(profile, s, constraint=constraint, intensity=intensity))
                for s in seeds
            ]
    return plan


def _probe(profile: Profile, base: Pretrain) -> Probe:
    return Probe(
        profile=profile.name,
        seed=base.seed,
        pretrained=base,
        permutations=profile.win.permutations,
    )


def in_processing(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 3: every parameter retrained, plainly and under a regulariser; keys ``retrain``..."""
    bases = [pretrain(profile, seed) for seed in seeds]
    plan: Plan = {"retrain": [finetune(profile, base, "retrain") for base in bases]}
    for constraint in profile.win.constraints:
        for intensity in profile.win.intensities:
            plan[f"retrain {constraint} {intensity:g}"] = [
                finetune(profile, b, "retrain", constraint=constraint, intensity=intensity)
                for b in bases
            ]
    return plan


def group_weights(
    profile: Profile,
    seeds: Sequence[int],
    *,
    weights: Sequence[float] | None = None,
    ranks: Sequence[int] | None = None,
) -> Plan:
    """Figure 5: the weight a; keys ``rank 1, a 0.7``.

    The paper does not say which group is s = 1, so each a of [0.5, 1) is run as the weight of
    either group: ``a`` below 0.5 in a key means that women's importance has the weight 1 - a.
    What all are compared with, 0.5, is among them whatever ``weights`` says.
    """
    bases = [pretrain(profile, seed) for seed in seeds]
    given = profile.win.weights if weights is None else weights
    both = sorted({round(w, 6) for a in (*given, 0.5) for w in (a, 1 - a)})
    return {
        f"rank {rank}, a {weight:g}": [
            finetune(profile, base, "win", rank=rank, weight=weight) for base in bases
        ]
        for rank in (profile.win.ranks if ranks is None else ranks)
        for weight in both
    }


def against_retraining(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 3 whole: the strategies of Figure 4 beside :func:`in_processing`."""
    return strategies(profile, seeds) | in_processing(profile, seeds)


def architectures(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 4: the strategies for each deeper classifier; keys ``mlp-3, win, rank 1``."""
    return {
        f"{name}, {key}": configs
        for name in profile.win.architectures
        for key, configs in strategies(profile, seeds, architecture=name).items()
    }


def protected_switch(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Figure 4 again with the protected attribute among the features, where it is out by default.

    The paper does not say which it is; keys ``p in, tl`` and ``p out, tl``.
    """
    return {
        f"p {word}, {key}": configs
        for word, include in (("out", False), ("in", True))
        for key, configs in strategies(profile, seeds, include_protected=include).items()
    }


#: Every experiment by the notebook that runs it.
EXPERIMENTS = {
    "40_finetuning_brings_bias_back": (fair_then_tuned, fair_then_tuned_otherwise, probes),
    "41_weight_importance": (probes,),
    "43_win_on_adult": (against_retraining, architectures, protected_switch),
    "44_group_weight": (group_weights,),
}
