"""A run is found or computed, whole or not at all, once even when two processes ask."""

from __future__ import annotations

import errno
import json
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from repro import machine
from repro.chapters.win.configs import Finetune, Pretrain, Probe
from repro.metrics import confusion_counts
from repro.settings import DataSettings, Optimisation
from repro.study import runs as runs_module
from repro.study.configs import RunConfig, digest
from repro.study.runs import (
    PREDICTIONS,
    RECORD,
    WEIGHTS,
    Outcome,
    Record,
    RecordError,
    RunError,
    Runs,
    git_commit,
    metrics_of,
)

SHA = {"toycensus": "0" * 64}
OPTIMISATION = Optimisation(learning_rates=(0.01,), epochs=1, batch_size=64)
BASE = Pretrain(
    seed=3,
    data=DataSettings(name="toycensus", records=1000),
    data_sha256=SHA,
    architecture="mlp-2",
    hidden=10,
    optimisation=OPTIMISATION,
)
OTHER = BASE.model_copy(update={"seed": 4})
TUNED = Finetune(
    seed=3,
    pretrained=BASE,
    strategy="win",
    rank=1,
    weight=0.5,
    importance_floor=1e-6,
    optimisation=OPTIMISATION,
)
PROBE = Probe(seed=3, pretrained=BASE, permutations=19)


def outcome(**replaced: Any) -> Outcome:
    """Return what a stage would: ten predictions over all four groups."""
    table = pd.DataFrame(
        {
            "example": np.arange(10),
            "target": [0, 0, 1, 1, 0, 0, 1, 1, 0, 1],
            "protected": [0, 1, 0, 1, 0, 1, 0, 1, 0, 1],
            "score": np.linspace(0.05, 0.95, 10),
        }
    )
    counts = confusion_counts(table["target"], table["score"] > 0.5, table["protected"])
    values = {
        "counts": {"test": counts},
        "predictions": table,
        "weights": {"w": np.arange(4, dtype=np.float32)},
        "results": {"epoch": 1},
        "data_sha256": SHA,
    }
    return Outcome(**(values | replaced))


def compute(config: RunConfig) -> Outcome:
    return outcome()


def never(config: RunConfig) -> Outcome:
    raise AssertionError("computed, although the run is there")


