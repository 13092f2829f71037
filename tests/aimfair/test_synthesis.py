"""A set of images: the same however it was drawn, whole after any interruption, checked."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from repro.aimfair import imagestore, synthesis
from repro.aimfair.generators import load
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
        self.name, self.revision, self.scheduler = "scribbler", "sha256:0", "NoScheduler"
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
    how = {"target": "Smiling", "protected": "Male", "seed": 3, **changes}
    return generate(generator or Scribbler(), how.pop("prompts", PROMPTS), n, folder, **how)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a set but its lock."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


FIRST = Scribbler()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of 11 images a group, drawn at once by `FIRST`; not to be changed."""
    folder = tmp_path_factory.mktemp("sets") / "set"
    make(folder, FIRST, n=11)
    return folder


@pytest.fixture
def copied(expected: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(expected, tmp_path / "set"))


# ---- the manifest and the files


def test_the_manifest_says_where_each_image_is_from(tmp_path: Path) -> None:
    scribbler = Scribbler()
    table = make(tmp_path / "set", scribbler)
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
    drawn = table[["size", "attempt", "pipeline", "revision", "scheduler"]].drop_duplicates()
    assert drawn.to_numpy().tolist() == [[8, 0, "scribbler", "sha256:0", "NoScheduler"]]
    pd.testing.assert_frame_equal(table, read_manifest(tmp_path / "set"))
    pd.testing.assert_frame_equal(table, make(tmp_path / "set"))


def test_seeds_are_the_same_on_every_platform() -> None:
    assert seed_of(42, (0, 1), 7, 107) == 3829149100775979867
    others = {seed_of(42, (0, 1), 7, 107, 1), seed_of(42, (1, 0), 7, 107)}
    assert len({*others, seed_of(43, (0, 1), 7, 107), seed_of(42, (0, 1), 7, 107)}) == 4


def test_a_set_is_read_back(expected: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, images = read_manifest(expected), load_set(expected)
    assert images.attributes.index.tolist() == table["name"].tolist()
    assert images.attribute("Smiling").tolist() == table["target"].tolist()
    assert images.attribute("Male").tolist() == table["protected"].tolist()
    assert set(images.part) == {"train"}
    manifest = (expected / "manifest.jsonl").read_bytes()
    assert images.sha256 == {"manifest": hashlib.sha256(manifest).hexdigest()}
    for pixels, digest in zip(images.images, table["sha256"], strict=True):
        assert pixel_digest(pixels.numpy()) == digest
    monkeypatch.setattr(synthesis, "fits_in_memory", lambda size: False)
    mapped = load_set(expected)
    assert torch.equal(mapped.images, images.images)
    mapped.images[0] = 0  # never reaches the file
    assert torch.equal(load_set(expected).images, images.images)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("images.npy", lambda data: data[:-1], r"images.npy is absent or damaged .*again"),
        ("images.npy", lambda data: data[:-1] + b"x", r"image 1_1/000010 is absent or not.*again"),
        ("manifest.jsonl", lambda data: data[:-1000], r"manifest.jsonl is absent or damaged"),
        ("set.json", lambda data: b"{}", r"set.json is absent or damaged"),
    ],
)
def test_what_is_no_finished_set_is_refused(
    copied: Path, name: str, damage: Callable[[bytes], bytes], message: str
) -> None:
    (copied / name).write_bytes(damage((copied / name).read_bytes()))
    with pytest.raises(GenerationError, match=message):
        load_set(copied)
    (copied / name).unlink()
    with pytest.raises(GenerationError, match=rf"{name} is absent or damaged"):
        load_set(copied)


# ---- the same, however it was drawn


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 8, 100])
def test_images_do_not_depend_on_the_batch(tmp_path: Path, expected: Path, batch: int) -> None:
    table = make(tmp_path / "set", Scribbler(batch), n=11)
    pd.testing.assert_frame_equal(table, read_manifest(expected))


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


