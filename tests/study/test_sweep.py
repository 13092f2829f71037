"""What the sweep shares out and what waits for what, as it follows from the plans."""

from __future__ import annotations

import pytest

from repro.study.experiments import everything, experiments
from repro.study.profiles import load_profile, profile_names
from repro.study.sweep import DRAWS, Sweep, _longest, forecast, sweeps


@pytest.mark.parametrize("name", profile_names())
def test_no_notebook_waits_for_itself_by_way_of_others(name: str) -> None:
    after = {notebook: set(sweep.after) for notebook, sweep in sweeps(load_profile(name)).items()}
    done: set[str] = set()
    while ready := {notebook for notebook, first in after.items() if first <= done} - done:
        done |= ready
    assert done == experiments().keys()


def test_the_mask_waits_for_the_classifier_and_fine_tuning_for_the_mask() -> None:
    found = sweeps(load_profile("quick"))
    assert set(found["24_selective_mask"].after) == {"20_biased_data", DRAWS}
    assert set(found["31_top_k"].after) == {"20_biased_data", "24_selective_mask", DRAWS}
    assert set(found["30_layer_freezing"].after) == {"20_biased_data", DRAWS}  # it has no mask
    assert found["43_win_on_adult"].after == ("40_finetuning_brings_bias_back",)
    assert found["40_finetuning_brings_bias_back"].after == ()
    assert "45_win_on_faces" in found["47_is_it_the_neutralising"].after


def test_what_reads_no_drawn_images_does_not_wait_for_them() -> None:
    real = load_profile("quick", {"faces.synthetic": None})
    assert all(DRAWS not in sweep.after for sweep in sweeps(real).values())
    there = sweeps(load_profile("quick"), drawn=True)
    assert all(DRAWS not in sweep.after for sweep in there.values())
    assert there["24_selective_mask"].after == ("20_biased_data",)


def test_seeds_are_shared_out_where_jobs_run_the_same() -> None:
    wide = load_profile("quick", {"faces.seeds": [5, 6, 7], "faces.seeds_per_job": 2})
    found = sweeps(wide)
    assert found["31_top_k"].jobs == ((5, 6), (7,))
    assert found[DRAWS].jobs == ((5, 6, 7),)  # it reads images by classifiers of one seed


def test_the_longest_chain_counts_jobs_side_by_side() -> None:
    #  a (60) -> b (120 in two jobs) -> d (10);  a -> c (90) -> d;  e alone (150)
    one, two = ((0, 1),), ((0,), (1,))
    found = {
        "a": Sweep(one, ()),
        "b": Sweep(two, ("a",)),
        "c": Sweep(one, ("a", "no experiment")),
        "d": Sweep(one, ("b", "c")),
        "e": Sweep(one, ()),
    }
    costs = {"a": 60.0, "b": 120.0, "c": 90.0, "d": 10.0, "e": 150.0}
    assert _longest(found, costs) == (("a", "c", "d"), 160.0)
    assert _longest(found, costs | {"e": 161.0}) == (("e",), 161.0)
    assert _longest(found, costs | {"c": 0.0})[0] == ("e",)  # 60 + 60 + 10
    assert _longest(found, costs | {"c": 0.0, "e": 0.0}) == (("a", "b", "d"), 130.0)


def test_a_forecast_counts_each_run_once() -> None:
    profile = load_profile("smoke")
    found = sweeps(profile, drawn=True)
    asked = {run.identity for group in everything(profile).values() for run in group}
    assert forecast(profile, found, lambda _: 0) == "every run is there; what is left are pages"
    n = len(asked)
    assert forecast(profile, found, lambda _: None) == (
        f"{n} runs to compute; of {n} of them nothing is recorded"
    )
    told = forecast(profile, found, lambda _: 60.0)
    assert told.startswith(
        f"{n} runs to compute, as recorded {n:.1f} min one after the other; the longest "
    )
    fine_tuning = [
        run.identity
        for run in (run for group in everything(profile).values() for run in group)
        if run.stage == "aim-finetune"
    ]
    told = forecast(profile, found, lambda run: float(60 * (run.identity in fine_tuning)))
    assert f"{len(set(fine_tuning))} runs to compute" in told
