"""Income records in the schema of UCI Adult, and their encoding as numbers.

Adult and its embedded stand-in (`repro.data.toycensus`) are both a `Table`, so that all that
follows is the same code for both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from repro.data.schema import (
    CATEGORICAL,
    COLUMNS,
    CONTINUOUS,
    MISSING,
    PROTECTED_COLUMN,
    PROTECTED_VALUES,
)


@dataclass(frozen=True, eq=False)
class Table:
    """Records of n people.

    Attributes
    ----------
    name
        Name of the data set.
    simulated
        Whether the people are made up.
    frame
        n rows, the columns `COLUMNS` in this order: `CONTINUOUS` ones int64, `CATEGORICAL` ones
        text, ``?`` where missing. Indexed 0 to n - 1.
    target
        (n,) int8, 1 = income over 50,000 US dollars a year.
    sha256
        What was read, by file name.

    Raises
    ------
    ValueError
        If columns, lengths, types or values are not these, or one of the two protected groups is
        absent.
    """

    name: str
    simulated: bool
    frame: pd.DataFrame
    target: NDArray[np.int8]
    sha256: dict[str, str]

    def __post_init__(self) -> None:
        """Check everything that the class promises."""
        _check_frame(self.name, self.frame)
        if self.target.shape != (len(self.frame),):
            raise ValueError(
                f"{self.name}: target has shape {self.target.shape}, frame has {len(self.frame)} "
                "rows: there must be one value a row"
            )
        if self.target.dtype != np.int8 or not np.isin(self.target, (0, 1)).all():
            raise ValueError(f"{self.name}: target must be int8, each value 0 or 1")
        for value, word in enumerate(PROTECTED_VALUES):
            if not (self.protected == value).any():
                raise ValueError(
                    f"{self.name}: no record of the protected group {value} ({word}); fairness "
                    "compares two groups, so both must be present"
                )

    @cached_property
    def protected(self) -> NDArray[np.int8]:
        """Column ``sex`` of each record, (n,) int8, 1 = Male, 0 = Female."""
        return self.frame[PROTECTED_COLUMN].eq(PROTECTED_VALUES[1]).to_numpy().astype(np.int8)

    def __len__(self) -> int:
        """Count the records."""
        return len(self.frame)


def drop_incomplete(table: Table) -> Table:
    """Keep only the records without ``?``, in their order, renumbered from 0.

    Raises
    ------
    ValueError
        If no complete record of one protected group remains.
    """
    missing = (table.frame[list(CATEGORICAL)] == MISSING).to_numpy(dtype=np.bool_).any(axis=1)
    complete = np.flatnonzero(~missing)
    return replace(
        table,
        frame=table.frame.take(complete).reset_index(drop=True),
        target=table.target[complete],
    )


@dataclass(frozen=True, eq=False)
class Encoder:
    """Attributes as numbers: continuous columns standardised, categorical ones one-hot.

    Continuous columns come first, then the indicators of each category, then (if asked for) the
    protected attribute. A continuous column has the mean and the standard deviation (divisor n)
    of the rows given to `fit` taken out; one that is constant there is only centred. Indicators
    stay 0/1: standardised, the rarest country would reach values in the hundreds. The long tail
    of ``capital-gain`` is left linear, as any transform would be a choice that the paper does not
    report. The width d depends on the table (a ``?`` category where it has missing values), never
    on the rows, so that every seed trains the same architecture.

    ``sex`` is left out unless ``include_protected``. The WIN paper does not say which it does.
    Its method needs the protected attribute to estimate importance only, never to predict, so
    *out* is the study's default and *in* a switch whose effect is measured. Out is not blind:
    ``relationship`` has the categories Husband and Wife, which tell it all the same.

    Attributes
    ----------
    names
        Feature names, d of them: ``age``, ..., ``workclass=Private``, ..., ``sex=Male``.
    mean, std
        Statistics of the continuous columns, in the unit of each.
    categories
        The categories of each one-hot column.
    include_protected
        Whether the last feature is the protected attribute.
    """

    names: tuple[str, ...]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    categories: dict[str, tuple[str, ...]]
    include_protected: bool

    @property
    def d(self) -> int:
        """The number of features."""
        return len(self.names)

    @classmethod
    def fit(
        cls,
        table: Table,
        rows: NDArray[np.integer],
        *,
        include_protected: bool = False,
    ) -> Encoder:
        """Make an encoder with the statistics of some rows of a table.

        Parameters
        ----------
        table
            Decides which columns have a ``?`` category.
        rows
            (m,) positions of the training records, m >= 1: only these enter mean and deviation.
        include_protected
            Whether ``sex`` is a feature (one column, 1 = Male).

        Raises
        ------
        ValueError
            If ``rows`` are not valid positions.
        """
        rows = _checked_rows(rows, len(table))
        categories = {
            column: (*official, MISSING) if (table.frame[column] == MISSING).any() else official
            for column, official in CATEGORICAL.items()
            if column != PROTECTED_COLUMN
        }
        names = [*CONTINUOUS]
        names += [f"{column}={c}" for column, of in categories.items() for c in of]
        names += [f"{PROTECTED_COLUMN}={PROTECTED_VALUES[1]}"] * include_protected
        values = table.frame[list(CONTINUOUS)].to_numpy(dtype=np.float64)[rows]
        std = values.std(axis=0)
        return cls(
            names=tuple(names),
            mean=values.mean(axis=0),
            std=np.where(std > 0, std, 1.0),
            categories=categories,
            include_protected=include_protected,
        )

    def transform(self, frame: pd.DataFrame) -> NDArray[np.float32]:
        """Encode records.

        Parameters
        ----------
        frame
            n records with at least the columns that are encoded.

        Returns
        -------
        ndarray
            (n, d) float32, columns as in ``names``.

        Raises
        ------
        ValueError
            If a column is absent or has a category that `fit` did not know.
        """
        needed = [*CONTINUOUS, *self.categories, *[PROTECTED_COLUMN] * self.include_protected]
        if absent := [column for column in needed if column not in frame.columns]:
            raise ValueError(f"the records lack the encoded columns {absent}")
        continuous = frame[list(CONTINUOUS)].to_numpy(dtype=np.float64)
        blocks = [((continuous - self.mean) / self.std).astype(np.float32)]
        for column, known in self.categories.items():
            codes = _codes(frame[column], known)
            blocks.append((codes[:, None] == np.arange(len(known))).astype(np.float32))
        if self.include_protected:
            codes = _codes(frame[PROTECTED_COLUMN], PROTECTED_VALUES)
            blocks.append(codes[:, None].astype(np.float32))
        return np.concatenate(blocks, axis=1)


def _check_frame(name: str, frame: pd.DataFrame) -> None:
    if tuple(frame.columns) != COLUMNS:
        raise ValueError(f"{name}: columns must be {COLUMNS}, they are {tuple(frame.columns)}")
    if not frame.index.equals(pd.RangeIndex(len(frame))):
        raise ValueError(f"{name}: rows must be indexed 0 to n - 1 in order")
    for column in CONTINUOUS:
        if frame[column].dtype != np.int64:
            raise ValueError(f"{name}: {column} must be int64, it is {frame[column].dtype}")
    for column, official in CATEGORICAL.items():
        _codes(frame[column], (*official, MISSING))


def _codes(values: pd.Series, known: tuple[str, ...]) -> NDArray[np.intp]:
    """Position of each value in ``known``; ValueError for a value that is not there."""
    codes = pd.Index(known).get_indexer(pd.Index(values))
    if (codes < 0).any():
        stranger = values.iloc[int(np.argmax(codes < 0))]
        raise ValueError(f"{values.name}: {stranger!r} is none of the categories {list(known)}")
    return codes


def _checked_rows(rows: NDArray[np.integer], n: int) -> NDArray[np.integer]:
    rows = np.asarray(rows)
    if rows.ndim != 1 or not len(rows) or not np.issubdtype(rows.dtype, np.integer):
        raise ValueError(
            "rows must be a non-empty list of integer positions (for a mask: np.flatnonzero(mask))"
        )
    if rows.min() < 0 or rows.max() >= n:
        raise ValueError(f"rows must lie in 0 to {n - 1}; they reach {rows.min()} to {rows.max()}")
    return rows
