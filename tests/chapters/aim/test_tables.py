"""What several chapters on AIM-Fair say of settings: their names, their means, the best of them."""

from __future__ import annotations

import pytest
from tests.conftest import MakeRecord

from repro.chapters.aim import tables as aim_tables
from repro.chapters.aim.contrasts import ACC, EO, WST
from repro.study.records import Results


@pytest.fixture
def settings(made_up: MakeRecord) -> Results:
    """Of the groups (1,0) and (1,1) so many of 1000 are right, in two seeds."""
    rows = {
        "mask": ("mask", [(900, 500), (900, 500)], (400, 400)),
        "update fc": ("linear probing", [(620, 600), (600, 560)], (500, 300)),
        "freeze fc": ("freeze", [(400, 400), (590, 570)], (300, 900)),
    }
    return {
        key: [
            made_up(seed, (0, 0, *pair), validation=(0, 0, *seen), strategy=strategy)
            for seed, pair in enumerate(right)
        ]
        for key, (strategy, right, seen) in rows.items()
    }


def test_a_setting_is_called_by_its_strategy_or_its_key(settings: Results) -> None:
    assert aim_tables.named(settings) == {
        "mask": "SFT", "update fc": "update fc", "freeze fc": "freeze fc",
    }  # fmt: skip


def test_settings_are_chosen_by_what_they_are_not_by_their_keys(settings: Results) -> None:
    assert [*aim_tables.of_strategy(settings, "freeze", "linear probing")] == [
        "update fc", "freeze fc",
    ]  # fmt: skip
    assert aim_tables.of_strategy(settings, "update") == {}


@pytest.mark.parametrize(
    ("quantity", "seeds", "best"),
    [
        (ACC, None, "mask"),
        (WST, None, "update fc"),
        (WST, [1], "freeze fc"),
        (EO, None, "freeze fc"),  # the smaller, the better
        (EO, [0], "freeze fc"),
        (f"validation:{WST}", None, "mask"),
        (f"validation:{ACC}", None, "freeze fc"),
    ],
)
def test_the_best_is_the_best_mean(
    settings: Results, quantity: str, seeds: list[int] | None, best: str
) -> None:
    assert aim_tables.best_of(settings, quantity, seeds) == best


def test_of_equal_settings_the_first_is_the_best(settings: Results) -> None:
    same = {"b": settings["mask"], "a": settings["mask"]}
    assert aim_tables.best_of(same, WST) == aim_tables.best_of(same, EO) == "b"


def test_averages_are_over_records(settings: Results) -> None:
    # Of 4000 people 2000 with t = 0 are right beside these 1220 and 1160.
    assert aim_tables.averages(settings["update fc"]) == {
        "ACC": "79.75", "WST": "58.00", "EO (max)": "3.00",
    }  # fmt: skip
