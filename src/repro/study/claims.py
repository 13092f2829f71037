"""What a claim is: a sentence of a paper, as contrasts between runs that records can decide.

Each contrast says that a quantity is smaller (or larger) for one setting than for another, and by
how much less than reported it would still be what the paper claims. :mod:`repro.study.verdicts`
judges them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from repro.study.experiments import Plan, substituted
from repro.study.profiles import Paper, Profile
from repro.study.records import Results

MARGIN = 0.01
"""One point, below which nothing is what a paper claims where it reports no difference."""

AUC_MARGIN = 0.05
"""The same of an area under a curve."""


@dataclass(frozen=True)
class Contrast:
    """``quantity`` of ``first`` is smaller ("less") or larger ("greater") than of ``second``."""

    text: str
    first: str
    #: a setting, or several, whose mean is taken
    second: str | tuple[str, ...]
    quantity: str
    direction: Literal["less", "greater"]
    #: where ``second`` takes its value, if not from the same quantity
    second_quantity: str | None = None
    #: first - second as the paper reports it for this task (fractions), where it does
    reported: float | None = None
    #: the paper's difference on its main task, which sets the margin where it reports no own one
    elsewhere: float | None = None
    #: how far a reported difference may be off, read off a plot or by the digits of a table
    slack: float = 0.0
    #: "no worse" says that nothing is lost, which a claim may need but is no support by itself
    kind: Literal["better", "no worse"] = "better"
    unit: Literal["points", "parameters"] = "points"
    #: what must be so of its own settings, or it tests nothing
    check: Check | None = None

    @property
    def sign(self) -> int:
        """1 where the claimed difference is positive, else -1."""
        return 1 if self.direction == "greater" else -1

    @property
    def seconds(self) -> tuple[str, ...]:
        """The settings of the second side."""
        return (self.second,) if isinstance(self.second, str) else self.second

    @property
    def keys(self) -> tuple[str, ...]:
        """Every setting that it reads."""
        return (self.first, *self.seconds)

    @property
    def margin(self) -> float:
        """The smallest difference that is still the paper's claim, above 0.

        Half of what the paper reports, where that is on the claimed side and more than the error of
        reading it; else `MARGIN`, or `AUC_MARGIN`. It follows from the paper and the code alone and
        from no record. Runs that were recorded before the rule was written could be seen when it
        was: of them, not of later ones, margins cannot be said to stand before the runs.
        """
        half = self.told / 2
        if self.kind == "better" and half > self.slack:
            return half
        return AUC_MARGIN if "auc" in self.quantity else MARGIN

    @property
    def told(self) -> float:
        """What the paper reports here, or on its main task; claimed is positive, 0 is nothing."""
        told = self.reported if self.reported is not None else self.elsewhere
        return 0.0 if told is None else self.sign * told


@dataclass(frozen=True)
class Check:
    """A manipulation check or a positive control: what must be so, or a claim is not tested.

    ``passes`` takes the records of ``plan`` and returns whether it is so, and the numbers in words.
    """

    text: str
    plan: Callable[[Profile, Sequence[int]], Plan]
    keys: tuple[str, ...]
    passes: Callable[[Results], tuple[bool, str]]


def every(checks: Sequence[Check]) -> Check:
    """Return several checks as one that passes if all do; the first one's plan has their runs."""
    if len(checks) == 1:
        return checks[0]

    def passes(results: Results) -> tuple[bool, str]:
        found = [check.passes(results) for check in checks]
        return all(fine for fine, _ in found), "; ".join(numbers for _, numbers in found)

    keys = dict.fromkeys(key for check in checks for key in check.keys)
    text = " and ".join(dict.fromkeys(check.text for check in checks))
    return Check(text, checks[0].plan, tuple(keys), passes)


@dataclass(frozen=True)
class Claim:
    """One claim, the runs that bear on it, and what was substituted in testing it.

    ``kind`` is what its sentence says of its contrasts: ``all`` of them, ``any`` of them; ``best``,
    that the first setting has no better rival and beats their mean, which is the last contrast; or
    ``construction``, where no sample can tell otherwise.
    """

    name: str
    where: str
    #: the sentence, from the settings that it is judged under
    sentence: str | Callable[[Profile], str]
    notebook: str
    plan: Callable[[Profile, Sequence[int]], Plan]
    contrasts: Callable[[Profile], list[Contrast]]
    #: substitutions beside those of the profile's settings
    substitutions: tuple[str, ...] = ()
    #: contrasts that are shown beside, because the claim alone would mislead; they judge nothing
    beside: Callable[[Profile], list[Contrast]] = lambda profile: []
    paper: Paper = "win"
    kind: Literal["all", "any", "best", "construction"] = "all"
    #: what it rests on, of `repro.chapters.substitutions.PARTS`, None is all of them
    touches: frozenset[str] | None = None
    #: what must be so for it to be tested at all
    checks: Callable[[Profile], Sequence[Check]] = lambda profile: ()
    #: what shows, on simulated data, that the set-up can find such an effect
    control: Callable[[Profile], Check | None] = lambda profile: None
    #: the settings that its runs have, by what to call them, where they are not the profile's
    under: Callable[[Profile], Mapping[str, Profile]] = lambda profile: {"": profile}

    def statement(self, profile: Profile) -> str:
        """Return the sentence, about the settings of a profile."""
        return self.sentence if isinstance(self.sentence, str) else self.sentence(profile)

    def substituted(self, profile: Profile) -> tuple[str, ...]:
        """Return all that was substituted in testing the claim under a profile."""
        told = {
            name: substituted(one, self.paper, self.touches)
            for name, one in (self.under(profile) or {"": profile}).items()
        }
        everywhere = set[str].intersection(*map(set, told.values()))
        lines = (
            line if line in everywhere else f"{name}: {line}"
            for name, each in told.items()
            for line in each
        )
        return (*dict.fromkeys(lines), *self.substitutions)
