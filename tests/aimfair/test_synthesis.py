"""A set of images: the same however it was drawn, whole after any interruption, checked."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import socket
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
from PIL import Image
from torch import Tensor

from repro.aimfair import imageset, imagestore
from repro.aimfair.drawing import out_of_memory
from repro.aimfair.generators import GenerationSettings, Generator, Identity, load
from repro.aimfair.imagestore import ArrayStore, PngStore, pixel_digest
from repro.aimfair.synthesis import (
    GenerationError,
    generate,
    load_set,
    read_manifest,
    seed_of,
)
from repro.data.splits import GROUPS
from repro.names import UnknownNameError

PROMPTS = {
    (t, p): [f"{'' if t else 'un'}smiling {'fe' * (1 - p)}male {i}" for i in range(3)]
    for t, p in GROUPS
}


class Scribbler:
    """Draws noise that depends on prompt and seed; fails or blanks when told to."""

    def __init__(self, batch: int | None = 4, size: int = 8, **settings: Any) -> None:
        self.settings = GenerationSettings(pipeline="x", batch=batch, **settings)
        self.identity = Identity("scribbler", "sha256:0", "0", "NoScheduler")
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


def make(
    folder: Path, generator: Any = None, n: int = 5, storage: str = "png", **changes: Any
) -> pd.DataFrame:
    how = {"target": "Smiling", "protected": "Male", "seed": 3, "progress": False, **changes}
    prompts = how.pop("prompts", PROMPTS)
    return generate(generator or Scribbler(), prompts, n, folder, storage=storage, **how)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a set but its lock."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


both = pytest.mark.parametrize("storage", ["png", "array"])


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PngStore, "chunk", 8)
    monkeypatch.setattr(ArrayStore, "chunk", 8)


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
    assert list(table.columns) == list(imageset.COLUMNS)
    assert table["name"].tolist() == [f"{t}_{p}/{i:06d}" for t, p in GROUPS for i in range(5)]
    assert table["prompt_index"].tolist() == [0, 1, 2, 0, 1] * 4
    row: Any
    for row in table.itertuples():
        group = (row.target, row.protected)
        assert row.prompt == PROMPTS[group][row.prompt_index]
        assert row.seed == seed_of(3, group, row.prompt_index, row.index)
        assert row.seed in scribbler.drawn
        pixels = np.asarray(Image.open(tmp_path / "set" / f"{row.name}.png"))
        assert pixel_digest(pixels.transpose(2, 0, 1)) == row.sha256
    assert table["seed"].is_unique
    assert table["sha256"].is_unique
    first = table.iloc[0]
    assert (first["pipeline"], first["revision"]) == ("scribbler", "sha256:0")
    assert (first["scheduler"], first["steps"], first["guidance"]) == ("NoScheduler", 50, 9.0)
    assert (first["size"], first["eta"], first["attempt"]) == (8, 0.0, 0)
    pd.testing.assert_frame_equal(table, read_manifest(tmp_path / "set"))
    pd.testing.assert_frame_equal(table, make(tmp_path / "set"))


def test_seeds_are_the_same_on_every_platform() -> None:
    assert seed_of(42, (0, 1), 7, 107) == 3829149100775979867
    others = {
        seed_of(42, (0, 1), 7, 107, 1),
        seed_of(42, (1, 0), 7, 107),
        seed_of(43, (0, 1), 7, 107),
    }
    assert len({*others, seed_of(42, (0, 1), 7, 107)}) == 4


def test_both_storages_hold_the_same_images(tmp_path: Path) -> None:
    png, array = make(tmp_path / "png", n=11), make(tmp_path / "array", n=11, storage="array")
    pd.testing.assert_frame_equal(png, array)
    first, second = load_set(tmp_path / "png"), load_set(tmp_path / "array")
    assert torch.equal(first.images, second.images)
    assert sorted(x.name for x in (tmp_path / "array" / "0_1").iterdir()) == [
        "000000.safetensors",
        "000001.safetensors",
    ]


@both
def test_a_set_is_read_back(tmp_path: Path, storage: str) -> None:
    table = make(tmp_path / "set", n=11, storage=storage)
    images = load_set(tmp_path / "set")
    assert images.attributes.index.tolist() == table["name"].tolist()
    assert images.attribute("Smiling").tolist() == table["target"].tolist()
    assert images.attribute("Male").tolist() == table["protected"].tolist()
    assert set(images.part) == {"train"}
    manifest = (tmp_path / "set" / "manifest.csv").read_bytes()
    assert images.sha256 == {"manifest": hashlib.sha256(manifest).hexdigest()}
    for row, name in enumerate(table["sha256"]):
        assert pixel_digest(images.images[row].numpy()) == name
    mapped = load_set(tmp_path / "set", resident=False)
    assert torch.equal(mapped.images, images.images)
    mapped.images[0] = 0  # never reaches the cache
    assert torch.equal(load_set(tmp_path / "set", resident=True).images, images.images)


@both
def test_reading_back_refuses_damage_once_and_trusts_the_cache_then(
    tmp_path: Path, storage: str
) -> None:
    make(tmp_path / "set", storage=storage)
    whole = contents(tmp_path / "set")
    victim = tmp_path / "set" / ("1_0/000002.png" if storage == "png" else "1_0/000000.safetensors")
    victim.write_bytes(victim.read_bytes()[:-40])
    with pytest.raises(GenerationError, match=r"image 1_0/00000\d is absent or not what.*again"):
        load_set(tmp_path / "set")
    assert not list((tmp_path / "cache").rglob("*.npy"))
    make(tmp_path / "set", storage=storage)  # as the message says
    assert contents(tmp_path / "set") == whole
    load_set(tmp_path / "set")
    victim.unlink()
    assert len(load_set(tmp_path / "set")) == 20  # hashed when the cache was made


def test_what_is_no_finished_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GenerationError, match=r"set.json is absent or damaged"):
        load_set(tmp_path)
    make(tmp_path / "set")
    manifest = tmp_path / "set" / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("seed", "sed", 1))
    with pytest.raises(GenerationError, match=r"manifest.csv is absent or damaged"):
        load_set(tmp_path / "set")
    manifest.unlink()
    with pytest.raises(GenerationError, match=r"manifest.csv is absent or damaged"):
        load_set(tmp_path / "set")


# ---- the same, however it was drawn


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 8, 100])
def test_images_do_not_depend_on_the_batch(tmp_path: Path, batch: int) -> None:
    expected = make(tmp_path / "expected", n=11)
    pd.testing.assert_frame_equal(expected, make(tmp_path / "set", Scribbler(batch), n=11))


def test_a_batch_always_has_the_same_images(tmp_path: Path) -> None:
    seen: dict[str, set[tuple[int, ...]]] = {"at once": set(), "grown": set(), "mended": set()}

    def noting(what: str) -> Scribbler:
        scribbler = Scribbler(3)
        scribbler.before = lambda prompts, seeds: seen[what].add(tuple(seeds))
        return scribbler

    make(tmp_path / "a", noting("at once"), n=11)
    make(tmp_path / "b", noting("grown"), n=4)
    make(tmp_path / "b", noting("grown"), n=11)
    (tmp_path / "b" / "0_1" / "000004.png").unlink()
    make(tmp_path / "b", noting("mended"), n=11)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    # 3 + 3 + 2 of the first chunk, 3 of the second, of four groups.
    assert len(seen["at once"]) == 16
    assert seen["grown"] == seen["at once"]
    assert len(seen["mended"]) == 1
    assert seen["mended"] < seen["at once"]


@both
def test_growing_only_adds(tmp_path: Path, storage: str) -> None:
    small = make(tmp_path / "set", n=4, storage=storage)
    scribbler = Scribbler(1)
    large = make(tmp_path / "set", scribbler, n=11, storage=storage)
    assert len(scribbler.drawn) == 4 * 7
    kept = large[large["index"] < 4].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, small)
    before = contents(tmp_path / "set")
    # Fewer: the manifest names fewer, the images stay.
    pd.testing.assert_frame_equal(make(tmp_path / "set", n=4, storage=storage), small)
    after = contents(tmp_path / "set")
    assert after.keys() == before.keys()
    assert len(load_set(tmp_path / "set")) == 16


def test_a_real_pipeline_whatever_the_batch_and_the_order(
    tmp_path: Path, real: Callable[..., Generator]
) -> None:
    by_three = make(tmp_path / "three", real(), n=4)
    assert by_three["scheduler"].unique().tolist() == ["DDIMScheduler"]
    first = load_set(tmp_path / "three").images
    assert first.shape == (16, 3, 12, 12)
    assert first.float().std() > 5
    # Again in another folder, in two goes, the second mending the first: bit for bit.
    make(tmp_path / "again", real(), n=2)
    (tmp_path / "again" / "0_0" / "000001.png").unlink()
    pd.testing.assert_frame_equal(make(tmp_path / "again", real(), n=4), by_three)
    # Alone, exactly what the generator draws.
    alone = make(tmp_path / "alone", real(batch=1), n=4)
    images = load_set(tmp_path / "alone").images
    row = alone.iloc[9]
    expected = real().draw([row["prompt"]], [row["seed"]])
    assert torch.equal(images[9], expected[0])
    # By another batch size up to a last bit.
    assert int((images.int() - first.int()).abs().max()) <= 1


def test_a_real_pipeline_of_the_embedded_kind(
    tmp_path: Path, tiny_autoencoder_folder: Path
) -> None:
    settings = GenerationSettings(
        pipeline=str(tiny_autoencoder_folder), scheduler="dpm++", steps=3, size=None, resize=None
    )
    table = make(tmp_path / "set", load(settings, device="cpu"), n=1, storage="array")
    assert table["scheduler"].unique().tolist() == ["DPMSolverMultistepScheduler"]
    assert load_set(tmp_path / "set").images.shape == (4, 3, 16, 16)
    assert read_manifest(tmp_path / "set")["revision"].str.startswith("sha256:").all()


# ---- interrupted


class Killed(BaseException):
    """As good as a kill: nothing catches it by name."""


@both
@pytest.mark.parametrize("at", [1, 3, 4, 6])
def test_killed_between_writing_and_renaming(
    tmp_path: Path, storage: str, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "expected", n=11, storage=storage)
    times = 0

    def replace(self: Path, target: Path) -> Path:
        nonlocal times
        times += 1
        if times == at:
            raise Killed
        os.rename(self, target)  # noqa: PTH104
        return target

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replace)
        # A kill runs no clean-up either.
        patched.setattr(Path, "unlink", lambda self, missing_ok=False: None)
        with pytest.raises(Killed):
            make(tmp_path / "set", n=11, storage=storage)
    assert list((tmp_path / "set").rglob(".*.part"))
    assert not (tmp_path / "set" / "manifest.csv").exists()
    make(tmp_path / "set", n=11, storage=storage)
    assert contents(tmp_path / "set") == contents(tmp_path / "expected")


@both
def test_interrupted_while_drawing(tmp_path: Path, storage: str) -> None:
    make(tmp_path / "expected", n=11, storage=storage)
    scribbler = Scribbler(2)

    def stop(prompts: Sequence[str], seeds: Sequence[int]) -> None:
        if len(scribbler.drawn) == 14:
            raise KeyboardInterrupt

    scribbler.before = stop
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "set", scribbler, n=11, storage=storage)
    rest = Scribbler(2)
    make(tmp_path / "set", rest, n=11, storage=storage)
    assert len(rest.drawn) == 4 * 12 - 14  # what was drawn was kept, in either storage
    assert contents(tmp_path / "set") == contents(tmp_path / "expected") | {
        # The batch of the first call, the one thing in which the two differ.
        "set.json": contents(tmp_path / "set")["set.json"]
    }


SCRIPT = """
import importlib.util, sys, time
from pathlib import Path
spec = importlib.util.spec_from_file_location("helpers", {tests!r})
helpers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(helpers)
helpers.PngStore.chunk = helpers.ArrayStore.chunk = 8
scribbler = helpers.Scribbler()
scribbler.before = lambda prompts, seeds: time.sleep({pause})
helpers.make(Path({folder!r}), scribbler, n={n}, storage={storage!r})
"""


def start(folder: Path, *, storage: str, pause: float, n: int, **env: str) -> subprocess.Popen[str]:
    script = SCRIPT.format(tests=__file__, folder=str(folder), storage=storage, pause=pause, n=n)
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_real_kill(tmp_path: Path) -> None:
    make(tmp_path / "expected", n=30)
    process = start(tmp_path / "set", storage="png", pause=0.05, n=30)
    wait_until = time.monotonic() + 300  # importing takes its time on a busy machine
    try:
        while len(list((tmp_path / "set").rglob("*.png"))) < 9 and process.poll() is None:
            assert time.monotonic() < wait_until, "nothing was drawn"
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said
    there = len(list((tmp_path / "set").rglob("*.png")))
    assert 9 <= there < 120
    rest = Scribbler()
    make(tmp_path / "set", rest, n=30)
    assert 0 < len(rest.drawn) < 4 * 32
    assert contents(tmp_path / "set") == contents(tmp_path / "expected")


@pytest.mark.slow
def test_two_processes_draw_one_set(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    make(tmp_path / "expected", n=20, storage="array")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    shared |= {"ACCELERATE_USE_CPU": "true", "LOCAL_WORLD_SIZE": "2"}
    processes = [
        start(
            tmp_path / "set", storage="array", pause=0, n=20, RANK=rank, LOCAL_RANK=rank, **shared
        )
        for rank in ("0", "1")
    ]
    try:
        for process in processes:
            _, said = process.communicate(timeout=300)
            assert process.returncode == 0, said
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert contents(tmp_path / "set") == contents(tmp_path / "expected")


# ---- damage, a full disk, too little memory


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-30] ^= 1
    path.write_bytes(bytes(data))


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _another(path: Path) -> None:
    """Put an image there that is whole, but not this set's."""
    other = path.parents[2] / "other"
    make(other, storage="array" if path.suffix == ".safetensors" else "png", n=11, seed=4)
    path.write_bytes((other / path.parent.name / path.name).read_bytes())


