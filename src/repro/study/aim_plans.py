"""Which runs each table and figure of AIM-Fair needs: pure lists, nothing runs here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache, wraps
from pathlib import Path
from typing import Literal

from repro.aimfair.strategies import COMPARED, STRATEGIES
from repro.aimfair.tensors import block_of
from repro.data.sources import DataError, digest_of
from repro.models import image_classifier
from repro.names import check_name
from repro.settings import FaceData, SettingsError, SyntheticFaces
from repro.study.aim_configs import FaceTraining, FaceTuning, Sensitivity
from repro.study.aim_data import declared_sha256
from repro.study.configs import RunConfig
from repro.study.plans import Experiment, Plan
from repro.study.profiles import Profile


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
    if faces.initialisation == "file" and faces.weights_file is None:
        raise SettingsError("initialisation 'file' needs weights_file, a safetensors file")
    of_file = faces.initialisation == "file"
    return FaceTraining.model_validate(
        {
            "profile": profile.name,
            "seed": seed,
            "data": data,
            "synthetic": synthetic,
            "data_sha256": declared_sha256(data, synthetic),
            "strategy": strategy,
            "architecture": faces.architecture,
            "width": faces.width,
            "initialisation": faces.initialisation,
            "initialisation_sha256": _digest_of(str(faces.weights_file)) if of_file else None,
            "weights_file": faces.weights_file if of_file else None,
            "optimisation": faces.pretrain,
        }
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
        profile=profile.name,
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
    masked = "k" in STRATEGIES[check_name("strategy", strategy, STRATEGIES)].settings
    k = profile.faces.k if k is None else k
    _check_tensors(profile, k=k if masked else None, block=block)
    if masked and measured is None:
        measured = sensitivity(profile, base)
    return FaceTuning.model_validate(
        {
            "profile": profile.name,
            "seed": base.seed,
            "pretrained": base,
            "sensitivity": measured if masked else None,
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


def synthetic_of(profile: Profile) -> SyntheticFaces:
    """Return the synthetic faces of a profile.

    Raises
    ------
    SettingsError
        If it has none: then only classifiers trained on real images can be had.
    """
    if profile.faces.synthetic is None:
        raise SettingsError(
            f"profile '{profile.name}' has no synthetic faces, so only strategy 'erm' can be run; "
            'give it some, e.g. -p overrides \'{"faces.synthetic": {"source": "studio"}}\''
        )
    return profile.faces.synthetic


def _known(profile: Profile, names: Sequence[str]) -> list[str]:
    """Return the strategies that the profile names and has images for."""
    named = [name for name in names if name in profile.faces.strategies]
    return [name for name in named if name == "erm" or profile.faces.synthetic is not None]


@lru_cache(maxsize=4)
def _tensors(architecture: str, width: int) -> tuple[str, ...]:
    model = image_classifier(architecture, width=width, seed=0)
    return tuple(name for name, _ in model.named_parameters())


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


def selectable(plan: Experiment) -> Experiment:
    """Plan of an experiment that the profile does not list only what runs all the same.

    That is what needs no synthetic faces, and what an experiment that is listed runs.
    """
    _SELECTABLE[plan.__name__] = plan

    @wraps(plan)
    def chosen(profile: Profile, seeds: Sequence[int]) -> Plan:
        listed = profile.faces.experiments
        if listed is None or plan.__name__ in listed:
            return plan(profile, seeds)
        faces = profile.faces.model_copy(update={"synthetic": None})
        without = plan(profile.model_copy(update={"faces": faces}), seeds)
        try:
            whole = plan(profile, seeds)
        except ValueError:  # its generator cannot give what the experiment asks for
            return without
        from repro.study import aim_csdg_plans  # noqa: F401  (its experiments are known then)

        others = (_SELECTABLE[name](profile, seeds) for name in listed)
        run = _identities(c for other in others for group in other.values() for c in group)
        return {
            key: configs
            for key, configs in whole.items()
            if key in without or _identities(configs, above=False) <= run
        }

    return chosen


_SELECTABLE: dict[str, Experiment] = {}


def _identities(configs: Iterable[RunConfig], *, above: bool = True) -> set[str]:
    """Return the identities of runs, and of all that they build on."""
    found = set[str]()
    for config in configs:
        found |= {config.identity} | (_identities(config.upstream().values()) if above else set())
    return found


def bases_of(profile: Profile, seeds: Sequence[int]) -> list[FaceTraining]:
    """Return the biased classifier of each seed, from which everything else starts."""
    return [training(profile, seed) for seed in seeds]


@selectable
def pretraining(profile: Profile, seeds: Sequence[int]) -> Plan:
    """1c: the biased classifier (``erm``), and beside it one on balanced synthetic images."""
    return {
        name: [training(profile, seed, strategy=name) for seed in seeds]
        for name in _known(profile, ("erm", "synthetic only"))
    }


@selectable
def properties(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Plan what the embedded faces must show: balanced and biased real images, synthetic ones.

    Real data sets have no balanced set of that size in general: there it is left out.
    """
    plan: Plan = {}
    if profile.faces.data.name == "toyfaces":
        plan["balanced real"] = [training(profile, s, strategy="balanced real") for s in seeds]
    return plan | pretraining(profile, seeds)


@selectable
def sensitivities(profile: Profile, seeds: Sequence[int]) -> Plan:
    """1d: the authors' way (train mode, augmented), and with either choice the other way."""
    if profile.faces.synthetic is None:
        return {}
    bases = bases_of(profile, seeds)
    return {
        "train, augmented": [sensitivity(profile, base) for base in bases],
        "eval, augmented": [sensitivity(profile, base, mode="eval") for base in bases],
        "eval, plain": [sensitivity(profile, base, mode="eval", augmented=False) for base in bases],
    }


