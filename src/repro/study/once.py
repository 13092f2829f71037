"""One reading of the study: while it lasts nothing that was read changes, so it is read once.

What is computed meanwhile is new: a run's folder comes whole, and whether it is there is no part of
what is remembered. Many claims rest on the same plans, and many runs on the same generator and
records. Outside of a reading each call looks anew, so that a changed file, variable or setting is
always seen.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

Given = ParamSpec("Given")
Found = TypeVar("Found")

_KNOWN: ContextVar[dict[Hashable, Any] | None] = ContextVar("known", default=None)


@contextmanager
def one_reading() -> Iterator[None]:
    """Call each function that is marked `once` a single time for the same arguments."""
    if _KNOWN.get() is not None:  # part of a longer reading
        yield
        return
    before = _KNOWN.set({})
    try:
        yield
    finally:
        _KNOWN.reset(before)


def once(function: Callable[Given, Found]) -> Callable[Given, Found]:
    """Return ``function``, which remembers its results for the length of `one_reading`."""

    @wraps(function)
    def known(*args: Given.args, **kwargs: Given.kwargs) -> Found:
        results = _KNOWN.get()
        if results is None:
            return function(*args, **kwargs)
        key = (function, *map(_key, args), *((n, _key(v)) for n, v in sorted(kwargs.items())))
        if key not in results:
            # With the arguments: an object that is gone could leave its id to another.
            results[key] = function(*args, **kwargs), args, kwargs
        found: Found = results[key][0]
        return found

    return known


def _key(value: object) -> Hashable:
    """Return a value that can be hashed as itself, another one (a profile) as the object it is."""
    try:
        hash(value)
    except TypeError:
        return id(value)
    return value
