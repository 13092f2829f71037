"""What AIM-Fair's claims are made of: rows of its tables, words, and contrasts between runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from repro.aimfair.strategies import STRATEGIES, rows_of
from repro.chapters.aim import plans
from repro.chapters.reported import aim_value
from repro.chapters.substitutions import MASKED
from repro.study.claims import Check, Claim, Contrast
from repro.study.experiments import Experiment, Plan
from repro.study.judging import control
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.tables import mean_value, points

ACC, WST, EO, STD = "accuracy", "worst_group_accuracy", "equalized_odds_max", "group_std"
#: The paper's metrics, in short for tables.
SHORT = {ACC: "ACC", WST: "WST", EO: "EO (max)", STD: "STD"}
BETTER = {ACC: "greater", WST: "greater", EO: "less", STD: "less"}
GROUP_ACCURACIES = tuple(f"accuracy_t{t}_p{p}" for t in (0, 1) for p in (0, 1))

#: Rows of the paper's Table 3, by the keys of the plans.
TABLE_3 = rows_of("3")
WORDS = {name: strategy.words for name, strategy in STRATEGIES.items()}

PAIRED = (
    "WST and EO are taken for each seed and paired; the paper takes the minimum of seed-averaged "
    "group accuracies"
)
#: How far the difference of two numbers of its tables, printed to .01 points, may be off.
ROUNDING = 1e-4
#: Its k: what it reports of SFT is no difference of ours at another.
K = 55
#: The paper's main task: its differences set the margins where a task has none of its own.
MAIN_TASK = "celeba/Smiling/Male"


def task(profile: Profile) -> str:
    """Return the task as the reported numbers name it: ``dataset/target/protected``."""
    data = profile.faces.data
    return f"{data.name}/{data.target}/{data.protected}"


def difference(
    where: str, table: str, first: str | None, seconds: Sequence[str | None], metric: str
) -> float | None:
    """Return first - mean of seconds as the paper reports it for a task, or None."""
    names = [name for name in (first, *seconds) if name is not None]
    found = [aim_value(table, where, name, metric) for name in names]
    known = [number for number in found if number is not None]
    if len(known) < 1 + len(seconds) or len(known) < 2:
        return None
    return known[0] - sum(known[1:]) / len(seconds)


def versus(
    profile: Profile,
    first: str,
    second: str | tuple[str, ...],
    metrics: Sequence[str],
    *,
    table: str = "3",
    rows: tuple[str | None, str | tuple[str | None, ...] | None] = (None, None),
    slack: float = ROUNDING,
    words: str | None = None,
    kind: Literal["better", "no worse"] = "better",
) -> list[Contrast]:
    """Return the contrasts that say that ``first`` is better than ``second``, one for each metric.

    Parameters
    ----------
    table, rows
        Where the paper reports the two, as its rows are named.
    words
        What to call ``second``, if it is not one of `WORDS` or a key.
    """
    them = words or (WORDS.get(second, second) if isinstance(second, str) else " or ".join(second))
    others = rows[1] if isinstance(rows[1], tuple) else (rows[1],)
    # Tables 6 and 7 vary the sets of SFT; Figure 5 varies k itself.
    theirs = profile.faces.k == K or not ("mask" in first or table in ("6", "7"))
    found = []
    for metric in metrics:
        own = difference(task(profile), table, rows[0], others, metric)
        main = difference(MAIN_TASK, table, rows[0], others, metric)
        found.append(
            Contrast(
                f"{WORDS.get(first, first)} against {them}: {SHORT[metric]}",
                first,
                second,
                metric,
                "greater" if BETTER[metric] == "greater" else "less",
                reported=own if theirs else None,
                elsewhere=main if own is None or theirs else own,
                slack=slack,
                kind=kind,
            )
        )
    return found


def best(
    profile: Profile,
    first: str,
    rivals: Sequence[str],
    *,
    table: str,
    rows: Mapping[str, str],
    slack: float = ROUNDING,
) -> list[Contrast]:
    """Return the contrasts of a setting with each rival, and last with their mean, by EO.

    Rivals are those that the paper has: it says nothing about others.
    """
    known = [key for key in rivals if key in rows and key != first]
    if not known:
        return []
    single = [
        contrast
        for key in known
        for contrast in versus(
            profile, first, key, (EO,), table=table, rows=(rows.get(first), rows[key]), slack=slack
        )
    ]
    together = versus(
        profile,
        first,
        tuple(known),
        (EO,),
        table=table,
        rows=(rows.get(first), tuple(rows[key] for key in known)),
        slack=slack,
        words="the mean of its rivals",
    )
    return [*single, *together]


# What must be so, or nothing is tested


def biased(
    profile: Profile, plan: Experiment = plans.strategies, key: str = "erm", words: str = ""
) -> Check:
    """Return the check that the biased classifier is: at least half of the paper's EO."""
    row, own = TABLE_3["erm"], task(profile)
    told = aim_value("3", own, row, EO) or aim_value("1", own, "ERM", EO)
    told = told or aim_value("3", MAIN_TASK, row, EO)
    assert told is not None  # the main task has it
    bound = told / 2

    def passes(results: Results) -> tuple[bool, str]:
        mean = mean_value(results[key], EO)
        return mean >= bound, f"EO {points(mean)}, at least {points(bound)} (half of the paper's)"

    return Check(f"the biased classifier{words} is biased", plan, (key,), passes)