@selectable
def strategies(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 3: every strategy that the profile names, in the order of `COMPARED`."""
    bases = bases_of(profile, seeds)
    plan: Plan = {}
    for name in _known(profile, COMPARED):
        if STRATEGIES[name].start == "initial":
            plan[name] = [training(profile, seed, strategy=name) for seed in seeds]
        else:
            plan[name] = [tuning(profile, base, name) for base in bases]
    return plan


@selectable
def wider_gap(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 3 once more on embedded faces whose domains lie further apart; else empty."""
    faces = profile.faces
    if faces.wider_gap is None or faces.data.name != "toyfaces" or faces.synthetic is None:
        return {}
    data = faces.data.model_copy(update={"toy_domain_gap": faces.wider_gap})
    given = synthetic_of(profile)
    # Only the renderer has a domain gap that can be set.
    studio = SyntheticFaces(total=given.total, bias_ratio=given.bias_ratio, pool=given.pool)
    wide = faces.model_copy(update={"data": data, "synthetic": studio, "experiments": None})
    return strategies(profile.model_copy(update={"faces": wide}), seeds)


@selectable
def switches(profile: Profile, seeds: Sequence[int]) -> Plan:
    """1g.3 and 1g.4: frozen statistics, gradients in eval mode, weight decay on frozen tensors."""
    tuned = _known(profile, COMPARED)
    if "mask" not in tuned:
        return {}
    bases = bases_of(profile, seeds)
    plain = [sensitivity(profile, base, mode="eval", augmented=False) for base in bases]
    plan: Plan = {}
    for name in ("linear probing", "fully fine-tuning", "mask"):
        if name not in tuned:
            continue
        plan[f"{name}, statistics move"] = [tuning(profile, base, name) for base in bases]
        if name != "fully fine-tuning":  # where nothing is frozen, there is nothing to switch
            plan[f"{name}, statistics freeze"] = [
                tuning(profile, base, name, statistics="freeze") for base in bases
            ]
    plan["mask, gradients in eval mode"] = [
        tuning(profile, base, "mask", measured=measured)
        for base, measured in zip(bases, plain, strict=True)
    ]
    plan["mask, frozen tensors decay"] = [
        tuning(profile, base, "mask", frozen="decayed") for base in bases
    ]
    return plan


@selectable
def layer_freezing(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Figure 2: one block frozen, the rest trained; beside it all trained, and the start."""
    bases = bases_of(profile, seeds)
    plan: Plan = {"erm": list(bases)}
    if profile.faces.synthetic is None:
        return plan
    plan["fully fine-tuning"] = [tuning(profile, base, "fully fine-tuning") for base in bases]
    for block in profile.faces.blocks:
        plan[f"freeze {block}"] = [tuning(profile, base, "freeze", block=block) for base in bases]
    return plan


@selectable
def top_k(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Figure 5: the mask of every k; keys ``k 55``; beside it the start and full fine-tuning."""
    bases = bases_of(profile, seeds)
    plan: Plan = {"erm": list(bases)}
    if profile.faces.synthetic is None:
        return plan
    for k in sorted({*profile.faces.ks, profile.faces.k}):
        plan[f"k {k}"] = [tuning(profile, base, "mask", k=k) for base in bases]
    plan["fully fine-tuning"] = [tuning(profile, base, "fully fine-tuning") for base in bases]
    return plan


@selectable
def masks(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Plan the sensitivities behind Figure 5, for tensors and parameters against k."""
    if profile.faces.synthetic is None:
        return {}
    return {"train, augmented": [sensitivity(profile, base) for base in bases_of(profile, seeds)]}


@selectable
def selection_rules(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 4: random tensors, one block updated or frozen, cosine mask, absolute mask."""
    bases = bases_of(profile, seeds)
    plan: Plan = {"erm": list(bases)}
    if profile.faces.synthetic is None:
        return plan
    for draw in range(profile.faces.random_draws):
        plan[f"random {draw}"] = [tuning(profile, base, "random", draw=draw) for base in bases]
    for rule in ("update", "freeze"):
        for block in profile.faces.blocks:
            # Updating the head alone is linear probing: one run under two names.
            alone = rule == "update" and block == "fc"
            plan[f"{rule} {block}"] = [
                tuning(profile, base, "linear probing")
                if alone
                else tuning(profile, base, rule, block=block)
                for base in bases
            ]
    plan["cosine mask"] = [tuning(profile, base, "cosine mask") for base in bases]
    plan["mask"] = [tuning(profile, base, "mask") for base in bases]
    plan["fully fine-tuning"] = [tuning(profile, base, "fully fine-tuning") for base in bases]
    return plan


@selectable
def less_real_data(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 2: a share of the real data, as many synthetic images; keys ``50 %, mask``."""
    plan: Plan = {}
    for fraction in profile.faces.fractions:
        data = profile.faces.data.model_copy(update={"fraction": fraction})
        bases = [training(profile, seed, data=data) for seed in seeds]
        key = f"{100 * fraction:g} %"
        plan[f"{key}, erm"] = list(bases)
        for name in _known(profile, ("fully fine-tuning", "mask")):
            plan[f"{key}, {name}"] = [tuning(profile, base, name) for base in bases]
    return plan


#: Every experiment by the notebook that runs it.
EXPERIMENTS = {
    "20_biased_data": (properties,),
    "23_pretraining": (pretraining,),
    "24_selective_mask": (sensitivities,),
    "25_selective_finetuning": (strategies, switches, wider_gap),
    "30_layer_freezing": (layer_freezing,),
    "31_top_k": (top_k, masks),
    "32_selection_rules": (selection_rules,),
    "36_less_real_data": (less_real_data,),
}
