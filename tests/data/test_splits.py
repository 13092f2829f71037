from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from repro.data.splits import PARTS, biased_split, largest_biased_total, named_parts, task_split
from repro.data.tabular import Table

GROUPS = [(0, 0), (0, 1), (1, 0), (1, 1)]


def _labels(sizes: list[int], seed: int = 0) -> tuple[Any, Any]:
    target = np.repeat([t for t, _ in GROUPS], sizes).astype(np.int8)
    protected = np.repeat([p for _, p in GROUPS], sizes).astype(np.int8)
    order = np.random.default_rng(seed).permutation(len(target))
    return target[order], protected[order]


# Of the whole: 60 % pre-train, a fifth of them by validating; the task as Table 1 has it.
SHARES = (0.48, 0.12, 0.4 * 12_287 / 27_602, 0.4 * 5_000 / 27_602, 0.4 * 10_315 / 27_602)


@given(st.lists(st.integers(14, 400), min_size=4, max_size=4), st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_a_split_is_a_stratified_partition(sizes: list[int], seed: int) -> None:
    target, protected = _labels(sizes)
    parts = task_split(target, protected, seed=seed)
    assert tuple(parts) == PARTS
    together = np.sort(np.concatenate(list(parts.values())))
    np.testing.assert_array_equal(together, np.arange(len(target)))
    for (part, rows), share in zip(parts.items(), SHARES, strict=True):
        assert rows.dtype == np.int64, part
        assert (np.diff(rows) > 0).all()
        for (t, p), size in zip(GROUPS, sizes, strict=True):
            count = ((target[rows] == t) & (protected[rows] == p)).sum()
            assert abs(count - size * share) < 1


def test_the_rounding_is_by_the_largest_remainder() -> None:
    # Quotas of 20: 9.6, 2.4, 3.561, 1.449, 2.990; of the floors' three short, .990, .6, .561 win.
    parts = task_split(*_labels([20] * 4), seed=0)
    assert [len(rows) for rows in parts.values()] == [40, 8, 16, 4, 12]


def test_a_seed_is_a_split(census: Table) -> None:
    first = task_split(census.target, census.protected, seed=7)
    again = task_split(census.target.tolist(), census.protected.tolist(), seed=7)
    other = task_split(census.target, census.protected, seed=8)
    for part in PARTS:
        np.testing.assert_array_equal(first[part], again[part])
        assert len(first[part]) == len(other[part])
        assert not np.array_equal(first[part], other[part])


def test_records_are_mixed_not_cut_off() -> None:
    target, protected = np.repeat([0, 0, 1, 1], 1000), np.tile(np.repeat([0, 1], 1000), 2)
    for rows in task_split(target, protected, seed=0).values():
        # Each part is spread over the group: its mean position is that of the whole.
        assert abs((rows % 1000).mean() - 499.5) < 5 * 289 / len(rows) ** 0.5


def test_a_group_is_split_whatever_the_others_are() -> None:
    target, protected = _labels([50, 50, 50, 50])
    more = [np.concatenate([values, np.zeros(500, dtype=int)]) for values in (target, protected)]
    few, many = task_split(target, protected, seed=1), task_split(*more, seed=1)
    for part in PARTS:
        for t, p in GROUPS[1:]:
            kept = [rows[part][(a[rows[part]] == t) & (b[rows[part]] == p)]
                    for rows, a, b in ((few, target, protected), (many, *more))]  # fmt: skip
            np.testing.assert_array_equal(*kept)


def test_the_default_sizes_are_the_proportions_of_table_1(adult_table: Table) -> None:
    parts = task_split(adult_table.target, adult_table.protected, seed=0)
    for rows, share in zip(parts.values(), SHARES, strict=True):
        assert abs(len(rows) - 48_842 * share) < 4
        assert adult_table.target[rows].mean() == pytest.approx(0.2393, abs=0.001)
        assert adult_table.protected[rows].mean() == pytest.approx(0.6685, abs=0.001)


@pytest.mark.parametrize(("group", "small"), [(0, 0), (1, 1), (2, 3), (3, 3)])
def test_a_group_that_is_too_small_is_named(group: int, small: int) -> None:
    sizes = [100] * 4
    sizes[group] = small
    t, p = GROUPS[group]
    with pytest.raises(ValueError, match=rf"group \({t},{p}\) has {small} records.*are enough"):
        task_split(*_labels(sizes), seed=0)


def test_the_stated_size_is_enough() -> None:
    with pytest.raises(ValueError, match="14 are enough"):
        task_split(*_labels([4] * 4), seed=0)
    parts = task_split(*_labels([14] * 4), seed=0)
    assert min(len(rows) for rows in parts.values()) >= 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": [0, 1]}, "2 target values but 400 protected"),
        ({"target": np.full(400, 2)}, "target must be one-dimensional, each value 0 or 1"),
        ({"protected": np.zeros((400, 1))}, "protected must be one-dimensional"),
        ({"seed": -1}, "seed must not be negative"),
    ],
)
def test_wrong_arguments_are_refused(changes: dict[str, Any], message: str) -> None:
    target, protected = _labels([100] * 4)
    arguments: dict[str, Any] = {"target": target, "protected": protected, "seed": 0} | changes
    with pytest.raises(ValueError, match=message):
        task_split(**arguments)


