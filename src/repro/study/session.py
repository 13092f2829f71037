"""What a notebook holds: a profile, its runs, and the calls that compute or look up a plan."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from repro.study import experiments, tables
from repro.study.claims import Claim
from repro.study.compare import agreement
from repro.study.configs import RunConfig
from repro.study.experiments import Plan
from repro.study.profiles import Paper, Profile, load_profile
from repro.study.records import Results, look_up, recorded
from repro.study.runs import Runs
from repro.study.stages import obtain
from repro.study.tables import Reported
from repro.study.verdicts import Verdict, decide, rests_on, sentence

#: The profile whose records the verdicts rest on.
RECORDED = "desk"


@dataclass(frozen=True)
class View:
    """One experiment on one data set: what it is, its records, how to get them again."""

    label: str
    results: Results
    again: str
    profile: Profile
    about: Paper = "win"

    def paper(self, numbers: Reported) -> Reported | None:
        """Return what the paper reports, or None: nothing stands beside simulated data."""
        return None if self.profile.is_simulated(self.about) else numbers

    @property
    def source(self) -> tables.Html:
        """The folded line that says which runs these are, and how to get them again."""
        return tables.source(self.results, self.label, self.again)


@dataclass(frozen=True)
class Study:
    """One profile (with a notebook's own settings) and the folder of runs."""

    profile: Profile
    notebook: str = "NOTEBOOK"
    #: the parameters of this call, by name, without those left at their default
    given: Mapping[str, Any] = field(default_factory=dict)
    runs: Runs = field(default_factory=Runs)
    paper: Paper = "win"

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of this call."""
        return self.profile.seeds_of(self.paper)

    @property
    def data_label(self) -> str:
        """What the numbers are about, with the word "simulated" where they are."""
        return self.profile.data_label(self.paper)

    def half(self, paper: Paper) -> Study:
        """Return the same study, about one of the papers."""
        return replace(self, paper=paper)

    def compute(self, plan: Mapping[str, Sequence[RunConfig]]) -> Results:
        """Find or compute every run of ``plan``, saying on standard error how far it is."""
        configs = {c.identity: c for group in plan.values() for c in group}
        missing = [c for c in configs.values() if self.runs.find(c) is None]
        start = time.perf_counter()
        for done, config in enumerate(missing, 1):
            obtain(config, self.runs)
            elapsed = time.perf_counter() - start
            left = elapsed / done * (len(missing) - done)
            print(
                f"[{done}/{len(missing)}] {config.label} "
                f"({elapsed:.0f} s, about {left:.0f} s left)",
                file=sys.stderr,
                flush=True,
            )
        return {key: [obtain(c, self.runs) for c in group] for key, group in plan.items()}

    def views(self, plan_of: Callable[[Profile, Sequence[int]], Plan]) -> list[View]:
        """Return an experiment as recorded under ``desk``, and as this call computes it.

        The recorded one comes first, because it is what the verdicts rest on; it is left out where
        this call computes exactly the same runs.
        """
        here = View(
            self._label(),
            self.compute(plan_of(self.profile, self.seeds)),
            self.again,
            self.profile,
            self.paper,
        )
        desk = load_profile(RECORDED)
        plan = plan_of(desk, desk.seeds_of(self.paper))
        if _identities(plan) == {r.run for group in here.results.values() for r in group}:
            return [here]
        known = View(
            f"{desk.data_label(self.paper)}, recorded under profile {RECORDED}",
            look_up(plan, self.runs),
            f".venv/bin/papermill notebooks/{self.notebook}.ipynb out.ipynb -p profile {RECORDED}",
            desk,
            self.paper,
        )
        return [known, here] if known.results else [here]

    def decide(self, claim: Claim | str, view: View, profile: Profile | None = None) -> Verdict:
        """Return the verdict on a claim by the runs of a view.

        Of what this call computes, the runs that its checks and controls need are computed, too.

        Parameters
        ----------
        claim
            It, or its name.
        profile
            The settings that the runs have, where they are not the view's.
        """
        one = experiments.claim_named(claim) if isinstance(claim, str) else claim
        if view.profile is self.profile:
            self.compute(rests_on(one, profile or view.profile))
        return decide(one, profile or view.profile, view.results, self.runs)

    @property
    def again(self) -> str:
        """The command that computes this call's runs again."""
        words = [f".venv/bin/papermill notebooks/{self.notebook}.ipynb out.ipynb"]
        for name, value in ({"profile": self.profile.name} | dict(self.given)).items():
            words.append(
                f"-p {name} {value if isinstance(value, str) else shlex.quote(str(value))}"
            )
        return " ".join(words)

    def _label(self) -> str:
        return f"{self.data_label}, this call: profile {self.profile.name}"

    def agreement(self, *views: Sequence[View]) -> str:
        """Say how many runs of this call were recorded, and how far they have the same counts."""
        own = [v for group in views for v in group if v.profile is self.profile]
        here = {r.run: r for view in own for group in view.results.values() for r in group}
        known = recorded(self.profile.name)
        shared, same, moved = agreement(here, known)
        if not shared:
            return (
                f"None of these {len(here)} runs is among the recorded ones, which are of profile "
                f"{RECORDED} with its own settings and seeds."
            )
        amount = "" if moved is None else f" by {100 * moved:.2f} points"
        rest = f"; worst-group accuracy differs{amount} on average" if same < shared else ""
        return (
            f"{shared} of these {len(here)} runs are among the recorded ones; {same} of them "
            f"have exactly the recorded confusion counts{rest}."
        )

    def show(self, *parts: Figure | pd.DataFrame | tables.Html | View | str) -> None:
        """Show figures, tables, Markdown, and of views where their numbers are from, in order."""
        from IPython import display  # of notebooks alone
        from matplotlib import pyplot as plt

        for part in parts:
            shown: object = part
            if isinstance(part, pd.DataFrame):
                shown = tables.show(part)
            elif isinstance(part, View):
                shown = part.source
            elif isinstance(part, str):
                shown = display.Markdown(part)  # type: ignore[no-untyped-call]
            display.display(shown)  # type: ignore[no-untyped-call]
            if isinstance(part, Figure):
                plt.close(part)  # else the notebook shows it again at the end of the cell

    def learnt(self) -> None:
        """Show the verdict on every claim of this notebook, by each view of its runs."""
        for claim in experiments.claims():
            if claim.notebook == self.notebook:
                for view in self.views(claim.plan):
                    self.show(sentence(self.decide(claim, view), view.label))


def _identities(plan: Plan) -> set[str]:
    return {config.identity for group in plan.values() for config in group}
