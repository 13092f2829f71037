"""Chapter 25: fine-tuning of the masked tensors, against every other strategy (Table 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

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
    aim_claim,
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
    tunings,
    with_faces,
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
from repro.study.session import Part, View
from repro.study.tables import differences, folded, means, show

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
    return strategies(with_faces(profile, data=data, synthetic=studio), seeds)


#: The heart of Table 3, compared where the premise fails and from another initialisation: ERM,
#: synthetic images alone, and fine-tuning on them.
HEART = ("erm", "synthetic only", "fully fine-tuning", "mask")


@aim_experiment(NOTEBOOK)
def fainter_smile(profile: Profile, seeds: Sequence[int]) -> Plan:
    """`HEART` of Table 3 on embedded faces that smile less than the synthetic ones; else empty."""
    faces = profile.faces
    if faces.fainter_smile is None or faces.data.name != "toyfaces" or faces.synthetic is None:
        return {}
    data = faces.data.model_copy(update={"toy_smile_strength": faces.fainter_smile})
    few = tuple(known_strategies(profile, HEART))
    return strategies(with_faces(profile, data=data, strategies=few), seeds)


@aim_experiment(NOTEBOOK)
def initialisations(profile: Profile, seeds: Sequence[int]) -> Plan:
    """`HEART` of Table 3 from each other initialisation that the profile names; else empty."""
    few = tuple(known_strategies(profile, HEART))
    return {
        _from(start, key): configs
        for start in profile.faces.also_from
        for key, configs in strategies(
            with_faces(profile, initialisation=start, strategies=few), seeds
        ).items()
    }


def _from(start: str, strategy: str) -> str:
    return f"from {start}, {strategy}"


EVAL, DECAY = "mask, gradients in eval mode", "mask, frozen tensors decay"


def _statistics(strategy: str, how: str) -> str:
    return f"{strategy}, statistics {how}"


@aim_experiment(NOTEBOOK)
def switches(profile: Profile, seeds: Sequence[int]) -> Plan:
    """1g.3 and 1g.4: frozen statistics, gradients in eval mode, weight decay on frozen tensors."""
    tuned = known_strategies(profile, COMPARED)
    if "mask" not in tuned:
        return {}
    bases = bases_of(profile, seeds)
    plain = [sensitivity(profile, base, mode="eval", augmented=False) for base in bases]
    plan = tunings(
        profile,
        bases,
        {
            _statistics(name, how): {"strategy": name, "statistics": how}
            for name in ("linear probing", "fully fine-tuning", "mask")
            for how in ("move", "freeze")
            # Where nothing is frozen, there is nothing to switch.
            if name in tuned and (name, how) != ("fully fine-tuning", "freeze")
        },
    )
    plan[EVAL] = [
        tuning(profile, base, "mask", measured=measured)
        for base, measured in zip(bases, plain, strict=True)
    ]
    return plan | tunings(profile, bases, {DECAY: {"strategy": "mask", "frozen": "decayed"}})


def _sft(
    metrics: Sequence[str], *seconds: str, kind: Literal["better", "no worse"] = "better"
) -> Callable[[Profile], list[Contrast]]:
    """Return SFT against each of these strategies."""
    rows = {key: (TABLE_3["mask"], TABLE_3[key]) for key in seconds}
    return lambda profile: [
        contrast
        for key in seconds
        for contrast in versus(profile, "mask", key, metrics, rows=rows[key], kind=kind)
    ]


_claim = partial(aim_claim, notebook=NOTEBOOK, plan=plans.strategies)
CLAIMS = (
    _claim(
        "sft-vs-erm",
        "Table 3",
        lambda profile: (
            f"Selective fine-tuning (k = {profile.faces.k}) on balanced synthetic images makes the "
            "biased classifier fairer."
        ),
        contrasts=_sft((EO,), "erm"),
        beside=joined(premise, _sft((WST, STD, ACC), "erm")),
    ),
    _claim(
        "utility-kept",
        "Abstract",
        "Selective fine-tuning makes the biased classifier fairer and keeps its utility: its "
        "accuracy is no worse by a point.",
        contrasts=joined(_sft((EO,), "erm"), _sft((ACC,), "erm", kind="no worse")),
        beside=_sft((WST,), "erm"),
    ),
    _claim(
        "sft-vs-full",
        "Table 3",
        "Selective fine-tuning is fairer than fine-tuning all parameters.",
        contrasts=_sft((EO,), "fully fine-tuning"),
        beside=_sft((WST, STD), "fully fine-tuning"),
    ),
    _claim(
        "sft-accuracy",
        "Table 3",
        "Selective fine-tuning is more accurate than fine-tuning all parameters, and than training "
        "on the synthetic images alone.",
        contrasts=_sft((ACC,), "fully fine-tuning", "synthetic only"),
        # In the paper its accuracy is below that of these three, which is no claim of it.
        beside=_sft((ACC,), "linear probing", "supplementation", "repairing"),
        metric=ACC,
    ),
    _claim(
        "sft-vs-linear-probing",
        "Table 3",
        "Selective fine-tuning is fairer than linear probing.",
        contrasts=_sft((EO,), "linear probing"),
        beside=_sft((WST, ACC), "linear probing"),
    ),
    _claim(
        "sft-vs-data",
        "Table 3",
        "Selective fine-tuning is fairer than training on the synthetic images alone, than adding "
        "them to the real set and than repairing it with them.",
        contrasts=_sft((EO,), "synthetic only", "supplementation", "repairing"),
        beside=_sft((WST,), "synthetic only", "supplementation", "repairing"),
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


#: What to call each strategy, in the order of tables.
NAMES = {key: WORDS[key] for key in COMPARED}


def beside_paper(view: View) -> list[Part]:
    """Return figure and table of every strategy, beside what the paper reports."""
    return beside(view, METRICS, NAMES, table_3(view))


def groups_figure(view: View) -> Figure:
    """Draw the accuracy of each group under every strategy."""
    return group_accuracy_figure(view.results, NAMES, reported=table_3(view), title=view.label)


def seed_by_seed(view: View) -> list[Part]:
    """Return selective fine-tuning against every other strategy, seed by seed."""
    if "mask" not in view.results:
        return paired(view, [], "SFT is not among these runs.")
    others = [key for key in COMPARED if key in view.results and key != "mask"]
    pairs = [(f"SFT − {WORDS[key]}", "mask", key) for key in others]
    return paired(view, pairs, "nothing but SFT is among these runs.")


def as_printed(view: View) -> list[Part]:
    """Return the paper's own arithmetic, and folded what each strategy was trained on."""
    trained = training_images(view.results, NAMES)
    return [
        f"**{view.label}**, per cent",
        as_the_paper(view.results, NAMES),
        folded(show(trained), "images, tensors and parameters that train"),
    ]


def switch_by_switch(view: View) -> list[Part]:
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


def started_elsewhere(view: View) -> list[Part]:
    """Return the heart of Table 3 from each other initialisation, and each gain over its ERM."""
    starts = view.profile.faces.also_from
    keys = [
        (start, name, _from(start, name))
        for start in starts
        for name in HEART
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


def smiling_less(view: View) -> list[Part]:
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


def further_apart(view: View) -> list[Part]:
    """Return every strategy, alone and against ERM, where the domains lie further apart."""
    gap, usual = view.profile.faces.wider_gap, view.profile.faces.data.toy_domain_gap
    return [
        f"**{view.label}**, domain gap {gap:g} in place of {1 if usual is None else usual:g}",
        *_against_erm(view),
        view,
    ]


def _against_erm(view: View) -> list[pd.DataFrame]:
    pairs = [(f"{name} − ERM", key, "erm") for key, name in NAMES.items() if key != "erm"]
    return [means(view.results, METRICS, NAMES), differences(view.results, METRICS, pairs)]
