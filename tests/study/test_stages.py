"""What holds for every stage: its record verifies, and its threads are its own."""

from __future__ import annotations

import pytest
import torch
from tests.conftest import Computed

from repro.chapters.win import weight_importance
from repro.study import stages
from repro.study.configs import RunConfig


def test_every_run_verifies(computed: Computed) -> None:
    verified = set()
    for records in computed.everything.values():
        for record in records:
            record.verify()  # raises where a file, a count or a digest does not fit
            verified.add(record.run)
    assert verified == {record.run for record in computed.runs.records()}


def test_threads_are_put_back(computed: Computed) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        stages.compute(
            weight_importance.probes(computed.profile, [0])["unconstrained"][0], computed.runs
        )
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_configuration_without_a_stage(computed: Computed) -> None:
    class Other(RunConfig):
        stage = "other"
        version = 1

    with pytest.raises(TypeError, match="no stage computes a Other"):
        stages.compute(Other(seed=0), computed.runs)
