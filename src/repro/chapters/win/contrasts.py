"""What WIN's claims on Adult are made of: metrics, substitutions, checks, and controls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from repro.chapters.reported import win_value
from repro.chapters.win import plans
from repro.chapters.win.configs import NAMES, fair_key, key_of
from repro.chapters.win.plans import under
from repro.study.claims import Check, Contrast
from repro.study.experiments import Experiment
from repro.study.judging import control
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.tables import mean_value, points

ERROR, DP, EO = "weighted_f1_error", "demographic_parity", "equalized_odds_sum"
#: The paper's three metrics, in short for tables.
SHORT = {ERROR: "Err", DP: "ΔDP", EO: "ΔEO (sum)"}
#: What a constraint is meant to close.
CLOSES = {"dp": DP, "eo": EO}
SILENT = (
    "rates, epochs and batch size are not given in the paper: chosen on validation data, "
    "same budget for every method"
)
RANK = "the paper does not state the rank: 1 and 2 are all that a two-class head has"
SPLIT = (
    "the paper's sizes do not add up: its proportions are used, a new split for each seed, the "
    "protected attribute not among the features"
)
ON_ADULT = (RANK, SILENT, SPLIT)
SCALE = (
    "the scale of the regulariser is not given: cross-entropy + intensity x |covariance|, taken "
    "over each mini-batch, not normalised"
)
#: How far a difference of two readings off Figure 4 may be from the truth.
READING = {ERROR: 2 * 0.002, DP: 2 * 0.004, EO: 2 * 0.004}
#: The same of two numbers of its tables: errors to .001 points, gaps to .001.
ROUNDING = {ERROR: 1e-5, DP: 1e-3, EO: 1e-3}


#: What WIN is compared with in Figure 4 -> in a sentence.
BASELINES = {"tl": "plain fine-tuning of the last layer (TL)", "svd": "f+SVD"}


def difference(
    table: str, first: str, second: str, metric: str, dataset: str | None = "adult"
) -> float | None:
    """Return first - second as the paper reports it for a data set, or None."""
    if dataset is None:
        return None
    a, b = (win_value(table, setting, metric, dataset) for setting in (first, second))
    return None if a is None or b is None else a - b


def below(
    text: str,
    pair: tuple[str, str],
    metrics: Sequence[str],
    table: str,
    rows: tuple[str, str],
    *,
    dataset: str | None = "adult",
    main: str | None = None,
    check: Check | None = None,
) -> list[Contrast]:
    """Return the contrasts that say that the first setting is below the second, by each metric.

    ``rows`` are theirs in a table of the paper, for the data set that is judged and for the main
    one, whose difference sets the margin where the other has none.
    """
    return [
        Contrast(
            f"{text}: {SHORT[metric]}",
            *pair,
            metric,
            "less",
            reported=difference(table, *rows, metric, dataset),
            elsewhere=difference(table, *rows, metric, main),
            slack=(READING if table == "fig4" else ROUNDING)[metric],
            check=check,
        )
        for metric in metrics
    ]


def against_baselines(
    rank: int,
    baselines: Iterable[str],
    metrics: Sequence[str],
    where: str = "",
    dataset: str | None = "adult",
    main: str | None = None,
) -> list[Contrast]:
    """Return the contrasts of WIN with baselines of Figure 4 at one rank, as `below` does."""
    found: list[Contrast] = []
    for baseline in baselines:
        name, own = NAMES[baseline], None if baseline == "tl" else rank
        text = f"WIN against {name}, rank {rank}{where}"
        pair, rows = (key_of("win", rank), key_of(baseline, own)), ("WIN", name)
        found += below(text, pair, metrics, "fig4", rows, dataset=dataset, main=main)
    return found


def each_below(
    heads: Mapping[str, str],
    metrics: Sequence[str],
    main: str,
    tl_unfair: Callable[[str, str], Check],
) -> list[Contrast]:
    """Return Table 4: WIN (rank 1) against TL under each heading of keys, which is called so.

    The table has no row of TL: the advantage that is to be kept is that of Figure 4.
    """
    found: list[Contrast] = []
    for head, name in heads.items():
        tl = under(head, "tl")
        check = tl_unfair(tl, f"plain fine-tuning of the last layer of {name}")
        pair, rows = (under(head, key_of("win", 1)), tl), ("WIN", "TL")
        text = f"{name}, WIN against TL"
        found += below(text, pair, metrics, "fig4", rows, dataset=None, main=main, check=check)
    return found


def unfair(
    told: float | None,
    plan: Experiment,
    key: str = "tl",
    who: str = "plain fine-tuning of the last layer",
) -> Check:
    """Return the check that a model is unfair: its EO is at least half of the paper's."""

    def passes(results: Results) -> tuple[bool, str]:
        mean = mean_value(results[key], EO)
        bound = (told or 0.0) / 2
        return mean >= bound, (
            f"{SHORT[EO]} {points(mean)}, at least {points(bound)} (half of the paper's)"
        )

    return Check(f"{who} is unfair", plan, (key,), passes)


def _retrained(profile: Profile, metric: str | None, what: str) -> Check | None:
    """Return a positive control by retraining under the strongest constraint.

    It makes a fairer model, by the gap that it closes (``metric`` None), at the cost of errors.
    """
    if not profile.win.constraints or not profile.win.intensities:
        return None
    constraint = "eo" if "eo" in profile.win.constraints else "dp"
    most = max(profile.win.intensities)
    quantity = metric or CLOSES[constraint]
    contrast = Contrast(
        f"retraining under {constraint.upper()} {most:g} against without: {SHORT[quantity]}",
        key_of("retrain", fair=fair_key(constraint, most)),
        "retrain",
        quantity,
        "greater" if metric else "less",
    )
    return control(
        f"this set-up finds {what} where there is one",
        plans.against_retraining,
        contrast,
        paper="win",
    )


def finds_fairness(profile: Profile) -> Check | None:
    """Return the positive control for claims on fairness."""
    return _retrained(profile, None, "a fairness effect")


def finds_errors(profile: Profile) -> Check | None:
    """Return the positive control for claims on errors."""
    return _retrained(profile, ERROR, "a difference in error")
