from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repro.data import adult
from repro.data.schema import CATEGORICAL, COLUMNS, CONTINUOUS, EDUCATION, MAY_BE_MISSING
from repro.data.sources import DataError, SourceFile
from repro.data.tabular import Table
from repro.files import sha256_of

LINE = (
    "39, State-gov, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, "
    "White, Male, 2174, 0, 40, United-States, <=50K"
)


def _value(column: str) -> st.SearchStrategy[Any]:
    if column in adult.RANGES:
        return st.integers(*adult.RANGES[column])
    return st.sampled_from([*CATEGORICAL[column], *(["?"] if column in MAY_BE_MISSING else [])])


@st.composite
def _records(draw: st.DrawFn) -> dict[str, Any]:
    record = {column: draw(_value(column)) for column in COLUMNS}
    record["education-num"] = EDUCATION.index(record["education"]) + 1
    return record | {adult.LABEL: draw(st.integers(0, 1))}


def _write(records: list[dict[str, Any]], kind: adult.Kind, tail: str = "\n") -> str:
    lines = [adult.TEST_HEADER] if kind == "test" else []
    for record in records:
        label = adult.LABELS[kind][record[adult.LABEL]]
        lines.append(", ".join([*(str(record[c]) for c in COLUMNS), label]))
    return "\n".join(lines) + tail


kinds = st.sampled_from(["train", "test"])


@given(
    st.lists(_records(), min_size=1, max_size=5),
    kinds,
    st.sampled_from(["", "\n", "\n\n", "\n \n"]),
)
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read(
    records: list[dict[str, Any]], kind: adult.Kind, tail: str
) -> None:
    frame = adult.parse(_write(records, kind, tail), kind=kind, name="generated")
    assert list(frame.columns) == [*COLUMNS, "income"]
    assert frame.to_dict("records") == records
    assert all(frame[column].dtype == np.int64 for column in CONTINUOUS)
    assert frame["income"].dtype == np.int8


@given(st.lists(_records(), min_size=1, max_size=3), kinds, st.data())
@settings(max_examples=150, deadline=None)
def test_a_corrupted_file_is_read_or_refused_but_nothing_else(
    records: list[dict[str, Any]], kind: adult.Kind, data: st.DataObject
) -> None:
    text = _write(records, kind)
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, min(len(text), start + 8)))
    odd = st.text(max_size=6) | st.sampled_from(["\n", "\r", ",", "?", ".", "-1", "1e3", "٣", "_"])
    corrupted = text[:start] + data.draw(odd) + text[stop:]
    try:
        frame = adult.parse(corrupted, kind=kind, name="corrupted.data")
    except DataError as error:
        message = str(error)
    else:
        # What still reads must say the same, word for word but for blanks.
        again = _write(frame.to_dict("records"), kind)  # type: ignore[arg-type]
        assert _canonical(again) == _canonical(corrupted)
        return
    assert message.startswith("corrupted.data")


def _canonical(text: str) -> list[list[str]]:
    rows = [[field.strip(" ") for field in line.split(",")] for line in text.split("\n")]
    # Leading zeros say the same number.
    rows = [[f.lstrip("0") or "0" if f.isascii() and f.isdigit() else f for f in r] for r in rows]
    while rows and rows[-1] == [""]:
        rows.pop()
    return rows


@given(st.text(max_size=200), kinds)
@settings(max_examples=100, deadline=None)
def test_any_text_is_refused_with_a_data_error(text: str, kind: adult.Kind) -> None:
    with pytest.raises(DataError):
        adult.parse(text, kind=kind, name="noise")


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("age", "-1", "not a whole number"),
        ("age", "+39", "not a whole number"),
        ("age", "3_9", "not a whole number"),
        ("age", "39.0", "not a whole number"),
        ("age", "٣٩", "not a whole number"),
        ("age", "", "not a whole number"),
        ("age", "?", "not a whole number"),
        ("age", "9" * 5000, "not a whole number"),
        ("age", "16", "out of the range"),
        ("fnlwgt", "0", "out of the range"),
        ("hours-per-week", "100", "out of the range"),
        ("capital-gain", "100000", "out of the range"),
        ("education-num", "12", "not the number of Bachelors"),
        ("education", "Masters", "not the number of Masters"),
        ("workclass", "state-gov", "official categories"),
        ("native-country", "Colombia", "official categories"),
        ("race", "?", "official categories"),
        ("sex", "?", "official categories"),
        ("income", "<=50K.", "not one of"),
        ("income", "50K", "not one of"),
        ("income", "?", "not one of"),
    ],
)
def test_a_wrong_field_is_named(column: str, value: str, reason: str) -> None:
    fields = dict(zip((*COLUMNS, "income"), LINE.split(", "), strict=True)) | {column: value}
    text = f"{LINE}\n{', '.join(fields.values())}\n{LINE}\n"
    with pytest.raises(DataError, match=reason) as caught:
        adult.parse(text, kind="train", name="some.data")
    message = str(caught.value)
    # education is checked through its number.
    at_fault = "education-num" if column == "education" else column
    shown = fields["education-num"] if column == "education" else value[:70]
    assert message.startswith(f"some.data, line 2: {at_fault} '{shown}")
    assert len(message) < 300


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("", "train", "no record"),
        ("\n\n", "train", "no record"),
        (adult.TEST_HEADER + "\n", "test", "no record"),
        ("", "test", "line 1: a test file starts with"),
        (LINE + ".", "test", "line 1: a test file starts with"),
        (adult.TEST_HEADER + "\n" + LINE, "train", "line 1: 1 fields, expected 15"),
        (adult.TEST_HEADER + "\n" + LINE, "test", "line 2: income '<=50K' is not one of"),
        (LINE + "\n\n" + LINE, "train", "line 2: 1 fields"),
        (LINE + "\n" + LINE + ", 7", "train", "line 2: 16 fields"),
        (LINE + "\n" + LINE[:60], "train", "line 2: 7 fields"),
        (LINE + "\r\n" + LINE, "train", "line 1: income"),
        (LINE + "\x0b" + LINE, "train", "line 1: 29 fields"),
    ],
)
def test_a_wrong_layout_is_named(text: str, kind: adult.Kind, message: str) -> None:
    with pytest.raises(DataError, match=message):
        adult.parse(text, kind=kind, name="some.data")


