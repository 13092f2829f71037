"""Prompts by a language model, or by the offline writer: a bank for a task, recorded as it grows.

What a model answers is checked; what cannot be used is asked for again together with the reasons,
until each group has its prompts or the limits are reached. Nothing that was answered is lost: with
a path, the bank is saved after every answer, and the same call goes on from there.

Source: Zhao et al. (2025), arXiv 2503.05665, section 3.1, with GPT-4 as the language model.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from repro.aimfair.llm_client import (
    CeilingError,
    Endpoint,
    EndpointError,
    Exchange,
    Limits,
)
from repro.aimfair.prompt_checks import NEAREST, Checked, Rejection, check_prompts
from repro.aimfair.prompt_form import (
    GROUPS,
    KINDS,
    VARIED,
    Group,
    Task,
    check_facets,
)
from repro.aimfair.prompt_record import BankError, PromptBank, name_of
from repro.aimfair.prompts import OFFLINE, instruction, write_offline
from repro.data.captions import Phrase

__all__ = [
    "BankError",
    "CeilingError",
    "Endpoint",
    "EndpointError",
    "Limits",
    "PromptBank",
    "UnusableError",
    "prompt_bank",
]

_SHOWN = 20  # rejected prompts that are sent back
_STARTS = ("Portrait", "Face")  # of a prompt, right or wrong
_LISTED = 5  # rejected prompts that an error lists


class UnusableError(RuntimeError):
    """A model's answers do not give a group its prompts; the message says which and why.

    Attributes
    ----------
    group
        (t,p).
    rejected
        Every prompt of the group that was rejected.
    """

    def __init__(self, message: str, group: Group, rejected: Sequence[Rejection]) -> None:
        super().__init__(message)
        self.group, self.rejected = group, tuple(rejected)


def prompt_bank(
    task: Task,
    n: int,
    *,
    kind: str = KINDS[2],
    model: str | None = None,
    facets: Collection[str] = VARIED,
    seed: int = 0,
    vocabulary: str | Sequence[Phrase] = "stable-diffusion",
    nearest: float = NEAREST,
    path: Path | str | None = None,
    limits: Limits | None = None,
) -> PromptBank:
    """Return a bank of n prompts for each of the four groups: read, continued, or written.

    Parameters
    ----------
    task
        Target and protected attribute.
    n
        Prompts of each group; 1 for the plain kind.
    kind, facets, nearest
        See :func:`repro.aimfair.prompts.check_prompts`.
    model
        Name of a language model at the endpoint that ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY``
        set. None: the offline writer, which is none, whatever these variables hold.
    seed, vocabulary
        Of the offline writer; a language model has neither.
    path
        Where the bank is kept. If there is a complete one it is returned and nothing is asked, so
        that a recorded bank needs no key.
    limits
        Of a language model; None: the defaults of :class:`Limits`. Each call has its own.

    Returns
    -------
    PromptBank
        Complete.

    Raises
    ------
    BankError
        If the file at ``path`` is no bank, or one of something else.
    EndpointError, CeilingError
        If the endpoint cannot be used, or the limits are reached.
    UnusableError
        If ``limits.patience`` answers in a row hold no prompt that can be used.
    VocabularyError, UnknownNameError, ValueError
        As in :func:`repro.aimfair.prompts.write_offline`.
    """
    check_facets(kind, facets)
    if n < 1 or (kind == KINDS[0] and n > 1):
        raise ValueError(f"n must be at least 1, and 1 for {KINDS[0]} prompts, not {n}")
    offline = model is None or model == OFFLINE
    # Phrases that were given have no name: what they are stands for it.
    named = vocabulary if isinstance(vocabulary, str) else _digest(vocabulary)
    empty = PromptBank(
        task=task,
        kind=kind,
        n=n,
        prompts=dict.fromkeys(GROUPS, ()),
        model=OFFLINE if model is None else model,
        facets=tuple(sorted(facets)),
        nearest=nearest,
        seed=seed if offline else None,
        vocabulary=named if offline else None,
    )
    path = None if path is None else Path(path)
    bank = empty if path is None or not path.exists() else _recorded(path, empty)
    if bank.complete:
        return bank
    if not offline:
        with Endpoint(empty.model, limits or Limits()) as endpoint:
            return _Asking(bank, endpoint, path).complete()
    written = {
        group: write_offline(
            task,
            group,
            n,
            seed=seed,
            vocabulary=vocabulary,
            kind=kind,
            facets=facets,
            nearest=nearest,
        )
        for group in GROUPS
    }
    bank = replace(empty, prompts={group: tuple(texts) for group, texts in written.items()})
    if path is not None:
        bank.save(path)
    return bank


def _digest(phrases: Sequence[Phrase]) -> str:
    plain = [(p.text, p.facet, sorted(p.only.items()), p.slot) for p in phrases]
    return f"given, sha256 {hashlib.sha256(repr(plain).encode()).hexdigest()}"


def _recorded(path: Path, wanted: PromptBank) -> PromptBank:
    """Return the bank at a path, which must be of what is wanted."""
    bank = PromptBank.load(path)
    names = ("task", "kind", "n", "facets", "nearest", "model", "seed", "vocabulary")
    for name in names:
        if getattr(bank, name) != getattr(wanted, name):
            raise BankError(
                f"{path} was recorded with {name} {str(getattr(bank, name))!r}, not "
                f"{str(getattr(wanted, name))!r}; give another path, or the same settings"
            )
    return bank


class _Asking:
    """A bank that grows by asking a model, and is saved after every answer."""

    def __init__(self, bank: PromptBank, endpoint: Endpoint, path: Path | None) -> None:
        self.bank, self.endpoint, self.path = bank, endpoint, path

    def complete(self) -> PromptBank:
        """Ask until each group has its prompts."""
        try:
            for group in GROUPS:
                self._fill(group)
        except (EndpointError, UnusableError) as error:
            got = sum(map(len, self.bank.prompts.values()))
            kept = (
                f"the {got} prompts so far are kept in {self.path}: the same call goes on from them"
                if self.path is not None
                else f"the {got} prompts so far are lost, as no path was given to keep them"
            )
            error.args = (f"{error}. Of {self.bank.n * len(GROUPS)} prompts, {kept}",)
            raise
        return self.bank

    def _fill(self, group: Group) -> None:
        limits, barren, last = self.endpoint.limits, 0, None
        while len((checked := self._checked(group)).accepted) < self.bank.n:
            if barren == limits.patience:
                raise _unusable(group, self.bank.n, checked, last, barren)
            missing = self.bank.n - len(checked.accepted)
            question = self._question(group, min(missing, limits.batch), checked)
            last = self.endpoint.ask(question, lambda exchange: self._record(group, exchange))
            gained = self._checked(group).accepted[len(checked.accepted) :]
            barren = 0 if gained else barren + 1

    def _checked(self, group: Group) -> Checked:
        """Check everything that was answered for a group, from the first answer on."""
        bank = self.bank
        answers = [
            exchange["answered"]
            for exchange in bank.exchanges
            if exchange["group"] == name_of(group) and exchange["answered"]
        ]
        return check_prompts(
            [prompt for answer in answers for prompt in prompts_in(answer)],
            bank.task,
            group,
            kind=bank.kind,
            facets=bank.facets,
            n=bank.n,
            nearest=bank.nearest,
        )

    def _record(self, group: Group, exchange: Exchange) -> None:
        bank = self.bank
        self.bank = replace(
            bank,
            date=bank.date or datetime.now(UTC).isoformat(timespec="seconds"),
            exchanges=(*bank.exchanges, {"group": name_of(group), **exchange}),
            instructions={group: exchange["asked"], **bank.instructions},
        )
        self.bank = replace(
            self.bank, prompts={**bank.prompts, group: self._checked(group).accepted}
        )
        if self.path is not None:
            self.bank.save(self.path)

    def _question(self, group: Group, n: int, so_far: Checked) -> str:
        """Return the instruction, with what was written before and why some of it was rejected."""
        bank = self.bank
        lines = [instruction(bank.task, group, n, kind=bank.kind, facets=bank.facets)]
        if so_far.accepted:
            lines += ["These are written already; write others, that differ from them clearly:"]
            lines += [f"- {prompt}" for prompt in so_far.accepted]
        if so_far.rejected:
            lines += ["These were rejected; write others instead, without the same mistake:"]
            lines += [_line(rejection) for rejection in so_far.rejected[-_SHOWN:]]
        return "\n".join(lines)


def _line(rejection: Rejection) -> str:
    return f"- {rejection.prompt[:300]}: {'; '.join(rejection.reasons)[:500]}"


def _unusable(
    group: Group, n: int, checked: Checked, last: Exchange | None, answers: int
) -> UnusableError:
    lines = [
        f"group {group} has {len(checked.accepted)} of {n} prompts, and {answers} answers in a row "
        "held none that can be used"
    ]
    if last is not None and last["error"]:
        lines.append(f"the last: {last['error']}")
    lines += [_line(rejection) for rejection in checked.rejected[-_LISTED:]]
    return UnusableError("\n".join(lines), group, checked.rejected)


def prompts_in(answer: str) -> list[str]:
    """Return the prompts in an answer: JSON, JSON in a fence or cut off, or else its lines."""
    text = re.sub(r"^```\w*\s*|\s*```$", "", answer.strip())
    start = re.search(r"[{\[]", text)
    if start is not None:
        try:
            return _texts(json.JSONDecoder().raw_decode(text[start.start() :])[0])
        except (ValueError, RecursionError):
            pass
    if '"' in text:  # only what has its closing quote is whole
        whole = re.findall(rf'"((?:{"|".join(_STARTS)})(?:[^"\\\n]|\\.)*)"', text)
        return [re.sub(r"\\(.)", r"\1", item) for item in whole]
    lines = [re.sub(r"^\W*(?:\d+\W+)?", "", line) for line in text.splitlines()]
    return [line for line in lines if line.startswith(_STARTS)]


def _texts(value: Any) -> list[str]:
    """Return all texts in JSON values, in order; of an object with "prompts" those alone."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = value.get("prompts", list(value.values()))
        return _texts(value)
    return [text for item in value for text in _texts(item)] if isinstance(value, list) else []
