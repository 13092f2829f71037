from __future__ import annotations

from dataclasses import replace

import numpy as np

from repro.data.censusmodel import draw, solve


def test_sex_enters_by_the_two_arguments_alone() -> None:
    noise = draw(5000, seed=0)
    carried = {"to_mediators": noise.sex - 0.668, "to_income": 0.4 * (noise.sex - 0.668)}
    world = solve(noise, **carried, income_noise=1.0)
    other = solve(replace(noise, sex=1 - noise.sex), **carried, income_noise=1.0)
    for name, values in vars(world).items():
        np.testing.assert_array_equal(values, getattr(other, name), err_msg=name)


def test_each_argument_moves_only_what_it_points_at() -> None:
    noise = draw(5000, seed=0)
    zero, one = np.zeros(5000), np.ones(5000)
    base = solve(noise, to_mediators=zero, to_income=zero, income_noise=1.0)
    direct = solve(noise, to_mediators=zero, to_income=one, income_noise=1.0)
    mediated = solve(noise, to_mediators=one, to_income=zero, income_noise=1.0)
    for world, moved in (
        (direct, {"target"}),
        (mediated, {"target", "marital", "occupation", "hours"}),
    ):
        changed = {n for n, v in vars(base).items() if not np.array_equal(v, getattr(world, n))}
        assert changed == moved


def test_noise_is_drawn_without_regard_to_sex() -> None:
    noise = draw(50_000, seed=0)
    men = noise.sex == 1
    for name, values in vars(noise).items():
        if name == "sex":
            continue
        a, b = values[men].astype(float), values[~men].astype(float)
        error = np.sqrt(a.var(axis=0) / len(a) + b.var(axis=0) / len(b))
        assert (np.abs(a.mean(axis=0) - b.mean(axis=0)) < 4 * error).all(), name
