"""Chapter 25: fine-tuning of the masked tensors, against every other strategy (Table 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import pandas as pd
from matplotlib.figure import Figure

from repro.aimfair.strategies import COMPARED, STRATEGIES
from repro.chapters.aim import plans
from repro.chapters.aim.contrasts import (
    ACC,
    EO,
    MAIN_TASK,
    STD,
    TABLE_3,
    WORDS,
    WST,
    fine_tuning_claim,
    joined,
    premise,
    versus,
)
from repro.chapters.aim.figures import group_accuracy_figure
from repro.chapters.aim.plans import (
    aim_experiment,
    bases_of,
    known_strategies,
    sensitivity,
    strategies,
    tuning,
)
from repro.chapters.aim.tables import (
    METRICS,
    as_the_paper,
    nothing_of,
    paired,
    table_3,
    training_images,
)
from repro.chapters.reported import aim_value
from repro.settings import SyntheticFaces
from repro.study.claims import Contrast
from repro.study.experiments import Plan
from repro.study.figures import beside_paper as beside
from repro.study.profiles import Profile, synthetic_of
from repro.study.tables import Html, differences, folded, means, show

if TYPE_CHECKING:
    from repro.study.session import View

NOTEBOOK = "25_selective_finetuning"


@aim_experiment(NOTEBOOK)
def wider_gap(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 3 once more on embedded faces whose domains lie further apart; else empty."""
    faces = profile.faces
    if faces.wider_gap is None or faces.data.name != "toyfaces" or faces.synthetic is None:
        return {}
    data = faces.data.model_copy(update={"toy_domain_gap": faces.wider_gap})
    given = synthetic_of(profile)
    # Only the renderer has a domain gap that can be set.
    studio = SyntheticFaces(total=given.total, bias_ratio=given.bias_ratio, pool=given.pool)
    wide = faces.model_copy(update={"data": data, "synthetic": studio})
    return strategies(profile.model_copy(update={"faces": wide}), seeds)


#: What is compared where the premise fails: ERM, synthetic images alone, and fine-tuning on them.
WITHOUT_PREMISE = ("erm", "synthetic only", "fully fine-tuning", "mask")


@aim_experiment(NOTEBOOK)
def fainter_smile(profile: Profile, seeds: Sequence[int]) -> Plan:
    """`WITHOUT_PREMISE` on embedded faces that smile less than the synthetic ones; else empty."""
    faces = profile.faces
    if faces.fainter_smile is None or faces.data.name != "toyfaces" or faces.synthetic is None:
        return {}
    data = faces.data.model_copy(update={"toy_smile_strength": faces.fainter_smile})
    few = tuple(known_strategies(profile, WITHOUT_PREMISE))
    faint = faces.model_copy(update={"data": data, "strategies": few})
    return strategies(profile.model_copy(update={"faces": faint}), seeds)


#: What is compared from another initialisation, the heart of Table 3.
FROM_ELSEWHERE = WITHOUT_PREMISE


@aim_experiment(NOTEBOOK)
def initialisations(profile: Profile, seeds: Sequence[int]) -> Plan:
    """`FROM_ELSEWHERE` from each other initialisation that the profile names; else empty."""
    few = tuple(known_strategies(profile, FROM_ELSEWHERE))
    plan: Plan = {}
    for start in profile.faces.also_from:
        faces = profile.faces.model_copy(update={"initialisation": start, "strategies": few})
        planned = strategies(profile.model_copy(update={"faces": faces}), seeds)
        plan |= {_from(start, key): configs for key, configs in planned.items()}
    return plan


def _from(start: str, strategy: str) -> str:
    return f"from {start}, {strategy}"


EVAL, DECAY = "mask, gradients in eval mode", "mask, frozen tensors decay"


def _statistics(strategy: str, how: Literal["move", "freeze"]) -> str:
    return f"{strategy}, statistics {how}"


@aim_experiment(NOTEBOOK)
def switches(profile: Profile, seeds: Sequence[int]) -> Plan:
    """1g.3 and 1g.4: frozen statistics, gradients in eval mode, weight decay on frozen tensors."""
    tuned = known_strategies(profile, COMPARED)
    if "mask" not in tuned:
        return {}
    bases = bases_of(profile, seeds)
    plain = [sensitivity(profile, base, mode="eval", augmented=False) for base in bases]
    plan: Plan = {}
    for name in ("linear probing", "fully fine-tuning", "mask"):
        if name not in tuned:
            continue
        plan[_statistics(name, "move")] = [tuning(profile, base, name) for base in bases]
        if name != "fully fine-tuning":  # where nothing is frozen, there is nothing to switch
            plan[_statistics(name, "freeze")] = [
                tuning(profile, base, name, statistics="freeze") for base in bases
            ]
    plan[EVAL] = [
        tuning(profile, base, "mask", measured=measured)
        for base, measured in zip(bases, plain, strict=True)
    ]
    plan[DECAY] = [tuning(profile, base, "mask", frozen="decayed") for base in bases]
    return plan