@both
@pytest.mark.parametrize("damage", [_flip, _truncate, _empty, _another, Path.unlink])
@pytest.mark.parametrize("finished", [True, False])
def test_damaged_files_are_drawn_again(
    tmp_path: Path, storage: str, damage: Callable[[Path], None], finished: bool
) -> None:
    make(tmp_path / "set", n=11, storage=storage)
    whole = contents(tmp_path / "set")
    victim = tmp_path / "set" / ("1_0/000009.png" if storage == "png" else "1_0/000001.safetensors")
    damage(victim)
    if not finished:  # files must then know by themselves that they are damaged
        (tmp_path / "set" / "manifest.csv").unlink()
    scribbler = Scribbler(1)
    make(tmp_path / "set", scribbler, n=11, storage=storage)
    assert contents(tmp_path / "set") == whole
    # The image that is damaged, or the chunk where nothing of it can be read.
    one = storage == "png" or damage is _flip
    assert len(scribbler.drawn) == (1 if one else 3)


@both
def test_an_image_that_is_whole_but_not_the_manifests_is_drawn_again(
    tmp_path: Path, storage: str
) -> None:
    make(tmp_path / "set", storage=storage)
    whole = contents(tmp_path / "set")
    about = imageset.read_about(tmp_path / "set")
    kept = about.store(tmp_path / "set")
    images = kept.read((0, 0), 0)
    strange = images[2].pixels ^ np.uint8(1)
    images[2] = imagestore.Drawn(strange, 0, pixel_digest(strange))
    kept.write((0, 0), 0, images)
    assert contents(tmp_path / "set") != whole
    make(tmp_path / "set", storage=storage)
    assert contents(tmp_path / "set") == whole


