"""Prompts for the four groups: the instruction to a language model, and a writer that needs none.

The writer is a grammar, not a language model, and is what the study uses where no endpoint is set.
How it chooses is said in `repro.aimfair.prompt_writer`.

Source: Zhao et al. (2025), arXiv 2503.05665, section 3.1 and Table 5, for the instruction.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from repro.aimfair.prompt_checks import NEAREST, Checked, Rejection, check_prompt, check_prompts
from repro.aimfair.prompt_form import (
    AGES,
    GROUPS,
    KINDS,
    VARIED,
    Group,
    Task,
    check_facets,
    put_together,
)
from repro.aimfair.prompt_lexicon import EXPRESSION, VOCABULARIES
from repro.aimfair.prompt_words import HEAD_POSE
from repro.aimfair.prompt_writer import Writer, fitting
from repro.data.captions import FACETS, Phrase, joined
from repro.names import check_name

__all__ = [
    "GROUPS",
    "KINDS",
    "OFFLINE",
    "VARIED",
    "VOCABULARIES",
    "Checked",
    "Group",
    "Rejection",
    "Task",
    "VocabularyError",
    "check_prompt",
    "check_prompts",
    "instruction",
    "write_offline",
]

OFFLINE = "offline grammar (not an LLM)"
"""What a bank calls the offline writer where another names its model."""


class VocabularyError(ValueError):
    """A vocabulary cannot give the prompts asked for; the message says what it can."""


def instruction(
    task: Task,
    group: Group,
    n: int,
    *,
    kind: str = KINDS[2],
    facets: Collection[str] = VARIED,
) -> str:
    """Return what a language model is asked: n prompts for one group.

    Parameters
    ----------
    task, group
        Whom the prompts show.
    n
        How many, at least 1.
    kind, facets
        As in :func:`repro.aimfair.prompt_form.check_facets`.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    asked = check_facets(kind, facets)
    features = [facet for facet in asked if facet != HEAD_POSE]
    lines = [
        f"Write {n} {'different prompts' if n > 1 else 'prompt'} for a text-to-image model, for "
        "photos that train a face classifier.",
        f"The classifier predicts {task.target} and must be fair with respect to {task.protected}.",
        f"All these prompts show one group: {task.plain(group)!r}.",
        f'Every prompt has exactly this form: "{_form(task, group, asked)}".',
        "Begin with these words as they stand; use no other words for who is shown.",
    ]
    if asked:
        others = [repr(task.plain(other)) for other in GROUPS if other != tuple(group)]
        lines += _about_context(task, features, posed=HEAD_POSE in asked)
        lines += [
            "Use each kind of context about equally often, and no two prompts that differ in "
            "only a word or two.",
            f"Nothing in a prompt may suggest another group ({joined(others)}) or contradict the "
            "rest of the prompt.",
        ]
    else:
        lines.append("Add nothing else.")
    lines.append('Answer with JSON only: {"prompts": ["...", "..."]}.')
    return "\n".join(lines)


def _form(task: Task, group: Group, asked: Sequence[str]) -> str:
    if not asked:
        return put_together(task.plain(group), start=task.start)
    subject = task.contextual(group, age="{age}", ancestry="{ancestry}")
    slots = ["{expression}", "{hair}"] if task.ancestral else ["{feature}", "{feature}"]
    if HEAD_POSE in asked and not task.ancestral:
        slots.append("{head pose}" if task.posed else "{head pose or expression}")
    return put_together(subject, slots, start=task.start)


def _about_context(task: Task, features: Sequence[str], *, posed: bool) -> list[str]:
    if task.ancestral:
        return [
            f"{{age}} runs from {AGES[0]} to {AGES[-1]}; an {{ancestry}} is not White, and varies.",
            f"Each {{expression}} and {{hair}} is a short noun phrase; where useful, another of "
            f"{joined(features)} may follow. Mention no head pose.",
        ]
    pose = "Mention no head pose."
    if posed:
        pose = "End each with exactly one head pose, and vary it."
        pose = pose if task.posed else "End each with a head pose or an expression, and vary it."
    kinds = f"Each {{feature}} is a short noun phrase of any kind. Vary: {joined(features)}."
    return [kinds, pose]


def write_offline(
    task: Task,
    group: Group,
    n: int,
    *,
    seed: int = 0,
    vocabulary: str | Sequence[Phrase] = "stable-diffusion",
    kind: str = KINDS[2],
    facets: Collection[str] = VARIED,
    nearest: float = NEAREST,
) -> list[str]:
    """Write n prompts for a group with a grammar: no language model, no network, no chance.

    Parameters
    ----------
    task, group
        Whom the prompts show.
    n
        How many; 1 for the plain kind.
    seed
        Shifts the sequences. It is the same for all groups, so that groups which the same phrases
        fit get the same contexts, and context tells nothing about the group.
    vocabulary
        A key of `VOCABULARIES`, or phrases.
    kind, facets
        As in :func:`repro.aimfair.prompt_form.check_facets`; a prompt has two phrases of these
        facets, one where they can decide no more than one thing of a face.
    nearest
        As in :func:`check_prompts`.

    Returns
    -------
    list of str
        n different prompts that :func:`check_prompts` accepts, the same on every machine. A smaller
        set is the start of a larger one, and the set with head poses is the set without, each with
        a pose added (where the vocabulary has poses), so that their effects can be told apart. Of a
        task with ages, both are the same.

    Raises
    ------
    VocabularyError
        If a facet has no phrase that fits the group, or the vocabulary cannot give n different
        prompts; the message says how many it gives.
    UnknownNameError, ValueError
        For a name, group, or number that does not exist.
    """
    asked = check_facets(kind, facets)
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    name = vocabulary if isinstance(vocabulary, str) else "given"
    if isinstance(vocabulary, str):
        vocabulary = VOCABULARIES[check_name("vocabulary", vocabulary, VOCABULARIES)]
    if not asked:
        if n > 1:
            raise ValueError(f"there is one plain prompt for each group, not {n}")
        return [put_together(task.plain(group), start=task.start)]
    chosen = {facet: fitting(vocabulary, facet, task, group) for facet in FACETS}
    expressions = fitting(vocabulary, EXPRESSION, task, group)
    if not task.posed:
        chosen[HEAD_POSE] += expressions
    needed = [facet for facet in asked if facet != HEAD_POSE or not task.ancestral]
    if empty := [facet for facet in needed if not chosen[facet]]:
        has = [facet for facet in FACETS if chosen[facet]]
        raise VocabularyError(
            f"vocabulary {name!r} has no phrase of {joined(empty)} for group {group} of {task}; "
            f"it has {has}. Ask for the kind {KINDS[1]!r}, for those facets, or use vocabulary "
            "'stable-diffusion'"
        )
    features = {facet: chosen[facet] for facet in asked if facet != HEAD_POSE}
    first, second = features, features
    if task.ancestral:  # EXPRESSION and HAIR, where there are any
        first = {EXPRESSION: expressions} if expressions else features
        second = {"hair": chosen["hair"]} if "hair" in features else features
    posed = HEAD_POSE in asked and not task.ancestral
    poses = [] if task.ancestral else chosen[HEAD_POSE]
    written = Writer(task, group, first, second, poses, posed, nearest, seed).write(n)
    if len(written) < n:
        raise VocabularyError(
            f"vocabulary {name!r} gives {len(written)} distinct {kind} prompts for group {group} "
            f"of {task}, not {n}; ask for at most {len(written)}, vary more facets, or use a "
            f"larger vocabulary (prompts are distinct below a similarity of {nearest})"
        )
    return written
