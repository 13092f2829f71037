"""What WIN does to a head, on Adult and on faces alike: train it, cut it in two factors, judge it.

A stage (:mod:`repro.chapters.win.stages`, :mod:`repro.chapters.win.face_stages`) loads its
:class:`HeadData` and says what is particular to it; the rest is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from repro import models
from repro.chapters.win.configs import Finetune, Pretrain
from repro.chapters.win.face_configs import FaceHead, FaceHeadTuning
from repro.metrics import confusion_counts, flatten_metrics, metrics_from_counts
from repro.settings import SettingsError
from repro.study.runs import Outcome, predictions_of
from repro.training import Examples, Fit, Objective, cross_entropy, fit, predict
from repro.win.constraints import PENALTIES
from repro.win.controls import factorised
from repro.win.fisher import group_importance, linear_fisher, row_importance
from repro.win.lowrank import LowRankLinear
from repro.win.multilabel import multilabel_importance, pooled_multilabel_importance

#: result -> what is averaged over the labels of a head, where every group of a label is there
LABEL_MEANS = {
    "mean_label_error": "weighted_f1_error",
    "mean_label_demographic_parity": "demographic_parity",
    "mean_label_equalized_odds_sum": "equalized_odds_sum",
}


@dataclass(frozen=True)
class HeadData:
    """What a head reads and is to say, for every part.

    Attributes
    ----------
    parts
        ``pretrain_train``, ``pretrain_validation``, ``task_train``, ``task_validation`` and
        ``task_test``: inputs (n, d), target (n,) of two classes or (n, k) of k labels, int64,
        protected (n,).
    labels
        Names of the head's k labels; the target's alone for two classes.
    target, protected
        Names of the two attributes.
    names
        Of the test examples.
    sha256
        What was read.
    """

    parts: Mapping[str, Examples]
    labels: tuple[str, ...]
    target: str
    protected: str
    names: np.ndarray
    sha256: Mapping[str, str]

    @property
    def at(self) -> int:
        """Position of the target among the labels."""
        return self.labels.index(self.target)

    @property
    def width(self) -> int:
        """Number of inputs of the head, d."""
        return int(self.parts["task_test"].inputs.shape[1])

    @property
    def multilabel(self) -> bool:
        """Whether the head has a logit for each label, not two for two classes."""
        return self.parts["task_test"].target.ndim == 2


def pretrain(
    head: nn.Module,
    data: HeadData,
    objective: Objective,
    config: Pretrain | FaceHead,
    **results: Any,
) -> Outcome:
    """Train a head, or a whole classifier, on the part before the new task, in place."""
    train, validation = data.parts["pretrain_train"], data.parts["pretrain_validation"]
    found = fit(head, train, validation, objective, config.optimisation, seed=config.seed)
    told = {
        "inputs": data.width,
        **results,
        "trainable_parameters": models.parameter_count(head),
        "records": {part: len(examples) for part, examples in data.parts.items()},
    }
    return _outcome(head, data, "pretrain_validation", found, told)


def tune(
    start: nn.Module,
    before: Tensor,
    data: HeadData,
    objective: Objective,
    config: Finetune | FaceHeadTuning,
    *,
    change: str,
    rate_factors: Mapping[str, float] | None = None,
    **results: Any,
) -> Outcome:
    """Fine-tune a strategy's start on the new task, in place.

    Parameters
    ----------
    start
        What is trained: the pre-trained head, two factors of it, or the whole classifier.
    before
        The pre-trained classifier's logits of the test part, (n, k).
    change
        What the records call the change of what decides, at the start (the truncation: 0 for
        ``tl``, ``retrain`` and at full rank) and after training.
    rate_factors
        As in :func:`repro.training.fit`.
    results
        What the stage records besides.
    """
    test = data.parts["task_test"]
    first = predict(start, test.inputs)
    told: dict[str, Any] = {
        **results,
        "trainable_parameters": models.parameter_count(start),
        f"start_max_{change}": float((decision(first, data) - decision(before, data)).abs().max()),
    }
    train, validation = data.parts["task_train"], data.parts["task_validation"]
    how, seed = config.optimisation, config.seed
    found = fit(start, train, validation, objective, how, seed=seed, rate_factors=rate_factors)
    after = predict(start, test.inputs)
    moved = (decision(after, data) - decision(before, data)).abs().mean()
    told[f"mean_{change}"] = float(moved)
    more = {"before": counts(before, test, data), "start": counts(first, test, data)}
    return _outcome(start, data, "task_validation", found, told, more)


def objective_of(constraint: str | None, intensity: float) -> Objective:
    """Return cross-entropy + intensity * regulariser (none for intensity 0)."""
    if constraint is None or intensity == 0:
        return cross_entropy
    penalty = PENALTIES[constraint]

    def objective(logits: Tensor, target: Tensor, protected: Tensor) -> Tensor:
        fairness = penalty(logits[:, 1] - logits[:, 0], target, protected)
        return cross_entropy(logits, target, protected) + intensity * fairness

    return objective


class Importances(NamedTuple):
    """Importance of the head's rows, (d,) each."""

    groups: tuple[Tensor, Tensor]  # of the examples with protected = 1, and = 0
    pooled: Tensor  # of all examples
    left_out: dict[str, list[str]]  # group -> the labels that its importance leaves out


