from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from repro.data.schema import CATEGORICAL, COLUMNS, CONTINUOUS
from repro.data.tabular import Encoder, Table, drop_incomplete

RECORDS = [
    (39, "State-gov", 77516, "Bachelors", 13, "Never-married", "Adm-clerical", "Not-in-family",
     "White", "Male", 2174, 0, 40, "United-States"),
    (50, "?", 83311, "HS-grad", 9, "Married-civ-spouse", "?", "Wife",
     "Black", "Female", 0, 1902, 13, "United-States"),
    (28, "Private", 338409, "HS-grad", 9, "Divorced", "Sales", "Unmarried",
     "Other", "Female", 0, 0, 40, "Cuba"),
    (19, "Private", 12345, "11th", 7, "Never-married", "Sales", "Own-child",
     "White", "Male", 0, 0, 20, "Columbia"),
]  # fmt: skip


def make_table(**changes: Any) -> Table:
    values: dict[str, Any] = {
        "name": "four",
        "simulated": True,
        "frame": pd.DataFrame(RECORDS, columns=list(COLUMNS)),
        "target": np.array([0, 1, 0, 0], dtype=np.int8),
        "sha256": {"four": "0" * 64},
    }
    return Table(**(values | changes))


def _with(column: str, value: object) -> pd.DataFrame:
    frame = pd.DataFrame(RECORDS, columns=list(COLUMNS))
    return frame.assign(**{column: [value, *frame[column][1:]]})


def _all(column: str, value: object) -> pd.DataFrame:
    return pd.DataFrame(RECORDS, columns=list(COLUMNS)).assign(**{column: value})


def test_the_schema_is_that_of_adult() -> None:
    assert len(COLUMNS) == 14
    assert set(COLUMNS) == set(CONTINUOUS) | set(CATEGORICAL)
    assert CONTINUOUS == (
        "age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week",
    )  # fmt: skip
    sizes = {column: len(set(values)) for column, values in CATEGORICAL.items()}
    assert sizes == {
        "workclass": 8, "education": 16, "marital-status": 7, "occupation": 14,
        "relationship": 6, "race": 5, "sex": 2, "native-country": 41,
    }  # fmt: skip
    assert len(make_table()) == 4
    assert make_table().protected.tolist() == [1, 0, 0, 1]
    assert make_table().protected.dtype == np.int8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": np.zeros(3, dtype=np.int8)}, r"target has shape \(3,\).*4 rows"),
        ({"target": np.zeros((4, 1), dtype=np.int8)}, r"target has shape \(4, 1\)"),
        ({"target": np.array([0, 1, 2, 0], dtype=np.int8)}, "target must be int8, each value 0 or"),
        ({"target": np.array([0.0, 1, 0, 0])}, "target must be int8"),
        ({"frame": _all("sex", "Male")}, r"no record of the protected group 0 \(Female\)"),
        ({"frame": _all("sex", "Female")}, r"no record of the protected group 1 \(Male\)"),
        ({"frame": _with("age", 39)[list(reversed(COLUMNS))]}, "columns must be"),
        ({"frame": _with("age", 39).iloc[::-1]}, "indexed 0 to n - 1"),
        ({"frame": _with("age", 39.5)}, "age must be int64"),
        ({"frame": _with("race", "Martian")}, "race: 'Martian' is none of the categories"),
        ({"frame": _with("race", None)}, "race: .* is none of the categories"),
    ],
)
def test_a_wrong_table_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_table(**changes)


def test_drop_incomplete_keeps_the_complete_records_in_order() -> None:
    table = drop_incomplete(make_table())
    assert table.frame["age"].tolist() == [39, 28, 19]
    assert table.frame.index.tolist() == [0, 1, 2]
    assert table.target.tolist() == [0, 0, 0]
    assert table.protected.tolist() == [1, 0, 1]
    assert table.sha256 == make_table().sha256


