"""The pool of synthetic faces: its identity, its prompts, and that it is drawn once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from repro.aimfair.generators import Generator
from repro.aimfair.imagestore import read_set
from repro.aimfair.packedset import pack, unpack
from repro.aimfair.prompt_writer import VocabularyError
from repro.chapters.aim import data as aim_data
from repro.chapters.aim import prompt_diversity, synthetic
from repro.chapters.aim.plans import with_faces
from repro.data.splits import GROUPS
from repro.settings import FaceData, SettingsError, SyntheticFaces
from repro.study.profiles import load_profile, project_root, synthetic_of

DATA = FaceData(name="toyfaces", size=32, total=160)
ASKED = SyntheticFaces(
    source="generator",
    generator="toyfaces",
    prompts="contextual with head poses",
    prompts_per_group=4,
    steps=1,
    guidance=1.0,
    total=40,
    pool=20,
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REPRO_CACHE", str(tmp_path))
    synthetic._pool.cache_clear()
    return tmp_path


def changed(**values: Any) -> SyntheticFaces:
    return SyntheticFaces.model_validate(ASKED.model_dump() | values)


@pytest.mark.parametrize(
    "values",
    [
        {"steps": 2},
        {"guidance": 2.0},
        {"seed": 43},
        {"pool": 21},
        {"prompts_per_group": 5},
        {"prompts": "contextual"},
        {"scheduler": "ddim"},
    ],
)
def test_what_changes_an_image_changes_the_digest(values: dict[str, Any]) -> None:
    plain = synthetic.request_digest(DATA, ASKED)
    assert synthetic.request_digest(DATA, changed(**values)) != plain


@pytest.mark.parametrize("values", [{"total": 60}, {"bias_ratio": 0.5}, {"amount": 2.0}])
def test_what_is_drawn_from_a_pool_does_not_change_it(values: dict[str, Any]) -> None:
    assert synthetic.declared(DATA, changed(**values)) == synthetic.declared(DATA, ASKED)


def test_the_digest_is_of_the_task_and_the_size_and_not_of_the_real_images() -> None:
    plain = synthetic.request_digest(DATA, ASKED)
    for values in ({"total": 400}, {"fraction": 0.5}, {"toy_seed": 3}):
        assert synthetic.request_digest(DATA.model_copy(update=values), ASKED) == plain
    for values in ({"size": 64}, {"target": "Male", "protected": "Smiling"}):
        assert synthetic.request_digest(DATA.model_copy(update=values), ASKED) != plain


@pytest.mark.slow
def test_a_pool_is_drawn_once_and_both_sets_come_from_it(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = aim_data.synthetic_faces(DATA, ASKED, seed=0)
    assert sets.sha256 == synthetic.declared(DATA, ASKED)
    assert aim_data.group_counts(sets.pool).tolist() == [[20, 20], [20, 20]]
    assert aim_data.group_counts(sets.balanced).tolist() == [[10, 10], [10, 10]]
    assert aim_data.group_counts(sets.biased).tolist() == [[2, 18], [18, 2]]
    assert sets.pool.images.shape[1:] == (3, 32, 32)
    manifest = synthetic.manifest(DATA, ASKED)
    assert len(manifest) == 80
    assert manifest["prompt"].nunique() == 16
    assert "female" in manifest["prompt"].iloc[0]

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("drawn again")

    synthetic._pool.cache_clear()
    monkeypatch.setattr("repro.aimfair.generators.Generator.draw", refuse)
    again = aim_data.synthetic_faces(DATA, ASKED, seed=0)
    assert np.array_equal(again.balanced.names, sets.balanced.names)
    assert (again.pool.images == sets.pool.images).all()


@pytest.mark.slow
def test_a_pool_that_ships_is_not_drawn_and_a_part_of_it_is_drawn_again(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    images = synthetic.pool(DATA, ASKED)
    folder, shipped = synthetic.pool_folder(DATA, ASKED), tmp_path / "shipped"
    profile = with_faces(load_profile("smoke"), data=DATA, synthetic=ASKED)
    assert synthetic.is_there(profile)
    pack(folder, shipped / folder.name)
    shutil.rmtree(folder)
    assert not synthetic.is_there(profile)
    synthetic._pool.cache_clear()
    monkeypatch.setattr(synthetic, "shipped_folder", lambda *_: shipped / folder.name)
    assert synthetic.is_there(profile)
    with monkeypatch.context() as patch:
        patch.setattr("repro.aimfair.generators.load", None)  # what would draw
        assert (synthetic.pool(DATA, ASKED).images == images.images).all()
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # an image is the same on two threads
    used, before = [], torch.get_num_threads()
    draw = Generator.draw
    with monkeypatch.context() as patch:
        patch.setattr(
            Generator, "draw", lambda *a: used.append(torch.get_num_threads()) or draw(*a)
        )
        again = synthetic.drawn_again(DATA, ASKED, 3)
    assert set(used) == {2}
    assert torch.get_num_threads() == before
    assert again["name"].tolist() == [f"{t}_{p}/00000{i}" for t, p in GROUPS for i in range(3)]
    assert again["identical"].all()
    # One image of the pool is another one: two grey levels in each of 3 x 32 x 32 values.
    at = images.attributes.index.get_loc("1_0/000002")
    images.images[at] = (images.images[at].int() + 2).clamp(max=255).to(images.images.dtype)
    monkeypatch.setattr(synthetic, "pool", lambda *_: images)
    (other,) = synthetic.drawn_again(DATA, ASKED, 3).query("not identical").to_dict("records")
    assert (other["name"], other["largest"]) == ("1_0/000002", 2)
    assert 0 < other["mean"] <= 2


def test_a_larger_amount_holds_the_smaller_one(monkeypatch: pytest.MonkeyPatch) -> None:
    studio = SyntheticFaces(total=80, pool=60)
    names = {
        amount: set(
            aim_data.synthetic_faces(
                DATA, studio.model_copy(update={"amount": amount}), seed=1
            ).balanced.names
        )
        for amount in (0.5, 1.0, 2.0)
    }
    assert [len(found) for found in names.values()] == [40, 80, 160]
    assert names[0.5] < names[1.0] < names[2.0]


def test_prompts_are_in_the_words_that_the_generator_knows() -> None:
    assert synthetic.vocabulary_of(ASKED) == "toyfaces"
    assert synthetic.vocabulary_of(None) == "stable-diffusion"
    bank = synthetic.bank_of(DATA, ASKED)
    assert {group: len(prompts) for group, prompts in bank.prompts.items()} == dict.fromkeys(
        ((0, 0), (0, 1), (1, 0), (1, 1)), 4
    )


def lists(folder: Path, extra: str = "") -> Path:
    """Write prompts in the authors' layout, two for each group."""
    folder.mkdir(exist_ok=True)
    names = [f"{a}_{b}" for a in ("NoSmiling", "Smiling") for b in ("Female", "Male")]
    text = "\n".join(f"list_{name} = ['{name} a{extra}', '{name} b']" for name in names)
    (folder / "Text_Smiling_Male.py").write_text(text)
    return folder


