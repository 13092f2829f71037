"""What a claim is: a sentence of a paper, as contrasts between runs that records can decide.

Each contrast says that a quantity is smaller (or larger) for one setting than for another;
:mod:`repro.study.verdicts` judges them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from repro.study.plans import Plan
from repro.study.profiles import Paper, Profile


@dataclass(frozen=True)
class Contrast:
    """``quantity`` of ``first`` is smaller ("less") or larger ("greater") than of ``second``."""

    text: str
    first: str
    second: str
    quantity: str
    direction: Literal["less", "greater"]
    #: where ``second`` takes its value, if not from the same quantity
    second_quantity: str | None = None
    #: first - second as the paper reports it (fractions), where it does
    reported: float | None = None
    #: how far ``reported`` may be off, where it was read off a plot
    slack: float = 0.0
    unit: Literal["points", "parameters"] = "points"


@dataclass(frozen=True)
class Claim:
    """One claim, the runs that bear on it, and what was substituted in testing it."""

    name: str
    where: str
    statement: str
    notebook: str
    plan: Callable[[Profile, Sequence[int]], Plan]
    contrasts: Callable[[Profile], list[Contrast]]
    substitutions: tuple[str, ...] = ()
    #: contrasts that are shown beside, because the claim alone would mislead; they judge nothing
    beside: Callable[[Profile], list[Contrast]] = lambda profile: []
    paper: Paper = "win"
    #: substitutions that a profile's own settings make
    settings: Callable[[Profile], Sequence[str]] = lambda profile: ()

    def substituted(self, profile: Profile) -> tuple[str, ...]:
        """Return all that was substituted in testing the claim under a profile."""
        return (*self.settings(profile), *self.substitutions)
