"""What a run of AIM-Fair is: training from an initialisation, sensitivities, fine-tuning.

Three stages, each naming what it builds on (Zhao et al. 2025, arXiv 2503.05665): a classifier is
trained (1c), the sensitivity of its tensors is measured (SMG, 1d), and some tensors are fine-tuned
(SFT, 1e; the numbers are those of the book's page "How this study works").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from repro.aimfair.strategies import STRATEGIES, Start
from repro.names import check_name
from repro.settings import BackboneSettings, FaceData, ImageOptimisation, SyntheticFaces
from repro.study.configs import RunConfig


def _starting(start: Start, name: str) -> str:
    return check_name("strategy", name, [n for n, s in STRATEGIES.items() if s.start == start])


class Backbone(RunConfig):
    """A classifier of FairFace's labels, whose weights others start from in place of ImageNet's."""

    stage: ClassVar[str] = "aim-backbone"
    version: ClassVar[int] = 1

    paper: Literal["aim-fair"] = "aim-fair"
    data_sha256: dict[str, str]  # declared, checked against what is read
    architecture: str
    width: int
    settings: BackboneSettings

    @property
    def label(self) -> str:
        """A few words for progress lines and messages."""
        return f"train a backbone, {self.architecture}, on FairFace, seed {self.seed}"


class FaceTraining(RunConfig):
    """A classifier trained from its initialisation, on real or synthetic images or both."""

    stage: ClassVar[str] = "aim-train"
    version: ClassVar[int] = 2  # of equal epochs the last is kept; a probability of 0.5 is positive
    later: ClassVar[Mapping[str, Any]] = {"backbone": None}

    paper: Literal["aim-fair"] = "aim-fair"
    data: FaceData
    synthetic: SyntheticFaces | None = None  # where the strategy reads it
    data_sha256: dict[str, str]  # declared, checked against what is read
    strategy: str = "erm"  # of `STRATEGIES`, one that trains from an initialisation
    architecture: str
    width: int
    initialisation: Literal["scratch", "imagenet", "fairface", "file"]
    backbone: Backbone | None = None  # of initialisation 'fairface'
    initialisation_sha256: str | None = None
    #: where the file is; what it holds is in the identity, not where it lies
    weights_file: str | None = Field(default=None, exclude=True)
    optimisation: ImageOptimisation

    @field_validator("strategy")
    @classmethod
    def _known(cls, name: str) -> str:
        return _starting("initial", name)

    @model_validator(mode="after")
    def _what_is_read(self) -> Self:
        if (self.synthetic is None) != (STRATEGIES[self.strategy].data == "real"):
            raise ValueError(f"strategy '{self.strategy}' and synthetic images do not go together")
        if (self.backbone is None) != (self.initialisation != "fairface"):
            raise ValueError(
                f"initialisation '{self.initialisation}' "
                f"{'needs a' if self.backbone is None else 'has no'} backbone"
            )
        return self

    @property
    def label(self) -> str:
        """A few words for progress lines and messages."""
        data, share = self.data, f" {self.data.fraction:.0%}" if self.data.fraction < 1 else ""
        return (
            f"train {self.strategy} on {data.name} {data.target}|{data.protected}{share}, "
            f"seed {self.seed}"
        )


class Sensitivity(RunConfig):
    """How sensitive each tensor of a trained classifier is to domain gap and bias (SMG)."""

    stage: ClassVar[str] = "aim-sensitivity"
    version: ClassVar[int] = 2  # synthetic images from a generator

    paper: Literal["aim-fair"] = "aim-fair"
    pretrained: FaceTraining
    synthetic: SyntheticFaces
    data_sha256: dict[str, str]
    mode: Literal["train", "eval"] = "train"  # BatchNorm; the authors': train
    augmented: bool = True  # random crops and flips; the authors': yes
    draws: int = Field(default=1, ge=1)  # orders and crops of the batches; the mask is the first's
    batch_size: int = Field(ge=2)
    batches: int | None = Field(default=None, ge=1)  # of each set; None: all

    @property
    def label(self) -> str:
        """A few words for progress lines and messages."""
        way = "" if self.augmented else ", plain images"
        return f"sensitivities in {self.mode} mode{way}, seed {self.seed}"


class GroupImportance(RunConfig):
    """How much the importance of each tensor of a classifier differs between protected groups.

    The groups are those of the balanced synthetic images (:mod:`repro.aimfair.importance`).
    """

    stage: ClassVar[str] = "aim-importance"
    version: ClassVar[int] = 1

    paper: Literal["aim-fair"] = "aim-fair"
    pretrained: FaceTraining
    synthetic: SyntheticFaces
    data_sha256: dict[str, str]
    images: int | None = Field(default=None, ge=1)  # of each group; None: all

    @property
    def label(self) -> str:
        """A few words for progress lines and messages."""
        return f"importance by group, seed {self.seed}"


class FaceTuning(RunConfig):
    """A trained classifier of which some tensors are fine-tuned on balanced synthetic images."""

    stage: ClassVar[str] = "aim-finetune"
    version: ClassVar[int] = 3  # a probability of 0.5 is positive
    later: ClassVar[Mapping[str, Any]] = {"frozen": "still", "importance": None}

    paper: Literal["aim-fair"] = "aim-fair"
    pretrained: FaceTraining
    sensitivity: Sensitivity | None = None  # where a mask is selected by it
    importance: GroupImportance | None = None  # where a mask is selected by it, too
    synthetic: SyntheticFaces
    data_sha256: dict[str, str]
    strategy: str  # of `STRATEGIES`, one that goes on from the biased classifier
    block: str | None = None  # freeze, update
    k: int | None = None  # masks; random: as many tensors as the mask of this k has
    draw: int | None = None  # random
    statistics: Literal["move", "freeze"] = "move"  # of BatchNorm layers that are frozen
    #: whether weight decay reaches frozen tensors, as it may have in the authors' runs
    frozen: Literal["still", "decayed"] = "still"
    optimisation: ImageOptimisation

    @property
    def data(self) -> FaceData:
        """The faces that the classifier was trained on before."""
        return self.pretrained.data

    @property
    def architecture(self) -> str:
        """That of the classifier."""
        return self.pretrained.architecture

    @property
    def width(self) -> int:
        """That of the classifier."""
        return self.pretrained.width

    @field_validator("strategy")
    @classmethod
    def _known(cls, name: str) -> str:
        return _starting("pretrained", name)

    @model_validator(mode="after")
    def _only_what_is_read(self) -> Self:
        # A setting that means nothing would give one run two identities.
        strategy = STRATEGIES[self.strategy]
        for name in ("sensitivity", "importance", "k", "block", "draw"):
            wanted = name in strategy.settings
            if (getattr(self, name) is not None) != wanted:
                raise ValueError(
                    f"strategy '{self.strategy}' {'needs' if wanted else 'has no'} {name}"
                )
        if self.frozen == "decayed" and strategy.tensors in ("all", "none"):
            raise ValueError(f"strategy '{self.strategy}' has no frozen tensor that could decay")
        return self

    @property
    def label(self) -> str:
        """A few words for progress lines and messages."""
        words: list[str] = [self.strategy]
        words += [self.block] if self.block else []
        words += [f"k {self.k}"] if self.k else []
        words += [f"draw {self.draw}"] if self.draw is not None else []
        words += ["with frozen statistics"] if self.statistics == "freeze" else []
        words += ["with frozen tensors decaying"] if self.frozen == "decayed" else []
        if self.sensitivity is not None and self.sensitivity.mode == "eval":
            words += ["by gradients in eval mode"]
        return f"fine-tune {' '.join(words)}, seed {self.seed}"
