from __future__ import annotations

import errno
import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from repro.data.cache import available_memory, drawn, features
from repro.data.sources import DataError

ROWS = torch.arange(12, dtype=torch.float32).reshape(6, 2)
WHAT = {"backbone": "a", "images": {"x": "b"}}


@pytest.fixture
def features_folder(cache: Path) -> Path:
    return cache / "features"


class Count:
    """Computes ``ROWS`` in two chunks and counts how often it was asked to."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Iterator[Tensor]:
        self.calls += 1
        yield ROWS[:4]
        yield ROWS[4:]


def files(features_folder: Path) -> list[str]:
    """Everything but the locks, which stay."""
    return sorted(path.name for path in features_folder.iterdir() if path.suffix != ".lock")


def test_the_second_time_nothing_is_computed(features_folder: Path) -> None:
    count = Count()
    first = features("toy", WHAT, (6, 2), count)
    second = features("toy", dict(reversed(WHAT.items())), (6, 2), count)
    assert count.calls == 1
    assert torch.equal(first, ROWS)
    assert torch.equal(second, ROWS)
    assert len(list(features_folder.glob("toy-*.npy"))) == 1
    np.load(next(features_folder.glob("*.npy")), allow_pickle=False)


def test_what_they_depend_on_names_the_file(features_folder: Path) -> None:
    count = Count()
    for what in (WHAT, WHAT | {"backbone": "b"}, WHAT | {"images": {"x": "c"}}):
        features("toy", what, (6, 2), count)
    assert count.calls == 3
    assert len(list(features_folder.glob("*.npy"))) == 3


def test_writing_into_them_does_not_change_the_cache() -> None:
    features("toy", WHAT, (6, 2), Count()).zero_()
    assert torch.equal(features("toy", WHAT, (6, 2), Count()), ROWS)


def test_an_interrupted_computation_leaves_nothing(features_folder: Path) -> None:
    def interrupted() -> Iterator[Tensor]:
        yield ROWS[:4]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        features("toy", WHAT, (6, 2), interrupted)
    assert files(features_folder) == []
    assert torch.equal(features("toy", WHAT, (6, 2), Count()), ROWS)


def _saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:60],
        lambda whole: whole[:128],
        lambda whole: whole[:-1],
        lambda whole: _saved(np.zeros((6, 3), np.float32)),
        lambda whole: _saved(np.zeros((6, 2))),
        lambda whole: _saved(np.array([{"a": 1}], dtype=object)),
    ],
    ids=["empty", "header", "header alone", "truncated", "shape", "type", "pickle"],
)
def test_a_file_that_is_not_whole_is_computed_again(
    features_folder: Path, damage: Callable[[bytes], bytes]
) -> None:
    features("toy", WHAT, (6, 2), Count())
    path = next(features_folder.glob("*.npy"))
    path.write_bytes(damage(path.read_bytes()))
    count = Count()
    assert torch.equal(features("toy", WHAT, (6, 2), count), ROWS)
    assert count.calls == 1


def test_two_that_ask_at_once_compute_once() -> None:
    count, inside, go = Count(), threading.Event(), threading.Event()

    def slow() -> Iterator[Tensor]:
        inside.set()
        assert go.wait(10)
        yield from count()

    found: list[Tensor] = []
    threads = [
        threading.Thread(target=lambda: found.append(features("toy", WHAT, (6, 2), slow)))
        for _ in range(2)
    ]
    threads[0].start()
    assert inside.wait(10)
    threads[1].start()
    go.set()
    for thread in threads:
        thread.join(20)
    assert count.calls == 1
    assert [torch.equal(rows, ROWS) for rows in found] == [True, True]


@pytest.mark.parametrize(
    ("compute", "error", "message"),
    [
        (lambda: [ROWS[:4]], ValueError, "4 rows were computed, not 6"),
        (lambda: [ROWS, ROWS], ValueError, "12 rows"),
        (lambda: [ROWS[:, :1]], ValueError, "a chunk is"),
        (lambda: [ROWS.double()], ValueError, "a chunk is float64"),
        (lambda: [ROWS / 0], DataError, "not finite"),
    ],
)
def test_what_is_not_the_promised_features_is_not_kept(
    features_folder: Path, compute: Callable[[], list[Tensor]], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        features("toy", WHAT, (6, 2), compute)
    assert files(features_folder) == []


def test_a_cache_that_cannot_be_written_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("REPRO_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"toy: the features cannot be kept in .*REPRO_CACHE to a"):
        features("toy", WHAT, (6, 2), Count())
    # What is drawn can be drawn each time.
    image = torch.arange(12, dtype=torch.uint8).reshape(1, 3, 2, 2)
    assert torch.equal(drawn("toy", (1, 3, 2, 2), lambda: image), image)


def test_a_full_disk_is_named(features_folder: Path) -> None:
    def full() -> Iterator[Tensor]:
        yield ROWS[:4]
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DataError, match=r"No space left on device.*free some space there or set"):
        features("toy", WHAT, (6, 2), full)
    assert files(features_folder) == []


def test_what_was_drawn_is_not_drawn_again(features_folder: Path) -> None:
    image = torch.arange(12, dtype=torch.uint8).reshape(1, 3, 2, 2)
    for draw in (lambda: image, lambda: pytest.fail("drawn again")):
        drawn("toy", (1, 3, 2, 2), draw).zero_()
        assert torch.equal(drawn("toy", (1, 3, 2, 2), draw), image)
    assert files(features_folder.parent / "images") == ["toy.npy"]


def test_available_memory_is_plausible() -> None:
    available = available_memory()
    assert available is None or 0 <= available < 1 << 50
