"""AIM-Fair's plans: whole or not there, by profile, and each run planned once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from repro.aimfair.strategies import CONTROLS
from repro.chapters.aim import (
    layer_freezing,
    less_real_data,
    prompt_diversity,
    selection_rules,
    selective_finetuning,
    selective_mask,
    top_k,
)
from repro.chapters.aim import plans as aim_plans
from repro.chapters.aim.configs import FaceTraining, FaceTuning
from repro.chapters.aim.plans import with_faces
from repro.names import UnknownNameError
from repro.settings import SettingsError
from repro.study.experiments import Plan, of_part, with_upstream
from repro.study.profiles import Profile, load_profile

NO_FACES = {"faces.synthetic": None}
EXPERIMENTS = {plan.__name__: plan for plan in of_part("aim-fair")}
each_plan = pytest.mark.parametrize("plan", EXPERIMENTS.values(), ids=EXPERIMENTS)


@pytest.fixture(scope="module")
def toy() -> Profile:
    return load_profile("quick", {"faces.wider_gap": 1.5, "faces.fainter_smile": 0.5})


# A run


def test_upstream_runs_enter_by_their_identity(toy: Profile) -> None:
    base = aim_plans.training(toy, 3)
    tuned = aim_plans.tuning(toy, base, "mask")
    assert tuned.upstream() == {"pretrained": base, "sensitivity": tuned.sensitivity}
    # Runs from before there was a choice keep their names.
    assert "frozen" not in tuned.describe()
    decayed = tuned.model_copy(update={"frozen": "decayed"})
    assert decayed.describe() == tuned.describe() | {"frozen": "decayed"}
    with pytest.raises(ValueError, match="no frozen tensor that could decay"):
        aim_plans.tuning(toy, base, "fully fine-tuning", frozen="decayed")


#: On other data than the usual ones, whose labels their runs bear.
OTHER_DATA = ("less_real_data", "wider_gap", "fainter_smile", "readers", "prompt_diversity",
              "synthetic_amount", "s1_bias", "s1_masks")  # fmt: skip


def test_labels_tell_runs_apart(toy: Profile) -> None:
    plans = [plan(toy, [0]) for name, plan in EXPERIMENTS.items() if name not in OTHER_DATA]
    runs = {c.identity: c for plan in plans for configs in plan.values() for c in configs}
    assert len({config.label for config in runs.values()}) == len(runs)
    (half,) = less_real_data.less_real_data(toy, [0])["50 %, erm"]
    assert half.label == "train erm on toyfaces Smiling|Male 50%, seed 0"
    random = aim_plans.tuning(toy, aim_plans.training(toy, 7), "random", draw=0)
    assert random.label == "fine-tune random k 55 draw 0, seed 7"


def test_readers_are_trained_on_balanced_real_images_of_either_attribute(toy: Profile) -> None:
    plan = aim_plans.readers(toy, [5, 6])
    (target,), (protected,) = plan["target"], plan["protected"]
    assert isinstance(target, FaceTraining)
    assert isinstance(protected, FaceTraining)
    assert (target.data.target, target.data.protected) == ("Smiling", "Male")
    assert (protected.data.target, protected.data.protected) == ("Male", "Smiling")
    assert target.strategy == protected.strategy == "balanced real"
    assert target.seed == protected.seed == 5
    # The first is one of the three properties of chapter 20.
    assert target == aim_plans.properties(toy, [5])["balanced real"][0]


def test_an_unknown_strategy_names_the_nearest(toy: Profile) -> None:
    with pytest.raises(UnknownNameError, match="unknown strategy 'reparing'; did you mean 'repair"):
        aim_plans.training(toy, 0, strategy="reparing")


# Plans

Planned = Callable[[Profile, Sequence[int]], Plan]


@each_plan
def test_a_plan_has_every_seed_once(toy: Profile, plan: Planned) -> None:
    task = toy.faces.data.model_copy(update={"protected": "Young"})
    every = with_faces(toy, controls=CONTROLS, also_from=("scratch",), also_tasks=(task,))
    planned = plan(every, [5, 3])
    assert planned
    for key, configs in planned.items():
        seeds = [config.seed for config in configs]
        assert seeds == ([5] if plan.__name__ == "readers" else [5, 3]), key
        for config in configs:
            assert {above.seed for above in with_upstream(config)} <= {config.seed}


@each_plan
def test_without_synthetic_faces_a_plan_is_what_real_ones_allow(plan: Planned) -> None:
    chosen = load_profile("desk", NO_FACES)
    planned = plan(chosen, [100])
    assert all(isinstance(c, FaceTraining) and c.synthetic is None for (c,) in planned.values())
    # "balanced real" is of the control on embedded faces, of which a reader is one.
    assert {key.split(", ")[-1] for key in planned} <= {"erm", "target", "protected"}


def test_what_real_faces_allow_is_there() -> None:
    chosen = load_profile("desk", NO_FACES)
    for plan in (aim_plans.strategies, layer_freezing.layer_freezing, top_k.top_k):
        assert list(plan(chosen, [100])) == ["erm"]
    less = [f"{100 * fraction:g} %, erm" for fraction in chosen.faces.fractions]
    assert list(less_real_data.less_real_data(chosen, [100])) == less


def test_what_needs_synthetic_faces_says_so_where_there_are_none() -> None:
    chosen = load_profile("desk", NO_FACES)
    base = aim_plans.training(chosen, 100)
    message = r"profile 'desk' has no synthetic faces.*-p overrides '\{\"faces\.synthetic\""
    for strategy in ("mask", "fully fine-tuning", "linear probing", "random"):
        with pytest.raises(SettingsError, match=message):
            aim_plans.tuning(chosen, base, strategy)
    with pytest.raises(SettingsError, match=message):
        aim_plans.sensitivity(chosen, base)
    for strategy in ("synthetic only", "supplementation", "repairing"):
        with pytest.raises(SettingsError, match=message):
            aim_plans.training(chosen, 100, strategy=strategy)


@each_plan
def test_a_profile_may_list_what_it_runs_with_synthetic_faces(toy: Profile, plan: Planned) -> None:
    listed = with_faces(toy, experiments=("top_k",))
    # What top_k runs, other experiments have too, and the measurement that its masks rest on.
    runs = [config for (config,) in top_k.top_k(toy, [3]).values()]
    own = {run.identity for config in runs for run in (config, *with_upstream(config))}
    whole, alone = plan(toy, [3]), plan(load_profile("quick", NO_FACES), [3])
    expected = {
        key: configs for key, configs in whole.items()
        if key in alone or configs[0].identity in own
    }  # fmt: skip
    assert plan(listed, [3]) == expected


@each_plan
def test_what_is_listed_alone_is_planned_whole(toy: Profile, plan: Planned) -> None:
    # Some are made of others, which need not be listed for it.
    alone = with_faces(toy, experiments=(plan.__name__,))
    assert plan(alone, [3]) == plan(toy, [3])


def test_repairing_has_images_enough() -> None:
    # 20,000 at 1:9 are 1,000 / 9,000 / 9,000 / 1,000 (METHODS, 1b), so 8,000 are needed of a group.
    few = load_profile("desk", {"faces.synthetic.pool": 1800})
    assert aim_plans.training(few, 1, strategy="repairing").synthetic.pool == 8000
    assert aim_plans.training(few, 1, strategy="supplementation").synthetic.pool == 1800
    many = load_profile("desk", {"faces.synthetic.pool": 10_500})
    assert aim_plans.training(many, 1, strategy="repairing").synthetic.pool == 10_500


def test_properties_alone_are_a_profile(toy: Profile) -> None:
    alone = load_profile("quick", {"faces.experiments": ["properties"]})
    assert aim_plans.pretraining(alone, [3]) == aim_plans.pretraining(toy, [3])
    assert list(aim_plans.strategies(alone, [3])) == ["erm", "synthetic only"]


def test_what_a_generator_cannot_give_is_not_planned_where_it_is_not_listed() -> None:
    desk = load_profile("desk", {"faces.experiments": ["strategies"]})
    assert desk.faces.synthetic.generator == "faces_ages"  # knows no head pose, as Table 5 asks for
    assert prompt_diversity.prompt_diversity(desk, [100]) == {}
    assert layer_freezing.layer_freezing(desk, [100]).keys() == {"erm", "fully fine-tuning"}


@pytest.mark.parametrize("value", [["topk"], {"topk": [1]}])
def test_an_experiment_that_is_none_cannot_be_listed(value: object) -> None:
    setting = "experiments" if isinstance(value, list) else "seeds_left_out"
    with pytest.raises(ValueError, match="unknown experiment 'topk'; did you mean 'top_k'"):
        load_profile("quick", {f"faces.{setting}": value})


@each_plan
def test_an_experiment_may_leave_seeds_out(toy: Profile, plan: Planned) -> None:
    fewer = with_faces(toy, seeds_left_out={plan.__name__: (4, 6), "properties": (5,)})
    seeds = [5, 7] if plan.__name__ != "properties" else [4, 6, 7]
    assert plan(fewer, [4, 5, 6, 7]) == plan(toy, seeds)
    assert plan(fewer, [5] if plan.__name__ == "properties" else [4, 6]) == {}


def test_a_profile_runs_the_strategies_that_it_names(toy: Profile) -> None:
    few = with_faces(toy, strategies=("mask", "erm"))
    assert list(aim_plans.strategies(few, [0])) == ["erm", "mask"]  # in the order of Table 3
    assert list(aim_plans.pretraining(few, [0])) == ["erm"]
    assert list(less_real_data.less_real_data(few, [0]))[:2] == ["100 %, erm", "100 %, mask"]
    assert selective_finetuning.switches(with_faces(toy, strategies=("erm",)), [0]) == {}


def test_the_wider_gap_is_table_3_at_another_domain_gap(toy: Profile) -> None:
    plain, wide = aim_plans.strategies(toy, [0]), selective_finetuning.wider_gap(toy, [0])
    assert list(wide) == list(plain)
    for key, (config,) in wide.items():
        data = config.pretrained.data if isinstance(config, FaceTuning) else config.data
        other = {"toy_domain_gap": toy.faces.wider_gap, "toy_seed": 0}  # that of the run
        assert data == toy.faces.data.model_copy(update=other)
        assert config.identity != plain[key][0].identity
    assert selective_finetuning.wider_gap(with_faces(toy, wider_gap=None), [0]) == {}


def test_other_beginnings_are_the_heart_of_table_3_started_elsewhere(toy: Profile) -> None:
    assert selective_finetuning.initialisations(toy, [0]) == {}
    planned = selective_finetuning.initialisations(
        with_faces(toy, also_from=("imagenet", "scratch"), width=64), [0]
    )
    heart = ("erm", "synthetic only", "fully fine-tuning", "mask")
    assert list(planned) == [
        *(f"from imagenet, {name}" for name in heart),
        *(f"from scratch, {name}" for name in heart),
    ]
    same = aim_plans.strategies(with_faces(toy, width=64), [0])
    for name in heart:
        assert planned[f"from scratch, {name}"] == same[name]
        (other,) = planned[f"from imagenet, {name}"]
        base = other if isinstance(other, FaceTraining) else other.upstream()["pretrained"]
        assert isinstance(base, FaceTraining)
        assert base.initialisation == "imagenet"


def test_fainter_smiles_are_of_real_faces_alone(toy: Profile) -> None:
    plain, faint = aim_plans.strategies(toy, [0]), selective_finetuning.fainter_smile(toy, [0])
    assert list(faint) == ["erm", "synthetic only", "fully fine-tuning", "mask"]
    for key, (config,) in faint.items():
        base = config.pretrained if isinstance(config, FaceTuning) else config
        assert base.data == toy.faces.data.model_copy(
            update={"toy_smile_strength": 0.5, "toy_seed": 0}
        )
        assert config.synthetic == plain[key][0].synthetic
    without = with_faces(toy, fainter_smile=None)
    assert selective_finetuning.fainter_smile(without, [0]) == {}


def test_settings_that_are_the_same_run_are_one_run(toy: Profile) -> None:
    table_3, rules = aim_plans.strategies(toy, [0]), selection_rules.selection_rules(toy, [0])
    switches, sweep = selective_finetuning.switches(toy, [0]), top_k.top_k(toy, [0])
    freezing = layer_freezing.layer_freezing(toy, [0])
    less = less_real_data.less_real_data(toy, [0])
    assert rules["update fc"] == table_3["linear probing"]
    assert rules["mask"] == table_3["mask"] == sweep["k 55"] == less["100 %, mask"]
    assert switches["mask, statistics move"] == table_3["mask"]
    assert rules["freeze fc"] == freezing["freeze fc"]
    assert rules["erm"] == table_3["erm"] == less["100 %, erm"]
    assert top_k.masks(toy, [0])["train, augmented"] == [
        config.upstream()["sensitivity"] for config in table_3["mask"]
    ]
    in_eval = switches["mask, gradients in eval mode"][0].upstream()["sensitivity"]
    assert [in_eval] == selective_mask.sensitivities(toy, [0])["eval, plain"]
