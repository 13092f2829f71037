"""Runs on disk: found or computed, whole or not at all, once even when two processes ask.

``runs/<identity>/record.json`` holds everything that the book reads; beside it lie
``predictions.parquet`` and ``weights.safetensors``. A run is written to a temporary folder and
renamed, under a lock of its own that the operating system drops when a process dies: after a
kill the next call takes up exactly what is missing.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from safetensors import SafetensorError
from safetensors.numpy import save_file

from repro import machine, numerics
from repro.files import not_kept, sha256_of, whole
from repro.metrics import confusion_counts, flatten_metrics, metrics_from_counts
from repro.study.configs import RunConfig, digest
from repro.study.once import once
from repro.study.profiles import project_root

FORMAT = 1
RECORD = "record.json"
PREDICTIONS = "predictions.parquet"
WEIGHTS = "weights.safetensors"
#: Packages whose version can change a number.
VERSIONS = (
    *("torch", "torchvision", "numpy", "pillow", "scikit-learn", "pandas", "safetensors"),
    "repro",
)


class RecordError(RuntimeError):
    """A record cannot be trusted; the message names the file and the remedy."""


class RunError(RuntimeError):
    """A run could not be finished; the message names it. Finished runs are kept."""


@dataclass(frozen=True)
class Outcome:
    """What the function of a stage returns; all else in a record is added here.

    ``counts`` maps the name of a part ("test") to its (2, 2, 2) confusion counts [t, p, yhat];
    ``predictions`` has the columns example, target, protected, score and describes part "test".
    """

    counts: Mapping[str, np.ndarray]
    predictions: pd.DataFrame
    weights: Mapping[str, np.ndarray]
    results: Mapping[str, Any] = field(default_factory=dict)  # plain values of the stage
    history: list[dict[str, Any]] = field(default_factory=list)
    data_sha256: Mapping[str, str] = field(default_factory=dict)  # what was really read
    device: str = "cpu"
    precision: str = "float32"  # in which the forward pass really ran


def predictions_of(
    examples: np.ndarray | pd.Index,
    target: np.ndarray,
    protected: np.ndarray,
    score: np.ndarray,
) -> pd.DataFrame:
    """Return the predictions of an outcome: (n,) ids, labels 0 or 1, and scores from 0 to 1."""
    return pd.DataFrame(
        {"example": examples, "target": target, "protected": protected, "score": score}
    )


@dataclass(frozen=True)
class Record:
    """A finished run, as read from disk or from an exported table."""

    body: dict[str, Any]
    folder: Path | None = None  # None: exported, only the body is there

    @property
    def run(self) -> str:
        """The run's identity."""
        return str(self.body["run"])

    @property
    def config(self) -> dict[str, Any]:
        """The configuration; upstream runs by their identities."""
        return dict(self.body["config"])

    @property
    def results(self) -> dict[str, Any]:
        """What the stage reports beside its predictions."""
        return dict(self.body["results"])

    @property
    def machine(self) -> str:
        """The machine in words, its processor, cores and system."""
        return str(self.body["machine"])

    @property
    def precision(self) -> str:
        """The precision that the run really was computed in, ``"float32"`` or ``"bfloat16"``.

        Records from before this was a field of theirs have it in the words on the machine; the
        oldest have neither, and were computed in whatever their settings say.
        """
        if "precision" in self.body:
            return str(self.body["precision"])
        if self.config.get("optimisation", {}).get("precision") != "bfloat16":
            return "float32"
        return "float32" if "float32 for bfloat16" in self.machine else "bfloat16"

    @property
    def numbers(self) -> str:
        """Whether the numbers are ``"portable"`` or ``"native"`` (:mod:`repro.numerics`)."""
        return str(self.body.get("numbers", numerics.NATIVE))

    def counts(self, part: str = "test") -> np.ndarray:
        """Return the (2, 2, 2) confusion counts [t, p, yhat] of a part."""
        return np.asarray(self.body["counts"][part], dtype=np.int64)

    def moved(self, other: Record) -> bool:
        """Return whether another record of the same run has other confusion counts in any part."""
        return bool(self.body["counts"] != other.body["counts"])

    def metrics(self, part: str = "test") -> dict[str, float]:
        """Return every metric of a part, computed from its confusion counts."""
        return metrics_of(self.counts(part))

    def predictions(self) -> pd.DataFrame:
        """Return the predictions of part "test"; only where the run itself is on this machine."""
        if self.folder is None:
            raise RecordError(f"run {self.run} is an exported record: it carries no examples")
        return pd.read_parquet(self.file(PREDICTIONS))

    def file(self, name: str) -> Path:
        """Return the path of a file of this run, which is as it was when the run was finished.

        Raises
        ------
        RecordError
            If the file is missing or was changed, or the record is an exported one.
        """
        if self.folder is None:
            raise RecordError(f"run {self.run} is an exported record: it carries no {name}")
        path = self.folder / name
        if not path.is_file():
            raise RecordError(f"{path} is missing; {_remedy(self.folder)}")
        if sha256_of(path) != self.body["files"].get(name):
            raise RecordError(f"{path} is not the file that was recorded; {_remedy(self.folder)}")
        return path

    def verify(self) -> None:
        """Check the record and its files thoroughly.

        Raises
        ------
        RecordError
            If the text was edited, a file beside it is missing or changed, or the counts are not
            those of the predictions.
        """
        if self.folder is None:
            check_body(self.body, where=f"exported record {self.run}", remedy="export it again")
            return
        check_body(self.body, where=str(self.folder / RECORD), remedy=_remedy(self.folder))
        for name in self.body["files"]:
            self.file(name)
        table = self.predictions()
        half = self.body["config"].get("paper") == "aim-fair"  # counts as positive there
        predicted = table["score"] >= 0.5 if half else table["score"] > 0.5
        again = confusion_counts(table["target"], predicted, table["protected"])
        if not np.array_equal(again, self.counts("test")):
            raise RecordError(f"{self.folder}: counts differ from the predictions; it was edited")


