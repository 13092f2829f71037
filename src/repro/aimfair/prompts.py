"""What a language model is asked for one group, and how its answer becomes prompts.

A model gives the facets of each prompt, not its text, so that every prompt has the right form and
shows the right group whatever it answers.

Source: Zhao et al. (2025), arXiv 2503.05665, section 3.1 and Table 5, with GPT-4 as the model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import json_repair
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from repro.aimfair.prompt_form import AGES, POSED, VARIED, Group, Task, put_together
from repro.aimfair.prompt_words import HEAD_POSE
from repro.data.captions import joined
from repro.data.splits import GROUPS


def facets_of(task: Task, kind: str) -> tuple[str, ...]:
    """Return the facets of a contextual prompt, in the order in which it names them."""
    if task.ancestral:
        return ("expression", "hair", *(facet for facet in VARIED if facet != "hair"))
    last = task.poses(kind)
    return (*VARIED, *(last.split(" or ") if last else ()))


def answer_form(task: Task, kind: str) -> type[BaseModel]:
    """Return the form of an answer: prompts by the phrases of each facet, with age and ancestry."""
    fields: dict[str, Any] = {"age": (int, ...), "ancestry": (str, ...)} if task.ancestral else {}
    fields |= {facet.replace(" ", "_"): (list[str], ...) for facet in facets_of(task, kind)}
    strict = ConfigDict(extra="forbid")
    prompt = create_model("Prompt", __config__=strict, **fields)
    return create_model("Answer", __config__=strict, prompts=(list[prompt], ...))  # type: ignore[valid-type]


def instruction(task: Task, group: Group, n: int, *, kind: str = POSED) -> str:
    """Return what a language model is asked: n prompts for one group, of a contextual kind."""
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    last, facets = task.poses(kind), facets_of(task, kind)
    slots = ["{expression}", "{hair}"] if task.ancestral else ["{feature}", "{feature}"]
    slots += [f"{{{last}}}"] if last else []
    subject = task.contextual(group, age="{age}", ancestry="{ancestry}")
    form = put_together(subject, slots, start=task.start)
    fields: dict[str, Any] = {facet.replace(" ", "_"): ["..."] for facet in facets}
    if task.ancestral:
        fields = {"age": 27, "ancestry": "..."} | fields
        wanted = (
            f"The age runs from {AGES[0]} to {AGES[-1]}; an ancestry that is not White varies. "
            "Give one expression and one phrase of hair, and where useful another of "
            f"{joined(VARIED)}."
        )
    else:
        wanted = f"Give two features of any kinds: {joined(VARIED)}."
    others = [repr(task.plain(other)) for other in GROUPS if other != tuple(group)]
    return "\n".join(
        [
            f"Describe {n} different prompts for a text-to-image model, for photos that train a "
            "face classifier.",
            f"The classifier predicts {task.target} and must be fair with respect to "
            f"{task.protected}.",
            f"All these prompts show one group: {task.plain(group)!r}.",
            f'Every prompt gets exactly this form: "{form}".',
            'For each, give its phrases by facet: short noun phrases, as they follow "with", and '
            "an empty list where a facet is not named.",
            wanted,
            f"Give one {last}, and vary it." if last else f"Mention no {HEAD_POSE}.",
            "Use each kind of context about equally often, and no two prompts that differ in only "
            "a word or two.",
            f"Nothing in a prompt may suggest another group ({joined(others)}) or contradict the "
            "rest of the prompt.",
            f"Answer with JSON only: {json.dumps({'prompts': [fields]})}.",
        ]
    )


def prompts_in(answer: str, task: Task, group: Group, kind: str) -> Iterator[str]:
    """Yield the prompts in an answer, broken JSON mended; what has not the form, as it stands."""
    found: Any = json_repair.loads(answer)
    items = found.get("prompts") if isinstance(found, dict) else found
    items = items if isinstance(items, list) else []
    if not answer.rstrip("` \n").endswith(("}", "]")):
        items = items[:-1]  # it may be cut off, within a phrase
    form = answer_form(task, kind)
    for item in items:
        try:
            ((_, (said,)),) = form.model_validate({"prompts": [item]})
        except ValidationError:
            yield item if isinstance(item, str) else json.dumps(item)
            continue
        who = {name: str(value) for name, value in said if not isinstance(value, list)}
        phrases = [
            phrase.strip(" .,")
            for _, value in said
            for phrase in (value if isinstance(value, list) else [])
        ]
        yield put_together(task.contextual(group, **who), phrases, start=task.start)