def files(root: Path) -> dict[str, bytes]:
    """Return every file below ``root`` but the locks."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.parent.name != ".locks"
    }


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "runs")


# Whole or not at all


def test_a_run_is_computed_once_and_read_back(runs: Runs) -> None:
    written = runs.obtain(BASE, compute)
    assert written.folder == runs.root / BASE.identity
    assert {path.name for path in written.folder.iterdir()} == {RECORD, PREDICTIONS, WEIGHTS}
    found = runs.obtain(BASE, never)
    assert found.body == written.body
    assert runs.find(OTHER) is None
    found.verify()
    pd.testing.assert_frame_equal(found.predictions(), outcome().predictions)
    assert found.metrics() == found.body["metrics"]["test"]


def test_weights_are_read_back_whatever_their_memory_layout(runs: Runs) -> None:
    plain = np.arange(6, dtype=np.float32).reshape(2, 3)
    weights = {"c": plain, "f": np.asfortranarray(plain), "t": plain.T, "one": np.array(2.0)}
    record = runs.obtain(BASE, lambda config: outcome(weights=weights))
    stored = load_file(record.file(WEIGHTS))
    assert stored.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(stored[name], array)


def test_record_says_where_it_comes_from(runs: Runs) -> None:
    runs.obtain(BASE, compute)
    body = runs.obtain(TUNED, compute).body
    assert body["config"] == TUNED.describe()
    assert body["upstream"] == {"pretrained": BASE.identity}
    assert body["data_sha256"] == SHA
    assert {"torch", "numpy", "repro"} <= body["versions"].keys()
    for key in ("python", "machine", "device", "git_commit", "finished", "seconds"):
        assert body[key] not in (None, "")
    assert (body["machine"], body["instructions"]) == (machine.describe(), machine.instructions())
    assert body["precision"] == "float32"
    half = runs.obtain(OTHER, lambda config: outcome(precision="bfloat16"))
    assert half.body["precision"] == half.precision == "bfloat16"


@pytest.mark.parametrize("error", [ValueError("stopped"), KeyboardInterrupt()])
def test_a_compute_that_stops_leaves_nothing(runs: Runs, error: BaseException) -> None:
    runs.obtain(OTHER, compute)
    before = files(runs.root)

    def stops(config: RunConfig) -> Outcome:
        raise error

    with pytest.raises(type(error)):
        runs.obtain(BASE, stops)
    assert files(runs.root) == before
    assert runs.obtain(BASE, compute).run == BASE.identity  # the lock was let go


def full(*args: Any, **kwargs: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


STEPS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "predictions": lambda patch: patch.setattr(pd.DataFrame, "to_parquet", full),
    "weights": lambda patch: patch.setattr(runs_module, "save_file", full),
    "record": lambda patch: patch.setattr(Path, "write_text", full),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_full_disk_is_a_clear_error_and_loses_nothing(
    runs: Runs, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.obtain(OTHER, compute)
    before = files(runs.root)
    with monkeypatch.context() as patch:
        STEPS[step](patch)
        with pytest.raises(RunError, match=r"free some space there or set REPRO_RUNS") as raised:
            runs.obtain(BASE, compute)
    assert BASE.identity in str(raised.value)
    assert "pre-train mlp-2 on toycensus, seed 3" in str(raised.value)
    assert "Finished runs are kept" in str(raised.value)
    assert files(runs.root) == before
    assert {path.name for path in runs.root.iterdir()} == {".locks", OTHER.identity}
    runs.obtain(BASE, compute).verify()


def test_a_folder_that_cannot_be_made_is_said_before_computing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    with pytest.raises(RunError, match=r"is not writable .*set REPRO_RUNS"):
        Runs(tmp_path / "file" / "runs").obtain(BASE, never)


def test_a_lock_that_cannot_be_taken_is_said_before_computing(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*args: Any, **kwargs: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(runs_module.filelock.FileLock, "acquire", denied)
    with pytest.raises(RunError, match=r"seed 3: .*not writable \(Permission denied\)"):
        runs.obtain(BASE, never)


def test_a_folder_that_turned_read_only_is_a_clear_error(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*args: Any, **kwargs: Any) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", denied)
    with pytest.raises(RunError, match=rf"{BASE.identity} cannot be .*\(Permission denied\)"):
        runs.obtain(BASE, compute)


def test_other_data_than_declared_are_refused(runs: Runs) -> None:
    def other_data(config: RunConfig) -> Outcome:
        return outcome(data_sha256={"toycensus": "1" * 64})

    runs.obtain(BASE, compute)
    for config in (OTHER, TUNED, PROBE):  # its own declaration, and that of what it builds on
        with pytest.raises(RunError, match="not those that the run declares"):
            runs.obtain(config, other_data)
        assert runs.find(config) is None


def test_a_result_that_is_not_a_number_is_refused(runs: Runs) -> None:
    with pytest.raises(RunError, match=f"NaN or infinite, so run {BASE.identity}"):
        runs.obtain(BASE, lambda config: outcome(results={"distance": float("nan")}))
    assert files(runs.root) == {}


# Two processes, and one that is killed

SCRIPT = """
    import sys, time
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    import test_runs
    from test_runs import *

    root, log, me = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]

    def say(word):
        with log.open("a") as file:
            file.write(me + " " + word + "\\n")

    def wait_for(word):
        while word not in log.read_text():
            time.sleep(0.02)
