"""Which images a strategy trains on: real ones, synthetic ones, both, or real ones repaired.

Source: Zhao et al. (2025), arXiv 2503.05665, Table 3 (data supplementation, data repairing).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repro.aimfair.strategies import Data, check_whole
from repro.data.sources import DataError
from repro.data.splits import group_numbers
from repro.names import check_name

Indices = NDArray[np.int64]

DATA: tuple[Data, ...] = ("real", "synthetic", "real and synthetic", "repaired")


def compose(
    data: Data,
    real: tuple[ArrayLike, ArrayLike],
    synthetic: tuple[ArrayLike, ArrayLike],
    *,
    seed: int,
) -> tuple[Indices, Indices]:
    """Choose the images that a strategy trains on.

    Parameters
    ----------
    data
        ``"real"``, ``"synthetic"`` or ``"real and synthetic"``: all of these. ``"repaired"``: all
        real ones, and as many synthetic ones of each smaller group as make it as large as the
        largest.
    real, synthetic
        Target and protected attribute of the images, each (n,) of 0 and 1.
    seed
        >= 0; fixes which synthetic images repair a group. A group's draw does not depend on the
        other groups.

    Returns
    -------
    real, synthetic : numpy.ndarray
        Ascending int64 positions in ``real`` and in ``synthetic``.

    Raises
    ------
    UnknownNameError
        For unknown data.
    DataError
        If a group has too few synthetic images to repair it (how many there are and are needed),
        or there is no image at all.
    ValueError
        If labels or seed are not as above.
    """
    check_name("data", data, DATA)
    check_whole("seed", seed, 0)
    groups = {
        name: group_numbers(*labels, of=name)
        for name, labels in (("real", real), ("synthetic", synthetic))
    }
    everything = {name: np.arange(len(group)) for name, group in groups.items()}
    none = np.empty(0, np.int64)
    chosen = (
        none if data == "synthetic" else everything["real"],
        none if data == "real" else everything["synthetic"],
    )
    if data == "repaired":
        chosen = chosen[0], _repairs(groups["real"], groups["synthetic"], seed)
    if not len(chosen[0]) + len(chosen[1]):
        raise DataError(
            f"data {data!r} holds no image: {len(groups['real'])} real and "
            f"{len(groups['synthetic'])} synthetic ones are given"
        )
    return chosen


def _repairs(real: Indices, synthetic: Indices, seed: int) -> Indices:
    """Draw the synthetic images that make all groups of the real ones equally large."""
    counts, pool = (np.bincount(group, minlength=4) for group in (real, synthetic))
    needed = counts.max() - counts
    if (lacking := np.flatnonzero(pool < needed)).size:
        detail = "; ".join(
            f"group ({g // 2},{g % 2}) has {pool[g]} and needs {needed[g]}" for g in lacking
        )
        raise DataError(
            f"too few synthetic images to repair the real ones: {detail}. Generate "
            "more, or pass the whole synthetic pool instead of a subset."
        )
    drawn = [
        np.random.default_rng([seed, g // 2, g % 2]).choice(
            np.flatnonzero(synthetic == g), size=needed[g], replace=False
        )
        for g in range(4)
    ]
    return np.sort(np.concatenate(drawn)).astype(np.int64)
