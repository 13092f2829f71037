"""What is there before anything runs: data, keys, runs, and which profiles can run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.conftest import Computed, Invoke, copied, lines

from repro.preflight import preflight
from repro.study.runs import RECORD


def test_preflight_without_data_downloads_nothing_and_shows_no_key(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPRO_DATA", str(tmp_path / "empty"))
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    said = lines(invoke("preflight"))
    assert all(line.startswith(("ok  ", "NO  ")) for line in said)
    text = "\n".join(said)
    assert "secret" not in text
    assert "ok  key: OPENAI_API_KEY: set" in said
    assert "NO  data: UCI Adult: " in text
    assert f"adult.data and adult.test not in {tmp_path / 'empty' / 'adult'}" in text
    assert "fetch them from https://archive.ics.uci.edu/dataset/2/adult and put them there" in text
    (desk,) = [line for line in said if line.startswith("NO  profile desk: needs UCI Adult")]
    assert "; faces: " in desk
    assert "img_align_celeba.zip" in desk
    assert "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html" in desk
    assert "fairface_label_train.csv" in desk  # what its backbone learns from
    assert "ok  weights: ImageNet weights of torchvision are fetched for profile paper" in text
    for profile in ("smoke", "quick", "tiny"):
        assert f"ok  profile {profile}: can run" in text
    assert not (tmp_path / "empty").exists()


def test_preflight_says_what_is_there(invoke: Invoke, computed: Computed) -> None:
    text = "\n".join(lines(invoke("preflight")))
    assert f"ok  runs: {len(computed.runs.records())} finished runs" in text
    assert re.search(r"ok  device: .+ cores, torch \d", text)
    assert "key: OPENAI_API_KEY" in text


def test_preflight_without_a_key(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert "OPENAI_API_KEY: not set" in invoke("preflight").output


def test_preflight_reports_a_corrupt_record_and_goes_on(
    computed: Computed, tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (record,) = computed.strategies["tl"][:1]
    (copied([record], tmp_path) / record.run / RECORD).write_text("{", encoding="utf-8")
    monkeypatch.setenv("REPRO_RUNS", str(tmp_path))
    checks = {check.what: check for check in preflight()}
    assert not checks["runs"].fine
    assert "cannot be read" in checks["runs"].says
    assert checks["profile tiny"].fine


@pytest.mark.usefixtures("tiny")
def test_preflight_says_that_runs_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("REPRO_RUNS", str(tmp_path / "file" / "runs"))
    (check,) = [check for check in preflight() if check.what == "runs"]
    assert not check.fine
    assert "set REPRO_RUNS to a folder that is" in check.says


def test_preflight_before_the_first_run(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPRO_RUNS", str(tmp_path / "not" / "yet"))
    assert "ok  runs: 0 finished runs" in invoke("preflight").output
    assert not (tmp_path / "not").exists()
