"""Figures and tables draw what is there: one seed, missing values, missing settings."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests.conftest import Computed, MakeRecord, drawn, first_seed

from repro.chapters.win import contrasts as win_contrasts
from repro.metrics import group_metrics
from repro.study import figures, tables
from repro.study.interactive import score_histogram, threshold_playground
from repro.study.records import Results, value

METRICS = {win_contrasts.ERROR: "Err", win_contrasts.DP: "ΔDP", win_contrasts.EO: "ΔEO (sum)"}


pytestmark = pytest.mark.usefixtures("canvas")


@pytest.mark.parametrize("seeds", [1, 3])
def test_figures_draw_with_one_seed_and_with_more(computed: Computed, seeds: int) -> None:
    def few(results: Results) -> Results:
        return {key: records[:seeds] for key, records in results.items()}

    names = {key: key.upper() for key in computed.strategies}
    paper = {("tl", win_contrasts.DP): 0.2, ("tl", win_contrasts.ERROR): 0.16}
    settings = drawn(
        figures.settings_figure(
            few(computed.strategies), list(METRICS), names=names, reported=paper, title="T"
        )
    )
    assert len(settings.axes) == 3
    assert [label.get_text() for label in settings.axes[0].get_xticklabels()] == [*names.values()]


def test_the_seeds_are_the_dots_and_the_paper_the_diamond(computed: Computed) -> None:
    results = {"tl": computed.strategies["tl"]}
    figure = figures.settings_figure(
        results,
        [win_contrasts.DP],
        names={"tl": "TL", "none": "-"},
        reported={("tl", win_contrasts.DP): 0.2},
    )
    (axes,) = figure.axes
    expected = [100 * record.metrics()[win_contrasts.DP] for record in results["tl"]]
    marks = {str(line.get_marker()): line for line in axes.lines if len(line.get_ydata())}
    for mark, values in (("o", expected), ("s", [np.mean(expected)]), ("D", [20.0])):
        np.testing.assert_allclose(np.asarray(marks[mark].get_ydata(), dtype=float), values)


def test_missing_values_leave_a_gap(made_up: MakeRecord) -> None:
    quantity = "results:separation_auc_pca"
    none, some = (made_up(results={"separation_auc_pca": auc}) for auc in (None, 0.7))
    results = {"none": [none], "some": [some, none, some]}
    names = {key: key for key in results}
    figure = drawn(figures.settings_figure(results, [quantity], names=names))
    (axes,) = figure.axes
    assert {len(line.get_ydata()) for line in axes.lines} <= {1, 2}

    means = tables.means(results, {quantity: "AUC"}, names)
    assert means["AUC"].tolist() == ["", "70.00 ± 0.00 (2 of 3)"]
    one = {"a": [none, some, none], "b": [some, some, none]}
    found = tables.differences(one, {quantity: "AUC"}, [("a − b", "a", "b"), ("x", "a", "x")])
    # A missing value is left out; it is not 0.
    assert found["AUC"].tolist() == ["+0.00"]
    gone = tables.differences({"a": [none]}, {quantity: "AUC"}, [("a − a", "a", "a")])
    assert gone["AUC"].tolist() == [""]


def test_figures_draw_where_nothing_is_known(computed: Computed) -> None:
    names = {"tl": "TL"}
    drawn(figures.settings_figure({}, [win_contrasts.DP], names=names))
    assert len(tables.means({}, METRICS, names)) == 0
    assert "No records of nothing" in tables.source({}, "nothing", "again").text


# Tables


def test_means_are_those_of_the_seeds_with_half_the_interval(computed: Computed) -> None:
    paper = {("tl", win_contrasts.DP): 0.2}
    table = tables.means(computed.strategies, METRICS, {"tl": "TL", "none": "-"}, paper)
    assert table["setting"].tolist() == ["TL"]
    sample = [value(record, win_contrasts.DP) for record in computed.strategies["tl"]]
    half = stats.ttest_1samp(sample, 0).confidence_interval(0.95).high - np.mean(sample)
    row = table.iloc[0]
    assert row["ΔDP"] == f"{100 * np.mean(sample):.2f} ± {100 * half:.2f}"
    assert row["ΔDP, paper"] == "20.00"
    assert row["Err, paper"] == ""
    assert row["seeds"] == "3"
    alone = tables.means(first_seed(computed.strategies), METRICS, {"tl": "TL"})
    assert alone.iloc[0]["ΔDP"] == f"{100 * sample[0]:.2f}"


def test_differences_are_paired(computed: Computed) -> None:
    pairs = [("WIN − TL", "win, rank 1", "tl")]
    row = tables.differences(computed.strategies, METRICS, pairs).iloc[0]
    first, second = (
        [value(record, win_contrasts.EO) for record in computed.strategies[key]]
        for key in ("win, rank 1", "tl")
    )
    low, high = stats.ttest_rel(first, second).confidence_interval(0.95)
    mean = np.mean(np.subtract(first, second))
    assert row["ΔEO (sum)"] == f"{100 * mean:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"
    alone = tables.differences(first_seed(computed.strategies), METRICS, pairs).iloc[0]
    assert alone["ΔEO (sum)"] == f"{100 * (first[0] - second[0]):+.2f}"


def test_source_says_which_runs_and_how_to_get_them_again(computed: Computed) -> None:
    text = tables.source(computed.strategies, "a <set>", "make it <again>").text
    for records in computed.strategies.values():
        assert all(record.run in text for record in records)
    assert "a &lt;set&gt;, 24 runs, seeds 0-2" in text
    assert "make it &lt;again&gt;" in text
    assert "strategy win, rank 1, weight 0.5, seed 0" in text  # the seed 0 is a seed
    fair = tables.source(computed.tuned, "x", "y").text
    assert "constraint dp, intensity 0.5, seed 2" in fair


def test_source_says_that_the_sources_were_changed(made_up: MakeRecord) -> None:
    record = made_up()
    record.body["git_commit"] = "0123456789abcdef+changes"
    assert "commit 0123456789+changes" in tables.source([record], "x", "y").text


def test_seeds_are_listed_as_ranges(made_up: MakeRecord) -> None:
    records = [made_up(seed) for seed in (7, 0, 1, 2, 9, 10)]
    assert "seeds 0-2, 7, 9-10<" in tables.source(records, "x", "y").text


def test_tables_escape_what_they_hold() -> None:
    html = tables.show(pd.DataFrame({"a": ["<script>"]}))
    assert "<script>" not in html._repr_html_()
    assert "characters" in repr(html)


# To play with


def scores(n: int = 500) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"target": rng.integers(0, 2, n), "protected": rng.integers(0, 2, n)})
    score = rng.uniform(0, 1, n) * 0.7 + 0.3 * table["target"]
    return table.assign(score=[0.0, 1.0, 0.5, 0.29, *score[4:]])


def test_histogram_counts_every_score_once() -> None:
    table = scores()
    counts = score_histogram(table)
    assert counts.shape == (2, 2, 100)
    assert counts.sum() == len(table)
    for t in (0, 1):
        for p in (0, 1):
            group = table[(table["target"] == t) & (table["protected"] == p)]["score"]
            expected = np.histogram(group, bins=np.linspace(0, 1, 101))[0]
            assert np.abs(counts[t, p] - expected).sum() <= 2  # of scores right on an edge
    one = pd.DataFrame({"target": [1, 1], "protected": [0, 0], "score": [0.5, 1.0]})
    assert np.flatnonzero(score_histogram(one)[1, 0]).tolist() == [50, 99]


@pytest.mark.parametrize("score", [-0.01, 1.01, float("nan")])
def test_scores_out_of_range(score: float) -> None:
    with pytest.raises(ValueError, match=r"scores must lie in \[0, 1\]"):
        score_histogram(pd.DataFrame({"target": [1], "protected": [0], "score": [score]}))


CAPTION = "</script><!-- <script> & 'it' \\ \u2028"


def data_of(page: str) -> dict[str, object]:
    (found,) = re.findall(r"const data = (\{.*\});", page)
    data = json.loads(found)
    assert isinstance(data, dict)
    return data


def test_the_page_holds_the_counts_and_any_caption() -> None:
    page = threshold_playground(scores(), CAPTION).text
    assert page.casefold().count("<script") == page.casefold().count("</script>") == 1
    assert "<!--" not in page
    assert page.rstrip().endswith("</script>")
    assert data_of(page) == {"counts": score_histogram(scores()).tolist(), "caption": CAPTION}
    assert "http" not in page  # nothing is loaded from elsewhere


# As much of a page as the script touches.
PAGE = """
const parts = {};
const part = (name) => parts[name] = parts[name] || {
  value: {"pg-0": "50", "pg-1": "50"}[name], checked: true, on: {},
  addEventListener(what, act) { this.on[what] = act; },
};
globalThis.document = { currentScript: { previousElementSibling: {
  querySelector: (name) => part(name.slice(1)) } } };
