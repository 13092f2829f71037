"""The claims of WIN on Adult, as contrasts between runs: what is compared, and which way.

A claim is a sentence of the paper. Each of its contrasts says that a quantity is smaller (or
larger) for one setting than for another; :mod:`repro.study.verdicts` judges them from records.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from repro.study import plans
from repro.study.plans import Plan
from repro.study.profiles import Profile
from repro.study.reported import win_value

ERROR, DP, EO = "weighted_f1_error", "demographic_parity", "equalized_odds_sum"
#: The paper's three metrics, in short for tables.
SHORT = {ERROR: "Err", DP: "ΔDP", EO: "ΔEO (sum)"}


@dataclass(frozen=True)
class Contrast:
    """``quantity`` of ``first`` is smaller ("less") or larger ("greater") than of ``second``."""

    text: str
    first: str
    second: str
    quantity: str
    direction: Literal["less", "greater"]
    #: where ``second`` takes its value, if not from the same quantity
    second_quantity: str | None = None
    #: first - second as the paper reports it (fractions), where it does
    reported: float | None = None


@dataclass(frozen=True)
class Claim:
    """One claim, the runs that bear on it, and what was substituted in testing it."""

    name: str
    where: str
    statement: str
    notebook: str
    plan: Callable[[Profile, Sequence[int]], Plan]
    contrasts: Callable[[Profile], list[Contrast]]
    substitutions: tuple[str, ...] = ()


SILENT = (
    "rates, epochs and batch size are not given in the paper: chosen on validation data, "
    "same budget for every method"
)
RANK = "the paper does not state the rank: 1 and 2 are all that a two-class head has"
SPLIT = "the paper's sizes do not add up: its proportions are used, a new split for each seed"


def _difference(table: str, first: str, second: str, metric: str) -> float | None:
    a, b = win_value(table, first, metric), win_value(table, second, metric)
    return None if a is None or b is None else a - b


def _versus(first: str, second: str, words: str, reported: tuple[str, str]) -> list[Contrast]:
    return [
        Contrast(
            f"{words}: {SHORT[metric]}",
            first,
            second,
            metric,
            "less",
            reported=_difference("fig4", *reported, metric),
        )
        for metric in (ERROR, DP, EO)
    ]


def _figure_1(profile: Profile) -> list[Contrast]:
    return [
        Contrast(
            f"unfair model against {constraint.upper()} {intensity:g}: separation of positively "
            "predicted men and women in the PCA plane (AUC)",
            "unconstrained",
            f"{constraint} {intensity:g}",
            "results:separation_auc_pca",
            "greater",
        )
        for constraint in profile.win.constraints
        for intensity in profile.win.intensities
    ]


def _figure_3(profile: Profile) -> list[Contrast]:
    return [
        Contrast(
            "distance of the groups' importances against the 95 % quantile of permuted groups",
            "unconstrained",
            "unconstrained",
            "results:importance_distance",
            "greater",
            second_quantity="results:importance_distance_null_95",
        )
    ]


def _table_2(profile: Profile) -> list[Contrast]:
    contrasts = []
    for constraint in profile.win.constraints:
        metric = {"dp": DP, "eo": EO}[constraint]
        for intensity in profile.win.intensities:
            row = f"fair pre-trained, {constraint.upper()} constraint, intensity {intensity:g}, "
            key = f"{constraint} {intensity:g}, "
            contrasts.append(
                Contrast(
                    f"{constraint.upper()} {intensity:g}: {SHORT[metric]} after against before",
                    key + "after",
                    key + "before",
                    metric,
                    "greater",
                    reported=_difference(
                        "2", row + "after fine-tuning", row + "before fine-tuning", metric
                    ),
                )
            )
    return contrasts


def _table_3_original(profile: Profile) -> list[Contrast]:
    return [
        Contrast(
            f"WIN (rank 1) against the original pre-trained model: {SHORT[metric]}",
            "win, rank 1",
            "pre-trained",
            metric,
            "less",
            reported=_difference("3", "WIN", "original pre-trained model", metric),
        )
        for metric in (ERROR, DP, EO)
    ]


def _table_3_constraints(profile: Profile) -> list[Contrast]:
    return [
        Contrast(
            f"WIN (rank 1) against Retrain+{constraint.upper()} {intensity:g}: {SHORT[ERROR]}",
            "win, rank 1",
            f"retrain {constraint} {intensity:g}",
            ERROR,
            "less",
            reported=_difference(
                "3", "WIN", f"Retrain+{constraint.upper()}, intensity {intensity:g}", ERROR
            ),
        )
        for constraint in profile.win.constraints
        for intensity in profile.win.intensities
    ]


def _table_4(profile: Profile) -> list[Contrast]:
    return [
        Contrast(
            f"{architecture.upper()}, WIN (rank 1) against TL: {SHORT[metric]}",
            f"{architecture}, win, rank 1",
            f"{architecture}, tl",
            metric,
            "less",
        )
        for architecture in profile.win.architectures
        for metric in (DP, EO)
    ]


def _figure_5(profile: Profile) -> list[Contrast]:
    most = max(profile.win.weights)
    return [
        Contrast(
            f"a = {most:g} on {who} against a = 0.5 (rank 1): {SHORT[metric]}",
            f"rank 1, a {weight:g}",
            "rank 1, a 0.5",
            metric,
            "greater",
        )
        for who, weight in (("men", most), ("women", round(1 - most, 6)))
        for metric in (DP, EO)
    ]


def _figure_4(rank: int, baseline: str) -> Callable[[Profile], list[Contrast]]:
    key, name = {"tl": ("tl", "TL"), "svd": (f"svd, rank {rank}", "f+SVD")}[baseline]
    return lambda profile: _versus(
        f"win, rank {rank}", key, f"WIN against {name}, rank {rank}", ("WIN", name)
    )


WIN_CLAIMS = (
    Claim(
        "representation",
        "Figure 1",
        "In an unfair pre-trained model positively predicted men and women lie apart before the "
        "last layer; in a fair one they overlap.",
        "40_finetuning_brings_bias_back",
        plans.probes,
        _figure_1,
        (
            "overlap in the plotted plane is measured as the cross-validated AUC of a linear "
            "discriminant on the first two principal components",
            SILENT,
        ),
    ),
    Claim(
        "importance",
        "Figure 3",
        "The weights of the last layer that matter differ between the two groups.",
        "41_weight_importance",
        plans.probes,
        _figure_3,
        ("'differ' is tested against groups drawn by permuting the protected attribute",),
    ),
    Claim(
        "bias-returns",
        "Table 2",
        "Fine-tuning the last layer makes a fair pre-trained model unfair again.",
        "40_finetuning_brings_bias_back",
        plans.fair_then_tuned,
        _table_2,
        (SILENT, SPLIT),
    ),
    *(
        Claim(
            f"win-vs-{baseline}-rank-{rank}",
            "Figure 4",
            f"WIN (rank {rank}) has a lower error and is fairer than "
            f"{ {'tl': 'plain fine-tuning of the last layer (TL)', 'svd': 'f+SVD'}[baseline] }.",
            "43_win_on_adult",
            plans.strategies,
            _figure_4(rank, baseline),
            (RANK, SILENT, SPLIT),
        )
        for rank in (1, 2)
        for baseline in ("tl", "svd")
    ),
    Claim(
        "win-vs-original",
        "Table 3",
        "WIN is more accurate and fairer than the original pre-trained model.",
        "43_win_on_adult",
        plans.against_retraining,
        _table_3_original,
        (RANK, SILENT, SPLIT),
    ),
    Claim(
        "win-vs-in-processing",
        "Table 3",
        "WIN has a lower error than retraining under a fairness constraint.",
        "43_win_on_adult",
        plans.against_retraining,
        _table_3_constraints,
        (
            RANK,
            SILENT,
            "Retrain is taken as fine-tuning every parameter of the pre-trained model under "
            "cross-entropy + intensity x covariance",
        ),
    ),
    Claim(
        "architectures",
        "Table 4",
        "WIN keeps its advantage with deeper classifiers (MLP-3, -4, -5).",
        "43_win_on_adult",
        plans.architectures,
        _table_4,
        (RANK, SILENT, "hidden widths are not given: 10 throughout, so the head stays 10 x 2"),
    ),
    Claim(
        "group-weight",
        "Figure 5",
        "An equal weight of the groups (a = 0.5) is best; fairness is lost as a grows.",
        "44_group_weight",
        plans.group_weights,
        _figure_5,
        (RANK, SILENT, "which group is s = 1 is not stated: both are tested"),
    ),
)
