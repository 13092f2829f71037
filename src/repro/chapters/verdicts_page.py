"""Chapter 90: every claim, by the records and by the runs of this call, and how the rule errs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from repro.chapters.win.low_rank_head import trained_parameters
from repro.study import simulation, tables
from repro.study.claims import Claim
from repro.study.experiments import claims
from repro.study.figures import words_by_effect
from repro.study.once import one_reading
from repro.study.rule import SIGNS
from repro.study.session import Part, Study, View
from repro.study.verdicts import Verdict, contrast_table, tally, verdict_table


@dataclass(frozen=True)
class Answer:
    """The verdict on a claim by one view of its runs."""

    claim: Claim
    view: View
    verdict: Verdict


@one_reading()
def answers(study: Study) -> list[Answer]:
    """Return the verdict on every claim, by the records and by the runs of this call."""
    return [
        Answer(claim, view, part.decide(claim, view))
        for claim in claims()
        for part in [replace(study, paper=claim.paper)]
        for view in part.views(claim.plan)
    ]


def by_data(found: Sequence[Answer]) -> dict[str, list[Verdict]]:
    """Return the verdicts by the words for the data that they rest on."""
    judged: dict[str, list[Verdict]] = {}
    for answer in found:
        judged.setdefault(answer.view.label, []).append(answer.verdict)
    return judged


def at_a_glance(found: Sequence[Answer]) -> Iterator[Part]:
    """Yield, for each kind of data, how many claims have which word, and all of them."""
    for label, judged in by_data(found).items():
        yield f"### {label}"
        yield ", ".join(f"{SIGNS[w]} {n} {w}" for w, n in tally(judged).items()) + "."
        yield verdict_table(judged)


def claim_by_claim(found: Sequence[Answer]) -> Iterator[Part]:
    """Yield for each claim its verdicts, their contrasts, their runs and what was substituted."""
    shown = None
    for answer in found:
        claim, view, judged = answer.claim, answer.view, answer.verdict
        if claim is not shown:
            yield f"### {claim.where}: {judged.statement}"
            shown = claim
        checked = f" Checked: {'; '.join(judged.checked)}." if judged.checked else ""
        yield (
            f"{SIGNS[judged.word]} **{judged.words}** on {view.label} "
            f"({judged.reason}).{checked} Chapter: `{claim.notebook}`."
        )
        if judged.judged:
            table = tables.show(contrast_table(judged))
            yield tables.folded(table, "its contrasts") if judged.simulated else table
        yield view
        if judged.substitutions:
            yield "*What was substituted:* " + "; ".join(judged.substitutions) + "."


def parameter_counts(found: Sequence[Answer]) -> Iterator[Part]:
    """Yield how many parameters each strategy of Table 3 trains."""
    for answer in found:
        if answer.claim.name == "win-vs-in-processing":
            yield f"**{answer.view.label}**"
            yield trained_parameters(answer.view.results)


def rule_errors(found: Sequence[Answer]) -> Iterator[Part]:
    """Yield how often the rule gives which word, with the noise of each kind of data."""
    for label, judged in by_data(found).items():
        cases = [case for v in judged if (case := simulation.case_of(v)) is not None]
        if cases:
            errors = simulation.errors(cases)
            yield f"**With the noise of {label}**, mean over {len(cases)} claims:"
            yield words_by_effect(errors)
            yield simulation.wrong(errors).map("{:.1%}".format).reset_index()
