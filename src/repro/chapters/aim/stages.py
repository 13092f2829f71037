"""What each stage of AIM-Fair computes: training, sensitivities (SMG), fine-tuning (SFT)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
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
    SyntheticSets,
    group_counts,
    real_faces,
    synthetic_faces,
    training_set,
)
from repro.chapters.aim.recorded_masks import sensitivities
from repro.files import sha256_of
from repro.layout import layout_of, place
from repro.precision import effective
from repro.study.checkpoints import checkpoint_of
from repro.study.configs import RunConfig
from repro.study.runs import WEIGHTS, Outcome, Record, RunError, Runs, predictions_of
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
    result = _fit(model, examples, real, config, runs)
    results = {
        "trainable_parameters": models.parameter_count(model),
        "trained_tensors": [name for name, _ in model.named_parameters()],
        "skipped": real.skipped,
    }
    return _outcome(config, model, real, examples, result, results)


class Base(NamedTuple):
    """What a biased classifier is measured or fine-tuned with; its digests are those declared."""

    record: Record
    model: nn.Module
    real: RealFaces
    sets: SyntheticSets


def _base(config: Sensitivity | GroupImportance | FaceTuning, runs: Runs) -> Base:
    before = config.pretrained
    record = built_on(before, runs)
    real = real_faces(before.data)
    sets = synthetic_faces(before.data, config.synthetic, seed=config.seed)
    check_read(config, config.data_sha256, real.sha256 | sets.sha256)
    return Base(record, trained_model(before, record), real, sets)


@stage(Sensitivity)
def measure(config: Sensitivity, runs: Runs) -> Outcome:
    """Measure the sensitivity of every tensor to domain gap and bias, both ways (1d, Table 4)."""
    base = _base(config, runs)
    parts = {"R": base.real.train, "S1": base.sets.biased, "S2": base.sets.balanced}
    tensors = {name: parameter.numel() for name, parameter in base.model.named_parameters()}
    draws = []
    for draw in range(config.draws):
        on_real, on_biased, on_balanced = (
            _gradients(base.model, config, name, faces, draw) for name, faces in parts.items()
        )
        pairs = {"domain": (on_real, on_biased), "fairness": (on_biased, on_balanced)}
        draws.append(
            {
                kind: {
                    what: list(map(sensitivity(*pair, kind).__getitem__, tensors))
                    for what, pair in pairs.items()
                }
                for kind in KINDS
            }
        )
    weights = {
        f"{kind}.{what}": np.array(values)
        for kind, both in draws[0].items()
        for what, values in both.items()
    }
    results = {
        "tensors": list(tensors),
        "parameters": list(tensors.values()),
        "kinds": [kind_of(base.model, name) for name in tensors],
        "draws": draws,
    }
    return _measured(config, base, weights, results)


def _measured(
    config: Sensitivity | GroupImportance,
    base: Base,
    weights: dict[str, np.ndarray],
    results: dict[str, Any],
) -> Outcome:
    """Return what was measured of a classifier, with the test counts of that classifier."""
    return Outcome(
        counts={"test": base.record.counts("test")},
        predictions=base.record.predictions(),
        weights=weights,
        results=results,
        data_sha256=config.data_sha256,
        device=vision.device(),
    )


def _gradients(
    model: nn.Module,
    config: Sensitivity,
    name: str,
    faces: Faces,
    draw: int,
) -> dict[str, Tensor]:
    """Return the mean gradients on one set, in float32: their differences are small."""
    purpose = f"gradients on {name}"
    how = config.pretrained.optimisation.model_copy(update={"batch_size": config.batch_size})
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
    base = _base(config, runs)
    balanced, groups = base.sets.balanced, []
    for protected in (1, 0):
        at = np.flatnonzero(balanced.protected.numpy() == protected)
        order = np.random.default_rng([config.seed, protected]).permutation(at)
        faces = balanced.subset(np.sort(order[: config.images]))
        groups.append(fisher(base.model, vision.plain_batches(faces, vision.device()), vision.bce))
    gaps = importance_gap(*groups)
    results = {
        "tensors": list(gaps),
        "fairness": list(gaps.values()),
        # [s][tensor], s = 1 is p = 1
        "importance": [[float(f.mean().sqrt()) for f in group.values()] for group in groups],
    }
    return _measured(config, base, {"fairness": np.array(list(gaps.values()))}, results)


@stage(FaceTuning)
def tune(config: FaceTuning, runs: Runs) -> Outcome:
    """Fine-tune the tensors of a strategy on balanced synthetic images (1e; Figure 2, Table 4)."""
    record, model, real, sets = _base(config, runs)
    trainable = chosen_tensors(config, model, runs)
    if trainable:
        trained_parameters = rules.freeze_all_but(model, trainable)
        result = _fit(model, sets.balanced, real, config, runs, trainable)
    else:
        trained_parameters = 0
        result = _move_statistics(model, sets.balanced, real, config)
    results = {
        "trainable_parameters": trained_parameters,
        "share_of_parameters": trained_parameters / models.parameter_count(model),
        "share_of_tensors": len(trainable) / len(list(model.parameters())),
        "trained_tensors": [name for name, _ in model.named_parameters() if name in trainable],
    }
    outcome = _outcome(config, model, real, sets.balanced, result, results)
    return replace(outcome, counts={**outcome.counts, "before": record.counts("test")})


def chosen_tensors(config: FaceTuning, model: nn.Module, runs: Runs) -> frozenset[str]:
    """Return the tensors that a fine-tuning run trains."""
    mask = None
    strategy = STRATEGIES[config.strategy]
    if config.sensitivity is not None:
        measured = built_on(config.sensitivity, runs)
        assert config.k is not None
        domain, fairness = sensitivities(measured, kind=strategy.sensitivity or "absolute")
        if config.importance is not None:
            gaps = built_on(config.importance, runs).results
            fairness = dict(zip(gaps["tensors"], gaps["fairness"], strict=True))
        mask = select_mask(domain, fairness, config.k)
    if strategy.tensors == "random":
        assert mask is not None
        assert config.draw is not None
        draw = vision.stream("random tensors", config.seed, config.draw)
        return rules.trainable_tensors(model, config.strategy, k=len(mask), draw=draw)
    if strategy.tensors == "random of a size":
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
    config: FaceTraining | FaceTuning,
    runs: Runs,
    trainable: frozenset[str] | None = None,
) -> VisionFit:
    """Train from the last checkpoint of this run, if there is one."""
    checkpoint = checkpoint_of(config, runs)
    names = trainable or frozenset(name for name, _ in model.named_parameters())
    statistics, decays = "move", False
    if isinstance(config, FaceTuning):
        statistics, decays = config.statistics, config.frozen == "decayed"
    return vision.fit(
        model,
        examples,
        {"validation": real.validation, "test": real.test},
        config.optimisation,
        seed=config.seed,
        purpose=config.stage,
        set_train_mode=rules.frozen_batchnorm(model, names, statistics=statistics),
        ties=ties_of(config),
        decay_frozen=decays,
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
    config: FaceTraining | FaceTuning,
    model: nn.Module,
    real: RealFaces,
    examples: Faces,
    result: VisionFit,
    results: dict[str, Any],
) -> Outcome:
    kept, precision = result.history[result.epoch - 1], config.optimisation.precision
    logits = vision.predict(model, real.test, precision=precision, device=vision.device())
    return Outcome(
        counts={part: np.asarray(table) for part, table in kept["counts"].items()},
        predictions=predictions_of(
            real.test.names,
            real.test.target.numpy(),
            real.test.protected.numpy(),
            vision.probability(logits),
        ),
        weights={name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()},
        results={
            **results,
            "epoch": result.epoch,
            # None if this process trained every epoch. It makes no other difference.
            "resumed_after_epoch": result.resumed_from,
            "kept_by": {rule: _kept_by(result, rule, ties_of(config)) for rule in RULES},
            "training_images": group_counts(examples).tolist(),  # [t][p]
        },
        history=result.history,
        data_sha256=config.data_sha256,  # and these were read
        device=vision.device(),
        precision=effective(precision, vision.device()),
    )


def _kept_by(result: VisionFit, rule: str, ties: str) -> int | None:
    """Return the epoch that another rule would have kept, or None where it cannot choose."""
    try:
        return vision.kept_epoch(result.history, rule, ties)
    except TrainingError:  # a group that the validation part does not have
        return None
