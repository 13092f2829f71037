"""Records are exported without any example, read back equal, and looked up without computing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from tests.conftest import Computed

from repro import machine, numerics
from repro.chapters.win import plans
from repro.study import records as records_module
from repro.study.configs import digest
from repro.study.records import (
    Exported,
    ExportedFirst,
    Results,
    export,
    look_up,
    other_kernels,
    read_exported,
    recorded,
)
from repro.study.runs import Record, RecordError, Runs
from repro.study.session import Study


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


def test_a_record_is_checked_when_it_is_asked_for(exported: Path) -> None:
    first, second, *_ = sorted(read_exported(exported))
    rewrite(exported, lambda body: body["counts"]["test"][0][0].reverse())
    found = Exported(exported)
    assert second in found
    assert found[second].run == second
    with pytest.raises(RecordError, match="was changed after it was written"):
        found[first]


def test_a_run_under_another_name_or_twice_is_refused_at_once(exported: Path) -> None:
    table = pd.read_parquet(exported)
    moved = table.assign(run=["0" * 16, *table["run"][1:]])
    moved.to_parquet(exported, index=False)
    with pytest.raises(RecordError, match=f"run {'0' * 16} holds run {table['run'][0]}"):
        Exported(exported)
    pd.concat([table, table.iloc[:1]]).to_parquet(exported, index=False)
    with pytest.raises(RecordError, match="twice"):
        Exported(exported)


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

    def fail(table: Any, path: Path, **kwargs: Any) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(pq, "write_table", fail)
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
    computed: Computed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = computed.strategies["tl"]
    moved = [Record({**r.body, "counts": dict(r.body["counts"])}) for r in here]
    moved[0].body["counts"]["test"] = (here[0].counts() + 1).tolist()
    known = {record.run: record for record in moved}
    monkeypatch.setattr("repro.study.session.exported", known.get)
    said = agreement_of(computed, {"tl": here})
    worst = [r.metrics()["worst_group_accuracy"] for r in (here[0], moved[0])]
    mean = 100 * abs(worst[0] - worst[1]) / 3
    told = (
        "**Recomputed here: 2 of 3 runs agree** with their records, count by count; worst-group "
        f"accuracy differs by {mean:.2f} points on average"
    )
    assert said == f"{told}."
    # Two other seeds are recorded, by a process that rounds one kernel otherwise.
    monkeypatch.setattr(records_module, "recorded_folder", lambda: tmp_path)
    there = {r.run: r for group in computed.strategies.values() for r in group} | known
    monkeypatch.setattr("repro.study.session.recorded", {"toy": there, "desk": {}}.get)
    kernels = numerics.kernels()
    other = {**kernels, "softmax": "0" * 12}
    monkeypatch.setattr(numerics, "kernels", lambda: other)
    export(here, tmp_path / "toy.parquet")
    monkeypatch.setattr(numerics, "kernels", lambda: kernels)
    a, b = (r.metrics()["worst_group_accuracy"] for r in moved[1:])
    # One more value of the same normal distribution: t with one degree of freedom, in closed form.
    t = abs(worst[0] - (a + b) / 2) / (abs(a - b) / math.sqrt(2) * math.sqrt(1.5))
    inside = int(1 - 2 / math.pi * math.atan(t) >= 0.05)
    kernel = ". Kernels that round otherwise here: softmax."
    assert (
        agreement_of(computed, {"tl": here}) == f"{told}{kernel}"
    )  # of two others nothing is told
    monkeypatch.setattr("repro.study.compare.ENOUGH", 2)
    assert agreement_of(computed, {"tl": here}) == (
        f"{told}; {inside} of 1 lie in the 95 % prediction interval of toy's other seeds (19 of 20 "
        f"would){kernel}"
    )
    # Where a record is of another processor, it may round otherwise for that alone.
    xeon = {run: Record({**r.body, "machine": "Xeon"}) for run, r in known.items()}
    monkeypatch.setattr("repro.study.session.exported", xeon.get)
    assert (
        f". They were recorded on Xeon, in float32, and computed here on {here[0].machine}, in "
        f"float32{kernel}" in agreement_of(computed, {"tl": here})
    )


def test_kernels_go_with_records_of_this_process_alone(
    computed: Computed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, path = computed.strategies["tl"], tmp_path / "tiny.parquet"
    export(here, path)
    assert other_kernels(path) == []
    monkeypatch.setattr(machine, "describe", lambda _: "another machine")
    export(here, path)
    assert other_kernels(path) is None
    assert read_exported(path).keys() == {r.run for r in here}
