"""What a profile runs stays what it was: the identities of all its runs, pinned."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from repro.study.experiments import everything
from repro.study.profiles import load_profile, profile_names

#: profile -> how many runs it has, and the beginning of a digest of their identities
PINNED = {
    "smoke": (233, "bdb466604dadb3e1"),
    "quick": (170, "b4dba87a2b910f3e"),
    "toy": (1907, "409b26ec871cf40a"),
    "desk": (1777, "96ecbd1b5e66a9f8"),
    "paper": (2244, "8a9baad3e8b761a9"),
}


def test_every_profile_is_pinned() -> None:
    assert set(PINNED) == set(profile_names())


@pytest.mark.parametrize("name", PINNED)
def test_the_runs_of_a_profile_are_those_of_before(name: str) -> None:
    """A change that only moves code leaves this; one that is meant to make new runs pins anew."""
    configs = [config for group in everything(load_profile(name)).values() for config in group]
    identities = sorted({config.identity for config in configs})
    digest = hashlib.sha256("\n".join(identities).encode()).hexdigest()[:16]
    assert (len(identities), digest) == PINNED[name], (
        "other runs than before: records of this profile are no longer those of its settings"
    )


def test_runs_are_planned_and_claims_judged_without_the_libraries_that_compute() -> None:
    # In a process of its own: this one has loaded them for other tests.
    code = """
import sys
from repro.study.experiments import everything
from repro.study.profiles import load_profile, profile_names
from repro.study.verdicts import verdicts
assert all(everything(load_profile(name)) for name in profile_names())
print(*{"scipy.stats"} & {*sys.modules})  # which the best of several is judged by, alone
assert any(verdict.judged for verdict in verdicts("desk"))
print(*{"torch", "torchvision", "diffusers", "transformers", "sklearn", "seaborn"} & {*sys.modules})
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert not done.stdout.split()