def test_given_prompts_are_in_the_digest_and_where_they_lie_is_not(tmp_path: Path) -> None:
    first, again = lists(tmp_path / "first"), lists(tmp_path / "again")
    other = lists(tmp_path / "other", extra=", and more")
    written = synthetic.request_digest(DATA, ASKED)
    digests = [
        synthetic.request_digest(DATA, changed(prompts_file=str(path)))
        for path in (first, again, other)
    ]
    assert digests[0] == digests[1]
    assert len({written, *digests}) == 3
    bank = synthetic.bank_of(DATA, changed(prompts_file=str(first)))
    assert bank.prompts[0, 1] == ("NoSmiling_Male a", "NoSmiling_Male b")  # all: 4 were asked for
    one = synthetic.bank_of(DATA, changed(prompts_file=str(first), prompts_per_group=1))
    assert one.prompts[1, 1] == ("Smiling_Male a",)


def test_a_path_to_prompts_is_in_no_settings_that_are_recorded() -> None:
    given = changed(prompts_file="somewhere")
    assert given.model_dump_json() == ASKED.model_dump_json()
    with pytest.raises(ValueError, match="give one"):
        changed(prompts_file="somewhere", writer="a model")
    with pytest.raises(ValueError, match="set a generator"):
        SyntheticFaces(prompts_file="somewhere")


