"""What WIN's stages on Adult compute: pre-training, fine-tuning, a probe of the last layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from repro import models
from repro.chapters.win.configs import Finetune, Pretrain, Probe
from repro.chapters.win.data import TaskData, task_data
from repro.chapters.win.probe import group_difference, separation
from repro.metrics import confusion_counts
from repro.study.runs import WEIGHTS, Outcome, Runs
from repro.study.stages import obtain, stage
from repro.training import Examples, Fit, Objective, cross_entropy, fit, predict
from repro.win.constraints import PENALTIES
from repro.win.fisher import group_importance, linear_fisher, row_importance
from repro.win.lowrank import LowRankLinear
from repro.win.strategies import head_for


def load_pretrained(config: Pretrain, runs: Runs) -> tuple[nn.Module, TaskData]:
    """Return the pre-trained model of a finished run, and its data."""
    record = obtain(config, runs)
    data = task_data(config.data, config.seed)
    model = _build(config, data)
    model.load_state_dict(load_file(record.file(WEIGHTS)))
    return model, data


def objective_of(constraint: str | None, intensity: float) -> Objective:
    """Return cross-entropy + intensity * regulariser (none for intensity 0)."""
    if constraint is None or intensity == 0:
        return cross_entropy
    penalty = PENALTIES[constraint]

    def objective(logits: Tensor, target: Tensor, protected: Tensor) -> Tensor:
        fairness = penalty(logits[:, 1] - logits[:, 0], target, protected)
        return cross_entropy(logits, target, protected) + intensity * fairness

    return objective


def _build(config: Pretrain, data: TaskData) -> nn.Module:
    return models.build(
        config.architecture, data.width, hidden=config.hidden, classes=2, seed=config.seed
    )


@stage(Pretrain)
def pretrain(config: Pretrain, runs: Runs) -> Outcome:
    """Train a classifier on 60 % of the people."""
    data = task_data(config.data, config.seed)
    model = _build(config, data)
    result = fit(
        model,
        data.parts["pretrain_train"],
        data.parts["pretrain_validation"],
        objective_of(config.constraint, config.intensity),
        config.optimisation,
        seed=config.seed,
    )
    results = {
        "inputs": data.width,
        "trainable_parameters": models.parameter_count(model),
        "records": {part: len(examples) for part, examples in data.parts.items()},
    }
    return _outcome(model, data, data.parts, "pretrain_validation", result, results)


@stage(Finetune)
def finetune(config: Finetune, runs: Runs) -> Outcome:
    """Fine-tune a pre-trained classifier on the other people, by one strategy."""
    model, data = load_pretrained(config.pretrained, runs)
    train, validation = data.parts["task_train"], data.parts["task_validation"]
    objective = objective_of(config.constraint, config.intensity)
    before = predict(model, data.parts["task_test"].inputs)
    results: dict[str, Any] = {}
    if config.strategy == "retrain":
        trained, parts = model, data.parts
    else:
        name, head = models.last_linear(model)
        parts = {
            part: Examples(
                models.head_inputs(model, head, examples.inputs),
                examples.target,
                examples.protected,
            )
            for part, examples in data.parts.items()
            if part.startswith("task_")
        }
        train, validation = parts["task_train"], parts["task_validation"]
        importances = None
        if config.strategy == "win":
            importances = group_importance(
                train.inputs, predict(head, train.inputs), train.target, train.protected
            )
            results["importance"] = [group.tolist() for group in importances]
        trained, floored = head_for(
            config.strategy,
            head,
            rank=config.rank,
            importances=importances,
            weight=config.weight,
            importance_floor=config.importance_floor or 0.0,
        )
        results["floored_rows"] = floored
        if isinstance(trained, LowRankLinear):  # the directions that the truncation keeps
            results["start_B"] = trained.B.detach().tolist()
        models.replace_module(model, name, trained)
    results["trainable_parameters"] = models.parameter_count(trained)
    start = predict(trained, parts["task_test"].inputs)
    # How far the strategy's own start is from the pre-trained function: 0 for tl, retrain and
    # full rank, the truncation otherwise.
    results["start_max_logit_gap_change"] = float((_gap(start) - _gap(before)).abs().max())
    result = fit(trained, train, validation, objective, config.optimisation, seed=config.seed)
    after = predict(trained, parts["task_test"].inputs)
    results["mean_logit_gap_change"] = float((_gap(after) - _gap(before)).abs().mean())
    outcome = _outcome(trained, data, parts, "task_validation", result, results)
    test = data.parts["task_test"]
    counts = {**outcome.counts, "before": _counts(before, test), "start": _counts(start, test)}
    return replace(outcome, counts=counts)


@stage(Probe)
def probe(config: Probe, runs: Runs) -> Outcome:
    """Measure what the last layer of a pre-trained classifier reads, by group."""
    model, data = load_pretrained(config.pretrained, runs)
    _, head = models.last_linear(model)
    train, test = data.parts["task_train"], data.parts["task_test"]
    inside = models.head_inputs(model, head, train.inputs)
    logits = predict(head, inside)
    fisher = [
        linear_fisher(inside[train.protected == p], logits[train.protected == p],
                      train.target[train.protected == p])
        for p in (1, 0)
    ]  # fmt: skip
    results: dict[str, Any] = {
        "fisher": [group.tolist() for group in fisher],  # [s][row][column], s = 1 is p = 1
        "importance": [row_importance(group).tolist() for group in fisher],
        **group_difference(inside, logits, train, config.permutations, config.seed),
        **separation(models.head_inputs(model, head, test.inputs), predict(model, test.inputs),
                      test.protected, config.seed),
    }  # fmt: skip
    return Outcome(
        counts={"test": _counts(predict(model, test.inputs), test)},
        predictions=_predictions(predict(model, test.inputs), data),
        weights={"head.weight": head.weight.detach().numpy()},
        results=results,
        data_sha256=data.table.sha256,
    )


def _gap(logits: Tensor) -> Tensor:
    """Return the decision function z1 - z0 of a two-class head."""
    return logits[:, 1] - logits[:, 0]


def _score(logits: Tensor) -> np.ndarray:
    return torch.sigmoid(_gap(logits)).numpy()


def _counts(logits: Tensor, examples: Examples) -> np.ndarray:
    return confusion_counts(
        examples.target.numpy(), _score(logits) > 0.5, examples.protected.numpy()
    )


def _predictions(logits: Tensor, data: TaskData) -> pd.DataFrame:
    test = data.parts["task_test"]
    return pd.DataFrame(
        {
            "example": data.indices["task_test"],
            "target": test.target.numpy(),
            "protected": test.protected.numpy(),
            "score": _score(logits),
        }
    )


def _outcome(
    model: nn.Module,
    data: TaskData,
    parts: dict[str, Examples],
    validation: str,
    result: Fit,
    results: dict[str, Any],
) -> Outcome:
    logits = predict(model, parts["task_test"].inputs)
    chosen = predict(model, parts[validation].inputs)
    return Outcome(
        counts={
            "test": _counts(logits, data.parts["task_test"]),
            "validation": _counts(chosen, data.parts[validation]),
        },
        predictions=_predictions(logits, data),
        weights={name: tensor.numpy() for name, tensor in model.state_dict().items()},
        results={
            **results,
            "learning_rate": result.learning_rate,
            "epoch": result.epoch,
            "validation_objective": result.objective,
        },
        history=result.plain_history(),
        data_sha256=data.table.sha256,
    )
