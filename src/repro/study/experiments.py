"""Every experiment and every claim of the study, and all runs of a profile."""

from __future__ import annotations

from repro.study import aim_plans, plans, winface_plans
from repro.study.aim_claims import AIM_CLAIMS
from repro.study.aim_csdg_plans import CSDG_EXPERIMENTS
from repro.study.claims import WIN_CLAIMS
from repro.study.plans import Experiment, Plan
from repro.study.profiles import Paper, Profile
from repro.study.winface_claims import WIN_FACE_CLAIMS

#: notebook -> the part of the study whose seeds it runs, and its experiments
EXPERIMENTS: dict[str, tuple[Paper, tuple[Experiment, ...]]] = {
    **{name: ("aim-fair", plan) for name, plan in aim_plans.EXPERIMENTS.items()},
    **{name: ("aim-fair", plan) for name, plan in CSDG_EXPERIMENTS.items()},
    **{name: ("win", plan) for name, plan in plans.EXPERIMENTS.items()},
    **{name: ("win-faces", plan) for name, plan in winface_plans.EXPERIMENTS.items()},
}

#: Every claim, in the order of the book.
CLAIMS = AIM_CLAIMS + WIN_CLAIMS + WIN_FACE_CLAIMS


def everything(profile: Profile) -> Plan:
    """Return all runs of a profile, and those that they build on."""
    plan: Plan = {}
    for paper, experiments in EXPERIMENTS.values():
        for experiment in experiments:
            for key, configs in experiment(profile, profile.seeds_of(paper)).items():
                plan[f"{experiment.__name__}: {key}"] = configs
                for config in configs:
                    for upstream in config.upstream().values():
                        plan.setdefault(f"upstream {upstream.identity}", [upstream])
    return plan