@pytest.mark.slow
def test_images_are_drawn_from_given_prompts(tmp_path: Path) -> None:
    given = changed(prompts_file=str(lists(tmp_path / "lists")), pool=10)
    aim_data.synthetic_faces(DATA, given, seed=0)
    drawn = set(synthetic.manifest(DATA, given)["prompt"])
    assert len(drawn) == 8
    assert "NoSmiling_Male a" in drawn


def test_a_model_is_asked_anew_for_another_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = []

    def record(*_: Any, path: Path, **__: Any) -> None:
        paths.append(path)

    monkeypatch.setattr(synthetic, "prompt_bank", record)
    synthetic._bank.cache_clear()
    for seed in (42, 43, 44):
        synthetic.bank_of(DATA, changed(writer="a model", seed=seed))
    synthetic._bank.cache_clear()
    assert len(set(paths)) == 3


def test_more_prompts_than_there_are_words_for_is_an_error() -> None:
    with pytest.raises(VocabularyError, match="distinct"):
        synthetic.bank_of(DATA, changed(prompts_per_group=1000))


@pytest.mark.parametrize("name", ["toyface", "someone/model", "/nowhere/at/all"])
def test_a_generator_that_is_not_there_says_how_one_is_made(name: str) -> None:
    with pytest.raises(SettingsError, match="29_train_a_generator"):
        synthetic.request_digest(DATA, changed(generator=name))


def test_the_papers_generator_is_drawn_from_as_released() -> None:
    paper = changed(
        generator="owner/stable-diffusion", revision="abc", steps=None, guidance=None,
        prompts_per_group=50,
    )  # fmt: skip
    how = synthetic.generation_settings(DATA.model_copy(update={"size": 224}), paper)
    assert (how.scheduler, how.steps, how.guidance, how.eta) == ("ddim", 50, 9.0, 0.0)
    assert (how.size, how.resize, how.precision) == (512, 224, "float32")
    fast = synthetic.generation_settings(DATA, paper.model_copy(update={"scheduler": "dpm++"}))
    assert (fast.scheduler, fast.steps) == ("dpm++", 20)


def test_our_own_generator_is_drawn_from_as_shipped() -> None:
    shipped = synthetic.about("toyfaces")
    how = synthetic.generation_settings(DATA, changed(steps=None, guidance=None))
    assert (how.steps, how.guidance) == (shipped["steps"], shipped["guidance"])
    assert how.scheduler == "as shipped"
    assert Path(how.pipeline) == project_root() / "models" / "toyfaces"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source": "studio"}, "studio"),
        ({"generator": None}, "needs"),
        ({"prompts": "plain"}, "one plain prompt"),
    ],
)
def test_settings_that_mean_nothing_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        changed(**values)


def test_the_pools_that_quick_reads_ship(tmp_path: Path) -> None:
    quick = load_profile("quick")
    asked = [synthetic_of(quick), *prompt_diversity.prompt_sets(quick, *quick.seeds).values()]
    folders = [synthetic.shipped_folder(quick.faces.data, one) for one in asked]
    there = (project_root() / synthetic.POOLS).iterdir()
    assert sorted(folders) == sorted(path for path in there if path.is_dir())
    for one, folder in zip(asked, folders, strict=True):
        unpack(folder, tmp_path / folder.name)
        _, table, images = read_set(tmp_path / folder.name)  # compares pixels with digests
        assert len(images) == len(table) == 4 * one.pool
        assert sum(path.stat().st_size for path in folder.iterdir()) < 10_000_000
