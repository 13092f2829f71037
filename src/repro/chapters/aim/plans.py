"""Which runs each table and figure of AIM-Fair needs: pure lists, nothing runs here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, Literal

from repro.aimfair.strategies import COMPARED, STRATEGIES
from repro.chapters.aim.configs import (
    Backbone,
    FaceTraining,
    FaceTuning,
    GroupImportance,
    Sensitivity,
)
from repro.chapters.aim.declared import declared_sha256, stamped
from repro.data.registry import face_set
from repro.data.sources import DataError, digest_of
from repro.data.splits import biased_counts
from repro.names import check_name
from repro.settings import FaceData, SettingsError, SyntheticFaces
from repro.study.configs import RunConfig
from repro.study.experiments import Experiment, Plan, experiment, of_part
from repro.study.profiles import Profile, synthetic_of
from repro.tensors import RESNETS, block_of, resnet_tensors


def _digest_of(path: str) -> str:
    try:
        return digest_of(Path(path))  # hashed again only when the file has changed
    except DataError as error:
        raise SettingsError(f"weights_file: {error}") from None


def training(
    profile: Profile,
    seed: int,
    *,
    strategy: str = "erm",
    data: FaceData | None = None,
    synthetic: SyntheticFaces | None = None,
) -> FaceTraining:
    """Return the configuration of one classifier that is trained from its initialisation."""
    faces = profile.faces
    data = of_seed(data or faces.data, seed)
    of_real = STRATEGIES[check_name("strategy", strategy, STRATEGIES)].data == "real"
    synthetic = None if of_real else synthetic or synthetic_of(profile)
    if synthetic is not None and STRATEGIES[strategy].data == "repaired":
        synthetic = _enough_to_repair(data, synthetic)
    if faces.initialisation == "file" and faces.weights_file is None:
        raise SettingsError("initialisation 'file' needs weights_file, a safetensors file")
    of_file = faces.initialisation == "file"
    return FaceTraining.model_validate(
        {
            "seed": seed,
            "data": data,
            "synthetic": synthetic,
            "data_sha256": declared_sha256(data, synthetic),
            "strategy": strategy,
            "architecture": faces.architecture,
            "width": faces.width,
            "initialisation": faces.initialisation,
            "backbone": backbone(profile) if faces.initialisation == "fairface" else None,
            "initialisation_sha256": _digest_of(str(faces.weights_file)) if of_file else None,
            "weights_file": faces.weights_file if of_file else None,
            "optimisation": faces.pretrain,
        }
    )


def _enough_to_repair(data: FaceData, synthetic: SyntheticFaces) -> SyntheticFaces:
    """Return the synthetic faces with a pool that fills the smaller groups up.

    How many these lack where groups are as the data have them is known when they are read; the
    pool is then as given, and a group that it cannot fill is an error.
    """
    if data.bias_ratio is None:
        return synthetic
    counts = biased_counts(round(data.total * data.fraction), data.bias_ratio)
    needed = max(counts) - min(counts)
    if synthetic.source == "studio":  # which draws groups by fair coins: some to spare
        needed = round(1.2 * needed)
    return synthetic.model_copy(update={"pool": max(synthetic.pool, needed)})


def backbone(profile: Profile) -> Backbone:
    """Return the configuration of the backbone that every classifier of a profile starts from."""
    faces = profile.faces
    return Backbone(
        seed=faces.backbone.seed,
        data_sha256=stamped(face_set("fairface").declared(faces.backbone.edition)),
        architecture=faces.architecture,
        width=faces.width,
        settings=faces.backbone,
    )


def of_seed(data: FaceData, seed: int) -> FaceData:
    """Return the data of a run: embedded faces are drawn anew in every seed, unless one is given.

    Training, validation and test faces all are, so intervals over seeds speak of other faces, too.
    """
    if data.name == "toyfaces" and data.toy_seed is None:
        return data.model_copy(update={"toy_seed": seed})
    return data


def sensitivity(
    profile: Profile,
    base: FaceTraining,
    *,
    mode: Literal["train", "eval"] = "train",
    augmented: bool = True,
    synthetic: SyntheticFaces | None = None,
) -> Sensitivity:
    """Return the configuration of one measurement of all tensors' sensitivities."""
    faces, synthetic = profile.faces, synthetic or synthetic_of(profile)
    return Sensitivity(
        seed=base.seed,
        pretrained=base,
        synthetic=synthetic,
        data_sha256=declared_sha256(base.data, synthetic),
        mode=mode,
        augmented=augmented,
        draws=faces.gradient_draws,
        batch_size=faces.pretrain.batch_size,
        batches=faces.gradient_batches,
    )


