"""The lead of the best frozen block, against statistics from elsewhere."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats
from tests.conftest import MakeRecord

from repro.chapters.aim import layer_freezing
from repro.chapters.aim.layer_freezing import lead_and_noise, leads_by_chance
from repro.study.profiles import load_profile
from repro.study.session import View
from repro.study.tables import Html


def expected_best(m: int) -> float:
    """Return the mean of the largest of m standard normal numbers, by integration."""
    return float(
        integrate.quad(lambda z: z * m * stats.norm.pdf(z) * stats.norm.cdf(z) ** (m - 1), -10, 10)[
            0
        ]
    )


@pytest.mark.parametrize(("seeds", "blocks"), [(2, 2), (3, 5), (7, 4)])
def test_noise_is_the_residual_of_least_squares(seeds: int, blocks: int) -> None:
    """A two-way model without interaction, fitted with one dummy variable for each row, column."""
    table = np.random.default_rng(seeds).normal(size=(seeds, blocks)) + np.arange(seeds)[:, None]
    row, column = np.indices(table.shape).reshape(2, -1)
    design = np.c_[row[:, None] == np.arange(seeds), column[:, None] == np.arange(blocks)]
    design = design.astype(float)
    fitted = design @ np.linalg.lstsq(design, table.ravel(), rcond=None)[0]
    free = table.size - np.linalg.matrix_rank(design)
    lead, noise = lead_and_noise(table)
    assert noise == pytest.approx(np.sqrt(np.sum((table.ravel() - fitted) ** 2) / free))
    means = [np.mean(table[:, j]) for j in range(blocks)]
    assert lead == pytest.approx(max(means) - np.mean(means))


@pytest.mark.parametrize(("seeds", "blocks"), [(3, 5), (10, 2)])
def test_noise_and_lead_of_equally_good_blocks_are_those_of_the_text(
    seeds: int, blocks: int
) -> None:
    """E σ̂² = σ² whatever seeds do, and the lead is σ e_m / √n."""
    rng, sigma = np.random.default_rng(0), 0.3
    shifts = rng.normal(scale=5, size=(40_000, seeds, 1))
    leads, noises = lead_and_noise(shifts + rng.normal(scale=sigma, size=(40_000, seeds, blocks)))
    assert np.mean(noises**2) == pytest.approx(sigma**2, rel=0.02)
    assert np.mean(leads) == pytest.approx(sigma * expected_best(blocks) / np.sqrt(seeds), rel=0.02)


#: Of 1000 people in group (1,1) so many are predicted 1, seed by seed; EO is a thousandth of it.
FROZEN = {"freeze layer4": (300, 420, 390), "freeze fc": (280, 310, 400)}


def view_of(made_up: MakeRecord, seeds: int = 3) -> View:
    results = {
        key: [made_up(seed, (0, 0, 0, n)) for seed, n in enumerate(numbers[:seeds])]
        for key, numbers in (FROZEN | {"erm": (500, 500, 500)}).items()
    }
    return View("toys", results, "again", load_profile("smoke"), "aim-fair")


def test_leads_by_chance(made_up: MakeRecord) -> None:
    heading, table, source = leads_by_chance(view_of(made_up))
    assert heading == "**toys**, points; 3 seeds, 2 blocks:"
    assert isinstance(source, Html)
    assert isinstance(table, pd.DataFrame)
    wst, eo = table.to_dict("records")
    # Nobody of target 1 but these is predicted 1: WST is 0 in every run, and so is its lead.
    assert (wst["leads the mean by"], wst["σ"]) == ("0.00", "0.00")
    gap = np.subtract(FROZEN["freeze layer4"], FROZEN["freeze fc"]) / 10  # points
    assert eo["best block"] == "freeze fc"
    assert float(eo["leads the mean by"]) == pytest.approx(gap.mean() / 2, abs=0.006)
    # Of two blocks all is in the differences: σ is theirs over √2, the chance that of a t test.
    assert float(eo["σ"]) == pytest.approx(gap.std(ddof=1) / np.sqrt(2), abs=0.006)
    chance = 100 * stats.ttest_1samp(gap, 0).pvalue
    assert float(eo["as large a lead by chance"].rstrip("%")) == pytest.approx(chance, abs=1.5)


def test_a_lead_by_chance_takes_two_seeds(made_up: MakeRecord) -> None:
    (said,) = leads_by_chance(view_of(made_up, seeds=1))
    assert said == "**toys**: a lead by chance takes two blocks and two seeds."
    assert set(layer_freezing.frozen_blocks(view_of(made_up))) == {"freeze layer4", "freeze fc"}
