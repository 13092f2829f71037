"""Where a long training stands, so that a run which was killed goes on from its last epoch."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from repro.vision import Progress

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
    """

    def __init__(self, path: Path, *, every: float = EVERY_SECONDS) -> None:
        self.path, self.every = path, every
        self._last = time.monotonic()

    def load(self) -> Progress | None:
        """Return where the run stood, or None if it has no usable checkpoint."""
        try:
            with safe_open(self.path, framework="pt") as file:
                about = json.loads(file.metadata()["progress"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, ValueError):
            return None  # none, or one that a full disk cut short: the run starts anew
        progress = Progress(**about)
        for state in _STATES:
            prefix = f"{state}/"
            values = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
            setattr(progress, state, values)
        return progress

    def save(self, progress: Progress) -> None:
        """Write where the run stands, if the last checkpoint is old enough."""
        if time.monotonic() - self._last < self.every:
            return
        tensors = {
            f"{state}/{name}": tensor.detach().cpu().contiguous()
            for state in _STATES
            for name, tensor in getattr(progress, state).items()
        }
        about = {
            "epoch": progress.epoch,
            "history": progress.history,
            "best_epoch": progress.best_epoch,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(f".{os.getpid()}.partial")
        try:
            # Copies: one tensor may stand in two states, which safetensors refuses.
            copies = {name: tensor.clone() for name, tensor in tensors.items()}
            save_file(copies, partial, metadata={"progress": json.dumps(about)})
            partial.replace(self.path)
        except (OSError, SafetensorError):
            pass  # a full disk costs the checkpoint, not the run; the record will say if it must
        finally:
            partial.unlink(missing_ok=True)
        self._last = time.monotonic()

    def remove(self) -> None:
        """Remove the file; the run is finished."""
        self.path.unlink(missing_ok=True)