def metrics_of(counts: ArrayLike) -> dict[str, float]:
    """Return every metric of (2, 2, 2) confusion counts [t, p, yhat]; several claims ask for them.

    Raises
    ------
    ValueError
        As `repro.metrics.metrics_from_counts`, but that there are eight numbers.
    """
    # As float64, which holds every count and lets what is none be refused, not cut off.
    return dict(_metrics(np.asarray(counts, dtype=np.float64).tobytes()))


@lru_cache(maxsize=1 << 14)
def _metrics(counts: bytes) -> dict[str, float]:
    table = np.frombuffer(counts, dtype=np.float64).reshape(2, 2, 2)
    return flatten_metrics(metrics_from_counts(table))


def _remedy(folder: Path) -> str:
    return f"delete the folder {folder} and run again"


def check_body(body: Any, *, where: str, remedy: str, run: str | None = None) -> None:
    """Refuse a record that is not ours, was edited, or stands under another run's name."""
    if not isinstance(body, dict) or not {"run", "config", "counts", "digest"} <= body.keys():
        raise RecordError(f"{where} is not a record of this study; {_remedy(Path(where))}")
    if body.get("format") != FORMAT:
        raise RecordError(f"{where} has record format {body.get('format')!r}, not {FORMAT}")
    rest = {key: value for key, value in body.items() if key != "digest"}
    try:
        unchanged = digest(rest) == body["digest"]
    except ValueError:  # NaN, which no record of ours holds
        unchanged = False
    if not unchanged:
        raise RecordError(f"{where} was changed after it was written; {remedy}")
    if digest(body["config"])[:16] != body["run"] or (run is not None and body["run"] != run):
        raise RecordError(
            f"{where} holds run {body['run']}, which its place or configuration contradicts; "
            f"{remedy}"
        )


@once
def read_record(folder: Path) -> Record:
    """Read and check ``folder/record.json``.

    Raises
    ------
    RecordError
        If it is missing, truncated, edited, or of another run or study.
    """
    path = folder / RECORD
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecordError(f"{path} is missing; {_remedy(folder)}") from None
    except (ValueError, OSError) as error:
        raise RecordError(f"{path} cannot be read ({error}); {_remedy(folder)}") from None
    check_body(body, where=str(path), remedy=_remedy(folder), run=folder.name)
    return Record(body, folder)


