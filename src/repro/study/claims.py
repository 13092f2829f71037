"""The claims of WIN on Adult, as contrasts between runs: what is compared, and which way.

What a claim and a contrast are is said in :mod:`repro.study.contrasts`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from repro.study import plans
from repro.study.contrasts import MARGIN, Check, Claim, Contrast
from repro.study.judging import PER_SEED, control
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.reported import win_value
from repro.study.substitutions import PARTS
from repro.study.tables import known_values, points

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
SCALE = (
    "the scale of the regulariser is not given: cross-entropy + intensity x |covariance|, taken "
    "over each mini-batch, not normalised"
)
#: How far a difference of two readings off Figure 4 may be from the truth.
READING = {ERROR: 2 * 0.002, DP: 2 * 0.004, EO: 2 * 0.004}
#: The same of two numbers of its tables: errors to .001 points, gaps to .001.
ROUNDING = {ERROR: 1e-5, DP: 1e-3, EO: 1e-3}


def _difference(table: str, first: str, second: str, metric: str) -> float | None:
    a, b = win_value(table, first, metric), win_value(table, second, metric)
    return None if a is None or b is None else a - b


def fair_start(key: str, words: str, metric: str, plan: Callable[..., plans.Plan]) -> Check:
    """Return the check that a "fair" pre-trained model is: as the paper's, or a point above it.

    Parameters
    ----------
    key
        Of the model before fine-tuning, in ``plan``.
    words
        The beginning of the paper's row, as in its CSV.
    """
    told = win_value("2", f"{words}before fine-tuning", metric)

    def passes(results: Results) -> tuple[bool, str]:
        mean = float(np.mean(known_values(results[key], metric)))
        bound = MARGIN + (told or 0.0)
        return mean <= bound, (
            f"{SHORT[metric]} {points(mean)} before fine-tuning, at most {points(bound)} "
            "(the paper's and a point)"
        )

    name = key.removesuffix(", before").upper()
    return Check(f"the pre-trained model under {name} is fair", plan, (key,), passes)


def unfair(
    told: float | None,
    plan: Callable[..., plans.Plan],
    key: str = "tl",
    who: str = "plain fine-tuning of the last layer",
) -> Check:
    """Return the check that a model is unfair: its EO is at least half of the paper's."""

    def passes(results: Results) -> tuple[bool, str]:
        mean = float(np.mean(known_values(results[key], EO)))
        bound = (told or 0.0) / 2
        return mean >= bound, (
            f"{SHORT[EO]} {points(mean)}, at least {points(bound)} (half of the paper's)"
        )

    return Check(f"{who} is unfair", plan, (key,), passes)


def _tl_unfair(profile: Profile) -> Sequence[Check]:
    return (unfair(win_value("fig4", "TL", EO), plans.strategies),)


def _original_unfair(profile: Profile) -> Sequence[Check]:
    told = win_value("3", "original pre-trained model", EO)
    who = "the original pre-trained model"
    return (unfair(told, plans.against_retraining, "pre-trained", who),)


def _unconstrained_unfair(profile: Profile) -> Sequence[Check]:
    """Return the check of Figure 1's unfair model, which is the original one of Table 3."""
    told = win_value("3", "original pre-trained model", EO)
    return (
        unfair(told, plans.fair_then_tuned, "unconstrained, before", "the unconstrained model"),
    )


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
        f"retrain {constraint} {most:g}",
        "retrain",
        quantity,
        "greater" if metric else "less",
    )
    return control(
        f"this set-up finds {what} where there is one",
        plans.against_retraining,
        contrast,
        per_seed=PER_SEED["win"],
    )


def _finds_fairness(profile: Profile) -> Check | None:
    return _retrained(profile, None, "a fairness effect")


def _finds_errors(profile: Profile) -> Check | None:
    return _retrained(profile, ERROR, "a difference in error")


def _versus(
    first: str, second: str, words: str, reported: tuple[str, str], metrics: Sequence[str]
) -> list[Contrast]:
    return [
        Contrast(
            f"{words}: {SHORT[metric]}",
            first,
            second,
            metric,
            "less",
            reported=_difference("fig4", *reported, metric),
            slack=READING[metric],
        )
        for metric in metrics
    ]


def _row(constraint: str, intensity: float) -> str:
    """Return the beginning of a row of Table 2."""
    return f"fair pre-trained, {constraint.upper()} constraint, intensity {intensity:g}, "


def _separation(quantity: str, words: str) -> Callable[[Profile], list[Contrast]]:
    return lambda profile: [
        Contrast(
            f"unfair model against {constraint.upper()} {intensity:g}: AUC of telling positively "
            f"predicted men and women apart {words}",
            "unconstrained",
            f"{constraint} {intensity:g}",
            quantity,
            "greater",
            check=fair_start(
                f"{constraint} {intensity:g}, before",
                _row(constraint, intensity),
                CLOSES[constraint],
                plans.fair_then_tuned,
            ),
        )
        for constraint in profile.win.constraints
        for intensity in profile.win.intensities
    ]


