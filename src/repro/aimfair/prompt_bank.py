"""A bank of prompts for a task: read, written offline, or asked of a language model as it grows.

What a model answers is checked; what cannot be used is asked for again together with the reasons,
until each group has its prompts or the limits are reached. Nothing that was answered is lost: with
a path, the bank is saved after every answer, as JSON with a hash over its content, and the same
call goes on from there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError

from repro.aimfair.llm import Endpoint, EndpointError, Exchange, Limits
from repro.aimfair.prompt_checks import NEAREST, Checked, Rejection, check_prompts
from repro.aimfair.prompt_form import PLAIN, POSED, VARIED, Group, Task, check_kind
from repro.aimfair.prompt_writer import write_offline
from repro.aimfair.prompts import answer_form, instruction, prompts_in
from repro.data.splits import GROUPS
from repro.files import whole
from repro.settings import Strict

FORMAT = 2  # of 1, the prompts had another form

OFFLINE = "offline grammar (not an LLM)"
"""What a bank calls the offline writer where another names its model."""

GIVEN = "given lists (nobody was asked)"
"""What a bank calls prompts that were read from a file."""

_SHOWN = 20  # rejected prompts that are sent back
_LISTED = 5  # rejected prompts that an error lists


class BankError(ValueError):
    """A recorded bank cannot be used; the message says why and what to do."""


class UnusableError(RuntimeError):
    """A model's answers do not give a group its prompts; the message says which and why."""


def _name(group: Group) -> str:
    return f"{group[0]}_{group[1]}"


#: A group, ``{t}_{p}`` in files.
_Key = Annotated[
    Group,
    BeforeValidator(lambda x: tuple(map(int, x.split("_"))) if isinstance(x, str) else x),
    PlainSerializer(_name, return_type=str, when_used="json"),
]


