"""Where records come from, in words: on which machines they were computed, in which precision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from repro import numerics
from repro.study.runs import Record


def precision_in_words(records: Iterable[Record]) -> str:
    """Say in which precision runs really were computed, "float32" or "float32 (3 runs), ...".

    A setting of bfloat16 allows it, and a processor may not have it: only the records know.
    """
    return _counted(record.precision for record in records)


def machines_in_words(records: Iterable[Record]) -> str:
    """Say on which machines runs were computed, each with its precision."""
    return _counted(
        f"{record.machine}, in {record.precision}"
        + (", portable" if record.numbers == numerics.PORTABLE else "")
        for record in records
    )


def precision_substitution(records: Iterable[Record]) -> str | None:
    """Return what stands beside a verdict where runs were computed in less than float32."""
    found = list(records)
    half = sum(record.precision != "float32" for record in found)
    if not half:
        return None
    of_all = "" if half == len(found) else f" in {half} of {len(found)} runs"
    return f"bfloat16 with float32 weights{of_all}, not float32"


def _counted(words: Iterable[str]) -> str:
    """Return one word that all have, or each with its number of runs, the most frequent first."""
    found = Counter(words).most_common()
    if len(found) < 2:
        return found[0][0] if found else "no runs"
    return "; ".join(f"{word} ({n} {'run' if n == 1 else 'runs'})" for word, n in found)
