"""UCI Adult (census income, 1994): strict reading of the two official files.

Kohavi and Becker, 1996, licence CC BY 4.0. The files are read as they are published; anything
that the official description does not allow is an error, never a guess.
"""

from __future__ import annotations

from typing import Literal, NoReturn, get_args

import numpy as np
import pandas as pd

from repro.data.schema import (
    CATEGORICAL,
    COLUMNS,
    CONTINUOUS,
    EDUCATION,
    MAY_BE_MISSING,
    MISSING,
)
from repro.data.sources import DataError, SourceFile, find_file
from repro.data.tabular import Table, drop_incomplete

_URL = "https://archive.ics.uci.edu/ml/machine-learning-databases/adult"
_PAGE = "https://archive.ics.uci.edu/dataset/2/adult"

FILES = (
    SourceFile(
        "adult.data",
        "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
        f"{_URL}/adult.data",
        _PAGE,
    ),
    SourceFile(
        "adult.test",
        "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
        f"{_URL}/adult.test",
        _PAGE,
    ),
)

Kind = Literal["train", "test"]
Missing = Literal["category", "drop"]

RECORDS: dict[Kind, int] = {"train": 32_561, "test": 16_281}
"""Official number of records of each file."""

TEST_HEADER = "|1x3 Cross validator"
"""First line of the test file, which is no record."""

LABEL = "income"
LABELS: dict[Kind, tuple[str, str]] = {"train": ("<=50K", ">50K"), "test": ("<=50K.", ">50K.")}
"""Label for target = 0 and target = 1, as each file spells it."""

# The survey asked people over 16 and caps hours at 99, gains at 99,999; the others are generous.
RANGES: dict[str, tuple[int, int]] = {
    "age": (17, 120),
    "fnlwgt": (1, 9_999_999),
    "education-num": (1, len(EDUCATION)),
    "capital-gain": (0, 99_999),
    "capital-loss": (0, 99_999),
    "hours-per-week": (1, 99),
}
"""Smallest and largest accepted value of each continuous column."""

_ALLOWED = {
    column: {*official, MISSING} if column in MAY_BE_MISSING else {*official}
    for column, official in CATEGORICAL.items()
}


def parse(text: str, *, kind: Kind, name: str) -> pd.DataFrame:
    """Read the records of one file.

    Parameters
    ----------
    text
        Content of the file.
    kind
        Which of the two layouts: ``test`` starts with `TEST_HEADER` and ends its labels with a
        full stop, ``train`` has neither.
    name
        File name for error messages.

    Returns
    -------
    DataFrame
        One row a record: the 14 attributes as in `Table.frame`, then ``income`` (int8, 1 = over
        50,000 US dollars a year).

    Raises
    ------
    DataError
        For anything else than a well-formed file, with the file, line, field and value.
    """
    # Not splitlines(): it also breaks at characters that are no line end in this format.
    lines = text.split("\n")
    while lines and not lines[-1].strip(" "):
        lines.pop()
    first = 0
    if kind == "test":
        if not lines or lines[0] != TEST_HEADER:
            raise DataError(f"{name}, line 1: a test file starts with {TEST_HEADER!r}")
        first = 1
    if len(lines) == first:
        raise DataError(f"{name}: no record")
    records = [
        _record(line, f"{name}, line {number}", kind)
        for number, line in enumerate(lines[first:], first + 1)
    ]
    frame = pd.DataFrame(records, columns=[*COLUMNS, LABEL])
    return frame.astype(dict.fromkeys(CONTINUOUS, np.int64) | {LABEL: np.int8})


def load(*, missing: Missing = "category") -> Table:
    """Load Adult as one table: the records of ``adult.data``, then those of ``adult.test``.

    Parameters
    ----------
    missing
        ``category`` keeps all 48,842 records, with ``?`` where a value is missing; ``drop``
        keeps the 45,222 complete ones.

    Raises
    ------
    DataError
        If a file is absent and cannot be fetched, or is not the official one.
    ValueError
        If ``missing`` is neither of the two.
    """
    if missing not in get_args(Missing):
        raise ValueError(f"missing must be one of {get_args(Missing)}, not {missing!r}")
    parts = []
    for file, kind in zip(FILES, get_args(Kind), strict=True):
        path = find_file("adult", file)
        part = parse(path.read_text(encoding="latin-1"), kind=kind, name=file.name)
        if len(part) != RECORDS[kind]:
            raise DataError(f"{path}: {len(part)} records, officially there are {RECORDS[kind]}")
        parts.append(part)
    frame = pd.concat(parts, ignore_index=True)
    table = Table(
        name="adult",
        simulated=False,
        frame=frame[list(COLUMNS)],
        target=frame[LABEL].to_numpy(dtype=np.int8),
        sha256={file.name: file.sha256 for file in FILES},
    )
    return drop_incomplete(table) if missing == "drop" else table


def _record(line: str, where: str, kind: Kind) -> list[str | int]:
    fields = [field.strip(" ") for field in line.split(",")]
    if len(fields) != len(COLUMNS) + 1:
        raise DataError(
            f"{where}: {len(fields)} fields, expected {len(COLUMNS) + 1}: {_short(line)}"
        )
    values: list[str | int] = []
    for column, field in zip(COLUMNS, fields, strict=False):
        if column in RANGES:
            values.append(_integer(column, field, where))
        elif field in _ALLOWED[column]:
            values.append(field)
        else:
            _refuse(where, column, field, "is not one of the official categories")
    education, number = fields[COLUMNS.index("education")], values[COLUMNS.index("education-num")]
    if EDUCATION.index(education) + 1 != number:
        _refuse(where, "education-num", str(number), f"is not the number of {education}")
    if fields[-1] not in LABELS[kind]:
        _refuse(where, LABEL, fields[-1], f"is not one of {LABELS[kind]} (a {kind} file)")
    return [*values, LABELS[kind].index(fields[-1])]


def _integer(column: str, field: str, where: str) -> int:
    low, high = RANGES[column]
    # int() alone would take signs, underscores, other scripts, and fail on thousands of digits.
    if not (field.isascii() and field.isdigit() and len(field) <= 9):
        _refuse(where, column, field, f"is not a whole number from {low} to {high}")
    if not low <= int(field) <= high:
        _refuse(where, column, field, f"is out of the range {low} to {high}")
    return int(field)


def _refuse(where: str, column: str, value: str, reason: str) -> NoReturn:
    raise DataError(f"{where}: {column} {_short(value)} {reason}")


def _short(value: str) -> str:
    return repr(value if len(value) <= 80 else value[:77] + "...")