def premise(profile: Profile) -> list[Contrast]:
    """Return AIM-Fair's premise, to stand beside: balanced synthetic images train a fairer one.

    In the paper the EO of that classifier is a third of ERM's. Where it is not so, selective
    fine-tuning is tested on images that the method was not meant for.
    """
    rows = (TABLE_3["synthetic only"], TABLE_3["erm"])
    return versus(profile, "synthetic only", "erm", (EO,), rows=rows)


def reads(plan: Experiment, key: str, erm: str = "erm") -> Check:
    """Return the check that synthetic images teach the target: half of ERM's way from chance.

    Measured by the mean accuracy of the four groups, half for whoever guesses and for whoever gives
    everybody the same answer, however rare one is: that classifier is fair, and has learnt nothing.

    Parameters
    ----------
    plan, key
        Where the classifier of synthetic images alone is.
    erm
        Key of the biased classifier, of Table 3 where the plan has none.
    """

    def both(profile: Profile, seeds: Sequence[int]) -> Plan:
        return {"erm": plans.strategies(profile, seeds).get("erm", []), **plan(profile, seeds)}

    def passes(results: Results) -> tuple[bool, str]:
        alone, biased_one = (
            sum(mean_value(results[name], group) for group in GROUP_ACCURACIES) / 4
            for name in (key, erm)
        )
        bound = 0.5 + (biased_one - 0.5) / 2
        told = f"mean accuracy of the four groups {points(alone)}, at least {points(bound)}"
        return alone >= bound, told

    of_prompts = f"images of the prompts '{key}'"
    name = "synthetic images" if key.endswith("synthetic only") else of_prompts
    text = f"a classifier of {name} alone tells the target in photographs"
    return Check(text, both, (key, erm), passes)


def fine_tuned(profile: Profile) -> Sequence[Check]:
    """Return what must be so of every claim on fine-tuning with synthetic images."""
    return (biased(profile), reads(plans.strategies, "synthetic only"))


def finds(metric: str) -> Callable[[Profile], Check | None]:
    """Return the positive control on embedded faces: as many real images, balanced, are better."""

    def found(profile: Profile) -> Check | None:
        if profile.faces.data.name != "toyfaces":
            return None
        contrast = Contrast(
            f"balanced real images against ERM: {SHORT[metric]}",
            "balanced real",
            "erm",
            metric,
            "less" if BETTER[metric] == "less" else "greater",
        )
        what = "in fairness" if metric == EO else f"of {SHORT[metric]}"
        text = f"this set-up finds an effect {what} where there is one"
        return control(text, plans.properties, contrast)

    return found


def joined(*parts: Callable[[Profile], list[Contrast]]) -> Callable[[Profile], list[Contrast]]:
    """Return the contrasts of all parts, in order."""
    return lambda profile: [contrast for part in parts for contrast in part(profile)]


def aim_claim(
    name: str,
    where: str,
    sentence: str | Callable[[Profile], str],
    notebook: str,
    plan: Experiment,
    contrasts: Callable[[Profile], list[Contrast]],
    beside: Callable[[Profile], list[Contrast]] = lambda profile: [],
    kind: Literal["all", "any", "best"] = "all",
    notes: tuple[str, ...] = (),
    touches: frozenset[str] = MASKED,
    checks: Callable[[Profile], Sequence[Check]] = fine_tuned,
    metric: str = EO,
) -> Claim:
    """Return a claim of AIM-Fair, by default on fine-tuning.

    That needs a biased classifier, and synthetic images that teach the target.

    Parameters
    ----------
    metric
        What its positive control must find.
    """
    return Claim(
        name,
        where,
        sentence,
        notebook,
        plan,
        contrasts,
        (PAIRED, *notes),
        beside,
        paper="aim-fair",
        kind=kind,
        touches=touches,
        checks=checks,
        control=finds(metric),
    )
