"""The page to play with counts every score and computes the metrics of the study."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from repro.metrics import group_metrics
from repro.study.interactive import score_histogram, threshold_playground


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
