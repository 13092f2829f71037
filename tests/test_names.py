from collections.abc import Sequence

import pytest

from repro.names import UnknownNameError, check_name, hint

STRATEGIES = ("tl", "svd", "win", "retrain")


def test_a_valid_name_is_returned() -> None:
    assert check_name("strategy", "win", STRATEGIES) == "win"


def test_the_message_is_complete() -> None:
    with pytest.raises(UnknownNameError) as error:
        check_name("strategy", "wim", STRATEGIES)
    assert str(error.value) == (
        "unknown strategy 'wim'; did you mean 'win'? (valid: tl, svd, win, retrain)"
    )


def test_without_a_near_name_none_is_suggested() -> None:
    with pytest.raises(UnknownNameError) as error:
        check_name("profile", "xyzzy", ["smoke", "quick"])
    assert str(error.value) == "unknown profile 'xyzzy' (valid: smoke, quick)"


def test_case_matters_but_does_not_hide_the_suggestion() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'win'"):
        check_name("strategy", "WIN", STRATEGIES)


def test_an_iterator_is_listed_in_full() -> None:
    with pytest.raises(ValueError, match=r"\(valid: tl, svd, win, retrain\)"):
        check_name("strategy", "x", iter(STRATEGIES))


METRICS = ("equalized_odds_max", "equalized_odds_mean")


@pytest.mark.parametrize(
    ("name", "valid", "expected"),
    [
        ("equalised_odds_max", METRICS, "equalized_odds_max"),
        ("equalized-odds-mean", METRICS, "equalized_odds_mean"),
        ("EQUALIZED_ODDS_MAX", METRICS, "equalized_odds_max"),
        ("", METRICS, None),
        ("zzz", METRICS, None),
        ("heavymakeup", ["HeavyMakeup", "Male"], "HeavyMakeup"),  # in its own spelling
        ("win", [], None),
    ],
)
def test_nearest(name: str, valid: Sequence[str], expected: str | None) -> None:
    assert hint(name, valid) == (f"; did you mean {expected!r}?" if expected else "")