def _sft(
    second: str, metrics: Sequence[str], kind: Literal["better", "no worse"] = "better"
) -> Callable[[Profile], list[Contrast]]:
    rows = (TABLE_3["mask"], TABLE_3[second])
    return lambda profile: versus(profile, "mask", second, metrics, rows=rows, kind=kind)


CLAIMS = (
    fine_tuning_claim(
        "sft-vs-erm",
        "Table 3",
        lambda profile: (
            f"Selective fine-tuning (k = {profile.faces.k}) on balanced synthetic images makes the "
            "biased classifier fairer."
        ),
        NOTEBOOK,
        plans.strategies,
        _sft("erm", (EO,)),
        joined(premise, _sft("erm", (WST, STD, ACC))),
    ),
    fine_tuning_claim(
        "utility-kept",
        "Abstract",
        "Selective fine-tuning makes the biased classifier fairer and keeps its utility: its "
        "accuracy is no worse by a point.",
        NOTEBOOK,
        plans.strategies,
        joined(_sft("erm", (EO,)), _sft("erm", (ACC,), "no worse")),
        _sft("erm", (WST,)),
    ),
    fine_tuning_claim(
        "sft-vs-full",
        "Table 3",
        "Selective fine-tuning is fairer than fine-tuning all parameters.",
        NOTEBOOK,
        plans.strategies,
        _sft("fully fine-tuning", (EO,)),
        _sft("fully fine-tuning", (WST, STD)),
    ),
    fine_tuning_claim(
        "sft-accuracy",
        "Table 3",
        "Selective fine-tuning is more accurate than fine-tuning all parameters, and than training "
        "on the synthetic images alone.",
        NOTEBOOK,
        plans.strategies,
        joined(_sft("fully fine-tuning", (ACC,)), _sft("synthetic only", (ACC,))),
        # In the paper its accuracy is below that of these three, which is no claim of it.
        joined(*(_sft(key, (ACC,)) for key in ("linear probing", "supplementation", "repairing"))),
        metric=ACC,
    ),
    fine_tuning_claim(
        "sft-vs-linear-probing",
        "Table 3",
        "Selective fine-tuning is fairer than linear probing.",
        NOTEBOOK,
        plans.strategies,
        _sft("linear probing", (EO,)),
        _sft("linear probing", (WST, ACC)),
    ),
    fine_tuning_claim(
        "sft-vs-data",
        "Table 3",
        "Selective fine-tuning is fairer than training on the synthetic images alone, than adding "
        "them to the real set and than repairing it with them.",
        NOTEBOOK,
        plans.strategies,
        joined(*(_sft(key, (EO,)) for key in ("synthetic only", "supplementation", "repairing"))),
        joined(*(_sft(key, (WST,)) for key in ("synthetic only", "supplementation", "repairing"))),
    ),
)


def what_trains(profile: Profile) -> pd.DataFrame:
    """Return the rule of each strategy that the profile names."""
    named = [STRATEGIES[key] for key in COMPARED if key in profile.faces.strategies]
    return pd.DataFrame(
        [
            {
                "strategy": rule.words,
                "starts from": rule.start,
                "images": rule.data,
                "what trains": rule.meaning,
            }
            for rule in named
        ]
    )


def schedules(profile: Profile) -> list[str]:
    """Say how long and how fast pre-training and fine-tuning go."""
    faces = profile.faces
    return [
        f"Profile `{profile.name}`, {name}: SGD, rate {how.learning_rate:g}, {how.epochs} epochs, "
        f"batches of {how.batch_size}, kept epoch by {how.selection} on real validation images."
        for name, how in (("training", faces.pretrain), ("fine-tuning", faces.finetune))
    ]


def names(view: View) -> dict[str, str]:
    """Return what to call each strategy of a view, in the order of tables."""
    return {key: WORDS[key] for key in COMPARED if key in view.results}


def beside_paper(view: View) -> list[Figure | pd.DataFrame | View]:
    """Return figure and table of every strategy, beside what the paper reports."""
    return beside(view, METRICS, names(view), table_3(view))