def test_a_real_pipeline(tmp_path: Path, pipeline_folder: Path) -> None:
    settings = GenerationSettings(pipeline=str(pipeline_folder), steps=3, size=None, resize=12)
    generator = load(settings, device="cpu")
    table = make(tmp_path / "set", generator, n=1)
    assert table["revision"].str.startswith("sha256:").all()
    images = load_set(tmp_path / "set").images
    expected = [
        generator.draw([p], [s]) for p, s in zip(table["prompt"], table["seed"], strict=True)
    ]
    # Up to a last bit, as they were drawn alone here.
    assert int((images.int() - torch.cat(expected).int()).abs().max()) <= 1


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
import runpy, time
from pathlib import Path
helpers = runpy.run_path({tests!r})
scribbler = helpers["Scribbler"]()
scribbler.before = lambda prompts, seeds: time.sleep(0.2)
helpers["make"](Path({folder!r}), scribbler, n=11)
"""


@pytest.mark.slow
def test_a_real_kill(tmp_path: Path, expected: Path) -> None:
    script = SCRIPT.format(tests=__file__, folder=str(tmp_path / "set"))
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
    with pytest.raises(GenerationError, match=r"\d of 44 images.*generate again"):
        load_set(tmp_path / "set")
    rest = Scribbler()
    make(tmp_path / "set", rest, n=11)
    assert 0 < len(rest.drawn) < 4 * 12
    assert contents(tmp_path / "set") == contents(expected)


@pytest.mark.parametrize(
    ("name", "damage", "batches"),
    [
        ("images.npy", lambda data: data[:-30], 1),
        ("images.npy", lambda data: data[:-30] + bytes(30), 1),
        ("images.npy", lambda data: b"", 12),
        ("images.npy", lambda data: b"x" * 40 + data[40:], 0),  # the header is known
        ("manifest.jsonl", lambda data: data[:-20], 1),  # as a kill leaves it
        ("manifest.jsonl", lambda data: data + data.split(b"\n")[0][:90], 0),
        ("manifest.jsonl", lambda data: data.replace(b'"sha256":"', b'"sha256":"0'), 12),
        ("manifest.jsonl", lambda data: b"\xff", 12),
    ],
)
def test_what_is_damaged_is_drawn_again(
    copied: Path, expected: Path, name: str, damage: Callable[[bytes], bytes], batches: int
) -> None:
    (copied / name).write_bytes(damage((copied / name).read_bytes()))
    scribbler = Scribbler()
    make(copied, scribbler, n=11)
    assert contents(copied) == contents(expected)
    # Whole batches, the same ones; the last of a group is filled up with one that is thrown away.
    assert scribbler.drawn == FIRST.drawn[4 * (12 - batches) :]


@pytest.mark.parametrize("name", ["images.npy", "manifest.jsonl"])
def test_a_full_disk_is_an_error_that_costs_nothing(
    tmp_path: Path, expected: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    assert contents(tmp_path / "set") == contents(expected)


# ---- too little memory, one colour


FULL = torch.OutOfMemoryError("CUDA out of memory.")


@pytest.mark.parametrize(
    "error", [FULL, RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_batch_that_does_not_fit_is_halved(
    tmp_path: Path, expected: Path, error: BaseException
) -> None:
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
    pd.testing.assert_frame_equal(table, read_manifest(expected))


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (FULL, GenerationError, "suffice for one image"),
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
        # A folder holds one set.
        ({"seed": 4}, r"another set: .*seed was 3, is 4\. Choose another"),
        ({"n": 6}, r"images_per_group was 11, is 6"),
        ({"generator": Scribbler(guidance=3.0)}, r"settings.guidance was 9.0, is 3.0"),
        ({"prompts": {**PROMPTS, (0, 0): ["x"]}}, r"prompts.0_0 was \['unsm.* is \['x'\]"),
    ],
)
def test_arguments_are_checked(
    expected: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    before = contents(expected)
    with pytest.raises((ValueError, GenerationError), match=message):
        make(expected, **{"n": 11} | changes)
    assert contents(expected) == before


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
    make(tmp_path / "set")
    assert "set: drawing: 100%" in (said := capsys.readouterr().err)
    assert "20/20" in said
