"""What the runs of WIN on Adult are: pre-training, fine-tuning by a strategy, and probes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BeforeValidator, model_validator

from repro.names import check_name
from repro.settings import DataSettings, Optimisation
from repro.study.configs import RunConfig

Constraint = Literal["dp", "eo"]
Strategy = Literal["tl", "svd", "win", "retrain"]


#: strategy -> what tables call it, as the paper does
NAMES: dict[str, str] = {"tl": "TL", "svd": "f+SVD", "win": "WIN", "retrain": "Retrain"}


def fair_key(constraint: str, intensity: float) -> str:
    """Return the key of a model that was trained under a regulariser: ``dp 0.1``."""
    return f"{constraint} {intensity:g}"


def key_of(strategy: str, rank: int | None = None, fair: str = "") -> str:
    """Return the key of a setting in a plan: ``win, rank 1``, ``retrain dp 0.1``."""
    return strategy + (f" {fair}" if fair else "") + (f", rank {rank}" if rank else "")


def words(config: Mapping[str, Any], names: Mapping[str, str] = NAMES) -> str:
    """Return what tables call the setting of a recorded run, ``Retrain+EO 0.9``.

    By no ``names`` it is the key in a plan. A run that no strategy tuned is pre-trained.
    """
    if not (strategy := config.get("strategy")):
        return "pre-trained"
    name, rank = names.get(strategy, strategy), config.get("rank")
    if not (constraint := config.get("constraint")):
        return key_of(name, rank)
    if names:
        return key_of(f"{name}+{constraint.upper()} {config['intensity']:g}", rank)
    return key_of(name, rank, fair_key(constraint, config["intensity"]))


def only_what_is_read(config: Any, needed: Mapping[str, bool]) -> None:
    """Refuse a setting that a strategy lacks, or that it does not read.

    A setting that means nothing would give one run two identities.

    Parameters
    ----------
    config
        Has a ``strategy``, and the settings.
    needed
        Setting -> whether the strategy reads it.

    Raises
    ------
    ValueError
        The message names strategy and setting.
    """
    for name, wanted in needed.items():
        if (getattr(config, name) is not None) != wanted:
            raise ValueError(
                f"strategy '{config.strategy}' {'needs' if wanted else 'has no'} {name}"
            )


def known_strategy(name: object) -> object:
    """Return a strategy of WIN; one that is none is refused by name, with the nearest."""
    return check_name("strategy", name, get_args(Strategy)) if isinstance(name, str) else name


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
    strategy: Annotated[Strategy, BeforeValidator(known_strategy)]
    rank: int | None = None  # svd, win
    weight: float | None = None  # win: of the importance of protected = 1 (a in Figure 5)
    importance_floor: float | None = None  # win: relative to the largest row
    constraint: Constraint | None = None  # retrain
    intensity: float = 0.0
    optimisation: Optimisation

    @model_validator(mode="after")
    def _only_what_is_read(self) -> Self:
        win = self.strategy == "win"
        factors = win or self.strategy == "svd"
        only_what_is_read(self, {"rank": factors, "weight": win, "importance_floor": win})
        return self

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