def _importance(null: str, words: str) -> Callable[[Profile], list[Contrast]]:
    return lambda profile: [
        Contrast(
            f"distance of the groups' importances against the 95 % quantile of {words}",
            "unconstrained",
            "unconstrained",
            "results:importance_distance",
            "greater",
            second_quantity=f"results:importance_distance_{null}_95",
        )
    ]


def _importances_differ(profile: Profile) -> Sequence[Check]:
    """Return the check of Figure 5: with equal importances the weight of a group moves nothing."""
    (contrast,) = _importance("null", "permuted groups")(profile)
    return (
        control("the groups' importances differ", plans.probes, contrast, per_seed=PER_SEED["win"]),
    )


def _table_2(profile: Profile) -> list[Contrast]:
    contrasts = []
    for constraint in profile.win.constraints:
        metric = CLOSES[constraint]
        for intensity in profile.win.intensities:
            row = _row(constraint, intensity)
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
                    slack=ROUNDING[metric],
                    check=fair_start(f"{key}before", row, metric, plans.fair_then_tuned),
                )
            )
    return contrasts


def _short_of_unconstrained(profile: Profile) -> list[Contrast]:
    """Ask whether all of the bias returns: the fair model after, against the unconstrained one."""
    return [
        Contrast(
            f"{constraint.upper()} {intensity:g} after, against the unconstrained model fine-tuned "
            f"alike: {SHORT[metric]}",
            f"{constraint} {intensity:g}, after",
            "unconstrained, after",
            metric,
            "less",
        )
        for constraint, metric in (("dp", DP), ("eo", EO))
        if constraint in profile.win.constraints
        for intensity in profile.win.intensities
    ]


def _table_3_original(metrics: Sequence[str]) -> Callable[[Profile], list[Contrast]]:
    return lambda profile: [
        Contrast(
            f"WIN against the original pre-trained model: {SHORT[metric]}",
            "win, rank 1",
            "pre-trained",
            metric,
            "less",
            reported=_difference("3", "WIN", "original pre-trained model", metric),
            slack=ROUNDING[metric],
        )
        for metric in metrics
    ]


def _against_constraints(first: str, name: str, metric: str) -> Callable[[Profile], list[Contrast]]:
    return lambda profile: [
        Contrast(
            f"{name} against Retrain+{constraint.upper()} {intensity:g}: {SHORT[metric]}",
            first,
            f"retrain {constraint} {intensity:g}",
            metric,
            "less",
            reported=_difference(
                "3", name, f"Retrain+{constraint.upper()}, intensity {intensity:g}", metric
            ),
            slack=ROUNDING[metric],
        )
        for constraint in profile.win.constraints
        for intensity in profile.win.intensities
    ]


def _costs(profile: Profile) -> list[Contrast]:
    """Return what the claim of a lower error leaves out: who else has it, and what it costs."""
    return _against_constraints("tl", "TL", ERROR)(profile) + _against_constraints(
        "win, rank 1", "WIN", DP
    )(profile)


def _sizes(profile: Profile) -> list[Contrast]:
    return [
        Contrast(
            "WIN (rank 1) against Retrain: trainable parameters",
            "win, rank 1",
            "retrain",
            "results:trainable_parameters",
            "less",
            reported=46 - 742,
            unit="parameters",
        )
    ]


def _table_4(metrics: Sequence[str]) -> Callable[[Profile], list[Contrast]]:
    # Table 4 has no row of TL: the advantage that is to be kept is that of Figure 4.
    return lambda profile: [
        Contrast(
            f"{architecture.upper()}, WIN against TL: {SHORT[metric]}",
            f"{architecture}, win, rank 1",
            f"{architecture}, tl",
            metric,
            "less",
            elsewhere=_difference("fig4", "WIN", "TL", metric),
            slack=READING[metric],
            check=unfair(
                win_value("fig4", "TL", EO),
                plans.architectures,
                f"{architecture}, tl",
                f"plain fine-tuning of the last layer of {architecture.upper()}",
            ),
        )
        for architecture in profile.win.architectures
        for metric in metrics
    ]


def _figure_5(metrics: Sequence[str]) -> Callable[[Profile], list[Contrast]]:
    def contrasts(profile: Profile) -> list[Contrast]:
        most = max(profile.win.weights)
        if most == 0.5:  # nothing to compare with
            return []
        return [
            Contrast(
                f"a = {most:g} on {who} against a = 0.5 (rank 1): {SHORT[metric]}",
                f"rank 1, a {weight:g}",
                "rank 1, a 0.5",
                metric,
                "greater",
            )
            for who, weight in (("men", most), ("women", round(1 - most, 6)))
            for metric in metrics
        ]

    return contrasts


def _figure_4(
    rank: int, baselines: Sequence[str], metrics: Sequence[str]
) -> Callable[[Profile], list[Contrast]]:
    keys = {"tl": ("tl", "TL"), "svd": (f"svd, rank {rank}", "f+SVD")}
    return lambda profile: [
        contrast
        for key, name in (keys[baseline] for baseline in baselines)
        for contrast in _versus(
            f"win, rank {rank}", key, f"WIN against {name}, rank {rank}", ("WIN", name), metrics
        )
    ]


