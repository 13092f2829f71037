"""What each stage of WIN on faces computes: a head on frozen features, and its fine-tuning."""

from __future__ import annotations

import copy
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from repro.chapters.aim.stages import built_on
from repro.chapters.win import heads
from repro.chapters.win.face_configs import FaceHead, FaceHeadTuning
from repro.chapters.win.face_data import head_data
from repro.chapters.win.heads import HeadData
from repro.study.runs import WEIGHTS, Outcome, Runs
from repro.study.stages import stage
from repro.training import Objective, cross_entropy, predict
from repro.win.angles import factor_angles
from repro.win.controls import IMPORTANCES
from repro.win.lowrank import LowRankLinear
from repro.win.rates import rate_factor


@stage(FaceHead)
def pretrain_head(config: FaceHead, runs: Runs) -> Outcome:
    """Train a new head on the features of the part that the backbone was trained on."""
    data = head_data(config, runs)
    return heads.pretrain(
        new_head(config, data),
        data,
        objective_of(data),
        config,
        labels=list(data.labels),
    )


@stage(FaceHeadTuning)
def tune_head(config: FaceHeadTuning, runs: Runs) -> Outcome:
    """Fine-tune the head on the new task: as it is, or in two factors."""
    base = config.pretrained
    data = head_data(base, runs)
    head = new_head(base, data)
    head.load_state_dict(load_file(built_on(base, runs).file(WEIGHTS)))
    trained: nn.Module = copy.deepcopy(head)
    results: dict[str, Any] = {}
    factors: dict[str, float] = {}
    if config.strategy != "tl":
        trained, results = _start(config, head, data)
        if config.matched:
            factor = matching_factor(head, trained, data, config.optimisation.optimiser)
            factors = {"A": factor, "B": factor}  # the bias learns as it does in TL
            results["rate_factor"] = factor
    return heads.tune(
        trained,
        predict(head, data.parts["task_test"].inputs),
        data,
        objective_of(data, config),
        config,
        change="logit_change",
        rate_factors=factors,
        **results,
    )


def new_head(config: FaceHead, data: HeadData) -> nn.Linear:
    """Build the head at its initialisation, which its seed alone fixes."""
    outputs = len(data.labels) if data.multilabel else 2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return nn.Linear(data.width, outputs)


def objective_of(data: HeadData, config: FaceHeadTuning | None = None) -> Objective:
    """Return the softmax cross-entropy of two classes, or the labels' summed BCE.

    With it goes the regulariser of a run that has one.
    """
    if data.multilabel:
        return label_cross_entropy
    return heads.objective_of(config.constraint, config.intensity) if config else cross_entropy


def label_cross_entropy(logits: Tensor, target: Tensor, protected: Tensor) -> Tensor:
    """Return the mean over examples of the sum of the labels' binary cross-entropies.

    Parameters
    ----------
    logits, target
        Shape (n, k); targets 0 or 1. ``protected`` is not used.
    """
    losses = nn.functional.binary_cross_entropy_with_logits(
        logits, target.to(logits.dtype), reduction="none"
    )
    return losses.sum(dim=1).mean()


def matching_factor(
    head: nn.Linear, trained: LowRankLinear, data: HeadData, optimiser: str
) -> float:
    """Return by what the factors' rate is multiplied to make a first step as long as TL's.

    The first step is that of the whole training part, at the start of either head.
    """
    train, objective = data.parts["task_train"], objective_of(data)

    def gradient(weight: Tensor, bias: Tensor | None) -> Tensor:
        at = weight.detach().clone().requires_grad_()
        logits = nn.functional.linear(train.inputs, at, None if bias is None else bias.detach())
        loss = objective(logits, train.target, train.protected)
        return torch.autograd.grad(loss, at)[0].T

    return rate_factor(
        gradient(trained.weight, trained.bias),
        trained.A.detach(),
        trained.B.detach(),
        reference=gradient(head.weight, head.bias),
        optimiser=optimiser,
    )


def _start(
    config: FaceHeadTuning, head: nn.Linear, data: HeadData
) -> tuple[LowRankLinear, dict[str, Any]]:
    """Return the factorised head of a strategy, and what is recorded of it."""
    found = heads.importances_of(head, data)

    kind = "none" if config.strategy == "svd" else str(config.importance)
    trained, floored = heads.in_factors(head, kind, found, config)
    results: dict[str, Any] = {"floored_rows": floored, "left_out_labels": found.left_out}
    if kind == "neutralised":  # what the weighting turns, against every other importance
        others = {name: heads.in_factors(head, name, found, config)[0] for name in IMPORTANCES}
        factors = {name: (other.A, other.B) for name, other in others.items()}
        results["angles"] = [
            {"first": one, "second": other, "outputs": outputs.tolist(), "inputs": inputs.tolist()}
            for (one, other), (outputs, inputs) in factor_angles(factors).items()
        ]
    return trained, results