@pytest.mark.parametrize(
    ("total", "ratio", "counts"),
    [
        (20_000, 1 / 9, [1000, 9000, 9000, 1000]),
        (10_000, 1 / 9, [500, 4500, 4500, 500]),
        (20_000, 2 / 8, [2000, 8000, 8000, 2000]),
        (20_000, 3 / 7, [3000, 7000, 7000, 3000]),
        (20_000, 4 / 6, [4000, 6000, 6000, 4000]),
        (20_000, 1.0, [5000, 5000, 5000, 5000]),
        # What does not divide: 0.5 is rounded up to 1, 0.55 too, 0.45 to 0 and so refused below.
        (10, 1 / 9, [1, 4, 4, 1]),
        (11, 1 / 9, [1, 5, 4, 1]),
        (30, 1 / 9, [2, 13, 13, 2]),
        (33, 1 / 9, [2, 15, 14, 2]),
        (7, 1.0, [2, 2, 1, 2]),
    ],
)
def test_a_biased_split_has_the_stated_counts(total: int, ratio: float, counts: list[int]) -> None:
    target, protected = _labels([10_000] * 4)
    chosen = biased_split(target, protected, total, bias_ratio=ratio)
    assert chosen.dtype == np.int64
    assert np.bincount(2 * target[chosen] + protected[chosen], minlength=4).tolist() == counts


@given(
    st.lists(st.integers(40, 90), min_size=4, max_size=4),
    st.integers(1, 250),
    st.floats(0.01, 1),
    st.integers(0, 100),
)
@settings(max_examples=150, deadline=None)
def test_a_biased_split_against_a_walk_in_index_order(
    sizes: list[int], total: int, ratio: float, seed: int
) -> None:
    target, protected = _labels(sizes, seed)
    # A half goes up; what is within rounding of a half, and none, may go either way.
    off = total * ratio / (2 * (1 + ratio)) % 1 - 0.5
    assume(off == 0 or abs(off) > 1e-8)
    try:
        chosen = biased_split(target, protected, total, bias_ratio=ratio)
    except ValueError as error:
        message = str(error)
        largest = int(message.split("; ")[1].split()[0]) if "largest" in message else None
        if largest is not None:
            assert len(biased_split(target, protected, largest, bias_ratio=ratio)) == largest
        for other in range((largest or 0) + 1, total + 1):
            with pytest.raises(ValueError, match=r"leave a group|there are"):
                biased_split(target, protected, other, bias_ratio=ratio)
        return
    share = ratio / (2 * (1 + ratio))
    small = math.floor(total * share + 0.5)
    large = total - 2 * small
    room = {(0, 0): small, (0, 1): -(-large // 2), (1, 0): large // 2, (1, 1): small}
    expected = []
    for i, group in enumerate(zip(target.tolist(), protected.tolist(), strict=True)):
        if room[group] > 0:
            room[group] -= 1
            expected.append(i)
    assert chosen.tolist() == expected


def test_too_few_in_a_group_gives_their_number_and_the_largest_total() -> None:
    target, protected = _labels([7, 300, 300, 50])
    with pytest.raises(ValueError, match=r"leave a group|there are") as caught:
        biased_split(target, protected, 200)
    assert str(caught.value) == (
        "200 examples at bias ratio 0.1111 need 10 of (0,0), 90 of (0,1), 90 of (1,0), "
        "10 of (1,1), but there are 7 of (0,0), 300 of (0,1), 300 of (1,0), 50 of (1,1); "
        "149 is the largest total that fits"
    )
    assert len(biased_split(target, protected, 149)) == 149
    with pytest.raises(ValueError, match="no total fits"):
        biased_split(*_labels([0, 300, 300, 50]), 200)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"total": 9}, r"9 examples .* leave a group without any \(0 of \(0,0\)"),
        ({"total": 0}, "leave a group without any"),
        ({"total": -20}, "leave a group without any"),
        ({"bias_ratio": 0.0}, "above 0 and at most 1"),
        ({"bias_ratio": 1.1}, "above 0 and at most 1"),
        ({"bias_ratio": float("nan")}, "above 0 and at most 1"),
        ({"target": [0, 2]}, "target must be one-dimensional"),
        ({"protected": [0, 1]}, "400 target values but 2 protected"),
    ],
)
def test_bad_biased_split(change: dict[str, Any], message: str) -> None:
    target, protected = _labels([100] * 4)
    with pytest.raises(ValueError, match=message):
        biased_split(**{"target": target, "protected": protected, "total": 20, **change})


