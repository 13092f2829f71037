"""Records are exported without any example, read back equal, and looked up without computing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from tests.conftest import Computed, MakeRecord

from repro.chapters.aim import top_k
from repro.chapters.win import plans
from repro.names import UnknownNameError
from repro.study import records as records_module
from repro.study.configs import digest
from repro.study.profiles import load_profile
from repro.study.records import (
    ExportedFirst,
    Results,
    export,
    frame,
    look_up,
    read_exported,
    recorded,
    recorded_folder,
    value,
)
from repro.study.runs import PREDICTIONS, Record, RecordError, Runs
from repro.study.session import Study, View


def some(computed: Computed) -> list[Record]:
    """Return a run of each stage."""
    keys = ("pre-trained", "tl", "win, rank 2")
    found = [computed.strategies[key][0] for key in keys] + [computed.probes["unconstrained"][0]]
    found += [computed.table_3[key][0] for key in ("erm", "mask")]
    return [*found, computed.masks["train, augmented"][0]]


@pytest.fixture
def exported(computed: Computed, tmp_path: Path) -> Path:
    path = tmp_path / "book" / "recorded" / "tiny.parquet"
    export(some(computed), path)
    return path


def test_export_is_read_back_equal(computed: Computed, exported: Path) -> None:
    found = read_exported(exported)
    assert {run: record.body for run, record in found.items()} == {
        record.run: record.body for record in some(computed)
    }
    assert list(found) == sorted(found)
    for record in found.values():
        record.verify()
        assert record.folder is None
    assert [path.name for path in exported.parent.iterdir()] == ["tiny.parquet"]


def test_order_of_export_does_not_matter(
    computed: Computed, exported: Path, tmp_path: Path
) -> None:
    export(some(computed)[::-1], tmp_path / "other.parquet")
    assert (tmp_path / "other.parquet").read_bytes() == exported.read_bytes()


def keys_of(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {key for inner in value.values() for key in keys_of(inner)}
    if isinstance(value, list):
        return {key for inner in value for key in keys_of(inner)}
    return set()


def longest(value: Any) -> int:
    """Return the length of the longest list in plain values."""
    if isinstance(value, dict):
        return max(map(longest, value.values()), default=0)
    if isinstance(value, list):
        return max(len(value), *map(longest, value)) if value else 0
    return 0


def test_exported_file_holds_no_example(computed: Computed, exported: Path) -> None:
    assert pq.read_schema(exported).names == ["run", "stage", "seed", "record"]
    bodies = [json.loads(text) for text in pd.read_parquet(exported)["record"]]
    smallest = min(computed.strategies["pre-trained"][0].results["records"].values())
    for body in bodies:
        assert not keys_of(body) & {"example", "examples", "score", "scores", "predictions"}
        assert longest(body) < smallest  # nothing in it has an entry for each person
        assert longest(body) <= 62  # the tensors of a classifier are what is longest


Change = Callable[[dict[str, Any]], Any]


def rewrite(path: Path, change: Change, *, sign: bool = False) -> None:
    """Edit the first exported record."""
    table = pd.read_parquet(path)
    body = json.loads(table.loc[0, "record"])
    change(body)
    if sign:
        body["digest"] = digest({k: v for k, v in body.items() if k != "digest"})
    table.loc[0, "record"] = json.dumps(body)
    table.to_parquet(path, index=False)


def test_an_edited_exported_record_is_refused(exported: Path) -> None:
    first = min(read_exported(exported))
    rewrite(exported, lambda body: body["counts"]["test"][0][0].reverse())
    with pytest.raises(RecordError, match="was changed after it was written") as raised:
        read_exported(exported)
    assert f"tiny.parquet, run {first}" in str(raised.value)
    # The remedy is to write the file again; it must not say to delete a folder.
    assert "'repro export tiny' writes the file again" in str(raised.value)
    assert "delete" not in str(raised.value)


def test_a_record_under_another_identity_is_refused(exported: Path) -> None:
    rewrite(exported, lambda body: body["config"].update(seed=77), sign=True)
    with pytest.raises(RecordError, match="contradicts"):
        read_exported(exported)


@pytest.mark.parametrize("text", ["{", "", "[]", "null", '{"run": 1}'])
def test_a_record_that_is_none_is_refused(exported: Path, text: str) -> None:
    table = pd.read_parquet(exported)
    table.loc[0, "record"] = text
    table.to_parquet(exported, index=False)
    with pytest.raises(RecordError, match="not a record of this study"):
        read_exported(exported)


def test_files_that_are_no_exported_records(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="is missing; 'repro export PROFILE' writes it"):
        read_exported(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("text", encoding="utf-8")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "foreign.parquet")
    for name in ("text", "foreign"):
        with pytest.raises(RecordError, match="not an exported set of records"):
            read_exported(tmp_path / f"{name}.parquet")


def test_a_failed_export_keeps_the_earlier_one(
    computed: Computed, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = exported.read_bytes()

    def fail(self: pd.DataFrame, path: Path, **kwargs: Any) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", fail)
    with pytest.raises(OSError, match="disk full"):
        export(some(computed)[:1], exported)
    assert exported.read_bytes() == before
    assert [path.name for path in exported.parent.iterdir()] == ["tiny.parquet"]


# Looking up


@pytest.mark.usefixtures("tiny")
def test_look_up_leaves_incomplete_settings_out(computed: Computed, tmp_path: Path) -> None:
    plan = plans.strategies(computed.profile, computed.profile.seeds)
    assert {k: [r.run for r in v] for k, v in look_up(plan).items()} == {
        k: [c.identity for c in v] for k, v in plan.items()
    }
    more = plans.strategies(computed.profile, [*computed.profile.seeds, 77])
    assert look_up(more) == {}
    more["tl"] = more["tl"][:3]
    assert list(look_up(more)) == ["tl"]
    assert look_up(plan, Runs(tmp_path / "none")) == {}


@pytest.mark.usefixtures("tiny")
def agreement_of(computed: Computed, results: Results) -> str:
    study = Study(computed.profile, runs=computed.runs)
    study.asked.update({r.run: r for group in results.values() for r in group})
    return study.agreement()


def test_look_up_falls_back_to_exported_records(
    computed: Computed, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records_module, "recorded_folder", lambda: tmp_path)
    export([r for group in computed.strategies.values() for r in group], tmp_path / "tiny.parquet")
    plan = plans.strategies(computed.profile, computed.profile.seeds)
    found = look_up(plan, Runs(tmp_path / "none"))
    assert found.keys() == plan.keys()
    assert all(record.folder is None for group in found.values() for record in group)
    here = look_up(plan)  # a run of this machine goes first
    assert all(record.folder is not None for group in here.values() for record in group)
    recorded_first = look_up(plan, ExportedFirst())
    assert all(record.folder is None for group in recorded_first.values() for record in group)
    assert recorded("quick") == {}
    said = agreement_of(computed, computed.probes)
    assert said == (
        "None of the 6 runs of this call is among the recorded ones, which are of profiles desk "
        "and toy with their own settings and seeds."
    )
    said = agreement_of(computed, computed.strategies)
    assert said == ("**Recomputed here: 24 of 24 runs agree** with their records, count by count.")
    said = agreement_of(computed, computed.strategies | computed.probes)
    assert said.endswith(
        "24 of 24 runs agree** with their records, count by count; 6 more were never recorded."
    )


def test_a_build_says_how_far_its_runs_moved(
    computed: Computed, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = computed.strategies["tl"]
    moved = [Record({**r.body, "counts": dict(r.body["counts"])}) for r in here]
    moved[0].body["counts"]["test"] = (here[0].counts() + 1).tolist()
    known = {record.run: record for record in moved}
    monkeypatch.setattr("repro.study.session.exported", known.get)
    said = agreement_of(computed, {"tl": here})
    worst = [r.metrics()["worst_group_accuracy"] for r in (here[0], moved[0])]
    mean = 100 * abs(worst[0] - worst[1]) / 3
    assert said == (
        "**Recomputed here: 2 of 3 runs agree** with their records, count by count; worst-group "
        f"accuracy differs by {mean:.2f} points on average."
    )


def test_a_call_without_runs_says_so() -> None:
    assert Study(load_profile("smoke")).agreement() == "This call asked for no run."


def test_recorded_folder_is_in_the_project(tiny: Path) -> None:
    assert recorded_folder() == tiny / "book" / "recorded"


# Values


def test_value_of_metrics_parts_and_results(computed: Computed) -> None:
    record = computed.strategies["tl"][0]
    assert value(record, "accuracy") == record.metrics()["accuracy"]
    assert value(record, "before:accuracy") == record.metrics("before")["accuracy"]
    assert value(record, "results:epoch") == record.results["epoch"]
    probe = computed.probes["unconstrained"][0]
    assert value(probe, "results:importance_distance") == probe.results["importance_distance"]


def test_a_result_that_could_not_be_had_is_none(made_up: MakeRecord) -> None:
    assert value(made_up(results={"auc": None}), "results:auc") is None


@pytest.mark.parametrize(
    ("quantity", "message"),
    [
        ("acuracy", "unknown metric 'acuracy'; did you mean 'accuracy'"),
        ("equalized_odds", "unknown metric 'equalized_odds'; did you mean 'equalized_odds_"),
        ("befor:accuracy", "unknown part 'befor'; did you mean 'before'"),
        ("results:epochs", "unknown result 'epochs'; did you mean 'epoch'"),
    ],
)
def test_unknown_quantities_name_the_nearest(
    computed: Computed, quantity: str, message: str
) -> None:
    with pytest.raises(UnknownNameError, match=re.escape(message)):
        value(computed.strategies["tl"][0], quantity)


def test_metrics_come_from_the_counts_alone(made_up: MakeRecord) -> None:
    record = made_up(positive=(100, 300, 600, 900))
    assert value(record, "demographic_parity") == pytest.approx((1200 - 700) / 2000)
    assert value(record, "equalized_odds_sum") == pytest.approx(0.2 + 0.3)
    assert value(record, "equalized_odds_max") == pytest.approx(0.3)
    assert value(record, "accuracy") == pytest.approx((900 + 700 + 600 + 900) / 4000)


def test_frame_has_a_row_for_each_setting_and_seed(computed: Computed) -> None:
    table = frame(computed.strategies, ["accuracy", "results:epoch"])
    assert list(table.columns) == ["setting", "seed", "run", "accuracy", "results:epoch"]
    assert len(table) == 3 * len(computed.strategies)
    rows = table[table["setting"] == "tl"]
    assert rows["seed"].tolist() == [0, 1, 2]
    expected = [record.metrics()["accuracy"] for record in computed.strategies["tl"]]
    np.testing.assert_array_equal(rows["accuracy"], expected)
    assert list(frame({}, ["accuracy"]).columns) == ["setting", "seed", "run", "accuracy"]


# What a notebook holds


@pytest.mark.usefixtures("tiny")
def test_compute_says_how_far_it_is_and_computes_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = Study(load_profile("tiny", {"seeds": [5]}), runs=Runs(tmp_path))
    plan = {"pre-trained": [plans.pretrain(study.profile, 5)]}
    study.compute(plan)
    said = capsys.readouterr().err
    assert said.startswith("[1/1] pre-train mlp-2 on toycensus, seed 5 (")
    again = study.compute(plan)
    assert capsys.readouterr().err == ""
    assert again["pre-trained"][0].folder == tmp_path / plan["pre-trained"][0].identity
    assert (tmp_path / plan["pre-trained"][0].identity / PREDICTIONS).is_file()


@pytest.mark.usefixtures("tiny")
def test_recorded_runs_stand_beside_those_of_this_call(
    computed: Computed, monkeypatch: pytest.MonkeyPatch
) -> None:
    from repro.study import session

    study = Study(computed.profile, "43_win_on_adult", {"seeds": [0, 1, 2]}, computed.runs)
    (only,) = study.views(plans.strategies)  # nothing is recorded under desk
    assert only.label == "toycensus (simulated), this call: profile tiny"
    assert only.again == (
        ".venv/bin/papermill notebooks/43_win_on_adult.ipynb out.ipynb -p profile tiny "
        "-p seeds '[0, 1, 2]'"
    )
    assert only.paper({("tl", "accuracy"): 0.8}) is None  # simulated: no number beside it
    monkeypatch.setattr(session, "RECORDED", ("tiny",))
    assert len(study.views(plans.strategies)) == 1  # the recorded runs are these
    # What is a part of the recorded ones is compared with them, what is not stands beside.
    one = Study(load_profile("tiny", {"seeds": [1]}), runs=computed.runs)
    (known,) = one.views(plans.strategies)
    assert known.label.endswith(", recorded under profile tiny")
    assert len(known.results["tl"]) == 3
    assert one.asked.keys() < {r.run for group in known.results.values() for r in group}
    other = Study(load_profile("tiny", {"seeds": [1], "win.ranks": [1]}), runs=computed.runs)
    assert len(other.views(plans.strategies)) == 1
    monkeypatch.setattr(Study, "compute", lambda study, plan: computed.probes)
    known, here = other.views(plans.strategies)
    assert here.results == computed.probes


@pytest.mark.usefixtures("tiny")
def test_each_half_of_the_study_has_its_own_words(
    computed: Computed, monkeypatch: pytest.MonkeyPatch
) -> None:
    from repro.study import session

    study = Study(computed.profile, "90_verdicts", {}, computed.runs)
    faces = study.half("aim-fair")
    (here,) = faces.views(top_k.top_k)
    assert (faces.data_label, study.data_label) == (
        "toyfaces (simulated), Smiling | Male, 32x32",
        "toycensus (simulated)",
    )
    assert here.label == f"{faces.data_label}, this call: profile tiny"
    assert here.paper({("erm", "accuracy"): 0.9}) is None
    assert list(here.results) == ["erm", "k 34", "k 40", "k 62", "fully fine-tuning"]
    # What is recorded stands first, under its own name; the paper's numbers beside real faces only.
    monkeypatch.setattr(session, "RECORDED", ("tiny",))
    fewer = computed.profile.faces.model_copy(update={"seeds": (1,)})
    one = Study(computed.profile.model_copy(update={"faces": fewer}), runs=computed.runs)
    (known,) = one.half("aim-fair").views(top_k.top_k)
    assert known.label.endswith(", recorded under profile tiny")
    assert (len(known.results["k 40"]), len(one.asked)) == (3, 5)  # those of half a study are its
    real = View("CelebA", {}, "again", load_profile("desk"), "aim-fair")
    assert real.paper({("erm", "accuracy"): 0.9}) == {("erm", "accuracy"): 0.9}
