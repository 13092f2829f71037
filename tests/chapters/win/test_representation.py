from __future__ import annotations

import numpy as np
from tests.chapters.conftest import view_of
from tests.conftest import Computed, MakeRecord, drawn

from repro.chapters.win import representation
from repro.study.runs import Record


def probe_of(make: MakeRecord, *, auc: float | None) -> Record:
    results = {"separation_auc": auc, "separation_auc_pca": auc}
    if auc is not None:
        edges = np.linspace(-1, 1, 33).tolist()
        density = np.random.default_rng(0).integers(0, 9, (2, 32, 32)).tolist()
        results |= {"pca_edges": [edges, edges], "pca_density": density}
    return make(results=results)


def test_too_few_predicted_positive_are_not_drawn(made_up: MakeRecord) -> None:
    none, some = probe_of(made_up, auc=None), probe_of(made_up, auc=0.7)
    both = drawn(representation.pca_figure(view_of({"unconstrained": [none], "dp 0.9": [some]})))
    assert "too few" in both.axes[0].get_title()
    assert "AUC 0.70" in both.axes[1].get_title()
    drawn(representation.pca_figure(view_of({"unconstrained": [none]})))


def test_the_strongest_constraints_stand_beside_the_unconstrained(made_up: MakeRecord) -> None:
    keys = ("unconstrained", "dp 0.1", "dp 0.9", "eo 0.1", "eo 0.9")
    records = {key: [made_up(seed, run=f"{key}, {seed}") for seed in (0, 1)] for key in keys}
    found = {
        name: record.run for name, record in representation.strongest(view_of(records)).items()
    }
    assert found == {
        "unconstrained": "unconstrained, 0",
        "fair: DP 0.9": "dp 0.9, 0",
        "fair: EO 0.9": "eo 0.9, 0",
    }


def test_separation_has_a_panel_for_each_auc(computed: Computed) -> None:
    figure = drawn(representation.separation_figure(view_of(computed.probes)))
    assert len(figure.axes) == 2
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == list(computed.probes)