def test_the_encoding_of_a_record_is_what_it_says() -> None:
    table = make_table()
    encoder = Encoder.fit(table, np.array([0, 2]), include_protected=True)
    features = encoder.transform(table.frame)
    assert features.dtype == np.float32
    # 6 continuous; workclass and occupation have a missing value, native-country has none.
    assert features.shape == (4, 6 + 9 + 16 + 7 + 15 + 6 + 5 + 41 + 1)
    assert encoder.d == len(encoder.names) == len(set(encoder.names)) == features.shape[1]
    for i, record in enumerate(RECORDS):
        row = dict(zip(encoder.names, features[i].tolist(), strict=True))
        values = dict(zip(COLUMNS, record, strict=True))
        on = {name for name, value in row.items() if value == 1 and "=" in name}
        expected = {f"{c}={values[c]}" for c in CATEGORICAL if c != "sex"}
        assert on == expected | ({"sex=Male"} if values["sex"] == "Male" else set())
        # Ages 39 and 28 were fitted: mean 33.5, deviation 5.5.
        assert row["age"] == pytest.approx((values["age"] - 33.5) / 5.5)
        # Both work 40 hours and have no loss: centred, not divided.
        assert row["hours-per-week"] == values["hours-per-week"] - 40
        assert row["capital-loss"] == values["capital-loss"]


def test_only_the_fitted_rows_enter_the_statistics(census: Table) -> None:
    rows = np.arange(1000, 9000)
    features = Encoder.fit(census, rows).transform(census.frame)[:, : len(CONTINUOUS)]
    np.testing.assert_allclose(features[rows].mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(features[rows].std(axis=0), 1, rtol=1e-4)
    others = np.setdiff1d(np.arange(len(census)), rows)
    changed = census.frame.assign(age=census.frame["age"].where(census.frame.index.isin(rows), 17))
    assert changed["age"].iloc[others].eq(17).all()
    a, b = Encoder.fit(census, rows), Encoder.fit(replace(census, frame=changed), rows)
    np.testing.assert_array_equal(a.mean, b.mean)
    np.testing.assert_array_equal(a.std, b.std)


def test_the_protected_attribute_is_out_by_default(census: Table) -> None:
    rows = np.arange(len(census))
    out = Encoder.fit(census, rows)
    assert not any(name.startswith("sex") for name in out.names)
    inside = Encoder.fit(census, rows, include_protected=True)
    assert inside.names == (*out.names, "sex=Male")
    features = inside.transform(census.frame)
    np.testing.assert_array_equal(features[:, -1], census.protected)
    np.testing.assert_array_equal(features[:, :-1], out.transform(census.frame))
    # Out is not blind.
    assert features[features[:, inside.names.index("relationship=Husband")] == 1, -1].all()


def test_the_width_does_not_depend_on_the_rows() -> None:
    table = make_table()
    assert Encoder.fit(table, np.array([0])).names == Encoder.fit(table, np.array([1, 3])).names
    complete = Encoder.fit(drop_incomplete(table), np.array([0]))
    assert Encoder.fit(table, np.array([0])).d == complete.d + 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "non-empty"),
        ([[0, 1]], "non-empty list of integer positions"),
        ([True, False, True, True], "flatnonzero"),
        ([0.0, 1.0], "integer positions"),
        ([0, 4], "must lie in 0 to 3"),
        ([-1], "must lie in 0 to 3"),
    ],
)
def test_a_wrong_fit_is_refused(rows: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Encoder.fit(make_table(), np.array(rows))


def test_records_that_were_not_foreseen_are_refused() -> None:
    encoder = Encoder.fit(drop_incomplete(make_table()), np.array([0]))
    with pytest.raises(ValueError, match=r"workclass: '\?' is none of the categories"):
        encoder.transform(make_table().frame)
    with pytest.raises(ValueError, match=r"lack the encoded columns \['age', 'race'\]"):
        encoder.transform(make_table().frame.drop(columns=["age", "race"]))


@pytest.mark.parametrize(
    ("missing", "protected", "d"),
    [
        ("category", False, 106),
        ("category", True, 107),
        ("drop", False, 103),
        ("drop", True, 104),
    ],
)
@pytest.mark.parametrize("name", ["census", "adult_table"])
def test_both_data_sets_have_the_same_width(
    name: str, missing: str, protected: bool, d: int, request: pytest.FixtureRequest
) -> None:
    table: Table = request.getfixturevalue(name)
    if missing == "drop":
        table = drop_incomplete(table)
    assert Encoder.fit(table, np.array([0]), include_protected=protected).d == d
