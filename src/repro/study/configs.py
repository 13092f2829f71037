"""What a run is: one configuration of one stage, and its identity, known before anything runs.

The identity is the hash of the configuration; a run that it builds on enters by that run's
identity, its data by their declared sha256. A stage's ``version`` goes up when the meaning of its
configuration or of what it computes does, so that old records are never mistaken for new ones.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, ClassVar, Literal

from pydantic import Field

from repro.settings import DataSettings, Optimisation, Strict

Constraint = Literal["dp", "eo"]


class RunConfig(Strict):
    """The configuration of one run; a nested ``RunConfig`` is a run that it builds on."""

    stage: ClassVar[str]
    version: ClassVar[int]

    profile: str
    seed: int = Field(ge=0)

    def upstream(self) -> dict[str, RunConfig]:
        """Return the runs that this one builds on, by the name of their field."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in values.items() if isinstance(value, RunConfig)}

    def describe(self) -> dict[str, Any]:
        """Return the configuration as plain values, upstream runs by their identities."""
        above = self.upstream()
        plain = self.model_dump(mode="json", exclude=set(above))
        for name, config in above.items():
            plain[name] = config.identity
        return {"stage": self.stage, "version": self.version, **plain}

    @property
    def identity(self) -> str:
        """The first 16 hexadecimal digits of the configuration's sha256."""
        return digest(self.describe())[:16]

    @property
    def label(self) -> str:
        """A few words for progress lines and messages."""
        return f"{self.stage} seed {self.seed}"


def digest(values: Any) -> str:
    """Return the sha256 of plain values, independent of the order of keys."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Pretrain(RunConfig):
    """A classifier trained on the pre-training part (60 %), with or without a regulariser."""

    stage: ClassVar[str] = "win-pretrain"
    version: ClassVar[int] = 1

    paper: Literal["win"] = "win"
    task: Literal["income/sex"] = "income/sex"  # target / protected attribute
    data: DataSettings
    data_sha256: dict[str, str]  # declared, checked against what is read
    architecture: str
    hidden: int
    constraint: Constraint | None = None
    intensity: float = 0.0
    optimisation: Optimisation

    @property
    def label(self) -> str:
        """A few words for progress lines and messages."""
        fair = f" {self.constraint} {self.intensity:g}" if self.constraint else ""
        return f"pre-train {self.architecture}{fair} on {self.data.name}, seed {self.seed}"


class Finetune(RunConfig):
    """A pre-trained classifier fine-tuned on the new task (40 %) by one strategy."""

    stage: ClassVar[str] = "win-finetune"
    version: ClassVar[int] = 1

    paper: Literal["win"] = "win"
    pretrained: Pretrain
    strategy: Literal["tl", "svd", "win", "retrain"]
    rank: int | None = None  # svd, win
    weight: float | None = None  # win: of the importance of protected = 1 (a in Figure 5)
    importance_floor: float | None = None  # win: relative to the largest row
    constraint: Constraint | None = None  # retrain
    intensity: float = 0.0
    optimisation: Optimisation

    @property
    def label(self) -> str:
        """A few words for progress lines and messages."""
        words: list[str] = [self.strategy]
        if self.rank is not None:
            words.append(f"rank {self.rank}")
        if self.weight is not None:
            words.append(f"a {self.weight:g}")
        if self.constraint:
            words.append(f"{self.constraint} {self.intensity:g}")
        before = self.pretrained
        if before.constraint:
            words.append(f"from {before.constraint} {before.intensity:g}")
        return f"fine-tune {before.architecture} {' '.join(words)}, seed {self.seed}"


class Probe(RunConfig):
    """What the last layer of a pre-trained classifier sees of each protected group."""

    stage: ClassVar[str] = "win-probe"
    version: ClassVar[int] = 2

    paper: Literal["win"] = "win"
    pretrained: Pretrain
    permutations: int  # of the protected label, for the null of the group difference

    @property
    def label(self) -> str:
        """A few words for progress lines and messages."""
        fair = self.pretrained.constraint or "unconstrained"
        return f"probe {self.pretrained.architecture} {fair}, seed {self.seed}"
