"""Tests of `repro.study.once`: what changes is seen outside of a reading, and what it costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from repro.chapters.win.architectures import architectures as plan_of
from repro.study.once import once, one_reading
from repro.study.profiles import load_profile


@once
def text(path: Path, *, times: int = 1) -> str:
    """Read a file."""
    return path.read_text() * times


def test_a_changed_file_is_seen_by_the_next_reading(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("a")
    with one_reading():
        assert text(path) == "a"
        path.write_text("b")
        with one_reading():  # a part of the longer one
            assert text(path) == "a"
        assert text(path) == "a"
        assert text(path, times=2) == "bb"  # other arguments
    assert text(path) == "b"
    path.write_text("c")
    assert text(path) == "c"
    with one_reading():
        assert text(path) == "c"


def test_what_cannot_be_had_is_asked_for_again(tmp_path: Path) -> None:
    with one_reading():
        with pytest.raises(FileNotFoundError):
            text(tmp_path / "file")
        (tmp_path / "file").write_text("there now")
        assert text(tmp_path / "file") == "there now"


def test_what_has_no_hash_is_known_as_the_object_it_is() -> None:
    calls = []

    @once
    def first(values: list[int]) -> int:
        calls.append(len(values))
        return values[0]

    with one_reading():
        # Each is gone before the next is made, so its place in memory is free to be taken.
        assert [first([number]) for number in range(100)] == [*range(100)]
        kept = [7]
        assert first(kept) == first(kept) == 7
    assert len(calls) == 101


def test_a_plan_is_made_once_and_each_caller_has_its_own() -> None:
    smoke = load_profile("smoke")
    with one_reading():
        first, second = plan_of(smoke, (0,)), plan_of(smoke, (0,))
        assert first == second
        assert all(first[key][0] is second[key][0] for key in first)
        key = next(iter(first))
        first.clear()
        assert plan_of(smoke, (0,)) == second
        other = load_profile("smoke", {"win.hidden": 3})
        assert plan_of(other, (0,))[key][0].identity != second[key][0].identity
