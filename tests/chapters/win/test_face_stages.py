"""WIN on faces: which images, which head, which start, and what a record holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.conftest import MakeRecord
from torch import nn

from repro.chapters.aim.data import image_set
from repro.chapters.aim.stages import trained_model
from repro.chapters.win import face_data as winface_data
from repro.chapters.win import face_plans as winface_plans
from repro.chapters.win import face_stages as winface_stages
from repro.chapters.win import heads, neutralising, plans, rank_sweep, win_on_faces
from repro.chapters.win.configs import Finetune
from repro.chapters.win.face_configs import FaceHead, FaceHeadTuning
from repro.data import augment, faceset, lfwa
from repro.data.registry import FACE_SETS
from repro.data.sources import data_root
from repro.metrics import confusion_counts, flatten_metrics, metrics_from_counts
from repro.models import last_linear
from repro.settings import SettingsError
from repro.study.experiments import Plan
from repro.study.profiles import Profile, load_profile
from repro.study.records import Results
from repro.study.runs import WEIGHTS, Record, Runs
from repro.study.session import Study
from repro.study.stages import obtain
from repro.training import Examples, predict
from repro.win.fisher import group_importance, neutralise
from repro.win.lowrank import LowRankLinear, plain_svd, weighted_svd
from repro.win.multilabel import multilabel_importance


@dataclass(frozen=True)
class Faces:
    """Every run of WIN on faces of profile ``tiny``, on two of its seeds."""

    profile: Profile
    runs: Runs
    strategies: Results
    ranks: Results
    controls: Results
    plan: Plan

    def base(self, head: str = "target") -> FaceHead:
        """Return the pre-trained head of the first seed."""
        config = self.plan["pre-trained" if head == "target" else "labels"][0]
        assert isinstance(config, FaceHead)
        return config


@pytest.fixture(scope="module")
def faces(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Faces:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRO_ROOT", str(tiny_root))
        profile = load_profile("tiny")
    study = Study(profile, runs=Runs(tmp_path_factory.mktemp("faces")), paper="win-faces")
    seeds = profile.seeds[:2]
    plan = winface_plans.strategies(profile, seeds)
    ranks = rank_sweep.ranks(profile, seeds)
    return Faces(
        profile,
        study.runs,
        study.compute(plan),
        study.compute(ranks),
        study.compute(neutralising.controls(profile, seeds)),
        plan | {"labels": ranks["pre-trained"]},
    )


def head_of(record: Record) -> nn.Module:
    """Return the head that a record stores."""
    stored = load_file(record.file(WEIGHTS))
    if "A" in stored:
        return LowRankLinear(stored["A"], stored["B"], stored["bias"])
    head = nn.Linear(stored["weight"].shape[1], stored["weight"].shape[0])
    head.load_state_dict(stored)
    return head


def test_every_run_verifies(faces: Faces) -> None:
    for results in (faces.strategies, faces.ranks, faces.controls):
        assert results
        for records in results.values():
            assert len(records) == 2  # one for each seed
            for record in records:
                record.verify()  # raises where a file or a count is not what the record says
                assert record.folder is not None  # else only the text would have been looked at


def test_every_seed_shares_the_backbone_that_aim_fair_has(faces: Faces) -> None:
    above = {r.body["upstream"]["backbone"] for r in faces.strategies["pre-trained"]}
    assert above == {winface_plans.backbone(faces.profile).identity}


def test_the_split_keeps_the_partition_and_the_bias(faces: Faces) -> None:
    images = image_set(faces.base().backbone.data)
    t, p = images.attribute("Smiling"), images.attribute("Male")
    drawn = []
    for seed in (0, 1):
        rows = winface_data.split_rows(images, "Smiling", "Male", bias_ratio=0.5, seed=seed)
        drawn.append(rows)
        whole = np.concatenate(list(rows.values()))
        assert len(set(whole.tolist())) == len(whole)
        for part, at in rows.items():
            of = {"pretrain": "train", "task_te": "test"}.get(
                "pretrain" if part.startswith("pretrain") else part[:7], "validation"
            )
            assert set(images.part[at]) == {of}
        for parts in (("pretrain_train", "pretrain_validation"), ("task_train", "task_validation")):
            at = np.concatenate([rows[part] for part in parts])
            sizes = [int(((t[at] == i) & (p[at] == j)).sum()) for i in (0, 1) for j in (0, 1)]
            assert sizes[0] == sizes[3]
            assert abs(sizes[1] - sizes[2]) <= 1
            assert sizes[0] == pytest.approx(sizes[1] / 2, abs=1)
    assert np.array_equal(drawn[0]["task_test"], drawn[1]["task_test"])
    assert not np.array_equal(drawn[0]["task_train"], drawn[1]["task_train"])


def test_without_a_ratio_every_image_is_used(faces: Faces) -> None:
    images = image_set(faces.base().backbone.data)
    rows = winface_data.split_rows(images, "Smiling", "Male", bias_ratio=None, seed=0)
    assert sorted(np.concatenate(list(rows.values()))) == list(range(len(images)))


def test_lfw_a_keeps_everybody_in_one_of_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    if not all((data_root() / "lfwa" / name).is_file() for name in lfwa.declared("reduced")):
        pytest.skip("needs REPRO_DATA with the reduced edition of lfwa (see README)")
    one = torch.zeros(1, 3, 1, 1, dtype=torch.uint8)
    monkeypatch.setattr(
        faceset, "load_images", lambda *given, **_: one.expand(len(given[2]), 3, 6, 6)
    )
    images = lfwa.load(None)
    assert len(images.attributes.columns) == FACE_SETS["lfwa"].labels
    rows = winface_data.split_rows(images, "Male", "Heavy_Makeup", bias_ratio=None, seed=0)
    people = images.attributes.index.str.split("/").str[0].to_numpy()
    parts = [{*people[at]} for at in (np.concatenate([rows["pretrain_train"],
             rows["pretrain_validation"]]), np.concatenate([rows["task_train"],
             rows["task_validation"]]), rows["task_test"])]  # fmt: skip
    assert len(set.union(*parts)) == sum(map(len, parts)) == len({*people})
    made_up = (images.attribute("Male") == 1) & (images.attribute("Heavy_Makeup") == 1)
    assert sum(made_up[at].sum() for at in rows.values()) == made_up.sum() == 126


def test_a_part_without_a_group_is_named(faces: Faces) -> None:
    images = image_set(faces.base().backbone.data)
    with pytest.raises(SettingsError, match=r"images of group \(Beard=1, Male=0\): too few"):
        winface_data.split_rows(images, "Beard", "Male", bias_ratio=None, seed=0)


def test_features_are_those_of_the_frozen_backbone(faces: Faces) -> None:
    base = faces.base()
    record = faces.runs.find(base.backbone)
    assert record is not None
    model = trained_model(base.backbone, record).eval()
    data = winface_data.head_data(base, faces.runs)
    images = image_set(base.backbone.data)
    at = [list(images.attributes.index).index(name) for name in data.names[:4]]
    logits = model(augment.plain(images.images[at]))
    inside = last_linear(model)[1](data.parts["task_test"].inputs[:4])
    torch.testing.assert_close(inside, logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("key", ["pre-trained", "tl", "svd, rank 1", "win, rank 2"])
def test_counts_are_those_of_the_stored_head(faces: Faces, key: str) -> None:
    record = faces.strategies[key][0]
    test = winface_data.head_data(faces.base(), faces.runs).parts["task_test"]
    logits = predict(head_of(record), test.inputs)
    positive = (logits[:, 1] > logits[:, 0]).numpy()
    expected = confusion_counts(test.target.numpy(), positive, test.protected.numpy())
    assert np.array_equal(record.counts(), expected)
    assert record.counts().sum() == len(test)


def test_what_trains_and_how_far_it_starts(faces: Faces) -> None:
    width = faces.strategies["pre-trained"][0].results["inputs"]
    sizes = {key: r[0].results["trainable_parameters"] for key, r in faces.strategies.items()}
    assert sizes["tl"] == 2 * width + 2
    assert sizes["svd, rank 1"] == sizes["win, rank 1"] == width + 2 + 2
    for key, records in faces.strategies.items():
        if key == "pre-trained":
            continue
        start = records[0].results["start_max_logit_change"]
        assert (start < 1e-4) == (key == "tl" or "rank 2" in key)
        assert records[0].results["mean_logit_change"] > 0


def win_start(faces: Faces, base: FaceHead, rank: int) -> tuple[torch.Tensor, nn.Linear, Examples]:
    """Return WIN's kept outputs by hand, the pre-trained head, and the task's training part."""
    record = faces.runs.find(base)
    assert record is not None
    head = head_of(record)
    assert isinstance(head, nn.Linear)
    train = winface_data.head_data(base, faces.runs).parts["task_train"]
    how = group_importance if base.head == "target" else multilabel_importance
    found = how(train.inputs, predict(head, train.inputs), train.target, train.protected)
    importance = neutralise(*(found if isinstance(found, tuple) else found.groups))
    importance = importance.clamp(min=1e-6 * float(importance.max()))
    return weighted_svd(head.weight.detach().T, importance, rank)[1], head, train


@pytest.mark.parametrize(("which", "rank"), [("target", 1), ("labels", 3)])
def test_the_start_of_win_is_its_equations(faces: Faces, which: str, rank: int) -> None:
    base = faces.base(which)
    expected, head, _ = win_start(faces, base, rank)
    data = winface_data.head_data(base, faces.runs)
    config = winface_plans.tuned(faces.profile, base, "win", rank=rank)
    trained, results = winface_stages._start(config, head, data)
    torch.testing.assert_close(trained.B.detach(), expected)
    pairs = {(row["first"], row["second"]): row["outputs"] for row in results["angles"]}
    plain = plain_svd(head.weight.detach().T, rank)[1]
    cosine = torch.linalg.svdvals(expected.double() @ plain.double().T).min().clamp(max=1)
    largest = float(torch.rad2deg(torch.arccos(cosine)))
    assert pairs["neutralised", "none"][-1] == pytest.approx(largest, abs=0.05)


def test_labels_that_do_not_vary_are_named(faces: Faces) -> None:
    left_out = faces.ranks["win, rank 1"][0].results["left_out_labels"]
    assert "Beard" in left_out["protected=0"]  # no woman of the toy faces has one
    assert "Beard" not in left_out["protected=1"]


def test_means_over_labels_are_those_of_the_counts(faces: Faces) -> None:
    results = faces.ranks["tl"][0].results
    counts = {label: np.asarray(table) for label, table in results["label_counts"].items()}
    assert list(counts) == results_labels(faces)
    assert np.array_equal(counts["Smiling"], faces.ranks["tl"][0].counts())
    whole = {
        label: flatten_metrics(metrics_from_counts(table))
        for label, table in counts.items()
        if table.sum(axis=2).all() and label != "Male"
    }
    assert "Beard" not in whole
    assert len(whole) > 8
    expected = np.mean([metrics["demographic_parity"] for metrics in whole.values()])
    assert results["mean_label_demographic_parity"] == pytest.approx(expected)
    alone = {"Male": counts["Male"], "Beard": counts["Beard"]}
    assert set(heads.label_means(alone, "Male").values()) == {None}


def results_labels(faces: Faces) -> list[str]:
    return [str(name) for name in faces.ranks["pre-trained"][0].results["labels"]]


def test_full_rank_is_tl_in_factors(faces: Faces) -> None:
    full = len(results_labels(faces))
    for key in (f"svd, rank {full}", f"win, rank {full}"):
        assert faces.ranks[key][0].results["start_max_logit_change"] < 1e-3
    assert faces.ranks["svd, rank 1"][0].results["start_max_logit_change"] > 1e-2
    same = faces.controls["labels: factors"][0].run
    assert same == faces.ranks[f"svd, rank {full}"][0].run


def test_controls_share_budget_and_differ_in_their_start(faces: Faces) -> None:
    for head in ("target", "labels"):
        win = faces.controls[f"{head}: win"][0]
        for kind in ("group 1", "group 2", "pooled", "shuffled"):
            other = faces.controls[f"{head}: win, {kind}"][0]
            assert other.results["trainable_parameters"] == win.results["trainable_parameters"]
            assert other.run != win.run
        factor = faces.controls[f"{head}: svd, matched"][0].results["rate_factor"]
        assert factor > 0
        assert "rate_factor" not in faces.controls[f"{head}: svd"][0].results


def test_the_same_call_gives_the_same_run(faces: Faces, tmp_path: Path) -> None:
    again = Runs(tmp_path)
    config = faces.plan["win, rank 1"][0]
    first = faces.strategies["win, rank 1"][0]
    second = obtain(config, again)
    assert second.body["counts"] == first.body["counts"]
    assert second.body["files"] == first.body["files"]


def test_settings_that_mean_nothing_are_refused(faces: Faces) -> None:
    base = faces.base()
    tuned = winface_plans.tuned(faces.profile, base, "win", rank=1)
    for change, message in (
        ({"strategy": "tl"}, "'tl' has no rank"),
        ({"strategy": "svd"}, "'svd' has no importance"),
        ({"rank": None}, "'win' needs rank"),
        ({"strategy": "tl", "rank": None, "importance": None, "weight": None,
          "importance_floor": None, "matched": True}, "no factors"),
        ({"constraint": "eo", "intensity": 0.5}, "only strategy 'tl'"),
        ({"intensity": 0.5}, "a constraint has an intensity"),
    ):  # fmt: skip
        values = dict(tuned) | change
        with pytest.raises(ValueError, match=message):
            FaceHeadTuning.model_validate(values)
    adult = plans.finetune(faces.profile, plans.pretrain(faces.profile, 0), "win", rank=1)
    for name in ("rank", "weight"):
        with pytest.raises(ValueError, match=f"'win' needs {name}"):
            Finetune.model_validate(dict(adult) | {name: None})
    with pytest.raises(ValueError, match="'retrain' has no rank"):
        Finetune.model_validate(dict(adult) | {"strategy": "retrain"})
    with pytest.raises(ValueError, match="both 'Male'"):
        FaceHead.model_validate(dict(base) | {"target": "Male"})


def test_a_rank_out_of_range_is_said_at_once_or_when_known(faces: Faces) -> None:
    with pytest.raises(SettingsError, match="toyfaces has 15 attributes"):
        winface_plans.tuned(faces.profile, faces.base("labels"), "svd", rank=16)
    config = winface_plans.tuned(faces.profile, faces.base(), "svd", rank=3)
    with pytest.raises(SettingsError, match="ranks run from 1 to 2"):
        winface_stages.tune_head(config, faces.runs)


def test_data_of_two_classes_and_of_labels(faces: Faces) -> None:
    two, many = (winface_data.head_data(faces.base(h), faces.runs) for h in ("target", "labels"))
    assert not two.multilabel
    assert many.multilabel
    assert many.labels[many.at] == "Smiling"
    assert torch.equal(many.parts["task_test"].target[:, many.at], two.parts["task_test"].target)
    logits = torch.tensor([[1.0, 3.0], [0.5, -1.0]])
    assert heads.decision(logits, two).tolist() == [[2.0], [-1.5]]
    assert torch.equal(heads.decision(logits, many), logits)
    assert two.width == many.width


def test_a_constraint_is_part_of_the_loss(faces: Faces) -> None:
    (config,) = winface_plans.under_constraint(faces.profile, faces.profile.seeds[:1])["tl eo 0.9"]
    assert isinstance(config, FaceHeadTuning)
    data = winface_data.head_data(config.pretrained, faces.runs)
    rng = np.random.default_rng(0)
    z, t, p = rng.normal(size=(40, 2)), rng.integers(0, 2, 40), rng.integers(0, 2, 40)
    given = (torch.from_numpy(z), torch.from_numpy(t), torch.from_numpy(p))
    found = float(winface_stages.objective_of(data, config)(*given))
    gap = z[:, 1] - z[:, 0]
    loss = np.mean(np.log1p(np.exp(np.where(t == 1, -gap, gap))))
    unfair = sum(abs(np.cov(gap[t == v], p[t == v], bias=True)[0, 1]) for v in (0, 1))
    assert found == pytest.approx(loss + 0.9 * unfair)
    record = obtain(config, faces.runs)
    assert record.config["constraint"] == "eo"
    assert record.config["intensity"] == 0.9
    plain = faces.strategies["tl"][0]
    assert "constraint" not in plain.config  # a run without is what it was
    assert record.results["epoch"] >= 1


def test_the_positive_control_asks_for_a_fairer_head(faces: Faces, made_up: MakeRecord) -> None:
    check = win_on_faces.finds_fairness(faces.profile)
    assert check is not None
    # Of 1,000 people a group, those of target 1 that are found differ by the gap.
    fair, unfair = ([made_up(s, (0, 0, 900, 900 - gap)) for s in range(3)] for gap in (100, 300))
    guesses = [made_up(s, (500, 500, 500, 500)) for s in range(3)]
    assert check.keys == ("tl eo 3", "tl")
    assert check.passes({"tl": unfair, "tl eo 3": fair})[0]
    assert not check.passes({"tl": fair, "tl eo 3": unfair})[0]
    assert not check.passes({"tl": unfair, "tl eo 3": guesses})[0]  # fair, and of no use
