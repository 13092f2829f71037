"""A set of images: the same however it was drawn, whole after any interruption, checked."""

from __future__ import annotations

import errno
import hashlib
import json
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from repro.aimfair import imagestore
from repro.aimfair.generators import Generator, Identity, load
from repro.aimfair.imagestore import pixel_digest, read_manifest
from repro.aimfair.pipelinefolder import GenerationError, GenerationSettings
from repro.aimfair.synthesis import generate, load_set, seed_of
from repro.data.splits import GROUPS

PROMPTS = {
    (t, p): [f"{'' if t else 'un'}smiling {'fe' * (1 - p)}male {i}" for i in range(3)]
    for t, p in GROUPS
}


class Scribbler:
    """Draws noise that depends on prompt and seed; fails or blanks when told to."""

    def __init__(self, batch: int | None = 4, size: int = 8, **settings: Any) -> None:
        self.settings = GenerationSettings(pipeline="x", batch=batch, **settings)
        self.identity = Identity("scribbler", "sha256:0", "NoScheduler")
        self.environment = {"torch": "0", "device": "paper"}
        self.batch, self.size = batch or 4, size
        self.drawn: list[int] = []  # seeds
        self.before: Callable[[Sequence[str], Sequence[int]], None] = lambda prompts, seeds: None
        self.blank: Callable[[str, int], bool] = lambda prompt, seed: False

    def too_long(self, prompts: Sequence[str]) -> list[str]:
        return [text for text in prompts if len(text) > 60]

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        self.before(prompts, seeds)
        self.drawn += seeds
        images = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            key = int.from_bytes(hashlib.sha256(f"{prompt} {seed}".encode()).digest()[:7], "big")
            own = torch.Generator().manual_seed(key)
            image = torch.randint(0, 256, (3, self.size, self.size), generator=own)
            images.append(image * (not self.blank(prompt, seed)))
        return torch.stack(images).to(torch.uint8)


def make(folder: Path, generator: Any = None, n: int = 5, **changes: Any) -> pd.DataFrame:
    how = {"target": "Smiling", "protected": "Male", "seed": 3, "progress": False, **changes}
    return generate(generator or Scribbler(), how.pop("prompts", PROMPTS), n, folder, **how)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a set but its lock."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


@pytest.fixture(scope="session")
def real(pipeline_folder: Path) -> Callable[..., Generator]:
    def make_one(**changes: Any) -> Generator:
        small = {"steps": 4, "size": None, "resize": 12, "batch": 3}
        values = {"pipeline": str(pipeline_folder), **small, **changes}
        return load(GenerationSettings.model_validate(values), device="cpu")

    return make_one


# ---- the manifest and the files


def test_the_manifest_says_where_each_image_is_from(tmp_path: Path) -> None:
    scribbler = Scribbler()
    table = make(tmp_path / "set", scribbler, n=5)
    assert table["name"].tolist() == [f"{t}_{p}/{i:06d}" for t, p in GROUPS for i in range(5)]
    assert table["prompt_index"].tolist() == [0, 1, 2, 0, 1] * 4
    pixels = np.load(tmp_path / "set" / "images.npy")
    row: Any
    for row in table.itertuples():
        group = (row.target, row.protected)
        assert row.prompt == PROMPTS[group][row.prompt_index]
        assert row.seed == seed_of(3, group, row.prompt_index, row.index)
        assert row.seed in scribbler.drawn
        alone = Scribbler().draw([row.prompt], [row.seed])[0].numpy()
        np.testing.assert_array_equal(pixels[row.Index], alone)
        assert hashlib.sha256(alone.tobytes()).hexdigest() == row.sha256
    assert table["seed"].is_unique
    assert set(table["size"]) == {8}
    assert not table["attempt"].any()
    first = table.iloc[0]
    assert (first["pipeline"], first["revision"]) == ("scribbler", "sha256:0")
    assert first["scheduler"] == "NoScheduler"
    pd.testing.assert_frame_equal(table, read_manifest(tmp_path / "set"))
    pd.testing.assert_frame_equal(table, make(tmp_path / "set"))


def test_seeds_are_the_same_on_every_platform() -> None:
    assert seed_of(42, (0, 1), 7, 107) == 3829149100775979867
    others = {seed_of(42, (0, 1), 7, 107, 1), seed_of(42, (1, 0), 7, 107)}
    assert len({*others, seed_of(43, (0, 1), 7, 107), seed_of(42, (0, 1), 7, 107)}) == 4


