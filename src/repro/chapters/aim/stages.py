"""What each stage of AIM-Fair computes: training, sensitivities (SMG), fine-tuning (SFT)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from repro import models, vision
from repro.aimfair import finetune as rules
from repro.aimfair.gradients import mean_gradients, sensitivity
from repro.aimfair.importance import fisher, importance_gap
from repro.aimfair.mask import select_mask
from repro.aimfair.strategies import STRATEGIES
from repro.chapters.aim.configs import (
    Backbone,
    FaceTraining,
    FaceTuning,
    GroupImportance,
    Sensitivity,
)
from repro.chapters.aim.data import (
    RealFaces,
    group_counts,
    real_faces,
    synthetic_faces,
    training_set,
)
from repro.chapters.aim.recorded_masks import mask_of, sensitivities_of
from repro.files import sha256_of
from repro.layout import layout_of, place
from repro.precision import effective
from repro.settings import ImageOptimisation
from repro.study.checkpoints import checkpoint_of
from repro.study.configs import RunConfig
from repro.study.runs import WEIGHTS, Outcome, Record, RunError, Runs
from repro.study.stages import stage
from repro.tensors import kind_of
from repro.training import TrainingError
from repro.vision import Faces, VisionFit

KINDS = ("absolute", "cosine")
RULES = ("accuracy", "worst_group", "last")


@stage(FaceTraining)
def train(config: FaceTraining, runs: Runs) -> Outcome:
    """Train a classifier from its initialisation (1c), on the data of its strategy (Table 3)."""
    strategy = STRATEGIES[config.strategy]
    real = real_faces(config.data, balanced=strategy.balanced)
    digests, sets = dict(real.sha256), None
    if config.synthetic is not None:
        sets = synthetic_faces(config.data, config.synthetic, seed=config.seed)
        digests = digests | sets.sha256
    check_read(config, config.data_sha256, digests)
    examples = training_set(strategy.data, real.train, sets, seed=config.seed)
    model = initial_model(config, runs)
    result = _fit(model, examples, real, config.optimisation, config, runs)
    results = {
        "trainable_parameters": models.parameter_count(model),
        "trained_tensors": [name for name, _ in model.named_parameters()],
        "skipped": real.skipped,
    }
    precision = config.optimisation.precision
    return _outcome(model, real, examples, result, results, digests, precision, ties_of(config))


@stage(Sensitivity)
def measure(config: Sensitivity, runs: Runs) -> Outcome:
    """Measure the sensitivity of every tensor to domain gap and bias, both ways (1d, Table 4)."""
    record = built_on(config.pretrained, runs)
    model = trained_model(config.pretrained, record)
    real = real_faces(config.pretrained.data)
    sets = synthetic_faces(config.pretrained.data, config.synthetic, seed=config.seed)
    check_read(config, config.data_sha256, real.sha256 | sets.sha256)
    how = config.pretrained.optimisation.model_copy(update={"batch_size": config.batch_size})
    parts = {"R": real.train, "S1": sets.biased, "S2": sets.balanced}
    draws = []
    for draw in range(config.draws):
        gradients = [
            _gradients(model, config, how, name, faces, draw) for name, faces in parts.items()
        ]
        on_real, on_biased, on_balanced = gradients
        draws.append(
            {
                kind: {
                    "domain": sensitivity(on_real, on_biased, kind),
                    "fairness": sensitivity(on_biased, on_balanced, kind),
                }
                for kind in KINDS
            }
        )
    tensors = {name: parameter.numel() for name, parameter in model.named_parameters()}
    results: dict[str, Any] = {
        "tensors": list(tensors),
        "parameters": list(tensors.values()),
        "kinds": [kind_of(model, name) for name in tensors],
        "draws": [
            {
                kind: {what: [values[name] for name in tensors] for what, values in both.items()}
                for kind, both in draw.items()
            }
            for draw in draws
        ],
    }
    weights = {
        f"{kind}.{what}": np.array([values[name] for name in tensors])
        for kind, both in draws[0].items()
        for what, values in both.items()
    }
    return Outcome(
        counts={"test": record.counts("test")},  # of the model whose tensors were measured
        predictions=record.predictions(),
        weights=weights,
        results=results,
        data_sha256=real.sha256 | sets.sha256,
        device=vision.device(),
    )


def _gradients(
    model: nn.Module,
    config: Sensitivity,
    how: ImageOptimisation,
    name: str,
    faces: Faces,
    draw: int,
) -> dict[str, Tensor]:
    """Return the mean gradients on one set, in float32: their differences are small."""
    purpose = f"gradients on {name}"
    given = vision.batches(
        faces,
        how,
        seed=config.seed,
        epoch=draw,
        purpose=purpose,
        augmented=config.augmented,
        device=vision.device(),
        limit=config.batches,
        layout=layout_of(model),
    )
    with torch.random.fork_rng():  # of dropout, for models that have it
        torch.manual_seed(vision.stream("dropout", purpose, config.seed, draw))
        return mean_gradients(model, given, vision.bce, mode=config.mode)


@stage(GroupImportance)
def measure_importance(config: GroupImportance, runs: Runs) -> Outcome:
    """Measure how much the importance of every tensor differs between the protected groups."""
    record = built_on(config.pretrained, runs)
    model = trained_model(config.pretrained, record)
    sets = synthetic_faces(config.pretrained.data, config.synthetic, seed=config.seed)
    digests = real_faces(config.pretrained.data).sha256 | sets.sha256
    check_read(config, config.data_sha256, digests)
    groups = []
    for protected in (1, 0):
        at = np.flatnonzero(sets.balanced.protected.numpy() == protected)
        order = np.random.default_rng([config.seed, protected]).permutation(at)
        faces = sets.balanced.subset(np.sort(order[: config.images]))
        groups.append(fisher(model, vision.plain_batches(faces, vision.device()), vision.bce))
    gaps = importance_gap(*groups)
    roots = [{name: float(f.mean().sqrt()) for name, f in group.items()} for group in groups]
    return Outcome(
        counts={"test": record.counts("test")},  # of the model whose tensors were measured
        predictions=record.predictions(),
        weights={"fairness": np.array(list(gaps.values()))},
        results={
            "tensors": list(gaps),
            "fairness": list(gaps.values()),
            "importance": [list(group.values()) for group in roots],  # [s][tensor], s = 1 is p = 1
        },
        data_sha256=digests,
        device=vision.device(),
    )


@stage(FaceTuning)
def tune(config: FaceTuning, runs: Runs) -> Outcome:
    """Fine-tune the tensors of a strategy on balanced synthetic images (1e; Figure 2, Table 4)."""
    record = built_on(config.pretrained, runs)
    model = trained_model(config.pretrained, record)
    real = real_faces(config.pretrained.data)
    sets = synthetic_faces(config.pretrained.data, config.synthetic, seed=config.seed)
    check_read(config, config.data_sha256, real.sha256 | sets.sha256)
    trainable = chosen_tensors(config, model, runs)
    if trainable:
        trained_parameters = rules.freeze_all_but(model, trainable)
        result = _fit(
            model,
            sets.balanced,
            real,
            config.optimisation,
            config,
            runs,
            trainable=trainable,
            statistics=config.statistics,
            decay_frozen=config.frozen == "decayed",
        )
    else:
        trained_parameters = 0
        result = _move_statistics(model, sets.balanced, real, config)
    results = {
        "trainable_parameters": trained_parameters,
        "share_of_parameters": trained_parameters / models.parameter_count(model),
        "share_of_tensors": len(trainable) / len(list(model.parameters())),
        "trained_tensors": [name for name, _ in model.named_parameters() if name in trainable],
    }
    digests, precision = real.sha256 | sets.sha256, config.optimisation.precision
    ties = ties_of(config)
    outcome = _outcome(model, real, sets.balanced, result, results, digests, precision, ties)
    counts = {**outcome.counts, "before": record.counts("test")}
    return Outcome(**{**vars(outcome), "counts": counts})


def chosen_tensors(config: FaceTuning, model: nn.Module, runs: Runs) -> frozenset[str]:
    """Return the tensors that a fine-tuning run trains."""
    mask = None
    if config.sensitivity is not None:
        measured = built_on(config.sensitivity, runs).results
        assert config.k is not None
        kind = STRATEGIES[config.strategy].sensitivity or "absolute"
        if config.importance is None:
            mask = mask_of(measured, config.k, kind=kind)
        else:
            domain, _ = sensitivities_of(measured, kind=kind)
            gaps = built_on(config.importance, runs).results
            fairness = dict(zip(gaps["tensors"], gaps["fairness"], strict=True))
            mask = select_mask(domain, fairness, config.k)
    if STRATEGIES[config.strategy].tensors == "random":
        assert mask is not None
        assert config.draw is not None
        draw = vision.stream("random tensors", config.seed, config.draw)
        return rules.trainable_tensors(model, config.strategy, k=len(mask), draw=draw)
    if STRATEGIES[config.strategy].tensors == "random of a size":
        assert config.draw is not None
        draw = vision.stream("random parameters", config.seed, config.draw)
        return rules.trainable_tensors(model, config.strategy, mask=mask, draw=draw)
    return rules.trainable_tensors(model, config.strategy, block=config.block, mask=mask)


def initial_model(config: FaceTraining, runs: Runs) -> nn.Module:
    """Build the classifier of a run at its initialisation, on the device that trains."""
    file, kind = config.weights_file, config.initialisation
    if config.weights_file is not None:  # it may have changed since the run was planned
        found = sha256_of(config.weights_file)
        if found != config.initialisation_sha256:
            raise models.WeightsError(
                f"{config.weights_file} has sha256 {found}, not {config.initialisation_sha256} "
                f"as when the run was planned; plan it again"
            )
    if config.backbone is not None:
        kind, file = "file", str(built_on(config.backbone, runs).file(WEIGHTS))
    model = models.image_classifier(
        config.architecture,
        width=config.width,
        initialisation=kind,
        weights_file=file,
        seed=config.seed,
    )
    return place(model, vision.device())


def trained_model(config: FaceTraining | FaceTuning | Backbone, record: Record) -> nn.Module:
    """Return the classifier of a finished run, on the device that trains.

    Of a backbone the head is a new one: what it told of an image is not a target of ours.
    """
    model = models.image_classifier(
        config.architecture,
        width=config.width,
        initialisation="file",
        weights_file=record.file(WEIGHTS),
        seed=config.seed,
    )
    return place(model, vision.device())


def built_on(config: RunConfig, runs: Runs) -> Record:
    """Return the finished run that another one builds on."""
    record = runs.find(config)
    if record is None:  # obtain computes upstream runs first
        raise RunError(f"{config.label}: run {config.identity} is not there to build on")
    return record


def _fit(
    model: nn.Module,
    examples: Faces,
    real: RealFaces,
    how: ImageOptimisation,
    config: FaceTraining | FaceTuning,
    runs: Runs,
    *,
    trainable: frozenset[str] | None = None,
    statistics: str = "move",
    decay_frozen: bool = False,
) -> VisionFit:
    """Train from the last checkpoint of this run, if there is one."""
    checkpoint = checkpoint_of(config, runs)
    names = trainable or frozenset(name for name, _ in model.named_parameters())
    return vision.fit(
        model,
        examples,
        {"validation": real.validation, "test": real.test},
        how,
        seed=config.seed,
        purpose=config.stage,
        set_train_mode=rules.frozen_batchnorm(model, names, statistics=statistics),
        ties=ties_of(config),
        decay_frozen=decay_frozen,
        device=vision.device(),
        progress=checkpoint.load(),
        save=checkpoint.save,
    )


def _move_statistics(
    model: nn.Module, examples: Faces, real: RealFaces, config: FaceTuning
) -> VisionFit:
    """Replace the BatchNorm statistics by the averages of one pass, which is all that changes.

    Images are cropped and flipped as they are in fine-tuning, whose statistics these stand for.
    """
    how, device = config.optimisation, vision.device()
    given = vision.batches(
        examples,
        how,
        seed=config.seed,
        epoch=1,
        purpose=config.stage,
        device=device,
        layout=layout_of(model),
    )
    update_bn(given, model)
    tables = {
        part: vision.counts_of(
            vision.predict(model, faces, precision=how.precision, device=device), faces
        ).tolist()
        for part, faces in (("validation", real.validation), ("test", real.test))
    }
    logits = vision.predict(model, examples, precision=how.precision, device=device)
    loss = float(vision.bce(logits, examples.target))
    return VisionFit(1, [{"loss": loss, "learning_rate": 0.0, "counts": tables}])


def ties_of(config: FaceTraining | FaceTuning) -> Literal["first", "last"]:
    """Return which of equal epochs a stage keeps: the authors' two scripts differ (METHODS 1g)."""
    return "last" if isinstance(config, FaceTraining) else "first"