@both
def test_a_full_disk_is_an_error_that_costs_nothing(
    tmp_path: Path, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "expected", n=11, storage=storage)
    times, honest = 0, Path.open

    def open_(self: Path, mode: str = "r", *args: Any, **how: Any) -> Any:
        nonlocal times
        times += mode == "xb"
        if mode == "xb" and times > 4:
            file = honest(self, mode, *args, **how)
            file.write(b"a part")
            file.close()
            raise OSError(errno.ENOSPC, "No space left on device")
        return honest(self, mode, *args, **how)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", open_)
        with pytest.raises(GenerationError, match=r"set.0_\d \(.*free some.*is kept") as found:
            make(tmp_path / "set", n=11, storage=storage)
    assert isinstance(found.value.__cause__, OSError)
    files = contents(tmp_path / "set")
    assert len(files) == 4  # set.json and three images or chunks; no manifest, nothing partial
    assert not [name for name in files if name.endswith(".part")]
    assert all(data == contents(tmp_path / "expected")[name] for name, data in files.items())
    make(tmp_path / "set", n=11, storage=storage)
    assert contents(tmp_path / "set") == contents(tmp_path / "expected")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
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


def test_memory_for_not_even_one_image(tmp_path: Path) -> None:
    scribbler = Scribbler(1)

    def full(prompts: Sequence[str], seeds: Sequence[int]) -> None:
        raise MemoryError

    scribbler.before = full
    with pytest.raises(GenerationError, match="does not suffice for one image"):
        make(tmp_path / "set", scribbler)


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    assert not out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))
    assert not out_of_memory(RuntimeError("required rank 4 tensor to use channels_last memory fo"))
    assert not out_of_memory(OSError("Cannot allocate memory"))