def importance(profile: Profile, base: FaceTraining, synthetic: SyntheticFaces) -> GroupImportance:
    """Return the configuration of one measurement of all tensors' importance by group."""
    faces = profile.faces
    few = faces.gradient_batches
    return GroupImportance(
        seed=base.seed,
        pretrained=base,
        synthetic=synthetic,
        data_sha256=declared_sha256(base.data, synthetic),
        # As many images in all as the gradients of a set are taken on.
        images=None if few is None else few * faces.pretrain.batch_size // 2,
    )


def tuning(
    profile: Profile,
    base: FaceTraining,
    strategy: str,
    *,
    block: str | None = None,
    k: int | None = None,
    draw: int | None = None,
    statistics: str = "move",
    frozen: str = "still",
    measured: Sensitivity | None = None,
    synthetic: SyntheticFaces | None = None,
) -> FaceTuning:
    """Return the configuration of one fine-tuned classifier; ``k`` is the profile's by default."""
    synthetic = synthetic or synthetic_of(profile)
    settings = STRATEGIES[check_name("strategy", strategy, STRATEGIES)].settings
    masked, weighed = "k" in settings, "importance" in settings
    k = profile.faces.k if k is None else k
    _check_tensors(profile, k=k if masked else None, block=block)
    if masked and measured is None:
        measured = sensitivity(profile, base, synthetic=synthetic if weighed else None)
    return FaceTuning.model_validate(
        {
            "seed": base.seed,
            "pretrained": base,
            "sensitivity": measured if masked else None,
            "importance": importance(profile, base, synthetic) if weighed else None,
            "synthetic": synthetic,
            "data_sha256": declared_sha256(base.data, synthetic),
            "strategy": strategy,
            "block": block,
            "k": k if masked else None,
            "draw": draw,
            "statistics": statistics,
            "frozen": frozen,
            "optimisation": profile.faces.finetune,
        }
    )


def known_strategies(profile: Profile, names: Sequence[str]) -> list[str]:
    """Return the strategies that the profile names and has images for."""
    named = [name for name in names if name in profile.faces.strategies]
    return [name for name in named if name == "erm" or profile.faces.synthetic is not None]


@lru_cache(maxsize=4)
def _tensors(architecture: str, width: int) -> list[str]:
    if architecture in RESNETS:
        return resnet_tensors(architecture)
    from repro.models import image_classifier  # with torch, which no other plan needs

    model = image_classifier(architecture, width=width, seed=0)
    return [name for name, _ in model.named_parameters()]


def _check_tensors(profile: Profile, *, k: int | None, block: str | None) -> None:
    """Refuse a k or a block that the model does not have, before anything is trained."""
    names = _tensors(profile.faces.architecture, profile.faces.width)
    if k is not None and not 1 <= k <= len(names):
        raise SettingsError(
            f"k = {k} is out of range: {profile.faces.architecture} has {len(names)} tensors, so k "
            f"runs from 1 to {len(names)}"
        )
    if block is not None:
        check_name("block", block, dict.fromkeys(block_of(name) for name in names))


def aim_experiment(*notebooks: str) -> Callable[[Experiment], Experiment]:
    """Return the decorator of an experiment of AIM-Fair that these notebooks run.

    Where a profile lists its experiments, one that is not listed plans only what runs all the same:
    what needs no synthetic faces, and what a listed experiment runs. Nothing is planned of seeds
    that a profile leaves out of an experiment, or of those of its keys that begin with some words.
    """

    def known(plan: Experiment) -> Experiment:
        @wraps(plan)
        def chosen(profile: Profile, seeds: Sequence[int]) -> Plan:
            """Plan what the profile lists, and of the rest what runs all the same."""
            left_out = {
                name.partition(": ")[2]: without
                for name, without in profile.faces.seeds_left_out.items()
                if name.partition(": ")[0] == plan.__name__
            }
            whole = left_out.pop("", ())
            seeds = [seed for seed in seeds if seed not in whole]
            found: Plan = {}
            if not seeds:
                return found
            for key, configs in of_listed(profile, seeds).items():
                without = {
                    s for begins, own in left_out.items() if key.startswith(begins) for s in own
                }
                if kept := [config for config in configs if config.seed not in without]:
                    found[key] = kept
            return found

        def of_listed(profile: Profile, seeds: Sequence[int]) -> Plan:
            """Plan it whole where it is listed, else what of it runs all the same."""
            listed = profile.faces.experiments
            # What an experiment takes from another belongs to it, whether or not that is listed.
            whole = with_faces(profile, experiments=None)
            if listed is None or plan.__name__ in listed:
                return plan(whole, seeds)
            without = plan(with_faces(whole, synthetic=None), seeds)
            try:
                all_of_it = plan(whole, seeds)
            except ValueError:  # its generator cannot give what the experiment asks for
                return without
            others = {e.__name__: e for e in of_part("aim-fair")}
            run = _identities(
                c for name in listed for group in others[name](whole, seeds).values() for c in group
            )
            return {
                key: configs
                for key, configs in all_of_it.items()
                if key in without or _identities(configs, above=False) <= run
            }

        return experiment(*notebooks, part="aim-fair")(chosen)

    return known


