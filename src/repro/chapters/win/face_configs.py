"""What a run of WIN on faces is: a head trained on frozen features, and that head fine-tuned.

Both build on a classifier of faces that another stage trained
(:class:`~repro.chapters.aim.configs.FaceTraining`), whose layers before the head stay as they are.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from repro.chapters.aim.configs import FaceTraining
from repro.chapters.win.configs import known_strategy, only_what_is_read
from repro.settings import Optimisation
from repro.study.configs import RunConfig


class FaceHead(RunConfig):
    """A new head, pre-trained on the frozen features of the part that the backbone comes from."""

    stage: ClassVar[str] = "win-face-pretrain"
    version: ClassVar[int] = 1

    paper: Literal["win-faces"] = "win-faces"
    backbone: FaceTraining
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
        return self

    @property
    def label(self) -> str:
        """A few words for progress lines and messages."""
        return (
            f"pre-train a head of {self.backbone.architecture} on {self.backbone.data.name} "
            f"{self.target}|{self.protected}{_which(self)}, seed {self.seed}"
        )


class FaceHeadTuning(RunConfig):
    """A pre-trained head fine-tuned on the new task's features by one strategy."""

    stage: ClassVar[str] = "win-face-finetune"
    version: ClassVar[int] = 1

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
    optimisation: Optimisation

    @model_validator(mode="after")
    def _only_what_is_read(self) -> Self:
        factors, win = self.strategy != "tl", self.strategy == "win"
        only_what_is_read(
            self, {"rank": factors, "importance": win, "weight": win, "importance_floor": win}
        )
        if self.matched and not factors:
            raise ValueError("strategy 'tl' has no factors whose rate could be matched")
        return self

    @property
    def label(self) -> str:
        """A few words for progress lines and messages."""
        words: list[str] = [self.strategy]
        words += [f"rank {self.rank}"] if self.rank is not None else []
        words += [self.importance] if self.importance not in (None, "neutralised") else []
        words += ["matched rate"] if self.matched else []
        base = self.pretrained
        return (
            f"fine-tune the head of {base.backbone.architecture}{_which(base)}: "
            f"{', '.join(words)}, seed {self.seed}"
        )


def _which(base: FaceHead) -> str:
    return ", all labels" if base.head == "labels" else ""
