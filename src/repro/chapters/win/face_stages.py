"""What each stage of WIN on faces computes: a head on frozen features, and its fine-tuning."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from repro import models
from repro.chapters.win.face_configs import FaceHead, FaceHeadTuning
from repro.chapters.win.face_data import HeadData, head_data
from repro.metrics import confusion_counts, flatten_metrics, metrics_from_counts
from repro.settings import SettingsError
from repro.study.runs import WEIGHTS, Outcome, RunError, Runs
from repro.study.stages import stage
from repro.training import Examples, Fit, Objective, cross_entropy, fit, predict
from repro.win.angles import factor_angles
from repro.win.controls import IMPORTANCES, factorised
from repro.win.fisher import group_importance, linear_fisher, row_importance
from repro.win.lowrank import LowRankLinear
from repro.win.multilabel import multilabel_importance, pooled_multilabel_importance
from repro.win.rates import rate_factor

#: result -> what is averaged over the labels of a head, where every group of a label is there
LABEL_MEANS = {
    "mean_label_error": "weighted_f1_error",
    "mean_label_demographic_parity": "demographic_parity",
    "mean_label_equalized_odds_sum": "equalized_odds_sum",
}


@stage(FaceHead)
def pretrain_head(config: FaceHead, runs: Runs) -> Outcome:
    """Train a new head on the features of the part that the backbone was trained on."""
    data = head_data(config, runs)
    head = new_head(config, data)
    result = fit(
        head,
        data.parts["pretrain_train"],
        data.parts["pretrain_validation"],
        objective_of(data),
        config.optimisation,
        seed=config.seed,
    )
    results = {
        "inputs": data.width,
        "labels": list(data.labels),
        "trainable_parameters": models.parameter_count(head),
        "records": {part: len(examples) for part, examples in data.parts.items()},
    }
    return _outcome(head, data, config, "pretrain_validation", result, results)


@stage(FaceHeadTuning)
def tune_head(config: FaceHeadTuning, runs: Runs) -> Outcome:
    """Fine-tune the head on the new task: as it is, or in two factors."""
    base = config.pretrained
    data = head_data(base, runs)
    head = new_head(base, data)
    record = runs.find(base)
    if record is None:  # obtain computes upstream runs first
        raise RunError(f"{base.label}: run {base.identity} is not there to build on")
    head.load_state_dict(load_file(record.file(WEIGHTS)))
    train, test = data.parts["task_train"], data.parts["task_test"]
    results: dict[str, Any] = {}
    trained: nn.Module = copy.deepcopy(head)
    factors: dict[str, float] = {}
    if config.strategy != "tl":
        trained, results = _in_factors(config, head, data)
        if config.matched:
            factor = matching_factor(head, trained, data, config.optimisation.optimiser)
            factors = {"A": factor, "B": factor}  # the bias learns as it does in TL
            results["rate_factor"] = factor
    results["trainable_parameters"] = models.parameter_count(trained)
    before, start = predict(head, test.inputs), predict(trained, test.inputs)
    # How far the strategy's own start is from the pre-trained function: 0 for tl and full rank.
    results["start_max_logit_change"] = float(
        (decision(start, data) - decision(before, data)).abs().max()
    )
    result = fit(
        trained,
        train,
        data.parts["task_validation"],
        objective_of(data),
        config.optimisation,
        seed=config.seed,
        rate_factors=factors,
    )
    after = predict(trained, test.inputs)
    results["mean_logit_change"] = float(
        (decision(after, data) - decision(before, data)).abs().mean()
    )
    outcome = _outcome(trained, data, base, "task_validation", result, results)
    counts = {
        **outcome.counts,
        "before": _counts(before, test, data),
        "start": _counts(start, test, data),
    }
    return Outcome(**{**vars(outcome), "counts": counts})


def new_head(config: FaceHead, data: HeadData) -> nn.Linear:
    """Build the head at its initialisation, which its seed alone fixes."""
    outputs = len(data.labels) if data.multilabel else 2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return nn.Linear(data.width, outputs)


def objective_of(data: HeadData) -> Objective:
    """Return the softmax cross-entropy of two classes, or the labels' summed BCE."""
    return label_cross_entropy if data.multilabel else cross_entropy


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


def importances_of(
    head: nn.Linear, data: HeadData
) -> tuple[tuple[Tensor, Tensor], Tensor, dict[str, list[str]]]:
    """Return the groups' importance, the pooled one, and the labels that each group leaves out."""
    train = data.parts["task_train"]
    logits = predict(head, train.inputs)
    if data.multilabel:
        found = multilabel_importance(
            train.inputs, logits, train.target, train.protected, data.labels
        )
        pooled = pooled_multilabel_importance(train.inputs, logits, train.target, train.protected)
        left_out = {f"protected={p}": list(names) for p, names in found.left_out.items()}
        return found.groups, pooled, left_out
    groups = group_importance(train.inputs, logits, train.target, train.protected)
    pooled = row_importance(linear_fisher(train.inputs, logits, train.target))
    return groups, pooled, {}