# ---- one colour


def test_images_of_one_colour_are_drawn_again_with_the_next_seed(tmp_path: Path) -> None:
    blank = {
        seed_of(3, (1, 0), 2, 2, 0),
        seed_of(3, (1, 0), 2, 2, 1),
        seed_of(3, (0, 0), 1, 1, 0),
    }
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
    again = make(tmp_path / "set", scribbler).set_index("name")
    pd.testing.assert_frame_equal(again, table)


@both
def test_always_one_colour_is_an_error(tmp_path: Path, storage: str) -> None:
    scribbler = Scribbler(2, redraws=3)
    scribbler.blank = lambda prompt, seed: prompt == PROMPTS[1, 1][1]
    with pytest.raises(GenerationError, match=r"1_1/000001: 4 images in a row .*smiling male 1"):
        make(tmp_path / "set", scribbler, storage=storage)
    assert len(contents(tmp_path / "set")) > 1  # what is finished is kept


# ---- what is asked


def test_prompts_are_checked(tmp_path: Path) -> None:
    short = {group: texts for group, texts in PROMPTS.items() if group != (0, 1)}
    with pytest.raises(ValueError, match=r"group \(0, 1\) has no list of prompts"):
        make(tmp_path / "set", prompts=short)
    with pytest.raises(ValueError, match=r"group \(0, 1\) has no list"):
        make(tmp_path / "set", prompts={**PROMPTS, (0, 1): "one text"})
    with pytest.raises(ValueError, match=r"prompt 1 of group \(1, 1\) is ' '"):
        make(tmp_path / "set", prompts={**PROMPTS, (1, 1): ["a", " "]})
    with pytest.raises(ValueError, match=r"no group \(2, 0\)"):
        make(tmp_path / "set", prompts={**PROMPTS, (2, 0): ["a"]})
    assert not (tmp_path / "set").exists()


