"""A killed training goes on from its last checkpoint; one that cannot be written costs nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.conftest import faces, same
from torch import Tensor, nn

from repro.layout import layout_of, place
from repro.models import image_classifier
from repro.settings import ImageOptimisation
from repro.study import checkpoints
from repro.study.checkpoints import Checkpoint
from repro.vision import Progress, VisionFit, fit

STATES = ("model", "momentum", "best")


def progress() -> Progress:
    """Return a state with what a real one holds: other layouts, whole numbers, shared tensors."""
    generator = torch.Generator().manual_seed(0)
    kernel = torch.randn(4, 3, 3, 3, generator=generator)
    model = {
        "conv.weight": kernel.to(memory_format=torch.channels_last),
        "bn.num_batches_tracked": torch.tensor(7),
        "fc.weight": torch.randn(2, 4, generator=generator).T,
        "fc.bias": torch.tensor([math.pi, -0.0, 1e-45, 3e38]),
    }
    history = [
        {"loss": 0.1 + 0.2, "learning_rate": 1e-3 / 3, "counts": {"test": [[[1, 2], [3, 4]]]}},
        {"loss": 1 / 3, "learning_rate": 1e-4, "counts": {"test": [[[4, 3], [2, 1]]]}},
    ]
    momentum = {"conv.weight": torch.randn(4, 3, 3, 3, generator=generator)}
    # The kept epoch is the last one: its weights are the model's own tensors.
    return Progress(2, history, 1, model=model, momentum=momentum, best=dict(model))


def alike(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(a[name], b[name]) and a[name].dtype == b[name].dtype for name in a
    )


def test_what_is_saved_is_loaded_in_every_bit(tmp_path: Path) -> None:
    path = tmp_path / "not" / "yet" / "run.safetensors"
    before = progress()
    Checkpoint(path, every=0).save(before)
    after = Checkpoint(path).load()
    assert (after.epoch, after.best_epoch) == (2, 1)
    assert after.history == before.history
    for state in STATES:
        assert alike(getattr(after, state), getattr(before, state)), state
    bits = [p.model["fc.bias"].view(torch.int32).tolist() for p in (before, after)]
    assert bits[0] == bits[1]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_later_checkpoint_replaces_the_earlier(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "run.safetensors", every=0)
    state = progress()
    checkpoint.save(state)
    state.epoch = 3
    state.momentum = {}
    checkpoint.save(state)
    after = checkpoint.load()
    assert after.epoch == 3
    assert after.momentum == {}


def test_nothing_is_written_before_the_last_one_is_old_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now)
    checkpoint = Checkpoint(tmp_path / "folder" / "run.safetensors", every=60)
    now = 159.9
    checkpoint.save(progress())
    assert not (tmp_path / "folder").exists()
    now = 160.0
    checkpoint.save(progress())
    written = checkpoint.path.stat().st_mtime_ns
    now = 219.9  # counted from the last one, not from the start
    checkpoint.save(progress())
    assert checkpoint.path.stat().st_mtime_ns == written


def test_what_another_code_or_device_wrote_is_not_gone_on_from(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    Checkpoint(path, every=0, stamp="commit a, CPU").save(progress())
    assert Checkpoint(path, stamp="commit b, CPU").load() is None
    assert Checkpoint(path).load() is None
    assert Checkpoint(path, stamp="commit a, CPU").load() is not None


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4])


def without_progress(path: Path) -> None:
    save_file({"model/a": torch.zeros(1)}, path)


def of_another_kind(path: Path) -> None:
    about = {"progress": json.dumps({"step": 3}), "stamp": ""}
    save_file({"model/a": torch.zeros(1)}, path, metadata=about)


def damaged_text(path: Path) -> None:
    save_file({"model/a": torch.zeros(1)}, path, metadata={"progress": "{", "stamp": ""})


def empty(path: Path) -> None:
    path.write_bytes(b"")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "harm",
    [truncated, without_progress, of_another_kind, damaged_text, empty, a_folder, Path.unlink],
)
def test_an_unusable_file_is_as_none(tmp_path: Path, harm: Any) -> None:
    checkpoint = Checkpoint(tmp_path / "run.safetensors", every=0)
    checkpoint.save(progress())
    assert checkpoint.load() is not None
    harm(checkpoint.path)
    assert checkpoint.load() is None


def test_remove(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "run.safetensors", every=0)
    checkpoint.save(progress())
    checkpoint.remove()
    assert list(tmp_path.iterdir()) == []
    checkpoint.remove()  # of a run that was too short to have one


def test_a_folder_that_cannot_be_written_costs_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    checkpoint = Checkpoint(tmp_path / "file" / "run.safetensors", every=0)
    checkpoint.save(progress())
    assert checkpoint.load() is None
    checkpoint.remove()
    assert (tmp_path / "file").read_text(encoding="utf-8") == "not a folder"


def test_a_full_disk_costs_no_run_and_keeps_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = Checkpoint(tmp_path / "run.safetensors", every=0)
    checkpoint.save(progress())

    def full(tensors: Any, path: Path, **_: Any) -> None:
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    later = progress()
    later.epoch = 9
    checkpoint.save(later)
    kept = checkpoint.load()
    assert kept.epoch == 2
    assert [file.name for file in tmp_path.iterdir()] == ["run.safetensors"]


# With a real training

HOW = ImageOptimisation(
    learning_rate=0.05, epochs=3, milestones=(2,), batch_size=16, precision="float32"
)


def trained(checkpoint: Checkpoint, *, stop_after: int = 99) -> tuple[nn.Module, VisionFit]:
    net = place(image_classifier("resnet18", width=8, seed=0))
    assert layout_of(net) is torch.channels_last  # narrower ones lie as in the file

    def save(state: Progress) -> None:
        checkpoint.save(state)
        if state.epoch == stop_after:
            raise KeyboardInterrupt

    parts = {"validation": faces(48, seed=1)}
    return net, fit(net, faces(48), parts, HOW, seed=1, progress=checkpoint.load(), save=save)


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_a_killed_training_goes_on_from_the_file_as_if_it_had_not_been(
    tmp_path: Path, stop_after: int
) -> None:
    whole, fitted = trained(Checkpoint(tmp_path / "whole.safetensors"))
    path = tmp_path / "killed.safetensors"
    with pytest.raises(KeyboardInterrupt):
        trained(Checkpoint(path, every=0), stop_after=stop_after)
    resumed, again = trained(Checkpoint(path))
    assert again == fitted
    assert (fitted.resumed_from, again.resumed_from) == (None, stop_after)
    # To the bit: also where channels lie last in memory, and in the file first.
    assert same(whole, resumed)