def with_faces(profile: Profile, **changed: object) -> Profile:
    """Return a profile with some of its settings of faces changed."""
    return profile.model_copy(update={"faces": profile.faces.model_copy(update=changed)})


def _identities(configs: Iterable[RunConfig], *, above: bool = True) -> set[str]:
    """Return the identities of runs, and of all that they build on."""
    found = set[str]()
    for config in configs:
        found |= {config.identity} | (_identities(config.upstream().values()) if above else set())
    return found


def block_key(rule: str, block: str) -> str:
    """Return the key of a block that is frozen, or alone updated: ``freeze layer4``."""
    return f"{rule} {block}"


def share_key(fraction: float, strategy: str) -> str:
    """Return the key of a strategy on a share of the real data: ``50 %, mask``."""
    return f"{100 * fraction:g} %, {strategy}"


def bases_of(profile: Profile, seeds: Sequence[int]) -> list[FaceTraining]:
    """Return the biased classifier of each seed, from which everything else starts."""
    return [training(profile, seed) for seed in seeds]


def tunings(
    profile: Profile, bases: Sequence[FaceTraining], settings: Mapping[str, Mapping[str, Any]]
) -> Plan:
    """Plan settings of fine-tuning from each biased classifier; none without synthetic images.

    Parameters
    ----------
    bases
        The biased classifiers.
    settings
        Key of the plan -> what :func:`tuning` takes; where no strategy is named it is the key.
    """
    if profile.faces.synthetic is None:
        return {}
    return {
        key: [tuning(profile, base, **{"strategy": key, **how}) for base in bases]
        for key, how in settings.items()
    }


@aim_experiment("23_pretraining")
def pretraining(profile: Profile, seeds: Sequence[int]) -> Plan:
    """1c: the biased classifier (``erm``), and beside it one on balanced synthetic images."""
    return {
        name: [training(profile, seed, strategy=name) for seed in seeds]
        for name in known_strategies(profile, ("erm", "synthetic only"))
    }


@aim_experiment("20_biased_data")
def properties(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Plan what the embedded faces must show: balanced and biased real images, synthetic ones.

    Real data sets have no balanced set of that size in general: there it is left out.
    """
    plan: Plan = {}
    if profile.faces.data.name == "toyfaces":
        plan["balanced real"] = [training(profile, s, strategy="balanced real") for s in seeds]
    return plan | pretraining(profile, seeds)


@aim_experiment("25_selective_finetuning")
def strategies(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 3: every strategy that the profile names, in the order of `COMPARED`."""
    bases = bases_of(profile, seeds)
    plan: Plan = {}
    for name in known_strategies(profile, COMPARED):
        if STRATEGIES[name].start == "initial":
            plan[name] = [training(profile, seed, strategy=name) for seed in seeds]
        else:
            plan[name] = [tuning(profile, base, name) for base in bases]
    return plan


@aim_experiment("22_synthetic_faces")
def readers(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Two classifiers, of target and of protected attribute, on balanced real images; one seed.

    They read synthetic images: is what was asked for there?
    """
    synthetic = profile.faces.synthetic
    if synthetic is None or synthetic.source != "generator":
        return {}
    data = profile.faces.data
    turned = data.model_copy(update={"target": data.protected, "protected": data.target})
    return {
        name: [training(profile, seeds[0], strategy="balanced real", data=asked)]
        for name, asked in (("target", data), ("protected", turned))
    }
