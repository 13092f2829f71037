from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from tests.data.conftest import effects

from repro.data import toycensus
from repro.data.schema import EDUCATION, MISSING
from repro.data.splits import task_split
from repro.data.tabular import Encoder, Table, drop_incomplete
from repro.data.toycensus import (
    CensusSettings,
    counterfactual,
    counterfactual_records,
    fingerprint,
    generate,
)

SMALL = CensusSettings(n=4000, seed=3)


def _gap(target: Any, protected: Any) -> float:
    return float(target[protected == 1].mean() - target[protected == 0].mean())


def test_the_default_resembles_adult(census: Table) -> None:
    # Adult: 48,842 people, 66.8 % men, positive 23.9 % (men 30.4 %, women 10.9 %), 45,222 complete.
    assert len(census) == 48_842
    assert census.name == "toycensus"
    assert census.simulated
    assert census.protected.mean() == pytest.approx(0.668, abs=0.01)
    assert census.target.mean() == pytest.approx(0.239, abs=0.01)
    assert census.target[census.protected == 1].mean() == pytest.approx(0.304, abs=0.012)
    assert census.target[census.protected == 0].mean() == pytest.approx(0.109, abs=0.012)
    frame = census.frame
    assert frame["age"].mean() == pytest.approx(38.6, abs=1)
    assert frame["hours-per-week"].mean() == pytest.approx(40.4, abs=1)
    assert (frame["hours-per-week"] == 40).mean() == pytest.approx(0.467, abs=0.03)
    assert (frame["capital-gain"] > 0).mean() == pytest.approx(0.083, abs=0.02)
    assert (frame["marital-status"] == "Married-civ-spouse").mean() == pytest.approx(
        0.458, abs=0.03
    )
    assert len(drop_incomplete(census)) == pytest.approx(45_222, rel=0.02)


def test_the_default_resembles_adult_itself(census: Table, adult_table: Table) -> None:
    for column in ("workclass", "education", "marital-status", "occupation", "relationship"):
        shares = pd.concat(
            [t.frame[column].value_counts(normalize=True) for t in (census, adult_table)], axis=1
        ).fillna(0)
        # Total variation distance of the marginals.
        assert (shares.iloc[:, 0] - shares.iloc[:, 1]).abs().sum() / 2 < 0.08, column


def test_the_numbers_of_this_version_do_not_change(census: Table) -> None:
    # If this fails on purpose, raise toycensus.VERSION: runs are named by it.
    assert toycensus.VERSION == 1
    cells = np.bincount(2 * census.target + census.protected, minlength=4)
    # A few people lie so near a threshold that another libm may tip them over.
    np.testing.assert_allclose(cells, [14480, 22846, 1793, 9723], atol=5)
    assert census.frame["age"].iloc[:6].tolist() == [18, 33, 25, 31, 40, 69]
    assert census.frame["occupation"].iloc[:3].tolist() == [
        "Transport-moving",
        "Tech-support",
        "Handlers-cleaners",
    ]


def test_records_hang_together(census: Table) -> None:
    frame = census.frame
    numbers = frame["education"].map({name: i + 1 for i, name in enumerate(EDUCATION)})
    assert numbers.eq(frame["education-num"]).all()
    wed = frame["marital-status"].isin(["Married-civ-spouse", "Married-AF-spouse"])
    assert (wed == frame["relationship"].isin(["Husband", "Wife"])).all()
    assert frame.loc[frame["relationship"] == "Husband", "sex"].eq("Male").all()
    assert frame.loc[frame["relationship"] == "Wife", "sex"].eq("Female").all()
    idle = frame["workclass"].isin([MISSING, "Never-worked"])
    assert (idle == frame["occupation"].eq(MISSING)).all()
    assert frame["age"].between(17, 90).all()
    assert frame["hours-per-week"].between(1, 99).all()
    assert frame["capital-gain"].between(0, 99_999).all()


def test_it_is_fast_and_deterministic(census: Table) -> None:
    start = time.perf_counter()
    again = generate()
    # About 0.2 s; the margin is for a busy machine.
    assert time.perf_counter() - start < 5
    pd.testing.assert_frame_equal(census.frame, again.frame)
    np.testing.assert_array_equal(census.target, again.target)
    other = generate(CensusSettings(seed=1))
    assert (other.frame["age"] != census.frame["age"]).mean() > 0.5


def test_a_model_can_learn_it_about_as_well_as_adult(census: Table) -> None:
    parts = task_split(census.target, census.protected, seed=0)
    train, test = parts["pretrain_train"][::4], parts["task_test"]
    features = Encoder.fit(census, train).transform(census.frame)
    model = LogisticRegression(max_iter=200).fit(features[train], census.target[train])
    predicted = model.predict(features[test])
    assert 0.80 < (predicted == census.target[test]).mean() < 0.86
    # The labels are biased, so a model that learns them is.
    assert _gap(predicted, census.protected[test]) > 0.1


@pytest.mark.parametrize("settings", [SMALL, replace(SMALL, bias=2.0), replace(SMALL, noise=0.0)])
def test_the_counterfactual_of_the_own_sex_is_the_fact(settings: CensusSettings) -> None:
    table = generate(settings)
    for sex in (0, 1):
        own = table.protected == sex
        for paths in ("all", "direct", "mediated"):
            labels = counterfactual(settings, sex, paths)  # type: ignore[arg-type]
            assert labels.dtype == np.int8
            np.testing.assert_array_equal(labels[own], table.target[own])
            people = counterfactual_records(settings, sex, paths)  # type: ignore[arg-type]
            pd.testing.assert_frame_equal(people[own], table.frame[own])