def groups_figure(view: View) -> Figure:
    """Draw the accuracy of each group under every strategy."""
    return group_accuracy_figure(
        view.results, names(view), reported=table_3(view), title=view.label
    )


def seed_by_seed(view: View) -> list[str | pd.DataFrame]:
    """Return selective fine-tuning against every other strategy, seed by seed."""
    if "mask" not in view.results:
        return paired(view, [], "SFT is not among these runs.")
    others = {key: name for key, name in names(view).items() if key != "mask"}
    pairs = [(f"SFT − {name}", "mask", key) for key, name in others.items()]
    return paired(view, pairs, "nothing but SFT is among these runs.")


def as_printed(view: View) -> list[str | pd.DataFrame | Html]:
    """Return the paper's own arithmetic, and folded what each strategy was trained on."""
    trained = training_images(view.results, names(view))
    return [
        f"**{view.label}**, per cent",
        as_the_paper(view.results, names(view)),
        folded(show(trained), "images, tensors and parameters that train"),
    ]


def switch_by_switch(view: View) -> list[str | pd.DataFrame | View]:
    """Return what each of the three switches changes, seed by seed."""
    if not view.results:
        return [nothing_of(view, "fine-tuned model is")]
    pairs = [
        (f"{key}: statistics freeze − move", _statistics(key, "freeze"), _statistics(key, "move"))
        for key in ("linear probing", "mask")
    ]
    pairs += [
        ("mask: gradients eval − train", EVAL, _statistics("mask", "move")),
        ("mask: frozen decay − stay", DECAY, _statistics("mask", "move")),
    ]
    table = means(view.results, METRICS, {key: key for key in view.results})
    return [f"**{view.label}**", table, differences(view.results, METRICS, pairs), view]


def started_elsewhere(view: View) -> list[str | pd.DataFrame | View]:
    """Return the heart of Table 3 from each other initialisation, and each gain over its ERM."""
    starts = view.profile.faces.also_from
    keys = [
        (start, name, _from(start, name))
        for start in starts
        for name in FROM_ELSEWHERE
        if _from(start, name) in view.results
    ]
    called = {key: f"{WORDS[name]}, from {INITIALISATIONS[start]}" for start, name, key in keys}
    pairs = [
        (f"{called[key]} − ERM", key, _from(start, "erm"))
        for start, name, key in keys
        if name != "erm"
    ]
    return [
        f"**{view.label}**",
        means(view.results, METRICS, called),
        differences(view.results, METRICS, pairs),
        view,
    ]


#: What the beginning of a training is called.
INITIALISATIONS = {
    "scratch": "random weights",
    "imagenet": "ImageNet's weights",
    "fairface": "a backbone of FairFace's labels",
    "file": "weights of a file",
}


def premise_in_words() -> str:
    """Say why AIM-Fair fine-tunes on balanced synthetic images, with what it reports of them."""
    rows = TABLE_3["synthetic only"], TABLE_3["erm"]
    alone, erm = (aim_value("3", MAIN_TASK, row, EO) for row in rows)
    assert alone is not None  # the main task has both
    assert erm is not None
    return (
        "AIM-Fair fine-tunes on balanced synthetic images because a classifier trained on them "
        f"alone is fair: in the paper it has an EO of {100 * alone:.1f} on CelebA, where ERM has "
        f"{100 * erm:.1f}."
    )


def smiling_less(view: View) -> list[str | pd.DataFrame | View]:
    """Return whether the premise holds where real faces smile less, and every strategy there."""
    from repro.chapters.aim.biased_data import premise_in_words  # with torch, which no plan needs

    smile, usual = view.profile.faces.fainter_smile, view.profile.faces.data.toy_smile_strength
    return [
        f"**{view.label}**, smiles {smile:g} as visible before the camera in place of "
        f"{1 if usual is None else usual:g}; the synthetic ones smile as ever",
        *_against_erm(view),
        premise_in_words(view.results),
        view,
    ]


def further_apart(view: View) -> list[str | pd.DataFrame | View]:
    """Return every strategy, alone and against ERM, where the domains lie further apart."""
    gap, usual = view.profile.faces.wider_gap, view.profile.faces.data.toy_domain_gap
    return [
        f"**{view.label}**, domain gap {gap:g} in place of {1 if usual is None else usual:g}",
        *_against_erm(view),
        view,
    ]


def _against_erm(view: View) -> list[pd.DataFrame]:
    pairs = [(f"{name} − ERM", key, "erm") for key, name in names(view).items() if key != "erm"]
    return [means(view.results, METRICS, names(view)), differences(view.results, METRICS, pairs)]
