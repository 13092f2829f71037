"""What recorded runs cost: their time on the clock, by part of the study and stage."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from repro.study.runs import Record


def costs_markdown(records: Iterable[Record], name: str) -> str:
    """Return how long a profile's runs took as Markdown, a row for each part and stage.

    Each run had one thread, and others beside it.

    Parameters
    ----------
    name
        Of the profile.
    """
    rows = [
        (r.config["paper"], r.config["stage"], r.config["seed"], float(r.body["seconds"]))
        for r in records
    ]
    if not rows:
        return f"No run of profile `{name}` is recorded.\n"
    groups = pd.DataFrame(rows, columns=["part", "stage", "seed", "seconds"]).groupby(
        ["part", "stage"], sort=False
    )
    table = groups.agg(
        runs=("seconds", "size"),
        seeds=("seed", "nunique"),
        median=("seconds", "median"),
        total=("seconds", "sum"),
    ).reset_index()
    table = table.sort_values(["part", "total"], ascending=[True, False])
    lines = [
        f"| `{name}` | stage | runs | seeds | a run (s, median) | together (min) |",
        "|---|---|---|---|---|---|",
        *(
            f"| {part} | {stage} | {runs} | {seeds} | {median:.1f} | {total / 60:.1f} |"
            for part, stage, runs, seeds, median, total in table.to_numpy().tolist()
        ),
        f"| all | | {table['runs'].sum()} | | | {table['total'].sum() / 60:.1f} |",
    ]
    return "\n".join(lines) + "\n"