def test_missing_is_one_of_two() -> None:
    with pytest.raises(ValueError, match="missing must be one of"):
        adult.load(missing="impute")  # type: ignore[arg-type]


def test_absent_files_say_where_they_belong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPRO_DATA", str(tmp_path))
    nobody = replace(adult.FILES[0], url="http://127.0.0.1:9/")
    monkeypatch.setattr(adult, "FILES", (nobody, adult.FILES[1]))
    with pytest.raises(DataError) as caught:
        adult.load()
    assert str(tmp_path / "adult" / "adult.data") in str(caught.value)
    assert "archive.ics.uci.edu" in str(caught.value)


def test_another_number_of_records_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPRO_DATA", str(tmp_path))
    path = tmp_path / "adult" / "adult.data"
    path.parent.mkdir()
    path.write_text(LINE + "\n")
    short = SourceFile(path.name, sha256_of(path), path.as_uri())
    monkeypatch.setattr(adult, "FILES", (short, adult.FILES[1]))
    with pytest.raises(DataError, match="1 records, officially there are 32561"):
        adult.load()


def _oracle(folder: Path) -> list[list[str]]:
    rows: list[list[str]] = []
    for name in ("adult.data", "adult.test"):
        with (folder / name).open(newline="") as file:
            rows += [row for row in csv.reader(file, skipinitialspace=True) if len(row) == 15]
    return rows


def test_the_official_files_are_read_as_an_independent_reader_does(
    adult_folder: Path, adult_table: Table
) -> None:
    rows = _oracle(adult_folder)
    assert len(rows) == len(adult_table) == 48_842
    expected = pd.DataFrame([row[:14] for row in rows], columns=list(COLUMNS))
    pd.testing.assert_frame_equal(adult_table.frame.astype(str), expected, check_dtype=False)
    assert adult_table.target.tolist() == [int(row[14].startswith(">")) for row in rows]
    assert adult_table.protected.tolist() == [int(row[9] == "Male") for row in rows]
    groups = Counter(zip(adult_table.target.tolist(), adult_table.protected.tolist(), strict=True))
    assert groups == {(0, 0): 14_423, (0, 1): 22_732, (1, 0): 1_769, (1, 1): 9_918}
    assert (adult_table.name, adult_table.simulated) == ("adult", False)
    assert set(adult_table.sha256) == {"adult.data", "adult.test"}


def test_dropping_missing_values_leaves_the_official_complete_records(adult_folder: Path) -> None:
    table = adult.load(missing="drop")
    complete = [row for row in _oracle(adult_folder) if "?" not in row]
    assert len(table) == len(complete) == 45_222
    assert table.frame["fnlwgt"].tolist() == [int(row[2]) for row in complete]
    assert table.target.sum() == sum(row[14].startswith(">") for row in complete)


def test_the_schema_is_the_one_that_the_official_description_states(adult_folder: Path) -> None:
    names = adult_folder / "adult.names"
    if not names.is_file():
        pytest.skip("needs REPRO_DATA with adult/adult.names (see README)")
    stated = {}
    for line in names.read_text(encoding="latin-1").splitlines():
        column, colon, values = line.partition(":")
        if colon and column in COLUMNS:
            stated[column] = tuple(value.strip(" .") for value in values.split(","))
    assert {column: stated[column] for column in CONTINUOUS} == dict.fromkeys(
        CONTINUOUS, ("continuous",)
    )
    # The protected values are kept in the order of their number, not of the description.
    assert {c: sorted(stated[c]) for c in CATEGORICAL} == {
        c: sorted(v) for c, v in CATEGORICAL.items()
    }
    assert tuple(stated) == COLUMNS