class Runs:
    """The folder of runs.

    Parameters
    ----------
    root
        ``REPRO_RUNS``, else ``runs/`` in the project's folder.
    """

    def __init__(self, root: Path | None = None) -> None:
        given = os.environ.get("REPRO_RUNS")
        self.root = root or (Path(given) if given else project_root() / "runs")

    def find(self, config: RunConfig) -> Record | None:
        """Return the finished run of this configuration, or None."""
        folder = self.root / config.identity
        return read_record(folder) if folder.is_dir() else None

    def obtain(self, config: RunConfig, compute: Callable[[RunConfig], Outcome]) -> Record:
        """Return the run, computing it if it is not there; another process's work is awaited.

        Raises
        ------
        RunError
            If the disk is full or not writable. Nothing partial is left behind.
        RecordError
            If a record stands in the run's place that cannot be trusted.
        """
        found = self.find(config)
        if found is not None:
            return found
        locks = self.root / ".locks"
        try:
            locks.mkdir(parents=True, exist_ok=True)
            held = filelock.FileLock(locks / f"{config.identity}.lock").acquire()
        except OSError as error:
            raise RunError(
                f"{config.label}: the folder of runs {self.root} is not writable "
                f"({error.strerror}); set REPRO_RUNS to one that is"
            ) from None
        with held:
            found = self.find(config)  # another process may have finished it meanwhile
            if found is not None:
                return found
            for abandoned in self.root.glob(f".{config.identity}-*"):
                shutil.rmtree(abandoned, ignore_errors=True)  # of a process that was killed
            start = time.perf_counter()
            outcome = compute(config)
            return self._write(config, outcome, time.perf_counter() - start)

    def folders(self) -> list[Path]:
        """Return the folder of every finished run, by identity."""
        if not self.root.is_dir():
            return []
        found = sorted(path for path in self.root.iterdir() if path.is_dir())
        return [path for path in found if not path.name.startswith(".")]

    def records(self) -> list[Record]:
        """Return every finished run in the folder, by identity."""
        return [read_record(path) for path in self.folders()]

    def _write(self, config: RunConfig, outcome: Outcome, seconds: float) -> Record:
        declared = _declared(config)
        if declared is not None and dict(outcome.data_sha256) != declared:
            raise RunError(
                f"{config.label}: the data that were read ({dict(outcome.data_sha256)}) "
                f"are not those that the run declares ({declared})"
            )
        final = self.root / config.identity
        try:
            # Its part's name starts with a dot, so an abandoned one is never taken for a run.
            with whole(final) as part:
                part.mkdir()
                outcome.predictions.to_parquet(part / PREDICTIONS, index=False)
                # In C order: safetensors writes the bytes as they lie, under the shape alone.
                weights = {name: np.asarray(w, order="C") for name, w in outcome.weights.items()}
                save_file(weights, part / WEIGHTS)
                body = _body(config, outcome, seconds, part)
                (part / RECORD).write_text(json.dumps(body, indent=1), encoding="utf-8")
        except (OSError, SafetensorError) as error:  # the latter wraps the former in text
            instead = "set REPRO_RUNS to another folder, and run again. Finished runs are kept"
            what = f"{config.label}: run {config.identity}"
            raise RunError(not_kept(what, self.root, error, instead)) from error
        return read_record(final)


def _declared(config: RunConfig) -> dict[str, str] | None:
    """Return the declared sha256 of the data that a run reads, its own or of what it builds on."""
    own: dict[str, str] | None = getattr(config, "data_sha256", None)
    above = (_declared(upstream) for upstream in config.upstream().values())
    return own if own is not None else next((found for found in above if found is not None), None)


def _body(config: RunConfig, outcome: Outcome, seconds: float, folder: Path) -> dict[str, Any]:
    counts = {part: np.asarray(table).tolist() for part, table in outcome.counts.items()}
    above = {name: upstream.identity for name, upstream in config.upstream().items()}
    body: dict[str, Any] = {
        "format": FORMAT,
        "run": config.identity,
        "config": config.describe(),
        "upstream": above,
        "counts": counts,
        "metrics": {
            part: flatten_metrics(metrics_from_counts(table))
            for part, table in outcome.counts.items()
        },
        "results": dict(outcome.results),
        "history": outcome.history,
        "data_sha256": dict(outcome.data_sha256),
        "seconds": round(seconds, 3),
        "device": outcome.device,
        "precision": outcome.precision,
        "numbers": numerics.kind(outcome.device),
        "machine": machine.describe(outcome.device),
        "instructions": machine.instructions(),
        "python": platform.python_version(),
        "versions": _versions(),
        "git_commit": git_commit(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "files": {name: sha256_of(folder / name) for name in (PREDICTIONS, WEIGHTS)},
    }
    # Through JSON and back, so that the digest is that of what will be read.
    try:
        body = json.loads(json.dumps(body, allow_nan=False))
    except ValueError:
        raise RunError(
            f"{config.label}: a result is NaN or infinite, so run {config.identity} is not "
            "recorded. Finished runs are kept."
        ) from None
    return {**body, "digest": digest(body)}


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in VERSIONS}


@lru_cache(maxsize=1)
def git_commit() -> str:
    """Return the checkout's commit, ``+changes`` if the sources differ from it, or "unknown"."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(project_root()), *words],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != project_root():
            return "unknown"  # a repository around the project is not the project's
        changed = git("status", "--porcelain", "--", "src", "profiles")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def by_identity(records: Iterable[Record]) -> dict[str, Record]:
    """Return the records in a mapping by run."""
    return {record.run: record for record in records}