class PromptBank(Strict):
    """Prompts for the four groups, and where they come from.

    Attributes
    ----------
    task, kind, n, facets, nearest
        What was asked for: n prompts for each group. Facets and similarity are constants.
    prompts
        Group -> prompts, fewer than n where a bank is not complete.
    model
        Name of the language model, or `OFFLINE` or `GIVEN`, which are none.
    seed, vocabulary
        Of the offline writer; None for a language model, whose answers no seed fixes.
    date
        When a language model was first asked, in UTC; None for the offline writer, whose bank is
        the same whenever it is written.
    instructions
        Group -> what the model was first asked; empty for the offline writer.
    exchanges
        Everything asked and answered, failures included, in order. A key is never among it.
    """

    task: Task
    kind: str
    n: int
    prompts: dict[_Key, tuple[str, ...]]
    model: str = OFFLINE
    facets: tuple[str, ...] = tuple(sorted(VARIED))
    nearest: float = NEAREST
    seed: int | None = None
    vocabulary: str | None = None
    date: str | None = None
    instructions: dict[_Key, str] = Field(default_factory=dict)
    exchanges: tuple[dict[str, Any], ...] = ()
    format: int = FORMAT

    @property
    def complete(self) -> bool:
        """Whether every group has its n prompts."""
        return all(len(self.prompts.get(group, ())) == self.n for group in GROUPS)

    @property
    def sha256(self) -> str:
        """Hash over everything that the bank holds, as hexadecimal digits."""
        return _hash(self.model_dump(mode="json"))

    def save(self, path: Path) -> None:
        """Write the bank to a file, whole or not at all; its folder is made where there is none."""
        content = {**self.model_dump(mode="json"), "sha256": self.sha256}
        with whole(path) as part:
            # Bytes, so that a file is the same on every platform.
            part.write_bytes((json.dumps(content, indent=1, sort_keys=True) + "\n").encode("ascii"))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a bank from a file.

        Raises
        ------
        FileNotFoundError
            If there is no file.
        BankError
            If the file holds no bank, one of another format, or one that was changed by hand.
        """
        remedy = "restore it, or remove it to have the prompts written again"
        try:
            content = json.loads(path.read_bytes())
            recorded, form = content.pop("sha256"), content["format"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise BankError(f"{path} holds no bank of prompts; {remedy}") from None
        if _hash(content) != recorded:
            raise BankError(f"{path} is not what was recorded: its sha256 differs; {remedy}")
        if form != FORMAT:
            raise BankError(f"{path} has format {form!r}, not {FORMAT}; {remedy}")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise BankError(f"{path} holds no bank of prompts ({error}); {remedy}") from None

    def checked(self, group: Group) -> Checked:
        """Check everything that a model answered for a group, from the first answer on."""
        answers = [e["answered"] for e in self.exchanges if e["group"] == _name(group)]
        said = (
            prompt
            for answer in answers
            for prompt in prompts_in(answer or "", self.task, group, self.kind)
        )
        return check_prompts(said, self.task, group, self.n, kind=self.kind)

    def grown(self, group: Group, exchange: Exchange) -> Self:
        """Return the bank with one more exchange, and the prompts that it gives."""
        bank = self.model_copy(
            update={
                "date": self.date or datetime.now(UTC).isoformat(timespec="seconds"),
                "exchanges": (*self.exchanges, {"group": _name(group), **asdict(exchange)}),
                "instructions": {group: exchange.asked, **self.instructions},
            }
        )
        prompts = {**bank.prompts, group: bank.checked(group).accepted}
        return bank.model_copy(update={"prompts": prompts})


def _hash(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def prompt_bank(
    task: Task,
    n: int,
    *,
    kind: str = POSED,
    model: str | None = None,
    seed: int = 0,
    vocabulary: str = "stable-diffusion",
    path: Path | None = None,
    limits: Limits | None = None,
) -> PromptBank:
    """Return a bank of n prompts for each of the four groups: read, continued, or written.

    Parameters
    ----------
    task, kind
        Whom the prompts show, and their form.
    n
        Prompts of each group; 1 for the plain kind.
    model
        Name of a language model at the endpoint that ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY``
        set. None: the offline writer, which is none, whatever these variables hold. It gives the
        plain prompt as well, of which there is one, so nobody is asked for it.
    seed, vocabulary
        Of the offline writer; a language model has neither.
    path
        Where the bank is kept. If there is a complete one it is returned and nothing is asked, so
        that a recorded bank needs no key.
    limits
        Of a language model; None: the defaults of `repro.aimfair.llm.Limits`.

    Returns
    -------
    PromptBank
        Complete.

    Raises
    ------
    BankError
        If the file at ``path`` is no bank, or one of something else.
    EndpointError
        If the endpoint cannot be used, or the limits are reached.
    UnusableError
        If ``limits.patience`` answers in a row hold no prompt that can be used.
    VocabularyError, UnknownNameError, ValueError
        As in :func:`repro.aimfair.prompt_writer.write_offline`.
    """
    if n < 1 or (check_kind(kind) == PLAIN and n > 1):
        raise ValueError(f"n must be at least 1, and 1 for {PLAIN} prompts, not {n}")
    asked: dict[str, Any] = {"model": model}
    if model is None or kind == PLAIN:
        asked = {"model": OFFLINE, "seed": seed, "vocabulary": vocabulary}
    bank = PromptBank(task=task, kind=kind, n=n, prompts=dict.fromkeys(GROUPS, ()), **asked)
    if path is not None and path.exists():
        bank = _recorded(path, bank)
    if bank.complete:
        return bank
    if bank.model != OFFLINE:
        return _asked(bank, path, limits or Limits())
    prompts = {
        group: tuple(write_offline(task, group, n, seed=seed, vocabulary=vocabulary, kind=kind))
        for group in GROUPS
    }
    bank = bank.model_copy(update={"prompts": prompts})
    if path is not None:
        bank.save(path)
    return bank


def _recorded(path: Path, wanted: PromptBank) -> PromptBank:
    """Return the bank at a path, which must be of what is wanted."""
    bank = PromptBank.load(path)
    for name in ("task", "kind", "n", "facets", "nearest", "model", "seed", "vocabulary"):
        there, asked = getattr(bank, name), getattr(wanted, name)
        if there != asked:
            raise BankError(
                f"{path} was recorded with {name} {str(there)!r}, not {str(asked)!r}; give another "
                "path, or the same settings"
            )
    return bank


def _asked(bank: PromptBank, path: Path | None, limits: Limits) -> PromptBank:
    """Ask a model until each group has its prompts; an error says what is kept so far."""
    group = GROUPS[0]

    def record(exchange: Exchange) -> None:
        nonlocal bank
        bank = bank.grown(group, exchange)
        if path is not None:
            bank.save(path)

    form = answer_form(bank.task, bank.kind)
    with Endpoint(bank.model, limits) as endpoint:
        try:
            for group in GROUPS:
                barren, why = 0, ""
                while len((there := bank.checked(group)).accepted) < bank.n:
                    if barren == limits.patience:
                        raise UnusableError(
                            f"group {group} has {len(there.accepted)} of {bank.n} prompts, and "
                            f"{barren} answers in a row held none that can be used"
                            + _reasons(why, there)
                        )
                    missing = min(bank.n - len(there.accepted), limits.batch)
                    last = endpoint.ask(_question(bank, group, missing, there), form, record)
                    gained = len(bank.checked(group).accepted) > len(there.accepted)
                    barren, why = (0 if gained else barren + 1), last.error or ""
        except (EndpointError, UnusableError) as error:
            got = sum(map(len, bank.prompts.values()))
            kept = (
                f"the {got} prompts so far are kept in {path}: the same call goes on from them"
                if path is not None
                else f"the {got} prompts so far are lost, as no path was given to keep them"
            )
            error.args = (f"{error}. Of {bank.n * len(GROUPS)} prompts, {kept}",)
            raise
    return bank


def _question(bank: PromptBank, group: Group, n: int, so_far: Checked) -> str:
    """Return the instruction, with what was written before and why some of it was rejected."""
    lines = [instruction(bank.task, group, n, kind=bank.kind)]
    if so_far.accepted:
        lines += ["These are written already; write others, that differ from them clearly:"]
        lines += [f"- {prompt}" for prompt in so_far.accepted]
    if so_far.rejected:
        lines += ["These were rejected; write others instead, without the same mistake:"]
        lines += [_line(rejection) for rejection in so_far.rejected[-_SHOWN:]]
    return "\n".join(lines)


def _line(rejection: Rejection) -> str:
    return f"- {rejection.prompt[:300]}: {'; '.join(rejection.reasons)[:500]}"


def _reasons(error: str, checked: Checked) -> str:
    lines = [f"the last: {error}"] if error else []
    return "".join(f"\n{line}" for line in [*lines, *map(_line, checked.rejected[-_LISTED:])])
