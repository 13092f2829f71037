"""A recorded bank of prompts: what a study's images are drawn from, and how it came to be.

A file of JSON with a hash over its content. What a language model was asked and answered is kept
with the prompts, so that they can be derived again, and a bank that is not complete be continued.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from repro.aimfair.prompt_checks import NEAREST
from repro.aimfair.prompt_form import GROUPS, VARIED, Group, Task
from repro.aimfair.prompts import OFFLINE
from repro.files import whole

FORMAT = 2  # of 1, the prompts had another form

GIVEN = "given lists (nobody was asked)"
"""What a bank calls prompts that were read from a file."""


class BankError(ValueError):
    """A recorded bank cannot be used; the message says why and what to do."""


def name_of(group: Group) -> str:
    """Return a group's name in files, ``{t}_{p}``."""
    return f"{group[0]}_{group[1]}"


@dataclass(frozen=True)
class PromptBank:
    """Prompts for the four groups, and where they come from.

    Attributes
    ----------
    task, kind, n, facets, nearest
        What was asked for: n prompts for each group, see `repro.aimfair.prompts`.
    prompts
        Group -> prompts, fewer than n where a bank is not complete.
    model
        Name of the language model, or `repro.aimfair.prompts.OFFLINE` or `GIVEN`, which are none.
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
    prompts: Mapping[Group, tuple[str, ...]]
    model: str = OFFLINE
    facets: tuple[str, ...] = VARIED
    nearest: float = NEAREST
    seed: int | None = None
    vocabulary: str | None = None
    date: str | None = None
    instructions: Mapping[Group, str] = field(default_factory=dict)
    exchanges: tuple[Mapping[str, Any], ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every group has its n prompts."""
        return all(len(self.prompts.get(group, ())) == self.n for group in GROUPS)

    @property
    def sha256(self) -> str:
        """Hash over everything that the bank holds, as hexadecimal digits."""
        return _hash(self.content())

    def content(self) -> dict[str, Any]:
        """Return the bank as JSON values, without its hash."""
        return {
            "format": FORMAT,
            "task": {"target": self.task.target, "protected": self.task.protected},
            "kind": self.kind,
            "n": self.n,
            "facets": list(self.facets),
            "nearest": self.nearest,
            "model": self.model,
            "seed": self.seed,
            "vocabulary": self.vocabulary,
            "date": self.date,
            "instructions": {name_of(g): text for g, text in self.instructions.items()},
            "prompts": {name_of(g): list(texts) for g, texts in self.prompts.items()},
            "exchanges": [dict(exchange) for exchange in self.exchanges],
        }

    def save(self, path: Path | str) -> None:
        """Write the bank to a file, whole or not at all; its folder is made where there is none."""
        text = json.dumps({**self.content(), "sha256": self.sha256}, indent=1, sort_keys=True)
        # Bytes, so that a file is the same on every platform.
        with whole(Path(path)) as part:
            part.write_bytes((text + "\n").encode("ascii"))

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a bank from a file.

        Raises
        ------
        FileNotFoundError
            If there is no file.
        BankError
            If the file holds no bank, one of another format, or one that was changed by hand.
        """
        path = Path(path)
        remedy = "restore it, or remove it to have the prompts written again"
        try:
            content = json.loads(path.read_bytes())
            recorded = content.pop("sha256")
            form = content["format"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise BankError(f"{path} holds no bank of prompts; {remedy}") from None
        if _hash(content) != recorded:
            raise BankError(f"{path} is not what was recorded: its sha256 differs; {remedy}")
        if form != FORMAT:
            raise BankError(f"{path} has format {form!r}, not {FORMAT}; {remedy}")
        groups = {name_of(group): group for group in GROUPS}
        try:
            return cls(
                task=Task(**content["task"]),
                kind=content["kind"],
                n=content["n"],
                prompts={groups[g]: tuple(texts) for g, texts in content["prompts"].items()},
                model=content["model"],
                facets=tuple(content["facets"]),
                nearest=content["nearest"],
                seed=content["seed"],
                vocabulary=content["vocabulary"],
                date=content["date"],
                instructions={groups[g]: text for g, text in content["instructions"].items()},
                exchanges=tuple(content["exchanges"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise BankError(f"{path} holds no bank of prompts ({error!r}); {remedy}") from None


def _hash(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()
