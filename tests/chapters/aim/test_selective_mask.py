"""Chapter 24: how tensors rank, which of them the mask holds, and how stable that is."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
from scipy import stats
from tests.chapters.aim.drawings import points, ticks
from tests.chapters.aim.measurements import (
    DOMAIN,
    FAIRNESS,
    NAMES,
    jaccard_by_hand,
    mask_by_hand,
    measured,
    random_measurement,
)
from tests.chapters.conftest import view_of
from tests.conftest import Computed, drawn

from repro.chapters.aim import selective_mask
from repro.chapters.aim.selective_mask import AUTHORS
from repro.study.records import Results


def test_rankings_correlate_by_spearmans_formula() -> None:
    records = [measured(0), measured(1, draws=[(DOMAIN, DOMAIN[::-1])])]
    views = [view_of({AUTHORS: records}), view_of({"eval, plain": records[:1]})]
    table = selective_mask.rank_correlations(views)
    # Ranks of FAIRNESS are 1 6 2 3 4 5: squared differences 0 16 1 1 1 1, of six tensors.
    found = 1 - 6 * 20 / (6 * 35)
    assert table.to_numpy().tolist() == [
        ["some data", AUTHORS, "absolute", f"{found:+.2f}, -1.00"],
        ["some data", AUTHORS, "cosine", f"{found:+.2f}, {found:+.2f}"],
        ["some data", "eval, plain", "absolute", f"{found:+.2f}"],
        ["some data", "eval, plain", "cosine", f"{found:+.2f}"],
    ]


def test_medians_are_over_all_tensors_of_a_kind_of_all_seeds() -> None:
    larger = measured(1, draws=[([10 * d for d in DOMAIN], FAIRNESS)])
    table = selective_mask.medians_by_kind(view_of({AUTHORS: [measured(0), larger]}))
    rows = table.set_index("kind")
    # d 0.1, 0.3, 1 and 3; b 0.1 and 0.3, twice.
    assert rows.loc["conv"].tolist() == ["6.50e-01", "2.00e-01", f"{0.2 / 0.65:.2f}"]
    assert rows.loc["batchnorm weight"].tolist() == ["1.10e+00", "9.00e-01", f"{0.9 / 1.1:.2f}"]
    assert table["kind"].tolist() == list(dict.fromkeys(measured().results["kinds"]))


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
        AUTHORS: [random_measurement(seed) for seed in (1, 2, 3)],
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
        for r in results[AUTHORS]
    ]
    assert table.loc["absolute against cosine", "same model"] == f"{np.mean(kinds):.2f}"
    assert "nan" not in table.to_string()


def test_stability_of_one_seed_and_one_draw_is_empty() -> None:
    table = selective_mask.stability({AUTHORS: [random_measurement(1, draws=1)]}, 5)
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
    text = selective_mask.mask_in_words(view_of({AUTHORS: records}), 4)
    assert text.startswith("**some data**, k = 4: the mask holds 33% – 67% of the tensors and ")
    assert f"{4 / 53:.0%} – {44 / 53:.0%} of the scalar parameters" in text
    # Of stem and layer1 one and two of two, of fc none.
    assert "the largest share of `stem`, `layer1` and the smallest of `fc`" in text
    within = (2 / 4 + 1) / 2  # {bn1, layer1 bn} in the four of the other draw; and the same twice
    assert f"from other batches agree by {within:.2f} (Jaccard), of other seeds by 0.50," in text
    alone = selective_mask.mask_in_words(view_of({AUTHORS: [measured()]}), 4)
    assert "agree" not in alone


def test_sensitivities_are_drawn_at_their_values_and_filled_in_the_mask(
    computed: Computed,
) -> None:
    record = computed.masks[AUTHORS][0]
    k = 40
    (axes,) = drawn(selective_mask.sensitivity_figure(view_of(computed.masks), k)).axes
    values = record.results["draws"][0]["absolute"]
    assert sorted(points(axes, "o")) == sorted(
        zip(values["domain"], values["fairness"], strict=True)
    )
    chosen = set(computed.table_3["mask"][0].results["trained_tensors"])
    inside = {
        (values["domain"][i], values["fairness"][i])
        for i, name in enumerate(record.results["tensors"])
        if name in chosen
    }
    filled = {
        point
        for line in axes.lines
        if line.get_marker() == "o" and line.get_fillstyle() == "full"
        for point in zip(line.get_xdata(), line.get_ydata(), strict=True)
    }
    assert filled == inside
    # The thresholds: the mask lies left of the one and above the other, and all of it does.
    vertical, horizontal = (
        line for line in axes.lines if line.get_linestyle() == "--"
    )  # fmt: skip
    d, b = vertical.get_xdata()[0], horizontal.get_ydata()[0]
    assert {p for p in points(axes, "o") if p[0] <= d and p[1] >= b} == inside


def test_mask_figure_has_a_row_for_each_seed(computed: Computed) -> None:
    records = computed.masks[AUTHORS]
    (axes,) = drawn(selective_mask.mask_figure(view_of(computed.masks), 40)).axes
    shown = np.asarray(axes.get_images()[0].get_array())
    expected = [
        [name in record.results["trained_tensors"] for name in records[0].results["tensors"]]
        for record in computed.table_3["mask"]
    ]
    assert shown.astype(bool).tolist() == expected
    assert [label.get_text() for label in axes.get_yticklabels()] == ["seed 0", "seed 1", "seed 2"]
    assert ticks(axes) == ["stem", "layer1", "layer2", "layer3", "layer4", "fc"]
    assert len([line for line in axes.lines if isinstance(line, Line2D)]) == 5  # between blocks


def test_stability_figure_has_seeds_and_chance(computed: Computed) -> None:
    figure = selective_mask.stability_figure(view_of(computed.masks))
    (axes,) = drawn(figure).axes
    seeds, chance = axes.lines
    assert list(seeds.get_xdata()) == list(chance.get_xdata())
    assert (seeds.get_xdata()[-1], seeds.get_ydata()[-1], chance.get_ydata()[-1]) == (62, 1, 1)


def test_one_seed_has_nothing_to_compare() -> None:
    view = view_of({AUTHORS: [measured()]})
    assert selective_mask.stability_figure(view) == "One seed: nothing to compare."


def test_figure_and_table_of_the_mask_stand_above_the_authors_runs(computed: Computed) -> None:
    figure, table, source = selective_mask.what_it_holds(view_of(computed.masks), 40)
    assert plt.get_fignums() == [figure.number]  # nothing is drawn beside it
    assert isinstance(table, pd.DataFrame)
    named = {key: [r.run in source.text for r in runs] for key, runs in computed.masks.items()}
    assert named == {key: [key == AUTHORS] * 3 for key in computed.masks}