def importances_of(head: nn.Linear, data: HeadData) -> Importances:
    """Return the importance of the rows of a pre-trained head on the new task's training part."""
    train = data.parts["task_train"]
    given = (train.inputs, predict(head, train.inputs), train.target)
    if not data.multilabel:
        pooled = row_importance(linear_fisher(*given))
        return Importances(group_importance(*given, train.protected), pooled, {})
    found = multilabel_importance(*given, train.protected, data.labels)
    pooled = pooled_multilabel_importance(*given, train.protected)
    left_out = {f"protected={p}": list(names) for p, names in found.left_out.items()}
    return Importances(found.groups, pooled, left_out)


def in_factors(
    head: nn.Linear, kind: str, found: Importances, config: Finetune | FaceHeadTuning
) -> tuple[LowRankLinear, list[int]]:
    """Return a head in two factors, and the importance rows that were floored.

    Parameters
    ----------
    kind
        Whose importance weighs the rows, one of :data:`repro.win.controls.IMPORTANCES`; "none" is
        the plain SVD, which reads no weight and no floor.

    Raises
    ------
    SettingsError
        If no factors of this head have the rank.
    """
    rank, most = config.rank, min(head.weight.shape)
    if rank is None or rank > most:
        raise SettingsError(
            f"rank {rank} is out of range: the head is {head.in_features} x "
            f"{head.out_features}, so ranks run from 1 to {most}"
        )
    return factorised(
        head,
        kind,
        found.groups,
        found.pooled,
        rank=rank,
        weight=0.5 if config.weight is None else config.weight,
        importance_floor=0.0 if kind == "none" else config.importance_floor or 0.0,
        seed=config.seed,
    )


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


def counts(logits: Tensor, examples: Examples, data: HeadData) -> np.ndarray:
    """Return the confusion counts (2, 2, 2) [t, p, yhat] of the target."""
    return label_counts(logits, examples, data)[data.target]


def predictions(logits: Tensor, data: HeadData) -> pd.DataFrame:
    """Return example, target, protected and score of the test part, for the target alone."""
    test = data.parts["task_test"]
    target = test.target[:, data.at] if data.multilabel else test.target
    score = torch.sigmoid(decision(logits, data)[:, data.at]).numpy()
    return predictions_of(data.names, target.numpy(), test.protected.numpy(), score)


def label_means(tables: Mapping[str, np.ndarray], protected: str) -> dict[str, float | None]:
    """Average the paper's metrics over labels, leaving out those that have an empty group.

    Parameters
    ----------
    tables
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
        for label, table in tables.items()
        if label != protected and (np.asarray(table).sum(axis=2) > 0).all()
    ]
    return {
        name: float(np.mean([metrics[metric] for metrics in kept])) if kept else None
        for name, metric in LABEL_MEANS.items()
    }


def _outcome(
    head: nn.Module,
    data: HeadData,
    validation: str,
    found: Fit,
    results: dict[str, Any],
    more: Mapping[str, np.ndarray] | None = None,
) -> Outcome:
    """Return what is recorded of a trained head; ``more`` are counts beside the usual ones."""
    test, chosen = data.parts["task_test"], data.parts[validation]
    logits = predict(head, test.inputs)
    tables = label_counts(logits, test, data)
    if data.multilabel:
        results = results | {
            "label_counts": {label: table.tolist() for label, table in tables.items()},
            **label_means(tables, data.protected),
        }
    return Outcome(
        counts={
            "test": tables[data.target],
            "validation": counts(predict(head, chosen.inputs), chosen, data),
            **(more or {}),
        },
        predictions=predictions(logits, data),
        weights={name: tensor.numpy() for name, tensor in head.state_dict().items()},
        results={
            **results,
            "learning_rate": found.learning_rate,
            "epoch": found.epoch,
            "validation_objective": found.objective,
        },
        history=found.plain_history(),
        data_sha256=data.sha256,
    )