def test_arguments_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="images_per_group must be from 1"):
        make(tmp_path / "set", n=0)
    with pytest.raises(ValueError, match="seed must not be negative"):
        make(tmp_path / "set", seed=-1)
    with pytest.raises(ValueError, match="must be two names"):
        make(tmp_path / "set", protected="Smiling")
    with pytest.raises(UnknownNameError, match="did you mean 'array'"):
        make(tmp_path / "set", storage="arrray")
    assert not contents(tmp_path / "set")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(GenerationError, match="cannot be written"):
        make(tmp_path / "file")


def test_long_prompts_are_said_once(tmp_path: Path) -> None:
    long = "a very long prompt " * 4
    prompts = {**PROMPTS, (0, 0): ["short", long], (1, 1): [long]}
    with pytest.warns(RuntimeWarning, match="2 of 9 prompts are longer") as said:
        make(tmp_path / "set", prompts=prompts)
    assert len(said) == 1


def test_a_folder_holds_one_set(tmp_path: Path) -> None:
    make(tmp_path / "set")
    before = contents(tmp_path / "set")
    with pytest.raises(GenerationError, match=r"another set: seed was 3, is 4\. Choose another"):
        make(tmp_path / "set", seed=4)
    with pytest.raises(GenerationError, match=r"settings.guidance was 9.0, is 3.0"):
        make(tmp_path / "set", Scribbler(guidance=3.0))
    with pytest.raises(GenerationError, match=r"prompts.0_0\[0\] was 'unsmiling female 0', is 'x'"):
        make(tmp_path / "set", prompts={**PROMPTS, (0, 0): ["x", *PROMPTS[0, 0][1:]]})
    with pytest.raises(GenerationError, match=r"storage was 'png', is 'array'"):
        make(tmp_path / "set", storage="array")
    assert contents(tmp_path / "set") == before


def test_how_it_runs_may_change(tmp_path: Path) -> None:
    first = make(tmp_path / "set", Scribbler(None))
    about = json.loads((tmp_path / "set" / "set.json").read_text())
    assert about["drawn_with"] == {"torch": "0", "device": "paper", "batch": 4}
    # An unset batch is that of the first call, not what the memory allows now.
    other, sizes = Scribbler(None, compile=True, channels_last=True), []
    other.batch = 2
    other.before = lambda prompts, seeds: sizes.append(len(seeds))
    pd.testing.assert_frame_equal(make(tmp_path / "set", other, n=8).query("index < 5")
                                  .reset_index(drop=True), first)  # fmt: skip
    assert set(sizes) == {4}
    other.environment = {"torch": "1", "device": "paper"}
    with pytest.warns(RuntimeWarning, match="torch 0 is now 1"):
        make(tmp_path / "set", other, n=8)


def test_progress_shows_what_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "set", n=3)
    assert capsys.readouterr().err == ""
    make(tmp_path / "set", n=5, progress=True)
    assert "set: drawing: 100%" in (said := capsys.readouterr().err)
    assert "20/20" in said
