"""The error of the test set: against the variance of a paired proportion, and where it is due."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.conftest import MakeRecord

from repro.study import sampling
from repro.study.claims import Contrast
from repro.study.judging import judge
from repro.study.runs import Record

N = 400  # examples of each group


def predictions(right: np.ndarray) -> pd.DataFrame:
    """Return predictions of 4 N examples of which those of group (0,0) are right as given."""
    target = np.repeat([0, 0, 1, 1], N)
    score = np.where(target == 1, 0.9, 0.1)
    score[:N] = np.where(right, 0.1, 0.9)
    return pd.DataFrame(
        {
            "example": [f"{i:06}.jpg" for i in range(4 * N)],
            "target": target,
            "protected": np.tile(np.repeat([0, 1], N), 2),
            "score": score,
        }
    ).sample(frac=1, random_state=3)  # in whatever order they were stored


def paired(only_first: float, only_second: float) -> tuple[np.ndarray, np.ndarray]:
    """Return who is right under two settings, of whom some are right under one alone."""
    first, second = np.ones(N, dtype=bool), np.ones(N, dtype=bool)
    second[: round(only_first * N)] = False
    first[N - round(only_second * N) :] = False
    return first, second


@pytest.mark.parametrize(("b", "c"), [(0.2, 0.1), (0.3, 0.3)])
def test_one_seed_has_the_variance_of_a_paired_proportion(b: float, c: float) -> None:
    first, second = paired(b, c)
    found = sampling.variance(
        [predictions(first)], [[predictions(second)]], "accuracy_t0_p0", draws=2000
    )
    assert found == pytest.approx((b + c - (b - c) ** 2) / N, rel=0.12)


def test_seeds_that_agree_share_the_error_and_others_average_it() -> None:
    first, second = paired(0.2, 0.0)
    alike = [predictions(first)] * 4, [predictions(second)] * 4
    turned = np.roll(second, N // 2)  # other examples are wrong in every other seed
    apart = [predictions(second), predictions(turned)] * 2
    metric = "accuracy_t0_p0"
    same = sampling.variance(alike[0], [alike[1]], metric, draws=2000)
    assert same == pytest.approx(0.2 * 0.8 / N, rel=0.12)
    # The mean over two disjoint fifths: d is 0.5 for two fifths of the examples.
    other = sampling.variance(alike[0], [apart], metric, draws=2000)
    assert other == pytest.approx(0.25 * 0.4 * 0.6 / N, rel=0.12)


def made(make: MakeRecord, setting: str, seeds: int) -> list[Record]:
    return [make(s, (0, 0, 0, 500 + s % 3), run=f"{setting}-{s}") for s in range(seeds)]


CONTRAST = Contrast("a against b", "a", "b", "equalized_odds_max", "less")


def test_it_is_added_from_ten_seeds_on_where_they_share_a_test_set(
    made_up: MakeRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "recorded_folder", lambda: tmp_path)
    monkeypatch.setattr(Record, "predictions", lambda self: None)
    monkeypatch.setattr(sampling, "variance", lambda *args: 0.0004)
    results = {
        "a": [Record(r.body, Path("here")) for r in made(made_up, "a", 10)],
        "b": [
            Record(made_up(s, (0, 0, 0, 700 + 5 * s), run=f"b-{s}").body, Path("here"))
            for s in range(10)
        ],
    }
    plain = judge(CONTRAST, results, paper="aim-fair", simulated=True).found
    wider = judge(CONTRAST, results, paper="aim-fair").found
    half, wide = (o.interval.high - o.interval.mean for o in (plain, wider))
    assert wide == pytest.approx(np.hypot(half, 2.2621571628 * 0.02))  # t of 9 at 97.5 %
    assert sampling.of_contrast(CONTRAST, results, "win", simulated=False) == 0
    few = {key: group[:9] for key, group in results.items()}
    assert sampling.of_contrast(CONTRAST, few, "aim-fair", simulated=False) == 0

    # What was exported is used where the predictions are not.
    path = tmp_path / "desk.sampling.json"
    assert sampling.export([(CONTRAST, results, "aim-fair")], path) == 1
    monkeypatch.setattr(sampling, "variance", None)
    away = {key: [Record(r.body) for r in group] for key, group in results.items()}
    assert sampling.of_contrast(CONTRAST, away, "aim-fair", simulated=False) == 0.0004
    path.unlink()
    assert sampling.of_contrast(CONTRAST, away, "aim-fair", simulated=False) == 0