def matching_factor(head: nn.Linear, trained: nn.Module, data: HeadData, optimiser: str) -> float:
    """Return by what the factors' rate is multiplied to make a first step as long as TL's.

    The first step is that of the whole training part, at the start of either head.
    """
    if not isinstance(trained, LowRankLinear):
        raise TypeError(f"a {type(trained).__name__} has no factors whose rate could be matched")
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


def _in_factors(
    config: FaceHeadTuning, head: nn.Linear, data: HeadData
) -> tuple[LowRankLinear, dict[str, Any]]:
    """Return the factorised head of a strategy, and what is recorded of it."""
    assert config.rank is not None
    most = min(head.weight.shape)
    if config.rank > most:
        raise SettingsError(
            f"rank {config.rank} is out of range: the head is {data.width} x "
            f"{head.out_features}, so ranks run from 1 to {most}"
        )
    groups, pooled, left_out = importances_of(head, data)
    floor = config.importance_floor or 0.0

    def built(kind: str) -> tuple[LowRankLinear, list[int]]:
        return factorised(
            head,
            kind,
            groups,
            pooled,
            rank=config.rank,
            weight=0.5 if config.weight is None else config.weight,
            importance_floor=0.0 if kind == "none" else floor,
            seed=config.seed,
        )

    kind = "none" if config.strategy == "svd" else str(config.importance)
    trained, floored = built(kind)
    results: dict[str, Any] = {"floored_rows": floored, "left_out_labels": left_out}
    if kind == "neutralised":  # what the weighting turns, against every other importance
        factors = {name: (f.A, f.B) for name in IMPORTANCES for f in [built(name)[0]]}
        results["angles"] = [
            {"first": one, "second": other, "outputs": outputs.tolist(), "inputs": inputs.tolist()}
            for (one, other), (outputs, inputs) in factor_angles(factors).items()
        ]
    return trained, results


def decision(logits: Tensor, data: HeadData) -> Tensor:
    """Return what decides: z1 - z0 of two classes, (n, 1), or every label's logit, (n, k)."""
    return logits if data.multilabel else logits[:, 1:] - logits[:, :1]


def label_counts(logits: Tensor, examples: Examples, data: HeadData) -> dict[str, np.ndarray]:
    """Return the confusion counts (2, 2, 2) [t, p, yhat] of every label of a head."""
    scores = torch.sigmoid(decision(logits, data)).numpy()
    target = examples.target.reshape(len(examples), -1).numpy()
    return {
        label: confusion_counts(target[:, j], scores[:, j] > 0.5, examples.protected.numpy())
        for j, label in enumerate(data.labels)
    }


def label_means(counts: dict[str, np.ndarray], protected: str) -> dict[str, float | None]:
    """Average the paper's metrics over labels, leaving out those that have an empty group.

    Parameters
    ----------
    counts
        Label -> its confusion counts (2, 2, 2).
    protected
        The protected attribute, whose own label cannot be predicted fairly and is left out.

    Returns
    -------
    dict
        The names of :data:`LABEL_MEANS` (fractions, None where no label is left).
    """
    kept = [
        flatten_metrics(metrics_from_counts(table))
        for label, table in counts.items()
        if label != protected and (np.asarray(table).sum(axis=2) > 0).all()
    ]
    return {
        name: float(np.mean([metrics[metric] for metrics in kept])) if kept else None
        for name, metric in LABEL_MEANS.items()
    }


def _counts(logits: Tensor, examples: Examples, data: HeadData) -> np.ndarray:
    """Return the confusion counts of the target."""
    return label_counts(logits, examples, data)[data.labels[data.at]]


def _outcome(
    head: nn.Module,
    data: HeadData,
    base: FaceHead,
    validation: str,
    result: Fit,
    results: dict[str, Any],
) -> Outcome:
    test, chosen = data.parts["task_test"], data.parts[validation]
    logits = predict(head, test.inputs)
    by_label = label_counts(logits, test, data)
    if data.multilabel:
        results = results | {
            "label_counts": {label: table.tolist() for label, table in by_label.items()},
            **label_means(by_label, base.protected),
        }
    target = test.target[:, data.at] if data.multilabel else test.target
    return Outcome(
        counts={
            "test": by_label[data.labels[data.at]],
            "validation": _counts(predict(head, chosen.inputs), chosen, data),
        },
        predictions=pd.DataFrame(
            {
                "example": data.names,
                "target": target.numpy(),
                "protected": test.protected.numpy(),
                "score": torch.sigmoid(decision(logits, data)[:, data.at]).numpy(),
            }
        ),
        weights={name: tensor.numpy() for name, tensor in head.state_dict().items()},
        results={
            **results,
            "learning_rate": result.learning_rate,
            "epoch": result.epoch,
            "validation_objective": result.objective,
        },
        history=result.plain_history(),
        data_sha256=data.sha256,
    )