"""


def start(script: str, *args: object) -> subprocess.Popen[str]:
    prelude = textwrap.dedent(SCRIPT).format(tests=str(Path(__file__).parent))
    return subprocess.Popen(
        [sys.executable, "-c", prelude + textwrap.dedent(script), *map(str, args)],
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_compute_a_run_once(runs: Runs, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    script = """
        def slow(config):
            say("computes")
            wait_for("a asks")
            wait_for("b asks")
            time.sleep(0.3)  # the other one now waits for the lock
            return outcome()

        say("asks")
        assert Runs(root).obtain(BASE, slow).run == BASE.identity
        say("has it")
    """
    both = [start(script, runs.root, log, name) for name in "ab"]
    for process in both:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    said = [line.split(" ", 1)[1] for line in log.read_text().splitlines()]
    assert sorted(said) == ["asks", "asks", "computes", "has it", "has it"]
    runs.obtain(BASE, never).verify()


@pytest.mark.parametrize("when", ["computing", "writing"])
def test_a_killed_process_leaves_no_run_and_the_next_call_computes_it(
    runs: Runs, tmp_path: Path, when: str
) -> None:
    log = tmp_path / "log"
    log.touch()
    script = """
        def hang(*_):
            say("hangs")
            while True:
                time.sleep(1)

        if me == "writing":
            test_runs.runs_module.save_file = hang
        Runs(root).obtain(BASE, hang if me == "computing" else compute)
    """
    process = start(script, runs.root, log, when)
    while "hangs" not in log.read_text():
        assert process.poll() is None, process.stderr and process.stderr.read()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    abandoned = [path for path in runs.root.iterdir() if path.name != ".locks"]
    assert len(abandoned) == (when == "writing")
    assert runs.find(BASE) is None
    assert runs.records() == []

    runs.obtain(BASE, compute).verify()
    assert {path.name for path in runs.root.iterdir()} == {".locks", BASE.identity}


# Records that cannot be trusted


def edit(folder: Path, change: Callable[[dict[str, Any]], Any], *, sign: bool = False) -> None:
    """Change a record's text; with ``sign``, as someone who knows how the digest is made."""
    path = folder / RECORD
    body = json.loads(path.read_text(encoding="utf-8"))
    change(body)
    if sign:
        body["digest"] = digest({k: v for k, v in body.items() if k != "digest"})
    path.write_text(json.dumps(body), encoding="utf-8")


def truncate(folder: Path) -> None:
    path = folder / RECORD
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


CORRUPTIONS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "truncated": (truncate, "cannot be read"),
    "empty": (lambda f: (f / RECORD).write_bytes(b""), "cannot be read"),
    "not text": (lambda f: (f / RECORD).write_bytes(b"\xff\xfe\x00"), "cannot be read"),
    "missing": (lambda f: (f / RECORD).unlink(), "record.json is missing"),
    "foreign": (lambda f: (f / RECORD).write_text('{"a": 1}'), "not a record of this study"),
    "a list": (lambda f: (f / RECORD).write_text("[1, 2]"), "not a record of this study"),
    "metric": (
        lambda f: edit(f, lambda body: body["metrics"]["test"].update(accuracy=1.0)),
        "changed after it was written",
    ),
    "counts": (
        lambda f: edit(f, lambda body: body["counts"].update(test=np.ones((2, 2, 2)).tolist())),
        "changed after it was written",
    ),
    "NaN": (
        lambda f: edit(f, lambda body: body.update(seconds=float("nan"))),
        "changed after it was written",
    ),
    "configuration": (
        lambda f: edit(f, lambda body: body["config"].update(seed=7), sign=True),
        "contradicts",
    ),
    "format": (lambda f: edit(f, lambda body: body.update(format=2)), "record format 2, not 1"),
}


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_corrupt_record_is_refused_by_name_and_left_alone(runs: Runs, kind: str) -> None:
    folder = runs.obtain(BASE, compute).folder
    kept = runs.obtain(OTHER, compute)
    assert folder is not None
    corrupt, message = CORRUPTIONS[kind]
    corrupt(folder)
    before = files(runs.root)
    with pytest.raises(RecordError, match=message) as raised:
        runs.obtain(BASE, never)
    assert str(folder) in str(raised.value)
    if kind not in ("foreign", "a list", "format"):  # these may be somebody's
        assert f"delete the folder {folder} and run again" in str(raised.value)
    with pytest.raises(RecordError, match=message):
        runs.records()
    assert files(runs.root) == before
    assert runs.obtain(OTHER, never).body == kept.body


