"""Chapter 20: the groups of every set, toy faces of each, and the four properties."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from tests.chapters.conftest import view_of
from tests.conftest import MakeRecord

from repro.chapters.aim import biased_data, plans
from repro.data import toyfaces
from repro.data.toyfaces.factors import draw_factors
from repro.study.profiles import load_profile
from repro.study.records import recorded
from repro.study.runs import Record

STUDIO = {"source": "studio", "total": 80, "pool": 60}
SMALL = {"faces.data.size": 16, "faces.data.total": 160, "faces.synthetic": STUDIO}


@pytest.fixture(scope="module")
def drawn() -> biased_data.Drawn:
    return biased_data.drawn(load_profile("quick", SMALL), 3)


def heights(figure: Figure) -> dict[str, list[float]]:
    """Return the bars of each set by group."""
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_xticklabels()]
    bars = [[bar.get_height() for bar in group] for group in axes.containers]
    return {name: [group[at] for group in bars] for at, name in enumerate(names)}


def test_bars_are_the_groups_of_each_set_of_the_seed(drawn: biased_data.Drawn) -> None:
    (figure,) = biased_data.groups(drawn, title="T")
    assert isinstance(figure, Figure)
    found = heights(figure)
    assert list(found) == ["real, training", "validation", "test", "synthetic S1", "synthetic S2"]
    assert found["real, training"] == [8, 72, 72, 8]  # 160 at 1:9
    assert found["synthetic S1"] == [4, 36, 36, 4]
    assert found["synthetic S2"] == [20] * 4
    table = toyfaces.factors(toyfaces.ToyFaces(n=2000, seed=3))
    people = table.loc[list(drawn.real.test.names)]  # names hold the seed
    counted = people.groupby(["Smiling", "Male"]).size()
    assert found["test"] == counted.tolist()


def test_what_was_left_out_is_said_and_real_images_stand_alone(drawn: biased_data.Drawn) -> None:
    skipped = {"image not on disk": 1200, "damaged": 3}
    real = dataclasses.replace(drawn.real, skipped=skipped)
    figure, words = biased_data.groups(biased_data.Drawn(real, None), title="T")
    assert isinstance(figure, Figure)
    assert list(heights(figure)) == ["real, training", "validation", "test"]
    assert words == "Left out: 1,200 (image not on disk); 3 (damaged)"
    alone = load_profile("quick", SMALL | {"faces.synthetic": None})
    assert biased_data.drawn(alone, 3).synthetic is None


def test_averages_are_of_the_test_part() -> None:
    images = biased_data.drawn(load_profile("quick", SMALL | {"faces.data.total": 800}), 0)
    figure = biased_data.averages(images, data_label="some data")
    assert figure.get_suptitle() == "test part of some data"
    test = images.real.test
    at = (test.target == 1) & (test.protected == 0)
    mean = test.images[test.rows[at]].numpy().mean(axis=0).transpose(1, 2, 0) / 255
    axes = figure.axes[2]
    assert axes.get_title() == f"(1,0)\nmean of {int(at.sum()):,}"
    np.testing.assert_allclose(np.asarray(axes.get_images()[0].get_array()), mean, atol=1e-5)


def test_toy_faces_of_each_row_are_the_first_of_its_group_and_domain() -> None:
    figure = biased_data.toy_faces_figure(32, columns=2)
    names = [text.get_text() for axes in figure.axes for text in axes.texts]
    pairs = ("(0,0)", "(0,1)", "(1,0)", "(1,1)")
    assert names == [f"{domain} {pair}" for domain in ("camera", "studio") for pair in pairs]
    people = draw_factors(400, seed=11)
    # A face is drawn from its own row, whoever else is there.
    for row, domain, t, p in ((1, "camera", 0, 1), (6, "studio", 1, 0)):
        own = people[(people["Smiling"] == t) & (people["Male"] == p)].head(2)
        expected = toyfaces.render(own, toyfaces.ToyFaces(size=64, domain=domain))
        for at, image in enumerate(expected):
            shown = figure.axes[2 * row + at].get_images()[0].get_array()
            assert np.array_equal(np.asarray(shown), image.permute(1, 2, 0).numpy())


def test_shares_count_who_has_an_attribute() -> None:
    table = biased_data.attribute_shares(400).set_index("attribute")["share with value 1"]
    images = toyfaces.generate(toyfaces.ToyFaces(n=400, seed=11, size=16, domain="studio"))
    assert list(table.index) == list(images.attributes.columns)
    for name, share in table.items():
        assert share == f"{sum(images.attribute(str(name)).tolist()) / 4:.0f}%"


def test_the_largest_correlation_is_the_largest_whatever_its_sign(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = "Largest correlation between Smiling, Male and Young among 4,000 faces: "
    assert float(biased_data.independence_in_words().removeprefix(start).split(";")[0]) < 0.05
    assert "pair is below 0.031 nineteen" in biased_data.independence_in_words()  # 1.96 / 63.2
    male = np.array([0, 1, 1, 1] * 25)
    table = pd.DataFrame({"Smiling": [0, 1] * 50, "Male": male, "Young": 1 - male})
    monkeypatch.setattr(toyfaces, "factors", lambda _: table)
    words = biased_data.independence_in_words(100)
    assert words.startswith(start.replace("4,000", "100") + "1.000; ")
    assert "below 0.196 nineteen" in words
    # Smiling against Male: covariance 1/8, standard deviations 1/2 and sqrt(3)/4.
    monkeypatch.setattr(toyfaces, "factors", lambda _: table.assign(Young=[0, 0, 1, 1] * 25))
    assert f": {(1 / 8) / (0.5 * 3**0.5 / 4):.3f};" in biased_data.independence_in_words(100)


@pytest.fixture
def results(made_up: MakeRecord) -> dict[str, Any]:
    # Of 1000 people a group: right are all with t = 0, and of t = 1 those who are predicted 1.
    return {
        "balanced real": [made_up(0, (0, 0, 1000, 1000))],
        "erm": [made_up(0, (0, 0, 1000, 600))],
        "synthetic only": [made_up(0, (0, 0, 900, 900))],
    }


def test_properties_are_differences_from_the_balanced_classifier(results: dict[str, Any]) -> None:
    _, table, pairs, premise, _ = biased_data.compared(view_of(results, "toy", "aim-fair"))
    assert premise == biased_data.premise_in_words(results)
    assert table["setting"].tolist() == list(biased_data.TRAINED_ON.values())
    assert table["ACC"].tolist() == ["100.00", "90.00", "95.00"]
    assert table["WST"].tolist() == ["100.00", "60.00", "90.00"]
    assert table["EO (max)"].tolist() == ["0.00", "40.00", "0.00"]
    assert pairs["difference"].tolist() == ["biased − balanced", "synthetic − balanced"]
    assert pairs["WST"].tolist() == ["-40.00", "-10.00"]
    # Of real data there is no balanced set: nothing is compared with it.
    del results["balanced real"]
    _, table, pairs, *_ = biased_data.compared(view_of(results, "toy", "aim-fair"))
    assert len(table) == 2
    assert pairs.empty
    assert biased_data.compared(view_of({}, "toy", "aim-fair")) == []


def test_group_accuracies_are_those_of_what_was_trained_on(results: dict[str, Any]) -> None:
    (axes,) = biased_data.compared(view_of(results, "toy", "aim-fair"))[0].axes
    named = [label.get_text() for label in axes.get_xticklabels()]
    assert named == list(biased_data.TRAINED_ON.values())
    dots = [line.get_ydata()[0] for line in axes.lines if line.get_marker() == "o"]
    assert dots == [100, 100, 100, 100, 100, 100, 100, 60, 100, 100, 90, 90]


def test_the_premise_compares_means_of_equalised_odds(made_up: MakeRecord) -> None:
    # Of 1,000 images in each group; the largest gap of both rates is that of the false positives.
    def gaps(*wrong: int) -> list[Record]:
        return [made_up(seed, (n, 0, 0, 0)) for seed, n in enumerate(wrong)]

    results = {"erm": gaps(200, 300), "synthetic only": gaps(100, 150), "balanced real": gaps(1, 2)}
    assert biased_data.premise(results) == pytest.approx(0.5)
    assert biased_data.premise_in_words(results) == (
        "The premise **holds**: equalised odds (max) of 12.5 after synthetic images alone, 50% of "
        "ERM's 25.0. Who guesses is fair, too: accuracies are 46.9 and 43.8."
    )
    results["synthetic only"] = gaps(100, 151)
    assert biased_data.premise_in_words(results).startswith("The premise **fails**: ")
    del results["synthetic only"]
    assert biased_data.premise(results) is None
    assert "cannot be read here" in biased_data.premise_in_words(results)


def test_the_premise_holds_on_recorded_toy_faces() -> None:
    # Property (d), the fourth, of toy faces as the generator draws them, on every recorded seed.
    toy = load_profile("toy")
    plan, there = plans.properties(toy, toy.seeds), recorded("toy")
    found = {
        key: [there[config.identity] for config in plan[key]] for key in ("erm", "synthetic only")
    }

    def odds(record: Record) -> float:
        counts = record.counts()  # [t, p, predicted]
        rates = counts[..., 1] / counts.sum(axis=-1)
        return float(np.abs(rates[:, 0] - rates[:, 1]).max())

    alone, erm = (
        np.mean([odds(record) for record in found[key]]) for key in ("synthetic only", "erm")
    )
    assert biased_data.premise(found) == pytest.approx(alone / erm)
    assert alone / erm <= 0.5