def _widths(profile: Profile) -> str:
    return ", ".join(name.upper() for name in profile.win.architectures)


WIN_CLAIMS = (
    Claim(
        "representation",
        "Figure 1",
        "Before the last layer positively predicted men and women lie further apart in an unfair "
        "pre-trained model than in a fair one.",
        "40_finetuning_brings_bias_back",
        plans.probes,
        _separation("results:separation_auc_pca", "in the PCA plane"),
        (
            "distance in the plotted plane is measured as the cross-validated AUC of a linear "
            "discriminant on the first two principal components",
            SILENT,
            SCALE,
            SPLIT,
        ),
        _separation("results:separation_auc", "from the whole representation"),
        checks=_unconstrained_unfair,
    ),
    Claim(
        "importance",
        "Figure 3",
        "The weights of the last layer that matter differ between the two groups, beyond chance "
        "and beyond what the groups' base rates do alone.",
        "41_weight_importance",
        plans.probes,
        lambda profile: [
            *_importance("null", "permuted groups")(profile),
            *_importance("null_given_target", "groups permuted within the target")(profile),
        ],
        (
            "'differ' is tested against groups drawn by permuting the protected attribute, and "
            "against groups permuted within the target, which have the groups' base rates",
            SILENT,
            SPLIT,
        ),
    ),
    Claim(
        "bias-returns",
        "Table 2",
        "Fine-tuning the last layer makes a fair pre-trained model unfair again.",
        "40_finetuning_brings_bias_back",
        plans.fair_then_tuned,
        _table_2,
        (SILENT, SCALE, SPLIT),
        _short_of_unconstrained,
        control=_finds_fairness,
    ),
    *(
        Claim(
            f"win-vs-{baseline}-rank-{rank}",
            "Figure 4",
            f"WIN (rank {rank}) is fairer than "
            f"{ {'tl': 'plain fine-tuning of the last layer (TL)', 'svd': 'f+SVD'}[baseline] }.",
            "43_win_on_adult",
            plans.strategies,
            _figure_4(rank, (baseline,), (EO,)),
            (RANK, SILENT, SPLIT),
            _figure_4(rank, (baseline,), (DP,)),
            checks=_tl_unfair,
            control=_finds_fairness,
        )
        for rank in (1, 2)
        for baseline in ("tl", "svd")
    ),
    *(
        Claim(
            f"win-error-rank-{rank}",
            "Figure 4",
            f"WIN (rank {rank}) has a lower error than plain fine-tuning of the last layer (TL) "
            "and than f+SVD.",
            "43_win_on_adult",
            plans.strategies,
            _figure_4(rank, ("tl", "svd"), (ERROR,)),
            (RANK, SILENT, SPLIT),
            control=_finds_errors,
        )
        for rank in (1, 2)
    ),
    Claim(
        "win-vs-original",
        "Table 3",
        "WIN (rank 1) is fairer than the original pre-trained model.",
        "43_win_on_adult",
        plans.against_retraining,
        _table_3_original((EO,)),
        (RANK, SILENT, SPLIT),
        _table_3_original((DP,)),
        checks=_original_unfair,
        control=_finds_fairness,
    ),
    Claim(
        "win-vs-in-processing",
        "Table 3",
        "WIN (rank 1) has a lower error than the original pre-trained model and than retraining "
        "under a fairness constraint.",
        "43_win_on_adult",
        plans.against_retraining,
        lambda profile: [
            *_table_3_original((ERROR,))(profile),
            *_against_constraints("win, rank 1", "WIN", ERROR)(profile),
        ],
        (
            RANK,
            SILENT,
            SCALE,
            SPLIT,
            "Retrain is taken as fine-tuning every parameter of the pre-trained model",
        ),
        _costs,
        control=_finds_errors,
    ),
    Claim(
        "parameters",
        "Table 3",
        "WIN (rank 1) trains fewer parameters than retraining does.",
        "42_weighted_svd",
        plans.against_retraining,
        _sizes,
        (
            "neither 46 nor 742 follows from the paper's description, so the counts are those of "
            "our own models",
        ),
        kind="construction",
    ),
    Claim(
        "architectures",
        "Table 4",
        lambda profile: (
            "WIN (rank 1) keeps its advantage in fairness over TL with deeper classifiers "
            f"({_widths(profile)})."
        ),
        "43_win_on_adult",
        plans.architectures,
        _table_4((EO,)),
        (RANK, SILENT, SPLIT, "hidden widths are not given: 10 throughout, the head stays 10 x 2"),
        _table_4((DP, ERROR)),
        touches=PARTS - {"depth"},
        control=_finds_fairness,
    ),
    Claim(
        "group-weight",
        "Figure 5",
        lambda profile: (
            "Moving the weight of the groups from equal (a = 0.5) to one group "
            f"(a = {max(profile.win.weights):g}) loses fairness."
        ),
        "44_group_weight",
        plans.group_weights,
        _figure_5((EO,)),
        (RANK, SILENT, SPLIT, "which group is s = 1 is not stated: both are tested"),
        _figure_5((DP,)),
        checks=_importances_differ,
        control=_finds_fairness,
    ),
)