@given(st.lists(st.integers(1, 90), min_size=4, max_size=4), st.data())
def test_without_a_ratio_groups_keep_their_shares(sizes: list[int], data: st.DataObject) -> None:
    target, protected = _labels(sizes, 1)
    # From one of the smallest group up.
    total = data.draw(st.integers(-(-sum(sizes) // min(sizes)), sum(sizes)))
    chosen = biased_split(target, protected, total, bias_ratio=None)
    assert len(chosen) == total
    for t, p in GROUPS:
        members = np.flatnonzero((target == t) & (protected == p))
        taken = np.intersect1d(members, chosen)
        assert abs(len(taken) - total * len(members) / sum(sizes)) < 1
        assert taken.tolist() == members[: len(taken)].tolist()


def test_without_a_ratio_no_more_than_there_is() -> None:
    target, protected = _labels([10, 20, 30, 40])
    whole = biased_split(target, protected, 100, bias_ratio=None)
    assert whole.tolist() == list(range(100))
    with pytest.raises(ValueError, match="2 examples as the data are leave a group without any"):
        biased_split(target, protected, 2, bias_ratio=None)
    with pytest.raises(ValueError, match=r"102 examples as the data are need .* 100 is the larg"):
        biased_split(target, protected, 102, bias_ratio=None)


NAMED = {"train": 0.7, "validation": 0.1, "test": 0.2}


def test_named_parts_follow_from_the_name_alone() -> None:
    keys = [f"{i}.jpg" for i in range(20_000)]
    parts = named_parts(keys, NAMED, salt="set")
    for part, share in NAMED.items():
        assert abs((parts == part).mean() - share) < 4 * math.sqrt(share * (1 - share) / 20_000)
    assert np.array_equal(named_parts(keys[::-7], NAMED, salt="set"), parts[::-7])
    assert (named_parts(keys, NAMED, salt="another") != parts).mean() > 0.3
    for key, part in list(zip(keys, parts, strict=True))[:200]:
        place = int(hashlib.sha256(f"set/{key}".encode()).hexdigest()[:16], 16) / 16**16
        assert part == ("train" if place < 0.7 else "validation" if place < 0.8 else "test")


@pytest.mark.parametrize("shares", [{}, {"a": 0.5}, {"a": 0.0, "b": 1.0}, {"a": 1.5, "b": -0.5}])
def test_named_parts_need_shares(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="positive with sum 1"):
        named_parts(["x"], shares, salt="set")


@given(
    st.lists(st.integers(0, 30), min_size=4, max_size=4), st.sampled_from([1 / 9, 1 / 3, 0.5, 1.0])
)
def test_the_largest_biased_total_fits_and_the_next_does_not(
    sizes: list[int], ratio: float
) -> None:
    target = np.repeat([0, 0, 1, 1], sizes)
    protected = np.repeat([0, 1, 0, 1], sizes)
    total = largest_biased_total(target, protected, bias_ratio=ratio)
    if total:
        assert len(biased_split(target, protected, total, bias_ratio=ratio)) == total
    with pytest.raises(ValueError, match=r"leave a group without any|need"):
        biased_split(target, protected, total + 1, bias_ratio=ratio)
