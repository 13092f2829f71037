"""The tables of the AIM-Fair chapters, against what their records say when computed again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests.chapters.aim.measurements import (
    DOMAIN,
    ENTERS,
    FAIRNESS,
    NAMES,
    jaccard_by_hand,
    mask_by_hand,
    measured,
    random_measurement,
)
from tests.conftest import Computed

from repro.aimfair.tensors import block_of
from repro.chapters.aim import recorded_masks, selective_mask
from repro.chapters.aim import tables as aim_tables
from repro.study.records import Results
from repro.study.runs import Record


@pytest.mark.parametrize("k", range(1, 7))
def test_mask(k: int) -> None:
    expected = {name for name, enters in zip(NAMES, ENTERS, strict=True) if enters <= k}
    assert recorded_masks.mask(measured(), k) == expected
    record = random_measurement(3)
    for kind in ("absolute", "cosine"):
        for draw in (0, 1):
            assert recorded_masks.mask(record, k, kind=kind, draw=draw) == mask_by_hand(
                record, k, kind=kind, draw=draw
            )


def test_sensitivities_are_by_name() -> None:
    record = measured(draws=[(DOMAIN, FAIRNESS), (FAIRNESS, DOMAIN)])
    d, b = recorded_masks.sensitivities(record)
    assert (d["bn1.weight"], b["bn1.weight"]) == (0.2, 0.9)
    d, b = recorded_masks.sensitivities(record, draw=1)
    assert (d["bn1.weight"], b["bn1.weight"]) == (0.9, 0.2)


def test_sizes_count_tensors_and_parameters() -> None:
    found = recorded_masks.sizes(measured())
    assert [size.k for size in found] == [1, 2, 3, 4, 5, 6]
    assert [size.tensors for size in found] == [0, 1, 1, 2, 4, 6]
    # Of 53 parameters: bn1, and layer1's bn, then layer1's conv and fc's weight, then all.
    assert [size.parameters for size in found] == [0, 2, 2, 4, 42, 53]


def test_masks_by_part() -> None:
    alike = measured(1, draws=[(DOMAIN, DOMAIN[::-1])])
    table = selective_mask.masks_by_part([measured(), alike], 4)
    blocks = table[table["by"] == "block"].set_index("part")
    assert blocks["tensors"].to_dict() == {"stem": 2, "layer1": 2, "fc": 2}
    assert blocks["in the mask"].to_dict() == {"stem": "1 – 2", "layer1": "1 – 2", "fc": "0"}
    assert blocks["share, mean"].to_dict() == {"stem": "75%", "layer1": "75%", "fc": "0%"}
    kinds = table[table["by"] == "kind"].set_index("part")
    assert kinds["tensors"].to_dict() == {
        "conv": 2,
        "batchnorm weight": 1,
        "batchnorm bias": 1,
        "linear weight": 1,
        "linear bias": 1,
    }
    assert kinds.loc["conv", "in the mask"] == "0 – 2"
    assert kinds.loc["batchnorm weight", "share, mean"] == "100%"


def test_stability_is_that_of_every_pair() -> None:
    results: Results = {
        "train, augmented": [random_measurement(seed) for seed in (1, 2, 3)],
        "eval, plain": [random_measurement(seed) for seed in (11, 12, 13)],
    }
    k = 5
    table = selective_mask.stability(results, k).set_index("gradients")
    for key, records in results.items():
        within = [jaccard_by_hand(mask_by_hand(r, k), mask_by_hand(r, k, draw=1)) for r in records]
        across = [
            jaccard_by_hand(mask_by_hand(a, k), mask_by_hand(b, k))
            for a, b in combinations(records, 2)
        ]
        assert table.loc[key, "same model, other batches"] == f"{np.mean(within):.2f}"
        assert table.loc[key, "other seeds"] == f"{np.mean(across):.2f}"
        assert 0.4 < float(str(table.loc[key, "two random masks of that size"])) < 1
        assert table.loc[key, "same model"] == ""
    same = [
        jaccard_by_hand(mask_by_hand(a, k), mask_by_hand(b, k))
        for a, b in zip(*results.values(), strict=True)
    ]
    row = "train, augmented against eval, plain"
    assert table.loc[row, "same model"] == f"{np.mean(same):.2f}"
    kinds = [
        jaccard_by_hand(mask_by_hand(r, k), mask_by_hand(r, k, kind="cosine"))
        for r in results["train, augmented"]
    ]
    assert table.loc["absolute against cosine", "same model"] == f"{np.mean(kinds):.2f}"
    assert "nan" not in table.to_string()


def test_stability_of_one_seed_and_one_draw_is_empty() -> None:
    table = selective_mask.stability({"train, augmented": [random_measurement(1, draws=1)]}, 5)
    assert table.loc[0, "same model, other batches"] == ""
    assert table.loc[0, "other seeds"] == ""


def test_chance_is_the_expectation_over_random_masks() -> None:
    """Of two random masks of s of n tensors: the intersection is hypergeometric."""
    record = measured()
    for size in (2, 4):
        chosen = [frozenset(NAMES[:size])]
        pmf = stats.hypergeom(6, size, size)
        expected = sum(pmf.pmf(i) * i / (2 * size - i) for i in range(size + 1))
        assert selective_mask._chance(chosen, record) == pytest.approx(expected, abs=0.05)


def test_mask_in_words_says_what_was_measured() -> None:
    records = [measured(0, draws=[(DOMAIN, FAIRNESS), (DOMAIN, DOMAIN[::-1])])]
    records.append(measured(1, draws=[(DOMAIN, DOMAIN[::-1]), (DOMAIN, DOMAIN[::-1])]))
    text = selective_mask.mask_in_words({"train, augmented": records}, 4, "some data")
    assert text.startswith("**some data**, k = 4: the mask holds 33% – 67% of the tensors and ")
    assert f"{4 / 53:.0%} – {44 / 53:.0%} of the scalar parameters" in text
    # Of stem and layer1 one and two of two, of fc none.
    assert "the largest share of `stem`, `layer1` and the smallest of `fc`" in text
    within = (2 / 4 + 1) / 2  # {bn1, layer1 bn} in the four of the other draw; and the same twice
    assert f"from other batches agree by {within:.2f} (Jaccard), of other seeds by 0.50," in text
    alone = selective_mask.mask_in_words({"train, augmented": [measured()]}, 4, "x")
    assert "agree" not in alone


def test_real_masks_are_described(computed: Computed) -> None:
    records = computed.masks["train, augmented"]
    tuned = computed.table_3["mask"]
    parts = selective_mask.masks_by_part(records, 40)
    assert parts[parts["by"] == "block"]["part"].tolist() == [
        "stem", "layer1", "layer2", "layer3", "layer4", "fc",
    ]  # fmt: skip
    assert parts.groupby("by")["tensors"].sum().to_dict() == {"block": 62, "kind": 62}
    held = [sum(block_of(name) == "layer4" for name in r.results["trained_tensors"]) for r in tuned]
    layer4 = parts.set_index("part").loc["layer4"]
    assert layer4["share, mean"] == f"{np.mean(held) / 15:.0%}"


# Tables of trained classifiers


def group_accuracies(table: pd.DataFrame) -> dict[tuple[int, int], float]:
    """Return the accuracy of each group (t, p) from predictions."""
    right = (table["score"] > 0.5) == (table["target"] == 1)
    by = right.groupby([table["target"], table["protected"]]).mean()
    return {(t, p): float(by.loc[(t, p)]) for t in (0, 1) for p in (0, 1)}


def test_as_the_paper_is_its_arithmetic_on_the_predictions(computed: Computed) -> None:
    names = {"erm": "ERM", "mask": "SFT", "none": "never run"}
    table = aim_tables.as_the_paper(computed.table_3, names).set_index("setting")
    assert table.index.tolist() == ["ERM", "SFT"]
    for key, name in (("erm", "ERM"), ("mask", "SFT")):
        predictions = [record.predictions() for record in computed.table_3[key]]
        groups = [group_accuracies(found) for found in predictions]
        means = {g: np.mean([one[g] for one in groups]) for g in groups[0]}  # over seeds first
        row = table.loc[name]
        for (t, p), mean in means.items():
            assert row[f"({t},{p})"] == f"{100 * mean:.2f}"
        whole = [((f["score"] > 0.5) == (f["target"] == 1)).mean() for f in predictions]
        assert row["ACC"] == f"{100 * np.mean(whole):.2f}"
        assert row["WST"] == f"{100 * min(means.values()):.2f}"
        assert row["STD"] == f"{100 * np.std(list(means.values())):.2f}"
        gaps = [(abs(g[1, 1] - g[1, 0]), abs(g[0, 1] - g[0, 0])) for g in groups]
        assert row["EO, max (tables)"] == f"{100 * np.mean([max(pair) for pair in gaps]):.2f}"
        assert row["EO, mean (code)"] == f"{100 * np.mean(gaps):.2f}"
        each = [np.std(list(g.values())) for g in groups]
        assert row["STD of each seed"] == f"{100 * np.mean(each):.2f}"


def test_the_minimum_of_means_is_not_the_mean_of_minima() -> None:
    """Two seeds that fail another group each: the paper's WST does not see it."""

    def of(worst: int) -> Record:
        right = np.full((2, 2), 90)
        right[worst, worst] = 50
        counts = [
            [[r, 100 - r] if t == 0 else [100 - r, r] for r in row] for t, row in enumerate(right)
        ]
        return Record({"run": str(worst), "config": {}, "counts": {"test": counts}})

    row = aim_tables.as_the_paper({"a": [of(0), of(1)]}, {"a": "A"}).iloc[0]
    assert (row["(0,0)"], row["(1,1)"], row["WST"]) == ("70.00", "70.00", "70.00")
    assert row["STD"] == "10.00"
    assert float(row["STD of each seed"]) == pytest.approx(np.std([50, 90, 90, 90]), abs=0.01)


