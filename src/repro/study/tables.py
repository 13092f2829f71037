"""The tables of the result pages, and the line under each that says where its numbers are from."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from repro.study.intervals import in_words, mean_interval, paired_interval
from repro.study.provenance import machines_in_words
from repro.study.records import Results, paired, value
from repro.study.rule import MIN_SEEDS
from repro.study.runs import Record

#: What a paper reports, (key of a plan, metric) -> fraction.
Reported = dict[tuple[str, str], float]
#: An override for each part of the study, to show in a command.
EXAMPLES = {
    "win": '{"win.hidden": 20}',
    "win-faces": '{"win.faces.finetune.epochs": 5}',
    "aim-fair": '{"faces.finetune.epochs": 5}',
}


def points(number: float) -> str:
    """Return a fraction in percentage points."""
    return f"{100 * number:.2f}"


def known_values(records: Sequence[Record], quantity: str) -> list[float]:
    """Return a quantity of each record, without those in which it does not exist."""
    found = (value(record, quantity) for record in records)
    return [number for number in found if number is not None]


def mean_value(records: Sequence[Record], quantity: str) -> float:
    """Return the mean of a quantity over the records in which it exists, a fraction."""
    return float(np.mean(known_values(records, quantity)))


def means(
    results: Results,
    quantities: Mapping[str, str],
    names: Mapping[str, str],
    reported: Mapping[tuple[str, str], float] | None = None,
) -> pd.DataFrame:
    """Return mean ± half the 95 % interval of each quantity, in points, beside the paper's value.

    The paper's own ± is a standard deviation over its ten runs, another thing; it is not shown.

    Parameters
    ----------
    results
        Records by setting.
    quantities
        quantity -> column heading.
    names
        The settings to show, in order, and what to call them.
    reported
        (setting, quantity) -> what the paper reports, a fraction.
    """
    rows = []
    for key, name in names.items():
        if key not in results:
            continue
        row = {"setting": name}
        for quantity, heading in quantities.items():
            row[heading] = _mean(known_values(results[key], quantity), of=len(results[key]))
            paper = (reported or {}).get((key, quantity))
            if reported is not None:
                row[f"{heading}, paper"] = "" if paper is None else points(paper)
        row["seeds"] = str(len(results[key]))
        rows.append(row)
    return pd.DataFrame(rows)


def _mean(values: Sequence[float], *, of: int) -> str:
    """Return mean ± half the interval; how many seeds have a value is said where not all do."""
    if not values:
        return ""
    interval = mean_interval(values)
    half = f" ± {points(interval.high - interval.mean)}" if interval.n > 1 else ""
    return points(interval.mean) + half + ("" if interval.n == of else f" ({interval.n} of {of})")


def differences(
    results: Results,
    quantities: Mapping[str, str],
    pairs: Sequence[tuple[str, str, str | tuple[str, ...]]],
) -> pd.DataFrame:
    """Return paired differences with their 95 % interval, in points.

    Parameters
    ----------
    results
        Records by setting.
    quantities
        quantity -> column heading.
    pairs
        (label, first key, second key); the difference is first - second. Several keys stand for
        their mean in each seed.
    """
    rows = []
    for label, first, seconds in pairs:
        second = (seconds,) if isinstance(seconds, str) else seconds
        if first not in results or not second or any(key not in results for key in second):
            continue
        row = {"difference": label}
        for quantity, heading in quantities.items():
            both = paired(results[first], [results[key] for key in second], quantity)
            row[heading] = in_words(paired_interval(*both)) if both[0] else ""
        row["seeds"] = str(len(results[first]))
        rows.append(row)
    return pd.DataFrame(rows)


def decided(
    results: Results, quantities: Mapping[str, str], pairs: Sequence[tuple[str, str, str]]
) -> str:
    """Say of how many paired differences the 95 % interval lies on one side of zero.

    Parameters are those of :func:`differences`; smaller is better for each quantity.
    """
    below, above, open_ = [], [], 0
    for label, first, second in pairs:
        if first not in results or second not in results:
            continue
        for quantity, name in quantities.items():
            both = paired(results[first], [results[second]], quantity)
            interval = paired_interval(*both) if len(both[0]) >= MIN_SEEDS else None
            if interval is not None and interval.high < 0:
                below.append(f"{label}, {name}")
            elif interval is not None and interval.low > 0:
                above.append(f"{label}, {name}")
            else:
                open_ += 1
    total = len(below) + len(above) + open_
    parts = [f"Of {total} differences {open_} are undecided at 95 %"]
    for found, word in ((below, "below zero, in favour of the first"), (above, "above zero")):
        if found:
            are = "is" if len(found) == 1 else "are"
            parts.append(f"{len(found)} {are} {word} ({'; '.join(found)})")
    chance = f"; by chance alone about {0.05 * total:.1f} would be decided"
    return ", ".join(parts) + (chance if below or above else "") + "."


@dataclass(frozen=True)
class Html:
    """Text that a notebook shows as HTML."""

    text: str

    def _repr_html_(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<HTML, {len(self.text)} characters>"


def folded(content: Html, summary: str) -> Html:
    """Return HTML that is shown on a click."""
    return Html(f"<details><summary>{html.escape(summary)}</summary>{content.text}</details>")


def show(table: pd.DataFrame) -> Html:
    """Return a table as plain HTML without the row numbers."""
    return Html(table.to_html(index=False, border=0, classes="study-table"))


def source(results: Results | Iterable[Record], what: str, again: str) -> Html:
    """Return the folded line under a figure or table: which runs, on what, how to get them again.

    Parameters
    ----------
    results
        The records that were shown.
    what
        What they are, e.g. "UCI Adult, profile desk".
    again
        The shell command that computes them again.
    """
    groups = results.values() if isinstance(results, Mapping) else [list(results)]
    records = {record.run: record for group in groups for record in group}
    if not records:
        return Html(f"<p class='study-source'>No records of {html.escape(what)}.</p>")
    bodies = [record.body for record in records.values()]
    seeds = sorted({body["config"]["seed"] for body in bodies})
    commits = sorted({_short(body["git_commit"]) for body in bodies})
    torches = sorted({body["versions"]["torch"] for body in bodies})
    seconds = sum(body["seconds"] for body in bodies)
    about = bodies[0]["config"].get("paper")
    example = EXAMPLES.get(about, EXAMPLES["win"])
    named = results.items() if isinstance(results, Mapping) else [("runs", list(records.values()))]
    listed = "<br>".join(
        f"{html.escape(key)}: "
        + ", ".join(
            f"seed {r.config['seed']} <code title='{html.escape(_words(r))}'>{r.run}</code>"
            for r in group
        )
        for key, group in named
    )
    return Html(
        "<details class='study-source'><summary>Where from: "
        f"{html.escape(what)}, {len(records)} runs, seeds {_ranges(seeds)}</summary>"
        f"<p>Again: <code>{html.escape(again)}</code>. With another setting: add its parameter, "
        f"e.g. <code>-p overrides '{example}'</code>. One run: "
        "<code>.venv/bin/repro show RUN</code>. "
        f"Seeds vary {html.escape(varied(records.values()))}. "
        f"Computed in {seconds:.0f} s on {html.escape(machines_in_words(records.values()))}; torch "
        f"{html.escape(', '.join(torches))}, commit {', '.join(commits)}.</p>"
        f"<p>{listed}</p></details>"
    )


def varied(records: Iterable[Record]) -> str:
    """Return what the seeds of these runs vary, which is all that an interval over them speaks of.

    Read from their configurations: what has the number of the seed was drawn with it.
    """
    configs = [record.config for record in records]
    drawn = [c["synthetic"]["seed"] for c in configs if c.get("synthetic")]
    words = []
    if any(c["stage"] in ("win-pretrain", "win-finetune", "win-probe") for c in configs):
        words += ["the split of the people, the initialisation and the order of batches"]
    if any(c["stage"].startswith("win-face") for c in configs):
        words += ["the split of the new task's people and the head (backbone and test images stay)"]
    if any(c["stage"].startswith("aim") for c in configs):
        toys = [c["data"].get("toy_seed") == c["seed"] for c in configs if "data" in c]
        words += ["the toy faces (training, validation and test)"] if toys and all(toys) else []
        words += ["prompts and synthetic images"] if len(set(drawn)) > 1 else []
        words += ["initialisation, order, augmentation, and the draw of S1 and S2"]
        words += ["(the photographs stay)"] if toys and not any(toys) else []
    return ", ".join(words).replace(", (", " (")


def _words(record: Record) -> str:
    config = record.config
    names = (
        *("stage", "strategy", "block", "k", "draw", "statistics", "frozen", "mode"),
        *("head", "rank", "importance", "weight", "matched"),
        *("constraint", "intensity", "seed"),
    )
    shown = {n: config[n] for n in names if config.get(n) is not None}
    if "constraint" not in shown:
        shown.pop("intensity", None)
    if not shown.get("matched"):
        shown.pop("matched", None)
    return ", ".join(f"{name} {value}" for name, value in shown.items())


def _short(commit: str) -> str:
    """Shorten a commit, but not what says that the sources differed from it."""
    number, plus, changes = commit.partition("+")
    return number[:10] + plus + changes


def _ranges(seeds: Sequence[int]) -> str:
    """Return 0, 1, 2, 7 as "0-2, 7"."""
    parts: list[list[int]] = []
    for seed in seeds:
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)
