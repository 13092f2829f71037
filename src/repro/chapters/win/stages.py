"""What WIN's stages on Adult compute: pre-training, fine-tuning, a probe of the last layer."""

from __future__ import annotations

import copy
from typing import Any

from safetensors.torch import load_file
from torch import nn

from repro import models
from repro.chapters.win import heads
from repro.chapters.win.configs import Finetune, Pretrain, Probe
from repro.chapters.win.data import TaskData, task_data
from repro.chapters.win.heads import HeadData
from repro.chapters.win.probe import group_difference, separation
from repro.study.runs import WEIGHTS, Outcome, Runs
from repro.study.stages import obtain, stage
from repro.training import Examples, predict
from repro.win.fisher import linear_fisher, row_importance


def load_pretrained(config: Pretrain, runs: Runs) -> tuple[nn.Module, TaskData]:
    """Return the pre-trained model of a finished run, and its data."""
    record = obtain(config, runs)
    data = task_data(config.data, config.seed)
    model = _build(config, data)
    model.load_state_dict(load_file(record.file(WEIGHTS)))
    return model, data


def _build(config: Pretrain, data: TaskData) -> nn.Module:
    return models.build(
        config.architecture, data.width, hidden=config.hidden, classes=2, seed=config.seed
    )


def _head_data(data: TaskData, parts: dict[str, Examples]) -> HeadData:
    names = data.indices["task_test"]
    return HeadData(parts, ("income",), "income", "sex", names, data.table.sha256)


@stage(Pretrain)
def pretrain(config: Pretrain, runs: Runs) -> Outcome:
    """Train a classifier on 60 % of the people."""
    data = task_data(config.data, config.seed)
    return heads.pretrain(
        _build(config, data),
        _head_data(data, data.parts),
        heads.objective_of(config.constraint, config.intensity),
        config,
    )


@stage(Finetune)
def finetune(config: Finetune, runs: Runs) -> Outcome:
    """Fine-tune a pre-trained classifier on the other people, by one strategy."""
    model, people = load_pretrained(config.pretrained, runs)
    before = predict(model, people.parts["task_test"].inputs)
    trained, data = model, _head_data(people, people.parts)
    results: dict[str, Any] = {}
    if config.strategy != "retrain":
        head, data = _frozen(model, people)
        trained, results = _start(config, head, data)
    return heads.tune(
        trained,
        before,
        data,
        heads.objective_of(config.constraint, config.intensity),
        config,
        change="logit_gap_change",
        **results,
    )


def _frozen(model: nn.Module, data: TaskData) -> tuple[nn.Linear, HeadData]:
    """Return the head of a classifier, and what reaches it of the new task."""
    _, head = models.last_linear(model)
    parts = {
        part: Examples(
            models.head_inputs(model, head, examples.inputs), examples.target, examples.protected
        )
        for part, examples in data.parts.items()
        if part.startswith("task_")
    }
    return head, _head_data(data, parts)


def _start(config: Finetune, head: nn.Linear, data: HeadData) -> tuple[nn.Module, dict[str, Any]]:
    """Return what a strategy trains of a head, and what is recorded of it."""
    if config.strategy == "tl":
        return copy.deepcopy(head), {"floored_rows": []}
    found = heads.importances_of(head, data)
    kind = "neutralised" if config.strategy == "win" else "none"
    trained, floored = heads.in_factors(head, kind, found, config)
    # start_B: the directions that the truncation keeps
    results: dict[str, Any] = {"floored_rows": floored, "start_B": trained.B.detach().tolist()}
    if config.strategy == "win":
        results["importance"] = [group.tolist() for group in found.groups]
    return trained, results


@stage(Probe)
def probe(config: Probe, runs: Runs) -> Outcome:
    """Measure what the last layer of a pre-trained classifier reads, by group."""
    model, data = load_pretrained(config.pretrained, runs)
    _, head = models.last_linear(model)
    train, test = data.parts["task_train"], data.parts["task_test"]
    inside = models.head_inputs(model, head, train.inputs)
    logits, shown = predict(head, inside), predict(model, test.inputs)
    fisher = [
        linear_fisher(inside[train.protected == p], logits[train.protected == p],
                      train.target[train.protected == p])
        for p in (1, 0)
    ]  # fmt: skip
    results: dict[str, Any] = {
        "fisher": [group.tolist() for group in fisher],  # [s][row][column], s = 1 is p = 1
        "importance": [row_importance(group).tolist() for group in fisher],
        **group_difference(inside, logits, train, config.permutations, config.seed),
        **separation(models.head_inputs(model, head, test.inputs), shown,
                      test.protected, config.seed),
    }  # fmt: skip
    whole = _head_data(data, data.parts)
    return Outcome(
        counts={"test": heads.counts(shown, test, whole)},
        predictions=heads.predictions(shown, whole),
        weights={"head.weight": head.weight.detach().numpy()},
        results=results,
        data_sha256=data.table.sha256,
    )
