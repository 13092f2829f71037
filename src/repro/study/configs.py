"""What a run is: one configuration of one stage, and its identity, known before anything runs.

The identity is the hash of the configuration; a run that it builds on enters by that run's
identity, its data by their declared sha256. The name of a profile is no part of it: what two
profiles ask for alike is one run. A stage's ``version`` goes up when the meaning of its
configuration or of what it computes does, so that old records are never mistaken for new ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from repro.settings import Strict
from repro.study.once import once


class RunConfig(Strict):
    """The configuration of one run; a nested ``RunConfig`` is a run that it builds on."""

    stage: ClassVar[str]
    version: ClassVar[int]
    #: fields that came later, and the value with which a run is what it was before they did
    later: ClassVar[Mapping[str, Any]] = {}

    seed: int = Field(ge=0)

    def upstream(self) -> dict[str, RunConfig]:
        """Return the runs that this one builds on, by the name of their field."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in values.items() if isinstance(value, RunConfig)}

    def describe(self) -> dict[str, Any]:
        """Return the configuration as plain values, upstream runs by their identities.

        A field of `later` is left out where it has its value there, which so changes no identity.
        """
        above = self.upstream()
        plain = self.model_dump(mode="json", exclude=set(above))
        for name, config in above.items():
            plain[name] = config.identity
        plain = {n: v for n, v in plain.items() if n not in self.later or v != self.later[n]}
        return {"stage": self.stage, "version": self.version, **plain}

    @property
    @once
    def identity(self) -> str:
        """The first 16 hexadecimal digits of the configuration's sha256."""
        return digest(self.describe())[:16]

    @property
    def label(self) -> str:
        """A few words for progress lines and messages."""
        return f"{self.stage} seed {self.seed}"


# What a configuration draws from, at any depth, and the digests of what is drawn: toy faces and
# lists of prompts may be drawn anew in every seed, and are then as much the seed's as the seed.
_OF_THE_SEED = (
    *("seed", "toy_seed"),
    *("toyfaces camera", "toyfaces studio", "synthetic faces"),
)


def seedless(values: Any) -> Any:
    """Return a configuration as plain values without what is the seed's."""
    if not isinstance(values, dict):
        return values
    return {name: seedless(v) for name, v in values.items() if name not in _OF_THE_SEED}


def digest(values: Any) -> str:
    """Return the sha256 of plain values, independent of the order of keys."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
