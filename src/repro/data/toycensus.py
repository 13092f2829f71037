"""A small structural causal model of income in the schema of UCI Adult.

The embedded data of the tabular part: no download, and the effect of sex on income is set, not
guessed. Nobody in it exists; the shape of the marginals follows Adult, roughly. The graph::

    sex --> marital-status, occupation, hours-per-week --> income      mediated paths
    sex -------------------------------------------------> income      direct path
    sex, marital-status, age --> relationship
    age --> education, marital-status, hours-per-week, capital-gain, income
    education --> occupation, capital-gain, income
    occupation --> hours-per-week
    capital-gain, capital-loss, workclass --> income
    race, native-country, fnlwgt: no arrow

- ``sex`` has no parent and shares no noise, so nothing confounds it with income: the observed
  difference of positive rates is the total effect, up to sampling.
- ``bias`` scales every path from sex to income, and at 0 none is left.
- ``relationship`` says Husband or Wife at any bias, as in Adult: it tells sex but causes nothing.
- A value that is missing (``?``) exists and has its effect; only the record of it is lost, by a
  chance that depends on age alone.

A counterfactual solves the same equations (`repro.data.censusmodel`) with the same noise and
another sex, so it is exact for every person (Pearl, Causality, 2nd edition, chapter 7).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from operator import index
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from repro.data.censusmodel import SHARE_MEN, Noise, World, draw, records, solve
from repro.data.tabular import Table
from repro.files import digest_of_values

VERSION = 1
"""Raise when the same settings come to mean other records."""

NAME = "toycensus"
Paths = Literal["all", "direct", "mediated"]


@dataclass(frozen=True)
class CensusSettings:
    """Settings of the simulation.

    Attributes
    ----------
    n
        Number of people.
    bias
        Scale of every path from sex to income: 0 none, 1 about as in Adult.
    direct
        Coefficient of sex in the income logit at bias 1.
    mediated
        Scale of the paths through marital status, occupation and hours at bias 1.
    noise
        Scale of the noise of the income equation; 0 makes income a function of its parents.
    seed
        Seed of all noise.

    Raises
    ------
    ValueError
        If a number is not finite, n is not positive, or seed or noise is negative.
    TypeError
        If n or seed is not a whole number.
    """

    n: int = 48_842
    bias: float = 1.0
    direct: float = 0.4
    mediated: float = 1.0
    noise: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing, and write each number in one way only."""
        for name in ("n", "seed"):
            object.__setattr__(self, name, index(getattr(self, name)))
        for name in ("bias", "direct", "mediated", "noise"):
            # Plus zero, because -0.0 equals 0.0 but would be hashed apart.
            value = float(getattr(self, name)) + 0.0
            if not math.isfinite(value):
                raise ValueError(f"{name} must be finite, it is {value}")
            object.__setattr__(self, name, value)
        if self.n < 1:
            raise ValueError(f"n must be at least 1, it is {self.n}")
        if self.seed < 0 or self.noise < 0:
            raise ValueError(f"seed ({self.seed}) and noise ({self.noise}) must not be negative")


def fingerprint(settings: CensusSettings) -> str:
    """Hash the settings and `VERSION`: stands for the records without drawing them."""
    return digest_of_values({"toycensus": VERSION, **asdict(settings)})


def generate(settings: CensusSettings = CensusSettings()) -> Table:
    """Draw the records.

    Returns
    -------
    Table
        ``settings.n`` people, named ``toycensus``, ``simulated``, with `fingerprint` as digest.

    Raises
    ------
    ValueError
        If ``n`` is so small that no man or no woman was drawn.
    """
    noise = draw(settings.n, seed=settings.seed)
    world = _solve(noise, settings, direct=noise.sex, mediated=noise.sex)
    return Table(
        name=NAME,
        simulated=True,
        frame=records(noise, world, seed=settings.seed),
        target=world.target,
        sha256={NAME: fingerprint(settings)},
    )


def counterfactual(
    settings: CensusSettings, protected: Literal[0, 1], paths: Paths = "all"
) -> NDArray[np.int8]:
    """Compute everybody's label had their sex been this one, all noise the same.

    Parameters
    ----------
    settings
        Those of the factual records.
    protected
        The sex that everybody is given, 1 = Male.
    paths
        Which paths to income carry it: on the others every person keeps their own sex.

    Returns
    -------
    ndarray
        (n,) int8, in the order of `generate`; for ``all`` it is the factual label of those
        whose sex is ``protected``.

    Raises
    ------
    ValueError
        If ``protected`` or ``paths`` is none of the allowed values.
    """
    return _world_under(draw(settings.n, seed=settings.seed), settings, protected, paths).target


def counterfactual_records(
    settings: CensusSettings, protected: Literal[0, 1], paths: Paths = "all"
) -> pd.DataFrame:
    """Write down everybody's record had their sex been this one, all noise the same.

    ``sex`` and ``relationship`` (Husband or Wife) tell the sex that the direct path carries, the
    mediators are those of the sex that their paths carry.

    Parameters
    ----------
    settings, protected, paths
        As in `counterfactual`.

    Returns
    -------
    pandas.DataFrame
        n records, in the order of `generate`; for those whose sex is ``protected`` the factual
        ones.

    Raises
    ------
    ValueError
        If ``protected`` or ``paths`` is none of the allowed values.
    """
    noise = draw(settings.n, seed=settings.seed)
    world = _world_under(noise, settings, protected, paths)
    told = noise.sex if paths == "mediated" else np.full_like(noise.sex, protected)
    return records(replace(noise, sex=told), world, seed=settings.seed)


def _world_under(
    noise: Noise, settings: CensusSettings, protected: Literal[0, 1], paths: Paths
) -> World:
    if protected not in (0, 1):
        raise ValueError(f"protected must be 0 or 1, not {protected!r}")
    if paths not in get_args(Paths):
        raise ValueError(f"paths must be one of {get_args(Paths)}, not {paths!r}")
    everybody = np.full_like(noise.sex, protected)
    return _solve(
        noise,
        settings,
        direct=noise.sex if paths == "mediated" else everybody,
        mediated=noise.sex if paths == "direct" else everybody,
    )


def _solve(
    noise: Noise,
    settings: CensusSettings,
    *,
    direct: NDArray[np.int8],
    mediated: NDArray[np.int8],
) -> World:
    """Solve with the sex (n,) that each kind of path carries."""
    # Centred, so that the bias changes the gap but hardly the overall rates.
    return solve(
        noise,
        to_mediators=settings.bias * settings.mediated * (mediated.astype(np.float64) - SHARE_MEN),
        to_income=settings.bias * settings.direct * (direct.astype(np.float64) - SHARE_MEN),
        income_noise=settings.noise,
    )