SCRIPT
const shown = () => parts["pg-table"].innerHTML;
const seen = { caption: parts["pg-caption"].textContent, start: shown() };
part("pg-same").checked = false;
parts["pg-0"].value = "30"; parts["pg-0"].on.input({ target: { value: "30" } });
seen.moved = shown();
part("pg-dp").on.click(); seen.dp = shown();
seen.thresholds = [0, 1].map((p) => Number(parts["pg-" + p].value));
console.log(JSON.stringify(seen));
"""


def percents(table: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+\.\d", table)]


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node to run the page's script")
def test_the_script_computes_the_metrics_of_the_study() -> None:
    table = scores()
    page = threshold_playground(table, CAPTION).text
    (script,) = re.findall(r"<script>(.*)</script>", page, re.S)
    done = subprocess.run(
        ["node", "-"], input=PAGE.replace("SCRIPT", script), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["caption"] == CAPTION

    def expected(women: float, men: float) -> list[float]:
        threshold = np.where(table["protected"] == 1, men, women)
        yes = (table["score"] >= threshold).to_numpy()
        found = group_metrics(table["target"], yes, table["protected"])
        p = table["protected"].to_numpy()
        t = table["target"].to_numpy()
        rows = [
            [yes[p == 0].mean(), yes[p == 1].mean(), found["demographic_parity"]],
            *(
                [*(rate := [yes[(t == k) & (p == q)].mean() for q in (0, 1)]), np.ptp(rate)]
                for k in (1, 0)
            ),
            list(found["equalized_odds"].values()),
            [found["accuracy"]],
        ]
        return [100 * number for row in rows for number in row]

    assert percents(seen["start"]) == pytest.approx(expected(0.5, 0.5), abs=0.051)
    assert percents(seen["moved"]) == pytest.approx(expected(0.3, 0.5), abs=0.051)
    women, men = seen["thresholds"]
    fair = expected(women / 100, men / 100)
    assert percents(seen["dp"]) == pytest.approx(fair, abs=0.051)
    assert fair[2] < 0.1


@pytest.mark.parametrize(
    ("configs", "expected"),
    [
        ([{}], "the split of the people, the initialisation and the order of batches"),
        (
            [{"stage": "aim-train", "data": {"toy_seed": 3}}],
            "the toy faces (training, validation and test), initialisation, order, augmentation, "
            "and the draw of S1 and S2",
        ),
        (
            [{"stage": "aim-train", "data": {}, "synthetic": {"seed": s}} for s in (42, 43)],
            "prompts and synthetic images, initialisation, order, augmentation, and the draw of S1 "
            "and S2 (the photographs stay)",
        ),
        (
            [{"stage": "aim-finetune"}],  # of what it goes on from, no more is known
            "initialisation, order, augmentation, and the draw of S1 and S2",
        ),
        (
            [{"stage": "win-face-finetune"}],
            "the split of the new task's people and the head (backbone and test images stay)",
        ),
    ],
)
def test_what_seeds_vary_is_read_from_the_runs(
    made_up: MakeRecord, configs: list[dict[str, Any]], expected: str
) -> None:
    assert tables.varied([made_up(3, **config) for config in configs]) == expected