def test_a_record_under_another_name_is_refused(runs: Runs) -> None:
    runs.obtain(BASE, compute)
    shutil.copytree(runs.root / BASE.identity, runs.root / OTHER.identity)
    with pytest.raises(RecordError, match=f"holds run {BASE.identity}"):
        runs.find(OTHER)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", [PREDICTIONS, WEIGHTS])
def test_files_beside_a_record_are_checked(runs: Runs, name: str) -> None:
    record = runs.obtain(BASE, compute)
    assert record.folder is not None
    path = record.file(name)
    flip(path)
    for check in (record.verify, lambda: record.file(name)):
        with pytest.raises(RecordError, match=f"{name} is not the file that was recorded"):
            check()
    path.unlink()
    for check in (record.verify, lambda: record.file(name)):
        with pytest.raises(RecordError, match=f"{name} is missing; delete the folder"):
            check()


def test_edited_predictions_are_found_even_when_signed(runs: Runs) -> None:
    folder = runs.obtain(BASE, compute).folder
    assert folder is not None
    table = outcome().predictions.assign(score=0.9)
    table.to_parquet(folder / PREDICTIONS, index=False)
    again = runs_module.sha256_of(folder / PREDICTIONS)
    edit(folder, lambda body: body["files"].update({PREDICTIONS: again}), sign=True)
    record = runs.obtain(BASE, never)
    with pytest.raises(RecordError, match="counts differ from the predictions"):
        record.verify()


def test_a_record_edited_in_memory_is_found(runs: Runs) -> None:
    body = json.loads(json.dumps(runs.obtain(BASE, compute).body))
    body["results"]["epoch"] = 2
    with pytest.raises(RecordError, match="changed after it was written; export it again"):
        Record(body).verify()


def test_an_exported_record_has_no_examples(runs: Runs) -> None:
    exported = Record(runs.obtain(BASE, compute).body)
    exported.verify()
    with pytest.raises(RecordError, match="is an exported record: it carries no examples"):
        exported.predictions()
    with pytest.raises(RecordError, match="is an exported record: it carries no weights"):
        exported.file(WEIGHTS)


# Where a run comes from


@pytest.fixture
def fresh_commit() -> Any:
    git_commit.cache_clear()
    yield
    git_commit.cache_clear()


@pytest.mark.usefixtures("fresh_commit")
def test_git_commit_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "profiles").mkdir()
    monkeypatch.setenv("REPRO_ROOT", str(tmp_path))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_commit() == "unknown"


@pytest.mark.usefixtures("fresh_commit")
def test_git_commit_says_whether_the_sources_were_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        done = subprocess.run(
            ["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    (tmp_path / "profiles").mkdir()
    setting = tmp_path / "profiles" / "a.yaml"
    setting.write_text("a: 1", encoding="utf-8")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    monkeypatch.setenv("REPRO_ROOT", str(tmp_path))
    assert git_commit() == git("rev-parse", "HEAD")
    setting.write_text("a: 2", encoding="utf-8")
    git_commit.cache_clear()
    assert git_commit() == git("rev-parse", "HEAD") + "+changes"


@pytest.mark.parametrize("counts", [[[[1, 2], [3, 4]], [[5, 6], [7, 8.5]]], [1, 2, 3]])
def test_what_are_no_counts_has_no_metrics(counts: list[object]) -> None:
    with pytest.raises(ValueError, match=r"8\.5|whole|reshape"):
        metrics_of(counts)