def test_a_set_is_read_back(tmp_path: Path) -> None:
    table = make(tmp_path / "set", n=11)
    images = load_set(tmp_path / "set")
    assert images.attributes.index.tolist() == table["name"].tolist()
    assert images.attribute("Smiling").tolist() == table["target"].tolist()
    assert images.attribute("Male").tolist() == table["protected"].tolist()
    assert set(images.part) == {"train"}
    manifest = (tmp_path / "set" / "manifest.jsonl").read_bytes()
    assert images.sha256 == {"manifest": hashlib.sha256(manifest).hexdigest()}
    for pixels, digest in zip(images.images, table["sha256"], strict=True):
        assert pixel_digest(pixels.numpy()) == digest
    mapped = load_set(tmp_path / "set", resident=False)
    assert torch.equal(mapped.images, images.images)
    mapped.images[0] = 0  # never reaches the file
    assert torch.equal(load_set(tmp_path / "set", resident=True).images, images.images)


def test_what_is_no_finished_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GenerationError, match=r"set.json is absent or damaged"):
        load_set(tmp_path)
    folder = tmp_path / "set"
    make(folder)
    whole = contents(folder)
    for name, data, message in (
        ("images.npy", whole["images.npy"][:-1], r"images.npy is absent or damaged .*again"),
        ("images.npy", whole["images.npy"][:-1] + b"x", r"image 1_1/000004 is absent or not.*agai"),
        ("manifest.jsonl", whole["manifest.jsonl"][:-1000], r"manifest.jsonl is absent or damaged"),
        ("set.json", b"{}", r"set.json is absent or damaged"),
    ):
        (folder / name).write_bytes(data)
        with pytest.raises(GenerationError, match=message):
            load_set(folder)
        (folder / name).write_bytes(whole[name])
    assert len(load_set(folder)) == 20


# ---- the same, however it was drawn


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 8, 100])
def test_images_do_not_depend_on_the_batch(tmp_path: Path, batch: int) -> None:
    expected = make(tmp_path / "expected", n=11)
    pd.testing.assert_frame_equal(expected, make(tmp_path / "set", Scribbler(batch), n=11))


def test_a_batch_always_has_the_same_images(tmp_path: Path) -> None:
    batches: list[tuple[int, ...]] = []
    scribbler = Scribbler(3)
    scribbler.before = lambda prompts, seeds: batches.append(tuple(seeds))
    make(tmp_path, scribbler, n=11)
    # Four for each of the groups; the last of a group is filled up with one that is thrown away.
    assert [len(batch) for batch in batches] == [3] * 16
    before, whole = set(batches), contents(tmp_path)
    damaged = bytearray(whole["images.npy"])
    damaged[-1] ^= 1
    (tmp_path / "images.npy").write_bytes(damaged)
    make(tmp_path, scribbler, n=11)
    assert contents(tmp_path) == whole
    assert len(batches) == 17
    assert batches[-1] in before


def test_a_real_pipeline_whatever_the_batch(tmp_path: Path, real: Callable[..., Generator]) -> None:
    by_three = make(tmp_path / "three", real(), n=4)
    first = load_set(tmp_path / "three").images
    assert first.shape == (16, 3, 12, 12)
    assert first.float().std() > 5
    pd.testing.assert_frame_equal(make(tmp_path / "again", real(), n=4), by_three)
    # Alone, exactly what the generator draws.
    alone = make(tmp_path / "alone", real(batch=1), n=4)
    images = load_set(tmp_path / "alone").images
    expected = real().draw([alone["prompt"][9]], [alone["seed"][9]])
    assert torch.equal(images[9], expected[0])
    # By another batch size up to a last bit.
    assert int((images.int() - first.int()).abs().max()) <= 1


def test_a_real_pipeline_of_the_embedded_kind(
    tmp_path: Path, tiny_autoencoder_folder: Path
) -> None:
    settings = GenerationSettings(
        pipeline=str(tiny_autoencoder_folder), scheduler="dpm++", steps=3, size=None, resize=None
    )
    make(tmp_path / "set", load(settings, device="cpu"), n=1)
    about = imagestore.read_about(tmp_path / "set")
    assert about.scheduler == "DPMSolverMultistepScheduler"
    assert about.revision.startswith("sha256:")
    assert load_set(tmp_path / "set").images.shape == (4, 3, 16, 16)


# ---- interrupted, damaged, full


