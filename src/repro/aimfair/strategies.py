"""The strategies of the comparison, each a rule for which tensors train on which data.

Loss and selection of the epoch are the same for all of them. There are two schedules: that of
pre-training for what trains from the initialisation, that of fine-tuning for what continues.

Source: Zhao et al. (2025), arXiv 2503.05665, Tables 3 and 4 and Figure 2. The release has code for
"erm" and "mask" alone; from where the others start is this study's reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Start = Literal["initial", "pretrained"]
Data = Literal["real", "synthetic", "real and synthetic", "repaired"]
Rule = Literal["all", "head", "all but one block", "one block", "random", "mask"]

#: rule -> the arguments of `trainable_tensors` that it needs
_NEEDS: dict[Rule, tuple[str, ...]] = {
    "all": (),
    "head": (),
    "all but one block": ("block",),
    "one block": ("block",),
    "random": ("k", "draw"),
    "mask": ("mask",),
}


@dataclass(frozen=True)
class Strategy:
    """Which tensors train, on which data, from which start.

    Attributes
    ----------
    name
        The key in `STRATEGIES`.
    start
        ``"initial"``, trained from the initialisation, or ``"pretrained"``, from the ERM model.
    data
        What it trains on, for :func:`repro.aimfair.finetune.compose`.
    tensors
        The rule for what trains, for :func:`repro.aimfair.finetune.trainable_tensors`.
    meaning
        One sentence for tables.
    where
        Table or figure of the paper.
    sensitivity
        Which difference of gradients ranks the tensors of its mask, if it has one: the kind of
        :func:`repro.aimfair.mask.sensitivity`.
    """

    name: str
    start: Start
    data: Data
    tensors: Rule
    meaning: str
    where: str
    sensitivity: str | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """Arguments that :func:`~repro.aimfair.finetune.trainable_tensors` needs for it."""
        return _NEEDS[self.tensors]


def _trained(name: str, data: Data, meaning: str) -> Strategy:
    return Strategy(name, "initial", data, "all", meaning, "Table 3")


def _tuned(name: str, tensors: Rule, meaning: str, where: str, kind: str | None = None) -> Strategy:
    return Strategy(name, "pretrained", "synthetic", tensors, meaning, where, kind)


STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy
    for strategy in (
        _trained("erm", "real", "Trains every tensor on the biased real images."),
        _trained("synthetic only", "synthetic", "Trains every tensor on synthetic images."),
        _trained(
            "supplementation",
            "real and synthetic",
            "Trains every tensor on real and synthetic images.",
        ),
        _trained(
            "repairing",
            "repaired",
            "Trains every tensor on real images, the smaller groups filled up.",
        ),
        _tuned("linear probing", "head", "Fine-tunes the last linear layer.", "Table 3"),
        _tuned("fully fine-tuning", "all", "Fine-tunes every tensor.", "Table 3, Figure 2"),
        _tuned(
            "freeze", "all but one block", "Fine-tunes all blocks but one.", "Table 4, Figure 2"
        ),
        _tuned("update", "one block", "Fine-tunes a single block.", "Table 4"),
        _tuned(
            "random", "random", "Fine-tunes as many random tensors as the mask holds.", "Table 4"
        ),
        _tuned(
            "cosine mask", "mask", "Fine-tunes a mask by cosine similarity.", "Table 4", "cosine"
        ),
        _tuned(
            "mask", "mask", "Fine-tunes the mask (SFT): AIM-Fair.", "Tables 3 and 4", "absolute"
        ),
    )
}


def check_whole(name: str, value: int, low: int, high: int | None = None) -> None:
    """Raise `ValueError` unless an argument is a whole number in ``low`` to ``high``."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        allowed = f"in {low}..{high}" if high is not None else f">= {low}"
        raise ValueError(f"{name} must be a whole number {allowed}, not {value!r}")
