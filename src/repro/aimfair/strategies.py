"""The strategies of the comparison, each a rule for which tensors train on which data.

All that is known of a strategy stands here: what it needs, reads and trains, in which words it is
spoken of, in which rows the paper reports it. To add one is to add an entry, and to teach
:func:`repro.aimfair.finetune.trainable_tensors` its rule, if that is new.

Loss and selection of the epoch are the same for all of them. There are two schedules: that of
pre-training for what trains from the initialisation, that of fine-tuning for what continues.

Source: Zhao et al. (2025), arXiv 2503.05665, Tables 3 and 4 and Figure 2. The release has code for
"erm" and "mask" alone; from where the others start is this study's reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Start = Literal["initial", "pretrained"]
Data = Literal["real", "synthetic", "real and synthetic", "repaired"]
Rule = Literal[
    "all", "head", "all but one block", "one block", "random", "mask",
    "random of a size", "mask by importance", "batchnorm", "none",
]  # fmt: skip

#: rule -> the arguments of `trainable_tensors` that it needs
_NEEDS: dict[Rule, tuple[str, ...]] = {
    "all": (),
    "head": (),
    "all but one block": ("block",),
    "one block": ("block",),
    "random": ("k", "draw"),
    "mask": ("mask",),
    "random of a size": ("mask", "draw"),
    "mask by importance": ("mask",),
    "batchnorm": (),
    "none": (),
}
#: rule -> the settings of a run that mean something under it; a random draw has the mask's size
_SETTINGS: dict[Rule, tuple[str, ...]] = {
    **_NEEDS,
    "random": ("sensitivity", "k", "draw"),
    "mask": ("sensitivity", "k"),
    "random of a size": ("sensitivity", "k", "draw"),
    "mask by importance": ("sensitivity", "importance", "k"),
}


@dataclass(frozen=True)
class Strategy:
    """Which tensors train, on which data, from which start.

    Attributes
    ----------
    name
        The key in `STRATEGIES`.
    tensors
        The rule for what trains, for :func:`repro.aimfair.finetune.trainable_tensors`.
    meaning
        One sentence for tables.
    words
        What it is called in a sentence.
    where
        Table or figure of the paper; empty for what it does not have.
    start
        ``"initial"``, trained from the initialisation, or ``"pretrained"``, from the ERM model.
    data
        What it trains on, for :func:`repro.aimfair.composition.compose`.
    rows
        Its rows of the paper's tables, by table.
    balanced
        Whether its real images are as many of each group.
    sensitivity
        Which difference of gradients ranks the tensors of its mask, if it has one: the kind of
        :func:`repro.aimfair.gradients.sensitivity`.
    """

    name: str
    tensors: Rule
    meaning: str
    words: str
    where: str = ""
    start: Start = "pretrained"
    data: Data = "synthetic"
    rows: Mapping[str, str] = field(default_factory=dict)
    balanced: bool = False
    sensitivity: str | None = None

    @property
    def settings(self) -> tuple[str, ...]:
        """Settings that a run of it has, of block, k, draw, sensitivity and importance."""
        return _SETTINGS[self.tensors]

    @property
    def needs(self) -> tuple[str, ...]:
        """Arguments that :func:`~repro.aimfair.finetune.trainable_tensors` needs for it."""
        return _NEEDS[self.tensors]


_ALL = (
    Strategy(
        "erm",
        "all",
        "Trains every tensor on the biased real images.",
        "ERM",
        where="Table 3",
        start="initial",
        data="real",
        rows={"3": "Baseline (ERM)"},
    ),
    Strategy(
        "synthetic only",
        "all",
        "Trains every tensor on synthetic images.",
        "training on synthetic images",
        where="Table 3",
        start="initial",
        rows={"3": "Trained on synthetic data"},
    ),
    Strategy(
        "supplementation",
        "all",
        "Trains every tensor on real and synthetic images.",
        "data supplementation",
        where="Table 3",
        start="initial",
        data="real and synthetic",
        rows={"3": "Data supplementation"},
    ),
    Strategy(
        "repairing",
        "all",
        "Trains every tensor on real images, the smaller groups filled up.",
        "data repairing",
        where="Table 3",
        start="initial",
        data="repaired",
        rows={"3": "Data repairing"},
    ),
    Strategy(
        "linear probing",
        "head",
        "Fine-tunes the last linear layer.",
        "linear probing",
        where="Table 3",
        rows={"3": "Linear probing"},
    ),
    Strategy(
        "fully fine-tuning",
        "all",
        "Fine-tunes every tensor.",
        "full fine-tuning",
        where="Table 3, Figure 2",
        rows={"3": "Fully fine-tuning"},
    ),
    Strategy(
        "freeze",
        "all but one block",
        "Fine-tunes all blocks but one.",
        "freezing one block",
        where="Table 4, Figure 2",
    ),
    Strategy(
        "update",
        "one block",
        "Fine-tunes a single block.",
        "updating one block",
        where="Table 4",
    ),
    Strategy(
        "random",
        "random",
        "Fine-tunes as many random tensors as the mask holds.",
        "random tensors",
        where="Table 4",
    ),
    Strategy(
        "cosine mask",
        "mask",
        "Fine-tunes a mask by cosine similarity.",
        "SFT with a cosine mask",
        where="Table 4",
        rows={"4": "Selective fine-tuning (cosine similarity)"},
        sensitivity="cosine",
    ),
    Strategy(
        "mask",
        "mask",
        "Fine-tunes the mask (SFT): AIM-Fair.",
        "SFT",
        where="Tables 3 and 4",
        rows={"3": "AIM-Fair", "4": "AIM-Fair (absolute difference)"},
        sensitivity="absolute",
    ),
    Strategy(
        "balanced real",
        "all",
        "Trains every tensor on as many real images, balanced: what could be had without the bias.",
        "training on balanced real images",
        start="initial",
        data="real",
        balanced=True,
    ),
    Strategy(
        "random parameters",
        "random of a size",
        "Fine-tunes random tensors that hold as many parameters as the mask.",
        "random tensors of as many parameters",
    ),
    Strategy(
        "importance mask",
        "mask by importance",
        "Fine-tunes a mask by WIN's importance in place of gradients of bias.",
        "SFT with a mask by WIN's importance",
        sensitivity="absolute",
    ),
    Strategy(
        "batchnorm affine",
        "batchnorm",
        "Fine-tunes weights and biases of the BatchNorm layers.",
        "BatchNorm tensors alone",
    ),
    Strategy(
        "batchnorm statistics",
        "none",
        "Trains nothing: BatchNorm statistics are those of the synthetic images.",
        "BatchNorm statistics alone",
    ),
)
STRATEGIES: dict[str, Strategy] = {strategy.name: strategy for strategy in _ALL}


#: What asks whether it is the mask. As much is trained elsewhere, or only what moves beside it.
CONTROLS = (
    *("random", "random parameters", "importance mask"),
    *("batchnorm affine", "batchnorm statistics"),
)

#: Those that a name alone determines (no block, no draw), which a profile may name to compare.
COMPARED = tuple(s.name for s in _ALL if not s.balanced and not {"block", "draw"} & {*s.settings})


def rows_of(table: str) -> dict[str, str]:
    """Return the strategies that a table of the paper has, in its order: name -> row."""
    return {name: s.rows[table] for name, s in STRATEGIES.items() if table in s.rows}


def check_whole(name: str, value: int, low: int, high: int | None = None) -> None:
    """Raise `ValueError` unless an argument is a whole number in ``low`` to ``high``."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        allowed = f"in {low}..{high}" if high is not None else f">= {low}"
        raise ValueError(f"{name} must be a whole number {allowed}, not {value!r}")
