"""What a run of WIN on faces is: a head trained on frozen features, and that head fine-tuned.

Both build on a classifier that another stage trained or fine-tuned, on the same faces
(:class:`~repro.chapters.aim.configs.FaceTraining`, :class:`~repro.chapters.aim.configs.FaceTuning`)
or on FairFace's (:class:`~repro.chapters.aim.configs.Backbone`); its layers before the head stay as
they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from repro.chapters.aim.configs import Backbone, FaceTraining, FaceTuning
from repro.chapters.win.configs import (
    Constraint,
    fair_key,
    known_strategy,
    only_what_is_read,
)
from repro.settings import FaceData, Optimisation
from repro.study.configs import RunConfig


def reads_others(backbone: FaceTraining | FaceTuning | Backbone) -> bool:
    """Whether a backbone has read more than the real images that its head reads."""
    return isinstance(backbone, Backbone) or backbone.synthetic is not None


class FaceHead(RunConfig):
    """A new head, pre-trained on the frozen features of the part that the backbone comes from."""

    stage: ClassVar[str] = "win-face-pretrain"
    version: ClassVar[int] = 1
    later: ClassVar[Mapping[str, Any]] = {"data": None, "data_sha256": None}

    paper: Literal["win-faces"] = "win-faces"
    backbone: FaceTraining | FaceTuning | Backbone
    #: the images, where the backbone learnt from others
    data: FaceData | None = None
    #: their declared digests, where the backbone read others, too
    data_sha256: dict[str, str] | None = None
    target: str
    protected: str
    bias_ratio: float | None  # of every part; None: as the data are
    #: with "target" a softmax over its two classes (the paper's), with "labels" one logit for every
    #: attribute of the images, each with a sigmoid
    head: Literal["target", "labels"] = "target"
    optimisation: Optimisation

    @model_validator(mode="after")
    def _two_attributes(self) -> Self:
        if self.target == self.protected:
            raise ValueError(f"target and protected attribute are both '{self.target}'")
        of_others = isinstance(self.backbone, Backbone)
        if (self.data is not None) != of_others:
            raise ValueError(
                "a backbone of FairFace's labels needs data, the images"
                if of_others
                else "the images are those that the backbone learnt from: data is not needed"
            )
        if (self.data_sha256 is not None) != reads_others(self.backbone):
            raise ValueError(
                "a backbone that read other images, too, needs data_sha256 of the head's, and no "
                "other does"
            )
        return self

    @property
    def images(self) -> FaceData:
        """Which images the head is trained on, their size and edition."""
        found = self.data if isinstance(self.backbone, Backbone) else self.backbone.data
        assert found is not None
        return found

    @property
    def label(self) -> str:
        """A few words for progress lines and messages."""
        return (
            f"pre-train a head of {self.backbone.architecture} on {self.images.name} "
            f"{self.target}|{self.protected}{_which(self)}, seed {self.seed}"
        )


class FaceHeadTuning(RunConfig):
    """A pre-trained head fine-tuned on the new task's features by one strategy."""

    stage: ClassVar[str] = "win-face-finetune"
    version: ClassVar[int] = 1
    later: ClassVar[Mapping[str, Any]] = {"constraint": None, "intensity": 0.0}

    paper: Literal["win-faces"] = "win-faces"
    pretrained: FaceHead
    strategy: Annotated[Literal["tl", "svd", "win"], BeforeValidator(known_strategy)]
    rank: int | None = Field(default=None, ge=1)  # svd, win
    #: of win, whose importance weighs the rows; "neutralised" is WIN, the others are controls
    importance: Literal["neutralised", "group 1", "group 2", "pooled", "shuffled"] | None = None
    weight: float | None = None  # win: of the importance of protected = 1
    importance_floor: float | None = None  # win: relative to the largest row
    #: of svd and win, the factors' rate scaled so that their first step is as long as TL's
    matched: bool = False
    #: of tl on two classes, a regulariser that makes it fair (a positive control), and how strong
    constraint: Constraint | None = None
    intensity: float = 0.0
    optimisation: Optimisation

    @model_validator(mode="after")
    def _only_what_is_read(self) -> Self:
        factors, win = self.strategy != "tl", self.strategy == "win"
        only_what_is_read(
            self, {"rank": factors, "importance": win, "weight": win, "importance_floor": win}
        )
        if self.matched and not factors:
            raise ValueError("strategy 'tl' has no factors whose rate could be matched")
        if (self.constraint is None) != (self.intensity == 0):
            raise ValueError("a constraint has an intensity, and nothing else does")
        if self.constraint and (factors or self.pretrained.head != "target"):
            raise ValueError("only strategy 'tl' on two classes has a constraint")
        return self

    @property
    def label(self) -> str:
        """A few words for progress lines and messages."""
        words: list[str] = [self.strategy]
        words += [f"rank {self.rank}"] if self.rank is not None else []
        words += [self.importance] if self.importance not in (None, "neutralised") else []
        words += ["matched rate"] if self.matched else []
        words += [fair_key(self.constraint, self.intensity)] if self.constraint else []
        base = self.pretrained
        return (
            f"fine-tune the head of {base.backbone.architecture}{_which(base)}: "
            f"{', '.join(words)}, seed {self.seed}"
        )


def _which(base: FaceHead) -> str:
    below = f" after {base.backbone.strategy}" if isinstance(base.backbone, FaceTuning) else ""
    return f"{below}{', all labels' if base.head == 'labels' else ''}"