def history_of(epochs: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """Make up epochs: of 100 in each group so many are right, (0,0) (0,1) (1,0) (1,1)."""
    tables = [[[[a, 100 - a], [b, 100 - b]], [[100 - c, c], [100 - d, d]]] for a, b, c, d in epochs]
    return [{"loss": 1.0, "counts": {"test": table, "validation": table}} for table in tables]


def test_kept_by_rules_reads_the_epoch_that_a_rule_keeps() -> None:
    epochs = [(90, 90, 90, 50), (80, 80, 80, 70), (60, 60, 60, 60)]

    def record(seed: int, kept: dict[str, int | None]) -> Record:
        body = {
            "run": str(seed), "config": {"seed": seed},
            "results": {"kept_by": kept}, "history": history_of(epochs),
        }  # fmt: skip
        return Record(body)

    kept = {"accuracy": 1, "worst_group": 2, "last": 3}
    results = {"a": [record(0, kept), record(1, {**kept, "accuracy": 2})]}
    table = aim_tables.kept_by_rules(results, {"a": "A", "none": "never run"})
    rows = [
        (row["epoch kept by"].split(":")[0], row["epochs"], row["ACC"], row["WST"], row["EO (max)"])
        for row in table.to_dict("records")
    ]
    # By accuracy: epochs 1 and 2, (80 + 77.5) / 2; the worst groups 50 and 70; gaps 40 and 10.
    assert rows == [
        ("validation accuracy (the authors')", "1, 2", "78.75", "60.00", "25.00"),
        ("worst-group validation accuracy", "2, 2", "77.50", "70.00", "10.00"),
        ("none", "3, 3", "60.00", "60.00", "0.00"),
    ]
    without = {"a": [record(0, {**kept, "worst_group": None})]}
    table = aim_tables.kept_by_rules(without, {"a": "A"})
    assert table["epochs"].tolist() == ["1", "3"]


def test_the_kept_epoch_has_the_recorded_counts(computed: Computed) -> None:
    table = aim_tables.kept_by_rules(computed.table_3, {"erm": "ERM"})
    first = table.iloc[0]
    metrics = [record.metrics() for record in computed.table_3["erm"]]
    assert first["ACC"] == f"{100 * np.mean([m['accuracy'] for m in metrics]):.2f}"
    assert first["WST"] == f"{100 * np.mean([m['worst_group_accuracy'] for m in metrics]):.2f}"


def test_training_images_and_what_trains(computed: Computed) -> None:
    names = {"erm": "ERM", "repairing": "R", "linear probing": "LP", "mask": "SFT", "no": "x"}
    table = aim_tables.training_images(computed.table_3, names).set_index("setting")
    assert table.index.tolist() == ["ERM", "R", "LP", "SFT"]
    groups = list(aim_tables.GROUPS)
    assert table.loc["ERM", groups].tolist() == ["8", "72", "72", "8"]
    assert table.loc["R", groups].tolist() == ["72"] * 4
    assert table.loc["SFT", groups].tolist() == ["40"] * 4
    assert table.loc["ERM", "tensors"] == "62"
    assert table.loc["LP", "tensors"] == "2"
    assert table.loc["LP", "parameters"] == "33"  # 32 inputs at width 4, and a bias
    trained = [r.results["trainable_parameters"] for r in computed.table_3["mask"]]
    assert str(table.loc["SFT", "parameters"]).startswith(f"{min(trained):,}")
