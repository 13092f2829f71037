"""Two sets of records: what agrees within the spread over seeds, and what does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from tests.conftest import Computed, MakeRecord

from repro.chapters.win import both_methods
from repro.names import UnknownNameError
from repro.study.compare import COMPARED, agreement, compare, describe, read_set, settings_key
from repro.study.records import export
from repro.study.runs import Record, RecordError, by_identity

SPREAD = (100, 120, 90, 110, 105)


def records(
    make: MakeRecord, gaps: Sequence[int], first_seed: int = 0, strategy: str = "tl"
) -> dict[str, Record]:
    found = [
        make(first_seed + i, (50, 60, 700, 700 - gap), strategy=strategy, optimisation={"a": 1})
        for i, gap in enumerate(gaps)
    ]
    return by_identity(found)


def in_threes(computed: Computed) -> dict[str, Record]:
    """Return all runs but the heads of chapter 48 on each other seed's own biased classifier.

    Seeds aside, they are the same setting as those on the one classifier that all seeds share.
    """
    profile = computed.profile
    plan = both_methods.both(profile, profile.seeds[1:])
    twice = {c.identity for key, group in plan.items() if key.startswith("erm") for c in group}
    assert len(twice) == 8
    runs = by_identity(computed.runs.records())
    return {run: record for run, record in runs.items() if run not in twice}


def test_a_set_agrees_with_itself(computed: Computed) -> None:
    runs = in_threes(computed)
    table = compare(runs, runs)
    assert table["identical"].all()
    assert table["agrees"].eq(True).all()
    assert (table["p"] == 1).all()
    assert (table["shared runs"] == 3).all()
    assert set(table["metric"]) == set(COMPARED)
    # Every run of the three seeds falls into one setting with the others'.
    assert len(table) == len(COMPARED) * len(runs) / 3
    assert table["seeds"].eq("3/3").all()


def test_other_seeds_of_the_same_settings_are_compared(computed: Computed) -> None:
    runs = in_threes(computed)

    def of(seeds: set[int]) -> Mapping[str, Record]:
        return {run: record for run, record in runs.items() if record.config["seed"] in seeds}

    table = compare(of({0, 1}), of({2}))
    assert (table["only"] == "").all()
    assert table["seeds"].eq("2/1").all()
    assert table["agrees"].notna().all()  # two seeds have a spread
    alone = compare(of({0}), of({2}))
    assert alone["agrees"].isna().all()  # a single seed has none
    assert not table["identical"].any()


def test_the_same_setting_by_other_seeds_agrees(made_up: MakeRecord) -> None:
    first, second = records(made_up, SPREAD), records(made_up, SPREAD[::-1], 10)
    table = compare(first, second)
    assert len(table) == len(COMPARED)
    assert table["agrees"].eq(True).all()
    assert not table["identical"].any()
    assert (table["shared runs"] == 0).all()


def test_a_shifted_set_differs(made_up: MakeRecord) -> None:
    table = compare(records(made_up, SPREAD), records(made_up, [gap + 100 for gap in SPREAD], 10))
    assert table["agrees"].eq(False).all()
    row = table.set_index("metric").loc["demographic_parity"]
    assert row["second"] - row["first"] == pytest.approx(100 / 2000)


def test_runs_in_both_sets_are_no_second_sample(made_up: MakeRecord) -> None:
    both = records(made_up, SPREAD)
    own, others = (130, 80, 135, 90), (150, 120, 100, 140)
    first = {**both, **records(made_up, own, 10)}
    second = {**both, **records(made_up, others, 20)}
    row = compare(first, second).set_index("metric").loc["demographic_parity"]
    assert row["shared runs"] == len(both)
    expected = stats.ttest_ind(own, others, equal_var=False).pvalue
    assert row["p"] == pytest.approx(expected)
    assert row["seeds"] == "9/9"


@pytest.mark.parametrize(
    ("other", "agrees"),
    [((130, 80, 135, 90), True), ((130, 100, 145, 110), True), ((160, 130, 150, 120), False)],
)
def test_p_is_that_of_welch_and_decides(
    made_up: MakeRecord, other: tuple[int, ...], agrees: bool
) -> None:
    first, second = records(made_up, SPREAD), records(made_up, other, 10)
    table = compare(first, second).set_index("metric")
    for metric in COMPARED:
        samples = [[r.metrics()[metric] for r in found.values()] for found in (first, second)]
        expected = stats.ttest_ind(*samples, equal_var=False).pvalue
        assert table.loc[metric, "p"] == pytest.approx(expected)
        assert bool(expected >= 0.05) is agrees
        assert bool(table.loc[metric, "agrees"]) is agrees
        assert table.loc[metric, "first"] == pytest.approx(np.mean(samples[0]))
    assert table["seeds"].eq("5/4").all()


@pytest.mark.parametrize(
    ("second", "agrees"),
    [((100, 100), True), ((101, 101), False), ((90, 111), True), ((290, 291), False)],
)
def test_a_side_without_spread(made_up: MakeRecord, second: tuple[int, int], agrees: bool) -> None:
    table = compare(records(made_up, (100, 100, 100)), records(made_up, second, 10))
    assert table["agrees"].eq(agrees).all()


@pytest.mark.parametrize(("gap", "agrees"), [(95, True), (138, True), (140, False), (60, False)])
def test_a_single_seed_may_be_one_more_of_the_others(
    made_up: MakeRecord, gap: int, agrees: bool
) -> None:
    # 105 +- 11.2 over five seeds; one more lies within 2.776 * 11.2 * sqrt(6 / 5) = 34 of it.
    more, one = records(made_up, SPREAD), records(made_up, [gap], 10)
    for first, second in ((more, one), (one, more)):
        row = compare(first, second).set_index("metric").loc["demographic_parity"]
        assert (bool(row["agrees"]), bool(row["identical"])) == (agrees, False)


def test_a_part_of_a_set_is_identical_where_its_runs_are(made_up: MakeRecord) -> None:
    whole = records(made_up, SPREAD)
    part = dict([next(iter(whole.items()))])
    assert compare(part, whole)["identical"].all()
    assert compare(whole, part)["agrees"].all()
    ((run, record),) = part.items()
    other = {run: Record({**record.body, "counts": {"test": (record.counts() + 1).tolist()}})}
    assert not compare(other, whole)["identical"].any()


def test_other_counts_of_the_same_run_are_not_identical(made_up: MakeRecord) -> None:
    first = by_identity([made_up(0, (0, 0, 0, k), run=f"r{s}") for s, k in enumerate(SPREAD)])
    second = by_identity([made_up(0, (0, 0, 0, k + 1), run=f"r{s}") for s, k in enumerate(SPREAD)])
    table = compare(first, second)
    assert not table["identical"].any()
    assert (table["shared runs"] == 5).all()


def test_agreement_counts_runs_and_measures_the_worst_group(made_up: MakeRecord) -> None:
    # Of group (1,1), 1,000 examples, k are right: its accuracy is k / 1000, and the worst.
    first = by_identity([made_up(0, (0, 0, 999, k), run=f"r{k}") for k in (100, 200, 300)])
    second = by_identity(
        [made_up(0, (0, 0, 999, k + d), run=f"r{k}") for k, d in ((100, 0), (200, 30), (300, -60))]
    )
    second["other"] = made_up(1, run="other")
    shared, same, moved = agreement(first, second)
    assert (shared, same) == (3, 1)
    assert moved == pytest.approx(0.03)
    assert agreement(first, {}) == (0, 0, None)


def test_settings_of_one_set_only_are_listed(made_up: MakeRecord) -> None:
    first = records(made_up, SPREAD) | records(made_up, SPREAD, strategy="svd")
    second = records(made_up, SPREAD) | records(made_up, SPREAD, strategy="retrain")
    table = compare(first, second)
    assert table[table["only"] == "first"]["setting"].tolist() == ["finetune svd"]
    assert table[table["only"] == "second"]["setting"].tolist() == ["finetune retrain"]
    assert (table["only"] == "").sum() == len(COMPARED)


def test_disjoint_and_empty_sets(made_up: MakeRecord) -> None:
    table = compare(records(made_up, SPREAD), records(made_up, SPREAD, strategy="svd"))
    assert table["only"].tolist() == ["first", "second"]
    assert len(compare({}, {})) == 0


def test_a_setting_is_known_by_what_it_builds_on(computed: Computed) -> None:
    runs = in_threes(computed)
    tl = computed.strategies["tl"]
    keys = {settings_key(record, runs) for record in tl}
    assert len(keys) == 1
    fair = computed.tuned["dp 0.5, after"][0]  # the same strategy from another start
    assert settings_key(fair, runs) not in keys
    assert describe(tl[0], runs) == "finetune toycensus mlp-2 tl"
    assert describe(fair, runs) == "finetune toycensus mlp-2 tl from dp 0.5"
    retrained = computed.strategies["retrain dp 0.5"][0]
    assert describe(retrained, runs) == "finetune toycensus mlp-2 retrain dp 0.5"
    win = computed.weights["rank 2, a 0.9"][0]
    assert describe(win, runs) == "finetune toycensus mlp-2 win rank 2 a=0.9"


def test_runs_on_faces_are_described(computed: Computed) -> None:
    runs = in_threes(computed)
    found = {
        key: describe(computed.everything[key][0], runs)
        for key in (
            "strategies: erm",
            "strategies: mask",
            "less_real_data: 50 %, mask",
            "selection_rules: random 0",
            "selection_rules: update layer4",
            "switches: linear probing, statistics freeze",
            "sensitivities: eval, augmented",
            "sensitivities: eval, plain",
            "switches: mask, gradients in eval mode",
            "switches: mask, frozen tensors decay",
        )
    }
    on = "toyfaces Smiling|Male"
    assert list(found.values()) == [
        f"train {on} resnet18 erm",
        f"finetune {on} resnet18 mask k 40",
        f"finetune {on} 50% resnet18 mask k 40",
        f"finetune {on} resnet18 random k 40 draw 0",
        f"finetune {on} resnet18 update layer4",
        f"finetune {on} resnet18 linear probing frozen statistics",
        f"sensitivity {on} resnet18 eval",
        f"sensitivity {on} resnet18 eval plain",
        f"finetune {on} resnet18 mask k 40 by gradients in eval mode",
        f"finetune {on} resnet18 mask k 40 frozen tensors decay",
    ]


@pytest.mark.parametrize("profile", ["desk", "toy"])
def test_every_recorded_setting_has_a_description(profile: str) -> None:
    # Runs of one notebook alone are the usual first set: most settings are then in the other only.
    found = read_set(profile)
    run, record = next(iter(found.items()))
    table = compare({run: record}, found)
    alone = table[table["only"] == "second"]["setting"]
    assert len(alone) == len({settings_key(one, found) for one in found.values()}) - 1
    stages = {one.config["stage"].split("-", 1)[1] for one in found.values()}
    assert {words.split()[0] for words in alone} <= {
        part for s in stages for part in (s, *s.split("-"))
    }
    assert any("erm" in words for words in alone)


def test_two_settings_have_two_descriptions(computed: Computed) -> None:
    runs = in_threes(computed)
    settings = {settings_key(record, runs): describe(record, runs) for record in runs.values()}
    assert len(set(settings.values())) == len(settings) == len(runs) / 3


# Where sets come from


def test_read_set_from_a_folder_and_a_file(computed: Computed, tmp_path: Path) -> None:
    folder = read_set(str(computed.runs.root))
    export(list(folder.values()), tmp_path / "set.parquet")
    file = read_set(str(tmp_path / "set.parquet"))
    assert {run: record.body for run, record in folder.items()} == {
        run: record.body for run, record in file.items()
    }
    assert compare(folder, file)["identical"].all()


def test_read_set_of_a_profile(tiny: Path) -> None:
    with pytest.raises(RecordError, match="profile 'tiny' has no exported records in recorded/"):
        read_set("tiny")
    with pytest.raises(UnknownNameError, match="'tinny'; did you mean 'tiny'"):
        read_set("tinny")
    with pytest.raises(RecordError, match="is missing"):
        read_set(str(tiny / "none.parquet"))
