"""Where a long training stands, so that a run which was killed goes on from its last epoch.

Its record says so: ``resumed_after_epoch`` among the results.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from repro.files import whole
from repro.study.configs import RunConfig
from repro.study.runs import Runs, git_commit
from repro.vision import Progress, device

#: Short trainings write none: a checkpoint follows only if the last one is this old.
EVERY_SECONDS = 60.0
_STATES = ("model", "momentum", "best")


class Checkpoint:
    """One file for one run: weights, momentum, the kept weights, and the history so far.

    Parameters
    ----------
    path
        Where the file is; its folder is made when the first checkpoint is written.
    every
        Seconds between two checkpoints.
    stamp
        By what it was written; one with another stamp is not gone on from.
    """

    def __init__(self, path: Path, *, every: float = EVERY_SECONDS, stamp: str = "") -> None:
        self.path, self.every, self.stamp = path, every, stamp
        self._last = time.monotonic()

    def load(self) -> Progress | None:
        """Return where the run stood, or None if it has no usable checkpoint."""
        try:
            with safe_open(self.path, framework="pt") as file:
                about = json.loads(file.metadata()["progress"])
                if file.metadata()["stamp"] != self.stamp:
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            progress = Progress(**about)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None  # none, or not one of ours in full: the run starts anew
        for state in _STATES:
            prefix = f"{state}/"
            values = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
            setattr(progress, state, values)
        return progress

    def save(self, progress: Progress) -> None:
        """Write where the run stands, if the last checkpoint is old enough."""
        if time.monotonic() - self._last < self.every:
            return
        # Copies: one tensor may stand in two states, which safetensors refuses.
        tensors = {
            f"{state}/{name}": tensor.detach().cpu().contiguous().clone()
            for state in _STATES
            for name, tensor in getattr(progress, state).items()
        }
        about = {
            "epoch": progress.epoch,
            "history": progress.history,
            "best_epoch": progress.best_epoch,
        }
        notes = {"progress": json.dumps(about), "stamp": self.stamp}
        # A full disk costs the checkpoint, not the run; the record will say if it must.
        with suppress(OSError, SafetensorError), whole(self.path) as part:
            save_file(tensors, part, metadata=notes)
        self._last = time.monotonic()

    def remove(self) -> None:
        """Remove the file; the run is finished."""
        with suppress(OSError):  # whatever cannot be removed was never written
            self.path.unlink(missing_ok=True)


def checkpoint_of(config: RunConfig, runs: Runs) -> Checkpoint:
    """Return the checkpoint of a run; it is removed when the record has been written."""
    # Code, library and device, so that what goes on is what was begun.
    stamp = f"{git_commit()} torch {torch.__version__} {device()}"
    path = runs.root / ".checkpoints" / f"{config.identity}.safetensors"
    return Checkpoint(path, stamp=stamp)