def check_read(config: RunConfig, declared: Mapping[str, str], read: Mapping[str, str]) -> None:
    """Refuse other data than declared before hours are spent on them."""
    if read != declared:
        raise RunError(
            f"{config.label}: the data that were read ({read}) are not those that the run "
            f"declares ({declared})"
        )


def _outcome(
    model: nn.Module,
    real: RealFaces,
    examples: Faces,
    result: VisionFit,
    results: dict[str, Any],
    digests: dict[str, str],
    precision: str,
    ties: str,
) -> Outcome:
    kept = result.history[result.epoch - 1]
    logits = vision.predict(model, real.test, precision=precision, device=vision.device())
    return Outcome(
        counts={part: np.asarray(table) for part, table in kept["counts"].items()},
        predictions=_predictions(logits, real.test),
        weights={name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()},
        results={
            **results,
            "epoch": result.epoch,
            # None if this process trained every epoch. It makes no other difference.
            "resumed_after_epoch": result.resumed_from,
            "kept_by": {rule: _kept_by(result, rule, ties) for rule in RULES},
            "training_images": group_counts(examples).tolist(),  # [t][p]
        },
        history=result.history,
        data_sha256=digests,
        device=vision.device(),
        precision=effective(precision, vision.device()),
    )


def _kept_by(result: VisionFit, rule: str, ties: str) -> int | None:
    """Return the epoch that another rule would have kept, or None where it cannot choose."""
    try:
        return vision.kept_epoch(result.history, rule, ties)
    except TrainingError:  # a group that the validation part does not have
        return None


def _predictions(logits: Tensor, test: Faces) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "example": test.names,
            "target": test.target.numpy(),
            "protected": test.protected.numpy(),
            "score": vision.probability(logits),
        }
    )
