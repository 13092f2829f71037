"""Names that a user types: refuse an unknown one and suggest the one that was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UnknownNameError(ValueError):
    """A name that is not among the valid ones; the message suggests the nearest."""


def hint(name: str, valid: Iterable[str]) -> str:
    """Return "; did you mean 'win'?" with the valid name that is most like ``name``, or nothing.

    Parameters
    ----------
    name
        What was typed. Upper and lower case are not told apart.
    valid
        The names to choose from.
    """
    # Ratios are computed on folded case: difflib finds nothing in common between WIN and win.
    spelling = {candidate.casefold(): candidate for candidate in valid}
    matches = difflib.get_close_matches(name.casefold(), spelling, n=1)
    return f"; did you mean {spelling[matches[0]]!r}?" if matches else ""


def check_name(kind: str, name: str, valid: Iterable[str]) -> str:
    """Return ``name`` if it is valid, else say what it should have been.

    Parameters
    ----------
    kind
        What the name stands for, as it appears in the message, for example ``"strategy"``.
    name
        The name to check. It must match exactly, case included.
    valid
        The valid names, in the order in which the message lists them.

    Returns
    -------
    str
        ``name``, unchanged.

    Raises
    ------
    UnknownNameError
        If ``name`` is not among ``valid``: "unknown strategy 'wim'; did you mean 'win'?
        (valid: tl, svd, win)".
    """
    names = list(valid)
    if name in names:
        return name
    raise UnknownNameError(
        f"unknown {kind} {name!r}{hint(name, names)} (valid: {', '.join(names)})"
    )