def test_interrupted_while_drawing(tmp_path: Path) -> None:
    make(tmp_path / "expected", Scribbler(2), n=11)
    scribbler = Scribbler(2)

    def stop(prompts: Sequence[str], seeds: Sequence[int]) -> None:
        if len(scribbler.drawn) == 14:
            raise KeyboardInterrupt

    scribbler.before = stop
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "set", scribbler, n=11)
    with pytest.raises(GenerationError, match=r"13 of 44 images.*generate again"):
        load_set(tmp_path / "set")
    rest = Scribbler(2)
    make(tmp_path / "set", rest, n=11)
    assert len(rest.drawn) == 4 * 12 - 14  # what was drawn was kept
    assert contents(tmp_path / "set") == contents(tmp_path / "expected")


SCRIPT = """
import importlib.util, time
from pathlib import Path
spec = importlib.util.spec_from_file_location("helpers", {tests!r})
helpers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(helpers)
scribbler = helpers.Scribbler()
scribbler.before = lambda prompts, seeds: time.sleep(0.05)
helpers.make(Path({folder!r}), scribbler, n=30)
"""


@pytest.mark.slow
def test_a_real_kill(tmp_path: Path) -> None:
    make(tmp_path / "expected", n=30)
    script = textwrap.dedent(SCRIPT.format(tests=__file__, folder=str(tmp_path / "set")))
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    manifest = tmp_path / "set" / "manifest.jsonl"
    wait_until = time.monotonic() + 300  # importing takes its time on a busy machine
    try:
        while process.poll() is None and not (manifest.exists() and manifest.stat().st_size):
            assert time.monotonic() < wait_until, "nothing was drawn"
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said
    rest = Scribbler()
    make(tmp_path / "set", rest, n=30)
    assert 0 < len(rest.drawn) < 4 * 32
    assert contents(tmp_path / "set") == contents(tmp_path / "expected")


@pytest.mark.parametrize(
    ("name", "damage", "redrawn"),
    [
        ("images.npy", lambda data: data[:-30], 1),
        ("images.npy", lambda data: data[:-30] + bytes(30), 1),
        ("images.npy", lambda data: b"", 44),
        ("images.npy", lambda data: b"x" * 40 + data[40:], 0),  # the header is known
        ("manifest.jsonl", lambda data: data[:-20], 1),  # as a kill leaves it
        ("manifest.jsonl", lambda data: data + data.split(b"\n")[0][:90], 0),
        ("manifest.jsonl", lambda data: data.replace(b'"sha256":"', b'"sha256":"0'), 44),
        ("manifest.jsonl", lambda data: b"\xff", 44),
    ],
)
def test_what_is_damaged_is_drawn_again(
    tmp_path: Path, name: str, damage: Callable[[bytes], bytes], redrawn: int
) -> None:
    make(tmp_path, Scribbler(1), n=11)
    whole = contents(tmp_path)
    (tmp_path / name).write_bytes(damage(whole[name]))
    scribbler = Scribbler(1)
    make(tmp_path, scribbler, n=11)
    assert contents(tmp_path) == whole
    assert len(scribbler.drawn) == redrawn


@pytest.mark.parametrize("name", ["images.npy", "manifest.jsonl"])
def test_a_full_disk_is_an_error_that_costs_nothing(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "expected", n=11)
    times, honest = 0, Path.open

    def open_(self: Path, mode: str = "r", *args: Any, **how: Any) -> Any:
        nonlocal times
        times += self.name == name
        if self.name == name and times > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return honest(self, mode, *args, **how)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", open_)
        with pytest.raises(GenerationError, match=r"set \(.*free some space.*is kept") as found:
            make(tmp_path / "set", n=11)
    assert isinstance(found.value.__cause__, OSError)
    rest = Scribbler()
    make(tmp_path / "set", rest, n=11)
    assert 0 < len(rest.drawn) < 48
    assert contents(tmp_path / "set") == contents(tmp_path / "expected")


# ---- too little memory, one colour


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_a_batch_that_does_not_fit_is_halved(tmp_path: Path, error: BaseException) -> None:
    expected = make(tmp_path / "expected", n=11)
    sizes = []
    scribbler = Scribbler(8)

    def full(prompts: Sequence[str], seeds: Sequence[int]) -> None:
        sizes.append(len(seeds))
        if len(seeds) > 2:
            raise error

    scribbler.before = full
    with pytest.warns(RuntimeWarning, match="batches of 8 images") as said:
        table = make(tmp_path / "set", scribbler, n=11)
    assert len(said) == 1
    assert sizes[:4] == [8, 4, 2, 2]
    assert set(sizes[2:]) == {2}
    pd.testing.assert_frame_equal(table, expected)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), GenerationError, "suffice for one image"),
        (RuntimeError("an illegal memory access was encountered"), RuntimeError, "illegal"),
    ],
)
def test_what_no_smaller_batch_helps(
    tmp_path: Path, error: Exception, kind: type[Exception], message: str
) -> None:
    scribbler = Scribbler(1)

    def fail(prompts: Sequence[str], seeds: Sequence[int]) -> None:
        raise error

    scribbler.before = fail
    with pytest.raises(kind, match=message):
        make(tmp_path / "set", scribbler)