@pytest.mark.parametrize(
    ("settings", "silent"),
    [
        (CensusSettings(bias=0), ("total", "direct", "mediated")),
        (CensusSettings(direct=0), ("direct",)),
        (CensusSettings(mediated=0), ("mediated",)),
    ],
)
def test_a_path_that_is_closed_carries_nothing(
    settings: CensusSettings, silent: tuple[str, ...]
) -> None:
    found = effects(settings)
    for name, effect in found.items():
        if name in silent:
            assert effect == 0
        else:
            assert effect > 0.02
    if silent == ("direct",):
        assert found["total"] == found["mediated"]
    if silent == ("mediated",):
        assert found["total"] == found["direct"]


def test_the_record_of_another_sex_differs_downstream_of_it_alone() -> None:
    mediators = {"marital-status", "occupation", "hours-per-week"}
    for paths, moved in (
        ("direct", {"sex", "relationship"}),
        ("mediated", mediators | {"relationship"}),
        ("all", mediators | {"sex", "relationship"}),
    ):
        as_woman, as_man = (counterfactual_records(SMALL, sex, paths) for sex in (0, 1))  # type: ignore[arg-type]
        assert {c for c in as_man if not as_man[c].equals(as_woman[c])} == moved


def test_without_bias_no_single_label_depends_on_sex() -> None:
    settings = replace(SMALL, bias=0.0)
    labels = [counterfactual(settings, sex) for sex in (0, 1)]
    np.testing.assert_array_equal(labels[0], labels[1])
    np.testing.assert_array_equal(labels[0], generate(settings).target)


def test_the_direct_path_only_ever_helps_men() -> None:
    as_woman, as_man = (counterfactual(SMALL, sex, "direct") for sex in (0, 1))
    assert (as_man >= as_woman).all()
    assert (as_man > as_woman).any()


@pytest.mark.parametrize("bias", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_observed_difference_is_the_total_effect(bias: float, seed: int) -> None:
    settings = CensusSettings(n=20_000, bias=bias, seed=seed)
    table = generate(settings)
    observed = _gap(table.target, table.protected)
    rates = [(table.target[table.protected == sex].mean(), (table.protected == sex).sum())
             for sex in (0, 1)]  # fmt: skip
    error = sum(rate * (1 - rate) / n for rate, n in rates) ** 0.5
    assert abs(observed - effects(settings)["total"]) < 4 * error


def test_more_bias_is_more_effect_at_about_the_same_rate() -> None:
    found = [effects(replace(CensusSettings(), bias=bias))["total"] for bias in (0, 0.5, 1, 1.5)]
    assert found == sorted(found)
    assert found[2] == pytest.approx(0.19, abs=0.02)
    rates = [generate(CensusSettings(bias=bias)).target.mean() for bias in (0.0, 1.0, 2.0)]
    assert max(rates) - min(rates) < 0.05


def test_counterfactuals_leave_the_noise_alone() -> None:
    # Everything upstream of sex or apart from it is the same person in every world.
    biased, fair = generate(SMALL), generate(replace(SMALL, bias=0.0))
    for column in ("age", "fnlwgt", "education", "race", "sex", "capital-gain", "native-country"):
        pd.testing.assert_series_equal(biased.frame[column], fair.frame[column])
    assert (biased.frame["marital-status"] != fair.frame["marital-status"]).any()


def test_noise_makes_the_task_harder(census: Table) -> None:
    def accuracy(table: Table) -> float:
        half = np.arange(len(table) // 2)
        features = Encoder.fit(table, half).transform(table.frame)
        model = LogisticRegression(max_iter=500).fit(features[half], table.target[half])
        return float(model.score(features[len(half) :], table.target[len(half) :]))

    scores = [accuracy(generate(replace(SMALL, noise=noise))) for noise in (0.0, 1.0, 4.0)]
    assert scores == sorted(scores, reverse=True)


def test_the_fingerprint_names_settings_and_version(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = CensusSettings()
    digests = {fingerprint(settings)}
    for name, value in asdict(settings).items():
        digests.add(fingerprint(replace(settings, **{name: value + 1})))
    assert len(digests) == 1 + len(asdict(settings))
    assert generate(SMALL).sha256 == {"toycensus": fingerprint(SMALL)}
    # Equal settings have equal names, however the number was written.
    for same in (CensusSettings(bias=1), CensusSettings(seed=np.int64(0), noise=np.float64(1))):
        assert fingerprint(same) == fingerprint(settings)
    assert fingerprint(CensusSettings(bias=-0.0)) == fingerprint(CensusSettings(bias=0))
    monkeypatch.setattr(toycensus, "VERSION", 2)
    assert fingerprint(settings) not in digests


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": 0}, "n must be at least 1"),
        ({"seed": -1}, "must not be negative"),
        ({"noise": -0.1}, "must not be negative"),
        ({"bias": float("nan")}, "bias must be finite"),
        ({"direct": float("inf")}, "direct must be finite"),
    ],
)
def test_meaningless_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CensusSettings(**changes)


def test_meaningless_questions_are_refused() -> None:
    with pytest.raises(ValueError, match="protected must be 0 or 1"):
        counterfactual(SMALL, 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="paths must be one of"):
        counterfactual(SMALL, 1, "indirect")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no record of the protected group"):
        generate(CensusSettings(n=1))
    with pytest.raises(TypeError):
        CensusSettings(n=10.5)  # type: ignore[arg-type]
