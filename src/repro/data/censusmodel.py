"""The equations of the simulated census: noise, their solution, and the records of it.

The graph and what may be asked of it are in `repro.data.toycensus`; here is each arrow. A
variable is a function of its parents and of noise that is drawn without regard to sex. Equations
take what the paths from sex carry as two arguments, so that a path can be cut or redirected.
Shares follow Adult, effects are set by hand so that the rates of income come out like Adult's.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from repro.data.schema import CATEGORICAL, COLUMNS, EDUCATION, MISSING, PROTECTED_VALUES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SHARE_MEN = 0.668

_MARRIED, _DIVORCED, _NEVER, _SEPARATED, _WIDOWED, _ABSENT, _ARMED_SPOUSE = range(7)

_INTERCEPT = -2.6
_MARRIED_BY_SEX = 2.75  # Logit.
_HOURS_BY_SEX = 5.5  # Hours a week, before small deviations from 40 are dropped.

# Per mille by education-num, 1 to 16.
_EDUCATION_SHARES = (2, 5, 10, 20, 15, 28, 37, 13, 323, 223, 42, 33, 164, 54, 17, 12)

_WORKCLASS = {  # Share, income effect (logit).
    "Private": (0.735, 0.0),
    "Self-emp-not-inc": (0.084, -0.3),
    "Self-emp-inc": (0.036, 0.7),
    "Federal-gov": (0.031, 0.4),
    "Local-gov": (0.068, 0.0),
    "State-gov": (0.0452, -0.1),
    "Without-pay": (0.0006, -1.0),
    "Never-worked": (0.0002, -3.0),
}

_OCCUPATION = {  # Share, slope by education, men against women (log odds), income effect (logit).
    "Tech-support": (0.032, 0.5, -0.25, 0.4),
    "Craft-repair": (0.105, -0.4, 2.2, 0.1),
    "Other-service": (0.115, -0.5, -0.9, -0.7),
    "Sales": (0.12, 0.2, -0.1, 0.2),
    "Exec-managerial": (0.13, 0.8, 0.2, 0.8),
    "Prof-specialty": (0.10, 1.6, -0.15, 0.5),
    "Handlers-cleaners": (0.042, -0.6, 1.3, -0.6),
    "Machine-op-inspct": (0.065, -0.7, 0.3, -0.3),
    "Adm-clerical": (0.14, 0.1, -1.4, 0.0),
    "Farming-fishing": (0.028, -0.5, 2.0, -1.0),
    "Transport-moving": (0.038, -0.5, 2.2, -0.1),
    "Priv-house-serv": (0.005, -0.8, -3.0, -1.5),
    "Protective-serv": (0.02, 0.1, 1.3, 0.4),
    "Armed-Forces": (0.0003, 0.0, 1.5, 0.0),
}


@dataclass(frozen=True, eq=False)
class Noise:
    """All that is exogenous, drawn once for every world; (n,) each, occupation (n, 14)."""

    sex: NDArray[np.int8]
    age: Ints
    education: Floats
    married: Floats
    marital: Floats
    occupation: Floats
    hours: Floats
    gain: Floats
    gain_amount: Floats
    loss_amount: Ints
    workclass: Ints
    income: Floats


@dataclass(frozen=True, eq=False)
class World:
    """A solution of the equations; (n,) each, categorical variables as codes."""

    education_num: Ints
    marital: Ints
    occupation: Ints
    hours: Ints
    gain: Ints
    target: NDArray[np.int8]


def draw(n: int, *, seed: int) -> Noise:
    """Draw the noise of n people; that of income has the standard logistic distribution."""
    rng = np.random.default_rng(seed)
    shares = np.array([share for share, _ in _WORKCLASS.values()])
    return Noise(
        sex=(rng.random(n) < SHARE_MEN).astype(np.int8),
        age=(17 + 74 * rng.beta(1.45, 3.45, n)).astype(np.int64),
        education=rng.normal(size=n),
        married=rng.logistic(size=n),
        marital=rng.random(n),
        occupation=rng.gumbel(size=(n, len(_OCCUPATION))),
        hours=rng.normal(size=n),
        gain=rng.logistic(size=n),
        # As in the survey: amounts are capped, and the few above the cap read 99,999.
        gain_amount=np.where(
            rng.random(n) < 0.06, 99_999, np.minimum(rng.lognormal(8.4, 0.8, n), 41_310)
        ),
        loss_amount=np.where(
            rng.random(n) < 0.047, np.clip(rng.normal(1870, 370, n), 155, 4356), 0
        ).astype(np.int64),
        workclass=rng.choice(len(shares), size=n, p=shares / shares.sum()),
        income=rng.logistic(size=n),
    )


def solve(noise: Noise, *, to_mediators: Floats, to_income: Floats, income_noise: float) -> World:
    """Solve the equations in causal order.

    Parameters
    ----------
    noise
        Of n people.
    to_mediators
        (n,) sex as marital status, occupation and hours see it, centred and scaled.
    to_income
        (n,) what sex itself adds to the income logit.
    income_noise
        Scale of the noise of income.
    """
    age = noise.age

    schooling = noise.education + 0.08 - np.clip((24 - age) / 5, 0, None)
    below = np.cumsum(_EDUCATION_SHARES)[:-1] / sum(_EDUCATION_SHARES)
    cuts = [NormalDist().inv_cdf(share) for share in below]
    education_num = 1 + np.searchsorted(cuts, schooling)
    educated = (education_num - 10) / 2.57

    readiness = -1.75 + 2.2 * np.tanh((age - 25) / 9)
    wed = readiness + _MARRIED_BY_SEX * to_mediators + noise.married > 0
    marital = np.where(wed, _spouse(noise.marital), _single(noise.marital, age))

    share, by_education, by_sex, pay = np.array(list(_OCCUPATION.values())).T
    suits = np.outer(educated, by_education) + np.outer(to_mediators, by_sex)
    # The largest of log-share plus Gumbel noise is a draw from the shares (Gumbel-max).
    occupation = np.argmax(np.log(share) + suits + noise.occupation, axis=1)

    part_time = 14 * np.exp(-(age - 17) / 4) + 12 * _sigmoid((age - 66) / 3)
    wish = 1.8 + 9.5 * noise.hours + pay[occupation] - part_time + _HOURS_BY_SEX * to_mediators
    # Nearly half of all people work exactly 40 hours: small deviations are not lived out.
    lived = 1.9 * np.sign(wish) * np.maximum(np.abs(wish) - 6, 0)
    hours = np.clip(np.rint(40 + lived), 1, 99).astype(np.int64)

    gains = -2.55 + 0.5 * educated + 0.03 * (age - 38) + noise.gain > 0
    gain = np.where(gains, noise.gain_amount, 0).astype(np.int64)

    logit = (
        _INTERCEPT
        + 0.9 * educated
        + 2.2 * wed
        + pay[occupation]
        + np.array([effect for _, effect in _WORKCLASS.values()])[noise.workclass]
        + 0.4 * (hours - 40) / 12.4
        - 0.6 * ((age - 50) / 15) ** 2
        + 0.4 * np.minimum(gain / 1000, 10)
        + 1.0 * (noise.loss_amount > 0)
        + to_income
    )
    target = (logit + income_noise * noise.income > 0).astype(np.int8)
    return World(education_num, marital, occupation, hours, gain, target)


def records(noise: Noise, world: World, *, seed: int) -> pd.DataFrame:
    """Write a world down as n rows of `repro.data.schema.COLUMNS`.

    What is drawn only here (missing values, race, country, weight, part of relationship) has no
    arrow into income.
    """
    rng, n, age = np.random.default_rng([seed, 1]), len(noise.sex), noise.age
    wed = np.isin(world.marital, (_MARRIED, _ARMED_SPOUSE))
    child = rng.random(n) < 0.85 * _sigmoid((27 - age) / 4)
    alone = rng.choice(["Not-in-family", "Unmarried", "Other-relative"], n, p=[0.66, 0.26, 0.08])
    spouse = np.where(noise.sex == 1, "Husband", "Wife")
    unrecorded = rng.random(n) < 0.032 + 0.3 * _sigmoid((19 - age) / 2) + 0.2 * (age > 64)
    workclass = np.array(list(_WORKCLASS))[noise.workclass]
    occupation = np.array(list(_OCCUPATION))[world.occupation]
    country = rng.choice(CATEGORICAL["native-country"], n, p=_country_shares())
    columns = {
        "age": age,
        # Who never worked says so; otherwise class and occupation are lost together.
        "workclass": np.where(unrecorded & (workclass != "Never-worked"), MISSING, workclass),
        "fnlwgt": np.clip(rng.lognormal(12.0, 0.55, n), 12_285, 1_490_400).astype(np.int64),
        "education": np.array(EDUCATION)[world.education_num - 1],
        "education-num": world.education_num,
        "marital-status": np.array(CATEGORICAL["marital-status"])[world.marital],
        "occupation": np.where(unrecorded | (workclass == "Never-worked"), MISSING, occupation),
        "relationship": np.where(wed, spouse, np.where(child, "Own-child", alone)),
        "race": rng.choice(CATEGORICAL["race"], n, p=[0.855, 0.031, 0.010, 0.008, 0.096]),
        "sex": np.array(PROTECTED_VALUES)[noise.sex],
        "capital-gain": world.gain,
        "capital-loss": noise.loss_amount,
        "hours-per-week": world.hours,
        "native-country": np.where(rng.random(n) < 0.0175, MISSING, country),
    }
    return pd.DataFrame({column: columns[column] for column in COLUMNS})


def _spouse(chance: Floats) -> Ints:
    return np.where(chance < 0.998, _MARRIED, _ARMED_SPOUSE)


def _single(chance: Floats, age: Ints) -> Ints:
    """Marital status of those without a spouse at home, from one uniform number each."""
    never = _sigmoid((37 - age) / 6)
    widowed = never + (1 - never) * 0.7 * _sigmoid((age - 62) / 5)
    rest = 1 - widowed
    bounds = np.stack([never, widowed, widowed + 0.17 * rest, widowed + 0.24 * rest])
    order = np.array([_NEVER, _WIDOWED, _SEPARATED, _ABSENT, _DIVORCED], dtype=np.int64)
    status: Ints = order[(chance > bounds).sum(axis=0)]
    return status


def _country_shares() -> Floats:
    countries = CATEGORICAL["native-country"]
    large = {"United-States": 0.913, "Mexico": 0.02}
    small = (1 - sum(large.values())) / (len(countries) - len(large))
    return np.array([large.get(country, small) for country in countries])


def _sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))