def test_images_of_one_colour_are_drawn_again_with_the_next_seed(tmp_path: Path) -> None:
    blank = {seed_of(3, (1, 0), 2, 2, attempt) for attempt in (0, 1)} | {seed_of(3, (0, 0), 1, 1)}
    scribbler = Scribbler(4)
    scribbler.blank = lambda prompt, seed: seed in blank
    table = make(tmp_path / "set", scribbler).set_index("name")
    assert table["attempt"].sum() == 3
    assert table.loc["1_0/000002", "attempt"] == 2
    assert table.loc["1_0/000002", "seed"] == seed_of(3, (1, 0), 2, 2, 2)
    assert table.loc["0_0/000001", "seed"] == seed_of(3, (0, 0), 1, 1, 1)
    plain = make(tmp_path / "plain").set_index("name")
    changed = table.index[table["sha256"] != plain["sha256"]]
    assert changed.tolist() == ["0_0/000001", "1_0/000002"]
    # Resumed, the manifest still knows.
    pd.testing.assert_frame_equal(make(tmp_path / "set", scribbler).set_index("name"), table)


def test_always_one_colour_is_an_error(tmp_path: Path) -> None:
    scribbler = Scribbler(2, redraws=3)
    scribbler.blank = lambda prompt, seed: prompt == PROMPTS[1, 1][1]
    with pytest.raises(GenerationError, match=r"1_1/000001: 4 images in a row .*smiling male 1"):
        make(tmp_path / "set", scribbler)
    assert len(imagestore._lines(tmp_path / "set")) == 15  # what is finished is kept


# ---- what is asked


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": {**PROMPTS, (0, 1): []}}, r"group \(0, 1\) has no list of prompts"),
        ({"prompts": {**PROMPTS, (0, 1): "one text"}}, r"group \(0, 1\) has no list"),
        ({"prompts": {**PROMPTS, (1, 1): ["a", " "]}}, r"prompt 1 of group \(1, 1\) is empty"),
        ({"n": 0}, "images_per_group"),
        ({"seed": -1}, "seed"),
    ],
)
def test_arguments_are_checked(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(tmp_path / "set", **changes)
    assert not (tmp_path / "set" / "set.json").exists()


def test_a_folder_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(GenerationError, match="cannot be kept"):
        make(tmp_path / "file")


def test_long_prompts_are_said_once(tmp_path: Path) -> None:
    long = "a very long prompt " * 4
    prompts = {**PROMPTS, (0, 0): ["short", long], (1, 1): [long]}
    with pytest.warns(RuntimeWarning, match="2 of 9 prompts are longer") as said:
        make(tmp_path / "set", prompts=prompts)
    assert len(said) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 4}, r"another set: seed was 3, is 4\. Choose another"),
        ({"n": 6}, r"images_per_group was 5, is 6"),
        ({"generator": Scribbler(guidance=3.0)}, r"settings.guidance was 9.0, is 3.0"),
        ({"prompts": {**PROMPTS, (0, 0): ["x"]}}, r"prompts.0_0 was \['unsm.* is \['x'\]"),
    ],
)
def test_a_folder_holds_one_set(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    make(tmp_path / "set")
    before = contents(tmp_path / "set")
    with pytest.raises(GenerationError, match=message):
        make(tmp_path / "set", **changes)
    assert contents(tmp_path / "set") == before


def test_how_it_runs_may_change(tmp_path: Path) -> None:
    first = make(tmp_path, Scribbler(None))
    about = json.loads((tmp_path / "set.json").read_text())
    assert about["drawn_with"] == {"torch": "0", "device": "paper", "batch": 4}
    # An unset batch is that of the first call, not what the memory allows now.
    other, sizes = Scribbler(None), []
    other.batch = 2
    other.before = lambda prompts, seeds: sizes.append(len(seeds))
    (tmp_path / "images.npy").unlink()
    pd.testing.assert_frame_equal(make(tmp_path, other), first)
    assert set(sizes) == {4}
    other.environment = {"torch": "1", "device": "paper"}
    with pytest.warns(RuntimeWarning, match="torch 0 is now 1"):
        make(tmp_path, other)


def test_progress_shows_what_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "quiet")
    assert capsys.readouterr().err == ""
    make(tmp_path / "set", progress=True)
    assert "set: drawing: 100%" in (said := capsys.readouterr().err)
    assert "20/20" in said
