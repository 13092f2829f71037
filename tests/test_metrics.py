import numpy as np
import pytest
from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import accuracy_score, f1_score

from repro.metrics import (
    METRICS,
    confusion_counts,
    flatten_metrics,
    group_metrics,
    metrics_from_counts,
)

# A group of 1 to 40 examples in every (t,p), of which any number, or none, is predicted 1.
COUNTS = arrays(np.int64, (2, 2, 2), elements=st.integers(0, 20), fill=st.nothing()).filter(
    lambda counts: counts.sum(axis=2).all()
)
# Groups of sizes 2, 2, 2 and 4, with one mistake in (0,0) and three in (1,1).
TARGET = [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
PROTECTED = [0, 0, 1, 1, 0, 0, 1, 1, 1, 1]
PREDICTED = [0, 1, 0, 0, 1, 1, 1, 0, 0, 0]


def examples(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arrays of target, predicted and protected with these counts."""
    cells = np.indices(counts.shape).reshape(3, -1)
    target, protected, predicted = np.repeat(cells, counts.ravel(), axis=1)
    return target, predicted, protected


def test_counts_are_indexed_target_protected_predicted() -> None:
    counts = confusion_counts(TARGET, PREDICTED, PROTECTED)
    assert counts.dtype == np.int64
    assert counts.tolist() == [[[1, 1], [2, 0]], [[0, 2], [3, 1]]]


def test_hand_worked_example() -> None:
    metrics = group_metrics(TARGET, PREDICTED, PROTECTED)
    assert metrics["group_accuracy"].tolist() == [[0.5, 1.0], [1.0, 0.25]]
    # Everything else by hand: TPR 1 and 1/4, FPR 1/2 and 0, positive rates 3/4 and 1/6,
    # F1 of class 0 is 2*3/(4+6) and of class 1 is 2*3/(6+4), both 0.6.
    assert flatten_metrics(metrics) == pytest.approx(
        {
            "accuracy": 0.6,
            "accuracy_t0_p0": 0.5,
            "accuracy_t0_p1": 1.0,
            "accuracy_t1_p0": 1.0,
            "accuracy_t1_p1": 0.25,
            "worst_group_accuracy": 0.25,
            "group_std": np.sqrt(0.421875 / 4),  # mean 0.6875
            "equalized_odds_max": 0.75,
            "equalized_odds_mean": 0.625,
            "equalized_odds_sum": 1.25,
            "demographic_parity": 3 / 4 - 1 / 6,
            "weighted_f1_error": 0.4,
        },
        abs=1e-15,
    )


def test_published_row_tells_which_equalised_odds_is_printed() -> None:
    # AIM-Fair (arXiv 2503.05665), Table 3, CelebA Smiling|Male, baseline (ERM): accuracies of the
    # groups (t,p) in per cent, with WST 71.52, STD 10.65 and EO 23.84 printed in the same row.
    accuracy = np.array([[83.57, 98.50], [95.36, 71.52]])
    correct = np.rint(100 * accuracy).astype(int)  # of 10,000 examples a group
    counts = np.empty((2, 2, 2), dtype=int)
    for t in (0, 1):
        counts[t, :, t] = correct[t]
        counts[t, :, 1 - t] = 10_000 - correct[t]
    metrics = metrics_from_counts(counts)
    odds = metrics["equalized_odds"]
    assert round(100 * odds["max"], 2) == 23.84
    assert round(100 * odds["mean"], 3) == 19.385  # half of 23.84 + 14.93
    assert round(100 * metrics["worst_group_accuracy"], 2) == 71.52
    assert round(100 * metrics["group_std"], 2) == 10.65


@settings(max_examples=30, deadline=None)
@given(COUNTS)
def test_agrees_with_fairlearn_and_scikit_learn(counts: np.ndarray) -> None:
    target, predicted, protected = examples(counts)
    metrics = group_metrics(target, predicted, protected)
    odds = metrics["equalized_odds"]
    inputs = {"y_true": target, "y_pred": predicted, "sensitive_features": protected}
    close = {"rtol": 0, "atol": 1e-12}
    np.testing.assert_allclose(
        odds["max"], equalized_odds_difference(**inputs, agg="worst_case"), **close
    )
    np.testing.assert_allclose(
        odds["mean"], equalized_odds_difference(**inputs, agg="mean"), **close
    )
    np.testing.assert_allclose(odds["sum"], 2 * odds["mean"], **close)
    np.testing.assert_allclose(
        metrics["demographic_parity"], demographic_parity_difference(**inputs), **close
    )
    f1 = f1_score(target, predicted, average="weighted", zero_division=0)
    np.testing.assert_allclose(metrics["weighted_f1_error"], 1 - f1, **close)
    np.testing.assert_allclose(metrics["accuracy"], accuracy_score(target, predicted), **close)


@settings(max_examples=30, deadline=None)
@given(COUNTS)
def test_structure(counts: np.ndarray) -> None:
    target, predicted, protected = examples(counts)
    flat = flatten_metrics(group_metrics(target, predicted, protected))
    assert tuple(flat) == METRICS
    assert flat == flatten_metrics(metrics_from_counts(counts))
    assert flat["equalized_odds_mean"] <= flat["equalized_odds_max"] <= flat["equalized_odds_sum"]
    assert all(0 <= value <= 1 for name, value in flat.items() if name != "equalized_odds_sum")
    # Which protected value is called 1 is a convention: no summary may depend on it.
    swapped = flatten_metrics(group_metrics(target, predicted, 1 - protected))
    symmetric = [name for name in METRICS if not name.startswith("accuracy_t")]
    for name in symmetric:
        assert swapped[name] == pytest.approx(flat[name], abs=1e-12)
    assert swapped["accuracy_t1_p0"] == flat["accuracy_t1_p1"]


def test_a_class_never_predicted_has_f1_zero() -> None:
    target, protected = [0, 0, 1, 1, 1], [0, 1, 0, 1, 1]
    metrics = group_metrics(target, [0] * 5, protected)
    # Class 0: F1 = 2*2/(2+5) with support 2 of 5; class 1 adds nothing.
    assert metrics["weighted_f1_error"] == pytest.approx(1 - (4 / 7) * (2 / 5))


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int32, np.float32, list])
def test_all_number_types_give_the_same(kind: type) -> None:
    convert = list if kind is list else (lambda values: np.array(values).astype(kind))
    metrics = group_metrics(convert(TARGET), convert(PREDICTED), convert(PROTECTED))
    assert flatten_metrics(metrics) == flatten_metrics(group_metrics(TARGET, PREDICTED, PROTECTED))


@pytest.mark.parametrize("name", ["target", "predicted", "protected"])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([0, 1, 2, 1], r"only 0 and 1, but {}\[2\] is 2"),
        ([0, -1, 0, 1], r"only 0 and 1, but {}\[1\] is -1"),
        ([0.0, 0.5, 0.0, 1.0], r"only 0 and 1, but {}\[1\] is 0.5"),
        ([0.0, 1.0, 0.0, np.nan], r"only 0 and 1, but {}\[3\] is nan"),
        ([[0, 1], [0, 1]], r"{} must be one-dimensional, but has shape \(2, 2\)"),
        ([[0, 1], [0]], r"{} is not a one-dimensional array"),
        (["0", "1", "0", "1"], r"{} must hold numbers 0 and 1, but has type <U1"),
        ([0, None, 0, 1], r"{} must hold numbers 0 and 1, but has type object"),
        (1, r"{} must be one-dimensional, but has shape \(\)"),
        ([], r"{} is empty"),
    ],
)
def test_bad_arrays_are_named(name: str, bad: object, message: str) -> None:
    arrays = {name_: [0, 1, 0, 1] for name_ in ("target", "predicted", "protected")}
    with pytest.raises(ValueError, match=message.format(name)):
        confusion_counts(**{**arrays, name: bad})


@pytest.mark.parametrize("name", ["predicted", "protected"])
def test_lengths_must_agree(name: str) -> None:
    arrays = {"target": [0, 1, 1], "predicted": [0, 1, 1], "protected": [0, 1, 1], name: [0, 1]}
    with pytest.raises(ValueError, match=f"{name} has 2 examples, but target has 3"):
        confusion_counts(**arrays)


@pytest.mark.parametrize(("t", "p"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_an_empty_group_is_named(t: int, p: int) -> None:
    counts = np.ones((2, 2, 2), dtype=int)
    counts[t, p] = 0
    with pytest.raises(ValueError, match=rf"^group \(target={t}, protected={p}\) is empty: "):
        metrics_from_counts(counts)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([[1, 2], [3, 4]], r"shape \(2, 2, 2\)"),
        (np.full((2, 2, 2), -1), "at least 0"),
        (np.full((2, 2, 2), 0.5), "whole numbers"),
        (np.full((2, 2, 2), np.nan), "whole numbers"),
        (np.full((2, 2, 2), "a"), "type"),
        ([[[1], [2, 3]]], "not a table"),
    ],
)
def test_bad_counts(counts: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics_from_counts(counts)


def test_counts_survive_json() -> None:
    counts = confusion_counts(TARGET, PREDICTED, PROTECTED)
    again = metrics_from_counts(counts.astype(float).tolist())
    assert flatten_metrics(again) == flatten_metrics(group_metrics(TARGET, PREDICTED, PROTECTED))
