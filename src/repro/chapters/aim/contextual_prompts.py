"""Chapter 21: prompts by the offline grammar, what is refused, and how varied a set is."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from repro.aimfair.diversity import mean_diversity
from repro.aimfair.prompt_checks import check_prompt
from repro.aimfair.prompt_form import KINDS, Group, Task, put_together
from repro.aimfair.prompt_writer import VocabularyError, write_offline
from repro.chapters.aim.synthetic import vocabulary_of
from repro.data.captions import FACETS
from repro.data.splits import GROUPS
from repro.study.profiles import TABLE_5, PromptSet
from repro.study.session import Study

#: Beyond the paper's fifty.
BEYOND = (
    PromptSet(prompts="contextual with head poses", number=100),
    PromptSet(prompts="contextual with head poses", number=200),
)
_SEED = 42  # the authors'
_SIZES = (10, 25, 50, 100, 200)  # of sets whose variety is compared


def quoted(text: str) -> str:
    """Return a text as a Markdown block that is shown as it is."""
    return f"````text\n{text}\n````"


def written(
    study: Study, task: Task, kind: str, n: int = 50, *, vocabulary: str | None = None
) -> dict[Group, list[str]]:
    """Return prompts of the offline grammar for every group; empty where it cannot write them."""
    words = vocabulary or vocabulary_of(study.profile.faces.synthetic)
    number = 1 if kind == "plain" else n
    try:
        return {
            group: write_offline(task, group, number, seed=_SEED, vocabulary=words, kind=kind)
            for group in GROUPS
        }
    except VocabularyError:
        return {}


def examples(study: Study, task: Task) -> list[str]:
    """Return the first five prompts of each kind for group (1,1), as Markdown, a line each."""
    lines = ["Group (1,1), the first five of fifty, by the offline grammar:"]
    for kind in KINDS:
        lines.append(f"*{kind}*")
        prompts = written(study, task, kind)
        if prompts:
            lines += [f"- {prompt}" for prompt in prompts[1, 1][:5]]
        else:
            lines.append("- not possible with this generator's vocabulary: it knows no head poses")
    return lines


def refusals(task: Task) -> pd.DataFrame:
    """Return prompts that a model might write for group (0,0), and why they are refused or not."""
    context = ["freckles", "glasses", "head turned to the left"][: 2 if task.ancestral else 3]
    own, other = (task.contextual(group, age="27", ancestry="Black") for group in ((0, 0), (1, 1)))

    def prompt(subject: str, *instead: str) -> str:
        return put_together(subject, [*instead, *context[len(instead) :]], start=task.start)

    tried = [
        prompt(own),
        prompt(other),
        prompt(own).replace(task.start, "A photo of"),
        prompt(own, "blond hair", "black hair"),
        prompt(own, "a goatee"),
        prompt(own, "a toothy grin"),
    ]
    why = ["; ".join(check_prompt(prompt, task, (0, 0))) for prompt in tried]
    return pd.DataFrame({"prompt": tried, "refused because": [w or "(accepted)" for w in why]})


def _sets(study: Study, task: Task) -> dict[str, Mapping[Group, list[str]]]:
    found: dict[str, Mapping[Group, list[str]]] = {}
    for asked in (*TABLE_5, *BEYOND):
        prompts = written(study, task, asked.prompts, asked.number)
        if prompts:
            found[asked.key] = prompts
    return found


#: Measures of variety that have a column; those of facets that no prompt names are left out.
_COLUMNS = (
    *("prompts", "distinct-1", "distinct-2", "jaccard distance", "tf-idf distance"),
    *(f"entropy: {facet}" for facet in FACETS[:4]),
)


def diversity_table(study: Study, task: Task) -> pd.DataFrame:
    """Return measures of variety of each set, mean over the four groups."""
    rows = []
    for key, prompts in _sets(study, task).items():
        found = mean_diversity(prompts)
        shown = {name: f"{found[name]:.3g}" for name in _COLUMNS if name in found}
        rows.append({"set": key} | shown)
    return pd.DataFrame(rows).fillna("")


def diversity_figure(study: Study, task: Task) -> Figure:
    """Draw how distance and distinct pairs of words change with the number of prompts."""
    figure, axes = plt.subplots(figsize=(6, 3))
    for kind, style in (("contextual", "o--"), ("contextual with head poses", "s-")):
        sets = {n: written(study, task, kind, n) for n in _SIZES}
        found = {n: mean_diversity(s)["jaccard distance"] for n, s in sets.items() if s}
        if found:
            axes.plot(list(found), list(found.values()), style, label=kind)
    axes.set_xscale("log")
    axes.set_xticks(_SIZES, list(map(str, _SIZES)))
    axes.minorticks_off()
    axes.set_xlabel("prompts of a group")
    axes.set_ylabel("mean distance of two prompts (Jaccard)")
    axes.legend(fontsize="small")
    return figure
