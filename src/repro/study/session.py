"""What a notebook holds: a profile, its runs, and the calls that compute or look up a plan."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from repro.study import experiments, tables
from repro.study.claims import Claim
from repro.study.compare import agreement, within_spread
from repro.study.configs import RunConfig
from repro.study.experiments import Plan
from repro.study.once import one_reading
from repro.study.profiles import Paper, Profile, load_profile
from repro.study.provenance import machines_in_words
from repro.study.records import (
    ExportedFirst,
    Results,
    exported,
    look_up,
    other_kernels,
    recorded,
    recorded_file,
)
from repro.study.runs import Record, Runs
from repro.study.stages import obtain
from repro.study.tables import Reported
from repro.study.verdicts import Verdict, decide, rests_on, sentence

#: The profiles whose records every page shows, real data, and embedded ones with seeds enough.
RECORDED = ("desk", "toy")


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


#: What :meth:`Study.show` displays.
Part = Figure | pd.DataFrame | tables.Html | View | str


@dataclass(frozen=True)
class Study:
    """One profile (with a notebook's own settings) and the folder of runs."""

    profile: Profile
    notebook: str = "NOTEBOOK"
    #: the parameters of this call, by name, without those left at their default
    given: Mapping[str, Any] = field(default_factory=dict)
    runs: Runs = field(default_factory=Runs)
    paper: Paper = "win"
    #: every run that this call asked for, of either half
    asked: dict[str, Record] = field(default_factory=dict, compare=False, repr=False)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of this call."""
        return self.profile.seeds_of(self.paper)

    @property
    def data_label(self) -> str:
        """What the numbers are about, with the word "simulated" where they are."""
        return self.profile.data_label(self.paper)

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
        results = {key: [obtain(c, self.runs) for c in group] for key, group in plan.items()}
        self.asked.update({r.run: r for group in results.values() for r in group})
        return results

    @one_reading()
    def views(self, plan_of: Callable[[Profile, Sequence[int]], Plan]) -> list[View]:
        """Return an experiment as it is recorded, then as this call computes it.

        The recorded ones come first, because verdicts rest on them. Where the runs of this call
        are a part of recorded ones, only these are shown: what was computed here is compared with
        them (:meth:`agreement`).
        """
        results = self.compute(plan_of(self.profile, self.seeds))
        own = {r.run for group in results.values() for r in group}
        views, shown = [], False
        for name in RECORDED:
            profile = load_profile(name)
            plan = plan_of(profile, profile.seeds_of(self.paper))
            if {c.identity for group in plan.values() for c in group} == own:
                continue  # this call computes exactly these
            view = View(
                f"{profile.data_label(self.paper)}, recorded under profile {name}",
                look_up(plan, self._recorded),
                f".venv/bin/papermill notebooks/{self.notebook}.ipynb out.ipynb -p profile {name}",
                profile,
                self.paper,
            )
            known = {r.run for group in view.results.values() for r in group}
            shown = shown or (bool(own) and own <= known)
            views += [view] if known else []
        label = f"{self.data_label}, this call: profile {self.profile.name}"
        if not shown:
            views.append(View(label, results, self.again, self.profile, self.paper))
        return views

    @property
    def _recorded(self) -> Runs:
        return ExportedFirst(self.runs.root)

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
        own = view.profile is self.profile
        if own:
            self.compute(rests_on(one, profile or view.profile))
        runs = self.runs if own else self._recorded
        return decide(one, profile or view.profile, view.results, runs)

    @property
    def again(self) -> str:
        """The command that computes this call's runs again."""
        words = [f".venv/bin/papermill notebooks/{self.notebook}.ipynb out.ipynb"]
        for name, value in ({"profile": self.profile.name} | dict(self.given)).items():
            words.append(
                f"-p {name} {value if isinstance(value, str) else shlex.quote(str(value))}"
            )
        return " ".join(words)

    def agreement(self) -> str:
        """Say how many runs of this call were recorded, and how far they have the same counts."""
        if not self.asked:
            return "This call asked for no run."
        known = {run: r for run in self.asked if (r := exported(run)) is not None}
        shared, same, moved = agreement(self.asked, known)
        if not shared:
            return (
                f"None of the {len(self.asked)} runs of this call is among the recorded ones, "
                f"which are of profiles {' and '.join(RECORDED)} with their own settings and seeds."
            )
        told = f"**Recomputed here: {same} of {shared} runs agree** with their records, count by "
        told += "count"
        if moved is not None and same < shared:
            told += f"; worst-group accuracy differs by {100 * moved:.2f} points on average"
            told += self._what_moved(known)
        more = len(self.asked) - shared
        return f"{told}{f'; {more} more were never recorded' if more else ''}."

    def _what_moved(self, known: Mapping[str, Record]) -> str:
        """Say whether runs that differ lie among their records, and what differs here."""
        moved = {r: self.asked[r] for r, there in known.items() if self.asked[r].moved(there)}
        told, kernels = "", list[str]()
        for name in RECORDED:
            mine = {run: record for run, record in moved.items() if run in recorded(name)}
            if not mine:
                continue
            inside, of = within_spread(mine, recorded(name), "worst_group_accuracy")
            if of:
                told += f"; {inside} of {of} lie in the 95 % prediction interval of {name}'s other "
                told += "seeds (19 of 20 would)"
            if all(record.body["device"] == "cpu" for record in mine.values()):
                kernels += other_kernels(recorded_file(name)) or []
        there = machines_in_words(known[run] for run in moved)
        if (here := machines_in_words(moved.values())) != there:
            told += f". They were recorded on {there}, and computed here on {here}"
        if kernels:
            told += f". Kernels that round otherwise here: {', '.join(dict.fromkeys(kernels))}"
        return told

    def show(self, *parts: Part) -> None:
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

    @one_reading()
    def learnt(self) -> None:
        """Show the verdict on every claim of this notebook, and whether its runs agree."""
        for claim in experiments.claims():
            if claim.notebook == self.notebook:
                for view in self.views(claim.plan):
                    self.show(sentence(self.decide(claim, view), view.label))
        self.show(self.agreement())
